//! A terminal with nobody in front of it, and programs in a session of their own.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::folder::{Folder, program};

/// No answer takes longer, or there is none.
const PATIENCE: Duration = Duration::from_secs(60);
const ARGUMENTS: &str = "WAXSEAL_TEST_SESSION_ARGUMENTS";
const PROGRAM: &str = "WAXSEAL_TEST_SESSION_PROGRAM";
const TERMINAL: &str = "WAXSEAL_TEST_SESSION_TERMINAL";

/// A pseudo-terminal: what is typed into it, and what it shows.
pub(crate) struct Terminal {
    end: File,
    name: String,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&end).and_then(|()| unlockpt(&end)).expect("a pseudo-terminal");
        let name = ptsname(&end, Vec::new()).expect("its name").into_string().expect("an ASCII name");
        Self { end: end.into(), name }
    }

    /// The end that a program has as its stdin or stderr.
    pub(crate) fn other_end(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.name).expect("its other end")
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.end.write_all(text.as_bytes()).expect("a terminal");
    }

    /// What it shows, typing included; waits until every other end is closed.
    pub(crate) fn shows(mut self) -> String {
        let mut shown = Vec::new();
        // The last end to be closed shows as an error.
        let _closed = self.end.read_to_end(&mut shown);
        String::from_utf8(shown).expect("UTF-8").replace("\r\n", "\n")
    }
}

/// `waxseal` in a session that has a terminal of its own.
pub(crate) struct Session {
    terminal: Terminal,
    /// Keeps what the terminal is set to, and its reader from ending.
    kept: File,
    shown: Receiver<u8>,
    seen: String,
    child: Option<Child>,
}

impl Session {
    pub(crate) fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let terminal = Terminal::open();
        let kept = terminal.other_end();
        let mut command = in_session(folder, arguments);
        command.env(TERMINAL, &terminal.name);
        let child = Some(command.spawn().expect("the tests can start themselves"));
        let mut end = terminal.end.try_clone().expect("its end");
        let (sender, shown) = channel();
        thread::spawn(move || {
            let mut byte = [0];
            while end.read_exact(&mut byte).is_ok() && sender.send(byte[0]).is_ok() {}
        });
        Self { terminal, kept, shown, seen: String::new(), child }
    }

    /// Waits until the terminal shows this, and types an answer.
    pub(crate) fn answers(&mut self, question: &str, answer: &str) {
        self.waits_for(question);
        assert!(!self.is_shown(), "typing shows while {question:?} is asked");
        self.terminal.types(answer);
    }

    /// Waits until the terminal shows this, and sends the program a signal.
    pub(crate) fn signals(&mut self, question: &str, signal: Signal) {
        self.waits_for(question);
        assert!(!self.is_shown(), "typing shows while {question:?} is asked");
        let child = self.child.as_ref().expect("it has not ended");
        let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(process, signal).expect("it lives");
    }

    /// Waits until the program ends; gives it, and all that the terminal showed.
    pub(crate) fn ends(mut self) -> (crate::folder::Outcome, String) {
        let child = self.child.take().expect("it ends once");
        let outcome = crate::folder::communicate(child, Vec::new());
        // Whatever was shown before stands before this.
        self.kept.write_all(b"\nthe end").expect("a terminal");
        self.waits_for("\nthe end");
        assert!(self.is_shown(), "the terminal is left silent");
        let shown = self.seen.strip_suffix("\nthe end").expect("it ends so").to_owned();
        (outcome, shown)
    }

    /// Whether what is typed now would show.
    fn is_shown(&self) -> bool {
        let modes = tcgetattr(&self.kept).expect("a terminal").local_modes;
        assert_eq!(modes.contains(LocalModes::ECHO), modes.contains(LocalModes::ISIG));
        modes.contains(LocalModes::ECHO)
    }

    fn waits_for(&mut self, text: &str) {
        while !self.seen.ends_with(text) {
            let byte = self.shown.recv_timeout(PATIENCE);
            let byte = byte.unwrap_or_else(|_| panic!("the terminal shows {:?} and not {text:?}", self.seen));
            self.seen.extend(Some(char::from(byte)).filter(|byte| *byte != '\r'));
        }
    }
}

/// `waxseal` in a session without a terminal. What it prints stands after what the test harness prints.
pub(crate) fn without_terminal(folder: &Folder, arguments: &[&str]) -> Child {
    in_session(folder, arguments).spawn().expect("the tests can start themselves")
}

fn in_session(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("a test has an executable"));
    folder.isolated(&mut command);
    command.args(["--exact", "terminal::program_of_a_session"]);
    command.env(PROGRAM, program()).env(ARGUMENTS, arguments.join("\n"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the sessions above run: becomes the program. Does nothing unless they start it.
#[test]
fn program_of_a_session() {
    let (Ok(program), Ok(arguments)) = (env::var(PROGRAM), env::var(ARGUMENTS)) else {
        return;
    };
    setsid().expect("a session of its own");
    heed_interrupts();
    let mut command = Command::new(program);
    command.args(arguments.split('\n'));
    let terminal = env::var(TERMINAL).map(|name| OpenOptions::new().read(true).write(true).open(name));
    if let Ok(terminal) = terminal {
        ioctl_tiocsctty(terminal.expect("a terminal")).expect("the terminal of the session");
    }
    panic!("the program does not start: {}", command.exec());
}

/// Lets the program end at Ctrl-C also where a shell has started the tests in the background: it
/// has its children ignore that. What is handled here has its default effect in the program.
fn heed_interrupts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let _entered = runtime.enter();
    drop(signal(SignalKind::interrupt()).expect("a handler"));
}

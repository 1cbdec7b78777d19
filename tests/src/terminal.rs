//! Pseudo-terminals, and programs in a session of their own.
//!
//! A program asks for passphrases at the terminal of its session, whatever its streams are. Only the process itself can
//! begin a session, and code between fork and exec is unsafe in Rust. So the test program starts itself: the second
//! instance begins the session and becomes the program.

use std::env;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::signal::unix::{SignalKind, signal};

/// No answer takes longer, or there is none.
const PATIENCE: Duration = Duration::from_secs(120);
const PROGRAM: &str = "WAXSEAL_TEST_SESSION_PROGRAM";
const ARGUMENTS: &str = "WAXSEAL_TEST_SESSION_ARGUMENTS";
const TERMINAL: &str = "WAXSEAL_TEST_SESSION_TERMINAL";
/// ASCII's unit separator, which no argument contains.
const SEPARATOR: &str = "\u{1f}";

/// A pseudo-terminal: what is typed into it, and what it shows.
pub struct Terminal {
    end: File,
    name: String,
}

impl Terminal {
    /// Opens a new one.
    pub fn open() -> Self {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&end).and_then(|()| unlockpt(&end)).expect("a pseudo-terminal");
        let name = ptsname(&end, Vec::new()).expect("its name").into_string().expect("an ASCII name");
        Self { end: end.into(), name }
    }

    /// The end that a program has as its stdin or stderr.
    pub fn other_end(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.name).expect("its other end")
    }

    /// Types a text.
    pub fn types(&mut self, text: &str) {
        self.end.write_all(text.as_bytes()).expect("a terminal");
    }

    /// What it shows, typing included; waits until every other end is closed.
    pub fn shows(mut self) -> String {
        let mut shown = Vec::new();
        // The last end to be closed shows as an error.
        let _closed = self.end.read_to_end(&mut shown);
        String::from_utf8(shown).expect("UTF-8").replace("\r\n", "\n")
    }
}

/// What a terminal shows, as it comes.
pub struct Shown {
    bytes: Receiver<u8>,
    seen: Vec<u8>,
}

impl Shown {
    /// What this terminal shows from now on.
    pub fn of(terminal: &Terminal) -> Self {
        let mut end = terminal.end.try_clone().expect("its end");
        let (sender, bytes) = channel();
        thread::spawn(move || {
            let mut byte = [0];
            while end.read_exact(&mut byte).is_ok() && sender.send(byte[0]).is_ok() {}
        });
        Self { bytes, seen: Vec::new() }
    }

    /// Waits until this text is the last that is shown; an error says what is shown instead.
    pub fn waits_for(&mut self, text: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.ends_with(text.as_bytes()) {
            self.next(deadline).map_err(|_| format!("the terminal shows {:?} and not {text:?}", self.text()))?;
        }
        Ok(())
    }

    /// Waits until every program has closed the terminal; gives all that it showed.
    pub fn ends(mut self) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self.text()),
                Err(RecvTimeoutError::Timeout) => return Err(format!("after {:?} nothing ends", self.text())),
            }
        }
    }

    /// What was shown so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn next(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        let byte = self.bytes.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.seen.extend(Some(byte).filter(|byte| *byte != b'\r'));
        Ok(())
    }
}

/// Prepares `command`, which must run [`become_program_of_session`]: it runs `program` in a new session, with or
/// without a terminal.
pub fn run_in_session(
    command: &mut Command,
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    terminal: Option<&Terminal>,
) {
    command.env(PROGRAM, program).env(ARGUMENTS, arguments.join(SEPARATOR));
    if let Some(terminal) = terminal {
        command.env(TERMINAL, &terminal.name);
    }
}

/// Becomes the program that [`run_in_session`] names. Returns only if this process was not started for that.
pub fn become_program_of_session() {
    let (Some(program), Ok(arguments)) = (env::var_os(PROGRAM), env::var(ARGUMENTS)) else {
        return;
    };
    setsid().expect("a session of its own");
    heed_interrupts();
    let mut command = Command::new(program);
    command.args(arguments.split(SEPARATOR));
    if let Some(name) = env::var_os(TERMINAL) {
        let terminal = OpenOptions::new().read(true).write(true).open(name).expect("a terminal");
        ioctl_tiocsctty(terminal).expect("the terminal of the session");
    }
    command.env_remove(PROGRAM).env_remove(ARGUMENTS).env_remove(TERMINAL);
    panic!("the program does not start: {}", command.exec());
}

/// Lets the program end at Ctrl-C also if a shell has started the tests in the background: such a shell has its
/// children ignore the signal. A signal that is handled here has its default effect in the program.
fn heed_interrupts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let _entered = runtime.enter();
    drop(signal(SignalKind::interrupt()).expect("a handler"));
}

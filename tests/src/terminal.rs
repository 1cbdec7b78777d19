//! Pseudo-terminals, and programs in sessions of their own.
//!
//! A program asks for passphrases at the terminal of its session, also if its streams are files. Only the process
//! itself can start a session, and code between fork and exec is unsafe in Rust. So the test program starts itself
//! again: the second instance starts the session and becomes the program.

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

/// The deadline for the output of a program.
const PATIENCE: Duration = Duration::from_secs(120);
const PROGRAM: &str = "WAXSEAL_TEST_SESSION_PROGRAM";
const ARGUMENTS: &str = "WAXSEAL_TEST_SESSION_ARGUMENTS";
const TERMINAL: &str = "WAXSEAL_TEST_SESSION_TERMINAL";
/// ASCII's unit separator, which no argument contains.
const SEPARATOR: &str = "\u{1f}";

/// A pseudo-terminal, for typing and for reading what it shows.
pub struct Terminal {
    end: File,
    name: String,
}

impl Terminal {
    /// Opens a new pseudo-terminal.
    pub fn open() -> Self {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&end).and_then(|()| unlockpt(&end)).expect("a pseudo-terminal");
        let name = ptsname(&end, Vec::new()).expect("its name").into_string().expect("an ASCII name");
        Self { end: end.into(), name }
    }

    /// Returns the end of the terminal that a program gets as stdin, stdout or stderr.
    pub fn other_end(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.name).expect("its other end")
    }

    /// Types a text.
    pub fn types(&mut self, text: &str) {
        self.end.write_all(text.as_bytes()).expect("a terminal");
    }

    /// Returns everything that the terminal shows, also what was typed. Waits until all programs have closed it.
    pub fn shows(mut self) -> String {
        let mut shown = Vec::new();
        // After the last program has closed the terminal, reading fails.
        let _closed = self.end.read_to_end(&mut shown);
        String::from_utf8(shown).expect("UTF-8").replace("\r\n", "\n")
    }
}

/// The output of a terminal, read while programs run.
pub struct Shown {
    bytes: Receiver<u8>,
    seen: Vec<u8>,
}

impl Shown {
    /// Reads the output of this terminal from now on.
    pub fn of(terminal: &Terminal) -> Self {
        let mut end = terminal.end.try_clone().expect("its end");
        let (sender, bytes) = channel();
        thread::spawn(move || {
            let mut byte = [0];
            while end.read_exact(&mut byte).is_ok() && sender.send(byte[0]).is_ok() {}
        });
        Self { bytes, seen: Vec::new() }
    }

    /// Waits until the output ends with this text. The error contains the output.
    pub fn waits_for(&mut self, text: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.ends_with(text.as_bytes()) {
            self.next(deadline).map_err(|_| format!("the terminal shows {:?} and not {text:?}", self.text()))?;
        }
        Ok(())
    }

    /// Waits until every program has closed the terminal; returns the output.
    pub fn ends(mut self) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self.text()),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the terminal is still open and shows {:?}", self.text()));
                }
            }
        }
    }

    /// The output so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn next(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        let byte = self.bytes.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.seen.extend(Some(byte).filter(|byte| *byte != b'\r'));
        Ok(())
    }
}

/// Prepares `command` so that it runs `program` in a new session, with or without a terminal. `command` must be this
/// test program, and its `main` must call [`become_program_of_session`].
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

/// Becomes the program that [`run_in_session`] names. Returns only if this process was not started by such a command.
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

/// Makes Ctrl-C end the program also if a shell runs the tests in the background: the children of such a shell ignore
/// the signal. A signal that is handled here has its default effect in the program.
fn heed_interrupts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let _entered = runtime.enter();
    drop(signal(SignalKind::interrupt()).expect("a handler"));
}

//! A terminal for tests, `waxseal` in a session with or without it, and stdin that is a terminal.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
pub(crate) use waxseal_tests::terminal::Terminal;
use waxseal_tests::terminal::{self, Shown};

use crate::folder::{Folder, program};

/// `waxseal` in a session with its own terminal.
pub(crate) struct Session {
    terminal: Terminal,
    /// Kept open, so that the terminal keeps its settings and its reader does not end.
    kept: File,
    shown: Shown,
    child: Option<Child>,
}

impl Session {
    pub(crate) fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let terminal = Terminal::open();
        let command = in_session(folder, arguments, Some(&terminal));
        Self::of(terminal, command)
    }

    /// Like [`Self::start`], and the terminal is also stdin.
    pub(crate) fn start_with_stdin(folder: &Folder, arguments: &[&str]) -> Self {
        let terminal = Terminal::open();
        let mut command = in_session(folder, arguments, Some(&terminal));
        command.stdin(terminal.other_end());
        Self::of(terminal, command)
    }

    fn of(terminal: Terminal, mut command: Command) -> Self {
        let kept = terminal.other_end();
        let child = Some(command.spawn().expect("the tests can start themselves"));
        let shown = Shown::of(&terminal);
        Self { terminal, kept, shown, child }
    }

    /// Waits until the terminal shows the question, and types an answer.
    pub(crate) fn answers(&mut self, question: &str, answer: &str) {
        self.waits_for(question);
        assert!(!self.is_shown(), "typing shows while {question:?} is asked");
        self.terminal.types(answer);
    }

    /// Waits until the terminal shows the question, and sends the program a signal.
    pub(crate) fn signals(&mut self, question: &str, signal: Signal) {
        self.waits_for(question);
        assert!(!self.is_shown(), "typing shows while {question:?} is asked");
        let child = self.child.as_ref().expect("it has not ended");
        let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(process, signal).expect("it lives");
    }

    /// Waits until the program ends; returns its result, and everything that the terminal showed.
    pub(crate) fn ends(mut self) -> (crate::folder::Outcome, String) {
        let child = self.child.take().expect("it ends once");
        let outcome = crate::folder::communicate(child, Vec::new());
        // Everything that was shown before comes before this.
        self.kept.write_all(b"\nthe end").expect("a terminal");
        self.waits_for("\nthe end");
        assert!(self.is_shown(), "the terminal is left silent");
        let shown = self.shown.text();
        let shown = shown.strip_suffix("\nthe end").expect("it ends so").to_owned();
        assert_eq!(self.line_for_the_shell(), "\n", "the program leaves text for the shell");
        (outcome, shown)
    }

    /// Types a line break, and returns the line that the next program would read.
    fn line_for_the_shell(&mut self) -> String {
        self.terminal.types("\n");
        let mut line = [0; 4096];
        let length = self.kept.read(&mut line).expect("a terminal");
        String::from_utf8_lossy(&line[..length]).into_owned()
    }

    /// Whether the echo is on.
    fn is_shown(&self) -> bool {
        let modes = tcgetattr(&self.kept).expect("a terminal").local_modes;
        assert_eq!(modes.contains(LocalModes::ECHO), modes.contains(LocalModes::ISIG));
        modes.contains(LocalModes::ECHO)
    }

    fn waits_for(&mut self, text: &str) {
        self.shown.waits_for(text).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// `waxseal` in a session without a terminal. Its output comes after the output of the test harness.
pub(crate) fn without_terminal(folder: &Folder, arguments: &[&str]) -> Child {
    in_session(folder, arguments, None).spawn().expect("the tests can start themselves")
}

fn in_session(folder: &Folder, arguments: &[&str], terminal: Option<&Terminal>) -> Command {
    let mut command = Command::new(env::current_exe().expect("a test has an executable"));
    folder.isolated(&mut command);
    command.args(["--exact", "terminal::program_of_a_session"]);
    terminal::run_in_session(&mut command, program(), arguments, terminal);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `waxseal` with a terminal as stdin and stderr, and types the answers. Returns the exit code and everything that
/// the terminal shows.
pub(crate) fn with_answers(folder: &Folder, arguments: &[&str], answers: &str) -> (Option<i32>, String) {
    let mut terminal = Terminal::open();
    terminal.types(answers);
    let mut command = Command::new(program());
    folder.isolated(&mut command).args(arguments).stdin(terminal.other_end()).stderr(terminal.other_end());
    let code = command.status().expect("waxseal runs").code();
    drop(command); // It holds the terminal open.
    (code, terminal.shows())
}

/// Not a test: the sessions above start this test, which then becomes the program. Otherwise it does nothing.
#[test]
fn program_of_a_session() {
    terminal::become_program_of_session();
}

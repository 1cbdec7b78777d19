//! The terminal, or what stands in for it.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use waxseal_shared::visible_text::escaped;

use crate::error::CliError;

/// Stdout for results, stderr for everything else. Nothing is coloured.
pub(crate) struct Streams {
    stderr: io::Stderr,
}

impl Streams {
    /// Those of the process.
    pub(crate) fn standard() -> Self {
        Self { stderr: io::stderr() }
    }

    /// Writes a result, past the standard library's buffer, which would keep a copy.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), CliError> {
        let failed = |error| CliError::io("write to stdout", &error);
        let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        File::from(stdout).write_all(text.as_bytes()).map_err(failed)
    }

    /// Says something that is no result.
    pub(crate) fn say(&mut self, text: &str) {
        self.talk(&format!("{text}\n"));
    }

    pub(crate) fn warn(&mut self, place: &str, text: &str) {
        self.talk(&format!("warning: {place}: {text}\n"));
    }

    pub(crate) fn error(&mut self, error: &CliError) {
        self.talk(&format!("{error}\n"));
    }

    /// Whether there is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && self.stderr.is_terminal()
    }

    /// Asks for a `yes`; everything else is a no.
    pub(crate) fn is_answered_yes(&mut self, question: &str) -> bool {
        self.talk(question);
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
    }

    /// Writes lines to stderr in which every character shows, wherever they come from.
    ///
    /// Nothing can be done about a stderr that does not take them.
    fn talk(&mut self, lines: &str) {
        let lines: Vec<_> = lines.split('\n').map(escaped).collect();
        let _unheard = self.stderr.write_all(lines.join("\n").as_bytes());
    }
}

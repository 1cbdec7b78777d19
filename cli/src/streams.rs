//! Stdout and stderr, and questions that the user answers at the terminal.

use std::fs::File;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use waxseal_shared::visible_text::escaped;

use crate::error::CliError;

/// Writes results to stdout and everything else to stderr, without colours.
pub(crate) struct Streams {
    stderr: io::Stderr,
}

/// Waits until nobody reads stdout any more; never ends if stdout is a file. `status --watch` prints rarely: without
/// this, it would go on until its next line.
pub(crate) async fn stdout_closed() {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    #[expect(deprecated, reason = "its replacement is unsafe; an owned descriptor stays open while it is registered")]
    let Ok(stdout) = stdout.and_then(|stdout| AsyncFd::with_interest(stdout, Interest::WRITABLE)) else {
        return pending().await;
    };
    loop {
        match stdout.ready(Interest::WRITABLE).await {
            Ok(ready) if ready.ready().is_write_closed() => return,
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => return pending().await,
        }
    }
}

/// Returns a number with a noun in the singular or the plural, for messages.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

impl Streams {
    pub(crate) fn standard() -> Self {
        Self { stderr: io::stderr() }
    }

    /// Writes a result directly to the file descriptor: the buffer of `io::stdout` would keep a copy of secrets.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), CliError> {
        let failed = |error| CliError::io("write to stdout", &error);
        let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        File::from(stdout).write_all(text.as_bytes()).map_err(failed)
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.write_escaped(&format!("{text}\n"));
    }

    pub(crate) fn warn(&mut self, place: &str, text: &str) {
        self.say(&format!("warning: {place}: {text}"));
    }

    /// Whether a user can answer: stdin and stderr are terminals.
    pub(crate) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && self.stderr.is_terminal()
    }

    /// Asks a question; returns whether the answer is `yes`.
    pub(crate) fn ask_for_yes(&mut self, question: &str) -> bool {
        self.write_escaped(question);
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
    }

    /// Writes lines to stderr with hidden characters escaped, because texts can contain names that others have chosen.
    fn write_escaped(&mut self, lines: &str) {
        let lines: Vec<_> = lines.split('\n').map(escaped).collect();
        // Ignores errors: there is no other stream to report them on.
        let _unwritten = self.stderr.write_all(lines.join("\n").as_bytes());
    }
}

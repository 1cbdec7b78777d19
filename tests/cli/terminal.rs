//! A terminal with nobody in front of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

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

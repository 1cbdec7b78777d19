//! A wall clock that a test moves while the real programs run with it.
//!
//! The library of `tests/clock` replaces the clock of a program. Timers, and the clocks of the API server and of the
//! test itself, stay as they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::programs::Programs;

/// The clock of all programs that [`Clock::give_to`] was called for.
pub struct Clock {
    library: PathBuf,
    path: PathBuf,
    file: File,
    seconds: AtomicI64,
}

impl Clock {
    /// Makes a clock that shows the real time. `path` is a new file, which the programs read.
    pub fn new(programs: &Programs, path: &Path) -> io::Result<Self> {
        let file = File::create_new(path)?;
        let library = programs.clock.clone();
        let clock = Self { library, path: path.to_owned(), file, seconds: AtomicI64::new(0) };
        clock.advance(SignedDuration::ZERO)?;
        Ok(clock)
    }

    /// Makes a program run with this clock.
    pub fn give_to<'a>(&self, program: &'a mut Command) -> &'a mut Command {
        program.env("LD_PRELOAD", &self.library).env("WAXSEAL_TEST_CLOCK", &self.path)
    }

    /// Moves the clock, also for programs that run already.
    pub fn advance(&self, time: SignedDuration) -> io::Result<()> {
        let seconds = self.seconds.fetch_add(time.as_secs(), Ordering::Relaxed) + time.as_secs();
        self.file.write_all_at(&seconds.to_ne_bytes(), 0)
    }

    /// The time that the programs see.
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

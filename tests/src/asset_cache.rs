//! The folder for programs that are built or installed once for all test runs. One run at a time adds to it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::processes::{self, Process, ProcessGroup};

const HEARTBEAT: Duration = Duration::from_secs(20);

/// The folder `test-assets` in Cargo's target folder. Every entry in it is complete.
#[derive(Debug)]
pub(crate) struct AssetCache {
    folder: PathBuf,
}

impl AssetCache {
    pub(crate) fn new(target: &Path) -> Self {
        Self { folder: target.join("test-assets") }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes an entry unless it is complete. Runs that need the entry at the same time share one build.
    ///
    /// `make` fills a folder below that of the process group and returns its path: this folder becomes the entry.
    /// `files` converts an error about the files of the cache.
    pub(crate) fn fill<E: From<processes::Error>>(
        &self,
        entry: &str,
        is_complete: impl Fn() -> bool,
        files: impl Fn(io::Error) -> E,
        make: impl FnOnce(&ProcessGroup) -> Result<PathBuf, E>,
    ) -> Result<(), E> {
        if is_complete() {
            return Ok(());
        }
        let _lock = self.lock().map_err(&files)?;
        if is_complete() {
            return Ok(());
        }
        let group = ProcessGroup::start(&self.folder)?;
        let made = make(&group)?;
        self.keep(&made, entry).map_err(files)
    }

    /// Locks the folder until the lock is dropped: other runs cannot add entries. Waits for a run that holds the lock.
    pub(crate) fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let file = File::create(self.folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => say("waiting for another run that prepares test programs"),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.lock()?;
        Ok(file)
    }

    /// Adds a complete folder as an entry, by a rename: other runs never see a part of an entry.
    pub(crate) fn keep(&self, made: &Path, entry: &str) -> io::Result<()> {
        let place = self.folder.join(entry);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(made, place)
    }
}

/// Returns a digest of the inputs of an entry, for its name: an outdated entry is never used.
pub(crate) fn digest(inputs: &[&str]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update(input);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits for a process, and prints every 20 seconds that it is still `doing` its work.
pub(crate) fn wait_visibly(process: &mut Process, doing: &str, start: Instant) -> io::Result<ExitStatus> {
    let mut spoken = Instant::now();
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        if spoken.elapsed() >= HEARTBEAT {
            spoken = Instant::now();
            say(&format!("still {doing}, {} s so far", start.elapsed().as_secs()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[expect(clippy::print_stderr, reason = "a build of minutes must be seen to progress")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

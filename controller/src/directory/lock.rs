//! The lock that keeps a second controller off a folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;

use super::durable_file::{FileError, failed_to, visible_path};

const LOCK_FILE: &str = "..lock";

/// A folder that this process alone works on. The operating system ends the lock with the process.
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

#[derive(Debug, Error)]
pub(super) enum LockError {
    #[error("failed to lock {}: another waxseal-controller works on this folder", visible_path(.0))]
    Taken(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
}

impl Lock {
    /// Locks a folder; fails at once if another process has locked it.
    pub(super) fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        // Through a symlink the controller would create or open a file anywhere.
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&path).map_err(failed_to("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken(folder.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed_to("lock", &path)(source).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = Lock::take(folder.path()).expect("it is free");
        let error = Lock::take(folder.path()).err().expect("it is taken");
        let path = folder.path().display();
        assert_eq!(
            error.to_string(),
            format!("failed to lock {path}: another waxseal-controller works on this folder")
        );
        drop(lock);
        assert!(Lock::take(folder.path()).is_ok());
    }

    #[test]
    fn no_symlink_is_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let target = elsewhere.path().join("made");
        std::os::unix::fs::symlink(&target, folder.path().join(LOCK_FILE)).expect("linked");
        let error = Lock::take(folder.path()).err().expect("a symlink");
        assert_eq!(error.to_string(), format!("failed to open {}", folder.path().join(LOCK_FILE).display()));
        assert!(!target.exists());
    }
}

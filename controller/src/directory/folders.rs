//! The three folders of the backend: what is refused at the start, and the locks that keep a second controller away.

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;
use waxseal_shared::visible_text::visible_path;

use super::durable_file::{self, FileError, failed_to};
use crate::args;

const LOCK_FILE: &str = "..lock";

#[derive(Debug, Error)]
pub(super) enum FoldersError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("failed to start: --{0} and --{1} are the same folder, or one lies within the other")]
    Nested(&'static str, &'static str),
    #[error("failed to lock {}: another waxseal-controller works on this folder", visible_path(.0))]
    Locked(PathBuf),
    #[error(
        "failed to keep the lock of {}: this folder, or the file {LOCK_FILE} in it, was removed, replaced or unmounted; \
         put back what is missing, and start the controller again",
        visible_path(.0)
    )]
    Lost(PathBuf),
}

/// The locks of the folders for Secrets and keys, until this value is dropped.
#[derive(Debug)]
pub(super) struct Locks([(PathBuf, File); 2]);

impl Locks {
    /// Fails if a folder is no longer the folder that was locked. In the folder that is now at this path, another
    /// controller could be at work. Or it could be the empty folder below a mount point, and a first key made there
    /// would disappear with the next mount.
    pub(super) fn check(&self) -> Result<(), FoldersError> {
        self.0.iter().try_for_each(|(folder, lock)| {
            let path = folder.join(LOCK_FILE);
            match durable_file::is_at(lock, &path) {
                Ok(true) => Ok(()),
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed_to("look at", &path)(error).into()),
                _ => Err(FoldersError::Lost(folder.clone())),
            }
        })
    }
}

/// Makes the folders for Secrets and keys if they are absent, and locks them: no other controller works on them until
/// the returned value is dropped. `waxseal keys … --keys-dir` does not take these locks. It locks only the file of the
/// published keys, while it changes that file. The folder of manifests must exist.
pub(super) fn open(args: &args::Directory) -> Result<Locks, FoldersError> {
    let args::Directory { manifests, secrets, keys, .. } = args;
    fs::read_dir(manifests).map_err(failed_to("read", manifests))?;
    for made in [secrets, keys] {
        DirBuilder::new().recursive(true).mode(0o700).create(made).map_err(failed_to("create", made))?;
    }
    refuse_nested(args)?;
    Ok(Locks([(secrets.clone(), lock(secrets)?), (keys.clone(), lock(keys)?)]))
}

/// The entries of a folder without the hidden ones, in the order of their names.
pub(super) fn visible_entries(folder: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = durable_file::entries(folder)?;
    entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.sort_unstable_by_key(DirEntry::file_name);
    Ok(entries)
}

/// Secrets and identities among the manifests could be committed to Git. A folder of keys among the Secrets would look
/// like a namespace.
fn refuse_nested(args: &args::Directory) -> Result<(), FoldersError> {
    let real = |path: &PathBuf| fs::canonicalize(path).map_err(failed_to("find", path));
    let manifests = ("manifests", real(&args.manifests)?);
    let (secrets, keys) = (("secrets", real(&args.secrets)?), ("keys", real(&args.keys)?));
    for ((name, path), (other_name, other)) in [(&manifests, &secrets), (&manifests, &keys), (&secrets, &keys)] {
        if path.starts_with(other) || other.starts_with(path) {
            return Err(FoldersError::Nested(name, other_name));
        }
    }
    Ok(())
}

/// Locks a folder until the file is closed. Fails at once if another process has locked it.
fn lock(folder: &Path) -> Result<File, FoldersError> {
    let path = folder.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    // Through a symlink the controller would create or open a file anywhere.
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(&path).map_err(failed_to("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FoldersError::Locked(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed_to("lock", &path)(source).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn open(root: &Path, manifests: &str, secrets: &str, keys: &str) -> Result<Locks, FoldersError> {
        let [manifests, secrets, keys] = [manifests, secrets, keys].map(|name| root.join(name));
        super::open(&args::Directory {
            manifests,
            secrets,
            keys,
            once: true,
            key_life: args::KeyLife::default(),
            forbidden: args::ForbiddenMetadata::default(),
            recovery: args::RecoveryRecipients::default(),
        })
    }

    #[test]
    fn folders_within_each_other_are_refused() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("m")).expect("made");
        for (secrets, keys, names) in
            [("m/s", "k", ["manifests", "secrets"]), ("s", "s", ["secrets", "keys"]), ("s", ".", ["manifests", "keys"])]
        {
            let error = open(root.path(), "m", secrets, keys).expect_err("nested");
            let expected = format!(
                "failed to start: --{} and --{} are the same folder, or one lies within the other",
                names[0], names[1]
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_other_folders_are_made_for_the_owner_alone() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("m")).expect("made");
        open(root.path(), "m", "run/s", "run/k").expect("opened");
        for made in ["run", "run/s", "run/k"] {
            let mode = fs::metadata(root.path().join(made)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
        fs::write(root.path().join("file"), "").expect("written");
        let error = open(root.path(), "m", "file", "k").expect_err("no folder");
        assert_eq!(error.to_string(), format!("failed to create {}", root.path().join("file").display()));
    }

    #[test]
    fn the_folder_of_manifests_must_be_there() {
        let root = tempfile::tempdir().expect("a folder");
        let error = open(root.path(), "m", "s", "k").expect_err("absent");
        assert_eq!(error.to_string(), format!("failed to read {}", root.path().join("m").display()));
        assert!(!root.path().join("s").exists());
    }

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let locked = lock(folder.path()).expect("it is free");
        let error = lock(folder.path()).expect_err("it is taken");
        let path = folder.path().display();
        assert_eq!(
            error.to_string(),
            format!("failed to lock {path}: another waxseal-controller works on this folder")
        );
        drop(locked);
        assert!(lock(folder.path()).is_ok());
    }

    #[test]
    fn the_locks_do_not_count_for_another_folder_at_the_same_path() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("m")).expect("made");
        for name in ["s", "k"] {
            let locks = open(root.path(), "m", "s", "k").expect("opened");
            locks.check().expect("both are there");
            let (folder, aside) = (root.path().join(name), root.path().join("aside"));
            fs::rename(&folder, &aside).expect("moved");
            let lost = |locks: &Locks| locks.check().expect_err("it is lost").to_string();
            let expected = format!(
                "failed to keep the lock of {}: this folder, or the file ..lock in it, was removed, replaced or \
                 unmounted; put back what is missing, and start the controller again",
                folder.display()
            );
            assert_eq!(lost(&locks), expected);
            fs::create_dir(&folder).expect("made");
            assert_eq!(lost(&locks), expected);
            fs::write(folder.join(LOCK_FILE), "").expect("written");
            assert_eq!(lost(&locks), expected);
            fs::remove_dir_all(&folder).expect("removed");
            fs::rename(aside, folder).expect("moved back");
            locks.check().expect("both are there");
        }
    }

    #[test]
    fn no_symlink_is_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let target = elsewhere.path().join("made");
        std::os::unix::fs::symlink(&target, folder.path().join(LOCK_FILE)).expect("linked");
        let error = lock(folder.path()).expect_err("a symlink");
        assert_eq!(error.to_string(), format!("failed to open {}", folder.path().join(LOCK_FILE).display()));
        assert!(!target.exists());
    }
}

//! Files that a crash leaves whole, and the error of a file operation.
//!
//! The CLI replaces files in its own way (`cli/src/output.rs`): they belong to a person, so it keeps their mode and
//! never follows a link out of a work tree. The files here get a fixed mode, in folders that no other controller works
//! on.

use std::fs::{self, DirEntry, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;
use thiserror::Error;
use waxseal_shared::reason::Reason;
use waxseal_shared::visible_text::visible_path;

/// The prefix of temporary files, folders and symlinks, which a crash can leave behind.
pub(super) const UNFINISHED: &str = "..unfinished-";

/// An operation on a file or folder that failed.
#[derive(Debug, Error)]
#[error("failed to {operation} {}", visible_path(path))]
pub(super) struct FileError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

impl FileError {
    /// The reason that the same failure would have in a cluster.
    pub(super) fn reason(&self) -> Reason {
        match self.source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Reason::Forbidden,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::Quota,
            _ => Reason::ApiUnavailable,
        }
    }
}

/// Completes an error of the operating system with the operation and the path: `failed to read PATH`.
pub(super) fn failed_to(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError { operation, path: path.to_owned(), source }
}

/// Reads a regular file of at most `limit` bytes. Refuses a named pipe at once instead of waiting for a writer.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_regular(path, limit, OFlags::NONBLOCK)
}

/// Like [`read`], and refuses a symlink.
pub(super) fn read_itself(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_regular(path, limit, OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

fn read_regular(path: &Path, limit: u64, flags: OFlags) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    // Room for the whole file: a buffer that grows needs much more memory than the limit.
    let size = usize::try_from(metadata.len().min(limit)).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(size + 1);
    if file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Creates a file that did not exist, with exactly this mode, and flushes it.
pub(super) fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Replaces or creates a file. After a crash the folder holds the whole old file or the whole new file.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write_unfinished(path, content, mode)?.persist(path)?;
    sync_folder(folder_of(path))
}

/// Like [`replace`], unless the file already has this content. Returns whether it wrote.
pub(super) fn update(path: &Path, content: &[u8], mode: u32) -> io::Result<bool> {
    let is_same = read_itself(path, content.len() as u64).is_ok_and(|present| present == content);
    if is_same { Ok(false) } else { replace(path, content, mode).map(|()| true) }
}

/// Locks a regular file until the result is dropped; `None` if another program has just replaced the file. Fails with
/// `WouldBlock` if another program holds the lock: `waxseal keys … --keys-dir` does so while it reads and replaces the
/// published keys.
pub(super) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another program holds its lock"));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(is_at(&file, path)?.then_some(file))
}

/// Whether an open file is the file at a path. Fails if there is no file at the path.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, path.symlink_metadata()?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Like [`replace`], but fails if there is a file already.
pub(super) fn add(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write_unfinished(path, content, mode)?.persist_noclobber(path)?;
    sync_folder(folder_of(path))
}

fn write_unfinished(path: &Path, content: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let made = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder_of(path));
    let mut file = made.map_err(without_name)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    // The `Write` of `NamedTempFile` itself would add the random name to its errors.
    file.as_file_mut().write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Takes the random name out of an error of `tempfile`. An error that differs each time would be logged each time.
pub(super) fn without_name(error: io::Error) -> io::Error {
    error.kind().into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Flushes the names in a folder.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes what a crash left unfinished in a folder. Returns whether there was anything.
///
/// Call it only under the lock: a file that another process is about to finish has such a name too.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<bool> {
    remove_entries(folder, |entry| entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()))
}

/// Removes the selected entries: files, whole folders, and symlinks (not their targets). Returns whether there was any.
/// If an entry cannot be removed, goes on with the others, and returns the first error.
pub(super) fn remove_entries(folder: &Path, is_selected: impl Fn(&DirEntry) -> bool) -> io::Result<bool> {
    let selected: Vec<_> = entries(folder)?.into_iter().filter(is_selected).collect();
    let remove = |entry: &DirEntry| {
        let remove = if entry.file_type()?.is_dir() { fs::remove_dir_all } else { fs::remove_file };
        remove(&entry.path()).map_err(|error| with_path(&entry.path(), &error))
    };
    let failed = selected.iter().filter_map(|entry| remove(entry).err()).collect::<Vec<_>>();
    failed.into_iter().next().map_or(Ok(!selected.is_empty()), Err)
}

/// Adds the path of a file below the folder that the error is about.
pub(super) fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", visible_path(path)))
}

pub(super) fn entries(folder: &Path) -> io::Result<Vec<DirEntry>> {
    fs::read_dir(folder)?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it was written").permissions().mode() & 0o7777
    }

    #[test]
    fn a_replaced_file_has_the_new_content_and_mode_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.yaml");
        replace(&path, b"one", 0o600).expect("written");
        replace(&path, b"two", 0o644).expect("written");
        assert_eq!((fs::read(&path).ok(), mode(&path)), (Some(b"two".to_vec()), 0o644));
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1);
    }

    #[test]
    fn an_added_file_is_never_put_over_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("k.key");
        add(&path, b"one", 0o600).expect("written");
        assert_eq!(add(&path, b"two", 0o600).expect_err("it exists").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).ok(), Some(b"one".to_vec()));
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "1234").expect("written");
        assert_eq!(read(&path, 4).expect("small enough").as_slice(), b"1234");
        assert_eq!(read(&path, 3).expect_err("too large").to_string(), "larger than 3 bytes");
        assert_eq!(read(folder.path(), 4).expect_err("a folder").to_string(), "not a regular file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        assert!(read(&link, 4).is_ok());
        assert!(read_itself(&link, 4).is_err());
    }

    #[test]
    fn an_error_is_the_same_at_each_attempt() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing/a");
        let errors = [(); 2].map(|()| add(&missing, b"x", 0o600).expect_err("no folder").to_string());
        assert_eq!(errors, ["entity not found"; 2]);
    }

    #[test]
    fn only_unfinished_files_and_folders_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let unfinished = folder.path().join(format!("{UNFINISHED}1"));
        fs::create_dir_all(unfinished.join("deep")).expect("made");
        fs::write(folder.path().join("kept"), "").expect("written");
        assert!(remove_unfinished(folder.path()).expect("removed"));
        assert!(!unfinished.exists());
        assert!(!remove_unfinished(folder.path()).expect("nothing to remove"));
        assert!(folder.path().join("kept").exists());
    }
}

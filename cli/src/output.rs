//! Writes files: replaces them atomically.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fchmod, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use waxseal_shared::visible_text::visible_path;

use crate::error::{CliError, Kind};
use crate::file_names::folder_of;
use crate::git;
use crate::input::MAX_INPUT_BYTES;

const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How many folders stay open until they are synced. The usual limit of a process is 1,024 open files.
const MAX_OPEN_FOLDERS: usize = 256;

/// The warning after a file with a hard link was replaced.
pub(crate) const SECOND_NAME_STAYS: &str = "another name of the file, a hard link, still leads to the text from before";

/// Whether a file has a second name, a hard link, which leads to the old text after the file was replaced.
pub(crate) fn has_second_name(file: &Path) -> bool {
    file.metadata().is_ok_and(|file| file.nlink() > 1)
}

/// How long a write waits for another program that holds the lock of the file, and how often it tries.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// What `--output` names: stdout, or the file at a path.
pub(crate) enum Output {
    Stdout,
    File(PathBuf),
}

impl Output {
    /// Returns the output for the value of `--output`: stdout for no value and for `-`. Refuses the names of formats:
    /// `-o yaml` selects a format in kubectl.
    pub(crate) fn named(name: Option<PathBuf>) -> Result<Self, CliError> {
        let Some(path) = name.filter(|name| name.as_os_str() != "-") else {
            return Ok(Self::Stdout);
        };
        if path != Path::new("yaml") && path != Path::new("json") {
            return Ok(Self::File(path));
        }
        let name = visible_path(&path);
        let error = CliError::usage(format!("--output names a file, and {name} looks like a format"));
        Err(error.with_hint(format!(
            "the result has the format of the input; for a file with the name {name} write ./{name}"
        )))
    }
}

/// Refuses `--output -`, and what [`Output::named`] refuses, for commands that need a file.
pub(crate) fn check_names_a_file(name: &Path) -> Result<(), CliError> {
    match Output::named(Some(name.to_owned()))? {
        Output::File(_) => Ok(()),
        Output::Stdout => Err(CliError::usage("this command writes to a file, but `--output -` means stdout")
            .with_hint("name a file; for a file called - write ./-")),
    }
}

/// The error for a file that somebody else has changed since it was read: the changes would be lost.
pub(crate) fn changed_meanwhile(place: &str) -> CliError {
    let error = CliError::new(Kind::Failed, "changed while waxseal worked on it, so it stays as it is");
    error.at(place).with_hint("run the command again")
}

/// Replaces or creates a file, like [`Destination::write`]. After that, the new file survives a crash.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), CliError> {
    let folders = ChangedFolders::default();
    Destination::at(path)?.write(text, &folders)?;
    folders.sync()
}

/// A file, a pipe or a device to write to.
pub(crate) enum Destination {
    /// A regular file, or a file to create. Its folder is open already, so that a link that appears in the path later
    /// cannot redirect the write.
    File { folder: OwnedFd, name: OsString, shown: String },
    /// An existing pipe or device.
    Stream { path: PathBuf },
}

/// The file that a write would replace.
pub(crate) struct ExistingFile {
    /// Its first 32 MiB.
    pub(crate) content: Vec<u8>,
    /// Whether `content` is the whole file.
    pub(crate) is_whole: bool,
    metadata: fs::Metadata,
}

impl Destination {
    /// The file at a path; follows symbolic links.
    pub(crate) fn at(path: &Path) -> Result<Self, CliError> {
        check_symbolic_links(path)?;
        let failed = |error: io::Error| CliError::path("write it", path, &error);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Err(failed(Errno::ISDIR.into())),
            Ok(metadata) if !metadata.is_file() => Ok(Self::Stream { path: path.to_owned() }),
            Ok(_) => Self::in_folder_of(&path.canonicalize().map_err(failed)?, path),
            Err(_) if path.is_symlink() => Err(link_to_nowhere(path)),
            Err(_) if path.as_os_str().as_encoded_bytes().ends_with(b"/") => Err(failed(Errno::ISDIR.into())),
            Err(_) => Self::in_folder_of(path, path),
        }
    }

    /// Like [`Self::at`], but refuses a pipe and a device: a command that changes a file cannot change them.
    pub(crate) fn of_regular_file(path: &Path) -> Result<Self, CliError> {
        match Self::at(path)? {
            Self::Stream { .. } => {
                Err(CliError::refused("is not a regular file, so it is not replaced").at(visible_path(path)))
            }
            destination => Ok(destination),
        }
    }

    fn in_folder_of(target: &Path, path: &Path) -> Result<Self, CliError> {
        let folder = folder_of(target);
        let name = target.file_name().ok_or_else(|| CliError::path("write it", path, &Errno::ISDIR.into()))?;
        Ok(Self::File { folder: open_folder(&folder)?, name: name.to_owned(), shown: visible_path(path) })
    }

    /// The file at a path below a folder; creates the folders between. Refuses symbolic links below the folder, and
    /// everything that is not a regular file.
    pub(crate) fn below(root: &Path, relative: &Path) -> Result<Self, CliError> {
        make_folder(root)?;
        let mut folder = open_folder(root)?;
        let mut path = root.to_owned();
        let mut names = relative.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let name = names.next_back().unwrap_or_default();
        for name in names {
            path.push(name);
            folder = folder_in(&folder, name, &path)?;
        }
        path.push(name);
        let shown = visible_path(&path);
        match type_of(&folder, name) {
            Ok(FileType::RegularFile) | Err(Errno::NOENT) => Ok(Self::File { folder, name: name.to_owned(), shown }),
            Ok(FileType::Symlink) => Err(link_below(&path)),
            Ok(FileType::Directory) => Err(CliError::path("write it", &path, &Errno::ISDIR.into())),
            Ok(_) => Err(CliError::refused("is not a regular file").at(shown)),
            Err(error) => Err(CliError::path("write it", &path, &error.into())),
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }

    /// Returns the name that errors show.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::File { shown, .. } => shown.clone(),
            Self::Stream { path } => visible_path(path),
        }
    }

    /// Reads the file that [`write`](Self::write) would replace; `None` for a pipe or a device, and without a file.
    pub(crate) fn existing(&self) -> Result<Option<ExistingFile>, CliError> {
        let Self::File { folder, name, shown } = self else {
            return Ok(None);
        };
        let failed = |error: io::Error| CliError::io("read it", &error).at(shown);
        // A pipe that replaced the file would block without NONBLOCK.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let metadata = file.metadata().map_err(failed)?;
        let mut content = Vec::new();
        let mut first = file.take(MAX_INPUT_BYTES as u64 + 1);
        first.read_to_end(&mut content).map_err(failed)?;
        let is_whole = content.len() <= MAX_INPUT_BYTES;
        Ok(Some(ExistingFile { content, is_whole, metadata }))
    }

    /// Locks the file until the result is dropped. Other runs of `waxseal` wait for the lock before they compare and
    /// replace the file. The controller on a folder of keys leaves a locked file alone until its next pass.
    ///
    /// Returns `None` for a pipe or a device, for a file that does not exist or cannot be opened, and on a file system
    /// without locks.
    pub(crate) fn lock(&self) -> Result<Option<File>, CliError> {
        let Self::File { folder, name, shown } = self else {
            return Ok(None);
        };
        let start = Instant::now();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        while let Ok(file) = openat(folder, name, flags, Mode::empty()).map(File::from) {
            match file.try_lock() {
                Ok(()) if is_in_folder(&file, folder, name) => return Ok(Some(file)),
                // If it is locked, somebody has replaced the file meanwhile: this is the lock of the old one.
                Ok(()) | Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_DEADLINE => thread::sleep(LOCK_RETRY),
                Ok(()) | Err(TryLockError::WouldBlock) => {
                    let error = CliError::new(Kind::Failed, "another program holds the lock of this file");
                    return Err(error.at(shown).with_hint("see if another waxseal hangs, and run the command again"));
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
        // Without a file there is nothing to lock. If the file cannot be read, reading it gives the error.
        Ok(None)
    }

    /// Replaces the file like [`write`](Self::write), but only if it still has the text that was read. Otherwise the
    /// changes that somebody else made since then would be lost.
    pub(crate) fn write_over(&self, read: &str, text: &str, folders: &ChangedFolders) -> Result<(), CliError> {
        let _lock = self.lock()?;
        if self.existing()?.is_none_or(|existing| existing.content != read.as_bytes()) {
            return Err(changed_meanwhile(&self.place()));
        }
        self.write(text, folders)
    }

    /// Replaces or creates the file: writes a temporary file in the same folder, syncs it and renames it. Keeps the
    /// mode, and the owner and the group if it may. Until `folders` are synced, a crash can bring back the old file.
    ///
    /// Writes directly to a pipe or device.
    pub(crate) fn write(&self, text: &str, folders: &ChangedFolders) -> Result<(), CliError> {
        let written = match self {
            Self::File { folder, name, shown } => {
                replace_whole(folder, name, text).and_then(|()| folders.add(folder, shown))
            }
            Self::Stream { path } => {
                OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()))
            }
        };
        written.map_err(|error| CliError::io("write it", &error).at(self.place()))
    }
}

/// Folders in which files were replaced. Each is synced once, after all of its files: one sync takes longer than
/// sealing a file.
#[derive(Default)]
pub(crate) struct ChangedFolders(Mutex<BTreeMap<(u64, u64), (File, String)>>);

impl ChangedFolders {
    /// Adds a folder, with the file that an error would name. Syncs the folder at once if too many are open.
    fn add(&self, folder: &OwnedFd, place: &str) -> io::Result<()> {
        let folder = File::from(folder.try_clone()?);
        let metadata = folder.metadata()?;
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = folders.len() < MAX_OPEN_FOLDERS;
        match folders.entry((metadata.dev(), metadata.ino())) {
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(entry) if has_room => {
                entry.insert((folder, place.to_owned()));
                Ok(())
            }
            Entry::Vacant(_) => folder.sync_all(),
        }
    }

    /// Syncs the folders. After that, the new files survive a crash.
    pub(crate) fn sync(self) -> Result<(), CliError> {
        let folders = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        folders.into_values().try_for_each(|(folder, place)| {
            folder.sync_all().map_err(|error| CliError::io("write it", &error).at(place))
        })
    }
}

impl ExistingFile {
    /// Whether this is the file at a path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == (self.metadata.dev(), self.metadata.ino()))
    }
}

/// Refuses a path through a symbolic link that leads out of its Git work tree: the link may come from a commit of
/// somebody else.
pub(crate) fn check_symbolic_links(path: &Path) -> Result<(), CliError> {
    let Some(link) = git::link_out_of_work_tree(path) else {
        return Ok(());
    };
    let error = CliError::refused("is a symbolic link that does not lead to a file of its Git work tree");
    Err(error
        .at(visible_path(&link))
        .with_hint("nothing is written through it: name the file or folder that it leads to"))
}

/// Removes a file for good: after that, it is gone even if the machine crashes. Succeeds if there is no file.
pub(crate) fn remove(path: &Path) -> Result<(), CliError> {
    let removed = fs::remove_file(path).and_then(|()| File::open(folder_of(path))?.sync_all());
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::path("delete it", path, &error)),
        _ => Ok(()),
    }
}

/// Creates a folder and its parents unless they exist. Follows no link out of a work tree ([`check_symbolic_links`]).
pub(crate) fn make_folder(path: &Path) -> Result<(), CliError> {
    check_symbolic_links(path)?;
    let made = fs::create_dir_all(path).map_err(|error| match error.kind() {
        // `create_dir_all` gives this only for a file, and for a symbolic link that leads nowhere.
        io::ErrorKind::AlreadyExists => {
            let broken_link = path.ancestors().find(|part| part.is_symlink() && !part.exists());
            let file = || CliError::path("make the folder", path, &Errno::NOTDIR.into());
            broken_link.map_or_else(file, link_to_nowhere)
        }
        _ => CliError::path("make the folder", path, &error),
    });
    // In `absent/../link/new`, nothing leads to the link until `absent` is made.
    made.and_then(|()| check_symbolic_links(path))
}

fn open_folder(path: &Path) -> Result<OwnedFd, CliError> {
    let opened = openat(CWD, path, FOLDER_FLAGS, Mode::empty());
    opened.map_err(|error| CliError::path("write into it", path, &error.into()))
}

/// Opens a folder in a folder; creates it if it does not exist.
fn folder_in(folder: &OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd, CliError> {
    match mkdirat(folder, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(CliError::path("make the folder", path, &error.into())),
    }
    openat(folder, name, FOLDER_FLAGS | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| match type_of(folder, name) {
        Ok(FileType::Symlink) => link_below(path),
        _ => CliError::path("write into it", path, &error.into()),
    })
}

/// Returns the type of the file in a folder; does not follow links.
fn type_of(folder: &OwnedFd, name: &OsStr) -> Result<FileType, Errno> {
    let file = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(file.st_mode))
}

/// Whether a file is the one with this name in the folder.
fn is_in_folder(file: &File, folder: &OwnedFd, name: &OsStr) -> bool {
    let Ok(named) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return false;
    };
    file.metadata().is_ok_and(|file| (file.dev(), file.ino()) == (named.st_dev, named.st_ino))
}

fn link_to_nowhere(path: &Path) -> CliError {
    CliError::refused("is a symbolic link that leads nowhere").at(visible_path(path))
}

/// The error for a link below a folder that [`Destination::below`] writes into.
fn link_below(path: &Path) -> CliError {
    let error = CliError::refused("is a symbolic link, and nothing is written through it");
    error.at(visible_path(path)).with_hint("remove the link")
}

fn replace_whole(folder: &OwnedFd, name: &OsStr, text: &str) -> io::Result<()> {
    let existing = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let existing = existing.filter(|file| FileType::from_raw_mode(file.st_mode) == FileType::RegularFile);
    // Only this user can read it until it gets the owner and the mode of the file that it replaces.
    let mode = Mode::from_raw_mode(if existing.is_some() { 0o600 } else { 0o666 });
    let (temporary, mut file) = create_temporary(folder, mode)?;
    let mut write_and_rename = || -> io::Result<()> {
        file.write_all(text.as_bytes())?;
        existing.as_ref().map_or(Ok(()), |existing| keep_owner_and_mode(&file, existing))?;
        file.sync_all()?;
        Ok(renameat(folder, &temporary, folder, name)?)
    };
    write_and_rename().inspect_err(|_| {
        // Ignores errors: the user needs the first error.
        let _left_behind = unlinkat(folder, &temporary, AtFlags::empty());
    })
}

/// Gives a new file the owner, the group and the mode of the file that it replaces.
fn keep_owner_and_mode(file: &File, existing: &Stat) -> io::Result<()> {
    let metadata = file.metadata()?;
    // Ignores errors, as editors do: usually only root may give a file away. The group comes first, because the giver
    // may no longer change the group of another user's file.
    if metadata.gid() != existing.st_gid {
        let _same = fchown(file, None, Some(existing.st_gid));
    }
    if metadata.uid() != existing.st_uid {
        let _same = fchown(file, Some(existing.st_uid), None);
    }
    Ok(fchmod(file, Mode::from_raw_mode(existing.st_mode))?)
}

fn create_temporary(folder: &OwnedFd, mode: Mode) -> io::Result<(String, File)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let process = std::process::id();
    for attempt in 0..u32::MAX {
        let name = format!(".waxseal-{process}-{attempt}");
        match openat(folder, &name, flags, mode) {
            Ok(file) => return Ok((name, file.into())),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

//! Whether Git tracks, ignores or has committed a file, and which contents files have in commits. Reads repositories
//! without starting Git.
//!
//! Only this module and those below it name `gix`. A folder is a work tree only if it contains `.git`. Git never checks
//! out a file of that name, so repositories that come from a commit, such as a bare repository in a folder, are never
//! opened.

mod commits;
mod folders;
mod history;
mod ignore_rules;
mod repository;
mod revisions;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use commits::{Commit, Reach};
pub(crate) use revisions::{Blob, Revisions, search};

use crate::file_names::folder_of;
use repository::{PathState, Repository};

/// How long [`exposure`] and [`held`] may read repositories: a history can be long, and a damaged repository can block.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// Whether `git add` would add a file at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// No repository would add it: the path is in no work tree, or each repository around it ignores it.
    Private,
    /// The nearest repository does not ignore it.
    Exposed,
    /// A repository further up does not ignore it; this is its work tree.
    ExposedTo(PathBuf),
    /// A repository tracks a file of that name. Ignore rules do not apply to tracked files.
    Tracked,
    /// The path is inside the folder of a repository itself, such as `.git`.
    InsideRepository,
    /// The path is in a work tree whose repository cannot be read within [`READ_TIMEOUT`].
    Unknown,
}

/// Whether Git has a file, in an index or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    No,
    Perhaps(Doubt),
    Yes,
}

/// Why it is not known whether Git has a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// Commits or trees are missing, as in a shallow or partial clone.
    Incomplete,
    /// Reading all of the history takes too long.
    TooLong,
    /// The repository cannot be read.
    Unreadable,
}

/// Returns whether Git would add a file at a path. The file need not exist.
pub(crate) fn exposure(path: &Path) -> Exposure {
    let (Ok(folder), Some(name)) = (folder_of(path).canonicalize(), path.file_name()) else {
        // No file can be created in a folder that does not exist.
        return Exposure::Private;
    };
    if is_closed(&folder) {
        // Creating the file gives the error.
        return Exposure::Private;
    }
    let path = folder.join(name);
    if is_inside_repository(&path) {
        return Exposure::InsideRepository;
    }
    let (sender, receiver) = mpsc::channel();
    // The thread is left alone after the timeout. If it does not start, the channel closes.
    let _not_started = thread::Builder::new().spawn(move || sender.send(exposure_in_work_trees(&path)));
    receiver.recv_timeout(READ_TIMEOUT).unwrap_or(Exposure::Unknown)
}

fn exposure_in_work_trees(path: &Path) -> Exposure {
    let mut nested: Vec<&Path> = Vec::new();
    for root in work_trees(path) {
        let Some(repository) = Repository::open(root) else {
            return Exposure::Unknown;
        };
        match repository.path_state(path, &nested) {
            None => return Exposure::Unknown,
            Some(PathState::Tracked) => return Exposure::Tracked,
            Some(PathState::Exposed) if nested.is_empty() => return Exposure::Exposed,
            Some(PathState::Exposed) => return Exposure::ExposedTo(root.to_owned()),
            Some(PathState::Ignored) => nested.push(root),
        }
    }
    Exposure::Private
}

/// Returns for each file whether Git has it: whether a repository whose work tree contains the file has the file in its
/// index or in a commit that a reference leads to. No file may be given twice.
pub(crate) fn held(files: &[PathBuf]) -> Vec<Held> {
    let deadline = Instant::now() + READ_TIMEOUT;
    let mut by_root: BTreeMap<PathBuf, Vec<(usize, PathBuf)>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        let Ok(file) = file.canonicalize() else {
            continue;
        };
        for root in work_trees(&file) {
            by_root.entry(root.to_owned()).or_default().push((index, file.clone()));
        }
    }
    let mut held = vec![Held::No; files.len()];
    for (root, files) in by_root {
        let indexes: Vec<_> = files.iter().map(|(index, _)| *index).collect();
        let (sender, receiver) = mpsc::channel();
        // Here too, the thread is left alone after the timeout.
        let _not_started = thread::Builder::new().spawn(move || history::search(&root, &files, &sender));
        let doubt = loop {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Finding::Has(index)) => held[index] = Held::Yes,
                Ok(Finding::End(doubt)) => break doubt,
                Err(RecvTimeoutError::Timeout) => break Some(Doubt::TooLong),
                Err(RecvTimeoutError::Disconnected) => break Some(Doubt::Unreadable),
            }
        };
        if let Some(doubt) = doubt {
            indexes.into_iter().for_each(|index| held[index] = held[index].max(Held::Perhaps(doubt)));
        }
    }
    held
}

/// A message from the search of one repository.
enum Finding {
    /// The repository has the file of this number.
    Has(usize),
    /// The end of the search, and whether it may have missed files.
    End(Option<Doubt>),
}

/// Returns the first symbolic link of a path that leads from inside a work tree to a place outside, into `.git`, or
/// nowhere.
///
/// Callers refuse such a link: a committed link must not redirect a path that the user types.
pub(crate) fn link_out_of_work_tree(path: &Path) -> Option<PathBuf> {
    let mut walked = PathBuf::new();
    for component in path.components() {
        walked.push(component);
        if !walked.is_symlink() {
            continue;
        }
        let Ok(folder) = folder_of(&walked).canonicalize() else {
            return Some(walked);
        };
        let Some(root) = work_tree_around(&folder) else {
            continue;
        };
        if !walked.canonicalize().is_ok_and(|target| is_inside(root, &target)) {
            return Some(walked);
        }
    }
    None
}

/// Whether a path is below a folder, and not in a `.git` below the folder. Both paths must be canonical.
pub(crate) fn is_inside(folder: &Path, path: &Path) -> bool {
    let is_git = |part: Component<'_>| part.as_os_str().eq_ignore_ascii_case(".git");
    path.strip_prefix(folder).is_ok_and(|inside| !inside.components().any(is_git))
}

/// Returns the nearest work tree that is or contains a path. The path must be canonical, and need not exist.
pub(crate) fn work_tree_around(path: &Path) -> Option<&Path> {
    path.ancestors().find(|folder| is_work_tree(folder))
}

/// Whether a path leads into the folder of a repository itself, such as `.git` or a bare repository.
pub(crate) fn is_inside_repository(path: &Path) -> bool {
    path.ancestors().any(is_repository_itself)
}

pub(crate) fn is_work_tree(folder: &Path) -> bool {
    exists(&folder.join(".git"))
}

/// The folders above a path that contain `.git`, nearest first.
fn work_trees(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).filter(|folder| is_work_tree(folder))
}

/// Whether a path is the folder of a repository: it is called `.git`, or Git would take it for a bare repository or for
/// the part of a repository that belongs to a linked work tree.
fn is_repository_itself(path: &Path) -> bool {
    let holds = |name: &str| exists(&path.join(name));
    let is_called_git = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(".git"));
    is_called_git || !is_closed(path) && holds("HEAD") && (holds("commondir") || holds("objects") && holds("refs"))
}

/// Whether this process may not search a folder: then it cannot read or create a file in it.
fn is_closed(folder: &Path) -> bool {
    folder.join(".").symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether a file or folder exists at a path; also true if that cannot be found out.
fn exists(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

//! What Git knows of a file, read from its repositories without starting a program.
//!
//! Only this module and those below it name `gix`. A folder counts as a work tree only if it holds
//! `.git`: Git never checks out a file of that name, so a repository that a commit brings along,
//! such as a bare one in a folder, is never opened.

mod history;
mod ignore_rules;
mod repository;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::file_names::folder_of;
use repository::{Judgement, Repository};

/// How long repositories are read: a history can be long, and a damaged repository can block.
const PATIENCE: Duration = Duration::from_secs(8);

/// Where a path stands with Git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No repository would add it: it is in no work tree, or every repository in whose work tree
    /// it is ignores it.
    Private,
    /// The nearest repository does not ignore it.
    Exposed,
    /// A repository further up, with this work tree, does not ignore it.
    ExposedTo(PathBuf),
    /// A repository tracks a file of that name, so ignore rules do not count.
    Tracked,
    /// It is inside the folder of a repository itself.
    InsideRepository,
    /// It is in a work tree whose repository cannot be read.
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

/// Says where a path, which need not exist, stands with Git.
pub(crate) fn standing(path: &Path) -> Standing {
    let (Ok(folder), Some(name)) = (folder_of(path).canonicalize(), path.file_name()) else {
        // Without its folder no file can be made there.
        return Standing::Private;
    };
    let path = folder.join(name);
    if path.ancestors().any(is_repository_itself) {
        return Standing::InsideRepository;
    }
    let (sender, receiver) = mpsc::channel();
    // Nobody waits for the thread if it takes too long, and without a thread nobody answers.
    let _not_started = thread::Builder::new().spawn(move || sender.send(standing_in_work_trees(&path)));
    receiver.recv_timeout(PATIENCE).unwrap_or(Standing::Unknown)
}

fn standing_in_work_trees(path: &Path) -> Standing {
    let mut nested: Vec<&Path> = Vec::new();
    for root in work_trees(path) {
        let Some(repository) = Repository::of(root) else {
            return Standing::Unknown;
        };
        match repository.judge(path, &nested) {
            None => return Standing::Unknown,
            Some(Judgement::Tracked) => return Standing::Tracked,
            Some(Judgement::Exposed) if nested.is_empty() => return Standing::Exposed,
            Some(Judgement::Exposed) => return Standing::ExposedTo(root.to_owned()),
            Some(Judgement::Ignored) => nested.push(root),
        }
    }
    Standing::Private
}

/// Says for each of some different files whether the index or a commit that a reference leads to
/// holds it, in any repository whose work tree it is in.
pub(crate) fn held(files: &[PathBuf]) -> Vec<Held> {
    let deadline = Instant::now() + PATIENCE;
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
        let mut doubt = None;
        let (sender, receiver) = mpsc::channel();
        // Here, too, nobody waits for the thread.
        let _not_started = thread::Builder::new().spawn(move || history::search(&root, &files, &sender));
        loop {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Finding::Holds(index)) => held[index] = Held::Yes,
                Ok(Finding::Doubt(found)) => doubt = Some(found),
                Ok(Finding::End) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    doubt = Some(Doubt::TooLong);
                    break;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    doubt = Some(Doubt::Unreadable);
                    break;
                }
            }
        }
        if let Some(doubt) = doubt {
            indexes.into_iter().for_each(|index| held[index] = held[index].max(Held::Perhaps(doubt)));
        }
    }
    held
}

/// What a search of one repository finds.
enum Finding {
    /// It holds this file.
    Holds(usize),
    Doubt(Doubt),
    End,
}

/// The first symbolic link on a path that lies in a work tree and leads out of it, or to nothing.
///
/// A committed link must not decide where a path leads that somebody types.
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
        let Some(root) = folder.ancestors().find(|folder| exists(&folder.join(".git"))) else {
            continue;
        };
        let is_inside = |target: PathBuf| {
            target.strip_prefix(root).is_ok_and(|inside| inside.components().all(|part| part.as_os_str() != ".git"))
        };
        if !walked.canonicalize().is_ok_and(is_inside) {
            return Some(walked);
        }
    }
    None
}

/// The folders above a path that hold `.git`, nearest first.
fn work_trees(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).filter(|folder| exists(&folder.join(".git")))
}

/// Whether a path is that of a repository: it is called `.git`, or looks to Git like a bare
/// repository or like the part of one that belongs to a linked work tree.
fn is_repository_itself(path: &Path) -> bool {
    let holds = |name: &str| exists(&path.join(name));
    let is_called_so = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(".git"));
    is_called_so || holds("HEAD") && (holds("commondir") || holds("objects") && holds("refs"))
}

/// Whether something has this name; if nobody can say, something has.
fn exists(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

//! Whether a repository ignores a path, by the rules of gitignore(5).
//!
//! `gix` has `Repository::excludes`, but it also applies the rules of `info/exclude` and of the user's file to the root
//! of the work tree itself. A rule `*` then ignores the root, and so everything, whatever exceptions come after it.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gix::glob::pattern::Case;
use gix::ignore::Search;
use gix::ignore::search::Ignore;
use gix::index::entry::Flags;
use rustix::fs::OFlags;
use rustix::io::Errno;

/// The largest file of rules that is read. Git reads larger files, but real files are smaller.
const MAX_BYTES: u64 = 1024 * 1024;

/// Whether the repository ignores a path below its work tree; `None` if rules cannot be read.
pub(super) fn ignores(git: &gix::Repository, index: &gix::index::State, work_tree: &Path, path: &Path) -> Option<bool> {
    let config = git.config_snapshot();
    let case = if config.boolean("core.ignoreCase") == Some(true) { Case::Fold } else { Case::Sensitive };
    let personal = match config.trusted_path("core.excludesFile").ok()? {
        // Git resolves a relative path against the root of the work tree.
        Some(file) => Some(work_tree.join(file)),
        None => default_excludes_file(),
    };
    // The last rule that matches decides.
    let mut rules = Search::default();
    for file in personal.into_iter().chain([git.common_dir().join("info/exclude")]) {
        if let Some(text) = read_rules(File::open(&file)).ok()? {
            add(&mut rules, text, file, None)?;
        }
    }
    let mut folder = PathBuf::new();
    for name in path.components() {
        let file = folder.join(".gitignore");
        if let Some(text) = read_gitignore(git, index, work_tree, &file)? {
            add(&mut rules, text, work_tree.join(file), Some(work_tree))?;
        }
        folder.push(name);
        let is_folder = folder != path;
        let found = rules.pattern_matching_relative_path(folder.as_os_str().as_bytes().into(), Some(is_folder), case);
        // A later rule cannot include a file again if its folder is ignored.
        if found.is_some_and(|found| !found.pattern.is_negative()) {
            return Some(true);
        }
    }
    Some(false)
}

/// Returns the user's file of rules that Git reads if no configuration sets `core.excludesFile`.
fn default_excludes_file() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("git/ignore"))
}

fn add(rules: &mut Search, mut text: Vec<u8>, file: PathBuf, root: Option<&Path>) -> Option<()> {
    // Without this line feed, a carriage return at the end would be part of the last rule.
    text.push(b'\n');
    rules.add_patterns_buffer(&text, file, root, Ignore::default()).ok()
}

/// Reads `.gitignore` of a folder in the work tree, or from the index if a sparse checkout leaves the file out.
///
/// Returns `Some(None)` if there are no rules, and `None` if they cannot be read.
fn read_gitignore(
    git: &gix::Repository,
    index: &gix::index::State,
    work_tree: &Path,
    file: &Path,
) -> Option<Option<Vec<u8>>> {
    // Like Git, does not follow a link here. A pipe would block without NONBLOCK.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(work_tree.join(file));
    if let Some(text) = read_rules(opened).ok()? {
        return Some(Some(text));
    }
    match index.entry_by_path(file.as_os_str().as_bytes().into()) {
        Some(entry) if entry.flags.contains(Flags::SKIP_WORKTREE) => {
            let size = git.find_header(entry.id).ok()?.size();
            if size > MAX_BYTES { None } else { Some(Some(git.find_object(entry.id).ok()?.detach().data)) }
        }
        _ => Some(None),
    }
}

/// Reads a file of rules. Returns `None` if there is no file, if it is a folder, or if it is a link and was opened with
/// `NOFOLLOW`: Git finds no rules there either.
fn read_rules(opened: io::Result<File>) -> io::Result<Option<Vec<u8>>> {
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if !kind.is_file() || text.len() as u64 > MAX_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(text))
}

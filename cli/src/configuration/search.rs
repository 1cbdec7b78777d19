//! Finds and reads the nearest `.waxseal.yaml`.
//!
//! A checkout can bring the file along. So the search does not leave the Git work tree, and no symbolic link leads a
//! read out of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use waxseal_shared::visible_text::visible_path;

use super::{Configuration, FILE_NAME};
use crate::error::CliError;
use crate::git;

/// The largest `.waxseal.yaml`: 1 MiB.
const MAX_BYTES: usize = 1024 * 1024;

/// A folder that a read must not leave.
pub(crate) struct Confines<'a> {
    /// Without symbolic links.
    pub(crate) folder: &'a Path,
    /// Completes "a symbolic link leads out of …".
    pub(crate) name: &'static str,
}

/// Returns the folder of the nearest `.waxseal.yaml`, from `start` upwards. `start` must be without symbolic links. The
/// search ends at the root of the Git work tree, or at the root of the file system.
pub(crate) fn nearest_folder(start: &Path) -> Option<&Path> {
    for folder in start.ancestors() {
        // If the operating system does not say whether the file exists, the search ends here: reading gives the error.
        match folder.join(FILE_NAME).symlink_metadata() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            _ => return Some(folder),
        }
        if git::is_work_tree(folder) {
            return None;
        }
    }
    None
}

/// Reads the `.waxseal.yaml` of a folder; `place` is the name that messages show.
pub(crate) fn read(folder: &Path, place: String) -> Result<Configuration, CliError> {
    let path = folder.join(FILE_NAME);
    let confines = match git::work_tree_around(folder) {
        Some(folder) => Confines { folder, name: "its Git work tree" },
        None => Confines { folder, name: "its folder" },
    };
    let text = read_confined(&path, &confines, MAX_BYTES).map_err(|error| error.at(&place))?;
    Configuration::parse(folder.to_owned(), place, &text)
}

/// Reads a text file that must be inside of a folder; `path` is below the folder. Refuses a file that is outside of the
/// folder through a symbolic link, everything that is not a regular file, more than `limit` bytes, and bytes that are
/// not UTF-8. The caller adds the place.
pub(crate) fn read_confined(path: &Path, confines: &Confines<'_>, limit: usize) -> Result<String, CliError> {
    let target = path.canonicalize().map_err(|error| unresolved(path, &error))?;
    if !target.starts_with(confines.folder) {
        let error = CliError::refused(format!("a symbolic link leads out of {}", confines.name));
        return Err(error.with_hint("put the file itself there: a link in a checkout must not choose a file elsewhere"));
    }
    let failed = |error: io::Error| CliError::path("read it", path, &error);
    // The file may have been replaced since: by a link, or by a pipe, which would block.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(flags.cast_signed()).open(&target).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(rustix::io::Errno::ISDIR.into()));
    }
    if !metadata.is_file() {
        return Err(CliError::refused("is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(CliError::refused(format!("larger than {} MiB, the most that is read", limit / (1024 * 1024))));
    }
    String::from_utf8(bytes).map_err(|_| CliError::refused("not UTF-8"))
}

/// The error for a path that cannot be resolved. The caller adds the whole path as the place. That does not show which
/// part is a file instead of a folder, so the text names that part.
fn unresolved(path: &Path, error: &io::Error) -> CliError {
    let is_file = |part: &&Path| part.metadata().is_ok_and(|metadata| !metadata.is_dir());
    match path.ancestors().find(is_file).and_then(Path::file_name) {
        Some(name) if error.kind() == io::ErrorKind::NotADirectory => {
            CliError::refused(format!("{} is a file, not a folder", visible_path(Path::new(name))))
        }
        _ => CliError::path("read it", path, error),
    }
}

/// Refuses a `.waxseal.yaml`, such as one in `/tmp`, if neither the file nor the `.git` of its work tree belongs to the
/// user, to root or to the owner of `start`, the folder in which the search began. The caller adds the place.
pub(crate) fn check_owner(folder: &Path, start: &Path) -> Result<(), CliError> {
    let (Some(file), Some(start)) = (owner(&folder.join(FILE_NAME)), owner_of_nearest(start)) else {
        // Reading the file gives the error.
        return Ok(());
    };
    let repository = git::work_tree_around(folder).and_then(|tree| owner(&tree.join(".git")));
    check_owners(file, repository, geteuid().as_raw(), start)
}

fn owner(path: &Path) -> Option<u32> {
    path.symlink_metadata().ok().map(|file| file.uid())
}

/// Returns the owner of a folder, or of the nearest folder above it that exists: `waxseal seal -o` makes folders.
fn owner_of_nearest(folder: &Path) -> Option<u32> {
    folder.ancestors().find_map(owner)
}

/// A `.git` beside the file proves nothing: whoever wrote the file can make one. So the owner of the `.git` counts, as
/// it does for Git.
fn check_owners(file: u32, repository: Option<u32>, user: u32, start: u32) -> Result<(), CliError> {
    // In a container the user often owns nothing, and all files have the same owner.
    let is_trusted = |owner| [user, 0, start].contains(&owner);
    if is_trusted(file) || repository.is_some_and(is_trusted) {
        return Ok(());
    }
    let error = CliError::refused("belongs to another user, and is in no Git work tree of yours");
    Err(error.with_hint("a file of another user does not decide to whom you seal: copy it into your folder"))
}

/// Returns a path without symbolic links. A part of the path that does not exist yet counts as a plain file or
/// folder.
pub(crate) fn real_path(current_folder: &Path, path: &Path) -> PathBuf {
    let path = current_folder.join(path);
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let mut real = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                real.pop();
            }
            component => {
                real.push(component);
                real = real.canonicalize().unwrap_or(real);
            }
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_users_are_not_trusted() {
        for (owner, repository, user, start, expected) in [
            (7, None, 7, 9, true),
            (0, None, 7, 9, true),
            (9, None, 7, 9, true),
            (8, None, 7, 9, false),
            (8, None, 0, 0, false),
            (8, Some(7), 7, 9, true),
            (8, Some(9), 7, 9, true),
            (8, Some(8), 7, 9, false),
        ] {
            let checked = check_owners(owner, repository, user, start);
            assert_eq!(checked.is_ok(), expected, "{owner} {repository:?} {user} {start}");
        }
    }

    #[test]
    fn the_refusal_of_a_file_of_another_user_says_what_to_do() {
        let expected = "error: belongs to another user, and is in no Git work tree of yours
hint: a file of another user does not decide to whom you seal: copy it into your folder";
        assert_eq!(check_owners(8, None, 7, 9).expect_err("another user").to_string(), expected);
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_has_the_owner_of_the_folder_above_it() {
        let user = geteuid().as_raw();
        let own = PathBuf::from(format!("/proc/{}/absent/absent", std::process::id()));
        assert_eq!((owner_of_nearest(&own), owner_of_nearest(Path::new("/absent"))), (Some(user), Some(0)));
    }

    #[test]
    fn a_path_that_does_not_exist_is_still_resolved() {
        let real = |path: &str| real_path(Path::new("/proc/self"), Path::new(path));
        assert_eq!(real("/absent/./a/../b"), Path::new("/absent/b"));
        assert_eq!(real("/../.."), Path::new("/"));
        assert_eq!(real("absent"), PathBuf::from(format!("/proc/{}/absent", std::process::id())));
    }
}

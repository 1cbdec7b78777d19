//! The three folders of the backend, and the checks of them at the start.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::durable_file::{FileError, failed_to};
use super::lock::{Lock, LockError};
use crate::args;

/// The folders. This process alone writes to the last two.
pub(super) struct Folders {
    pub(super) manifests: PathBuf,
    pub(super) secrets: PathBuf,
    pub(super) keys: PathBuf,
    #[expect(dead_code, reason = "the locks are held as long as the folders are used")]
    locks: [Lock; 2],
}

#[derive(Debug, Error)]
pub(super) enum FoldersError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("failed to start: --{0} and --{1} are the same folder, or one lies within the other")]
    Nested(&'static str, &'static str),
}

impl Folders {
    /// Opens the folders. Makes those for Secrets and keys if they are absent; the folder of manifests must exist.
    pub(super) fn open(args: &args::Directory) -> Result<Self, FoldersError> {
        fs::read_dir(&args.manifests).map_err(failed_to("read", &args.manifests))?;
        make(&args.secrets)?;
        make(&args.keys)?;
        refuse_nested(args)?;
        let locks = [Lock::take(&args.secrets)?, Lock::take(&args.keys)?];
        let args::Directory { manifests, secrets, keys, .. } = args;
        Ok(Self { manifests: manifests.clone(), secrets: secrets.clone(), keys: keys.clone(), locks })
    }
}

fn make(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed_to("create", path))
}

/// Secrets and identities among the manifests could be committed to Git. A folder of keys among the Secrets would look
/// like a namespace.
fn refuse_nested(args: &args::Directory) -> Result<(), FoldersError> {
    let real = |path: &PathBuf| fs::canonicalize(path).map_err(failed_to("find", path));
    let named = [("manifests", real(&args.manifests)?), ("secrets", real(&args.secrets)?), ("keys", real(&args.keys)?)];
    for (index, (name, path)) in named.iter().enumerate() {
        for (other_name, other) in &named[index + 1..] {
            if path.starts_with(other) || other.starts_with(path) {
                return Err(FoldersError::Nested(name, other_name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn open(root: &Path, manifests: &str, secrets: &str, keys: &str) -> Result<Folders, FoldersError> {
        let [manifests, secrets, keys] = [manifests, secrets, keys].map(|name| root.join(name));
        Folders::open(&args::Directory { manifests, secrets, keys, once: true, forbidden: args::Forbidden::default() })
    }

    #[test]
    fn folders_within_each_other_are_refused() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("m")).expect("made");
        for (secrets, keys, names) in
            [("m/s", "k", ["manifests", "secrets"]), ("s", "s", ["secrets", "keys"]), ("s", ".", ["manifests", "keys"])]
        {
            let error = open(root.path(), "m", secrets, keys).err().expect("nested");
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
        let error = open(root.path(), "m", "file", "k").err().expect("no folder");
        assert_eq!(error.to_string(), format!("failed to create {}", root.path().join("file").display()));
    }

    #[test]
    fn the_folder_of_manifests_must_be_there() {
        let root = tempfile::tempdir().expect("a folder");
        let error = open(root.path(), "m", "s", "k").err().expect("absent");
        assert_eq!(error.to_string(), format!("failed to read {}", root.path().join("m").display()));
        assert!(!root.path().join("s").exists());
    }
}

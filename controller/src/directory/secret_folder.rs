//! One Secret as a folder, laid out as the kubelet lays out a volume.
//!
//! ```text
//! SECRETS/NAMESPACE/NAME/KEY            -> ..data/KEY
//! SECRETS/NAMESPACE/NAME/..data         -> ..v-RANDOM
//! SECRETS/NAMESPACE/NAME/..v-RANDOM/KEY
//! SECRETS/NAMESPACE/NAME/..v-RANDOM/..secret.json
//! ```
//!
//! `..secret.json` is the Secret without its data: type, labels, annotations. No data key begins with `..`. If
//! `..secret.json` has the mark of Waxseal, these entries belong to Waxseal. Every other file in the folder stays as it
//! is.

mod reading;
mod writing;

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::plan::ExistingSecret;

use super::durable_file::{self, FileError, UNFINISHED, failed_to};
use super::problems::Problems;
use super::secret_name::SecretName;

/// The symlink to the current version.
const CURRENT: &str = "..data";
/// The prefix of the folders of versions.
const VERSION_PREFIX: &str = "..v-";
/// The file that describes the Secret beside its data.
const DESCRIPTION: &str = "..secret.json";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The place of one Secret, whether it exists or not.
pub(super) struct SecretFolder {
    secrets: PathBuf,
    pub(super) name: SecretName,
}

/// What exists at the place of a Secret.
pub(super) enum Present {
    Nothing,
    /// Something that does not belong to Waxseal, in words.
    Foreign(String),
    Ours(Box<ExistingSecret>),
}

impl SecretFolder {
    pub(super) fn new(secrets: &Path, name: SecretName) -> Self {
        Self { secrets: secrets.to_owned(), name }
    }

    fn namespace_path(&self) -> PathBuf {
        self.secrets.join(self.name.namespace.as_str())
    }

    fn path(&self) -> PathBuf {
        self.namespace_path().join(self.name.name.as_str())
    }

    /// Deletes the Secret, which must belong to Waxseal. Readers see it whole or not at all.
    pub(super) fn delete(&self) -> Result<(), FileError> {
        self.try_delete().map_err(failed_to("delete", &self.path()))
    }

    fn try_delete(&self) -> io::Result<()> {
        let (namespace, path) = (self.namespace_path(), self.path());
        let aside = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&namespace)?;
        let entries: Vec<_> = fs::read_dir(&path)?.collect::<io::Result<_>>()?;
        if entries.iter().all(is_of_waxseal) {
            fs::rename(&path, aside.path().join(self.name.name.as_str()))?;
        } else {
            // With the current version the Secret is gone. Its links go last: the Secret would vanish key by key.
            let current = fs::read_link(path.join(CURRENT))?;
            let mut own: Vec<_> = entries.iter().filter(|entry| is_of_waxseal(entry)).collect();
            own.sort_by_key(|entry| (entry.path().is_symlink(), entry.file_name() == current));
            own.iter().try_for_each(|entry| fs::rename(entry.path(), aside.path().join(entry.file_name())))?;
        }
        durable_file::sync_folder(&namespace)?;
        aside.close()?;
        remove_empty_namespace(&self.secrets, &namespace)
    }
}

/// Whether an entry of a Secret's folder belongs to Waxseal, by its name, or as a link to a data key.
fn is_of_waxseal(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    name == CURRENT
        || name.starts_with(VERSION_PREFIX)
        || name.starts_with(UNFINISHED)
        || fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(CURRENT))
}

/// Removes what a crash left unfinished, which may be plain text, and lists the Secrets that belong to Waxseal.
pub(super) fn sweep_and_list(secrets: &Path, problems: &mut Problems) -> Vec<SecretFolder> {
    problems.fail(durable_file::remove_unfinished(secrets).map(drop).map_err(failed_to("clean", secrets)));
    let mut found = Vec::new();
    let namespaces = folder_names(secrets).map_err(failed_to("read", secrets));
    for namespace in namespaces.iter().flatten().filter_map(|name| Namespace::parse(name).ok()) {
        let listed = sweep_and_list_namespace(secrets, &namespace, &mut found);
        problems.fail(listed.map_err(failed_to("read", &secrets.join(namespace.as_str()))));
    }
    problems.fail(namespaces.map(drop));
    found
}

fn sweep_and_list_namespace(secrets: &Path, namespace: &Namespace, found: &mut Vec<SecretFolder>) -> io::Result<()> {
    let path = secrets.join(namespace.as_str());
    for name in folder_names(&path)?.iter().filter_map(|name| ObjectName::parse(name).ok()) {
        let folder = SecretFolder::new(secrets, SecretName { namespace: namespace.clone(), name });
        if folder.is_ours()? {
            found.push(folder);
        }
    }
    if durable_file::remove_unfinished(&path)? { remove_empty_namespace(secrets, &path) } else { Ok(()) }
}

/// Removes the empty folder of a namespace, if it looks like a folder that the controller made.
fn remove_empty_namespace(secrets: &Path, path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o7777 == FOLDER_MODE;
    if !is_own || fs::read_dir(path)?.next().is_some() {
        return Ok(());
    }
    fs::remove_dir(path)?;
    durable_file::sync_folder(secrets)
}

/// The names of the folders in a folder, without symlinks to folders.
fn folder_names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;

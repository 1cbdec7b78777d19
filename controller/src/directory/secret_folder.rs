//! One Secret as a folder, laid out as the kubelet lays out a volume.
//!
//! ```text
//! SECRETS/NAMESPACE/NAME/KEY            -> ..data/KEY
//! SECRETS/NAMESPACE/NAME/..data         -> ..v-RANDOM
//! SECRETS/NAMESPACE/NAME/..v-RANDOM/KEY
//! SECRETS/NAMESPACE/NAME/..v-RANDOM/..secret.json
//! ```
//!
//! `..secret.json` is the Secret without its data: type, labels, annotations. No data key begins
//! with `..`. In a folder whose `..secret.json` has our mark these are ours; every other file that
//! somebody puts there stays as it is.

mod reading;
mod writing;

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::plan::ExistingSecret;

use super::durable_file::{self, FileError, UNFINISHED, failed_to};
use crate::log;

/// The symlink to the version that counts.
const CURRENT: &str = "..data";
/// How the folders of versions are called.
const VERSION_PREFIX: &str = "..v-";
/// What is known of the Secret beside its data.
const DESCRIPTION: &str = "..secret.json";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Where one Secret is, or would be.
pub(super) struct SecretFolder {
    secrets: PathBuf,
    pub(super) namespace: Namespace,
    pub(super) name: ObjectName,
}

/// What stands there.
pub(super) enum Present {
    Nothing,
    /// Something that is not ours, in words.
    Foreign(String),
    Ours(Box<ExistingSecret>),
}

impl SecretFolder {
    pub(super) fn new(secrets: &Path, namespace: Namespace, name: ObjectName) -> Self {
        Self { secrets: secrets.to_owned(), namespace, name }
    }

    fn namespace_path(&self) -> PathBuf {
        self.secrets.join(self.namespace.as_str())
    }

    fn path(&self) -> PathBuf {
        self.namespace_path().join(self.name.as_str())
    }

    /// Deletes the Secret: it is there whole or not at all. Must be ours.
    pub(super) fn delete(&self) -> Result<(), FileError> {
        let (namespace, path) = (self.namespace_path(), self.path());
        let delete = || {
            let aside = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&namespace)?;
            if self.holds_others()? {
                self.move_ours(aside.path())?;
            } else {
                fs::rename(&path, aside.path().join(self.name.as_str()))?;
            }
            durable_file::sync_folder(&namespace)?;
            aside.close()
        };
        delete().map_err(failed_to("delete", &path))?;
        remove_empty_namespace(&self.secrets, &namespace).map_err(failed_to("remove", &namespace))
    }

    fn holds_others(&self) -> io::Result<bool> {
        for entry in fs::read_dir(self.path())? {
            if !is_of_ours(&entry?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves every version away, the one that counts last: with it the Secret is gone. Then the
    /// links go.
    fn move_ours(&self, aside: &Path) -> io::Result<()> {
        let path = self.path();
        let current = fs::read_link(path.join(CURRENT))?;
        let (mut versions, mut links) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if is_of_ours(&entry) {
                let group = if entry.file_type()?.is_dir() { &mut versions } else { &mut links };
                group.push(entry.file_name());
            }
        }
        versions.sort_by_key(|version| *version == current);
        versions.iter().try_for_each(|version| fs::rename(path.join(version), aside.join(version)))?;
        links.iter().try_for_each(|link| fs::remove_file(path.join(link)))
    }
}

/// Whether an entry of a folder of ours is ours, by its name, or as a link to a key.
fn is_of_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    name == CURRENT
        || name.starts_with(VERSION_PREFIX)
        || name.starts_with(UNFINISHED)
        || fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(CURRENT))
}

/// Removes what a crash left unfinished, plaintext maybe, in the folder of Secrets and in those of
/// the namespaces. Returns what could not be looked at or removed.
pub(super) fn sweep(secrets: &Path) -> Vec<FileError> {
    let mut errors: Vec<_> = durable_file::remove_unfinished(secrets).err().into_iter().collect();
    match namespaces(secrets) {
        Ok(all) => errors.extend(all.iter().filter_map(|namespace| sweep_namespace(secrets, namespace).err())),
        Err(error) => errors.push(error),
    }
    errors
}

fn sweep_namespace(secrets: &Path, namespace: &Namespace) -> Result<(), FileError> {
    let path = secrets.join(namespace.as_str());
    if durable_file::remove_unfinished(&path)? {
        remove_empty_namespace(secrets, &path).map_err(failed_to("remove", &path))?;
    }
    Ok(())
}

/// Removes a namespace's folder once nothing is in it, if it is like one that we made.
fn remove_empty_namespace(secrets: &Path, path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let is_like_ours = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o7777 == FOLDER_MODE;
    if !is_like_ours || fs::read_dir(path)?.next().is_some() {
        return Ok(());
    }
    fs::remove_dir(path)?;
    durable_file::sync_folder(secrets)
}

/// Every Secret of ours below a folder; what cannot be looked at is added to the complaints.
pub(super) fn ours(secrets: &Path, complaints: &mut Vec<String>) -> Vec<SecretFolder> {
    let mut folders = Vec::new();
    for namespace in all_or_complaint(namespaces(secrets), complaints) {
        let names = all_or_complaint(folder_names(&secrets.join(namespace.as_str())), complaints);
        for name in names.iter().filter_map(|name| ObjectName::parse(name).ok()) {
            folders.push(SecretFolder::new(secrets, namespace.clone(), name));
        }
    }
    folders.retain(|folder| {
        folder.is_ours().unwrap_or_else(|error| {
            complaints.push(log::chain(&error));
            false
        })
    });
    folders
}

fn all_or_complaint<T>(found: Result<Vec<T>, FileError>, complaints: &mut Vec<String>) -> Vec<T> {
    found.unwrap_or_else(|error| {
        complaints.push(log::chain(&error));
        Vec::new()
    })
}

/// The namespaces that have a folder.
fn namespaces(secrets: &Path) -> Result<Vec<Namespace>, FileError> {
    Ok(folder_names(secrets)?.iter().filter_map(|name| Namespace::parse(name).ok()).collect())
}

/// The names of the folders in a folder; symlinks are none.
fn folder_names(folder: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed_to("read", folder))? {
        let entry = entry.map_err(failed_to("read", folder))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;

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
//! with `..`. Everything in a folder whose `..secret.json` has our mark is ours.

mod reading;
mod writing;

use std::fs;
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
            fs::rename(&path, aside.path().join(self.name.as_str()))?;
            durable_file::sync_folder(&namespace)?;
            aside.close()
        };
        delete().map_err(failed_to("delete", &path))?;
        self.remove_empty_namespace().map_err(failed_to("remove", &namespace))
    }

    /// Removes the namespace's folder once nothing is in it, if it is like one that we made.
    fn remove_empty_namespace(&self) -> io::Result<()> {
        let path = self.namespace_path();
        let metadata = fs::symlink_metadata(&path)?;
        let is_like_ours =
            metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o7777 == FOLDER_MODE;
        if !is_like_ours || fs::read_dir(&path)?.next().is_some() {
            return Ok(());
        }
        fs::remove_dir(&path)?;
        durable_file::sync_folder(&self.secrets)
    }
}

/// Every Secret of ours below a folder; what cannot be looked at is added to the complaints.
pub(super) fn ours(secrets: &Path, complaints: &mut Vec<String>) -> Vec<SecretFolder> {
    let mut folders = Vec::new();
    let mut names = |folder: &Path| {
        folder_names(folder).unwrap_or_else(|error| {
            complaints.push(log::chain(&error));
            Vec::new()
        })
    };
    for namespace in names(secrets).iter().filter_map(|name| Namespace::parse(name).ok()) {
        for name in names(&secrets.join(namespace.as_str())).iter().filter_map(|name| ObjectName::parse(name).ok()) {
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

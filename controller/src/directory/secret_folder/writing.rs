use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tempfile::TempDir;
use waxseal_shared::plan::DesiredSecret;

use super::{CURRENT, DESCRIPTION, FILE_MODE, FOLDER_MODE, SecretFolder, VERSION_PREFIX, is_of_ours};
use crate::directory::durable_file::{self, FileError, UNFINISHED, failed_to};

impl SecretFolder {
    /// Writes the Secret: after a crash at any point the old one is there whole, or the new one.
    ///
    /// What stands there must be ours, or nothing.
    pub(in crate::directory) fn write(&self, desired: &DesiredSecret) -> Result<(), FileError> {
        let path = self.path();
        self.ensure_namespace()?;
        durable_file::remove_unfinished(&self.namespace_path())?;
        if self.is_ours()? {
            durable_file::remove_unfinished(&path)?;
            return self.fill(&path, desired);
        }
        let fresh = folder_in(&self.namespace_path(), UNFINISHED)?;
        self.fill(fresh.path(), desired)?;
        fs::rename(fresh.path(), &path).map_err(failed_to("write", &path))?;
        let _renamed_away = fresh.keep();
        durable_file::sync_folder(&self.namespace_path()).map_err(failed_to("flush", &path))
    }

    /// Completes what a crash interrupted, and removes what it left; writes nothing if there is
    /// nothing of that kind.
    pub(in crate::directory) fn settle(&self) -> Result<(), FileError> {
        let Some(version) = self.current_version()? else {
            return Ok(());
        };
        let path = self.path();
        let settle = || {
            let keys = data_keys(&version)?;
            remove_stale(&path, version.file_name().unwrap_or_default(), &keys)?;
            add_links(&path, &keys)
        };
        settle().map_err(failed_to("tidy", &path))
    }

    /// Gives the folders and files of the version that counts the modes they were made with.
    /// Returns whether any had another.
    pub(in crate::directory) fn restore_modes(&self) -> Result<bool, FileError> {
        let Some(version) = self.current_version()? else {
            return Ok(false);
        };
        let path = self.path();
        let restore = || {
            let mut has_changed = restore_mode(&path, FOLDER_MODE)? | restore_mode(&version, FOLDER_MODE)?;
            for entry in fs::read_dir(&version)? {
                has_changed |= restore_mode(&entry?.path(), FILE_MODE)?;
            }
            Ok(has_changed)
        };
        restore().map_err(failed_to("restore the modes in", &path))
    }

    fn ensure_namespace(&self) -> Result<(), FileError> {
        let path = self.namespace_path();
        match DirBuilder::new().mode(FOLDER_MODE).create(&path) {
            Ok(()) => durable_file::sync_folder(&self.secrets).map_err(failed_to("flush", &self.secrets)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed_to("create", &path)(error)),
        }
    }

    /// Links to keys of the new version come before the swap and old ones go after it, so that
    /// every key of the version that counts has one at every moment.
    fn fill(&self, folder: &Path, desired: &DesiredSecret) -> Result<(), FileError> {
        let version = folder_in(folder, VERSION_PREFIX)?;
        self.write_version(version.path(), desired)?;
        let keys = desired.data.keys().map(ToString::to_string).collect();
        let name = version.path().file_name().unwrap_or_default().to_owned();
        let fill = || {
            add_links(folder, &keys)?;
            place_link(folder, &name, CURRENT)?;
            let _counts_now = version.keep();
            durable_file::sync_folder(folder)?;
            remove_stale(folder, &name, &keys)
        };
        fill().map_err(failed_to("write", folder))
    }

    fn write_version(&self, version: &Path, desired: &DesiredSecret) -> Result<(), FileError> {
        for (key, value) in &desired.data {
            durable_file::create(&version.join(key.as_str()), value.expose(), FILE_MODE)?;
        }
        let path = version.join(DESCRIPTION);
        let description = serde_json::to_vec_pretty(&self.describe(desired));
        let description = description.map_err(|error| failed_to("write", &path)(error.into()))?;
        durable_file::create(&path, &description, FILE_MODE)?;
        durable_file::sync_folder(version).map_err(failed_to("flush", version))
    }

    fn describe(&self, desired: &DesiredSecret) -> Secret {
        Secret {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.to_string()),
                name: Some(self.name.to_string()),
                labels: Some(desired.labels.clone()),
                annotations: Some(desired.annotations.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(desired.type_.clone()),
            immutable: desired.immutable,
            ..Secret::default()
        }
    }
}

/// A new folder with a random name, which goes again unless it is kept.
fn folder_in(parent: &Path, prefix: &str) -> Result<TempDir, FileError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).rand_bytes(12).permissions(Permissions::from_mode(FOLDER_MODE));
    builder.tempdir_in(parent).map_err(failed_to("create a folder in", parent))
}

/// What is neither a folder nor a file is nothing that was made here, and a symlink leads away.
fn restore_mode(path: &Path, mode: u32) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let is_made_here = metadata.is_dir() || metadata.is_file();
    if !is_made_here || metadata.mode() & 0o777 == mode {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(true)
}

fn data_keys(version: &Path) -> io::Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(version)? {
        let name = entry?.file_name();
        keys.extend(name.to_str().filter(|name| !name.starts_with("..")).map(str::to_owned));
    }
    Ok(keys)
}

fn add_links(folder: &Path, keys: &BTreeSet<String>) -> io::Result<()> {
    for key in keys {
        let target = Path::new(CURRENT).join(key);
        if fs::read_link(folder.join(key)).ok().as_deref() != Some(&target) {
            place_link(folder, target.as_os_str(), key)?;
        }
    }
    Ok(())
}

/// Puts a symlink in the place of whatever file or symlink has the name.
fn place_link(folder: &Path, target: &OsStr, name: &str) -> io::Result<()> {
    let unfinished = folder.join(format!("{UNFINISHED}link"));
    symlink(target, &unfinished)?;
    fs::rename(&unfinished, folder.join(name))
}

/// Removes links to keys that are no more, and everything of earlier versions; what somebody else
/// put there stays.
fn remove_stale(folder: &Path, version: &OsStr, keys: &BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (file_name, path) = (entry.file_name(), entry.path());
        let name = file_name.to_string_lossy();
        let counts = name == CURRENT || file_name == version || keys.contains(&*name);
        if !counts && is_of_ours(&entry) {
            durable_file::remove_any(&path)?;
        }
    }
    Ok(())
}

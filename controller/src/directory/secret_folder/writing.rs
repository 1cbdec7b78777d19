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

use super::{CURRENT, DESCRIPTION, FILE_MODE, FOLDER_MODE, SecretFolder, VERSION_PREFIX, is_of_waxseal};
use crate::directory::durable_file::{self, FileError, UNFINISHED, failed_to};

impl SecretFolder {
    /// Writes the Secret: after a crash at any point there is the old Secret or the new Secret, whole.
    ///
    /// There must be nothing at its place, or a Secret that belongs to Waxseal.
    pub(in crate::directory) fn write(&self, desired: &DesiredSecret) -> Result<(), FileError> {
        self.try_write(desired).map_err(failed_to("write", &self.path()))
    }

    fn try_write(&self, desired: &DesiredSecret) -> io::Result<()> {
        let (namespace, path) = (self.namespace_path(), self.path());
        match DirBuilder::new().mode(FOLDER_MODE).create(&namespace) {
            Ok(()) => durable_file::sync_folder(&self.secrets)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if self.is_ours()? {
            restore_mode(&path, FOLDER_MODE)?;
            durable_file::remove_unfinished(&path)?;
            return self.fill(&path, desired);
        }
        let fresh = folder_in(&namespace, UNFINISHED)?;
        self.fill(fresh.path(), desired)?;
        fs::rename(fresh.path(), &path)?;
        let _renamed = fresh.keep();
        durable_file::sync_folder(&namespace)
    }

    /// Completes what a crash interrupted, removes what it left, and restores the modes. Writes nothing if nothing
    /// differs. Returns whether a mode differed.
    pub(in crate::directory) fn repair(&self) -> Result<bool, FileError> {
        self.try_repair().map_err(failed_to("repair", &self.path()))
    }

    fn try_repair(&self) -> io::Result<bool> {
        let Some(version) = self.current_version()? else {
            return Ok(false);
        };
        let path = self.path();
        let mut has_restored = restore_mode(&path, FOLDER_MODE)? | restore_mode(&version, FOLDER_MODE)?;
        let mut keys = BTreeSet::new();
        for entry in fs::read_dir(&version)? {
            let entry = entry?;
            has_restored |= restore_mode(&entry.path(), FILE_MODE)?;
            keys.extend(entry.file_name().into_string().ok().filter(|name| !name.starts_with("..")));
        }
        remove_stale(&path, version.file_name().unwrap_or_default(), &keys)?;
        add_links(&path, &keys)?;
        Ok(has_restored)
    }

    /// Adds links to new keys before the swap and removes links to old keys after it, so that every key of the current
    /// version has a link at every moment.
    fn fill(&self, folder: &Path, desired: &DesiredSecret) -> io::Result<()> {
        let version = folder_in(folder, VERSION_PREFIX)?;
        self.write_version(version.path(), desired)?;
        let keys = desired.data.keys().map(ToString::to_string).collect();
        let name = version.path().file_name().unwrap_or_default().to_owned();
        add_links(folder, &keys)?;
        place_link(folder, &name, CURRENT)?;
        let _current = version.keep();
        durable_file::sync_folder(folder)?;
        remove_stale(folder, &name, &keys)
    }

    fn write_version(&self, version: &Path, desired: &DesiredSecret) -> io::Result<()> {
        for (key, value) in &desired.data {
            durable_file::create(&version.join(key.as_str()), value.expose(), FILE_MODE)?;
        }
        let description = serde_json::to_vec_pretty(&self.describe(desired))?;
        durable_file::create(&version.join(DESCRIPTION), &description, FILE_MODE)?;
        durable_file::sync_folder(version)
    }

    fn describe(&self, desired: &DesiredSecret) -> Secret {
        Secret {
            metadata: ObjectMeta {
                namespace: Some(self.name.namespace.to_string()),
                name: Some(self.name.name.to_string()),
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

/// A new folder with a random name, which is removed again unless it is kept.
fn folder_in(parent: &Path, prefix: &str) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).rand_bytes(12).permissions(Permissions::from_mode(FOLDER_MODE)).tempdir_in(parent)
}

/// Gives a file or folder its mode back; leaves a symlink or a pipe alone, which the controller did not make. Returns
/// whether the mode differed.
fn restore_mode(path: &Path, mode: u32) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let is_made_here = metadata.is_dir() || metadata.is_file();
    if !is_made_here || metadata.mode() & 0o777 == mode {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(true)
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

/// Replaces the file or symlink of this name by a symlink, or adds it.
fn place_link(folder: &Path, target: &OsStr, name: &str) -> io::Result<()> {
    let unfinished = folder.join(format!("{UNFINISHED}link"));
    symlink(target, &unfinished)?;
    fs::rename(&unfinished, folder.join(name))
}

/// Removes the links to keys that the version lacks, and all other versions. Files of others stay.
fn remove_stale(folder: &Path, version: &OsStr, keys: &BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let name = file_name.to_string_lossy();
        let is_current = name == CURRENT || file_name == version || keys.contains(&*name);
        if !is_current && is_of_waxseal(&entry) {
            durable_file::remove_any(&entry.path())?;
        }
    }
    Ok(())
}

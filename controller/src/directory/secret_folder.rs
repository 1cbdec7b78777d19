//! One Secret as a folder, laid out as the kubelet lays out a volume.
//!
//! ```text
//! SECRETS/NAMESPACE/NAME/KEY            -> ..data/KEY
//! SECRETS/NAMESPACE/NAME/..data         -> ..v-RANDOM
//! SECRETS/NAMESPACE/NAME/..v-RANDOM/KEY
//! SECRETS/NAMESPACE/NAME/..v-RANDOM/..secret.json
//! ```
//!
//! `..secret.json` is the Secret without its data: namespace, name, type, `immutable`, labels and annotations. No data
//! key begins with `..`. If `..secret.json` has the mark of Waxseal, these entries belong to Waxseal. Every other file
//! in the folder stays as it is, unless it has the name of a data key: then the link replaces it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, DirEntry, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tempfile::TempDir;
use waxseal_shared::api_group::{MARK_LABEL, MARK_OWNED};
use waxseal_shared::names::{DataKey, Namespace, ObjectName};
use waxseal_shared::plan::{Controller, DesiredSecret, Existing, ExistingSecret};
use waxseal_shared::secret::{DEFAULT_TYPE, MAX_SECRET_BYTES, SecretBytes, SecretData};
use waxseal_shared::visible_text::visible_path;

use super::durable_file::{self, FileError, UNFINISHED, failed_to, with_path, without_name};
use super::folders::visible_entries;
use super::problems::Problems;
use super::secret_name::SecretName;

const CURRENT: &str = "..data";
const VERSION_PREFIX: &str = "..v-";
const DESCRIPTION: &str = "..secret.json";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const MAX_DESCRIPTION_BYTES: u64 = 4 * 1024 * 1024;

/// The place of one Secret, whether it exists or not.
pub(super) struct SecretFolder {
    secrets: PathBuf,
    namespace: PathBuf,
    pub(super) path: PathBuf,
    pub(super) name: SecretName,
}

impl SecretFolder {
    pub(super) fn new(secrets: &Path, name: SecretName) -> Self {
        let namespace = secrets.join(name.namespace.as_str());
        let path = namespace.join(name.name.as_str());
        Self { secrets: secrets.to_owned(), namespace, path, name }
    }

    /// Reads what exists at the place of the Secret. Follows no symlink on the way there.
    pub(super) fn read(&self) -> Result<Existing, FileError> {
        for path in [&self.namespace, &self.path] {
            match fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    let path = visible_path(path);
                    return Ok(Existing::Foreign(format!("{path} is not a folder and stays as it is: move it away")));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Absent),
                Err(error) => return Err(failed_to("look at", path)(error)),
            }
        }
        Ok(match self.description().map_err(failed_to("read", &self.path))? {
            Some((version, description)) => Existing::Ours(Box::new(existing(&version, description))),
            None => {
                let path = visible_path(&self.path);
                Existing::Foreign(format!("{path} was not made by Waxseal and stays as it is: move it away"))
            }
        })
    }

    /// The current version and its description, if it belongs to Waxseal.
    fn description(&self) -> io::Result<Option<(PathBuf, Secret)>> {
        let Some(version) = self.current_version()? else {
            return Ok(None);
        };
        let bytes = match durable_file::read_itself(&version.join(DESCRIPTION), MAX_DESCRIPTION_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let not_understood = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{DESCRIPTION} is damaged"));
        let secret = serde_json::from_slice(&bytes).map_err(not_understood)?;
        Ok(self.is_description(&secret).then_some((version, secret)))
    }

    /// Whether a description has the mark of Waxseal and is not a copy from another place.
    fn is_description(&self, secret: &Secret) -> bool {
        let metadata = &secret.metadata;
        let mark = metadata.labels.as_ref().and_then(|labels| labels.get(MARK_LABEL));
        mark.is_some_and(|mark| mark == MARK_OWNED)
            && metadata.namespace.as_deref() == Some(self.name.namespace.as_str())
            && metadata.name.as_deref() == Some(self.name.name.as_str())
    }

    /// The folder that `..data` names, if the controller could have made it.
    fn current_version(&self) -> io::Result<Option<PathBuf>> {
        let Some(version) = self.named_version()? else { return Ok(None) };
        match fs::symlink_metadata(&version) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            metadata => Ok(metadata?.is_dir().then_some(version)),
        }
    }

    /// The path that `..data` names, if the controller could have made the link. There may be nothing at the path.
    fn named_version(&self) -> io::Result<Option<PathBuf>> {
        let target = match fs::read_link(self.path.join(CURRENT)) {
            // The path does not exist, or it is not a symlink.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                return Ok(None);
            }
            target => target?,
        };
        let name = target.to_str().filter(|name| name.starts_with(VERSION_PREFIX) && !name.contains('/'));
        Ok(name.map(|name| self.path.join(name)))
    }

    /// Writes the Secret: after a crash at any point there is the old Secret or the new Secret, whole.
    ///
    /// There must be nothing at its place, or a Secret that belongs to Waxseal.
    pub(super) fn write(&self, desired: &DesiredSecret) -> io::Result<()> {
        let Self { secrets, namespace, path, .. } = self;
        if !namespace.is_dir() {
            DirBuilder::new().mode(FOLDER_MODE).create(namespace)?;
            durable_file::sync_folder(secrets)?;
        }
        if self.description()?.is_some() {
            restore_mode(path, FOLDER_MODE)?;
            return self.write_new_version(path, desired);
        }
        let fresh = new_folder_in(namespace, UNFINISHED)?;
        self.write_new_version(fresh.path(), desired)?;
        fs::rename(fresh.path(), path)?;
        let _renamed = fresh.keep();
        durable_file::sync_folder(namespace)
    }

    /// Completes what a crash interrupted, removes what it left, and restores the modes. Writes nothing if nothing
    /// differs.
    pub(super) fn repair(&self) -> io::Result<()> {
        let Some(version) = self.current_version()? else {
            return Ok(());
        };
        restore_mode(&self.path, FOLDER_MODE)?;
        restore_mode(&version, FOLDER_MODE)?;
        let mut keys = BTreeSet::new();
        for entry in durable_file::entries(&version)? {
            restore_mode(&entry.path(), FILE_MODE)?;
            let name = entry.file_name();
            if !name.as_encoded_bytes().starts_with(b"..") {
                keys.insert(name);
            }
        }
        remove_stale(&self.path, version.file_name().unwrap_or_default(), &keys)?;
        add_links(&self.path, &keys)
    }

    /// Writes a new version and makes it the current version. Adds links to new keys before that, and removes links to
    /// old keys after that, so that every key of the current version has a link at every moment.
    fn write_new_version(&self, folder: &Path, desired: &DesiredSecret) -> io::Result<()> {
        let version = new_folder_in(folder, VERSION_PREFIX)?;
        self.write_version(version.path(), desired)?;
        let keys = desired.data.keys().map(|key| key.as_str().into()).collect();
        let name = version.path().file_name().unwrap_or_default().to_owned();
        add_links(folder, &keys)?;
        place_link(folder, &name, CURRENT.as_ref())?;
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

    /// Deletes the Secret, which must belong to Waxseal. Readers see it whole or not at all.
    pub(super) fn delete(&self) -> io::Result<()> {
        let Self { secrets, namespace, path, name } = self;
        // Without its mode, the version could be moved but not removed: then nothing would show that values are left.
        if let Some(version) = self.current_version()? {
            restore_mode(&version, FOLDER_MODE)?;
        }
        let aside = new_folder_in(namespace, UNFINISHED)?;
        let entries = durable_file::entries(path)?;
        if entries.iter().all(is_of_waxseal) {
            fs::rename(path, aside.path().join(name.name.as_str()))?;
        } else {
            let own = self.in_order_of_deletion(entries)?;
            own.iter().try_for_each(|entry| fs::rename(entry.path(), aside.path().join(entry.file_name())))?;
        }
        durable_file::sync_folder(namespace)?;
        aside.close().map_err(without_name)?;
        remove_empty_namespace(secrets, namespace)
    }

    /// The entries that belong to Waxseal, in this order: older versions, current version, links to keys, `..data`. So
    /// all values disappear at the same moment, and as long as something is left, the next pass knows it by `..data`.
    fn in_order_of_deletion(&self, mut entries: Vec<DirEntry>) -> io::Result<Vec<DirEntry>> {
        let current = fs::read_link(self.path.join(CURRENT))?;
        entries.retain(is_of_waxseal);
        entries.sort_by_key(|entry| {
            let name = entry.file_name();
            (entry.path().is_symlink(), name == current, name == CURRENT)
        });
        Ok(entries)
    }

    /// Removes the links that an interrupted [`delete`](Self::delete) left beside files of others. They hold nothing:
    /// the version that they lead to is gone.
    fn complete_deletion(&self) -> io::Result<()> {
        let is_gone = |version: PathBuf| {
            fs::symlink_metadata(version).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        if self.named_version()?.is_some_and(is_gone) {
            // `..data` goes last, as in `delete`.
            durable_file::remove_entries(&self.path, |entry| entry.file_name() != CURRENT && is_link_to_key(entry))?;
            fs::remove_file(self.path.join(CURRENT))?;
        }
        Ok(())
    }
}

/// Whether an entry of a Secret's folder belongs to Waxseal, by its name, or as a link to a data key.
fn is_of_waxseal(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy().into_owned();
    name == CURRENT || name.starts_with(VERSION_PREFIX) || name.starts_with(UNFINISHED) || is_link_to_key(entry)
}

fn is_link_to_key(entry: &DirEntry) -> bool {
    fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(CURRENT))
}

/// Removes what a crash left unfinished, which may hold unsealed values, and lists the Secrets that belong to Waxseal.
pub(super) fn sweep_and_list(secrets: &Path, problems: &mut Problems) -> Vec<SecretFolder> {
    problems.ok_or_note(durable_file::remove_unfinished(secrets).map_err(failed_to("clean", secrets)));
    let mut found = Vec::new();
    let namespaces = problems.ok_or_note(folder_names(secrets).map_err(failed_to("read", secrets)));
    for namespace in namespaces.iter().flatten().filter_map(|name| Namespace::parse(name).ok()) {
        let path = secrets.join(namespace.as_str());
        let names = problems.ok_or_note(folder_names(&path).map_err(failed_to("read", &path)));
        for name in names.iter().flatten().filter_map(|name| ObjectName::parse(name).ok()) {
            let folder = SecretFolder::new(secrets, SecretName { namespace: namespace.clone(), name });
            let description = problems.ok_or_note(folder.description().map_err(failed_to("read", &folder.path)));
            match description {
                Some(Some(_)) => found.push(folder),
                Some(None) => {
                    let completed = folder.complete_deletion().map_err(failed_to("clean", &folder.path));
                    problems.ok_or_note(completed);
                }
                None => {}
            }
        }
        problems.ok_or_note(sweep_namespace(secrets, &path).map_err(failed_to("clean", &path)));
    }
    found
}

fn sweep_namespace(secrets: &Path, path: &Path) -> io::Result<()> {
    if durable_file::remove_unfinished(path)? { remove_empty_namespace(secrets, path) } else { Ok(()) }
}

/// Removes the empty folder of a namespace, if it looks like a folder that the controller made.
fn remove_empty_namespace(secrets: &Path, path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o777 == FOLDER_MODE;
    if is_own && fs::read_dir(path)?.next().is_none() {
        fs::remove_dir(path)?;
        durable_file::sync_folder(secrets)?;
    }
    Ok(())
}

/// The names of the folders in a folder, without symlinks to folders.
fn folder_names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in visible_entries(folder)? {
        // Needs no right to search the folder, and fails if the disk does: what exists must not count as absent.
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

fn existing(version: &Path, description: Secret) -> ExistingSecret {
    let labels = description.metadata.labels.unwrap_or_default();
    let annotations = description.metadata.annotations.unwrap_or_default();
    ExistingSecret {
        our_labels: labels.keys().cloned().collect(),
        our_annotations: annotations.keys().cloned().collect(),
        labels,
        annotations,
        controller: Controller::None,
        type_: description.type_.unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
        immutable: description.immutable.unwrap_or_default(),
        data: data(version).ok(),
    }
}

/// Reads the values. Fails if one of them cannot have been written by the controller.
fn data(version: &Path) -> io::Result<SecretData> {
    let mut data = SecretData::new();
    for entry in durable_file::entries(version)?.iter().filter(|entry| entry.file_name() != DESCRIPTION) {
        let key = DataKey::parse(&entry.file_name().to_string_lossy()).map_err(io::Error::other)?;
        data.insert(key, SecretBytes::new(durable_file::read_itself(&entry.path(), MAX_SECRET_BYTES as u64)?));
    }
    Ok(data)
}

/// A new folder with a random name, which is removed again unless it is kept.
fn new_folder_in(parent: &Path, prefix: &str) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(prefix).rand_bytes(12).permissions(Permissions::from_mode(FOLDER_MODE));
    builder.tempdir_in(parent).map_err(without_name)
}

/// Gives a file or folder its mode back. Leaves everything else alone: the controller makes no symlink and no pipe in
/// these places.
fn restore_mode(path: &Path, mode: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.is_dir() || metadata.is_file()) && metadata.mode() & 0o777 != mode {
        let restored = fs::set_permissions(path, Permissions::from_mode(mode));
        restored.map_err(|error| with_path(path, &error))?;
        tracing::info!(path = visible_path(path), "restored the mode");
    }
    Ok(())
}

fn add_links(folder: &Path, keys: &BTreeSet<OsString>) -> io::Result<()> {
    for key in keys {
        let target = Path::new(CURRENT).join(key);
        if fs::read_link(folder.join(key)).ok().as_deref() != Some(&target) {
            place_link(folder, target.as_os_str(), key)?;
        }
    }
    Ok(())
}

/// Replaces the file or symlink of this name by a symlink, or adds it.
fn place_link(folder: &Path, target: &OsStr, name: &OsStr) -> io::Result<()> {
    let link = tempfile::Builder::new().prefix(UNFINISHED).make_in(folder, |path| symlink(target, path))?;
    Ok(link.persist(folder.join(name))?)
}

/// Removes the links to keys that the version lacks, and all other versions. Files of others stay.
fn remove_stale(folder: &Path, version: &OsStr, keys: &BTreeSet<OsString>) -> io::Result<()> {
    durable_file::remove_entries(folder, |entry| {
        let name = entry.file_name();
        let is_current = name == CURRENT || name == version || keys.contains(&name);
        !is_current && is_of_waxseal(entry)
    })
    .map(drop)
}

#[cfg(test)]
mod tests;

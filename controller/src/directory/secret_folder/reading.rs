use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use waxseal_shared::api_group::{MARK_LABEL, MARK_OWNED};
use waxseal_shared::names::DataKey;
use waxseal_shared::plan::{Controller, DEFAULT_TYPE, ExistingSecret};
use waxseal_shared::secret::{MAX_SECRET_BYTES, SecretBytes, SecretData};

use super::{CURRENT, DESCRIPTION, Present, SecretFolder, VERSION_PREFIX};
use crate::directory::durable_file::{self, FileError, failed_to, visible_path};

const MAX_DESCRIPTION_BYTES: u64 = 4 * 1024 * 1024;

impl SecretFolder {
    /// Reads what exists at the place of the Secret. Follows no symlink on the way there.
    pub(in crate::directory) fn read(&self) -> Result<Present, FileError> {
        for path in [self.namespace_path(), self.path()] {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    return Ok(Present::Foreign(format!("{} is not a folder; it stays as it is", visible_path(&path))));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
                Err(error) => return Err(failed_to("look at", &path)(error)),
            }
        }
        let path = self.path();
        Ok(match self.description().map_err(failed_to("read", &path))? {
            Some((version, description)) => Present::Ours(Box::new(existing(&version, description))),
            None => Present::Foreign(format!("{} was not made by Waxseal; it stays as it is", visible_path(&path))),
        })
    }

    /// Whether the folder holds a Secret that belongs to Waxseal.
    pub(super) fn is_ours(&self) -> io::Result<bool> {
        Ok(self.description()?.is_some())
    }

    /// The current version and its description, if it belongs to Waxseal.
    fn description(&self) -> io::Result<Option<(PathBuf, Secret)>> {
        let Some(version) = self.current_version()? else {
            return Ok(None);
        };
        match durable_file::read_itself(&version.join(DESCRIPTION), MAX_DESCRIPTION_BYTES) {
            Ok(bytes) => {
                let secret = serde_json::from_slice(&bytes).ok();
                Ok(secret.filter(|secret| self.is_description(secret)).map(|secret| (version, secret)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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
    pub(super) fn current_version(&self) -> io::Result<Option<PathBuf>> {
        let path = self.path();
        let target = match fs::read_link(path.join(CURRENT)) {
            Ok(target) => target,
            // There is nothing, or no symlink.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let name = target.to_str().filter(|name| name.starts_with(VERSION_PREFIX) && !name.contains('/'));
        let version = name.map(|name| path.join(name));
        Ok(version.filter(|version| fs::symlink_metadata(version).is_ok_and(|metadata| metadata.is_dir())))
    }
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

/// The values. An error if the controller could not have written them so.
fn data(version: &Path) -> io::Result<SecretData> {
    let mut data = SecretData::new();
    for entry in fs::read_dir(version)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == DESCRIPTION {
            continue;
        }
        let key = DataKey::parse(&name.to_string_lossy()).map_err(io::Error::other)?;
        data.insert(key, SecretBytes::from(durable_file::read_itself(&entry.path(), MAX_SECRET_BYTES as u64)?));
    }
    Ok(data)
}

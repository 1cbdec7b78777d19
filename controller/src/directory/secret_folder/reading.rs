use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use waxseal_shared::api_group::{MARK_LABEL, MARK_OWNED};
use waxseal_shared::names::DataKey;
use waxseal_shared::plan::{Controller, DEFAULT_TYPE, ExistingSecret};
use waxseal_shared::secret::{MAX_SECRET_BYTES, SecretBytes, SecretData};

use super::{CURRENT, DESCRIPTION, Present, SecretFolder, VERSION_PREFIX};
use crate::directory::durable_file::{self, FileError, failed_to, shown};

const MAX_DESCRIPTION_BYTES: u64 = 4 * 1024 * 1024;

impl SecretFolder {
    /// Looks at what stands there. No symlink on the way to it is followed.
    pub(in crate::directory) fn read(&self) -> Result<Present, FileError> {
        for path in [self.namespace_path(), self.path()] {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Ok(Present::Foreign(format!("{} is not a folder; it stays as it is", shown(&path)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
                Err(error) => return Err(failed_to("look at", &path)(error)),
            }
        }
        match self.description()? {
            Some((version, description)) => Ok(Present::Ours(Box::new(existing(&version, description)))),
            None => {
                let path = self.path();
                Ok(Present::Foreign(format!("{} was not made by Waxseal; it stays as it is", shown(&path))))
            }
        }
    }

    /// Whether the folder holds a Secret of ours.
    pub(super) fn is_ours(&self) -> Result<bool, FileError> {
        Ok(self.description()?.is_some())
    }

    /// The version that counts and what is known of it, if it is ours.
    fn description(&self) -> Result<Option<(PathBuf, Secret)>, FileError> {
        let Some(version) = self.current_version()? else {
            return Ok(None);
        };
        let path = version.join(DESCRIPTION);
        let bytes = match durable_file::read_itself(&path, MAX_DESCRIPTION_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let secret = serde_json::from_slice(&bytes).ok();
        Ok(secret.filter(|secret| self.is_description(secret)).map(|secret| (version, secret)))
    }

    /// Marked as ours, and not a copy from another place.
    fn is_description(&self, secret: &Secret) -> bool {
        let metadata = &secret.metadata;
        let mark = metadata.labels.as_ref().and_then(|labels| labels.get(MARK_LABEL));
        mark.is_some_and(|mark| mark == MARK_OWNED)
            && metadata.namespace.as_deref() == Some(self.namespace.as_str())
            && metadata.name.as_deref() == Some(self.name.as_str())
    }

    /// The folder that `..data` names, if it is one that we could have made.
    pub(super) fn current_version(&self) -> Result<Option<PathBuf>, FileError> {
        let path = self.path();
        let link = path.join(CURRENT);
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if is_no_link(&error) => return Ok(None),
            Err(error) => return Err(failed_to("read", &link)(error)),
        };
        let name = target.to_str().filter(|name| name.starts_with(VERSION_PREFIX) && !name.contains('/'));
        let version = name.map(|name| path.join(name));
        Ok(version.filter(|version| fs::symlink_metadata(version).is_ok_and(|metadata| metadata.is_dir())))
    }
}

fn is_no_link(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
}

fn existing(version: &Path, description: Secret) -> ExistingSecret {
    let labels: BTreeMap<_, _> = description.metadata.labels.unwrap_or_default().into_iter().collect();
    let annotations: BTreeMap<_, _> = description.metadata.annotations.unwrap_or_default().into_iter().collect();
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

/// The values; an error if they are none that we could have written.
fn data(version: &Path) -> io::Result<SecretData> {
    let mut data = SecretData::new();
    for entry in fs::read_dir(version)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == DESCRIPTION {
            continue;
        }
        let key = DataKey::parse(&name.to_string_lossy()).map_err(io::Error::other)?;
        let bytes = durable_file::read_itself(&entry.path(), MAX_SECRET_BYTES as u64).map_err(|error| error.source)?;
        data.insert(key, SecretBytes::from(bytes));
    }
    Ok(data)
}

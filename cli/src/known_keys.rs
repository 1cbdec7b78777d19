//! Looks up the role and state of keys in keys files by key id, only to show them: two keys with one id can be made.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args;
use serde::Serialize;
use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

use crate::clusters::Clusters;
use crate::error::CliError;
use crate::file_names::{cluster_name, file_name};
use crate::input::Input;
use crate::keys_file::KeysFile;

/// The keys files to look key ids up in.
#[derive(Args)]
pub(crate) struct KnownKeysArguments {
    /// Look up key ids in this keys file, to show their roles and states. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>())]
    keys: Vec<OsString>,
    /// Look up key ids in the keys file of this cluster of the nearest `.waxseal.yaml`, from the folder of the first
    /// manifest upwards. Repeatable
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_name())]
    to: Vec<String>,
}

/// The entries of keys files by key id.
pub(crate) struct KnownKeys(BTreeMap<KeyId, Vec<KnownKey>>);

/// The entry of one key in one keys file.
#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KnownKey {
    pub(crate) file: String,
    pub(crate) role: KeyRole,
    pub(crate) state: KeyState,
}

impl KnownKeysArguments {
    pub(crate) fn names(&self) -> &[OsString] {
        &self.keys
    }

    /// Reads the keys files; returns `None` without `--keys` and `--to`. `manifests` are those on the command
    /// line.
    pub(crate) fn read(&self, manifests: &[OsString]) -> Result<Option<KnownKeys>, CliError> {
        if self.keys.is_empty() && self.to.is_empty() {
            return Ok(None);
        }
        let mut known = KnownKeys(BTreeMap::new());
        for name in &self.keys {
            known.add(&KeysFile::read(name)?);
        }
        let first = manifests.first().map_or(Input::Stdin, |name| Input::named(name));
        for file in Clusters::new().keys_files_of(&self.to, &first)? {
            known.add(&file);
        }
        Ok(Some(known))
    }
}

impl KnownKeys {
    fn add(&mut self, file: &KeysFile) {
        for key in &file.keys {
            let entry = KnownKey { file: file.place.clone(), role: key.role, state: key.state };
            self.0.entry(key.recipient.key_id().clone()).or_default().push(entry);
        }
    }

    /// Returns the entries of a key, one for each keys file that has it.
    pub(crate) fn of(&self, id: &KeyId) -> &[KnownKey] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

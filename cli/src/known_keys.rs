//! Looks up the role and state of keys in keys files, only to show them: a key id is not a proof of the key.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args;
use serde::Serialize;
use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

use crate::error::CliError;
use crate::file_names::file_name;
use crate::input::Input;

/// The keys files to look key ids up in.
#[derive(Args)]
pub(crate) struct KnownKeysArguments {
    /// Look up key ids in this keys file, to show their roles and states. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>())]
    keys: Vec<OsString>,
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

    /// Reads the keys files; returns `None` without `--keys`.
    pub(crate) fn read(&self) -> Result<Option<KnownKeys>, CliError> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let mut known: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for name in &self.keys {
            let input = Input::named(name);
            let file = input.place();
            for key in input.read_keys()? {
                let entry = KnownKey { file: file.clone(), role: key.role, state: key.state };
                known.entry(key.recipient.key_id().clone()).or_default().push(entry);
            }
        }
        Ok(Some(KnownKeys(known)))
    }
}

impl KnownKeys {
    /// Returns the entries of a key, one for each keys file that has it.
    pub(crate) fn of(&self, id: &KeyId) -> &[KnownKey] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

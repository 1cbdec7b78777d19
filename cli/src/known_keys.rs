//! What keys files say of key ids: whose keys they are, for people. A key id is a name, not a proof.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args;
use serde::Serialize;
use waxseal_shared::manifest::read_keys;
use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

use crate::error::CliError;
use crate::file_names::file_name;
use crate::input::Input;

/// The keys files to look key ids up in.
#[derive(Args)]
pub(crate) struct KnownKeysArguments {
    /// Look key ids up in this keys file, to show their roles and states. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>())]
    keys: Vec<OsString>,
}

/// Key ids, and what is said of each.
pub(crate) struct KnownKeys(BTreeMap<KeyId, Vec<KnownKey>>);

/// What one keys file says of a key.
#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KnownKey {
    pub(crate) file: String,
    pub(crate) role: KeyRole,
    pub(crate) state: KeyState,
}

impl KnownKeysArguments {
    /// The files that are named.
    pub(crate) fn names(&self) -> &[OsString] {
        &self.keys
    }

    /// Reads them; `None` if none is named.
    pub(crate) fn read(&self) -> Result<Option<KnownKeys>, CliError> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let mut known: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for name in &self.keys {
            let input = Input::named(name);
            let file = input.place();
            let keys = read_keys(&input.read()?).map_err(|error| CliError::manifest(&file, &error))?;
            for key in keys {
                let entry = KnownKey { file: file.clone(), role: key.role, state: key.state };
                known.entry(key.recipient.key_id().clone()).or_default().push(entry);
            }
        }
        Ok(Some(KnownKeys(known)))
    }
}

impl KnownKeys {
    /// What each keys file that has the key says of it.
    pub(crate) fn of(&self, id: &KeyId) -> &[KnownKey] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

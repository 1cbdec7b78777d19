//! Identity files, as age writes them, and the key ring they make.

use std::ffi::OsString;

use jiff::Timestamp;
use waxseal_shared::key::IdentityFile;
use waxseal_shared::key_ring::{HeldKey, KeyRing};
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::error::CliError;
use crate::input::Input;

/// Reads an identity file.
pub(crate) fn read(name: &OsString) -> Result<IdentityFile, CliError> {
    let input = Input::named(name);
    let text = input.read()?;
    IdentityFile::parse(&text).map_err(|error| {
        let error = CliError::refused(error.to_string()).at(input.place());
        let is_encrypted = text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE");
        if is_encrypted { error.with_hint("it is encrypted: decrypt it with `age -d` first") } else { error }
    })
}

/// Reads identity files into a ring in which every key is Active.
pub(crate) fn key_ring(names: &[OsString]) -> Result<KeyRing, CliError> {
    let mut keys = Vec::new();
    for name in names {
        let file = read(name)?;
        let created_at = file.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
        keys.extend(file.identities.into_iter().map(|identity| {
            let recipient = identity.recipient().clone();
            let published = PublishedKey { recipient, role: KeyRole::Cluster, created_at, state: KeyState::Active };
            HeldKey { identity, published }
        }));
    }
    Ok(KeyRing::new(keys))
}

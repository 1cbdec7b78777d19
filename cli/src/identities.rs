//! Identity files, as age writes them, plain or protected by a passphrase, and the key ring they make.

use std::ffi::OsString;

use jiff::Timestamp;
use waxseal_shared::key::{IdentityFile, ProtectedIdentityFile};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

use crate::error::CliError;
use crate::input::Input;
use crate::passphrases::{PassphraseArguments, Passphrases};

/// An identity file as far as it is read without a passphrase.
enum Found {
    Plain(IdentityFile),
    Protected(ProtectedIdentityFile),
}

/// Reads an identity file.
pub(crate) fn read(name: &OsString, passphrase: &PassphraseArguments) -> Result<IdentityFile, CliError> {
    let input = Input::named(name);
    let found = find(&input)?;
    let passphrases = passphrase.resolve(found.as_protected().into_iter().count())?;
    found.open(&input, &passphrases)
}

/// Reads identity files into a ring in which every key is Active. All files are read before a
/// passphrase is asked for.
pub(crate) fn key_ring(names: &[OsString], passphrase: &PassphraseArguments) -> Result<KeyRing, CliError> {
    let found: Vec<_> = names
        .iter()
        .map(|name| {
            let input = Input::named(name);
            find(&input).map(|found| (input, found))
        })
        .collect::<Result<_, _>>()?;
    let passphrases = passphrase.resolve(found.iter().filter_map(|(_, found)| found.as_protected()).count())?;
    let mut keys = Vec::new();
    for (input, found) in found {
        let file = found.open(&input, &passphrases)?;
        let created_at = file.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
        keys.extend(
            file.identities
                .into_iter()
                .map(|identity| HeldKey::new(identity, KeyRole::Cluster, created_at, KeyState::Active)),
        );
    }
    Ok(KeyRing::new(keys))
}

fn find(input: &Input) -> Result<Found, CliError> {
    let bytes = input.read_bytes()?;
    let refused = |text: String| CliError::refused(text).at(input.place());
    match ProtectedIdentityFile::recognise(&bytes) {
        Some(file) => file.map(Found::Protected).map_err(|error| refused(error.to_string())),
        None => IdentityFile::parse(input.text(bytes)?.as_bytes())
            .map(Found::Plain)
            .map_err(|error| refused(error.to_string())),
    }
}

impl Found {
    fn as_protected(&self) -> Option<&ProtectedIdentityFile> {
        match self {
            Self::Plain(_) => None,
            Self::Protected(file) => Some(file),
        }
    }

    fn open(self, input: &Input, passphrases: &Passphrases) -> Result<IdentityFile, CliError> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Protected(file) => passphrases.open(&file, input),
        }
    }
}

//! Reads age identity files, plain or protected by a passphrase, into a key ring.

use std::ffi::OsString;

use jiff::Timestamp;
use waxseal_shared::key::{IdentityFile, ProtectedIdentityFile};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

use crate::error::CliError;
use crate::input::Input;
use crate::passphrases::{PassphraseArguments, Passphrases};

/// An identity file before the passphrase is known.
enum UnopenedFile {
    Plain(IdentityFile),
    Protected(ProtectedIdentityFile),
}

/// Reads an identity file.
pub(crate) fn read_identity_file(name: &OsString, passphrase: &PassphraseArguments) -> Result<IdentityFile, CliError> {
    let input = Input::named(name);
    let file = read_unopened(&input)?;
    let passphrases = passphrase.resolve(file.as_protected().into_iter().count())?;
    file.open(&input, &passphrases)
}

/// Reads identity files into a key ring in which every key is Active. Reads all files before it asks for a passphrase.
pub(crate) fn key_ring(names: &[OsString], passphrase: &PassphraseArguments) -> Result<KeyRing, CliError> {
    let files: Vec<_> = names
        .iter()
        .map(|name| {
            let input = Input::named(name);
            read_unopened(&input).map(|file| (input, file))
        })
        .collect::<Result<_, _>>()?;
    let passphrases = passphrase.resolve(files.iter().filter_map(|(_, file)| file.as_protected()).count())?;
    let mut keys = Vec::new();
    for (input, file) in files {
        let file = file.open(&input, &passphrases)?;
        let created_at = file.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
        keys.extend(
            file.identities
                .into_iter()
                .map(|identity| HeldKey::new(identity, KeyRole::Cluster, created_at, KeyState::Active)),
        );
    }
    Ok(KeyRing::new(keys))
}

fn read_unopened(input: &Input) -> Result<UnopenedFile, CliError> {
    let bytes = input.read_bytes()?;
    let refused = |text: String| CliError::refused(text).at(input.place());
    match ProtectedIdentityFile::recognise(&bytes) {
        Some(file) => file.map(UnopenedFile::Protected).map_err(|error| refused(error.to_string())),
        None => IdentityFile::parse(input.text(bytes)?.as_bytes())
            .map(UnopenedFile::Plain)
            .map_err(|error| refused(error.to_string())),
    }
}

impl UnopenedFile {
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

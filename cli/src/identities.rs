//! Reads age identity files, plain or protected by a passphrase, into a key ring.

use std::ffi::OsString;

use jiff::Timestamp;
use waxseal_shared::key::{IdentityFile, Passphrase, ProtectedIdentityFile};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

use crate::error::CliError;
use crate::input::Input;
use crate::passphrases::{self, PassphraseArguments};

/// An identity file before the passphrase is known.
enum UnopenedFile {
    Plain(IdentityFile),
    Protected(ProtectedIdentityFile, Input),
}

pub(crate) fn read_identity_file(name: &OsString, passphrase: &PassphraseArguments) -> Result<IdentityFile, CliError> {
    let file = UnopenedFile::read(name)?;
    let passphrase = passphrase.resolve(usize::from(file.is_protected()))?;
    file.open(passphrase.as_ref())
}

/// Reads identity files into a key ring in which every key is Active. Reads all files before it asks for a passphrase.
pub(crate) fn key_ring(names: &[OsString], passphrase: &PassphraseArguments) -> Result<KeyRing, CliError> {
    let files = names.iter().map(UnopenedFile::read).collect::<Result<Vec<_>, _>>()?;
    let passphrase = passphrase.resolve(files.iter().filter(|file| file.is_protected()).count())?;
    let mut keys = Vec::new();
    for file in files {
        let file = file.open(passphrase.as_ref())?;
        let created_at = file.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let active = |identity| HeldKey::new(identity, KeyRole::Cluster, created_at, KeyState::Active);
        keys.extend(file.identities.into_iter().map(active));
    }
    Ok(KeyRing::new(keys))
}

impl UnopenedFile {
    fn read(name: &OsString) -> Result<Self, CliError> {
        let input = Input::named(name);
        let bytes = input.read_bytes()?;
        let place = input.place();
        let refused = |text: String| CliError::refused(text).at(place);
        match ProtectedIdentityFile::recognise(&bytes) {
            Some(Ok(file)) => Ok(Self::Protected(file, input)),
            Some(Err(error)) => Err(refused(error.to_string())),
            None => {
                let file = IdentityFile::parse(input.text(bytes)?.as_bytes());
                file.map(Self::Plain).map_err(|error| refused(error.to_string()))
            }
        }
    }

    fn is_protected(&self) -> bool {
        matches!(self, Self::Protected(..))
    }

    fn open(self, passphrase: Option<&Passphrase>) -> Result<IdentityFile, CliError> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Protected(file, input) => passphrases::open(&file, &input, passphrase),
        }
    }
}

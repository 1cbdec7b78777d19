//! Opens age's stanzas of the type `X25519` (c2sp.org/age, "The X25519 recipient type").
//!
//! The age library computes the public half again for each opening; this module keeps it.

use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{aead_decrypt, hkdf};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use zeroize::Zeroizing;

use super::agreement::X25519Key;
use super::file_key::file_key;

pub(crate) const STANZA_TAG: &str = "X25519";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";

/// An X25519 identity with its public half. The scalar never moves: a move would leave a copy.
pub(crate) struct ClassicKey {
    scalar: Box<Zeroizing<[u8; 32]>>,
    key: X25519Key,
}

impl ClassicKey {
    pub(super) fn new(scalar: &[u8; 32]) -> Self {
        Self { scalar: Box::new(Zeroizing::new(*scalar)), key: X25519Key::new(scalar) }
    }

    pub(super) fn scalar(&self) -> &[u8; 32] {
        &self.scalar
    }

    pub(super) fn public_bytes(&self) -> &[u8; 32] {
        self.key.public()
    }

    /// Opens the body of a stanza; `None` if the stanza is malformed or not for this key.
    pub(crate) fn unwrap(&self, stanza: &Stanza) -> Option<FileKey> {
        let share: [u8; 32] = BASE64_STANDARD_NO_PAD.decode(stanza.args.first()?).ok()?.try_into().ok()?;
        let secret = self.key.agree(&share)?;
        let salt = [share, *self.public_bytes()].concat();
        let wrap_key = Zeroizing::new(hkdf(&salt, INFO, secret.as_ref()));
        let opened = Zeroizing::new(aead_decrypt(&wrap_key, FILE_KEY_BYTES, &stanza.body).ok()?);
        file_key(&opened)
    }
}

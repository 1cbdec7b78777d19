//! Recipients and identities as the age library takes them.

use std::cell::RefCell;
use std::collections::HashSet;

use age_core::format::{FileKey, Stanza};

use super::hybrid::{self, PublicKey};
use super::{CLASSIC_TAG, HYBRID_TAG, Identity, IdentityInner};
use crate::randomness::CryptoRng;

/// Makes the age library use `random` for the X25519 half of an encapsulation. AWS-LC draws the randomness of ML-KEM
/// from its own generator.
pub(crate) struct HybridRecipient<'a, 'r, R> {
    pub(crate) key: &'a PublicKey,
    pub(crate) random: &'a RefCell<&'r mut R>,
}

impl<R: CryptoRng> age::Recipient for HybridRecipient<'_, '_, R> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (stanza, labels) = hybrid::wrap_file_key(self.key, file_key, &mut **self.random.borrow_mut())
            .map_err(|_| age::EncryptError::MissingRecipients)?;
        Ok((vec![stanza], labels))
    }
}

/// Opens only a stanza of the identity's own type. Never tries the key on grease.
pub(crate) struct OwnStanzaOnly<'a>(pub(crate) &'a Identity);

impl age::Identity for OwnStanzaOnly<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        match (self.0.inner(), stanza.tag.as_str()) {
            (IdentityInner::Hybrid(expanded), HYBRID_TAG) => expanded.unwrap(stanza).map(Ok),
            (IdentityInner::Classic(classic), CLASSIC_TAG) => classic.unwrap(stanza).map(Ok),
            _ => None,
        }
    }
}

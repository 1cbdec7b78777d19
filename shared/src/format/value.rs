use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use base64::Engine;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::binding::Binding;
use super::dek::Dek;
use super::padding::{counted_length, pad, padded_length, unpad};
use super::{Check, base64_text};
use crate::names::EnvelopeId;
use crate::randomness::{self, CryptoRng};
use crate::secret::{MAX_SECRET_BYTES, SecretBytes};

const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// The length of the first two parts of a token, each with its dot.
const TOKEN_HEAD_BYTES: usize = "wax1.e0123456789.".len();

/// A value token in its parts: `wax1.ENVELOPE.base64url(salt ‖ ciphertext ‖ tag)`.
#[derive(Debug, Clone)]
pub(crate) struct SealedValue {
    pub(crate) envelope: EnvelopeId,
    salt: [u8; SALT_BYTES],
    ciphertext: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

impl SealedValue {
    /// Parses a token (FORMAT.md §6.7); uses no key.
    pub(crate) fn parse(text: &str) -> Result<Self, Check> {
        let rest = text.strip_prefix("wax1.").ok_or(Check::TokenVersion)?;
        let (envelope, last_part) = rest.split_once('.').ok_or(Check::TokenParts)?;
        let envelope = EnvelopeId::parse(envelope).map_err(|_| Check::TokenEnvelopeId)?;
        if last_part.len() > last_part_length(MAX_SECRET_BYTES) {
            return Err(Check::TokenSize);
        }
        let bytes = base64_text::URL.decode(last_part).map_err(|_| Check::TokenEncoding)?;
        Self::from_parts(envelope, &bytes).ok_or(Check::TokenLength)
    }

    fn from_parts(envelope: EnvelopeId, bytes: &[u8]) -> Option<Self> {
        let (salt, rest) = bytes.split_first_chunk::<SALT_BYTES>()?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        if !is_padded_length(ciphertext.len()) {
            return None;
        }
        Some(Self { envelope, salt: *salt, ciphertext: ciphertext.to_vec(), tag: *tag })
    }

    /// The length that counts towards the limit on a Secret's data.
    pub(crate) fn counted_length(&self) -> usize {
        counted_length(self.ciphertext.len())
    }

    /// Opens the value for a place (FORMAT.md §7.5); the plaintext wipes itself.
    pub(crate) fn open(&self, dek: &Dek, binding: Binding<'_>) -> Result<SecretBytes, Check> {
        let (cipher, nonce) = cipher(dek, &self.salt, binding);
        let mut padded = Zeroizing::new(self.ciphertext.clone());
        cipher
            .decrypt_inout_detached(&nonce, &[], padded.as_mut_slice().into(), &Tag::from(self.tag))
            .map_err(|_| Check::ValueAuthentication)?;
        let value = unpad(&padded).ok_or(Check::ValuePadding)?;
        Ok(SecretBytes::new(value.to_vec()))
    }
}

/// Seals one value of at most 1 MiB for its place. The DEK must be new: made for this object, in the same call of
/// `seal` or `seal_values`.
pub(crate) fn seal_value(
    value: &SecretBytes,
    dek: &Dek,
    envelope: &EnvelopeId,
    binding: Binding<'_>,
    random: &mut impl CryptoRng,
) -> String {
    let salt = *randomness::draw::<SALT_BYTES>(random);
    let (cipher, nonce) = cipher(dek, &salt, binding);
    let mut bytes = pad(value.expose());
    let tag = cipher
        .encrypt_inout_detached(&nonce, &[], bytes.as_mut_slice().into())
        .expect("1 MiB is far below the limit of AES-GCM");
    let token = [&salt[..], &bytes, &tag].concat();
    format!("wax1.{envelope}.{}", base64_text::URL.encode(token))
}

/// The AES-256-GCM key and nonce of one value (NIST SP 800-38D). Each value has a new salt, so no key and nonce are
/// used twice.
fn cipher(dek: &Dek, salt: &[u8; SALT_BYTES], binding: Binding<'_>) -> (Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>) {
    let mut derived = Zeroizing::new([0; 44]);
    Hkdf::<Sha256>::new(Some(salt), dek.expose())
        .expand_multi_info(&[b"waxseal/v1/value", &binding.to_bytes()], derived.as_mut())
        .expect("44 bytes are fewer than the 8,160 that RFC 5869 allows");
    let (key, nonce) = derived.split_at(32);
    let key: &Key<Aes256Gcm> = key.try_into().expect("the first 32 of 44 bytes");
    let nonce: [u8; 12] = nonce.try_into().expect("the last 12 of 44 bytes");
    (Aes256Gcm::new(key), Nonce::from(nonce))
}

/// The length of the shortest token.
pub(crate) fn shortest_token() -> usize {
    TOKEN_HEAD_BYTES + last_part_length(0)
}

/// The length of the longest token.
pub(crate) fn longest_token() -> usize {
    TOKEN_HEAD_BYTES + last_part_length(MAX_SECRET_BYTES)
}

fn last_part_length(value_length: usize) -> usize {
    let bytes = SALT_BYTES + padded_length(value_length) + TAG_BYTES;
    base64::encoded_len(bytes, false).expect("about 1.4 million fits")
}

/// Whether some value has this padded length.
///
/// It is enough to try one value: if any value has this padded length, a value of `length - 4` bytes has it too
/// (FORMAT.md §5.4).
fn is_padded_length(length: usize) -> bool {
    length >= 4 && padded_length(length - 4) == length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{DataKey, Namespace, ObjectName};
    use crate::sealed_secret::Scope;

    fn names() -> (Namespace, ObjectName, DataKey) {
        (
            Namespace::parse("shop").expect("a namespace"),
            ObjectName::parse("db").expect("a name"),
            DataKey::parse("PASSWORD").expect("a data key"),
        )
    }

    #[test]
    fn a_value_opens_in_its_place_only() {
        let (namespace, name, key) = names();
        let mut random = randomness::system();
        let dek = Dek::generate(&mut random);
        let id = dek.commitment().envelope_id();
        let binding = Binding { scope: Scope::Strict, namespace: &namespace, name: &name, key: &key };
        let token = seal_value(&SecretBytes::new(b"hunter2".to_vec()), &dek, &id, binding, &mut random);
        let sealed = SealedValue::parse(&token).expect("our own token");
        assert_eq!(sealed.open(&dek, binding).expect("opens").expose(), b"hunter2");

        let other = DataKey::parse("USER").expect("a data key");
        let moved = Binding { key: &other, ..binding };
        assert_eq!(sealed.open(&dek, moved).err(), Some(Check::ValueAuthentication));
        let wider = Binding { scope: Scope::Cluster, ..binding };
        assert_eq!(sealed.open(&dek, wider).err(), Some(Check::ValueAuthentication));
        let stranger = Dek::generate(&mut random);
        assert_eq!(sealed.open(&stranger, binding).err(), Some(Check::ValueAuthentication));
    }

    #[test]
    fn every_padded_length_is_recognised() {
        for length in (0..5000).chain([MAX_SECRET_BYTES]) {
            assert!(is_padded_length(padded_length(length)), "{length}");
        }
        assert!(!is_padded_length(0) && !is_padded_length(255) && !is_padded_length(273));
    }
}

use std::fmt;

use hpke::Deserializable;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{bech32, hybrid, is_canonical, is_low_order};
use crate::names::KeyId;

const HYBRID_PREFIX: &str = "age1pq";
const CLASSIC_PREFIX: &str = "age";

/// The two kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `mlkem768x25519`, the default: a quantum computer cannot open what is sealed to it.
    Hybrid,
    /// `X25519`, only on request.
    Classic,
}

/// A public key as age writes it: `age1pq1…` or `age1…`, in canonical form and safe to wrap for.
#[derive(Clone)]
pub struct Recipient {
    text: String,
    id: KeyId,
    digest: [u8; 32],
    inner: RecipientInner,
}

#[derive(Clone)]
pub(crate) enum RecipientInner {
    Hybrid(hybrid::PublicKey),
    Classic(age::x25519::Recipient),
}

/// Why a text is not a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The text is an identity: a private key where a public one belongs.
    #[error("this is an identity, a private key; a recipient begins with \"age1\"")]
    IsIdentity,
    /// The text is not a recipient that Waxseal can seal to.
    #[error("not a recipient: expected \"age1pq1…\" or \"age1…\"")]
    Unknown,
    /// The text is a recipient, but not in lower case.
    #[error("not the canonical form of a recipient: it must be all lower case")]
    NotCanonical,
    /// The X25519 point is of low order: everybody knows the shared secret that it gives.
    #[error("a recipient with a low-order X25519 point is refused")]
    LowOrder,
    /// The encoding of the X25519 point is not the canonical one: one key would have two recipients.
    #[error("a recipient with an X25519 point that is not canonical is refused")]
    PointNotCanonical,
}

impl Recipient {
    /// Parses the canonical, lower-case form. Refuses recipients of every other kind, and points that are of low order
    /// or not canonical.
    pub fn parse(text: &str) -> Result<Self, RecipientError> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("age-secret-key-") {
            return Err(RecipientError::IsIdentity);
        }
        let inner = parse_hybrid(&lower).or_else(|| parse_classic(&lower)).ok_or(RecipientError::Unknown)??;
        if lower != text {
            return Err(RecipientError::NotCanonical);
        }
        let digest = Sha256::digest(text.as_bytes()).into();
        Ok(Self { text: lower, id: key_id(&digest), digest, inner })
    }

    pub(super) fn from_hybrid(public: &[u8; hybrid::PUBLIC_KEY_BYTES]) -> Result<Self, RecipientError> {
        Self::parse(&bech32::encode(public, HYBRID_PREFIX))
    }

    pub(super) fn from_classic(public: &[u8; 32]) -> Result<Self, RecipientError> {
        Self::parse(&bech32::encode(public, CLASSIC_PREFIX))
    }

    /// The recipient as age writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its kind.
    pub fn kind(&self) -> KeyKind {
        match self.inner {
            RecipientInner::Hybrid(_) => KeyKind::Hybrid,
            RecipientInner::Classic(_) => KeyKind::Classic,
        }
    }

    /// Its short name: `k` and the first 16 hex digits of SHA-256 of its text.
    pub fn key_id(&self) -> &KeyId {
        &self.id
    }

    /// The fingerprint, which people compare: `sha256:` and the whole digest in hex.
    pub fn fingerprint(&self) -> String {
        format!("sha256:{}", hex(&self.digest))
    }

    pub(crate) fn inner(&self) -> &RecipientInner {
        &self.inner
    }
}

#[cfg(test)]
impl Recipient {
    /// This recipient with another key id, to test two recipients with the same key id.
    pub(crate) fn with_key_id(self, id: KeyId) -> Self {
        Self { id, ..self }
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_hybrid(text: &str) -> Option<Result<RecipientInner, RecipientError>> {
    let bytes = bech32::decode::<{ hybrid::PUBLIC_KEY_BYTES }>(text, HYBRID_PREFIX)?;
    let (_, share) = bytes.split_last_chunk::<32>()?;
    if let Err(error) = check_point(share) {
        return Some(Err(error));
    }
    Some(hybrid::PublicKey::from_bytes(bytes.as_ref()).map(RecipientInner::Hybrid).map_err(|_| RecipientError::Unknown))
}

fn parse_classic(text: &str) -> Option<Result<RecipientInner, RecipientError>> {
    let share = bech32::decode::<32>(text, CLASSIC_PREFIX)?;
    // The age library panics on a point of low order: it assumes that a random generator is broken.
    if let Err(error) = check_point(&share) {
        return Some(Err(error));
    }
    Some(text.parse().map(RecipientInner::Classic).map_err(|_| RecipientError::Unknown))
}

fn check_point(point: &[u8; 32]) -> Result<(), RecipientError> {
    if is_low_order(point) {
        return Err(RecipientError::LowOrder);
    }
    if is_canonical(point) { Ok(()) } else { Err(RecipientError::PointNotCanonical) }
}

fn key_id(digest: &[u8; 32]) -> KeyId {
    KeyId::parse(&format!("k{}", hex(&digest[..8]))).expect("8 bytes are 16 lower-case hex digits")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Identity;
    use crate::randomness;

    const CLASSIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    #[test]
    fn a_classic_recipient_keeps_its_text() {
        let recipient = Recipient::parse(CLASSIC).expect("age's own test recipient");
        assert_eq!(recipient.as_str(), CLASSIC);
        assert_eq!(recipient.kind(), KeyKind::Classic);
        assert_eq!(format!("{recipient} {recipient:?}"), format!("{CLASSIC} {CLASSIC}"));
        assert!(recipient.fingerprint().starts_with("sha256:"));
        assert_eq!(recipient.key_id().as_str()[1..], recipient.fingerprint()[7..23]);
    }

    #[test]
    fn recipients_are_the_same_if_their_texts_are() {
        let [one, other] = [1, 2].map(|byte| Recipient::from_classic(&[byte; 32]).expect("a point"));
        assert!(one == one.clone() && one != other);
    }

    #[test]
    fn other_texts_are_refused() {
        let upper = CLASSIC.to_ascii_uppercase();
        assert_eq!(Recipient::parse(&upper), Err(RecipientError::NotCanonical));
        assert_eq!(Recipient::parse("age1"), Err(RecipientError::Unknown));
        assert_eq!(Recipient::parse("AGE-SECRET-KEY-1GQ9"), Err(RecipientError::IsIdentity));
        assert_eq!(Recipient::parse(&format!("{CLASSIC} ")), Err(RecipientError::Unknown));
        assert_eq!(Recipient::parse(&CLASSIC.replace('t', "q")), Err(RecipientError::Unknown));
    }

    #[test]
    fn low_order_recipients_are_refused() {
        let classic = bech32::encode(&[0; 32], CLASSIC_PREFIX);
        assert_eq!(Recipient::parse(&classic), Err(RecipientError::LowOrder));
        let hybrid = bech32::encode(&[0; hybrid::PUBLIC_KEY_BYTES], HYBRID_PREFIX);
        assert_eq!(Recipient::parse(&hybrid), Err(RecipientError::LowOrder));
    }

    #[test]
    fn points_in_another_encoding_are_refused() {
        let hybrid = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
        let hybrid = bech32::decode::<{ hybrid::PUBLIC_KEY_BYTES }>(hybrid.recipient().as_str(), HYBRID_PREFIX);
        let hybrid = hybrid.expect("a hybrid recipient");
        // The base point, 9: with the bit that X25519 ignores, and with the prime added.
        let mut high_bit = [0; 32];
        (high_bit[0], high_bit[31]) = (9, 0x80);
        let mut prime_and_9 = [0xff; 32];
        (prime_and_9[0], prime_and_9[31]) = (0xf6, 0x7f);
        for point in [high_bit, prime_and_9] {
            let classic = bech32::encode(&point, CLASSIC_PREFIX);
            assert_eq!(Recipient::parse(&classic), Err(RecipientError::PointNotCanonical));
            let hybrid = bech32::encode(&[&hybrid[..hybrid.len() - 32], &point].concat(), HYBRID_PREFIX);
            assert_eq!(Recipient::parse(&hybrid), Err(RecipientError::PointNotCanonical));
        }
    }
}

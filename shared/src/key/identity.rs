use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use super::classic::ClassicKey;
use super::hybrid::{ExpandedKey, SEED_BYTES};
use super::{KeyKind, Recipient, bech32};
use crate::randomness::{self, CryptoRng};
use crate::stack;

const HYBRID_PREFIX: &str = "age-secret-key-pq-";
const CLASSIC_PREFIX: &str = "age-secret-key-";
/// [`contains_identity`] takes a text for an identity if at least this many characters follow the `1`.
const FEWEST_CHARACTERS: usize = 6;

/// A private key: `AGE-SECRET-KEY-PQ-1…` or `AGE-SECRET-KEY-1…`.
///
/// A hybrid key is expanded once, here; opening uses the expanded form. `Debug` shows only the key id.
pub struct Identity {
    recipient: Recipient,
    inner: IdentityInner,
}

pub(crate) enum IdentityInner {
    Hybrid(ExpandedKey),
    Classic(Box<ClassicKey>),
}

/// Why a text is not an identity. Never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The text is not an identity that Waxseal knows.
    #[error("not an identity: expected \"AGE-SECRET-KEY-PQ-1…\" or \"AGE-SECRET-KEY-1…\"")]
    Unknown,
}

impl Identity {
    /// Makes a new identity from 32 fresh random bytes.
    pub fn generate(kind: KeyKind, random: &mut impl CryptoRng) -> Self {
        let identity = stack::wiped_after(|| {
            let secret = randomness::draw::<32>(random);
            match kind {
                KeyKind::Hybrid => Self::from_seed(&secret),
                KeyKind::Classic => Self::from_scalar(&secret),
            }
        });
        identity.expect("fresh random bytes give a key of full order")
    }

    /// Parses one identity, upper case as age writes it or lower case as Bech32 allows.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Unknown`] for every other text, also for an identity of another type.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        stack::wiped_after(|| Self::decode(text)).ok_or(IdentityError::Unknown)
    }

    fn decode(text: &str) -> Option<Self> {
        if let Some(seed) = bech32::decode::<SEED_BYTES>(text, HYBRID_PREFIX) {
            return Self::from_seed(&seed);
        }
        Self::from_scalar(&*bech32::decode::<32>(text, CLASSIC_PREFIX)?)
    }

    fn from_seed(seed: &[u8; SEED_BYTES]) -> Option<Self> {
        let key = ExpandedKey::expand(seed);
        let recipient = Recipient::from_hybrid(key.public_bytes()).ok()?;
        Some(Self { recipient, inner: IdentityInner::Hybrid(key) })
    }

    fn from_scalar(scalar: &[u8; 32]) -> Option<Self> {
        let key = ClassicKey::new(scalar);
        let recipient = Recipient::from_classic(key.public_bytes()).ok()?;
        Some(Self { recipient, inner: IdentityInner::Classic(Box::new(key)) })
    }

    /// The public half.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// The identity as age writes it, in upper case. Write it only to a file that only its owner can read.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = match &self.inner {
            IdentityInner::Hybrid(key) => bech32::encode(key.seed(), HYBRID_PREFIX),
            IdentityInner::Classic(key) => bech32::encode(key.scalar(), CLASSIC_PREFIX),
        };
        text.make_ascii_uppercase();
        text
    }

    pub(crate) fn inner(&self) -> &IdentityInner {
        &self.inner
    }
}

/// Whether a text contains an identity, in lower or upper case: `AGE-SECRET-KEY-PQ-1` or `AGE-SECRET-KEY-1`, and at
/// least six characters of Bech32's alphabet.
///
/// An identity that is damaged or cut off counts too. Without the six characters, the text can be documentation or the
/// name of a file, such as `age-secret-key-1.yaml`.
pub fn contains_identity(text: &[u8]) -> bool {
    (0..text.len()).any(|start| begins_with_identity(&text[start..]))
}

fn begins_with_identity(text: &[u8]) -> bool {
    [HYBRID_PREFIX, CLASSIC_PREFIX].into_iter().any(|prefix| {
        let Some((start, rest)) = text.split_at_checked(prefix.len()) else { return false };
        let characters = rest.strip_prefix(b"1").and_then(|data| data.get(..FEWEST_CHARACTERS));
        start.eq_ignore_ascii_case(prefix.as_bytes())
            && characters.is_some_and(|characters| characters.iter().all(|byte| bech32::is_data_character(*byte)))
    })
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient.key_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST_IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    const TEST_RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    #[test]
    fn an_identity_of_age_has_its_recipient_and_text() {
        let identity = Identity::parse(TEST_IDENTITY).expect("age's own test identity");
        assert_eq!(identity.recipient().as_str(), TEST_RECIPIENT);
        assert_eq!(identity.expose().as_str(), TEST_IDENTITY);
    }

    #[test]
    fn a_generated_identity_parses_from_its_own_text() {
        for kind in [KeyKind::Hybrid, KeyKind::Classic] {
            let identity = Identity::generate(kind, &mut randomness::system());
            assert_eq!(identity.recipient().kind(), kind);
            let again = Identity::parse(&identity.expose()).expect("its own text");
            assert_eq!(again.recipient(), identity.recipient());
        }
    }

    #[test]
    fn identities_are_found_anywhere_in_a_text() {
        let hybrid = Identity::generate(KeyKind::Hybrid, &mut randomness::system()).expose();
        for identity in [TEST_IDENTITY, &hybrid, "AGE-SECRET-KEY-1QPZRY9", "AGE-SECRET-KEY-PQ-1QPZRY9"] {
            let lower = identity.to_ascii_lowercase();
            for text in [identity, &lower] {
                for (before, after) in [("", ""), ("# created: x\n", "\n"), ("\"", "\""), ("x", "b"), ("é./", "é")] {
                    assert!(contains_identity(format!("{before}{text}{after}").as_bytes()), "{before}");
                }
            }
            assert!(contains_identity(&[b"\xff\0", identity.as_bytes(), b"\xff"].concat()));
        }
        for text in [
            "",
            "AGE-SECRET-KEY-",
            "AGE-SECRET-KEY-1",
            "AGE-SECRET-KEY-1QPZRY",
            "AGE-SECRET-KEY-1QPZRYB",
            "AGE-SECRET-KEY-PQ-1QPZRY-",
            "AGE-SECRET-KEY-2QPZRY9",
            "./age-secret-key-1.yaml",
            TEST_RECIPIENT,
        ] {
            assert!(!contains_identity(text.as_bytes()), "{text}");
        }
        assert!(!contains_identity(b"AGE-SECRET-KEY-1QPZRY\xe9"));
    }

    #[test]
    fn debug_shows_the_key_id_alone() {
        let identity = Identity::parse(TEST_IDENTITY).expect("age's own test identity");
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.recipient().key_id()));
    }
}

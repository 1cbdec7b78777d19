use std::convert::Infallible;

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::key::hex;
use crate::names::{EnvelopeId, KeyId};
use crate::randomness::CryptoRng;

const COMMITMENT_BYTES: usize = 32;
pub(super) const DEK_BYTES: usize = 32;
pub(super) const PROOF_BYTES: usize = 16;

/// The DEK of one envelope: 32 random bytes that wipe themselves and print nothing.
///
/// The bytes stay in one place on the heap: each move would leave a copy behind that nothing wipes.
pub struct Dek(Box<Zeroizing<[u8; DEK_BYTES]>>);

/// The public commitment of an envelope to its DEK (FORMAT.md §5.1), which does not reveal the DEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commitment(pub(super) [u8; COMMITMENT_BYTES]);

impl Dek {
    /// Draws a fresh DEK.
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        let Ok(dek) = Self::fill_with(|bytes| {
            random.fill_bytes(bytes);
            Ok::<_, Infallible>(())
        });
        dek
    }

    /// Lets `fill` write the bytes in place.
    pub(super) fn fill_with<E>(fill: impl FnOnce(&mut [u8; DEK_BYTES]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Box::new(Zeroizing::new([0; DEK_BYTES]));
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(super) fn expose(&self) -> &[u8; DEK_BYTES] {
        &self.0
    }

    /// The commitment to this DEK. It ensures that all recipients of an envelope get the same DEK.
    pub fn commitment(&self) -> Commitment {
        let mut bytes = [0; COMMITMENT_BYTES];
        self.derive(&[b"waxseal/v1/commitment"], &mut bytes);
        Commitment(bytes)
    }

    /// Whether this DEK has this commitment. Compares in constant time.
    pub fn matches(&self, commitment: &Commitment) -> bool {
        self.commitment().0.ct_eq(&commitment.0).into()
    }

    /// The proof that the maker of a wrap knew this DEK.
    pub(super) fn proof(&self, key_id: &KeyId, age_file: &[u8]) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        let digest = Sha256::digest(age_file);
        self.derive(&[b"waxseal/v1/wrap", key_id.as_str().as_bytes(), &digest], &mut proof);
        proof
    }

    /// HKDF-SHA256 (RFC 5869) without salt.
    fn derive(&self, info: &[&[u8]], output: &mut [u8]) {
        Hkdf::<Sha256>::new(None, self.expose())
            .expand_multi_info(info, output)
            .expect("at most 32 bytes are asked for, of the 8,160 that RFC 5869 allows");
    }
}

impl Commitment {
    /// The 32 bytes before base64.
    pub fn as_bytes(&self) -> &[u8; COMMITMENT_BYTES] {
        &self.0
    }

    /// The id of the envelope: `e` and the first 10 hex digits.
    pub fn envelope_id(&self) -> EnvelopeId {
        EnvelopeId::parse(&format!("e{}", hex(&self.0[..5]))).expect("5 bytes are 10 lower-case hex digits")
    }
}

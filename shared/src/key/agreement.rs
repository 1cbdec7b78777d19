//! The two key agreements, X25519 and ML-KEM-768. AWS-LC computes them several times faster than libraries that are
//! written only in Rust, and it wipes keys and shared secrets.

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768, SharedSecret};
#[expect(deprecated, reason = "AWS-LC's interface for Rust takes no seed, so the key is expanded here")]
use ml_kem::ExpandedKeyEncoding;
use ml_kem::{FromSeed, KeyExport, MlKem768, Seed};
use zeroize::Zeroizing;

pub(super) const ML_KEM_CIPHERTEXT_BYTES: usize = 1088;
pub(super) const ML_KEM_PUBLIC_BYTES: usize = 1184;

/// An X25519 private key and its public half (RFC 7748 §6.1).
pub(super) struct X25519Key {
    private: agreement::PrivateKey,
    public: [u8; 32],
}

impl X25519Key {
    pub(super) fn new(scalar: &[u8; 32]) -> Self {
        let private = agreement::PrivateKey::from_private_key(&X25519, scalar).expect("any 32 bytes are a scalar");
        let public = private.compute_public_key().expect("every private key has a public half");
        let public = public.as_ref().try_into().expect("an X25519 point has 32 bytes");
        Self { private, public }
    }

    pub(super) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The shared secret; `None` for a share of low order.
    pub(super) fn agree(&self, share: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let share = UnparsedPublicKey::new(&X25519, share);
        agreement::agree(&self.private, share, (), |secret| {
            let mut copy = Zeroizing::new([0; 32]);
            copy.copy_from_slice(secret);
            Ok(copy)
        })
        .ok()
    }
}

/// An ML-KEM-768 decapsulation key in its expanded form (FIPS 203).
pub(super) struct MlKemKey(DecapsulationKey);

impl MlKemKey {
    /// The key of a seed, `d ‖ z` (FIPS 203 §6.1), and its public half.
    pub(super) fn expand(seed: &Zeroizing<[u8; 64]>) -> (Self, [u8; ML_KEM_PUBLIC_BYTES]) {
        let seed = Zeroizing::new(Seed::from(**seed));
        let (private, public) = MlKem768::from_seed(&seed);
        #[expect(deprecated, reason = "see the import")]
        let expanded = Zeroizing::new(private.to_expanded_bytes());
        let private = DecapsulationKey::new(&ML_KEM_768, &expanded).expect("an expanded key has the right length");
        (Self(private), public.to_bytes().into())
    }

    /// The shared secret. A ciphertext that was made for another key gives a random secret (FIPS 203 §7.3).
    pub(super) fn decapsulate(&self, ciphertext: &[u8; ML_KEM_CIPHERTEXT_BYTES]) -> Option<SharedSecret> {
        self.0.decapsulate(ciphertext.as_slice().into()).ok()
    }
}

/// An ML-KEM-768 encapsulation key.
#[derive(Debug)]
pub(super) struct MlKemPublicKey(EncapsulationKey);

impl MlKemPublicKey {
    /// `None` for a key with numbers that are too large (FIPS 203 §7.2).
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let key = Self(EncapsulationKey::new(&ML_KEM_768, bytes).ok()?);
        // AWS-LC checks the numbers when it encapsulates.
        key.encapsulate()?;
        Some(key)
    }

    /// A fresh shared secret, and the ciphertext from which the holder of the private key gets the same secret. AWS-LC
    /// draws the randomness from its own generator: its Rust interface accepts no other.
    pub(super) fn encapsulate(&self) -> Option<(Ciphertext<'static>, SharedSecret)> {
        self.0.encapsulate().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree() {
        let (one, other) = (X25519Key::new(&[1; 32]), X25519Key::new(&[2; 32]));
        let secret = one.agree(other.public()).expect("a point of full order");
        assert_eq!(Some(secret), other.agree(one.public()));
        assert_ne!(one.public(), other.public());
    }
}

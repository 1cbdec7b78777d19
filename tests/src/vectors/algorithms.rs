//! The algorithms of the specification, from AWS-LC, except SHA-256 and those of the hybrid kind. Of the algorithms
//! here, Waxseal takes only X25519 from AWS-LC.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::{hkdf, hmac};

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

pub(super) fn hkdf<const N: usize>(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> [u8; N] {
    let mut output = [0; N];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm);
    key.expand(info, Length(N)).and_then(|okm| okm.fill(&mut output)).expect("far fewer than 8,160 bytes");
    output
}

pub(super) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    tag.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
}

pub(super) fn chacha20_poly1305(key: &[u8; 32], nonce: [u8; 12], plaintext: &[u8]) -> Vec<u8> {
    seal(&CHACHA20_POLY1305, key, nonce, plaintext)
}

pub(super) fn aes_256_gcm(key: &[u8; 32], nonce: [u8; 12], plaintext: &[u8]) -> Vec<u8> {
    seal(&AES_256_GCM, key, nonce, plaintext)
}

fn seal(algorithm: &'static Algorithm, key: &[u8; 32], nonce: [u8; 12], plaintext: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("a key of 32 bytes"));
    let mut bytes = plaintext.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
        .expect("plaintexts here are short");
    bytes
}

/// `X25519(scalar, 9)`.
pub(super) fn x25519_public(scalar: &[u8; 32]) -> [u8; 32] {
    let public = private(scalar).compute_public_key().expect("every scalar has a public key");
    public.as_ref().try_into().expect("a point of 32 bytes")
}

pub(super) fn x25519(scalar: &[u8; 32], point: &[u8; 32]) -> [u8; 32] {
    agreement::agree(&private(scalar), UnparsedPublicKey::new(&X25519, point), (), |secret| {
        secret.try_into().map_err(|_| ())
    })
    .expect("a point that is not of low order")
}

fn private(scalar: &[u8; 32]) -> PrivateKey {
    PrivateKey::from_private_key(&X25519, scalar).expect("32 bytes")
}

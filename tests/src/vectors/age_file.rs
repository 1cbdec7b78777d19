//! Writing age files from fixed inputs (FORMAT.md §5.6), valid and invalid.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{OpModeS, Serializable};
use waxseal_shared::key::KeyKind;

use super::algorithms::{chacha20_poly1305, hkdf, hmac, x25519, x25519_public};
use super::seed::Seed;
use super::test_key::TestKey;

/// An age file in its parts.
pub(super) struct AgeFile {
    /// The text of the stanzas.
    pub(super) stanzas: String,
    pub(super) file_key: [u8; 16],
    pub(super) nonce: [u8; 16],
    pub(super) plaintext: Vec<u8>,
}

impl AgeFile {
    /// Returns a file with one stanza.
    pub(super) fn new(key: &TestKey, dek: &[u8], seed: &Seed) -> Self {
        let file_key = seed.bytes("file key");
        let stanzas = recipient_stanza(key, &file_key, seed);
        Self { stanzas, file_key, nonce: seed.bytes("payload nonce"), plaintext: dek.to_vec() }
    }

    pub(super) fn header(&self) -> String {
        let authenticated = format!("age-encryption.org/v1\n{}---", self.stanzas);
        let mac = hmac(&hkdf::<32>(&self.file_key, &[], &[b"header"]), authenticated.as_bytes());
        format!("{authenticated} {}\n", raw_base64(&mac))
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        let key = hkdf::<32>(&self.file_key, &self.nonce, &[b"payload"]);
        let sealed = chacha20_poly1305(&key, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &self.plaintext);
        [&self.nonce[..], &sealed].concat()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.header().as_bytes(), &self.payload()].concat()
    }
}

pub(super) fn raw_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD_NO_PAD.encode(bytes)
}

/// Writes a stanza. Its body has lines of 64 characters, and a shorter last line.
pub(super) fn stanza(arguments: &[&str], body: &[u8]) -> String {
    let mut text = format!("-> {}\n", arguments.join(" "));
    let body = raw_base64(body);
    let mut rest = body.as_str();
    while rest.len() >= 64 {
        let (line, after) = rest.split_at(64);
        text += &format!("{line}\n");
        rest = after;
    }
    text + rest + "\n"
}

pub(super) fn recipient_stanza(key: &TestKey, file_key: &[u8], seed: &Seed) -> String {
    match key.kind {
        KeyKind::Classic => {
            let (share, body) = classic(key, file_key, seed);
            stanza(&["X25519", &raw_base64(&share)], &body)
        }
        KeyKind::Hybrid => {
            let (encapsulation, body) = hybrid(key, file_key, seed);
            stanza(&["mlkem768x25519", &raw_base64(&encapsulation)], &body)
        }
    }
}

/// The share and the body of an X25519 stanza.
pub(super) fn classic(key: &TestKey, file_key: &[u8], seed: &Seed) -> ([u8; 32], Vec<u8>) {
    let ephemeral = seed.bytes("ephemeral secret");
    let recipient: [u8; 32] = key.public().try_into().expect("a classic key");
    let share = x25519_public(&ephemeral);
    let salt = [share, recipient].concat();
    let wrap_key = hkdf(&x25519(&ephemeral, &recipient), &salt, &[b"age-encryption.org/v1/X25519"]);
    (share, chacha20_poly1305(&wrap_key, [0; 12], file_key))
}

/// The encapsulation and the body of an mlkem768x25519 stanza.
pub(super) fn hybrid(key: &TestKey, file_key: &[u8], seed: &Seed) -> (Vec<u8>, Vec<u8>) {
    let sealed = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &key.hybrid_public(),
        b"age-encryption.org/mlkem768x25519",
        file_key,
        &[],
        &mut seed.stream("encapsulation"),
    );
    let (encapsulation, body) = sealed.expect("a valid recipient");
    (encapsulation.to_bytes().to_vec(), body)
}

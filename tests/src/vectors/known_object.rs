//! A sealed object with all its secrets, also those that exist only while it is opened.

use hpke::kem::XWing;
use hpke::{Deserializable, Kem};
use ml_kem::{FromSeed, MlKem768};
use serde_json::Value;
use shake::digest::Update;
use shake::{ExtendableOutput, Shake256, XofReader};
use waxseal_shared::key::Identity;

use super::age_file;
use super::algorithms::{hkdf, hmac};
use super::draft::{Draft, binding, hex, value_key};
use super::test_key::TestKey;
use crate::canaries::{self, Canaries};

const DATA_KEY: &str = "PASSWORD";
/// The number of bytes of the secret vector that are searched for.
const VECTOR_EXCERPT: usize = 64;

/// A sealed object and its secrets.
pub struct KnownObject {
    /// The manifest, with one value under the data key `PASSWORD`.
    pub manifest: Value,
    /// The hybrid identity that opens it.
    pub identity: Identity,
    /// The value, which is text.
    pub value: String,
    /// The secrets that opening brings into memory in addition to the value, by name.
    pub keys: Vec<(&'static str, Vec<u8>)>,
    /// The secret parts of the identity, by name.
    pub identity_parts: Vec<(&'static str, Vec<u8>)>,
}

impl KnownObject {
    /// Seals a value for a namespace and name. The same namespace and name always give the same secrets.
    pub fn new(namespace: &str, name: &str) -> Self {
        let key = TestKey::hybrid(&format!("known to the tests of {namespace}/{name}"));
        let mut draft = Draft::new(&format!("known {namespace}/{name}"));
        (draft.namespace, draft.name) = (namespace.to_owned(), name.to_owned());
        let value = hex(&draft.seed.bytes::<40>("the value"));
        let envelope = draft.envelope("1", &[&key]);
        draft.value(&envelope, DATA_KEY, value.as_bytes());
        let keys = keys(&draft, &envelope, &key);
        Self { manifest: draft.object(), identity_parts: identity_parts(&key), identity: key.identity, value, keys }
    }

    /// Returns the search for all secrets: the value, its keys, the identity.
    pub fn canaries(&self) -> Canaries {
        let parts = self.keys.iter().chain(&self.identity_parts).map(|(name, part)| (*name, part.as_slice()));
        Canaries::new(parts.chain([("the value", self.value.as_bytes())]))
    }
}

/// Computes the intermediate secrets of FORMAT.md §7.3 and §7.5.
fn keys(draft: &Draft, envelope: &str, key: &TestKey) -> Vec<(&'static str, Vec<u8>)> {
    let dek = draft.dek(envelope);
    let salt: [u8; 16] = draft.seed.bytes(&format!("salt {DATA_KEY}"));
    let (value_key, _) = value_key(dek, &salt, &binding(draft.scope, &draft.namespace, &draft.name, DATA_KEY));
    let file = draft.age_file(envelope, key);
    let (encapsulation, _) = age_file::hybrid(key, &file.file_key, &draft.wrap_seed(envelope, key.id()));
    let encapsulation = <XWing as Kem>::EncappedKey::from_bytes(&encapsulation).expect("it was just made");
    let shared = XWing::decap(&key.hybrid_private(), None, &encapsulation).expect("it was made for this key");
    vec![
        ("the DEK", dek.to_vec()),
        ("the HKDF-Extract output for the value", hmac(&salt, dek).to_vec()),
        ("the HKDF-Extract output without a salt", hmac(&[0; 32], dek).to_vec()),
        ("the value's key", value_key.to_vec()),
        ("the age file key", file.file_key.to_vec()),
        ("the key of the age file's header", hkdf::<32>(&file.file_key, &[], &[b"header"]).to_vec()),
        ("the key of the age file's payload", hkdf::<32>(&file.file_key, &file.nonce, &[b"payload"]).to_vec()),
        ("the shared secret of X-Wing", shared.0.to_vec()),
    ]
}

/// Expands an identity as draft-connolly-cfrg-xwing-kem §5.2 says.
fn identity_parts(key: &TestKey) -> Vec<(&'static str, Vec<u8>)> {
    let mut reader = Shake256::default().chain(key.secret).finalize_xof();
    let mut seed = ml_kem::Seed::default();
    reader.read(&mut seed);
    let mut scalar = vec![0; 32];
    reader.read(&mut scalar);
    let mut parts = canaries::of_identity(&key.identity.expose());
    parts.push(("the first half of the seed of ML-KEM", seed[..32].to_vec()));
    parts.push(("the second half of the seed of ML-KEM", seed[32..].to_vec()));
    let [encoded, coefficients] = secret_vector(&seed);
    parts.push(("the secret vector of ML-KEM", encoded));
    parts.push(("the coefficients of the secret vector of ML-KEM", coefficients));
    parts.push(("the X25519 scalar", scalar));
    parts
}

/// Returns the secret vector in two forms: 12 bits per coefficient, as FIPS 203 encodes it, and 16 bits per
/// coefficient, as libraries compute with it.
fn secret_vector(seed: &ml_kem::Seed) -> [Vec<u8>; 2] {
    let (key, _) = MlKem768::from_seed(seed);
    #[expect(
        deprecated,
        reason = "the library recommends storing the seed, and Waxseal does so; this test needs the expanded key"
    )]
    let encoded = ml_kem::ExpandedKeyEncoding::to_expanded_bytes(&key);
    let pairs = encoded.as_slice().chunks_exact(3).flat_map(|three| {
        let [a, b, c] = [three[0], three[1], three[2]].map(u16::from);
        [a | (b & 0xf) << 8, b >> 4 | c << 4]
    });
    let coefficients = pairs.flat_map(u16::to_le_bytes).take(VECTOR_EXCERPT).collect();
    [encoded[..VECTOR_EXCERPT].to_vec(), coefficients]
}

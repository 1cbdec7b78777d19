//! A sealed object for a vector, built as FORMAT.md §5 and §8 say.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::age_file::AgeFile;
use super::algorithms::{aes_256_gcm, hkdf};
use super::seed::Seed;
use super::test_key::TestKey;

pub(super) struct Draft {
    pub(super) vector: String,
    pub(super) seed: Seed,
    pub(super) scope: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) template: Option<Value>,
    /// The expected values after opening.
    pub(super) data: BTreeMap<String, Vec<u8>>,
    envelopes: BTreeMap<String, Envelope>,
    values: BTreeMap<String, String>,
}

struct Envelope {
    dek: [u8; 32],
    commitment: [u8; 32],
    wraps: BTreeMap<String, String>,
}

/// Pads a value: length, value, zeros.
pub(super) fn padded(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("values here are short");
    let mut bytes = [&length.to_be_bytes(), value].concat();
    bytes.resize(padded_length(value.len()), 0);
    bytes
}

/// Returns the padded length (FORMAT.md §5.4).
pub(super) fn padded_length(length: usize) -> usize {
    let unpadded = length + 4;
    let floor_log2 = |n: usize| (usize::BITS - 1 - n.leading_zeros()) as usize;
    if unpadded <= 256 {
        return 256;
    }
    let exponent = floor_log2(unpadded);
    unpadded.next_multiple_of(1 << (exponent - floor_log2(exponent) - 1))
}

pub(super) fn binding(scope: &str, namespace: &str, name: &str, data_key: &str) -> Vec<u8> {
    let namespace = if scope == "Cluster" { "" } else { namespace };
    let name = if scope == "Strict" { name } else { "" };
    let field = |text: &str| {
        let length = u32::try_from(text.len()).expect("names here are short");
        [&length.to_be_bytes(), text.as_bytes()].concat()
    };
    ["waxseal/v1", scope, namespace, name, data_key].map(field).concat()
}

pub(super) fn commitment(dek: &[u8]) -> [u8; 32] {
    hkdf(dek, &[], &[b"waxseal/v1/commitment"])
}

pub(super) fn envelope_id(commitment: &[u8]) -> String {
    format!("e{}", hex(&commitment[..5]))
}

/// Derives the key and the nonce of a value.
pub(super) fn value_key(dek: &[u8], salt: &[u8], binding: &[u8]) -> ([u8; 32], [u8; 12]) {
    let derived: [u8; 44] = hkdf(dek, salt, &[b"waxseal/v1/value", binding]);
    let (key, nonce) = derived.split_at(32);
    (key.try_into().expect("32 of 44 bytes"), nonce.try_into().expect("12 of 44 bytes"))
}

pub(super) fn proof(dek: &[u8], key_id: &str, age_file: &[u8]) -> [u8; 16] {
    hkdf(dek, &[], &[b"waxseal/v1/wrap", key_id.as_bytes(), &Sha256::digest(age_file)])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the text of a wrap; the proof can be wrong.
pub(super) fn wrap_text(age_file: &[u8], proof: &[u8]) -> String {
    format!("{}.{}", BASE64_STANDARD.encode(age_file), BASE64_URL_SAFE_NO_PAD.encode(proof))
}

impl Draft {
    /// Begins an object `shop/db` with the scope Strict.
    pub(super) fn new(vector: &str) -> Self {
        Self {
            vector: vector.to_owned(),
            seed: Seed::new(vector),
            scope: "Strict",
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            template: None,
            data: BTreeMap::new(),
            envelopes: BTreeMap::new(),
            values: BTreeMap::new(),
        }
    }

    /// Adds an envelope with wraps for keys; returns its id.
    pub(super) fn envelope(&mut self, label: &str, keys: &[&TestKey]) -> String {
        let dek: [u8; 32] = self.seed.bytes(&format!("data key {label}"));
        let commitment = commitment(&dek);
        let id = envelope_id(&commitment);
        self.envelopes.insert(id.clone(), Envelope { dek, commitment, wraps: BTreeMap::new() });
        for key in keys {
            let file = self.age_file(&id, key);
            self.set_wrap(&id, key.id(), &file.to_bytes());
        }
        id
    }

    /// Returns the valid age file for one key.
    pub(super) fn age_file(&self, envelope: &str, key: &TestKey) -> AgeFile {
        AgeFile::new(key, self.dek(envelope), &self.wrap_seed(envelope, key.id()))
    }

    pub(super) fn wrap_seed(&self, envelope: &str, key_id: &str) -> Seed {
        Seed::new(&format!("{envelope} {key_id}"))
    }

    pub(super) fn dek(&self, envelope: &str) -> &[u8; 32] {
        &self.envelopes[envelope].dek
    }

    /// Makes an age file the wrap for a key id, with the right proof.
    pub(super) fn set_wrap(&mut self, envelope: &str, key_id: &str, age_file: &[u8]) {
        let text = wrap_text(age_file, &proof(self.dek(envelope), key_id, age_file));
        self.set_wrap_text(envelope, key_id, text);
    }

    pub(super) fn set_wrap_text(&mut self, envelope: &str, key_id: &str, text: String) {
        let envelope = self.envelopes.get_mut(envelope).expect("an envelope of this draft");
        envelope.wraps.insert(key_id.to_owned(), text);
    }

    pub(super) fn value(&mut self, envelope: &str, data_key: &str, value: &[u8]) {
        self.sealed_plaintext(envelope, data_key, &padded(value));
        self.data.insert(data_key.to_owned(), value.to_vec());
    }

    /// Seals bytes that are already padded; the padding can be wrong.
    pub(super) fn sealed_plaintext(&mut self, envelope: &str, data_key: &str, plaintext: &[u8]) {
        let token = self.token(envelope, data_key, plaintext);
        self.values.insert(data_key.to_owned(), token);
    }

    fn token(&self, envelope: &str, data_key: &str, plaintext: &[u8]) -> String {
        let bytes = self.sealed_bytes(envelope, data_key, plaintext);
        format!("wax1.{envelope}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Returns salt, ciphertext and tag.
    pub(super) fn sealed_bytes(&self, envelope: &str, data_key: &str, plaintext: &[u8]) -> Vec<u8> {
        let salt: [u8; 16] = self.seed.bytes(&format!("salt {data_key}"));
        let binding = binding(self.scope, &self.namespace, &self.name, data_key);
        let (key, nonce) = value_key(self.dek(envelope), &salt, &binding);
        [&salt[..], &aes_256_gcm(&key, nonce, plaintext)].concat()
    }

    /// Returns the key stream of a value: the ciphertext of zeros.
    pub(super) fn key_stream(&self, envelope: &str, data_key: &str, length: usize) -> Vec<u8> {
        let mut bytes = self.sealed_bytes(envelope, data_key, &vec![0; length]).split_off(16);
        bytes.truncate(length);
        bytes
    }

    /// Returns the object as a tree. The default scope is left out.
    pub(super) fn object(&self) -> Value {
        let mut spec = Map::new();
        if !self.values.is_empty() {
            spec.insert("encryptedData".to_owned(), json!(self.values));
        }
        let envelopes: BTreeMap<_, _> = self.envelopes.iter().map(|(id, parts)| (id, self.tree_of(parts))).collect();
        if !envelopes.is_empty() {
            spec.insert("envelopes".to_owned(), json!(envelopes));
        }
        if self.scope != "Strict" {
            spec.insert("scope".to_owned(), json!(self.scope));
        }
        if let Some(template) = &self.template {
            spec.insert("template".to_owned(), template.clone());
        }
        json!({
            "apiVersion": "waxseal.dev/v1alpha1",
            "kind": "SealedSecret",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        })
    }

    fn tree_of(&self, envelope: &Envelope) -> Value {
        let commitment = BASE64_STANDARD.encode(envelope.commitment);
        match self.scope {
            "Strict" => json!({
                "boundTo": {"name": self.name, "namespace": self.namespace},
                "commitment": commitment,
                "wraps": envelope.wraps,
            }),
            "Namespace" => json!({
                "boundTo": {"namespace": self.namespace},
                "commitment": commitment,
                "wraps": envelope.wraps,
            }),
            _ => json!({"commitment": commitment, "wraps": envelope.wraps}),
        }
    }
}

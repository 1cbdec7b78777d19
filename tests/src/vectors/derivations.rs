//! The result of each derivation (FORMAT.md §5), and the names of keys (§3).

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::age_file::AgeFile;
use super::algorithms::aes_256_gcm;
use super::draft::{binding, commitment, envelope_id, hex, padded, padded_length, proof, value_key, wrap_text};
use super::seed::Seed;
use super::test_key::TestKey;

const LENGTHS: [usize; 24] = [
    0, 1, 251, 252, 253, 268, 269, 508, 509, 540, 541, 1020, 1021, 1084, 1085, 4092, 4093, 65_532, 65_533, 131_068,
    131_069, 524_284, 524_285, 1_048_576,
];

pub(super) fn values() -> Vec<Value> {
    let names = [
        ("Strict", "shop", "db", "PASSWORD"),
        ("Namespace", "shop", "db", "PASSWORD"),
        ("Cluster", "shop", "db", "tls.key"),
    ];
    names.map(|(scope, namespace, name, data_key)| value(scope, namespace, name, data_key)).into()
}

fn value(scope: &str, namespace: &str, name: &str, data_key: &str) -> Value {
    let seed = Seed::new(&format!("derivation {scope}"));
    let (dek, salt): ([u8; 32], [u8; 16]) = (seed.bytes("data key"), seed.bytes("salt"));
    let bytes = binding(scope, namespace, name, data_key);
    let (key, nonce) = value_key(&dek, &salt, &bytes);
    let plaintext = padded(b"hunter2");
    let sealed = aes_256_gcm(&key, nonce, &plaintext);
    let id = envelope_id(&commitment(&dek));
    let body = BASE64_URL_SAFE_NO_PAD.encode([&salt[..], &sealed].concat());
    json!({
        "binding": {"bytes": hex(&bytes), "dataKey": data_key, "name": name, "namespace": namespace, "scope": scope},
        "comment": "a value of the bytes \"hunter2\"",
        "commitment": hex(&commitment(&dek)),
        "dek": hex(&dek),
        "envelopeId": id,
        "key": hex(&key),
        "name": format!("value-{}", scope.to_ascii_lowercase()),
        "nonce": hex(&nonce),
        "plaintext": hex(&plaintext),
        "salt": hex(&salt),
        "token": format!("wax1.{id}.{body}"),
        "value": hex(b"hunter2"),
    })
}

pub(super) fn wraps() -> Vec<Value> {
    let keys = [("wrap-classic", TestKey::classic("cluster")), ("wrap-hybrid", TestKey::hybrid("hybrid cluster"))];
    keys.map(|(name, key)| {
        let seed = Seed::new(&format!("derivation {name}"));
        let dek: [u8; 32] = seed.bytes("data key");
        let file = AgeFile::new(&key, &dek, &seed);
        let proof = proof(&dek, key.id(), &file.to_bytes());
        json!({
            "comment": "one DEK, wrapped for one recipient",
            "ageFile": BASE64_STANDARD.encode(file.to_bytes()),
            "dek": hex(&dek),
            "fileKey": hex(&file.file_key),
            "identity": key.identity.expose().as_str(),
            "keyId": key.id(),
            "name": name,
            "proof": hex(&proof),
            "wrap": wrap_text(&file.to_bytes(), &proof),
        })
    })
    .into()
}

pub(super) fn paddings() -> Vec<Value> {
    let vector = |length| {
        json!({
            "comment": "a value of this length and its padded length",
            "length": length,
            "name": format!("length-{length}"),
            "paddedLength": padded_length(length),
        })
    };
    LENGTHS.map(vector).into()
}

pub(super) fn keys() -> Vec<Value> {
    let classic = |name: &'static str| (name, TestKey::classic(name));
    let hybrid = |name: &'static str| (name, TestKey::hybrid(name));
    [classic("cluster"), classic("recovery"), hybrid("hybrid cluster"), hybrid("hybrid 1")]
        .map(|(name, key)| {
            let recipient = key.identity.recipient();
            json!({
                "comment": "an identity and all that follows from it",
                "fingerprint": recipient.fingerprint(),
                "identity": key.identity.expose().as_str(),
                "keyId": key.id(),
                "name": name.replace(' ', "-"),
                "recipient": recipient.as_str(),
                "recipientBytes": hex(&key.public()),
            })
        })
        .into()
}

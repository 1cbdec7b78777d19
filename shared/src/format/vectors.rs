//! The keys of `FORMAT.md` §3 and the derivations of §5 against the vectors. `tests/workspace/vectors.rs` at the top of
//! the repository tests whole objects.

use serde_json::Value;

use super::dek::Dek;
use super::padding::{pad, padded_length};
use super::value::SealedValue;
use super::{Binding, Wrap};
use crate::key::{Identity, Recipient, hex};
use crate::names::{DataKey, KeyId, Namespace, ObjectName};

fn vectors(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).expect("JSON");
    let vectors = file["vectors"].as_array().expect("vectors").clone();
    assert!(!vectors.is_empty());
    vectors
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{}: no {field}", vector["name"]))
}

fn dek(vector: &Value) -> Dek {
    let digits = text(vector, "dek");
    let dek = Dek::fill_with(|bytes| {
        bytes.iter_mut().enumerate().try_for_each(|(index, byte)| {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16)?;
            Ok::<_, std::num::ParseIntError>(())
        })
    });
    dek.expect("hex")
}

#[test]
fn values_are_derived_as_specified() {
    for vector in vectors(include_str!("../../vectors/derivations.json")) {
        let (dek, names) = (dek(&vector), &vector["binding"]);
        assert_eq!(hex(dek.commitment().as_bytes()), text(&vector, "commitment"));
        assert_eq!(dek.commitment().envelope_id().as_str(), text(&vector, "envelopeId"));
        let binding = Binding {
            scope: serde_json::from_value(names["scope"].clone()).expect("a scope"),
            namespace: &Namespace::parse(text(names, "namespace")).expect("a namespace"),
            name: &ObjectName::parse(text(names, "name")).expect("a name"),
            key: &DataKey::parse(text(names, "dataKey")).expect("a data key"),
        };
        assert_eq!(hex(&binding.to_bytes()), text(names, "bytes"));
        let value = SealedValue::parse(text(&vector, "token")).expect("a token").open(&dek, binding).expect("opens");
        assert_eq!(hex(value.expose()), text(&vector, "value"));
        assert_eq!(hex(&pad(value.expose())), text(&vector, "plaintext"));
    }
}

#[test]
fn wraps_open_as_specified() {
    for vector in vectors(include_str!("../../vectors/wraps.json")) {
        let identity = Identity::parse(text(&vector, "identity")).expect("an identity");
        let key_id = KeyId::parse(text(&vector, "keyId")).expect("a key id");
        assert_eq!(identity.recipient().key_id(), &key_id);
        let wrap = Wrap::parse(text(&vector, "wrap")).expect("a wrap");
        let opened = wrap.open(&identity).expect("its identity");
        assert_eq!(hex(opened.expose()), text(&vector, "dek"));
        assert!(wrap.is_proven(&opened, &key_id));
    }
}

#[test]
fn padded_lengths_are_as_specified() {
    for vector in vectors(include_str!("../../vectors/padding.json")) {
        let length = |field: &str| vector[field].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a length");
        assert_eq!(padded_length(length("length")), length("paddedLength"), "{}", vector["name"]);
    }
}

#[test]
fn keys_have_the_specified_ids_and_fingerprints() {
    for vector in vectors(include_str!("../../vectors/keys.json")) {
        let identity = Identity::parse(text(&vector, "identity")).expect("an identity");
        let recipient = identity.recipient();
        assert_eq!(recipient, &Recipient::parse(text(&vector, "recipient")).expect("a recipient"));
        assert_eq!(recipient.key_id().as_str(), text(&vector, "keyId"));
        assert_eq!(recipient.fingerprint(), text(&vector, "fingerprint"));
    }
}

//! Objects of the right shape that do not open, and objects with two faults.

use std::collections::BTreeMap;

use serde_json::json;
use waxseal_shared::format::Check;

use super::age_file::stanza;
use super::draft::padded;
use super::object_vector::ObjectVector;
use super::refusals::{At, Base, from_cases, rename};
use super::test_key::TestKey;

pub(super) fn keys() -> Vec<ObjectVector> {
    use Check::{EnvelopeKeyMissing, EnvelopeKeyRevoked};
    from_cases(&[
        ("no-key-held", "an opener without any key", EnvelopeKeyMissing, At::Envelope, |base| base.held.clear()),
        ("other-key-held", "an opener with other keys", EnvelopeKeyMissing, At::Envelope, |base| {
            base.held = vec![TestKey::classic("stranger").held(), TestKey::hybrid("hybrid cluster").held()];
        }),
        ("key-revoked", "the only key is revoked", EnvelopeKeyRevoked, At::Envelope, |base| {
            base.held = vec![base.key.held().state("Revoked")];
        }),
        ("key-revoked-another-held", "a key without a wrap does not help", EnvelopeKeyRevoked, At::Envelope, |base| {
            base.held = vec![base.key.held().state("Revoked"), TestKey::classic("stranger").held()];
        }),
    ])
}

pub(super) fn values() -> Vec<ObjectVector> {
    use Check::{ValueAuthentication, ValuePadding};
    fn replaced(base: &mut Base, plaintext: &[u8]) {
        base.draft.sealed_plaintext(&base.envelope.clone(), "PASSWORD", plaintext);
        base.refresh();
    }
    let mut vectors = from_cases(&[
        ("values-swapped", "two values changed places", ValueAuthentication, At::Value, |base| {
            let user = base.spec()["encryptedData"]["USER"].take();
            let password = std::mem::replace(base.token(), user);
            base.spec()["encryptedData"]["USER"] = password;
        }),
        ("value-renamed", "a value under another data key", ValueAuthentication, At::DataKey("ADMIN"), |base| {
            rename(&mut base.spec()["encryptedData"], "PASSWORD", "ADMIN");
        }),
        ("moved-with-bound-to", "name and boundTo were both edited", ValueAuthentication, At::Value, |base| {
            base.object["metadata"]["name"] = json!("db2");
            base.envelope()["boundTo"]["name"] = json!("db2");
        }),
        ("scope-widened-with-bound-to", "scope and boundTo were both edited", ValueAuthentication, At::Value, |base| {
            base.spec()["scope"] = json!("Cluster");
            base.envelope()["boundTo"] = json!({});
        }),
        ("tag-tampered", "the last character of the tag is another", ValueAuthentication, At::Value, |base| {
            let text = base.token().as_str().map(|token| {
                let other = if token.ends_with('A') { "Q" } else { "A" };
                format!("{}{other}", &token[..token.len() - 1])
            });
            *base.token() = json!(text);
        }),
        ("salt-tampered", "the first character of the salt is another", ValueAuthentication, At::Value, |base| {
            let text = base.token().as_str().map(|token| {
                let other = if token[17..].starts_with('A') { "B" } else { "A" };
                format!("{}{other}{}", &token[..17], &token[18..])
            });
            *base.token() = json!(text);
        }),
        (
            "value-of-another-envelope",
            "the token names an envelope it was not sealed under",
            ValueAuthentication,
            At::Value,
            |base| {
                let second = base.draft.envelope("2", &[&base.key]);
                let first = base.envelope.clone();
                base.refresh();
                let text = base.token().as_str().map(|token| token.replace(&first, &second));
                *base.token() = json!(text);
            },
        ),
        ("padding-not-zero", "the last byte is 01", ValuePadding, At::Value, |base| {
            let mut plaintext = padded(b"hunter2");
            plaintext[255] = 1;
            replaced(base, &plaintext);
        }),
        ("padding-not-zero-first", "the first byte behind the value is 01", ValuePadding, At::Value, |base| {
            let mut plaintext = padded(b"hunter2");
            plaintext[11] = 1;
            replaced(base, &plaintext);
        }),
        ("padding-not-zero-middle", "a byte in the middle is 01", ValuePadding, At::Value, |base| {
            let mut plaintext = padded(b"hunter2");
            plaintext[100] = 1;
            replaced(base, &plaintext);
        }),
        ("padding-cancelling", "the last two bytes are 01", ValuePadding, At::Value, |base| {
            let mut plaintext = padded(b"hunter2");
            plaintext[254..].fill(1);
            replaced(base, &plaintext);
        }),
        ("padding-too-long", "a short value in 272 bytes", ValuePadding, At::Value, |base| {
            let mut plaintext = padded(b"hunter2");
            plaintext.resize(272, 0);
            replaced(base, &plaintext);
        }),
        ("padding-too-short", "a length that does not fit", ValuePadding, At::Value, |base| {
            let mut plaintext = padded(&[1; 252]);
            plaintext[3] = 253;
            replaced(base, &plaintext);
        }),
        ("padding-huge-length", "a length of 4 GiB", ValuePadding, At::Value, |base| replaced(base, &[0xff; 256])),
        ("padding-length-little-endian", "the length in the other order", ValuePadding, At::Value, |base| {
            let mut plaintext = padded(b"hunter2");
            plaintext[..4].reverse();
            replaced(base, &plaintext);
        }),
    ]);
    // The scope Namespace also binds the namespace.
    let mut base = Base::with_scope("namespace-scope-moved-with-bound-to", "Namespace");
    base.object["metadata"]["namespace"] = json!("web");
    base.envelope()["boundTo"]["namespace"] = json!("web");
    vectors.push(base.refused("namespace and boundTo were both edited", ValueAuthentication, At::Value));
    vectors
}

/// Objects with two faults. The fault that is checked first must be reported.
pub(super) fn order() -> Vec<ObjectVector> {
    let mut vectors = from_cases(&[
        ("name-before-namespace", "both names are bad", Check::ObjectName, At::Object, |base| {
            base.object["metadata"] = json!({});
        }),
        ("namespace-before-counts", "a bad namespace and 257 data keys", Check::ObjectNamespace, At::Object, |base| {
            base.object["metadata"]["namespace"] = json!("");
            let values: BTreeMap<_, _> = (0..257).map(|number| (format!("K{number}"), "")).collect();
            base.spec()["encryptedData"] = json!(values);
        }),
        ("count-before-data-keys", "257 data keys, all bad", Check::DataKeyCount, At::Object, |base| {
            let values: BTreeMap<_, _> = (0..257).map(|number| (format!("/{number}"), "")).collect();
            base.spec()["encryptedData"] = json!(values);
        }),
        (
            "commitment-before-wraps",
            "a foreign commitment and no wraps",
            Check::CommitmentForeign,
            At::Envelope,
            |base| {
                base.envelope()["wraps"] = json!({});
                base.rename_envelope("e0123456789");
            },
        ),
        ("wrap-count-before-key-id", "17 wraps with bad key ids", Check::WrapCount, At::Envelope, |base| {
            let wraps: BTreeMap<_, _> = (0..17).map(|number| (format!("K{number}"), "")).collect();
            base.envelope()["wraps"] = json!(wraps);
        }),
        ("key-id-before-wrap", "a bad key id and a bad wrap", Check::KeyId, At::Envelope, |base| {
            base.envelope()["wraps"] = json!({"k": ""});
        }),
        ("wrap-size-before-proof", "too long, and a bad proof", Check::WrapSize, At::Wrap, |base| {
            *base.wrap() = json!(format!("{}.*", "A".repeat(5468)));
        }),
        ("proof-before-decoded-size", "a bad proof, and 4,097 bytes", Check::ProofLength, At::Wrap, |base| {
            *base.wrap() = json!(format!("{}=.", "A".repeat(5463)));
        }),
        ("proof-before-wrap-encoding", "a bad proof, and no base64", Check::ProofEncoding, At::Wrap, |base| {
            *base.wrap() = json!("*.*");
        }),
        ("payload-before-stanzas", "a short payload, and a foreign stanza", Check::AgePayload, At::Wrap, |base| {
            let mut file = base.age_file();
            file.stanzas = stanza(&["ssh-rsa"], &[1; 32]);
            file.plaintext.clear();
            base.set_file(&file.to_bytes());
        }),
        (
            "stanzas-in-order-of-file",
            "first a share that is too short, then a foreign stanza",
            Check::ShareLength,
            At::Wrap,
            |base| {
                let mut file = base.age_file();
                file.stanzas = stanza(&["X25519", "AA"], &[1; 32]) + &stanza(&["ssh-rsa"], &[1; 32]);
                base.set_file(&file.to_bytes());
            },
        ),
        ("stanza-arguments-before-body", "no argument, and a long body", Check::StanzaArguments, At::Wrap, |base| {
            let mut file = base.age_file();
            file.stanzas = stanza(&["X25519"], &[1; 33]);
            base.set_file(&file.to_bytes());
        }),
        (
            "stanza-body-before-share",
            "a long body, and a share that is no base64",
            Check::StanzaBody,
            At::Wrap,
            |base| {
                let mut file = base.age_file();
                file.stanzas = stanza(&["X25519", "*"], &[1; 33]);
                base.set_file(&file.to_bytes());
            },
        ),
        (
            "stanza-before-stanza-count",
            "two recipients, the second of low order",
            Check::ShareLowOrder,
            At::Wrap,
            |base| {
                let mut file = base.age_file();
                file.stanzas += &stanza(&["X25519", &"A".repeat(43)], &[1; 32]);
                base.set_file(&file.to_bytes());
            },
        ),
        ("wrap-before-bound-to", "a bad wrap in a moved object", Check::WrapParts, At::Wrap, |base| {
            base.object["metadata"]["name"] = json!("db2");
            *base.wrap() = json!("");
        }),
        ("bound-to-before-values", "a moved object with a bad token", Check::BoundTo, At::Envelope, |base| {
            base.object["metadata"]["name"] = json!("db2");
            *base.token() = json!("");
        }),
        ("data-keys-in-order-of-bytes", "capital letters come first", Check::TokenVersion, At::DataKey("Z"), |base| {
            base.spec()["encryptedData"]["Z"] = json!("");
            base.spec()["encryptedData"]["a"] = json!("wax1.");
        }),
        ("data-key-before-token", "a bad data key with a bad token", Check::DataKey, At::Object, |base| {
            base.spec()["encryptedData"]["*"] = json!("");
        }),
        (
            "token-length-before-envelope",
            "a short token of an envelope that is not there",
            Check::TokenLength,
            At::Value,
            |base| {
                *base.token() = json!("wax1.e0123456789.");
            },
        ),
        ("values-before-template", "a bad token, and a bad type", Check::TokenVersion, At::Value, |base| {
            *base.token() = json!("");
            base.spec()["template"] = json!({"type": "waxseal.dev/x"});
        }),
        ("type-before-metadata", "a bad type, and a bad label", Check::TemplateType, At::Object, |base| {
            let metadata = json!({"labels": {"waxseal.dev/x": ""}});
            base.spec()["template"] = json!({"metadata": metadata, "type": "waxseal.dev/x"});
        }),
        (
            "labels-before-annotations",
            "a replicator's label, and an annotation of our own",
            Check::TemplateReplicator,
            At::Object,
            |base| {
                let metadata = json!({"annotations": {"waxseal.dev/x": ""}, "labels": {"kubed.appscode.com/sync": ""}});
                base.spec()["template"] = json!({"metadata": metadata});
            },
        ),
        ("template-before-keys", "a bad type, and no key", Check::TemplateType, At::Object, |base| {
            base.held.clear();
            base.spec()["template"] = json!({"type": "waxseal.dev/x"});
        }),
    ]);
    vectors.extend([envelopes_in_order(), unused_is_checked(), foreign_wrap_is_checked(), envelopes_before_values()]);
    vectors
}

/// The envelope with the smaller id is checked first, for every fault.
fn envelopes_in_order() -> ObjectVector {
    let mut base = Base::new("envelopes-in-order");
    let other = base.draft.envelope("2", &[&base.key]);
    base.refresh();
    let own = base.envelope.clone();
    let (first, second) = if own < other { (own, other) } else { (other, own) };
    base.spec()["envelopes"][&first]["boundTo"] = json!({});
    base.spec()["envelopes"][&second]["commitment"] = json!("");
    base.envelope = first;
    let comment = "the first envelope is bound to nothing, the second has no commitment";
    base.refused(comment, Check::BoundTo, At::Envelope)
}

fn unused_is_checked() -> ObjectVector {
    let mut base = Base::new("unused-envelope-is-checked");
    base.envelope = base.draft.envelope("2", &[&base.key]);
    base.refresh();
    *base.wrap() = json!("*");
    base.refused("an envelope that no value names has a bad wrap", Check::WrapParts, At::Wrap)
}

fn foreign_wrap_is_checked() -> ObjectVector {
    let mut base = Base::new("foreign-wrap-is-checked");
    base.draft.set_wrap(&base.envelope.clone(), "k0000000000000000", b"no age file");
    base.refresh();
    let at = BTreeMap::from([("envelope", base.envelope), ("wrap", "k0000000000000000".to_owned())]);
    let comment = "a wrap for a key of somebody else is no age file";
    ObjectVector::refused("foreign-wrap-is-checked", comment, base.held, base.object, Check::AgeVersion, at)
}

/// The envelope of the second value cannot be opened, so the fault of the first value is not reported.
fn envelopes_before_values() -> ObjectVector {
    let mut base = Base::new("envelopes-before-values");
    let second = base.draft.envelope("2", &[&TestKey::classic("stranger")]);
    base.draft.value(&second, "USER", b"admin");
    base.draft.sealed_plaintext(&base.envelope.clone(), "PASSWORD", &[0xff; 256]);
    base.refresh();
    base.envelope = second;
    base.refused("a value with bad padding, and an envelope without a key", Check::EnvelopeKeyMissing, At::Envelope)
}

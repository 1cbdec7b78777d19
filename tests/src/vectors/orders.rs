//! Objects with two faults whose checks are next to each other in the specification.
//!
//! Together with those of `opening_refusals` they allow only one order of checks: a reader that swaps two checks
//! reports another fault.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waxseal_shared::format::Check;

use super::age_file::{recipient_stanza, stanza};
use super::object_vector::{Append, ObjectVector};
use super::refusals::{At, Base, from_cases};
use super::seed::Seed;
use super::test_key::TestKey;

pub(super) fn vectors() -> Vec<ObjectVector> {
    let mut vectors = of_objects();
    vectors.extend(of_age_files());
    vectors.extend(of_wraps());
    vectors.extend(of_envelopes());
    vectors.extend(of_tokens());
    vectors.extend(of_long_tokens());
    vectors.extend(of_opening());
    vectors
}

fn of_objects() -> Vec<ObjectVector> {
    fn many_envelopes(base: &mut Base) {
        let empty = json!({"commitment": "", "wraps": {}});
        let envelopes: BTreeMap<_, _> = (0..65).map(|number| (format!("e{number:010}"), &empty)).collect();
        base.spec()["envelopes"] = json!(envelopes);
    }
    from_cases(&[
        (
            "namespace-before-envelope-count",
            "a bad namespace, 65 envelopes",
            Check::ObjectNamespace,
            At::Object,
            |base| {
                base.object["metadata"]["namespace"] = json!("");
                many_envelopes(base);
            },
        ),
        (
            "data-key-count-before-envelope-count",
            "257 data keys, 65 envelopes",
            Check::DataKeyCount,
            At::Object,
            |base| {
                let values: BTreeMap<_, _> = (0..257).map(|number| (format!("K{number}"), "")).collect();
                base.spec()["encryptedData"] = json!(values);
                many_envelopes(base);
            },
        ),
        ("envelope-count-before-envelope", "65 envelopes, all bad", Check::EnvelopeCount, At::Object, many_envelopes),
        (
            "own-metadata-after-replicator",
            "a replicator's label before one of our own",
            Check::TemplateReplicator,
            At::Object,
            |base| {
                let labels = json!({"waxseal.dev/x": "", "replicator.v1.mittwald.de/x": ""});
                base.spec()["template"] = json!({"metadata": {"labels": labels}});
            },
        ),
        (
            "own-label-before-annotation",
            "a label of our own, a replicator's annotation",
            Check::TemplateOwnMetadata,
            At::Object,
            |base| {
                let metadata = json!({"labels": {"waxseal.dev/x": ""}, "annotations": {"kubed.appscode.com/x": ""}});
                base.spec()["template"] = json!({"metadata": metadata});
            },
        ),
    ])
}

/// Pairs of faults of a wrap and its age file.
fn of_age_files() -> Vec<ObjectVector> {
    fn bytes(base: &mut Base, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let bytes = change(base.age_file().to_bytes());
        base.set_file(&bytes);
    }
    fn stanzas(base: &mut Base, stanzas: String) {
        let mut file = base.age_file();
        file.stanzas = stanzas;
        base.set_file(&file.to_bytes());
    }
    from_cases(&[
        ("wrap-parts-before-size", "three parts, the first too long", Check::WrapParts, At::Wrap, |base| {
            *base.wrap() = json!(format!("{}.AA.AA", "A".repeat(5468)));
        }),
        ("proof-encoding-before-length", "no base64url, of any length", Check::ProofEncoding, At::Wrap, |base| {
            *base.wrap() = json!("AAAA.*");
        }),
        ("proof-length-before-wrap-encoding", "a short proof, and no base64", Check::ProofLength, At::Wrap, |base| {
            *base.wrap() = json!("*.AA");
        }),
        ("wrap-encoding-before-version", "neither base64 nor an age file", Check::WrapEncoding, At::Wrap, |base| {
            *base.wrap() = json!(format!("*.{}", "A".repeat(22)));
        }),
        ("decoded-size-before-version", "4,098 bytes, and no age file", Check::WrapSize, At::Wrap, |base| {
            *base.wrap() = json!(format!("{}.{}", "A".repeat(5464), "A".repeat(22)));
        }),
        ("age-version-before-header", "another version, and no header", Check::AgeVersion, At::Wrap, |base| {
            base.set_file(b"age-encryption.org/v2\n");
        }),
        ("age-header-before-payload", "a line too many, and no payload", Check::AgeHeader, At::Wrap, |base| {
            bytes(base, |_| b"age-encryption.org/v1\n\n".to_vec());
        }),
        ("age-payload-before-count", "a long payload, and only grease", Check::AgePayload, At::Wrap, |base| {
            let mut file = base.age_file();
            file.stanzas = "-> x-grease\n\n".to_owned();
            file.plaintext.push(0);
            base.set_file(&file.to_bytes());
        }),
        ("share-encoding-before-length", "a short share that is no base64", Check::ShareEncoding, At::Wrap, |base| {
            stanzas(base, stanza(&["X25519", "*"], &[1; 32]));
        }),
        ("share-length-before-low-order", "33 zeros", Check::ShareLength, At::Wrap, |base| {
            stanzas(base, stanza(&["X25519", &"A".repeat(44)], &[1; 32]));
        }),
        ("third-stanza-before-count", "two recipients, and a foreign stanza", Check::StanzaForeign, At::Wrap, |base| {
            let file = base.age_file();
            let second = recipient_stanza(&TestKey::classic("recovery"), &file.file_key, &Seed::new("second"));
            stanzas(base, file.stanzas + &second + &stanza(&["ssh-rsa"], &[1; 32]));
        }),
        ("foreign-before-later-share", "a foreign stanza, then a bad share", Check::StanzaForeign, At::Wrap, |base| {
            stanzas(base, stanza(&["ssh-rsa"], &[1; 32]) + &stanza(&["X25519", "AA"], &[1; 32]));
        }),
    ])
}

/// Two wraps of one envelope, each with a fault.
fn of_wraps() -> Vec<ObjectVector> {
    const FIRST: &str = "k0000000000000000";
    const SECOND: &str = "k1111111111111111";
    let proof = "A".repeat(22);
    let two = |name: &str, comment, second: (&str, &str), first: &str, check| {
        let mut base = Base::new(name);
        base.envelope()["wraps"] = json!({FIRST: first, second.0: second.1});
        let at = BTreeMap::from([("envelope", base.envelope), ("wrap", FIRST.to_owned())]);
        ObjectVector::refused(name, comment, base.held, base.object, check, at)
    };
    let no_age_file = format!("AAAA.{proof}");
    vec![
        two("wraps-in-order", "two bad wraps", (SECOND, "*.*"), "*", Check::WrapParts),
        two("wraps-in-order-deeper", "no age file, then no dot", (SECOND, "*"), &no_age_file, Check::AgeVersion),
        two("wrap-before-later-key-id", "a bad wrap, then a bad key id", ("k2", "*"), "*", Check::WrapParts),
    ]
}

fn of_envelopes() -> Vec<ObjectVector> {
    let mut vectors = from_cases(&[
        ("envelope-id-before-commitment", "a bad id, and a bad commitment", Check::EnvelopeId, At::Object, |base| {
            base.envelope()["commitment"] = json!("*");
            base.rename_envelope("e0");
        }),
        (
            "commitment-encoding-before-wraps",
            "a bad commitment, and no wraps",
            Check::CommitmentEncoding,
            At::Envelope,
            |base| {
                base.envelope()["commitment"] = json!("*");
                base.envelope()["wraps"] = json!({});
            },
        ),
        ("wraps-empty-before-bound-to", "no wraps in a moved object", Check::WrapsEmpty, At::Envelope, |base| {
            base.object["metadata"]["name"] = json!("db2");
            base.envelope()["wraps"] = json!({});
        }),
        (
            "wraps-mixed-before-bound-to",
            "both kinds of wraps in a moved object",
            Check::WrapsMixed,
            At::Envelope,
            |base| {
                let hybrid = TestKey::hybrid("hybrid cluster");
                let file = base.draft.age_file(&base.envelope, &hybrid).to_bytes();
                base.draft.set_wrap(&base.envelope.clone(), hybrid.id(), &file);
                base.refresh();
                base.object["metadata"]["name"] = json!("db2");
            },
        ),
        ("bound-to-before-data-key", "a moved object with a bad data key", Check::BoundTo, At::Envelope, |base| {
            base.object["metadata"]["name"] = json!("db2");
            base.spec()["encryptedData"]["*"] = json!("");
        }),
    ]);
    vectors.push(two_envelopes(
        "wraps-before-later-envelope",
        "a bad wrap, then an envelope without wraps",
        |first, second| {
            let wraps = first["wraps"].as_object_mut().expect("a map");
            wraps.values_mut().for_each(|wrap| *wrap = json!("AAAA.*"));
            second["wraps"] = json!({});
        },
        Check::ProofEncoding,
    ));
    vectors.push(two_envelopes(
        "commitment-before-later-envelope",
        "no commitment, then no wraps",
        |first, second| {
            first["commitment"] = json!("");
            second["wraps"] = json!({});
        },
        Check::CommitmentLength,
    ));
    vectors
}

/// Two envelopes, each with a fault in it or in one of its wraps. The fault of the smaller id must be reported.
fn two_envelopes(name: &str, comment: &'static str, spoil: fn(&mut Value, &mut Value), check: Check) -> ObjectVector {
    let mut base = Base::new(name);
    let other = base.draft.envelope("2", &[&base.key]);
    base.refresh();
    let mut ids = [base.envelope.clone(), other];
    ids.sort();
    let [first, second] = &ids;
    let mut changed = [base.spec()["envelopes"][first].take(), base.spec()["envelopes"][second].take()];
    let [one, two] = &mut changed;
    spoil(one, two);
    for (id, envelope) in ids.iter().zip(changed) {
        base.spec()["envelopes"][id] = envelope;
    }
    base.envelope.clone_from(first);
    let at = if check == Check::CommitmentLength { At::Envelope } else { At::Wrap };
    base.refused(comment, check, at)
}

fn of_tokens() -> Vec<ObjectVector> {
    fn token(base: &mut Base, text: &str) {
        let text = text.replace("ID", &base.envelope);
        *base.token() = json!(text);
    }
    from_cases(&[
        ("token-version-before-parts", "another version, and no dot", Check::TokenVersion, At::Value, |base| {
            token(base, "wax2");
        }),
        ("token-parts-before-id", "a bad id, and no second dot", Check::TokenParts, At::Value, |base| {
            token(base, "wax1.E");
        }),
        ("token-id-before-encoding", "a bad id, and no base64url", Check::TokenEnvelopeId, At::Value, |base| {
            token(base, "wax1.E.*");
        }),
        ("token-encoding-before-length", "no base64url, of any length", Check::TokenEncoding, At::Value, |base| {
            token(base, "wax1.ID.*");
        }),
        ("token-encoding-before-envelope", "no base64url, and no envelope", Check::TokenEncoding, At::Value, |base| {
            token(base, "wax1.e0123456789.*");
        }),
        ("tokens-in-order", "two bad tokens", Check::TokenParts, At::Value, |base| {
            token(base, "wax1.");
            base.spec()["encryptedData"]["USER"] = json!("");
        }),
        ("token-before-later-data-key", "a bad token, then a bad data key", Check::TokenParts, At::Value, |base| {
            token(base, "wax1.");
            base.spec()["encryptedData"]["z/"] = json!("");
        }),
        ("token-envelope-before-template", "no envelope, and a bad type", Check::TokenEnvelope, At::Value, |base| {
            let text = base.token().as_str().map(|token| format!("wax1.e0123456789{}", &token[16..]));
            *base.token() = json!(text);
            base.spec()["template"] = json!({"type": "waxseal.dev/x"});
        }),
    ])
}

/// Tokens that are one character too long for 1 MiB, with a second fault.
fn of_long_tokens() -> Vec<ObjectVector> {
    let long = |name: &str, comment, start: &str, text: &str, check| {
        let mut base = Base::new(name);
        *base.token() = json!(start.replace("ID", &base.envelope));
        let at = ["spec", "encryptedData", "PASSWORD"].map(str::to_owned).to_vec();
        let append = Append { at, text: text.to_owned(), times: 1_441_836 };
        base.refused(comment, check, At::Value).appending(append)
    };
    use Check::{TokenEnvelopeId, TokenSize};
    vec![
        long("token-id-before-size", "a bad id, and too long", "wax1.E.", "A", TokenEnvelopeId),
        long("token-size-before-encoding", "too long, and no base64url", "wax1.ID.", "*", TokenSize),
        long("token-size-before-envelope", "too long, and no envelope", "wax1.e0123456789.", "A", TokenSize),
    ]
}

fn of_opening() -> Vec<ObjectVector> {
    vec![broken_before_missing(), in_order_of_values(), values_in_order()]
}

fn broken_before_missing() -> ObjectVector {
    let mut base = Base::new("envelope-before-later-envelope");
    let (own, stranger) = (base.envelope.clone(), TestKey::classic("stranger"));
    let other = base.draft.envelope("2", &[&stranger]);
    base.draft.value(&other, "USER", b"admin");
    let file = base.draft.age_file(&own, &stranger).to_bytes();
    base.draft.set_wrap(&own, base.key.id(), &file);
    base.refresh();
    base.refused("an envelope that does not open, then one without a key", Check::EnvelopeBroken, At::Envelope)
}

/// The envelope of the first value has the larger id.
fn in_order_of_values() -> ObjectVector {
    let mut base = Base::new("envelopes-in-order-of-values");
    let stranger = TestKey::classic("stranger");
    let mut more = (2..).map(|label| base.draft.envelope(&label.to_string(), &[&stranger]));
    let larger = more.find(|id| *id > base.envelope).expect("half of all are larger");
    drop(more);
    base.draft.value(&larger, "PASSWORD", b"hunter2");
    base.refresh();
    base.held = vec![base.key.held().state("Revoked")];
    base.envelope = larger;
    let comment = "the first value's envelope has the larger id and no key; the key of the other one is revoked";
    base.refused(comment, Check::EnvelopeKeyMissing, At::Envelope)
}

fn values_in_order() -> ObjectVector {
    let mut base = Base::new("values-in-order");
    base.draft.sealed_plaintext(&base.envelope.clone(), "PASSWORD", &[0xff; 256]);
    base.refresh();
    let password = base.token().clone();
    base.spec()["encryptedData"]["USER"] = password;
    base.refused("a value with bad padding, then one that is not authentic", Check::ValuePadding, At::Value)
}

//! Objects that open.

use std::collections::BTreeMap;

use serde_json::json;

use super::age_file::{AgeFile, recipient_stanza, stanza};
use super::draft::{Draft, wrap_text};
use super::held_keys;
use super::object_vector::{ObjectVector, Secret};
use super::seed::Seed;
use super::test_key::TestKey;

pub(super) fn vectors() -> Vec<ObjectVector> {
    let mut vectors = scopes();
    vectors.extend(sizes());
    vectors.extend(names());
    vectors.extend(shapes());
    vectors.extend(age_files());
    vectors.extend(held_keys::vectors());
    vectors.extend(proofs());
    vectors
}

fn scopes() -> Vec<ObjectVector> {
    let mut vectors = Vec::new();
    let keys = [("classic", TestKey::classic("cluster")), ("hybrid", TestKey::hybrid("hybrid cluster"))];
    for (kind, key) in &keys {
        for scope in ["Strict", "Namespace", "Cluster"] {
            let mut draft = Draft::new(&format!("{}-{kind}", scope.to_ascii_lowercase()));
            draft.scope = scope;
            let envelope = draft.envelope("1", &[key]);
            draft.value(&envelope, "PASSWORD", b"hunter2");
            draft.value(&envelope, "USER", b"admin");
            vectors.push(ObjectVector::opens("two values of one envelope", &draft, vec![key.held()], &[key]));
        }
    }
    let key = &keys[0].1;
    let mut draft = Draft::new("scope-written-out");
    let envelope = draft.envelope("1", &[key]);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    let vector = ObjectVector::opens("Strict written out is Strict left out", &draft, vec![key.held()], &[key]);
    vectors.push(vector.with_object(|object| object["spec"]["scope"] = json!("Strict")));
    let mut draft = Draft::new("bound-to-empty");
    draft.scope = "Cluster";
    let envelope = draft.envelope("1", &[key]);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    let vector = ObjectVector::opens("an empty boundTo is an absent one", &draft, vec![key.held()], &[key]);
    vectors.push(vector.with_object(|object| object["spec"]["envelopes"][&envelope]["boundTo"] = json!({})));
    let mut draft = Draft::new("bound-to-null");
    draft.scope = "Cluster";
    let envelope = draft.envelope("1", &[key]);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    let vector = ObjectVector::opens("null is an absent boundTo", &draft, vec![key.held()], &[key]);
    vectors.push(vector.with_object(|object| object["spec"]["envelopes"][&envelope]["boundTo"] = json!(null)));
    let vector =
        ObjectVector::opens("null is an absent map, and an absent scope", &Draft::new("all-null"), Vec::new(), &[]);
    vectors.push(vector.with_object(|object| {
        object["spec"] = json!({"encryptedData": null, "envelopes": null, "scope": null, "template": null});
    }));
    vectors
}

fn sizes() -> Vec<ObjectVector> {
    let key = TestKey::classic("cluster");
    let mut draft = Draft::new("sizes");
    let envelope = draft.envelope("1", &[&key]);
    for length in [0, 1, 251, 252, 253, 268, 269, 508, 509, 1020, 1021, 2044, 2045, 4092, 4093, 65_532, 65_533] {
        let value: Vec<_> = (0..=250).cycle().take(length).collect();
        draft.value(&envelope, &format!("V{length}"), &value);
    }
    let comment = "values at the borders of padded lengths: bytes 00 to fa, again and again";
    vec![ObjectVector::opens(comment, &draft, vec![key.held()], &[&key])]
}

fn names() -> Vec<ObjectVector> {
    let key = TestKey::classic("cluster");
    let mut draft = Draft::new("longest-names");
    draft.namespace = "n".repeat(63);
    draft.name = format!("{}.b-2", "m".repeat(249));
    let envelope = draft.envelope("1", &[&key]);
    draft.value(&envelope, &"K".repeat(253), b"x");
    let longest = ObjectVector::opens("names of the greatest length", &draft, vec![key.held()], &[&key]);
    let mut draft = Draft::new("unusual-data-keys");
    let envelope = draft.envelope("1", &[&key]);
    for name in [".a", ".dockerconfigjson", "-", "_", "a..b", "tls.crt", "no", "0777", "Z", "a"] {
        draft.value(&envelope, name, name.as_bytes());
    }
    let unusual = ObjectVector::opens(
        "data keys that look like something else are read as they are written",
        &draft,
        vec![key.held()],
        &[&key],
    );
    vec![longest, unusual]
}

fn shapes() -> Vec<ObjectVector> {
    let key = TestKey::classic("cluster");
    let mut vectors = vec![no_values(), template(&key), harmless_template(&key), nulls(&key)];

    let mut draft = Draft::new("most-envelopes");
    for number in 0..64 {
        let envelope = draft.envelope(&number.to_string(), &[&key]);
        draft.value(&envelope, &format!("K{number}"), number.to_string().as_bytes());
    }
    vectors.push(ObjectVector::opens("64 envelopes with a value each", &draft, vec![key.held()], &[&key]));

    let mut draft = Draft::new("most-wraps");
    let others: Vec<_> = (1..16).map(|number| TestKey::hybrid(&format!("hybrid {number}"))).collect();
    let hybrid = TestKey::hybrid("hybrid cluster");
    let keys: Vec<_> = others.iter().chain([&hybrid]).collect();
    let envelope = draft.envelope("1", &keys);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    vectors.push(ObjectVector::opens("16 wraps, one of them for this opener", &draft, vec![hybrid.held()], &[&hybrid]));

    let mut draft = Draft::new("most-data-keys");
    let envelope = draft.envelope("1", &[&key]);
    for number in 0..256 {
        draft.value(&envelope, &format!("K{number}"), &[]);
    }
    vectors.push(ObjectVector::opens("256 data keys, all empty", &draft, vec![key.held()], &[&key]));

    let mut draft = Draft::new("unused-envelope");
    let envelope = draft.envelope("1", &[&key]);
    let stranger = TestKey::classic("stranger");
    draft.envelope("2", &[&stranger]);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    let comment = "an envelope that no value names is not opened, so nobody needs its key";
    vectors.push(ObjectVector::opens(comment, &draft, vec![key.held()], &[&key]));
    vectors
}

fn no_values() -> ObjectVector {
    let draft = Draft::new("no-values");
    ObjectVector::opens("nothing to open needs no key", &draft, Vec::new(), &[])
}

fn template(key: &TestKey) -> ObjectVector {
    let mut draft = Draft::new("template");
    draft.template = Some(json!({
        "immutable": true,
        "metadata": {
            "annotations": {"example.com/note": "$(PASSWORD) is literal", "team": ""},
            "labels": {"app": "shop"},
        },
        "type": "kubernetes.io/basic-auth",
    }));
    let envelope = draft.envelope("1", &[key]);
    draft.value(&envelope, "password", b"hunter2");
    draft.value(&envelope, "username", b"admin");
    let secret = Secret {
        type_: "kubernetes.io/basic-auth",
        immutable: Some(true),
        labels: BTreeMap::from([("app", "shop")]),
        annotations: BTreeMap::from([("example.com/note", "$(PASSWORD) is literal"), ("team", "")]),
    };
    let comment = "type, immutable, labels and annotations of the Secret, taken literally";
    ObjectVector::opens(comment, &draft, vec![key.held()], &[key])
        .with_secret(secret)
        .with_object(|object| object["metadata"]["labels"] = json!({"of": "the SealedSecret alone"}))
}

/// Names that resemble the prefixes that §6.8 refuses, but do not begin with them.
fn harmless_template(key: &TestKey) -> ObjectVector {
    let mut draft = Draft::new("template-lookalikes");
    let keys = [
        "Waxseal.dev/x",
        "kubed.appscode.com",
        "my.kubed.appscode.com/x",
        "waxseal.dev",
        "waxseal.dev.example/x",
        "x.waxseal.dev/y",
        "x/reflector.v1.k8s.emberstack.com/y",
    ];
    let strings = BTreeMap::from(keys.map(|name| (name, "x")));
    let metadata = json!({"annotations": strings, "labels": strings});
    draft.template = Some(json!({"metadata": metadata, "type": "kubernetes.io/service-account-token-x"}));
    let envelope = draft.envelope("1", &[key]);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    let type_ = "kubernetes.io/service-account-token-x";
    let secret = Secret { type_, immutable: None, labels: strings.clone(), annotations: strings.clone() };
    ObjectVector::opens("names that only look like refused ones", &draft, vec![key.held()], &[key]).with_secret(secret)
}

/// An object with `null` for fields that can be absent, and an empty type.
fn nulls(key: &TestKey) -> ObjectVector {
    let mut draft = Draft::new("nulls");
    draft.scope = "Namespace";
    draft.template = Some(json!({"immutable": null, "metadata": {"annotations": null, "labels": null}, "type": ""}));
    let envelope = draft.envelope("1", &[key]);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    let comment = "null is absent, and an empty type is Opaque";
    ObjectVector::opens(comment, &draft, vec![key.held()], &[key])
        .with_object(|object| object["spec"]["envelopes"][&envelope]["boundTo"]["name"] = json!(null))
}

fn with_file(vector: &str, comment: &'static str, key: &TestKey, change: impl FnOnce(&mut AgeFile)) -> ObjectVector {
    let mut draft = Draft::new(vector);
    let envelope = draft.envelope("1", &[key]);
    let mut file = draft.age_file(&envelope, key);
    change(&mut file);
    draft.set_wrap(&envelope, key.id(), &file.to_bytes());
    draft.value(&envelope, "PASSWORD", b"hunter2");
    ObjectVector::opens(comment, &draft, vec![key.held()], &[key])
}

fn age_files() -> Vec<ObjectVector> {
    let key = TestKey::classic("cluster");
    let hybrid = TestKey::hybrid("hybrid cluster");
    let before = |arguments: &[&str], body: usize| {
        let text = stanza(arguments, &Seed::new("grease").bytes::<256>("body")[..body]);
        move |file: &mut AgeFile| file.stanzas = format!("{text}{}", file.stanzas)
    };
    let after = |arguments: &[&str], body: usize| {
        let text = stanza(arguments, &Seed::new("grease").bytes::<256>("body")[..body]);
        move |file: &mut AgeFile| file.stanzas += &text
    };
    vec![
        with_file("grease-before", "grease before the stanza", &key, before(&["a-grease", "b", "!~"], 7)),
        with_file(
            "grease-after",
            "grease after the stanza, as the age crate writes it",
            &hybrid,
            after(&["x-grease"], 99),
        ),
        with_file("grease-empty", "a body of no bytes is one empty line", &key, after(&["-grease"], 0)),
        with_file(
            "grease-full-line",
            "a body of 48 bytes is a full line and an empty one",
            &key,
            after(&["g-grease"], 48),
        ),
        with_file("grease-argument", "only the type tells grease", &key, after(&["X25519-grease", "X25519"], 32)),
        with_file("wrap-of-4096-bytes", "an age file of the greatest size", &key, |file| {
            let missing = 4096 - file.to_bytes().len();
            file.stanzas += &grease_of(missing);
        }),
    ]
}

/// Returns a grease stanza of exactly this length.
pub(super) fn grease_of(size: usize) -> String {
    let lines = (size - "-> g-grease\n\n".len()) / 65;
    let letters = "g".repeat(size - "-> -grease\n\n".len() - 65 * lines);
    format!("-> {letters}-grease\n{}\n", format!("{}\n", "A".repeat(64)).repeat(lines))
}

fn proofs() -> Vec<ObjectVector> {
    let (key, recovery) = (TestKey::classic("cluster"), TestKey::classic("recovery"));
    let wrapped = |vector: &str| {
        let mut draft = Draft::new(vector);
        let envelope = draft.envelope("1", &[&key, &recovery]);
        draft.value(&envelope, "PASSWORD", b"hunter2");
        (draft, envelope)
    };
    let file = |draft: &Draft, envelope: &str, key: &TestKey| draft.age_file(envelope, key).to_bytes();

    let (mut draft, envelope) = wrapped("proof-of-another-wrap");
    let text = wrap_text(&file(&draft, &envelope, &recovery), &[0; 16]);
    draft.set_wrap_text(&envelope, recovery.id(), text);
    let comment = "the proof of the recovery key's wrap is wrong: reported, and the values open";
    let other = ObjectVector::opens(comment, &draft, vec![key.held()], &[&key]);
    let other = other.with_broken_wraps(&envelope, &[&recovery]);

    let (mut draft, envelope) = wrapped("proofs-all-wrong");
    for key in [&key, &recovery] {
        let text = wrap_text(&file(&draft, &envelope, key), &[0xff; 16]);
        draft.set_wrap_text(&envelope, key.id(), text);
    }
    let comment = "also the proof of the wrap that was opened is wrong";
    let own = ObjectVector::opens(comment, &draft, vec![key.held()], &[&key]);
    let own = own.with_broken_wraps(&envelope, &[&key, &recovery]);

    let (mut draft, envelope) = wrapped("primary-broken");
    let foreign = AgeFile {
        stanzas: recipient_stanza(&key, &[7; 16], &Seed::new("foreign")),
        file_key: [7; 16],
        nonce: [8; 16],
        plaintext: vec![9; 32],
    };
    let text = wrap_text(&foreign.to_bytes(), &[0; 16]);
    draft.set_wrap_text(&envelope, key.id(), text);
    let held = vec![key.held(), recovery.held().role("Recovery")];
    let comment = "the primary's wrap holds another DEK: the next one opens, and the broken one is reported";
    let primary = ObjectVector::opens(comment, &draft, held, &[&recovery]);
    let primary = primary.with_broken_wraps(&envelope, &[&key]);

    let (mut draft, envelope) = wrapped("proof-for-another-key-id");
    let bytes = file(&draft, &envelope, &recovery);
    let proof = super::draft::proof(draft.dek(&envelope), key.id(), &bytes);
    draft.set_wrap_text(&envelope, recovery.id(), wrap_text(&bytes, &proof));
    let comment = "a proof for the same age file under another key id is wrong";
    let moved = ObjectVector::opens(comment, &draft, vec![key.held()], &[&key]);
    let moved = moved.with_broken_wraps(&envelope, &[&recovery]);

    let (mut draft, envelope) = wrapped("broken-wrap-with-right-proof");
    let bytes = file(&draft, &envelope, &TestKey::classic("stranger"));
    draft.set_wrap(&envelope, key.id(), &bytes);
    let held = vec![key.held(), recovery.held().role("Recovery")];
    let comment = "the primary's wrap does not decrypt, but its proof is right: nothing is reported";
    let right = ObjectVector::opens(comment, &draft, held, &[&recovery]);
    vec![other, own, primary, moved, right]
}

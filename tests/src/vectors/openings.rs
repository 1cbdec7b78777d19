//! Objects that open.

use std::collections::BTreeMap;

use serde_json::json;

use super::age_file::{AgeFile, recipient_stanza, stanza};
use super::draft::{Draft, wrap_text};
use super::object_vector::{ObjectVector, Secret};
use super::seed::Seed;
use super::test_key::TestKey;

pub(super) fn vectors() -> Vec<ObjectVector> {
    let mut vectors = scopes();
    vectors.extend(sizes());
    vectors.extend(names());
    vectors.extend(shapes());
    vectors.extend(age_files());
    vectors.extend(choices());
    vectors.extend(proofs());
    vectors
}

/// One value of the largest size.
pub(super) fn large() -> ObjectVector {
    let key = TestKey::classic("cluster");
    let mut draft = Draft::new("largest");
    let envelope = draft.envelope("1", &[&key]);
    let mut value = vec![0; 1 << 20];
    value[0] = 1;
    value[(1 << 20) - 1] = 2;
    draft.value(&envelope, "LARGE", &value);
    ObjectVector::opens("one value of 1 MiB: 01, zeros, 02", &draft, vec![key.held()], &[&key])
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
    let unusual = ObjectVector::opens("data keys are what their letters are", &draft, vec![key.held()], &[&key]);
    vec![longest, unusual]
}

fn shapes() -> Vec<ObjectVector> {
    let key = TestKey::classic("cluster");
    let mut vectors = vec![no_values(), template(&key)];

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

/// A grease stanza of exactly so many bytes.
pub(super) fn grease_of(size: usize) -> String {
    let lines = (size - "-> g-grease\n\n".len()) / 65;
    let letters = "g".repeat(size - "-> -grease\n\n".len() - 65 * lines);
    format!("-> {letters}-grease\n{}\n", format!("{}\n", "A".repeat(64)).repeat(lines))
}

fn choices() -> Vec<ObjectVector> {
    let keys: Vec<_> = (1..=6).map(|number| TestKey::classic(&format!("key {number}"))).collect();
    let wrapped = |vector: &str, wrapped: &[&TestKey]| {
        let mut draft = Draft::new(vector);
        let envelope = draft.envelope("1", wrapped);
        draft.value(&envelope, "PASSWORD", b"hunter2");
        (draft, envelope)
    };
    let [one, two, three, four, five, _] = keys.as_slice() else {
        unreachable!("six keys were made");
    };
    let mut vectors = Vec::new();

    let (draft, _) = wrapped("primary-first", &[one, two, three]);
    let held = vec![
        one.held(),
        two.held().made("2026-03-01T00:00:00Z").state("Retired"),
        three.held().made("2026-02-01T00:00:00Z"),
    ];
    vectors.push(ObjectVector::opens(
        "the primary is tried before a newer key that is Retired",
        &draft,
        held,
        &[three],
    ));

    let (draft, _) = wrapped("newest-next", &[one, two]);
    let held = vec![
        one.held().state("Retired"),
        two.held().made("2026-01-01T00:00:00.5Z").state("Retired"),
        three.held().made("2026-03-01T00:00:00Z"),
    ];
    vectors.push(ObjectVector::opens("the primary has no wrap: the newest of the others", &draft, held, &[two]));

    let (smaller, larger) = if one.id() < two.id() { (one, two) } else { (two, one) };
    let (draft, _) = wrapped("equal-times", &[one, two]);
    let held = vec![larger.held(), smaller.held().made("2026-01-01T01:00:00+01:00")];
    vectors.push(ObjectVector::opens("of two keys of one time, the smaller key id", &draft, held, &[smaller]));

    let (draft, _) = wrapped("recovery-is-not-primary", &[one, two, three]);
    let held = vec![
        one.held().made("2026-03-01T00:00:00Z").role("Recovery"),
        two.held().made("2026-02-01T00:00:00Z"),
        three.held(),
    ];
    vectors.push(ObjectVector::opens("a newer recovery key is tried after the primary", &draft, held, &[two]));

    let (draft, _) = wrapped("revoked-is-not-tried", &[one, two]);
    let held = vec![one.held().made("2026-03-01T00:00:00Z").state("Revoked"), two.held().state("Retired")];
    vectors.push(ObjectVector::opens("a wrap for a revoked key is passed over", &draft, held, &[two]));

    let (mut draft, envelope) = wrapped("fourth-candidate", &[one, two, three, four, five]);
    let all = [one, two, three, four, five];
    for key in &all[..3] {
        let other = AgeFile::new(key, &[7; 32], &Seed::new("another data key"));
        draft.set_wrap(&envelope, key.id(), &other.to_bytes());
    }
    let times = [
        "2026-05-05T00:00:00Z",
        "2026-05-04T00:00:00Z",
        "2026-05-03T00:00:00Z",
        "2026-05-02T00:00:00Z",
        "2026-05-01T00:00:00Z",
    ];
    let held = all.iter().zip(times).map(|(key, time)| key.held().made(time)).collect();
    let comment = "three wraps hold another data key than the envelope's; the fourth opens; all proofs are right";
    vectors.push(ObjectVector::opens(comment, &draft, held, &[four]));

    let mut draft = Draft::new("an-envelope-a-key");
    let (first, second) = (draft.envelope("1", &[one]), draft.envelope("2", &[two]));
    draft.value(&first, "A", b"1");
    draft.value(&second, "B", b"2");
    draft.value(&first, "C", b"3");
    let held = vec![one.held(), two.held()];
    vectors.push(ObjectVector::opens("two envelopes that two keys open", &draft, held, &[one, two]));
    vectors
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
    let comment = "the primary's wrap holds another data key: the next one opens, and the broken one is reported";
    let primary = ObjectVector::opens(comment, &draft, held, &[&recovery]);
    let primary = primary.with_broken_wraps(&envelope, &[&key]);

    let (mut draft, envelope) = wrapped("proof-for-another-key-id");
    let bytes = file(&draft, &envelope, &recovery);
    let proof = super::draft::proof(draft.dek(&envelope), key.id(), &bytes);
    draft.set_wrap_text(&envelope, recovery.id(), wrap_text(&bytes, &proof));
    let comment = "a proof for the same age file under another key id is wrong";
    let moved = ObjectVector::opens(comment, &draft, vec![key.held()], &[&key]);
    let moved = moved.with_broken_wraps(&envelope, &[&recovery]);
    vec![other, own, primary, moved]
}

//! The wraps that are tried, and their order (FORMAT.md §3.4 and §7.2).

use super::age_file::AgeFile;
use super::draft::Draft;
use super::object_vector::ObjectVector;
use super::seed::Seed;
use super::test_key::{HeldIdentity, TestKey};

/// Times from the latest to the earliest.
const TIMES: [&str; 6] = [
    "2026-05-06T00:00:00Z",
    "2026-05-05T00:00:00Z",
    "2026-05-04T00:00:00Z",
    "2026-05-03T00:00:00Z",
    "2026-05-02T00:00:00Z",
    "2026-05-01T00:00:00Z",
];

fn keys() -> [TestKey; 6] {
    [1, 2, 3, 4, 5, 6].map(|number| TestKey::classic(&format!("key {number}")))
}

/// Seals a value in an envelope with wraps for keys.
fn wrapped(vector: &str, keys: &[&TestKey]) -> (Draft, String) {
    let mut draft = Draft::new(vector);
    let envelope = draft.envelope("1", keys);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    (draft, envelope)
}

/// Replaces wraps by wraps of another DEK, with right proofs.
fn spoil(draft: &mut Draft, envelope: &str, keys: &[&TestKey]) {
    for key in keys {
        let other = AgeFile::new(key, &[7; 32], &Seed::new("another data key"));
        draft.set_wrap(envelope, key.id(), &other.to_bytes());
    }
}

/// Returns keys as held keys, from the newest to the oldest.
fn held(keys: &[&TestKey]) -> Vec<HeldIdentity> {
    keys.iter().zip(TIMES).map(|(key, time)| key.held().made(time)).collect()
}

pub(super) fn vectors() -> Vec<ObjectVector> {
    let mut vectors = choices();
    vectors.extend(times());
    vectors.extend(after_the_primary());
    vectors.extend(counts());
    vectors.extend(held_twice());
    vectors
}

fn choices() -> Vec<ObjectVector> {
    let keys = keys();
    let [one, two, three, four, five, _] = &keys;
    let mut vectors = Vec::new();

    let (draft, _) = wrapped("primary-first", &[one, two, three]);
    let ours = vec![
        one.held(),
        two.held().made("2026-03-01T00:00:00Z").state("Retired"),
        three.held().made("2026-02-01T00:00:00Z"),
    ];
    vectors.push(ObjectVector::opens(
        "the primary is tried before a newer key that is Retired",
        &draft,
        ours,
        &[three],
    ));

    let (draft, _) = wrapped("newest-next", &[one, two]);
    let ours = vec![
        one.held().state("Retired"),
        two.held().made("2026-01-01T00:00:00.5Z").state("Retired"),
        three.held().made("2026-03-01T00:00:00Z"),
    ];
    vectors.push(ObjectVector::opens("the primary has no wrap: the newest of the others", &draft, ours, &[two]));

    let (draft, _) = wrapped("recovery-is-not-primary", &[one, two, three]);
    let ours = vec![
        one.held().made("2026-03-01T00:00:00Z").role("Recovery"),
        two.held().made("2026-02-01T00:00:00Z"),
        three.held(),
    ];
    vectors.push(ObjectVector::opens("a newer recovery key is tried after the primary", &draft, ours, &[two]));

    let (draft, _) = wrapped("revoked-is-not-tried", &[one, two]);
    let ours = vec![one.held().made("2026-03-01T00:00:00Z").state("Revoked"), two.held().state("Retired")];
    vectors.push(ObjectVector::opens("a wrap for a revoked key is passed over", &draft, ours, &[two]));

    let all = [one, two, three, four, five];
    let (mut draft, envelope) = wrapped("fourth-candidate", &all);
    spoil(&mut draft, &envelope, &all[..3]);
    let comment = "three wraps hold another DEK than the envelope's; the fourth opens; all proofs are right";
    vectors.push(ObjectVector::opens(comment, &draft, held(&all), &[four]));

    let mut draft = Draft::new("six-envelopes-six-keys");
    for (data_key, key) in ["F", "B", "D", "A", "C", "E"].iter().zip(&keys) {
        let envelope = draft.envelope(data_key, &[key]);
        draft.value(&envelope, data_key, data_key.as_bytes());
    }
    let comment = "an envelope for each of six keys, which are listed in the order of their ids";
    vectors.push(ObjectVector::opens(comment, &draft, held(&keys.each_ref()), &keys.each_ref()));

    let mut draft = Draft::new("an-envelope-a-key");
    let (first, second) = (draft.envelope("1", &[one]), draft.envelope("2", &[two]));
    draft.value(&first, "A", b"1");
    draft.value(&second, "B", b"2");
    draft.value(&first, "C", b"3");
    let ours = vec![one.held(), two.held()];
    vectors.push(ObjectVector::opens("two envelopes that two keys open", &draft, ours, &[one, two]));
    vectors
}

/// Pairs of creation times. In some pairs the key with the smaller id is tried first, in others the key with the larger
/// id, so a reader that compares times wrongly fails in at least one vector.
fn times() -> Vec<ObjectVector> {
    let keys = keys();
    let [one, two, ..] = &keys;
    let (smaller, larger) = if one.id() < two.id() { (one, two) } else { (two, one) };
    let pair = |name: &str, comment, times: [&'static str; 2], opens: &TestKey| {
        let (draft, _) = wrapped(name, &[one, two]);
        let held = vec![larger.held().made(times[1]), smaller.held().made(times[0])];
        ObjectVector::opens(comment, &draft, held, &[opens])
    };
    let equal = "of two keys of one time, the smaller key id";
    let noon = "2026-01-01T12:00:00Z";
    vec![
        pair("equal-times", equal, [noon, noon], smaller),
        pair("equal-times-offset", equal, [noon, "2026-01-01T13:30:00+01:30"], smaller),
        pair("equal-times-digits", equal, [noon, "2026-01-01T12:00:00.000Z"], smaller),
        pair("offset-east", "half past twelve in the east is earlier", [noon, "2026-01-01T12:30:00+01:00"], smaller),
        pair("offset-west", "half past eleven in the west is later", [noon, "2026-01-01T11:30:00-01:00"], larger),
        pair("offset-day", "another day by its offset alone", [noon, "2026-01-02T01:00:00+14:00"], smaller),
        pair(
            "fractions",
            "a half is later than a quarter",
            ["2026-01-01T12:00:00.25Z", "2026-01-01T12:00:00.5Z"],
            larger,
        ),
        pair("nanosecond", "a nanosecond later", [noon, "2026-01-01T12:00:00.000000001Z"], larger),
        pair("fraction-and-second", "a second counts more", ["2026-01-01T12:00:00.9Z", "2026-01-01T12:00:01Z"], larger),
    ]
}

/// The primary has no wrap. Only the time decides between the other keys.
fn after_the_primary() -> Vec<ObjectVector> {
    let keys = keys();
    let [one, two, three, ..] = &keys;
    let opens = |name: &str, comment, newer: HeldIdentity| {
        let (draft, _) = wrapped(name, &[two, three]);
        let ours = vec![three.held().made(TIMES[2]), newer.made(TIMES[1]), one.held().made(TIMES[0])];
        ObjectVector::opens(comment, &draft, ours, &[two])
    };
    vec![
        opens("retired-before-older-active", "a newer key that is Retired", two.held().state("Retired")),
        opens("recovery-before-older-active", "a newer recovery key", two.held().role("Recovery")),
        opens("active-before-older-active", "a newer key that is Active", two.held()),
    ]
}

/// Keys that do not count among the four whose wraps are tried: Revoked keys, and keys without a wrap.
fn counts() -> Vec<ObjectVector> {
    let keys = keys();
    let all = keys.each_ref();
    let five = &all[..5];
    let (draft, _) = wrapped("revoked-are-not-counted", five);
    let revoked = held(five).into_iter().enumerate().map(|(at, key)| if at < 4 { key.state("Revoked") } else { key });
    let revoked = ObjectVector::opens("four newer keys are Revoked", &draft, revoked.collect(), &[five[4]]);
    let (draft, _) = wrapped("keys-without-wrap-are-not-counted", &five[4..]);
    let absent = ObjectVector::opens("four newer keys have no wrap", &draft, held(five), &[five[4]]);
    let (mut draft, envelope) = wrapped("fourth-candidate-of-six-keys", &all[1..]);
    spoil(&mut draft, &envelope, &all[2..5]);
    let mut ours = held(&all);
    ours[1] = all[1].held().made(TIMES[1]).state("Revoked");
    let comment = "the newest has no wrap, the next is Revoked, three do not open, the last does";
    let both = ObjectVector::opens(comment, &draft, ours, &[all[5]]);
    vec![revoked, absent, both]
}

/// One identity is held in several entries.
fn held_twice() -> Vec<ObjectVector> {
    let keys = keys();
    let [one, two, three, ..] = &keys;
    let (mut draft, envelope) = wrapped("held-twice", &[one, two, three]);
    spoil(&mut draft, &envelope, &[one, two]);
    let ours = [one, two, one, two, three].iter().zip(TIMES).map(|(key, time)| key.held().made(time)).collect();
    let tries =
        ObjectVector::opens("two keys, each given twice, do not open: a third is tried", &draft, ours, &[three]);
    let (draft, _) = wrapped("held-twice-revoked", &[one, two]);
    let ours = vec![one.held().made(TIMES[0]), two.held().made(TIMES[2]), one.held().made(TIMES[3]).state("Revoked")];
    let revoked = ObjectVector::opens("a key that is Active and Revoked is Revoked", &draft, ours, &[two]);
    let (draft, _) = wrapped("held-twice-earliest", &[one, two]);
    let ours = vec![one.held().made(TIMES[0]), two.held().made(TIMES[1]), one.held().made(TIMES[2])];
    let earliest = ObjectVector::opens("a key with two times has the earlier one", &draft, ours, &[two]);
    vec![tries, revoked, earliest]
}

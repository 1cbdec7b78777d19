//! Names and ids that are not in their canonical form, with the same faults at every place of a name.

use serde_json::json;
use waxseal_shared::format::Check;

use super::object_vector::ObjectVector;
use super::refusals::{At, Base, rename};

/// Texts that are refused as a label: as a part of an object's name, and as a namespace.
const REFUSED_LABELS: [(&str, &str, &str); 10] = [
    ("empty", "no letter", ""),
    ("hyphen-first", "a hyphen at the beginning", "-db"),
    ("hyphen-last", "a hyphen at the end", "db-"),
    ("hyphen-alone", "nothing but a hyphen", "-"),
    ("underscore", "a character of data keys alone", "d_b"),
    ("upper-case", "a capital letter", "Db"),
    ("other-digit", "a digit that is not ASCII", "db１"),
    ("other-letter", "a letter that is not ASCII", "dé"),
    ("line-break", "a line break at the end", "db\n"),
    ("slash", "a way out of a folder", "../db"),
];

/// Texts with several parts that are refused as the name of an object.
const REFUSED_NAMES: [(&str, &str, &str); 6] = [
    ("hyphen-before-dot", "a part that ends with a hyphen", "a-.b"),
    ("hyphen-after-dot", "a part that begins with a hyphen", "a.-b"),
    ("dot-first", "an empty part at the beginning", ".db"),
    ("dot-last", "an empty part at the end", "db."),
    ("two-dots", "an empty part in the middle", "db..x"),
    ("dot-alone", "two empty parts", "."),
];

/// Texts that are refused as a data key.
const REFUSED_DATA_KEYS: [(&str, &str, &str); 10] = [
    ("empty", "no letter", ""),
    ("dot", "a dot alone", "."),
    ("two-dots", "two dots", ".."),
    ("two-dots-first", "begins with two dots", "..data"),
    ("slash", "a way to another folder", "a/b"),
    ("space", "a space", "a b"),
    ("colon", "a colon", "a:b"),
    ("other-digit", "a digit that is not ASCII", "A１"),
    ("other-letter", "a letter that is not ASCII", "é"),
    ("line-break", "a line break at the end", "A\n"),
];

pub(super) fn vectors() -> Vec<ObjectVector> {
    let mut vectors = object_names();
    vectors.extend(data_keys());
    vectors.extend(ids("envelope-id", Check::EnvelopeId, At::Object, 'e', 10, |base, id| base.rename_envelope(id)));
    vectors.extend(ids("key-id", Check::KeyId, At::Envelope, 'k', 16, |base, id| {
        let own = base.key.id().to_owned();
        rename(&mut base.envelope()["wraps"], &own, id);
    }));
    vectors.extend(ids("token-envelope-id", Check::TokenEnvelopeId, At::Value, 'e', 10, |base, id| {
        let own = base.envelope.clone();
        let text = base.token().as_str().map(|token| token.replace(&own, id));
        *base.token() = json!(text);
    }));
    vectors
}

fn object_names() -> Vec<ObjectVector> {
    let long = ["n".repeat(254), "n".repeat(64)];
    let names = REFUSED_LABELS.into_iter().chain(REFUSED_NAMES).chain([("too-long", "254 bytes", long[0].as_str())]);
    let with_dot = ("with-dot", "a label has no dot", "shop.eu");
    let namespaces = REFUSED_LABELS.into_iter().chain([with_dot, ("too-long", "64 bytes", long[1].as_str())]);
    let refused = |field: &'static str, check| {
        move |(name, comment, text): (&str, &'static str, &str)| {
            let mut base = Base::new(&format!("{field}-{name}"));
            base.object["metadata"][field] = json!(text);
            base.refused(comment, check, At::Object)
        }
    };
    let mut vectors: Vec<_> = names.map(refused("name", Check::ObjectName)).collect();
    vectors.extend(namespaces.map(refused("namespace", Check::ObjectNamespace)));
    for (field, check) in [("name", Check::ObjectName), ("namespace", Check::ObjectNamespace)] {
        let mut base = Base::new(&format!("{field}-absent"));
        base.object["metadata"].as_object_mut().expect("a map").remove(field);
        vectors.push(base.refused("absent counts as empty", check, At::Object));
    }
    vectors
}

fn data_keys() -> Vec<ObjectVector> {
    let too_long = "A".repeat(254);
    let names = REFUSED_DATA_KEYS.into_iter().chain([("too-long", "254 bytes", too_long.as_str())]);
    let refused = |(name, comment, text): (&str, &'static str, &str)| {
        let mut base = Base::new(&format!("data-key-{name}"));
        rename(&mut base.spec()["encryptedData"], "USER", text);
        base.refused(comment, Check::DataKey, At::Object)
    };
    names.map(refused).collect()
}

/// Faults of an id that has a letter and some hex digits.
fn ids(place: &str, check: Check, at: At, letter: char, digits: usize, put: fn(&mut Base, &str)) -> Vec<ObjectVector> {
    let right: String = "0123456789abcdef".chars().cycle().take(digits).collect();
    let shorter = &right[1..];
    [
        ("short", "a digit less", format!("{letter}{shorter}")),
        ("long", "a digit more", format!("{letter}{right}0")),
        ("empty", "nothing", String::new()),
        ("no-letter", "a digit instead of the letter", format!("0{right}")),
        ("other-letter", "another letter", format!("a{right}")),
        ("upper-case-letter", "the letter in upper case", format!("{}{right}", letter.to_ascii_uppercase())),
        ("upper-case", "hex is in lower case", format!("{letter}A{shorter}")),
        ("letter-g", "g is no digit of hex", format!("{letter}g{shorter}")),
        ("letter-z", "z is no digit of hex", format!("{letter}{shorter}z")),
        ("other-digit", "a digit that is not ASCII", format!("{letter}{shorter}１")),
        ("line-break", "a line break at the end", format!("{letter}{right}\n")),
        ("space", "a space at the beginning", format!(" {letter}{right}")),
    ]
    .into_iter()
    .map(|(name, comment, id)| {
        let mut base = Base::new(&format!("{place}-{name}"));
        put(&mut base, &id);
        base.refused(comment, check, at)
    })
    .collect()
}

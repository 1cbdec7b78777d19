//! The vectors of the format: they are up to date and complete, and the product gives the results that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use waxseal_shared::format::{self, Check, FieldPath, Sealed};
use waxseal_shared::key::{Identity, Recipient};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::manifest::{self, DocumentKind};
use waxseal_shared::open::{BrokenWrap, open};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyRole, KeyState};
use waxseal_tests::vectors;

const WRITE: &str = "cargo run -p waxseal-tests --bin vectors";

/// The files whose vectors do not have the form of [`ObjectVector`].
const NOT_OBJECTS: [&str; 9] = [
    "derivations.json",
    "identities-refused.json",
    "keys.json",
    "manifests-read.json",
    "manifests-refused.json",
    "padding.json",
    "recipients-refused.json",
    "trees-refused.json",
    "wraps.json",
];

/// The rules of FORMAT.md for reading, each with the parts of error texts that show it.
const RULES: [(&str, &[&str]); 16] = [
    ("size", &["is not read", "nested too deeply", "larger than 1.5 MiB", "more than 8 lists"]),
    ("syntax", &["not YAML", "not JSON", "not UTF-8"]),
    ("directive", &["YAML directives are not allowed"]),
    ("line-break", &["YAML versions disagree on whether a line ends here"]),
    ("anchor", &["anchors are not allowed", "aliases are not allowed"]),
    ("merge-key", &["merge keys are not allowed"]),
    ("tag", &["tags other than !!str are not allowed"]),
    ("duplicate-key", &["given twice"]),
    ("ambiguous", &["YAML versions disagree on what this unquoted value is", "this unquoted key is not a string"]),
    ("kind", &["a kind that waxseal.dev does not have", "only one of apiVersion and kind is given"]),
    ("version", &["a SealedSecret of a version that is not known"]),
    ("unknown-field", &["unknown field"]),
    ("missing-field", &["missing"]),
    (
        "wrong-type",
        &[
            "must be a ",
            "must be true",
            "must be one of",
            "this key is not a string",
            "invalid type",
            "invalid value",
            "unknown variant",
        ],
    ),
    ("generate-name", &["it cannot be generated"]),
    ("name", &["lower-case letters, digits"]),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ObjectVector {
    pub(crate) name: String,
    #[serde(rename = "comment")]
    _comment: String,
    pub(crate) identities: Vec<HeldIdentity>,
    object: Value,
    #[serde(default)]
    append: Vec<Append>,
    expected: Expected,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HeldIdentity {
    identity: String,
    role: KeyRole,
    state: KeyState,
    created_at: String,
}

#[derive(Deserialize)]
struct Append {
    at: Vec<String>,
    text: String,
    times: usize,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Expected {
    Opened(Box<Opened>),
    Refused { check: String, reason: String, at: BTreeMap<String, String> },
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Opened {
    data: BTreeMap<String, Data>,
    opened_with: Vec<String>,
    broken_wraps: BTreeMap<String, Vec<String>>,
    secret: Secret,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Data {
    Short { base64: String },
    Long { length: usize, sha256: String },
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Secret {
    #[serde(rename = "type")]
    type_: String,
    immutable: Option<bool>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// A refusal by the product: the check, the reason and the location, and the text, which has the location too.
struct Refusal {
    check: Check,
    reason: String,
    at: BTreeMap<String, String>,
    text: String,
}

#[test]
fn the_vectors_are_up_to_date() {
    let generated = vectors::files();
    for (name, text) in &generated {
        let kept = std::fs::read_to_string(vectors::folder().join(name)).unwrap_or_default();
        if kept != *text {
            let broken = if kept.is_empty() { Ok(()) } else { vectors::broken(&kept, text) };
            assert_eq!(broken, Ok(()), "shared/vectors/{name}");
            panic!("shared/vectors/{name} is stale: {WRITE}");
        }
    }
    assert_eq!(kept_files(), generated.keys().map(|name| (*name).to_owned()).collect());
}

#[test]
fn every_object_gives_the_result_of_its_vector() {
    for (file, vector) in object_vectors() {
        let place = format!("{file}: {}", vector.name);
        match (outcome(&vector), &vector.expected) {
            (Ok(opened), Expected::Opened(expected)) => assert_eq!(opened, **expected, "{place}"),
            (Err(refusal), Expected::Refused { check, reason, at }) => {
                let found = (refusal.check.as_str(), refusal.reason.as_str());
                assert_eq!(found, (check.as_str(), reason.as_str()), "{place}: {}", refusal.text);
                assert_eq!(refusal.at, *at, "{place}");
            }
            (Ok(_), Expected::Refused { check, .. }) => panic!("{place}: opened instead of {check}"),
            (Err(refusal), Expected::Opened(_)) => panic!("{place}: {}", refusal.text),
        }
    }
}

#[test]
fn every_check_has_a_vector_that_fails_it() {
    let refused: BTreeSet<_> = object_vectors()
        .into_iter()
        .filter_map(|(_, vector)| match vector.expected {
            Expected::Refused { check, .. } => Some(check),
            Expected::Opened(_) => None,
        })
        .collect();
    assert_eq!(refused, Check::ALL.iter().map(|check| check.as_str().to_owned()).collect());
}

#[test]
fn every_refusal_is_at_the_location_that_the_specification_names() {
    let text = std::fs::read_to_string(vectors::folder().join("../FORMAT.md")).expect("FORMAT.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let locations: BTreeMap<_, _> = rows.filter_map(|(name, rest)| Some((name, rest.split(" | ").nth(1)?))).collect();
    for (file, vector) in object_vectors() {
        let Expected::Refused { check, at, .. } = vector.expected else {
            continue;
        };
        let expected = match locations[check.as_str()] {
            "none" => &[][..],
            "envelope" => &["envelope"],
            "wrap" => &["envelope", "wrap"],
            "data key" => &["dataKey"],
            location => panic!("{check}: {location} is not a location"),
        };
        assert!(at.keys().eq(expected), "{file}: {}", vector.name);
    }
}

#[test]
fn every_manifest_gives_the_result_of_its_vector() {
    for vector in parsed("manifests-read.json") {
        let sealed = read(&vector).unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
        let specs: Vec<_> = sealed.into_iter().map(|sealed| sealed.spec).collect();
        assert_eq!(serde_json::to_value(specs).expect("trees"), vector["specs"], "{}", vector["name"]);
    }
    for vector in parsed("manifests-refused.json") {
        let Err(error) = read(&vector) else {
            panic!("{}: read", vector["name"]);
        };
        assert_breaks(&vector, &error);
    }
}

#[test]
fn every_tree_of_another_shape_is_refused() {
    for vector in parsed("trees-refused.json") {
        let Err(error) = serde_json::from_value::<SealedSecret>(vector["object"].clone()) else {
            panic!("{}: read", vector["name"]);
        };
        assert_breaks(&vector, &error.to_string());
    }
}

#[test]
fn every_invalid_key_is_refused() {
    let text = |vector: &Value, field: &str| vector[field].as_str().expect("a text").to_owned();
    for vector in parsed("recipients-refused.json") {
        assert!(Recipient::parse(&text(&vector, "recipient")).is_err(), "{}", vector["name"]);
    }
    for vector in parsed("identities-refused.json") {
        assert!(Identity::parse(&text(&vector, "identity")).is_err(), "{}", vector["name"]);
    }
}

#[test]
fn every_rule_of_reading_has_a_vector() {
    let text = std::fs::read_to_string(vectors::folder().join("../FORMAT.md")).expect("FORMAT.md");
    let (_, chapter) = text.split_once("| rule | refused |").expect("the table of rules");
    let rows = chapter.lines().skip(2).map_while(|line| line.strip_prefix("| `"));
    let rules: BTreeSet<_> = rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect();
    let shown = parsed("manifests-refused.json");
    let shown: BTreeSet<_> = shown.iter().filter_map(|vector| vector["refused"].as_str()).map(str::to_owned).collect();
    assert_eq!(shown, rules);
}

fn parsed(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(vectors::folder().join(file)).expect("a file of vectors");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    let Value::Array(vectors) = value["vectors"].take() else {
        panic!("{file} has no vectors");
    };
    vectors
}

pub(crate) fn object_vectors() -> Vec<(String, ObjectVector)> {
    let files = kept_files().into_iter().filter(|file| !NOT_OBJECTS.contains(&file.as_str()));
    files
        .flat_map(|file| {
            let vectors = parsed(&file).into_iter();
            vectors.map(move |vector| (file.clone(), serde_json::from_value(vector).expect("a vector about an object")))
        })
        .collect()
}

fn kept_files() -> BTreeSet<String> {
    let entries = std::fs::read_dir(vectors::folder()).expect("shared/vectors");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn outcome(vector: &ObjectVector) -> Result<Opened, Refusal> {
    let sealed = Sealed::decode(&object(vector)).map_err(refusal)?;
    let ring = KeyRing::new(vector.identities.iter().map(held).collect());
    let opened = open(&sealed, &ring).map_err(refusal)?;
    let metadata = sealed.template.metadata.clone().unwrap_or_default();
    Ok(Opened {
        data: opened.data.iter().map(|(key, value)| (key.to_string(), described(value.expose()))).collect(),
        opened_with: opened.opened_with.iter().map(ToString::to_string).collect(),
        broken_wraps: keys_by_envelope(&opened.broken_wraps),
        secret: Secret {
            type_: sealed
                .template
                .type_
                .clone()
                .filter(|type_| !type_.is_empty())
                .unwrap_or_else(|| "Opaque".to_owned()),
            immutable: sealed.template.immutable,
            labels: metadata.labels,
            annotations: metadata.annotations,
        },
    })
}

pub(crate) fn object(vector: &ObjectVector) -> SealedSecret {
    let mut object = vector.object.clone();
    for append in &vector.append {
        let target = append.at.iter().fold(&mut object, |tree, step| &mut tree[step]);
        let text = target.as_str().expect("a string to append to").to_owned();
        *target = Value::String(text + &append.text.repeat(append.times));
    }
    serde_json::from_value(object).unwrap_or_else(|error| panic!("{}: {error}", vector.name))
}

pub(crate) fn held(key: &HeldIdentity) -> HeldKey {
    let identity = Identity::parse(&key.identity).expect("an identity");
    HeldKey::new(identity, key.role, key.created_at.parse().expect("an RFC 3339 time"), key.state)
}

fn keys_by_envelope(broken_wraps: &[BrokenWrap]) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for wrap in broken_wraps {
        keys.entry(wrap.envelope.to_string()).or_default().push(wrap.key.to_string());
    }
    keys
}

fn described(value: &[u8]) -> Data {
    if value.len() <= 4096 {
        return Data::Short { base64: BASE64_STANDARD.encode(value) };
    }
    let sha256 = Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect();
    Data::Long { length: value.len(), sha256 }
}

/// All SealedSecrets of a text, or the first refusal.
fn read(vector: &Value) -> Result<Vec<SealedSecret>, String> {
    let bytes = match vector["textBase64"].as_str() {
        Some(base64) => BASE64_STANDARD.decode(base64).expect("base64"),
        None => vector["text"].as_str().expect("a text").as_bytes().to_vec(),
    };
    let append = &vector["append"];
    let times = append["times"].as_u64().and_then(|times| usize::try_from(times).ok()).unwrap_or(0);
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let text = text + &append["text"].as_str().unwrap_or_default().repeat(times);
    let stream = manifest::split(&text).map_err(|error| error.to_string())?;
    let mut sealed = Vec::new();
    for (_, kind) in stream.kinds() {
        collect(&kind.map_err(|error| error.to_string())?, &mut sealed)?;
    }
    Ok(sealed)
}

fn collect(kind: &DocumentKind, sealed: &mut Vec<SealedSecret>) -> Result<(), String> {
    match kind {
        DocumentKind::SealedSecret(object) => sealed.push(object.read().map_err(|error| error.to_string())?),
        DocumentKind::List(items) => items.iter().try_for_each(|item| collect(item, sealed))?,
        DocumentKind::Empty | DocumentKind::Other(_) | DocumentKind::Secret(_) => {}
    }
    Ok(())
}

fn assert_breaks(vector: &Value, error: &str) {
    let rule = vector["refused"].as_str().expect("a rule");
    let (_, signs) = RULES.iter().find(|(name, _)| *name == rule).expect("a rule of FORMAT.md");
    assert!(signs.iter().any(|sign| error.contains(sign)), "{}: {rule} is not: {error}", vector["name"]);
}

fn refusal(refusal: format::Refusal) -> Refusal {
    Refusal {
        check: refusal.check(),
        reason: refusal.reason().to_string(),
        at: location_of(refusal.field()),
        text: refusal.to_string(),
    }
}

fn location_of(field: &FieldPath) -> BTreeMap<String, String> {
    match field {
        FieldPath::Envelope(envelope) | FieldPath::Commitment(envelope) | FieldPath::Wraps(envelope) => {
            location(&[("envelope", envelope)])
        }
        FieldPath::Wrap(envelope, wrap) => location(&[("envelope", envelope), ("wrap", wrap)]),
        FieldPath::Value(data_key) => location(&[("dataKey", data_key)]),
        FieldPath::Name
        | FieldPath::Namespace
        | FieldPath::Envelopes
        | FieldPath::EncryptedData
        | FieldPath::Template => location(&[]),
    }
}

fn location(parts: &[(&str, &dyn Display)]) -> BTreeMap<String, String> {
    parts.iter().map(|(part, name)| ((*part).to_owned(), name.to_string())).collect()
}

//! One vector about an object: the held keys, the object, and the expected result.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use waxseal_shared::format::Check;

use super::draft::{Draft, hex};
use super::test_key::{HeldIdentity, TestKey};

/// The length in bytes of the longest value in a vector. A longer value is replaced by its length and digest.
const LONGEST_SHOWN: usize = 4096;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectVector {
    name: String,
    comment: &'static str,
    identities: Vec<HeldIdentity>,
    object: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    append: Vec<Append>,
    expected: Expected,
}

/// A long text that repeats one part, in a short form.
#[derive(Serialize)]
pub(super) struct Append {
    /// The path to the string that gets the text.
    pub(super) at: Vec<String>,
    pub(super) text: String,
    pub(super) times: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Expected {
    Opened(Opened),
    Refused(Refused),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Opened {
    data: BTreeMap<String, Data>,
    opened_with: Vec<String>,
    broken_wraps: BTreeMap<String, Vec<String>>,
    secret: Secret,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Short { base64: String },
    Long { length: usize, sha256: String },
}

/// The fields of the Secret except its data.
#[derive(Serialize)]
pub(super) struct Secret {
    #[serde(rename = "type")]
    pub(super) type_: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) immutable: Option<bool>,
    pub(super) labels: BTreeMap<&'static str, &'static str>,
    pub(super) annotations: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct Refused {
    check: &'static str,
    reason: &'static str,
    at: BTreeMap<&'static str, String>,
}

impl ObjectVector {
    /// Returns the vector of a draft that opens. `with` has the keys whose wraps are opened.
    pub(super) fn opens(comment: &'static str, draft: &Draft, held: Vec<HeldIdentity>, with: &[&TestKey]) -> Self {
        let mut opened_with: Vec<_> = with.iter().map(|key| key.id().to_owned()).collect();
        opened_with.sort_unstable();
        let data = draft.data.iter().map(|(key, value)| (key.clone(), Data::of(value))).collect();
        let secret = Secret { type_: "Opaque", immutable: None, labels: BTreeMap::new(), annotations: BTreeMap::new() };
        Self {
            name: draft.vector.clone(),
            comment,
            identities: held,
            object: draft.object(),
            append: Vec::new(),
            expected: Expected::Opened(Opened { data, opened_with, broken_wraps: BTreeMap::new(), secret }),
        }
    }

    /// Returns the vector of an object that fails a check. `at` names the place of the fault.
    pub(super) fn refused(
        name: &str,
        comment: &'static str,
        held: Vec<HeldIdentity>,
        object: Value,
        check: Check,
        at: BTreeMap<&'static str, String>,
    ) -> Self {
        let refused = Refused { check: check.as_str(), reason: check.reason().as_str(), at };
        let expected = Expected::Refused(refused);
        Self { name: name.to_owned(), comment, identities: held, object, append: Vec::new(), expected }
    }

    pub(super) fn with_broken_wraps(mut self, envelope: &str, keys: &[&TestKey]) -> Self {
        if let Expected::Opened(opened) = &mut self.expected {
            let mut ids: Vec<_> = keys.iter().map(|key| key.id().to_owned()).collect();
            ids.sort_unstable();
            opened.broken_wraps.insert(envelope.to_owned(), ids);
        }
        self
    }

    pub(super) fn with_secret(mut self, secret: Secret) -> Self {
        if let Expected::Opened(opened) = &mut self.expected {
            opened.secret = secret;
        }
        self
    }

    pub(super) fn with_object(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.object);
        self
    }

    pub(super) fn appending(mut self, append: Append) -> Self {
        self.append.push(append);
        self
    }
}

impl Data {
    fn of(value: &[u8]) -> Self {
        if value.len() <= LONGEST_SHOWN {
            return Self::Short { base64: BASE64_STANDARD.encode(value) };
        }
        Self::Long { length: value.len(), sha256: hex(&Sha256::digest(value)) }
    }
}

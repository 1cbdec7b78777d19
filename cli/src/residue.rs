//! What still shows of the values after sealing: a password repeated in an annotation, a comment or
//! another document.

use std::collections::{BTreeSet, HashMap};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use waxseal_shared::secret::SecretManifest;
use zeroize::Zeroizing;

/// Shorter values are everywhere by chance.
const SHORTEST: usize = 8;

type Start = [u8; SHORTEST];

/// The values to look for, each by the name of its Secret and its data key, as they are and in base64.
#[derive(Default)]
pub(crate) struct Values {
    names: Vec<String>,
    by_start: HashMap<Start, Vec<Trace>>,
}

struct Trace {
    name: usize,
    bytes: Zeroizing<Vec<u8>>,
}

impl Values {
    /// Adds the values of a Secret that are long enough to be told from chance.
    pub(crate) fn add(&mut self, secret: &SecretManifest) {
        for (key, value) in &secret.data {
            let value = value.expose();
            if value.len() < SHORTEST {
                continue;
            }
            let name = self.names.len();
            self.names.push(format!("of {key} in {}", secret.name));
            self.add_trace(name, Zeroizing::new(value.to_vec()));
            // Whole groups of three bytes: they are the same whatever follows the value.
            let groups = &value[..value.len() / 3 * 3];
            self.add_trace(name, Zeroizing::new(BASE64_STANDARD.encode(groups).into_bytes()));
        }
    }

    fn add_trace(&mut self, name: usize, bytes: Zeroizing<Vec<u8>>) {
        let start = bytes.first_chunk::<SHORTEST>().copied();
        self.by_start.entry(start.unwrap_or_default()).or_default().push(Trace { name, bytes });
    }

    /// Every value that shows in a text, with the byte where it first does.
    pub(crate) fn in_text(&self, text: &str) -> Vec<(usize, &str)> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        if self.by_start.is_empty() {
            return found;
        }
        let bytes = text.as_bytes();
        for (at, start) in bytes.windows(SHORTEST).enumerate() {
            let traces = Start::try_from(start).ok().and_then(|start| self.by_start.get(&start));
            for trace in traces.into_iter().flatten() {
                if bytes[at..].starts_with(&trace.bytes) && seen.insert(trace.name) {
                    found.push((at, self.names[trace.name].as_str()));
                }
            }
        }
        found
    }

    /// Every value that shows in the strings of an object, with the path where it first does.
    pub(crate) fn in_object<'a>(&'a self, object: &Value, path: &str) -> Vec<(String, &'a str)> {
        let mut found = Vec::new();
        self.walk(object, path, &mut found);
        let mut seen = BTreeSet::new();
        found.retain(|(_, name)| seen.insert(*name));
        found
    }

    fn walk<'a>(&'a self, value: &Value, path: &str, found: &mut Vec<(String, &'a str)>) {
        match value {
            Value::String(text) => {
                found.extend(self.in_text(text).into_iter().map(|(_, name)| (path.to_owned(), name)))
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{path}[{index}]"), found);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    if self.in_text(name).is_empty() {
                        let dot = if path.is_empty() { "" } else { "." };
                        self.walk(field, &format!("{path}{dot}{name}"), found);
                    } else {
                        // The path itself would show the value.
                        found.extend(self.in_text(name).into_iter().map(|(_, value)| (path.to_owned(), value)));
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use waxseal_shared::names::{DataKey, ObjectName};
    use waxseal_shared::secret::SecretBytes;

    use super::*;

    fn values(all: &[(&str, &str)]) -> Values {
        let data = all.iter().map(|(key, value)| {
            (DataKey::parse(key).expect("a data key"), SecretBytes::new(value.as_bytes().to_vec()))
        });
        let secret = SecretManifest {
            name: ObjectName::parse("db").expect("a name"),
            namespace: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            type_: None,
            immutable: None,
            data: data.collect(),
        };
        let mut values = Values::default();
        values.add(&secret);
        values
    }

    #[test]
    fn values_are_found_plain_and_in_base64() {
        let values = values(&[("A", "correct horse"), ("B", "short"), ("C", "correct battery")]);
        assert_eq!(values.in_text("it is correct horse, or correct horse"), [(6, "of A in db")]);
        let encoded = BASE64_STANDARD.encode("correct horse\n");
        assert_eq!(values.in_text(&encoded), [(0, "of A in db")]);
        assert_eq!(values.in_text("correct staple, short"), []);
    }

    #[test]
    fn a_place_in_an_object_is_its_path() {
        let values = values(&[("A", "correct horse")]);
        let object =
            serde_json::json!({"metadata": {"annotations": {"x": ["-", "correct horse"], "y": "correct horse"}}});
        assert_eq!(values.in_object(&object, ""), [("metadata.annotations.x[1]".to_owned(), "of A in db")]);
        let object = serde_json::json!({"labels": {"correct horse": ""}});
        assert_eq!(values.in_object(&object, ""), [("labels".to_owned(), "of A in db")]);
    }
}

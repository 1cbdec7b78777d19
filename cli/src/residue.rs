//! What still shows of the values after sealing: a password repeated in an annotation, a comment or
//! another document.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use waxseal_shared::secret::SecretManifest;
use zeroize::Zeroizing;

use crate::untrusted_text::shown;

/// Shorter values are everywhere by chance.
const SHORTEST: usize = 8;

type Start = [u8; SHORTEST];

/// The values to look for, each by the name of its Secret and its data key.
///
/// They are looked for as they are, in base64, and as JSON and quoted YAML spell them; those with
/// spaces or line breaks, and base64, also with other white space in between, as indenting and
/// wrapping leave it. Not found are pieces of a value, and what else there is to encode it with.
#[derive(Default)]
pub(crate) struct Values {
    names: Vec<String>,
    spelled: Traces,
    /// Without white space, for texts without white space.
    packed: Traces,
}

#[derive(Default)]
struct Traces(HashMap<Start, Vec<Trace>>);

struct Trace {
    name: usize,
    bytes: Zeroizing<Vec<u8>>,
}

impl Values {
    /// Adds the values of a Secret that are long enough to be told from chance.
    pub(crate) fn add(&mut self, secret: &SecretManifest) {
        for (key, value) in &secret.data {
            if value.expose().len() < SHORTEST {
                continue;
            }
            let name = self.names.len();
            self.names.push(format!("of {key} in {}", secret.name));
            self.add_value(name, without_last_break(value.expose()));
        }
    }

    fn add_value(&mut self, name: usize, value: &[u8]) {
        self.spelled.add(name, Zeroizing::new(value.to_vec()));
        str::from_utf8(value).iter().for_each(|text| self.add_spellings(name, text));
        if value.iter().any(u8::is_ascii_whitespace) {
            self.packed.add(name, packed(value));
        }
        // Whole groups of three bytes: they are the same whatever follows the value.
        let groups = &value[..value.len() / 3 * 3];
        self.packed.add(name, Zeroizing::new(BASE64_STANDARD.encode(groups).into_bytes()));
    }

    /// What writers of JSON make of it, some of which escape more than they must, and YAML within
    /// single quotes. YAML within double quotes is mostly JSON.
    fn add_spellings(&mut self, name: usize, value: &str) {
        let by_go = |character| matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let json = [json(value, |_| false), json(value, by_go), json(value, |character| !character.is_ascii())];
        for spelling in json.into_iter().chain([Zeroizing::new(value.replace('\'', "''"))]) {
            if *spelling != value {
                self.spelled.add(name, Zeroizing::new(spelling.as_bytes().to_vec()));
            }
        }
    }

    /// Every value that shows in a text, with the byte where it first does.
    pub(crate) fn in_text(&self, text: &str) -> Vec<(usize, &str)> {
        let mut seen = BTreeSet::new();
        let mut found = self.spelled.in_bytes(text.as_bytes(), &mut seen);
        if !self.packed.0.is_empty() {
            let in_packed = self.packed.in_bytes(&packed(text.as_bytes()), &mut seen);
            found.extend(unpacked(&in_packed, text));
            found.sort_unstable();
        }
        found.into_iter().map(|(at, name)| (at, self.names[name].as_str())).collect()
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
                        self.walk(field, &format!("{path}{dot}{}", shown(name)), found);
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

impl Traces {
    /// What is too short is left out: chance would find it.
    fn add(&mut self, name: usize, bytes: Zeroizing<Vec<u8>>) {
        if let Some(start) = bytes.first_chunk::<SHORTEST>() {
            self.0.entry(*start).or_default().push(Trace { name, bytes });
        }
    }

    /// Where each name that was not seen before is found first, in the order of the bytes.
    fn in_bytes(&self, bytes: &[u8], seen: &mut BTreeSet<usize>) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (at, start) in bytes.windows(SHORTEST).enumerate() {
            let traces = Start::try_from(start).ok().and_then(|start| self.0.get(&start));
            for trace in traces.into_iter().flatten() {
                if bytes[at..].starts_with(&trace.bytes) && seen.insert(trace.name) {
                    found.push((at, trace.name));
                }
            }
        }
        found
    }
}

/// The value without the line break that files end with, unless it is too short then.
fn without_last_break(value: &[u8]) -> &[u8] {
    let shorter = value.strip_suffix(b"\n").unwrap_or(value);
    let shorter = shorter.strip_suffix(b"\r").unwrap_or(shorter);
    if shorter.len() < SHORTEST { value } else { shorter }
}

/// The bytes that are no white space.
fn packed(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    // Enough for all of it: a growing buffer would leave copies behind.
    let mut packed = Zeroizing::new(Vec::with_capacity(bytes.len()));
    packed.extend(bytes.iter().filter(|byte| !byte.is_ascii_whitespace()));
    packed
}

/// Places in a packed text, in order, as places in the text.
fn unpacked(found: &[(usize, usize)], text: &str) -> Vec<(usize, usize)> {
    let places = text.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()).map(|(place, _)| place);
    let mut places = places.enumerate().peekable();
    let mut unpacked = Vec::new();
    for (at, name) in found {
        while places.next_if(|(index, _)| index < at).is_some() {}
        unpacked.extend(places.peek().map(|(_, place)| (*place, *name)));
    }
    unpacked
}

/// The inside of a JSON string (RFC 8259 §7), with `escaped` as escapes beside what must be.
fn json(value: &str, escaped: impl Fn(char) -> bool) -> Zeroizing<String> {
    // The longest escape of a byte has six.
    let mut text = Zeroizing::new(String::with_capacity(6 * value.len()));
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            _ if character < ' ' || escaped(character) => {
                let units = character.encode_utf16(&mut [0; 2]).to_vec();
                // Writing to a string does not fail.
                let _infallible = units.iter().try_for_each(|unit| write!(text, "\\u{unit:04x}"));
            }
            _ => text.push(character),
        }
    }
    text
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
    fn values_are_found_indented_and_wrapped() {
        let value = "-----BEGIN KEY-----\nabc\n  def\n";
        let values = values(&[("A", value), ("B", "correct horse battery")]);
        let indented = format!("x: |\n  {}", value.replace('\n', "\r\n  "));
        assert_eq!(values.in_text(&indented), [(7, "of A in db")]);
        assert_eq!(values.in_text("- correct horse\n  battery"), [(2, "of B in db")]);
        let encoded = BASE64_STANDARD.encode(value);
        let lines: Vec<_> = encoded.as_bytes().chunks(10).map(String::from_utf8_lossy).collect();
        assert_eq!(values.in_text(&format!("é: |\n  {}", lines.join("\n  "))), [(8, "of A in db")]);
        assert_eq!(values.in_text("correct horse\nbatteries, -----BEGIN KEY-----"), []);
    }

    #[test]
    fn values_are_found_as_json_and_yaml_spell_them() {
        let value = "it's \"<é>\" \\ and\nmore\u{1}";
        let values = values(&[("A", value)]);
        for text in [
            serde_json::to_string(value).expect("JSON"),
            r#""it's \"\u003cé\u003e\" \\ and\nmore\u0001""#.to_owned(),
            r#""it's \"<\u00e9>\" \\ and\nmore\u0001""#.to_owned(),
            value.replace('\'', "''"),
        ] {
            assert_eq!(values.in_text(&text).len(), 1, "{text}");
        }
        assert_eq!(values.in_text(r#""it's \"<é>\"#), []);
    }

    #[test]
    fn the_line_break_at_the_end_of_a_file_does_not_matter() {
        let values = values(&[("A", "hunter2hunter2\r\n"), ("B", "1234567\n")]);
        assert_eq!(values.in_text("is hunter2hunter2!"), [(3, "of A in db")]);
        assert_eq!(values.in_text("1234567!"), []);
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

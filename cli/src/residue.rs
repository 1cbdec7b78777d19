//! Finds values that still show after sealing, such as a password that is also in an annotation, a comment or another
//! document.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde_json::Value;
use waxseal_shared::secret::SecretManifest;

use crate::untrusted_text::name_or_ellipsis;

/// Shorter values and spellings are not searched for: they would be found by chance.
const SHORTEST: usize = 8;

type Needle = [u8; SHORTEST];

/// Searches texts for the values of Secrets.
///
/// Finds a value in plain text, in base64 (also inside a longer base64 text), and in the spellings of JSON and quoted
/// YAML. Ignores white space, because indenting and wrapping change it. Does not find parts of a value or other
/// encodings.
///
/// The automaton has the middle 8 bytes of each spelling. Whole spellings would take a hundred times their own memory,
/// and many values have the same first bytes. The allocator of the program wipes the automaton when it is freed.
pub(crate) struct ValueSearch<'a> {
    values: Vec<SearchedValue<'a>>,
    automaton: AhoCorasick,
    /// For each needle of the automaton, the spellings with this needle in the middle.
    spellings: Vec<Vec<Spelling>>,
}

struct SearchedValue<'a> {
    /// `of KEY in SECRET`.
    name: String,
    bytes: &'a [u8],
}

/// A spelling of a value: the index of the value, and the number of the spelling in [`spellings`]. The text is computed
/// again when it is needed.
struct Spelling {
    value: usize,
    number: usize,
}

impl<'a> ValueSearch<'a> {
    /// Prepares the search for all values of at least 8 bytes.
    pub(crate) fn new(secrets: impl IntoIterator<Item = &'a SecretManifest>) -> Self {
        let mut values = Vec::new();
        let mut needles: BTreeMap<Needle, Vec<Spelling>> = BTreeMap::new();
        for secret in secrets {
            let long_enough = secret.data.iter().filter(|(_, value)| value.expose().len() >= SHORTEST);
            for (key, value) in long_enough {
                let bytes = without_last_line_break(value.expose());
                for (number, text) in spellings(bytes).iter().enumerate() {
                    let spelling = Spelling { value: values.len(), number };
                    if let Some(needle) = needle(text) {
                        needles.entry(needle).or_default().push(spelling);
                    }
                }
                values.push(SearchedValue { name: format!("of {key} in {}", secret.name), bytes });
            }
        }
        // Not a DFA: it searches faster, but building it takes longer than sealing a file.
        let builder = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(needles.keys());
        // The limit is 2^31 states. The values of 32 MiB of text need fewer: 8 spellings of 8 bytes for each value.
        let automaton = builder.expect("an automaton within its limits");
        Self { values, automaton, spellings: needles.into_values().collect() }
    }

    /// Returns the values that show in a text, each with the position of its first byte, in the order of the text.
    pub(crate) fn in_text(&self, text: &str) -> Vec<(usize, &str)> {
        let packed = packed_text(text);
        let hits = self.automaton.find_overlapping_iter(&packed).map(|hit| hit.pattern().as_usize());
        // Searches for each candidate only once, and not at each hit: a repetitive text can have a hit at each byte.
        let needles: BTreeSet<_> = hits.collect();
        let mut found = BTreeMap::new();
        for spelling in needles.into_iter().flat_map(|needle| &self.spellings[needle]) {
            if let Some(start) = self.position_of(spelling, &packed) {
                let first = found.entry(spelling.value).or_insert(start);
                *first = start.min(*first);
            }
        }
        let mut found: Vec<_> = found.into_iter().map(|(value, start)| (start, value)).collect();
        found.sort_unstable();
        let mut places =
            text.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()).enumerate().peekable();
        let unpacked = found.into_iter().filter_map(|(start, value)| {
            while places.next_if(|(index, _)| *index < start).is_some() {}
            places.peek().map(|(_, (place, _))| (*place, self.values[value].name.as_str()))
        });
        unpacked.collect()
    }

    /// Returns the values that show in the strings of a JSON object, each with the first path where it shows.
    pub(crate) fn in_object(&self, json: &str, path: &str) -> Vec<(String, &str)> {
        let mut found = Vec::new();
        // A string of the object can itself be JSON, with its escapes escaped again.
        let is_shown = !self.in_text(json).is_empty() || !self.in_text(&json.replace("\\\\", "\\")).is_empty();
        if is_shown && let Ok(object) = serde_json::from_str(json) {
            self.walk(&object, path, &mut found);
            let mut seen = BTreeSet::new();
            found.retain(|(_, name)| seen.insert(*name));
        }
        found
    }

    /// Returns the first position of a spelling in a packed text.
    fn position_of(&self, spelling: &Spelling, packed: &str) -> Option<usize> {
        let text = spellings(self.values[spelling.value].bytes).into_iter().nth(spelling.number)?;
        // A spelling that is not UTF-8 is in no text.
        packed.find(str::from_utf8(&text).ok()?)
    }

    fn walk<'s>(&'s self, value: &Value, path: &str, found: &mut Vec<(String, &'s str)>) {
        let here = |text| self.in_text(text).into_iter().map(|(_, name)| (path.to_owned(), name));
        match value {
            Value::String(text) => found.extend(here(text)),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{path}[{index}]"), found);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    let before = found.len();
                    found.extend(here(name));
                    // A path must not show a name that contains a value.
                    let name = if found.len() == before { name_or_ellipsis(name) } else { "…" };
                    let dot = if path.is_empty() { "" } else { "." };
                    self.walk(field, &format!("{path}{dot}{name}"), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Returns the spellings of a value without white space, always in the same order.
fn spellings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![packed(value)];
    let mut add = |spelling: Vec<u8>| {
        if !all.contains(&spelling) {
            all.push(spelling);
        }
    };
    if let Ok(text) = str::from_utf8(value) {
        // `encoding/json` of Go escapes these characters, too.
        let escaped_by_go = |character| matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        add(packed(json(text, |_| false).as_bytes()));
        add(packed(json(text, escaped_by_go).as_bytes()));
        add(packed(json(text, |character| !character.is_ascii()).as_bytes()));
        // YAML in single quotes; in double quotes it is mostly JSON.
        add(packed(text.replace('\'', "''").as_bytes()));
    }
    (0..3).for_each(|before| add(base64_inside(value, before)));
    all
}

/// Returns the base64 characters that depend on the value alone. Base64 encodes groups of three bytes: `before` is the
/// number of bytes before the value in the group in which it begins.
fn base64_inside(value: &[u8], before: usize) -> Vec<u8> {
    let bytes = [&[0; 3][..before], value].concat();
    let encoded = BASE64_STANDARD_NO_PAD.encode(bytes.as_slice());
    // A character has 6 bits. The first and last can have bits of other bytes too.
    let inside = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    encoded.as_bytes()[inside].to_vec()
}

/// Returns the bytes in the middle of a spelling; `None` for a spelling that is too short.
fn needle(spelling: &[u8]) -> Option<Needle> {
    let offset = spelling.len().checked_sub(SHORTEST)? / 2;
    spelling[offset..].first_chunk().copied()
}

/// Returns the value without a line break at its end, unless it would be too short.
fn without_last_line_break(value: &[u8]) -> &[u8] {
    let shorter = value.strip_suffix(b"\n").unwrap_or(value);
    let shorter = shorter.strip_suffix(b"\r").unwrap_or(shorter);
    if shorter.len() < SHORTEST { value } else { shorter }
}

/// Returns the text without white space.
fn packed_text(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_whitespace()).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect()
}

/// Returns the text between the quotes of a JSON string (RFC 8259 §7), with escapes also for the characters that
/// `escaped` selects.
fn json(value: &str, escaped: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    // Every string can be written as JSON.
    let plain = serde_json::to_string(value).expect("a string is JSON");
    let inside = plain.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    for character in inside.chars() {
        if !escaped(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _infallible = write!(text, "\\u{unit:04x}");
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

    fn secret(all: &[(&str, &str)]) -> SecretManifest {
        let data = all.iter().map(|(key, value)| {
            (DataKey::parse(key).expect("a data key"), SecretBytes::new(value.as_bytes().to_vec()))
        });
        SecretManifest {
            name: ObjectName::parse("db").expect("a name"),
            namespace: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            type_: None,
            immutable: None,
            data: data.collect(),
        }
    }

    fn found(all: &[(&str, &str)], text: &str) -> Vec<(usize, String)> {
        let secret = secret(all);
        let search = ValueSearch::new([&secret]);
        search.in_text(text).into_iter().map(|(at, name)| (at, name.to_owned())).collect()
    }

    fn at(place: usize, key: &str) -> Vec<(usize, String)> {
        vec![(place, format!("of {key} in db"))]
    }

    #[test]
    fn values_are_found_plain() {
        let all = [("A", "correct horse"), ("B", "short"), ("C", "correct battery")];
        assert_eq!(found(&all, "it is correct horse, or correct horse"), at(6, "A"));
        assert_eq!(found(&all, "correct staple, short"), []);
        assert_eq!(found(&[("A", "same value"), ("B", "same value")], "x same value").len(), 2);
    }

    #[test]
    fn values_are_found_in_base64_wherever_they_begin() {
        let all = [("A", "correct horse"), ("B", "x short x")];
        for before in ["", "u", "u:", "u:p"] {
            for after in ["", "\n", "\n!", "\n!?"] {
                let encoded = BASE64_STANDARD_NO_PAD.encode(format!("{before}correct horse{after}"));
                assert_eq!(found(&all, &encoded).len(), 1, "{before} {after}");
                let other = BASE64_STANDARD_NO_PAD.encode(format!("{before}correct house{after}"));
                assert_eq!(found(&all, &other), [], "{before} {after}");
            }
        }
    }

    #[test]
    fn repetitive_values_take_linear_time() {
        let value = "ab".repeat(100_000);
        let near_miss = format!("{}b", "ab".repeat(99_999));
        let all = [("A", value.as_str()), ("B", near_miss.as_str())];
        assert_eq!(found(&all, &format!("# {}", "ab".repeat(200_000))), at(2, "A"));
    }

    #[test]
    fn values_are_found_in_json_inside_of_a_string() {
        let secret = secret(&[("A", "Tr0ub4dor&3-xyzzy")]);
        let search = ValueSearch::new([&secret]);
        let object = serde_json::json!({"metadata": {"annotations": {"a": "{\"p\":\"Tr0ub4dor\\u00263-xyzzy\"}"}}});
        let expected = vec![("metadata.annotations.a".to_owned(), "of A in db")];
        assert_eq!(search.in_object(&object.to_string(), ""), expected);
    }

    #[test]
    fn a_value_below_a_name_that_is_a_value_is_found() {
        let secret = secret(&[("A", "correct horse"), ("B", "correct battery")]);
        let search = ValueSearch::new([&secret]);
        let object = serde_json::json!({"data": {"correct horse": {"b": "correct battery"}}});
        let expected = vec![("data".to_owned(), "of A in db"), ("data.….b".to_owned(), "of B in db")];
        assert_eq!(search.in_object(&object.to_string(), ""), expected);
    }

    #[test]
    fn values_are_found_indented_and_wrapped() {
        let value = "-----BEGIN KEY-----\nabc\n  def\n";
        let all = [("A", value), ("B", "correct horse battery"), ("C", "a-long-token-of-24-bytes")];
        let indented = format!("x: |\n  {}", value.replace('\n', "\r\n  "));
        assert_eq!(found(&all, &indented), at(7, "A"));
        assert_eq!(found(&all, "- correct horse\n  battery"), at(2, "B"));
        assert_eq!(found(&all, "# a-long-token\\\n -of-24-bytes"), []);
        assert_eq!(found(&all, "# a-long-token\n -of-24-bytes"), at(2, "C"));
        let encoded = BASE64_STANDARD_NO_PAD.encode(value);
        let lines: Vec<_> = encoded.as_bytes().chunks(10).map(String::from_utf8_lossy).collect();
        assert_eq!(found(&all, &format!("é: |\n  {}", lines.join("\n  "))), at(8, "A"));
        assert_eq!(found(&all, "correct horse\nbatteries, -----BEGIN KEY-----"), []);
    }

    #[test]
    fn values_are_found_as_json_and_yaml_spell_them() {
        let value = "it's \"<é>\" \\ and\nmore\u{1}\"";
        for text in [
            serde_json::to_string(value).expect("JSON"),
            r#""it's \"\u003cé\u003e\" \\ and\nmore\u0001\"""#.to_owned(),
            r#""it's \"<\u00e9>\" \\ and\nmore\u0001\"""#.to_owned(),
            value.replace('\'', "''"),
        ] {
            assert_eq!(found(&[("A", value)], &text).len(), 1, "{text}");
        }
        assert_eq!(found(&[("A", value)], r#""it's \"<é>\"#), []);
    }

    #[test]
    fn the_line_break_at_the_end_of_a_file_does_not_matter() {
        let all = [("A", "hunter2hunter2\r\n"), ("B", "1234567\n")];
        assert_eq!(found(&all, "is hunter2hunter2!"), at(3, "A"));
        assert_eq!(found(&all, "1234567!"), []);
    }

    #[test]
    fn a_place_in_an_object_is_its_path() {
        let secret = secret(&[("A", "correct horse")]);
        let search = ValueSearch::new([&secret]);
        let object = r#"{"metadata": {"annotations": {"x": ["-", "correct horse"], "y": "correct horse"}}}"#;
        assert_eq!(search.in_object(object, ""), [("metadata.annotations.x[1]".to_owned(), "of A in db")]);
        let object = r#"{"labels": {"correct horse": ""}}"#;
        assert_eq!(search.in_object(object, "items[0]"), [("items[0].labels".to_owned(), "of A in db")]);
    }
}

//! Reads trees into types that derive `Deserialize`. Refuses a value that other readers of YAML interpret differently.
//!
//! Strings are borrowed from the tree where the type allows it. The allocator wipes the tree when the tree is freed. An
//! error of the deserializer names only its node; `Object::read_with` computes the position and the path.

use std::borrow::Cow;
use std::fmt::Display;
use std::slice::ChunksExact;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::ambiguity::Reading;
use super::error::ManifestError;
use super::node::{Content, Node};
use super::object::Object;
use super::stream::split;

const QUOTE_IT: &str = "write it in quotes";
const QUOTE_OR_EMPTY: &str = "write \"\" for an empty value, and put a value that begins with # in quotes";

/// Reads a text that is one YAML document or one JSON value into a type.
///
/// Refuses YAML beyond plain data (directives, anchors, aliases, merge keys, tags other than `!!str`, line breaks that
/// only YAML 1.1 knows), fields given twice, scalars that readers of YAML interpret differently, and a text that does
/// not have exactly one document with content. Unknown fields are refused where the type does so
/// (`serde(deny_unknown_fields)`).
pub fn read_one<T: DeserializeOwned>(text: &str) -> Result<T, ManifestError> {
    let mut found: Option<Object<'_>> = None;
    for (_, tree) in split(text)?.trees() {
        let Some(tree) = tree?.filter(|tree| !tree.root().is_null()) else { continue };
        if found.is_some() {
            let error = ManifestError::new("a second document, where only one is allowed").at(tree.root());
            return Err(tree.located(error));
        }
        found = Some(Object::root(tree.into()));
    }
    found.ok_or_else(|| ManifestError::new("no document"))?.read()
}

/// Returns an error about one field of a text that [`read_one`] has read, for a check that only its caller can make.
///
/// `path` has the names and the indexes that lead to the field. The error has the place of the field's value, or that
/// of the field's key if the value is a mapping or a list. The message must not hold a value.
pub fn error_at(text: &str, path: &[&str], message: impl Into<Cow<'static, str>>) -> ManifestError {
    let error = ManifestError::new(message);
    // The text was read before: it can be split, and has one document with content.
    let located = split(text).ok().and_then(|stream| {
        let tree = stream.trees().find_map(|(_, tree)| tree.ok().flatten().filter(|tree| !tree.root().is_null()))?;
        Some(tree.located(error.clone().at(place_of(tree.root(), path))))
    });
    located.unwrap_or(error)
}

/// Returns the node whose place an error about this field shows.
fn place_of<'a>(root: &'a Node, path: &[&str]) -> &'a Node {
    let (mut node, mut place) = (root, root);
    for step in path {
        let entry = match &node.content {
            Content::Sequence(items) => {
                step.parse().ok().and_then(|index: usize| items.get(index)).map(|item| (item, item))
            }
            _ => node.entry(&[step]),
        };
        let Some((key, value)) = entry else { break };
        place = if matches!(value.content, Content::Scalar(..)) { value } else { key };
        node = value;
    }
    place
}

impl de::Error for ManifestError {
    fn custom<T: Display>(_may_quote_the_value: T) -> Self {
        Self::new("not a value that this field takes")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit => "null",
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a string",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            _ => "of this type",
        };
        // `expected` is a fixed text that describes a type. It never contains a value.
        let wanted = match expected.to_string().as_str() {
            "a string" | "a borrowed string" => "a string",
            "a boolean" => return Self::new("must be true or false"),
            "a sequence" => "a list",
            text if text == "a map" || text.starts_with("struct ") => "a mapping",
            text if text.starts_with(['i', 'u', 'f']) => "a number",
            _ => return Self::new("not the type that this field takes"),
        };
        let error = Self::new(format!("must be {wanted}, not {found}"));
        match (wanted, found) {
            // A fraction where a whole number belongs, or a number that is too large.
            ("a number", "a number") => Self::new("not a number that this field takes"),
            ("a string", "null") => error.with_hint(QUOTE_OR_EMPTY),
            ("a string", _) => error.with_hint(QUOTE_IT),
            _ => error,
        }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown_word(expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown_field(field, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("field {field:?} is missing"))
    }
}

impl<'a> Deserializer<'a> for &'a Node {
    type Error = ManifestError;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        let value = match (&self.content, self.reading()) {
            (Content::Mapping(nodes), _) => {
                visitor.visit_map(Entries { mapping: self, rest: nodes.chunks_exact(2), value: None })
            }
            (Content::Sequence(nodes), _) => visitor.visit_seq(Items(nodes.iter())),
            (_, Some(Reading::Null)) => visitor.visit_unit(),
            (_, Some(Reading::Boolean(value))) => visitor.visit_bool(value),
            (Content::Scalar(text, _), Some(Reading::Number)) => visit_number(text, visitor),
            (Content::Scalar(text, _), Some(Reading::Text)) => visitor.visit_borrowed_str(text),
            (Content::Scalar(..) | Content::Alias(_), _) => {
                let error = ManifestError::new("YAML versions disagree on what this unquoted value is");
                Err(error.with_hint(QUOTE_IT))
            }
        };
        value.map_err(|error| error.at(self))
    }

    /// Gives one error for everything but a boolean: it must be true or false. So `yes` gets this error too, and not
    /// the error that YAML versions disagree on it.
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        match self.reading() {
            Some(Reading::Boolean(value)) => visitor.visit_bool(value),
            _ => Err(de::Error::invalid_type(Unexpected::Other("value"), &visitor)),
        }
        .map_err(|error: ManifestError| error.at(self))
    }

    /// Without this, a derived type would accept a list and take its items as the fields in order.
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ManifestError> {
        if let Content::Sequence(_) = self.content {
            let error: ManifestError = de::Error::invalid_type(Unexpected::Seq, &visitor);
            return Err(error.at(self));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &str, visitor: V) -> Result<V::Value, ManifestError> {
        visitor.visit_newtype_struct(self)
    }

    /// Only enums without data.
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ManifestError> {
        let text = <&str as de::Deserialize>::deserialize(self)?;
        visitor.visit_enum(text.into_deserializer()).map_err(|error: ManifestError| error.at(self))
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>> i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

fn visit_number<'a, V: Visitor<'a>>(text: &str, visitor: V) -> Result<V::Value, ManifestError> {
    if let Ok(number) = text.parse() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse() {
        return visitor.visit_i64(number);
    }
    match text.parse() {
        Ok(number) if f64::is_finite(number) => visitor.visit_f64(number),
        _ => Err(de::Error::invalid_type(Unexpected::Float(f64::INFINITY), &visitor)),
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = ManifestError;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, ManifestError> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Entries<'a> {
    mapping: &'a Node,
    rest: ChunksExact<'a, Node>,
    value: Option<&'a Node>,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = ManifestError;

    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, ManifestError> {
        let Some([key, value]) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let Some(name) = key.string() else {
            let error = ManifestError::new("this unquoted key is not a string to every reader of YAML");
            return Err(error.at(key).with_hint(QUOTE_IT));
        };
        let read = seed.deserialize(BorrowedStrDeserializer::new(name));
        // An error here is about the key, such as an unknown field. Its text names the key, so its path leads to the
        // mapping and does not name the key again.
        read.map(Some).map_err(|error: ManifestError| error.at(key).with_path_to(self.mapping))
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, ManifestError> {
        // Visitors ask for a value after its key.
        seed.deserialize(self.value.take().expect("a key before"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Config {
        version: u8,
        #[serde(default)]
        clusters: BTreeMap<String, Cluster>,
        mode: Option<Mode>,
        #[serde(default)]
        paths: Vec<String>,
        ratio: Option<f64>,
        dry: Option<bool>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Cluster {
        keys: String,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    enum Mode {
        Fast,
        Slow,
    }

    #[test]
    fn a_type_is_read_from_yaml_and_json() {
        let yaml =
            "# c\nversion: 1\nclusters: {prod: {keys: a.yaml}}\nmode: Slow\npaths: [a, 'no']\nratio: 0.5\ndry: true\n";
        let json = r#"{"version": 1, "clusters": {"prod": {"keys": "a.yaml"}}, "mode": "Slow", "paths": ["a", "no"], "ratio": 0.5, "dry": true}"#;
        let expected = Config {
            version: 1,
            clusters: BTreeMap::from([("prod".to_owned(), Cluster { keys: "a.yaml".to_owned() })]),
            mode: Some(Mode::Slow),
            paths: vec!["a".to_owned(), "no".to_owned()],
            ratio: Some(0.5),
            dry: Some(true),
        };
        assert_eq!(read_one::<Config>(yaml).as_ref(), Ok(&expected));
        assert_eq!(read_one::<Config>(json).as_ref(), Ok(&expected));
    }

    #[test]
    fn errors_have_path_place_and_no_value() {
        for (text, expected, place) in [
            ("version: hunter2", "version: must be a number, not a string", (1, 10)),
            ("version: 300", "version: not a value that this field takes", (1, 10)),
            ("version: 1.5", "version: not a number that this field takes", (1, 10)),
            ("version: 1\nratio: 1e999", "ratio: not a number that this field takes", (2, 8)),
            (
                "version: 1\nclusters: {5: {keys: x}}",
                "clusters.5: this unquoted key is not a string to every reader of YAML",
                (2, 12),
            ),
            ("version: 1\nmode: hunter2", "mode: must be one of Fast, Slow", (2, 7)),
            ("version: 1\nmode: no", "mode: YAML versions disagree on what this unquoted value is", (2, 7)),
            ("version: 1\npaths: [a, 1]", "paths[1]: must be a string, not a number", (2, 12)),
            ("version: 1\nclusters: {a: {}}", "clusters.a: field \"keys\" is missing", (2, 15)),
            ("version: 1\nclusters: {a: {key: x}}", "clusters.a: unknown field \"key\"", (2, 16)),
            ("version: 1\nversion: 2", "version: given twice, first on line 1", (2, 1)),
            ("version: 1\ndry: yes", "dry: must be true or false", (2, 6)),
            ("version: 1\nclusters: hunter2", "clusters: must be a mapping, not a string", (2, 11)),
            ("hunter2", "must be a mapping, not a string", (1, 1)),
            ("a: &x 1", "a: anchors are not allowed", (1, 7)),
            ("version: 1\n---\nversion: 1\n", "a second document, where only one is allowed", (3, 1)),
        ] {
            let error = read_one::<Config>(text).expect_err(text);
            assert_eq!((error.to_string().as_str(), error.place()), (expected, Some(place)), "{text}");
        }
        assert_eq!(read_one::<Config>("# c\n---\n").expect_err("empty").to_string(), "no document");
    }

    #[test]
    fn an_error_of_the_caller_has_the_path_and_place_of_its_field() {
        let text = "# c\nversion: 1\nclusters:\n  prod:\n    keys: a\npaths: [x, y]\n";
        for (path, expected, place) in [
            (&["version"][..], "version: wrong", (2, 10)),
            (&["clusters", "prod"], "clusters.prod: wrong", (4, 3)),
            (&["clusters", "prod", "keys"], "clusters.prod.keys: wrong", (5, 11)),
            (&["paths"], "paths: wrong", (6, 1)),
            (&["paths", "1"], "paths[1]: wrong", (6, 12)),
            (&["paths", "7"], "paths: wrong", (6, 1)),
        ] {
            let error = error_at(text, path, "wrong");
            assert_eq!((error.to_string().as_str(), error.place()), (expected, Some(place)), "{path:?}");
        }
        assert_eq!(error_at("", &["version"], "wrong").to_string(), "wrong");
    }

    #[test]
    fn any_value_is_read_only_if_readers_agree() {
        let value = read_one::<serde_json::Value>("a: [1, -2, 1.5, true, ~, x, '1', 18446744073709551615]\nb: {}\n");
        let expected = serde_json::json!({"a": [1, -2, 1.5, true, null, "x", "1", u64::MAX], "b": {}});
        assert_eq!(value, Ok(expected));
        let number = format!("a: {}", "9".repeat(1 << 20));
        let error = read_one::<BTreeMap<String, String>>(&number).expect_err("a number");
        assert_eq!(error.to_string(), "a: must be a string, not a number");
        let error = read_one::<serde_json::Value>("a: 0777").expect_err("disputed");
        assert_eq!(error.to_string(), "a: YAML versions disagree on what this unquoted value is");
    }

    #[test]
    fn the_deepest_document_is_read_and_written() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let value = read_one::<serde_json::Value>(&nested(510)).expect("as deep as may be");
        assert!(super::super::write(&value).len() > 1000);
        assert_eq!(read_one::<serde_json::Value>(&nested(511)).expect_err("deeper").to_string(), "nested too deeply");
    }
}

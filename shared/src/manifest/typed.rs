//! Trees into types that derive `Deserialize`, as strictly as everything else here.

use std::fmt::Display;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::ambiguity::Reading;
use super::error::ManifestError;
use super::field::{Entry, Field};
use super::object::Object;
use super::stream::split;

/// Reads a text that is one YAML document or one JSON value into a type.
///
/// Refuses what is not plain data (directives, anchors, aliases, merge keys, tags but `!!str`, line
/// breaks that only YAML 1.1 knows), fields given twice, scalars that readers of YAML take for different things, and more or less than one document that is not
/// empty. Unknown fields are refused where the type does so (`serde(deny_unknown_fields)`).
pub fn read_one<T: DeserializeOwned>(text: &str) -> Result<T, ManifestError> {
    let mut found: Option<Object> = None;
    for (_, object) in split(text)?.objects() {
        let object = object?.filter(|object| !object.is_null());
        match (&found, object) {
            (_, None) => {}
            (None, object) => found = object,
            (Some(_), Some(second)) => return Err(second.error("a second document where one belongs")),
        }
    }
    found.ok_or_else(|| ManifestError::new("no document"))?.read()
}

/// Reads a field whose tree is plain data into a type.
pub(super) fn from_field<'a, T: de::Deserialize<'a>>(field: Field<'a>) -> Result<T, ManifestError> {
    T::deserialize(field.clone()).map_err(|error| located(error, &field))
}

/// An error that serde made has no place yet; the innermost field that sees it gives its own.
fn located(error: ManifestError, field: &Field<'_>) -> ManifestError {
    if error.place().is_some() { error } else { field.locate(error) }
}

impl de::Error for ManifestError {
    fn custom<T: Display>(_may_quote_the_value: T) -> Self {
        Self::new("not a value that this field takes")
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::new("not the type that this field takes")
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown_field(field, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("field {field:?} is missing"))
    }
}

macro_rules! deserialize_numbers {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
            let number = self.number()?.parse::<$type>();
            visitor.$visit(number.map_err(|_| self.error("not a number that this field takes"))?)
        }
    )*};
}

impl<'a> Deserializer<'a> for Field<'a> {
    type Error = ManifestError;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        if self.is_mapping() {
            return self.deserialize_map(visitor);
        }
        if self.is_sequence() {
            return self.deserialize_seq(visitor);
        }
        match self.reading() {
            Some(Reading::Null) => visitor.visit_unit(),
            Some(Reading::Boolean(value)) => visitor.visit_bool(value),
            Some(Reading::Number) => visit_number(&self, visitor),
            Some(Reading::Text | Reading::Disputed) | None => visitor.visit_borrowed_str(self.string()?),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        visitor.visit_bool(self.boolean()?)
    }

    deserialize_numbers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        visitor.visit_borrowed_str(self.string()?)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &str, visitor: V) -> Result<V::Value, ManifestError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        visitor.visit_seq(Items(self.items()?))
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        let entries = self.mapping()?.into_entries();
        visitor.visit_map(Entries { entries, value: None }).map_err(|error| located(error, &self))
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ManifestError> {
        self.deserialize_map(visitor)
    }

    /// Only enums without data.
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ManifestError> {
        visitor.visit_enum(self.string()?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ManifestError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>> char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

fn visit_number<'a, V: Visitor<'a>>(field: &Field<'a>, visitor: V) -> Result<V::Value, ManifestError> {
    let text = field.number()?;
    if let Ok(number) = text.parse() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse() {
        return visitor.visit_i64(number);
    }
    match text.parse() {
        Ok(number) if f64::is_finite(number) => visitor.visit_f64(number),
        _ => Err(field.error("not a number that this field takes")),
    }
}

struct Items<I>(I);

impl<'a, I: Iterator<Item = Field<'a>>> SeqAccess<'a> for Items<I> {
    type Error = ManifestError;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, ManifestError> {
        let Some(item) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(item.clone()).map(Some).map_err(|error| located(error, &item))
    }
}

struct Entries<'a> {
    entries: std::vec::IntoIter<Entry<'a>>,
    value: Option<Field<'a>>,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = ManifestError;

    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, ManifestError> {
        let Some(Entry { name, name_field, value }) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let key = seed.deserialize(BorrowedStrDeserializer::new(name));
        key.map(Some).map_err(|error: ManifestError| name_field.locate_key(error))
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, ManifestError> {
        let value = self.value.take().ok_or_else(|| <ManifestError as de::Error>::custom(""))?;
        seed.deserialize(value.clone()).map_err(|error| located(error, &value))
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
            ("version: hunter2", "version: must be a number", (1, 10)),
            ("version: 300", "version: not a number that this field takes", (1, 10)),
            ("version: 1\nmode: hunter2", "mode: must be one of Fast, Slow", (2, 7)),
            ("version: 1\nmode: no", "mode: YAML versions disagree on what this unquoted value is", (2, 7)),
            ("version: 1\npaths: [a, 1]", "paths[1]: must be a string, not a number", (2, 12)),
            ("version: 1\nclusters: {a: {}}", "clusters.a: field \"keys\" is missing", (2, 15)),
            ("version: 1\nclusters: {a: {key: x}}", "clusters.a: unknown field \"key\"", (2, 16)),
            ("version: 1\nversion: 2", "version: given twice, first on line 1", (2, 1)),
            ("version: 1\ndry: yes", "dry: must be true or false", (2, 6)),
            ("version: 1\nclusters: hunter2", "clusters: must be a mapping, not a string", (2, 11)),
            ("hunter2", "must be a mapping, not a string", (1, 1)),
            ("a: &x 1", "a: anchors are not read here", (1, 7)),
            ("version: 1\n---\nversion: 1\n", "a second document where one belongs", (3, 1)),
        ] {
            let error = read_one::<Config>(text).expect_err(text);
            assert_eq!((error.to_string().as_str(), error.place()), (expected, Some(place)), "{text}");
        }
        assert_eq!(read_one::<Config>("# c\n---\n").expect_err("empty").to_string(), "no document");
    }

    #[test]
    fn any_value_is_read_only_if_readers_agree() {
        let value = read_one::<serde_json::Value>("a: [1, -2, 1.5, true, ~, x, '1', 18446744073709551615]\nb: {}\n");
        let expected = serde_json::json!({"a": [1, -2, 1.5, true, null, "x", "1", u64::MAX], "b": {}});
        assert_eq!(value, Ok(expected));
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

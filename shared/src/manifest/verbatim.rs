//! Trees back into text, as they were read.

use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;

use super::ambiguity::Reading;
use super::field::Field;

/// A field that is plain data, for serde_json: it keeps the order of fields, and the digits of
/// numbers, which no type of Rust would.
pub(super) struct Verbatim<'a>(Field<'a>);

impl<'a> Verbatim<'a> {
    pub(super) fn new(field: Field<'a>) -> Self {
        Self(field)
    }
}

impl Serialize for Verbatim<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let field = &self.0;
        if field.is_mapping() {
            let mapping = field.mapping().map_err(S::Error::custom)?;
            return serializer.collect_map(mapping.entries().map(|entry| (entry.name, Self(entry.value.clone()))));
        }
        if field.is_sequence() {
            return serializer.collect_seq(field.items().map_err(S::Error::custom)?.map(Self));
        }
        match field.reading() {
            Some(Reading::Null) => serializer.serialize_unit(),
            Some(Reading::Boolean(value)) => serializer.serialize_bool(value),
            Some(Reading::Number) => {
                let digits = field.number().map_err(S::Error::custom)?;
                serde_json::from_str::<&RawValue>(digits).map_err(S::Error::custom)?.serialize(serializer)
            }
            Some(Reading::Text | Reading::Disputed) | None => {
                serializer.serialize_str(field.string().map_err(S::Error::custom)?)
            }
        }
    }
}

//! Objects as text: the same object gives the same bytes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ambiguity::Reading;
use super::block_style::BlockStyle;
use super::node::{Content, Node};
use crate::api_group::API_VERSION;
use crate::sealed_secret::{SealedSecret, SealedSecretSpec};
use crate::secret::{SecretBytes, SecretManifest};

/// How a stream of documents is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML documents, separated by `---` and `...`.
    Yaml,
    /// JSON values, one after the other.
    Json,
}

/// One item of a list that is written.
#[derive(serde::Serialize)]
#[serde(transparent)]
pub struct ListItem<'a>(Item<'a>);

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Item<'a> {
    SealedSecret(WrittenObject<'a>),
    Other(&'a Value),
    AsRead(&'a Node),
}

impl<'a> From<&'a SealedSecret> for ListItem<'a> {
    fn from(sealed: &'a SealedSecret) -> Self {
        Self(Item::SealedSecret(sealed.into()))
    }
}

impl<'a> From<&'a Value> for ListItem<'a> {
    fn from(value: &'a Value) -> Self {
        Self(Item::Other(value))
    }
}

impl<'a> From<&'a Node> for ListItem<'a> {
    fn from(object: &'a Node) -> Self {
        Self(Item::AsRead(object))
    }
}

/// Writes a SealedSecret with name, namespace, labels, annotations and spec, and nothing else.
///
/// YAML is in block style with one line for each value. A string is in double quotes if some reader of YAML could read
/// it as anything else. JSON is indented by two spaces. Both end with a line feed. [`super::SealedSecretObject::read`]
/// gives an equal object back.
pub fn write_sealed_secret(sealed: &SealedSecret, format: Format) -> String {
    to_text(&WrittenObject::from(sealed), format)
}

/// Writes a `v1` `List` of these items in the style of [`write_sealed_secret`].
pub fn write_list(items: &[ListItem<'_>], format: Format) -> String {
    let list = WrittenObject { api_version: "v1", kind: "List", items: Some(items), ..WrittenObject::default() };
    to_text(&list, format)
}

/// Writes any value as YAML in the style of [`write_sealed_secret`]: the fields of a [`Value`] sorted by name, those of
/// other types in their order. The type must be plain data: its maps have strings as keys.
pub fn write(value: &impl Serialize) -> String {
    to_text(value, Format::Yaml)
}

/// Writes a plain Secret, its values as `data`, in the style of [`write_sealed_secret`].
pub fn write_secret(secret: &SecretManifest, format: Format) -> String {
    let metadata = WrittenMetadata {
        name: secret.name.as_str(),
        namespace: secret.namespace.as_ref().map(|namespace| namespace.as_str()),
        labels: Some(&secret.labels),
        annotations: Some(&secret.annotations),
    };
    let written = WrittenObject {
        api_version: "v1",
        kind: "Secret",
        metadata: Some(metadata),
        type_: secret.type_.as_deref(),
        immutable: secret.immutable,
        data: secret.data.iter().map(|(key, value)| (key.as_str(), Base64(value))).collect(),
        ..WrittenObject::default()
    };
    to_text(&written, format)
}

/// An object with the fields that it has, in the order in which they are written.
#[derive(Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenObject<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<WrittenMetadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<&'a SealedSecretSpec>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<&'a str, Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<&'a [ListItem<'a>]>,
}

#[derive(serde::Serialize)]
struct WrittenMetadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "is_absent_or_empty")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "is_absent_or_empty")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

impl<'a> From<&'a SealedSecret> for WrittenObject<'a> {
    fn from(sealed: &'a SealedSecret) -> Self {
        let metadata = WrittenMetadata {
            name: sealed.metadata.name.as_deref().unwrap_or_default(),
            namespace: sealed.metadata.namespace.as_deref(),
            labels: sealed.metadata.labels.as_ref(),
            annotations: sealed.metadata.annotations.as_ref(),
        };
        let (kind, spec) = ("SealedSecret", Some(&sealed.spec));
        Self { api_version: API_VERSION, kind, metadata: Some(metadata), spec, ..Self::default() }
    }
}

fn is_absent_or_empty(strings: &Option<&BTreeMap<String, String>>) -> bool {
    strings.is_none_or(BTreeMap::is_empty)
}

/// A value of a Secret as it stands in `data`.
struct Base64<'a>(&'a SecretBytes);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.expose()))
    }
}

/// Serialises a tree of plain data. A tree keeps the order of its fields and every digit of its numbers, which a Rust
/// type would not.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.scalar().unwrap_or_default();
        match (&self.content, self.reading()) {
            (Content::Mapping(_), _) => {
                serializer.collect_map(self.entries().map(|(key, value)| (key.scalar().unwrap_or_default(), value)))
            }
            (Content::Sequence(items), _) => serializer.collect_seq(items),
            (_, Some(Reading::Null)) => serializer.serialize_unit(),
            (_, Some(Reading::Boolean(value))) => serializer.serialize_bool(value),
            (_, Some(Reading::Number)) => {
                serde_json::from_str::<&RawValue>(text).map_err(S::Error::custom)?.serialize(serializer)
            }
            _ => serializer.serialize_str(text),
        }
    }
}

fn to_text(value: &impl Serialize, format: Format) -> String {
    let mut bytes = Vec::new();
    let written = match format {
        Format::Json => serde_json::to_writer_pretty(&mut bytes, value).map(|()| bytes.push(b'\n')),
        Format::Yaml => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, BlockStyle::default())),
    };
    // A vector takes everything, and all maps that are written have strings as keys.
    written.expect("text in memory");
    // serde_json and the block style write UTF-8.
    String::from_utf8(bytes).expect("UTF-8")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{DocumentKind, ManifestError, split};
    use super::*;
    use crate::sealed_secret::SealedSecretStatus;

    const FORMATS: [Format; 2] = [Format::Yaml, Format::Json];

    /// An example with its fields in the order in which they are written.
    const SEALED: &str = "apiVersion: waxseal.dev/v1alpha1
kind: SealedSecret
metadata:
  name: db
  namespace: shop
spec:
  scope: Strict
  envelopes:
    e7f3a9c21e0:
      boundTo:
        namespace: shop
        name: db
      commitment: 3q2+7w==
      wraps:
        k2f41ab09c3d4e5f6: YWdl.Zm9v
  encryptedData:
    \"0123\": wax1.e7f3a9c21e0.YmFy
    B: wax1.e7f3a9c21e0.Zm9v
  template:
    type: Opaque
    immutable: false
    metadata:
      labels:
        \"on\": \"no\"
";

    const SECRET: &str = "apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: shop
  labels:
    app: shop
type: Opaque
immutable: true
data:
  A: \"1234\"
  B: aGVsbG8=
  C: \"\"
";

    fn read_sealed(text: &str) -> Result<SealedSecret, ManifestError> {
        match split(text)?.documents[0].kind()? {
            DocumentKind::SealedSecret(sealed) => sealed.read(),
            _ => panic!("not sealed: {text}"),
        }
    }

    fn read_secret(text: &str) -> Result<SecretManifest, ManifestError> {
        match split(text)?.documents[0].kind()? {
            DocumentKind::Secret(secret) => secret.read(),
            _ => panic!("not a Secret: {text}"),
        }
    }

    fn example() -> SealedSecret {
        read_sealed(SEALED).expect("a SealedSecret")
    }

    #[test]
    fn yaml_has_name_scope_envelopes_data_and_template_in_this_order() {
        assert_eq!(write_sealed_secret(&example(), Format::Yaml), SEALED);
    }

    #[test]
    fn what_servers_set_and_what_is_empty_is_not_written() {
        let mut sealed = example();
        sealed.metadata.uid = Some("3b241101-e2bb-4255-8caf-4136c566a962".to_owned());
        sealed.metadata.labels = Some(BTreeMap::new());
        sealed.status = Some(SealedSecretStatus::default());
        assert_eq!(write_sealed_secret(&sealed, Format::Yaml), SEALED);
    }

    #[test]
    fn json_is_indented_and_ends_with_a_line_break() {
        let text = write_sealed_secret(&example(), Format::Json);
        assert!(text.starts_with("{\n  \"apiVersion\": \"waxseal.dev/v1alpha1\",\n  \"kind\":"), "{text}");
        assert!(text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn a_list_holds_sealed_secrets_and_others() {
        let (sealed, other) = (example(), json!({"apiVersion": "v1", "kind": "ConfigMap"}));
        for format in FORMATS {
            let text = write_list(&[(&sealed).into(), (&other).into()], format);
            let stream = split(&text).expect("a stream");
            let Ok(DocumentKind::List(items)) = stream.documents[0].kind() else {
                panic!("a list: {text}");
            };
            let [DocumentKind::SealedSecret(first), DocumentKind::Other(second)] = &items[..] else {
                panic!("two items: {text}");
            };
            assert_eq!(first.read().map(|sealed| sealed.spec), Ok(sealed.spec.clone()));
            assert_eq!(second.read::<Value>(), Ok(other.clone()));
        }
    }

    #[test]
    fn an_item_that_was_read_keeps_its_order_and_every_digit() {
        let item = r#"{"z":[1.10,100000000000000000000000000,-0.0,1e3,true,null],"a":{"no":"1.10"}}"#;
        let list = format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{item}]}}");
        let stream = split(&list).expect("a stream");
        let Ok(DocumentKind::List(items)) = stream.documents[0].kind() else {
            panic!("a list");
        };
        let DocumentKind::Other(object) = &items[0] else {
            panic!("another object");
        };
        let items = [object.to_list_item().expect("plain data")];
        let written = write_list(&items, Format::Json);
        assert_eq!(written.split_whitespace().collect::<String>(), list);
        let expected = "items:
- z:
  - 1.10
  - 100000000000000000000000000
  - -0.0
  - 1e3
  - true
  - null
  a:
    \"no\": \"1.10\"
";
        assert!(write_list(&items, Format::Yaml).ends_with(expected));
    }

    #[test]
    fn a_secret_is_written_as_data() {
        let secret = read_secret(SECRET).expect("a Secret");
        assert_eq!(write_secret(&secret, Format::Yaml).as_str(), SECRET);
        let again = read_secret(&write_secret(&secret, Format::Json)).expect("a Secret");
        assert_eq!((again.data, again.labels, again.immutable), (secret.data, secret.labels, secret.immutable));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            labels in proptest::collection::btree_map(any::<String>(), any::<String>(), 1..4),
            keys in proptest::collection::btree_map("[-._a-zA-Z0-9]{1,9}", "[-0-9_:.eoxb~=<>nyNY]{0,9}", 0..4),
            is_json in any::<bool>(),
        ) {
            let mut sealed = example();
            sealed.metadata.annotations = Some(labels.clone());
            sealed.spec.encrypted_data = keys;
            sealed.spec.template.as_mut().and_then(|template| template.metadata.as_mut()).expect("metadata").labels = labels;
            let text = write_sealed_secret(&sealed, if is_json { Format::Json } else { Format::Yaml });
            prop_assert_eq!(read_sealed(&text), Ok(sealed));
        }
    }
}

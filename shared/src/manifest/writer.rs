//! Objects as text: the same object gives the same bytes.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::block_style;
use super::json;
use super::node::{Limits, Node, Place};
use super::stream::Format;
use super::verbatim::Verbatim;
use crate::sealed_secret::{SealedSecret, SealedSecretSpec};
use crate::secret::SecretManifest;

/// One item of a list that is written.
#[derive(Serialize)]
#[serde(transparent)]
pub struct ListItem<'a>(Item<'a>);

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    SealedSecret(WrittenSealedSecret<'a>),
    Other(&'a Value),
    AsRead(Verbatim<'a>),
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

impl<'a> From<Verbatim<'a>> for ListItem<'a> {
    fn from(object: Verbatim<'a>) -> Self {
        Self(Item::AsRead(object))
    }
}

/// Writes a SealedSecret with name, namespace, labels, annotations and spec, and nothing else.
///
/// YAML is in block style with one line a value; scalars that readers of YAML could take for
/// anything but a string are in double quotes. JSON is indented by two spaces. Both end with a line
/// break, which is LF. [`super::SealedSecretObject::read`] gives an equal object back.
pub fn write_sealed_secret(sealed: &SealedSecret, format: Format) -> String {
    let mut text = to_text(&WrittenSealedSecret::from(sealed), format);
    std::mem::take(&mut text)
}

/// Writes a `v1` `List` of these items in the style of [`write_sealed_secret`].
pub fn write_list(items: &[ListItem<'_>], format: Format) -> String {
    let list = WrittenList { api_version: "v1", kind: "List", items };
    let mut text = to_text(&list, format);
    std::mem::take(&mut text)
}

/// Writes any value as YAML in the style of [`write_sealed_secret`], the fields sorted by name.
pub fn write(value: &Value) -> String {
    let mut text = to_text(value, Format::Yaml);
    std::mem::take(&mut text)
}

/// Writes a plain Secret, its values as `data`, in the style of [`write_sealed_secret`].
///
/// The text is wiped when dropped, and so is every copy that was made on the way.
pub fn write_secret(secret: &SecretManifest, format: Format) -> Zeroizing<String> {
    let encoded: BTreeMap<&str, Zeroizing<String>> = secret
        .data
        .iter()
        .map(|(key, value)| (key.as_str(), Zeroizing::new(STANDARD.encode(value.expose()))))
        .collect();
    let written = WrittenSecret {
        api_version: "v1",
        kind: "Secret",
        metadata: WrittenMetadata {
            name: secret.name.as_str(),
            namespace: secret.namespace.as_ref().map(|namespace| namespace.as_str()),
            labels: Some(&secret.labels),
            annotations: Some(&secret.annotations),
        },
        type_: secret.type_.as_deref(),
        immutable: secret.immutable,
        data: encoded.iter().map(|(key, text)| (*key, text.as_str())).collect(),
    };
    to_text(&written, format)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSealedSecret<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: WrittenMetadata<'a>,
    spec: &'a SealedSecretSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSecret<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: WrittenMetadata<'a>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct WrittenMetadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "is_absent_or_empty")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "is_absent_or_empty")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [ListItem<'a>],
}

impl<'a> From<&'a SealedSecret> for WrittenSealedSecret<'a> {
    fn from(sealed: &'a SealedSecret) -> Self {
        Self {
            api_version: "waxseal.dev/v1alpha1",
            kind: "SealedSecret",
            metadata: WrittenMetadata {
                name: sealed.metadata.name.as_deref().unwrap_or_default(),
                namespace: sealed.metadata.namespace.as_deref(),
                labels: sealed.metadata.labels.as_ref(),
                annotations: sealed.metadata.annotations.as_ref(),
            },
            spec: &sealed.spec,
        }
    }
}

fn is_absent_or_empty(strings: &Option<&BTreeMap<String, String>>) -> bool {
    strings.is_none_or(BTreeMap::is_empty)
}

/// Serialises to JSON, whose order of fields is that of the type, and YAML from there.
fn to_text(value: &impl Serialize, format: Format) -> Zeroizing<String> {
    match format {
        Format::Json => json_text(|out| {
            serde_json::to_writer_pretty(&mut *out, value)?;
            out.write_all(b"\n").map_err(serde_json::Error::io)
        }),
        Format::Yaml => yaml_text(&tree(value)),
    }
}

fn tree(value: &impl Serialize) -> Node {
    let text = json_text(|out| serde_json::to_writer(out, value));
    // What serde_json wrote is one JSON value, and no Rust string holds half a surrogate pair.
    json::parse(&text, Place::START, &mut Limits::none()).ok().flatten().expect("one JSON value")
}

/// Runs the writing twice, first to count: a buffer that grows leaves copies behind.
fn json_text(write: impl Fn(&mut dyn io::Write) -> serde_json::Result<()>) -> Zeroizing<String> {
    let mut length = Length(0);
    let mut bytes = Zeroizing::new(Vec::new());
    let written = write(&mut length).and_then(|()| {
        bytes.reserve_exact(length.0);
        write(&mut *bytes)
    });
    // A counter and a vector take everything, and all maps that are written have strings as keys.
    written.expect("JSON in memory");
    // serde_json writes UTF-8.
    Zeroizing::new(String::from_utf8(std::mem::take(&mut bytes)).expect("UTF-8"))
}

fn yaml_text(root: &Node) -> Zeroizing<String> {
    let mut length = Length(0);
    let counted = block_style::write_document(&mut length, root);
    let mut text = Zeroizing::new(String::with_capacity(length.0));
    let written = counted.and_then(|()| block_style::write_document(&mut *text, root));
    // A counter and a string take everything.
    written.expect("YAML in memory");
    text
}

/// Counts the bytes that are written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{DocumentKind, ManifestError, split};
    use super::*;
    use crate::sealed_secret::SealedSecretStatus;

    const FORMATS: [Format; 2] = [Format::Yaml, Format::Json];

    /// Written as the design has it.
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
            _ => panic!("no Secret"),
        }
    }

    fn example() -> SealedSecret {
        read_sealed(SEALED).expect("a SealedSecret")
    }

    #[test]
    fn yaml_has_the_order_of_the_design() {
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

    #[test]
    fn buffers_of_secrets_are_not_moved() {
        for format in FORMATS {
            let text = to_text(&json!({"a": "x\n".repeat(1000), "b": [1, {}]}), format);
            assert_eq!(text.capacity(), text.len());
        }
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

//! Reads a Secret strictly, into types that wipe themselves.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::ManifestError;
use super::metadata::MetadataFields;
use super::node::Node;
use super::unfinished::{RENDER_IT, RESOLVE_IT, holds_conflict, looks_unrendered};
use crate::format::MAX_DATA_KEYS;
use crate::names::DataKey;
use crate::secret::{MAX_SECRET_BYTES, SecretBytes, SecretData, SecretManifest};
use crate::secret_fault::{self, SecretFault};

const UNRENDERED: &str = "looks like a template that was not rendered, and is sealed as it stands";
const OVERRIDDEN: &str = "not sealed: stringData has this key too, and wins, as in Kubernetes";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecretFields<'a> {
    _api_version: Option<IgnoredAny>,
    _kind: Option<IgnoredAny>,
    #[serde(borrow)]
    metadata: MetadataFields<'a>,
    #[serde(rename = "type")]
    type_: Option<String>,
    immutable: Option<bool>,
    // serde only checks these two. Their values are read from the tree, which knows the place of each value.
    #[serde(borrow)]
    _data: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(borrow)]
    _string_data: Option<BTreeMap<&'a str, &'a str>>,
}

/// Reads a Secret whose tree is plain data.
pub(super) fn read(root: &Node) -> Result<SecretManifest, ManifestError> {
    if let Some(sops) = root.value(&["sops"]).filter(|sops| !sops.is_null()) {
        let error = ManifestError::new("this Secret is encrypted with SOPS already").at(sops);
        return Err(error.with_hint("decrypt it first: pipe the output of `sops decrypt` into `waxseal seal`"));
    }
    let fields = SecretFields::deserialize(root)?;
    let metadata = fields.metadata.checked(root)?;
    let manifest = SecretManifest {
        name: metadata.name,
        namespace: metadata.namespace,
        labels: metadata.labels,
        annotations: metadata.annotations,
        type_: fields.type_,
        immutable: fields.immutable,
        data: data(root)?,
    };
    match secret_fault::check_secret(&manifest) {
        Ok(()) => Ok(manifest),
        Err(fault) => Err(ManifestError::new(fault.to_string()).at(node_of(&fault, root).unwrap_or(root))),
    }
}

pub(super) fn warnings(root: &Node, manifest: &SecretManifest) -> Vec<ManifestError> {
    if manifest.data.is_empty() {
        return vec![ManifestError::new("this Secret has no values").at(root)];
    }
    let mut warnings = Vec::new();
    for section in ["data", "stringData"] {
        for (key, value) in root.value(&[section]).into_iter().flat_map(Node::entries) {
            let name = key.scalar().unwrap_or_default();
            let bytes = DataKey::parse(name).ok().and_then(|name| manifest.data.get(&name));
            if section == "data" && root.entry(&["stringData", name]).is_some() {
                warnings.push(ManifestError::new(OVERRIDDEN).at(key));
            } else if bytes.is_some_and(|bytes| looks_unrendered(bytes.expose())) {
                warnings.push(ManifestError::new(UNRENDERED).at(value));
            }
        }
    }
    warnings
}

fn node_of<'a>(fault: &SecretFault, root: &'a Node) -> Option<&'a Node> {
    let key = |path: &[&str]| root.entry(path).map(|(key, _)| key);
    match fault {
        SecretFault::MissingData(_) => root.value(&["type"]),
        SecretFault::NotJson(key) => root.value(&["stringData", key]).or_else(|| root.value(&["data", key])),
        SecretFault::LabelKey(name) => key(&["metadata", "labels", name]),
        SecretFault::LabelValue(name) => root.value(&["metadata", "labels", name]),
        SecretFault::AnnotationKey(name) => key(&["metadata", "annotations", name]),
        SecretFault::AnnotationSize => root.value(&["metadata", "annotations"]),
    }
}

/// The values of `data`, and over them those of `stringData`, as in the API server.
fn data(root: &Node) -> Result<SecretData, ManifestError> {
    let mut data = SecretData::new();
    for (section, to_bytes) in [("data", decoded as fn(&str) -> _), ("stringData", plain)] {
        for (key, value) in root.value(&[section]).into_iter().flat_map(Node::entries) {
            let (name, text) = (key.scalar().unwrap_or_default(), value.scalar().unwrap_or_default());
            let name = DataKey::parse(name).map_err(|error| ManifestError::new(error.to_string()).at(key))?;
            data.insert(name, to_bytes(text).map_err(|error: ManifestError| error.at(value))?);
        }
    }
    if data.len() > MAX_DATA_KEYS {
        return Err(ManifestError::new(format!("more than {MAX_DATA_KEYS} data keys")).at(root));
    }
    if data.values().map(|value: &SecretBytes| value.expose().len()).sum::<usize>() > MAX_SECRET_BYTES {
        return Err(ManifestError::new("more than 1 MiB of data, which is the limit for a Secret").at(root));
    }
    Ok(data)
}

fn plain(text: &str) -> Result<SecretBytes, ManifestError> {
    if holds_conflict(text) {
        return Err(ManifestError::new("a Git conflict is in this value").with_hint(RESOLVE_IT));
    }
    Ok(SecretBytes::new(text.as_bytes().to_vec()))
}

/// Decodes base64 (RFC 4648 §4). Ignores CR and LF, as Go does.
fn decoded(text: &str) -> Result<SecretBytes, ManifestError> {
    let line: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    if let Ok(bytes) = STANDARD.decode(line) {
        return Ok(SecretBytes::new(bytes));
    }
    let hint = if looks_unrendered(text.as_bytes()) { RENDER_IT } else { "plain text belongs under stringData" };
    Err(ManifestError::new("not base64").with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::super::object::DocumentKind;
    use super::super::stream::split;
    use super::*;

    const HEAD: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n";

    fn read_text(text: &str) -> Result<SecretManifest, ManifestError> {
        let stream = split(text)?;
        let DocumentKind::Secret(secret) = stream.documents[0].kind()? else {
            panic!("{text} is not a Secret");
        };
        secret.read()
    }

    fn refusal(body: &str) -> ManifestError {
        match read_text(&format!("{HEAD}{body}")) {
            Ok(_) => panic!("{body} was read"),
            Err(error) => error,
        }
    }

    fn value<'a>(secret: &'a SecretManifest, key: &str) -> &'a [u8] {
        secret.data[&DataKey::parse(key).expect("a data key")].expose()
    }

    #[test]
    fn only_fields_that_a_person_decides_are_kept() {
        let secret = read_text(
            "apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: shop
  labels: {app: shop}
  annotations:
    note: kept
    kapp.k14s.io/change-group: kept
    kapp.k14s.io/original: '{\"data\":{}}'
    kapp.k14s.io/original-diff-md5: abc
    objectset.rio.cattle.io/applied: H4sI
    kubectl.kubernetes.io/last-applied-configuration: |
      {\"data\":{}}
  uid: 3b241101-e2bb-4255-8caf-4136c566a962
  resourceVersion: \"1\"
  generation: 1
  creationTimestamp: null
  managedFields: [{fieldsV1: {f:data: {.: {}}}}]
  ownerReferences: []
  finalizers: []
type: Opaque
immutable: true
data:
  A: aGVsbG8=
  B: |
    aGVs
    bG8=
  C: ''
stringData:
  A: over
  text: |
    two
    lines
",
        );
        let secret = secret.expect("a Secret");
        assert_eq!((secret.name.as_str(), secret.namespace.as_ref().map(|n| n.as_str())), ("db", Some("shop")));
        assert_eq!(secret.labels.keys().collect::<Vec<_>>(), ["app"]);
        assert_eq!(secret.annotations.keys().collect::<Vec<_>>(), ["kapp.k14s.io/change-group", "note"]);
        assert_eq!((secret.type_.as_deref(), secret.immutable), (Some("Opaque"), Some(true)));
        assert_eq!(value(&secret, "A"), b"over");
        assert_eq!(value(&secret, "B"), b"hello");
        assert_eq!(value(&secret, "C"), b"");
        assert_eq!(value(&secret, "text"), b"two\nlines\n");
    }

    #[test]
    fn absent_null_and_empty_data_are_the_same() {
        for body in ["", "data: {}\n", "data: null\nstringData:\n", "type: ~\nimmutable: null\n"] {
            let secret = read_text(&format!("{HEAD}{body}")).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert!(secret.data.is_empty() && secret.type_.is_none() && secret.immutable.is_none(), "{body}");
        }
    }

    #[test]
    fn json_is_read_the_same_way() {
        let json =
            r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"stringData":{"A":"\ud83d\ude00\/"}}"#;
        assert_eq!(value(&read_text(json).expect("a Secret"), "A"), "😀/".as_bytes());
        let json = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"db\"},\n\"stringData\":{\"A\":\"x\",\n \"A\":\"y\"}}";
        let error = read_text(json).expect_err("twice");
        assert_eq!(
            (error.to_string().as_str(), error.place()),
            ("stringData.A: given twice, first on line 2", Some((3, 2)))
        );
        let json = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"stringData":{"A":1}}"#;
        assert_eq!(read_text(json).expect_err("a number").to_string(), "stringData.A: must be a string, not a number");
    }

    #[test]
    fn a_value_that_would_change_silently_is_refused() {
        let error = refusal("stringData:\n  LEVEL: 0777\n");
        assert_eq!(error.to_string(), "stringData.LEVEL: YAML versions disagree on what this unquoted value is");
        assert_eq!((error.place(), error.hint()), (Some((5, 10)), Some("write it in quotes")));
        for scalar in ["no", "1_000", "1.10", "1e3", "2001-01-01", "~", "", "true", "{}", "[]"] {
            for section in ["data", "stringData"] {
                let error = refusal(&format!("{section}:\n  LEVEL: {scalar}\n"));
                assert_eq!(error.path(), format!("{section}.LEVEL"), "{scalar}");
            }
        }
        let error = refusal("data:\n  PASSWORD: YQ==\n  OTHER: YQ==\n  PASSWORD: Yg==\n");
        assert_eq!(error.to_string(), "data.PASSWORD: given twice, first on line 5");
        assert_eq!(error.place(), Some((7, 3)));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (body, expected, hint) in [
            ("stringdata: {}\n", "unknown field \"stringdata\"", Some("did you mean \"stringData\"?")),
            ("status: {}\n", "unknown field \"status\"", None),
            ("\"my secret\": {}\n", "unknown field \"…\"", None),
            ("immutable: yes\n", "immutable: must be true or false", None),
            ("type: 1\n", "type: must be a string, not a number", Some("write it in quotes")),
            ("data: x\n", "data: must be a mapping, not a string", None),
            (
                "x: &a 1\n",
                "x: anchors are not allowed",
                Some("put a value that begins with & or * in quotes, or write the value out at each place"),
            ),
        ] {
            let error = refusal(body);
            assert_eq!((error.to_string().as_str(), error.hint()), (expected, hint), "{body}");
        }
    }

    #[test]
    fn a_secret_that_sops_encrypted_is_refused_as_that() {
        let error = refusal("data: {A: 'ENC[AES256_GCM,data:x,type:str]'}\nsops:\n  version: 3.9.0\n");
        assert_eq!(error.to_string(), "sops: this Secret is encrypted with SOPS already");
        assert_eq!(
            (error.place(), error.hint()),
            (Some((6, 3)), Some("decrypt it first: pipe the output of `sops decrypt` into `waxseal seal`"))
        );
    }

    #[test]
    fn a_conflict_in_a_value_is_refused() {
        let error = refusal("stringData: {A:\n<<<<<<< HEAD\n x\n=======\n y\n>>>>>>> main\n}\n");
        assert_eq!(error.to_string(), "stringData.A: a Git conflict is in this value");
        assert_eq!((error.place(), error.hint()), (Some((5, 1)), Some("resolve the conflict first")));
    }

    #[test]
    fn what_the_api_server_refuses_has_its_place() {
        let head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n";
        let labels = "1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, perhaps after a DNS name and '/'";
        let long = "x".repeat(256 * 1024);
        for (body, expected, place) in [
            (
                "type: kubernetes.io/tls\ndata: {tls.crt: ''}",
                "type: a Secret of this type needs the data keys tls.crt and tls.key".to_owned(),
                (5, 7),
            ),
            (
                "type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: hunter2",
                "stringData..dockerconfigjson: must be a JSON object in a Secret of this type".to_owned(),
                (7, 22),
            ),
            (
                "type: kubernetes.io/dockercfg\ndata:\n  .dockercfg: aHVudGVyMg==",
                "data..dockercfg: must be a JSON object in a Secret of this type".to_owned(),
                (7, 15),
            ),
            ("  labels: {my app: x}", format!("metadata.labels.…: the key of a label must be {labels}"), (5, 12)),
            (
                "  labels:\n    app: my app",
                "metadata.labels.app: the value of a label must be at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit".to_owned(),
                (6, 10),
            ),
            ("  annotations: {/x: z}", format!("metadata.annotations./x: the key of an annotation must be {labels}"), (5, 17)),
            (
                &format!("  annotations:\n    a: {long}"),
                "metadata.annotations: larger than 256 KiB, which is the limit for an object's annotations".to_owned(),
                (6, 5),
            ),
        ] {
            let error = read_text(&format!("{head}{body}\n")).expect_err("refused");
            assert_eq!((error.to_string(), error.place()), (expected, Some(place)));
        }
        let dropped = format!("  annotations: {{kubectl.kubernetes.io/last-applied-configuration: {long}}}\n");
        assert!(read_text(&format!("{head}{dropped}")).is_ok());
    }

    #[test]
    fn warnings_have_a_place() {
        let warnings = |body: &str| {
            let text = format!("{HEAD}{body}");
            let stream = split(&text).expect("a stream");
            let Ok(DocumentKind::Secret(secret)) = stream.documents[0].kind() else {
                panic!("{text} is not a Secret");
            };
            let warnings = secret.warnings(&secret.read().expect("a good Secret"));
            warnings.iter().map(|warning| (warning.to_string(), warning.place())).collect::<Vec<_>>()
        };
        let empty = [("this Secret has no values".to_owned(), Some((1, 1)))];
        assert_eq!(warnings(""), empty);
        assert_eq!(warnings("data: {}\nstringData: ~\n"), empty);
        assert_eq!(warnings("stringData: {A: ''}\n"), []);
        let unrendered = "looks like a template that was not rendered, and is sealed as it stands";
        let overridden = "{}: not sealed: stringData has this key too, and wins, as in Kubernetes";
        assert_eq!(
            warnings("data:\n  A: e3sgLmEgfX0=\n  B: aGk=\nstringData:\n  B: ${B}\n  C: plain\n"),
            [
                (format!("data.A: {unrendered}"), Some((5, 6))),
                (overridden.replace("{}", "data.B"), Some((6, 3))),
                (format!("stringData.B: {unrendered}"), Some((8, 6))),
            ]
        );
        assert_eq!(refusal("data: {A: '<path:a#b>'}\n").hint(), Some("this looks like a template: render it first"));
    }

    #[test]
    fn metadata_is_strict() {
        for (metadata, expected) in [
            ("{}", "metadata: field \"name\" is missing"),
            ("null", "metadata: must be a mapping, not null"),
            (
                "{name: A}",
                "metadata.name: a name must be 1 to 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
            ),
            ("{name: 1}", "metadata.name: must be a string, not a number"),
            (
                "{name: a, namespace: a.b}",
                "metadata.namespace: a namespace must be 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
            ),
            (
                "{name: a, generateName: a-}",
                "metadata.generateName: values are bound to a name, so it cannot be generated",
            ),
            ("{name: a, lables: {}}", "metadata: unknown field \"lables\""),
            (
                "{name: a, labels: {app: no}}",
                "metadata.labels.app: YAML versions disagree on what this unquoted value is",
            ),
            (
                "{name: a, labels: {on: x}}",
                "metadata.labels.on: this unquoted key is not a string to every reader of YAML",
            ),
        ] {
            let error =
                read_text(&format!("apiVersion: v1\nkind: Secret\nmetadata: {metadata}\n")).expect_err(metadata);
            assert_eq!(error.to_string(), expected, "{metadata}");
        }
    }

    #[test]
    fn base64_is_standard_padded_and_canonical() {
        for text in
            ["aGVsbG8", "aGVsbG8=x", "aGVsbG9=", "aGVs bG8=", "-_-_", "hunter2", "\"aGVs\\tbG8=\"", "=", "aGVsbG8=="]
        {
            let error = refusal(&format!("data:\n  A: !!str {text}\n"));
            assert_eq!(error.to_string(), "data.A: not base64", "{text}");
            assert_eq!(error.hint(), Some("plain text belongs under stringData"));
        }
        let secret = read_text(&format!("{HEAD}data: {{A: \"aGVs\\r\\nbG8=\\n\"}}")).expect("as Go reads it");
        assert_eq!(value(&secret, "A"), b"hello");
    }

    #[test]
    fn data_keys_and_the_size_of_data_have_limits() {
        let error = refusal("data: {../x: ''}\n");
        assert!(error.to_string().starts_with("data.../x: a data key must be "), "{error}");
        let keys = |count: usize| (0..count).map(|n| format!("  k{n}: ''\n")).collect::<String>();
        assert!(read_text(&format!("{HEAD}data:\n{}", keys(256))).is_ok());
        assert_eq!(refusal(&format!("data:\n{}", keys(257))).to_string(), "more than 256 data keys");
        let half = "x".repeat(MAX_SECRET_BYTES / 2);
        assert!(read_text(&format!("{HEAD}stringData: {{a: {half}, b: {half}}}\n")).is_ok());
        let error = refusal(&format!("stringData: {{a: {half}, b: {half}x}}\n"));
        assert_eq!(error.to_string(), "more than 1 MiB of data, which is the limit for a Secret");
    }

    #[test]
    fn one_key_in_two_spellings_counts_as_given_twice() {
        for (first, second) in
            [("A", "\"A\""), ("A", "'A'"), ("A", "\"\\x41\""), ("A", "\"\\u0041\""), ("!!str A", "A"), ("A", "? A\n  ")]
        {
            let error = refusal(&format!("data:\n  {first}: YQ==\n  {second}: Yg==\n"));
            assert_eq!(error.to_string(), "data.A: given twice, first on line 5", "{second}");
        }
        let head = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"}"#;
        let error = read_text(&format!(r#"{head},"data":{{"A":"","\u0041":""}}}}"#)).expect_err("twice");
        assert_eq!(error.to_string(), "data.A: given twice, first on line 1");
        let error = read_text(&format!(r#"{head},"metadata":{{"name":"db"}}}}"#)).expect_err("twice");
        assert_eq!(error.to_string(), "metadata: given twice, first on line 1");
    }

    #[test]
    fn keys_that_only_look_like_data_keys_are_refused() {
        // Composed and decomposed (Unicode NFC and NFD), full width, Cyrillic, a zero-width space.
        for key in ["caf\u{e9}", "cafe\u{301}", "\u{ff21}", "\u{410}", "A\u{200b}"] {
            for section in ["data", "stringData"] {
                let error = refusal(&format!("{section}: {{{key}: ''}}\n"));
                assert!(error.to_string().starts_with(&format!("{section}.…: a data key must be ")), "{error}");
            }
        }
    }

    #[test]
    fn base64_of_a_value_has_one_spelling_except_for_line_breaks() {
        for text in ["YQ==", "Y\\nQ==", "YQ=\\r\\n=", "\\nYQ==\\n"] {
            let secret = read_text(&format!("{HEAD}data: {{A: \"{text}\"}}\n"));
            assert_eq!(value(&secret.unwrap_or_else(|error| panic!("{text}: {error}")), "A"), b"a");
        }
        // Go accepts one of these: `YR==`, whose unused bits are not zero.
        for text in ["YQ", "YQ=", "YQ===", "YQ==YQ==", "YR==", "YQ== ", "Y Q==", "YQ==\\0", "YQ%3D%3D"] {
            assert_eq!(refusal(&format!("data: {{A: \"{text}\"}}\n")).to_string(), "data.A: not base64", "{text}");
        }
    }

    #[test]
    fn names_with_a_nul_or_a_line_break_are_refused_and_not_shown() {
        for text in ["d\\0b", "d\\nb", "db\\n", "d\\rb", "d\\u2028b", "d\\eb", "../db", "d/b"] {
            let metadata = format!("{{name: \"{text}\"}}");
            let error = read_text(&format!("apiVersion: v1\nkind: Secret\nmetadata: {metadata}\n")).expect_err(text);
            assert!(error.to_string().starts_with("metadata.name: a name must be "), "{error}");
            let metadata = format!("{{name: db, namespace: \"{text}\"}}");
            let error = read_text(&format!("apiVersion: v1\nkind: Secret\nmetadata: {metadata}\n")).expect_err(text);
            assert!(error.to_string().starts_with("metadata.namespace: a namespace must be "), "{error}");
            let error = refusal(&format!("data: {{\"{}\": ''}}\n", text.replace("..", ".\\0.")));
            let said = error.to_string();
            assert!(said.contains(": a data key must be ") && !said.contains(char::is_control), "{said:?}");
        }
    }
}

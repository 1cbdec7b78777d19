//! Reads a SealedSecret strictly, into the type of the API.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::MAX_OBJECT_BYTES;
use super::error::{ManifestError, UPDATE};
use super::metadata::MetadataFields;
use super::node::Node;
use crate::format::{Check, Fault};
use crate::sealed_secret::{SealedSecret, SealedSecretSpec};

const SEAL_THEM: &str = "put plain values into a Secret, and seal that";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SealedSecretFields<'a> {
    _api_version: Option<IgnoredAny>,
    _kind: Option<IgnoredAny>,
    #[serde(borrow)]
    metadata: MetadataFields<'a>,
    spec: SealedSecretSpec,
    _status: Option<IgnoredAny>,
}

/// Reads a SealedSecret whose tree is plain data.
pub(super) fn read(root: &Node) -> Result<SealedSecret, ManifestError> {
    if root.json_bytes() > MAX_OBJECT_BYTES {
        return Err(ManifestError::too_large("larger than 1.5 MiB, which is the limit for an object").at(root));
    }
    let fields = SealedSecretFields::deserialize(root).map_err(ManifestError::suggest_update)?;
    let metadata = fields.metadata.checked(root)?;
    let not_empty = |strings: BTreeMap<_, _>| Some(strings).filter(|strings| !strings.is_empty());
    let mut sealed = SealedSecret::new(metadata.name.as_str(), fields.spec);
    sealed.metadata.namespace = metadata.namespace.map(|namespace| namespace.as_str().to_owned());
    sealed.metadata.labels = not_empty(metadata.labels);
    sealed.metadata.annotations = not_empty(metadata.annotations);
    Ok(sealed)
}

/// Refuses values that should have been sealed: `data` and `stringData`, and strings under `encryptedData` that do not
/// begin with `wax1.`.
pub(super) fn refuse_plain_values(root: &Node) -> Result<(), ManifestError> {
    for (key, _) in [Some(root), root.value(&["spec"])].into_iter().flatten().flat_map(Node::entries) {
        if key.scalar() == Some("data") || key.scalar() == Some("stringData") {
            return Err(ManifestError::new("these values are not sealed").at(key).with_hint(SEAL_THEM));
        }
    }
    for (_, value) in root.value(&["spec", "encryptedData"]).into_iter().flat_map(Node::entries) {
        let Some(text) = value.string().filter(|text| !text.starts_with("wax1.")) else { continue };
        let hint = if is_token_of_some_version(text) { UPDATE } else { SEAL_THEM };
        return Err(ManifestError::new(Fault::from(Check::TokenVersion).to_string()).at(value).with_hint(hint));
    }
    Ok(())
}

/// Whether a value begins with `wax`, the number of a version and a dot, as tokens do.
fn is_token_of_some_version(text: &str) -> bool {
    let version = text.strip_prefix("wax").and_then(|rest| Some(rest.split_once('.')?.0));
    version.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::MAX_OBJECT_BYTES;
    use super::super::object::DocumentKind;
    use super::super::stream::split;
    use super::*;
    use crate::sealed_secret::Scope;

    fn read_text(text: &str) -> Result<SealedSecret, ManifestError> {
        let stream = split(text)?;
        let document = stream.documents.last().expect("a document");
        let DocumentKind::SealedSecret(sealed) = document.kind()? else {
            panic!("{text} is not a SealedSecret");
        };
        sealed.read()
    }

    fn with_spec(spec: &str) -> Result<SealedSecret, ManifestError> {
        read_text(&format!("apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {{name: db}}\n{spec}"))
    }

    #[test]
    fn a_sealed_secret_is_read_as_it_stands() {
        let sealed = read_text(
            "apiVersion: waxseal.dev/v1alpha1
kind: SealedSecret
metadata: {name: db, namespace: shop, labels: {}, annotations: {a: b}, creationTimestamp: null}
spec:
  scope: Namespace
  envelopes:
    e7f3a9c21e0:
      boundTo: {namespace: shop}
      commitment: 3q2+7w==
      wraps: {k2f41ab09c3d4e5f6: YWdl.Zm9v}
  encryptedData: {A: wax1.e7f3a9c21e0.Zm9v}
  template:
    type: Opaque
    immutable: false
    metadata: {labels: {app: shop}}
status: {anything: [1]}
",
        )
        .expect("a SealedSecret");
        assert_eq!(sealed.metadata.name.as_deref(), Some("db"));
        assert_eq!(sealed.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!((sealed.metadata.labels, sealed.metadata.annotations.map(|a| a.len())), (None, Some(1)));
        assert_eq!((sealed.spec.scope, sealed.status), (Some(Scope::Namespace), None));
        let envelope = &sealed.spec.envelopes["e7f3a9c21e0"];
        assert_eq!(envelope.bound_to.namespace.as_deref(), Some("shop"));
        assert_eq!(envelope.wraps["k2f41ab09c3d4e5f6"], "YWdl.Zm9v");
        let template = sealed.spec.template.expect("a template");
        assert_eq!((template.type_.as_deref(), template.immutable), (Some("Opaque"), Some(false)));
    }

    #[test]
    fn null_means_an_absent_field_and_is_refused_as_a_value_of_a_map() {
        let absent = with_spec("spec: {}").expect("a SealedSecret").spec;
        for spec in [
            "spec: {scope: ~, envelopes: ~, encryptedData: null, template:}",
            "spec: {template: {type: ~, immutable: ~, metadata: ~}}",
            "spec: {template: {metadata: {labels: ~, annotations: ~}}}",
        ] {
            let mut read = with_spec(spec).expect(spec).spec;
            read.template =
                read.template.filter(|template| template.metadata.as_ref().is_some_and(|m| !m.labels.is_empty()));
            assert_eq!(read, absent, "{spec}");
        }
        let bound =
            with_spec("spec: {envelopes: {e1: {boundTo: ~, commitment: a, wraps: {}}}}").expect("a SealedSecret");
        assert!(bound.spec.envelopes["e1"].bound_to.is_empty());
        for (spec, expected) in [
            ("spec: {encryptedData: {A: ~}}", "spec.encryptedData.A: must be a string, not null"),
            ("spec: {envelopes: {e1: ~}}", "spec.envelopes.e1: must be a mapping, not null"),
        ] {
            assert_eq!(with_spec(spec).expect_err(spec).to_string(), expected);
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place() {
        for (spec, expected, line) in [
            ("", "field \"spec\" is missing", 1),
            ("spec: {scope: strict}", "spec.scope: must be one of Strict, Namespace, Cluster", 4),
            ("spec:\n  envelope: {}", "spec: unknown field \"envelope\"", 5),
            ("spec: {}\nspecs: {}", "unknown field \"specs\"", 5),
            ("spec:\n  envelopes:\n    e1: {wraps: {}}", "spec.envelopes.e1: field \"commitment\" is missing", 6),
            (
                "spec:\n  encryptedData:\n    0123456701: x",
                "spec.encryptedData.0123456701: this unquoted key is not a string to every reader of YAML",
                6,
            ),
            ("spec:\n  encryptedData: {A: 1e3}", "spec.encryptedData.A: must be a string, not a number", 5),
            ("spec:\n  encryptedData: {A: x, A: y}", "spec.encryptedData.A: given twice, first on line 5", 5),
            ("spec:\n  template: {immutable: 'true'}", "spec.template.immutable: must be true or false", 5),
        ] {
            let error = with_spec(spec).expect_err(spec);
            assert_eq!(error.to_string(), expected, "{spec}");
            assert_eq!(error.place().map(|(line, _)| line), Some(line), "{spec}");
        }
    }

    #[test]
    fn values_in_plain_text_are_found_with_their_place() {
        let check = |spec: &str| {
            let text = format!("apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {{name: db}}\n{spec}");
            let stream = split(&text)?;
            let DocumentKind::SealedSecret(sealed) = stream.documents[0].kind()? else {
                panic!("{text} is not a SealedSecret");
            };
            sealed.check_values()
        };
        let token = "not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"";
        for (spec, expected, place) in [
            ("stringData: {A: b}", "stringData: these values are not sealed".to_owned(), (4, 1)),
            ("spec: {data: {A: aGk=}}", "spec.data: these values are not sealed".to_owned(), (4, 8)),
            ("spec:\n  stringData: {A: b}", "spec.stringData: these values are not sealed".to_owned(), (5, 3)),
            ("spec: {encryptedData: {A: wax1.x, B: b}}", format!("spec.encryptedData.B: {token}"), (4, 38)),
            ("spec: {encryptedData: {A: ''}}", format!("spec.encryptedData.A: {token}"), (4, 27)),
        ] {
            let error = check(spec).expect_err(spec);
            assert_eq!((error.to_string(), error.place()), (expected, Some(place)), "{spec}");
            assert_eq!(error.hint(), Some("put plain values into a Secret, and seal that"));
        }
        let newer = check("spec: {encryptedData: {A: wax2.x}}").expect_err("a newer version");
        assert_eq!(newer.hint(), Some("update Waxseal, if a newer version wrote this"));
        for plain in ["wax.x", "waxen.x", "wax2", "WAX2.x"] {
            let error = check(&format!("spec: {{encryptedData: {{A: {plain}}}}}")).expect_err(plain);
            assert_eq!(error.hint(), Some("put plain values into a Secret, and seal that"), "{plain}");
        }
        for (spec, expected) in [
            ("spec: {template: {data: {A: b}}}", "spec.template: unknown field \"data\""),
            ("spec: {encryptedData: {A: 5}}", "spec.encryptedData.A: must be a string, not a number"),
            ("spec: [a]", "spec: must be a mapping, not a list"),
            ("", "field \"spec\" is missing"),
        ] {
            assert_eq!(check(spec).expect_err(spec).to_string(), expected);
        }
        assert_eq!(check("spec: {encryptedData: {A: wax1.x}}"), Ok(()));
        assert_eq!(check("spec: {}"), Ok(()));
    }

    #[test]
    fn an_object_larger_than_the_limit_of_etcd_is_refused() {
        let json = |bytes: usize| {
            let head = r#"{"apiVersion":"waxseal.dev/v1alpha1","kind":"SealedSecret","metadata":{"name":"db"},"spec":{},"status":{"x":""#;
            format!("{head}{}\"}}}}", "x".repeat(bytes - head.len() - 3))
        };
        assert!(read_text(&json(MAX_OBJECT_BYTES)).is_ok());
        assert!(read_text(&format!("# as JSON\n---\n{}\n", json(MAX_OBJECT_BYTES).replace("}}", "  }}"))).is_ok());
        let error = read_text(&json(MAX_OBJECT_BYTES + 1)).expect_err("larger");
        assert_eq!(error.to_string(), "larger than 1.5 MiB, which is the limit for an object");
        assert_eq!(error.place(), Some((1, 1)));
    }

    #[test]
    fn one_key_in_two_spellings_counts_as_given_twice() {
        for (section, first, second) in [
            ("encryptedData", "A", "\"\\x41\""),
            ("envelopes", "e7f3a9c21e0", "'e7f3a9c21e0'"),
            ("envelopes", "e7f3a9c21e0", "!!str e7f3a9c21e0"),
        ] {
            let error = with_spec(&format!("spec:\n  {section}: {{{first}: x, {second}: x}}")).expect_err(second);
            assert_eq!(error.to_string(), format!("spec.{section}.{first}: given twice, first on line 5"));
        }
    }
}

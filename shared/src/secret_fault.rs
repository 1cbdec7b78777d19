//! Faults for which the API server would refuse a Secret, found before sealing.
//!
//! The rules are those of `ValidateSecret` in Kubernetes' `pkg/apis/core/validation` and of
//! `ValidateObjectMeta`, which it calls. Names and the size of the data are checked where they are read.

use serde::de::IgnoredAny;
use thiserror::Error;

use crate::names::{is_label_key, is_label_value};
use crate::secret::{SecretBytes, SecretData, SecretManifest};

/// The greatest size of an object's annotations, keys and values together: 256 KiB
/// (`TotalAnnotationSizeLimitB` in `k8s.io/apimachinery/pkg/api/validation`).
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// Why the API server would refuse a Secret. The text shows no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SecretFault {
    /// The data lacks what the type demands.
    #[error("a Secret of this type needs {0}")]
    MissingData(&'static str),
    /// The value of this data key has to be a JSON object, as the type demands.
    #[error("must be a JSON object in a Secret of this type")]
    NotJson(&'static str),
    /// A label has a key that Kubernetes refuses. Holds this key.
    #[error("the key of a label must be {KEY_FORM}")]
    LabelKey(String),
    /// A label has a value that Kubernetes refuses. Holds the key of the label.
    #[error(
        "the value of a label must be at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
    )]
    LabelValue(String),
    /// An annotation has a key that Kubernetes refuses. Holds this key.
    #[error("the key of an annotation must be {KEY_FORM}")]
    AnnotationKey(String),
    /// All annotations together are too large.
    #[error("larger than 256 KiB, which is the limit for an object's annotations")]
    AnnotationSize,
}

const KEY_FORM: &str = "1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, perhaps after a DNS name and '/'";

pub(crate) fn check_secret(secret: &SecretManifest) -> Result<(), SecretFault> {
    check_labels(secret)?;
    check_annotations(secret)?;
    check_type(secret.type_.as_deref().unwrap_or_default(), &secret.data)
}

fn check_labels(secret: &SecretManifest) -> Result<(), SecretFault> {
    for (key, value) in &secret.labels {
        if !is_label_key(key) {
            return Err(SecretFault::LabelKey(key.clone()));
        }
        if !is_label_value(value) {
            return Err(SecretFault::LabelValue(key.clone()));
        }
    }
    Ok(())
}

fn check_annotations(secret: &SecretManifest) -> Result<(), SecretFault> {
    if let Some(key) = secret.annotations.keys().find(|key| !is_label_key(&key.to_lowercase())) {
        return Err(SecretFault::AnnotationKey(key.clone()));
    }
    let size: usize = secret.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_ANNOTATION_BYTES { Err(SecretFault::AnnotationSize) } else { Ok(()) }
}

fn check_type(type_: &str, data: &SecretData) -> Result<(), SecretFault> {
    let value = |name| data.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value);
    let has = |name| value(name).is_some();
    let docker_config = |name, needed| match value(name) {
        None => Err(SecretFault::MissingData(needed)),
        Some(value) if is_json_object(value) => Ok(()),
        Some(_) => Err(SecretFault::NotJson(name)),
    };
    let needed = match type_ {
        "kubernetes.io/dockercfg" => return docker_config(".dockercfg", "the data key .dockercfg"),
        "kubernetes.io/dockerconfigjson" => {
            return docker_config(".dockerconfigjson", "the data key .dockerconfigjson");
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => "the data key username or password",
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(|key| key.expose().is_empty()) => {
            "the data key ssh-privatekey, and a value for it"
        }
        "kubernetes.io/tls" if !has("tls.crt") || !has("tls.key") => "the data keys tls.crt and tls.key",
        _ => return Ok(()),
    };
    Err(SecretFault::MissingData(needed))
}

/// Whether Go can read the value as JSON into a map: an object, or `null`.
fn is_json_object(value: &SecretBytes) -> bool {
    let start = value.expose().trim_ascii_start();
    (start.starts_with(b"{") || start.starts_with(b"null"))
        && serde_json::from_slice::<IgnoredAny>(value.expose()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::DataKey;

    fn outcome(type_: &str, data: &[(&str, &str)]) -> Result<(), SecretFault> {
        let data: SecretData = data
            .iter()
            .map(|(key, value)| (DataKey::parse(key).expect("a data key"), SecretBytes::new(value.as_bytes().to_vec())))
            .collect();
        check_secret(&SecretManifest { type_: Some(type_.to_owned()), ..SecretManifest::of_data(data) })
    }

    #[test]
    fn each_type_has_the_data_that_kubernetes_demands() {
        for (type_, data) in [
            ("", &[][..]),
            ("Opaque", &[]),
            ("example.test/any", &[]),
            ("kubernetes.io/tls", &[("tls.crt", ""), ("tls.key", "not PEM")]),
            ("kubernetes.io/basic-auth", &[("username", "")]),
            ("kubernetes.io/basic-auth", &[("password", "")]),
            ("kubernetes.io/ssh-auth", &[("ssh-privatekey", "x")]),
            ("kubernetes.io/dockercfg", &[(".dockercfg", " {}\n")]),
            ("kubernetes.io/dockerconfigjson", &[(".dockerconfigjson", "{\"auths\": {}}")]),
            ("kubernetes.io/dockerconfigjson", &[(".dockerconfigjson", "null")]),
        ] {
            assert_eq!(outcome(type_, data), Ok(()), "{type_}");
        }
        for (type_, data, expected) in [
            ("kubernetes.io/tls", &[][..], "a Secret of this type needs the data keys tls.crt and tls.key"),
            ("kubernetes.io/tls", &[("tls.crt", "x")], "a Secret of this type needs the data keys tls.crt and tls.key"),
            (
                "kubernetes.io/basic-auth",
                &[("user", "x")],
                "a Secret of this type needs the data key username or password",
            ),
            (
                "kubernetes.io/ssh-auth",
                &[],
                "a Secret of this type needs the data key ssh-privatekey, and a value for it",
            ),
            (
                "kubernetes.io/ssh-auth",
                &[("ssh-privatekey", "")],
                "a Secret of this type needs the data key ssh-privatekey, and a value for it",
            ),
            (
                "kubernetes.io/dockercfg",
                &[(".dockerconfigjson", "{}")],
                "a Secret of this type needs the data key .dockercfg",
            ),
            (
                "kubernetes.io/dockerconfigjson",
                &[(".dockercfg", "{}")],
                "a Secret of this type needs the data key .dockerconfigjson",
            ),
        ] {
            assert_eq!(outcome(type_, data).expect_err(type_).to_string(), expected);
        }
        for value in ["", "x", "[]", "{", "{} {}", "\"{}\"", "{\"auths\": hunter2}"] {
            let error = outcome("kubernetes.io/dockerconfigjson", &[(".dockerconfigjson", value)]).expect_err(value);
            assert_eq!(error.to_string(), "must be a JSON object in a Secret of this type");
        }
    }

    fn with_metadata(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Result<(), SecretFault> {
        let map = |entries: &[(&str, &str)]| {
            entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        check_secret(&SecretManifest {
            labels: map(labels),
            annotations: map(annotations),
            ..SecretManifest::of_data([])
        })
    }

    #[test]
    fn labels_and_annotations_are_those_of_kubernetes() {
        assert_eq!(
            with_metadata(&[("app", ""), ("example.com/A", "B_1")], &[("Example.COM/a", "any text, é")]),
            Ok(())
        );
        assert_eq!(with_metadata(&[("my app", "")], &[]), Err(SecretFault::LabelKey("my app".to_owned())));
        assert_eq!(with_metadata(&[("app", "a b")], &[]), Err(SecretFault::LabelValue("app".to_owned())));
        assert_eq!(
            with_metadata(&[("Example.com/a", "")], &[]),
            Err(SecretFault::LabelKey("Example.com/a".to_owned()))
        );
        assert_eq!(with_metadata(&[], &[("a b", "")]), Err(SecretFault::AnnotationKey("a b".to_owned())));
        let most = "x".repeat(MAX_ANNOTATION_BYTES - 1);
        assert_eq!(with_metadata(&[], &[("a", &most)]), Ok(()));
        assert_eq!(with_metadata(&[], &[("a", &most), ("b", "")]), Err(SecretFault::AnnotationSize));
    }
}

//! What a SealedSecret may ask of the Secret beside its values.

use std::str::FromStr;

use thiserror::Error;

use crate::format::Check;
use crate::sealed_secret::Template;

/// The prefix of the labels and annotations that only Waxseal writes.
pub const OWN_PREFIX: &str = "waxseal.dev/";

/// Types of Secrets that give rights of their own, which nobody may ask for through a SealedSecret.
pub const FORBIDDEN_TYPES: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Prefixes of the labels and annotations by which known replicators copy a Secret elsewhere: with
/// them, whoever edits the file would carry a value out of its namespace.
pub const REPLICATOR_PREFIXES: [&str; 7] = [
    "reflector.v1.k8s.emberstack.com/",
    "replicator.v1.mittwald.de/",
    "kubed.appscode.com/",
    "cluster.open-cluster-management.io/",
    "propagate.hnc.x-k8s.io/",
    "replicator.nadundesilva.github.io/",
    "management.cattle.io/",
];

/// The beginning of labels and annotations that an operator forbids beside [`REPLICATOR_PREFIXES`]; not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForbiddenPrefix(String);

impl ForbiddenPrefix {
    /// The prefix itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A prefix that is empty: it would forbid all labels and annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an empty prefix would forbid all labels and annotations")]
pub struct EmptyPrefix;

impl FromStr for ForbiddenPrefix {
    type Err = EmptyPrefix;

    fn from_str(text: &str) -> Result<Self, EmptyPrefix> {
        if text.is_empty() { Err(EmptyPrefix) } else { Ok(Self(text.to_owned())) }
    }
}

/// Why a template is refused. The names it shows were checked to be short and plain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A type that no SealedSecret may make.
    #[error("Secrets of this type are never made from a SealedSecret")]
    Type,
    /// A label or annotation that only Waxseal writes.
    #[error("labels and annotations under {OWN_PREFIX} are Waxseal's own")]
    OwnMetadata,
    /// A label or annotation that tells a replicator to copy the Secret.
    #[error("labels and annotations under {0} would copy the Secret to other places")]
    Replicator(&'static str),
    /// A label or annotation that the operator of this controller forbids.
    #[error("labels and annotations that begin with {0} are forbidden by the configuration of this controller")]
    Configured(String),
}

impl TemplateError {
    /// The check that the template failed.
    pub fn check(&self) -> Check {
        match self {
            TemplateError::Type => Check::TemplateType,
            TemplateError::OwnMetadata => Check::TemplateOwnMetadata,
            TemplateError::Replicator(_) | TemplateError::Configured(_) => Check::TemplateReplicator,
        }
    }
}

/// Refuses types, labels and annotations that would give more than the values (FORMAT.md §6.8).
pub fn check(template: &Template) -> Result<(), TemplateError> {
    let type_ = template.type_.as_deref().unwrap_or_default();
    if FORBIDDEN_TYPES.contains(&type_) || type_.starts_with(OWN_PREFIX) {
        return Err(TemplateError::Type);
    }
    metadata_keys(template).try_for_each(|key| check_key(key))
}

/// Refuses labels and annotations that the operator forbids.
pub fn check_configured(template: &Template, forbidden: &[ForbiddenPrefix]) -> Result<(), TemplateError> {
    let found = forbidden.iter().find(|prefix| metadata_keys(template).any(|key| key.starts_with(&prefix.0)));
    found.map_or(Ok(()), |prefix| Err(TemplateError::Configured(prefix.0.clone())))
}

fn metadata_keys(template: &Template) -> impl Iterator<Item = &String> {
    template.metadata.iter().flat_map(|metadata| metadata.labels.keys().chain(metadata.annotations.keys()))
}

fn check_key(key: &str) -> Result<(), TemplateError> {
    if key.starts_with(OWN_PREFIX) {
        return Err(TemplateError::OwnMetadata);
    }
    match REPLICATOR_PREFIXES.iter().find(|prefix| key.starts_with(**prefix)) {
        Some(prefix) => Err(TemplateError::Replicator(prefix)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sealed_secret::TemplateMetadata;

    fn annotated(key: &str) -> Template {
        let annotations = BTreeMap::from([(key.to_owned(), String::new())]);
        Template { metadata: Some(TemplateMetadata { annotations, ..Default::default() }), ..Default::default() }
    }

    #[test]
    fn types_with_rights_of_their_own_are_refused() {
        for type_ in ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "waxseal.dev/sealing-key"]
        {
            let template = Template { type_: Some(type_.to_owned()), ..Default::default() };
            assert_eq!(check(&template), Err(TemplateError::Type), "{type_}");
        }
        let template = Template { type_: Some("kubernetes.io/tls".to_owned()), ..Default::default() };
        assert_eq!(check(&template), Ok(()));
    }

    #[test]
    fn metadata_that_marks_or_copies_is_refused() {
        assert_eq!(check(&annotated("waxseal.dev/secret")), Err(TemplateError::OwnMetadata));
        for prefix in REPLICATOR_PREFIXES {
            assert_eq!(check(&annotated(&format!("{prefix}x"))), Err(TemplateError::Replicator(prefix)));
        }
        assert_eq!(check(&annotated("team")), Ok(()));
    }

    #[test]
    fn an_operator_can_forbid_more_metadata() {
        let forbidden: Vec<ForbiddenPrefix> =
            ["copier.example.com/", "mirror"].iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
        for (key, prefix) in [("copier.example.com/to", "copier.example.com/"), ("mirror-to", "mirror")] {
            let error = check_configured(&annotated(key), &forbidden).expect_err("forbidden");
            let said = format!(
                "labels and annotations that begin with {prefix} are forbidden by the configuration of this controller"
            );
            assert_eq!(error.to_string(), said);
            assert_eq!(check_configured(&annotated(key), &[]), Ok(()));
        }
        let labels = BTreeMap::from([("mirror".to_owned(), String::new())]);
        let metadata = Some(TemplateMetadata { labels, ..Default::default() });
        assert!(check_configured(&Template { metadata, ..Default::default() }, &forbidden).is_err());
        assert_eq!(check_configured(&annotated("example.com/mirror"), &forbidden), Ok(()));
        assert_eq!("".parse::<ForbiddenPrefix>(), Err(EmptyPrefix));
    }
}

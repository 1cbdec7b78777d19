//! The type and metadata that a SealedSecret may give its Secret.

use std::str::FromStr;

use thiserror::Error;

use crate::api_group::PREFIX;
use crate::format::{Check, Fault};
use crate::sealed_secret::Template;

/// Types of Secrets that grant rights in the cluster. A SealedSecret cannot make them.
const FORBIDDEN_TYPES: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Prefixes of labels and annotations that make known replicators copy a Secret. With them, an editor of
/// the file could copy a value out of its namespace.
const REPLICATOR_PREFIXES: [&str; 7] = [
    "reflector.v1.k8s.emberstack.com/",
    "replicator.v1.mittwald.de/",
    "kubed.appscode.com/",
    "cluster.open-cluster-management.io/",
    "propagate.hnc.x-k8s.io/",
    "replicator.nadundesilva.github.io/",
    "management.cattle.io/",
];

/// A prefix of labels and annotations that the operator forbids in addition to those of known replicators; not empty.
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

/// Refuses forbidden types, labels and annotations (FORMAT.md §6.8).
pub(crate) fn check_template(template: &Template) -> Result<(), Fault> {
    let type_ = template.type_.as_deref().unwrap_or_default();
    if FORBIDDEN_TYPES.contains(&type_) || type_.starts_with(PREFIX) {
        return Err(Check::TemplateType.into());
    }
    metadata_keys(template).try_for_each(|key| check_key(key))
}

/// The first forbidden prefix that a label or annotation of the template begins with.
pub(crate) fn forbidden_prefix<'a>(
    template: &Template,
    forbidden: &'a [ForbiddenPrefix],
) -> Option<&'a ForbiddenPrefix> {
    forbidden.iter().find(|prefix| metadata_keys(template).any(|key| key.starts_with(&prefix.0)))
}

fn metadata_keys(template: &Template) -> impl Iterator<Item = &String> {
    template.metadata.iter().flat_map(|metadata| metadata.labels.keys().chain(metadata.annotations.keys()))
}

fn check_key(key: &str) -> Result<(), Fault> {
    if key.starts_with(PREFIX) {
        return Err(Check::TemplateOwnMetadata.into());
    }
    match REPLICATOR_PREFIXES.iter().find(|prefix| key.starts_with(**prefix)) {
        Some(prefix) => Err(Check::TemplateReplicator.fault_with(*prefix)),
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
    fn types_that_grant_rights_are_refused() {
        for type_ in ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "waxseal.dev/sealing-key"]
        {
            let template = Template { type_: Some(type_.to_owned()), ..Default::default() };
            assert_eq!(check_template(&template), Err(Check::TemplateType.into()), "{type_}");
        }
        let template = Template { type_: Some("kubernetes.io/tls".to_owned()), ..Default::default() };
        assert_eq!(check_template(&template), Ok(()));
    }

    #[test]
    fn metadata_that_marks_or_copies_is_refused() {
        assert_eq!(check_template(&annotated("waxseal.dev/secret")), Err(Check::TemplateOwnMetadata.into()));
        for prefix in REPLICATOR_PREFIXES {
            assert_eq!(
                check_template(&annotated(&format!("{prefix}x"))),
                Err(Check::TemplateReplicator.fault_with(prefix))
            );
        }
        assert_eq!(check_template(&annotated("team")), Ok(()));
    }

    #[test]
    fn an_operator_can_forbid_more_metadata() {
        let forbidden: Vec<ForbiddenPrefix> =
            ["copier.example.com/", "mirror"].iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
        let found =
            |template: &Template| forbidden_prefix(template, &forbidden).map(|prefix| prefix.as_str().to_owned());
        for (key, prefix) in [("copier.example.com/to", "copier.example.com/"), ("mirror-to", "mirror")] {
            assert_eq!(found(&annotated(key)).as_deref(), Some(prefix));
            assert_eq!(forbidden_prefix(&annotated(key), &[]), None);
        }
        let labels = BTreeMap::from([("mirror".to_owned(), String::new())]);
        let metadata = Some(TemplateMetadata { labels, ..Default::default() });
        assert!(found(&Template { metadata, ..Default::default() }).is_some());
        assert_eq!(found(&annotated("example.com/mirror")), None);
        assert_eq!("".parse::<ForbiddenPrefix>(), Err(EmptyPrefix));
    }
}

//! What a SealedSecret may ask of the Secret beside its values.

use thiserror::Error;

use crate::format::Check;
use crate::sealed_secret::Template;

/// The prefix of the labels and annotations that only Waxseal writes.
pub const OWN_PREFIX: &str = "waxseal.dev/";

/// Types of Secrets that give rights of their own, which nobody may ask for through a SealedSecret.
pub const FORBIDDEN_TYPES: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Prefixes of the labels and annotations by which known replicators copy a Secret elsewhere: with
/// them, whoever edits the file would carry a value out of its namespace.
pub const REPLICATOR_PREFIXES: [&str; 4] = [
    "reflector.v1.k8s.emberstack.com/",
    "replicator.v1.mittwald.de/",
    "kubed.appscode.com/",
    "cluster.open-cluster-management.io/",
];

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
}

impl TemplateError {
    /// The check that the template failed.
    pub fn check(&self) -> Check {
        match self {
            TemplateError::Type => Check::TemplateType,
            TemplateError::OwnMetadata => Check::TemplateOwnMetadata,
            TemplateError::Replicator(_) => Check::TemplateReplicator,
        }
    }
}

/// Refuses types, labels and annotations that would give more than the values (FORMAT.md §6.8).
pub fn check(template: &Template) -> Result<(), TemplateError> {
    let type_ = template.type_.as_deref().unwrap_or_default();
    if FORBIDDEN_TYPES.contains(&type_) || type_.starts_with(OWN_PREFIX) {
        return Err(TemplateError::Type);
    }
    let Some(metadata) = &template.metadata else {
        return Ok(());
    };
    metadata.labels.keys().chain(metadata.annotations.keys()).try_for_each(|key| check_key(key))
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
}

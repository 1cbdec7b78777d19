//! The metadata that a person decides, without the fields that servers and tools set.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::ManifestError;
use super::node::Node;
use crate::format::Fault;
use crate::names::{Namespace, ObjectName};

/// Annotations that hold a copy of the whole object, values included; they are never kept.
///
/// `kubectl apply`, kapp (with a second annotation for the digest of the copy) and Rancher write them.
const ANNOTATIONS_WITH_COPIES: [&str; 4] = [
    "kapp.k14s.io/original",
    "kapp.k14s.io/original-diff-md5",
    "kubectl.kubernetes.io/last-applied-configuration",
    "objectset.rio.cattle.io/applied",
];

/// The fields of `ObjectMeta` (`k8s.io/apimachinery/pkg/apis/meta/v1`). Those that begin with `_` are
/// known, and not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MetadataFields<'a> {
    name: &'a str,
    namespace: Option<&'a str>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    generate_name: Option<IgnoredAny>,
    _creation_timestamp: Option<IgnoredAny>,
    _deletion_grace_period_seconds: Option<IgnoredAny>,
    _deletion_timestamp: Option<IgnoredAny>,
    _finalizers: Option<IgnoredAny>,
    _generation: Option<IgnoredAny>,
    _managed_fields: Option<IgnoredAny>,
    _owner_references: Option<IgnoredAny>,
    _resource_version: Option<IgnoredAny>,
    _self_link: Option<IgnoredAny>,
    _uid: Option<IgnoredAny>,
}

/// The part of an object's metadata that a person decides.
pub(super) struct Metadata {
    pub(super) name: ObjectName,
    pub(super) namespace: Option<Namespace>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl MetadataFields<'_> {
    /// Checks the metadata that was read from `object`.
    ///
    /// Refuses `generateName`, and names that Kubernetes does not allow. Drops [`ANNOTATIONS_WITH_COPIES`].
    pub(super) fn checked(self, object: &Node) -> Result<Metadata, ManifestError> {
        let at = |field: &str, error: ManifestError| error.at(object.value(&["metadata", field]).unwrap_or(object));
        if self.generate_name.is_some() {
            let error = ManifestError::new("values are bound to a name, so it cannot be generated");
            return Err(at("generateName", error).with_hint("write metadata.name instead"));
        }
        let invalid = |field: &str, error: Fault| at(field, ManifestError::new(error.to_string()));
        let namespace = self.namespace.map(Namespace::parse).transpose();
        let mut annotations = self.annotations.unwrap_or_default();
        annotations.retain(|name, _| !ANNOTATIONS_WITH_COPIES.contains(&name.as_str()));
        Ok(Metadata {
            name: ObjectName::parse(self.name).map_err(|error| invalid("name", error))?,
            namespace: namespace.map_err(|error| invalid("namespace", error))?,
            labels: self.labels.unwrap_or_default(),
            annotations,
        })
    }
}

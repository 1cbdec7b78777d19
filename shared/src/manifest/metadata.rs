//! The metadata that a person decides, without what servers and tools put there.

use std::collections::BTreeMap;

use super::error::ManifestError;
use super::field::{Field, Mapping};
use crate::format::Fault;
use crate::names::{Namespace, ObjectName};

/// Annotations that hold a copy of the whole object, values included; they are never kept.
///
/// `kubectl apply`, kapp (whose digest of the copy goes with it) and Rancher write them.
pub const ANNOTATIONS_WITH_COPIES: [&str; 4] = [
    "kapp.k14s.io/original",
    "kapp.k14s.io/original-diff-md5",
    "kubectl.kubernetes.io/last-applied-configuration",
    "objectset.rio.cattle.io/applied",
];

/// The fields of `ObjectMeta` (`k8s.io/apimachinery/pkg/apis/meta/v1`).
const KNOWN: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What a person decides of an object's metadata.
pub(super) struct Metadata {
    pub(super) name: ObjectName,
    pub(super) namespace: Option<Namespace>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Reads `metadata` of an object; what servers set is known, and dropped unread.
///
/// Refuses unknown fields, an absent name, `generateName`, and names out of their canonical form.
pub(super) fn read(object: &Mapping<'_>) -> Result<Metadata, ManifestError> {
    let metadata = object.required("metadata")?.mapping()?;
    metadata.refuse_unknown(&KNOWN)?;
    if let Some(field) = metadata.field("generateName") {
        let error = field.error("values are bound to a name, so it cannot be generated");
        return Err(error.with_hint("write metadata.name instead"));
    }
    Ok(Metadata {
        name: name(&metadata.required("name")?, ObjectName::parse)?,
        namespace: metadata.field("namespace").map(|field| name(&field, Namespace::parse)).transpose()?,
        labels: strings(&metadata, "labels")?,
        annotations: annotations(&metadata)?,
    })
}

fn name<T>(field: &Field<'_>, parse: fn(&str) -> Result<T, Fault>) -> Result<T, ManifestError> {
    parse(field.string()?).map_err(|error| field.error(error.to_string()))
}

fn annotations(metadata: &Mapping<'_>) -> Result<BTreeMap<String, String>, ManifestError> {
    let mut annotations = strings(metadata, "annotations")?;
    annotations.retain(|name, _| !ANNOTATIONS_WITH_COPIES.contains(&name.as_str()));
    Ok(annotations)
}

fn strings(metadata: &Mapping<'_>, name: &str) -> Result<BTreeMap<String, String>, ManifestError> {
    let Some(field) = metadata.field(name) else {
        return Ok(BTreeMap::new());
    };
    let mapping = field.mapping()?;
    let owned = |text: &str| text.to_owned();
    mapping.entries().map(|entry| Ok((owned(entry.name), owned(entry.value.string()?)))).collect()
}

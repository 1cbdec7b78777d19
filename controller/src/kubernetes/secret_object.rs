//! A plan's Secret and the API's Secret: from one to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use waxseal_shared::api_group::{self, FIELD_MANAGER};
use waxseal_shared::names::DataKey;
use waxseal_shared::plan::{Controller, DEFAULT_TYPE, DesiredSecret, ExistingSecret};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::secret::{SecretBytes, SecretData};
use zeroize::Zeroizing;

/// An apply with this resourceVersion creates when absent and conflicts when present.
pub(super) const CREATE_ONLY: &str = "1";

/// The body of an apply: prints nothing, and its base64 text wipes itself.
pub(super) struct SecretApply<'a> {
    pub(super) owner: &'a SealedSecret,
    pub(super) desired: &'a DesiredSecret,
    pub(super) resource_version: &'a str,
}

impl fmt::Debug for SecretApply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretApply(..)")
    }
}

impl Serialize for SecretApply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("apiVersion", "v1")?;
        map.serialize_entry("kind", "Secret")?;
        map.serialize_entry("metadata", &self.metadata())?;
        map.serialize_entry("type", &self.desired.type_)?;
        if let Some(immutable) = self.desired.immutable {
            map.serialize_entry("immutable", &immutable)?;
        }
        map.serialize_entry("data", &Base64Data(&self.desired.data))?;
        map.end()
    }
}

impl SecretApply<'_> {
    fn metadata(&self) -> Value {
        let owner = &self.owner.metadata;
        json!({
            "name": self.desired.name.as_str(),
            "namespace": owner.namespace,
            "resourceVersion": self.resource_version,
            "labels": self.desired.labels,
            "annotations": self.desired.annotations,
            // Never blockOwnerDeletion: it would need rights on finalizers, and hold up a deletion.
            "ownerReferences": [{
                "apiVersion": SealedSecret::api_version(&()),
                "kind": SealedSecret::kind(&()),
                "name": owner.name,
                "uid": owner.uid,
                "controller": true,
            }],
        })
    }
}

struct Base64Data<'a>(&'a SecretData);

impl Serialize for Base64Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encode = |value: &SecretBytes| Zeroizing::new(BASE64_STANDARD.encode(value.expose()));
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key.as_str(), encode(value).as_str())?;
        }
        map.end()
    }
}

/// The data keys of a Secret that a plan lacks.
pub(super) fn surplus_keys(written: &Secret, desired: &DesiredSecret) -> Vec<String> {
    let wanted: BTreeSet<&str> = desired.data.keys().map(DataKey::as_str).collect();
    let present = written.data.iter().flat_map(BTreeMap::keys);
    present.filter(|key| !wanted.contains(key.as_str())).cloned().collect()
}

/// The merge patch that removes keys from exactly this version of a Secret; takes no ownership.
pub(super) fn removal(keys: &[String], resource_version: &str) -> Value {
    let nulls: BTreeMap<&str, Value> = keys.iter().map(|key| (key.as_str(), Value::Null)).collect();
    json!({"metadata": {"resourceVersion": resource_version}, "data": nulls})
}

/// What a plan wants to know of a Secret. Takes the values over, so that they wipe themselves.
pub(super) fn existing_secret(secret: Secret) -> ExistingSecret {
    let ours = |field| managed_keys(&secret.metadata, field);
    ExistingSecret {
        our_labels: ours("f:labels"),
        our_annotations: ours("f:annotations"),
        controller: controller(&secret.metadata),
        labels: secret.metadata.labels.unwrap_or_default(),
        annotations: secret.metadata.annotations.unwrap_or_default(),
        type_: secret.type_.unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
        immutable: secret.immutable.unwrap_or_default(),
        data: values(secret.data.unwrap_or_default()),
    }
}

/// `None` if a key is none that a SealedSecret can have; every value is taken over all the same.
fn values(data: BTreeMap<String, k8s_openapi::ByteString>) -> Option<SecretData> {
    let taken: Vec<_> = data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
    taken.into_iter().map(|(key, value)| Some((DataKey::parse(&key).ok()?, value))).collect()
}

fn controller(metadata: &ObjectMeta) -> Controller {
    let references = metadata.owner_references.iter().flatten();
    let Some(reference) = references.into_iter().find(|reference| reference.controller == Some(true)) else {
        return Controller::None;
    };
    let is_ours = reference.kind == SealedSecret::kind(&()) && reference.api_version.starts_with(api_group::PREFIX);
    if is_ours {
        Controller::SealedSecret { name: reference.name.clone(), uid: reference.uid.clone() }
    } else {
        Controller::Other
    }
}

/// The labels or annotations that our own apply wrote, as the API server remembers them
/// (Kubernetes, "Server-Side Apply", managedFields).
fn managed_keys(metadata: &ObjectMeta, field: &str) -> BTreeSet<String> {
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply"))
        .filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:metadata")?.get(field)?.as_object())
        .flat_map(|fields| fields.keys())
        .filter_map(|key| key.strip_prefix("f:"))
        .map(str::to_owned)
        .collect()
}

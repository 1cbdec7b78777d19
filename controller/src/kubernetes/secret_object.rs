//! Conversions between the Secret of a plan and the Secret of the Kubernetes API.

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
use waxseal_shared::plan::{Controller, DesiredSecret, ExistingSecret};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::secret::{DEFAULT_TYPE, SecretBytes, SecretData};

/// An apply with this resourceVersion creates the Secret, and conflicts if the Secret exists: no object ever has the
/// version 1, because the first write to etcd gets the revision 2.
pub(super) const CREATE_ONLY: &str = "1";

/// The body of an apply. Its `Debug` shows no value.
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
            // Without blockOwnerDeletion: it needs rights on finalizers, and delays a deletion.
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
        let encode = |value: &SecretBytes| BASE64_STANDARD.encode(value.expose());
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key.as_str(), encode(value).as_str())?;
        }
        map.end()
    }
}

/// Returns the data keys that the Secret has and the plan does not have.
pub(super) fn surplus_keys(written: &Secret, desired: &DesiredSecret) -> Vec<String> {
    let wanted: BTreeSet<&str> = desired.data.keys().map(DataKey::as_str).collect();
    let present = written.data.iter().flat_map(BTreeMap::keys);
    present.filter(|key| !wanted.contains(key.as_str())).cloned().collect()
}

/// Returns the merge patch that removes data keys from exactly this version of a Secret.
pub(super) fn removal(keys: &[String], resource_version: &str) -> Value {
    let nulls: BTreeMap<&str, Value> = keys.iter().map(|key| (key.as_str(), Value::Null)).collect();
    json!({"metadata": {"resourceVersion": resource_version}, "data": nulls})
}

/// Converts a Secret to what a plan needs to know of it.
pub(super) fn existing_secret(secret: Secret) -> ExistingSecret {
    let applied = |field| applied_keys(&secret.metadata, field);
    ExistingSecret {
        our_labels: applied("f:labels"),
        our_annotations: applied("f:annotations"),
        controller: controller(&secret.metadata),
        labels: secret.metadata.labels.unwrap_or_default(),
        annotations: secret.metadata.annotations.unwrap_or_default(),
        type_: secret.type_.unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
        immutable: secret.immutable.unwrap_or_default(),
        data: values(secret.data.unwrap_or_default()),
    }
}

/// Returns `None` if a SealedSecret cannot have one of the data keys.
fn values(data: BTreeMap<String, k8s_openapi::ByteString>) -> Option<SecretData> {
    data.into_iter().map(|(key, value)| Some((DataKey::parse(&key).ok()?, SecretBytes::new(value.0)))).collect()
}

fn controller(metadata: &ObjectMeta) -> Controller {
    let references = metadata.owner_references.iter().flatten();
    let Some(reference) = references.into_iter().find(|reference| reference.controller == Some(true)) else {
        return Controller::None;
    };
    let is_sealed_secret =
        reference.kind == SealedSecret::kind(&()) && reference.api_version.starts_with(api_group::PREFIX);
    if is_sealed_secret {
        Controller::SealedSecret { name: reference.name.clone(), uid: reference.uid.clone() }
    } else {
        Controller::Other
    }
}

/// Returns the labels or annotations that an apply of this controller wrote, as the API server records them in
/// managedFields (Kubernetes, "Server-Side Apply").
fn applied_keys(metadata: &ObjectMeta, field: &str) -> BTreeSet<String> {
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply"))
        .filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:metadata")?.get(field)?.as_object())
        .flat_map(|fields| fields.keys())
        .filter_map(|key| key.strip_prefix("f:"))
        .map(str::to_owned)
        .collect()
}

//! The `SealedSecret` custom resource as it stands in Git and in the API: plain strings, unchecked.
//!
//! [`crate::format`] decodes it; nothing uses these strings before that.
#![expect(clippy::duplicated_attributes, reason = "each column of kubectl's table names its type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::settled::Settled;

/// What a SealedSecret holds and what the Secret made from it shall look like.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[kube(
    group = "waxseal.dev",
    version = "v1alpha1",
    kind = "SealedSecret",
    namespaced,
    shortname = "wax",
    status = "SealedSecretStatus",
    derive = "PartialEq",
    doc = "A Secret that is safe to commit: the controller of the cluster it was sealed for turns it back into a Secret of the same name.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedSecretSpec {
    /// What the values are bound to beside their data key: `Strict` (default) to namespace and
    /// name, `Namespace` to the namespace, `Cluster` to neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The envelopes by their ids (`e` and 10 hex digits).
    #[schemars(extend("maxProperties" = 64, "x-kubernetes-validations" = [{
        "rule": "self.all(id, id.matches('^e[0-9a-f]{10}$'))",
        "message": "an envelope id is 'e' and 10 lower-case hex digits"
    }]))]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub envelopes: BTreeMap<String, EnvelopeSpec>,
    /// The sealed values by data key: `wax1.ENVELOPE.TOKEN`.
    #[schemars(schema_with = "encrypted_data_schema")]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub encrypted_data: BTreeMap<String, String>,
    /// What else the Secret holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// What sealed values are bound to, beside their data key.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Namespace and name of the object.
    #[default]
    Strict,
    /// The namespace alone: whoever may create SealedSecrets there can materialise the value.
    Namespace,
    /// Neither: the value opens anywhere in any recipient cluster.
    Cluster,
}

impl Scope {
    /// The word that stands in manifests and in bindings.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Strict => "Strict",
            Scope::Namespace => "Namespace",
            Scope::Cluster => "Cluster",
        }
    }
}

/// One data key, wrapped once for each recipient.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvelopeSpec {
    /// What the values were sealed for, for people and for offline checks.
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BoundTo::is_empty")]
    pub bound_to: BoundTo,
    /// Base64 of the 32-byte commitment to the data key.
    #[schemars(length(equal = 44))]
    pub commitment: String,
    /// The wraps by key id: base64 of an age file, a dot, and the proof.
    #[schemars(schema_with = "wraps_schema")]
    pub wraps: BTreeMap<String, String>,
}

/// What values were sealed for: both fields for `Strict`, `namespace` for `Namespace`, none for
/// `Cluster`.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BoundTo {
    /// The namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl BoundTo {
    /// Whether it names neither namespace nor name.
    pub fn is_empty(&self) -> bool {
        self.namespace.is_none() && self.name.is_none()
    }
}

/// What the Secret holds beside its sealed values; literal, never rendered.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// The Secret's type; `Opaque` when absent or empty.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [{
        "rule": "!self.startsWith('waxseal.dev/') && !(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",
        "message": "Secrets of this type are never made from a SealedSecret"
    }]))]
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Whether the Secret's data shall be immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
    /// Labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
}

/// Labels and annotations of the Secret that is made.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateMetadata {
    /// The labels.
    #[schemars(schema_with = "template_metadata_schema")]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The annotations.
    #[schemars(schema_with = "template_metadata_schema")]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What the controller says of a SealedSecret; follows kstatus.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SealedSecretStatus {
    /// The generation that was judged; −1 before the first judgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Stalled` and `Reconciling`.
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The Secret that was last seen to be right: while it is unchanged, nothing is read or written for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// `null` is how Go writes a map that was never made, and the API server drops it.
fn absent_if_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn encrypted_data_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "The sealed values by data key: `wax1.ENVELOPE.TOKEN`.",
        "maxProperties": 256,
        "additionalProperties": {"type": "string", "maxLength": 1_500_000},
        "x-kubernetes-validations": [{
            "rule": "self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$') && key != '.' && !key.startsWith('..'))",
            "message": "a data key is 1 to 253 letters, digits, '-', '_' and '.', not '.' and not beginning with '..'"
        }]
    })
}

fn wraps_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "The wraps by key id: base64 of an age file, a dot, and the proof.",
        "minProperties": 1,
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 6_000},
        "x-kubernetes-validations": [{
            "rule": "self.all(id, id.matches('^k[0-9a-f]{16}$'))",
            "message": "a key id is 'k' and 16 lower-case hex digits"
        }]
    })
}

fn template_metadata_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": {"type": "string"},
        "x-kubernetes-validations": [{
            "rule": "self.all(key, !key.startsWith('waxseal.dev/'))",
            "message": "labels and annotations under waxseal.dev/ are Waxseal's own"
        }]
    })
}

//! The `SealedSecret` custom resource as it stands in Git and in the API: plain strings, unchecked.
//!
//! [`crate::format::Sealed::decode`] checks them. Nothing is opened, and no Secret is written, before this check.
#![expect(clippy::duplicated_attributes, reason = "each column of kubectl's table names its type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::format::{self, MAX_DATA_KEYS, MAX_ENVELOPES, MAX_WRAPS};

/// The length of a key id: `k` and 16 hex digits.
const KEY_ID_LENGTH: usize = 17;

/// The sealed values, and what else the Secret has.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[kube(
    group = "waxseal.dev",
    version = "v1alpha1",
    kind = "SealedSecret",
    namespaced,
    shortname = "wax",
    status = "SealedSecretStatus",
    derive = "PartialEq",
    doc = "A Secret that is safe to commit to Git. The controller of the cluster that it was sealed for makes a Secret of the same name from it. `waxseal seal` makes a SealedSecret from the manifest of a Secret.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Key",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"KeyCurrent\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedSecretSpec {
    /// The place that the sealed values are bound to; see [`Scope`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The envelopes by their ids (`e` and 10 hex digits). Each holds the key that some of the values are encrypted
    /// with. `waxseal seal` writes them. Do not edit them.
    #[schemars(extend("maxProperties" = MAX_ENVELOPES, "x-kubernetes-validations" = [rule(
        "self.all(id, id.matches('^e[0-9a-f]{10}$'))",
        "an envelope id is 'e' and 10 lower-case hex digits"
    )]))]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub envelopes: BTreeMap<String, EnvelopeSpec>,
    /// The sealed values by data key, which is the key in the Secret's `data`. Each is `wax1.`, the id of its envelope,
    /// a dot and the encrypted value. `waxseal seal` makes them.
    #[schemars(schema_with = "encrypted_data_schema")]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub encrypted_data: BTreeMap<String, String>,
    /// What the Secret has besides its sealed values. It is copied to the Secret as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// The place that the sealed values are bound to. A value opens only in the place that it was sealed for, and only
/// under its own data key; anywhere else the status says `Moved` or `Unreadable`.
///
/// `Strict` (the default) binds values to the namespace and the name of the SealedSecret. Use it unless you need another
/// scope.
///
/// `Namespace` binds values to the namespace alone: a tool may rename the SealedSecret. Everyone who may create
/// SealedSecrets in the namespace can open the values under another name.
///
/// `Cluster` binds values to no place: one SealedSecret serves several namespaces. Everyone who may create
/// SealedSecrets anywhere in a cluster that the values were sealed for can open them there.
///
/// The scope is chosen when the values are sealed (`waxseal seal --scope`). To change it, seal the values again.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Bound to namespace and name.
    #[default]
    Strict,
    /// Bound to the namespace.
    Namespace,
    /// Bound to no place.
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

/// The key that some of the values are encrypted with, itself encrypted to every recipient.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvelopeSpec {
    /// The place that the envelope's values were sealed for: namespace and name for the scope `Strict`, the namespace
    /// for `Namespace`, nothing for `Cluster`. This field only explains why a moved value does not open; the encryption
    /// protects the value.
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BoundTo::is_empty")]
    pub bound_to: BoundTo,
    /// Base64 of the 32-byte commitment to the envelope's key. It ensures that all recipients get the same key and so
    /// the same values.
    #[schemars(length(max = 44), extend("x-kubernetes-validations" = [rule(
        "self.matches('^[+/0-9A-Za-z]{42}[048AEIMQUYcgkosw]=$')",
        "a commitment is the base64 of 32 bytes"
    )]))]
    pub commitment: String,
    /// The envelope's key, encrypted once to each recipient, by the key id of the recipient (`k` and 16 hex digits, the
    /// name of its SealingKey). Each is the base64 of an age file, a dot, and a proof that the sealer knew the key.
    #[schemars(schema_with = "wraps_schema")]
    pub wraps: BTreeMap<String, String>,
}

/// The place that the values of an envelope were sealed for: both fields for `Strict`, `namespace` for `Namespace`,
/// neither for `Cluster`.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BoundTo {
    /// The namespace of the SealedSecret that the values were sealed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the SealedSecret that the values were sealed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl BoundTo {
    /// Whether it names neither namespace nor name.
    pub fn is_empty(&self) -> bool {
        self.namespace.is_none() && self.name.is_none()
    }
}

/// What the Secret has besides its sealed values. It is copied to the Secret as it stands.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// The Secret's type; `Opaque` when absent or empty. Kubernetes never changes the type of an existing Secret.
    #[schemars(extend("x-kubernetes-validations" = [rule(
        "!self.startsWith('waxseal.dev/') && !(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",
        "Secrets of this type are never made from a SealedSecret"
    )]))]
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Whether the Secret is immutable: Kubernetes then refuses every change of its data, also when the SealedSecret
    /// changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
    /// Labels and annotations of the Secret. Those of the SealedSecret itself do not go to the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
}

/// Labels and annotations of the Secret. Those of the SealedSecret itself do not go to the Secret.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateMetadata {
    /// The labels of the Secret.
    #[schemars(schema_with = "template_metadata_schema")]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The annotations of the Secret.
    #[schemars(schema_with = "template_metadata_schema")]
    #[serde(default, deserialize_with = "absent_if_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The result of the controller's last look at a SealedSecret; follows kstatus.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SealedSecretStatus {
    /// The generation of the SealedSecret that the conditions speak of; −1 before the controller has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` says whether the Secret is as the SealedSecret says. `KeyCurrent` is there, and false, while a
    /// wrap is missing or broken, or is for a revoked key. `Stalled` is there while waiting will not help, and
    /// `Reconciling` while the controller tries again.
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// For each envelope that a value names, the ids of the keys whose wraps have a correct proof.
    #[schemars(schema_with = "proven_keys_schema")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Vec<String>>,
    /// Wraps that envelopes lack after a change of keys, by envelope id: for the primary and the recovery keys.
    /// `waxseal rotate` writes them into the manifest.
    #[schemars(extend("maxProperties" = MAX_ENVELOPES))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rewrapped: BTreeMap<String, OfferedWraps>,
    /// The Secret that was last seen to be right. While the Secret, the SealedSecret, the keys and the rules are
    /// unchanged, the controller reads and writes nothing for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// The Secret that was right, and what it was made with (`status.settled`).
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// The UID of the Secret.
    #[serde(rename = "secretUID")]
    pub secret_uid: String,
    /// The resourceVersion of the Secret.
    pub secret_resource_version: String,
    /// The version of the controller's rules for what a Secret looks like.
    // The API server does not know the format `uint32`, and warns of it.
    #[schemars(with = "i64", range(min = 0))]
    pub plan_version: u32,
    /// The ids of the keys that opened the values.
    #[serde(default)]
    pub opened_with: Vec<String>,
    /// Shows that a controller that holds the cluster's keys wrote this status: base64url of 16 bytes.
    #[serde(default)]
    pub proof: String,
}

/// Wraps that an envelope lacks after a change of keys, made by the controller (`status.rewrapped`). Ciphertext only.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OfferedWraps {
    /// The commitment of the envelope. These wraps are only for an envelope with the same commitment, byte for byte.
    #[schemars(length(max = 44))]
    pub commitment: String,
    /// The wraps by key id, as they stand in an envelope.
    #[schemars(schema_with = "offered_wraps_schema")]
    #[serde(default)]
    pub wraps: BTreeMap<String, String>,
}

/// Reads `null` as an absent field. Go writes a nil map as `null`, and the API server drops such a field.
fn absent_if_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A rule of admission with a fixed text. An error with the reason `FieldValueForbidden` does not quote the value,
/// which may be a plain password; errors of `pattern` and `minLength` do.
fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message, "reason": "FieldValueForbidden"})
}

/// The rule reads the length of a token and a few of its characters. A rule for all of its characters would exceed the
/// cost that the API server allows, and for each character that a rule reads, the API server copies the token. The same
/// holds for a wrap.
fn encrypted_data_schema(_: &mut SchemaGenerator) -> Schema {
    let shortest = format::shortest_token();
    json_schema!({
        "type": "object",
        "maxProperties": MAX_DATA_KEYS,
        "additionalProperties": {
            "type": "string",
            "maxLength": format::longest_token(),
            "x-kubernetes-validations": [rule(
                &format!("self.size() >= {shortest} && self.startsWith('wax1.e') && self.charAt(16) == '.'"),
                "not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"; seal a plain value with `waxseal seal`",
            )],
        },
        "x-kubernetes-validations": [rule(
            "self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$') && key != '.' && !key.startsWith('..'))",
            "a data key is 1 to 253 letters, digits, '-', '_' and '.'; it is not '.' alone and does not begin with '..'",
        )],
    })
}

fn wraps_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": MAX_WRAPS,
        "additionalProperties": {
            "type": "string",
            "maxLength": format::longest_wrap(),
            // The beginning is the base64 of "age-encryption.org/v1".
            "x-kubernetes-validations": [rule(
                "self.startsWith('YWdlLWVuY3J5cHRpb24ub3JnL3Yx') && self.charAt(self.size() - 23) == '.'",
                "a wrap is the base64 of an age file, a dot, and the base64url of a proof of 16 bytes",
            )],
        },
        "x-kubernetes-validations": [rule(
            "self.all(id, id.matches('^k[0-9a-f]{16}$'))",
            "a key id is 'k' and 16 lower-case hex digits",
        )],
    })
}

fn proven_keys_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_ENVELOPES,
        "additionalProperties": {
            "type": "array",
            "maxItems": MAX_WRAPS,
            "items": {"type": "string", "maxLength": KEY_ID_LENGTH},
        },
    })
}

/// Has no rules for the text of a wrap. The controller keeps an offer only if its proof fits the DEK. `waxseal rotate`
/// checks the form, the kind and the commitment; the controller then reports a forged wrap as `WrapBroken`.
fn offered_wraps_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_WRAPS,
        "additionalProperties": {"type": "string", "maxLength": format::longest_wrap()},
    })
}

fn template_metadata_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {"type": "string"},
        "x-kubernetes-validations": [rule(
            "self.all(key, !key.startsWith('waxseal.dev/'))",
            "labels and annotations under waxseal.dev/ are reserved for Waxseal",
        )],
    })
}

//! A SealedSecret and what the controller says of it. Its texts prove nothing: everyone with the right to write a
//! status can write them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use waxseal_shared::key_need::named_envelope;
use waxseal_shared::reason::Reason;
use waxseal_shared::status::is_about;

/// A SealedSecret of a cluster. A spec or a status of a form that this program does not know counts as absent.
#[derive(Clone, Deserialize)]
pub(crate) struct SealedSecretState {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, deserialize_with = "known_or_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "known_or_default")]
    status: Status,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    envelopes: BTreeMap<String, Envelope>,
    encrypted_data: BTreeMap<String, String>,
    template: Option<Template>,
}

#[derive(Clone, Deserialize)]
struct Envelope {
    wraps: BTreeMap<String, IgnoredAny>,
}

#[derive(Clone, Deserialize)]
struct Template {
    #[serde(rename = "type")]
    type_: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
    keys: BTreeMap<String, Vec<String>>,
}

fn known_or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

impl SealedSecretState {
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether the controller has judged the present generation.
    pub(crate) fn is_judged(&self) -> bool {
        is_about(self.status.observed_generation, self.metadata.generation) && self.find("Ready").is_some()
    }

    /// Why it is Ready or not; `None` if the controller has not judged the present generation, or if this program does
    /// not know the reason.
    pub(crate) fn ready_reason(&self) -> Option<Reason> {
        self.condition("Ready").and_then(|condition| Reason::parse(&condition.reason))
    }

    /// Whether the Secret is as the SealedSecret says.
    pub(crate) fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| condition.status == "True")
    }

    /// The conditions of the present generation.
    pub(crate) fn conditions(&self) -> &[Condition] {
        if self.is_judged() { &self.status.conditions } else { &[] }
    }

    /// The condition of this type, if it is about the present generation.
    pub(crate) fn condition(&self, type_: &str) -> Option<&Condition> {
        self.find(type_).filter(|_| self.is_judged())
    }

    fn find(&self, type_: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// The type that the template gives to the Secret.
    pub(crate) fn secret_type(&self) -> Option<&str> {
        self.spec.template.as_ref()?.type_.as_deref().filter(|type_| !type_.is_empty())
    }

    /// The ids of the keys that the values are sealed to. For each: whether the controller has proven all of its wraps.
    pub(crate) fn keys(&self) -> BTreeMap<&str, bool> {
        let mut keys = BTreeMap::new();
        for (id, envelope) in self.used_envelopes() {
            let proven = self.status.keys.get(id).filter(|_| self.is_judged());
            for key in envelope.wraps.keys() {
                let is_proven = proven.is_some_and(|proven| proven.contains(key));
                *keys.entry(key.as_str()).or_insert(true) &= is_proven;
            }
        }
        keys
    }

    fn used_envelopes(&self) -> impl Iterator<Item = (&str, &Envelope)> {
        let used: BTreeSet<_> = self.spec.encrypted_data.values().filter_map(|token| named_envelope(token)).collect();
        used.into_iter().filter_map(|id| Some((id, self.spec.envelopes.get(id)?)))
    }
}

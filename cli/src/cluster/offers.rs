//! The wraps that the controller of a cluster offers, from the status of all its SealedSecrets.

use serde::Deserialize;
use serde_json::Value;

use super::Session;
use crate::error::CliError;

#[derive(Deserialize)]
struct StatusOf {
    metadata: Name,
    #[serde(default)]
    status: Option<Rewrapped>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
    namespace: String,
}

#[derive(Deserialize)]
struct Rewrapped {
    #[serde(default)]
    rewrapped: Value,
}

impl Session {
    /// Calls `each` with `NAMESPACE/NAME` and the field `status.rewrapped` of every SealedSecret. Leaves out those in
    /// which this field is not an object.
    pub(crate) fn each_rewrapped(&self, mut each: impl FnMut(&str, Value)) -> Result<(), CliError> {
        self.each_sealed_secret(|StatusOf { metadata: Name { name, namespace }, status }| {
            if let Some(Rewrapped { rewrapped }) = status.filter(|status| status.rewrapped.is_object()) {
                each(&format!("{namespace}/{name}"), rewrapped);
            }
        })
    }
}

//! One SealedSecret in a list.

use jiff::Timestamp;
use serde::Serialize;
use waxseal_shared::visible_text::escaped;

use crate::cluster::SealedSecretState;
use crate::table::age;
use crate::untrusted_text::name_or_ellipsis;

#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusRow {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `None` if the controller has not judged the present generation.
    ready: Option<bool>,
    /// The reason of the condition `Ready`.
    reason: Option<String>,
    message: Option<String>,
    /// The reason of the condition `KeyCurrent`; `Current` if nothing is wrong; `None` if that is not known.
    key: Option<String>,
    pub(super) age_seconds: Option<i64>,
}

impl StatusRow {
    pub(super) fn of(object: &SealedSecretState, now: Timestamp) -> Self {
        let ready = object.condition("Ready");
        let key = match object.condition("KeyCurrent") {
            Some(condition) if condition.status != "True" => Some(name_or_ellipsis(&condition.reason).to_owned()),
            _ => object.is_ready().then(|| "Current".to_owned()),
        };
        Self {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            ready: ready.map(|_| object.is_ready()),
            reason: ready.map(|condition| name_or_ellipsis(&condition.reason).to_owned()),
            message: ready.map(|condition| condition.message.clone()),
            key,
            age_seconds: age_of(object, now),
        }
    }

    /// The cells in the order of [`head`].
    pub(super) fn cells(&self) -> Vec<String> {
        let ready = match self.ready {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        self.cells_with(ready, &or_dash(&self.reason), or_dash(&self.key))
    }

    /// The cells of a SealedSecret that was deleted.
    pub(super) fn deleted_cells(&self) -> Vec<String> {
        self.cells_with("-", "(deleted)", "-".to_owned())
    }

    fn cells_with(&self, ready: &str, reason: &str, key: String) -> Vec<String> {
        let [namespace, name] = [&self.namespace, &self.name].map(|text| escaped(text).into_owned());
        let age = self.age_seconds.map_or_else(|| "-".to_owned(), age);
        vec![namespace, name, ready.to_owned(), reason.to_owned(), key, age]
    }

    /// Whether both say the same of an object, whatever its age.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        Self { age_seconds: other.age_seconds, ..self.clone() } == *other
    }
}

/// The head of a list of all namespaces.
pub(super) fn head() -> Vec<String> {
    ["NAMESPACE", "NAME", "READY", "REASON", "KEY", "AGE"].map(str::to_owned).to_vec()
}

fn age_of(object: &SealedSecretState, now: Timestamp) -> Option<i64> {
    let created = object.metadata.creation_timestamp.as_ref()?;
    Some(now.duration_since(created.0).as_secs().max(0))
}

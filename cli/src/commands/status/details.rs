//! One SealedSecret in words: its conditions, what to do, its keys and its Secret.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;
use waxseal_shared::advice::{Advice, for_key_current, for_ready};
use waxseal_shared::reason::{KeyReason, Reason};
use waxseal_shared::secret::DEFAULT_TYPE;
use waxseal_shared::visible_text::escaped;

use super::row::StatusRow;
use crate::cluster::SealedSecretState;
use crate::table::age;
use crate::untrusted_text::name_or_ellipsis;

const NOT_JUDGED: Advice = Advice {
    meaning: "the controller has not judged this version of the SealedSecret yet",
    remedy: "wait some seconds. If this stays, see if the controller runs and serves the namespace",
};
const UNKNOWN: Advice =
    Advice { meaning: "this version of waxseal does not know the reason", remedy: "update waxseal" };

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details {
    #[serde(flatten)]
    row: StatusRow,
    conditions: Vec<Explained>,
    sealed_to: Vec<SealedTo>,
    secret: DescribedSecret,
}

/// A condition, and what it means for a user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    since_seconds: Option<i64>,
    meaning: Option<&'static str>,
    remedy: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SealedTo {
    key: String,
    /// Whether the controller has proven all wraps for the key.
    proven: bool,
}

/// The Secret that the SealedSecret describes.
#[derive(Serialize)]
struct DescribedSecret {
    namespace: String,
    name: String,
    #[serde(rename = "type")]
    type_: String,
}

impl Details {
    pub(super) fn of(object: &SealedSecretState, now: Timestamp) -> Self {
        let mut conditions: Vec<_> =
            object.conditions().iter().map(|condition| Explained::of(condition, now)).collect();
        if conditions.is_empty() {
            conditions.push(Explained::not_judged());
        }
        let sealed_to = object.keys().into_iter();
        Self {
            row: StatusRow::of(object, now),
            conditions,
            sealed_to: sealed_to.map(|(key, proven)| SealedTo { key: key.to_owned(), proven }).collect(),
            secret: DescribedSecret {
                namespace: object.namespace().to_owned(),
                name: object.name().to_owned(),
                type_: object.secret_type().unwrap_or(DEFAULT_TYPE).to_owned(),
            },
        }
    }

    pub(super) fn text(&self) -> String {
        let age = self.row.age_seconds.map(|seconds| format!(", {} old", age(seconds))).unwrap_or_default();
        let mut lines = vec![format!("SealedSecret {}/{}{age}", self.row.namespace, self.row.name)];
        lines.extend(self.conditions.iter().flat_map(Explained::lines));
        lines.push("Sealed to:".to_owned());
        lines.extend(self.sealed_to.iter().map(SealedTo::line));
        let DescribedSecret { namespace, name, type_ } = &self.secret;
        lines.push(format!("Secret: {namespace}/{name}, type {}", name_or_ellipsis(type_)));
        lines.iter().map(|line| escaped(line).into_owned() + "\n").collect()
    }
}

impl Explained {
    fn of(condition: &Condition, now: Timestamp) -> Self {
        let advice = advice(condition);
        Self {
            type_: name_or_ellipsis(&condition.type_).to_owned(),
            status: name_or_ellipsis(&condition.status).to_owned(),
            reason: Some(name_or_ellipsis(&condition.reason).to_owned()),
            message: Some(condition.message.clone()),
            since_seconds: Some(now.duration_since(condition.last_transition_time.0).as_secs().max(0)),
            meaning: advice.map(|advice| advice.meaning),
            remedy: advice.map(|advice| advice.remedy),
        }
    }

    fn not_judged() -> Self {
        Self {
            type_: "Ready".to_owned(),
            status: "Unknown".to_owned(),
            reason: None,
            message: None,
            since_seconds: None,
            meaning: Some(NOT_JUDGED.meaning),
            remedy: Some(NOT_JUDGED.remedy),
        }
    }

    fn lines(&self) -> Vec<String> {
        let since = self.since_seconds.map(|seconds| format!(" for {}", age(seconds))).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
        let more = [("message", self.message.as_deref()), ("meaning", self.meaning), ("to do", self.remedy)];
        let more = more.into_iter().filter_map(|(what, text)| Some(format!("  {what}: {}", text?)));
        [format!("{}: {}{since}{reason}", self.type_, self.status)].into_iter().chain(more).collect()
    }
}

/// The advice for the conditions that have reasons of their own; the others repeat the reason of `Ready`.
fn advice(condition: &Condition) -> Option<Advice> {
    match condition.type_.as_str() {
        "Ready" => Some(Reason::parse(&condition.reason).map_or(UNKNOWN, for_ready)),
        "KeyCurrent" => Some(KeyReason::parse(&condition.reason).map_or(UNKNOWN, for_key_current)),
        _ => None,
    }
}

impl SealedTo {
    fn line(&self) -> String {
        let key = name_or_ellipsis(&self.key);
        match self.proven {
            true => format!("  {key} (the controller has checked the wraps for this key)"),
            false => format!("  {key}"),
        }
    }
}

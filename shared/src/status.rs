//! What a SealedSecret's status says: conditions that follow kstatus.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::names::{EnvelopeId, KeyId};
use crate::reason::{Reason, Standing};
use crate::sealed_secret::{SealedSecret, SealedSecretStatus};

/// `kubectl describe` shows all conditions: the message stands in `Ready`, once.
const WAITING: &str = "the controller tries again by itself; the condition Ready says what it waits for";
const STALLED: &str = "this SealedSecret does not heal by waiting; the condition Ready says what is wrong";

/// A judgement of one object: the reason and what a person should know. Never shows a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The word from the closed list.
    pub reason: Reason,
    /// A sentence for people: names, never values.
    pub message: String,
    /// Whether somebody should look at it: always, unless the object is ready, and then if
    /// something else was found.
    pub is_warning: bool,
}

impl Verdict {
    /// Joins a reason and a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), is_warning: reason.standing() != Standing::Ready }
    }
}

/// What is said of a wrap whose proof failed (FORMAT.md §7.4).
pub fn broken_wrap(envelope: &EnvelopeId, key: &KeyId) -> String {
    format!("WrapBroken: envelope {envelope}: the wrap for {key} is broken")
}

/// The status that an object shall have after a verdict on its present generation.
///
/// `Ready` is always there; `Stalled` and `Reconciling` only while they are true. A condition keeps
/// its transition time while its status stays. Equal to the status that the object has, if there
/// is nothing to write.
pub fn after(object: &SealedSecret, verdict: &Verdict, now: Timestamp) -> SealedSecretStatus {
    let standing = verdict.reason.standing();
    let ready = if standing == Standing::Ready { "True" } else { "False" };
    let mut wanted = vec![("Ready", ready, verdict.message.as_str())];
    match standing {
        Standing::Ready => {}
        Standing::Waiting => wanted.push(("Reconciling", "True", WAITING)),
        Standing::Stalled => wanted.push(("Stalled", "True", STALLED)),
    }
    let previous = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let conditions = wanted
        .into_iter()
        .map(|(type_, status, message)| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.as_str().to_owned(),
            message: message.to_owned(),
            observed_generation: object.metadata.generation,
            last_transition_time: transition_time(type_, status, previous, now),
        })
        .collect();
    SealedSecretStatus { observed_generation: object.metadata.generation, conditions, settled: None }
}

fn transition_time(type_: &str, status: &str, previous: &[Condition], now: Timestamp) -> Time {
    let same = previous.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    same.map_or_else(|| Time(whole_seconds(now)), |condition| condition.last_transition_time.clone())
}

/// Kubernetes' own times have whole seconds (`metav1.Time`).
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
    }

    fn object(generation: i64) -> SealedSecret {
        let mut object = SealedSecret::new("db", crate::sealed_secret::SealedSecretSpec::default());
        object.metadata.generation = Some(generation);
        object
    }

    fn types(status: &SealedSecretStatus) -> Vec<(&str, &str)> {
        status.conditions.iter().map(|condition| (condition.type_.as_str(), condition.status.as_str())).collect()
    }

    #[test]
    fn each_standing_has_its_conditions() {
        let conditions = |reason| after(&object(3), &Verdict::new(reason, ""), second(1));
        assert_eq!(types(&conditions(Reason::Materialised)), [("Ready", "True")]);
        assert_eq!(types(&conditions(Reason::Conflict)), [("Ready", "False"), ("Reconciling", "True")]);
        assert_eq!(types(&conditions(Reason::Moved)), [("Ready", "False"), ("Stalled", "True")]);
        assert_eq!(conditions(Reason::Moved).observed_generation, Some(3));
    }

    #[test]
    fn the_message_stands_in_ready_alone() {
        for reason in [Reason::Conflict, Reason::Moved] {
            let status = after(&object(3), &Verdict::new(reason, "what happened"), second(1));
            let said = status.conditions.iter().filter(|condition| condition.message == "what happened");
            assert_eq!(said.map(|condition| condition.type_.as_str()).collect::<Vec<_>>(), ["Ready"]);
        }
    }

    #[test]
    fn whatever_is_not_ready_is_a_warning() {
        for (reason, expected) in [(Reason::Materialised, false), (Reason::Conflict, true), (Reason::Moved, true)] {
            assert_eq!(Verdict::new(reason, "").is_warning, expected, "{reason}");
        }
    }

    #[test]
    fn times_have_whole_seconds() {
        let now = Timestamp::new(7, 999_999_999).expect("a small number");
        let status = after(&object(1), &Verdict::new(Reason::Moved, ""), now);
        assert!(status.conditions.iter().all(|condition| condition.last_transition_time.0 == second(7)));
    }

    #[test]
    fn the_same_verdict_again_changes_nothing() {
        let mut object = object(1);
        let verdict = Verdict::new(Reason::KeyMissing, "no key");
        let first = after(&object, &verdict, second(1));
        object.status = Some(first.clone());
        assert_eq!(after(&object, &verdict, second(9)), first);
    }

    #[test]
    fn another_reason_keeps_the_transition_time_of_what_stayed() {
        let mut object = object(1);
        object.status = Some(after(&object, &Verdict::new(Reason::KeyMissing, ""), second(1)));
        let next = after(&object, &Verdict::new(Reason::Conflict, ""), second(9));
        let times: Vec<_> = next.conditions.iter().map(|condition| condition.last_transition_time.0).collect();
        assert_eq!(times, [second(1), second(9)]);
    }
}

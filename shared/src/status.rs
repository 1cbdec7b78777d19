//! The status of a SealedSecret: conditions that follow kstatus.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::judgement::{Fact, Judgement};
use crate::key_life::whole_seconds;
use crate::reason::Standing;
use crate::sealed_secret::{OfferedWraps, SealedSecret, SealedSecretStatus};

// `kubectl describe` prints the message of every condition, so only `Ready` has the full text.
const WAITING: &str = "the controller tries again by itself; the condition Ready says what it waits for";
const STALLED: &str = "waiting does not help; the condition Ready says what is wrong";

/// The status of an object after a judgement on its present generation, without `settled`.
///
/// `Ready` is always there; `KeyCurrent` only while it is false, `Stalled` and `Reconciling` only while they are true.
/// A condition keeps its transition time while its status stays. If the judgement changes nothing, the conditions are
/// equal to the present ones.
pub fn after(object: &SealedSecret, judgement: &Judgement, now: Timestamp) -> SealedSecretStatus {
    let mut facts = judgement.facts();
    let progress = |condition, message: &str| {
        let (reason, message) = (judgement.reason.as_str(), message.to_owned());
        Fact { condition, is_true: true, reason, message }
    };
    match judgement.reason.standing() {
        Standing::Ready => {}
        Standing::Waiting => facts.push(progress("Reconciling", WAITING)),
        Standing::Stalled => facts.push(progress("Stalled", STALLED)),
    }
    let previous = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let conditions = facts
        .into_iter()
        .map(|fact| {
            let status = if fact.is_true { "True" } else { "False" };
            Condition {
                type_: fact.condition.to_owned(),
                status: status.to_owned(),
                reason: fact.reason.to_owned(),
                message: fact.message,
                observed_generation: object.metadata.generation,
                last_transition_time: transition_time(fact.condition, status, previous, now),
            }
        })
        .collect();
    let (keys, rewrapped) = wraps_after(object, judgement);
    SealedSecretStatus { observed_generation: object.metadata.generation, conditions, keys, rewrapped, settled: None }
}

/// Whether a status is about the present generation of its object; `false` without a status, and for the default of −1.
pub fn is_about(observed_generation: Option<i64>, generation: Option<i64>) -> bool {
    generation.is_some() && observed_generation == generation
}

/// The keys of the envelopes and the offered wraps. Both stay while the controller waits and the generation is the
/// same. On a folder, objects have no generation, so both go.
fn wraps_after(
    object: &SealedSecret,
    judgement: &Judgement,
) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, OfferedWraps>) {
    if let Some(wraps) = &judgement.wraps {
        return (wraps.keys.clone(), wraps.offers.clone());
    }
    let is_waiting = judgement.reason.standing() == Standing::Waiting;
    let still_holds =
        |status: &&SealedSecretStatus| is_waiting && is_about(status.observed_generation, object.metadata.generation);
    let previous = object.status.as_ref().filter(still_holds);
    previous.map(|status| (status.keys.clone(), status.rewrapped.clone())).unwrap_or_default()
}

fn transition_time(type_: &str, status: &str, previous: &[Condition], now: Timestamp) -> Time {
    let same = previous.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    same.map_or_else(|| Time(whole_seconds(now)), |condition| condition.last_transition_time.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

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
    fn only_a_status_about_the_present_generation_counts() {
        assert!(is_about(Some(3), Some(3)));
        for (observed, generation) in [(Some(2), Some(3)), (Some(-1), Some(1)), (None, Some(1)), (None, None)] {
            assert!(!is_about(observed, generation), "{observed:?} {generation:?}");
        }
    }

    #[test]
    fn each_standing_has_its_conditions() {
        let conditions = |reason| after(&object(3), &Judgement::new(reason, ""), second(1));
        assert_eq!(types(&conditions(Reason::Materialised)), [("Ready", "True")]);
        assert_eq!(types(&conditions(Reason::Conflict)), [("Ready", "False"), ("Reconciling", "True")]);
        assert_eq!(types(&conditions(Reason::Moved)), [("Ready", "False"), ("Stalled", "True")]);
        assert_eq!(conditions(Reason::Moved).observed_generation, Some(3));
    }

    #[test]
    fn the_message_stands_in_ready_alone() {
        for reason in [Reason::Conflict, Reason::Moved] {
            let status = after(&object(3), &Judgement::new(reason, "what happened"), second(1));
            let said = status.conditions.iter().filter(|condition| condition.message == "what happened");
            assert_eq!(said.map(|condition| condition.type_.as_str()).collect::<Vec<_>>(), ["Ready"]);
        }
    }

    #[test]
    fn times_have_whole_seconds() {
        let now = Timestamp::new(7, 999_999_999).expect("a small number");
        let status = after(&object(1), &Judgement::new(Reason::Moved, ""), now);
        assert!(status.conditions.iter().all(|condition| condition.last_transition_time.0 == second(7)));
    }

    #[test]
    fn the_same_judgement_again_changes_nothing() {
        let mut object = object(1);
        let judgement = Judgement::new(Reason::KeyMissing, "no key");
        let first = after(&object, &judgement, second(1));
        object.status = Some(first.clone());
        assert_eq!(after(&object, &judgement, second(9)), first);
    }

    #[test]
    fn another_reason_keeps_the_transition_time_of_a_condition_that_stays() {
        let mut object = object(1);
        object.status = Some(after(&object, &Judgement::new(Reason::KeyMissing, ""), second(1)));
        let next = after(&object, &Judgement::new(Reason::Conflict, ""), second(9));
        let times: Vec<_> = next.conditions.iter().map(|condition| condition.last_transition_time.0).collect();
        assert_eq!(times, [second(1), second(9)]);
    }
}

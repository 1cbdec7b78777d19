//! The result of judging one SealedSecret: the facts for its status and for the log.

use std::collections::BTreeSet;

use crate::reason::{Reason, Standing};
use crate::rotation::{KeyFinding, WrapReview};
use crate::sealed_secret::SealedSecretStatus;

/// The largest number of findings that a message names. A user who edits the object can break a thousand wraps, and
/// Kubernetes limits the message of a condition to 32 KiB.
const NAMED_FINDINGS: usize = 16;

/// The result of judging one object. Never contains a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The reason of the condition `Ready`.
    pub reason: Reason,
    /// The message of the condition `Ready`: a sentence for people, with names and never values.
    pub message: String,
    /// The state of the wraps; `None` if the Secret is not as the SealedSecret says.
    pub wraps: Option<WrapReview>,
}

/// One condition of a status, without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The type of the condition.
    pub condition: &'static str,
    /// Whether the condition is true. For `Ready` and `KeyCurrent` that is the good case, for `Stalled` and
    /// `Reconciling` the bad case.
    pub is_true: bool,
    /// The reason of the condition.
    pub reason: &'static str,
    /// The message of the condition.
    pub message: String,
}

impl Judgement {
    /// A judgement that says nothing about the wraps.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), wraps: None }
    }

    /// The judgement on an object whose Secret is right.
    pub fn materialised(wraps: WrapReview) -> Self {
        Self { wraps: Some(wraps), ..Self::new(Reason::Materialised, "the Secret is as this SealedSecret says") }
    }

    /// Whether the Secret is as its SealedSecret says.
    pub fn is_ready(&self) -> bool {
        self.reason.standing() == Standing::Ready
    }

    /// The facts in the order of the status: `Ready` always, `KeyCurrent` only while it is false. `Reconciling` and
    /// `Stalled` are not among them: [`crate::status::after`] adds them.
    pub fn facts(&self) -> Vec<Fact> {
        let (reason, message) = (self.reason.as_str(), self.message.clone());
        let mut facts = vec![Fact { condition: "Ready", is_true: self.is_ready(), reason, message }];
        // The findings are in the order of urgency.
        if let Some(findings) = self.wraps.as_ref().map(|wraps| &wraps.findings)
            && let Some(first) = findings.first()
        {
            let (reason, message) = (first.reason().as_str(), joined(findings));
            facts.push(Fact { condition: "KeyCurrent", is_true: false, reason, message });
        }
        facts
    }
}

impl Fact {
    /// Whether a status already states this fact.
    pub fn is_stated_in(&self, status: Option<&SealedSecretStatus>) -> bool {
        let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
        conditions.any(|condition| {
            condition.type_ == self.condition && condition.reason == self.reason && condition.message == self.message
        })
    }
}

fn joined(findings: &BTreeSet<KeyFinding>) -> String {
    let mut named: Vec<_> = findings.iter().take(NAMED_FINDINGS).map(KeyFinding::to_string).collect();
    match findings.len().saturating_sub(NAMED_FINDINGS) {
        0 => {}
        more => named.push(format!("and {more} more")),
    }
    named.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{EnvelopeId, KeyId};
    use crate::open::BrokenWrap;

    fn broken_wraps(count: u64) -> WrapReview {
        let envelope = EnvelopeId::parse("e7f3a9c21e0").expect("an envelope id");
        let key = |number| KeyId::parse(&format!("k{number:016x}")).expect("a key id");
        let broken = |number| KeyFinding::WrapBroken(BrokenWrap { envelope: envelope.clone(), key: key(number) });
        WrapReview { findings: (0..count).map(broken).collect(), ..WrapReview::default() }
    }

    #[test]
    fn ready_is_true_only_when_materialised() {
        for (reason, expected) in [(Reason::Materialised, true), (Reason::Conflict, false), (Reason::Moved, false)] {
            let facts = Judgement::new(reason, "why").facts();
            let is_true = facts.iter().map(|fact| (fact.condition, fact.is_true)).collect::<Vec<_>>();
            assert_eq!(is_true, [("Ready", expected)], "{reason}");
            assert_eq!((facts[0].reason, facts[0].message.as_str()), (reason.as_str(), "why"));
        }
    }

    #[test]
    fn broken_wraps_make_key_current_false_and_leave_ready_alone() {
        let facts = Judgement::materialised(broken_wraps(2)).facts();
        assert_eq!(facts[0], Judgement::materialised(WrapReview::default()).facts()[0]);
        let expected = "envelope e7f3a9c21e0: the wrap for k0000000000000000 is broken; envelope e7f3a9c21e0: the wrap \
                        for k0000000000000001 is broken";
        let key_current =
            Fact { condition: "KeyCurrent", is_true: false, reason: "WrapBroken", message: expected.to_owned() };
        assert_eq!(facts[1..], [key_current]);
    }

    #[test]
    fn sixteen_broken_wraps_are_named_and_the_others_counted() {
        let message = |count| Judgement::materialised(broken_wraps(count)).facts()[1].message.clone();
        assert!(!message(16).contains("more"), "{}", message(16));
        assert_eq!(message(30), format!("{}; and 14 more", message(16)));
    }
}

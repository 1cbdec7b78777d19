//! The result of judging one SealedSecret: the facts for its status and for the log.

use crate::open::BrokenWrap;
use crate::reason::{Reason, Standing};
use crate::sealed_secret::SealedSecretStatus;

/// The largest number of broken wraps that a message names. An editor can break a thousand wraps, and Kubernetes limits
/// the message of a condition to 32 KiB.
const NAMED_BROKEN_WRAPS: usize = 16;

/// The result of judging one object. Never contains a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The reason of the condition `Ready`.
    pub reason: Reason,
    /// The message of the condition `Ready`: a sentence for people, with names and never values.
    pub message: String,
    /// The wraps whose proof failed (FORMAT.md §7.4); empty unless the object was opened.
    pub broken_wraps: Vec<BrokenWrap>,
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
    /// A judgement without broken wraps.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), broken_wraps: Vec::new() }
    }

    /// The judgement on an object whose Secret is right.
    pub fn materialised(broken_wraps: Vec<BrokenWrap>) -> Self {
        Self { broken_wraps, ..Self::new(Reason::Materialised, "the Secret is as this SealedSecret says") }
    }

    /// Whether the Secret is as its SealedSecret says.
    pub fn is_ready(&self) -> bool {
        self.reason.standing() == Standing::Ready
    }

    /// The facts in the order of the status: `Ready` always, `KeyCurrent` only while it is false.
    pub fn facts(&self) -> Vec<Fact> {
        let (reason, message) = (self.reason.as_str(), self.message.clone());
        let mut facts = vec![Fact { condition: "Ready", is_true: self.is_ready(), reason, message }];
        if !self.broken_wraps.is_empty() {
            let message = joined(&self.broken_wraps);
            facts.push(Fact { condition: "KeyCurrent", is_true: false, reason: "WrapBroken", message });
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

fn joined(broken_wraps: &[BrokenWrap]) -> String {
    let mut named: Vec<_> = broken_wraps.iter().take(NAMED_BROKEN_WRAPS).map(BrokenWrap::to_string).collect();
    match broken_wraps.len().saturating_sub(NAMED_BROKEN_WRAPS) {
        0 => {}
        more => named.push(format!("and {more} more")),
    }
    named.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{EnvelopeId, KeyId};

    fn broken_wraps(count: u64) -> Vec<BrokenWrap> {
        let envelope = EnvelopeId::parse("e7f3a9c21e0").expect("an envelope id");
        let key = |number| KeyId::parse(&format!("k{number:016x}")).expect("a key id");
        (0..count).map(|number| BrokenWrap { envelope: envelope.clone(), key: key(number) }).collect()
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
        assert_eq!(facts[0], Judgement::materialised(Vec::new()).facts()[0]);
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

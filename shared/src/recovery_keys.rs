//! The recovery keys of a cluster. They come from the controller's configuration alone: every new value is sealed to
//! them and every envelope wrapped for them, so a user must not be able to add one in another way.

use jiff::Timestamp;
use thiserror::Error;

use crate::key::{KeyKind, Recipient, RecipientError};
use crate::key_life::{HeldKey, check_creation_time, whole_seconds};
use crate::names::KeyId;
use crate::sealing_key::{KeyRole, KeyState, PublishedKey};

/// The most recovery keys. An envelope has at most 16 wraps, and needs some for the keys of clusters.
pub const MAX_RECOVERY_KEYS: usize = 8;

/// The recovery keys in the configuration of a controller, each once.
#[derive(Debug, Clone, Default)]
pub struct RecoveryKeys(Vec<Recipient>);

/// Why the configuration of the recovery keys is refused. Never quotes it: it may hold a private key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecoveryKeyError {
    /// A text is not a recipient.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
    /// The recipient is classic.
    #[error(
        "{0} is a classic key (X25519): the keys of clusters are post-quantum, and an envelope has wraps of one kind \
         only; make a key with `waxseal keys generate --recovery`"
    )]
    Classic(KeyId),
    /// The recipient is given twice.
    #[error("{0} is given twice")]
    Twice(KeyId),
    /// There are too many recipients.
    #[error("more than {MAX_RECOVERY_KEYS} recovery keys")]
    TooMany,
}

impl RecoveryKeys {
    /// Adds a recipient.
    ///
    /// # Errors
    ///
    /// The text is not a recipient, the recipient is classic or was added before, or there are too many.
    pub fn add(&mut self, text: &str) -> Result<(), RecoveryKeyError> {
        let recipient = Recipient::parse(text)?;
        let id = recipient.key_id().clone();
        match recipient.kind() {
            KeyKind::Classic => Err(RecoveryKeyError::Classic(id)),
            KeyKind::Hybrid if self.0.contains(&recipient) => Err(RecoveryKeyError::Twice(id)),
            KeyKind::Hybrid if self.0.len() == MAX_RECOVERY_KEYS => Err(RecoveryKeyError::TooMany),
            KeyKind::Hybrid => {
                self.0.push(recipient);
                Ok(())
            }
        }
    }

    /// The recipients.
    pub fn recipients(&self) -> &[Recipient] {
        &self.0
    }

    /// The keys to publish. A key whose identity the controller holds is not a recovery key, and is left out: the
    /// second list has its id.
    ///
    /// `present` returns the published key of a recipient. The key keeps its state. It keeps its creation time too,
    /// unless [`check_creation_time`] refuses that time. A recipient has no time of its own. If each start of the
    /// controller set a new time, everybody would see a changed key.
    pub fn to_publish(
        &self,
        held: &[HeldKey],
        present: impl Fn(&Recipient) -> Option<PublishedKey>,
        now: Timestamp,
    ) -> (Vec<PublishedKey>, Vec<KeyId>) {
        let is_held = |recipient: &&Recipient| held.iter().any(|key| key.published().recipient == **recipient);
        let (held_here, offline): (Vec<_>, Vec<_>) = self.0.iter().partition(is_held);
        let publish = |recipient: &Recipient| {
            let present = present(recipient);
            let time =
                present.as_ref().map(|key| key.created_at).filter(|time| check_creation_time(*time, now).is_ok());
            PublishedKey {
                recipient: recipient.clone(),
                role: KeyRole::Recovery,
                created_at: time.unwrap_or_else(|| whole_seconds(now)),
                state: present.map_or(KeyState::Active, |key| key.state),
            }
        };
        let ids = held_here.into_iter().map(|recipient| recipient.key_id().clone());
        (offline.into_iter().map(publish).collect(), ids.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Identity;
    use crate::randomness;

    fn identity(kind: KeyKind) -> Identity {
        Identity::generate(kind, &mut randomness::system())
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
    }

    #[test]
    fn each_wrong_recipient_has_its_error() {
        let (hybrid, classic) = (identity(KeyKind::Hybrid), identity(KeyKind::Classic));
        let mut keys = RecoveryKeys::default();
        let text = hybrid.recipient().as_str();
        assert_eq!(keys.add(text), Ok(()));
        let id = hybrid.recipient().key_id().clone();
        assert_eq!(keys.add(text), Err(RecoveryKeyError::Twice(id)));
        let id = classic.recipient().key_id().clone();
        assert_eq!(keys.add(classic.recipient().as_str()), Err(RecoveryKeyError::Classic(id)));
        assert_eq!(keys.add(&hybrid.expose()), Err(RecoveryKeyError::Recipient(RecipientError::IsIdentity)));
        for _ in 1..MAX_RECOVERY_KEYS {
            assert_eq!(keys.add(identity(KeyKind::Hybrid).recipient().as_str()), Ok(()));
        }
        assert_eq!(keys.add(identity(KeyKind::Hybrid).recipient().as_str()), Err(RecoveryKeyError::TooMany));
        assert_eq!(keys.recipients().len(), MAX_RECOVERY_KEYS);
    }

    #[test]
    fn a_key_keeps_the_time_and_state_that_it_was_published_with() {
        let (own, offline) = (identity(KeyKind::Hybrid), identity(KeyKind::Hybrid));
        let own_id = own.recipient().key_id().clone();
        let mut keys = RecoveryKeys::default();
        keys.add(own.recipient().as_str()).expect("a recipient");
        keys.add(offline.recipient().as_str()).expect("a recipient");
        let held = [HeldKey::new(own, KeyRole::Cluster, second(1), KeyState::Active)];
        let publish = |present: Option<PublishedKey>| keys.to_publish(&held, |_| present.clone(), second(9));
        let (made, held_here) = publish(None);
        let recipient = offline.recipient().clone();
        let new = PublishedKey { recipient, role: KeyRole::Recovery, created_at: second(9), state: KeyState::Active };
        assert_eq!((&made[..], held_here), (std::slice::from_ref(&new), vec![own_id]));
        let present = PublishedKey { created_at: second(3), state: KeyState::Retired, ..new.clone() };
        assert_eq!(publish(Some(present.clone())).0, [present]);
        let of_future = PublishedKey { created_at: second(10_000), role: KeyRole::Cluster, ..new.clone() };
        assert_eq!(publish(Some(of_future)).0, [new]);
    }
}

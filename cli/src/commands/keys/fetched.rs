//! How the SealingKeys of a cluster change a keys file.

use waxseal_shared::key::Recipient;
use waxseal_shared::key_life::primary;
use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::cluster::ClusterKey;

/// A keys file after a fetch, and its changes.
#[derive(Debug)]
pub(super) struct Fetched {
    /// All keys of the file.
    pub(super) keys: Vec<PublishedKey>,
    /// A change for each key that is new or in another state, and for each Active cluster key that the cluster does not
    /// publish any more.
    pub(super) changes: Vec<KeyChange>,
    /// The keys that are Revoked in the file, and that the cluster publishes in another state. They stay Revoked.
    pub(super) still_revoked: Vec<KeyId>,
    /// The Active recovery keys of the file that the cluster does not publish. They stay Active, and everything is
    /// sealed to them.
    pub(super) only_in_file: Vec<KeyId>,
    /// The keys that count as Active although Retired is requested for them: the controller has not carried the request
    /// out, and no other cluster key is Active.
    pub(super) not_retired_yet: Vec<KeyId>,
    /// The new primary; `None` if the primary stays or if the file is new.
    pub(super) new_primary: Option<NewPrimary>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum NewPrimary {
    Key(KeyId),
    /// No cluster key is Active.
    Absent,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyChange {
    /// The key as it is in the file afterwards.
    pub(super) key: PublishedKey,
    pub(super) kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    /// The file does not have the key yet.
    Added,
    /// The cluster does not publish the key any more: the key becomes Retired.
    Gone,
    /// The state is stricter than before.
    Tightened { from: KeyState },
    /// The state is less strict than before.
    Loosened { from: KeyState },
}

/// A key that has another role in the cluster than in the file, or a cluster key that has another creation time there.
/// The role of a key never changes, nor does the creation time of a cluster key. The creation time of a recovery key
/// does not count: each cluster sets it when the cluster first publishes the key.
#[derive(Debug)]
pub(super) struct Contradiction(pub(super) KeyId);

impl Fetched {
    /// Merges the keys of the cluster, which may contain duplicates, into the keys of the file.
    ///
    /// The requested states count. But a controller retires its only Active key only when it has made another one. So
    /// if no cluster key would be Active, the keys that the controller still confirms as Active count as Active, unless
    /// Revoked is requested for them.
    pub(super) fn merge(file: &[PublishedKey], cluster: &[ClusterKey]) -> Result<Self, Contradiction> {
        let requested = cluster.iter().map(|found| found.key.clone()).collect();
        let fetched = Self::merge_published(file, requested)?;
        if primary(&fetched.keys).is_some() {
            return Ok(fetched);
        }
        let state = |found: &ClusterKey| if waits_for_retirement(found) { KeyState::Active } else { found.key.state };
        let counted = cluster.iter().map(|found| PublishedKey { state: state(found), ..found.key.clone() }).collect();
        let fetched = Self::merge_published(file, counted)?;
        // By the requested states no cluster key is Active. So each cluster key that counts as Active waits for its
        // retirement.
        let is_active = |key: &&PublishedKey| (key.role, key.state) == (KeyRole::Cluster, KeyState::Active);
        let active = fetched.keys.iter().filter(is_active);
        let not_retired_yet = active.map(|key| key.recipient.key_id().clone()).collect();
        Ok(Self { not_retired_yet, ..fetched })
    }

    /// Merges the keys of the cluster in these states.
    ///
    /// A key that the cluster does not publish any more stays in the file, because the file says which cluster a wrap
    /// is for. If it is an Active key of the role Cluster, it becomes Retired. A key that is Revoked in the file stays
    /// Revoked. A recovery key keeps the creation time that it has in the file.
    fn merge_published(file: &[PublishedKey], cluster: Vec<PublishedKey>) -> Result<Self, Contradiction> {
        let (mut keys, mut changes, mut still_revoked) = (Vec::new(), Vec::new(), Vec::new());
        for mut key in cluster {
            if find(&keys, &key.recipient).is_some() {
                continue;
            }
            let before = find(file, &key.recipient);
            if let Some(before) = before {
                // The time of a recovery key is the time when this cluster first had it in its configuration. A new
                // cluster sets another time.
                if (before.role, key.role) == (KeyRole::Recovery, KeyRole::Recovery) {
                    key.created_at = before.created_at;
                }
                if (before.role, before.created_at) != (key.role, key.created_at) {
                    return Err(Contradiction(key.recipient.key_id().clone()));
                }
                if before.state == KeyState::Revoked && key.state != KeyState::Revoked {
                    still_revoked.push(key.recipient.key_id().clone());
                    key.state = KeyState::Revoked;
                }
            }
            changes.extend(change_of_state(before, &key).map(|kind| KeyChange { key: key.clone(), kind }));
            keys.push(key);
        }
        let unpublished: Vec<_> = file.iter().filter(|key| find(&keys, &key.recipient).is_none()).cloned().collect();
        let mut only_in_file = Vec::new();
        for mut key in unpublished {
            match (key.role, key.state) {
                (KeyRole::Cluster, KeyState::Active) => {
                    key.state = KeyState::Retired;
                    changes.push(KeyChange { key: key.clone(), kind: ChangeKind::Gone });
                }
                (KeyRole::Recovery, KeyState::Active) => only_in_file.push(key.recipient.key_id().clone()),
                _ => {}
            }
            keys.push(key);
        }
        let new_primary = new_primary(file, &keys);
        Ok(Self { keys, changes, still_revoked, only_in_file, not_retired_yet: Vec::new(), new_primary })
    }
}

impl ChangeKind {
    /// Whether the user must agree. Only a stricter state that the cluster publishes needs no consent.
    pub(super) fn needs_consent(self) -> bool {
        !matches!(self, Self::Tightened { .. })
    }
}

/// Whether Retired is requested for a cluster key, and the controller has not carried it out.
fn waits_for_retirement(ClusterKey { key, status }: &ClusterKey) -> bool {
    (key.role, key.state) == (KeyRole::Cluster, KeyState::Retired) && status.state == Some(KeyState::Active)
}

fn find<'a>(keys: &'a [PublishedKey], recipient: &Recipient) -> Option<&'a PublishedKey> {
    keys.iter().find(|key| key.recipient == *recipient)
}

fn change_of_state(before: Option<&PublishedKey>, after: &PublishedKey) -> Option<ChangeKind> {
    match before.map(|before| before.state) {
        None => Some(ChangeKind::Added),
        Some(from) if from < after.state => Some(ChangeKind::Tightened { from }),
        Some(from) if from > after.state => Some(ChangeKind::Loosened { from }),
        Some(_) => None,
    }
}

fn new_primary(before: &[PublishedKey], after: &[PublishedKey]) -> Option<NewPrimary> {
    let id = |key: &PublishedKey| key.recipient.key_id().clone();
    let (old, new) = (primary(before).map(id), primary(after).map(id));
    if old == new || before.is_empty() {
        return None;
    }
    Some(new.map_or(NewPrimary::Absent, NewPrimary::Key))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use waxseal_shared::key::{Identity, KeyKind};
    use waxseal_shared::randomness;
    use waxseal_shared::sealing_key::SealingKeyStatus;

    use super::*;

    fn key(role: KeyRole, state: KeyState, second: i64) -> PublishedKey {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let created_at = Timestamp::from_second(second).expect("a small number");
        PublishedKey { recipient: identity.recipient().clone(), role, created_at, state }
    }

    fn with_state(key: &PublishedKey, state: KeyState) -> PublishedKey {
        PublishedKey { state, ..key.clone() }
    }

    /// A key as the cluster publishes it; `confirmed` is the state that the controller confirms.
    fn published(key: &PublishedKey, confirmed: Option<KeyState>) -> ClusterKey {
        ClusterKey { key: key.clone(), status: SealingKeyStatus { state: confirmed, ..SealingKeyStatus::default() } }
    }

    fn merged(file: &[PublishedKey], cluster: &[PublishedKey]) -> Result<Fetched, Contradiction> {
        Fetched::merge(file, &cluster.iter().map(|key| published(key, Some(key.state))).collect::<Vec<_>>())
    }

    fn fetched(file: &[PublishedKey], cluster: &[PublishedKey]) -> Fetched {
        merged(file, cluster).expect("no contradiction")
    }

    #[test]
    fn keys_gone_from_the_cluster_stay_in_the_file_and_active_cluster_keys_become_retired() {
        let published = key(KeyRole::Cluster, KeyState::Active, 1);
        for (role, state) in [
            (KeyRole::Recovery, KeyState::Active),
            (KeyRole::Recovery, KeyState::Retired),
            (KeyRole::Recovery, KeyState::Revoked),
            (KeyRole::Cluster, KeyState::Revoked),
            (KeyRole::Cluster, KeyState::Retired),
            (KeyRole::Cluster, KeyState::Active),
        ] {
            let gone = key(role, state, 0);
            let Fetched { keys, changes, only_in_file, .. } =
                fetched(&[published.clone(), gone.clone()], std::slice::from_ref(&published));
            if (role, state) == (KeyRole::Cluster, KeyState::Active) {
                let retired = with_state(&gone, KeyState::Retired);
                let change = KeyChange { key: retired.clone(), kind: ChangeKind::Gone };
                assert_eq!((keys, changes), (vec![published.clone(), retired], vec![change]));
            } else {
                assert_eq!((keys, changes), (vec![published.clone(), gone.clone()], Vec::new()));
            }
            let is_active_recovery_key = (role, state) == (KeyRole::Recovery, KeyState::Active);
            assert_eq!(only_in_file.contains(gone.recipient.key_id()), is_active_recovery_key);
        }
    }

    #[test]
    fn a_state_can_change_but_a_revoked_key_stays_revoked() {
        use KeyState::{Active, Retired, Revoked};
        for (from, to, kind, after) in [
            (Active, Retired, Some(ChangeKind::Tightened { from: Active }), Retired),
            (Retired, Revoked, Some(ChangeKind::Tightened { from: Retired }), Revoked),
            (Retired, Active, Some(ChangeKind::Loosened { from: Retired }), Active),
            (Revoked, Active, None, Revoked),
            (Revoked, Retired, None, Revoked),
        ] {
            let before = key(KeyRole::Cluster, from, 1);
            let result = fetched(std::slice::from_ref(&before), &[with_state(&before, to)]);
            let after = with_state(&before, after);
            let changes: Vec<_> = kind.map(|kind| KeyChange { key: after.clone(), kind }).into_iter().collect();
            assert_eq!((result.keys, result.changes), (vec![after], changes), "{from:?} to {to:?}");
            assert_eq!(result.still_revoked.len(), usize::from(from == Revoked));
        }
    }

    #[test]
    fn only_a_recovery_key_may_have_another_creation_time() {
        for role in [KeyRole::Recovery, KeyRole::Cluster] {
            let before = key(role, KeyState::Active, 1);
            let after =
                PublishedKey { created_at: Timestamp::from_second(2).expect("a small number"), ..before.clone() };
            let merged = merged(std::slice::from_ref(&before), &[after]);
            match role {
                KeyRole::Recovery => assert_eq!(merged.expect("no contradiction").keys, [before]),
                KeyRole::Cluster => assert!(merged.is_err()),
            }
        }
        let recovery = key(KeyRole::Recovery, KeyState::Active, 1);
        let disguised = PublishedKey { role: KeyRole::Cluster, ..recovery.clone() };
        assert!(merged(&[recovery], &[disguised]).is_err());
    }

    #[test]
    fn a_retirement_that_is_not_carried_out_counts_if_another_key_is_active() {
        use KeyState::{Active, Retired, Revoked};
        let (older, newer) = (key(KeyRole::Cluster, Active, 1), key(KeyRole::Cluster, Active, 2));
        for (requested, confirmed, requested_of_older, in_file, expected) in [
            (Retired, Some(Active), Retired, None, Active),
            (Retired, Some(Active), Retired, Some(Active), Active),
            (Retired, Some(Active), Retired, Some(Retired), Active),
            (Retired, Some(Active), Retired, Some(Revoked), Revoked),
            (Retired, Some(Active), Active, Some(Active), Retired),
            (Retired, Some(Retired), Retired, Some(Active), Retired),
            (Retired, None, Retired, Some(Active), Retired),
            (Revoked, Some(Active), Retired, Some(Active), Revoked),
            (Revoked, Some(Retired), Retired, Some(Active), Revoked),
        ] {
            let file: Vec<_> = in_file.map(|state| with_state(&newer, state)).into_iter().collect();
            let cluster = [
                published(&with_state(&older, requested_of_older), Some(requested_of_older)),
                published(&with_state(&newer, requested), confirmed),
            ];
            let fetched = Fetched::merge(&file, &cluster).expect("no contradiction");
            let found = find(&fetched.keys, &newer.recipient).expect("it is published");
            let case = (requested, confirmed, requested_of_older, in_file);
            assert_eq!(found.state, expected, "{case:?}");
            let named: Vec<_> = (expected == Active).then(|| newer.recipient.key_id().clone()).into_iter().collect();
            assert_eq!(fetched.not_retired_yet, named, "{case:?}");
        }
        // A recovery key never counts as the key of the cluster.
        let recovery = published(&key(KeyRole::Recovery, Retired, 1), Some(Active));
        let fetched = Fetched::merge(&[], &[recovery]).expect("no contradiction");
        assert_eq!((fetched.keys[0].state, fetched.not_retired_yet), (Retired, Vec::new()));
    }

    #[test]
    fn a_new_primary_is_reported() {
        let (old, new) = (key(KeyRole::Cluster, KeyState::Active, 1), key(KeyRole::Cluster, KeyState::Active, 2));
        let primary = |file: &[PublishedKey], cluster: &[PublishedKey]| fetched(file, cluster).new_primary;
        let both = [old.clone(), new.clone()];
        let named = |key: &PublishedKey| Some(NewPrimary::Key(key.recipient.key_id().clone()));
        assert_eq!(primary(&both[..1], &both), named(&new));
        assert_eq!(primary(&both, &[old.clone(), with_state(&new, KeyState::Retired)]), named(&old));
        assert_eq!(primary(&both[..1], &[with_state(&old, KeyState::Retired)]), Some(NewPrimary::Absent));
        assert_eq!(primary(&[], &[with_state(&old, KeyState::Retired)]), None);
        assert_eq!(primary(&[], &both), None);
    }
}

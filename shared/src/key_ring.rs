//! The identities that a program holds, and the opening of envelopes with them.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use crate::format::{Check, Dek, Envelope, Fault};
use crate::key_life::{self, HeldKey};
use crate::names::KeyId;
use crate::sealing_key::{KeyState, PublishedKey};

/// At most this many wraps of one envelope are tried.
const MAX_TRIES: usize = 4;

/// The keys with which a controller opens values.
#[derive(Debug, Clone)]
pub enum Keys {
    /// The controller has not read its keys yet.
    Loading,
    /// The controller has no key and may not make one.
    Awaiting,
    /// The controller holds these keys, at least one.
    Held(Arc<KeyRing>),
}

/// All identities that a program holds, the primary first, then newest first.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: Vec<HeldKey>,
    recovery: Vec<PublishedKey>,
}

/// An opened envelope.
pub struct OpenedEnvelope {
    /// The DEK; it matches the commitment.
    pub dek: Dek,
    /// The key whose wrap was opened.
    pub key_id: KeyId,
    /// The keys of the wraps whose proof failed: these were made without knowing the DEK, or changed since.
    pub broken_wraps: Vec<KeyId>,
}

fn joined<'a>(ids: impl Iterator<Item = &'a KeyId>) -> String {
    ids.map(KeyId::as_str).collect::<Vec<_>>().join(", ")
}

impl Keys {
    /// The keys of a controller that has read its store.
    pub fn of(ring: KeyRing) -> Self {
        if ring.keys().is_empty() { Keys::Awaiting } else { Keys::Held(Arc::new(ring)) }
    }

    /// The public halves of the keys that are held, and the recovery keys; none if no key is held.
    pub fn published(&self) -> Vec<PublishedKey> {
        match self {
            Keys::Loading | Keys::Awaiting => Vec::new(),
            Keys::Held(ring) => ring.published().cloned().collect(),
        }
    }

    /// The keys that are held, the primary first.
    pub fn held(&self) -> &[HeldKey] {
        match self {
            Keys::Loading | Keys::Awaiting => &[],
            Keys::Held(ring) => ring.keys(),
        }
    }
}

impl KeyRing {
    /// Makes a ring of keys in any order. Of several keys with one recipient it keeps one (FORMAT.md §3.4): the one
    /// with the strictest state, and among those the oldest.
    pub fn new(keys: Vec<HeldKey>) -> Self {
        let mut keys = each_once(keys);
        let primary = key_life::primary(keys.iter().map(HeldKey::published)).map(|key| key.recipient.key_id().clone());
        keys.sort_by_key(|key| {
            let id = key.key_id().clone();
            (primary.as_ref() != Some(&id), Reverse(key.published().created_at), id)
        });
        Self { keys, recovery: Vec::new() }
    }

    /// The ring with the recovery keys of its cluster, whose identities it does not hold.
    pub fn with_recovery_keys(mut self, recovery: Vec<PublishedKey>) -> Self {
        self.recovery = recovery;
        self
    }

    /// All keys that the cluster publishes: those of the ring, and the recovery keys.
    pub fn published(&self) -> impl Iterator<Item = &PublishedKey> {
        self.keys.iter().map(HeldKey::published).chain(&self.recovery)
    }

    /// The keys, the primary first.
    pub fn keys(&self) -> &[HeldKey] {
        &self.keys
    }

    /// The key that new values are sealed to.
    pub fn primary(&self) -> Option<&PublishedKey> {
        key_life::primary(self.keys.iter().map(HeldKey::published))
    }

    /// Opens an envelope by key id (FORMAT.md §7.2 to §7.4), without trial decryption of wraps for other keys.
    ///
    /// Tries the wraps for keys that the ring holds and that are not Revoked, at most four, in the order of the ring.
    /// The first whose DEK matches the commitment counts. Then checks the proofs of all wraps.
    ///
    /// # Errors
    ///
    /// `EnvelopeKeyMissing` if the envelope has no wrap for a key of the ring, `EnvelopeKeyRevoked` if all keys of the
    /// ring that it has wraps for are Revoked, `EnvelopeBroken` if no tried wrap opens to a DEK that matches the
    /// commitment.
    pub fn open(&self, envelope: &Envelope) -> Result<OpenedEnvelope, Fault> {
        let held: Vec<_> = self.keys.iter().filter(|key| envelope.wraps.contains_key(key.key_id())).collect();
        if held.is_empty() {
            return Err(Check::EnvelopeKeyMissing.fault_with(joined(envelope.wraps.keys())));
        }
        let usable: Vec<_> =
            held.iter().filter(|key| key.published().state != KeyState::Revoked).take(MAX_TRIES).collect();
        if usable.is_empty() {
            return Err(Check::EnvelopeKeyRevoked.fault_with(joined(held.iter().map(|key| key.key_id()))));
        }
        usable
            .iter()
            .find_map(|key| open_with(key, envelope))
            .ok_or_else(|| Check::EnvelopeBroken.fault_with(joined(usable.iter().map(|key| key.key_id()))))
    }
}

fn each_once(mut keys: Vec<HeldKey>) -> Vec<HeldKey> {
    keys.sort_by_key(|key| (Reverse(key.published().state), key.published().created_at));
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.published().recipient.as_str().to_owned()));
    keys
}

fn open_with(key: &HeldKey, envelope: &Envelope) -> Option<OpenedEnvelope> {
    let key_id = key.key_id();
    let wrap = envelope.wraps.get(key_id)?;
    if wrap.kind() != key.published().recipient.kind() {
        return None;
    }
    let dek = wrap.open(key.identity()).ok()?;
    if !dek.matches(&envelope.commitment) {
        return None;
    }
    let broken_wraps =
        envelope.wraps.iter().filter(|(id, wrap)| !wrap.is_proven(&dek, id)).map(|(id, _)| id.clone()).collect();
    Some(OpenedEnvelope { dek, key_id: key_id.clone(), broken_wraps })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::format::Wrap;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;
    use crate::sealing_key::KeyRole;

    fn held(state: KeyState, second: i64) -> HeldKey {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let created_at = Timestamp::from_second(second).expect("a small number");
        HeldKey::new(identity, KeyRole::Cluster, created_at, state)
    }

    fn envelope(keys: &[&HeldKey]) -> Envelope {
        let mut random = randomness::system();
        let dek = Dek::generate(&mut random);
        let wraps = keys
            .iter()
            .map(|key| (key.key_id().clone(), Wrap::seal(&key.published().recipient, &dek, &mut random)))
            .collect();
        Envelope { commitment: dek.commitment(), wraps }
    }

    fn id(key: &HeldKey) -> KeyId {
        key.key_id().clone()
    }

    #[test]
    fn the_primary_opens_first_and_older_keys_still_open() {
        let (old, new) = (held(KeyState::Active, 1), held(KeyState::Active, 2));
        let both = envelope(&[&old, &new]);
        let only_old = envelope(&[&old]);
        let (old_id, new_id) = (id(&old), id(&new));
        let ring = KeyRing::new(vec![old, new]);
        assert_eq!(ring.open(&both).map(|opened| opened.key_id), Ok(new_id));
        assert_eq!(ring.open(&only_old).map(|opened| opened.key_id), Ok(old_id));
    }

    #[test]
    fn of_several_copies_of_an_identity_the_strictest_state_counts() {
        let again = |key: &HeldKey, state, second| {
            let identity = Identity::parse(&key.identity().expose()).expect("its own text");
            let created_at = Timestamp::from_second(second).expect("a small number");
            HeldKey::new(identity, KeyRole::Cluster, created_at, state)
        };
        let (one, two) = (held(KeyState::Active, 8), held(KeyState::Active, 7));
        let copies =
            [again(&one, KeyState::Active, 4), again(&two, KeyState::Retired, 9), again(&one, KeyState::Active, 6)];
        let (one_id, two_id) = (id(&one), id(&two));
        let ring = KeyRing::new([one, two].into_iter().chain(copies).collect());
        let kept: Vec<_> =
            ring.keys().iter().map(|key| (id(key), key.published().state, key.published().created_at)).collect();
        let at = |second| Timestamp::from_second(second).expect("a small number");
        assert_eq!(kept, [(one_id, KeyState::Active, at(4)), (two_id, KeyState::Retired, at(9))]);
    }

    #[test]
    fn missing_revoked_and_broken_are_three_errors() {
        let (here, gone, revoked) = (held(KeyState::Active, 1), held(KeyState::Active, 2), held(KeyState::Revoked, 3));
        let (to_gone, to_revoked) = (envelope(&[&gone]), envelope(&[&revoked]));
        let mut swapped = envelope(&[&here]);
        swapped.commitment = to_gone.commitment;
        let (here_id, gone_id, revoked_id) = (id(&here), id(&gone), id(&revoked));
        let ring = KeyRing::new(vec![here, revoked]);
        assert_eq!(ring.open(&to_gone).err(), Some(Check::EnvelopeKeyMissing.fault_with(gone_id.as_str())));
        assert_eq!(ring.open(&to_revoked).err(), Some(Check::EnvelopeKeyRevoked.fault_with(revoked_id.as_str())));
        assert_eq!(ring.open(&swapped).err(), Some(Check::EnvelopeBroken.fault_with(here_id.as_str())));
    }

    #[test]
    fn every_key_is_named() {
        let (one, other) = (held(KeyState::Active, 1), held(KeyState::Active, 2));
        let text = KeyRing::default().open(&envelope(&[&one, &other])).err().map(|fault| fault.to_string());
        let mut ids = [id(&one), id(&other)];
        ids.sort();
        assert_eq!(
            text,
            Some(format!("sealed to {}, {} only, and this program holds none of these keys", ids[0], ids[1]))
        );
    }

    #[test]
    fn a_broken_wrap_of_another_key_is_named_and_does_not_stop_opening() {
        let (here, recovery) = (held(KeyState::Active, 1), held(KeyState::Active, 2));
        let recovery_id = id(&recovery);
        let mut envelope = envelope(&[&here, &recovery]);
        let forged = Wrap::seal(
            &recovery.published().recipient,
            &Dek::generate(&mut randomness::system()),
            &mut randomness::system(),
        );
        envelope.wraps.insert(recovery_id.clone(), forged);
        let opened = KeyRing::new(vec![here]).open(&envelope).expect("the own wrap is good");
        assert_eq!(opened.broken_wraps, [recovery_id]);
    }

    #[test]
    fn a_broken_wrap_of_the_primary_leaves_the_next_key() {
        let (old, new) = (held(KeyState::Active, 1), held(KeyState::Active, 2));
        let (old_id, new_id) = (id(&old), id(&new));
        let mut envelope = envelope(&[&old]);
        let forged = Wrap::seal(
            &new.published().recipient,
            &Dek::generate(&mut randomness::system()),
            &mut randomness::system(),
        );
        envelope.wraps = BTreeMap::from([(old_id.clone(), envelope.wraps[&old_id].clone()), (new_id.clone(), forged)]);
        let opened = KeyRing::new(vec![old, new]).open(&envelope).expect("the older wrap is good");
        assert_eq!((opened.key_id, opened.broken_wraps), (old_id, vec![new_id]));
    }
}

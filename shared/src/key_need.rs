//! Whether a key is still needed: whether something could no longer be opened if its identity were deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::Wrap;
use crate::names::KeyId;
use crate::sealed_secret::{EnvelopeSpec, SealedSecret};
use crate::sealing_key::{KeyRole, KeyState, PublishedKey};
use crate::status::is_about;

/// The keys of the cluster that go on opening values when one key is gone: all others that are not revoked. A recovery
/// key is not among them, because the controller does not hold its identity.
pub fn keys_that_stay<'a>(published: impl IntoIterator<Item = &'a PublishedKey>, gone: &KeyId) -> BTreeSet<KeyId> {
    let own = published.into_iter().filter(|key| key.role == KeyRole::Cluster && key.state != KeyState::Revoked);
    own.map(|key| key.recipient.key_id()).filter(|id| *id != gone).cloned().collect()
}

/// The id of the envelope that a sealed value names: the text between `wax1.` and the next dot. `None` for a text
/// without this beginning or without this dot. Checks neither the id nor the rest.
pub fn named_envelope(token: &str) -> Option<&str> {
    Some(token.strip_prefix("wax1.")?.split_once('.')?.0)
}

/// Whether these wraps, by key id, have an entry for the key and no wrap for a key that stays. An entry for a key that
/// stays does not count if it is not a wrap, or if it is a copy of the key's own entry. Does not open the wraps, so it
/// cannot tell whether they are right.
pub fn wraps_need(wraps: &BTreeMap<String, String>, key: &KeyId, staying: &BTreeSet<KeyId>) -> bool {
    let Some(own) = wraps.get(key.as_str()) else { return false };
    let may_open = |other: &String| other != own && Wrap::parse(other).is_ok();
    !staying.iter().filter_map(|other| wraps.get(other.as_str())).any(may_open)
}

/// Whether an object of the cluster needs the key: the envelope of one of its values has a wrap for the key, and either
/// no wrap for a key that stays, or the status does not say that the controller opened this generation only through
/// keys that stay.
///
/// The wraps alone do not decide: a wrap for a key that stays may be broken, and only a controller that has opened it
/// knows. The status alone does not decide either: somebody else may have written it.
pub fn object_needs(object: &SealedSecret, key: &KeyId, staying: &BTreeSet<KeyId>) -> bool {
    let spec = &object.spec;
    let was_opened = was_opened_only_with(object, staying);
    let mut envelopes = spec.encrypted_data.values().filter_map(|token| spec.envelopes.get(named_envelope(token)?));
    envelopes.any(|EnvelopeSpec { wraps, .. }| {
        wraps_need(wraps, key, staying) || wraps.contains_key(key.as_str()) && !was_opened
    })
}

fn was_opened_only_with(object: &SealedSecret, keys: &BTreeSet<KeyId>) -> bool {
    let Some(status) = &object.status else { return false };
    let is_of_this_generation = is_about(status.observed_generation, object.metadata.generation);
    let opened_with = status.settled.as_ref().map(|settled| settled.opened_with.as_slice()).unwrap_or_default();
    let all_are_among_keys = opened_with.iter().all(|id| keys.iter().any(|key| key.as_str() == id));
    is_of_this_generation && !opened_with.is_empty() && all_are_among_keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Dek;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;
    use crate::sealed_secret::{SealedSecretStatus, Settled};

    fn id(number: u8) -> KeyId {
        KeyId::parse(&format!("k{number:016x}")).expect("a key id")
    }

    fn wraps(keys: &[u8]) -> BTreeMap<String, String> {
        let wrap = || {
            let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
            let dek = Dek::generate(&mut randomness::system());
            Wrap::seal(identity.recipient(), &dek, &mut randomness::system()).to_text()
        };
        keys.iter().map(|number| (id(*number).to_string(), wrap())).collect()
    }

    /// An object of generation 2 with a value in each of these envelopes, given as the keys of its wraps.
    fn object(envelopes: &[&[u8]], opened_with: &[u8]) -> SealedSecret {
        let mut object = SealedSecret::new("db", Default::default());
        for (number, keys) in envelopes.iter().enumerate() {
            let envelope = EnvelopeSpec { wraps: wraps(keys), ..EnvelopeSpec::default() };
            object.spec.envelopes.insert(format!("e{number}"), envelope);
            object.spec.encrypted_data.insert(format!("KEY_{number}"), format!("wax1.e{number}.AAAA"));
        }
        object.metadata.generation = Some(2);
        let opened_with = opened_with.iter().map(|number| id(*number).to_string()).collect();
        let settled = Some(Settled { opened_with, ..Settled::default() });
        object.status =
            Some(SealedSecretStatus { observed_generation: Some(2), settled, ..SealedSecretStatus::default() });
        object
    }

    #[test]
    fn an_object_needs_a_key_until_this_generation_was_opened_through_others() {
        let staying = BTreeSet::from([id(2), id(3)]);
        let needs = |object: &SealedSecret| object_needs(object, &id(1), &staying);
        assert!(!needs(&object(&[&[2]], &[])), "no wrap for the key");
        assert!(!needs(&object(&[&[1, 2]], &[2])));
        assert!(!needs(&object(&[&[1, 2], &[1, 3]], &[2, 3])));
        assert!(needs(&object(&[&[1, 2]], &[1])));
        assert!(needs(&object(&[&[1, 2], &[1]], &[1, 2])));
        assert!(needs(&object(&[&[1]], &[2])), "a forged status");
        assert!(needs(&object(&[&[1, 2]], &[])), "not opened");
        assert!(needs(&object(&[&[1, 4]], &[4])), "opened through a key that goes too");
        let mut stale = object(&[&[1, 2]], &[2]);
        stale.metadata.generation = Some(3);
        assert!(needs(&stale));
        stale.status = None;
        assert!(needs(&stale));
        let mut unused = object(&[&[1]], &[]);
        unused.spec.encrypted_data.clear();
        assert!(!needs(&unused), "no value names the envelope");
    }

    #[test]
    fn wraps_need_a_key_if_no_key_that_stays_has_a_wrap() {
        let staying = BTreeSet::from([id(2)]);
        for (keys, needed) in [(&[1][..], true), (&[1, 3], true), (&[1, 2], false), (&[2], false), (&[], false)] {
            assert_eq!(wraps_need(&wraps(keys), &id(1), &staying), needed, "{keys:?}");
        }
        let mut forged = wraps(&[1, 2]);
        for text in [forged[id(1).as_str()].clone(), String::new(), "AAAA".to_owned()] {
            forged.insert(id(2).to_string(), text);
            assert!(wraps_need(&forged, &id(1), &staying));
        }
    }

    #[test]
    fn the_cluster_s_other_keys_stay_unless_they_are_revoked() {
        let key = |role, state| PublishedKey {
            recipient: Identity::generate(KeyKind::Classic, &mut randomness::system()).recipient().clone(),
            role,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            state,
        };
        let keys = [
            key(KeyRole::Cluster, KeyState::Retired),
            key(KeyRole::Cluster, KeyState::Active),
            key(KeyRole::Cluster, KeyState::Retired),
            key(KeyRole::Cluster, KeyState::Revoked),
            key(KeyRole::Recovery, KeyState::Active),
        ];
        let staying = keys_that_stay(&keys, keys[0].recipient.key_id());
        assert_eq!(staying, keys[1..3].iter().map(|key| key.recipient.key_id().clone()).collect());
    }
}

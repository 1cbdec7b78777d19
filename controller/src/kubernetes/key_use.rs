//! The keys that an object has wraps for, as its status says. For metrics and the status of SealingKeys only: everybody
//! who may write the status of an object can forge it.

use waxseal_shared::names::KeyId;
use waxseal_shared::sealed_secret::SealedSecretStatus;

/// The most keys that are remembered of one object: a forged status can name a thousand.
const MAX_KEYS: usize = 16;

/// The keys of one object, in a few bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyUse(Box<[UsedKey]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct UsedKey {
    /// The 16 hex digits of the key id.
    id: u64,
    /// Whether the status names no other key for one of the envelopes.
    is_only: bool,
}

/// The number of objects with a wrap for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyCounts {
    pub(super) objects: i64,
    /// The objects that nobody can open without the key.
    pub(super) only_objects: i64,
}

impl KeyUse {
    pub(super) fn of(status: &SealedSecretStatus) -> Self {
        let mut used: Vec<UsedKey> = Vec::new();
        for keys in status.keys.values() {
            for id in keys.iter().filter_map(|key| digits(key)) {
                let is_only = keys.len() == 1;
                if let Some(key) = used.iter_mut().find(|key| key.id == id) {
                    key.is_only |= is_only;
                } else if used.len() < MAX_KEYS {
                    used.push(UsedKey { id, is_only });
                }
            }
        }
        Self(used.into())
    }

    /// Adds the object to the counts of a key.
    pub(super) fn count(&self, key: &KeyId, counts: &mut KeyCounts) {
        if let Some(used) = self.0.iter().find(|used| Some(used.id) == digits(key.as_str())) {
            counts.objects += 1;
            counts.only_objects += i64::from(used.is_only);
        }
    }
}

fn digits(key: &str) -> Option<u64> {
    u64::from_str_radix(key.strip_prefix('k')?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_key_counts_as_the_only_key_if_the_status_names_no_other_key_for_an_envelope() {
        let [both, only, absent] = [1, 2, 3].map(|number| format!("k{number:016x}"));
        let keys = BTreeMap::from([
            ("e0000000000".to_owned(), vec![both.clone(), only.clone()]),
            ("e0000000001".to_owned(), vec![only.clone()]),
        ]);
        let key_use = KeyUse::of(&SealedSecretStatus { keys, ..SealedSecretStatus::default() });
        let counts = |key: &str| {
            let mut counts = KeyCounts::default();
            key_use.count(&KeyId::parse(key).expect("a key id"), &mut counts);
            (counts.objects, counts.only_objects)
        };
        assert_eq!([counts(&both), counts(&only), counts(&absent)], [(1, 0), (1, 1), (0, 0)]);
    }

    #[test]
    fn few_keys_are_remembered_of_a_forged_status() {
        let keys = (0..100).map(|number| format!("k{number:016x}")).chain(["garbage".to_owned()]).collect();
        let keys = BTreeMap::from([("e0000000000".to_owned(), keys)]);
        assert_eq!(KeyUse::of(&SealedSecretStatus { keys, ..SealedSecretStatus::default() }).0.len(), MAX_KEYS);
    }
}

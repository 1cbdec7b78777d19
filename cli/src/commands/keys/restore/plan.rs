//! What `keys restore` does about each key of a backup.

use std::cmp::Reverse;
use std::sync::Arc;

use waxseal_shared::key_backup::BackedUpKey;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use super::super::stored_identities::StoredIdentities;
use crate::error::CliError;
use crate::keys_file::KeysFile;

/// The keys of a backup, compared with those of a controller.
#[derive(Debug)]
pub(super) struct Restoration {
    /// The keys that are missing, in the order in which they are added.
    pub(super) additions: Vec<Addition>,
    /// The keys that are there, and stay as they are.
    pub(super) present: Vec<PresentKey>,
}

/// A key that is missing.
#[derive(Debug)]
pub(super) struct Addition {
    /// The identity, in the state that it gets.
    pub(super) identity: BackedUpKey,
    /// The first keys file that lists the key: so the key is trusted. `None` if no keys file lists it.
    pub(super) listed_in: Option<String>,
}

/// A key that is there.
#[derive(Debug)]
pub(super) struct PresentKey {
    pub(super) key: PublishedKey,
    pub(super) state_in_backup: KeyState,
}

impl Restoration {
    /// Compares a backup with the identities of a controller. `published` are the keys that the controller publishes
    /// now.
    ///
    /// A key is also missing if all Secrets that hold it are being deleted. A missing key gets the strictest of its
    /// states in the backup, the keys files, the published keys and these Secrets. Refuses a key that has another role
    /// or creation time in a keys file.
    pub(super) fn plan(
        backup: Vec<BackedUpKey>,
        stored: &StoredIdentities,
        published: &[PublishedKey],
        files: &[Arc<KeysFile>],
    ) -> Result<Self, CliError> {
        let mut restoration = Self { additions: Vec::new(), present: Vec::new() };
        for mut identity in backup {
            let key = identity.key.published().clone();
            let listed_in = listed_in(&key, files)?;
            if let Some(present) = stored.find(&key.recipient) {
                let present = present.published().clone();
                restoration.present.push(PresentKey { key: present, state_in_backup: key.state });
                continue;
            }
            let deleted = stored.being_deleted.iter().map(|stored| stored.key.published());
            let known = files.iter().flat_map(|file| &file.keys).chain(published).chain(deleted);
            let states = known.filter(|known| known.recipient == key.recipient).map(|known| known.state);
            states.for_each(|state| identity.key.tighten(state));
            restoration.additions.push(Addition { identity, listed_in });
        }
        restoration.sort();
        Ok(restoration)
    }

    /// The keys of the backup as they are in the store afterwards.
    pub(super) fn keys(&self) -> Vec<PublishedKey> {
        let added = self.additions.iter().map(|addition| addition.identity.key.published());
        added.chain(self.present.iter().map(|present| &present.key)).cloned().collect()
    }

    /// Puts the Active keys first: a controller that runs meanwhile would make a new key if it found keys of which none
    /// is Active. Of one state, newer keys come before older ones, so the first key becomes the primary.
    fn sort(&mut self) {
        self.additions.sort_by_key(|Addition { identity: BackedUpKey { key, .. }, .. }| {
            let PublishedKey { state, created_at, .. } = key.published();
            (*state, Reverse(*created_at), key.key_id().clone())
        });
    }
}

/// Returns the first keys file that lists a key. Refuses a keys file in which the key has another role or creation
/// time.
fn listed_in(key: &PublishedKey, files: &[Arc<KeysFile>]) -> Result<Option<String>, CliError> {
    let mut listed_in = None;
    for file in files {
        let Some(listed) = file.keys.iter().find(|listed| listed.recipient == key.recipient) else { continue };
        if (listed.role, listed.created_at) != (KeyRole::Cluster, key.created_at) {
            let text = format!("{} has another role or creation time in the backup", key.recipient.key_id());
            let error = CliError::refused(text).at(&file.place);
            return Err(error.with_hint(
                "the role and the creation time of a key never change: find out who changed the file or the backup",
            ));
        }
        listed_in.get_or_insert_with(|| file.source());
    }
    Ok(listed_in)
}

#[cfg(test)]
mod tests {
    use KeyState::{Active, Retired, Revoked};
    use jiff::Timestamp;
    use waxseal_shared::identity_secret::own_name;
    use waxseal_shared::key::{Identity, KeyKind};
    use waxseal_shared::key_life::HeldKey;
    use waxseal_shared::names::ObjectName;
    use waxseal_shared::randomness;

    use super::*;

    /// The same identity in any number of copies.
    struct Original(Identity, Timestamp);

    impl Original {
        fn made(second: i64) -> Self {
            let time = Timestamp::from_second(second).expect("a small number");
            Self(Identity::generate(KeyKind::Classic, &mut randomness::system()), time)
        }

        fn held(&self, state: KeyState) -> BackedUpKey {
            let identity = Identity::parse(&self.0.expose()).expect("its own text");
            let key = HeldKey::new(identity, KeyRole::Cluster, self.1, state);
            BackedUpKey { secret_name: ObjectName::parse(&own_name(key.key_id())).expect("a name"), key }
        }

        fn published(&self, state: KeyState) -> PublishedKey {
            self.held(state).key.published().clone()
        }
    }

    fn file(keys: Vec<PublishedKey>) -> Vec<Arc<KeysFile>> {
        vec![Arc::new(KeysFile { cluster: None, place: "prod.yaml".to_owned(), keys })]
    }

    fn stored(held: Vec<BackedUpKey>) -> StoredIdentities {
        StoredIdentities { held, ..StoredIdentities::default() }
    }

    #[test]
    fn a_missing_key_gets_the_strictest_state_that_is_known() {
        let key = Original::made(1);
        for (backup, published, listed, expected) in [
            (Active, None, None, Active),
            (Retired, Some(Active), Some(Active), Retired),
            (Active, Some(Retired), None, Retired),
            (Active, None, Some(Revoked), Revoked),
            (Active, Some(Revoked), Some(Retired), Revoked),
        ] {
            let published: Vec<_> = published.map(|state| key.published(state)).into_iter().collect();
            let files = file(listed.map(|state| key.published(state)).into_iter().collect());
            let plan = Restoration::plan(vec![key.held(backup)], &stored(Vec::new()), &published, &files);
            let [Addition { identity, listed_in }] = &plan.expect("no contradiction").additions[..] else {
                panic!("one key")
            };
            assert_eq!(identity.key.published().state, expected);
            assert_eq!(listed_in.as_deref(), listed.map(|_| "prod.yaml"));
        }
    }

    #[test]
    fn a_key_that_is_being_deleted_is_added_in_its_strictest_state() {
        let key = Original::made(1);
        for (backup, deleted, expected) in
            [(Active, Active, Active), (Active, Retired, Retired), (Revoked, Retired, Revoked)]
        {
            let mut stored = stored(Vec::new());
            stored.being_deleted.push(key.held(deleted));
            let plan = Restoration::plan(vec![key.held(backup)], &stored, &[], &[]).expect("no contradiction");
            assert_eq!((plan.present.len(), plan.keys()), (0, vec![key.published(expected)]));
            stored.held.push(key.held(deleted));
            let plan = Restoration::plan(vec![key.held(backup)], &stored, &[], &[]).expect("no contradiction");
            assert_eq!((plan.additions.len(), plan.present.len()), (0, 1));
        }
    }

    #[test]
    fn a_key_that_is_there_stays_as_it_is() {
        let key = Original::made(1);
        for (backup, present) in [(Active, Revoked), (Revoked, Active), (Retired, Retired)] {
            let stored = stored(vec![key.held(present)]);
            let published = [key.published(Revoked)];
            let plan = Restoration::plan(vec![key.held(backup)], &stored, &published, &[]).expect("no contradiction");
            assert!(plan.additions.is_empty());
            assert_eq!(plan.keys(), [key.published(present)]);
            assert_eq!(plan.present[0].state_in_backup, backup);
        }
    }

    #[test]
    fn active_keys_are_added_first_and_newer_keys_before_older_ones() {
        let states = [Retired, Active, Retired, Revoked, Active];
        let backup = (1..).zip(states).map(|(second, state)| Original::made(second).held(state)).collect();
        let plan = Restoration::plan(backup, &stored(Vec::new()), &[], &[]).expect("no contradiction");
        let times: Vec<_> = plan.keys().iter().map(|key| key.created_at.as_second()).collect();
        assert_eq!(times, [5, 2, 3, 1, 4]);
    }

    #[test]
    fn a_key_that_contradicts_a_keys_file_is_refused() {
        let (key, stranger) = (Original::made(1), Original::made(1));
        let later = PublishedKey { created_at: Timestamp::from_second(2).expect("small"), ..key.published(Active) };
        let recovery = PublishedKey { role: KeyRole::Recovery, ..key.published(Active) };
        for listed in [later, recovery] {
            let files = file(vec![stranger.published(Active), listed]);
            let plan = Restoration::plan(vec![key.held(Active)], &stored(Vec::new()), &[], &files);
            let text = format!(
                "error: prod.yaml: {} has another role or creation time in the backup\n\
                 hint: the role and the creation time of a key never change: find out who changed the file or the \
                 backup",
                key.0.recipient().key_id()
            );
            assert_eq!(plan.expect_err("a contradiction").to_string(), text);
        }
    }
}

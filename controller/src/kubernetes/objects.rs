//! The records that the controller keeps between two reconciles: those of SealedSecrets, and those of the Secrets that
//! carry the mark, which is the label `waxseal.dev/secret`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::names::KeyId;
use waxseal_shared::reason::Reason;
use waxseal_shared::settled::JudgedObject;
use waxseal_shared::template::ForbiddenPrefix;

use super::key_use::KeyCounts;
use super::object_key::ObjectKey;
use super::record_cache::{Event, RecordCache};
use super::records::{SealedSecretRecord, SecretRecord};
use super::rejected_writes::RejectedWrites;
use super::scope::ServedScope;

/// What the records say of an object when its reconcile starts.
pub(super) struct Known {
    object: SealedSecretRecord,
    secret: Option<SecretRecord>,
}

/// The records of both kinds.
pub(super) struct Objects {
    state: Mutex<State>,
    /// Notified whenever the counts of a key can have changed.
    key_use_changed: Notify,
}

struct State {
    sealed_secrets: RecordCache<SealedSecretRecord>,
    secrets: RecordCache<SecretRecord>,
}

impl Known {
    /// Whether object, Secret, status, keys and rules are the same as when the Secret was last seen to be right.
    pub(super) fn is_settled(&self, ring: &KeyRing, forbidden: &[ForbiddenPrefix]) -> bool {
        let (Some(settled), Some(status)) = (&self.object.settled, self.object.status) else {
            return false;
        };
        let object = JudgedObject { uid: &self.object.uid, generation: self.object.generation, forbidden };
        let secret = self.secret.as_ref().map(|secret| (&*secret.uid, &*secret.resource_version));
        settled.holds(&object, status, secret, ring)
    }

    /// The time until the controller may correct the status of the fetched object; `None` if nobody has overwritten it,
    /// or if the correction is due.
    pub(super) fn pause(&self, fetched: &SealedSecretRecord) -> Option<Duration> {
        self.object.own_status.pause(Instant::now()).filter(|_| self.is_overwritten(fetched))
    }

    /// Copies the count of corrections to the record of the fetched object. Adds one if the status was written, and
    /// replaced one that somebody else wrote.
    pub(super) fn count_correction(&self, fetched: &mut SealedSecretRecord, written_version: Option<&str>) {
        let is_corrected = written_version.is_some() && self.is_overwritten(fetched);
        fetched.take_own_status(&self.object);
        if is_corrected {
            fetched.own_status.count_correction(Instant::now());
        }
    }

    /// Whether somebody has changed the status since the controller wrote it.
    fn is_overwritten(&self, fetched: &SealedSecretRecord) -> bool {
        self.object.is_same_generation(fetched) && self.object.own_status.is_overwritten(fetched.status)
    }

    /// Whether the status is about the present generation.
    pub(super) fn has_current_status(&self) -> bool {
        self.object.observed_generation == Some(self.object.generation)
    }

    /// Whether a Secret of this name carries the mark.
    pub(super) fn has_marked_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// A field that the API server changed in the last write of the Secret, while the next write has to wait.
    pub(super) fn changed_field(&self) -> Option<&'static str> {
        self.object.rejected_writes.waiting(Instant::now())
    }

    /// The reason that the last reconcile of this generation ended with.
    pub(super) fn last_reason(&self) -> Option<Reason> {
        self.object.last_reason
    }
}

impl Objects {
    /// Creates empty caches for the objects in these scopes.
    pub(super) fn new(scopes: Arc<[ServedScope]>) -> Self {
        let state = State { sealed_secrets: RecordCache::new(Arc::clone(&scopes)), secrets: RecordCache::new(scopes) };
        Self { state: Mutex::new(state), key_use_changed: Notify::new() }
    }

    /// The scopes whose SealedSecrets or marked Secrets were not listed since the start, or since the API server was
    /// restored.
    pub(super) fn unlisted(&self) -> BTreeSet<ServedScope> {
        let state = self.lock();
        state.sealed_secrets.unlisted().iter().chain(state.secrets.unlisted()).cloned().collect()
    }

    /// Waits until the counts of a key can have changed since the last wait. Only one task may wait.
    pub(super) async fn key_use_changed(&self) {
        self.key_use_changed.notified().await;
    }

    /// Records an event of SealedSecrets; returns the objects that need a reconcile.
    pub(super) fn record_sealed_secrets(&self, event: Event<SealedSecretRecord>) -> Vec<ObjectKey> {
        let cache = &mut self.lock().sealed_secrets;
        match event {
            Event::Listed(scope, listed, version) => {
                cache.replace(&scope, listed, version, SealedSecretRecord::keep_history);
                self.key_use_changed.notify_one();
                object_keys_in(&scope, cache)
            }
            Event::Applied(key, record) => {
                let needs_reconcile = cache.get(&key).is_none_or(|known| {
                    !record.version.is_before(known.version) && record.needs_reconcile_after(known)
                });
                self.note_key_use(cache.get(&key), &record);
                cache.apply(key.clone(), record, SealedSecretRecord::keep_history);
                needs_reconcile.then_some(key).into_iter().collect()
            }
            Event::Deleted(key, record) => {
                cache.delete(&key, &record);
                self.key_use_changed.notify_one();
                Vec::new()
            }
        }
    }

    /// Records an event of marked Secrets; returns the objects that need a reconcile.
    pub(super) fn record_secrets(&self, event: Event<SecretRecord>) -> Vec<ObjectKey> {
        let state = &mut *self.lock();
        let changed = match event {
            Event::Listed(scope, listed, version) => {
                state.secrets.replace(&scope, listed, version, SecretRecord::keep_searches);
                // Reconciles all objects, because the list does not say which Secrets were deleted.
                object_keys_in(&scope, &state.sealed_secrets)
            }
            Event::Applied(key, record) => {
                state.secrets.apply(key.clone(), record, SecretRecord::keep_searches);
                vec![key]
            }
            Event::Deleted(key, record) => {
                state.secrets.delete(&key, &record);
                vec![key]
            }
        };
        changed.into_iter().filter(|key| state.sealed_secrets.get(key).is_some()).collect()
    }

    /// Returns what is known of an object. Returns `None` if the object is gone, if it is being deleted, or if it is
    /// not known yet whether there is a marked Secret of its name. In the last case, the list of the marked Secrets
    /// causes the reconcile.
    pub(super) fn known(&self, key: &ObjectKey) -> Option<Known> {
        let state = self.lock();
        if !state.secrets.is_listed(key) {
            return None;
        }
        let object = state.sealed_secrets.get(key).filter(|object| !object.is_being_deleted)?.clone();
        Some(Known { object, secret: state.secrets.get(key).cloned() })
    }

    /// The namespace and name of every SealedSecret.
    pub(super) fn object_keys(&self) -> Vec<ObjectKey> {
        self.lock().sealed_secrets.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Records a Secret that a reconcile found to be right or has written.
    pub(super) fn record_right_secret(&self, key: &ObjectKey, uid: &str, resource_version: &str) {
        let (uid, resource_version) = (uid.into(), resource_version.into());
        let record =
            SecretRecord { uid, resource_version, is_marked_owned: true, has_owner_reference: true, searches: 0 };
        let state = &mut *self.lock();
        state.secrets.apply_own(key.clone(), record, |_, _| {});
        if let Some(object) = state.sealed_secrets.get_mut(key) {
            object.rejected_writes = RejectedWrites::default();
        }
    }

    /// Records a write of a Secret that the API server did not store as it was written. `field` is a field that
    /// differs.
    pub(super) fn record_rejected_write(&self, key: &ObjectKey, field: &'static str) {
        if let Some(object) = self.lock().sealed_secrets.get_mut(key) {
            object.rejected_writes.add(field, Instant::now());
        }
    }

    /// Records the end of a reconcile: its reason, and the new record of the object if the reconcile wrote the status
    /// or found it to be right. Returns how many reconciles ended with the same standing, one after another, directly
    /// before this one.
    ///
    /// An object without a record stays without one: since the reconcile started, the object was deleted, or all
    /// records were removed.
    pub(super) fn record_end(&self, key: &ObjectKey, reason: Reason, written: Option<SealedSecretRecord>) -> u32 {
        let cache = &mut self.lock().sealed_secrets;
        if let Some(written) = &written
            && cache.get(key).is_some()
        {
            self.note_key_use(cache.get(key), written);
            cache.apply_own(key.clone(), written.clone(), SealedSecretRecord::keep_history);
        }
        let Some(record) = cache.get_mut(key) else {
            return 0;
        };
        if let Some(written) = &written {
            // If somebody has overwritten the status again, the cache has the record of that later version.
            record.take_own_status(written);
        }
        let is_same = record.last_reason.is_some_and(|last| last.standing() == reason.standing());
        record.repetitions = if is_same { record.repetitions.saturating_add(1) } else { 0 };
        record.last_reason = Some(reason);
        record.repetitions
    }

    /// The number of SealedSecrets by the reason that their last reconcile ended with.
    pub(super) fn counts_by_reason(&self) -> BTreeMap<Reason, i64> {
        let mut counts = BTreeMap::new();
        for reason in self.lock().sealed_secrets.iter().filter_map(|(_, record)| record.last_reason) {
            *counts.entry(reason).or_default() += 1;
        }
        counts
    }

    /// The number of SealedSecrets with a wrap for a key, as their statuses say; `None` while not all are listed.
    pub(super) fn counts_of_key(&self, key: &KeyId) -> Option<KeyCounts> {
        let cache = &self.lock().sealed_secrets;
        let mut counts = KeyCounts::default();
        cache.iter().for_each(|(_, record)| record.key_use.count(key, &mut counts));
        cache.unlisted().is_empty().then_some(counts)
    }

    fn note_key_use(&self, before: Option<&SealedSecretRecord>, now: &SealedSecretRecord) {
        if before.is_none_or(|before| before.key_use != now.key_use) {
            self.key_use_changed.notify_one();
        }
    }

    /// Searches for orphans: Secrets that are marked `owned`, have no owner, and have had no SealedSecret in this
    /// search and the one before. Nothing deletes such a Secret. Returns each orphan once.
    pub(super) fn new_orphans(&self) -> Vec<ObjectKey> {
        let state = &mut *self.lock();
        let mut orphans = Vec::new();
        for (key, secret) in state.secrets.iter_mut() {
            let may_have_object = !state.sealed_secrets.is_listed(key) || state.sealed_secrets.get(key).is_some();
            if !secret.is_marked_owned || secret.has_owner_reference || may_have_object {
                secret.searches = 0;
                continue;
            }
            secret.searches = secret.searches.saturating_add(1);
            if secret.searches == 2 {
                orphans.push(key.clone());
            }
        }
        orphans
    }

    /// Removes all records: the API server was restored to an earlier state.
    pub(super) fn clear(&self) {
        let state = &mut *self.lock();
        state.sealed_secrets.clear();
        state.secrets.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn object_keys_in(scope: &ServedScope, cache: &RecordCache<SealedSecretRecord>) -> Vec<ObjectKey> {
    cache.iter().filter(|(key, _)| scope.contains(key)).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;
    use waxseal_shared::api_group::{MARK_LABEL, MARK_OWNED};
    use waxseal_shared::sealed_secret::SealedSecretStatus;

    use super::super::record_cache::ResourceVersion;
    use super::super::records::{SealedSecretParts, SecretParts};
    use super::*;

    fn object(version: &str) -> (ObjectKey, SealedSecretRecord) {
        let metadata =
            json!({"name": "db", "namespace": "shop", "uid": "1", "generation": 1, "resourceVersion": version});
        let parts: SealedSecretParts = serde_json::from_value(json!({"metadata": metadata})).expect("an object");
        parts.into()
    }

    #[test]
    fn an_object_that_was_deleted_during_its_reconcile_gets_no_record() {
        let objects = Objects::new(ServedScope::of(&[]));
        objects.record_secrets(Event::Listed(ServedScope::AllNamespaces, Vec::new(), ResourceVersion::parse("1")));
        let (key, record) = object("1");
        objects.record_sealed_secrets(Event::Applied(key.clone(), record));
        assert!(objects.known(&key).is_some());
        let (_, deleted) = object("2");
        objects.record_sealed_secrets(Event::Deleted(key.clone(), deleted));
        assert_eq!(objects.record_end(&key, Reason::Materialised, Some(object("2").1)), 0);
        assert!(objects.known(&key).is_none());
        assert!(objects.counts_by_reason().is_empty());
    }

    /// An object that did not wait would try to create its Secret at every reconcile.
    #[test]
    fn an_object_waits_for_the_list_of_the_secrets_of_its_namespace_alone() {
        let [shop, blog] = ["shop", "blog"].map(|name| ServedScope::Namespace(name.into()));
        let objects = Objects::new([shop.clone(), blog.clone()].into());
        let (key, record) = object("1");
        let listed = |scope: &ServedScope| Event::Listed(scope.clone(), Vec::new(), ResourceVersion::parse("1"));
        let with_object = Event::Listed(shop.clone(), vec![(key.clone(), record)], ResourceVersion::parse("1"));
        objects.record_sealed_secrets(with_object);
        assert_eq!(objects.record_secrets(listed(&blog)), []);
        assert!(objects.known(&key).is_none());
        assert_eq!(objects.unlisted(), [blog.clone(), shop.clone()].into());
        assert_eq!(objects.record_secrets(listed(&shop)), std::slice::from_ref(&key));
        assert!(objects.known(&key).is_some());
        assert_eq!(objects.unlisted(), [blog].into());
        objects.clear();
        assert!(objects.known(&key).is_none() && objects.unlisted().contains(&shop));
    }

    #[test]
    fn an_orphan_is_returned_once_also_after_it_was_listed_or_changed() {
        let objects = Objects::new(ServedScope::of(&[]));
        let orphan = |uid: &str, version: &str| {
            let metadata = json!({
                "name": "db", "namespace": "shop", "uid": uid, "resourceVersion": version,
                "labels": {MARK_LABEL: MARK_OWNED},
            });
            let parts: SecretParts = serde_json::from_value(json!({"metadata": metadata})).expect("a Secret");
            <(ObjectKey, SecretRecord)>::from(parts)
        };
        let version = ResourceVersion::parse("9");
        let listed = |secrets| Event::Listed(ServedScope::AllNamespaces, secrets, version);
        objects.record_sealed_secrets(Event::Listed(ServedScope::AllNamespaces, Vec::new(), version));
        objects.record_secrets(listed(vec![orphan("1", "1")]));
        assert_eq!(objects.new_orphans(), []);
        let (key, changed) = orphan("1", "2");
        objects.record_secrets(Event::Applied(key.clone(), changed));
        assert_eq!(objects.new_orphans(), std::slice::from_ref(&key));
        objects.record_secrets(listed(vec![orphan("1", "3")]));
        let searches = || [objects.new_orphans(), objects.new_orphans()].concat();
        assert_eq!(searches(), []);
        // Another Secret of the same name.
        let (_, other) = orphan("2", "4");
        objects.record_secrets(Event::Applied(key.clone(), other));
        assert_eq!(searches(), [key]);
    }

    #[test]
    fn counts_are_unknown_until_all_objects_are_listed() {
        let objects = Objects::new(ServedScope::of(&[]));
        let key = KeyId::parse("k0123456789abcdef").expect("a key id");
        let (name, mut record) = object("1");
        record.set_status(&using(&key));
        objects.record_sealed_secrets(Event::Applied(name.clone(), record.clone()));
        assert_eq!(objects.counts_of_key(&key), None);
        let listed = || {
            let (scope, version) = (ServedScope::AllNamespaces, ResourceVersion::parse("1"));
            Event::Listed(scope, vec![(name.clone(), record.clone())], version)
        };
        objects.record_sealed_secrets(listed());
        assert_eq!(objects.counts_of_key(&key), Some(KeyCounts { objects: 1, only_objects: 1 }));
        objects.clear();
        assert_eq!(objects.counts_of_key(&key), None);
    }

    #[test]
    fn changes_of_the_counts_are_noticed_and_other_events_are_not() {
        let objects = Objects::new(ServedScope::of(&[]));
        let is_noticed = || objects.key_use_changed().now_or_never().is_some();
        let (name, plain) = object("1");
        objects.record_sealed_secrets(Event::Listed(
            ServedScope::AllNamespaces,
            Vec::new(),
            ResourceVersion::parse("1"),
        ));
        assert!(is_noticed() && !is_noticed(), "a list");
        objects.record_sealed_secrets(Event::Applied(name.clone(), plain));
        assert!(is_noticed(), "a new object");
        objects.record_sealed_secrets(Event::Applied(name.clone(), object("2").1));
        assert!(!is_noticed(), "another version");
        let mut used = object("3").1;
        used.set_status(&using(&KeyId::parse("k0123456789abcdef").expect("a key id")));
        objects.record_end(&name, Reason::Materialised, Some(used.clone()));
        assert!(is_noticed(), "a written status");
        objects.record_sealed_secrets(Event::Applied(name.clone(), used.clone()));
        assert!(!is_noticed(), "the event of this write");
        objects.record_sealed_secrets(Event::Deleted(name, used));
        assert!(is_noticed(), "a deletion");
    }

    /// A status whose only envelope has a wrap for this key alone.
    fn using(key: &KeyId) -> SealedSecretStatus {
        let keys = BTreeMap::from([("e0000000000".to_owned(), vec![key.to_string()])]);
        SealedSecretStatus { keys, ..SealedSecretStatus::default() }
    }

    /// A record with this resourceVersion and with a status about this generation.
    fn observed(version: u32, generation: i64) -> (ObjectKey, SealedSecretRecord) {
        let (key, mut record) = object(&version.to_string());
        record.set_status(&about(generation));
        (key, record)
    }

    fn about(generation: i64) -> SealedSecretStatus {
        SealedSecretStatus { observed_generation: Some(generation), ..SealedSecretStatus::default() }
    }

    /// In eight rounds somebody overwrites the status of a new object, and the controller puts it right. `meanwhile`
    /// returns the record of an event between the controller's write and the answer to this write. Returns the objects,
    /// and whether the controller had to wait in each round.
    fn correct_again_and_again(meanwhile: impl Fn(u32) -> SealedSecretRecord) -> (Objects, Vec<bool>) {
        let objects = Objects::new(ServedScope::of(&[]));
        objects.record_secrets(Event::Listed(ServedScope::AllNamespaces, Vec::new(), ResourceVersion::parse("1")));
        let mut waits = Vec::new();
        for version in (10..90).step_by(10) {
            let (key, mut forged) = observed(version, version.into());
            objects.record_sealed_secrets(Event::Applied(key.clone(), forged.clone()));
            let known = objects.known(&key).expect("it is there");
            waits.push(known.pause(&forged).is_some());
            known.count_correction(&mut forged, Some("1"));
            forged.set_written_status(Some(&(version + 1).to_string()), &about(1));
            objects.record_sealed_secrets(Event::Applied(key.clone(), meanwhile(version)));
            objects.record_end(&key, Reason::Materialised, Some(forged));
        }
        (objects, waits)
    }

    /// The first status belongs to a new object, so nobody has overwritten it. The next five do not wait.
    const WAITS: [bool; 8] = [false, false, false, false, false, false, true, true];

    #[test]
    fn the_sixth_correction_of_a_status_waits() {
        let (objects, waits) = correct_again_and_again(|version| observed(version + 1, 1).1);
        assert_eq!(waits, WAITS);
        let (key, mut record) = observed(100, 100);
        let known = objects.known(&key).expect("it is there");
        assert!(known.pause(&record).is_some());
        assert_eq!(known.pause(&observed(100, 1).1), None, "the status of the controller itself");
        record.generation += 1;
        assert_eq!(known.pause(&record), None, "a new generation");
    }

    #[test]
    fn a_correction_waits_even_if_somebody_overwrites_the_status_before_the_answer_arrives() {
        let (_, waits) = correct_again_and_again(|version| observed(version + 2, 0).1);
        assert_eq!(waits, WAITS);
    }

    #[test]
    fn a_write_that_was_changed_delays_the_next_one_until_the_secret_is_right_or_the_object_new() {
        let objects = Objects::new(ServedScope::of(&[]));
        objects.record_secrets(Event::Listed(ServedScope::AllNamespaces, Vec::new(), ResourceVersion::parse("1")));
        let (key, record) = object("1");
        let apply = |record: &SealedSecretRecord| {
            objects.record_sealed_secrets(Event::Applied(key.clone(), record.clone()));
            objects.known(&key).expect("it is there").changed_field()
        };
        assert_eq!(apply(&record), None);
        objects.record_rejected_write(&key, "data");
        objects.record_end(&key, Reason::Forbidden, Some(object("2").1));
        let (_, mut changed) = object("3");
        assert_eq!(apply(&changed), Some("data"));
        objects.record_right_secret(&key, "1", "4");
        assert_eq!(apply(&changed), None);
        objects.record_rejected_write(&key, "type");
        assert_eq!(apply(&changed), Some("type"));
        changed.generation += 1;
        assert_eq!(apply(&changed), None);
    }

    #[test]
    fn an_event_that_changes_nothing_or_is_late_causes_no_reconcile() {
        let objects = Objects::new(ServedScope::of(&[]));
        let record = |version| {
            let (key, record) = object(version);
            objects.record_sealed_secrets(Event::Applied(key, record)).len()
        };
        assert_eq!([record("2"), record("3"), record("1")], [1, 0, 0]);
    }
}

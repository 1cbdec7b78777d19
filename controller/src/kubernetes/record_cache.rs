//! The cache of all objects of one kind: one small record for each, however large the object is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::object_key::ObjectKey;
use super::scope::ServedScope;

/// A resourceVersion as a number. Kubernetes promises that a later version is a greater number.
///
/// A version that is not a number becomes zero, and zero is never before another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResourceVersion(u64);

impl ResourceVersion {
    pub(super) fn parse(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }

    /// Whether this version is older than another.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.0 != 0 && other.0 != 0 && self.0 < other.0
    }
}

/// A record of an object at one version.
pub(super) trait Versioned {
    fn version(&self) -> ResourceVersion;
}

/// What a list or a watch event reports.
#[derive(Debug)]
pub(super) enum Event<R> {
    /// All objects of the kind in this scope, and the version of the list.
    Listed(ServedScope, Vec<(ObjectKey, R)>, ResourceVersion),
    /// One object that was added or changed.
    Applied(ObjectKey, R),
    /// One object that was deleted, with its last state.
    Deleted(ObjectKey, R),
}

/// The records of all objects of one kind.
///
/// An event can be older than a record that a write has left here: of two states of an object the later one is kept.
pub(super) struct RecordCache<R> {
    records: HashMap<ObjectKey, R>,
    scopes: Arc<[ServedScope]>,
    /// The scopes that were not listed since the start, or since the records were removed.
    unlisted: Vec<ServedScope>,
    /// The latest version that lists and events have reported for each scope.
    reported: BTreeMap<ServedScope, ResourceVersion>,
}

impl<R: Versioned> RecordCache<R> {
    /// An empty cache of the objects in these scopes.
    pub(super) fn new(scopes: Arc<[ServedScope]>) -> Self {
        Self { records: HashMap::new(), unlisted: scopes.to_vec(), scopes, reported: BTreeMap::new() }
    }

    /// The scopes whose objects were not listed since the start, or since the records were removed.
    pub(super) fn unlisted(&self) -> &[ServedScope] {
        &self.unlisted
    }

    /// Whether the objects in the scope of this object were listed.
    pub(super) fn is_listed(&self, key: &ObjectKey) -> bool {
        !self.unlisted.iter().any(|scope| scope.contains(key))
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<&R> {
        self.records.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &ObjectKey) -> Option<&mut R> {
        self.records.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &R)> {
        self.records.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&ObjectKey, &mut R)> {
        self.records.iter_mut()
    }

    /// Stores the record of an event unless a later one is here. `merge` moves what the old record remembers into the
    /// new one.
    pub(super) fn apply(&mut self, key: ObjectKey, record: R, merge: impl FnOnce(&mut R, R)) {
        self.note_report(&key, record.version());
        self.store(key, record, merge);
    }

    /// Stores the record of an object that a reconcile has read or written, unless a later record is here or the object
    /// was deleted. Events come in the order of their versions. So if an event of the scope is later than this record
    /// and the object has no record, the object was deleted.
    pub(super) fn apply_own(&mut self, key: ObjectKey, record: R, merge: impl FnOnce(&mut R, R)) {
        let mut reported = self.reported.iter().filter(|(scope, _)| scope.contains(&key));
        let is_reported = reported.any(|(_, latest)| record.version().is_before(*latest));
        if self.records.contains_key(&key) || !is_reported {
            self.store(key, record, merge);
        }
    }

    fn store(&mut self, key: ObjectKey, mut record: R, merge: impl FnOnce(&mut R, R)) {
        match self.records.remove(&key) {
            Some(known) if record.version().is_before(known.version()) => record = known,
            Some(known) => merge(&mut record, known),
            None => {}
        }
        self.records.insert(key, record);
    }

    /// Removes the record of a deleted object, unless a later object of its name is here.
    pub(super) fn delete(&mut self, key: &ObjectKey, last: &R) {
        self.note_report(key, last.version());
        if self.records.get(key).is_some_and(|known| !last.version().is_before(known.version())) {
            self.records.remove(key);
        }
    }

    /// Replaces all records of a scope with a complete list, but keeps records that are later than the list.
    pub(super) fn replace(
        &mut self,
        scope: &ServedScope,
        listed: Vec<(ObjectKey, R)>,
        version: ResourceVersion,
        merge: impl Fn(&mut R, R),
    ) {
        let mut known: HashMap<_, _> = self.records.extract_if(|key, _| scope.contains(key)).collect();
        for (key, mut record) in listed {
            match known.remove(&key) {
                Some(later) if version.is_before(later.version()) => record = later,
                Some(before) => merge(&mut record, before),
                None => {}
            }
            self.records.insert(key, record);
        }
        self.records.extend(known.into_iter().filter(|(_, known)| version.is_before(known.version())));
        self.unlisted.retain(|unlisted| unlisted != scope);
        self.reported.insert(scope.clone(), version);
    }

    fn note_report(&mut self, key: &ObjectKey, version: ResourceVersion) {
        let scopes =
            self.reported.iter_mut().filter(|(scope, latest)| scope.contains(key) && latest.is_before(version));
        scopes.for_each(|(_, latest)| *latest = version);
    }

    /// Removes all records: the API server was restored to an earlier state, and versions from before do not compare
    /// with those from now on.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.unlisted = self.scopes.to_vec();
        self.reported.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Record(u64, &'static str);

    impl Versioned for Record {
        fn version(&self) -> ResourceVersion {
            ResourceVersion(self.0)
        }
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("shop", name)
    }

    fn cache(records: &[(&str, Record)]) -> RecordCache<Record> {
        let mut cache = RecordCache::new(ServedScope::of(&[]));
        for (name, record) in records {
            cache.apply(key(name), record.clone(), |_, _| {});
        }
        cache
    }

    #[test]
    fn the_later_of_two_states_is_kept() {
        let mut cache = cache(&[("db", Record(5, "written"))]);
        cache.apply(key("db"), Record(4, "late event"), |_, _| {});
        assert_eq!(cache.get(&key("db")), Some(&Record(5, "written")));
        cache.apply(key("db"), Record(6, "event"), |_, _| {});
        assert_eq!(cache.get(&key("db")), Some(&Record(6, "event")));
    }

    #[test]
    fn a_late_deletion_does_not_remove_a_successor() {
        let mut cache = cache(&[("db", Record(7, "successor"))]);
        cache.delete(&key("db"), &Record(6, "deleted"));
        assert!(cache.get(&key("db")).is_some());
        cache.delete(&key("db"), &Record(8, "deleted"));
        assert!(cache.get(&key("db")).is_none());
    }

    /// If the record of the write stayed, the controller would not create again a Secret that was deleted directly
    /// after the write.
    #[test]
    fn a_write_that_is_older_than_a_deletion_leaves_no_record() {
        let mut cache = cache(&[]);
        cache.replace(&ServedScope::AllNamespaces, Vec::new(), ResourceVersion(5), |_, _| {});
        cache.apply_own(key("db"), Record(6, "written"), |_, _| {});
        assert!(cache.get(&key("db")).is_some());
        cache.delete(&key("db"), &Record(7, "deleted"));
        cache.apply_own(key("db"), Record(6, "a late answer"), |_, _| {});
        assert!(cache.get(&key("db")).is_none());
        cache.apply_own(key("db"), Record(8, "written again"), |_, _| {});
        assert!(cache.get(&key("db")).is_some());
        cache.apply(key("other"), Record(9, "event"), |_, _| {});
        cache.apply_own(key("db"), Record(8, "read"), |_, _| {});
        assert!(cache.get(&key("db")).is_some());
    }

    #[test]
    fn a_list_removes_absent_objects_but_keeps_later_ones() {
        let mut cache = cache(&[("gone", Record(1, "")), ("later", Record(9, "")), ("stays", Record(2, "old"))]);
        cache.replace(
            &ServedScope::AllNamespaces,
            vec![(key("stays"), Record(3, "new"))],
            ResourceVersion(5),
            |_, _| {},
        );
        assert_eq!(cache.unlisted(), []);
        assert!(cache.get(&key("gone")).is_none());
        assert_eq!(cache.get(&key("stays")), Some(&Record(3, "new")));
        assert!(cache.get(&key("later")).is_some());
    }

    /// After etcd was restored, an object can have an earlier version than before.
    #[test]
    fn a_list_replaces_records_that_are_older_than_it() {
        let mut cache = cache(&[("db", Record(7, "before the restore"))]);
        cache.replace(
            &ServedScope::AllNamespaces,
            vec![(key("db"), Record(3, "restored"))],
            ResourceVersion(9),
            |_, _| {},
        );
        assert_eq!(cache.get(&key("db")), Some(&Record(3, "restored")));
    }

    #[test]
    fn after_the_records_are_removed_the_scope_counts_as_unlisted() {
        let mut cache = cache(&[]);
        cache.replace(&ServedScope::AllNamespaces, vec![(key("db"), Record(1, ""))], ResourceVersion(5), |_, _| {});
        cache.clear();
        assert_eq!(cache.unlisted(), [ServedScope::AllNamespaces]);
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_about_another() {
        let [shop, blog] = ["shop", "blog"].map(|name| ServedScope::Namespace(name.into()));
        let mut cache = RecordCache::new([shop.clone(), blog.clone()].into());
        let post = ObjectKey::new("blog", "post");
        cache.replace(&blog, vec![(post.clone(), Record(1, ""))], ResourceVersion(1), |_, _| {});
        assert!(cache.is_listed(&post) && !cache.is_listed(&key("db")));
        assert_eq!(cache.unlisted(), std::slice::from_ref(&shop));
        cache.replace(&shop, vec![(key("db"), Record(2, ""))], ResourceVersion(5), |_, _| {});
        assert!(cache.get(&post).is_some() && cache.is_listed(&key("db")));
        cache.replace(&shop, Vec::new(), ResourceVersion(6), |_, _| {});
        assert!(cache.get(&post).is_some() && cache.get(&key("db")).is_none());
    }

    #[test]
    fn a_version_that_is_not_a_number_is_never_before_another() {
        assert!(!ResourceVersion::parse("x").is_before(ResourceVersion(3)));
        assert!(!ResourceVersion(3).is_before(ResourceVersion::parse("")));
    }
}

//! What is known of all objects of one kind: a small record each, however large the objects are.

use std::collections::HashMap;

use super::object_key::ObjectKey;

/// A resourceVersion, for comparisons; Kubernetes promises that later ones are greater numbers.
///
/// Zero stands for a version that is not a number: it counts as newer than every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u64);

impl Version {
    pub(super) fn parse(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }

    /// Whether this version came before another.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.0 != 0 && other.0 != 0 && self.0 < other.0
    }
}

/// A record of an object at one version.
pub(super) trait Versioned {
    fn version(&self) -> Version;
}

/// News of one object or of all.
#[derive(Debug)]
pub(super) enum Event<R> {
    /// All objects of the kind, as of a version.
    Listed(Vec<(ObjectKey, R)>, Version),
    /// One object that was added or changed.
    Applied(ObjectKey, R),
    /// One object that was deleted; its last state.
    Deleted(ObjectKey, R),
}

/// The records of all objects of one kind.
///
/// News can be older than what a write has told already: of two states of an object the later one counts.
pub(super) struct Mirror<R> {
    records: HashMap<ObjectKey, R>,
    is_complete: bool,
}

impl<R: Versioned> Mirror<R> {
    pub(super) fn new() -> Self {
        Self { records: HashMap::new(), is_complete: false }
    }

    /// Whether all objects were listed once.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
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

    /// Takes a record over unless a later one is known. `merge` carries over what the old record remembers.
    pub(super) fn apply(&mut self, key: ObjectKey, mut record: R, merge: impl FnOnce(&mut R, R)) {
        match self.records.remove(&key) {
            Some(known) if record.version().is_before(known.version()) => record = known,
            Some(known) => merge(&mut record, known),
            None => {}
        }
        self.records.insert(key, record);
    }

    /// Forgets a deleted object, unless a later one of its name is known.
    pub(super) fn delete(&mut self, key: &ObjectKey, last: &R) {
        if self.records.get(key).is_some_and(|known| !last.version().is_before(known.version())) {
            self.records.remove(key);
        }
    }

    /// Takes a complete list over, but for what is known to have happened after it.
    pub(super) fn replace(&mut self, listed: Vec<(ObjectKey, R)>, version: Version, merge: impl Fn(&mut R, R)) {
        let mut known = std::mem::take(&mut self.records);
        for (key, mut record) in listed {
            match known.remove(&key) {
                Some(later) if version.is_before(later.version()) => record = later,
                Some(before) => merge(&mut record, before),
                None => {}
            }
            self.records.insert(key, record);
        }
        self.records.extend(known.into_iter().filter(|(_, known)| version.is_before(known.version())));
        self.is_complete = true;
    }

    /// Forgets all records: the API server went back in time, and its versions no longer compare.
    pub(super) fn clear(&mut self) {
        self.records.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Record(u64, &'static str);

    impl Versioned for Record {
        fn version(&self) -> Version {
            Version(self.0)
        }
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("shop", name)
    }

    fn mirror(records: &[(&str, Record)]) -> Mirror<Record> {
        let mut mirror = Mirror::new();
        for (name, record) in records {
            mirror.apply(key(name), record.clone(), |_, _| {});
        }
        mirror
    }

    #[test]
    fn of_two_states_the_later_one_counts() {
        let mut mirror = mirror(&[("db", Record(5, "written"))]);
        mirror.apply(key("db"), Record(4, "late news"), |_, _| {});
        assert_eq!(mirror.get(&key("db")), Some(&Record(5, "written")));
        mirror.apply(key("db"), Record(6, "news"), |_, _| {});
        assert_eq!(mirror.get(&key("db")), Some(&Record(6, "news")));
    }

    #[test]
    fn a_late_deletion_does_not_remove_a_successor() {
        let mut mirror = mirror(&[("db", Record(7, "successor"))]);
        mirror.delete(&key("db"), &Record(6, "deleted"));
        assert!(mirror.get(&key("db")).is_some());
        mirror.delete(&key("db"), &Record(8, "deleted"));
        assert!(mirror.get(&key("db")).is_none());
    }

    #[test]
    fn a_list_removes_what_it_lacks_but_not_what_came_later() {
        let mut mirror = mirror(&[("gone", Record(1, "")), ("later", Record(9, "")), ("stays", Record(2, "old"))]);
        mirror.replace(vec![(key("stays"), Record(3, "new"))], Version(5), |_, _| {});
        assert!(mirror.is_complete());
        assert!(mirror.get(&key("gone")).is_none());
        assert_eq!(mirror.get(&key("stays")), Some(&Record(3, "new")));
        assert!(mirror.get(&key("later")).is_some());
    }

    /// After etcd was restored, an object can have an earlier version than before.
    #[test]
    fn a_list_is_right_about_everything_before_it() {
        let mut mirror = mirror(&[("db", Record(7, "before the restore"))]);
        mirror.replace(vec![(key("db"), Record(3, "restored"))], Version(9), |_, _| {});
        assert_eq!(mirror.get(&key("db")), Some(&Record(3, "restored")));
    }

    #[test]
    fn a_version_that_is_not_a_number_is_never_before_another() {
        assert!(!Version::parse("x").is_before(Version(3)));
        assert!(!Version(3).is_before(Version::parse("")));
    }
}

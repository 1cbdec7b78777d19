//! What is known of all objects of one kind: a small record each, however large the objects are.

use std::collections::{HashMap, HashSet};

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

    /// Takes a complete list over and returns the keys of the objects that it lacks.
    pub(super) fn replace(
        &mut self,
        listed: Vec<(ObjectKey, R)>,
        version: Version,
        mut merge: impl FnMut(&mut R, R),
    ) -> Vec<ObjectKey> {
        let keys: HashSet<_> = listed.iter().map(|(key, _)| key.clone()).collect();
        let is_gone = |(key, known): (&ObjectKey, &R)| {
            (!keys.contains(key) && !version.is_before(known.version())).then(|| key.clone())
        };
        let gone: Vec<_> = self.records.iter().filter_map(is_gone).collect();
        for key in &gone {
            self.records.remove(key);
        }
        for (key, record) in listed {
            self.apply(key, record, &mut merge);
        }
        self.is_complete = true;
        gone
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
        let gone = mirror.replace(vec![(key("stays"), Record(3, "new"))], Version(5), |_, _| {});
        assert_eq!(gone, [key("gone")]);
        assert!(mirror.is_complete());
        assert_eq!(mirror.get(&key("stays")), Some(&Record(3, "new")));
        assert!(mirror.get(&key("later")).is_some());
    }

    #[test]
    fn a_version_that_is_not_a_number_is_never_before_another() {
        assert!(!Version::parse("x").is_before(Version(3)));
        assert!(!Version(3).is_before(Version::parse("")));
    }
}

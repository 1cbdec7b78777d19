//! What the Secrets must hold, and which of them may change.

use std::collections::{BTreeMap, BTreeSet};

use super::repository::{Title, Values};

/// Differs after every write of a Secret: its resourceVersion, or the folder that it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker(pub(super) String);

/// A Secret as it is.
pub(super) struct Observed {
    pub(super) values: BTreeMap<String, String>,
    pub(super) marker: Marker,
}

/// The Secrets of one cluster as they were last seen.
#[derive(Default)]
pub(super) struct Ledger(BTreeMap<Title, Marker>);

impl Ledger {
    /// Checks that every Secret holds the values, and that none was written but those in `edited`.
    #[track_caller]
    pub(super) fn check(&mut self, place: &str, found: BTreeMap<Title, Observed>, expected: &Values, edited: &[Title]) {
        let edited: BTreeSet<_> = edited.iter().collect();
        assert!(found.keys().eq(expected.keys()), "{place}: {} of {} Secrets", found.len(), expected.len());
        for (title, observed) in found {
            // Not `assert_eq`: a failure would show pages.
            assert!(observed.values == expected[&title], "{place}: {title} has {:?}", observed.values);
            let before = self.0.insert(title.clone(), observed.marker.clone());
            let is_as_before = before.is_none_or(|before| before == observed.marker);
            assert!(is_as_before || edited.contains(&title), "{place}: {title} was written");
        }
    }
}

//! Collects the rows of the report: which files and commits have each value.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use super::report::{CommitReport, Current, References, UsageRow};
use super::values::{FoundValue, Names, Value};
use crate::git::{Commit, Reach, Revisions};

/// The most rows of a report.
const MAX_ROWS: usize = 1_000_000;

/// The values that the key opens, by file.
#[derive(Default)]
pub(super) struct Rows {
    opened: BTreeMap<(Vec<u8>, Value), Places>,
    /// All values of the working tree, also those that the key does not open.
    values_of_working_tree: HashSet<Value>,
    /// The names of these values.
    names_of_working_tree: HashSet<usize>,
    /// Whether values were left out because of [`MAX_ROWS`].
    pub(super) are_too_many: bool,
}

/// Where a file has a value.
#[derive(Default)]
struct Places {
    in_working_tree: bool,
    /// The indexes of the first and the last commit.
    commits: Option<(usize, usize)>,
    /// The indexes of the commits that references point to.
    tips: Vec<u32>,
}

impl Rows {
    /// Adds the values of a file in the working tree.
    pub(super) fn add_file(&mut self, file: &[u8], values: Vec<FoundValue>) {
        for FoundValue { value, is_opened } in values {
            self.values_of_working_tree.insert(value);
            self.names_of_working_tree.insert(value.names);
            if is_opened && let Some(places) = self.places(file, value) {
                places.in_working_tree = true;
            }
        }
    }

    pub(super) fn add_revisions(&mut self, revisions: &Revisions<Vec<Value>>) {
        for revision in &revisions.files {
            for value in &revisions.contents[revision.content] {
                let Some(places) = self.places(&revision.path, *value) else {
                    return;
                };
                let (first, last) = places.commits.unwrap_or((revision.first, revision.last));
                places.commits = Some((first.min(revision.first), last.max(revision.last)));
                places.tips.extend(&revision.tips);
                places.tips.sort_unstable();
                places.tips.dedup();
            }
        }
    }

    /// Returns the rows, sorted by file, names and first commit.
    pub(super) fn report<'a>(&'a self, names: &[Names], commits: &'a [Commit], reach: Reach) -> Vec<UsageRow<'a>> {
        let mut sorted: Vec<_> = self.opened.iter().collect();
        sorted.sort_by_key(|((file, value), places)| {
            (file, &names[value.names], places.commits.is_none(), places.commits)
        });
        let rows = sorted.into_iter().map(|((file, value), places)| {
            let Names { namespace, name, data_key } = names[value.names].clone();
            let (commit, last_commit) = match (places.commits, reach) {
                (None, _) => (None, None),
                (Some((_, last)), Reach::Tips | Reach::Branches) => (Some(last), None),
                (Some((first, last)), Reach::History) => (Some(first), Some(last)),
            };
            UsageRow {
                file: String::from_utf8_lossy(file).into_owned(),
                namespace,
                name,
                data_key,
                current: self.current(value),
                in_working_tree: places.in_working_tree,
                references: References { tips: &places.tips, commits },
                commit: commit.map(|number| commit_report(&commits[number])),
                last_commit: last_commit.map(|number| commit_report(&commits[number])),
            }
        });
        rows.collect()
    }

    /// The number of different values in the working tree, also of those that the key does not open.
    pub(super) fn values_in_working_tree(&self) -> usize {
        self.values_of_working_tree.len()
    }

    fn places(&mut self, file: &[u8], value: Value) -> Option<&mut Places> {
        let key = (file.to_vec(), value);
        if self.opened.len() >= MAX_ROWS && !self.opened.contains_key(&key) {
            self.are_too_many = true;
            return None;
        }
        Some(self.opened.entry(key).or_default())
    }

    fn current(&self, value: &Value) -> Current {
        if self.values_of_working_tree.contains(value) {
            Current::Same
        } else if self.names_of_working_tree.contains(&value.names) {
            Current::Changed
        } else {
            Current::Removed
        }
    }
}

fn commit_report(commit: &Commit) -> CommitReport {
    let date = commit.seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    CommitReport { id: commit.id.to_string(), date: date.map(|date| date.to_string()) }
}

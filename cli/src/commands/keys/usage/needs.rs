//! The sealed values in files that the controller could no longer open if a key were deleted.

use std::collections::BTreeSet;
use std::path::PathBuf;

use waxseal_shared::names::KeyId;
use waxseal_shared::visible_text::escaped;

use super::report::UsageRow;
use super::search::Search;
use super::targets::Targets;
use super::values::Finder;
use crate::error::CliError;
use crate::git::Reach;
use crate::streams::Streams;

/// The result of a search of files for the values that need a key.
#[derive(Default)]
pub(in crate::commands::keys) struct FileNeeds {
    /// A line for each value of each file.
    pub(in crate::commands::keys) values: Vec<String>,
    /// What could not be searched.
    pub(in crate::commands::keys) errors: Vec<CliError>,
    /// The number of sealed values in the working trees.
    pub(in crate::commands::keys) searched_values: usize,
    pub(in crate::commands::keys) searched_commits: usize,
}

/// Searches the working trees, and all branches of their repositories, for values that have a wrap for the key and none
/// for a key that stays.
pub(in crate::commands::keys) fn needs_in_files(
    key: &KeyId,
    staying: &BTreeSet<KeyId>,
    paths: &[PathBuf],
    streams: &mut Streams,
) -> Result<FileNeeds, CliError> {
    let mut needs = FileNeeds::default();
    for targets in Targets::by_work_tree(paths)? {
        let mut search = Search::new(Finder::new(key.clone()).except_opened_by(staying.clone()));
        search.working_tree(&targets, streams);
        let revisions = search.commits(&targets, Reach::Branches)?;
        let commits = revisions.as_ref().map(|revisions| revisions.commits.as_slice()).unwrap_or_default();
        let rows = search.rows.report(&search.finder.names, commits, Reach::Branches);
        needs.values.extend(rows.iter().map(line));
        needs.searched_values += search.rows.values_in_working_tree();
        needs.searched_commits += commits.len();
        needs.errors.extend(search.errors.into_shown());
    }
    Ok(needs)
}

fn line(row: &UsageRow<'_>) -> String {
    let UsageRow { file, namespace, name, data_key, .. } = row;
    let text = format!("{file}: {namespace}/{name}: {data_key} ({})", row.places().join(", "));
    format!("{}\n", escaped(&text))
}

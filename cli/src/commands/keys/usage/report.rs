//! The report of `keys usage` as a table, JSON or CSV.

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use waxseal_shared::visible_text::escaped;

use crate::commands::inspect::to_json;
use crate::git::{Commit, Reach};

/// The most places that a line of the table shows.
const SHOWN_PLACES: usize = 3;
/// How many digits of a commit the table shows.
const SHOWN_DIGITS: usize = 12;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum UsageFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For spreadsheets (RFC 4180)
    Csv,
}

/// Whether the working tree still has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Current {
    /// The value with the same namespace, name and data key has the same ciphertext.
    Same,
    /// The value with the same namespace, name and data key has another ciphertext.
    Changed,
    /// There is no value with the same namespace, name and data key.
    Removed,
}

/// A sealed value in a file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageRow<'a> {
    pub(super) file: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) data_key: String,
    pub(super) current: Current,
    /// Whether the file in the working tree has it.
    pub(super) in_working_tree: bool,
    /// The references whose commit has it.
    pub(super) references: References<'a>,
    /// The newest commit of these references. In a report on the history: the first commit that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<CommitReport>,
    /// In a report on the history: the last commit that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_commit: Option<CommitReport>,
}

/// The references whose commits have a value. Many rows can have thousands of them, so a row does not hold their names.
pub(super) struct References<'a> {
    /// The indexes of the commits.
    pub(super) tips: &'a [u32],
    pub(super) commits: &'a [Commit],
}

#[derive(Serialize)]
pub(super) struct CommitReport {
    pub(super) id: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) date: Option<String>,
}

/// Returns the report as text. The table has the columns of the last commit if the history was searched.
pub(super) fn text_of(rows: &[UsageRow<'_>], format: UsageFormat, reach: Reach) -> String {
    match format {
        UsageFormat::Text if rows.is_empty() => String::new(),
        UsageFormat::Text => table(rows, reach),
        UsageFormat::Json => to_json(&rows),
        UsageFormat::Csv => csv(rows),
    }
}

fn table(rows: &[UsageRow<'_>], reach: Reach) -> String {
    let commit_titles = match reach {
        Reach::Tips | Reach::Branches => &["COMMIT", "DATE"][..],
        Reach::History => &["FIRST COMMIT", "DATE", "LAST COMMIT", "DATE"],
    };
    let titles = ["FILE", "SECRET", "DATA KEY", "CURRENT", "WHERE"].iter().chain(commit_titles);
    let head: Vec<_> = titles.map(|title| (*title).to_owned()).collect();
    let lines: Vec<_> = std::iter::once(head).chain(rows.iter().map(|row| row.table_cells())).collect();
    crate::table::table(&lines)
}

fn csv(rows: &[UsageRow<'_>]) -> String {
    let head = "where,file,namespace,name,data_key,current,commit,date,last_commit,last_date\r\n".to_owned();
    let lines = rows.iter().map(|row| {
        let names = [&row.file, &row.namespace, &row.name, &row.data_key].map(String::as_str);
        let places = row.places().join("; ");
        let cells = std::iter::once(places.as_str()).chain(names).chain([row.current.as_str()]).map(csv_cell);
        let commits = [commit_cells(row.commit.as_ref()), commit_cells(row.last_commit.as_ref())];
        let commits = commits.as_flattened().iter().map(|cell| csv_cell(cell));
        cells.chain(commits).collect::<Vec<_>>().join(",") + "\r\n"
    });
    std::iter::once(head).chain(lines).collect()
}

/// Returns a cell in quotes if it needs them. Escapes hidden characters, so that a cell has one line. Puts `'` before a
/// text that a spreadsheet would take for a formula: others choose the names of files and data keys.
fn csv_cell(cell: &str) -> String {
    let mut cell = escaped(cell);
    if cell.starts_with(['=', '+', '-', '@']) {
        cell.to_mut().insert(0, '\'');
    }
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.into_owned() }
}

impl<'a> References<'a> {
    /// Returns the names, sorted.
    fn names(&self) -> Vec<&'a str> {
        let commits = self.tips.iter().filter_map(|tip| self.commits.get(*tip as usize));
        let mut names: Vec<_> = commits.flat_map(|commit| &commit.references).map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

impl Serialize for References<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl Current {
    fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

impl UsageRow<'_> {
    /// The places in the working tree and in references that have the value.
    pub(super) fn places(&self) -> Vec<&str> {
        let working_tree = self.in_working_tree.then_some("working tree");
        working_tree.into_iter().chain(self.references.names()).collect()
    }

    fn table_cells(&self) -> Vec<String> {
        let secret =
            if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) };
        let commits = [&self.commit, &self.last_commit].into_iter().flat_map(|commit| {
            let [id, date] = commit_cells(commit.as_ref());
            [id.chars().take(SHOWN_DIGITS).collect(), date]
        });
        let names = [self.file.clone(), secret, self.data_key.clone(), self.current.as_str().to_owned()];
        let cells = names.into_iter().chain([shown_places(&self.places())]).chain(commits);
        cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { escaped(&cell).into_owned() }).collect()
    }
}

/// The id and the date of a commit, empty if they are not known.
fn commit_cells(commit: Option<&CommitReport>) -> [String; 2] {
    commit.map(|commit| [commit.id.clone(), commit.date.clone().unwrap_or_default()]).unwrap_or_default()
}

fn shown_places(places: &[&str]) -> String {
    if places.is_empty() {
        return "history".to_owned();
    }
    let shown = places[..places.len().min(SHOWN_PLACES)].join(", ");
    match places.len().saturating_sub(SHOWN_PLACES) {
        0 => shown,
        hidden => format!("{shown} and {hidden} more"),
    }
}

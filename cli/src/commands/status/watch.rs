//! `waxseal status --watch`.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use waxseal_shared::visible_text::escaped_json;

use super::row::{self, StatusRow};
use crate::cluster::{SealedSecretSelection, SealedSecretState, Session, StateChange, WatchEnd};
use crate::commands::inspect::ReportFormat;
use crate::error::CliError;
use crate::streams::{Streams, stdout_closed};
use crate::table::Columns;

/// The pause before a list is read again because its version has expired.
const RELIST_PAUSE: Duration = Duration::from_secs(1);

/// Namespace and name.
type Title = (String, String);

/// What was printed so far.
struct Printed<'a> {
    selection: &'a SealedSecretSelection,
    format: ReportFormat,
    /// `None` before the first list, and for JSON.
    columns: Option<Columns>,
    rows: BTreeMap<Title, StatusRow>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    row: &'a StatusRow,
    deleted: bool,
}

/// Prints the list, and then a line for each change, until nobody reads stdout any more.
pub(super) fn run(
    session: &Session,
    selection: &SealedSecretSelection,
    format: ReportFormat,
    streams: &mut Streams,
) -> Result<(), CliError> {
    let mut printed = Printed { selection, format, columns: None, rows: BTreeMap::new() };
    loop {
        let (now, mut rows) = (Timestamp::now(), BTreeMap::new());
        let version = session.list_sealed_secrets(selection, |object: SealedSecretState| {
            if selection.selects(&object) {
                rows.insert(title(&object), StatusRow::of(&object, now));
            }
        })?;
        printed.list(rows, streams)?;
        let end = session.watch_sealed_secrets(selection, version, stdout_closed(), |change| match change {
            StateChange::Present(object) if !selection.selects(&object) => Ok(()),
            StateChange::Present(object) => {
                printed.row(title(&object), StatusRow::of(&object, Timestamp::now()), streams)
            }
            StateChange::Deleted(object) => printed.deleted(&title(&object), streams),
        })?;
        match end {
            // A server whose versions always expire must not be asked without a pause.
            WatchEnd::Expired => thread::sleep(RELIST_PAUSE),
            WatchEnd::Enough => return Ok(()),
        }
    }
}

fn title(object: &SealedSecretState) -> Title {
    (object.namespace().to_owned(), object.name().to_owned())
}

impl Printed<'_> {
    /// Prints what differs from the list before.
    fn list(&mut self, rows: BTreeMap<Title, StatusRow>, streams: &mut Streams) -> Result<(), CliError> {
        if self.columns.is_none() && self.format == ReportFormat::Text {
            let lines: Vec<_> = [row::head()].into_iter().chain(rows.values().map(StatusRow::cells)).collect();
            self.columns =
                Some(Columns::of(&lines.iter().map(|line| self.selection.columns(line)).collect::<Vec<_>>()));
            streams.result(&self.line(&row::head()))?;
        }
        let gone: Vec<_> = self.rows.keys().filter(|title| !rows.contains_key(title)).cloned().collect();
        gone.iter().try_for_each(|title| self.deleted(title, streams))?;
        rows.into_iter().try_for_each(|(title, row)| self.row(title, row, streams))
    }

    /// Prints a row unless it says what was printed before.
    fn row(&mut self, title: Title, row: StatusRow, streams: &mut Streams) -> Result<(), CliError> {
        if self.rows.get(&title).is_some_and(|before| before.says_the_same_as(&row)) {
            return Ok(());
        }
        let line = match self.format {
            ReportFormat::Text => self.line(&row.cells()),
            ReportFormat::Json => json(&Line { row: &row, deleted: false }),
        };
        self.rows.insert(title, row);
        streams.result(&line)
    }

    fn deleted(&mut self, title: &Title, streams: &mut Streams) -> Result<(), CliError> {
        let Some(row) = self.rows.remove(title) else { return Ok(()) };
        let line = match self.format {
            ReportFormat::Text => self.line(&row.deleted_cells()),
            ReportFormat::Json => json(&Line { row: &row, deleted: true }),
        };
        streams.result(&line)
    }

    fn line(&self, cells: &[String]) -> String {
        let cells = self.selection.columns(cells);
        self.columns.as_ref().map(|columns| columns.line(&cells)).unwrap_or_default()
    }
}

/// One line of JSON with hidden characters escaped.
fn json(line: &Line<'_>) -> String {
    // A line consists of strings, numbers and booleans.
    let text = serde_json::to_string(line).expect("a line is JSON") + "\n";
    escaped_json(&text).into_owned()
}

use std::ffi::OsString;

use clap::Args;
use serde::Serialize;
use waxseal_shared::manifest::read_keys;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey, primary};

use crate::commands::inspect::{ReportFormat, kind_word, to_json};
use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::input::Input;
use crate::streams::Streams;

/// Shows the keys of keys files. No cluster is asked.
#[derive(Args)]
pub(crate) struct ListArguments {
    /// The keys files
    #[arg(long, value_name = "FILE", value_parser = file_name::<OsString>(), required = true, num_args = 1..)]
    keys: Vec<OsString>,
    /// How the list is written
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    file: String,
    key: String,
    role: &'static str,
    state: &'static str,
    primary: bool,
    kind: &'static str,
    created_at: String,
    fingerprint: String,
}

pub(crate) fn run(arguments: ListArguments, streams: &mut Streams) -> Result<(), Failures> {
    let mut rows = Vec::new();
    for name in &arguments.keys {
        let input = Input::named(name);
        let keys = read_keys(&input.read()?).map_err(|error| CliError::manifest(&input.place(), &error))?;
        let primary = primary(&keys);
        rows.extend(keys.iter().map(|key| row(input.place(), key, primary == Some(key))));
    }
    let text = match arguments.format {
        ReportFormat::Text => table(&rows),
        ReportFormat::Json => to_json(&rows),
    };
    Ok(streams.result(&text)?)
}

/// The word for a role, as manifests have it.
pub(super) fn role_word(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Cluster => "Cluster",
        KeyRole::Recovery => "Recovery",
    }
}

/// The word for a state, as manifests have it.
pub(super) fn state_word(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "Active",
        KeyState::Retired => "Retired",
        KeyState::Revoked => "Revoked",
    }
}

fn row(file: String, key: &PublishedKey, primary: bool) -> Row {
    Row {
        file,
        key: key.recipient.key_id().to_string(),
        role: role_word(key.role),
        state: state_word(key.state),
        primary,
        kind: kind_word(key.recipient.kind()),
        created_at: key.created_at.to_string(),
        fingerprint: key.recipient.fingerprint(),
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["KEY", "ROLE", "STATE", "CREATED", "KIND", "FINGERPRINT"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let state = if row.primary { "Active (primary)" } else { row.state };
        [&row.key, row.role, state, &row.created_at, row.kind, &row.fingerprint].map(str::to_owned)
    });
    let lines: Vec<_> = std::iter::once(head).chain(cells).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or_default());
    let padded = |line: &[String; 6]| {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}

use std::ffi::OsString;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use waxseal_shared::key_life::{check_creation_time, primary};
use waxseal_shared::sealing_key::PublishedKey;

use crate::commands::inspect::{ReportFormat, kind_word, to_json};
use crate::error::Failures;
use crate::file_names::file_name;
use crate::input::{self, Input};
use crate::streams::Streams;

/// List the keys of keys files, without asking a cluster.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArguments {
    /// List the keys of these keys files; `-` is stdin
    #[arg(value_name = "KEYS_FILE|-", value_parser = file_name::<OsString>(), required = true)]
    files: Vec<OsString>,
    /// Print the list in this format
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

const EXAMPLES: &str = "\
Examples:
  waxseal keys list .waxseal/prod.yaml
  waxseal keys list --format json -- .waxseal/*.yaml
  kubectl get sealingkeys -n waxseal-system -o yaml | waxseal keys list -";

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
    input::check_stdin_once(&arguments.files)?;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for name in &arguments.files {
        let input = Input::named(name);
        let place = input.place();
        let keys = input.read_keys()?;
        for key in &keys {
            if let Err(error) = check_creation_time(key.created_at, now) {
                streams.warn(&place, &format!("{}: {error}: `waxseal seal` refuses this file", key.recipient.key_id()));
            }
        }
        let primary = primary(&keys);
        rows.extend(keys.iter().map(|key| row(place.clone(), key, primary == Some(key))));
    }
    let text = match arguments.format {
        ReportFormat::Text => table(&rows),
        ReportFormat::Json => to_json(&rows),
    };
    Ok(streams.result(&text)?)
}

fn row(file: String, key: &PublishedKey, primary: bool) -> Row {
    Row {
        file,
        key: key.recipient.key_id().to_string(),
        role: key.role.as_str(),
        state: key.state.as_str(),
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

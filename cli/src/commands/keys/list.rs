use std::ffi::OsString;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use waxseal_shared::key_life::{check_creation_time, primary};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::PublishedKey;

use crate::cluster::{self, ClusterArguments};
use crate::clusters::Clusters;
use crate::commands::inspect::{ReportFormat, kind_word, to_json};
use crate::error::{CliError, Failures};
use crate::file_names::{cluster_name, file_name};
use crate::input::{self, Input};
use crate::keys_file::KeysFile;
use crate::streams::Streams;

/// List the keys of keys files, without asking a cluster, or the keys of a cluster.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArguments {
    /// List the keys of these keys files; `-` is stdin
    #[arg(value_name = "KEYS_FILE|-", value_parser = file_name::<OsString>())]
    #[arg(required_unless_present_any = ["to", "context", "kubeconfig"], conflicts_with_all = ["context", "kubeconfig"])]
    files: Vec<OsString>,
    /// List the keys of this cluster of the nearest `.waxseal.yaml`, from the current folder upwards. Repeatable
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_name(), conflicts_with_all = ["context", "kubeconfig"])]
    to: Vec<String>,
    /// Print the list in this format
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// List the SealingKeys of this namespace
    #[arg(short, long, value_parser = Namespace::parse, default_value = "waxseal-system", help_heading = "Cluster")]
    #[arg(conflicts_with = "files")]
    namespace: Namespace,
}

const EXAMPLES: &str = "\
Examples:
  waxseal keys list --to prod
  waxseal keys list --format json -- .waxseal/*.yaml
  waxseal keys list --context prod
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
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for (keys, place) in keys(&arguments)? {
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

/// The keys of each file, or of the cluster, and the place of these keys.
fn keys(arguments: &ListArguments) -> Result<Vec<(Vec<PublishedKey>, String)>, CliError> {
    if arguments.files.is_empty() && arguments.to.is_empty() {
        return Ok(vec![cluster::sealing_keys(&arguments.cluster, &arguments.namespace)?]);
    }
    input::check_stdin_once(&arguments.files)?;
    let named = arguments.files.iter().map(|name| KeysFile::read(name).map(Arc::new));
    let mut files = named.collect::<Result<Vec<_>, _>>()?;
    files.extend(Clusters::new().near_named(&arguments.to, &Input::Stdin)?);
    Ok(files.iter().map(|file| (file.keys.clone(), file.place.clone())).collect())
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

use std::ffi::OsString;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use waxseal_shared::key_life::{check_creation_time, primary};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey, SealingKeyStatus};
use waxseal_shared::visible_text::escaped;

use crate::cluster::{self, ClusterArguments};
use crate::clusters::Clusters;
use crate::commands::inspect::{ReportFormat, kind_word, to_json};
use crate::error::{CliError, Failures};
use crate::file_names::{cluster_name, file_name};
use crate::input::{self, Input};
use crate::keys_file::KeysFile;
use crate::streams::Streams;
use crate::table::{age, table};

/// List the keys of keys files, without asking a cluster, or the keys of a cluster.
///
/// For a cluster, OBJECTS counts the SealedSecrets with a wrap for the key, ONLY counts those that no other key opens,
/// and BACKUP is the time of the last backup that has the key in its present state: `none` if there is no such backup,
/// and `-` for a recovery key, of which the cluster has no identity. The controller counts wraps that it has proven: a
/// SealedSecret that it cannot open counts for no key.
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
    #[arg(conflicts_with_all = ["files", "to"])]
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
    #[serde(flatten)]
    in_cluster: Option<InCluster>,
}

/// What the list shows only for the keys of a cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InCluster {
    /// The state that the controller has carried out.
    confirmed_state: Option<KeyState>,
    age_seconds: i64,
    objects: Option<i64>,
    only_objects: Option<i64>,
    last_backup_time: Option<String>,
}

/// The keys of one file or of the cluster.
struct Listed {
    place: String,
    /// A key of a file has no status.
    keys: Vec<(PublishedKey, Option<SealingKeyStatus>)>,
}

pub(crate) fn run(arguments: ListArguments, streams: &mut Streams) -> Result<(), Failures> {
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for Listed { place, keys } in keys(&arguments)? {
        for (key, _) in &keys {
            if let Err(error) = check_creation_time(key.created_at, now) {
                let text = format!("{}: {error}: `waxseal seal` refuses a keys file with it", key.recipient.key_id());
                streams.warn(&place, &text);
            }
        }
        let primary = primary(keys.iter().map(|(key, _)| key));
        rows.extend(keys.iter().map(|(key, status)| Row {
            in_cluster: status.clone().map(|status| InCluster::of(status, key, now)),
            ..row(place.clone(), key, primary == Some(key))
        }));
    }
    let text = match arguments.format {
        ReportFormat::Text => text(&rows),
        ReportFormat::Json => to_json(&rows),
    };
    Ok(streams.result(&text)?)
}

/// The keys of each file, or of the cluster.
fn keys(arguments: &ListArguments) -> Result<Vec<Listed>, CliError> {
    if arguments.files.is_empty() && arguments.to.is_empty() {
        let (found, place) = cluster::sealing_keys(&arguments.cluster, &arguments.namespace)?;
        let keys = found.into_iter().map(|found| (found.key, Some(found.status))).collect();
        return Ok(vec![Listed { place, keys }]);
    }
    input::check_stdin_once(&arguments.files)?;
    let named = arguments.files.iter().map(|name| KeysFile::read(name).map(Arc::new));
    let mut files = named.collect::<Result<Vec<_>, _>>()?;
    files.extend(Clusters::new().keys_files_of(&arguments.to, &Input::Stdin)?);
    let listed = |file: &Arc<KeysFile>| Listed {
        place: file.place.clone(),
        keys: file.keys.iter().map(|key| (key.clone(), None)).collect(),
    };
    Ok(files.iter().map(listed).collect())
}

impl InCluster {
    fn of(status: SealingKeyStatus, key: &PublishedKey, now: Timestamp) -> Self {
        Self {
            confirmed_state: status.state,
            age_seconds: now.duration_since(key.created_at).as_secs().max(0),
            objects: status.objects,
            only_objects: status.only_objects,
            last_backup_time: status.last_backup_time,
        }
    }
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
        in_cluster: None,
    }
}

fn text(rows: &[Row]) -> String {
    let is_of_cluster = rows.iter().any(|row| row.in_cluster.is_some());
    let of_cluster: &[&str] = if is_of_cluster { &["AGE", "OBJECTS", "ONLY", "BACKUP"] } else { &[] };
    let head = [&["KEY", "ROLE", "STATE", "CREATED"], of_cluster, &["KIND", "FINGERPRINT"]].concat();
    let head = head.into_iter().map(str::to_owned).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    table(&lines)
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.key.clone(), row.role.to_owned(), row.state_cell(), row.created_at.clone()];
    if let Some(InCluster { age_seconds, objects, only_objects, last_backup_time, .. }) = &row.in_cluster {
        let count = |count: &Option<i64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        // The controller holds no identity of a recovery key.
        let no_backup = if row.role == KeyRole::Cluster.as_str() { "none" } else { "-" };
        let backup = escaped(last_backup_time.as_deref().unwrap_or(no_backup)).into_owned();
        cells.extend([age(*age_seconds), count(objects), count(only_objects), backup]);
    }
    cells.extend([row.kind.to_owned(), row.fingerprint.clone()]);
    cells
}

impl Row {
    fn state_cell(&self) -> String {
        let confirmed = self.in_cluster.as_ref().map(|known| known.confirmed_state.map(KeyState::as_str));
        match confirmed {
            Some(confirmed) if confirmed != Some(self.state) => format!("{} (not confirmed)", self.state),
            _ if self.primary => format!("{} (primary)", self.state),
            _ => self.state.to_owned(),
        }
    }
}

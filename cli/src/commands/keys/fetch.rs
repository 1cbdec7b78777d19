use std::path::PathBuf;

use clap::Args;
use waxseal_shared::manifest::{read_keys, write_keys};
use waxseal_shared::names::{KeyId, Namespace};
use waxseal_shared::sealing_key::PublishedKey;

use super::fetched::{ChangeKind, Contradiction, Fetched, KeyChange, NewPrimary};
use super::target_file::KeysTarget;
use crate::cluster::{self, ClusterArguments};
use crate::error::{CliError, Failures, Kind};
use crate::file_names::{cluster_name, file_name};
use crate::keys_file::check_creation_times;
use crate::output;
use crate::streams::Streams;

const ONLY_IN_FILE: &str = "is a recovery key that the cluster does not publish; everything is sealed to it too";
const NOT_RETIRED_YET: &str =
    "Retired is requested, and the controller has not carried it out yet: it counts as Active";
const REVOKE_OR_CONFIGURE: &str = "if the key is yours, name it in the configuration of the controller; if it is not, write `state: Revoked` for it in \
     the file, and take it out of the values with `waxseal rotate --reseal`";
const EXAMPLES: &str = "\
Examples:
  waxseal keys fetch prod --context admin@prod
  waxseal keys fetch prod --context admin@prod --accept sha256:FINGERPRINT
  waxseal keys fetch prod --context admin@prod --check
  waxseal keys fetch -o prod.yaml";

/// Write the SealingKeys of a cluster to a keys file, to be committed.
///
/// Shows each key that changes, with its fingerprint. Before it adds a key or takes a less strict state, it asks for a
/// `yes` at the terminal, unless `--accept` names the fingerprint. It also asks before an Active key of the cluster
/// that the cluster does not publish any more becomes Retired. Never removes a key from the file: the file says which
/// cluster a wrap is for. The same keys always give the same bytes.
///
/// `.waxseal.yaml` says where the keys file of CLUSTER is. It holds no context, because contexts differ from person to
/// person: check that --context is the cluster that CLUSTER names.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FetchArguments {
    /// Write the keys file of this cluster. The nearest `.waxseal.yaml`, searched from the current folder upwards,
    /// names the file
    #[arg(value_name = "CLUSTER", value_parser = cluster_name(), required_unless_present = "output")]
    name: Option<String>,
    /// Write this keys file
    #[arg(short, long, value_name = "KEYS_FILE", value_parser = file_name::<PathBuf>(), conflicts_with = "name", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Accept the change of the key with this fingerprint. Repeatable
    #[arg(long, value_name = "FINGERPRINT", value_parser = super::parse_fingerprint, help_heading = "Output")]
    accept: Vec<String>,
    /// Only compare: write nothing, and exit with 4 if the keys in the file would change, or if the file has an Active
    /// recovery key that the cluster does not publish
    #[arg(long, help_heading = "Output")]
    check: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Read the SealingKeys of this namespace
    #[arg(short, long, value_parser = Namespace::parse, default_value = "waxseal-system", help_heading = "Cluster")]
    namespace: Namespace,
}

pub(crate) fn run(arguments: FetchArguments, streams: &mut Streams) -> Result<(), Failures> {
    let target = KeysTarget::named(arguments.name.as_deref(), arguments.output.clone())?;
    let current = target.read()?;
    let fetched = fetch(&arguments, &target, current.as_deref())?;
    for id in &fetched.still_revoked {
        streams.warn(id.as_str(), "is less strict in the cluster than in the file; it stays Revoked in the file");
    }
    for id in &fetched.only_in_file {
        streams.warn(id.as_str(), ONLY_IN_FILE);
    }
    for id in &fetched.not_retired_yet {
        streams.say(&format!("{id}: {NOT_RETIRED_YET}"));
    }
    if arguments.check {
        return Ok(check_unchanged(&fetched).map_err(|error| error.at(target.place()))?);
    }
    ask_for_consent(&arguments, &fetched, streams).map_err(|error| error.at(target.place()))?;
    let text = write_keys(&fetched.keys);
    if current == Some(text.clone()) {
        return Ok(());
    }
    // The question can wait for minutes, and meanwhile `keys revoke` can write into the file.
    let _lock = target.lock()?;
    if target.read()? != current {
        return Err(output::changed_meanwhile(target.place()).into());
    }
    Ok(target.write(&text)?)
}

/// Fetches the keys of the cluster and merges them into those of the file, sorted like a keys file.
fn fetch(arguments: &FetchArguments, target: &KeysTarget, current: Option<&str>) -> Result<Fetched, CliError> {
    let current = target.keys_in(current)?;
    let (found, place) = cluster::sealing_keys(&arguments.cluster, &arguments.namespace)?;
    let keys: Vec<_> = found.iter().map(|found| found.key.clone()).collect();
    // Refuses what a keys file cannot hold, with the cluster as the place of the error.
    as_read_back(&keys, &place)?;
    check_creation_times(&place, &keys)?;
    let mut fetched = Fetched::merge(&current, &found).map_err(|Contradiction(id)| {
        let error = CliError::refused(format!("{id} has another role or creation time in the cluster"));
        error.at(target.place()).with_hint(
            "the role and the creation time of a key never change: find out who changed the file or the cluster",
        )
    })?;
    check_creation_times(target.place(), &fetched.keys)?;
    fetched.keys = as_read_back(&fetched.keys, target.place())?;
    Ok(fetched)
}

/// Returns the keys as they are read back from a keys file: sorted, without duplicates. Refuses keys that a keys file
/// cannot hold, such as too many.
fn as_read_back(keys: &[PublishedKey], place: &str) -> Result<Vec<PublishedKey>, CliError> {
    let refused = |error| CliError::refused(format!("these keys cannot be written to a keys file: {error}")).at(place);
    read_keys(&write_keys(keys)).map_err(refused)
}

fn check_unchanged(fetched: &Fetched) -> Result<(), CliError> {
    let difference = |KeyChange { key, kind }: &KeyChange| {
        let id = key.recipient.key_id();
        match kind {
            ChangeKind::Added => format!("{id} is new"),
            ChangeKind::Gone => format!("{id} is gone"),
            ChangeKind::Tightened { .. } | ChangeKind::Loosened { .. } => format!("{id} is {} now", key.state.as_str()),
        }
    };
    let differences: Vec<_> = fetched.changes.iter().map(difference).collect();
    if differences.is_empty() {
        let only_in_file: Vec<_> = fetched.only_in_file.iter().map(KeyId::as_str).collect();
        if only_in_file.is_empty() {
            return Ok(());
        }
        let text = format!("has a recovery key that the cluster does not publish: {}", only_in_file.join(", "));
        return Err(CliError::new(Kind::Found, text).with_hint(REVOKE_OR_CONFIGURE));
    }
    let error = CliError::new(Kind::Found, format!("differs from the cluster: {}", differences.join(", ")));
    Err(error.with_hint("run `waxseal keys fetch` without `--check`, and commit the file"))
}

/// Shows each change and asks for consent where needed. Stops at the first `no`.
fn ask_for_consent(arguments: &FetchArguments, fetched: &Fetched, streams: &mut Streams) -> Result<(), CliError> {
    match &fetched.new_primary {
        Some(NewPrimary::Key(id)) => streams.say(&format!("key {id} becomes the primary: new values are sealed to it")),
        Some(NewPrimary::Absent) => {
            streams.say("no key of the cluster is Active: nothing can be sealed for the cluster")
        }
        None => {}
    }
    let mut denied = None;
    for change in &fetched.changes {
        streams.say(&announcement(change));
        let fingerprint = change.key.recipient.fingerprint();
        if !change.kind.needs_consent() || arguments.accept.contains(&fingerprint) {
            continue;
        }
        if !streams.can_ask() {
            // Goes on to show the other fingerprints, so that the user can accept all of them at once.
            denied = denied.or(Some(change));
        } else if !streams.ask_for_yes(&question(change)) {
            denied = Some(change);
            break;
        }
    }
    let Some(KeyChange { key, .. }) = denied else {
        return Ok(());
    };
    let error = CliError::refused(format!("{} was not accepted: the file stays as it is", key.recipient.key_id()));
    let hint = "compare the fingerprint with what the cluster's operator says, then pass `--accept FINGERPRINT`";
    Err(error.with_hint(hint))
}

fn announcement(KeyChange { key, kind }: &KeyChange) -> String {
    let (id, role, state) = (key.recipient.key_id(), key.role.as_str(), key.state.as_str());
    let (new, change) = match kind {
        ChangeKind::Added => ("new ", String::new()),
        ChangeKind::Gone => ("", " is not in the cluster any more".to_owned()),
        ChangeKind::Tightened { from } | ChangeKind::Loosened { from } => {
            ("", format!(" was {} in the file", from.as_str()))
        }
    };
    let fingerprint = key.recipient.fingerprint();
    format!("{new}key {id} ({role}, {state}, created {}){change}: {fingerprint}", key.created_at)
}

fn question(KeyChange { key, kind }: &KeyChange) -> String {
    match kind {
        ChangeKind::Gone => "Make it Retired in the file? Type yes: ".to_owned(),
        ChangeKind::Loosened { .. } => format!("Make it {} again? Type yes: ", key.state.as_str()),
        ChangeKind::Added | ChangeKind::Tightened { .. } => "Take it into the file? Type yes: ".to_owned(),
    }
}

use std::path::PathBuf;

use clap::Args;
use waxseal_shared::key::Recipient;
use waxseal_shared::manifest::{read_keys, write_keys};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::{KeyState, PublishedKey};

use super::list::{role_word, state_word};
use crate::cluster::{self, ClusterArguments};
use crate::error::{CliError, Failures, Kind};
use crate::file_names::file_name;
use crate::input::Input;
use crate::output;
use crate::streams::Streams;

/// Writes the SealingKeys of a cluster to a keys file, to be committed.
///
/// Each key that the file does not hold yet is shown with its fingerprint and wants a `yes` at the terminal or
/// `--accept`. The same keys give the same bytes.
#[derive(Args)]
pub(crate) struct FetchArguments {
    /// The keys file
    #[arg(short, long, value_name = "FILE", value_parser = file_name::<PathBuf>())]
    output: PathBuf,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The namespace of the SealingKeys
    #[arg(short, long, value_parser = Namespace::parse, default_value = "waxseal-system")]
    namespace: Namespace,
    /// Take the key with this fingerprint (`sha256:…`) into the file. Repeatable
    #[arg(long, value_name = "FINGERPRINT")]
    accept: Vec<String>,
    /// Write nothing; exit with 4 if the file and the cluster differ
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: FetchArguments, streams: &mut Streams) -> Result<(), Failures> {
    output::check_file(&arguments.output)?;
    let known = known_keys(&arguments)?;
    let mut fetched = cluster::sealing_keys(&arguments.cluster, &arguments.namespace)?;
    compare(&known, &mut fetched, streams).map_err(|error| error.at(arguments.place()))?;
    if arguments.check {
        return Ok(check(&arguments, &known, &fetched)?);
    }
    accept(&arguments, &known, &fetched, streams)?;
    let text = write_keys(&fetched);
    if std::fs::read(&arguments.output).is_ok_and(|current| current == text.as_bytes()) {
        return Ok(());
    }
    Ok(output::replace(&arguments.output, &text)?)
}

impl FetchArguments {
    fn input(&self) -> Input {
        Input::File(self.output.clone())
    }

    fn place(&self) -> String {
        self.input().place()
    }
}

fn known_keys(arguments: &FetchArguments) -> Result<Vec<PublishedKey>, CliError> {
    if !arguments.output.exists() {
        return Ok(Vec::new());
    }
    let text = arguments.input().read()?;
    read_keys(&text).map_err(|error| CliError::manifest(&arguments.place(), &error))
}

fn find<'a>(keys: &'a [PublishedKey], recipient: &Recipient) -> Option<&'a PublishedKey> {
    keys.iter().find(|key| key.recipient == *recipient)
}

/// Refuses changes of what never changes; a key that the file has as Revoked stays so.
fn compare(known: &[PublishedKey], fetched: &mut [PublishedKey], streams: &mut Streams) -> Result<(), CliError> {
    for key in fetched {
        let Some(before) = find(known, &key.recipient) else {
            continue;
        };
        let id = key.recipient.key_id();
        if (before.role, before.created_at) != (key.role, key.created_at) {
            let error = CliError::refused(format!("{id} has another role or creation time in the cluster"));
            return Err(error.with_hint("they never change: find out who changed them"));
        }
        if before.state == KeyState::Revoked && key.state != KeyState::Revoked {
            streams.warn(id.as_str(), "is Revoked in the file and not in the cluster; it stays Revoked in the file");
            key.state = KeyState::Revoked;
        }
    }
    Ok(())
}

fn check(arguments: &FetchArguments, known: &[PublishedKey], fetched: &[PublishedKey]) -> Result<(), CliError> {
    let mut differences: Vec<String> = Vec::new();
    for key in fetched {
        let id = key.recipient.key_id();
        match find(known, &key.recipient) {
            None => differences.push(format!("{id} is new")),
            Some(before) if before.state != key.state => {
                differences.push(format!("{id} is {} now", state_word(key.state)))
            }
            Some(_) => {}
        }
    }
    let gone = known.iter().filter(|key| find(fetched, &key.recipient).is_none());
    differences.extend(gone.map(|key| format!("{} is gone", key.recipient.key_id())));
    if differences.is_empty() {
        return Ok(());
    }
    let error = CliError::new(Kind::Found, format!("differs from the cluster: {}", differences.join(", ")));
    Err(error.at(arguments.place()).with_hint("run `waxseal keys fetch` without `--check`, and commit the file"))
}

fn accept(
    arguments: &FetchArguments,
    known: &[PublishedKey],
    fetched: &[PublishedKey],
    streams: &mut Streams,
) -> Result<(), CliError> {
    for key in fetched.iter().filter(|key| find(known, &key.recipient).is_none()) {
        let fingerprint = key.recipient.fingerprint();
        let (id, role, state) = (key.recipient.key_id(), role_word(key.role), state_word(key.state));
        streams.say(&format!("new key {id} ({role}, {state}, created {}): {fingerprint}", key.created_at));
        let is_accepted = arguments.accept.contains(&fingerprint)
            || streams.can_ask() && streams.is_answered_yes("Take it into the file? Type yes: ");
        if !is_accepted {
            let error = CliError::refused(format!("{id} was not accepted: the file stays as it is"));
            let hint =
                "compare the fingerprint with what the cluster's operator says, then pass `--accept FINGERPRINT`";
            return Err(error.at(arguments.place()).with_hint(hint));
        }
    }
    Ok(())
}

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use waxseal_shared::key_need::{keys_that_stay, object_needs};
use waxseal_shared::names::KeyId;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::KeyState;
use waxseal_shared::visible_text::escaped;

use super::key_owner::{self, KeyOwner, OwnedKey, OwnerArguments};
use super::usage::{FileNeeds, needs_in_files};
use crate::clusters::exists;
use crate::error::{CliError, Failures, Kind};
use crate::file_names::{file_name, key_id};
use crate::streams::{Streams, counted};

const EXAMPLES: &str = "\
Examples:
  waxseal keys delete k2f41ab09c3d4e5f6 apps/ --context prod
  waxseal keys delete k2f41ab09c3d4e5f6 ~/git/shop ~/git/billing --context prod
  waxseal keys delete k2f41ab09c3d4e5f6 apps/ --context prod --even-if-it-strands 3
  waxseal keys delete k2f41ab09c3d4e5f6 manifests/ --keys-dir keys/";

/// On a folder, `sealing-keys.yaml` is the only keys file.
const LAST_CHANCE_TO_PRUNE: &str = "the controller then takes the key out of sealing-keys.yaml, and `waxseal rotate --prune` no longer finds its wraps";

/// Delete the identity of a key that nothing needs any more.
///
/// Refuses while something needs the key, and lists what needs it. A SealedSecret of the cluster that has a wrap for
/// the key needs the key until the controller has opened the present version of the SealedSecret through another key.
/// A sealed value in a file needs the key if the value has a wrap for the key and none for another key of the cluster.
/// Recovery keys, revoked keys, and keys that the controller has not confirmed do not count as other keys.
///
/// The command searches the manifests (`.yaml`, `.yml`, `.json`) in the working trees, except in hidden folders, and
/// all files in the commits that the branches of their Git repositories point to. It does not search tags, the index of
/// Git, the commits of nested repositories, or a manifest that is a text inside of another manifest. It does not open
/// the wraps in files: only a cluster or `waxseal drill` shows whether a wrap opens.
///
/// Also refuses a key that is still Active, and a key that was not backed up since its state last changed. Asks before
/// it deletes. In a cluster, does not read the identity. After the deletion, only the backup or a recovery key opens
/// the values in the history of Git that no other key of the cluster opens: `waxseal keys usage KEY --history` lists
/// all values with a wrap for the key.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DeleteArguments {
    /// The key id
    #[arg(value_name = "KEY", value_parser = key_id())]
    key: String,
    /// Search these files and folders, and the branches of their Git repositories
    #[arg(value_name = "PATH", value_parser = file_name::<PathBuf>(), required = true)]
    paths: Vec<PathBuf>,
    /// Delete the key although exactly this many objects and values need it
    #[arg(long, value_name = "N")]
    even_if_it_strands: Option<usize>,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(crate) fn run(arguments: DeleteArguments, streams: &mut Streams) -> Result<(), Failures> {
    let owner = arguments.owner.open()?;
    let place = owner.place();
    let keys = owner.keys_with_warnings(streams)?;
    let found = key_owner::find(&keys, &arguments.key).map_err(|error| error.at(&place))?;
    let key = &found.key;
    let staying = staying_keys(&owner, &keys, key.recipient.key_id());
    warn_of_uncounted_keys(&owner, &keys, key.recipient.key_id(), &staying, streams);
    check_may_go(&owner, found, &staying).map_err(|error| error.or_at(&place))?;
    check_needs(&arguments, &owner, key.recipient.key_id(), &staying, streams)?;
    check_backup(&owner, found).map_err(|error| error.or_at(&place))?;
    streams.say(&format!("{place}: deletes the identity of {}; only a backup has it then", arguments.key));
    if let KeyOwner::Folder(_) = owner {
        streams.say(LAST_CHANCE_TO_PRUNE);
    }
    arguments.owner.ask_for_consent(streams, "Delete it?").map_err(|error| error.at(&place))?;
    // Looks again: in the meantime the key may have changed, or another key that opens the values may be gone.
    let keys_now = owner.keys()?;
    let found_now = key_owner::find(&keys_now, &arguments.key).map_err(|error| error.at(&place))?;
    let staying_now = staying_keys(&owner, &keys_now, key.recipient.key_id());
    let changed = (found_now.key != *key).then_some(key.recipient.key_id());
    if let Some(changed) = changed.or_else(|| staying.difference(&staying_now).next()) {
        let error = CliError::refused(format!("{changed} was changed meanwhile")).at(&place);
        return Err(error.with_hint("run the command again").into());
    }
    owner.delete_identity(found_now, &keys_now)?;
    if owner.confirms() {
        wait_for_removal(&arguments.owner, &owner, found_now)?;
    }
    match owner {
        KeyOwner::Cluster(..) => {
            streams.say(&format!("deleted {}; run `waxseal keys fetch` in each repository", arguments.key));
        }
        KeyOwner::Folder(_) => streams.say(&format!("deleted {}", arguments.key)),
    }
    Ok(())
}

/// Returns the other keys of the cluster that can go on opening values.
fn staying_keys(owner: &KeyOwner, keys: &[OwnedKey], gone: &KeyId) -> BTreeSet<KeyId> {
    let opens = |found: &&OwnedKey| owner.carried_out(found).is_some_and(|state| state != KeyState::Revoked);
    keys_that_stay(keys.iter().filter(opens).map(|found| &found.key), gone)
}

/// Warns of each other key that is published as Active or Retired, but whose identity is not known to have one of these
/// states.
fn warn_of_uncounted_keys(
    owner: &KeyOwner,
    keys: &[OwnedKey],
    gone: &KeyId,
    staying: &BTreeSet<KeyId>,
    streams: &mut Streams,
) {
    let published = keys_that_stay(keys.iter().map(|found| &found.key), gone);
    for id in published.difference(staying) {
        let why = match owner {
            KeyOwner::Cluster(..) => "the controller has not confirmed its state",
            KeyOwner::Folder(_) => "its key file cannot be used, or says Revoked",
        };
        streams.warn(&owner.place(), &format!("{id} does not count as another key: {why}"));
    }
}

/// Waits until the controller has removed the SealingKey. Fails if another Secret holds the identity, too.
fn wait_for_removal(arguments: &OwnerArguments, owner: &KeyOwner, deleted: &OwnedKey) -> Result<(), CliError> {
    let id = deleted.key.recipient.key_id();
    let remaining = arguments.wait_until(owner, &format!("remove the SealingKey {id}"), |keys| {
        let Some(found) = keys.iter().find(|found| found.key.recipient == deleted.key.recipient) else {
            return Some(None);
        };
        let other = found.identity_secret().filter(|secret| deleted.identity_secret() != Some(secret));
        other.map(|secret| Some(secret.name.clone()))
    });
    let hint = "the Secret that the SealingKey names is deleted: start the controller, or see in its log why it keeps \
                the SealingKey";
    match remaining.map_err(|error| error.with_hint(hint))? {
        None => Ok(()),
        Some(name) => {
            let text = format!("the identity Secret {} has the identity, too", escaped(&name));
            Err(CliError::refused(text).at(owner.place()).with_hint("run the command again: it deletes this Secret"))
        }
    }
}

/// Refuses a key that is Active, and a key whose state the controller has not carried out. Also refuses the key if no
/// other key of the cluster stays, and in a folder a key without a key file.
fn check_may_go(owner: &KeyOwner, found: &OwnedKey, staying: &BTreeSet<KeyId>) -> Result<(), CliError> {
    let key = &found.key;
    let id = key.recipient.key_id();
    if key.state == KeyState::Active {
        let error = CliError::refused(format!("{id} is still in use: its state is Active"));
        return Err(error.with_hint(format!("`{}` makes a new key and retires this one", owner.command("rotate"))));
    }
    if let KeyOwner::Folder(published) = owner
        && !exists(&key_owner::key_file(published, key))
    {
        return Err(CliError::refused(format!("{id} has no key file: it is deleted already, or lost")));
    }
    if owner.carried_out(found).is_none_or(|state| state < key.state) {
        let state = key.state.as_str();
        let (text, hint) = match owner {
            KeyOwner::Cluster(..) => (
                format!("the controller has not confirmed yet that {id} is {state}"),
                "run the command again in a moment, or see if the controller runs",
            ),
            KeyOwner::Folder(_) => (
                format!("the key file of {id} does not say {state} yet, or cannot be used"),
                "start the controller: it writes the state into the file, or names the file in its log",
            ),
        };
        return Err(CliError::refused(text).with_hint(hint));
    }
    if staying.is_empty() {
        return Err(CliError::refused(format!("{id} stays: the cluster has no other key that is Active or Retired")));
    }
    Ok(())
}

/// Refuses a key that no backup has in its present state.
fn check_backup(owner: &KeyOwner, found: &OwnedKey) -> Result<(), CliError> {
    let id = found.key.recipient.key_id();
    // No backup can be older than the key in it: such a time is wrong.
    if owner.backed_up_at(found)?.is_none_or(|time| time < found.key.created_at) {
        let error = CliError::refused(format!("no backup has the identity of {id} in its present state"));
        return Err(error.with_hint(format!("`{}` writes one", owner.command("backup"))));
    }
    Ok(())
}

/// Prints a line for each SealedSecret and each value that needs the key. Refuses paths of which none has a sealed
/// value, and files that cannot be searched. Also refuses if the number of the lines is not that of
/// `--even-if-it-strands`, by default 0.
fn check_needs(
    arguments: &DeleteArguments,
    owner: &KeyOwner,
    key: &KeyId,
    staying: &BTreeSet<KeyId>,
    streams: &mut Streams,
) -> Result<(), Failures> {
    let objects = match owner {
        KeyOwner::Cluster(..) => needs_in_cluster(&arguments.owner, key, staying)?,
        KeyOwner::Folder(_) => Vec::new(),
    };
    let found = needs_in_files(key, staying, &arguments.paths, streams)?;
    streams.result(&objects.iter().chain(&found.values).map(String::as_str).collect::<String>())?;
    announce_search(&found, streams);
    check_searched(&found).map_err(|error| error.at(owner.place()))?;
    let FileNeeds { values, errors, .. } = found;
    let mut errors: Vec<_> = errors.into_iter().map(|error| error.with_kind(Kind::Refused)).collect();
    let expected = arguments.even_if_it_strands.unwrap_or_default();
    if !errors.is_empty() || objects.len() + values.len() != expected {
        errors.push(refusal(key, objects.len(), values.len(), &errors, expected).at(owner.place()));
    }
    Failures::none_or(errors)
}

fn announce_search(found: &FileNeeds, streams: &mut Streams) {
    let values = counted(found.searched_values, "sealed value");
    let commits = match found.searched_commits {
        0 => "no commits".to_owned(),
        count => format!("{} at the tips of branches", counted(count, "commit")),
    };
    streams.say(&format!("searched {values} in the working tree, and {commits}"));
}

/// Refuses paths of which none has a sealed value in a working tree: such a search does not show that nothing needs the
/// key.
fn check_searched(found: &FileNeeds) -> Result<(), CliError> {
    if found.searched_values > 0 || !found.errors.is_empty() {
        return Ok(());
    }
    let error = CliError::refused("no sealed value in these paths");
    Err(error.with_hint("name the folders with the sealed files of all repositories that this controller serves"))
}

fn refusal(key: &KeyId, objects: usize, values: usize, unread: &[CliError], expected: usize) -> CliError {
    let needed = objects + values;
    if !unread.is_empty() {
        let error = CliError::refused(format!("not all files were searched, so {key} may be needed"));
        return error.with_hint("repair what the errors name, or leave it out of the paths");
    }
    if needed == 0 {
        let error = CliError::refused(format!("nothing needs {key}"));
        return error.with_hint("leave out `--even-if-it-strands`");
    }
    let parts = [(objects, "SealedSecret", "in the cluster"), (values, "value", "in files")];
    let parts = parts.iter().filter(|part| part.0 > 0);
    let parts: Vec<_> = parts.map(|(count, what, place)| format!("{} {place}", counted(*count, what))).collect();
    let wrong = match expected {
        0 => String::new(),
        _ => format!(": in total {needed}, but `--even-if-it-strands` says {expected}"),
    };
    let error = CliError::refused(format!("{key} is still needed by {}{wrong}", parts.join(", ")));
    error.with_hint(format!(
        "`waxseal rotate` adds wraps for another key to the files: merge and apply them, or pass \
         `--even-if-it-strands {needed}`"
    ))
}

fn needs_in_cluster(owner: &OwnerArguments, key: &KeyId, staying: &BTreeSet<KeyId>) -> Result<Vec<String>, CliError> {
    let mut needs = Vec::new();
    owner.each_sealed_secret(|object: Value| {
        let title =
            ["namespace", "name"].map(|field| object["metadata"][field].as_str().unwrap_or_default().to_owned());
        if json_object_needs(object, key, staying) {
            let text = format!("SealedSecret {}: not opened through another key yet", title.join("/"));
            needs.push(format!("{}\n", escaped(&text)));
        }
    })?;
    needs.sort();
    Ok(needs)
}

/// Whether an object needs the key. An object of a form that this program does not know needs each key that it names.
fn json_object_needs(object: Value, key: &KeyId, staying: &BTreeSet<KeyId>) -> bool {
    match SealedSecret::deserialize(&object) {
        Ok(object) => object_needs(&object, key, staying),
        Err(_) => object["spec"].to_string().contains(key.as_str()),
    }
}

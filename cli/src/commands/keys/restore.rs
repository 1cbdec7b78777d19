mod plan;

use std::ffi::OsString;
use std::fmt::Display;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use waxseal_shared::key::EncryptedFile;
use waxseal_shared::key_backup::{self, BackedUpKey};
use waxseal_shared::key_life::{HeldKey, primary};
use waxseal_shared::sealing_key::{KeyState, PublishedKey};

use self::plan::{Addition, PresentKey, Restoration};
use super::key_owner::{KeyOwner, OwnerArguments};
use super::stored_identities::BrokenIdentity;
use crate::clusters::Clusters;
use crate::error::{CliError, Failures};
use crate::file_names::{cluster_name, file_name};
use crate::identities;
use crate::input::{self, Input};
use crate::keys_file::KeysFile;
use crate::passphrases::PassphraseArguments;
use crate::streams::{Streams, counted};

const EXAMPLES: &str = "\
Examples:
  waxseal keys restore prod-keys.age --identity recovery.key --to prod --context admin@prod
  waxseal keys restore prod-keys.age --identity recovery.key --accept sha256:FINGERPRINT
  waxseal keys restore prod-keys.age --identity recovery.key --keys prod.yaml --no-wait
  waxseal keys restore keys.age --identity recovery.key --keys-dir keys/";

/// Put the private keys of a backup back into a cluster or a folder of keys.
///
/// Anybody who knows the public half of a recovery key can make a file that this recovery key decrypts. So restore
/// trusts only keys that the keys files list. It shows every other key with its fingerprint, and asks for a `yes` at
/// the terminal, also with `--yes`, unless `--accept` names the fingerprint.
///
/// Adds the keys that are missing. A key is also missing if all Secrets that hold it are being deleted. Each missing
/// key gets the strictest state that the backup, the keys files, the published keys and these Secrets know. Keys that
/// are there stay as they are. If a run is interrupted, run the command again. In a cluster, the command waits until
/// the controller has published the keys.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArguments {
    /// The file from `waxseal keys backup`; `-` is stdin
    #[arg(value_name = "BACKUP|-", value_parser = file_name::<OsString>())]
    backup: OsString,
    /// Decrypt with this age identity file, plain or protected by a passphrase. Repeatable: one of them must decrypt
    /// the backup
    #[arg(long, value_name = "IDENTITY_FILE", value_parser = file_name::<OsString>(), required = true)]
    identity: Vec<OsString>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Trust the keys in the keys file of this cluster of the nearest `.waxseal.yaml`, from the current folder upwards.
    /// Repeatable
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_name(), help_heading = "Trust")]
    to: Vec<String>,
    /// Trust the keys in this keys file. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>(), help_heading = "Trust")]
    keys: Vec<OsString>,
    /// Accept the key with this fingerprint. Repeatable
    #[arg(long, value_name = "FINGERPRINT", value_parser = super::parse_fingerprint, help_heading = "Trust")]
    accept: Vec<String>,
    /// Do not wait for the controller, for example because it is not installed yet
    #[arg(long, help_heading = "Cluster", conflicts_with_all = ["timeout", "keys_dir"])]
    no_wait: bool,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(crate) fn run(arguments: RestoreArguments, streams: &mut Streams) -> Result<(), Failures> {
    let names = [&arguments.backup].into_iter().chain(&arguments.identity).chain(&arguments.keys);
    input::check_stdin_once(names.chain(arguments.passphrase.file()))?;
    let now = Timestamp::now();
    let files = keys_files(&arguments)?;
    let keys = decrypt(&arguments, now)?;
    let owner = arguments.owner.open()?;
    let stored = owner.identities(now)?;
    for BrokenIdentity { place, text } in &stored.broken {
        streams.warn(place, text);
    }
    let before = stored.published();
    let restoration = Restoration::plan(keys, &stored, &owner.published_so_far()?, &files)?;
    for BackedUpKey { secret_name, key } in &stored.being_deleted {
        let text = format!("the Secret {secret_name} holds {}, is being deleted, and does not count", key.key_id());
        streams.warn(&owner.store(), &text);
    }
    announce(&restoration, &before, &owner.store(), streams);
    ask_for_consent(&arguments, &restoration.additions, streams).map_err(|error| error.at(owner.store()))?;
    store(&restoration, before, &owner, streams)?;
    match owner.confirms() && !arguments.no_wait {
        true => Ok(wait(&arguments.owner, &owner, &restoration.keys(), streams)?),
        false => Ok(()),
    }
}

/// The keys files whose keys are trusted.
fn keys_files(arguments: &RestoreArguments) -> Result<Vec<Arc<KeysFile>>, CliError> {
    let mut files = Clusters::new().keys_files_of(&arguments.to, &Input::Stdin)?;
    for name in &arguments.keys {
        files.push(Arc::new(KeysFile::read(name)?));
    }
    Ok(files)
}

/// Decrypts and reads the backup. Checks the file before it asks for a passphrase.
fn decrypt(arguments: &RestoreArguments, now: Timestamp) -> Result<Vec<BackedUpKey>, CliError> {
    let input = Input::named(&arguments.backup);
    let refused = |text: String| CliError::refused(text).at(input.place());
    let file = EncryptedFile::parse(&input.read_bytes()?);
    let file = file.map_err(|error| refused(format!("not a key backup: {error}")))?;
    let ring = identities::key_ring(&arguments.identity, &arguments.passphrase)?;
    let plaintext = file.open(ring.keys().iter().map(HeldKey::identity)).map_err(|error| refused(error.to_string()))?;
    let unread = |cause: &dyn Display| refused(format!("its decrypted content is not a key backup: {cause}"));
    let text = str::from_utf8(plaintext.expose()).map_err(|_| unread(&"not UTF-8"))?;
    key_backup::read(text, now).map_err(|error| unread(&error))
}

/// Says what happens to each key, and whether another key becomes the primary.
fn announce(restoration: &Restoration, before: &[PublishedKey], store: &str, streams: &mut Streams) {
    for PresentKey { key, state_in_backup } in &restoration.present {
        let (id, state) = (key.recipient.key_id(), key.state.as_str());
        streams.say(&format!("{store}: {id} is there ({state}) and stays as it is"));
        if *state_in_backup > key.state {
            let verb = if *state_in_backup == KeyState::Revoked { "revoke" } else { "retire" };
            let state_in_backup = state_in_backup.as_str();
            let text = format!(
                "is {state_in_backup} in the backup, and {state} here: if the backup is right, run \
                 `waxseal keys {verb}`"
            );
            streams.warn(id.as_str(), &text);
        }
    }
    for addition in &restoration.additions {
        streams.say(&format!("{store}: adds {}", description(addition)));
    }
    let after = restoration.keys();
    let (old, new) = (primary(before), primary(before.iter().chain(&after)));
    if let Some(new) = new.filter(|new| old.is_none_or(|old| old.recipient != new.recipient)) {
        streams.say(&format!("{store}: {} becomes the primary: new values are sealed to it", new.recipient.key_id()));
    }
}

fn description(Addition { identity, listed_in }: &Addition) -> String {
    let PublishedKey { recipient, created_at, state, .. } = identity.key.published();
    let listed = match listed_in {
        Some(file) => format!("is listed in {file}"),
        None => "is listed in no keys file".to_owned(),
    };
    let (id, state, fingerprint) = (recipient.key_id(), state.as_str(), recipient.fingerprint());
    format!("{id} ({state}, created {created_at}), which {listed}: {fingerprint}")
}

/// Asks about each key that no keys file lists, and then whether to restore the keys.
fn ask_for_consent(
    arguments: &RestoreArguments,
    additions: &[Addition],
    streams: &mut Streams,
) -> Result<(), CliError> {
    for key in additions.iter().filter(|key| key.listed_in.is_none()).map(|key| key.identity.key.published()) {
        let (id, fingerprint) = (key.recipient.key_id(), key.recipient.fingerprint());
        if arguments.accept.contains(&fingerprint) {
            continue;
        }
        if !streams.can_ask() || !streams.ask_for_yes(&format!("Is {fingerprint} your key? Type yes: ")) {
            let error = CliError::refused(format!("{id} was not accepted: nothing was restored"));
            return Err(error.with_hint("a backup does not prove who made it: name a keys file that lists the key with `--to` or `--keys`, or compare the fingerprint and pass `--accept FINGERPRINT`"));
        }
    }
    match additions.len() {
        0 => Ok(()),
        added => arguments.owner.ask_for_consent(streams, &format!("Restore {}?", counted(added, "key"))),
    }
}

/// Stores the keys that are missing. A key that is refused, because something else has its place, does not keep the
/// others back.
fn store(
    restoration: &Restoration,
    before: Vec<PublishedKey>,
    owner: &KeyOwner,
    streams: &mut Streams,
) -> Result<(), Failures> {
    let keys: Vec<_> = before.into_iter().chain(restoration.keys()).collect();
    let is_active = |key: &&PublishedKey| key.state == KeyState::Active;
    let mut active: Vec<_> = keys.iter().filter(is_active).map(|key| &key.recipient).collect();
    let mut errors = Vec::new();
    for Addition { identity, .. } in &restoration.additions {
        match owner.store_identity(identity, &keys, Timestamp::now()) {
            Ok(place) => streams.say(&format!("restored {} to {place}", identity.key.key_id())),
            Err(error) => {
                active.retain(|recipient| **recipient != identity.key.published().recipient);
                // An operation that failed would fail for the next key too. Without an Active key, the controller would
                // make a new one.
                let goes_on = error.is_refused() && !active.is_empty();
                errors.push(error.or_at(&owner.store()));
                if !goes_on {
                    break;
                }
            }
        }
    }
    Failures::none_or(errors)
}

/// Waits until the controller has published the keys.
fn wait(
    arguments: &OwnerArguments,
    owner: &KeyOwner,
    keys: &[PublishedKey],
    streams: &mut Streams,
) -> Result<(), CliError> {
    let confirmed = arguments.wait_until(owner, "publish all keys of the backup", |published| {
        let confirmed = keys.iter().map(|key| {
            let found = published.iter().find(|found| found.key.recipient == key.recipient)?;
            found.confirmed().filter(|state| *state >= key.state)
        });
        confirmed.collect::<Option<Vec<_>>>()
    });
    let hint = "the keys are stored: start the controller, or see in its log why it does not use them";
    let confirmed = confirmed.map_err(|error| error.with_hint(hint))?;
    for (key, state) in keys.iter().zip(confirmed) {
        streams.say(&format!("the controller confirms: {} is {}", key.recipient.key_id(), state.as_str()));
    }
    Ok(())
}

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use waxseal_shared::key::{EncryptedFile, Recipient};
use waxseal_shared::key_backup::{self, BackedUpKey};
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};
use waxseal_shared::visible_text::visible_path;

use super::key_owner::{KeyOwner, PlaceArguments};
use super::stored_identities::{BrokenIdentity, StoredIdentities};
use crate::clusters::Clusters;
use crate::error::{CliError, Failures, Kind};
use crate::file_names::{cluster_name, file_name, folder_of};
use crate::input::{self, Input};
use crate::keys_file::KeysFile;
use crate::recipients::{self, MAKE_RECOVERY_KEY, Recipients};
use crate::streams::{Streams, counted};
use crate::{output, private_file};

const EXAMPLES: &str = "\
Examples:
  waxseal keys backup -o prod-keys.age --to prod --context admin@prod
  waxseal keys backup -o prod-keys.age --keys prod.yaml
  waxseal keys backup -o keys.age --keys recovery.yaml --keys-dir keys/";

/// Write all private keys of a controller to a file that is encrypted to the recovery keys.
///
/// Reads the identities with your own rights: in a cluster, the Secrets of the type `waxseal.dev/sealing-key`. The file
/// is one age file, which `age -d -i recovery.key` opens too; `waxseal keys restore` puts the keys back. When the file
/// is on the disk, the time of the backup is recorded: on each identity Secret, or with `--keys-dir` in
/// `last-backup.yaml` of that folder.
///
/// Recovery keys come from keys files that were reviewed and committed, and never from the cluster: a user who creates
/// a SealingKey there must not be able to read the backup.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BackupArguments {
    /// Write the backup to this new file, which only its owner can read
    #[arg(short, long, value_name = "FILE", value_parser = file_name::<PathBuf>(), help_heading = "Output")]
    output: PathBuf,
    /// Encrypt to the Active recovery keys of this cluster of the nearest `.waxseal.yaml`, from the current folder
    /// upwards. Repeatable
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_name(), help_heading = "Recovery keys")]
    to: Vec<String>,
    /// Encrypt to the Active recovery keys of this keys file; `-` is stdin. Repeatable
    #[arg(long, value_name = "KEYS_FILE|-", value_parser = file_name::<OsString>(), help_heading = "Recovery keys")]
    keys: Vec<OsString>,
    /// Encrypt to this recovery key, `age1pq1…`. Repeatable
    // Not parsed by clap: its error would show the value, which may be a private key.
    #[arg(short, long, value_name = "RECIPIENT", help_heading = "Recovery keys")]
    recipient: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

const STATES_UNREAD: &str =
    "failed to read the SealingKeys, so the backup may lack states that were requested for them";

pub(crate) fn run(arguments: BackupArguments, streams: &mut Streams) -> Result<(), Failures> {
    let recovery = recovery_keys(&arguments)?;
    output::check_names_a_file(&arguments.output)?;
    private_file::check(&arguments.output)?;
    let owner = arguments.place.open()?;
    refuse_folder_of_keys(&arguments.output, &owner)?;
    let (store, time) = (owner.store(), Timestamp::now());
    let stored = owner.identities(time)?;
    refuse_own_keys(&recovery, &stored).map_err(|error| error.at(&store))?;
    let places = stored.places();
    let StoredIdentities { mut held, being_deleted, broken } = stored;
    held.extend(being_deleted);
    let lacking = |BrokenIdentity { place, text }| CliError::refused(format!("not in the backup: {text}")).at(place);
    let mut errors: Vec<_> = broken.into_iter().map(lacking).collect();
    let published = owner.published_so_far().map_err(|error| errors.push(error.with_context(STATES_UNREAD))).ok();
    if held.is_empty() {
        errors.push(CliError::refused("no identity to back up, so no file was written").at(&store));
        return Failures::none_or(errors);
    }
    let published_keys = published.as_deref().unwrap_or_default();
    let keys = each_once(held, published_keys);
    errors.extend(without_identity(published_keys, &keys).map(|error| error.at(&store)));
    write(&arguments, &keys, &recovery)?;
    if let Some(published) = &published {
        warn_of_unknown_recipients(&recovery, published, streams);
    }
    announce(&arguments, &keys, &recovery, &store, streams);
    let file = visible_path(&arguments.output);
    let recorded = owner.record_backup(&places, time);
    let unrecorded = format!("{file} is a good backup, but its time was not recorded");
    errors.extend(recorded.err().map(|error| error.with_context(&unrecorded)));
    Failures::none_or(errors)
}

fn announce(
    arguments: &BackupArguments,
    keys: &[BackedUpKey],
    recovery: &Recipients,
    store: &str,
    streams: &mut Streams,
) {
    for PublishedKey { recipient, state, created_at, .. } in keys.iter().map(|key| key.key.published()) {
        streams.say(&format!("backed up {} ({}, created {created_at})", recipient.key_id(), state.as_str()));
    }
    recipients::announce(recovery.iter(), streams);
    let file = visible_path(&arguments.output);
    streams.say(&format!("{file} has {} of {store}", counted(keys.len(), "key")));
}

fn recovery_keys(arguments: &BackupArguments) -> Result<Recipients, CliError> {
    let BackupArguments { to, keys, recipient, .. } = arguments;
    if to.is_empty() && keys.is_empty() && recipient.is_empty() {
        let error = CliError::usage("no recovery key to encrypt to");
        return Err(error.with_hint("pass `--to CLUSTER`, `--keys FILE` or `--recipient age1pq1…`; `waxseal keys generate --recovery` makes a recovery key"));
    }
    input::check_stdin_once(keys)?;
    let mut files = Clusters::new().keys_files_of(to, &Input::Stdin)?;
    for name in keys {
        files.push(Arc::new(KeysFile::read(name)?));
    }
    recipients::recovery_keys(&files, &recipients::parse(recipient)?)
}

/// Refuses a backup in the folder of keys: it would be lost together with them, and the controller reads what is there.
fn refuse_folder_of_keys(output: &Path, owner: &KeyOwner) -> Result<(), CliError> {
    let KeyOwner::Folder(published) = owner else { return Ok(()) };
    let [keys, folder] = [published, output].map(|file| folder_of(file).canonicalize().ok());
    if keys.is_some() && keys == folder {
        let error = CliError::refused("is in the folder of the keys").at(visible_path(output));
        return Err(error.with_hint("write the backup to another folder, and keep it on another machine"));
    }
    Ok(())
}

/// Warns of a recovery key that the controller does not publish: somebody may have added it to the keys file.
fn warn_of_unknown_recipients(recovery: &Recipients, published: &[PublishedKey], streams: &mut Streams) {
    for chosen in recovery.iter() {
        if !published.iter().any(|key| key.recipient == chosen.recipient) {
            let text = "the controller does not publish this recovery key: be sure that it is yours";
            streams.warn(chosen.recipient.key_id().as_str(), text);
        }
    }
}

/// Refuses a recovery key whose identity the controller holds: it would be lost together with the controller.
fn refuse_own_keys(recovery: &Recipients, stored: &StoredIdentities) -> Result<(), CliError> {
    let is_held = |recipient: &Recipient| stored.all().any(|stored| stored.key.published().recipient == *recipient);
    match recovery.iter().find(|chosen| is_held(&chosen.recipient)) {
        Some(own) => Err(recipients::key_of_the_cluster(&own.recipient)),
        None => Ok(()),
    }
}

/// The errors for the published keys of the cluster whose identities are not there. A Revoked key counts as deleted: it
/// opens nothing any more, and in a folder it stays published for ever.
fn without_identity<'a>(published: &'a [PublishedKey], held: &'a [BackedUpKey]) -> impl Iterator<Item = CliError> + 'a {
    let is_held = |key: &PublishedKey| held.iter().any(|held| held.key.published().recipient == key.recipient);
    let needed = published.iter().filter(|key| key.role == KeyRole::Cluster && key.state != KeyState::Revoked);
    needed.filter(move |key| !is_held(key)).map(|key| {
        let (id, state) = (key.recipient.key_id(), key.state.as_str());
        let text = format!("not in the backup: {id} is published as {state}, and there is no usable identity of it");
        CliError::refused(text).with_hint(
            "make another backup: the controller may have changed the key meanwhile. If the error stays, put the \
             identity back from an older backup with `waxseal keys restore`",
        )
    })
}

/// Each key once, in the strictest of its states: those of all its copies, and the one that is requested.
fn each_once(held: Vec<BackedUpKey>, requested: &[PublishedKey]) -> Vec<BackedUpKey> {
    let mut keys: Vec<BackedUpKey> = Vec::new();
    for mut stored in held {
        let recipient = &stored.key.published().recipient;
        let requests = requested.iter().filter(|request| request.recipient == *recipient);
        let requested = requests.map(|request| request.state).max();
        requested.into_iter().for_each(|state| stored.key.tighten(state));
        match keys.iter_mut().find(|known| known.key.key_id() == stored.key.key_id()) {
            Some(known) => known.key.tighten(stored.key.published().state),
            None => keys.push(stored),
        }
    }
    keys
}

/// Writes the backup, and reads the file again.
fn write(arguments: &BackupArguments, keys: &[BackedUpKey], recovery: &Recipients) -> Result<(), CliError> {
    let (path, place) = (&arguments.output, visible_path(&arguments.output));
    let text = key_backup::write(keys, arguments.place.namespace());
    key_backup::read(&text, Timestamp::now())
        .map_err(|error| CliError::refused(format!("these keys cannot be backed up: {error}")).at(&place))?;
    let recipients: Vec<_> = recovery.iter().map(|chosen| chosen.recipient.clone()).collect();
    let sealed = EncryptedFile::seal(text.as_bytes(), &recipients, &mut randomness::system())
        .map_err(|error| CliError::refused(error.to_string()).with_hint(MAKE_RECOVERY_KEY))?;
    private_file::create(path, &sealed.to_armour())?;
    let written = Input::File(path.clone()).read_bytes()?;
    match EncryptedFile::parse(&written) {
        Ok(read) if read == sealed => Ok(()),
        _ => Err(CliError::new(Kind::Failed, "the file is not as it was written: do not use it").at(place)),
    }
}

#[cfg(test)]
mod tests {
    use waxseal_shared::key::{Identity, KeyKind};
    use waxseal_shared::key_life::HeldKey;
    use waxseal_shared::names::ObjectName;

    use super::*;

    fn copy(of: &Identity, name: &str, state: KeyState) -> BackedUpKey {
        let identity = Identity::parse(&of.expose()).expect("its own text");
        let key = HeldKey::new(identity, KeyRole::Cluster, Timestamp::UNIX_EPOCH, state);
        BackedUpKey { secret_name: ObjectName::parse(name).expect("a name"), key }
    }

    #[test]
    fn an_identity_that_is_stored_twice_is_backed_up_once_in_its_strictest_state() {
        use KeyState::{Active, Retired, Revoked};
        let identity = || Identity::generate(KeyKind::Classic, &mut randomness::system());
        let (one, other, stranger) = (identity(), identity(), identity());
        let request = |of, state| copy(of, "x", state).key.published().clone();
        let held = || vec![copy(&one, "a", Active), copy(&one, "b", Retired), copy(&other, "c", Active)];
        for (requests, states) in [
            (vec![], [Retired, Active]),
            (vec![request(&one, Active), request(&other, Revoked)], [Retired, Revoked]),
            (vec![request(&one, Revoked), request(&stranger, Revoked)], [Revoked, Active]),
        ] {
            let keys = each_once(held(), &requests);
            assert_eq!(keys.iter().map(|key| key.secret_name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
            assert_eq!(keys.iter().map(|key| key.key.published().state).collect::<Vec<_>>(), states);
        }
    }
}

use clap::Args;
use waxseal_shared::key::Recipient;
use waxseal_shared::manifest::write_keys;
use waxseal_shared::sealing_key::KeyState;

use super::key_owner::{self, KeyOwner, OwnerArguments};
use super::target_file::KeysTarget;
use crate::error::{CliError, Failures};
use crate::file_names::key_id;
use crate::streams::Streams;

const EXAMPLES: &str = "\
Examples:
  waxseal keys revoke k2f41ab09c3d4e5f6 --context prod
  waxseal keys revoke k2f41ab09c3d4e5f6 --keys-dir keys/";

/// Revoke a key that may be known to others: it opens nothing any more.
///
/// This is final. A SealedSecret that only this key opens stalls with the reason KeyRevoked, and its Secret stays as it
/// is. If no other key is Active, the controller makes a new one, unless key generation is off or an identity is
/// broken. Waits until the controller confirms. With `--keys-dir` it writes the request and does not wait.
///
/// The nearest `.waxseal.yaml`, searched from the current folder upwards, names keys files. The command writes the
/// state into each of them that lists the key: nothing is sealed to the key with these files any more.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RevokeArguments {
    /// The key id
    #[arg(value_name = "KEY", value_parser = key_id())]
    key: String,
    #[command(flatten)]
    owner: OwnerArguments,
}

const EFFECT: &str = "will open nothing any more, for ever. SealedSecrets that only this key opens will stall with \
                      KeyRevoked; their Secrets stay";

pub(crate) fn run(arguments: RevokeArguments, streams: &mut Streams) -> Result<(), Failures> {
    let owner = arguments.owner.open()?;
    let place = owner.place();
    let keys = owner.keys_with_warnings(streams)?;
    let key = &key_owner::find(&keys, &arguments.key).map_err(|error| error.at(&place))?.key;
    if key.state < KeyState::Revoked {
        streams.say(&format!("{place}: {} {EFFECT}", arguments.key));
        if !keys.iter().any(|found| key_owner::is_active(&found.key) && found.key.recipient != key.recipient) {
            streams.say(
                "no other key is Active: the controller makes a new one, unless key generation is off or an identity \
                 is broken",
            );
        }
        arguments.owner.ask_for_consent(streams, "Revoke it?").map_err(|error| error.at(&place))?;
    }
    owner.request(key, KeyState::Revoked)?;
    let waited = super::wait_for_state(&arguments.owner, &owner, key, KeyState::Revoked, streams);
    // Even if the controller does not run now, nothing more may be sealed to the key.
    let written = revoke_in_keys_files(&key.recipient, streams);
    streams.say(&next_steps(&owner));
    Failures::none_or([waited, written].into_iter().flat_map(Failures::errors_of).collect())
}

fn next_steps(owner: &KeyOwner) -> String {
    let take_keys = match owner {
        KeyOwner::Cluster(..) => "run `waxseal keys fetch`".to_owned(),
        KeyOwner::Folder(_) => format!("copy {} over the keys file", owner.place()),
    };
    format!(
        "the holder of the private key can still read what was sealed to it, also in Git's history: change these values, \
         {take_keys} here and in every other repository, and seal the new values"
    )
}

/// Writes the state Revoked into each keys file of the nearest `.waxseal.yaml` that lists the key. If one file cannot
/// be changed, goes on with the others.
fn revoke_in_keys_files(recipient: &Recipient, streams: &mut Streams) -> Result<(), Failures> {
    let (id, mut errors, mut is_known) = (recipient.key_id(), Vec::new(), false);
    for target in KeysTarget::of_nearest_configuration()? {
        match revoke_in(&target, recipient) {
            Ok(KeysFileOutcome::WithoutKey) => {}
            Ok(KeysFileOutcome::Unchanged) => is_known = true,
            Ok(KeysFileOutcome::Changed) => {
                streams.say(&format!("{}: {id} is Revoked now: commit this file", target.place()));
                is_known = true;
            }
            Err(error) => errors.push(error),
        }
    }
    // A file that cannot be read or written may have the key.
    if !is_known && errors.is_empty() {
        streams.say(&format!(
            "no keys file was changed: from the current folder upwards there is no `.waxseal.yaml`, or the keys files \
             of the nearest one do not have {id}"
        ));
    }
    Failures::none_or(errors)
}

/// What became of a keys file.
enum KeysFileOutcome {
    /// The file does not have the key.
    WithoutKey,
    /// The key is Revoked in the file already.
    Unchanged,
    Changed,
}

fn revoke_in(target: &KeysTarget, recipient: &Recipient) -> Result<KeysFileOutcome, CliError> {
    let read = || target.keys_in(target.read()?.as_deref());
    match read()?.iter().find(|key| key.recipient == *recipient) {
        None => return Ok(KeysFileOutcome::WithoutKey),
        Some(key) if key.state == KeyState::Revoked => return Ok(KeysFileOutcome::Unchanged),
        Some(_) => {}
    }
    let _lock = target.lock()?;
    // Another run may have written before this one got the lock.
    let mut keys = read()?;
    keys.iter_mut().filter(|key| key.recipient == *recipient).for_each(|key| key.state = KeyState::Revoked);
    target.write(&write_keys(&keys))?;
    Ok(KeysFileOutcome::Changed)
}

use std::cmp::Reverse;

use clap::Args;
use waxseal_shared::sealing_key::{KeyState, PublishedKey};

use super::key_owner::{self, KeyOwner, OwnedKey, OwnerArguments};
use crate::error::{CliError, Failures};
use crate::streams::Streams;

const EXAMPLES: &str = "\
Examples:
  waxseal keys rotate --context prod
  waxseal keys rotate --context prod --yes
  waxseal keys rotate --keys-dir keys/";

/// Have the controller make a new primary key, and retire the present one.
///
/// Asks the controller to retire all Active keys of the cluster. The controller makes a new key first. Waits for the
/// new key, and prints its key id and fingerprint. No Secret changes. With `--keys-dir` it writes the request and does
/// not wait.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RotateKeyArguments {
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(crate) fn run(arguments: RotateKeyArguments, streams: &mut Streams) -> Result<(), Failures> {
    let owner = arguments.owner.open()?;
    let keys = owner.keys_with_warnings(streams)?;
    let old: Vec<_> = keys.into_iter().map(|found| found.key).filter(key_owner::is_active).collect();
    if old.is_empty() {
        let error = CliError::refused("no key of the cluster is Active").at(owner.place());
        let hint = "the controller makes a key by itself, unless key generation is off (then add an identity); its log \
                    says why it has not done so";
        return Err(error.with_hint(hint).into());
    }
    for key in &old {
        let id = key.recipient.key_id();
        streams.say(&format!(
            "{}: {id} becomes Retired once there is a new key; it still opens old values",
            owner.place()
        ));
    }
    arguments.owner.ask_for_consent(streams, "Make a new primary?").map_err(|error| error.at(owner.place()))?;
    request(&owner, &old)?;
    if !owner.confirms() {
        let place = owner.place();
        streams.say(&format!(
            "requested: the controller makes the new key as soon as it runs, and publishes it in {place}"
        ));
        return Ok(());
    }
    let what = "confirm a new primary and that the old keys are Retired";
    let new = arguments.owner.wait_until(&owner, what, |keys| confirmed_successor(keys, &old))?;
    let result = streams.result(&format!("{} {}\n", new.recipient.key_id(), new.recipient.fingerprint()));
    streams.say("compare the fingerprint with the controller's log; then run `waxseal keys fetch` for each repository, and `waxseal rotate` on its sealed files");
    Ok(result?)
}

/// The new primary, when the controller confirms it as Active with an identity Secret, and confirms that no old key is
/// Active any more. Anybody who may create SealingKeys can publish a newer key, but not its status. An old key that is
/// not published any more is not Active.
fn confirmed_successor(keys: &[OwnedKey], old: &[PublishedKey]) -> Option<PublishedKey> {
    let is_old = |found: &&OwnedKey| old.iter().any(|key| key.recipient == found.key.recipient);
    if keys.iter().filter(is_old).any(|found| found.confirmed().is_none_or(|state| state < KeyState::Retired)) {
        return None;
    }
    let primary = key_owner::primary_of(keys)?;
    let found = keys.iter().find(|found| found.key.recipient == primary.recipient)?;
    let is_confirmed = found.confirmed() == Some(KeyState::Active) && found.identity_secret().is_some();
    (is_confirmed && !is_old(&found)).then(|| primary.clone())
}

/// Requests the state Retired for these keys, the primary last. If the primary were first, another old key could become
/// the primary.
fn request(owner: &KeyOwner, old: &[PublishedKey]) -> Result<(), CliError> {
    let mut oldest_first: Vec<_> = old.iter().collect();
    oldest_first.sort_by_key(|key| (key.created_at, Reverse(key.recipient.key_id())));
    oldest_first.into_iter().try_for_each(|key| owner.request(key, KeyState::Retired))
}

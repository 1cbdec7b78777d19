use clap::Args;
use waxseal_shared::sealing_key::KeyState;

use super::key_owner::{self, OwnerArguments};
use crate::error::Failures;
use crate::file_names::key_id;
use crate::streams::Streams;

const EXAMPLES: &str = "\
Examples:
  waxseal keys revoke k2f41ab09c3d4e5f6 --context prod
  waxseal keys revoke k2f41ab09c3d4e5f6 --keys-dir keys/";

/// Revoke a key that may be known to others: it opens nothing any more.
///
/// This is final. A SealedSecret that only this key opens stalls with the reason KeyRevoked, and its Secret stays as it
/// is. If no other key is Active, the controller makes a new one. Waits until the controller confirms. With
/// `--keys-dir` it writes the request and does not wait.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RevokeArguments {
    /// The key id
    #[arg(value_name = "KEY", value_parser = key_id())]
    key: String,
    #[command(flatten)]
    owner: OwnerArguments,
}

const EFFECT: &str = "opens nothing any more, for ever. SealedSecrets that only this key opens stall with KeyRevoked; \
                      their Secrets stay";
const NEXT: &str = "whoever has the private key still reads what was sealed to it, also in Git's history: change these \
                    values, fetch the keys with `waxseal keys fetch`, and seal the new values";

pub(crate) fn run(arguments: RevokeArguments, streams: &mut Streams) -> Result<(), Failures> {
    let owner = arguments.owner.open()?;
    let place = owner.place();
    let keys = owner.keys()?;
    let key = key_owner::find(&keys, &arguments.key).map_err(|error| error.at(&place))?;
    if key.state < KeyState::Revoked {
        streams.say(&format!("{place}: {} {EFFECT}", arguments.key));
        if !keys.iter().any(|found| key_owner::is_active(&found.key) && found.key.recipient != key.recipient) {
            streams.say("no other key is Active: the controller makes a new one");
        }
        arguments.owner.ask_for_consent(streams, "Revoke it?").map_err(|error| error.at(&place))?;
    }
    super::carry_out(&arguments.owner, &owner, key, KeyState::Revoked, streams)?;
    streams.say(NEXT);
    Ok(())
}

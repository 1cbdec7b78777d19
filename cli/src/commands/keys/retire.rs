use clap::Args;
use waxseal_shared::sealing_key::KeyState;

use super::key_owner::{self, OwnerArguments};
use crate::error::{CliError, Failures};
use crate::file_names::key_id;
use crate::streams::Streams;

const EXAMPLES: &str = "\
Examples:
  waxseal keys retire k2f41ab09c3d4e5f6 --context prod
  waxseal keys retire k2f41ab09c3d4e5f6 --keys-dir keys/";

/// Retire a key: nothing new is sealed to it, and it still opens old values.
///
/// Refuses the only Active key: `waxseal keys rotate` makes another one first. Waits until the controller confirms.
/// With `--keys-dir` it writes the request and does not wait.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RetireArguments {
    /// The key id
    #[arg(value_name = "KEY", value_parser = key_id())]
    key: String,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(crate) fn run(arguments: RetireArguments, streams: &mut Streams) -> Result<(), Failures> {
    let owner = arguments.owner.open()?;
    let place = owner.place();
    let keys = owner.keys_with_warnings(streams)?;
    let key = &key_owner::find(&keys, &arguments.key).map_err(|error| error.at(&place))?.key;
    if key_owner::is_active(key) && keys.iter().filter(|found| key_owner::is_active(&found.key)).count() == 1 {
        let error = CliError::refused(format!("{} is the only Active key: nothing could be sealed", arguments.key));
        return Err(error
            .at(&place)
            .with_hint(format!("run `{}`: the controller makes a new key first", owner.command("rotate")))
            .into());
    }
    if key.state < KeyState::Retired {
        streams.say(&format!("{place}: nothing new will be sealed to {}; it still opens old values", arguments.key));
        arguments.owner.ask_for_consent(streams, "Retire it for ever?").map_err(|error| error.at(&place))?;
    }
    owner.request(key, KeyState::Retired)?;
    super::wait_for_state(&arguments.owner, &owner, key, KeyState::Retired, streams)
}

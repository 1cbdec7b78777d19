//! `waxseal keys`: its subcommands, each in its own file.

mod backup;
mod delete;
mod fetch;
mod fetched;
mod generate;
mod key_owner;
mod list;
mod public;
mod restore;
mod retire;
mod revoke;
mod rotate;
mod stored_identities;
mod target_file;
mod usage;

use clap::Subcommand;
use waxseal_shared::sealing_key::{KeyState, PublishedKey};

use self::key_owner::{KeyOwner, OwnerArguments};
use crate::error::Failures;
use crate::streams::Streams;

fn parse_fingerprint(text: &str) -> Result<String, &'static str> {
    match text.strip_prefix("sha256:") {
        Some(digest) if digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) => {
            Ok(text.to_owned())
        }
        _ => Err("not a fingerprint: write `sha256:` and 64 digits, each 0 to 9 or a to f"),
    }
}

/// Generate, fetch and list sealing keys, change and back up the keys of a controller, and list what a key opens.
#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    Delete(delete::DeleteArguments),
    Fetch(fetch::FetchArguments),
    Generate(generate::GenerateArguments),
    List(list::ListArguments),
    Public(public::PublicArguments),
    Usage(usage::UsageArguments),
    Retire(retire::RetireArguments),
    Revoke(revoke::RevokeArguments),
    Rotate(rotate::RotateKeyArguments),
    Backup(backup::BackupArguments),
    Restore(restore::RestoreArguments),
}

pub(crate) fn run(command: KeysCommand, streams: &mut Streams) -> Result<(), Failures> {
    match command {
        KeysCommand::Delete(arguments) => delete::run(arguments, streams),
        KeysCommand::Fetch(arguments) => fetch::run(arguments, streams),
        KeysCommand::Generate(arguments) => generate::run(arguments, streams),
        KeysCommand::List(arguments) => list::run(arguments, streams),
        KeysCommand::Public(arguments) => public::run(arguments, streams),
        KeysCommand::Usage(arguments) => usage::run(arguments, streams),
        KeysCommand::Retire(arguments) => retire::run(arguments, streams),
        KeysCommand::Revoke(arguments) => revoke::run(arguments, streams),
        KeysCommand::Rotate(arguments) => rotate::run(arguments, streams),
        KeysCommand::Backup(arguments) => backup::run(arguments, streams),
        KeysCommand::Restore(arguments) => restore::run(arguments, streams),
    }
}

/// In a cluster, waits until the controller confirms a state that was requested for a key, and requests it again if
/// somebody deletes the SealingKey before the controller has read the request.
fn wait_for_state(
    arguments: &OwnerArguments,
    owner: &KeyOwner,
    key: &PublishedKey,
    state: KeyState,
    streams: &mut Streams,
) -> Result<(), Failures> {
    let (id, word) = (key.recipient.key_id(), state.as_str());
    if !owner.confirms() {
        let said = match key.state >= state {
            true => format!("{id} is {} already in {}", key.state.as_str(), owner.place()),
            false => format!("requested: {id} becomes {word} as soon as the controller runs"),
        };
        streams.say(&said);
        return Ok(());
    }
    let confirmed = arguments.wait_until(owner, &format!("confirm that {id} is {word}"), |keys| {
        let found = keys.iter().find(|found| found.key.recipient == key.recipient)?;
        if found.key.state < state {
            // After an error, the next look tries again.
            let _failed = owner.request(key, state);
        }
        found.confirmed().filter(|confirmed| *confirmed >= state)
    })?;
    streams.say(&format!("the controller confirms: {id} is {}", confirmed.as_str()));
    Ok(())
}

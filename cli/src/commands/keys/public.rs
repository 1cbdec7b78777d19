use std::ffi::OsString;

use clap::Args;
use jiff::Timestamp;
use waxseal_shared::key_life::{check_creation_time, state_in};
use waxseal_shared::manifest::{write_key, write_keys};
use waxseal_shared::sealing_key::{KeyRole, PublishedKey};

use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::identities;
use crate::input::{self, Input};
use crate::passphrases::PassphraseArguments;
use crate::streams::Streams;

const EXAMPLES: &str = "\
Examples:
  waxseal keys public --identity recovery.key --recovery > recovery.yaml
  waxseal keys public --identity - --passphrase-file pass < recovery.key";

/// Print the SealingKeys, the public halves, of an identity file.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PublicArguments {
    /// Read this age identity file, plain or protected by a passphrase; `-` is stdin. Its lines
    /// `# created:` and `# state:` are the creation time and the state of the keys
    #[arg(long, value_name = "IDENTITY_FILE|-", value_parser = file_name::<OsString>())]
    identity: OsString,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Print recovery keys
    #[arg(long)]
    recovery: bool,
}

pub(crate) fn run(arguments: PublicArguments, streams: &mut Streams) -> Result<(), Failures> {
    input::check_stdin_once([&arguments.identity].into_iter().chain(arguments.passphrase.file()))?;
    let file = identities::read_identity_file(&arguments.identity, &arguments.passphrase)?;
    let refused = |text: &str| CliError::refused(text).at(Input::named(&arguments.identity).place());
    let created_at = file.created_at.ok_or_else(|| {
        refused("has no `# created:` line, and the creation time decides which key is the primary")
            .with_hint("add a line such as `# created: 2026-01-31T09:00:00Z` at its top")
    })?;
    check_creation_time(created_at, Timestamp::now())
        .map_err(|error| refused(&error.to_string()).with_hint("correct its `# created:` line"))?;
    let state = state_in(&file).ok_or_else(|| {
        refused("has a `# state:` line that is not a state of a key")
            .with_hint("correct it to Active, Retired or Revoked")
    })?;
    let role = if arguments.recovery { KeyRole::Recovery } else { KeyRole::Cluster };
    let published = |recipient| PublishedKey { recipient, role, created_at, state };
    let keys: Vec<_> = file.identities.iter().map(|identity| published(identity.recipient().clone())).collect();
    let text = if let [key] = keys.as_slice() { write_key(key) } else { write_keys(&keys) };
    Ok(streams.result(&text)?)
}

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use waxseal_shared::key::KeyKind;
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::manifest::write_key;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::KeyRole;

use crate::error::Failures;
use crate::file_names::{file_name, shell_word};
use crate::streams::Streams;
use crate::{output, private_file};

const EXAMPLES: &str = "\
Examples:
  waxseal keys generate --recovery -o recovery.key > recovery.yaml
  waxseal keys generate -o cluster.key > cluster.yaml";

/// Generate a key: write its identity to a new file and print its SealingKey, the public half.
///
/// The identity file is plain, as from `age-keygen`. Protect it with a passphrase with `age -p`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GenerateArguments {
    /// Write the identity to this new file, which only its owner can read
    #[arg(short, long, value_name = "IDENTITY_FILE", value_parser = file_name::<PathBuf>(), help_heading = "Output")]
    output: PathBuf,
    /// Generate a recovery key, to be kept offline
    #[arg(long, help_heading = "Key")]
    recovery: bool,
    /// Generate a key without post-quantum protection (X25519)
    #[arg(long, help_heading = "Key")]
    classic: bool,
}

pub(crate) fn run(arguments: GenerateArguments, streams: &mut Streams) -> Result<(), Failures> {
    output::check_names_a_file(&arguments.output)?;
    let kind = if arguments.classic { KeyKind::Classic } else { KeyKind::Hybrid };
    let role = if arguments.recovery { KeyRole::Recovery } else { KeyRole::Cluster };
    let key = HeldKey::generate(kind, role, Timestamp::now(), &mut randomness::system());
    private_file::create(&arguments.output, &key.to_identity_file())?;
    streams.result(&write_key(key.published())).map_err(|error| {
        let file = arguments.output.to_string_lossy();
        let option = if arguments.recovery { " --recovery" } else { "" };
        let command = format!("waxseal keys public --identity {}{option}", shell_word(&file));
        error.with_hint(format!("the identity is written; print its SealingKey with `{command}`"))
    })?;
    Ok(())
}

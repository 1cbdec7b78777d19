//! The subcommands: one file each, and here which is which.

mod inspect;
mod keys;
mod open;
mod seal;

use clap::error::{ContextKind, ContextValue};
use clap::{Error, Parser, Subcommand};

use crate::error::Failures;
use crate::file_names::fit_to_show;
use crate::streams::Streams;

/// Seals Kubernetes Secrets so that they can be committed to Git.
///
/// Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 failed; 2 usage; 3 input refused; 4 a check
/// found something; 5 no cluster, or it said no.
#[derive(Parser)]
#[command(name = "waxseal", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Those that the program was started with; ends it when it cannot be done, or is not asked for.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| fit_to_show(with_our_word(error)).exit())
    }
}

/// The words of other tools, and ours for the same.
const OTHER_WORDS: [(&str, &str); 4] = [("unseal", "open"), ("decrypt", "open"), ("view", "open"), ("encrypt", "seal")];

/// The error about a command line; for a subcommand that another tool has, one that names ours.
fn with_our_word(error: Error) -> Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    match OTHER_WORDS.iter().find(|(other, _)| other == word) {
        Some((other, ours)) => {
            Error::raw(error.kind(), format!("waxseal has no subcommand {other}\nhint: use `waxseal {ours}`\n"))
        }
        None => error,
    }
}

#[derive(Subcommand)]
enum Command {
    Seal(seal::SealArguments),
    Open(open::OpenArguments),
    Inspect(inspect::InspectArguments),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

/// Runs the subcommand that was asked for.
pub(crate) fn run(arguments: Arguments, streams: &mut Streams) -> Result<(), Failures> {
    match arguments.command {
        Command::Seal(arguments) => seal::run(arguments, streams),
        Command::Open(arguments) => open::run(arguments, streams),
        Command::Inspect(arguments) => inspect::run(arguments, streams),
        Command::Keys(command) => keys::run(command, streams),
    }
}

//! The subcommands: one file each, and here which is which.

mod inspect;
mod keys;
mod open;
mod seal;

use clap::{Parser, Subcommand};

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
        Self::try_parse().unwrap_or_else(|error| fit_to_show(error).exit())
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

//! `waxseal keys`: its subcommands, each in its own file.

mod changes;
mod fetch;
mod generate;
mod list;
mod public;
mod target;
mod usage;

use clap::Subcommand;

use crate::error::Failures;
use crate::streams::Streams;

/// Generate, fetch and list sealing keys, and list what they open.
#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    Fetch(fetch::FetchArguments),
    Generate(generate::GenerateArguments),
    List(list::ListArguments),
    Public(public::PublicArguments),
    Usage(usage::UsageArguments),
}

pub(crate) fn run(command: KeysCommand, streams: &mut Streams) -> Result<(), Failures> {
    match command {
        KeysCommand::Fetch(arguments) => fetch::run(arguments, streams),
        KeysCommand::Generate(arguments) => generate::run(arguments, streams),
        KeysCommand::List(arguments) => list::run(arguments, streams),
        KeysCommand::Public(arguments) => public::run(arguments, streams),
        KeysCommand::Usage(arguments) => usage::run(arguments, streams),
    }
}

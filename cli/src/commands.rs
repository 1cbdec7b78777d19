//! The subcommands. Each has a file, and a large one also has a folder.

mod doctor;
mod drill;
mod inspect;
mod keys;
mod open;
mod rotate;
mod seal;
mod set;
mod status;
mod unset;

use std::env;
use std::ffi::OsStr;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Error, FromArgMatches, Parser, Subcommand};

use crate::error::Failures;
use crate::file_names::safe_to_show;
use crate::streams::Streams;

/// Seal Kubernetes Secrets so that they can be committed to Git.
///
/// Results go to stdout, everything else to stderr. Exit codes: 0 success; 1 failure; 2 wrong usage; 3 input refused;
/// 4 a check found something (`--check`, `drill`, `status`, `doctor`); 5 the cluster cannot be reached or refuses the
/// request, or the controller does not carry it out.
#[derive(Parser)]
#[command(name = "waxseal", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Reads the arguments of the process. Exits on a usage error, and after `--help` and `--version`.
    pub(crate) fn read() -> Self {
        let command = Self::command_as(env::args_os().next().as_deref());
        let arguments = command
            .clone()
            .try_get_matches()
            .and_then(|matches| Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command.clone())));
        arguments.unwrap_or_else(|error| safe_to_show(with_hint_for_other_tools(error)).exit())
    }

    /// The command line of the program under this path. kubectl runs the program `kubectl-waxseal` on the PATH for
    /// `kubectl waxseal`: under that name, usage lines show what the user types.
    fn command_as(program: Option<&OsStr>) -> clap::Command {
        let is_plugin = program.and_then(|path| Path::new(path).file_stem()).is_some_and(|name| name == KUBECTL_PLUGIN);
        if is_plugin { Self::command().bin_name("kubectl waxseal") } else { Self::command() }
    }
}

/// The name of the program as a plugin of kubectl.
const KUBECTL_PLUGIN: &str = "kubectl-waxseal";

/// Subcommands of other tools, each with the subcommand of waxseal that does the same.
const SUBCOMMANDS_OF_OTHER_TOOLS: [(&str, &str); 4] =
    [("unseal", "open"), ("decrypt", "open"), ("view", "open"), ("encrypt", "seal")];

/// Returns a usage error that names the right subcommand if the user typed the subcommand of another tool.
fn with_hint_for_other_tools(error: Error) -> Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    match SUBCOMMANDS_OF_OTHER_TOOLS.iter().find(|(other, _)| other == typed) {
        Some((other, subcommand)) => {
            Error::raw(error.kind(), format!("waxseal has no subcommand {other}\nhint: use `waxseal {subcommand}`\n"))
        }
        None => error,
    }
}

#[derive(Subcommand)]
enum Command {
    Seal(seal::SealArguments),
    Set(set::SetArguments),
    Unset(unset::UnsetArguments),
    Rotate(rotate::RotateArguments),
    Status(status::StatusArguments),
    Doctor(doctor::DoctorArguments),
    Drill(drill::DrillArguments),
    Open(open::OpenArguments),
    Inspect(inspect::InspectArguments),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

pub(crate) fn run(arguments: Arguments, streams: &mut Streams) -> Result<(), Failures> {
    match arguments.command {
        Command::Seal(arguments) => seal::run(arguments, streams),
        Command::Set(arguments) => set::run(arguments, streams),
        Command::Unset(arguments) => unset::run(arguments, streams),
        Command::Rotate(arguments) => rotate::run(arguments, streams),
        Command::Status(arguments) => status::run(arguments, streams),
        Command::Doctor(arguments) => doctor::run(arguments, streams),
        Command::Drill(arguments) => drill::run(arguments, streams),
        Command::Open(arguments) => open::run(arguments, streams),
        Command::Inspect(arguments) => inspect::run(arguments, streams),
        Command::Keys(command) => keys::run(command, streams),
    }
}

//! Turns SealedSecrets into Secrets, in a cluster or on a folder.

mod args;
mod core_dumps;
mod definitions;
mod directory;
mod kubernetes;
mod log;

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

use crate::args::{Args, Command};

/// Wipes all memory when it is freed. Libraries do not wipe theirs: HTTP bodies, the text that a parser reads, buffers
/// that grew.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let args = Args::read();
    log::init(args.log_format);
    if let Err(error) = core_dumps::forbid() {
        tracing::warn!("failed to forbid core dumps: {error}");
    }
    let result = match args.command.unwrap_or_default() {
        Command::Kubernetes(args) => kubernetes::run(args),
        Command::Directory(args) => directory::run(args),
        Command::Manifests => definitions::print(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::fatal(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

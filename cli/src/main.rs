//! `waxseal`: seals Kubernetes Secrets so that they can be committed to Git, and opens them again.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

mod cluster;
mod clusters;
mod commands;
mod configuration;
mod core_dumps;
mod dropped_clusters;
mod edited_file;
mod error;
mod file_names;
mod git;
mod identities;
mod input;
mod keys_file;
mod known_keys;
mod last_backup_file;
mod lossless_edit;
mod offers;
mod output;
mod passphrases;
mod private_file;
mod progress;
mod recipients;
mod replacement;
mod residue;
mod sealed_objects;
mod sealing;
mod streams;
mod table;
mod terminal;
mod untrusted_text;
mod values;
mod workers;
mod wrap_changes;

/// Wipes all memory when it is freed, also the memory of libraries.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let mut streams = streams::Streams::standard();
    if let Err(error) = core_dumps::forbid() {
        streams.say(&format!("warning: failed to forbid core dumps: {error}"));
    }
    match commands::run(commands::Arguments::read(), &mut streams) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            failures.errors().for_each(|error| streams.say(&error.to_string()));
            failures.exit_code()
        }
    }
}

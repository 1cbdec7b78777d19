//! The folder backend: SealedSecrets from a folder of manifests, Secrets into another folder.
//!
//! For one machine. Everyone who may write to the folder of manifests may choose names and namespaces.

mod deletion;
mod durable_file;
mod folders;
mod key_store;
mod manifests_folder;
mod problems;
mod reconciler;
mod secret_folder;
mod secret_name;
mod status_file;
mod wakeups;

use std::error::Error;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::args;
use crate::log::{Complaints, chain};
use folders::Locks;
use reconciler::Reconciler;
use wakeups::Wakeups;
use waxseal_shared::visible_text::visible_path;

/// The time between two passes without a change.
const RESCAN: Duration = Duration::from_secs(30);
/// The time between two passes while a folder cannot be watched.
const POLL: Duration = Duration::from_secs(2);
const UNWATCHED: &str = "failed to watch the folders, so the controller looks for changes every 2 s";
const TOLD_TO_STOP: &str = "stopped by a signal before everything was done";

/// Materialises Secrets until SIGTERM or SIGINT; with `--once`, only once. Finishes what it has begun.
pub(crate) fn run(args: args::Directory) -> Result<(), Box<dyn Error>> {
    let wakeups = Wakeups::new()?;
    let recovery = args.recovery.read()?;
    let locks = folders::open(&args)?;
    let mut reconciler = Reconciler::new(&args, recovery);
    if args.once {
        return run_once(reconciler, &locks, &wakeups);
    }
    let (manifests, secrets) = (visible_path(&args.manifests), visible_path(&args.secrets));
    tracing::info!(%manifests, %secrets, version = env!("CARGO_PKG_VERSION"), "started");
    let mut complaints = Complaints::default();
    while !wakeups.is_told_to_stop() {
        locks.check()?;
        // Watches before it reads, so that no change is missed.
        let watcher = wakeups.watch(&args.manifests, &args.keys);
        let failure = watcher.as_ref().err().map(|error| format!("{UNWATCHED}: {}", chain(error)));
        complaints.log(failure.into_iter().collect());
        // The log has said what is incomplete.
        let Some(_result) = reconciler.pass(&wakeups, &locks) else { continue };
        let rescan = if watcher.is_ok() { RESCAN } else { POLL };
        let renewal = reconciler.keys.time_to_renewal(Timestamp::now()).unwrap_or(rescan);
        let next_look = Instant::now() + rescan.min(renewal);
        wakeups.wait_until(reconciler.deletions.next().map_or(next_look, |due| next_look.min(due)));
    }
    tracing::info!("stopped");
    Ok(())
}

/// Makes one pass, and further passes while Secrets wait for their deletion: the delay applies with `--once`, too.
fn run_once(mut reconciler: Reconciler<'_>, locks: &Locks, wakeups: &Wakeups) -> Result<(), Box<dyn Error>> {
    while !wakeups.is_told_to_stop() {
        locks.check()?;
        let Some(result) = reconciler.pass(wakeups, locks) else { continue };
        let Some(due) = reconciler.deletions.next() else { return Ok(result?) };
        wakeups.wait_until(due);
    }
    Err(TOLD_TO_STOP.into())
}

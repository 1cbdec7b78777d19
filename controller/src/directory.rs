//! The directory backend: SealedSecrets from a folder of manifests, Secrets into another folder.
//!
//! For one machine. Whoever may write the folder of manifests vouches for names and namespaces.

mod changes;
mod doubts;
mod durable_file;
mod folders;
mod gaps;
mod keys_folder;
mod lock;
mod manifests_folder;
mod reconciler;
mod secret_folder;
mod status_file;

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::args;
use changes::Changes;
use durable_file::shown;
use folders::Folders;
use reconciler::{Outcome, Reconciler};

/// Everything is looked at this often, whatever the watch notices.
const RESCAN: Duration = Duration::from_secs(30);
/// Everything is looked at this often while a folder cannot be watched.
const POLL: Duration = Duration::from_secs(2);

/// Why a single pass was not enough.
#[derive(Debug, Error)]
enum OnceError {
    #[error(
        "failed to materialise everything: {not_ready} of {objects} SealedSecrets are not ready; manifests not read: \
         {unreadable}; other failures: {failures}"
    )]
    NotDone { objects: usize, not_ready: usize, unreadable: usize, failures: usize },
    #[error("failed to look at everything: told to stop")]
    Stopped,
}

/// Materialises until SIGTERM or SIGINT, or once; finishes what it has begun.
#[tokio::main(worker_threads = 1)]
pub(crate) async fn run(args: args::Directory) -> Result<(), Box<dyn Error>> {
    let stop = stop_signal()?;
    let folders = Folders::open(&args)?;
    if args.once {
        return Ok(once(Reconciler::new(folders, args.forbidden.metadata), stop).await?);
    }
    let changes = Changes::new(&folders.manifests, &folders.keys);
    let (manifests, secrets) = (shown(&args.manifests), shown(&args.secrets));
    tracing::info!(%manifests, %secrets, version = env!("CARGO_PKG_VERSION"), "started");
    keep_current(Reconciler::new(folders, args.forbidden.metadata), changes, stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// A single pass, and further ones if Secrets are to be deleted: what is gone must stay gone for as
/// long as while the folder is watched.
async fn once(mut reconciler: Reconciler, mut stop: watch::Receiver<bool>) -> Result<(), OnceError> {
    loop {
        let outcome = reconciler.pass(&stop).ok_or(OnceError::Stopped)?;
        let Some(due) = outcome.next_deletion else { return check_done(&outcome) };
        tokio::select! {
            () = sleep_until(due.into()) => {}
            _ = stop.wait_for(|is_told| *is_told) => return Err(OnceError::Stopped),
        }
    }
}

fn check_done(outcome: &Outcome) -> Result<(), OnceError> {
    match *outcome {
        Outcome { not_ready: 0, unreadable: 0, failures: 0, .. } => Ok(()),
        Outcome { objects, not_ready, unreadable, failures, .. } => {
            Err(OnceError::NotDone { objects, not_ready, unreadable, failures })
        }
    }
}

async fn keep_current(mut reconciler: Reconciler, mut changes: Changes, mut stop: watch::Receiver<bool>) {
    loop {
        let is_watched = changes.renew();
        let next_deletion = reconciler.pass(&stop).and_then(|outcome| outcome.next_deletion);
        let next_look = Instant::now() + if is_watched { RESCAN } else { POLL };
        let next_pass = next_deletion.map_or(next_look, |due| next_look.min(due));
        tokio::select! {
            () = changes.next() => {}
            () = sleep_until(next_pass.into()) => {}
            _ = stop.wait_for(|is_told| *is_told) => return,
        }
    }
}

/// Becomes true at the first SIGTERM or SIGINT.
fn stop_signal() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
    });
    Ok(receiver)
}

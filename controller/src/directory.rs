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
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args;
use changes::Changes;
use folders::Folders;
use reconciler::{DELETION_DELAY, Outcome, Reconciler};

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
        return Ok(once(Reconciler::new(folders, Duration::ZERO), &stop)?);
    }
    let changes = Changes::new(&folders.manifests, &folders.keys);
    let (manifests, secrets) = (args.manifests.display(), args.secrets.display());
    tracing::info!(%manifests, %secrets, version = env!("CARGO_PKG_VERSION"), "started");
    keep_current(Reconciler::new(folders, DELETION_DELAY), changes, stop).await;
    tracing::info!("stopped");
    Ok(())
}

fn once(mut reconciler: Reconciler, stop: &watch::Receiver<bool>) -> Result<(), OnceError> {
    match reconciler.pass(stop).ok_or(OnceError::Stopped)? {
        Outcome { not_ready: 0, unreadable: 0, failures: 0, .. } => Ok(()),
        Outcome { objects, not_ready, unreadable, failures, .. } => {
            Err(OnceError::NotDone { objects, not_ready, unreadable, failures })
        }
    }
}

async fn keep_current(mut reconciler: Reconciler, mut changes: Changes, mut stop: watch::Receiver<bool>) {
    loop {
        let is_watched = changes.renew();
        let outcome = reconciler.pass(&stop);
        let wait = match outcome {
            Some(Outcome { has_doubts: true, .. }) => DELETION_DELAY,
            Some(_) if is_watched => RESCAN,
            _ => POLL,
        };
        tokio::select! {
            () = changes.next() => {}
            () = tokio::time::sleep(wait) => {}
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

//! Running the tasks until a signal stops the program or a task fails. After a signal, the reconciles that run get time
//! to end.

use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

/// Reconciles that run at the stop signal have this time to end: less than the 30 s that Kubernetes gives a Pod.
const GRACE: Duration = Duration::from_secs(20);

/// A task ended before the stop signal, or a worker panicked after it.
#[derive(Debug, Error)]
#[error("a task of the controller ended unexpectedly")]
pub(super) struct TaskEnded(#[source] Option<JoinError>);

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Handles the signals from now on: they no longer end the program at once.
    pub(super) fn handle() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for a stop signal, then for the workers. A task that ends or panics before is an error.
pub(super) async fn supervise(
    mut tasks: JoinSet<()>,
    mut workers: JoinSet<()>,
    mut signals: StopSignals,
    stop: watch::Sender<bool>,
) -> Result<(), TaskEnded> {
    tokio::select! {
        ended = tasks.join_next() => return Err(TaskEnded(ended.and_then(Result::err))),
        ended = workers.join_next() => return Err(TaskEnded(ended.and_then(Result::err))),
        () = signals.received() => {}
    }
    tracing::info!("stopping: waiting for the reconciles that run");
    stop.send_replace(true);
    match tokio::time::timeout(GRACE, all_ended(&mut workers)).await {
        Ok(Err(panic)) => return Err(TaskEnded(Some(panic))),
        Ok(Ok(())) => {}
        Err(_) => tracing::warn!("some reconciles did not finish within {} s", GRACE.as_secs()),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the program is told to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: the program ends in this case, too.
    let _ = stop.wait_for(|is_stopping| *is_stopping).await;
}

async fn all_ended(workers: &mut JoinSet<()>) -> Result<(), JoinError> {
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    Ok(())
}

//! Ending the program without leaving anything half done.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What has begun when the controller is told to stop has this long to end: less than the 30 s that Kubernetes gives a
/// Pod.
const GRACE: Duration = Duration::from_secs(20);

/// Becomes true at the first SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<watch::Receiver<bool>, std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: finishing what has begun");
        sender.send_replace(true);
    });
    Ok(receiver)
}

/// Waits for the signal.
pub(super) async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which ends the program too.
    let _ = stop.wait_for(|is_told| *is_told).await;
}

/// Waits until all workers have ended, or their time is over.
pub(super) async fn wait_for(mut workers: JoinSet<()>) {
    let all = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("not everything was finished within {} s", GRACE.as_secs());
    }
}

//! Detecting that the API server was restored to an earlier state.
//!
//! After etcd is restored from a backup, a watch that continues at a version from the future gets no event and no
//! error. So the controller asks for the current resourceVersion every 15 s: if it is older than one that was seen
//! before, the controller lists all objects again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::{Client, Resource};
use tokio::sync::watch;
use waxseal_shared::sealed_secret::SealedSecret;

use super::lists;

const INTERVAL: Duration = Duration::from_secs(15);

/// The latest version that was seen, and the number of restores.
pub(super) struct RestoreDetection {
    latest: Mutex<u64>,
    restores: watch::Sender<u64>,
    on_restore: Box<dyn Fn() + Send + Sync>,
}

impl RestoreDetection {
    /// `on_restore` is called at each restore, before the watches learn of it.
    pub(super) fn new(on_restore: impl Fn() + Send + Sync + 'static) -> Self {
        Self { latest: Mutex::new(0), restores: watch::channel(0).0, on_restore: Box::new(on_restore) }
    }

    /// Records a version of an object or a bookmark.
    pub(super) fn record(&self, version: &str) {
        if let Ok(version) = version.parse::<u64>() {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = (*latest).max(version);
        }
    }

    /// Returns a receiver that changes at each restore.
    pub(super) fn restores(&self) -> watch::Receiver<u64> {
        self.restores.subscribe()
    }

    /// Records the version of a list. `before` is the latest version that was known before the request.
    pub(super) fn record_list(&self, before: u64, version: &str) {
        if self.detect_restore(before, version) {
            tracing::warn!("the API server was restored to an earlier state; listing all objects again");
            (self.on_restore)();
            self.restores.send_modify(|count| *count += 1);
        } else {
            self.record(version);
        }
    }

    /// The latest version that was recorded.
    pub(super) fn latest(&self) -> u64 {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a version is older than one from before it was requested. If so, it becomes the latest version.
    fn detect_restore(&self, before: u64, now: &str) -> bool {
        let Ok(now) = now.parse::<u64>() else {
            return false;
        };
        let is_restored = now < before;
        if is_restored {
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        is_restored
    }
}

/// Asks the API server for its version again and again. Ignores failures: the watches report them.
pub(super) async fn check(client: Client, restore_detection: Arc<RestoreDetection>) {
    let path = SealedSecret::url_path(&(), None);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let before = restore_detection.latest();
        if let Ok(version) = lists::current_version(&client, &path).await {
            restore_detection.record_list(before, &version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_is_a_restore_and_is_reported_once() {
        let version = RestoreDetection::new(|| {});
        for seen in ["7", "9", "8", "not a number"] {
            version.record(seen);
        }
        let is_restored = |now| version.detect_restore(version.latest(), now);
        assert!(!is_restored("9"));
        assert!(!is_restored("12"));
        assert!(!is_restored("not a number"));
        assert!(is_restored("8"));
        assert!(!is_restored("8"));
    }
}

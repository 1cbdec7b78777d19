//! Noticing that the API server went back in time.
//!
//! After etcd is restored from a backup, a watch that continues at a version from the future gets no event and no
//! error. So the version that the API server is at is asked for now and then: if it is before one that was seen, all
//! objects are listed anew.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::lists;

const INTERVAL: Duration = Duration::from_secs(15);

/// The latest version that was seen, and how often the API server was restored to an earlier one.
pub(super) struct ServerVersion {
    latest: Mutex<u64>,
    restores: watch::Sender<u64>,
    restored: Box<dyn Fn() + Send + Sync>,
}

impl ServerVersion {
    /// `restored` is called at each restore, before those who wait for restores go on.
    pub(super) fn new(restored: impl Fn() + Send + Sync + 'static) -> Self {
        Self { latest: Mutex::new(0), restores: watch::channel(0).0, restored: Box::new(restored) }
    }

    /// Remembers a version that the API server told.
    pub(super) fn saw(&self, version: &str) {
        if let Ok(version) = version.parse::<u64>() {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = (*latest).max(version);
        }
    }

    /// Changes with each restore.
    pub(super) fn restores(&self) -> watch::Receiver<u64> {
        self.restores.subscribe()
    }

    /// Asks for the version now and then, for ever.
    ///
    /// A question that fails is asked again: the watches report failures.
    pub(super) async fn check(&self, client: &Client, path: &str) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let before = self.latest();
            if let Ok(version) = lists::current_version(client, path).await {
                self.listed(before, &version);
            }
        }
    }

    /// Takes the version of a list over, given the latest version from before it was asked for.
    pub(super) fn listed(&self, before: u64, version: &str) {
        if self.is_restored(before, version) {
            tracing::warn!("the API server went back to an earlier state; everything is listed anew");
            (self.restored)();
            self.restores.send_modify(|count| *count += 1);
        } else {
            self.saw(version);
        }
    }

    /// The latest version that the API server told.
    pub(super) fn latest(&self) -> u64 {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the version of now is before one that was seen before it was asked for; then it is the latest.
    fn is_restored(&self, before: u64, now: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_before_one_that_was_seen_is_a_restore_and_noticed_once() {
        let version = ServerVersion::new(|| {});
        for seen in ["7", "9", "8", "not a number"] {
            version.saw(seen);
        }
        let is_restored = |now| version.is_restored(version.latest(), now);
        assert!(!is_restored("9"));
        assert!(!is_restored("12"));
        assert!(!is_restored("not a number"));
        assert!(is_restored("8"));
        assert!(!is_restored("8"));
    }
}

//! Detecting that the API server was restored to an earlier state.
//!
//! After etcd is restored from a backup, its versions are lower than before. A watch that continues at a higher version
//! gets neither events nor an error. So the controller asks for the current resourceVersion every 15 s: if it is older
//! than a version that was seen before, the controller lists all objects again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::{Client, Resource};
use tokio::sync::watch;
use waxseal_shared::sealing_key::SealingKey;

use super::lists;
use super::objects::Objects;

const INTERVAL: Duration = Duration::from_secs(15);
/// The shortest time between two restores that are detected: each causes complete lists. If a restore follows another
/// sooner, a later [`check`] detects it.
const PAUSE: Duration = Duration::from_secs(10);

/// The latest version that was seen, and the number of restores.
pub(super) struct RestoreDetection {
    latest: AtomicU64,
    restores: watch::Sender<u64>,
    last_restore: Mutex<Option<Instant>>,
    objects: Arc<Objects>,
}

impl RestoreDetection {
    /// `objects`: their records are cleared at each restore, before the watches learn of it.
    pub(super) fn new(objects: Arc<Objects>) -> Self {
        Self { latest: AtomicU64::new(0), restores: watch::channel(0).0, last_restore: Mutex::default(), objects }
    }

    /// Records a version of an object or a bookmark.
    pub(super) fn record(&self, version: &str) {
        if let Ok(version) = version.parse() {
            self.latest.fetch_max(version, Ordering::SeqCst);
        }
    }

    /// Returns a receiver that changes at each restore.
    pub(super) fn restores(&self) -> watch::Receiver<u64> {
        self.restores.subscribe()
    }

    /// Records the version of a list. `before` is the latest version that was known before the request. An older
    /// version means that the API server was restored: forgets all objects, and makes the watches list them again.
    pub(super) fn record_list(&self, before: u64, version: &str) {
        match version.parse() {
            Ok(now) if now < before && self.is_due() => {
                self.latest.store(now, Ordering::SeqCst);
                tracing::warn!("the API server was restored to an earlier state; listing all objects again");
                self.objects.clear();
                self.restores.send_modify(|count| *count += 1);
            }
            _ => self.record(version),
        }
    }

    /// Whether the last restore is not recent. If so, notes that there is one now.
    fn is_due(&self) -> bool {
        let mut last = self.last_restore.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= PAUSE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }

    pub(super) fn latest(&self) -> u64 {
        self.latest.load(Ordering::SeqCst)
    }
}

/// Asks the API server for its version again and again. Ignores failures: the watches report them.
///
/// Asks for SealingKeys, because the controller may list them whatever namespaces it serves.
pub(super) async fn check(client: Client, key_namespace: String, restore_detection: Arc<RestoreDetection>) {
    let path = SealingKey::url_path(&(), Some(&key_namespace));
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
    use super::super::scope::ServedScope;
    use super::*;

    #[test]
    fn an_older_version_is_a_restore_and_is_reported_once() {
        let detection = RestoreDetection::new(Arc::new(Objects::new(ServedScope::of(&[]))));
        for seen in ["7", "9", "8", "not a number"] {
            detection.record(seen);
        }
        let mut restores = detection.restores();
        let mut is_restored = |now| {
            detection.record_list(detection.latest(), now);
            let is_restored = restores.has_changed().expect("the sender is here");
            restores.mark_unchanged();
            is_restored
        };
        assert!(!is_restored("9"));
        assert!(!is_restored("12"));
        assert!(!is_restored("not a number"));
        assert!(is_restored("8"));
        assert!(!is_restored("8"));
        assert!(!is_restored("7"), "too soon");
        *detection.last_restore.lock().expect("not poisoned") = Instant::now().checked_sub(PAUSE);
        assert!(is_restored("7"));
    }
}

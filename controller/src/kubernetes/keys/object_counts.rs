//! When the counts of SealedSecrets per key are written to the SealingKeys: soon after a change, and seldom while many
//! objects change.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use waxseal_shared::names::KeyId;

use super::super::key_use::KeyCounts;
use super::super::objects::Objects;

/// Counts that have not changed for this long are written.
const QUIET: Duration = Duration::from_secs(1);
/// Counts that change without a pause are written at these intervals.
const LONGEST_CHANGE: Duration = Duration::from_secs(10);

/// The counts of SealedSecrets per key, and whether they are changing.
pub(super) struct ObjectCounts {
    objects: Arc<Objects>,
    changing: Option<Changing>,
}

/// Changes that were not written yet.
#[derive(Clone, Copy)]
struct Changing {
    first: Instant,
    last: Instant,
}

impl Changing {
    fn ends_at(self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST_CHANGE)
    }
}

impl ObjectCounts {
    pub(super) fn new(objects: Arc<Objects>) -> Self {
        Self { objects, changing: None }
    }

    /// Waits until changed counts have to be written. If the wait is dropped, the next call continues it.
    pub(super) async fn wait_until_due(&mut self) {
        loop {
            let Some(changing) = self.changing else {
                self.objects.key_use_changed().await;
                let now = Instant::now();
                self.changing = Some(Changing { first: now, last: now });
                continue;
            };
            if timeout_at(changing.ends_at(), self.objects.key_use_changed()).await.is_err() {
                self.changing = None;
                return;
            }
            self.changing = Some(Changing { last: Instant::now(), ..changing });
        }
    }

    /// The counts of a key; `None` while they are changing, and while not all objects are listed.
    pub(super) fn of(&self, key: &KeyId) -> Option<KeyCounts> {
        if self.changing.is_some() { None } else { self.objects.counts_of_key(key) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::super::record_cache::{Event, ResourceVersion};
    use super::super::super::scope::ServedScope;
    use super::*;

    #[test]
    fn a_change_ends_after_a_quiet_second_and_after_ten_seconds_at_the_latest() {
        let first = Instant::now();
        let ends_after = |seconds| Changing { first, last: first + Duration::from_secs(seconds) }.ends_at() - first;
        assert_eq!([0, 5, 9, 60].map(ends_after), [1, 6, 10, 10].map(Duration::from_secs));
    }

    #[tokio::test]
    async fn counts_that_change_are_not_written_before_they_are_due() {
        let key = KeyId::parse("k0123456789abcdef").expect("a key id");
        let objects = Arc::new(Objects::new(ServedScope::of(&[])));
        let mut counts = ObjectCounts::new(Arc::clone(&objects));
        assert_eq!(counts.of(&key), None, "nothing is listed");
        objects.record_sealed_secrets(Event::Listed(
            ServedScope::AllNamespaces,
            Vec::new(),
            ResourceVersion::parse("1"),
        ));
        // A wait that is dropped at once.
        assert_eq!(counts.wait_until_due().now_or_never(), None);
        assert_eq!(counts.of(&key), None, "they are changing");
        counts.wait_until_due().await;
        assert_eq!(counts.of(&key), Some(KeyCounts::default()));
        assert_eq!(counts.wait_until_due().now_or_never(), None);
        assert!(counts.of(&key).is_some(), "nothing has changed since");
    }
}

//! How long a watch waits after a failure.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

/// The library's default, 0.8 to 30 s, that begins anew only after two minutes without a failure.
///
/// By itself the default begins anew at every item, and a watch announces each attempt with an
/// item: a dead API server would be asked once a second for ever.
#[derive(Default)]
pub(super) struct WatchBackoff(DefaultBackoff);

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_between_failures_does_not_shorten_the_wait() {
        let mut backoff = WatchBackoff::default();
        let longest = (0..10).map(|_| {
            backoff.reset();
            backoff.next().unwrap_or_default()
        });
        assert!(longest.max() >= Some(Duration::from_secs(30)));
    }
}

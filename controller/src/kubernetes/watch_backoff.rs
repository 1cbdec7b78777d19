//! How long a watch waits after a failure.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

/// No watch waits longer: after an outage every change is seen within seconds, and a dead API server
/// can bear one request in five seconds.
const LONGEST: Duration = Duration::from_secs(5);

/// The library's default up to [`LONGEST`], which begins anew only after two minutes without a failure.
///
/// By itself the default begins anew at every item, and a watch announces each attempt with an
/// item: a dead API server would be asked once a second for ever. And it goes on to 30 s, twice
/// over when the API server that returns no longer knows where the watch was.
#[derive(Default)]
pub(super) struct WatchBackoff(DefaultBackoff);

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|delay| delay.min(LONGEST))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_whatever_items_come_between() {
        let mut backoff = WatchBackoff::default();
        let delays: Vec<_> = (0..10)
            .map(|_| {
                backoff.reset();
                backoff.next().unwrap_or_default()
            })
            .collect();
        assert!(delays[0] < LONGEST, "{delays:?}");
        assert_eq!(delays.iter().max(), Some(&LONGEST), "{delays:?}");
    }
}

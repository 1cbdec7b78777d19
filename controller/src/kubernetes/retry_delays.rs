//! How long to wait before an object is looked at again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use waxseal_shared::reason::Standing;

const FIRST: Duration = Duration::from_millis(250);
/// What does not heal by waiting is looked at again this often, and nothing later than that.
const LAST: Duration = Duration::from_mins(5);

/// The number of failures in a row of each object.
pub(super) struct RetryDelays<K> {
    failures: Mutex<HashMap<K, u32>>,
}

impl<K: Eq + Hash> RetryDelays<K> {
    pub(super) fn new() -> Self {
        Self { failures: Mutex::new(HashMap::new()) }
    }

    /// When to look at an object again that stands like this; `None`: when something changes.
    pub(super) fn next(&self, key: K, standing: Standing) -> Option<Duration> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if standing == Standing::Waiting {
            let count = failures.entry(key).or_default();
            *count = count.saturating_add(1);
            return Some(delay(*count - 1));
        }
        failures.remove(&key);
        (standing == Standing::Stalled).then_some(LAST)
    }

    /// Forgets the objects that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&K) -> bool) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| is_there(key));
    }
}

/// Twice as long each time.
fn delay(failures_before: u32) -> Duration {
    FIRST.saturating_mul(2u32.saturating_pow(failures_before)).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_five_minutes_and_success_resets_it() {
        let delays = RetryDelays::new();
        let next = |standing| delays.next("a", standing).map(|delay| delay.as_millis());
        assert_eq!(next(Standing::Waiting), Some(250));
        assert_eq!(next(Standing::Waiting), Some(500));
        assert_eq!(next(Standing::Ready), None);
        assert_eq!(next(Standing::Waiting), Some(250));
        for _ in 0..100 {
            next(Standing::Waiting);
        }
        assert_eq!(next(Standing::Waiting), Some(300_000));
        assert_eq!(next(Standing::Stalled), Some(300_000));
    }
}

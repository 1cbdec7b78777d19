//! How long to wait before an object is looked at again.

use std::time::Duration;

use waxseal_shared::reason::{Reason, Standing};

const FIRST: Duration = Duration::from_millis(250);
/// For a Secret that is not marked as ours: no watch tells when somebody deletes it or hands it over.
const FIRST_FOREIGN: Duration = Duration::from_secs(1);
/// Everything that is not ready is looked at again this often at least.
const LAST: Duration = Duration::from_mins(5);

/// When to look at an object again after a verdict, given how many verdicts in a row before it had the same standing.
///
/// `None`: when something changes.
pub(super) fn delay(reason: Reason, repetitions: u32) -> Option<Duration> {
    match (reason.standing(), reason) {
        (Standing::Ready, _) => None,
        (Standing::Waiting, _) => Some(doubled(FIRST, repetitions)),
        (Standing::Stalled, Reason::ForeignOwner) => Some(doubled(FIRST_FOREIGN, repetitions)),
        (Standing::Stalled, _) => Some(LAST),
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times)).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_five_minutes() {
        let delays = [0, 1, 2, 100].map(|repetitions| delay(Reason::Conflict, repetitions));
        let milliseconds = delays.map(|delay| delay.map(|delay| delay.as_millis()));
        assert_eq!(milliseconds, [Some(250), Some(500), Some(1_000), Some(300_000)]);
    }

    #[test]
    fn what_is_ready_waits_for_a_change() {
        assert_eq!(delay(Reason::Materialised, 0), None);
    }

    #[test]
    fn a_foreign_secret_is_looked_at_after_a_second_and_then_less_often() {
        let seconds = [0, 1, 3, 100].map(|repetitions| delay(Reason::ForeignOwner, repetitions));
        assert_eq!(seconds.map(|delay| delay.map(|delay| delay.as_secs())), [Some(1), Some(2), Some(8), Some(300)]);
    }

    #[test]
    fn what_else_has_stalled_is_looked_at_every_five_minutes() {
        assert_eq!(delay(Reason::Moved, 0), Some(LAST));
    }
}

//! The time between two reconciles of an object that does not change.

use std::time::Duration;

use waxseal_shared::reason::{Reason, Standing};

const FIRST: Duration = Duration::from_millis(250);
/// The first delay of an object that waits for something that no watch reports: for the deletion of a Secret without
/// the label of Waxseal (`ForeignOwner`), or for a right that is given back (`Forbidden`).
const FIRST_UNSEEN: Duration = Duration::from_secs(1);
/// The number of corrections of a status that do not wait.
const CORRECTIONS_AT_ONCE: u32 = 5;
/// The longest of all these delays.
const LONGEST: Duration = Duration::from_mins(5);

/// Returns the time from a reconcile that ended with `reason` to the next reconcile. `repetitions` says how many
/// reconciles in a row, directly before this one, ended with the same standing.
///
/// Returns `None` if only a change causes the next reconcile.
pub(super) fn delay(reason: Reason, repetitions: u32) -> Option<Duration> {
    match (reason.standing(), reason) {
        (Standing::Ready, _) => None,
        (Standing::Waiting, _) => Some(doubled(FIRST, repetitions)),
        (Standing::Stalled, Reason::ForeignOwner | Reason::Forbidden) => Some(doubled(FIRST_UNSEEN, repetitions)),
        (Standing::Stalled, _) => Some(LONGEST),
    }
}

/// Returns the time from a correction of a status to the next one. `times` counts the corrections so far. Without this
/// delay, two controllers that judge the same object would overwrite each other's status as fast as they can.
pub(super) fn after_corrections(times: u32) -> Duration {
    times.checked_sub(CORRECTIONS_AT_ONCE).map_or(Duration::ZERO, |more| doubled(FIRST, more))
}

/// Returns how long to wait after a write of a Secret, if the API server stored something else than was written.
/// `times` counts these writes.
pub(super) fn after_rejected_writes(times: u32) -> Duration {
    times.checked_sub(1).map_or(Duration::ZERO, |more| doubled(FIRST_UNSEEN, more))
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times)).min(LONGEST)
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
    fn a_status_that_is_overwritten_again_and_again_is_put_right_less_often() {
        let milliseconds = [0, 1, 4, 5, 6, 100].map(|times| after_corrections(times).as_millis());
        assert_eq!(milliseconds, [0, 0, 0, 250, 500, 300_000]);
    }

    #[test]
    fn a_secret_that_is_changed_at_each_write_is_written_less_often() {
        let seconds = [0, 1, 2, 3, 100].map(|times| after_rejected_writes(times).as_secs());
        assert_eq!(seconds, [0, 1, 2, 4, 300]);
    }

    #[test]
    fn a_ready_object_waits_for_a_change() {
        assert_eq!(delay(Reason::Materialised, 0), None);
    }

    #[test]
    fn foreign_owner_and_forbidden_are_retried_after_a_second_and_then_less_often() {
        for reason in [Reason::ForeignOwner, Reason::Forbidden] {
            let seconds = [0, 1, 3, 100].map(|repetitions| delay(reason, repetitions));
            assert_eq!(seconds.map(|delay| delay.map(|delay| delay.as_secs())), [Some(1), Some(2), Some(8), Some(300)]);
        }
    }

    #[test]
    fn other_stalled_objects_are_retried_every_five_minutes() {
        assert_eq!(delay(Reason::Moved, 0), Some(LONGEST));
    }
}

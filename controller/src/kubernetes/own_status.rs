//! The status that the controller wrote last, and how often the controller has corrected a status that somebody else
//! wrote.

use std::time::{Duration, Instant};

use waxseal_shared::settled::StatusDigest;

use super::retry_delays;

/// The count of corrections starts again if the last correction is this long ago.
const CORRECTIONS_PERIOD: Duration = Duration::from_mins(10);

/// What the controller remembers of its own status of one generation of an object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnStatus {
    /// The status that the controller wrote last, or found to be right.
    digest: Option<StatusDigest>,
    corrections: u32,
    last_correction: Option<Instant>,
}

impl OwnStatus {
    pub(super) fn set(&mut self, digest: Option<StatusDigest>) {
        self.digest = digest;
    }

    /// Whether the object has another status than the controller wrote.
    pub(super) fn is_overwritten(&self, present: Option<StatusDigest>) -> bool {
        self.digest.is_some() && self.digest != present
    }

    /// Counts a write that replaced a status that somebody else wrote.
    pub(super) fn count_correction(&mut self, now: Instant) {
        let is_recent = self.last_correction.is_some_and(|last| now.duration_since(last) < CORRECTIONS_PERIOD);
        self.corrections = if is_recent { self.corrections.saturating_add(1) } else { 1 };
        self.last_correction = Some(now);
    }

    /// The time until the next correction; `None` if the controller may correct the status now.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let since_last = now.duration_since(self.last_correction?);
        let left = retry_delays::after_corrections(self.corrections).checked_sub(since_last)?;
        (!left.is_zero()).then_some(left)
    }
}

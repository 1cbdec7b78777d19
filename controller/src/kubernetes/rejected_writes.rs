//! The writes of a Secret after which the API server had another Secret than the one that was written.

use std::time::Instant;

use super::retry_delays;

/// The writes since the Secret was last right, for one generation of an object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RejectedWrites {
    count: u32,
    /// The time of the last of these writes, and a field in which the two Secrets differed.
    last: Option<(Instant, &'static str)>,
}

impl RejectedWrites {
    pub(super) fn add(&mut self, field: &'static str, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.last = Some((now, field));
    }

    /// The field of the last write, while the next write has to wait; `None` if the controller may write now.
    ///
    /// Without this pause, each write could cause the next one: if an admission webhook stores another value at each
    /// write, the watch reports each write as a change of the Secret.
    pub(super) fn waiting(&self, now: Instant) -> Option<&'static str> {
        let (at, field) = self.last?;
        (now.duration_since(at) < retry_delays::after_rejected_writes(self.count)).then_some(field)
    }
}

//! The failures of one watch: how they are logged and counted, and the time until the next attempt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::api_failure;
use super::metrics::Metrics;

const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest time until the next attempt: after an outage every watch continues within seconds, and one request in
/// five seconds is no load for an API server that fails.
const LAST_DELAY: Duration = Duration::from_secs(5);
/// A failure that repeats is logged again after this time.
const REPETITION: Duration = Duration::from_mins(1);
/// After the start, HTTP 429 and 503 are not logged for this time: an API server that starts, or that has just got the
/// definitions, answers with them for a moment.
const GRACE: Duration = Duration::from_secs(10);

/// The failures of the watch of one kind, since its last success.
pub(super) struct WatchFailures {
    kind: &'static str,
    metrics: Arc<Metrics>,
    delay: Duration,
    started: Instant,
    last: Option<(Instant, String)>,
}

impl WatchFailures {
    pub(super) fn new(kind: &'static str, metrics: Arc<Metrics>) -> Self {
        Self { kind, metrics, delay: FIRST_DELAY, started: Instant::now(), last: None }
    }

    /// Forgets the failures after a list or watch that succeeded.
    pub(super) fn clear(&mut self) {
        self.delay = FIRST_DELAY;
        if self.last.take().is_some() {
            tracing::info!("watching {} again", self.kind);
        }
    }

    /// Counts a failure, and logs it if it differs from the last one or the last log line is a minute old. Returns the
    /// time until the next attempt.
    pub(super) fn record(&mut self, error: &kube::Error) -> Duration {
        self.metrics.count_watch_failure(self.kind);
        let failure = self.describe(error);
        let is_logged = self.last.as_ref().is_some_and(|(at, last)| *last == failure && at.elapsed() < REPETITION);
        if !is_logged && !self.is_expected(error) {
            tracing::warn!("watching {} failed, trying again: {failure}", self.kind);
            self.last = Some((Instant::now(), failure));
        }
        let delay = self.delay;
        self.delay = (self.delay * 2).min(LAST_DELAY);
        delay
    }

    fn describe(&self, error: &kube::Error) -> String {
        let failure = api_failure::describe(error);
        match error {
            kube::Error::Api(status) if status.code == 404 => {
                format!(
                    "{failure}: the definition is missing; run `kubectl apply --server-side -f deploy/kustomize/base/crds.yaml`"
                )
            }
            _ => failure,
        }
    }

    fn is_expected(&self, error: &kube::Error) -> bool {
        let is_busy = matches!(error, kube::Error::Api(status) if matches!(status.code, 429 | 503));
        is_busy && self.started.elapsed() < GRACE
    }
}

//! What is said of a watch that fails, and how long it waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::api_failure;
use super::metrics::Metrics;

const FIRST_DELAY: Duration = Duration::from_millis(500);
/// No watch waits longer: after an outage every change is seen within seconds, and a dead API server can bear one
/// request in five seconds.
const LAST_DELAY: Duration = Duration::from_secs(5);
/// A watch that goes on failing in the same way says so this often.
const REPETITION: Duration = Duration::from_mins(1);
/// An API server that starts, or has just got the definitions, refuses watches for a moment.
const GRACE: Duration = Duration::from_secs(10);

/// The failures of one watch.
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

    /// Notes that a list or watch ended well.
    pub(super) fn ended(&mut self) {
        self.delay = FIRST_DELAY;
        if self.last.take().is_some() {
            tracing::info!("watching {} again", self.kind);
        }
    }

    /// Counts a failure, logs it if it is news or the last line is a minute old, and says how long to wait.
    pub(super) fn failed(&mut self, error: &kube::Error) -> Duration {
        self.metrics.count_watch_failure(self.kind);
        let failure = self.describe(error);
        let is_known = self.last.as_ref().is_some_and(|(at, said)| *said == failure && at.elapsed() < REPETITION);
        if !is_known && !self.is_excused(error) {
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
                format!("{failure}: the definition is missing; kubectl apply --server-side -f deploy/crds.yaml")
            }
            _ => failure,
        }
    }

    fn is_excused(&self, error: &kube::Error) -> bool {
        let is_busy = matches!(error, kube::Error::Api(status) if matches!(status.code, 429 | 503));
        is_busy && self.started.elapsed() < GRACE
    }
}

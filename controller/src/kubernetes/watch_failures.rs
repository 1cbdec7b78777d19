//! The failures of one watch: how they are logged and counted, and the time until the next attempt.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::api_failure;
use super::metrics::Metrics;
use super::scope::ServedScope;

/// The shortest time between the starts of two watches. A watch that ends sooner is no success.
pub(super) const SHORTEST_WATCH: Duration = Duration::from_secs(1);
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest time until the next attempt: after an outage every watch continues within seconds, and one request in
/// five seconds is little load for an API server that fails.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A failure that repeats is logged again after this time.
const REPETITION: Duration = Duration::from_mins(1);
/// After the start, HTTP 429 and 503 are not logged for this time: an API server that starts, or that has just got the
/// definitions, answers with them for a moment.
const GRACE: Duration = Duration::from_secs(10);

/// The lists and watches that the API server refuses because the controller has no right to them.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeSet<String>>);

impl Refusals {
    /// What is refused, such as "SealedSecrets in shop".
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.lock().clone()
    }

    fn insert(&self, subject: &str) {
        self.lock().insert(subject.to_owned());
    }

    fn remove(&self, subject: &str) {
        self.lock().remove(subject);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failures of the watch of one kind in one scope, since its last success.
pub(super) struct WatchFailures {
    kind: &'static str,
    /// Kind and scope, such as "SealedSecrets in shop".
    subject: String,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    delay: Duration,
    started: Instant,
    /// When the API server accepted the present watch.
    accepted: Option<Instant>,
    last: Option<(Instant, String)>,
    /// Whether the last log line is about a failure.
    is_reported: bool,
}

impl WatchFailures {
    pub(super) fn new(kind: &'static str, scope: &ServedScope, metrics: Arc<Metrics>, refusals: Arc<Refusals>) -> Self {
        let subject = format!("{kind} in {scope}");
        Self {
            kind,
            subject,
            metrics,
            refusals,
            delay: FIRST_DELAY,
            started: Instant::now(),
            accepted: None,
            last: None,
            is_reported: false,
        }
    }

    /// Notes that the API server has accepted a watch.
    ///
    /// A list alone does not count as a success: without the right to watch, the controller lists again and again. An
    /// accepted watch counts only after [`SHORTEST_WATCH`]: an API server can accept each watch and fail at once.
    pub(super) fn accept(&mut self) {
        self.accepted = Some(Instant::now());
        self.refusals.remove(&self.subject);
        if take(&mut self.is_reported) {
            tracing::info!("watching {} again", self.subject);
        }
    }

    /// Counts a failure. Logs it if it differs from the failure that was logged last, or if that log line is a minute
    /// old, but not if it is expected soon after the start ([`GRACE`]). Returns the time until the next attempt.
    pub(super) fn record(&mut self, error: &kube::Error) -> Duration {
        self.metrics.count_watch_failure(self.kind);
        if self.accepted.take().is_some_and(|accepted| accepted.elapsed() >= SHORTEST_WATCH) {
            (self.delay, self.last) = (FIRST_DELAY, None);
        }
        if matches!(error, kube::Error::Api(status) if status.code == 403) {
            self.refusals.insert(&self.subject);
        }
        let failure = self.describe(error);
        let was_just_logged =
            self.last.as_ref().is_some_and(|(at, last)| *last == failure && at.elapsed() < REPETITION);
        if !was_just_logged && !self.is_expected(error) {
            tracing::warn!("watching {} failed, trying again: {failure}", self.subject);
            (self.last, self.is_reported) = (Some((Instant::now(), failure)), true);
        }
        let delay = self.delay;
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        delay
    }

    fn describe(&self, error: &kube::Error) -> String {
        let failure = api_failure::describe(error);
        match error {
            kube::Error::Api(status) if status.code == 404 && matches!(self.kind, "SealedSecrets" | "SealingKeys") => {
                format!("{failure}: {}", api_failure::MISSING_DEFINITION)
            }
            _ => failure,
        }
    }

    fn is_expected(&self, error: &kube::Error) -> bool {
        let is_busy = matches!(error, kube::Error::Api(status) if matches!(status.code, 429 | 503));
        is_busy && self.started.elapsed() < GRACE
    }
}

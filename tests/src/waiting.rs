//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(50);

/// The condition was not true before the deadline.
#[derive(Debug, thiserror::Error)]
#[error("{what} did not happen within {} s", deadline.as_secs_f32())]
pub struct TimedOut {
    what: String,
    deadline: Duration,
}

/// Calls `probe` every 50 ms until it returns `Some`, for at most `deadline`.
///
/// A probe that runs at the deadline is dropped. `what` completes the sentence "… did not happen within 10 s".
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let polling = async {
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(deadline, polling).await.map_err(|_| timed_out(what, deadline))
}

/// Like [`until`], outside of an async runtime. A probe that runs at the deadline runs to its end.
pub fn until_blocking<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T, TimedOut> {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        std::thread::sleep(INTERVAL);
    }
    Err(timed_out(what, deadline))
}

fn timed_out(what: &str, deadline: Duration) -> TimedOut {
    TimedOut { what: what.to_owned(), deadline }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_comes_true_is_named() {
        let error = until_blocking("rain", Duration::from_millis(120), || None::<()>);
        assert_eq!(error.expect_err("the probe never answers").to_string(), "rain did not happen within 0.12 s");
    }

    #[test]
    fn the_first_answer_is_returned() {
        let mut calls = 0;
        let answer = until_blocking("three calls", Duration::from_secs(5), || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(answer.expect("answers at the third call"), 3);
    }
}

//! The client of the API server, with a deadline on every answer.
//!
//! A connection can fall silent without ending: a frozen proxy or a lost route sends neither data nor an end. The
//! library waits for such a connection without limit, and its pool hands out more connections of the same kind. So
//! silence ends a request with an error, and the next request starts on new connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};
use thiserror::Error;
use tower_http::timeout::{TimeoutBody, TimeoutError};

/// An answer has to begin within this time, and may pause for no longer.
const SILENCE: Duration = Duration::from_secs(10);
/// The API server ends each watch after this time.
pub(super) const WATCH_SECONDS: u32 = 25;
/// A watch of a quiet kind sends nothing before its end.
const SILENCE_OF_A_WATCH: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);
/// No answer is larger than this, but for that of a watch.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The API server sent nothing for too long.
#[derive(Debug, Error)]
#[error("the API server has sent nothing for {} s", SILENCE.as_secs())]
struct Silent;

/// When the API server last sent anything.
pub(super) struct LastContact(Mutex<Instant>);

impl LastContact {
    fn note(&self) {
        *lock(&self.0) = Instant::now();
    }

    /// How long ago the API server last sent anything; at first, how long ago this program started.
    pub(super) fn age(&self) -> Duration {
        lock(&self.0).elapsed()
    }
}

/// The connections in use, and how to make new ones.
struct Connections {
    config: Config,
    current: Mutex<Current>,
    last_contact: Arc<LastContact>,
}

struct Current {
    client: Client,
    generation: u64,
}

/// A client whose every request meets a deadline, and the time of its last contact.
pub(super) fn connect(config: Config) -> kube::Result<(Client, Arc<LastContact>)> {
    let namespace = config.default_namespace.clone();
    let last_contact = Arc::new(LastContact(Mutex::new(Instant::now())));
    let current = Mutex::new(Current { client: Client::try_from(config.clone())?, generation: 0 });
    let connections = Arc::new(Connections { config, current, last_contact: Arc::clone(&last_contact) });
    let service = tower::service_fn(move |request| {
        let connections = Arc::clone(&connections);
        async move { connections.send(request).await }
    });
    Ok((Client::new(service, namespace), last_contact))
}

impl Connections {
    async fn send(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
        let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        let (client, generation) = {
            let current = lock(&self.current);
            (current.client.clone(), current.generation)
        };
        let Ok(answer) = tokio::time::timeout(SILENCE, client.send(request)).await else {
            self.replace(generation);
            return Err(Silent.into());
        };
        let answer = answer?;
        self.last_contact.note();
        Ok(answer.map(|body| self.guard(body, is_watch, generation)))
    }

    /// The body, which ends with an error once it pauses for too long or is too large.
    fn guard(self: Arc<Self>, body: Body, is_watch: bool, generation: u64) -> UnsyncBoxBody<Bytes, BoxError> {
        let last_contact = Arc::clone(&self.last_contact);
        let body = body.map_frame(move |frame| {
            last_contact.note();
            frame
        });
        let silence = if is_watch { SILENCE_OF_A_WATCH } else { SILENCE };
        let body = TimeoutBody::new(silence, body).map_err(move |error| {
            if error.is::<TimeoutError>() {
                self.replace(generation);
            }
            error
        });
        if is_watch { body.boxed_unsync() } else { Limited::new(body, LARGEST_ANSWER).boxed_unsync() }
    }

    /// Makes the next requests start on new connections, unless another request has done so already.
    fn replace(&self, silent_generation: u64) {
        let mut current = lock(&self.current);
        if current.generation != silent_generation {
            return;
        }
        match Client::try_from(self.config.clone()) {
            Ok(client) => {
                *current = Current { client, generation: silent_generation + 1 };
                tracing::warn!("a connection to the API server fell silent; new requests use new connections");
            }
            Err(_) => tracing::error!("failed to set up a new client; the old connections stay in use"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

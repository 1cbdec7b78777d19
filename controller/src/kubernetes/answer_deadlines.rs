//! The client of the API server, with a deadline for every answer.
//!
//! A connection can fall silent without ending: a frozen proxy or a lost route sends neither data nor an end. The
//! library waits for such a connection without limit, and its pool may give the next request another silent connection.
//! So silence ends a request with an error, and the next request uses new connections.

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

/// The longest time until a connection is made, TLS included. It is shorter than [`SILENCE`]: a connection that is
/// never made fails by itself and does not count as silent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time until an answer begins, and the longest pause in an answer.
const SILENCE: Duration = Duration::from_secs(10);
/// Each watch asks the API server to end it after this time.
pub(super) const WATCH_SECONDS: u32 = 25;
/// The longest pause in a watch: without changes it sends nothing before its end.
const SILENCE_OF_A_WATCH: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);
/// The largest answer in bytes, except that of a watch. An object has up to 1.5 MiB, and all lists come in pages.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// The largest answer in bytes that reports a failure.
const LARGEST_FAILURE: usize = 64 * 1024;

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

    /// Returns the time since the API server last sent anything; before its first answer, the time since the start.
    pub(super) fn age(&self) -> Duration {
        lock(&self.0).elapsed()
    }
}

/// The client in use, and the settings for the next one.
struct Connections {
    config: Config,
    current: Mutex<Current>,
    last_contact: Arc<LastContact>,
}

/// The kind of an answer, which decides its limits.
#[derive(Clone, Copy)]
enum Answer {
    /// The events of a watch.
    Watch,
    /// One object or list.
    Whole,
    /// The reason why the API server refuses the request.
    Failure,
}

struct Current {
    client: Client,
    generation: u64,
}

/// Returns a client with a deadline for every request, and the time of its last contact.
pub(super) fn connect(mut config: Config) -> kube::Result<(Client, Arc<LastContact>)> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
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
        let asks_to_watch =
            request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
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
        let kind = match (answer.status().is_success(), asks_to_watch) {
            (true, true) => Answer::Watch,
            (true, false) => Answer::Whole,
            (false, _) => Answer::Failure,
        };
        Ok(answer.map(|body| self.guard(body, kind, generation)))
    }

    /// Returns the body, which ends with an error if it pauses for too long or is too large.
    fn guard(self: Arc<Self>, body: Body, kind: Answer, generation: u64) -> UnsyncBoxBody<Bytes, BoxError> {
        let last_contact = Arc::clone(&self.last_contact);
        let body = body.map_frame(move |frame| {
            last_contact.note();
            frame
        });
        let silence = if matches!(kind, Answer::Watch) { SILENCE_OF_A_WATCH } else { SILENCE };
        let body = TimeoutBody::new(silence, body).map_err(move |error| {
            if error.is::<TimeoutError>() {
                self.replace(generation);
            }
            error
        });
        match kind {
            // No limit here: `watches` limits each line.
            Answer::Watch => body.boxed_unsync(),
            Answer::Whole => Limited::new(body, LARGEST_ANSWER).boxed_unsync(),
            Answer::Failure => Limited::new(body, LARGEST_FAILURE).boxed_unsync(),
        }
    }

    /// Makes the next requests use new connections, unless another request has done so already.
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use kube::core::Request;
    use kube::core::params::WatchParams;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// An API server that answers every request with this status and a body without an end.
    async fn endless_server(status: &'static str) -> Config {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _request = stream.read(&mut [0; 8192]).await;
                    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n");
                    let mut sent = stream.write_all(head.as_bytes()).await;
                    while sent.is_ok() {
                        sent = stream.write_all(&[b' '; 4096]).await;
                    }
                });
            }
        });
        Config::new(format!("http://{address}").parse().expect("a URL"))
    }

    async fn ends_with_an_error(status: &'static str, request: http::Request<Vec<u8>>) -> bool {
        let (client, _) = connect(endless_server(status).await).expect("a client");
        let answer = tokio::time::timeout(Duration::from_secs(30), client.request_text(request)).await;
        answer.expect("it ends").is_err()
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_off() {
        let get = || Request::new("/api").get("x", &Default::default()).expect("a request");
        let watch = Request::new("/api").watch(&WatchParams::default(), "1").expect("a request");
        assert!(ends_with_an_error("200 OK", get()).await);
        assert!(ends_with_an_error("500 Internal Server Error", get()).await);
        assert!(ends_with_an_error("500 Internal Server Error", watch).await);
    }
}

//! Probes and metrics over HTTP. The server decrypts nothing, and reads no body.
//!
//! Every Pod that reaches the port may be hostile. So a connection is short and answers one
//! request, and a new connection displaces the oldest one: the kubelet always gets in, however many
//! connections somebody else holds. It loses its place only if [`MAX_CONNECTIONS`] further ones
//! come in before it has sent its request, which takes it a millisecond.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::runtime::reflector::Store;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use waxseal_shared::reason::Reason;

use super::WatchedObject;
use super::keys::KeyState;
use super::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Each connection costs about 10 KiB.
const MAX_CONNECTIONS: usize = 256;
/// A connection ends after this time, whatever it is doing. The kubelet waits for 1 s, and
/// Prometheus for 10 s at most by default.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(5);
/// A request's line and headers fit into this buffer, or the request is refused. hyper takes no
/// smaller one.
const MAX_REQUEST_HEAD: usize = 8 * 1024;
/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// A server that goes on failing to accept connections says so this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// Why probes and metrics cannot be served.
#[derive(Debug, Error)]
#[error("failed to listen on {addresses}")]
pub(super) struct BindError {
    addresses: String,
    source: std::io::Error,
}

/// Listens on the first of the addresses that the machine has, and says which one it is: port 0
/// asks for any free port.
pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| {
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        BindError { addresses: addresses.join(" or "), source }
    };
    let listener = TcpListener::bind(addresses).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves `/livez`, `/readyz` and `/metrics` until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    store: Store<WatchedObject>,
    keys: watch::Receiver<KeyState>,
    metrics: Arc<Metrics>,
) {
    let state = Arc::new(State { store, keys, metrics });
    let mut open = OpenConnections::default();
    let mut complained: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => open.add(stream, &state),
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                    tracing::warn!("failed to accept a connection for probes and metrics: {error}");
                    complained = Some(Instant::now());
                }
                // The process may be out of file descriptors, and these are the ones to spare.
                open.close_all();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that are open, oldest first.
#[derive(Default)]
struct OpenConnections(VecDeque<AbortHandle>);

impl OpenConnections {
    /// Serves a connection; closes the oldest one if there are too many.
    fn add(&mut self, stream: TcpStream, state: &Arc<State>) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() == MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        let connection = tokio::spawn(serve_connection(stream, Arc::clone(state)));
        self.0.push_back(connection.abort_handle());
    }

    fn close_all(&mut self) {
        self.0.drain(..).for_each(|connection| connection.abort());
    }
}

/// Answers one request. A client that breaks off or breaks the protocol is nothing to report.
async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(state.answer(&request))));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION_DEADLINE, connection).await;
}

/// What the answers come from.
struct State {
    store: Store<WatchedObject>,
    keys: watch::Receiver<KeyState>,
    metrics: Arc<Metrics>,
}

impl State {
    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return response(StatusCode::METHOD_NOT_ALLOWED, (ALLOW, "GET, HEAD"), String::new());
        }
        let text = |code, said: &str| response(code, (CONTENT_TYPE, PLAIN_TEXT), said.to_owned());
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok"),
            "/readyz" => match self.waits_for() {
                None => text(StatusCode::OK, "ok"),
                Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
            },
            "/metrics" => response(StatusCode::OK, (CONTENT_TYPE, OPEN_METRICS), self.metrics.to_text()),
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// What the controller waits for before it is ready: its keys, and the first list of all
    /// SealedSecrets.
    ///
    /// An API server that fails later changes nothing: another Pod would be no better off. The
    /// metric of watch failures and `Reconciling` tell of that.
    fn waits_for(&self) -> Option<&'static str> {
        match &*self.keys.borrow() {
            KeyState::Loading => Some(Reason::KeysLoading.as_str()),
            KeyState::Awaiting => Some(Reason::AwaitingKeys.as_str()),
            KeyState::Held(_) if self.store.wait_until_ready().now_or_never().is_none() => Some("SealedSecretsLoading"),
            KeyState::Held(_) => None,
        }
    }
}

fn response(code: StatusCode, (name, value): (HeaderName, &'static str), body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

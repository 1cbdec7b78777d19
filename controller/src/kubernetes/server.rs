//! Probes and metrics over HTTP, each on a port of its own. The server decrypts nothing and reads no body.
//!
//! Every Pod that reaches a port can be hostile. So a connection answers one request and has a deadline. If too many
//! connections of a port are open, a new one closes the oldest connection of the peer that has the most connections:
//! the kubelet always gets its answer, however many connections another peer opens.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::reason::Reason;

use super::answer_deadlines::LastContact;
use super::metrics::Metrics;
use super::objects::Objects;
use super::scope;
use super::watch_failures::Refusals;

/// After this time without an answer the controller is not ready. It asks the API server something every 15 s.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The largest number of open connections of a port. Each needs about 10 KiB of memory.
const MAX_CONNECTIONS: u64 = 256;
/// The connections of a port use at most an eighth of the file descriptors that the process may open.
const SHARE_OF_DESCRIPTORS: u64 = 8;
/// The largest number of connections that wait to be accepted; Linux allows no more by default.
const BACKLOG: u32 = 4096;
/// A connection ends after this time. By default the kubelet waits for 1 s, and Prometheus for 10 s.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(5);
/// The largest request line with headers in bytes. hyper allows no smaller limit.
const MAX_REQUEST_HEAD: usize = 8 * 1024;
/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A failure to accept connections that repeats is logged again after this time.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Why probes and metrics cannot be served.
#[derive(Debug, Error)]
#[error("failed to listen on {addresses} (--listen and --metrics-listen choose other addresses)")]
pub(super) struct BindError {
    addresses: String,
    source: Option<std::io::Error>,
}

/// Listens on the first of these addresses that can be bound. Returns the address with its port: port 0 stands for
/// any free port.
pub(super) fn bind(addresses: &[SocketAddr]) -> Result<(TcpListener, SocketAddr), BindError> {
    let mut failure = None;
    for address in addresses {
        match listen(*address) {
            Ok(bound) => return Ok(bound),
            Err(error) => failure = Some(error),
        }
    }
    let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    Err(BindError { addresses: addresses.join(" or "), source: failure })
}

fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // Without it, a restarted process cannot bind while connections of the old process are still being closed.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// What a port answers.
pub(super) enum Port {
    /// `/livez` and `/readyz`.
    Probes(Readiness),
    /// `/metrics`.
    Metrics(Arc<Metrics>),
}

/// What the readiness of the controller depends on.
pub(super) struct Readiness {
    pub(super) objects: Arc<Objects>,
    pub(super) keys: watch::Receiver<Keys>,
    pub(super) last_contact: Arc<LastContact>,
    pub(super) refusals: Arc<Refusals>,
}

/// Serves a port. Never ends.
pub(super) async fn serve(listener: TcpListener, port: Port) {
    let port = Arc::new(port);
    let mut open = OpenConnections::new();
    let mut logged_at: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                open.add(stream, peer.ip(), &port);
                // Lets the connection start before the next connection can close it.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                if logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
                    tracing::warn!("failed to accept a connection for probes and metrics: {error}");
                    logged_at = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The open connections of a port.
struct OpenConnections {
    most: usize,
    oldest_first: VecDeque<OpenConnection>,
}

struct OpenConnection {
    peer: IpAddr,
    task: AbortHandle,
}

impl OpenConnections {
    fn new() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current;
        let most = descriptors.map_or(MAX_CONNECTIONS, |limit| MAX_CONNECTIONS.min(limit / SHARE_OF_DESCRIPTORS));
        Self { most: usize::try_from(most).expect("at most 256"), oldest_first: VecDeque::new() }
    }

    /// Serves a connection; closes another connection if too many are open.
    ///
    /// A panic ends only its connection: a hostile request must not end the controller.
    fn add(&mut self, stream: TcpStream, peer: IpAddr, port: &Arc<Port>) {
        self.oldest_first.retain(|connection| !connection.task.is_finished());
        if self.oldest_first.len() >= self.most {
            self.close_one();
        }
        let task = tokio::spawn(serve_connection(stream, Arc::clone(port))).abort_handle();
        self.oldest_first.push_back(OpenConnection { peer, task });
    }

    /// Closes the oldest connection of the peer that has the most connections.
    fn close_one(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for connection in &self.oldest_first {
            *counts.entry(connection.peer).or_default() += 1;
        }
        let heaviest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(peer, _)| peer);
        let oldest = self.oldest_first.iter().position(|connection| Some(connection.peer) == heaviest);
        if let Some(connection) = oldest.and_then(|index| self.oldest_first.remove(index)) {
            connection.task.abort();
        }
    }
}

/// Answers one request. Logs no failure: hostile clients could fill the log.
async fn serve_connection(stream: TcpStream, port: Arc<Port>) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(port.answer(&request))));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION_DEADLINE, connection).await;
}

impl Port {
    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return response(StatusCode::METHOD_NOT_ALLOWED, (ALLOW, "GET, HEAD"), String::new());
        }
        let text = |code, body: &str| response(code, (CONTENT_TYPE, PLAIN_TEXT), body.to_owned());
        match (self, request.uri().path()) {
            (Self::Probes(_), "/livez") => text(StatusCode::OK, "ok"),
            (Self::Probes(readiness), "/readyz") => match readiness.missing() {
                None => text(StatusCode::OK, "ok"),
                Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &reason),
            },
            (Self::Metrics(metrics), "/metrics") => {
                response(StatusCode::OK, (CONTENT_TYPE, OPEN_METRICS), metrics.to_text())
            }
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

impl Readiness {
    /// Returns what the controller lacks; `None` if it is ready. It needs the rights to list and watch, its keys, the
    /// first list of all objects, and an API server that is not silent.
    fn missing(&self) -> Option<String> {
        let (silence, refused) = (self.last_contact.age(), self.refusals.all());
        if !refused.is_empty() {
            let refused = refused.into_iter().collect::<Vec<_>>().join(", ");
            return Some(format!("{}: the controller may not list and watch {refused}", Reason::Forbidden.as_str()));
        }
        let unlisted = self.objects.unlisted();
        match &*self.keys.borrow() {
            Keys::Loading => Some(Reason::KeysLoading.as_str().to_owned()),
            Keys::Awaiting => Some(Reason::AwaitingKeys.as_str().to_owned()),
            Keys::Held(_) if !unlisted.is_empty() => {
                Some(format!("SealedSecretsLoading: not listed yet: {}", scope::listing(&unlisted)))
            }
            Keys::Held(_) if silence > LONGEST_SILENCE => {
                Some(format!("ApiUnavailable: the API server has sent nothing for {} s", silence.as_secs()))
            }
            Keys::Held(_) => None,
        }
    }
}

fn response(code: StatusCode, (name, value): (HeaderName, &'static str), body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

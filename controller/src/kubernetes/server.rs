//! Probes and metrics over HTTP. Nothing here decrypts, and nothing takes input.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use waxseal_shared::reason::Reason;

use super::connection::LastContact;
use super::keys::KeyState;
use super::metrics::Metrics;
use super::objects::Objects;

/// While all is well, the API server is asked something every 15 s.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why probes and metrics cannot be served.
#[derive(Debug, Error)]
#[error("failed to listen on {address}")]
pub(super) struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Listens, and says where: port 0 asks for any that is free.
pub(super) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// What decides whether the controller is ready.
pub(super) struct Readiness {
    pub(super) objects: Arc<Objects>,
    pub(super) keys: watch::Receiver<KeyState>,
    pub(super) last_contact: Arc<LastContact>,
}

/// Serves `/livez`, `/readyz` and `/metrics` until it is dropped.
pub(super) async fn serve(listener: TcpListener, readiness: Readiness, metrics: Arc<Metrics>) {
    let readiness = Arc::new(readiness);
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness.answer() }))
        .route("/metrics", get(move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.to_text()) }));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("serving probes and metrics failed: {error}");
    }
}

impl Readiness {
    /// Ready while the keys are held, all objects have been listed and the API server answers; else says what it waits
    /// for.
    fn answer(&self) -> (StatusCode, String) {
        let silence = self.last_contact.age();
        let waits_for = match &*self.keys.borrow() {
            KeyState::Loading => Reason::KeysLoading.as_str().to_owned(),
            KeyState::Awaiting => Reason::AwaitingKeys.as_str().to_owned(),
            KeyState::Held(_) if !self.objects.are_listed() => "SealedSecretsLoading".to_owned(),
            KeyState::Held(_) if silence > LONGEST_SILENCE => {
                format!("ApiUnavailable: the API server has sent nothing for {} s", silence.as_secs())
            }
            KeyState::Held(_) => {
                return (StatusCode::OK, format!("ok; the API server last answered {} s ago", silence.as_secs()));
            }
        };
        (StatusCode::SERVICE_UNAVAILABLE, waits_for)
    }
}

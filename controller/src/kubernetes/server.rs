//! Probes and metrics over HTTP. Nothing here decrypts, and nothing takes input.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use futures::FutureExt;
use kube::runtime::reflector::Store;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use waxseal_shared::reason::Reason;

use super::WatchedObject;
use super::keys::KeyState;
use super::metrics::Metrics;

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

/// Serves `/livez`, `/readyz` and `/metrics` until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    store: Store<WatchedObject>,
    keys: watch::Receiver<KeyState>,
    metrics: Arc<Metrics>,
) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness(&store, &keys) }))
        .route("/metrics", get(move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.to_text()) }));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("serving probes and metrics failed: {error}");
    }
}

/// Ready once the keys are held and all SealedSecrets have been listed; else says what it waits for.
///
/// An API server that fails later changes nothing: another Pod would be no better off. The metric
/// of watch failures and `Reconciling` tell of that.
fn readiness(store: &Store<WatchedObject>, keys: &watch::Receiver<KeyState>) -> (StatusCode, &'static str) {
    match &*keys.borrow() {
        KeyState::Loading => (StatusCode::SERVICE_UNAVAILABLE, Reason::KeysLoading.as_str()),
        KeyState::Awaiting => (StatusCode::SERVICE_UNAVAILABLE, Reason::AwaitingKeys.as_str()),
        KeyState::Held(_) if store.wait_until_ready().now_or_never().is_none() => {
            (StatusCode::SERVICE_UNAVAILABLE, "SealedSecretsLoading")
        }
        KeyState::Held(_) => (StatusCode::OK, "ok"),
    }
}

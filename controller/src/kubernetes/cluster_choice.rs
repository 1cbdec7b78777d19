//! Choosing the cluster, and the settings of the client for its API server.

use std::sync::Arc;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;
use waxseal_shared::names::Namespace;

use super::answer_deadlines::{self, LastContact};
use crate::args;

const DEFAULT_KEY_NAMESPACE: &str = "waxseal-system";
/// The name of the program in the audit log of the API server.
const PROGRAM: HeaderValue = HeaderValue::from_static(concat!("waxseal-controller/", env!("CARGO_PKG_VERSION")));

#[derive(Debug, Error)]
pub(super) enum ConnectError {
    // Without the library's error as source: its text can quote the file, which holds tokens.
    #[error(
        "failed to use the kubeconfig: see what `kubectl config view`, with the same --kubeconfig and \
             --context, says"
    )]
    Kubeconfig,
    #[error("failed to read the Pod's service account")]
    InCluster(#[source] kube::config::InClusterError),
    #[error("failed to set up the client")]
    Client(#[source] kube::Error),
    #[error("this process does not run in a cluster: name the cluster to work on with --context or --kubeconfig")]
    NoCluster,
}

/// Returns a client for the cluster that the arguments name or that this Pod runs in, the time of its last contact, and
/// the namespace of the keys.
pub(super) async fn connect(args: &args::Kubernetes) -> Result<(Client, Arc<LastContact>, String), ConnectError> {
    let mut config = config(args).await?;
    // The library's retries make a call last for minutes. The controller tries again by itself, with a deadline for
    // each request.
    config.default_retry = false;
    config.headers.push((USER_AGENT, PROGRAM));
    let pod_namespace = args.is_in_cluster().then(|| config.default_namespace.clone());
    let chosen = args.key_namespace.as_ref().map(Namespace::to_string);
    let key_namespace = chosen.or(pod_namespace).unwrap_or_else(|| DEFAULT_KEY_NAMESPACE.to_owned());
    let (client, last_contact) = answer_deadlines::connect(config).map_err(ConnectError::Client)?;
    Ok((client, last_contact, key_namespace))
}

async fn config(args: &args::Kubernetes) -> Result<Config, ConnectError> {
    if args.is_in_cluster() {
        return Config::incluster().map_err(ConnectError::InCluster);
    }
    // Uses the current context of a kubeconfig only if the user names that file. Otherwise the controller could write
    // Secrets into the wrong cluster.
    let options = KubeConfigOptions { context: args.context.clone(), ..Default::default() };
    let config = match (&args.kubeconfig, &args.context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|_| ConnectError::Kubeconfig)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await,
        (None, None) => return Err(ConnectError::NoCluster),
    };
    config.map_err(|_| ConnectError::Kubeconfig)
}

//! The cluster. Only this module and those below it name the Kubernetes client.

mod failures;
mod identity_secrets;
mod offers;
mod pages;
mod probes;
mod sealed_secret_state;
mod sealed_secrets;
mod session;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderValue, Response};
use http_body_util::Limited;
use kube::api::TypeMeta;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use tower::BoxError;
use tower::util::{MapResponseLayer, MapResultLayer};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::{PublishedKey, SealingKeyStatus};
use waxseal_shared::visible_text::escaped;

pub(crate) use self::identity_secrets::IdentitySecret;
pub(crate) use self::probes::{DEPLOYMENT, Look, Right};
pub(crate) use self::sealed_secret_state::SealedSecretState;
pub(crate) use self::sealed_secrets::SealedSecretSelection;
pub(crate) use self::session::{RequestOutcome, Session, UnknownSealingKey};
pub(crate) use self::watch::{StateChange, WatchEnd};
use crate::error::{CliError, Kind};
use crate::file_names::{context_name, file_name};

/// How long a request may take, from name resolution to the last byte. The timeouts of the client do not cover name
/// resolution.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// The largest answer that is read: 8 MiB. The largest keys file, of 1,000 SealingKeys, is less than half of that.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The field manager of the objects that this program writes.
const FIELD_MANAGER: &str = "waxseal-cli";

/// The hint if the kubeconfig or `$HTTPS_PROXY` names a proxy, for commands whose work kubectl cannot do.
pub(crate) const RUN_WITHOUT_PROXY: &str = "run waxseal where the API server can be reached without a proxy";

/// Selects the cluster, with kubectl's options.
#[derive(Args)]
pub(crate) struct ClusterArguments {
    /// Use this context of the kubeconfig instead of its current context
    #[arg(long, value_name = "CONTEXT", value_parser = context_name(), help_heading = "Cluster")]
    context: Option<String>,
    /// Use this kubeconfig file instead of `$KUBECONFIG` or `~/.kube/config`
    #[arg(long, value_name = "KUBECONFIG", value_parser = file_name::<PathBuf>(), help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,
}

/// A SealingKey of a cluster, and what the controller says of it.
pub(crate) struct ClusterKey {
    pub(crate) key: PublishedKey,
    pub(crate) status: SealingKeyStatus,
}

/// Lists the SealingKeys of a cluster and checks each; refuses a cluster without SealingKeys. Also returns the cluster
/// as errors name it.
pub(crate) fn sealing_keys(
    cluster: &ClusterArguments,
    namespace: &Namespace,
) -> Result<(Vec<ClusterKey>, String), CliError> {
    let instead = format!("write the keys file with `kubectl get sealingkeys -n {namespace} -o yaml` instead");
    let session = Session::of_keys(cluster, namespace, &instead)?;
    let place = session.place();
    let decoded = session.sealing_keys(namespace)?.into_iter().map(|object| {
        let object = object.map_err(|unknown| unknown.error(namespace).at(place))?;
        let key = PublishedKey::decode(&object)
            .map_err(|error| CliError::refused(format!("a SealingKey of the cluster is not valid: {error}")).at(place));
        Ok(ClusterKey { key: key?, status: object.status.unwrap_or_default() })
    });
    Ok((decoded.collect::<Result<_, CliError>>()?, place.to_owned()))
}

fn kubeconfig(cluster: &ClusterArguments) -> Result<Kubeconfig, CliError> {
    let read = match &cluster.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    read.map_err(|error| failures::unreadable_kubeconfig(&error, cluster.kubeconfig.as_deref()))
}

/// Returns the context of `--context`, or the current context; refuses a context that is not in the kubeconfig.
fn chosen_context(cluster: &ClusterArguments, kubeconfig: &Kubeconfig) -> Result<String, CliError> {
    let current = kubeconfig.current_context.as_ref().filter(|name| !name.is_empty());
    let named = cluster.context.as_ref().or(current);
    let contexts: Vec<_> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    match named {
        Some(name) if contexts.contains(&name.as_str()) => Ok(name.clone()),
        Some(name) => Err(failures::no_context(&format!("no context {}", escaped(name)), &contexts)),
        None => Err(failures::no_context("no current context", &contexts)),
    }
}

async fn config(kubeconfig: Kubeconfig, context: String) -> Result<Config, CliError> {
    let options = KubeConfigOptions { context: Some(context), ..Default::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|error| failures::unusable_context(&error))?;
    // With retries the user would wait for minutes before an error shows.
    config.default_retry = false;
    Ok(config)
}

/// Returns a client that reads at most [`MAX_ANSWER_BYTES`] of each response. A redirection is an error: kube would
/// read its body as the answer.
fn client(config: Config) -> Result<Client, kube::Error> {
    let bounded = |response: Response<_>| response.map(|body| Limited::new(body, MAX_ANSWER_BYTES));
    let answered = |result: Result<Response<_>, BoxError>| match result {
        Ok(response) if response.status().is_redirection() => Err(BoxError::from("a redirection")),
        result => result,
    };
    let builder = ClientBuilder::try_from(config)?.with_layer(&MapResultLayer::new(answered));
    Ok(builder.with_layer(&MapResponseLayer::new(bounded)).build())
}

/// Whether the token can be sent in a header. `kube` panics if it cannot.
fn has_possible_token(config: &Config) -> bool {
    let user = serde_json::to_value(&config.auth_info).unwrap_or_default();
    user["token"].as_str().is_none_or(|token| HeaderValue::try_from(token).is_ok())
}

fn is_list_of<K: Resource<DynamicType = ()>>(types: &TypeMeta) -> bool {
    types.kind == format!("{}List", K::kind(&())) && types.api_version == K::api_version(&())
}

fn no_cluster(text: impl Into<String>) -> CliError {
    CliError::new(Kind::NoCluster, text)
}

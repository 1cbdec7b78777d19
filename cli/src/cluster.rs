//! The cluster: the only module that names the Kubernetes client.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::runtime::Builder;
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::{PublishedKey, SealingKey};

use crate::error::{CliError, Kind};
use crate::file_names::file_name;
use crate::input::check_file;

/// How long the API server may take, from name resolution to the last byte. The client's own timeouts
/// leave some of that out.
const PATIENCE: Duration = Duration::from_secs(8);

/// Which cluster, in kubectl's words.
#[derive(Args)]
pub(crate) struct ClusterArguments {
    /// The context of the kubeconfig to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig to use
    #[arg(long, value_name = "FILE", value_parser = file_name::<PathBuf>())]
    kubeconfig: Option<PathBuf>,
}

/// The SealingKeys that a cluster publishes, each checked; refuses a cluster without any.
pub(crate) fn sealing_keys(cluster: &ClusterArguments, namespace: &Namespace) -> Result<Vec<PublishedKey>, CliError> {
    let kubeconfig = kubeconfig(cluster)?;
    let context = cluster.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let place = format!("context {}", context.replace(char::is_control, "\u{fffd}"));
    let objects = list(cluster, kubeconfig, namespace).map_err(|error| error.at(&place))?;
    if objects.is_empty() {
        let error = no_cluster(format!("no SealingKey in the namespace {namespace}")).at(&place);
        return Err(error.with_hint("name the namespace of waxseal-controller with `--namespace`"));
    }
    let decoded = objects.iter().map(|object| {
        PublishedKey::decode(object).map_err(|error| CliError::refused(format!("a SealingKey: {error}")).at(&place))
    });
    decoded.collect()
}

fn kubeconfig(cluster: &ClusterArguments) -> Result<Kubeconfig, CliError> {
    let read = match &cluster.kubeconfig {
        Some(path) => {
            check_file(path)?;
            Kubeconfig::read_from(path)
        }
        None => Kubeconfig::read(),
    };
    // The error's own text can quote the file, which holds tokens.
    read.map_err(|_| {
        no_cluster("there is no kubeconfig that can be read")
            .with_hint("name one with `--kubeconfig FILE`, and see what `kubectl config view` says")
    })
}

fn list(
    cluster: &ClusterArguments,
    kubeconfig: Kubeconfig,
    namespace: &Namespace,
) -> Result<Vec<SealingKey>, CliError> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("start", &error))?;
    let result = runtime.block_on(async {
        // A plugin that logs in runs here, and people take longer than servers.
        let client = client(cluster, kubeconfig).await?;
        let keys: Api<SealingKey> = Api::namespaced(client, namespace.as_str());
        let request = runtime.spawn(async move { keys.list(&ListParams::default()).await });
        match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(Ok(list))) => Ok(list.items),
            Ok(Ok(Err(error))) => Err(refusal(&error, namespace)),
            Ok(Err(_)) => Err(CliError::new(Kind::Failed, "failed to ask the API server")),
            Err(_) => Err(no_cluster(format!("the API server did not answer within {} seconds", PATIENCE.as_secs()))),
        }
    });
    // Name resolution blocks a thread that nothing can interrupt.
    runtime.shutdown_background();
    result
}

async fn client(cluster: &ClusterArguments, kubeconfig: Kubeconfig) -> Result<Client, CliError> {
    let options = KubeConfigOptions { context: cluster.context.clone(), ..Default::default() };
    let unusable = || no_cluster("the kubeconfig has no such context, or one that cannot be used");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|_| unusable())?;
    // Retries would hide for minutes that nobody answers.
    config.default_retry = false;
    Client::try_from(config).map_err(|_| unusable())
}

fn refusal(error: &kube::Error, namespace: &Namespace) -> CliError {
    match error {
        kube::Error::Api(status) if status.code == 404 => no_cluster("the cluster does not know SealingKeys")
            .with_hint("waxseal-controller and its custom resource definitions are not installed there"),
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            no_cluster(format!("the API server does not let you list SealingKeys in {namespace} ({})", status.code))
        }
        kube::Error::Api(status) => no_cluster(format!("the API server answers with an error ({})", status.code)),
        kube::Error::SerdeError(_) => {
            CliError::refused("a SealingKey that this waxseal does not know").with_hint("update waxseal")
        }
        error => match io_kind(error) {
            Some(kind) => no_cluster(format!("the API server cannot be reached: {kind}")),
            None => no_cluster("the API server cannot be reached"),
        },
    }
}

/// What the operating system said, wherever in the chain it stands.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            None | Some(io::ErrorKind::Other) => cause = error.source(),
            found => return found,
        }
    }
    None
}

fn no_cluster(text: impl Into<String>) -> CliError {
    CliError::new(Kind::NoCluster, text)
}

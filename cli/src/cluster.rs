//! The cluster. Only this module and those below it name the Kubernetes client.

mod failures;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderValue, Response};
use http_body_util::Limited;
use kube::api::{ListParams, ObjectList, TypeMeta};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ListMeta, Request};
use kube::{Client, Config, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::{Builder, Handle};
use tower::util::MapResponseLayer;
use waxseal_shared::names::Namespace;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{PublishedKey, SealingKey};
use waxseal_shared::visible_text::escaped;

use self::failures::{Listed, Server};
use crate::error::{CliError, Kind};
use crate::file_names::{context_name, file_name};

/// How long a request may take, from name resolution to the last byte. The timeouts of the client do not cover name
/// resolution.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// The largest response that is read: 8 MiB. The largest keys file, of 1,000 SealingKeys, is less than half of that.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// The number of SealedSecrets in a page: of 80 KiB each, they fit into a response.
const PAGE: u32 = 100;

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

/// A context of a kubeconfig.
pub(crate) struct Context {
    kubeconfig: Kubeconfig,
    name: String,
}

impl ClusterArguments {
    /// Returns the context that the options choose; refuses a context that is not in the kubeconfig.
    pub(crate) fn chosen(&self) -> Result<Context, CliError> {
        let kubeconfig = kubeconfig(self)?;
        let name = chosen_context(self, &kubeconfig)?;
        Ok(Context { kubeconfig, name })
    }
}

impl Context {
    /// The context as errors name it.
    pub(crate) fn place(&self) -> String {
        format!("context {}", escaped(&self.name))
    }
}

/// Lists the SealingKeys of a cluster and checks each; refuses a cluster without SealingKeys. Also returns the cluster as
/// errors name it.
pub(crate) fn sealing_keys(
    cluster: &ClusterArguments,
    namespace: &Namespace,
) -> Result<(Vec<PublishedKey>, String), CliError> {
    let context = cluster.chosen()?;
    let place = context.place();
    let listed = Listed {
        kinds: "SealingKeys",
        resource: "sealingkeys",
        place: format!("in {namespace}"),
        instead: "what `kubectl get sealingkeys -o yaml` prints is a keys file, too",
    };
    let path = SealingKey::url_path(&(), Some(namespace.as_str()));
    let list = ask(context, listed, async |session: &Session| {
        let answer = session.list::<ObjectList<SealingKey>>(&path, &ListParams::default()).await;
        let list = answer.map_err(|error| session.failure(error))?;
        if is_list_of::<SealingKey>(&list.types) { Ok(list) } else { Err(failures::unknown_answer(&session.listed)) }
    })?;
    if list.items.is_empty() {
        let error = no_cluster(format!("no SealingKey in the namespace {namespace}")).at(&place);
        return Err(error.with_hint("wait until waxseal-controller logs \"published the sealing key\", or name its namespace with `--namespace`"));
    }
    let decoded = list.items.iter().map(|object| {
        PublishedKey::decode(object).map_err(|error| CliError::refused(format!("a SealingKey: {error}")).at(&place))
    });
    Ok((decoded.collect::<Result<_, _>>()?, place))
}

/// A page of SealedSecrets. Reading it drops everything that is not named here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusPage {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: ListMeta,
    items: Vec<StatusOf>,
}

#[derive(Deserialize)]
struct StatusOf {
    metadata: Name,
    #[serde(default)]
    status: Option<Rewrapped>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
    namespace: String,
}

#[derive(Deserialize)]
struct Rewrapped {
    #[serde(default)]
    rewrapped: Value,
}

/// Calls `each` with `NAMESPACE/NAME` and the field `status.rewrapped` of every SealedSecret in a cluster. One page is in
/// memory at a time: at most 8 MiB.
pub(crate) fn each_rewrapped(context: Context, mut each: impl FnMut(&str, Value)) -> Result<(), CliError> {
    let listed = Listed {
        kinds: "SealedSecrets",
        resource: "wax -A",
        place: "in all namespaces".to_owned(),
        instead: "`--offers FILE` takes what `kubectl get wax -A -o yaml` prints",
    };
    let path = SealedSecret::url_path(&(), None);
    ask(context, listed, async |session: &Session| {
        let (mut size, mut params) = (PAGE, ListParams::default());
        loop {
            params.limit = Some(size);
            let page: StatusPage = match session.list(&path, &params).await {
                Ok(page) => page,
                // Every object can have 1.5 MiB.
                Err(ListError::Request(error)) if size > 1 && failures::is_too_large(&error) => {
                    size = (size / 8).max(1);
                    continue;
                }
                Err(error) => return Err(session.failure(error)),
            };
            if !is_list_of::<SealedSecret>(&page.types) {
                return Err(failures::unknown_answer(&session.listed));
            }
            for StatusOf { metadata: Name { name, namespace }, status } in page.items {
                if let Some(Rewrapped { rewrapped }) = status.filter(|status| status.rewrapped.is_object()) {
                    each(&format!("{namespace}/{name}"), rewrapped);
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    })
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

/// Connects to the API server of a context and does work there. Errors name the context.
fn ask<T>(
    context: Context,
    listed: Listed,
    work: impl AsyncFnOnce(&Session) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let place = context.place();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("start", &error))?;
    let handle = runtime.handle().clone();
    let result = runtime.block_on(async {
        let config = config(context).await?;
        let server = Server::of(&config)?;
        if !has_possible_token(&config) {
            return Err(failures::no_credentials());
        }
        // Outside of the timeout: this starts the login plugin, which can wait for the user.
        let client = client(config).map_err(|error| server.failure(&error, &listed))?;
        work(&Session { client, server, listed, handle }).await
    });
    // Does not wait for the runtime: name resolution blocks a thread that cannot be interrupted.
    runtime.shutdown_background();
    result.map_err(|error| error.at(place))
}

/// Why a list request has no answer.
enum ListError {
    Request(kube::Error),
    Panicked,
    TimedOut,
}

/// A connection to an API server, for lists of one kind.
struct Session {
    client: Client,
    server: Server,
    listed: Listed,
    handle: Handle,
}

impl Session {
    /// Makes one list request within the timeout.
    async fn list<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        params: &ListParams,
    ) -> Result<T, ListError> {
        let request = Request::new(path).list(params).map_err(kube::Error::BuildRequest);
        let request = request.map_err(ListError::Request)?;
        let client = self.client.clone();
        let request = self.handle.spawn(async move { client.request(request).await });
        match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
            Ok(Ok(answer)) => answer.map_err(ListError::Request),
            Ok(Err(_)) => Err(ListError::Panicked),
            Err(_) => Err(ListError::TimedOut),
        }
    }

    fn failure(&self, error: ListError) -> CliError {
        let server = &self.server;
        match error {
            ListError::Request(error) => server.failure(&error, &self.listed),
            ListError::Panicked => CliError::new(Kind::Failed, "failed to ask the API server"),
            ListError::TimedOut => {
                no_cluster(format!("{server} did not answer within {} seconds", REQUEST_TIMEOUT.as_secs()))
            }
        }
    }
}

async fn config(context: Context) -> Result<Config, CliError> {
    let options = KubeConfigOptions { context: Some(context.name), ..Default::default() };
    let config = Config::from_custom_kubeconfig(context.kubeconfig, &options).await;
    let mut config = config.map_err(|error| failures::unusable_context(&error))?;
    // With retries the user would wait for minutes before an error shows.
    config.default_retry = false;
    Ok(config)
}

/// Returns a client that reads at most [`MAX_ANSWER_BYTES`] of each response.
fn client(config: Config) -> Result<Client, kube::Error> {
    let bounded = |response: Response<_>| response.map(|body| Limited::new(body, MAX_ANSWER_BYTES));
    Ok(ClientBuilder::try_from(config)?.with_layer(&MapResponseLayer::new(bounded)).build())
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

//! Several requests to one cluster.

use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{DeserializeGuard, Request};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_shared::visible_text::escaped;

use super::failures::{self, Asked, Server};
use super::{ClusterArguments, FIELD_MANAGER, REQUEST_TIMEOUT, no_cluster};
use crate::error::{CliError, Kind};

/// A connection to one cluster. Errors name what it was opened for, unless a request says otherwise.
pub(crate) struct Session {
    /// `None` only while the session is dropped.
    runtime: Option<Runtime>,
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) asked: Asked,
    place: String,
}

/// What became of a request to create or change an object.
pub(crate) enum RequestOutcome {
    Written,
    /// Somebody has changed or deleted the object since it was read, or a new object has a name that is taken.
    Conflict,
}

/// A SealingKey of a form that this program does not know, such as a state that only a newer version knows.
pub(crate) struct UnknownSealingKey {
    pub(crate) name: String,
}

impl UnknownSealingKey {
    pub(crate) fn error(&self, namespace: &Namespace) -> CliError {
        let name = escaped(&self.name);
        CliError::refused(format!("the SealingKey {name} has a form that this waxseal does not know")).with_hint(
            format!(
                "update waxseal, or see what `kubectl get sealingkeys.waxseal.dev -n {namespace} {name} -o yaml` says"
            ),
        )
    }
}

impl Session {
    /// Connects to a cluster, for requests about the SealingKeys in a namespace. `instead` is the hint if the
    /// kubeconfig or `$HTTPS_PROXY` names a proxy.
    pub(crate) fn of_keys(cluster: &ClusterArguments, namespace: &Namespace, instead: &str) -> Result<Self, CliError> {
        let asked = Asked {
            verb: "list",
            kinds: "SealingKeys",
            resource: "sealingkeys.waxseal.dev",
            place: format!("in {namespace}"),
            instead: instead.to_owned(),
        };
        Self::open(cluster, asked)
    }

    pub(super) fn open(cluster: &ClusterArguments, asked: Asked) -> Result<Self, CliError> {
        let kubeconfig = super::kubeconfig(cluster)?;
        let context = super::chosen_context(cluster, &kubeconfig)?;
        let place = format!("context {}", escaped(&context));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| CliError::io("start the Kubernetes client", &error))?;
        let opened = runtime.block_on(async {
            let config = super::config(kubeconfig, context).await?;
            let server = Server::of(&config)?;
            if !super::has_possible_token(&config) {
                return Err(failures::no_credentials());
            }
            // Without a timeout: this starts the login plugin, which can wait for the user.
            let client = super::client(config).map_err(|error| server.failure(&error, &asked))?;
            Ok((client, server))
        });
        let (client, server) = opened.map_err(|error: CliError| error.at(&place))?;
        Ok(Self { runtime: Some(runtime), client, server, asked, place })
    }

    /// The cluster as errors name it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The namespace of the context, or `default`.
    pub(crate) fn default_namespace(&self) -> Result<Namespace, CliError> {
        let name = self.client.default_namespace();
        Namespace::parse(name).map_err(|error| no_cluster(format!("its namespace: {error}")).at(&self.place))
    }

    /// Lists the SealingKeys of a namespace; refuses a namespace without SealingKeys.
    pub(crate) fn sealing_keys(
        &self,
        namespace: &Namespace,
    ) -> Result<Vec<Result<SealingKey, UnknownSealingKey>>, CliError> {
        let keys = self.list_sealing_keys(namespace)?.map_err(|error| self.failure(&error))?;
        if keys.is_empty() {
            let error = no_cluster(format!("no SealingKey in the namespace {namespace}")).at(&self.place);
            return Err(error.with_hint("wait until waxseal-controller logs \"published the sealing key\", or name its namespace with `--namespace`"));
        }
        Ok(keys)
    }

    /// Lists the SealingKeys of a namespace; refuses a SealingKey of an unknown form. The list is empty if the cluster
    /// does not know the kind.
    pub(crate) fn sealing_keys_so_far(&self, namespace: &Namespace) -> Result<Vec<SealingKey>, CliError> {
        let listed = match self.list_sealing_keys(namespace)? {
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => return Ok(Vec::new()),
            listed => listed.map_err(|error| self.failure(&error))?,
        };
        listed.into_iter().map(|key| key.map_err(|unknown| unknown.error(namespace).at(&self.place))).collect()
    }

    /// Reads each SealingKey by itself: one of an unknown form does not hide the others.
    pub(super) fn list_sealing_keys(
        &self,
        namespace: &Namespace,
    ) -> Result<kube::Result<Vec<Result<SealingKey, UnknownSealingKey>>>, CliError> {
        let (path, mut keys) = (SealingKey::url_path(&(), Some(namespace.as_str())), Vec::new());
        let add = |DeserializeGuard(key): DeserializeGuard<SealingKey>| {
            keys.push(match key {
                Ok(key) => Ok(SealingKey { metadata: needed(key.metadata), ..key }),
                Err(unknown) => Err(UnknownSealingKey { name: unknown.metadata.name.unwrap_or_default() }),
            });
        };
        let listed = self.list_pages::<SealingKey, _>(&path, ListParams::default(), &self.asked, add)?;
        Ok(listed.map(|_version| keys))
    }

    /// Makes one list request.
    pub(super) fn list<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        params: &ListParams,
    ) -> Result<kube::Result<T>, CliError> {
        let request = Request::new(path).list(params).map_err(kube::Error::BuildRequest);
        let client = self.client.clone();
        self.ask(async move { client.request(request?).await })
    }

    /// Requests a state for the key of a SealingKey, unless somebody has changed the SealingKey since it was read.
    pub(crate) fn request_state(
        &self,
        namespace: &Namespace,
        object: &SealingKey,
        state: KeyState,
    ) -> Result<RequestOutcome, CliError> {
        let keys = Api::<SealingKey>::namespaced(self.client.clone(), namespace.as_str());
        let name = object.name_any();
        let metadata = json!({"resourceVersion": object.resource_version(), "uid": object.uid()});
        let patch = Patch::Merge(json!({"metadata": metadata, "spec": {"state": state}}));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.ask(async move { keys.patch(&name, &params, &patch).await })? {
            Ok(_) => Ok(RequestOutcome::Written),
            Err(kube::Error::Api(status)) if status.code == StatusCode::CONFLICT.as_u16() => {
                Ok(RequestOutcome::Conflict)
            }
            // If somebody deletes a SealingKey, the controller publishes it again.
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => {
                Ok(RequestOutcome::Conflict)
            }
            Err(error) => Err(self.failure_of(&error, &Asked { verb: "patch", ..self.asked.clone() })),
        }
    }

    pub(super) fn failure(&self, error: &kube::Error) -> CliError {
        self.failure_of(error, &self.asked)
    }

    /// The error for a request that asks for something else than the session was opened for.
    pub(super) fn failure_of(&self, error: &kube::Error, asked: &Asked) -> CliError {
        self.server.failure(error, asked).at(&self.place)
    }

    /// Runs a future in the background until it ends or the session is dropped.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Result<(), CliError> {
        self.runtime()?.spawn(future);
        Ok(())
    }

    fn runtime(&self) -> Result<&Runtime, CliError> {
        self.runtime.as_ref().ok_or_else(|| CliError::new(Kind::Failed, "the session has ended"))
    }

    /// Makes a request within the timeout.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        request: impl Future<Output = kube::Result<T>> + Send + 'static,
    ) -> Result<kube::Result<T>, CliError> {
        let runtime = self.runtime()?;
        let request = runtime.spawn(request);
        let answer = runtime.block_on(async { tokio::time::timeout(REQUEST_TIMEOUT, request).await });
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(_)) => CliError::new(Kind::Failed, "failed to ask the API server"),
            Err(_) => {
                no_cluster(format!("{} did not answer within {} seconds", self.server, REQUEST_TIMEOUT.as_secs()))
            }
        };
        Err(error.at(&self.place))
    }
}

/// The metadata that this program uses. Drops labels, for example: a planted SealingKey can have more than 1 MB of
/// them.
fn needed(metadata: ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, uid, resource_version, generation, deletion_timestamp, .. } = metadata;
    ObjectMeta { name, namespace, uid, resource_version, generation, deletion_timestamp, ..ObjectMeta::default() }
}

impl Drop for Session {
    /// Does not wait for the runtime: name resolution blocks a thread that cannot be interrupted.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

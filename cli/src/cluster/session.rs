//! Several requests to one cluster.

use http::StatusCode;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_shared::visible_text::escaped;

use super::failures::{self, Operation, Server};
use super::{ClusterArguments, REQUEST_TIMEOUT, no_cluster};
use crate::error::{CliError, Kind};

/// A client for the SealingKeys in one namespace of a cluster.
pub(crate) struct Session {
    /// Is there until the session is dropped.
    runtime: Option<Runtime>,
    keys: Api<SealingKey>,
    server: Server,
    namespace: Namespace,
    place: String,
}

/// What became of a request to change a SealingKey.
pub(crate) enum RequestOutcome {
    Written,
    /// Somebody has changed the SealingKey since it was read.
    Conflict,
}

impl Session {
    pub(crate) fn open(cluster: &ClusterArguments, namespace: &Namespace) -> Result<Self, CliError> {
        let kubeconfig = super::kubeconfig(cluster)?;
        let context = super::chosen_context(cluster, &kubeconfig)?;
        let place = format!("context {}", escaped(&context));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| CliError::io("start", &error))?;
        let opened = runtime.block_on(async {
            let config = super::config(kubeconfig, context).await?;
            let server = Server::of(&config)?;
            if !super::has_possible_token(&config) {
                return Err(failures::no_credentials());
            }
            // Without a timeout: this starts the login plugin, which can wait for the user.
            let client = super::client(config).map_err(|error| server.failure(&error, Operation::List, namespace))?;
            Ok((Api::namespaced(client, namespace.as_str()), server))
        });
        let (keys, server) = opened.map_err(|error: CliError| error.at(&place))?;
        Ok(Self { runtime: Some(runtime), keys, server, namespace: namespace.clone(), place })
    }

    /// The cluster as errors name it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Lists the SealingKeys; refuses a cluster without SealingKeys.
    pub(crate) fn sealing_keys(&self) -> Result<Vec<SealingKey>, CliError> {
        let keys = self.keys.clone();
        let list = self.ask(async move { keys.list(&ListParams::default()).await })?;
        let list = list.map_err(|error| self.failure(&error, Operation::List))?;
        if !super::is_list_of_sealing_keys(&list) {
            return Err(failures::unknown_answer().at(&self.place));
        }
        if list.items.is_empty() {
            let error = no_cluster(format!("no SealingKey in the namespace {}", self.namespace)).at(&self.place);
            return Err(error.with_hint("wait until waxseal-controller logs \"published the sealing key\", or name its namespace with `--namespace`"));
        }
        Ok(list.items)
    }

    /// Requests a state for the key of this SealingKey, as it was read.
    pub(crate) fn request_state(&self, object: &SealingKey, state: KeyState) -> Result<RequestOutcome, CliError> {
        let (keys, name) = (self.keys.clone(), object.name_any());
        let metadata = json!({"resourceVersion": object.resource_version(), "uid": object.uid()});
        let patch = Patch::Merge(json!({"metadata": metadata, "spec": {"state": state}}));
        let params = PatchParams { field_manager: Some("waxseal-cli".to_owned()), ..PatchParams::default() };
        match self.ask(async move { keys.patch(&name, &params, &patch).await })? {
            Ok(_) => Ok(RequestOutcome::Written),
            Err(kube::Error::Api(status)) if status.code == StatusCode::CONFLICT.as_u16() => {
                Ok(RequestOutcome::Conflict)
            }
            // The controller publishes a SealingKey again that somebody deletes.
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => {
                Ok(RequestOutcome::Conflict)
            }
            Err(error) => Err(self.failure(&error, Operation::Patch)),
        }
    }

    fn failure(&self, error: &kube::Error, operation: Operation) -> CliError {
        self.server.failure(error, operation, &self.namespace).at(&self.place)
    }

    /// Makes a request within the timeout.
    fn ask<T: Send + 'static>(
        &self,
        request: impl Future<Output = kube::Result<T>> + Send + 'static,
    ) -> Result<kube::Result<T>, CliError> {
        let Some(runtime) = &self.runtime else { return Err(CliError::new(Kind::Failed, "the session has ended")) };
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

impl Drop for Session {
    /// Does not wait for the runtime: name resolution blocks a thread that cannot be interrupted.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

//! Lists the SealedSecrets of a cluster.

use kube::Resource;
use kube::api::ListParams;
use serde::de::DeserializeOwned;
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::sealed_secret::SealedSecret;

use super::failures::{self, Asked};
use super::{ClusterArguments, SealedSecretState, Session};
use crate::error::CliError;

/// Selects SealedSecrets: all of the cluster by default.
#[derive(Default)]
pub(crate) struct SealedSecretSelection {
    /// Those of this namespace.
    pub(crate) namespace: Option<Namespace>,
    /// Those of this name.
    pub(crate) name: Option<ObjectName>,
}

impl SealedSecretSelection {
    pub(super) fn path(&self) -> String {
        SealedSecret::url_path(&(), self.namespace.as_ref().map(Namespace::as_str))
    }

    pub(super) fn field_selector(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("metadata.name={name}"))
    }

    /// Whether the object is one of them. The answer of the server can have other objects too, and `waxseal status`
    /// does not print the namespace of an object if the selection is of one namespace.
    pub(crate) fn selects(&self, object: &SealedSecretState) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| object.namespace() == namespace.as_str())
            && self.name.as_ref().is_none_or(|name| object.name() == name.as_str())
    }

    fn params(&self) -> ListParams {
        ListParams { field_selector: self.field_selector(), ..ListParams::default() }
    }

    /// Where they are, such as `in all namespaces`.
    pub(crate) fn place(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("in {namespace}"),
            None => failures::IN_ALL_NAMESPACES.to_owned(),
        }
    }

    /// What a list of them asks for.
    pub(super) fn asked(&self, instead: &str) -> Asked {
        let (resource, instead) = ("sealedsecrets.waxseal.dev", instead.to_owned());
        Asked { verb: "list", kinds: "SealedSecrets", resource, place: self.place(), instead }
    }
}

impl Session {
    /// Connects to a cluster, for requests about the SealedSecrets of all namespaces. `instead` is the hint if the
    /// kubeconfig or `$HTTPS_PROXY` names a proxy.
    pub(crate) fn of_sealed_secrets(cluster: &ClusterArguments, instead: &str) -> Result<Self, CliError> {
        Self::open(cluster, SealedSecretSelection::default().asked(instead))
    }

    /// Calls `each` with every SealedSecret of the cluster.
    pub(crate) fn each_sealed_secret<T: DeserializeOwned + Send + 'static>(
        &self,
        each: impl FnMut(T),
    ) -> Result<(), CliError> {
        self.list_sealed_secrets(&SealedSecretSelection::default(), each).map(drop)
    }

    /// Calls `each` with every selected SealedSecret. One page is in memory at a time: at most 8 MiB. Returns the
    /// version of the list, from which a watch can go on.
    pub(crate) fn list_sealed_secrets<T: DeserializeOwned + Send + 'static>(
        &self,
        selection: &SealedSecretSelection,
        each: impl FnMut(T),
    ) -> Result<String, CliError> {
        let listed = self.try_list_sealed_secrets(selection, each)?;
        listed.map_err(|error| self.failure_of(&error, &selection.asked(&self.asked.instead)))
    }

    /// Like [`list_sealed_secrets`](Self::list_sealed_secrets), and leaves an error of the API server to the caller.
    pub(super) fn try_list_sealed_secrets<T: DeserializeOwned + Send + 'static>(
        &self,
        selection: &SealedSecretSelection,
        each: impl FnMut(T),
    ) -> Result<kube::Result<String>, CliError> {
        let asked = selection.asked(&self.asked.instead);
        self.list_pages::<SealedSecret, T>(&selection.path(), selection.params(), &asked, each)
    }
}

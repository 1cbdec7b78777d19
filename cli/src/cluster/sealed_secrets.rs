//! Lists the SealedSecrets of a cluster, page by page.

use kube::Resource;
use kube::api::{ListParams, TypeMeta};
use kube::core::ListMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::sealed_secret::SealedSecret;

use super::failures::{self, Asked};
use super::{ClusterArguments, Session, is_list_of};
use crate::error::CliError;

/// The number of SealedSecrets in a page. If none is larger than 80 KiB, the page fits into an answer.
const PAGE: u32 = 100;
/// How many pages without an object may follow each other. An API server may send some, and a list must end.
const MAX_EMPTY_PAGES: u32 = 100;

/// A page of SealedSecrets. Reading it drops the fields that the type of the items does not have.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: ListMeta,
    items: Vec<T>,
}

/// Selects SealedSecrets: all of the cluster by default.
#[derive(Default)]
pub(crate) struct Selection {
    /// Those of this namespace.
    pub(crate) namespace: Option<Namespace>,
    /// Those of this name.
    pub(crate) name: Option<ObjectName>,
}

impl Selection {
    pub(super) fn path(&self) -> String {
        SealedSecret::url_path(&(), self.namespace.as_ref().map(Namespace::as_str))
    }

    pub(super) fn field_selector(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("metadata.name={name}"))
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
        Self::open(cluster, Selection::default().asked(instead))
    }

    /// Calls `each` with every SealedSecret of the cluster.
    pub(crate) fn each_sealed_secret<T: DeserializeOwned + Send + 'static>(
        &self,
        each: impl FnMut(T),
    ) -> Result<(), CliError> {
        self.list_sealed_secrets(&Selection::default(), each).map(drop)
    }

    /// Calls `each` with every selected SealedSecret. One page is in memory at a time: at most 8 MiB. Returns the version
    /// of the list, from which a watch can go on.
    pub(crate) fn list_sealed_secrets<T: DeserializeOwned + Send + 'static>(
        &self,
        selection: &Selection,
        each: impl FnMut(T),
    ) -> Result<String, CliError> {
        let listed = self.try_list_sealed_secrets(selection, each)?;
        listed.map_err(|error| self.failure_of(&error, &selection.asked(&self.asked.instead)))
    }

    /// Like [`list_sealed_secrets`](Self::list_sealed_secrets), and leaves an error of the API server to the caller.
    pub(super) fn try_list_sealed_secrets<T: DeserializeOwned + Send + 'static>(
        &self,
        selection: &Selection,
        mut each: impl FnMut(T),
    ) -> Result<kube::Result<String>, CliError> {
        let unknown = || failures::unknown_answer(&selection.asked(&self.asked.instead)).at(self.place());
        let (mut size, mut params, mut empty_pages) = (PAGE, selection.params(), 0);
        loop {
            params.limit = Some(size);
            let page: Page<T> = match self.list(&selection.path(), &params)? {
                Ok(page) => page,
                // Every object can have 1.5 MiB.
                Err(error) if size > 1 && failures::is_too_large(&error) => {
                    size = (size / 8).max(1);
                    continue;
                }
                Err(error) => return Ok(Err(error)),
            };
            if !is_list_of::<SealedSecret>(&page.types) {
                return Err(unknown());
            }
            empty_pages = if page.items.is_empty() { empty_pages + 1 } else { 0 };
            page.items.into_iter().for_each(&mut each);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(_) if empty_pages > MAX_EMPTY_PAGES => return Err(unknown()),
                Some(token) => params.continue_token = Some(token),
                None => return Ok(Ok(page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }
}

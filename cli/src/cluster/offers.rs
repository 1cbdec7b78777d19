//! The wraps that the controller of a cluster offers, from the status of all its SealedSecrets.

use kube::Resource;
use kube::api::{ListParams, TypeMeta};
use kube::core::ListMeta;
use serde::Deserialize;
use serde_json::Value;
use waxseal_shared::sealed_secret::SealedSecret;

use super::failures::{self, Asked};
use super::{ClusterArguments, Session, is_list_of};
use crate::error::CliError;

/// The number of SealedSecrets in a page. If none is larger than 80 KiB, the page fits into an answer.
const PAGE: u32 = 100;

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

impl Session {
    /// Connects to a cluster, for requests about the SealedSecrets of all namespaces.
    pub(crate) fn of_sealed_secrets(cluster: &ClusterArguments) -> Result<Self, CliError> {
        let asked = Asked {
            verb: "list",
            kinds: "SealedSecrets",
            resource: "wax -A",
            right: None,
            place: "in all namespaces".to_owned(),
            instead: "`--offers FILE` takes what `kubectl get wax -A -o yaml` prints",
        };
        Self::open(cluster, asked)
    }

    /// Calls `each` with `NAMESPACE/NAME` and the field `status.rewrapped` of every SealedSecret. One page is in memory
    /// at a time: at most 8 MiB.
    pub(crate) fn each_rewrapped(&self, mut each: impl FnMut(&str, Value)) -> Result<(), CliError> {
        let path = SealedSecret::url_path(&(), None);
        let (mut size, mut params) = (PAGE, ListParams::default());
        loop {
            params.limit = Some(size);
            let page: StatusPage = match self.list(&path, &params)? {
                Ok(page) => page,
                // Every object can have 1.5 MiB.
                Err(error) if size > 1 && failures::is_too_large(&error) => {
                    size = (size / 8).max(1);
                    continue;
                }
                Err(error) => return Err(self.failure(&error)),
            };
            if !is_list_of::<SealedSecret>(&page.types) {
                return Err(self.unknown_answer());
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
    }
}

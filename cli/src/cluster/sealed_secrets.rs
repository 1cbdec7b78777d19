//! Lists the SealedSecrets of a cluster, page by page.

use kube::Resource;
use kube::api::{ListParams, TypeMeta};
use kube::core::ListMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use waxseal_shared::sealed_secret::SealedSecret;

use super::failures::{self, Asked};
use super::{ClusterArguments, Session, is_list_of};
use crate::error::CliError;

/// The number of SealedSecrets in a page. If none is larger than 80 KiB, the page fits into an answer.
const PAGE: u32 = 100;

/// A page of SealedSecrets. Reading it drops the fields that the type of the items does not have.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: ListMeta,
    items: Vec<T>,
}

impl Session {
    /// Connects to a cluster, for requests about the SealedSecrets of all namespaces. `instead` says what to do if this
    /// program cannot connect, and kubectl can.
    pub(crate) fn of_sealed_secrets(cluster: &ClusterArguments, instead: &'static str) -> Result<Self, CliError> {
        let asked = Asked {
            verb: "list",
            kinds: "SealedSecrets",
            resource: "sealedsecrets.waxseal.dev",
            place: failures::IN_ALL_NAMESPACES.to_owned(),
            instead,
        };
        Self::open(cluster, asked)
    }

    /// Calls `each` with every SealedSecret. One page is in memory at a time: at most 8 MiB.
    pub(crate) fn each_sealed_secret<T: DeserializeOwned + Send + 'static>(
        &self,
        mut each: impl FnMut(T),
    ) -> Result<(), CliError> {
        let path = SealedSecret::url_path(&(), None);
        let (mut size, mut params) = (PAGE, ListParams::default());
        loop {
            params.limit = Some(size);
            let page: Page<T> = match self.list(&path, &params)? {
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
            page.items.into_iter().for_each(&mut each);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }
}

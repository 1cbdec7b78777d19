//! Lists objects of a cluster, page by page.

use kube::Resource;
use kube::api::{ListParams, TypeMeta};
use kube::core::ListMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failures::{self, Asked};
use super::{Session, is_list_of};
use crate::error::CliError;

/// The number of objects in a page. If none is larger than 80 KiB, the page fits into an answer.
const PAGE: u32 = 100;
/// How many pages without an object may follow each other. An API server may send some, and a list must end.
const MAX_EMPTY_PAGES: u32 = 100;

/// A page of a list. Reading it drops the fields that the type of the items does not have.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: ListMeta,
    items: Vec<T>,
}

impl Session {
    /// Calls `each` with every object of the kind `K` that is listed under `path`. One page is in memory at a time: at
    /// most 8 MiB. Returns the version of the list. Leaves an error of the API server to the caller. An answer that is
    /// not a list of the kind is an error about what was `asked`.
    pub(super) fn list_pages<K, T>(
        &self,
        path: &str,
        mut params: ListParams,
        asked: &Asked,
        mut each: impl FnMut(T),
    ) -> Result<kube::Result<String>, CliError>
    where
        K: Resource<DynamicType = ()>,
        T: DeserializeOwned + Send + 'static,
    {
        let unknown = || failures::unknown_answer(asked).at(self.place());
        let (mut size, mut empty_pages) = (PAGE, 0);
        loop {
            params.limit = Some(size);
            let page: Page<T> = match self.list(path, &params)? {
                Ok(page) => page,
                // Every object can have 1.5 MiB.
                Err(error) if size > 1 && failures::is_too_large(&error) => {
                    size = (size / 8).max(1);
                    continue;
                }
                Err(error) => return Ok(Err(error)),
            };
            if !is_list_of::<K>(&page.types) {
                return Err(unknown());
            }
            empty_pages = if page.items.is_empty() { empty_pages + 1 } else { 0 };
            page.items.into_iter().for_each(&mut each);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(_) if empty_pages > MAX_EMPTY_PAGES => return Err(unknown()),
                // The next page would be this page again, without end.
                Some(token) if params.continue_token.as_ref() == Some(&token) => return Err(unknown()),
                Some(token) => params.continue_token = Some(token),
                None => return Ok(Ok(page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }
}

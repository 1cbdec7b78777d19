//! Complete lists of one kind in bounded memory.

use futures::{AsyncRead, AsyncReadExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::scope::ServedScope;

/// The largest number of objects in a page.
const LARGEST_PAGE: usize = 500;
/// The number of objects in the first page: their size is not known yet.
const FIRST_PAGE: usize = 50;
/// A longer page is requested again with fewer objects: a user who may create objects can make 500 of 1.5 MB each.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The objects of a list or watch, and the parts of them that the API server sends.
#[derive(Clone)]
pub(super) struct Selection {
    pub(super) scope: ServedScope,
    /// The path of the collection in this scope, such as `/api/v1/secrets`.
    pub(super) path: String,
    /// Only objects that this label selector selects.
    pub(super) labels: Option<&'static str>,
    /// Only objects that this field selector selects.
    pub(super) fields: Option<&'static str>,
    pub(super) extent: Extent,
}

/// The parts of each object that the API server sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Metadata,
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: ListMeta,
    /// `null` if the list is empty and only the metadata of objects was requested.
    items: Option<Vec<T>>,
}

/// Lists all objects of a selection and calls `each` with every one; returns the resourceVersion of the list.
///
/// `T` selects the parts of each object that are read. One page is in memory at a time: at most 4 MiB of text, or one
/// object.
pub(super) async fn list<T: DeserializeOwned>(
    client: &Client,
    selection: &Selection,
    mut each: impl FnMut(T),
) -> kube::Result<String> {
    let mut size = FIRST_PAGE;
    let mut token = None;
    loop {
        let Some((page, length)) = page::<T>(client, selection, size, token.as_deref()).await? else {
            size = (size / 4).max(1);
            continue;
        };
        let items = page.items.unwrap_or_default();
        size = next_size(length, items.len());
        items.into_iter().for_each(&mut each);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(next) => token = Some(next),
            None => return Ok(page.metadata.resource_version.unwrap_or_default()),
        }
    }
}

/// Returns the current resourceVersion of the API server, with one small request.
pub(super) async fn current_version(client: &Client, path: &str) -> kube::Result<String> {
    let request =
        Request::new(path).list_metadata(&ListParams::default().limit(1)).map_err(kube::Error::BuildRequest)?;
    let page: Page<serde::de::IgnoredAny> = client.request(request).await?;
    Ok(page.metadata.resource_version.unwrap_or_default())
}

/// Returns the number of objects for the next page: they fill half of [`PAGE_BYTES`] if they are as long as those of
/// this page.
fn next_size(length: usize, objects: usize) -> usize {
    let each = length / objects.max(1);
    (PAGE_BYTES / 2 / each.max(1)).clamp(1, LARGEST_PAGE)
}

/// Returns a page and its length in bytes; `None` if it is longer than [`PAGE_BYTES`] and `size` is more than one.
async fn page<T: DeserializeOwned>(
    client: &Client,
    selection: &Selection,
    size: usize,
    token: Option<&str>,
) -> kube::Result<Option<(Page<T>, usize)>> {
    let params = ListParams {
        label_selector: selection.labels.map(str::to_owned),
        field_selector: selection.fields.map(str::to_owned),
        limit: u32::try_from(size).ok(),
        continue_token: token.map(str::to_owned),
        ..ListParams::default()
    };
    let request = Request::new(&selection.path);
    let request = match selection.extent {
        Extent::Whole => request.list(&params),
        Extent::Metadata => request.list_metadata(&params),
    };
    let answer = client.request_stream(request.map_err(kube::Error::BuildRequest)?).await?;
    let limit = if size == 1 { usize::MAX } else { PAGE_BYTES };
    let Some(text) = read_at_most(answer, limit).await? else {
        return Ok(None);
    };
    let page = serde_json::from_slice(&text).map_err(kube::Error::SerdeError)?;
    Ok(Some((page, text.len())))
}

/// Returns the whole answer; `None` if it is longer than the limit.
async fn read_at_most(answer: impl AsyncRead, limit: usize) -> kube::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut answer = std::pin::pin!(answer.take(limit.saturating_add(1)));
    answer.read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)?;
    Ok((u64::try_from(text.len()).unwrap_or(u64::MAX) <= limit).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_has_as_many_objects_as_their_size_allows() {
        assert_eq!(next_size(0, 0), LARGEST_PAGE);
        assert_eq!(next_size(50 * 1024, 50), LARGEST_PAGE);
        assert_eq!(next_size(10 * 64 * 1024, 10), 32);
        assert_eq!(next_size(1_500_000, 1), 1);
        assert_eq!(next_size(7_000_000, 1), 1);
    }
}

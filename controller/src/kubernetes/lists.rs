//! Complete lists of a kind in bounded memory.

use futures::{AsyncRead, AsyncReadExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A page has this many objects at most.
const LARGEST_PAGE: usize = 500;
/// The first page is smaller: nothing is known of the objects yet.
const FIRST_PAGE: usize = 50;
/// A page that is longer is asked for again with fewer objects: a user who may create objects can make 500 of 1.5 MB.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which objects, and how much of each.
#[derive(Clone)]
pub(super) struct Selection {
    /// The path of the collection, such as `/api/v1/secrets`.
    pub(super) path: String,
    /// Only objects that this label selector selects.
    pub(super) labels: Option<&'static str>,
    /// Only objects that this field selector selects.
    pub(super) fields: Option<&'static str>,
    pub(super) content: Content,
}

/// How much of each object the API server sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Whole,
    Metadata,
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: ListMeta,
    /// An empty list of metadata has `null` here.
    items: Option<Vec<T>>,
}

/// Lists all objects of a selection and hands over each; returns the resourceVersion of the list.
///
/// `T` decides what is kept of each object. One page is in memory at a time: at most 4 MiB of text, or one object.
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

/// The resourceVersion that the API server is at, at the price of one small answer.
pub(super) async fn current_version(client: &Client, path: &str) -> kube::Result<String> {
    let request =
        Request::new(path).list_metadata(&ListParams::default().limit(1)).map_err(kube::Error::BuildRequest)?;
    let page: Page<serde::de::IgnoredAny> = client.request(request).await?;
    Ok(page.metadata.resource_version.unwrap_or_default())
}

/// How many objects to ask for, so that they take half of a page if they are as long as those before.
fn next_size(length: usize, objects: usize) -> usize {
    let each = length / objects.max(1);
    (PAGE_BYTES / 2 / each.max(1)).clamp(1, LARGEST_PAGE)
}

/// A page and its length in bytes; `None` if it is longer than allowed and holds more than one object.
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
    let request = match selection.content {
        Content::Whole => request.list(&params),
        Content::Metadata => request.list_metadata(&params),
    };
    let answer = client.request_stream(request.map_err(kube::Error::BuildRequest)?).await?;
    let limit = if size == 1 { usize::MAX } else { PAGE_BYTES };
    let Some(text) = read_at_most(answer, limit).await? else {
        return Ok(None);
    };
    let page = serde_json::from_slice(&text).map_err(kube::Error::SerdeError)?;
    Ok(Some((page, text.len())))
}

/// The whole answer; `None` if it is longer than allowed.
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
    fn pages_are_as_large_as_their_objects_allow() {
        assert_eq!(next_size(0, 0), LARGEST_PAGE);
        assert_eq!(next_size(50 * 1024, 50), LARGEST_PAGE);
        assert_eq!(next_size(10 * 64 * 1024, 10), 32);
        assert_eq!(next_size(1_500_000, 1), 1);
        assert_eq!(next_size(7_000_000, 1), 1);
    }
}

//! Complete lists of one kind in bounded memory.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::core::Request;
use kube::core::params::ListParams;
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use waxseal_shared::names::{Namespace, ObjectName};

use super::api_failure;
use super::object_key::ObjectKey;
use super::scope::ServedScope;

/// The largest number of objects in a page.
const LARGEST_PAGE: usize = 500;
/// The number of objects in the first page: their size is not known yet.
const FIRST_PAGE: usize = 50;
/// A longer page is requested again with fewer objects: a user who may create objects can make 500 of 1.5 MB each.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The longest time for all pages of a list. The API server forgets the version of a list after 5 to 10 minutes.
const LONGEST_LIST: Duration = Duration::from_mins(10);
/// The kind of a list if only the metadata of objects was requested.
const METADATA_LIST: &str = "PartialObjectMetadataList";

/// The objects of a list or watch, and the parts of them that the API server sends.
#[derive(Clone)]
pub(super) struct Selection {
    pub(super) scope: ServedScope,
    /// The path of the collection in this scope, such as `/api/v1/secrets`.
    pub(super) path: String,
    /// The kind of the objects, such as `Secret`.
    pub(super) kind: Cow<'static, str>,
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
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    kind: String,
    metadata: ListMeta,
    /// `null` if the list is empty and only the metadata of objects was requested. `deserialize_with` makes the field
    /// required: an answer without it is not an empty list.
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<T>>,
}

impl Selection {
    /// All objects of the kind `K` in a scope.
    pub(super) fn of<K: Resource<DynamicType = ()>>(scope: ServedScope, extent: Extent) -> Self {
        let path = K::url_path(&(), scope.namespace());
        Self { scope, path, kind: K::kind(&()), labels: None, fields: None, extent }
    }

    /// Whether an object with this key can be selected. The callers drop every other object that the API server sends,
    /// because namespace and name become part of the URLs of requests.
    pub(super) fn can_contain(&self, key: &ObjectKey) -> bool {
        self.scope.contains(key) && ObjectName::parse(&key.name).is_ok() && Namespace::parse(&key.namespace).is_ok()
    }

    fn list_kind(&self) -> String {
        match self.extent {
            Extent::Whole => format!("{}List", self.kind),
            Extent::Metadata => METADATA_LIST.to_owned(),
        }
    }
}

impl<T> Page<T> {
    /// Refuses a page of another kind. Otherwise it would count as a list without objects.
    fn of_kind(self, kind: &str) -> kube::Result<Self> {
        if self.kind == kind { Ok(self) } else { Err(api_failure::unexpected_answer("a list of another kind")) }
    }
}

/// Lists all objects of a selection and calls `each` with every one; returns the resourceVersion of the list.
///
/// `T` selects the parts of each object that are read. One page is in memory at a time: at most 4 MiB of text, or one
/// object.
pub(super) async fn list<T: DeserializeOwned>(
    client: &Client,
    selection: &Selection,
    each: impl FnMut(T),
) -> kube::Result<String> {
    let listed = tokio::time::timeout(LONGEST_LIST, list_pages(client, selection, each)).await;
    listed.unwrap_or_else(|_| Err(kube::Error::ReadEvents(io::ErrorKind::TimedOut.into())))
}

async fn list_pages<T: DeserializeOwned>(
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
            Some(next) if token.as_ref() == Some(&next) => {
                return Err(api_failure::unexpected_answer("the same page again"));
            }
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
    let page = page.of_kind(METADATA_LIST)?;
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
    let page: Page<T> = serde_json::from_slice(&text).map_err(kube::Error::SerdeError)?;
    Ok(Some((page.of_kind(&selection.list_kind())?, text.len())))
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
    use serde_json::json;
    use waxseal_shared::sealed_secret::SealedSecret;

    use super::super::fake_server;
    use super::*;

    #[test]
    fn the_next_page_has_as_many_objects_as_their_size_allows() {
        assert_eq!(next_size(0, 0), LARGEST_PAGE);
        assert_eq!(next_size(50 * 1024, 50), LARGEST_PAGE);
        assert_eq!(next_size(10 * 64 * 1024, 10), 32);
        assert_eq!(next_size(1_500_000, 1), 1);
        assert_eq!(next_size(7_000_000, 1), 1);
    }

    /// Lists from an API server that always gives the same answer. Returns the number of objects.
    async fn listed(extent: Extent, answer: serde_json::Value) -> Result<usize, String> {
        let client = fake_server::client(move |_| answer.to_string());
        let selection = Selection::of::<SealedSecret>(ServedScope::AllNamespaces, extent);
        let mut count = 0;
        let listed = list(&client, &selection, |_: serde::de::IgnoredAny| count += 1).await;
        listed.map(|_| count).map_err(|error| api_failure::describe(&error))
    }

    /// If an answer of another kind, or without items, were a list without objects, the controller would make a first
    /// key, or delete SealingKeys.
    #[tokio::test]
    async fn only_a_list_of_the_right_kind_with_items_counts() {
        let metadata = json!({"resourceVersion": "7"});
        let of_objects = json!({"kind": "SealedSecretList", "metadata": metadata, "items": [{}]});
        let of_metadata = json!({"kind": "PartialObjectMetadataList", "metadata": metadata, "items": [{}, {}]});
        let null = json!({"kind": "SealedSecretList", "metadata": metadata, "items": null});
        let without_items = json!({"kind": "SealedSecretList", "metadata": metadata});
        let failure = json!({"kind": "Status", "metadata": {}, "status": "Failure", "code": 500});
        let unreadable = || Err("the answer could not be read".to_owned());
        for (extent, answer, expected) in [
            (Extent::Whole, of_objects.clone(), Ok(1)),
            (Extent::Metadata, of_metadata.clone(), Ok(2)),
            (Extent::Whole, null, Ok(0)),
            (Extent::Whole, of_metadata, unreadable()),
            (Extent::Metadata, of_objects, unreadable()),
            (Extent::Whole, without_items, unreadable()),
            (Extent::Whole, failure, unreadable()),
        ] {
            assert_eq!(listed(extent, answer.clone()).await, expected, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_list_whose_pages_never_end_is_a_failure() {
        let endless = json!({"kind": "SealedSecretList", "metadata": {"continue": "x"}, "items": []});
        let listed = tokio::time::timeout(Duration::from_secs(30), listed(Extent::Whole, endless)).await;
        assert_eq!(listed.expect("it ends"), Err("the answer could not be read".to_owned()));
    }

    #[test]
    fn objects_of_other_namespaces_and_with_names_that_kubernetes_refuses_are_not_selected() {
        let selection = Selection::of::<SealedSecret>(ServedScope::Namespace("shop".into()), Extent::Whole);
        for (namespace, name, is_selected) in
            [("shop", "db", true), ("blog", "db", false), ("shop", "../x", false), ("shop", "", false)]
        {
            assert_eq!(selection.can_contain(&ObjectKey::new(namespace, name)), is_selected, "{namespace}/{name}");
        }
        let everywhere = Selection::of::<SealedSecret>(ServedScope::AllNamespaces, Extent::Whole);
        assert!(everywhere.can_contain(&ObjectKey::new("blog", "db")));
        assert!(!everywhere.can_contain(&ObjectKey::new("", "db")));
    }
}

//! Fetching one whole object, with a limit on the number of reconciles that hold large objects at the same time.

use futures::AsyncReadExt;
use kube::Client;
use kube::core::Request;
use kube::core::params::GetParams;
use tokio::sync::{Semaphore, SemaphorePermit};

/// An object whose JSON has at least this many bytes is large.
const LARGE: u64 = 64 * 1024;
/// The number of reconciles with a large object that run at the same time. Each takes about 10 MB: the object, its
/// values and the Secret.
const LARGE_AT_ONCE: usize = 3;

/// The permits for large objects.
pub(super) struct LargeObjects(Semaphore);

/// Fetches the objects of one reconcile. Takes a permit for the first large object, and keeps it until the reconcile
/// ends.
pub(super) struct ObjectFetcher<'a> {
    large_objects: &'a LargeObjects,
    permit: Option<SemaphorePermit<'a>>,
}

impl LargeObjects {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(LARGE_AT_ONCE))
    }

    pub(super) fn fetcher(&self) -> ObjectFetcher<'_> {
        ObjectFetcher { large_objects: self, permit: None }
    }
}

impl ObjectFetcher<'_> {
    /// Fetches the JSON of an object; `None` if no object has the name. Waits for a permit if the object is large.
    pub(super) async fn fetch(&mut self, client: &Client, path: &str, name: &str) -> kube::Result<Option<Vec<u8>>> {
        let request = Request::new(path).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
        let answer = match client.request_stream(request).await {
            Ok(answer) => answer,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut answer = Box::pin(answer);
        let mut text = Vec::new();
        (&mut answer).take(LARGE).read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)?;
        if text.len() as u64 == LARGE {
            self.wait_for_permit().await;
            answer.read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)?;
        }
        Ok(Some(text))
    }

    async fn wait_for_permit(&mut self) {
        if self.permit.is_none() {
            // `acquire` fails only on a closed semaphore, and nothing closes this one.
            self.permit = self.large_objects.0.acquire().await.ok();
        }
    }
}

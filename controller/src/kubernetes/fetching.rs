//! Fetching one object whole, with a bound on how many large ones are in memory at once.

use futures::AsyncReadExt;
use kube::Client;
use kube::core::Request;
use kube::core::params::GetParams;
use tokio::sync::{Semaphore, SemaphorePermit};

/// An object whose JSON is longer is large.
const SMALL: u64 = 64 * 1024;
/// A large object, its values and the Secret together take some 10 MB while it is looked at.
const LARGE_AT_ONCE: usize = 3;

/// The places for large objects.
pub(super) struct LargeObjects(Semaphore);

/// What one look at an object may have in memory: small objects, and large ones once it has a place.
pub(super) struct Room<'a> {
    places: &'a LargeObjects,
    place: Option<SemaphorePermit<'a>>,
}

impl LargeObjects {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(LARGE_AT_ONCE))
    }

    pub(super) fn room(&self) -> Room<'_> {
        Room { places: self, place: None }
    }
}

impl Room<'_> {
    /// Fetches the JSON of an object; `None` if no object has the name. Waits for a place if the object is large.
    pub(super) async fn fetch(&mut self, client: &Client, path: &str, name: &str) -> kube::Result<Option<Vec<u8>>> {
        let request = Request::new(path).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
        let answer = match client.request_stream(request).await {
            Ok(answer) => answer,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut answer = Box::pin(answer);
        let mut text = Vec::new();
        (&mut answer).take(SMALL).read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)?;
        if text.len() as u64 == SMALL {
            self.wait_for_place().await;
            answer.read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)?;
        }
        Ok(Some(text))
    }

    async fn wait_for_place(&mut self) {
        if self.place.is_none() {
            // The semaphore is never closed, so this waits and does not fail.
            self.place = self.places.0.acquire().await.ok();
        }
    }
}

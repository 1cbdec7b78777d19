//! The controller's keys: read from identity Secrets, published as SealingKeys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use thiserror::Error;
use tokio::sync::watch;
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::key_ring::{HeldKey, KeyRing};
use waxseal_shared::plan::Keys;
use waxseal_shared::randomness;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{PublishedKey, SealingKey};

use super::watch_backoff::WatchBackoff;
use super::{api_failure, identity_secret};

/// Looked at again this often, beside every change of an identity Secret or SealingKey.
const INTERVAL: Duration = Duration::from_mins(5);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// SealedSecrets are listed in pages of this size.
const PAGE: u32 = 500;

/// What the controller knows of its keys.
#[derive(Clone)]
pub(super) enum KeyState {
    Loading,
    Awaiting,
    Held(Arc<KeyRing>),
}

impl KeyState {
    pub(super) fn is_loading(&self) -> bool {
        matches!(self, KeyState::Loading)
    }

    pub(super) fn as_keys(&self) -> Keys<'_> {
        match self {
            KeyState::Loading => Keys::Loading,
            KeyState::Awaiting => Keys::Awaiting,
            KeyState::Held(ring) => Keys::Held(ring),
        }
    }
}

#[derive(Debug, Error)]
enum KeyError {
    #[error("failed to {what}: {}", api_failure::describe(error))]
    Api { what: &'static str, error: kube::Error },
    #[error(
        "failed to make the first sealing key: a Secret {} that holds none is in its way",
        identity_secret::FIRST_NAME
    )]
    FirstNameTaken,
}

/// The identity Secrets and SealingKeys of one namespace.
pub(super) struct KeySource {
    client: Client,
    namespace: String,
    identities: Api<Secret>,
    sealing_keys: Api<DeserializeGuard<SealingKey>>,
    publishing: Api<SealingKey>,
}

/// The identity Secrets, read.
struct Identities {
    held: Vec<HeldKey>,
    broken: usize,
}

impl KeySource {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            identities: Api::namespaced(client.clone(), namespace),
            sealing_keys: Api::namespaced(client.clone(), namespace),
            publishing: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            client,
        }
    }

    /// Reads the keys and keeps them current, for ever.
    pub(super) async fn run(self, state: watch::Sender<KeyState>) {
        let mut changes = self.changes();
        let mut retry = FIRST_RETRY;
        loop {
            let wait = match self.sync(&state).await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    INTERVAL
                }
                Err(error) => {
                    tracing::warn!("{error}; trying again");
                    retry = (retry * 2).min(LAST_RETRY);
                    retry
                }
            };
            // A change, or the end of the wait: either way it looks again.
            let _ = tokio::time::timeout(wait, changes.next()).await;
        }
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let identities =
            watcher(Api::<PartialObjectMeta<Secret>>::namespaced(self.client.clone(), &self.namespace), of_our_type());
        let sealing_keys = watcher(
            Api::<PartialObjectMeta<SealingKey>>::namespaced(self.client.clone(), &self.namespace),
            watcher::Config::default().timeout(super::connection::WATCH_SECONDS),
        );
        stream::select(changes_of(identities), changes_of(sealing_keys)).boxed()
    }

    async fn sync(&self, state: &watch::Sender<KeyState>) -> Result<(), KeyError> {
        let mut identities = self.read_identities().await?;
        if identities.held.is_empty() {
            if identities.broken > 0 || self.has_sealed_values().await? {
                state.send_if_modified(|state| {
                    !matches!(std::mem::replace(state, KeyState::Awaiting), KeyState::Awaiting)
                });
                return Ok(());
            }
            self.create_first().await?;
            identities = self.read_identities().await?;
            if identities.held.is_empty() {
                return Err(KeyError::FirstNameTaken);
            }
        }
        self.honour_requests(&mut identities).await?;
        let ring = KeyRing::new(identities.held);
        self.publish(&ring).await?;
        if identities.broken == 0 {
            self.remove_strangers(&ring).await?;
        }
        hold(state, ring);
        Ok(())
    }

    async fn read_identities(&self) -> Result<Identities, KeyError> {
        let secrets = self.identities.list(&ListParams::default().fields(OF_OUR_TYPE)).await;
        let secrets = secrets.map_err(|error| KeyError::Api { what: "list the identity Secrets", error })?;
        let mut identities = Identities { held: Vec::new(), broken: 0 };
        for secret in secrets {
            if identity_secret::is_materialised(&secret.metadata) {
                continue;
            }
            let name = secret.name_any();
            match identity_secret::decode(secret) {
                Ok(key) => identities.held.push(key),
                Err(error) => {
                    identities.broken += 1;
                    tracing::warn!(name, "this identity Secret is not used: {error}");
                }
            }
        }
        Ok(identities)
    }

    /// Whether any SealedSecret is sealed to a key: as long as none is held, to one that is lacking.
    async fn has_sealed_values(&self) -> Result<bool, KeyError> {
        let objects = Api::<DeserializeGuard<SealedSecret>>::all(self.client.clone());
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page =
                objects.list(&params).await.map_err(|error| KeyError::Api { what: "list the SealedSecrets", error })?;
            let sealed = |object: &DeserializeGuard<SealedSecret>| match &object.0 {
                Ok(object) => !object.spec.envelopes.is_empty(),
                Err(_) => true,
            };
            if page.items.iter().any(sealed) {
                return Ok(true);
            }
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => return Ok(false),
            }
        }
    }

    /// Makes the first key; another instance that was quicker has made it then.
    async fn create_first(&self) -> Result<(), KeyError> {
        let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
        let now = Timestamp::now();
        let created_at = now.round(jiff::Unit::Second).unwrap_or(now);
        let secret = identity_secret::first(&identity, created_at);
        match self.identities.create(&PostParams::default(), &secret).await {
            Ok(_) => {
                let recipient = identity.recipient();
                tracing::info!(
                    key = recipient.key_id().as_str(),
                    fingerprint = recipient.fingerprint(),
                    "made the first sealing key"
                );
                Ok(())
            }
            Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(()),
            Err(error) => Err(KeyError::Api { what: "create the first identity Secret", error }),
        }
    }

    /// Takes the stricter of an identity's state and what its SealingKey asks for.
    async fn honour_requests(&self, identities: &mut Identities) -> Result<(), KeyError> {
        for object in self.published().await? {
            let Some(request) = object.0.ok().and_then(|object| PublishedKey::decode(&object).ok()) else {
                continue;
            };
            let keys = identities.held.iter_mut().map(|key| &mut key.published);
            for key in keys.filter(|key| key.recipient == request.recipient) {
                key.state = key.state.max(request.state);
            }
        }
        Ok(())
    }

    async fn published(&self) -> Result<Vec<DeserializeGuard<SealingKey>>, KeyError> {
        let list = self.sealing_keys.list(&ListParams::default()).await;
        Ok(list.map_err(|error| KeyError::Api { what: "list the SealingKeys", error })?.items)
    }

    /// Publishes every key that has no SealingKey.
    async fn publish(&self, ring: &KeyRing) -> Result<(), KeyError> {
        let present: BTreeSet<String> = self.published().await?.iter().map(ResourceExt::name_any).collect();
        for key in ring.keys().iter().map(|key| &key.published) {
            if present.contains(key.recipient.key_id().as_str()) {
                continue;
            }
            match self.publishing.create(&PostParams::default(), &key.to_object()).await {
                Ok(_) => tracing::info!(key = key.recipient.key_id().as_str(), "published the sealing key"),
                Err(kube::Error::Api(answer)) if answer.code == 409 => {}
                Err(error) => return Err(KeyError::Api { what: "publish a SealingKey", error }),
            }
        }
        Ok(())
    }

    /// Deletes SealingKeys that follow from no identity: whoever planted one would have everybody
    /// seal to him.
    async fn remove_strangers(&self, ring: &KeyRing) -> Result<(), KeyError> {
        for object in self.published().await? {
            let is_ours = |object: &SealingKey| {
                let published = PublishedKey::decode(object).ok();
                published.is_some_and(|seen| {
                    ring.keys().iter().any(|key| {
                        key.published.recipient == seen.recipient
                            && key.published.role == seen.role
                            && key.published.created_at == seen.created_at
                    })
                })
            };
            if object.0.as_ref().is_ok_and(is_ours) {
                continue;
            }
            let name = object.name_any();
            let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            match self.sealing_keys.delete(&name, &params).await {
                Ok(_) => tracing::warn!(name, "deleted a SealingKey that belongs to no identity of this controller"),
                Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
                Err(error) => return Err(KeyError::Api { what: "delete a foreign SealingKey", error }),
            }
        }
        Ok(())
    }
}

const OF_OUR_TYPE: &str = "type=waxseal.dev/sealing-key";

fn of_our_type() -> watcher::Config {
    watcher::Config::default().fields(OF_OUR_TYPE).timeout(super::connection::WATCH_SECONDS)
}

fn changes_of<K: Clone + Send + 'static>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
) -> impl Stream<Item = ()> + Send + 'static {
    events
        .backoff(WatchBackoff::default())
        .touched_objects()
        .filter_map(|changed| std::future::ready(changed.ok().map(drop)))
}

/// Lets the reconcilers have a ring; they are woken only if it holds other keys than before.
fn hold(state: &watch::Sender<KeyState>, ring: KeyRing) {
    state.send_if_modified(|state| {
        if let KeyState::Held(held) = state
            && published(held).eq(published(&ring))
        {
            return false;
        }
        *state = KeyState::Held(Arc::new(ring));
        true
    });
}

fn published(ring: &KeyRing) -> impl Iterator<Item = &PublishedKey> {
    ring.keys().iter().map(|key| &key.published)
}

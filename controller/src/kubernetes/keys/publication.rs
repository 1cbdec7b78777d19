//! The SealingKeys of the key namespace: the states that they request, and the keys that they show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::api_group::{CONFIRMED_STATE_ANNOTATION, FIELD_MANAGER};
use waxseal_shared::key::Recipient;
use waxseal_shared::key_life::{HeldKey, StoredKeys, is_publication_of, must_be_removed};
use waxseal_shared::names::KeyId;
use waxseal_shared::recovery_keys::RecoveryKeys;
use waxseal_shared::sealing_key::{KeyState, PublishedKey, SealingKey};

use super::key_error::{KeyError, ask, ask_unless};

/// The longest time for one removal of planted SealingKeys. Then the controller reads the requests again, however many
/// SealingKeys somebody makes.
const LONGEST_REMOVAL: Duration = Duration::from_secs(5);

/// SealingKeys are listed in pages of this size: a user who may create them can make each 1.5 MiB large.
const PAGE: u32 = 20;

/// A SealingKey as the API server returns it: a newer definition can have fields that this program does not know.
type Published = DynamicObject;

pub(super) struct Publication {
    published: Api<Published>,
    sealing_keys: Api<SealingKey>,
}

/// The SealingKeys that have the names of the held keys, or those that have the names of the recovery keys.
#[derive(Default)]
pub(super) struct Requests(BTreeMap<KeyId, Published>);

impl Requests {
    /// The state that the SealingKey of a held key requests. The state counts even if the SealingKey has another role
    /// or creation time, because a stricter state can only keep a key from being used.
    pub(super) fn state(&self, held: &PublishedKey) -> Option<KeyState> {
        let spec = &self.0.get(held.recipient.key_id())?.data["spec"];
        let is_of_this_key = spec["recipient"] == held.recipient.as_str();
        is_of_this_key.then(|| KeyState::parse(spec["state"].as_str()?)).flatten()
    }

    /// The published key of a recipient.
    pub(super) fn published(&self, recipient: &Recipient) -> Option<PublishedKey> {
        decode(self.0.get(recipient.key_id())?).filter(|published| published.recipient == *recipient)
    }
}

impl Publication {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let kind = ApiResource::erase::<SealingKey>(&());
        Self {
            published: Api::namespaced_with(client.clone(), namespace, &kind),
            sealing_keys: Api::namespaced(client, namespace),
        }
    }

    /// Reads the SealingKeys of the stored keys.
    pub(super) async fn requests<P>(&self, stored: &StoredKeys<P>) -> Result<Requests, KeyError> {
        self.read(stored.held.iter().map(|(key, _)| key.key_id().clone()).collect()).await
    }

    /// Reads the SealingKeys of the recovery keys.
    pub(super) async fn recovery_requests(&self, recovery: &RecoveryKeys) -> Result<Requests, KeyError> {
        self.read(recovery.recipients().iter().map(|recipient| recipient.key_id().clone()).collect()).await
    }

    /// Reads the SealingKeys of these names one by one: a list would take longer the more SealingKeys somebody makes.
    async fn read(&self, ids: BTreeSet<KeyId>) -> Result<Requests, KeyError> {
        let mut requests = Requests::default();
        for id in ids {
            let request = self.published.get_opt(id.as_str());
            let found = ask(&format!("read the SealingKey {id}"), request).await?;
            requests.0.extend(found.map(|object| (id, object)));
        }
        Ok(requests)
    }

    /// Makes the SealingKey of each recovery key show that key.
    pub(super) async fn publish_recovery(&self, recovery: &[PublishedKey], requests: &Requests) -> Vec<KeyError> {
        let mut failures = Vec::new();
        for key in recovery {
            failures.extend(self.publish_one(key, None, requests.0.get(key.recipient.key_id())).await.err());
        }
        failures
    }

    /// Makes the SealingKey of each held key show that key, in its state. Also confirms the state, except for the keys
    /// in `unwritten`: their identity Secrets do not have the state. Goes on after a failure, except when the API
    /// server does not answer.
    pub(super) async fn publish(
        &self,
        held: &[HeldKey],
        requests: &Requests,
        unwritten: &BTreeSet<KeyId>,
    ) -> Vec<KeyError> {
        let mut failures = Vec::new();
        for key in held.iter().map(HeldKey::published) {
            let id = key.recipient.key_id();
            let confirmed = (!unwritten.contains(id)).then_some(key.state);
            let published = self.publish_one(key, confirmed, requests.0.get(id)).await;
            failures.extend(published.err());
            if failures.last().is_some_and(|failure| !failure.is_answer()) {
                break;
            }
        }
        failures
    }

    async fn publish_one(
        &self,
        key: &PublishedKey,
        confirmed: Option<KeyState>,
        present: Option<&Published>,
    ) -> Result<(), KeyError> {
        let Some(object) = present else { return self.create(key, confirmed).await };
        let Some(published) = decode(object).filter(|published| is_publication_of(published, key)) else {
            self.remove(object).await?;
            return self.create(key, confirmed).await;
        };
        let shown = object.annotations().get(CONFIRMED_STATE_ANNOTATION).map(String::as_str);
        let is_confirmed = confirmed.is_none_or(|state| shown == Some(state.as_str()));
        if published.state >= key.state && is_confirmed {
            return Ok(());
        }
        self.write_state(object, published.state.stricter(key.state), confirmed).await
    }

    /// Deletes the SealingKeys that neither a held key nor the configuration accounts for: people would seal to a key
    /// that an attacker planted. A failure with one of them does not stop the others.
    pub(super) async fn remove_planted(
        &self,
        held: &[HeldKey],
        recovery: &[PublishedKey],
        broken: usize,
    ) -> Vec<KeyError> {
        let is_planted = |published: &PublishedKey| {
            !recovery.iter().any(|key| is_publication_of(published, key)) && must_be_removed(published, held, broken)
        };
        let start = Instant::now();
        let mut failures = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = match ask("list the SealingKeys", self.published.list(&params)).await {
                Ok(page) => page,
                Err(error) => {
                    failures.push(error.with_404_as_unknown_kind());
                    return failures;
                }
            };
            for object in &page.items {
                if decode(object).is_none_or(|published| is_planted(&published)) {
                    failures.extend(self.remove(object).await.err());
                }
                if start.elapsed() > LONGEST_REMOVAL {
                    // The watch reports the deletions, so the rest is looked at soon.
                    return failures;
                }
            }
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => return failures,
            }
        }
    }

    async fn create(&self, key: &PublishedKey, confirmed: Option<KeyState>) -> Result<(), KeyError> {
        let (params, mut object) = (PostParams::default(), key.to_object());
        let confirmed = confirmed.map(|state| (CONFIRMED_STATE_ANNOTATION.to_owned(), state.as_str().to_owned()));
        object.annotations_mut().extend(confirmed);
        let created = ask_unless(&[409], "publish a SealingKey", self.sealing_keys.create(&params, &object)).await;
        if created.map_err(KeyError::with_404_as_unknown_kind)?.is_some() {
            tracing::info!(
                key = key.recipient.key_id().as_str(),
                state = key.state.as_str(),
                "published the sealing key"
            );
        }
        Ok(())
    }

    async fn write_state(
        &self,
        object: &Published,
        state: KeyState,
        confirmed: Option<KeyState>,
    ) -> Result<(), KeyError> {
        let (key, state) = (object.name_any(), state.as_str());
        let mut metadata = json!({"resourceVersion": object.resource_version()});
        if let Some(confirmed) = confirmed {
            metadata["annotations"] = json!({CONFIRMED_STATE_ANNOTATION: confirmed.as_str()});
        }
        let patch = json!({"metadata": metadata, "spec": {"state": state}});
        let operation = format!("write the state {state} to the SealingKey {key}");
        // After a conflict or a deletion the watch makes the controller look again.
        if ask_unless(&[404, 409], &operation, self.patch(&key, patch)).await?.is_some() {
            tracing::info!(key, state, "published the state of a sealing key");
        }
        Ok(())
    }

    /// Deletes a SealingKey, unless it has changed since it was judged.
    async fn remove(&self, object: &Published) -> Result<(), KeyError> {
        let name = object.name_any();
        let mut resource_version = object.resource_version();
        if !object.finalizers().is_empty() {
            // A finalizer would keep the planted SealingKey.
            let patch = json!({"metadata": {"resourceVersion": resource_version, "finalizers": null}});
            let patched =
                ask_unless(&[404, 409], "remove the finalizers of a SealingKey", self.patch(&name, patch)).await?;
            let Some(patched) = patched else { return Ok(()) };
            resource_version = patched.resource_version();
        }
        let preconditions = Preconditions { uid: object.uid(), resource_version };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deletion = self.sealing_keys.delete(&name, &params);
        if ask_unless(&[404, 409], "delete a SealingKey", deletion).await?.is_some() {
            tracing::warn!(name, "deleted a SealingKey that belongs to no identity of this controller");
        }
        Ok(())
    }

    async fn patch(&self, name: &str, patch: Value) -> kube::Result<Published> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.published.patch(name, &params, &Patch::Merge(patch)).await
    }
}

fn decode(object: &Published) -> Option<PublishedKey> {
    let known = ["recipient", "role", "createdAt", "state"];
    let fields = known.map(|field| (field.to_owned(), object.data["spec"][field].clone()));
    let spec = serde_json::from_value(Value::Object(fields.into_iter().collect())).ok()?;
    PublishedKey::decode(&SealingKey::new(&object.name_any(), spec)).ok()
}

//! The SealingKeys of the key namespace: the states that they request, and the keys that they show.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};
use waxseal_shared::api_group::FIELD_MANAGER;
use waxseal_shared::key::Recipient;
use waxseal_shared::key_life::{HeldKey, StoredKeys, is_publication_of, must_be_removed};
use waxseal_shared::names::KeyId;
use waxseal_shared::recovery_keys::RecoveryKeys;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey, SealingKey};

use super::events::{Events, KeyEvent, about_sealing_key};
use super::identities::IdentitySecrets;
use super::key_error::{KeyError, ask, ask_unless};
use super::key_status::KeyStatus;

/// SealingKeys are listed in pages of this size: a user who may create them can make each 1.5 MiB large, and a page
/// must stay within the 8 MiB that the client takes as an answer.
const PAGE: u32 = 5;

/// A SealingKey as the API server returns it: a newer definition can have fields that this program does not know.
type Published = DynamicObject;

pub(super) struct Publication {
    published: Api<Published>,
    kind: ApiResource,
    events: Events,
    /// The keys that this program has made.
    made: BTreeSet<KeyId>,
    /// The keys whose SealingKey this program has created or found, each with the state that the key had then. A key
    /// stays here if somebody else deletes its SealingKey, so that creating it again has an Event of its own.
    seen: BTreeMap<KeyId, KeyState>,
    /// The token of the next page of [`remove_unaccounted`](Self::remove_unaccounted), if its time was over.
    next_page: Option<String>,
}

/// SealingKeys by key id, as the API server has them: those of the held keys ([`Publication::present`]) or those of
/// the recovery keys ([`Publication::present_recovery`]).
#[derive(Default)]
pub(super) struct PresentSealingKeys(BTreeMap<KeyId, Published>);

impl PresentSealingKeys {
    /// Whether there is a SealingKey of each stored key.
    pub(super) fn include_all<P>(&self, stored: &StoredKeys<P>) -> bool {
        stored.held.iter().all(|(key, _)| self.0.contains_key(key.key_id()))
    }

    /// The state that the SealingKey of a held key requests. The state counts even if the SealingKey has another role
    /// or creation time, because a stricter state can only keep a key from being used.
    pub(super) fn state(&self, held: &PublishedKey) -> Option<KeyState> {
        let spec = &self.0.get(held.recipient.key_id())?.data["spec"];
        let is_of_this_key = spec["recipient"] == held.recipient.as_str();
        is_of_this_key.then(|| KeyState::parse(spec["state"].as_str()?)).flatten()
    }

    /// The published key of a recipient. If the controller has confirmed a stricter state, the key has that state: the
    /// state of a recovery key stands nowhere else, and is never taken back.
    pub(super) fn published(&self, recipient: &Recipient) -> Option<PublishedKey> {
        let object = self.0.get(recipient.key_id())?;
        let published = decode(object).filter(|published| published.recipient == *recipient)?;
        let confirmed = object.data["status"]["state"].as_str().and_then(KeyState::parse);
        let state = confirmed.map_or(published.state, |confirmed| published.state.stricter(confirmed));
        Some(PublishedKey { state, ..published })
    }
}

/// The keys that a SealingKey can belong to.
pub(super) struct OwnKeys<'a> {
    pub(super) held: &'a [HeldKey],
    pub(super) recovery: &'a [PublishedKey],
    /// The number of broken identities.
    pub(super) broken: usize,
}

impl OwnKeys<'_> {
    /// Whether the SealingKey stays: it belongs to one of the keys, or it is not Active and may belong to a broken
    /// identity ([`must_be_removed`]). With a state that this program does not know, it counts as Retired.
    fn account_for(&self, object: &Published) -> bool {
        decode(object).or_else(|| decode_as_retired(object)).is_some_and(|published| {
            self.recovery.iter().any(|key| is_publication_of(&published, key))
                || !must_be_removed(&published, self.held, self.broken)
        })
    }
}

impl Publication {
    pub(super) fn new(client: Client, namespace: &str, events: Events) -> Self {
        let kind = ApiResource::erase::<SealingKey>(&());
        let published = Api::namespaced_with(client, namespace, &kind);
        Self { published, kind, events, made: BTreeSet::new(), seen: BTreeMap::new(), next_page: None }
    }

    pub(super) fn note_made(&mut self, key: Option<KeyId>) {
        self.made.extend(key);
    }

    /// Reads the SealingKeys of the stored keys.
    pub(super) async fn present<P>(&self, stored: &StoredKeys<P>) -> Result<PresentSealingKeys, KeyError> {
        self.read(stored.held.iter().map(|(key, _)| key.key_id().clone()).collect()).await
    }

    pub(super) async fn present_recovery(&self, recovery: &RecoveryKeys) -> Result<PresentSealingKeys, KeyError> {
        self.read(recovery.recipients().iter().map(|recipient| recipient.key_id().clone()).collect()).await
    }

    /// Reads the SealingKeys of these names one by one: a list would take longer the more SealingKeys somebody makes.
    async fn read(&self, ids: BTreeSet<KeyId>) -> Result<PresentSealingKeys, KeyError> {
        let mut present = PresentSealingKeys::default();
        for id in ids {
            let request = self.published.get_opt(id.as_str());
            let found = ask(&format!("read the SealingKey {id}"), request).await?;
            present.0.extend(found.map(|object| (id, object)));
        }
        Ok(present)
    }

    /// For each key, makes the spec of its SealingKey show the key and its state, and then writes the status. A
    /// stricter state in the spec stays: it is a request. Goes on after a failure, except when the API server does not
    /// answer.
    pub(super) async fn publish(
        &mut self,
        keys: Vec<(&PublishedKey, KeyStatus)>,
        present: &PresentSealingKeys,
    ) -> Vec<KeyError> {
        let mut failures = Vec::new();
        for (key, status) in keys {
            let object = present.0.get(key.recipient.key_id());
            failures.extend(self.publish_one(key, &status, object).await.err());
            if failures.last().is_some_and(|failure| !failure.is_answer()) {
                break;
            }
        }
        failures
    }

    async fn publish_one(
        &mut self,
        key: &PublishedKey,
        status: &KeyStatus,
        present: Option<&Published>,
    ) -> Result<(), KeyError> {
        // After a conflict or a deletion the watch makes the controller look again.
        let Some(object) = self.write_key(key, present).await? else { return Ok(()) };
        let first_state = *self.seen.entry(key.recipient.key_id().clone()).or_insert(key.state);
        self.write_status(&object, status, first_state).await
    }

    /// Makes the spec of a SealingKey show the key. Returns the SealingKey; `None` if somebody else has changed,
    /// deleted or created it meanwhile.
    async fn write_key<'a>(
        &mut self,
        key: &PublishedKey,
        present: Option<&'a Published>,
    ) -> Result<Option<Cow<'a, Published>>, KeyError> {
        let Some(object) = present else { return Ok(self.create(key).await?.map(Cow::Owned)) };
        let shows_key = |published: &PublishedKey| is_publication_of(published, key);
        let Some(published) = decode(object).filter(shows_key) else {
            if decode_as_retired(object).is_some_and(|published| shows_key(&published)) {
                return Err(KeyError::UnknownState(key.recipient.key_id().clone()));
            }
            self.remove(object).await?;
            return Ok(self.create(key).await?.map(Cow::Owned));
        };
        if published.state < key.state {
            return Ok(self.write_state(object, key.state).await?.map(Cow::Owned));
        }
        Ok(Some(Cow::Borrowed(object)))
    }

    /// Deletes the SealingKeys that neither a held key nor the configuration accounts for: people would seal to a key
    /// that an attacker planted. A failure with one of them does not stop the others. If `longest` is over at the end
    /// of a page, this call ends there, and the next call goes on after this page.
    pub(super) async fn remove_unaccounted(
        &mut self,
        own_keys: &OwnKeys<'_>,
        identities: &mut IdentitySecrets,
        longest: Duration,
    ) -> Vec<KeyError> {
        let start = Instant::now();
        let mut failures = Vec::new();
        let mut params = ListParams { continue_token: self.next_page.take(), ..ListParams::default().limit(PAGE) };
        loop {
            let page = match ask("list the SealingKeys", self.published.list(&params)).await {
                Ok(page) => page,
                Err(error) => {
                    failures.push(error.with_404_as_unknown_kind());
                    return failures;
                }
            };
            let unaccounted: Vec<_> = page.items.iter().filter(|object| !own_keys.account_for(object)).collect();
            if !unaccounted.is_empty() {
                failures.extend(self.remove_if_still_unaccounted(unaccounted, own_keys.recovery, identities).await);
            }
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else { return failures };
            if start.elapsed() >= longest {
                self.next_page = Some(token);
                return failures;
            }
            params = params.continue_token(&token);
        }
    }

    /// Whether the last call of [`remove_unaccounted`](Self::remove_unaccounted) did not come to the last page.
    pub(super) fn has_unchecked_pages(&self) -> bool {
        self.next_page.is_some()
    }

    /// Reads the identities once more before it deletes these SealingKeys. Since the last look, another controller, or
    /// a user who restores a backup, may have stored an identity, and its SealingKey may have been created. An identity
    /// is stored before its SealingKey is created, so this second read finds the identity of each listed SealingKey
    /// that has one.
    async fn remove_if_still_unaccounted(
        &mut self,
        objects: Vec<&Published>,
        recovery: &[PublishedKey],
        identities: &mut IdentitySecrets,
    ) -> Vec<KeyError> {
        let stored = match identities.read(Timestamp::now()).await {
            Ok(stored) => stored,
            Err(error) => return vec![error],
        };
        let broken = stored.broken.len();
        let held = stored.into_keys();
        let own_keys = OwnKeys { held: &held, recovery, broken };
        let mut failures = Vec::new();
        for object in objects.into_iter().filter(|object| !own_keys.account_for(object)) {
            failures.extend(self.remove(object).await.err());
        }
        failures
    }

    /// Creates a SealingKey; `None` if there is one of this name.
    async fn create(&mut self, key: &PublishedKey) -> Result<Option<Published>, KeyError> {
        let id = key.recipient.key_id();
        let object = DynamicObject::new(id.as_str(), &self.kind).data(json!({"spec": key.to_object().spec}));
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = ask_unless(&[409], "publish a SealingKey", self.published.create(&params, &object)).await;
        let created = created.map_err(KeyError::with_404_as_unknown_kind)?;
        if let Some(created) = &created {
            tracing::info!(key = id.as_str(), state = key.state.as_str(), "published the sealing key");
            self.events.send(&self.event_of_creation(key), about_sealing_key(&created.metadata));
            self.seen.insert(id.clone(), key.state);
        }
        Ok(created)
    }

    fn event_of_creation(&self, key: &PublishedKey) -> KeyEvent {
        let id = key.recipient.key_id();
        match key.role {
            _ if self.seen.contains_key(id) => KeyEvent::PublishedAnew,
            KeyRole::Recovery => KeyEvent::RecoveryKeyAdded,
            KeyRole::Cluster if self.made.contains(id) => KeyEvent::KeyMade,
            KeyRole::Cluster => KeyEvent::IdentityAdded,
        }
    }

    /// Writes the state to the spec of a SealingKey. Returns the SealingKey; `None` if somebody else has changed or
    /// deleted it meanwhile.
    async fn write_state(&self, object: &Published, state: KeyState) -> Result<Option<Published>, KeyError> {
        let (key, state) = (object.name_any(), state.as_str());
        let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "spec": {"state": state}});
        let operation = format!("write the state {state} to the SealingKey {key}");
        let written = ask_unless(&[404, 409], &operation, self.patch(&key, patch)).await?;
        if written.is_some() {
            tracing::info!(key, state, "published the state of a sealing key");
        }
        Ok(written)
    }

    /// Writes the status of a SealingKey, if it differs, and sends an Event if the state became stricter. A status
    /// without a state counts as `first_state`, the state that the key had when this program created or found its
    /// SealingKey: so a key that is revoked before its first status is written still gets its Event.
    async fn write_status(
        &self,
        object: &Published,
        status: &KeyStatus,
        first_state: KeyState,
    ) -> Result<(), KeyError> {
        let nothing = Map::new();
        let present = object.data["status"].as_object().unwrap_or(&nothing);
        let changes = status.changes(present);
        if changes.is_empty() {
            return Ok(());
        }
        let key = object.name_any();
        let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": changes});
        let (params, patch) = (patch_params(), Patch::Merge(patch));
        let operation = format!("write the status of the SealingKey {key}");
        let written = self.published.patch_status(&key, &params, &patch);
        let Some(written) = ask_unless(&[404, 409], &operation, written).await? else { return Ok(()) };
        if let Some(state) = status.stricter_state(present, first_state) {
            tracing::info!(key, state = state.as_str(), "confirmed the state of a sealing key");
            let event = KeyEvent::of_state(state);
            event.iter().for_each(|event| self.events.send(event, about_sealing_key(&written.metadata)));
        }
        Ok(())
    }

    /// Deletes a SealingKey, unless it has changed since it was judged.
    async fn remove(&mut self, object: &Published) -> Result<(), KeyError> {
        let name = object.name_any();
        let mut resource_version = object.resource_version();
        if !object.finalizers().is_empty() {
            // A finalizer would keep the SealingKey.
            let patch = json!({"metadata": {"resourceVersion": resource_version, "finalizers": null}});
            let patched =
                ask_unless(&[404, 409], "remove the finalizers of a SealingKey", self.patch(&name, patch)).await?;
            let Some(patched) = patched else { return Ok(()) };
            if object.metadata.deletion_timestamp.is_some() {
                // Only the finalizers kept it.
                self.note_removal(object);
                return Ok(());
            }
            resource_version = patched.resource_version();
        }
        let preconditions = Preconditions { uid: object.uid(), resource_version };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deletion = self.published.delete(&name, &params);
        if ask_unless(&[404, 409], "delete a SealingKey", deletion).await?.is_some() {
            self.note_removal(object);
        }
        Ok(())
    }

    /// Logs the removal of a SealingKey, and sends its Event. Only the controller writes a status, so a SealingKey that
    /// has a state there was not planted.
    fn note_removal(&mut self, object: &Published) {
        let name = object.name_any();
        tracing::warn!(name, "deleted a SealingKey that neither an identity nor the configuration accounts for");
        let was_ours = object.data["status"]["state"].is_string();
        let event = if !was_ours {
            KeyEvent::PlantedKeyDeleted
        } else if object.data["spec"]["role"] == KeyRole::Recovery.as_str() {
            KeyEvent::RecoveryKeyGone
        } else {
            KeyEvent::IdentityGone
        };
        if was_ours {
            self.seen.retain(|id, _| id.as_str() != object.name_any());
        }
        self.events.send(&event, about_sealing_key(&object.metadata));
    }

    async fn patch(&self, name: &str, patch: Value) -> kube::Result<Published> {
        self.published.patch(name, &patch_params(), &Patch::Merge(patch)).await
    }
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Reads a SealingKey with a state that this program does not know. A newer version may have written the state, so it
/// must not be lost. The key counts as Retired, because nobody seals to a key of an unknown state.
fn decode_as_retired(object: &Published) -> Option<PublishedKey> {
    let mut retired = object.clone();
    *retired.data.pointer_mut("/spec/state")? = json!(KeyState::Retired);
    decode(&retired)
}

fn decode(object: &Published) -> Option<PublishedKey> {
    let known = ["recipient", "role", "createdAt", "state"];
    let fields = known.map(|field| (field.to_owned(), object.data["spec"][field].clone()));
    let spec = serde_json::from_value(Value::Object(fields.into_iter().collect())).ok()?;
    PublishedKey::decode(&SealingKey::new(&object.name_any(), spec)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use waxseal_shared::key::{Identity, KeyKind};
    use waxseal_shared::randomness;

    use super::super::super::fake_server;
    use super::*;

    #[test]
    fn a_confirmed_state_of_a_recovery_key_is_not_taken_back() {
        let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
        let key = HeldKey::new(identity, KeyRole::Recovery, Timestamp::UNIX_EPOCH, KeyState::Active);
        let recipient = &key.published().recipient;
        let mut object = serde_json::to_value(key.published().to_object()).expect("plain data");
        object["status"] = json!({"state": "Retired"});
        let object = serde_json::from_value(object).expect("an object");
        let present = PresentSealingKeys([(recipient.key_id().clone(), object)].into());
        assert_eq!(present.published(recipient).map(|key| key.state), Some(KeyState::Retired));
    }

    /// Without this, a user who makes many SealingKeys that stay could hide a planted one behind them.
    #[tokio::test]
    async fn a_removal_that_takes_too_long_goes_on_at_the_next_page() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let client = fake_server::client({
            let asked = Arc::clone(&asked);
            move |uri| {
                let query = uri.query().unwrap_or_default().to_owned();
                let next = if query.contains("continue=two") { "" } else { "two" };
                asked.lock().expect("not poisoned").push(query);
                json!({"kind": "SealingKeyList", "apiVersion": "waxseal.dev/v1alpha1", "metadata": {"continue": next}, "items": []})
                    .to_string()
            }
        });
        let (events, _receiver) = super::super::events::channel();
        let mut identities = IdentitySecrets::new(client.clone(), "waxseal-system", events.clone());
        let mut publication = Publication::new(client, "waxseal-system", events);
        let own_keys = OwnKeys { held: &[], recovery: &[], broken: 1 };
        for expected in [true, false, true] {
            assert!(publication.remove_unaccounted(&own_keys, &mut identities, Duration::ZERO).await.is_empty());
            assert_eq!(publication.has_unchecked_pages(), expected);
        }
        let asked = asked.lock().expect("not poisoned");
        let is_second: Vec<_> = asked.iter().map(|query| query.contains("continue=two")).collect();
        assert_eq!(is_second, [false, true, false]);
    }
}

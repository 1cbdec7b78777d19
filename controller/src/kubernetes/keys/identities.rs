//! The key store of the cluster backend: identity Secrets, read, created and made stricter through the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use waxseal_shared::api_group::{BACKED_UP_ANNOTATION, BACKED_UP_STATE_ANNOTATION, FIELD_MANAGER};
use waxseal_shared::identity_secret::{FIRST_NAME, is_materialised, successor_name};
use waxseal_shared::key_life::{HeldKey, StoredKeys, backup_time};
use waxseal_shared::key_succession::Successor;
use waxseal_shared::names::KeyId;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{IdentitySecretReference, KeyState, PublishedKey};

use super::super::identity_secret;
use super::super::lists::{self, Extent, Selection};
use super::super::scope::ServedScope;
use super::events::{Events, KeyEvent, about_secret};
use super::key_error::{KeyError, ask, ask_unless};
use super::key_status::StoredIdentity;
use crate::log;

const OF_OUR_TYPE: &str = "type=waxseal.dev/sealing-key";

/// The identity Secrets of the key namespace, their metadata alone.
pub(in super::super) fn identity_secrets(namespace: &str) -> Selection {
    let scope = ServedScope::Namespace(namespace.into());
    Selection { fields: Some(OF_OUR_TYPE), ..Selection::of::<Secret>(scope, Extent::Metadata) }
}

/// The identity Secrets of the key namespace.
pub(super) struct IdentitySecrets {
    client: Client,
    selection: Selection,
    secrets: Api<Secret>,
    events: Events,
    /// The UIDs of the Secrets that the last look found broken, and why.
    broken: BTreeSet<(String, String)>,
}

/// The version of a Secret that an identity was read from.
pub(super) struct IdentityVersion {
    pub(super) key: KeyId,
    stored: StoredIdentity,
    resource_version: String,
    is_immutable: bool,
    is_being_deleted: bool,
}

impl IdentityVersion {
    /// The warning to the operator if the Secret is being deleted. `lost` are the keys from [`lost_keys`].
    pub(super) fn deletion_warning(&self, lost: &BTreeSet<KeyId>) -> Option<String> {
        let (name, key) = (&self.stored.secret.name, &self.key);
        let consequence = match lost.contains(key) {
            true => {
                format!("nothing new is sealed to its key {key}, and when the Secret is gone, nothing opens with it")
            }
            false => format!("another Secret holds its key {key}, too"),
        };
        let text = format!("the identity Secret {name} is being deleted, and its finalizers keep it: {consequence}");
        self.is_being_deleted.then_some(text)
    }
}

/// The keys of which every Secret is being deleted.
pub(super) fn lost_keys(keys: &StoredKeys<IdentityVersion>) -> BTreeSet<KeyId> {
    let versions = || keys.held.iter().map(|(_, version)| version);
    let kept = versions().filter(|version| !version.is_being_deleted);
    let kept: BTreeSet<_> = kept.map(|version| &version.key).collect();
    versions().map(|version| &version.key).filter(|key| !kept.contains(key)).cloned().collect()
}

/// Where the identity of each key is stored. If several Secrets hold an identity, the first by name counts; a Secret
/// that is being deleted counts only if all of them are being deleted. Their latest backup counts.
pub(super) fn by_key(keys: &StoredKeys<IdentityVersion>) -> BTreeMap<KeyId, StoredIdentity> {
    let mut versions: Vec<_> = keys.held.iter().map(|(_, version)| version).collect();
    versions.sort_by_key(|version| (version.is_being_deleted, &version.stored.secret.name));
    let mut by_key = BTreeMap::<KeyId, StoredIdentity>::new();
    for version in versions {
        let known = by_key.entry(version.key.clone()).or_insert_with(|| version.stored.clone());
        known.last_backup = known.last_backup.max(version.stored.last_backup);
    }
    by_key
}

fn stored_identity(metadata: &ObjectMeta, now: Timestamp) -> StoredIdentity {
    let annotation = metadata.annotations.as_ref().and_then(|annotations| annotations.get(BACKED_UP_ANNOTATION));
    let [name, uid] = [&metadata.name, &metadata.uid].map(|field| field.clone().unwrap_or_default());
    StoredIdentity {
        secret: IdentitySecretReference { name, uid },
        last_backup: annotation.and_then(|text| backup_time(text, now)),
    }
}

/// Whether the last backup has the key in this state. True if no annotation records the state of the key in the backup.
fn is_backed_up_in(state: KeyState, metadata: &ObjectMeta) -> bool {
    let annotations = metadata.annotations.as_ref();
    let recorded = annotations.and_then(|annotations| annotations.get(BACKED_UP_STATE_ANNOTATION));
    recorded.is_none_or(|recorded| recorded == state.as_str())
}

impl IdentitySecrets {
    pub(super) fn new(client: Client, namespace: &str, events: Events) -> Self {
        let selection = Selection { extent: Extent::Whole, ..identity_secrets(namespace) };
        let secrets = Api::namespaced(client.clone(), namespace);
        Self { client, selection, secrets, events, broken: BTreeSet::new() }
    }

    /// Reads the identities. Each broken identity gets one Event, and no second one while it stays broken in the same
    /// way.
    pub(super) async fn read(&mut self, now: Timestamp) -> Result<StoredKeys<IdentityVersion>, KeyError> {
        let mut secrets = Vec::new();
        let listed = lists::list(&self.client, &self.selection, |secret: Secret| secrets.push(secret));
        ask("list the identity Secrets", listed).await?;
        let mut stored = StoredKeys { held: Vec::new(), broken: Vec::new() };
        let mut broken = BTreeSet::new();
        for mut secret in secrets.into_iter().filter(|secret| !is_materialised(&secret.metadata)) {
            let (metadata, is_immutable) = (take(&mut secret.metadata), secret.immutable.unwrap_or_default());
            let mut identity = stored_identity(&metadata, now);
            match identity_secret::decode(secret, now) {
                Ok(key) => {
                    if !is_backed_up_in(key.published().state, &metadata) {
                        identity.last_backup = None;
                    }
                    let is_being_deleted = metadata.deletion_timestamp.is_some();
                    let resource_version = metadata.resource_version.unwrap_or_default();
                    let id = key.key_id().clone();
                    let version =
                        IdentityVersion { key: id, stored: identity, resource_version, is_immutable, is_being_deleted };
                    stored.held.push((key, version));
                }
                Err(error) => {
                    let IdentitySecretReference { name, uid } = identity.secret;
                    stored.broken.push(format!("this identity Secret is not used: {name}: {error}"));
                    let problem = (uid, error.to_string());
                    if !self.broken.contains(&problem) {
                        self.events.send(&KeyEvent::IdentityBroken(problem.1.clone()), about_secret(&metadata));
                    }
                    broken.insert(problem);
                }
            }
        }
        self.broken = broken;
        Ok(stored)
    }

    /// Makes the first key, unless there is a Secret of its name, which another instance may have just made. Returns
    /// the id of the key that it made.
    pub(super) async fn create_first(&self, now: Timestamp) -> Result<Option<KeyId>, KeyError> {
        let made = self.create(FIRST_NAME, now, "create the first identity Secret").await?;
        made.iter().for_each(log::made_first_key);
        Ok(made.map(|key| key.recipient.key_id().clone()))
    }

    /// Like [`create_first`](Self::create_first), for the key that follows another.
    pub(super) async fn create_successor(&self, successor: &Successor) -> Result<Option<KeyId>, KeyError> {
        let name = successor_name(&successor.of);
        let made = self.create(&name, successor.created_at, &format!("create the identity Secret {name}")).await?;
        made.iter().for_each(|key| log::made_successor(key, &successor.of));
        Ok(made.map(|key| key.recipient.key_id().clone()))
    }

    /// Creates an identity Secret with a new key; `None` if there is a Secret of this name.
    async fn create(
        &self,
        name: &str,
        created_at: Timestamp,
        operation: &str,
    ) -> Result<Option<PublishedKey>, KeyError> {
        let key = HeldKey::generate_for_controller(created_at, &mut randomness::system());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let secret = identity_secret::encode(name, &key);
        let created = ask_unless(&[409], operation, self.secrets.create(&params, &secret)).await?;
        Ok(created.map(|_| key.published().clone()))
    }

    /// Writes a stricter state to the version of a Secret that was read, and reads the Secret again: an admission
    /// webhook or policy can change what is stored, and only a stored state survives a restart.
    pub(super) async fn write_state(&self, identity: &IdentityVersion, state: KeyState) -> Result<(), KeyError> {
        let (name, state_word) = (&identity.stored.secret.name, state.as_str());
        if identity.is_immutable {
            return Err(KeyError::Immutable { name: name.clone(), state: state_word });
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(identity_secret::state_patch(state, &identity.resource_version));
        let operation = format!("write the state {state_word} to the identity Secret {name}");
        ask(&operation, self.secrets.patch_metadata(name, &params, &patch)).await?;
        let read = ask(&operation, self.secrets.get(name)).await?;
        let is_stored = |key: HeldKey| *key.key_id() == identity.key && key.published().state >= state;
        if !identity_secret::decode(read, Timestamp::now()).is_ok_and(is_stored) {
            return Err(KeyError::StateNotStored { name: name.clone(), state: state_word });
        }
        tracing::info!(name, state = state_word, "wrote the state of a sealing key to its identity Secret");
        Ok(())
    }
}

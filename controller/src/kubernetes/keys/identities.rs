//! The key store of the cluster backend: identity Secrets, read, created and made stricter through the API server.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use waxseal_shared::api_group::FIELD_MANAGER;
use waxseal_shared::key::KeyKind;
use waxseal_shared::key_life::{HeldKey, StoredKeys};
use waxseal_shared::key_succession::Successor;
use waxseal_shared::names::KeyId;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use super::super::identity_secret;
use super::key_error::{KeyError, ask, ask_unless};
use crate::log;

pub(super) const OF_OUR_TYPE: &str = "type=waxseal.dev/sealing-key";

pub(super) struct IdentitySecrets(Api<Secret>);

/// The version of a Secret that an identity was read from.
pub(super) struct IdentityVersion {
    pub(super) key: KeyId,
    name: String,
    resource_version: String,
    is_immutable: bool,
}

impl IdentitySecrets {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    pub(super) async fn read(&self, now: Timestamp) -> Result<StoredKeys<IdentityVersion>, KeyError> {
        let params = ListParams::default().fields(OF_OUR_TYPE);
        let secrets = ask("list the identity Secrets", self.0.list(&params)).await?;
        let mut stored = StoredKeys { held: Vec::new(), broken: Vec::new() };
        for secret in secrets.items.into_iter().filter(|secret| !identity_secret::is_materialised(&secret.metadata)) {
            let (name, resource_version) = (secret.name_any(), secret.resource_version().unwrap_or_default());
            let is_immutable = secret.immutable.unwrap_or_default();
            match identity_secret::decode(secret, now) {
                Ok(key) => {
                    let id = key.key_id().clone();
                    stored.held.push((key, IdentityVersion { key: id, name, resource_version, is_immutable }));
                }
                Err(error) => stored.broken.push(format!("this identity Secret is not used: {name}: {error}")),
            }
        }
        Ok(stored)
    }

    /// Makes the first key, unless another instance has just made it.
    pub(super) async fn create_first(&self, now: Timestamp) -> Result<(), KeyError> {
        let made = self.create(identity_secret::FIRST_NAME, now, "create the first identity Secret").await?;
        made.iter().for_each(log::made_first_key);
        Ok(())
    }

    /// Makes the key that follows another, unless there is a Secret of its name: another instance has just made the key.
    pub(super) async fn create_successor(&self, successor: &Successor) -> Result<(), KeyError> {
        let name = identity_secret::successor_name(&successor.of);
        let made = self.create(&name, successor.created_at, &format!("create the identity Secret {name}")).await?;
        made.iter().for_each(|key| log::made_successor(key, &successor.of));
        Ok(())
    }

    /// Creates an identity Secret with a new key; `None` if there is a Secret of this name.
    async fn create(
        &self,
        name: &str,
        created_at: Timestamp,
        operation: &str,
    ) -> Result<Option<PublishedKey>, KeyError> {
        let key = HeldKey::generate(KeyKind::Hybrid, KeyRole::Cluster, created_at, &mut randomness::system());
        let (params, secret) = (PostParams::default(), identity_secret::encode(name, &key));
        let created = ask_unless(&[409], operation, self.0.create(&params, &secret)).await?;
        Ok(created.map(|_| key.published().clone()))
    }

    /// Writes a stricter state to the version of a Secret that was read.
    pub(super) async fn write_state(&self, identity: &IdentityVersion, state: KeyState) -> Result<(), KeyError> {
        let (name, state_word) = (&identity.name, state.as_str());
        if identity.is_immutable {
            return Err(KeyError::Immutable { name: name.clone(), state: state_word });
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(identity_secret::state_patch(state, &identity.resource_version));
        let operation = format!("write the state {state_word} to the identity Secret {name}");
        // The answer to this request is metadata alone: the identity does not travel again.
        ask(&operation, self.0.patch_metadata(name, &params, &patch)).await?;
        tracing::info!(name, state = state_word, "wrote the state of a sealing key to its identity Secret");
        Ok(())
    }
}

//! The identity Secrets of the key namespace: read, created and made stricter through the API server.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use waxseal_shared::api_group::FIELD_MANAGER;
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::key_life::creation_time;
use waxseal_shared::key_ring::HeldKey;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::KeyState;

use super::super::identity_secret;
use super::key_error::{KeyError, ask, ask_unless};

pub(super) const OF_OUR_TYPE: &str = "type=waxseal.dev/sealing-key";

pub(super) struct IdentitySecrets(Api<Secret>);

/// What the identity Secrets hold.
#[derive(Default)]
pub(super) struct Identities {
    pub(super) held: Vec<HeldIdentity>,
    /// What is wrong with each of the others.
    pub(super) broken: Vec<String>,
}

/// A key, and the version of the Secret that it was read from.
pub(super) struct HeldIdentity {
    pub(super) key: HeldKey,
    name: String,
    resource_version: String,
    is_immutable: bool,
}

impl Identities {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.broken.is_empty()
    }
}

impl IdentitySecrets {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    pub(super) async fn read(&self, now: Timestamp) -> Result<Identities, KeyError> {
        let params = ListParams::default().fields(OF_OUR_TYPE);
        let secrets = ask("list the identity Secrets", self.0.list(&params)).await?;
        let mut identities = Identities::default();
        for secret in secrets.items.into_iter().filter(|secret| !identity_secret::is_materialised(&secret.metadata)) {
            let name = secret.name_any();
            let resource_version = secret.resource_version().unwrap_or_default();
            let is_immutable = secret.immutable.unwrap_or_default();
            match identity_secret::decode(secret, now) {
                Ok(key) => identities.held.push(HeldIdentity { key, name, resource_version, is_immutable }),
                Err(error) => identities.broken.push(format!("this identity Secret is not used: {name}: {error}")),
            }
        }
        Ok(identities)
    }

    /// Makes the first key, unless another instance has just made it.
    pub(super) async fn create_first(&self, now: Timestamp) -> Result<(), KeyError> {
        let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
        let secret = identity_secret::first(&identity, creation_time(now));
        let params = PostParams::default();
        let creation = self.0.create(&params, &secret);
        if ask_unless(&[409], "create the first identity Secret", creation).await?.is_some() {
            let recipient = identity.recipient();
            tracing::info!(
                key = recipient.key_id().as_str(),
                fingerprint = recipient.fingerprint(),
                "made the first sealing key"
            );
        }
        Ok(())
    }

    /// Writes a stricter state to the version of a Secret that was read.
    pub(super) async fn write_state(&self, identity: &HeldIdentity, state: KeyState) -> Result<(), KeyError> {
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

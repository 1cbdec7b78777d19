//! Identity Secrets as the API server sends and takes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use waxseal_shared::api_group::IDENTITY_TYPE;
use waxseal_shared::identity_secret::{self, IdentitySecretError, STATE};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::sealing_key::KeyState;
use waxseal_shared::secret::SecretBytes;

/// Reads the key. Wipes the bytes, also after an error.
pub(super) fn decode(secret: Secret, now: Timestamp) -> Result<HeldKey, IdentitySecretError> {
    let data = secret.data.unwrap_or_default().into_iter();
    let data: BTreeMap<_, _> = data.map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
    identity_secret::read(|key| data.get(key), now)
}

/// The Secret of a new key.
pub(super) fn encode(name: &str, key: &HeldKey) -> Secret {
    let data = identity_secret::data(key).map(|(name, value)| (name.to_owned(), ByteString(value.expose().to_vec())));
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(IDENTITY_TYPE.to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

/// A merge patch that changes the state. The API server refuses the patch if the Secret has changed since it was read.
pub(super) fn state_patch(state: KeyState, resource_version: &str) -> Value {
    let state = ByteString(state.as_str().as_bytes().to_vec());
    json!({"metadata": {"resourceVersion": resource_version}, "data": {STATE: state}})
}

#[cfg(test)]
mod tests {
    use waxseal_shared::identity_secret::FIRST_NAME;
    use waxseal_shared::randomness;

    use super::*;

    #[test]
    fn a_written_identity_secret_reads_back() {
        let now = Timestamp::from_second(1_700_000_000).expect("a small number");
        let key = HeldKey::generate_for_controller(now, &mut randomness::system());
        let read = decode(encode(FIRST_NAME, &key), now).expect("our own Secret");
        assert_eq!(read.published(), key.published());
    }

    #[test]
    fn the_patch_names_the_version_and_the_state_alone() {
        let patch = state_patch(KeyState::Revoked, "7");
        assert_eq!(patch, json!({"metadata": {"resourceVersion": "7"}, "data": {"state": "UmV2b2tlZA=="}}));
    }
}

//! A sealing key as the controller keeps it: an identity in a Secret that only the controller reads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use thiserror::Error;
use waxseal_shared::api_group::{self, MARK_LABEL};
use waxseal_shared::key_life::{HeldKey, HeldKeyError, read_held_key};
use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::KeyState;
use waxseal_shared::secret::SecretBytes;

/// The type of a Secret that holds an identity; no SealedSecret can make one.
pub(super) const TYPE: &str = api_group::IDENTITY_TYPE;

/// The name of the first key's Secret. If several controllers start at once, all use this name, so the API server lets
/// only one of them create the Secret.
pub(super) const FIRST_NAME: &str = "first-sealing-key";
/// The prefix of the name of a successor's Secret; the id of the key that the successor follows comes after it. So only
/// one of several controllers can create this Secret, too.
const SUCCESSOR_PREFIX: &str = "waxseal-key-after-";

const IDENTITY: &str = "identity";
const STATE: &str = "state";

/// Why a Secret of this type cannot be used as a key. Never quotes the Secret.
#[derive(Debug, Error)]
pub(super) enum IdentitySecretError {
    #[error("it has no data key \"identity\"")]
    NoIdentity,
    #[error("the identity: {0}")]
    Identity(#[from] HeldKeyError),
    #[error("the data key \"state\" must be Active, Retired or Revoked")]
    State,
}

/// Whether a Secret was made from a SealedSecret: such a Secret is never an identity.
pub(super) fn is_materialised(metadata: &ObjectMeta) -> bool {
    let marked = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MARK_LABEL));
    marked || metadata.owner_references.iter().flatten().any(|owner| owner.api_version.starts_with(api_group::PREFIX))
}

/// Reads the key. Its state is the stricter of two: the state in the identity file, and the state under the data key
/// `state`. Wipes the bytes, also after an error.
pub(super) fn decode(secret: Secret, now: Timestamp) -> Result<HeldKey, IdentitySecretError> {
    let data: BTreeMap<String, SecretBytes> =
        secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
    let text = data.get(IDENTITY).ok_or(IdentitySecretError::NoIdentity)?;
    let state = data.get(STATE).map_or(Some(KeyState::Active), state).ok_or(IdentitySecretError::State)?;
    let mut key = read_held_key(text.expose(), now)?;
    key.tighten(state);
    Ok(key)
}

/// The name of the Secret of the key that follows this one.
pub(super) fn successor_name(of: &KeyId) -> String {
    format!("{SUCCESSOR_PREFIX}{of}")
}

/// The Secret of a new key.
pub(super) fn encode(name: &str, key: &HeldKey) -> Secret {
    let text = key.to_identity_file();
    let data = [(IDENTITY, text.as_bytes()), (STATE, key.published().state.as_str().as_bytes())];
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(TYPE.to_owned()),
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.to_vec()))).collect()),
        ..Secret::default()
    }
}

/// A merge patch that changes the state. The API server refuses the patch if the Secret has changed since it was read.
pub(super) fn state_patch(state: KeyState, resource_version: &str) -> Value {
    let state = ByteString(state.as_str().as_bytes().to_vec());
    json!({"metadata": {"resourceVersion": resource_version}, "data": {STATE: state}})
}

fn state(bytes: &SecretBytes) -> Option<KeyState> {
    KeyState::parse(str::from_utf8(bytes.expose()).ok()?)
}

#[cfg(test)]
mod tests {
    use waxseal_shared::key::{Identity, IdentityFile, KeyKind};
    use waxseal_shared::randomness;
    use waxseal_shared::sealing_key::KeyRole;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("a small number")
    }

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn what_is_written_reads_back() {
        let key = HeldKey::generate(KeyKind::Hybrid, KeyRole::Cluster, now(), &mut randomness::system());
        let read = decode(encode(FIRST_NAME, &key), now()).expect("our own Secret");
        assert_eq!(read.published(), key.published());
    }

    #[test]
    fn the_strictest_state_in_the_secret_counts() {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let plain = IdentityFile::write(&identity, now());
        let retired = format!("# state: Retired\n{}", *plain);
        for (data, state) in [
            (vec![("identity", plain.as_str())], KeyState::Active),
            (vec![("identity", &plain), ("state", "Revoked")], KeyState::Revoked),
            (vec![("identity", &retired)], KeyState::Retired),
            (vec![("identity", &retired), ("state", "Active")], KeyState::Retired),
            (vec![("identity", &retired), ("state", "Revoked")], KeyState::Revoked),
        ] {
            assert_eq!(decode(secret(&data), now()).expect("an identity").published().state, state);
        }
    }

    #[test]
    fn broken_secrets_say_what_is_wrong_and_not_what_they_hold() {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let good = IdentityFile::write(&identity, now());
        let bare = identity.expose();
        let twice = format!("{}{}", *good, *bare);
        let ahead = IdentityFile::write(&identity, "2100-01-01T00:00:00Z".parse().expect("a time"));
        for (data, said) in [
            (vec![], "it has no data key \"identity\""),
            (vec![("identity", "hunter2")], "the identity: line 1: neither an identity nor a comment"),
            (
                vec![("identity", bare.as_str())],
                "the identity: it has no comment \"# created: TIME\" with an RFC 3339 time, by which keys are ordered",
            ),
            (vec![("identity", twice.as_str())], "the identity: 2 identities in it, where there must be one"),
            (
                vec![("identity", ahead.as_str())],
                "the identity: its creation time, 2100-01-01T00:00:00Z, is in the future",
            ),
            (
                vec![("identity", good.as_str()), ("state", "hunter2")],
                "the data key \"state\" must be Active, Retired or Revoked",
            ),
        ] {
            assert_eq!(decode(secret(&data), now()).expect_err("broken").to_string(), said);
        }
    }

    #[test]
    fn a_secret_that_a_sealed_secret_made_is_not_an_identity() {
        let mut metadata = ObjectMeta::default();
        assert!(!is_materialised(&metadata));
        metadata.labels = Some(BTreeMap::from([(MARK_LABEL.to_owned(), "owned".to_owned())]));
        assert!(is_materialised(&metadata));
    }

    #[test]
    fn the_patch_names_the_version_and_the_state_alone() {
        let patch = state_patch(KeyState::Revoked, "7");
        assert_eq!(patch, json!({"metadata": {"resourceVersion": "7"}, "data": {"state": "UmV2b2tlZA=="}}));
    }
}

//! A sealing key as the controller keeps it: an identity in a Secret that only it reads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;
use waxseal_shared::key::{Identity, IdentityFile, IdentityFileError};
use waxseal_shared::key_ring::HeldKey;
use waxseal_shared::plan::MARK_LABEL;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};
use waxseal_shared::secret::SecretBytes;

/// The type of a Secret that holds an identity; no SealedSecret can make one.
pub(super) const TYPE: &str = "waxseal.dev/sealing-key";

/// The name of the first key's Secret. It is the same for every instance, so that of two which
/// start at once the API server lets one create it.
pub(super) const FIRST_NAME: &str = "first-sealing-key";

const IDENTITY: &str = "identity";
const STATE: &str = "state";

/// Why a Secret of our type holds no key. Never quotes what it holds.
#[derive(Debug, Error)]
pub(super) enum IdentitySecretError {
    #[error("it has no data key \"identity\"")]
    NoIdentity,
    #[error("the identity: {0}")]
    Identity(#[from] IdentityFileError),
    #[error("the identity: there must be exactly one")]
    Several,
    #[error("the identity: no \"# created:\" line with an RFC 3339 time")]
    CreatedAt,
    #[error("the data key \"state\" must be Active, Retired or Revoked")]
    State,
}

/// Whether a Secret was made from a SealedSecret: then it is nobody's identity.
pub(super) fn is_materialised(metadata: &ObjectMeta) -> bool {
    let marked = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MARK_LABEL));
    marked || metadata.owner_references.iter().flatten().any(|owner| owner.api_version.starts_with("waxseal.dev/"))
}

/// Reads the key; the bytes are wiped either way.
pub(super) fn decode(secret: Secret) -> Result<HeldKey, IdentitySecretError> {
    let mut data: BTreeMap<String, SecretBytes> =
        secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
    let text = data.remove(IDENTITY).ok_or(IdentitySecretError::NoIdentity)?;
    let state = state(data.get(STATE).map_or(&b"Active"[..], SecretBytes::expose)).ok_or(IdentitySecretError::State)?;
    let file = IdentityFile::parse(text.expose())?;
    let created_at = file.created_at.ok_or(IdentitySecretError::CreatedAt)?;
    let [identity] = <[Identity; 1]>::try_from(file.identities).map_err(|_| IdentitySecretError::Several)?;
    let recipient = identity.recipient().clone();
    Ok(HeldKey { identity, published: PublishedKey { recipient, role: KeyRole::Cluster, created_at, state } })
}

/// The Secret of the first key.
pub(super) fn first(identity: &Identity, created_at: Timestamp) -> Secret {
    let text = IdentityFile::write(identity, created_at);
    let data = [(IDENTITY, text.as_bytes()), (STATE, &b"Active"[..])];
    Secret {
        metadata: ObjectMeta { name: Some(FIRST_NAME.to_owned()), ..ObjectMeta::default() },
        type_: Some(TYPE.to_owned()),
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.to_vec()))).collect()),
        ..Secret::default()
    }
}

fn state(text: &[u8]) -> Option<KeyState> {
    match text {
        b"Active" => Some(KeyState::Active),
        b"Retired" => Some(KeyState::Retired),
        b"Revoked" => Some(KeyState::Revoked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use waxseal_shared::key::KeyKind;
    use waxseal_shared::randomness;

    use super::*;

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn what_is_written_reads_back() {
        let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
        let created_at = Timestamp::from_second(1_700_000_000).expect("a small number");
        let key = decode(first(&identity, created_at)).expect("our own Secret");
        assert_eq!(&key.published.recipient, identity.recipient());
        assert_eq!((key.published.created_at, key.published.state), (created_at, KeyState::Active));
    }

    #[test]
    fn broken_secrets_say_what_is_wrong_and_not_what_they_hold() {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let good = IdentityFile::write(&identity, Timestamp::UNIX_EPOCH);
        let bare = identity.expose();
        let twice = format!("{}{}", *good, *bare);
        for (data, said) in [
            (vec![], "it has no data key \"identity\""),
            (vec![("identity", "hunter2")], "the identity: line 1: neither an identity nor a comment"),
            (vec![("identity", bare.as_str())], "the identity: no \"# created:\" line with an RFC 3339 time"),
            (vec![("identity", twice.as_str())], "the identity: there must be exactly one"),
            (
                vec![("identity", good.as_str()), ("state", "hunter2")],
                "the data key \"state\" must be Active, Retired or Revoked",
            ),
        ] {
            assert_eq!(decode(secret(&data)).expect_err("broken").to_string(), said);
        }
    }

    #[test]
    fn a_secret_that_a_sealed_secret_made_is_no_identity() {
        let mut metadata = ObjectMeta::default();
        assert!(!is_materialised(&metadata));
        metadata.labels = Some(BTreeMap::from([(MARK_LABEL.to_owned(), "owned".to_owned())]));
        assert!(is_materialised(&metadata));
    }
}

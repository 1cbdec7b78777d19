//! The Secrets of the type [`IDENTITY_TYPE`](crate::api_group::IDENTITY_TYPE), each of which holds one identity of a
//! controller.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;

use crate::api_group::{MARK_LABEL, PREFIX};
use crate::key_life::{HeldKey, HeldKeyError, read_held_key};
use crate::names::KeyId;
use crate::sealing_key::{KeyState, PublishedKey};
use crate::secret::SecretBytes;

/// The data key with the identity file.
pub const IDENTITY: &str = "identity";
/// The data key with the state.
pub const STATE: &str = "state";

/// The name of the first key's Secret. If several controllers start at once, all use this name, so the API server lets
/// only one of them create the Secret.
pub const FIRST_NAME: &str = "first-sealing-key";
/// The prefix of the name of a successor's Secret; the id of the key that the successor follows comes after it. So only
/// one of several controllers can create this Secret, too.
const SUCCESSOR_PREFIX: &str = "waxseal-key-after-";

/// Why a Secret of this type cannot be used as a key. Of the Secret it shows only the creation time of the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentitySecretError {
    /// It has no identity.
    #[error("it has no data key \"identity\"")]
    NoIdentity,
    /// The identity cannot be used.
    #[error("the identity: {0}")]
    Identity(#[from] HeldKeyError),
    /// It has a state that no key can have.
    #[error("the data key \"state\" must be Active, Retired or Revoked; update Waxseal, if a newer version wrote it")]
    State,
}

/// Whether a Secret was made from a SealedSecret: such a Secret is never an identity.
pub fn is_materialised(metadata: &ObjectMeta) -> bool {
    let marked = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MARK_LABEL));
    marked || metadata.owner_references.iter().flatten().any(|owner| owner.api_version.starts_with(PREFIX))
}

/// Reads the key. `value` returns the bytes of a data key. The state is the stricter of two: the state in the identity
/// file, and the state under the data key `state`.
pub fn read<'a>(
    value: impl Fn(&str) -> Option<&'a SecretBytes>,
    now: Timestamp,
) -> Result<HeldKey, IdentitySecretError> {
    let text = value(IDENTITY).ok_or(IdentitySecretError::NoIdentity)?;
    let state = value(STATE).map_or(Some(KeyState::Active), state).ok_or(IdentitySecretError::State)?;
    let mut key = read_held_key(text.expose(), now)?;
    key.tighten(state);
    Ok(key)
}

/// The data of the Secret of a key: its data keys and their values.
pub fn data(key: &HeldKey) -> [(&'static str, SecretBytes); 2] {
    let identity = SecretBytes::new(key.to_identity_file().as_bytes().to_vec());
    [(IDENTITY, identity), (STATE, SecretBytes::new(key.published().state.as_str().as_bytes().to_vec()))]
}

/// The name of the Secret of the key that follows this one.
pub fn successor_name(of: &KeyId) -> String {
    format!("{SUCCESSOR_PREFIX}{of}")
}

/// The name of the Secret of a key, made from the key id alone.
pub fn own_name(key: &KeyId) -> String {
    format!("waxseal-key-{key}")
}

/// Whether the Secret of a key may have this name while these other keys are held.
///
/// The name `waxseal-key-after-KEY` belongs to the successor of KEY, which is made later than KEY. An older key under
/// this name would keep the controller from making the successor.
pub fn may_have_name(key: &PublishedKey, name: &str, others: &[PublishedKey]) -> bool {
    let follows = |other: &PublishedKey| name.strip_prefix(SUCCESSOR_PREFIX) == Some(other.recipient.key_id().as_str());
    !others.iter().any(|other| follows(other) && other.created_at >= key.created_at)
}

fn state(bytes: &SecretBytes) -> Option<KeyState> {
    KeyState::parse(str::from_utf8(bytes.expose()).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::key::{Identity, IdentityFile, KeyKind};
    use crate::randomness;
    use crate::sealing_key::KeyRole;

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("a small number")
    }

    fn key(kind: KeyKind, second: i64) -> HeldKey {
        let created_at = Timestamp::from_second(second).expect("a small number");
        HeldKey::generate(kind, KeyRole::Cluster, created_at, &mut randomness::system())
    }

    fn read(data: &[(&str, &str)]) -> Result<HeldKey, IdentitySecretError> {
        let data: BTreeMap<_, _> =
            data.iter().map(|(key, value)| (*key, SecretBytes::new(value.as_bytes().to_vec()))).collect();
        super::read(|name| data.get(name), now())
    }

    #[test]
    fn the_data_of_a_key_reads_back() {
        let mut key = key(KeyKind::Hybrid, 1);
        key.tighten(KeyState::Retired);
        let data = BTreeMap::from(data(&key));
        let read = super::read(|name| data.get(name), now()).expect("our own data");
        assert_eq!(read.published(), key.published());
    }

    #[test]
    fn the_strictest_state_in_the_secret_counts() {
        let plain = key(KeyKind::Classic, 1).to_identity_file();
        let retired = format!("# state: Retired\n{}", *plain);
        for (data, state) in [
            (vec![("identity", plain.as_str())], KeyState::Active),
            (vec![("identity", &plain), ("state", "Revoked")], KeyState::Revoked),
            (vec![("identity", &retired)], KeyState::Retired),
            (vec![("identity", &retired), ("state", "Active")], KeyState::Retired),
            (vec![("identity", &retired), ("state", "Revoked")], KeyState::Revoked),
        ] {
            assert_eq!(read(&data).expect("an identity").published().state, state);
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
                "the data key \"state\" must be Active, Retired or Revoked; update Waxseal, if a newer version wrote it",
            ),
        ] {
            assert_eq!(read(&data).expect_err("broken").to_string(), said);
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
    fn only_a_later_key_has_the_name_of_a_successor() {
        let (first, second) = (key(KeyKind::Classic, 1), key(KeyKind::Classic, 2));
        let after = |key: &HeldKey| successor_name(key.key_id());
        let keys = [first.published().clone(), second.published().clone()];
        assert!(may_have_name(second.published(), &after(&first), &keys));
        assert!(!may_have_name(first.published(), &after(&second), &keys));
        assert!(!may_have_name(first.published(), &after(&first), &keys));
        assert!(may_have_name(first.published(), &after(&second), &keys[..1]));
        assert!(may_have_name(first.published(), FIRST_NAME, &keys));
        assert!(may_have_name(first.published(), &own_name(second.key_id()), &keys));
    }
}

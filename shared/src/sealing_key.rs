//! The `SealingKey` custom resource, and a key whose fields were checked.
#![expect(clippy::duplicated_attributes, reason = "each column of kubectl's table names its type")]

use jiff::Timestamp;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::{Recipient, RecipientError};
use crate::names::KeyId;

/// A recipient, and what it is used for.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "waxseal.dev",
    version = "v1alpha1",
    kind = "SealingKey",
    namespaced,
    status = "SealingKeyStatus",
    derive = "PartialEq",
    doc = "A public key that values are sealed to for this cluster. The controller publishes a SealingKey for each of its identities and for each recovery key of its configuration, under the key id, and deletes all other SealingKeys. `waxseal keys fetch` writes them to the file that `waxseal seal --keys` takes, and shows the fingerprint of each: compare it with the controller's log. `kubectl get` shows no fingerprint: a fingerprint must be computed from the recipient, and kubectl can only show stored text.",
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "Created", type_ = "date", json_path = ".spec.createdAt"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.objects"),
    printcolumn(name = "Backup", type_ = "date", json_path = ".status.lastBackupTime"),
    printcolumn(name = "Confirmed", type_ = "string", json_path = ".status.state", priority = 1),
    printcolumn(name = "Only", type_ = "integer", json_path = ".status.onlyObjects", priority = 1),
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identitySecret.name", priority = 1),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealingKeySpec {
    /// The recipient as age writes it: `age1pq1…` or `age1…`.
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the recipient of a SealingKey never changes"}]))]
    #[schemars(length(max = 2048))]
    pub recipient: String,
    /// Who holds the identity. `Cluster`: the controller of this cluster. `Recovery`: an operator keeps it offline, to
    /// open what was sealed for the cluster when the cluster is gone.
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the role of a SealingKey never changes"}]))]
    pub role: KeyRole,
    /// When the key was made (RFC 3339). The newest Active key of the role `Cluster` is the primary: new values are
    /// sealed to it.
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the creation time of a SealingKey never changes"}]))]
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// What the key is still used for. `Active`: new values are sealed to it. If several keys of the role `Cluster` are
    /// Active, only the newest of these is used for sealing. `Retired`: nothing new is sealed to it, and it still
    /// opens old values. `Revoked`: it opens nothing, and nothing is sealed to it; this is final.
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "oldSelf != 'Revoked' || self == 'Revoked'", "message": "a revoked key stays revoked"}]))]
    pub state: KeyState,
}

/// What the controller says of a key. Only the controller writes the status: a user who may change `spec.state` may not
/// write the status.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SealingKeyStatus {
    /// The state that the controller has carried out: the identity Secret, if there is one, has this state, and the
    /// controller uses the key accordingly. `spec.state` is only the request.
    // Without `with`, the schema has the description of `KeyState` instead of this one.
    #[schemars(with = "KeyState")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<KeyState>,
    /// The number of SealedSecrets with a wrap for the key, as their statuses say. For information, never a proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// The number of SealedSecrets that only this key opens, as their statuses say. For information, never a proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_objects: Option<i64>,
    /// When `waxseal keys backup` last wrote the identity into a backup (RFC 3339). Absent if the key has another state
    /// in this backup: a restore would bring the old state back.
    #[schemars(extend("format" = "date-time"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup_time: Option<String>,
    /// The Secret that holds the identity; absent for a recovery key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_secret: Option<IdentitySecretReference>,
}

/// One Secret in the namespace of a SealingKey.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IdentitySecretReference {
    /// The name of the Secret.
    pub name: String,
    /// The UID of the Secret: a Secret that is made later under the same name is another one.
    pub uid: String,
}

/// Who holds the identity of a key.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// The cluster's own: its controller holds the identity.
    Cluster,
    /// A recovery key: its identity is kept offline.
    Recovery,
}

/// What a key is still used for. Each state is stricter than the one before it.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// New values are sealed to it. If several of the cluster's own keys are Active, only the newest of these is used
    /// for sealing.
    Active,
    /// It opens, but nothing new is sealed to it.
    Retired,
    /// It opens nothing, and nothing is sealed to it.
    Revoked,
}

impl KeyRole {
    /// The word that manifests use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Recovery => "Recovery",
        }
    }
}

impl KeyState {
    /// The word that manifests use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Retired => "Retired",
            Self::Revoked => "Revoked",
        }
    }

    /// The state of a word; `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Retired, Self::Revoked].into_iter().find(|state| state.as_str() == word)
    }

    /// The stricter of two states.
    pub fn stricter(self, other: Self) -> Self {
        self.max(other)
    }
}

/// A sealing key with a valid recipient, and with a creation time that may be in the future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// The recipient. To decide whether to trust a key, compare the whole recipient: a key id is too short.
    pub recipient: Recipient,
    /// Whose key it is.
    pub role: KeyRole,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it is still used for.
    pub state: KeyState,
}

/// Why a `SealingKey` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealingKeyError {
    /// `spec.recipient` is not a valid recipient.
    #[error("spec.recipient: {0}")]
    Recipient(#[from] RecipientError),
    /// The object's name is not the key id of its recipient.
    #[error("metadata.name: must be {0}, the key id of its recipient")]
    Name(KeyId),
    /// The creation time cannot be read as a time.
    #[error("spec.createdAt: not an RFC 3339 time")]
    CreatedAt,
}

impl PublishedKey {
    /// Checks an object from the API or from a keys file.
    ///
    /// # Errors
    ///
    /// The recipient is not valid, the name is not the key id of the recipient, or the creation time cannot be read
    /// as a time. The time may be in the future: see [`crate::key_life::check_creation_time`].
    pub fn decode(object: &SealingKey) -> Result<Self, SealingKeyError> {
        let recipient = Recipient::parse(&object.spec.recipient)?;
        if object.metadata.name.as_deref() != Some(recipient.key_id().as_str()) {
            return Err(SealingKeyError::Name(recipient.key_id().clone()));
        }
        let created_at = object.spec.created_at.parse().map_err(|_| SealingKeyError::CreatedAt)?;
        Ok(Self { recipient, role: object.spec.role, created_at, state: object.spec.state })
    }

    /// The object that publishes this key: name and spec alone.
    pub fn to_object(&self) -> SealingKey {
        SealingKey::new(
            self.recipient.key_id().as_str(),
            SealingKeySpec {
                recipient: self.recipient.to_string(),
                role: self.role,
                created_at: self.created_at.to_string(),
                state: self.state,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;

    fn key(role: KeyRole, state: KeyState, second: i64) -> PublishedKey {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let created_at = Timestamp::from_second(second).expect("a small number");
        PublishedKey { recipient: identity.recipient().clone(), role, created_at, state }
    }

    #[test]
    fn roles_and_states_are_written_as_in_manifests() {
        for role in [KeyRole::Cluster, KeyRole::Recovery] {
            assert_eq!(serde_json::json!(role), role.as_str());
        }
        for state in [KeyState::Active, KeyState::Retired, KeyState::Revoked] {
            assert_eq!(serde_json::json!(state), state.as_str());
            assert_eq!(KeyState::parse(state.as_str()), Some(state));
        }
        assert_eq!(KeyState::parse("revoked"), None);
    }

    #[test]
    fn an_object_decodes_to_its_key_and_a_wrong_name_is_refused() {
        let published = key(KeyRole::Cluster, KeyState::Active, 1_700_000_000);
        let mut object = published.to_object();
        assert_eq!(PublishedKey::decode(&object), Ok(published.clone()));
        object.metadata.name = Some("k0000000000000000".to_owned());
        assert_eq!(PublishedKey::decode(&object), Err(SealingKeyError::Name(published.recipient.key_id().clone())));
    }
}

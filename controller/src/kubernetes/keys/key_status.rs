//! The status of a SealingKey: what the controller has carried out, and what it knows of the key.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use waxseal_shared::sealing_key::{IdentitySecretReference, KeyState, SealingKeyStatus};

use super::super::key_use::KeyCounts;
use super::super::status_patch::difference;

/// What the status of a SealingKey has to say.
pub(super) struct KeyStatus {
    /// The state that was carried out; `None` leaves the state in the status as it is.
    pub(super) state: Option<KeyState>,
    /// `None` leaves the counts in the status as they are.
    pub(super) counts: Option<KeyCounts>,
    /// `None` for a recovery key.
    pub(super) identity: Option<StoredIdentity>,
}

/// Where an identity is stored.
#[derive(Clone)]
pub(super) struct StoredIdentity {
    pub(super) secret: IdentitySecretReference,
    /// When the identity was last backed up.
    pub(super) last_backup: Option<Timestamp>,
}

impl KeyStatus {
    /// Returns the merge patch (RFC 7396) that makes a status say this. The patch is empty if the status says it
    /// already. Fields that this program does not know stay.
    pub(super) fn changes(&self, present: &Map<String, Value>) -> Map<String, Value> {
        let mut wanted = present.clone();
        // Removed if they are unknown now: without an identity or a backup, the status does not have these fields.
        for field in ["identitySecret", "lastBackupTime"] {
            wanted.remove(field);
        }
        let identity = self.identity.as_ref();
        let known = SealingKeyStatus {
            state: self.state,
            objects: self.counts.map(|counts| counts.objects),
            only_objects: self.counts.map(|counts| counts.only_objects),
            last_backup_time: identity.and_then(|identity| identity.last_backup).map(|time| time.to_string()),
            identity_secret: identity.map(|identity| identity.secret.clone()),
        };
        if let Value::Object(known) = json!(known) {
            wanted.extend(known);
        }
        difference(present, &wanted)
    }

    /// The state of this status, if it is stricter than the state that the present status confirms. A status that
    /// confirms no state counts as one that confirms `shown`.
    pub(super) fn stricter_state(&self, present: &Map<String, Value>, shown: KeyState) -> Option<KeyState> {
        let confirmed = present.get("state").and_then(Value::as_str).and_then(KeyState::parse);
        self.state.filter(|state| *state > confirmed.unwrap_or(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> KeyStatus {
        let secret = IdentitySecretReference { name: "one".to_owned(), uid: "u".to_owned() };
        let last_backup = Some("2026-01-01T02:00:00+02:00".parse().expect("a time"));
        KeyStatus {
            state: Some(KeyState::Retired),
            counts: Some(KeyCounts { objects: 3, only_objects: 1 }),
            identity: Some(StoredIdentity { secret, last_backup }),
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("a map").clone()
    }

    fn full() -> Map<String, Value> {
        map(json!({
            "state": "Retired", "objects": 3, "onlyObjects": 1, "lastBackupTime": "2026-01-01T00:00:00Z",
            "identitySecret": {"name": "one", "uid": "u"},
        }))
    }

    #[test]
    fn a_status_that_says_it_already_is_not_written() {
        assert_eq!(status().changes(&Map::new()), full());
        assert_eq!(status().changes(&full()), Map::new());
        let mut newer = full();
        newer.insert("note".to_owned(), json!("of a newer definition"));
        assert_eq!(status().changes(&newer), Map::new());
    }

    #[test]
    fn an_unknown_state_and_unknown_counts_stay_and_a_lost_identity_is_removed() {
        let unknown = KeyStatus { state: None, counts: None, ..status() };
        assert_eq!(unknown.changes(&full()), Map::new());
        let gone = KeyStatus { identity: None, ..status() };
        assert_eq!(gone.changes(&full()), map(json!({"identitySecret": null, "lastBackupTime": null})));
    }

    #[test]
    fn only_a_state_stricter_than_the_confirmed_one_is_returned() {
        use KeyState::{Active, Retired, Revoked};
        let after = |state: &str| status().stricter_state(&map(json!({ "state": state })), Active);
        assert_eq!([after("Active"), after("Retired"), after("Revoked")], [Some(Retired), None, None]);
        let without_status = |shown| status().stricter_state(&Map::new(), shown);
        assert_eq!([Active, Retired, Revoked].map(without_status), [Some(Retired), None, None]);
    }
}

//! What the controller keeps of SealedSecrets and of the Secrets that carry the mark: how they are listed, which of
//! their fields are read, and the records that are made of these.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use waxseal_shared::api_group::{MARK_LABEL, MARK_OWNED};
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretStatus, Settled};
use waxseal_shared::settled::StatusDigest;

use super::key_use::KeyUse;
use super::lists::{Extent, Selection};
use super::object_key::ObjectKey;
use super::own_status::OwnStatus;
use super::record_cache::{ResourceVersion, Versioned};
use super::rejected_writes::RejectedWrites;
use super::scope::ServedScope;

/// The record of a SealedSecret. A reconcile fetches the object itself.
///
/// A clone shares its texts with the record.
#[derive(Clone, Debug)]
pub(super) struct SealedSecretRecord {
    pub(super) uid: Arc<str>,
    pub(super) generation: i64,
    pub(super) version: ResourceVersion,
    pub(super) is_being_deleted: bool,
    pub(super) observed_generation: Option<i64>,
    pub(super) status: Option<StatusDigest>,
    pub(super) settled: Option<Arc<Settled>>,
    pub(super) key_use: KeyUse,
    /// The reason that the last reconcile of this generation ended with.
    pub(super) last_reason: Option<Reason>,
    /// How many reconciles directly before the last one ended with the same standing as the last one.
    pub(super) repetitions: u32,
    pub(super) own_status: OwnStatus,
    pub(super) rejected_writes: RejectedWrites,
}

/// The record of a Secret that carries the mark. A clone shares its texts with the record.
#[derive(Clone, Debug)]
pub(super) struct SecretRecord {
    pub(super) uid: Arc<str>,
    pub(super) resource_version: Arc<str>,
    pub(super) is_marked_owned: bool,
    pub(super) has_owner_reference: bool,
    /// How many searches for orphans in a row found no SealedSecret of this name.
    pub(super) searches: u8,
}

/// The SealedSecrets of a scope, with their status.
pub(super) fn sealed_secrets(scope: &ServedScope) -> Selection {
    Selection::of::<SealedSecret>(scope.clone(), Extent::Whole)
}

/// The metadata of the Secrets of a scope that carry the mark.
pub(super) fn marked_secrets(scope: &ServedScope) -> Selection {
    Selection { labels: Some(MARK_LABEL), ..Selection::of::<Secret>(scope.clone(), Extent::Metadata) }
}

impl Versioned for SealedSecretRecord {
    fn version(&self) -> ResourceVersion {
        self.version
    }
}

impl Versioned for SecretRecord {
    fn version(&self) -> ResourceVersion {
        ResourceVersion::parse(&self.resource_version)
    }
}

impl SecretRecord {
    /// Keeps the number of searches that an older record of the same Secret has.
    pub(super) fn keep_searches(&mut self, older: Self) {
        if self.uid == older.uid {
            self.searches = older.searches;
        }
    }
}

impl SealedSecretRecord {
    /// Stores in the record the status that the controller wrote or found to be right. `version` is the resourceVersion
    /// that the write returned; `None` if nothing was written.
    pub(super) fn set_written_status(&mut self, version: Option<&str>, status: &SealedSecretStatus) {
        if let Some(version) = version {
            self.version = ResourceVersion::parse(version);
        }
        self.set_status(status);
        self.own_status.set(self.status);
    }

    pub(super) fn set_status(&mut self, status: &SealedSecretStatus) {
        self.observed_generation = status.observed_generation;
        self.status = Some(StatusDigest::of(status));
        self.settled = status.settled.clone().map(Arc::new);
        self.key_use = KeyUse::of(status);
    }

    /// Keeps what an older record remembers of the same generation of the same object.
    pub(super) fn keep_history(&mut self, older: Self) {
        if self.is_same_generation(&older) {
            (self.last_reason, self.repetitions) = (older.last_reason, older.repetitions);
            self.own_status = older.own_status;
            self.rejected_writes = older.rejected_writes;
        }
    }

    /// Takes from another record what the controller remembers of its own status of this generation.
    pub(super) fn take_own_status(&mut self, other: &Self) {
        if self.is_same_generation(other) {
            self.own_status = other.own_status;
        }
    }

    pub(super) fn is_same_generation(&self, other: &Self) -> bool {
        self.uid == other.uid && self.generation == other.generation
    }

    /// Whether the change from another record to this one can change the result of a reconcile.
    pub(super) fn needs_reconcile_after(&self, older: &Self) -> bool {
        !self.is_same_generation(older)
            || self.status != older.status
            || self.is_being_deleted != older.is_being_deleted
    }
}

/// The parts of a SealedSecret that its record is made of. Deserialising drops the rest.
#[derive(Deserialize)]
pub(super) struct SealedSecretParts {
    metadata: Metadata,
    status: Option<Box<RawValue>>,
}

/// The parts of a Secret's metadata that its record is made of.
#[derive(Deserialize)]
pub(super) struct SecretParts {
    metadata: Metadata,
}

/// An object that gets no record: its events only wake the task that reads the keys.
#[derive(Deserialize)]
pub(super) struct Unrecorded {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    generation: i64,
    #[serde(default)]
    resource_version: Box<str>,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    owner_references: Vec<IgnoredAny>,
}

#[derive(Deserialize, Default)]
struct Labels {
    #[serde(rename = "waxseal.dev/secret")]
    mark: Option<String>,
}

impl Metadata {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

impl From<Unrecorded> for (ObjectKey, ()) {
    fn from(object: Unrecorded) -> Self {
        (object.metadata.key(), ())
    }
}

impl From<SealedSecretParts> for SealedSecretRecord {
    fn from(object: SealedSecretParts) -> Self {
        let mut record = SealedSecretRecord {
            uid: object.metadata.uid.into(),
            generation: object.metadata.generation,
            version: ResourceVersion::parse(&object.metadata.resource_version),
            is_being_deleted: object.metadata.deletion_timestamp.is_some(),
            observed_generation: None,
            status: None,
            settled: None,
            key_use: KeyUse::default(),
            last_reason: None,
            repetitions: 0,
            own_status: OwnStatus::default(),
            rejected_writes: RejectedWrites::default(),
        };
        // A status that does not decode counts as absent, so the object does not count as settled.
        let status = object.status.and_then(|text| serde_json::from_str::<SealedSecretStatus>(text.get()).ok());
        if let Some(status) = status {
            record.set_status(&status);
        }
        record
    }
}

impl From<SealedSecretParts> for (ObjectKey, SealedSecretRecord) {
    fn from(object: SealedSecretParts) -> Self {
        (object.metadata.key(), object.into())
    }
}

impl From<SecretParts> for (ObjectKey, SecretRecord) {
    fn from(object: SecretParts) -> Self {
        let key = object.metadata.key();
        let record = SecretRecord {
            uid: object.metadata.uid.into(),
            resource_version: object.metadata.resource_version.into(),
            is_marked_owned: object.metadata.labels.mark.is_some_and(|mark| mark == MARK_OWNED),
            has_owner_reference: !object.metadata.owner_references.is_empty(),
            searches: 0,
        };
        (key, record)
    }
}

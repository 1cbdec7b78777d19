//! What the controller knows of SealedSecrets and marked Secrets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use waxseal_shared::api_group::MARK_OWNED;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::{SealedSecretStatus, Settled};
use waxseal_shared::settled::{JudgedObject, StatusDigest};
use waxseal_shared::template::ForbiddenPrefix;

use super::mirror::{Event, Mirror, Version, Versioned};
use super::object_key::ObjectKey;

/// What is known of a SealedSecret. The object itself is fetched when it is judged.
#[derive(Clone, Debug)]
pub(super) struct SealedSecretRecord {
    uid: Box<str>,
    generation: i64,
    version: Version,
    is_being_deleted: bool,
    observed_generation: Option<i64>,
    status: Option<StatusDigest>,
    settled: Option<Box<Settled>>,
    /// The reason of the last verdict on this generation.
    verdict: Option<Reason>,
    /// How many verdicts in a row before it had the same standing.
    repetitions: u32,
}

/// What is known of a Secret that carries the mark.
#[derive(Clone, Debug)]
pub(super) struct SecretRecord {
    uid: Box<str>,
    resource_version: Box<str>,
    is_owned: bool,
    has_owner: bool,
    /// In how many searches in a row its SealedSecret was missing.
    searches: u8,
}

/// All that is known of one object when it is looked at.
pub(super) struct Known {
    sealed_secret: SealedSecretRecord,
    secret: Option<SecretRecord>,
}

/// The records of both kinds.
pub(super) struct Objects {
    state: Mutex<State>,
    listed: Notify,
}

struct State {
    sealed_secrets: Mirror<SealedSecretRecord>,
    secrets: Mirror<SecretRecord>,
}

impl Versioned for SealedSecretRecord {
    fn version(&self) -> Version {
        self.version
    }
}

impl Versioned for SecretRecord {
    fn version(&self) -> Version {
        Version::parse(&self.resource_version)
    }
}

impl SealedSecretRecord {
    /// Keeps what is remembered of the same generation of the same object.
    fn remember(&mut self, known: Self) {
        if self.uid == known.uid && self.generation == known.generation {
            (self.verdict, self.repetitions) = (known.verdict, known.repetitions);
        }
    }

    /// Whether a change between two records can change what is to be done.
    fn differs(&self, other: &Self) -> bool {
        self.uid != other.uid
            || self.generation != other.generation
            || self.is_being_deleted != other.is_being_deleted
            || self.status != other.status
    }

    fn set_status(&mut self, status: &SealedSecretStatus) {
        self.observed_generation = status.observed_generation;
        self.status = Some(StatusDigest::of(status));
        self.settled = status.settled.clone().map(Box::new);
    }
}

impl Known {
    /// Whether the object is being deleted.
    pub(super) fn is_being_deleted(&self) -> bool {
        self.sealed_secret.is_being_deleted
    }

    /// Whether the status speaks of the present generation.
    pub(super) fn is_judged(&self) -> bool {
        self.sealed_secret.observed_generation == Some(self.sealed_secret.generation)
    }

    /// Whether there is a Secret of this name that carries the mark.
    pub(super) fn has_marked_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether object, Secret, status and keys are what they were when the Secret was last seen to be right.
    pub(super) fn is_settled(&self, ring: &KeyRing, forbidden: &[ForbiddenPrefix]) -> bool {
        let record = &self.sealed_secret;
        let (Some(settled), Some(status)) = (&record.settled, record.status) else {
            return false;
        };
        let object = JudgedObject { uid: &record.uid, generation: record.generation, forbidden };
        let secret = self.secret.as_ref().map(|secret| (&*secret.uid, &*secret.resource_version));
        !record.is_being_deleted && settled.holds(&object, status, secret, ring)
    }
}

impl Objects {
    pub(super) fn new() -> Self {
        let state = State { sealed_secrets: Mirror::new(), secrets: Mirror::new() };
        Self { state: Mutex::new(state), listed: Notify::new() }
    }

    /// Whether all SealedSecrets and all marked Secrets were listed once.
    pub(super) fn are_listed(&self) -> bool {
        let state = self.lock();
        state.sealed_secrets.is_complete() && state.secrets.is_complete()
    }

    /// Waits until all SealedSecrets and all marked Secrets were listed once.
    pub(super) async fn listed(&self) {
        loop {
            let mut listed = std::pin::pin!(self.listed.notified());
            // Before looking: a list between looking and waiting must not be missed.
            listed.as_mut().enable();
            if self.are_listed() {
                return;
            }
            listed.await;
        }
    }

    /// Takes news of SealedSecrets over; returns the objects to look at.
    pub(super) fn see_sealed_secrets(&self, event: Event<SealedSecretRecord>) -> Vec<ObjectKey> {
        let mirror = &mut self.lock().sealed_secrets;
        match event {
            Event::Listed(listed, version) => {
                mirror.replace(listed, version, SealedSecretRecord::remember);
                self.listed.notify_waiters();
                mirror.iter().map(|(key, _)| key.clone()).collect()
            }
            Event::Applied(key, record) => {
                let before = mirror.get(&key).cloned();
                mirror.apply(key.clone(), record, SealedSecretRecord::remember);
                let now = mirror.get(&key);
                let is_news = now.is_some_and(|now| before.is_none_or(|before| now.differs(&before)));
                is_news.then_some(key).into_iter().collect()
            }
            Event::Deleted(key, record) => {
                mirror.delete(&key, &record);
                Vec::new()
            }
        }
    }

    /// Takes news of marked Secrets over; returns the objects to look at.
    pub(super) fn see_secrets(&self, event: Event<SecretRecord>) -> Vec<ObjectKey> {
        let state = &mut *self.lock();
        let changed = match event {
            Event::Listed(listed, version) => {
                state.secrets.replace(listed, version, |_, _| {});
                self.listed.notify_waiters();
                // An object whose Secret is missing has no trace in the list.
                state.sealed_secrets.iter().map(|(key, _)| key.clone()).collect()
            }
            Event::Applied(key, record) => {
                state.secrets.apply(key.clone(), record, |_, _| {});
                vec![key]
            }
            Event::Deleted(key, record) => {
                state.secrets.delete(&key, &record);
                vec![key]
            }
        };
        changed.into_iter().filter(|key| state.sealed_secrets.get(key).is_some()).collect()
    }

    /// What is known of an object; `None` if it is gone.
    pub(super) fn known(&self, key: &ObjectKey) -> Option<Known> {
        let state = self.lock();
        let sealed_secret = state.sealed_secrets.get(key)?.clone();
        Some(Known { sealed_secret, secret: state.secrets.get(key).cloned() })
    }

    /// Takes over what a fetched object says.
    pub(super) fn fetched(&self, news: SealedSecretNews) {
        let (key, record) = news.into();
        self.lock().sealed_secrets.apply(key, record, SealedSecretRecord::remember);
    }

    /// All SealedSecrets.
    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        self.lock().sealed_secrets.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Remembers a Secret that was just written.
    pub(super) fn wrote_secret(&self, key: &ObjectKey, uid: &str, resource_version: &str) {
        let (uid, resource_version) = (uid.into(), resource_version.into());
        let record = SecretRecord { uid, resource_version, is_owned: true, has_owner: true, searches: 0 };
        self.lock().secrets.apply(key.clone(), record, |_, _| {});
    }

    /// Remembers a status that was just written to an object of this UID.
    pub(super) fn wrote_status(&self, key: &ObjectKey, uid: &str, version: &str, status: &SealedSecretStatus) {
        let version = Version::parse(version);
        if let Some(record) = self.lock().sealed_secrets.get_mut(key)
            && *record.uid == *uid
            && !version.is_before(record.version)
        {
            record.version = version;
            record.set_status(status);
        }
    }

    /// Remembers a verdict; returns how many verdicts in a row before it had the same standing.
    pub(super) fn judged(&self, key: &ObjectKey, reason: Reason) -> u32 {
        let mut state = self.lock();
        let Some(record) = state.sealed_secrets.get_mut(key) else {
            return 0;
        };
        let is_same = record.verdict.is_some_and(|verdict| verdict.standing() == reason.standing());
        record.repetitions = if is_same { record.repetitions.saturating_add(1) } else { 0 };
        record.verdict = Some(reason);
        record.repetitions
    }

    /// The number of SealedSecrets by the reason of their last verdict.
    pub(super) fn verdicts(&self) -> BTreeMap<Reason, i64> {
        let mut counts = BTreeMap::new();
        for reason in self.lock().sealed_secrets.iter().filter_map(|(_, record)| record.verdict) {
            *counts.entry(reason).or_default() += 1;
        }
        counts
    }

    /// The Secrets of ours that nothing would ever delete: marked `owned`, without an owner, and without a SealedSecret
    /// in this search and the last. Each is returned once.
    pub(super) fn new_orphans(&self) -> Vec<ObjectKey> {
        let state = &mut *self.lock();
        if !state.sealed_secrets.is_complete() {
            return Vec::new();
        }
        let mut orphans = Vec::new();
        for (key, secret) in state.secrets.iter_mut() {
            if !secret.is_owned || secret.has_owner || state.sealed_secrets.get(key).is_some() {
                secret.searches = 0;
                continue;
            }
            secret.searches = secret.searches.saturating_add(1);
            if secret.searches == 2 {
                orphans.push(key.clone());
            }
        }
        orphans
    }

    /// Forgets everything: the API server was restored to an earlier time.
    pub(super) fn clear(&self) {
        let state = &mut *self.lock();
        state.sealed_secrets.clear();
        state.secrets.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of a SealedSecret that a record is made of; reading drops the rest.
#[derive(Deserialize)]
pub(super) struct SealedSecretNews {
    metadata: Metadata,
    status: Option<Box<RawValue>>,
}

/// The parts of a Secret's metadata that a record is made of.
#[derive(Deserialize)]
pub(super) struct SecretNews {
    metadata: Metadata,
}

/// News of an object of which no record is kept.
#[derive(Deserialize)]
pub(super) struct VersionNews {
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

impl From<VersionNews> for (ObjectKey, ()) {
    fn from(news: VersionNews) -> Self {
        (news.metadata.key(), ())
    }
}

impl From<SealedSecretNews> for (ObjectKey, SealedSecretRecord) {
    fn from(news: SealedSecretNews) -> Self {
        let key = news.metadata.key();
        let mut record = SealedSecretRecord {
            uid: news.metadata.uid,
            generation: news.metadata.generation,
            version: Version::parse(&news.metadata.resource_version),
            is_being_deleted: news.metadata.deletion_timestamp.is_some(),
            observed_generation: None,
            status: None,
            settled: None,
            verdict: None,
            repetitions: 0,
        };
        // A status that does not decode counts as absent: the object is judged, and its status written anew.
        let status = news.status.and_then(|text| serde_json::from_str::<SealedSecretStatus>(text.get()).ok());
        if let Some(status) = status {
            record.set_status(&status);
        }
        (key, record)
    }
}

impl From<SecretNews> for (ObjectKey, SecretRecord) {
    fn from(news: SecretNews) -> Self {
        let key = news.metadata.key();
        let record = SecretRecord {
            uid: news.metadata.uid,
            resource_version: news.metadata.resource_version,
            is_owned: news.metadata.labels.mark.is_some_and(|mark| mark == MARK_OWNED),
            has_owner: !news.metadata.owner_references.is_empty(),
            searches: 0,
        };
        (key, record)
    }
}

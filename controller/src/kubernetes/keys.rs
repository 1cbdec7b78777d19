//! The controller's keys: read from identity Secrets, published as SealingKeys.

pub(super) mod events;
mod identities;
mod key_error;
mod key_status;
mod object_counts;
mod publication;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use kube::Client;
use kube::core::DeserializeGuard;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use waxseal_shared::key::Recipient;
use waxseal_shared::key_life::{HeldKey, StoredKeys, StrictestStates};
use waxseal_shared::key_ring::{KeyRing, Keys};
use waxseal_shared::key_succession::{KeyGeneration, Succession, first_key_obstacle};
use waxseal_shared::names::KeyId;
use waxseal_shared::recovery_keys::RecoveryKeys;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{PublishedKey, SealingKey};

use self::events::Events;
pub(super) use self::identities::identity_secrets;
use self::identities::{IdentitySecrets, IdentityVersion};
use self::key_error::KeyError;
use self::key_status::{KeyStatus, StoredIdentity};
use self::object_counts::ObjectCounts;
use self::publication::{OwnKeys, PresentSealingKeys, Publication};
use super::lists::{self, Extent, Selection};
use super::metrics::Metrics;
use super::objects::Objects;
use super::records;
use super::scope::ServedScope;
use crate::log::{self, Complaints};

/// The time between two looks at the keys without a change of an identity Secret or SealingKey.
const INTERVAL: Duration = Duration::from_mins(1);
/// The shortest time between two looks, even if somebody changes SealingKeys in a loop.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest time between a look that failed and the next one.
const LONGEST_RETRY_WAIT: Duration = Duration::from_secs(30);
/// The longest time that one look takes to remove SealingKeys. So the controller soon reads the requests again, however
/// many SealingKeys somebody makes.
const LONGEST_REMOVAL: Duration = Duration::from_secs(5);
/// Failures that often pass by themselves are logged only after this long.
const PATIENCE: Duration = Duration::from_secs(20);

const NO_FIRST_KEY: &str = "there is no sealing key, because key generation is off: add an identity Secret";
const FIRST_KEY_OBSTACLE: &str = "the controller does not make a first key, because a SealedSecret is sealed to a key \
                                  that is not here, or a SealedSecret cannot be read: put the lost keys back";

/// What [`KeySource`] needs to read the keys, to count their objects and to publish them.
pub(super) struct KeyContext {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// The scopes whose SealedSecrets can forbid a first key.
    pub(super) scopes: Arc<[ServedScope]>,
    /// Notified at every change of an identity Secret or SealingKey.
    pub(super) changed: Arc<Notify>,
    pub(super) objects: Arc<Objects>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
}

/// The identity Secrets and SealingKeys of one namespace.
pub(super) struct KeySource {
    client: Client,
    scopes: Arc<[ServedScope]>,
    changed: Arc<Notify>,
    counts: ObjectCounts,
    metrics: Arc<Metrics>,
    identities: IdentitySecrets,
    publication: Publication,
    generation: KeyGeneration,
    strictest: StrictestStates,
    /// The time of the next renewal, as computed in the last look.
    next_renewal: Option<Timestamp>,
    recovery: RecoveryKeys,
    complaints: Complaints,
}

/// The problems of one look at the keys.
#[derive(Default)]
struct KeyProblems {
    /// Operations that are tried again.
    failures: Vec<KeyError>,
    /// Why identities are not used, which identity Secrets are being deleted, and why no key is made.
    obstacles: Vec<String>,
}

impl KeySource {
    pub(super) fn new(context: KeyContext, generation: KeyGeneration, recovery: RecoveryKeys) -> Self {
        let KeyContext { client, namespace, scopes, changed, objects, metrics, events } = context;
        Self {
            identities: IdentitySecrets::new(client.clone(), &namespace, events.clone()),
            publication: Publication::new(client.clone(), &namespace, events),
            client,
            scopes,
            changed,
            counts: ObjectCounts::new(objects),
            metrics,
            generation,
            strictest: StrictestStates::default(),
            next_renewal: None,
            recovery,
            complaints: Complaints::default(),
        }
    }

    /// Reads the keys and keeps them current, for ever.
    pub(super) async fn run(mut self, sender: watch::Sender<Keys>) {
        let mut retry = PAUSE;
        let mut failing_since = None;
        loop {
            let problems = self.look(&sender).await;
            let wait = if problems.failures.is_empty() {
                (retry, failing_since) = (PAUSE, None);
                let interval = if self.publication.has_unchecked_pages() { PAUSE } else { INTERVAL };
                self.time_to_renewal().map_or(interval, |time| time.min(interval))
            } else {
                failing_since = failing_since.or_else(|| Some(Instant::now()));
                retry = (retry * 2).min(LONGEST_RETRY_WAIT);
                retry
            };
            self.log_news(problems, failing_since);
            let pause = sleep(PAUSE);
            // Looks again at the first change, or after `wait`, but not before the pause is over.
            tokio::select! {
                // With `biased`, `wait_until_due` is polled first, even if `changed` is ready and this future is then
                // dropped: the poll records in `counts` that the counts have changed. From then until they are due,
                // `ObjectCounts::of` returns `None`, so the next look does not write counts that still change.
                biased;
                () = self.counts.wait_until_due() => {}
                () = self.changed.notified() => {}
                () = sleep(wait) => {}
            }
            pause.await;
        }
    }

    /// Makes the stored states, the key ring and the SealingKeys agree.
    async fn look(&mut self, sender: &watch::Sender<Keys>) -> KeyProblems {
        let mut problems = KeyProblems::default();
        let outcome = self.try_look(sender, &mut problems).await;
        problems.failures.extend(outcome.err());
        problems
    }

    async fn try_look(&mut self, sender: &watch::Sender<Keys>, problems: &mut KeyProblems) -> Result<(), KeyError> {
        let now = Timestamp::now();
        let (mut stored, present) = self.keys_and_successor(now, problems).await?;
        let broken_count = stored.broken.len();
        let identities = identities::by_key(&stored);
        self.show_in_metrics(broken_count, &identities);
        problems.obstacles.extend(stored.broken.iter().cloned());
        let lost = identities::lost_keys(&stored);
        problems.obstacles.extend(stored.held.iter().filter_map(|(_, version)| version.deletion_warning(&lost)));
        let succession = self.succession(&stored, &present, now);
        self.next_renewal = succession.next_renewal();
        let unwritten = self.write_states(&mut stored, &succession, problems).await;
        let held = stored.into_keys();
        let present_recovery = self.publication.present_recovery(&self.recovery).await?;
        let published = |recipient: &Recipient| present_recovery.published(recipient);
        let (recovery, held_here) = self.recovery.to_publish(&held, published, now);
        problems.failures.extend(held_here.into_iter().map(KeyError::RecoveryKeyHeld));
        let keys = Keys::of(KeyRing::new(held).with_recovery_keys(recovery.clone()));
        let is_ready = matches!(*sender.borrow(), Keys::Held(_));
        // A ready controller uses stricter states at once, before it writes the SealingKeys.
        if is_ready {
            give_to_reconcilers(sender, &keys);
        }
        // Publishes the SealingKeys before the controller becomes ready: people fetch them as soon as it is ready.
        let own: Vec<_> = keys.held().iter().map(|key| self.own_status(key, &identities, &unwritten)).collect();
        problems.failures.extend(self.publication.publish(own, &present).await);
        let of_recovery: Vec<_> = recovery.iter().map(|key| self.recovery_status(key)).collect();
        problems.failures.extend(self.publication.publish(of_recovery, &present_recovery).await);
        give_to_reconcilers(sender, &keys);
        let own_keys = OwnKeys { held: keys.held(), recovery: &recovery, broken: broken_count };
        let removal = self.publication.remove_unaccounted(&own_keys, &mut self.identities, LONGEST_REMOVAL);
        problems.failures.extend(removal.await);
        Ok(())
    }

    /// Gives the keys their states, and writes these to the identity Secrets. Returns the keys whose state
    /// could not be written.
    async fn write_states(
        &mut self,
        stored: &mut StoredKeys<IdentityVersion>,
        succession: &Succession,
        problems: &mut KeyProblems,
    ) -> BTreeSet<KeyId> {
        let mut unwritten = BTreeSet::new();
        for (identity, state) in stored.tighten(&mut self.strictest, |key| succession.state(key)) {
            if let Err(error) = self.identities.write_state(identity, state).await {
                unwritten.insert(identity.key.clone());
                problems.failures.push(error);
            }
        }
        unwritten
    }

    /// What the status of a held key says. `unwritten` are the keys whose state could not be stored: it is not
    /// confirmed.
    fn own_status<'a>(
        &self,
        key: &'a HeldKey,
        identities: &BTreeMap<KeyId, StoredIdentity>,
        unwritten: &BTreeSet<KeyId>,
    ) -> (&'a PublishedKey, KeyStatus) {
        let (id, key) = (key.key_id(), key.published());
        let state = (!unwritten.contains(id)).then_some(key.state);
        (key, KeyStatus { state, counts: self.counts.of(id), identity: identities.get(id).cloned() })
    }

    /// What the status of a recovery key says: its state needs no identity Secret.
    fn recovery_status<'a>(&self, key: &'a PublishedKey) -> (&'a PublishedKey, KeyStatus) {
        let counts = self.counts.of(key.recipient.key_id());
        (key, KeyStatus { state: Some(key.state), counts, identity: None })
    }

    fn show_in_metrics(&self, broken_count: usize, identities: &BTreeMap<KeyId, StoredIdentity>) {
        self.metrics.broken_identities.set(i64::try_from(broken_count).unwrap_or(i64::MAX));
        let backups = identities.iter().filter_map(|(key, identity)| Some((key.clone(), identity.last_backup?)));
        self.metrics.set_backups(backups.collect());
    }

    /// Returns the identities and their SealingKeys. Makes the successor that is due and reads everything again
    /// ([`waxseal_shared::key_succession`]).
    async fn keys_and_successor(
        &mut self,
        now: Timestamp,
        problems: &mut KeyProblems,
    ) -> Result<(StoredKeys<IdentityVersion>, PresentSealingKeys), KeyError> {
        let stored = self.identities_or_first(now, problems).await?;
        let (stored, present) = self.with_sealing_keys(stored, now).await?;
        let successor = match self.succession(&stored, &present, now).due() {
            Ok(Some(successor)) => successor,
            Ok(None) => return Ok((stored, present)),
            Err(obstacle) => {
                problems.obstacles.push(obstacle.to_string());
                return Ok((stored, present));
            }
        };
        match self.identities.create_successor(&successor).await {
            Ok(made) => self.publication.note_made(made),
            Err(error) => {
                // Returns the keys all the same: a requested revocation must not wait for the successor.
                problems.failures.push(error);
                return Ok((stored, present));
            }
        }
        let stored = self.identities.read(now).await?;
        let (stored, present) = self.with_sealing_keys(stored, now).await?;
        let due = self.succession(&stored, &present, now).due();
        if due.is_ok_and(|due| due.is_some_and(|due| due.of == successor.of)) {
            problems.failures.push(KeyError::SuccessorNameTaken { of: successor.of });
        }
        Ok((stored, present))
    }

    /// Reads the SealingKeys of these identities. Reads both again if a SealingKey is absent. After this controller
    /// read the identities, another controller may have carried out the request of that SealingKey, and then somebody
    /// may have deleted the SealingKey. Without the second reading, this controller would publish the key in its old
    /// state.
    async fn with_sealing_keys(
        &mut self,
        stored: StoredKeys<IdentityVersion>,
        now: Timestamp,
    ) -> Result<(StoredKeys<IdentityVersion>, PresentSealingKeys), KeyError> {
        let present = self.publication.present(&stored).await?;
        if present.include_all(&stored) {
            return Ok((stored, present));
        }
        let stored = self.identities.read(now).await?;
        let present = self.publication.present(&stored).await?;
        Ok((stored, present))
    }

    fn succession(
        &self,
        stored: &StoredKeys<IdentityVersion>,
        present: &PresentSealingKeys,
        now: Timestamp,
    ) -> Succession {
        let lost = identities::lost_keys(stored);
        let requested = |key: &PublishedKey| present.state(key);
        Succession::new(stored, &self.strictest, requested, lost, self.generation, now)
    }

    /// The time until the next renewal; zero if the renewal has become due since the last look.
    fn time_to_renewal(&self) -> Option<Duration> {
        let left = self.next_renewal?.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Returns the identities. Makes the first one unless something forbids it ([`waxseal_shared::key_succession`]).
    async fn identities_or_first(
        &mut self,
        now: Timestamp,
        problems: &mut KeyProblems,
    ) -> Result<StoredKeys<IdentityVersion>, KeyError> {
        let present = self.identities.read(now).await?;
        if !present.is_empty() {
            return Ok(present);
        }
        if self.generation == KeyGeneration::Off {
            problems.obstacles.push(NO_FIRST_KEY.to_owned());
            return Ok(present);
        }
        if self.has_first_key_obstacle().await? {
            problems.obstacles.push(FIRST_KEY_OBSTACLE.to_owned());
            return Ok(present);
        }
        self.publication.note_made(self.identities.create_first(now).await?);
        let made = self.identities.read(now).await?;
        if made.is_empty() {
            problems.failures.push(KeyError::FirstNameTaken);
        }
        Ok(made)
    }

    /// Whether a SealedSecret forbids a first key. Fails if the SealedSecrets of one scope cannot be listed: they may
    /// be sealed to a key that is lost.
    async fn has_first_key_obstacle(&self) -> Result<bool, KeyError> {
        for scope in &*self.scopes {
            if self.has_first_key_obstacle_in(scope).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_first_key_obstacle_in(&self, scope: &ServedScope) -> Result<bool, KeyError> {
        let selection = records::sealed_secrets(scope);
        let found = Notify::new();
        let listed = lists::list(&self.client, &selection, |object: DeserializeGuard<SealedSecret>| {
            let object = object.0.as_ref();
            if first_key_obstacle(object.ok(), Some(&[]), object.err()).is_some() {
                found.notify_one();
            }
        });
        let failed = |error| KeyError::Api { operation: format!("list the SealedSecrets in {scope}"), error };
        tokio::select! {
            // Leaves the following pages unread.
            () = found.notified() => return Ok(true),
            listed = listed => listed.map_err(failed).map_err(KeyError::with_404_as_unknown_kind)?,
        };
        Ok(found.notified().now_or_never().is_some())
    }

    /// Logs the problems that are new.
    fn log_news(&mut self, problems: KeyProblems, failing_since: Option<Instant>) {
        let is_patient = failing_since.is_none_or(|since| since.elapsed() < PATIENCE);
        let failures = problems.failures.iter().filter(|failure| !(is_patient && failure.is_transient()));
        let complaints: BTreeSet<_> =
            failures.map(|failure| format!("{failure}; trying again")).chain(problems.obstacles).collect();
        self.complaints.log(complaints);
    }
}

/// The SealingKeys of the key namespace.
pub(super) fn sealing_keys(namespace: &str) -> Selection {
    Selection::of::<SealingKey>(ServedScope::Namespace(namespace.into()), Extent::Metadata)
}

/// Gives the reconcilers the keys, which wakes them only if the keys differ from those before.
fn give_to_reconcilers(sender: &watch::Sender<Keys>, keys: &Keys) {
    sender.send_if_modified(|present| {
        let (before, after) = (present.published(), keys.published());
        if !matches!(present, Keys::Loading) && before == after {
            return false;
        }
        log::new_keys(&before, &after);
        *present = keys.clone();
        true
    });
}

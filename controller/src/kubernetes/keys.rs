//! The controller's keys: read from identity Secrets, published as SealingKeys.

mod identities;
mod key_error;
mod publication;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::{Client, Resource};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use waxseal_shared::key_life::{StoredKeys, StrictestStates, forbids_first_key};
use waxseal_shared::key_ring::{KeyRing, Keys};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::SealingKey;

use self::identities::{IdentitySecrets, IdentityVersion, OF_OUR_TYPE};
use self::key_error::KeyError;
use self::publication::Publication;
use super::lists::{self, Content, Selection};
use crate::log::{self, Complaints};

/// The keys are looked at this often, and at every change of an identity Secret or SealingKey.
const INTERVAL: Duration = Duration::from_mins(1);
/// The shortest time between two looks: somebody who changes SealingKeys in a loop does not set the pace.
const PAUSE: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// For this long what often heals by itself is not complained of.
const PATIENCE: Duration = Duration::from_secs(20);

/// The identity Secrets and SealingKeys of one namespace.
pub(super) struct KeySource {
    client: Client,
    /// Tells of every change of an identity Secret or SealingKey.
    changed: Arc<Notify>,
    identities: IdentitySecrets,
    publication: Publication,
    /// A state that was used stays in force, even if it cannot be written to the identity.
    strictest: StrictestStates,
    complaints: Complaints,
}

/// What went wrong in one look at the keys: what is tried again, and identities that are not used.
#[derive(Default)]
struct Troubles {
    failures: Vec<KeyError>,
    broken: Vec<String>,
}

impl KeySource {
    pub(super) fn new(client: Client, namespace: &str, changed: Arc<Notify>) -> Self {
        Self {
            identities: IdentitySecrets::new(client.clone(), namespace),
            publication: Publication::new(client.clone(), namespace),
            client,
            changed,
            strictest: StrictestStates::default(),
            complaints: Complaints::default(),
        }
    }

    /// Reads the keys and keeps them current, for ever.
    pub(super) async fn run(mut self, sender: watch::Sender<Keys>) {
        let mut retry = PAUSE;
        let mut failing_since = None;
        loop {
            let troubles = self.look(&sender).await;
            let wait = if troubles.failures.is_empty() {
                (retry, failing_since) = (PAUSE, None);
                INTERVAL
            } else {
                failing_since = failing_since.or_else(|| Some(Instant::now()));
                retry = (retry * 2).min(LAST_RETRY);
                retry
            };
            self.complain(troubles, failing_since);
            let pause = sleep(PAUSE);
            // A change, or the end of the wait: either way it looks again.
            let _ = timeout(wait, self.changed.notified()).await;
            pause.await;
        }
    }

    /// Brings identities, the key ring and SealingKeys into line.
    async fn look(&mut self, sender: &watch::Sender<Keys>) -> Troubles {
        let mut troubles = Troubles::default();
        let outcome = self.try_look(sender, &mut troubles).await;
        troubles.failures.extend(outcome.err());
        troubles
    }

    async fn try_look(&mut self, sender: &watch::Sender<Keys>, troubles: &mut Troubles) -> Result<(), KeyError> {
        let now = Timestamp::now();
        let mut stored = self.identities_or_first(now, troubles).await?;
        let broken_count = stored.broken.len();
        troubles.broken.clone_from(&stored.broken);
        let ids = stored.held.iter().map(|(key, _)| key.key_id().clone()).collect();
        let requests = self.publication.requests(ids).await?;
        for (identity, state) in stored.tighten(&mut self.strictest, |key| requests.state(key)) {
            troubles.failures.extend(self.identities.write_state(identity, state).await.err());
        }
        let keys = Keys::of(KeyRing::new(stored.into_keys()));
        let is_ready = matches!(*sender.borrow(), Keys::Held(_));
        if is_ready {
            publish_keys(sender, &keys);
        }
        // People fetch the keys as soon as the controller is ready: it publishes them before that.
        troubles.failures.extend(self.publication.publish(keys.held(), &requests).await);
        publish_keys(sender, &keys);
        troubles.failures.extend(self.publication.remove_planted(keys.held(), broken_count).await);
        Ok(())
    }

    /// The identities. Makes the first if nothing stands against it ([`waxseal_shared::key_life`]).
    async fn identities_or_first(
        &self,
        now: Timestamp,
        troubles: &mut Troubles,
    ) -> Result<StoredKeys<IdentityVersion>, KeyError> {
        let present = self.identities.read(now).await?;
        if !present.is_empty() || self.has_sealed_values().await? {
            return Ok(present);
        }
        self.identities.create_first(now).await?;
        let made = self.identities.read(now).await?;
        if made.is_empty() {
            troubles.failures.push(KeyError::FirstNameTaken);
        }
        Ok(made)
    }

    async fn has_sealed_values(&self) -> Result<bool, KeyError> {
        let path = SealedSecret::url_path(&(), None);
        let selection = Selection { path, labels: None, fields: None, content: Content::Whole };
        let found = Notify::new();
        let listed = lists::list(&self.client, &selection, |object: DeserializeGuard<SealedSecret>| {
            if object.0.as_ref().map_or(true, forbids_first_key) {
                found.notify_one();
            }
        });
        let failed = |error| KeyError::Api { operation: "list the SealedSecrets".to_owned(), error };
        tokio::select! {
            // The pages that follow are not read.
            () = found.notified() => return Ok(true),
            listed = listed => listed.map_err(failed).map_err(KeyError::of_our_kinds)?,
        };
        Ok(found.notified().now_or_never().is_some())
    }

    /// Logs what is new among the troubles.
    fn complain(&mut self, troubles: Troubles, failing_since: Option<Instant>) {
        let is_patient = failing_since.is_none_or(|since| since.elapsed() < PATIENCE);
        let failures = troubles.failures.iter().filter(|failure| !(is_patient && failure.is_passing()));
        let complaints: BTreeSet<_> =
            failures.map(|failure| format!("{failure}; trying again")).chain(troubles.broken).collect();
        self.complaints.log(complaints);
    }
}

/// The identity Secrets of the key namespace.
pub(super) fn identity_secrets(namespace: &str) -> Selection {
    let path = Secret::url_path(&(), Some(namespace));
    Selection { path, labels: None, fields: Some(OF_OUR_TYPE), content: Content::Metadata }
}

/// The SealingKeys of the key namespace.
pub(super) fn sealing_keys(namespace: &str) -> Selection {
    let path = SealingKey::url_path(&(), Some(namespace));
    Selection { path, labels: None, fields: None, content: Content::Metadata }
}

/// Gives the reconcilers the keys, which wakes them only if the keys differ from those before.
fn publish_keys(sender: &watch::Sender<Keys>, keys: &Keys) {
    let published = |keys: &Keys| keys.held().iter().map(|key| key.published().clone()).collect::<Vec<_>>();
    sender.send_if_modified(|present| {
        let (before, after) = (published(present), published(keys));
        if !matches!(present, Keys::Loading) && before == after {
            return false;
        }
        after.iter().filter(|key| !before.contains(key)).for_each(log::held_key);
        *present = keys.clone();
        true
    });
}

//! Support for the tests: the identities and SealingKeys in the namespace of the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::key::{Identity, IdentityFile, KeyKind};
use waxseal_shared::key_life::primary;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey, SealingKey, SealingKeySpec};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::KEY_NAMESPACE;
use waxseal_tests::waiting;

use crate::registration::{Error, TestResult};
use crate::sealing::{DEADLINE, patch};

pub(crate) const TYPE: &str = "waxseal.dev/sealing-key";
pub(crate) const MADE: &str = "2026-01-01T00:00:00Z";

/// The deadline for what only the controller's next attempt brings: it waits up to 30 s between two attempts.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The key namespace as an administrator sees it.
pub(crate) struct Keys {
    pub(crate) identities: Api<Secret>,
    pub(crate) published: Api<SealingKey>,
}

impl Keys {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self {
            identities: Api::namespaced(cluster.client(), KEY_NAMESPACE),
            published: Api::namespaced(cluster.client(), KEY_NAMESPACE),
        }
    }

    /// Creates an identity Secret for a new identity. Returns the key id.
    pub(crate) async fn add(&self, name: &str) -> Result<String, Error> {
        let identity = new_identity();
        self.identities.create(&PostParams::default(), &secret(name, &identity, MADE)).await?;
        Ok(identity.recipient().key_id().to_string())
    }

    /// Changes the state in a SealingKey, as a person does who retires or revokes a key.
    pub(crate) async fn ask_for(&self, key: &str, state: &str) -> Result<SealingKey, Error> {
        patch(&self.published, key, json!({"spec": {"state": state}})).await
    }

    pub(crate) async fn delete(&self, key: &str) -> TestResult {
        self.published.delete(key, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) async fn identity_secrets(&self) -> Result<Vec<Secret>, Error> {
        Ok(self.identities.list(&ListParams::default().fields(&format!("type={TYPE}"))).await?.items)
    }

    /// The names of the identity Secrets, in order.
    pub(crate) async fn identity_names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<_> = self.identity_secrets().await?.iter().map(ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }

    /// The state in an identity Secret.
    pub(crate) async fn durable(&self, secret: &str) -> Option<String> {
        let data = self.identities.get_opt(secret).await.ok()??.data?;
        String::from_utf8(data.get("state")?.0.clone()).ok()
    }

    pub(crate) async fn until_durable(&self, secret: &str, state: &str) -> TestResult {
        let what = format!("the state {state} of the identity Secret {secret}");
        let is_durable = async || (self.durable(secret).await? == state).then_some(());
        Ok(waiting::until(&what, LONGEST_WAIT, is_durable).await?)
    }

    pub(crate) async fn until_published(&self, key: &str, state: KeyState) -> Result<SealingKey, Error> {
        let what = format!("the state {state:?} of the SealingKey {key}");
        let published = async || {
            let found = self.published.get_opt(key).await.ok()??;
            (found.spec.state == state && found.metadata.deletion_timestamp.is_none()).then_some(found)
        };
        Ok(waiting::until(&what, DEADLINE, published).await?)
    }

    pub(crate) async fn until_gone(&self, key: &str) -> TestResult {
        let what = format!("the end of the SealingKey {key}");
        let gone = async || self.published.get_opt(key).await.ok()?.is_none().then_some(());
        Ok(waiting::until(&what, DEADLINE, gone).await?)
    }

    /// The published keys.
    pub(crate) async fn decoded(&self) -> Result<Vec<PublishedKey>, Error> {
        let list = self.published.list(&ListParams::default()).await?;
        Ok(list.items.iter().map(PublishedKey::decode).collect::<Result<_, _>>()?)
    }

    /// The id of the primary.
    pub(crate) async fn primary(&self) -> Result<String, Error> {
        let keys = self.decoded().await?;
        Ok(primary(&keys).ok_or("no primary")?.recipient.key_id().to_string())
    }

    /// Waits until a SealingKey is published; returns the first name in the list.
    pub(crate) async fn first(&self) -> Result<String, Error> {
        let published =
            async || Some(self.published.list(&ListParams::default()).await.ok()?.items.first()?.name_any());
        Ok(waiting::until("a SealingKey", DEADLINE, published).await?)
    }
}

pub(crate) fn new_identity() -> Identity {
    Identity::generate(KeyKind::Hybrid, &mut randomness::system())
}

/// An identity Secret that an operator writes.
pub(crate) fn secret(name: &str, identity: &Identity, made: &str) -> Secret {
    let text = IdentityFile::write(identity, made.parse().expect("a time"));
    identity_secret(name, text.as_bytes())
}

pub(crate) fn identity_secret(name: &str, identity: &[u8]) -> Secret {
    let mut secret = Secret { type_: Some(TYPE.to_owned()), ..Secret::default() };
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some([("identity".to_owned(), ByteString(identity.to_vec()))].into());
    secret
}

/// The SealingKey of an identity.
pub(crate) fn sealing_key(identity: &Identity, state: KeyState) -> SealingKey {
    let recipient = identity.recipient();
    let spec =
        SealingKeySpec { recipient: recipient.to_string(), role: KeyRole::Cluster, created_at: MADE.to_owned(), state };
    SealingKey::new(recipient.key_id().as_str(), spec)
}

/// The states of SealingKeys that a watch has seen.
#[derive(Default)]
pub(crate) struct Seen {
    strictest: BTreeMap<String, KeyState>,
    /// The keys that became less strict, and the error that ended the watch.
    relaxed: BTreeSet<String>,
    /// The deletions, and the changes after which no key was Active although one was before.
    interruptions: Vec<String>,
}

impl Seen {
    /// Follows all SealingKeys of the key namespace, from those that exist now on, until the watch fails.
    pub(crate) async fn follow(published: Api<SealingKey>) -> Result<Arc<Mutex<Self>>, Error> {
        let mut first = Self::default();
        let mut events = watcher(published, watcher::Config::default()).boxed();
        // The watch has started when its first list ends.
        loop {
            match events.try_next().await?.ok_or("the watch ended")? {
                watcher::Event::InitApply(key) => first.note(&key),
                watcher::Event::InitDone => break,
                _ => {}
            }
        }
        let seen = Arc::new(Mutex::new(first));
        let writing = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let mut seen = writing.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Ok(watcher::Event::Apply(key) | watcher::Event::InitApply(key)) => seen.note(&key),
                    Ok(watcher::Event::Delete(key)) => {
                        seen.interruptions.push(format!("{} is deleted", key.name_any()));
                    }
                    Ok(_) => {}
                    // Events after an error are not recorded.
                    Err(error) => {
                        seen.relaxed.insert(error.to_string());
                        return;
                    }
                }
            }
        });
        Ok(seen)
    }

    fn note(&mut self, key: &SealingKey) {
        let had_active = self.has_active();
        let strictest = self.strictest.entry(key.name_any()).or_insert(key.spec.state);
        if key.spec.state < *strictest {
            self.relaxed.insert(key.name_any());
        }
        *strictest = key.spec.state.stricter(*strictest);
        if had_active && !self.has_active() {
            self.interruptions.push(format!("no key is Active after the change of {}", key.name_any()));
        }
    }

    fn has_active(&self) -> bool {
        self.strictest.values().any(|state| *state == KeyState::Active)
    }

    /// Fails if the watch failed, if a key became less strict, if a SealingKey was deleted, or if there was a time
    /// without an Active key.
    #[track_caller]
    pub(crate) fn assert_always_active(seen: &Mutex<Self>) {
        Self::assert_none_relaxed(seen);
        assert_eq!(seen.lock().unwrap_or_else(PoisonError::into_inner).interruptions, [""; 0]);
    }

    /// Fails if the watch failed or if a key became less strict; returns the number of Revoked keys.
    #[track_caller]
    pub(crate) fn assert_none_relaxed(seen: &Mutex<Self>) -> usize {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(seen.relaxed, BTreeSet::new());
        seen.strictest.values().filter(|state| **state == KeyState::Revoked).count()
    }
}

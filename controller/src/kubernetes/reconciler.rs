//! Reconciling one object: look, decide, do, say.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Deserialize;
use tokio::sync::watch;
use waxseal_shared::api_group::FIELD_MANAGER;
use waxseal_shared::judgement::Judgement;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::names::KeyId;
use waxseal_shared::plan::{DesiredSecret, Existing, Materialised, Plan, plan};
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretSpec, SealedSecretStatus};
use waxseal_shared::settled::{self, JudgedObject};
use waxseal_shared::status;
use waxseal_shared::template::ForbiddenPrefix;

use super::api_failure::{self, Verb};
use super::fetching::{LargeObjects, Room};
use super::metrics::Metrics;
use super::object_key::ObjectKey;
use super::objects::{Objects, SealedSecretNews};
use super::retry_delays;
use super::secret_object::{CREATE_ONLY, SecretApply, existing_secret, removal, surplus_keys};
use super::status_patch;
use crate::log;

/// One reconcile takes at most this long, whatever the API server does.
const DEADLINE: Duration = Duration::from_secs(30);
const MALFORMED: &str = "spec: not what the format has: a field is unknown or of another type";

/// What every reconcile needs.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) keys: watch::Receiver<Keys>,
    pub(super) forbidden: Vec<ForbiddenPrefix>,
    pub(super) objects: Arc<Objects>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) large_objects: LargeObjects,
}

/// What came of an object.
struct Outcome {
    judgement: Judgement,
    /// The Secret, if it is right.
    right_secret: Option<RightSecret>,
}

/// A Secret that is as its SealedSecret says.
struct RightSecret {
    version: SecretVersion,
    opened_with: Vec<KeyId>,
}

/// A state of a Secret.
struct SecretVersion {
    uid: String,
    resource_version: String,
}

impl Outcome {
    fn refused(judgement: Judgement) -> Self {
        Self { judgement, right_secret: None }
    }

    fn right(done: Materialised, version: SecretVersion) -> Self {
        let opened_with = done.opened_with.into_iter().collect();
        Self { judgement: done.judgement, right_secret: Some(RightSecret { version, opened_with }) }
    }
}

/// Brings one object's Secret to where the object says, and says in its status what came of it.
///
/// Assumes nothing about why it was called; without a difference it writes nothing. Returns when to look again, beside
/// every change.
pub(super) async fn reconcile(key: &ObjectKey, context: &Context) -> Option<Duration> {
    let looked = tokio::time::timeout(DEADLINE, look(key, context)).await;
    let result = looked.unwrap_or_else(|_| Err(format!("not done within {} s", DEADLINE.as_secs())));
    let (reason, failure) = match result {
        Ok(None) => return None,
        Ok(Some(reason)) => (reason, None),
        Err(failure) => (Reason::ApiUnavailable, Some(failure)),
    };
    context.metrics.count_reconcile(reason);
    let repetitions = context.objects.judged(key, reason);
    if let Some(failure) = failure.filter(|_| repetitions == 0) {
        let (namespace, name) = (&*key.namespace, &*key.name);
        tracing::warn!(namespace, name, "{failure}; trying again");
    }
    retry_delays::delay(reason, repetitions)
}

/// How the object stands once its status says so; `None` if there is nothing to say: the object is being deleted, or
/// gone. The error says in our words why its status could not be read or written.
async fn look(key: &ObjectKey, context: &Context) -> Result<Option<Reason>, String> {
    let Some(known) = context.objects.known(key).filter(|known| !known.is_being_deleted()) else {
        return Ok(None);
    };
    let keys = context.keys.borrow().clone();
    if matches!(&keys, Keys::Held(ring) if known.is_settled(ring, &context.forbidden)) {
        return Ok(Some(Reason::Materialised));
    }
    if matches!(keys, Keys::Loading) && known.is_judged() {
        // What the status says stands until the keys are read.
        return Ok(Some(Reason::KeysLoading));
    }
    let mut room = context.large_objects.room();
    let Some((object, is_readable)) = fetch(key, context, &mut room).await? else {
        return Ok(None);
    };
    let outcome = if is_readable {
        carry_out(&object, &keys, known.has_marked_secret(), context, &mut room).await
    } else {
        Some(Outcome::refused(Judgement::new(Reason::Malformed, MALFORMED)))
    };
    let Some(outcome) = outcome else {
        return Ok(None);
    };
    if let Some(right) = &outcome.right_secret {
        context.objects.wrote_secret(key, &right.version.uid, &right.version.resource_version);
    }
    log_news(&object, &outcome.judgement);
    let status = new_status(&object, &outcome, &keys, context);
    match status_patch::write(&context.client, &object, &status).await {
        Ok(version) => {
            let version = version.or_else(|| object.resource_version()).unwrap_or_default();
            context.objects.wrote_status(key, &object.uid().unwrap_or_default(), &version, &status);
            Ok(Some(outcome.judgement.reason))
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        // The object changed meanwhile: it is looked at again.
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(Some(Reason::Conflict)),
        Err(error) => {
            context.metrics.count_failed_status_write();
            Err(format!("failed to patch sealedsecrets/status: {}", api_failure::describe(&error)))
        }
    }
}

/// Every object has metadata, whether its spec is readable or not.
#[derive(Deserialize)]
struct MetadataAndStatus {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    status: Option<SealedSecretStatus>,
}

/// The object as the API server has it now, and whether its spec is readable; `None` if it is gone. What is known of it
/// is brought up to date.
async fn fetch(
    key: &ObjectKey,
    context: &Context,
    room: &mut Room<'_>,
) -> Result<Option<(SealedSecret, bool)>, String> {
    let path = SealedSecret::url_path(&(), Some(&key.namespace));
    let fetched = room.fetch(&context.client, &path, &key.name).await;
    let fetched = fetched.map_err(|error| format!("failed to get the object: {}", api_failure::describe(&error)))?;
    let Some(text) = fetched else {
        return Ok(None);
    };
    let unreadable = |_| "failed to get the object: the answer could not be read".to_owned();
    let news: SealedSecretNews = serde_json::from_slice(&text).map_err(unreadable)?;
    context.objects.fetched(news);
    if let Ok(object) = serde_json::from_slice(&text) {
        return Ok(Some((object, true)));
    }
    let MetadataAndStatus { metadata, status } = serde_json::from_slice(&text).map_err(unreadable)?;
    Ok(Some((SealedSecret { metadata, spec: SealedSecretSpec::default(), status }, false)))
}

/// What came of the object; `None` if it is being deleted.
///
/// A Secret that the watch does not know counts as absent without a read: creation conflicts if there is one after
/// all, and then it is fetched.
async fn carry_out(
    object: &SealedSecret,
    keys: &Keys,
    has_marked_secret: bool,
    context: &Context,
    room: &mut Room<'_>,
) -> Option<Outcome> {
    if !has_marked_secret {
        let created = act(object, keys, None, context).await?;
        if created.judgement.reason != Reason::Conflict {
            return Some(created);
        }
    }
    let path = Secret::url_path(&(), object.namespace().as_deref());
    match room.fetch(&context.client, &path, &object.name_any()).await {
        Ok(None) => act(object, keys, None, context).await,
        Ok(Some(text)) => match serde_json::from_slice(&text) {
            Ok(secret) => act(object, keys, Some(secret), context).await,
            Err(error) => Some(Outcome::refused(api_failure::judgement(&kube::Error::SerdeError(error), Verb::Get))),
        },
        Err(error) => Some(Outcome::refused(api_failure::judgement(&error, Verb::Get))),
    }
}

async fn act(object: &SealedSecret, keys: &Keys, found: Option<Secret>, context: &Context) -> Option<Outcome> {
    let version = found.as_ref().map(version_of);
    let secret = found.map(existing_secret);
    let existing = secret.as_ref().map_or(Existing::Absent, |secret| Existing::of(secret, object));
    match (plan(object, keys, &context.forbidden, existing), version) {
        (Plan::Nothing, _) => None,
        (Plan::Refuse(judgement), _) => Some(Outcome::refused(judgement)),
        (Plan::Keep(done), version) => Some(Outcome::right(done, version?)),
        (Plan::Write(desired, done), version) => {
            let base = version.as_ref().map_or(CREATE_ONLY, |version| &version.resource_version);
            match write_secret(&context.client, object, &desired, base).await {
                Ok(written) => {
                    context.metrics.count_write();
                    Some(Outcome::right(done, written))
                }
                Err(error) => Some(Outcome::refused(api_failure::judgement(&error, Verb::Patch))),
            }
        }
    }
}

/// Applies the Secret to the version that was judged, then removes data keys that the plan lacks: apply leaves those
/// that others wrote.
async fn write_secret(
    client: &Client,
    owner: &SealedSecret,
    desired: &DesiredSecret,
    resource_version: &str,
) -> kube::Result<SecretVersion> {
    let secrets = Api::<Secret>::namespaced(client.clone(), &owner.namespace().unwrap_or_default());
    let name = desired.name.as_str();
    let apply = SecretApply { owner, desired, resource_version };
    let written = secrets.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(apply)).await?;
    let surplus = surplus_keys(&written, desired);
    let version = version_of(&written);
    drop(existing_secret(written));
    if surplus.is_empty() {
        return Ok(version);
    }
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(removal(&surplus, &version.resource_version));
    let pruned = secrets.patch(name, &params, &patch).await?;
    let version = version_of(&pruned);
    drop(existing_secret(pruned));
    Ok(version)
}

fn version_of(secret: &Secret) -> SecretVersion {
    SecretVersion {
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
    }
}

fn new_status(object: &SealedSecret, outcome: &Outcome, keys: &Keys, context: &Context) -> SealedSecretStatus {
    let mut status = status::after(object, &outcome.judgement, Timestamp::now());
    if let (Keys::Held(ring), Some(RightSecret { version, opened_with })) = (keys, &outcome.right_secret) {
        let uid = object.uid().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let judged = JudgedObject { uid: &uid, generation, forbidden: &context.forbidden };
        let secret = (version.uid.as_str(), version.resource_version.as_str());
        settled::record(&mut status, &judged, secret, opened_with.iter().cloned(), ring);
    }
    status
}

/// Logs each fact that the object's status does not state yet.
fn log_news(object: &SealedSecret, judgement: &Judgement) {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    for fact in judgement.facts().iter().filter(|fact| !fact.is_stated_in(object.status.as_ref())) {
        log::fact(&namespace, &name, fact);
    }
}

//! Reconciling one object: what is known, the plan, the Secret, the status.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::watch;
use waxseal_shared::api_group::{FIELD_MANAGER, MARK_LABEL};
use waxseal_shared::judgement::Judgement;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::names::KeyId;
use waxseal_shared::plan::{DesiredSecret, Existing, Materialised, Plan, difference, plan};
use waxseal_shared::randomness;
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretSpec, SealedSecretStatus};
use waxseal_shared::settled::{self, JudgedObject};
use waxseal_shared::status;
use waxseal_shared::template::ForbiddenPrefix;

use super::api_failure::{self, Verb};
use super::fetching::{LargeObjects, ObjectFetcher};
use super::metrics::Metrics;
use super::object_key::ObjectKey;
use super::objects::{Known, Objects};
use super::records::{SealedSecretParts, SealedSecretRecord};
use super::retry_delays;
use super::secret_object::{CREATE_ONLY, SecretApply, existing_secret, removal, surplus_keys};
use super::status_patch;
use crate::log;

/// A reconcile ends after this time, however slowly the API server answers.
const DEADLINE: Duration = Duration::from_secs(30);
const MALFORMED: &str =
    "spec: a field is unknown, is missing or has the wrong type; update Waxseal, if a newer version wrote this";

/// What every reconcile needs.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) keys: watch::Receiver<Keys>,
    pub(super) forbidden: Vec<ForbiddenPrefix>,
    pub(super) objects: Arc<Objects>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) large_objects: LargeObjects,
}

/// The result of a reconcile.
struct Outcome {
    reason: Reason,
    /// The time until the status may be written, if somebody overwrites it again and again.
    pause: Option<Duration>,
    /// The object with the status that this reconcile wrote or found to be right.
    record: Option<SealedSecretRecord>,
}

impl Outcome {
    /// The outcome of a reconcile that leaves the record of the status as it is.
    fn without_status(reason: Reason) -> Self {
        Self { reason, pause: None, record: None }
    }
}

/// Why a reconcile ends without an outcome. Never quotes the API server.
#[derive(Debug, Error)]
enum ReconcileError {
    #[error("failed to get the SealedSecret: {}", api_failure::describe(.0))]
    Get(kube::Error),
    #[error("failed to patch sealedsecrets/status: {}", api_failure::describe(.0))]
    PatchStatus(kube::Error),
    #[error("the reconcile did not finish within {} s", DEADLINE.as_secs())]
    TimedOut,
}

/// A SealedSecret as the API server has it now.
struct FetchedObject {
    object: SealedSecret,
    record: SealedSecretRecord,
    /// Whether the spec could be read. If not, `object` has an empty spec.
    has_readable_spec: bool,
    /// The status, if it could not be read: `object` then has no status. Otherwise empty.
    unreadable_status: Map<String, Value>,
}

/// The judgement on an object.
struct Judged {
    judgement: Judgement,
    /// The keys whose wraps were opened, if the Secret is as the object says.
    opened_with: BTreeSet<KeyId>,
    /// The Secret, if it is as the object says.
    right_secret: Option<SecretVersion>,
}

struct SecretVersion {
    uid: String,
    resource_version: String,
}

impl Judged {
    fn refused(judgement: Judgement) -> Self {
        Self { judgement, opened_with: BTreeSet::new(), right_secret: None }
    }

    fn right(materialised: Materialised, version: SecretVersion) -> Self {
        let Materialised { judgement, opened_with } = materialised;
        Self { judgement, opened_with, right_secret: Some(version) }
    }
}

/// Makes the Secret of one object as the object says, and writes the judgement to its status.
///
/// Reads nothing if the object is settled, or if the keys are still loading and the status is about the present
/// generation. Otherwise reads the present state, whatever caused the call, and writes only what differs. Returns the
/// time until the next reconcile; `None` if only a change causes the next one.
pub(super) async fn reconcile(key: &ObjectKey, context: &Context) -> Option<Duration> {
    let keys = context.keys.borrow().clone();
    let known = context.objects.known(key)?;
    let result = tokio::time::timeout(DEADLINE, try_reconcile(key, &known, &keys, context)).await;
    let Outcome { reason, pause, record } = match result.unwrap_or(Err(ReconcileError::TimedOut)) {
        Ok(outcome) => outcome?,
        Err(error) => report_failure(&error, key, known.last_reason(), &context.metrics),
    };
    context.metrics.count_reconcile(reason);
    let repetitions = context.objects.record_end(key, reason, record);
    [retry_delays::delay(reason, repetitions), pause].into_iter().flatten().min()
}

/// Returns `None` if the object is gone or is being deleted.
async fn try_reconcile(
    key: &ObjectKey,
    known: &Known,
    keys: &Keys,
    context: &Context,
) -> Result<Option<Outcome>, ReconcileError> {
    if matches!(keys, Keys::Held(ring) if known.is_settled(ring, &context.forbidden)) {
        return Ok(Some(Outcome::without_status(Reason::Materialised)));
    }
    if matches!(keys, Keys::Loading) && known.has_current_status() {
        // The status that is there stays: only the keys can tell whether it is still right.
        return Ok(Some(Outcome::without_status(Reason::KeysLoading)));
    }
    let mut fetcher = context.large_objects.fetcher();
    // Reads the Secret before the SealedSecret. If another controller writes the Secret for a newer version of the
    // SealedSecret in between, this controller's write conflicts.
    let marked_secret =
        if known.has_marked_secret() { Some(fetch_secret(key, context, &mut fetcher).await) } else { None };
    let Some(fetched) = fetch(key, context, &mut fetcher).await? else {
        return Ok(None);
    };
    let FetchedObject { object, mut record, has_readable_spec, unreadable_status } = fetched;
    let judged = if has_readable_spec {
        materialise(key, known, &object, keys, marked_secret, context, &mut fetcher).await
    } else {
        Some(Judged::refused(Judgement::new(Reason::Malformed, MALFORMED)))
    };
    let Some(judged) = judged else {
        return Ok(None);
    };
    if let Some(version) = &judged.right_secret {
        context.objects.record_right_secret(key, &version.uid, &version.resource_version);
    }
    let reason = judged.judgement.reason;
    if let Some(pause) = known.pause(&record) {
        // Only the status waits, never the Secret.
        return Ok(Some(Outcome { reason, pause: Some(pause), record: None }));
    }
    log_new_facts(key, &object, &judged.judgement);
    let status = new_status(&object, &judged, keys, context);
    match status_patch::write(&context.client, &object, unreadable_status, &status).await {
        Ok(version) => {
            known.count_correction(&mut record, version.as_deref());
            record.set_written_status(version.as_deref(), &status);
            Ok(Some(Outcome { reason, pause: None, record: Some(record) }))
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        // The object changed since it was fetched: the next reconcile judges the new version.
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(Some(Outcome::without_status(Reason::Conflict))),
        Err(error) => Err(ReconcileError::PatchStatus(error)),
    }
}

/// Counts a timeout or a failed status write. Logs every failure, unless the last reconcile of the object ended with
/// `ApiUnavailable`, too.
fn report_failure(error: &ReconcileError, key: &ObjectKey, last_reason: Option<Reason>, metrics: &Metrics) -> Outcome {
    match error {
        ReconcileError::Get(_) => {}
        ReconcileError::PatchStatus(_) => {
            metrics.failed_status_writes.inc();
        }
        ReconcileError::TimedOut => {
            metrics.reconcile_timeouts.inc();
        }
    }
    if last_reason != Some(Reason::ApiUnavailable) {
        let (namespace, name) = (&*key.namespace, &*key.name);
        tracing::warn!(namespace, name, "{error}; trying again");
    }
    Outcome::without_status(Reason::ApiUnavailable)
}

/// The parts of an object. The API server accepts a spec and a status that this program cannot read: with fields of a
/// newer version, or with a time that does not exist.
#[derive(Deserialize)]
struct ObjectParts<'a> {
    metadata: ObjectMeta,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

/// Fetches a SealedSecret; `None` if it is gone.
async fn fetch(
    key: &ObjectKey,
    context: &Context,
    fetcher: &mut ObjectFetcher<'_>,
) -> Result<Option<FetchedObject>, ReconcileError> {
    let path = SealedSecret::url_path(&(), Some(&key.namespace));
    let fetched = fetcher.fetch(&context.client, &path, &key.name).await;
    let Some(text) = fetched.map_err(ReconcileError::Get)? else {
        return Ok(None);
    };
    let unreadable = |error| ReconcileError::Get(kube::Error::SerdeError(error));
    let parts: SealedSecretParts = serde_json::from_slice(&text).map_err(unreadable)?;
    let record = parts.into();
    let ObjectParts { metadata, spec, status } = serde_json::from_slice(&text).map_err(unreadable)?;
    check_is(key, &metadata).map_err(ReconcileError::Get)?;
    let spec: Option<SealedSecretSpec> = spec.and_then(|spec| serde_json::from_str(spec.get()).ok());
    let (status, unreadable_status) = match status.map(|status| (serde_json::from_str(status.get()), status)) {
        None => (None, Map::new()),
        Some((Ok(readable), _)) => (Some(readable), Map::new()),
        Some((Err(_), status)) => (None, serde_json::from_str(status.get()).map_err(unreadable)?),
    };
    let has_readable_spec = spec.is_some();
    let object = SealedSecret { metadata, spec: spec.unwrap_or_default(), status };
    Ok(Some(FetchedObject { object, record, has_readable_spec, unreadable_status }))
}

/// Makes the Secret as the object says; `None` if the object is being deleted.
///
/// `marked_secret` is `None` if no Secret of this name carries the mark. Then this function creates the Secret without
/// reading it first. If there is an unmarked Secret, the creation conflicts, and this function reads that Secret.
async fn materialise(
    key: &ObjectKey,
    known: &Known,
    object: &SealedSecret,
    keys: &Keys,
    marked_secret: Option<kube::Result<Option<Secret>>>,
    context: &Context,
    fetcher: &mut ObjectFetcher<'_>,
) -> Option<Judged> {
    let fetched = match marked_secret {
        Some(fetched) => fetched,
        None => {
            let created = carry_out_plan(key, known, object, keys, None, context).await?;
            if created.judgement.reason != Reason::Conflict {
                return Some(created);
            }
            let fetched = fetch_secret(key, context, fetcher).await;
            // Another controller has just created it, perhaps for a newer version of the SealedSecret. The watch
            // reports the Secret, and then a reconcile reads it before the SealedSecret.
            if matches!(&fetched, Ok(Some(secret)) if secret.labels().contains_key(MARK_LABEL)) {
                return Some(created);
            }
            fetched
        }
    };
    match fetched {
        Ok(secret) => carry_out_plan(key, known, object, keys, secret, context).await,
        Err(error) => Some(Judged::refused(api_failure::judgement(&error, Verb::Get))),
    }
}

/// Fetches the Secret with the name of an object; `None` if there is no such Secret.
async fn fetch_secret(
    key: &ObjectKey,
    context: &Context,
    fetcher: &mut ObjectFetcher<'_>,
) -> kube::Result<Option<Secret>> {
    let path = Secret::url_path(&(), Some(&key.namespace));
    let Some(text) = fetcher.fetch(&context.client, &path, &key.name).await? else {
        return Ok(None);
    };
    let secret: Secret = serde_json::from_slice(&text).map_err(kube::Error::SerdeError)?;
    check_is(key, &secret.metadata)?;
    Ok(Some(secret))
}

/// Refuses an answer about another object than the one that was asked for, and an object without a UID or version.
fn check_is(key: &ObjectKey, metadata: &ObjectMeta) -> kube::Result<()> {
    let is_given = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    let is_named = metadata.name.as_deref() == Some(&key.name) && metadata.namespace.as_deref() == Some(&key.namespace);
    if is_named && is_given(&metadata.uid) && is_given(&metadata.resource_version) {
        Ok(())
    } else {
        Err(api_failure::unexpected_answer("another object"))
    }
}

/// Makes the plan for an object and its Secret, and carries it out; `None` if the object is being deleted.
async fn carry_out_plan(
    key: &ObjectKey,
    known: &Known,
    object: &SealedSecret,
    keys: &Keys,
    secret: Option<Secret>,
    context: &Context,
) -> Option<Judged> {
    let version = secret.as_ref().map(version_of);
    let existing = secret.map_or(Existing::Absent, |secret| Existing::of(existing_secret(secret), object));
    match (plan(object, keys, &context.forbidden, &existing, &mut randomness::system()), version) {
        (Plan::Nothing, _) => None,
        (Plan::Refuse(judgement), _) => Some(Judged::refused(judgement)),
        (Plan::Keep(materialised), version) => Some(Judged::right(materialised, version?)),
        (Plan::Write(desired, materialised), version) => {
            if let Some(field) = known.changed_field() {
                return Some(Judged::refused(changed(field)));
            }
            let base = version.as_ref().map_or(CREATE_ONLY, |version| &version.resource_version);
            let written = match write_secret(&context.client, key, object, &desired, base).await {
                Ok(written) => written,
                Err(error) => return Some(Judged::refused(api_failure::judgement(&error, Verb::Patch))),
            };
            context.metrics.secret_writes.inc();
            let version = version_of(&written);
            if let Some(field) = difference(object, &desired, &existing_secret(written)) {
                context.objects.record_rejected_write(key, field);
                return Some(Judged::refused(changed(field)));
            }
            Some(Judged::right(materialised, version))
        }
    }
}

/// The judgement on an object whose Secret the API server did not store as it was written.
fn changed(field: &str) -> Judgement {
    Judgement::new(
        Reason::Forbidden,
        format!(
            "the API server stored another Secret than the one that was written: an admission webhook or policy changes \
             its field {field}"
        ),
    )
}

/// Applies the Secret to the version that was judged, then removes the data keys that the plan lacks: an apply does not
/// remove data keys that others wrote. Returns the Secret that the API server stored.
async fn write_secret(
    client: &Client,
    key: &ObjectKey,
    owner: &SealedSecret,
    desired: &DesiredSecret,
    resource_version: &str,
) -> kube::Result<Secret> {
    let secrets = Api::<Secret>::namespaced(client.clone(), &key.namespace);
    let name = desired.name.as_str();
    let apply = SecretApply { owner, desired, resource_version };
    let written = secrets.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(apply)).await?;
    check_is(key, &written.metadata)?;
    let surplus = surplus_keys(&written, desired);
    if surplus.is_empty() {
        return Ok(written);
    }
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(removal(&surplus, &version_of(&written).resource_version));
    let pruned = secrets.patch(name, &params, &patch).await?;
    check_is(key, &pruned.metadata)?;
    Ok(pruned)
}

fn version_of(secret: &Secret) -> SecretVersion {
    SecretVersion {
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
    }
}

/// The status that states the judgement. If the Secret is right, it also records that the object is settled.
fn new_status(object: &SealedSecret, judged: &Judged, keys: &Keys, context: &Context) -> SealedSecretStatus {
    let mut status = status::after(object, &judged.judgement, Timestamp::now());
    if let (Keys::Held(ring), Some(version)) = (keys, &judged.right_secret) {
        let uid = object.uid().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let judged_object = JudgedObject { uid: &uid, generation, forbidden: &context.forbidden };
        let secret = (version.uid.as_str(), version.resource_version.as_str());
        settled::record(&mut status, &judged_object, secret, judged.opened_with.iter().cloned(), ring);
    }
    status
}

/// Logs each fact that the status of the object does not state yet.
fn log_new_facts(key: &ObjectKey, object: &SealedSecret, judgement: &Judgement) {
    for fact in judgement.facts().iter().filter(|fact| !fact.is_stated_in(object.status.as_ref())) {
        log::fact(&key.namespace, &key.name, fact);
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::*;
    use crate::kubernetes::answer_deadlines;
    use crate::kubernetes::scope::ServedScope;

    #[tokio::test]
    async fn timeouts_and_failed_status_writes_are_counted() {
        let url = "http://127.0.0.1:1".parse().expect("a URL");
        let (_, last_contact) = answer_deadlines::connect(Config::new(url)).expect("a client");
        let objects = Arc::new(Objects::new(ServedScope::of(&[])));
        let metrics = Metrics::new(objects, watch::channel(Keys::Loading).1, last_contact);
        let key = ObjectKey::new("shop", "db");
        for error in
            [ReconcileError::TimedOut, ReconcileError::PatchStatus(kube::Error::LinesCodecMaxLineLengthExceeded)]
        {
            assert_eq!(report_failure(&error, &key, None, &metrics).reason, Reason::ApiUnavailable);
        }
        let text = metrics.to_text();
        assert!(text.contains("waxseal_reconcile_timeouts_total 1\n"), "{text}");
        assert!(text.contains("waxseal_failed_status_writes_total 1\n"), "{text}");
    }
}

//! Reconciling one object: look, decide, do, say.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use waxseal_shared::plan::{DesiredSecret, Plan, plan};
use waxseal_shared::reason::{Reason, Standing};
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretSpec};
use waxseal_shared::status::{self, Verdict};
use waxseal_shared::template::ForbiddenPrefix;

use super::keys::KeyState;
use super::metrics::Metrics;
use super::retry_delays::RetryDelays;
use super::secret_object::{CREATE_ONLY, FIELD_MANAGER, SecretApply, existing, removal, surplus_keys};
use super::settled_objects::SettledObjects;
use super::{WatchedObject, api_failure, status_patch};

/// One reconcile takes at most this long, whatever the API server does.
const DEADLINE: Duration = Duration::from_secs(30);
const MALFORMED: &str = "spec: not what the format has: a field is unknown or of another type";

/// What every reconcile needs.
pub(super) struct Context {
    client: Client,
    keys: watch::Receiver<KeyState>,
    forbidden: Vec<ForbiddenPrefix>,
    settled: SettledObjects,
    metrics: Arc<Metrics>,
    delays: RetryDelays<ObjectRef<SealedSecret>>,
}

impl Context {
    pub(super) fn new(
        client: Client,
        keys: watch::Receiver<KeyState>,
        forbidden: Vec<ForbiddenPrefix>,
        secrets: Store<PartialObjectMeta<Secret>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { client, keys, forbidden, settled: SettledObjects::new(secrets), metrics, delays: RetryDelays::new() }
    }

    /// Forgets the objects that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&ObjectRef<SealedSecret>) -> bool) {
        self.settled.retain(&is_there);
        self.metrics.retain(&is_there);
        self.delays.retain(&is_there);
    }
}

/// Brings one object's Secret to where the object says, and says in its status what came of it.
///
/// Assumes nothing about why it was called; without a difference it writes nothing.
pub(super) async fn reconcile(watched: Arc<WatchedObject>, context: Arc<Context>) -> Result<Action, Infallible> {
    let object = judged_object(&watched);
    let key = ObjectRef::from_obj(&object);
    let worked = tokio::time::timeout(DEADLINE, judge_and_say(&watched, &object, &context)).await;
    let standing = match worked {
        Ok(Some(reason)) => {
            context.metrics.record(&key, reason);
            reason.standing()
        }
        Ok(None) => return Ok(Action::await_change()),
        Err(_) => Reason::ApiUnavailable.standing(),
    };
    Ok(context.delays.next(key, standing).map_or_else(Action::await_change, Action::requeue))
}

/// Never called: reconciling says what went wrong in the status instead of failing.
pub(super) fn on_error(_: Arc<WatchedObject>, error: &Infallible, _: Arc<Context>) -> Action {
    match *error {}
}

/// How the object stands once its status says so; `None` if there is nothing to say: the object is
/// being deleted, or gone.
async fn judge_and_say(watched: &WatchedObject, object: &SealedSecret, context: &Context) -> Option<Reason> {
    context.settled.listed().await;
    let keys = context.keys.borrow().clone();
    if context.settled.is_settled(object, &keys) {
        return Some(Reason::Materialised);
    }
    if keys.is_loading() && is_judged(object) {
        // What the status says stands until the keys are read.
        return Some(Reason::KeysLoading);
    }
    let live = live_object(object, context).await?;
    let object = live.as_ref().unwrap_or(object);
    let (verdict, secret_version) = match &watched.0 {
        Ok(_) => carry_out(object, &keys, context).await?,
        Err(_) => (Verdict::new(Reason::Malformed, MALFORMED), None),
    };
    log_change(object, &verdict);
    let status = status::after(object, &verdict, Timestamp::now());
    match status_patch::write(&context.client, object, &status).await {
        Ok(()) => {}
        Err(kube::Error::Api(answer)) if answer.code == 404 => return None,
        Err(error) => return Some(api_failure::verdict(&error).reason),
    }
    if let (Standing::Ready, Some(version)) = (verdict.reason.standing(), secret_version) {
        context.settled.remember(object, &keys, version);
    }
    Some(verdict.reason)
}

/// The object as the API server has it, if its Secret vanished: the watch of Secrets may be ahead
/// of the watch of SealedSecrets, and a Secret that went with its object must not come back.
///
/// `None`: the object is gone. `Some(None)`: the Secret did not vanish, what is known will do.
async fn live_object(object: &SealedSecret, context: &Context) -> Option<Option<SealedSecret>> {
    if !context.settled.has_vanished(object) {
        return Some(None);
    }
    let objects = Api::<SealedSecret>::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    match objects.get_opt(&object.name_any()).await {
        Ok(live) => live.map(Some),
        Err(_) => Some(None),
    }
}

/// Whether the status speaks of the present generation.
fn is_judged(object: &SealedSecret) -> bool {
    let status = object.status.as_ref();
    object.metadata.generation.is_some()
        && status.and_then(|status| status.observed_generation) == object.metadata.generation
}

/// The verdict, and the resourceVersion of the Secret that is as it should be; `None` if the object
/// is being deleted.
///
/// A Secret that the watch does not know is taken for absent without asking: creating conflicts if
/// there is one after all, and then it is looked at.
async fn carry_out(object: &SealedSecret, keys: &KeyState, context: &Context) -> Option<(Verdict, Option<String>)> {
    let secrets = Api::<Secret>::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    if !context.settled.has_marked_secret(object) {
        let created = act(object, keys, None, &secrets, context).await?;
        if created.0.reason != Reason::Conflict {
            return Some(created);
        }
    }
    match secrets.get_opt(&object.name_any()).await {
        Ok(found) => act(object, keys, found, &secrets, context).await,
        Err(error) => Some((api_failure::verdict(&error), None)),
    }
}

async fn act(
    object: &SealedSecret,
    keys: &KeyState,
    found: Option<Secret>,
    secrets: &Api<Secret>,
    context: &Context,
) -> Option<(Verdict, Option<String>)> {
    let resource_version = found.as_ref().and_then(ResourceExt::resource_version);
    let existing = found.map(existing);
    match plan(object, keys.as_keys(), &context.forbidden, existing.as_ref()) {
        Plan::Nothing => None,
        Plan::Leave(verdict) => Some((verdict, resource_version)),
        Plan::Write(desired, done) => {
            let base = resource_version.as_deref().unwrap_or(CREATE_ONLY);
            match write_secret(secrets, object, &desired, base).await {
                Ok(version) => {
                    context.metrics.count_write();
                    Some((done, Some(version)))
                }
                Err(error) => Some((api_failure::verdict(&error), None)),
            }
        }
    }
}

/// Applies the Secret to the version that was judged, then removes data keys that the plan lacks:
/// apply leaves those that others wrote. Gives the resourceVersion of the result.
async fn write_secret(
    secrets: &Api<Secret>,
    owner: &SealedSecret,
    desired: &DesiredSecret,
    resource_version: &str,
) -> kube::Result<String> {
    let name = desired.name.as_str();
    let apply = SecretApply { owner, desired, resource_version };
    let written = secrets.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(apply)).await?;
    let surplus = surplus_keys(&written, desired);
    let version = written.resource_version().unwrap_or_default();
    drop(existing(written));
    if surplus.is_empty() {
        return Ok(version);
    }
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let pruned = secrets.patch(name, &params, &Patch::Merge(removal(&surplus, &version))).await?;
    let version = pruned.resource_version().unwrap_or_default();
    drop(existing(pruned));
    Ok(version)
}

/// The object to judge; of one that does not decode, what is known.
fn judged_object(watched: &WatchedObject) -> SealedSecret {
    match &watched.0 {
        Ok(object) => object.clone(),
        Err(invalid) => {
            SealedSecret { metadata: invalid.metadata.clone(), spec: SealedSecretSpec::default(), status: None }
        }
    }
}

/// One line when what an object's status says changes.
fn log_change(object: &SealedSecret, verdict: &Verdict) {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let said = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    if said.is_some_and(|ready| ready.reason == verdict.reason.as_str() && ready.message == verdict.message) {
        return;
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let reason = verdict.reason.as_str();
    if verdict.is_warning {
        tracing::warn!(namespace, name, reason, "{}", verdict.message);
    } else {
        tracing::info!(namespace, name, reason, "{}", verdict.message);
    }
}

//! The controller while the API server is silent, restored or flooded, and while other users change what it wrote.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy,
};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::api_group::MARK_LABEL;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::freezing_proxy::FreezingProxy;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::waiting;

use crate::controllers::{answer, readiness};
use crate::missing_rights::take_from;
use crate::registration::{Context, Error, Test, TestResult, own_cluster_slot};
use crate::rights;
use crate::sealing::{
    DEADLINE, condition, create, create_plain, opaque, patch, replace_spec, seal_with, values, with_reason,
};

/// The controller detects a frozen watch after 35 s, and lists the objects within seconds then.
const HEALED_AFTER_A_FREEZE: Duration = Duration::from_secs(60);
/// The controller asks the API server for the current resourceVersion every 15 s.
const HEALED_AFTER_A_RESTORE: Duration = Duration::from_secs(60);
/// The controller reports an orphan after two searches, 10 s apart.
const REPORTED: Duration = Duration::from_secs(60);

/// The number of objects in the test with a slow controller.
const OBJECTS: usize = 12;
/// The number of times that this controller is paused.
const ROUNDS: u64 = 12;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("steadiness::frozen_connections_are_replaced", frozen),
        Test::on_own_cluster("steadiness::a_server_that_is_silent_from_the_start_is_reported", silent),
        Test::blocking("steadiness::a_restored_store_is_detected", |context| {
            restored(context, async |cluster, _| {
                installation::apply(cluster).await?;
                Ok(Controller::start(cluster, &context.programs, "restored").await?)
            })
        }),
        Test::blocking("steadiness::a_restored_store_is_detected_by_a_controller_of_some_namespaces", |context| {
            restored(context, async |cluster, namespace| {
                installation::apply_namespaced(cluster, KEY_NAMESPACE, &[namespace.name()]).await?;
                let mut command = Command::new(&context.programs.waxseal_controller);
                command
                    .env_clear()
                    .env("WAXSEAL_NAMESPACES", namespace.name())
                    .env("WAXSEAL_KEY_NAMESPACE", KEY_NAMESPACE);
                Ok(Controller::start_command(cluster, command, "restored").await?)
            })
        }),
        Test::new("steadiness::a_removed_or_forged_status_is_corrected", forged),
        Test::new("steadiness::a_status_that_is_overwritten_again_and_again_delays_no_secret", overwritten),
        Test::new("steadiness::a_deleted_foreign_secret_is_replaced", foreign),
        Test::new("steadiness::a_foreign_secret_that_gets_the_mark_is_materialised", handed_over),
        Test::on_own_cluster("steadiness::a_missing_right_is_named", rights),
        Test::new("steadiness::a_secret_that_nothing_deletes_is_reported", orphan),
        Test::on_own_cluster("steadiness::large_objects_do_not_fill_the_memory", flood),
        Test::on_own_cluster("steadiness::a_slow_controller_writes_no_old_value_over_a_newer_one", slow),
    ]
}

/// The keys of a controller on a cluster of its own.
struct Installation<'a> {
    context: &'a Context,
    keys_file: std::path::PathBuf,
}

impl<'a> Installation<'a> {
    fn new(context: &'a Context, cluster: &Cluster, controller: &Controller) -> Result<Self, Error> {
        let keys_file = cluster.folder().join("keys.yaml");
        installation::fetch_keys(&context.programs, &controller.kubeconfig, &keys_file)?;
        Ok(Self { context, keys_file })
    }

    /// Applies SealedSecrets with this value.
    async fn apply_all(&self, namespace: &Namespace, value: u32) -> TestResult {
        let objects = namespace.api::<SealedSecret>();
        let sealed = (0..OBJECTS).map(|number| self.seal(namespace, &format!("s{number}"), &value.to_string()));
        // Sealed before the first is applied, so that all are applied at about the same moment.
        for sealed in sealed.collect::<Result<Vec<_>, _>>()? {
            let params = PatchParams::apply("somebody-else").force();
            objects.patch(&sealed.name_any(), &params, &Patch::Apply(&sealed)).await?;
        }
        Ok(())
    }

    fn seal(&self, namespace: &Namespace, name: &str, value: &str) -> Result<SealedSecret, Error> {
        seal_with(self.context, &self.keys_file, &opaque(name, &[("PASSWORD", value)]), namespace.name())
    }
}

async fn secret_appears(namespace: &Namespace, name: &str, deadline: Duration) -> Result<Secret, Error> {
    let secrets = namespace.api::<Secret>();
    let what = format!("the Secret {name}");
    Ok(waiting::until(&what, deadline, async || secrets.get_opt(name).await.ok().flatten()).await?)
}

async fn frozen(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let proxy = FreezingProxy::start(cluster.address()).await?;
    let controller = Controller::start_through(cluster, &context.programs, "frozen", proxy.address()).await?;
    controller.ready().await?;
    let installation = Installation::new(context, cluster, &controller)?;
    let namespace = cluster.namespace("frozen").await?;
    create(&namespace, &installation.seal(&namespace, "before", "hunter2")?).await?;
    with_reason(&namespace, "before", "Materialised").await?;

    proxy.freeze_open_connections();
    namespace.api::<Secret>().delete("before", &DeleteParams::default()).await?;
    create(&namespace, &installation.seal(&namespace, "after", "hunter2")?).await?;
    let (before, after) = tokio::join!(
        secret_appears(&namespace, "before", HEALED_AFTER_A_FREEZE),
        secret_appears(&namespace, "after", HEALED_AFTER_A_FREEZE),
    );
    before.and(after)?;
    assert!(controller.log_text().contains("a connection to the API server fell silent"), "it is logged");
    Ok(())
}

async fn silent(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let proxy = FreezingProxy::start(cluster.address()).await?;
    proxy.freeze_everything();
    let controller = Controller::start_through(cluster, &context.programs, "silent", proxy.address()).await?;
    waiting::until("a line about the silence", HEALED_AFTER_A_FREEZE, async || {
        controller.log_text().contains("watching SealedSecrets in all namespaces failed").then_some(())
    })
    .await?;
    assert_eq!(readiness(&controller).await, Some(503));
    proxy.thaw_new_connections();
    waiting::until("readiness", HEALED_AFTER_A_FREEZE, async || {
        (controller.get("/readyz").await?.0 == 200).then_some(())
    })
    .await?;
    proxy.freeze_everything();
    waiting::until("the end of readiness", 2 * HEALED_AFTER_A_FREEZE, async || {
        let (code, text) = controller.get("/readyz").await?;
        (code == 503 && text.starts_with("ApiUnavailable: the API server has sent nothing for ")).then_some(())
    })
    .await?;
    let (_, metrics) = answer(&controller, "/metrics").await.ok_or("no metrics")?;
    let silence = metrics.lines().find_map(|line| line.strip_prefix("waxseal_api_silence_seconds "));
    assert!(silence.ok_or("no such metric")?.parse::<f64>()? > 30.0, "{silence:?}");
    Ok(())
}

/// etcd is restored from a backup while the controller runs. In the backup one Secret has another value, and another
/// object does not exist yet.
fn restored(
    context: &Context,
    start: impl AsyncFnOnce(&Cluster, &Namespace) -> Result<Controller, Error>,
) -> TestResult {
    let _slot = own_cluster_slot()?;
    let mut cluster = Cluster::start(&context.assets.kubernetes, &installation::definitions()?)?;
    let backup = cluster.folder().join("backup");
    let (controller, namespace, installation) = cluster.block_on(async {
        let namespace = cluster.namespace("restored").await?;
        let controller = start(&cluster, &namespace).await?;
        controller.ready().await?;
        let installation = Installation::new(context, &cluster, &controller)?;
        create(&namespace, &installation.seal(&namespace, "db", "old")?).await?;
        with_reason(&namespace, "db", "Materialised").await?;
        Ok::<_, Error>((controller, namespace, installation))
    })?;
    cluster.stop_and_back_up(&backup)?;
    cluster.restart_store(&context.assets.kubernetes)?;
    cluster.block_on(async {
        replace_spec(&namespace, &installation.seal(&namespace, "db", "new")?).await?;
        waiting::until("the new value", DEADLINE, async || {
            let secret = namespace.api::<Secret>().get("db").await.ok()?;
            (values(&secret) == [("PASSWORD".to_owned(), "new".to_owned())]).then_some(())
        })
        .await?;
        // The versions of the restored store must be far behind: otherwise the requests after the restore would reach
        // the old version, and the controller could not detect the restore.
        for number in 0..300 {
            create_plain(&namespace, &format!("plain-{number}"), "x").await?;
        }
        Ok::<_, Error>(())
    })?;
    cluster.stop_store();
    cluster.restore(&backup)?;
    cluster.restart_store(&context.assets.kubernetes)?;
    cluster.block_on(async {
        // The watches continue at versions from the future, so they get no event of these changes.
        namespace.api::<Secret>().delete("db", &DeleteParams::default()).await?;
        create(&namespace, &installation.seal(&namespace, "later", "hunter2")?).await?;
        let (db, later) = tokio::join!(
            secret_appears(&namespace, "db", HEALED_AFTER_A_RESTORE),
            secret_appears(&namespace, "later", HEALED_AFTER_A_RESTORE),
        );
        later.map_err(|error| format!("{error}; the log: {}", controller.log_text()))?;
        assert_eq!(values(&db?), [("PASSWORD".to_owned(), "old".to_owned())]);
        assert!(controller.log_text().contains("was restored to an earlier state"), "it is logged");
        assert_eq!(controller.stop().await?, Some(0));
        Ok(())
    })
}

async fn forged(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("forged").await?;
    let before = context.create_sealed(&namespace, "db", "hunter2").await?;
    let good = before.status.clone().ok_or("no status")?;
    assert!(good.settled.is_some(), "{good:?}");
    let objects = namespace.api::<SealedSecret>();
    let kind = ApiResource::erase::<SealedSecret>(&());
    // The typed client cannot read the last of these statuses.
    let untyped = Api::<DynamicObject>::namespaced_with(context.cluster.client(), namespace.name(), &kind);
    let forgeries = [
        json!({"status": {"conditions": null, "settled": null}}),
        json!({"status": {"conditions": [{
            "type": "Ready", "status": "False", "reason": "Moved", "message": "forged", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}}),
        json!({"status": {"settled": {"secretResourceVersion": "1"}}}),
        // The API server accepts this offset, but it is not part of a time that can be read.
        json!({"status": {"settled": null, "conditions": [{
            "type": "Ready", "status": "True", "reason": "Materialised", "message": "forged", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00+99:99",
        }]}}),
    ];
    for forgery in forgeries {
        untyped.patch_status("db", &PatchParams::default(), &Patch::Merge(&forgery)).await?;
        let outcome = waiting::until("the good status", DEADLINE, async || {
            let status = objects.get("db").await.ok()?.status?;
            let messages = |status: &waxseal_shared::sealed_secret::SealedSecretStatus| {
                status
                    .conditions
                    .iter()
                    .map(|condition| (condition.type_.clone(), condition.message.clone()))
                    .collect::<Vec<_>>()
            };
            // The proof covers the times of the conditions, which a correction can change.
            let proven = |status: &waxseal_shared::sealed_secret::SealedSecretStatus| {
                let settled = status.settled.clone()?;
                Some((settled.secret_uid, settled.secret_resource_version, settled.opened_with))
            };
            (messages(&status) == messages(&good) && proven(&status) == proven(&good)).then_some(())
        })
        .await;
        if let Err(error) = outcome {
            return Err(format!("{error}: {:?} instead of {good:?}", objects.get("db").await?.status).into());
        }
    }
    Ok(())
}

/// The controller corrects the first five forged statuses at once, and the next ones after 0.25 s, 0.5 s, 1 s, 2 s,
/// 4 s, 8 s and 16 s.
async fn overwritten(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("overwritten").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let (objects, secrets) = (namespace.api::<SealedSecret>(), namespace.api::<Secret>());
    let is_right = async || Some(objects.get("db").await.ok()?.status?.observed_generation == Some(1));
    let forge = async |generation: i64| {
        let forged = Patch::Merge(json!({"status": {"observedGeneration": generation}}));
        objects.patch_status("db", &PatchParams::default(), &forged).await
    };
    let until_right =
        async || waiting::until("the good status", DEADLINE, async || is_right().await?.then_some(())).await;
    for generation in 1001..=1011 {
        forge(generation).await?;
        until_right().await?;
    }
    forge(1012).await?;
    patch(&secrets, "db", json!({"stringData": {"PASSWORD": "theirs"}})).await?;
    waiting::until("the good Secret", DEADLINE, async || {
        let found = values(&secrets.get("db").await.ok()?);
        (found == [("PASSWORD".to_owned(), "hunter2".to_owned())]).then_some(())
    })
    .await?;
    assert_eq!(is_right().await, Some(false), "the Secret waited for the status");
    until_right().await?;
    // The API server shows a new status before it logs the end of the request that wrote it.
    let status_writes = async || {
        let all = rights::writes(&rights::requests_in(&context.cluster, &namespace).ok()?);
        let count = all.iter().filter(|write| *write == "patch sealedsecrets status").count();
        (count >= 13).then_some(count)
    };
    assert_eq!(waiting::until("the audit log", DEADLINE, status_writes).await?, 13);
    Ok(())
}

/// The watch of marked Secrets reports nothing about the foreign Secret.
async fn foreign(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("makes-way").await?;
    create_plain(&namespace, "db", "theirs").await?;
    create(&namespace, &context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?).await?;
    let object = with_reason(&namespace, "db", "ForeignOwner").await?;
    let (_, _, message) = condition(&object, "Ready").ok_or("no Ready condition")?;
    let command = format!("kubectl label secret db -n {} --overwrite waxseal.dev/secret=owned", namespace.name());
    assert!(message.ends_with(&command), "{message}");
    namespace.api::<Secret>().delete("db", &DeleteParams::default()).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    Ok(())
}

async fn handed_over(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("handed-over").await?;
    create_plain(&namespace, "db", "theirs").await?;
    create(&namespace, &context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?).await?;
    with_reason(&namespace, "db", "ForeignOwner").await?;
    patch(&namespace.api::<Secret>(), "db", json!({"metadata": {"labels": {MARK_LABEL: "owned"}}})).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let secret = namespace.api::<Secret>().get("db").await?;
    assert_eq!(values(&secret), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Ok(())
}

async fn rights(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let controller = Controller::start(cluster, &context.programs, "rights").await?;
    controller.ready().await?;
    let installation = Installation::new(context, cluster, &controller)?;
    let namespace = cluster.namespace("rights").await?;

    without_verb(cluster, &namespace, "secrets", "patch").await?;
    create(&namespace, &installation.seal(&namespace, "db", "hunter2")?).await?;
    let object = with_reason(&namespace, "db", "Forbidden").await?;
    let (_, _, message) = condition(&object, "Ready").ok_or("no Ready condition")?;
    let said =
        "the controller may not create and patch Secrets in this namespace: apply the rights of its installation again";
    assert_eq!(message, said);

    without_verb(cluster, &namespace, "sealedsecrets/status", "patch").await?;
    create(&namespace, &installation.seal(&namespace, "web", "hunter2")?).await?;
    let line = "failed to patch sealedsecrets/status: HTTP 403 Forbidden; trying again";
    waiting::until("a line about the status", DEADLINE, async || controller.log_text().contains(line).then_some(()))
        .await?;
    let (_, metrics) = answer(&controller, "/metrics").await.ok_or("no metrics")?;
    let failed = metrics.lines().find_map(|line| line.strip_prefix("waxseal_failed_status_writes_total "));
    assert!(failed.ok_or("no such metric")?.parse::<u64>()? > 0, "{metrics}");
    Ok(())
}

/// Removes a verb for a resource from the controller's ClusterRole. Waits until the removal is in force in a namespace.
async fn without_verb(cluster: &Cluster, namespace: &Namespace, resource: &str, verb: &str) -> TestResult {
    let roles = Api::<ClusterRole>::all(cluster.client());
    let mut role = roles.get("waxseal-controller").await?;
    assert_eq!(take_from(&mut role.rules, verb, resource), 1, "the rules to {verb} {resource}");
    roles.replace("waxseal-controller", &PostParams::default(), &role).await?;
    let right = (resource.to_owned(), verb.to_owned());
    let lost = async || {
        let granted = rights::granted(cluster, KEY_NAMESPACE, namespace.name()).await.ok()?;
        (!granted.contains(&right)).then_some(())
    };
    Ok(waiting::until("the loss of a right", DEADLINE, lost).await?)
}

/// One of two controllers is paused in the middle of its reconciles, and goes on when the other has written newer
/// values.
async fn slow(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let one = Controller::start(cluster, &context.programs, "one").await?;
    one.ready().await?;
    let other = Controller::start(cluster, &context.programs, "other").await?;
    other.ready().await?;
    let installation = Installation::new(context, cluster, &one)?;
    let namespace = cluster.namespace("slow").await?;
    let seen = Values::follow(namespace.api()).await?;
    let until_all_are = async |value: u32| {
        let newest = async || seen.lock().unwrap_or_else(PoisonError::into_inner).all_are(value).then_some(());
        waiting::until("the newest values", DEADLINE, newest).await
    };
    let mut value = 0;
    for round in 0..ROUNDS {
        value += 1;
        installation.apply_all(&namespace, value).await?;
        // Each round pauses the controller at another moment of its work.
        tokio::time::sleep(Duration::from_millis(10 * round)).await;
        one.pause()?;
        value += 1;
        installation.apply_all(&namespace, value).await?;
        until_all_are(value).await?;
        one.resume()?;
    }
    // Both controllers run in one more round: the watch sees an old value that the resumed controller still writes.
    value += 1;
    installation.apply_all(&namespace, value).await?;
    until_all_are(value).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let faults = &seen.lock().unwrap_or_else(PoisonError::into_inner).faults;
    assert_eq!(*faults, [""; 0]);
    Ok(())
}

/// The values of the Secrets of a namespace, as a watch sees them. The values are numbers that only grow.
#[derive(Default)]
struct Values {
    last: BTreeMap<String, u32>,
    faults: Vec<String>,
}

impl Values {
    async fn follow(secrets: Api<Secret>) -> Result<Arc<Mutex<Self>>, Error> {
        let seen = Arc::new(Mutex::new(Self::default()));
        let writing = Arc::clone(&seen);
        let mut events = watcher(secrets, watcher::Config::default()).boxed();
        while !matches!(events.try_next().await?, Some(watcher::Event::InitDone)) {}
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let mut seen = writing.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Ok(watcher::Event::Apply(secret)) => seen.note(&secret),
                    Ok(_) => {}
                    Err(error) => return seen.faults.push(error.to_string()),
                }
            }
        });
        Ok(seen)
    }

    fn note(&mut self, secret: &Secret) {
        let values = values(secret);
        let [(_, value)] = &values[..] else { return self.faults.push(format!("{values:?}")) };
        let value = value.parse().unwrap_or_default();
        if let Some(before) = self.last.insert(secret.name_any(), value).filter(|before| *before > value) {
            self.faults.push(format!("{}: {value} after {before}", secret.name_any()));
        }
    }

    fn all_are(&self, value: u32) -> bool {
        self.last.len() == OBJECTS && self.last.values().all(|last| *last == value)
    }
}

async fn orphan(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("orphan").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let orphaning = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    namespace.api::<SealedSecret>().delete("db", &orphaning).await?;
    let namespace_field = format!("\"namespace\":\"{}\"", namespace.name());
    waiting::until("a line about the Secret", REPORTED, async || {
        let log = context.controller.log_text();
        let mut lines = log.lines().filter(|line| line.contains(&namespace_field));
        lines.any(|line| line.contains("its SealedSecret is gone, and it has no owner")).then_some(())
    })
    .await?;
    let secret = namespace.api::<Secret>().get("db").await?;
    assert_eq!(values(&secret), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Ok(())
}

/// A tenant without a key creates objects of the largest size. The controller starts with them, and later each of them
/// changes.
async fn flood(context: &Context, cluster: &Cluster) -> TestResult {
    const OBJECTS: usize = 100;
    const MEMORY: u64 = 96 * 1024;
    installation::apply(cluster).await?;
    let first = Controller::start(cluster, &context.programs, "first").await?;
    first.ready().await?;
    let installation = Installation::new(context, cluster, &first)?;
    first.stop().await?;

    let flooded = cluster.namespace("flooded").await?;
    let objects = flooded.api::<SealedSecret>();
    for number in 0..OBJECTS {
        objects.create(&PostParams::default(), &large_object(number, "A")).await?;
    }
    let controller = Controller::start(cluster, &context.programs, "flooded").await?;
    controller.ready().await?;
    let innocent = cluster.namespace("innocent").await?;
    create(&innocent, &installation.seal(&innocent, "db", "hunter2")?).await?;
    with_reason(&innocent, "db", "Materialised").await?;
    all_judged(&objects, 1).await?;
    for number in 0..OBJECTS {
        let name = format!("large-{number}");
        let change = json!({"spec": large_object(number, "B").spec});
        objects.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await?;
    }
    all_judged(&objects, 2).await?;
    let most = waxseal_tests::memory::most_resident(controller.process_id())?;
    assert!(most < MEMORY, "{most} KiB were in memory at once, of {MEMORY}");
    Ok(())
}

/// Returns a large object that the API server admits and that does not open: its token names an envelope that the
/// object does not have.
fn large_object(number: usize, content: &str) -> SealedSecret {
    let token = format!("wax1.e0123456789.{}", content.repeat(1_400_000));
    let object = json!({
        "apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", "metadata": {"name": format!("large-{number}")},
        "spec": {"encryptedData": {"A": token}},
    });
    serde_json::from_value(object).expect("it has the fields of a SealedSecret")
}

async fn all_judged(objects: &Api<SealedSecret>, generation: i64) -> TestResult {
    for object in objects.list_metadata(&ListParams::default()).await? {
        let name = object.name_any();
        waiting::until(&format!("the judgement of {name}"), 4 * DEADLINE, async || {
            let status = objects.get_status(&name).await.ok()?.status?;
            if status.observed_generation == Some(generation) {
                return Some(());
            }
            // Each answer has 1.4 MB, and the controller needs the processor.
            tokio::time::sleep(Duration::from_secs(1)).await;
            None
        })
        .await?;
    }
    Ok(())
}

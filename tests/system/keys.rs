//! The life of the controller's keys: states never become less strict.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::freezing_proxy::FreezingProxy;
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::controllers::{start_without_generation, started, started_with_generation, until_warned, warnings};
use crate::key_namespace::{Keys, MADE, Seen, TYPE, new_identity, secret};
use crate::registration::{Context, Error, Test, TestResult, own_cluster_slot};
use crate::sealing::{DEADLINE, create, patch, sealed, with_reason};

/// The number of rounds that kill the controller.
const KILLS: u64 = 30;
/// The number of times that a SealingKey is deleted while two controllers run.
const DELETIONS: usize = 10;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("keys::a_revocation_outlives_sealing_key_definition_and_controller", revocation),
        Test::on_own_cluster("keys::a_key_never_becomes_less_strict", strictness),
        Test::on_own_cluster("keys::a_state_that_cannot_be_written_is_in_force", unwritable),
        Test::on_own_cluster("keys::a_state_that_is_not_stored_is_in_force_and_is_not_confirmed", not_stored),
        Test::on_own_cluster("keys::a_killed_controller_forgets_no_revocation", killed),
        Test::on_own_cluster("keys::two_controllers_agree_on_a_revocation", two),
        Test::on_own_cluster("keys::a_silent_api_server_is_logged_once", silent),
        Test::blocking("keys::missing_definitions_are_named", undefined),
    ]
}

/// The log line about a held key has the fingerprint that people compare.
fn assert_logs_key(controller: &Controller, key: &str, state: &str) {
    let log = controller.log_text();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["message"] == "holds a sealing key" && line["key"] == key);
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!(
        (&lines[0]["key"], &lines[0]["role"], &lines[0]["state"]),
        (&json!(key), &json!("Cluster"), &json!(state))
    );
    let fingerprint = lines[0]["fingerprint"].as_str().unwrap_or_default();
    assert!(fingerprint.starts_with(&format!("sha256:{}", &key[1..])) && fingerprint.len() == 71, "{fingerprint}");
    assert!(lines[0]["created"].is_string());
}

/// The SealingKey of a revoked key is deleted, created again by hand as Active, and deleted with its definition. The
/// key still opens nothing, and is published as Revoked again.
async fn revocation(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let namespace = cluster.namespace("revocation").await?;
    let controller = started_with_generation(context, cluster, "one").await?;
    let key = keys.first().await?;
    assert_logs_key(&controller, &key, "Active");
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let active = SealingKey::new(&key, keys.published.get(&key).await?.spec);
    let identity = keys.identities.get("first-sealing-key").await?.data.ok_or("no data")?["identity"].clone();

    keys.ask_for(&key, "Revoked").await?;
    with_reason(&namespace, "db", "KeyRevoked").await?;
    keys.until_durable("first-sealing-key", "Revoked").await?;
    keys.delete(&key).await?;
    keys.until_published(&key, KeyState::Revoked).await?;
    drop(controller);

    keys.delete(&key).await?;
    keys.published.create(&PostParams::default(), &active).await?;
    let controller = started_with_generation(context, cluster, "two").await?;
    assert_logs_key(&controller, &key, "Revoked");
    keys.until_published(&key, KeyState::Revoked).await?;
    redefine_sealing_keys(cluster).await?;
    keys.until_published(&key, KeyState::Revoked).await?;
    with_reason(&namespace, "db", "KeyRevoked").await?;
    let data = keys.identities.get("first-sealing-key").await?.data.ok_or("no data")?;
    assert_eq!(data["identity"], identity);
    // The cluster has a new key since the only one was revoked, and no third.
    assert_eq!(keys.identity_names().await?, ["first-sealing-key".to_owned(), format!("waxseal-key-after-{key}")]);
    Ok(())
}

/// Deletes the definition of SealingKeys, and every SealingKey with it, and creates it again.
async fn redefine_sealing_keys(cluster: &Cluster) -> TestResult {
    let definitions = Api::<CustomResourceDefinition>::all(cluster.client());
    let shipped = installation::definitions()?;
    let definition = shipped.iter().find(|found| found.spec.names.kind == "SealingKey").ok_or("no definition")?;
    let name = definition.name_any();
    definitions.delete(&name, &DeleteParams::default()).await?;
    let gone = async || definitions.get_opt(&name).await.ok()?.is_none().then_some(());
    waiting::until("the end of the definition", DEADLINE, gone).await?;
    definitions.create(&PostParams::default(), definition).await?;
    Ok(())
}

async fn strictness(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let copied = new_identity();
    for name in ["one", "copy"] {
        keys.identities.create(&PostParams::default(), &secret(name, &copied, MADE)).await?;
    }
    let copied = copied.recipient().key_id().to_string();
    let other = keys.add("other").await?;
    let _controller = started(context, cluster, "strictness").await?;

    keys.until_published(&copied, KeyState::Active).await?;
    keys.ask_for(&copied, "Retired").await?;
    // A copy of the identity must not bring the key back once the other Secret is gone.
    keys.until_durable("one", "Retired").await?;
    keys.until_durable("copy", "Retired").await?;
    keys.ask_for(&copied, "Active").await?;
    keys.until_published(&copied, KeyState::Retired).await?;

    // A stricter state in the identity Secret counts. A less strict one is put right.
    patch(&keys.identities, "other", json!({"stringData": {"state": "Revoked"}})).await?;
    keys.until_published(&other, KeyState::Revoked).await?;
    patch(&keys.identities, "other", json!({"stringData": {"state": "Active"}})).await?;
    keys.until_durable("other", "Revoked").await?;

    // A forged SealingKey under the key's own name: its request counts, and it is replaced.
    let genuine = keys.published.get(&copied).await?;
    let mut forged = SealingKey::new(&copied, genuine.spec.clone());
    forged.spec.created_at = "2026-09-09T00:00:00Z".to_owned();
    forged.spec.state = KeyState::Revoked;
    let forge = async || {
        keys.published.delete(&copied, &DeleteParams::default()).await.ok()?;
        keys.published.create(&PostParams::default(), &forged).await.ok().map(drop)
    };
    waiting::until("a forged SealingKey", DEADLINE, forge).await?;
    keys.until_durable("one", "Revoked").await?;
    let replaced = async || (keys.published.get_opt(&copied).await.ok()??.spec.created_at == MADE).then_some(());
    waiting::until("the genuine SealingKey", DEADLINE, replaced).await?;
    assert_eq!(keys.published.get(&copied).await?.spec.state, KeyState::Revoked);
    Ok(())
}

/// A policy of the cluster refuses every change of an identity Secret; another one is immutable.
async fn unwritable(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let namespace = cluster.namespace("unwritable").await?;
    let primary = keys.add("primary").await?;
    let controller = started(context, cluster, "unwritable").await?;
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;

    let bindings = refuse_identity_changes(cluster, &keys).await?;
    keys.ask_for(&primary, "Revoked").await?;
    with_reason(&namespace, "db", "KeyRevoked").await?;
    until_warned(
        &controller,
        "failed to write the state Revoked to the identity Secret primary: HTTP 422 Invalid; trying again",
    )
    .await?;
    keys.delete(&primary).await?;
    keys.until_published(&primary, KeyState::Revoked).await?;
    bindings.delete("frozen", &DeleteParams::default()).await?;
    keys.until_durable("primary", "Revoked").await?;

    let frozen_identity = new_identity();
    let frozen = frozen_identity.recipient().key_id().to_string();
    let mut frozen_secret = secret("frozen", &frozen_identity, MADE);
    frozen_secret.immutable = Some(true);
    keys.identities.create(&PostParams::default(), &frozen_secret).await?;
    keys.until_published(&frozen, KeyState::Active).await?;
    keys.ask_for(&frozen, "Revoked").await?;
    let immutable = "failed to write the state Revoked to the identity Secret frozen: the Secret is immutable; replace it \
                     by a Secret that is not immutable and has \"Revoked\" under the data key \"state\"; trying again";
    until_warned(&controller, immutable).await?;
    keys.delete(&frozen).await?;
    keys.until_published(&frozen, KeyState::Revoked).await?;
    keys.identities.delete("frozen", &DeleteParams::default()).await?;
    keys.identities.create(&PostParams::default(), &secret("frozen", &frozen_identity, MADE)).await?;
    keys.until_durable("frozen", "Revoked").await?;
    keys.until_published(&frozen, KeyState::Revoked).await?;
    let warned = warnings(&controller);
    assert_eq!(warned.iter().filter(|warning| warning.contains("immutable")).count(), 1, "{warned:?}");
    Ok(())
}

/// Makes the API server refuse every change of an identity Secret until the binding `frozen` is deleted.
async fn refuse_identity_changes(
    cluster: &Cluster,
    keys: &Keys,
) -> Result<Api<ValidatingAdmissionPolicyBinding>, Error> {
    let operation =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["secrets"]});
    refuse(cluster, "frozen", operation, &format!("object.type != '{TYPE}'")).await?;
    let change = Patch::Merge(json!({"metadata": {"labels": {"touched": "true"}}}));
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let refused = async || is_refused(keys.identities.patch("primary", &params, &change).await).then_some(());
    waiting::until("the policy", DEADLINE, refused).await?;
    Ok(Api::all(cluster.client()))
}

/// Whether a policy refused the request.
pub(crate) fn is_refused<T>(outcome: kube::Result<T>) -> bool {
    matches!(outcome, Err(kube::Error::Api(status)) if status.code == 422)
}

/// Creates a policy with this name, and its binding. Shortly afterwards, operations that do not meet the condition are
/// refused.
pub(crate) async fn refuse(cluster: &Cluster, name: &str, operation: Value, condition: &str) -> TestResult {
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [operation]},
            "validations": [{"expression": condition}],
        },
    }))?;
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
    }))?;
    Api::all(cluster.client()).create(&PostParams::default(), &policy).await?;
    Api::all(cluster.client()).create(&PostParams::default(), &binding).await?;
    Ok(())
}

/// Creates a policy with this name, and its binding. Shortly afterwards, it adds a value at this path to the Secrets of
/// requests that meet the condition. The value is an expression.
pub(crate) async fn change_secrets(
    cluster: &Cluster,
    name: &str,
    condition: &str,
    (path, value): (&str, &str),
) -> TestResult {
    let expression = format!("[JSONPatch{{op: 'add', path: '{path}', value: {value}}}]");
    let policy: MutatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"],
            }]},
            "matchConditions": [{"name": "condition", "expression": condition}],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            "reinvocationPolicy": "Never",
        },
    }))?;
    let binding: MutatingAdmissionPolicyBinding =
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"policyName": name}}))?;
    Api::all(cluster.client()).create(&PostParams::default(), &policy).await?;
    Api::all(cluster.client()).create(&PostParams::default(), &binding).await?;
    Ok(())
}

/// A policy gives identity Secrets the state Active back. The answer of the API server to the write is a success.
async fn not_stored(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let [held, _] = [keys.add("held").await?, keys.add("other").await?];
    let controller = started(context, cluster, "not-stored").await?;
    let state = async || keys.published.get(&held).await.ok()?.status?.state;
    waiting::until("the status", DEADLINE, async || (state().await? == KeyState::Active).then_some(())).await?;
    change_secrets(cluster, "active", &format!("object.type == '{TYPE}'"), ("/data/state", "'QWN0aXZl'")).await?;
    let probe = Patch::Merge(json!({"stringData": {"state": "Retired"}}));
    let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
    waiting::until("the policy", DEADLINE, async || {
        let data = keys.identities.patch("held", &dry_run, &probe).await.ok()?.data?;
        (data.get("state")?.0 == b"Active").then_some(())
    })
    .await?;

    keys.ask_for(&held, "Revoked").await?;
    let said = "failed to write the state Revoked to the identity Secret held: the API server accepted the state and did \
                not store it; look for an admission webhook or policy that changes the Secret; trying again";
    until_warned(&controller, said).await?;
    assert_eq!(state().await, Some(KeyState::Active));
    assert_eq!(keys.durable("held").await.as_deref(), Some("Active"));

    let params = DeleteParams::default();
    Api::<MutatingAdmissionPolicyBinding>::all(cluster.client()).delete("active", &params).await?;
    keys.until_durable("held", "Revoked").await?;
    waiting::until("the status", DEADLINE, async || (state().await? == KeyState::Revoked).then_some(())).await?;
    Ok(())
}

/// Each round revokes a key and kills the controller: as soon as the identity is Revoked, or a little later than in the
/// round before. Then the SealingKey is deleted, a controller is killed while it starts, and under the next controller
/// the state of the identity still counts.
async fn killed(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let mut ids = Vec::new();
    for round in 0..KILLS {
        ids.push(keys.add(&format!("key-{round}")).await?);
    }
    let mut controller = started(context, cluster, "start").await?;
    for id in &ids {
        keys.until_published(id, KeyState::Active).await?;
    }
    let seen = Seen::follow(keys.published.clone()).await?;
    for (round, id) in (0..KILLS).zip(&ids) {
        let name = format!("key-{round}");
        keys.ask_for(id, "Revoked").await?;
        let is_durable = async || keys.durable(&name).await.as_deref() == Some("Revoked");
        match round % 2 {
            0 => tokio::time::timeout(DEADLINE, async { while !is_durable().await {} }).await?,
            _ => tokio::time::sleep(Duration::from_millis(20 * round)).await,
        }
        drop(controller);
        if is_durable().await {
            keys.delete(id).await?;
        }
        let starting = start_without_generation(context, cluster, &format!("{name}-killed")).await?;
        tokio::time::sleep(Duration::from_millis(5 * round)).await;
        drop(starting);
        controller = start_without_generation(context, cluster, &name).await?;
        keys.until_durable(&name, "Revoked").await?;
        keys.until_published(id, KeyState::Revoked).await?;
    }
    assert_eq!(Seen::assert_none_relaxed(&seen), ids.len());
    Ok(())
}

/// Both controllers work on the same objects while the SealingKey is deleted over and over.
async fn two(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    let one = started(context, cluster, "one").await?;
    let other = started(context, cluster, "other").await?;
    keys.until_published(&key, KeyState::Active).await?;
    let seen = Seen::follow(keys.published.clone()).await?;
    keys.ask_for(&key, "Revoked").await?;
    keys.until_durable("held", "Revoked").await?;
    for _ in 0..DELETIONS {
        keys.until_published(&key, KeyState::Revoked).await?;
        keys.delete(&key).await?;
    }
    keys.until_published(&key, KeyState::Revoked).await?;
    assert_eq!(Seen::assert_none_relaxed(&seen), 1);
    let said = format!("no successor of the sealing key {key} is made, because key generation is off: add an identity");
    for controller in [&one, &other] {
        until_warned(controller, &said).await?;
        assert_eq!(warnings(controller), [said.as_str()]);
    }
    Ok(())
}

/// The key loop, each of the four watches and the search for a restore open a connection for every attempt, so this
/// many connections mean several attempts of the key loop and of each watch.
const SILENT_CONNECTIONS: u64 = 25;

/// Every connection is frozen from the start. The key loop retries, logs the failure once, and continues when the API
/// server answers.
async fn silent(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let proxy = FreezingProxy::start(cluster.address()).await?;
    proxy.freeze_everything();
    let controller = Controller::start_through(cluster, &context.programs, "silent", proxy.address()).await?;
    let said = "failed to list the identity Secrets: no answer; trying again";
    let attempts = waiting::until("that many connections", 3 * DEADLINE, async || {
        (proxy.accepted() >= SILENT_CONNECTIONS).then_some(())
    });
    attempts.await.map_err(|error| format!("{error}; the controller says:\n{}", controller.log_text()))?;
    let warned = warnings(&controller);
    assert_eq!(warned.iter().filter(|warning| *warning == said).count(), 1, "{warned:?}");
    proxy.thaw_new_connections();
    controller.ready().await?;
    Ok(())
}

/// A controller that starts before the definitions exist logs once what to apply, and continues when they exist.
fn undefined(context: &Context) -> TestResult {
    let _slot = own_cluster_slot()?;
    let cluster = Cluster::start(&context.assets.kubernetes, &[])?;
    cluster.block_on(async {
        installation::apply(&cluster).await?;
        let controller = Controller::start(&cluster, &context.programs, "undefined").await?;
        let said = "failed to list the SealedSecrets in all namespaces: the definition is missing; run `kubectl apply \
                    --server-side -f deploy/kustomize/definitions/crds.yaml`; trying again";
        until_warned(&controller, said).await?;
        let definitions = Api::all(cluster.client());
        for definition in installation::definitions()? {
            definitions.create(&PostParams::default(), &definition).await?;
        }
        controller.ready().await?;
        let key = Keys::of(&cluster).first().await?;
        Keys::of(&cluster).until_published(&key, KeyState::Active).await?;
        let failures: Vec<_> = warnings(&controller).into_iter().filter(|said| said.starts_with("failed to")).collect();
        assert_eq!(failures.iter().filter(|warning| *warning == said).count(), 1, "{failures:?}");
        assert!(failures.iter().all(|warning| !warning.contains("429")), "{failures:?}");
        Ok(())
    })
}

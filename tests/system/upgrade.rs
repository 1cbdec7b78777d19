//! An upgrade from the first version of Waxseal rewrites nothing that the first version left in a cluster.
//!
//! `fixtures/upgrade` was recorded once: both programs of the commit 3e2a73d ran on the API server of these tests with
//! the manifests of that commit, `crds.yaml` and `waxseal.yaml`. `objects.json` is what kubectl then printed with
//! `--show-managed-fields -o json`. The private keys in it were made for this recording and open nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::key_life::whole_seconds;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{SealingKey, SealingKeySpec};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{Controller, KEY_NAMESPACE, SERVICE_ACCOUNT};
use waxseal_tests::waiting;

use crate::chart::{chart, helm};
use crate::controllers::answer;
use crate::key_namespace::Keys;
use crate::kustomize::{kubectl, on_empty_cluster};
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, condition, create, run, sealed, values, with_reason};

const OBJECTS: &str = include_str!("../fixtures/upgrade/objects.json");
const NAMESPACES: [&str; 2] = ["blog", "shop"];
/// The creation time of the recorded primary.
const RECORDED: &str = "2026-11-22T09:45:56Z";
/// The number of recorded SealedSecrets that are Ready. One more was renamed.
const MATERIALISED: usize = 6;
const FIRST_DEFINITIONS: &str = "tests/fixtures/upgrade/crds.yaml";
const FIRST_MANIFESTS: &str = "tests/fixtures/upgrade/waxseal.yaml";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        on_empty_cluster("upgrade::by_kustomize_it_rewrites_nothing_the_first_and_the_second_time", by_kustomize),
        on_empty_cluster("upgrade::by_kustomize_after_a_server_side_apply_it_rewrites_nothing", server_side),
        on_empty_cluster("upgrade::by_helm_it_rewrites_nothing", by_helm),
    ]
}

fn path(in_repository: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(in_repository)
}

fn apply(context: &Context, cluster: &Cluster, arguments: &[&str], in_repository: &str) -> TestResult {
    run(kubectl(context, cluster).arg("apply").args(arguments).arg(path(in_repository)), "").map(drop)
}

async fn by_kustomize(context: &Context, cluster: &Cluster) -> TestResult {
    let before = first_version(context, cluster, &["-f"]).await?;
    apply_base(context, cluster)?;
    takes_over(context, cluster, &before).await?;
    same_version(context, cluster).await
}

/// Applying the same version again, and starting another controller, writes no object of the namespaces, not even a
/// status.
async fn same_version(context: &Context, cluster: &Cluster) -> TestResult {
    let before = versions(cluster).await?;
    apply_base(context, cluster)?;
    let controller = Controller::start_deployed(cluster, &context.image()?, KEY_NAMESPACE).await?;
    controller.ready().await?;
    waiting::until("the judgement of every object", DEADLINE, async || {
        let (_, metrics) = controller.get("/metrics").await?;
        let count = |reason: &str| {
            let name = format!("waxseal_reconciles_total{{reason=\"{reason}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<usize>().ok())
        };
        (count("Materialised")? >= MATERIALISED && count("Moved")? >= 1).then_some(())
    })
    .await?;
    assert_eq!(versions(cluster).await?, before);
    Ok(())
}

/// The resourceVersions of all SealedSecrets and Secrets in the namespaces.
async fn versions(cluster: &Cluster) -> Result<Vec<(String, Option<String>)>, Error> {
    let mut versions = Vec::new();
    for namespace in NAMESPACES {
        let (objects, secrets) = (
            Api::<SealedSecret>::namespaced(cluster.client(), namespace),
            Api::<Secret>::namespaced(cluster.client(), namespace),
        );
        let all = ListParams::default();
        versions.extend(objects.list(&all).await?.iter().map(|object| (place(object), object.resource_version())));
        versions.extend(secrets.list(&all).await?.iter().map(|secret| (place(secret), secret.resource_version())));
    }
    Ok(versions)
}

async fn server_side(context: &Context, cluster: &Cluster) -> TestResult {
    let before = first_version(context, cluster, &["--server-side", "-f"]).await?;
    apply_base(context, cluster)?;
    takes_over(context, cluster, &before).await
}

fn apply_base(context: &Context, cluster: &Cluster) -> TestResult {
    for folder in ["deploy/kustomize/definitions", "deploy/kustomize/base"] {
        apply(context, cluster, &["--server-side", "-k"], folder)?;
    }
    Ok(())
}

async fn by_helm(context: &Context, cluster: &Cluster) -> TestResult {
    let before = first_version(context, cluster, &["-f"]).await?;
    let kubeconfig = cluster.admin_kubeconfig().to_str().ok_or("a path")?;
    let place = ["-n", KEY_NAMESPACE, "--kubeconfig", kubeconfig];
    helm(
        cluster.folder(),
        &[&["install", "waxseal", &chart(), "--take-ownership", "--force-conflicts"][..], &place].concat(),
    )?;
    takes_over(context, cluster, &before).await
}

/// Installs the manifests of the first version, and restores what its programs left.
async fn first_version(context: &Context, cluster: &Cluster, arguments: &[&str]) -> Result<Kept, Error> {
    apply(context, cluster, &["--server-side", "-f"], FIRST_DEFINITIONS)?;
    apply(context, cluster, arguments, FIRST_MANIFESTS)?;
    let definitions = ["crd/sealedsecrets.waxseal.dev", "crd/sealingkeys.waxseal.dev"];
    run(kubectl(context, cluster).args(["wait", "--for=condition=Established"]).args(definitions), "")?;
    for name in NAMESPACES {
        let namespace = serde_json::from_value::<Namespace>(json!({"metadata": {"name": name}}))?;
        Api::all(cluster.client()).create(&PostParams::default(), &namespace).await?;
    }
    let yesterday = whole_seconds(Timestamp::now() - SignedDuration::from_hours(24)).to_string();
    let recorded: Value = serde_json::from_str(OBJECTS)?;
    for item in recorded["items"].as_array().ok_or("no items")? {
        restore(cluster, made_at(&yesterday, item.clone())?).await?;
    }
    let kept = Kept::of(cluster).await?;
    assert_eq!(kept.secrets.len() + kept.generations.len(), 15);
    Ok(kept)
}

/// Gives the recorded primary another creation time: 90 days after the recorded time the controller would renew it.
fn made_at(time: &str, mut item: Value) -> Result<Value, Error> {
    if let Some(created_at) = item.pointer_mut("/spec/createdAt").filter(|recorded| **recorded == RECORDED) {
        *created_at = json!(time);
    }
    if let Some(identity) = item.pointer_mut("/data/identity") {
        let file = String::from_utf8(BASE64_STANDARD.decode(identity.as_str().ok_or("no text")?)?)?;
        *identity = json!(BASE64_STANDARD.encode(file.replace(RECORDED, time)));
    }
    Ok(item)
}

/// Creates an object and its status under the field managers that wrote the recorded one.
async fn restore(cluster: &Cluster, item: Value) -> TestResult {
    let mut object: DynamicObject = serde_json::from_value(item)?;
    let kind = GroupVersionKind::try_from(object.types.as_ref().ok_or("no kind")?)?;
    let (namespace, name) = (object.namespace().ok_or("no namespace")?, object.name_any());
    let objects = Api::<DynamicObject>::namespaced_with(cluster.client(), &namespace, &ApiResource::from_gvk(&kind));
    let status = object.data.as_object_mut().and_then(|fields| fields.remove("status"));
    let writers = object.metadata.managed_fields.take().unwrap_or_default();
    object.metadata = ObjectMeta {
        name: Some(name.clone()),
        labels: object.metadata.labels.take(),
        annotations: object.metadata.annotations.take(),
        owner_references: object.metadata.owner_references.take(),
        ..ObjectMeta::default()
    };
    for owner in object.metadata.owner_references.iter_mut().flatten() {
        owner.uid = Api::<SealedSecret>::namespaced(cluster.client(), &namespace)
            .get(&owner.name)
            .await?
            .uid()
            .ok_or("no UID")?;
    }
    let [writer] = writers.iter().filter(|entry| entry.subresource.is_none()).collect::<Vec<_>>()[..] else {
        return Err(format!("{name} has not one writer").into());
    };
    let field_manager = writer.manager.clone();
    if writer.operation.as_deref() == Some("Apply") {
        objects.patch(&name, &PatchParams { field_manager, ..PatchParams::default() }, &Patch::Apply(&object)).await?;
    } else {
        objects.create(&PostParams { field_manager, ..PostParams::default() }, &object).await?;
    }
    if let Some(status) = status {
        let of_status = |entry: &&ManagedFieldsEntry| entry.subresource.as_deref() == Some("status");
        let field_manager = writers.iter().find(of_status).and_then(|entry| entry.manager.clone());
        let params = PatchParams { field_manager, ..PatchParams::default() };
        objects.patch_status(&name, &params, &Patch::Merge(json!({"status": status}))).await?;
    }
    Ok(())
}

/// What stays the same in an upgrade, by namespace and name.
#[derive(Debug, PartialEq)]
struct Kept {
    /// The resourceVersion of each Secret.
    secrets: BTreeMap<String, Option<String>>,
    /// The generation of each SealedSecret, which every change of the spec raises.
    generations: BTreeMap<String, Option<i64>>,
    reasons: BTreeMap<String, Option<String>>,
    keys: BTreeMap<String, SealingKeySpec>,
    primary: String,
}

impl Kept {
    async fn of(cluster: &Cluster) -> Result<Self, Error> {
        let all = Api::<Secret>::all(cluster.client());
        let identities = ListParams::default().fields("type=waxseal.dev/sealing-key");
        let made = ListParams::default().labels("waxseal.dev/secret");
        let secrets = all.list(&identities).await?.items.into_iter().chain(all.list(&made).await?);
        let objects = sealed_secrets(cluster).await?;
        let reason = |object: &SealedSecret| Some(condition(object, "Ready")?.1);
        let keys = Api::<SealingKey>::namespaced(cluster.client(), KEY_NAMESPACE).list(&ListParams::default()).await?;
        Ok(Self {
            secrets: secrets.map(|secret| (place(&secret), secret.resource_version())).collect(),
            reasons: objects.iter().map(|object| (place(object), reason(object))).collect(),
            generations: objects.iter().map(|object| (place(object), object.metadata.generation)).collect(),
            keys: keys.into_iter().map(|key| (place(&key), key.spec)).collect(),
            primary: Keys::of(cluster).primary().await?,
        })
    }
}

fn place(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

async fn sealed_secrets(cluster: &Cluster) -> Result<Vec<SealedSecret>, Error> {
    Ok(Api::<SealedSecret>::all(cluster.client()).list(&ListParams::default()).await?.items)
}

/// The deployed controller judges every object as the first version did, and changes nothing. Its ClusterRole gives no
/// right to delete.
async fn takes_over(context: &Context, cluster: &Cluster, before: &Kept) -> TestResult {
    let controller = Controller::start_deployed(cluster, &context.image()?, KEY_NAMESPACE).await?;
    controller.ready().await?;
    waiting::until("the judgement of every object", DEADLINE, async || {
        let (_, metrics) = controller.get("/metrics").await?;
        let is_settled = |object: &SealedSecret| object.status.as_ref().is_some_and(|status| status.settled.is_some());
        let settled = sealed_secrets(cluster).await.ok()?.into_iter().filter(is_settled).count();
        (settled == MATERIALISED && metrics.contains("waxseal_reconciles_total{reason=\"Moved\"}")).then_some(())
    })
    .await?;
    assert_eq!(&Kept::of(cluster).await?, before);
    let (_, metrics) = answer(&controller, "/metrics").await.ok_or("no metrics")?;
    assert!(metrics.contains("waxseal_secret_writes_total 0\n"), "{metrics}");
    let db = Api::<Secret>::namespaced(cluster.client(), "shop").get("db").await?;
    let expected = [("password", "correct-horse"), ("username", "app")];
    assert_eq!(values(&db), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));

    let namespace = cluster.namespace("new").await?;
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let role = Api::<ClusterRole>::all(cluster.client()).get(SERVICE_ACCOUNT).await?;
    assert!(role.rules.iter().flatten().all(|rule| !rule.verbs.contains(&"delete".to_owned())), "{role:?}");
    Ok(())
}

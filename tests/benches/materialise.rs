//! The time from the controller's start until 1,000 SealedSecrets of 5 values each are materialised and their statuses
//! are written. For comparison, the time of the same requests by the same client without any other work.
//!
//! Both times come from one run on one API server. Their ratio is the result.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::error::Error;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{Controller, fetch_keys};
use waxseal_tests::many_objects::{self, CONCURRENCY, VALUES};
use waxseal_tests::programs::Programs;
use waxseal_tests::waiting;

const OBJECTS: usize = 1000;
const DEADLINE: Duration = Duration::from_mins(5);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    many_objects::on_new_cluster(run)
}

async fn run(cluster: &Cluster, programs: &Programs) -> Outcome<()> {
    let controller = Controller::start(cluster, programs, "key-maker").await?;
    controller.ready().await?;
    let keys_file = cluster.folder().join("keys.yaml");
    fetch_keys(programs, &controller.kubeconfig, &keys_file)?;
    controller.stop().await?;

    let keys = std::fs::read_to_string(&keys_file)?;
    let ours = cluster.namespace("ours").await?;
    many_objects::create(&ours, &keys, OBJECTS).await?;
    let controller = Controller::start(cluster, programs, "measured").await?;
    let materialised = all_ready(&controller, &ours).await?;
    controller.stop().await?;

    let peer = cluster.namespace("peer").await?;
    many_objects::create(&peer, &keys, OBJECTS).await?;
    let writes = same_writes(&peer).await?;
    report("the same requests, no crypto", writes);
    report("waxseal-controller, from its start", materialised);
    println!("ratio: {:.2}", materialised.as_secs_f64() / writes.as_secs_f64());
    Ok(())
}

fn report(what: &str, took: Duration) {
    let seconds = took.as_secs_f64();
    println!("{what}: {OBJECTS} objects in {seconds:.2} s, {:.0} a second", OBJECTS as f64 / seconds);
}

/// Gets each object, applies a Secret and patches a status, as the controller does.
async fn same_writes(namespace: &Namespace) -> Outcome<Duration> {
    let (secrets, objects) = (namespace.api::<Secret>(), namespace.api::<SealedSecret>());
    let existing = objects.list(&ListParams::default()).await?.items;
    let start = Instant::now();
    let written = stream::iter(existing).map(|object| write(&secrets, &objects, object)).buffer_unordered(CONCURRENCY);
    written.try_for_each(|()| std::future::ready(Ok(()))).await?;
    Ok(start.elapsed())
}

async fn write(secrets: &Api<Secret>, objects: &Api<SealedSecret>, object: SealedSecret) -> kube::Result<()> {
    let name = object.name_any();
    let object = objects.get(&name).await?;
    let data: serde_json::Map<_, _> =
        (0..VALUES).map(|index| (format!("KEY_{index}"), json!("dmFsdWUgMSBvZiBvYmplY3QgMQ=="))).collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {"name": name, "resourceVersion": "1", "ownerReferences": [{
            "apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", "name": name, "uid": object.uid(), "controller": true,
        }]},
    });
    secrets.patch(&name, &PatchParams::apply("peer").force(), &Patch::Apply(secret)).await?;
    let status = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": {"observedGeneration": 1, "conditions": [{
            "type": "Ready", "status": "True", "reason": "Materialised", "message": "the Secret is as this SealedSecret says",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }]},
    });
    objects.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

/// Waits for the controller's own count, because asking for it is cheap. Then compares it with the API server's
/// objects.
async fn all_ready(controller: &Controller, namespace: &Namespace) -> Outcome<Duration> {
    let start = Instant::now();
    let count = format!("waxseal_sealed_secrets{{reason=\"Materialised\"}} {OBJECTS}");
    waiting::until("all objects being materialised", DEADLINE, async || {
        let (_, metrics) = controller.get("/metrics").await?;
        metrics.contains(&count).then_some(())
    })
    .await?;
    let took = start.elapsed();
    let is_ready = |object: &SealedSecret| {
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let objects = namespace.api::<SealedSecret>().list(&ListParams::default()).await?;
    assert!(objects.items.iter().all(is_ready), "every object says that it is ready");
    let secrets = namespace.api::<Secret>().list_metadata(&ListParams::default()).await?;
    assert_eq!(secrets.items.len(), OBJECTS, "every object has its Secret");
    Ok(took)
}

//! The time from the request for a new key until the statuses of 10,000 SealedSecrets offer the wraps for it. For
//! comparison, the time of one status patch for each, with the same content and by the same client.
//!
//! Both times come from one run on one API server. Their ratio is the result.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::error::Error;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::SealingKey;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE, fetch_keys};
use waxseal_tests::many_objects::{self, CONCURRENCY};
use waxseal_tests::{assets, prerequisites, programs, waiting};

const OBJECTS: usize = 10_000;
const DEADLINE: Duration = Duration::from_mins(10);
/// The number of objects in a page of a list in this program.
const PAGE: u32 = 500;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    prerequisites::check()?;
    let programs = programs::build()?;
    let assets = assets::prepare()?;
    let cluster = Cluster::start(&assets.kubernetes, &installation::definitions()?)?;
    cluster.block_on(run(&cluster, &programs))
}

async fn run(cluster: &Cluster, programs: &programs::Programs) -> Outcome<()> {
    installation::apply(cluster).await?;
    let controller = Controller::start(cluster, programs, "rotates").await?;
    controller.ready().await?;
    let keys_file = cluster.folder().join("keys.yaml");
    fetch_keys(programs, &controller.kubeconfig, &keys_file)?;
    let keys = std::fs::read_to_string(&keys_file)?;
    let ours = cluster.namespace("ours").await?;
    many_objects::create(&ours, &keys, OBJECTS).await?;
    until_judged(&controller, OBJECTS).await?;

    let judged = judgements(&controller).await.ok_or("no metrics")?;
    let start = Instant::now();
    retire_all(cluster).await?;
    until_judged(&controller, judged + OBJECTS).await?;
    let rotated = start.elapsed();
    controller.stop().await?;
    let statuses = offering_statuses(&ours).await?;

    let peer = cluster.namespace("peer").await?;
    many_objects::create(&peer, &keys, OBJECTS).await?;
    let patched = same_patches(&peer, &statuses).await?;
    report("a new key, until the last status offers its wrap", rotated);
    report("one status patch for each, no crypto", patched);
    println!("ratio: {:.2}", rotated.as_secs_f64() / patched.as_secs_f64());
    Ok(())
}

fn report(what: &str, took: Duration) {
    println!("{what}: {OBJECTS} objects in {:.2} s", took.as_secs_f64());
}

async fn retire_all(cluster: &Cluster) -> Outcome<()> {
    let keys = Api::<SealingKey>::namespaced(cluster.client(), KEY_NAMESPACE);
    for key in keys.list(&ListParams::default()).await? {
        let patch = Patch::Merge(json!({"spec": {"state": "Retired"}}));
        keys.patch(&key.name_any(), &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// The number of judgements that the controller has made, by its own count: asking for it is cheap.
async fn judgements(controller: &Controller) -> Option<usize> {
    let (_, metrics) = controller.get("/metrics").await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("waxseal_reconciles_total{reason=\"Materialised\"} "));
    line?.parse().ok()
}

async fn until_judged(controller: &Controller, count: usize) -> Outcome<()> {
    let is_reached = async || judgements(controller).await.filter(|judged| *judged >= count).map(drop);
    Ok(waiting::until("all judgements", DEADLINE, is_reached).await?)
}

/// Returns the status of each object, which must offer one wrap.
async fn offering_statuses(namespace: &Namespace) -> Outcome<Vec<serde_json::Value>> {
    let objects = all(namespace).await?;
    assert_eq!(objects.len(), OBJECTS);
    let statuses = objects.into_iter().map(|object| {
        let status = object.status.expect("it was judged");
        let offers: Vec<_> = status.rewrapped.values().map(|offer| offer.wraps.len()).collect();
        assert_eq!(offers, [1], "{:?}", object.metadata.name);
        json!(status)
    });
    Ok(statuses.collect())
}

async fn all(namespace: &Namespace) -> Outcome<Vec<SealedSecret>> {
    let api = namespace.api::<SealedSecret>();
    let (mut objects, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = api.list(&params).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(objects),
        }
    }
}

/// Patches the statuses, with the version of each object, as the controller does.
async fn same_patches(namespace: &Namespace, statuses: &[serde_json::Value]) -> Outcome<Duration> {
    let objects = all(namespace).await?;
    let api = namespace.api::<SealedSecret>();
    let params = PatchParams::default();
    let patch = async |(object, status): (&SealedSecret, &serde_json::Value)| {
        let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
        api.patch_status(&object.name_any(), &params, &Patch::Merge(patch)).await.map(drop)
    };
    let start = Instant::now();
    let patched = stream::iter(objects.iter().zip(statuses)).map(patch).buffer_unordered(CONCURRENCY);
    patched.try_collect::<()>().await?;
    Ok(start.elapsed())
}

//! The time from the request for a new key until the statuses of 10,000 SealedSecrets offer the wraps for it. For
//! comparison, the time of one status patch for each, with the same content and by the same client.
//!
//! Both times come from one run on one API server, and end when a watch has shown the last status. Their ratio is the
//! result.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::collections::BTreeSet;
use std::error::Error;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretStatus};
use waxseal_shared::sealing_key::SealingKey;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{Controller, KEY_NAMESPACE, fetch_keys};
use waxseal_tests::many_objects::{self, CONCURRENCY};
use waxseal_tests::programs::Programs;
use waxseal_tests::waiting;

const OBJECTS: usize = 10_000;
const DEADLINE: Duration = Duration::from_mins(10);
/// The number of objects in a page of a list in this program.
const PAGE: u32 = 500;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    many_objects::on_new_cluster(run)
}

async fn run(cluster: &Cluster, programs: &Programs) -> Outcome<()> {
    let controller = Controller::start(cluster, programs, "rotates").await?;
    controller.ready().await?;
    let keys_file = cluster.folder().join("keys.yaml");
    fetch_keys(programs, &controller.kubeconfig, &keys_file)?;
    let keys = std::fs::read_to_string(&keys_file)?;
    let ours = cluster.namespace("ours").await?;
    many_objects::create(&ours, &keys, OBJECTS).await?;
    until_judged(&controller).await?;

    let mut changes = pin!(changes_of(&ours).await?);
    let start = Instant::now();
    retire_all(cluster).await?;
    until_all(&mut changes, |status| offered_wraps(status) == [1]).await?;
    let rotated = start.elapsed();
    controller.stop().await?;

    let statuses = all(&ours).await?.into_iter().map(|object| json!(object.status)).collect::<Vec<_>>();
    let peer = cluster.namespace("peer").await?;
    many_objects::create(&peer, &keys, OBJECTS).await?;
    let objects = all(&peer).await?;
    let mut changes = pin!(changes_of(&peer).await?);
    let start = Instant::now();
    let seen = until_all(&mut changes, |status| offered_wraps(status) == [1]);
    let (patched, seen) = tokio::join!(same_patches(&peer, &objects, &statuses), seen);
    let patched_in = start.elapsed();
    patched?;
    seen?;
    report("a new key, until the last status offers its wrap", rotated);
    report("one status patch for each, no crypto", patched_in);
    println!("ratio: {:.2}", rotated.as_secs_f64() / patched_in.as_secs_f64());
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

/// Waits until the controller has judged each object, by its own count: asking for it is cheap.
async fn until_judged(controller: &Controller) -> Outcome<()> {
    let prefix = "waxseal_reconciles_total{reason=\"Materialised\"} ";
    let judged = async || {
        let (_, metrics) = controller.get("/metrics").await?;
        let count: usize = metrics.lines().find_map(|line| line.strip_prefix(prefix))?.parse().ok()?;
        (count >= OBJECTS).then_some(())
    };
    Ok(waiting::until("all judgements", DEADLINE, judged).await?)
}

/// Watches the objects of a namespace. Returns when the watch has begun.
async fn changes_of(
    namespace: &Namespace,
) -> Outcome<impl Stream<Item = watcher::Result<watcher::Event<SealedSecret>>> + use<>> {
    let mut events = Box::pin(watcher(namespace.api::<SealedSecret>(), watcher::Config::default()));
    while !matches!(events.try_next().await?, None | Some(watcher::Event::InitDone)) {}
    Ok(events)
}

/// Waits until the watch has shown each object with a status that is as wanted.
async fn until_all<S>(changes: &mut S, is_as_wanted: impl Fn(&SealedSecretStatus) -> bool) -> Outcome<()>
where
    S: Stream<Item = watcher::Result<watcher::Event<SealedSecret>>> + Unpin,
{
    let mut done = BTreeSet::new();
    let each = async {
        while done.len() < OBJECTS {
            if let Some(watcher::Event::Apply(object)) = changes.try_next().await?
                && object.status.as_ref().is_some_and(&is_as_wanted)
            {
                done.insert(object.name_any());
            }
        }
        Ok(())
    };
    tokio::time::timeout(DEADLINE, each).await?
}

/// The number of wraps that are offered for each envelope.
fn offered_wraps(status: &SealedSecretStatus) -> Vec<usize> {
    status.rewrapped.values().map(|offer| offer.wraps.len()).collect()
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
async fn same_patches(
    namespace: &Namespace,
    objects: &[SealedSecret],
    statuses: &[serde_json::Value],
) -> kube::Result<()> {
    let api = namespace.api::<SealedSecret>();
    let params = PatchParams::default();
    let patch = async |(object, status): (&SealedSecret, &serde_json::Value)| {
        let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
        api.patch_status(&object.name_any(), &params, &Patch::Merge(patch)).await.map(drop)
    };
    stream::iter(objects.iter().zip(statuses)).map(patch).buffer_unordered(CONCURRENCY).try_collect().await
}

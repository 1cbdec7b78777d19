//! The size of the shipped controller, the cost of its first start and of a restart with 10,000 settled SealedSecrets,
//! and its memory with them and with 400 objects of the largest size.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::error::Error;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{Controller, fetch_keys};
use waxseal_tests::programs::Programs;
use waxseal_tests::{image, many_objects, memory, waiting};

const HONEST: usize = 10_000;
const LARGE: usize = 400;
const DEADLINE: Duration = Duration::from_mins(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    many_objects::on_new_cluster(run)
}

async fn run(cluster: &Cluster, programs: &Programs) -> Outcome<()> {
    let shipped = image::build(&cluster.folder().join("image"))?.program();
    println!("size of the shipped controller: {:.1} MB", std::fs::metadata(&shipped)?.len() as f64 / 1e6);
    let programs = &Programs { waxseal_controller: shipped, ..programs.clone() };
    let start = Instant::now();
    let controller = Controller::start(cluster, programs, "first").await?;
    controller.ready().await?;
    println!("first start, which makes a key: ready in {:.2} s", start.elapsed().as_secs_f64());
    report_memory("after the first start", &controller)?;
    let keys_file = cluster.folder().join("keys.yaml");
    fetch_keys(programs, &controller.kubeconfig, &keys_file)?;
    let honest = cluster.namespace("honest").await?;
    many_objects::create(&honest, &std::fs::read_to_string(&keys_file)?, HONEST).await?;
    has_reasons(&controller, "Materialised", HONEST).await?;
    report_memory("with 10,000 objects that it materialised", &controller)?;
    controller.stop().await?;

    let requests = gets(cluster)?;
    let start = Instant::now();
    let controller = Controller::start(cluster, programs, "second").await?;
    controller.ready().await?;
    let ready = start.elapsed();
    has_reasons(&controller, "Materialised", HONEST).await?;
    let done = start.elapsed();
    println!(
        "restart with {HONEST} settled objects: ready in {:.2} s, all looked at in {:.2} s",
        ready.as_secs_f64(),
        done.as_secs_f64()
    );
    println!("objects fetched meanwhile: {}", gets(cluster)? - requests);
    report_memory("after that restart", &controller)?;

    let flooded = cluster.namespace("flooded").await?;
    create_large(&flooded.api()).await?;
    has_reasons(&controller, "Malformed", LARGE).await?;
    report_memory("after 400 large objects arrived", &controller)?;
    controller.stop().await?;

    let start = Instant::now();
    let controller = Controller::start(cluster, programs, "third").await?;
    controller.ready().await?;
    println!("restart with them: ready in {:.2} s", start.elapsed().as_secs_f64());
    has_reasons(&controller, "Malformed", LARGE).await?;
    has_reasons(&controller, "Materialised", HONEST).await?;
    report_memory("after a restart on all of them", &controller)
}

fn report_memory(when: &str, controller: &Controller) -> Outcome<()> {
    let most = memory::most_resident(controller.process_id())?;
    println!("most memory {when}: {:.1} MiB", most as f64 / 1024.0);
    Ok(())
}

/// Counts the SealedSecrets that were fetched one by one, by the API server's audit log.
fn gets(cluster: &Cluster) -> Outcome<usize> {
    let log = std::fs::read_to_string(cluster.audit_log())?;
    let is_get = |line: &&str| line.contains("\"verb\":\"get\"") && line.contains("\"resource\":\"sealedsecrets\"");
    Ok(log.lines().filter(is_get).count())
}

async fn create_large(objects: &Api<SealedSecret>) -> Outcome<()> {
    let params = PostParams::default();
    for number in 0..LARGE {
        let object: SealedSecret = serde_json::from_value(json!({
            "apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", "metadata": {"name": format!("large-{number}")},
            "spec": {"encryptedData": {"A": format!("wax1.e0123456789.{}", "A".repeat(1_400_000))}},
        }))?;
        objects.create(&params, &object).await?;
    }
    Ok(())
}

/// Waits for the controller's own count.
async fn has_reasons(controller: &Controller, reason: &str, count: usize) -> Outcome<()> {
    let line = format!("waxseal_sealed_secrets{{reason=\"{reason}\"}} {count}");
    waiting::until(&line, DEADLINE, async || {
        let (_, metrics) = controller.get("/metrics").await?;
        metrics.contains(&line).then_some(())
    })
    .await?;
    Ok(())
}

//! What a restart costs with 10,000 SealedSecrets that are settled, and how much memory the controller takes with them
//! and with 400 objects as large as the API server takes.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::error::Error;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use waxseal_shared::key_life::sealing_recipients;
use waxseal_shared::names::{DataKey, ObjectName};
use waxseal_shared::seal::seal;
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::{SecretBytes, SecretManifest};
use waxseal_shared::{manifest, names, randomness};
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller, fetch_keys};
use waxseal_tests::{assets, memory, prerequisites, programs, waiting};

const HONEST: usize = 10_000;
const VALUES: usize = 5;
const LARGE: usize = 400;
const CONCURRENCY: usize = 16;
const DEADLINE: Duration = Duration::from_mins(10);

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
    let controller = Controller::start(cluster, programs, "first").await?;
    controller.ready().await?;
    let keys_file = cluster.folder().join("keys.yaml");
    fetch_keys(programs, &controller.kubeconfig, &keys_file)?;
    let honest = cluster.namespace("honest").await?;
    create_honest(&honest, &std::fs::read_to_string(&keys_file)?).await?;
    has_verdicts(&controller, "Materialised", HONEST).await?;
    report_memory("with 10,000 objects that it materialised", &controller)?;
    controller.stop().await?;

    let requests = gets(cluster)?;
    let start = Instant::now();
    let controller = Controller::start(cluster, programs, "second").await?;
    controller.ready().await?;
    let ready = start.elapsed();
    has_verdicts(&controller, "Materialised", HONEST).await?;
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
    has_verdicts(&controller, "Malformed", LARGE).await?;
    report_memory("after 400 large objects arrived", &controller)?;
    controller.stop().await?;

    let start = Instant::now();
    let controller = Controller::start(cluster, programs, "third").await?;
    controller.ready().await?;
    println!("restart with them: ready in {:.2} s", start.elapsed().as_secs_f64());
    has_verdicts(&controller, "Malformed", LARGE).await?;
    has_verdicts(&controller, "Materialised", HONEST).await?;
    report_memory("after a restart on all of them", &controller)
}

fn report_memory(when: &str, controller: &Controller) -> Outcome<()> {
    let most = memory::most_resident(controller.process_id())?;
    println!("most memory {when}: {:.1} MiB", most as f64 / 1024.0);
    Ok(())
}

/// How many SealedSecrets were fetched one by one, by the API server's audit log.
fn gets(cluster: &Cluster) -> Outcome<usize> {
    let log = std::fs::read_to_string(cluster.audit_log())?;
    let is_get = |line: &&str| line.contains("\"verb\":\"get\"") && line.contains("\"resource\":\"sealedsecrets\"");
    Ok(log.lines().filter(is_get).count())
}

async fn create_honest(namespace: &Namespace, keys: &str) -> Outcome<()> {
    let keys = manifest::read_keys(keys)?;
    let recipients = sealing_recipients(&keys).ok_or("no primary key")?;
    let place = names::Namespace::parse(namespace.name())?;
    let api = namespace.api::<SealedSecret>();
    let params = PostParams::default();
    let create = async |number: usize| {
        let object = seal(&secret(number), &place, Scope::Strict, &recipients, &mut randomness::system())?;
        api.create(&params, &object).await?;
        Ok::<_, Box<dyn Error>>(())
    };
    stream::iter(0..HONEST).map(create).buffer_unordered(CONCURRENCY).try_collect().await
}

fn secret(number: usize) -> SecretManifest {
    let value = |index: usize| {
        let key = DataKey::parse(&format!("KEY_{index}")).expect("letters and a digit");
        (key, SecretBytes::new(format!("value {index} of object {number}").into_bytes()))
    };
    let name = ObjectName::parse(&format!("object-{number}")).expect("letters and digits");
    SecretManifest {
        name,
        namespace: None,
        labels: Default::default(),
        annotations: Default::default(),
        type_: None,
        immutable: None,
        data: (0..VALUES).map(value).collect(),
    }
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
async fn has_verdicts(controller: &Controller, reason: &str, count: usize) -> Outcome<()> {
    let line = format!("waxseal_sealed_secrets{{reason=\"{reason}\"}} {count}");
    waiting::until(&line, DEADLINE, async || {
        let (_, metrics) = controller.get("/metrics").await?;
        metrics.contains(&line).then_some(())
    })
    .await?;
    Ok(())
}

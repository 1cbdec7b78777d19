//! The start of the controller, its first key, and its end, on API servers of their own.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::SealingKey;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::waiting;

use crate::controllers::answer;
use crate::registration::{Context, Test, TestResult, own_cluster_slot};
use crate::sealing::{DEADLINE, create, opaque, seal_with, sealed, with_reason};

const WATCH_FAILURES: &str = "waxseal_watch_failures_total{kind=\"SealedSecrets\"}";
/// The controller waits at most 5 s between two attempts of a watch. The rest is for a slow machine.
const FOLLOWED_AGAIN: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("startup::two_controllers_at_once_end_with_one_primary", two_at_once),
        Test::on_own_cluster("startup::no_key_is_made_while_objects_name_other_keys", awaiting),
        Test::on_own_cluster("startup::a_restarted_controller_writes_nothing_and_ends_on_sigterm", restart),
        Test::blocking("startup::watches_continue_after_an_outage_of_the_api_server", outage),
    ]
}

async fn two_at_once(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (one, two) = tokio::join!(
        Controller::start(cluster, &context.programs, "one"),
        Controller::start(cluster, &context.programs, "two")
    );
    let (one, two) = (one?, two?);
    one.ready().await?;
    two.ready().await?;
    let keys = Api::<SealingKey>::namespaced(cluster.client(), KEY_NAMESPACE).list(&ListParams::default()).await?;
    let identities = ListParams::default().fields("type=waxseal.dev/sealing-key");
    let identities = Api::<Secret>::namespaced(cluster.client(), KEY_NAMESPACE).list(&identities).await?;
    assert_eq!((keys.items.len(), identities.items.len()), (1, 1));
    Ok(())
}

/// A cluster was restored without its keys. The controller makes no key, because people would seal to it and the
/// operator would not know. The objects wait.
async fn awaiting(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let namespace = cluster.namespace("awaiting").await?;
    create(&namespace, &context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?).await?;
    let controller = Controller::start(cluster, &context.programs, "awaiting").await?;
    with_reason(&namespace, "db", "AwaitingKeys").await?;
    assert_eq!(answer(&controller, "/readyz").await, Some((503, "AwaitingKeys".to_owned())));
    assert_eq!(answer(&controller, "/livez").await, Some((200, "ok".to_owned())));
    let cause = "the controller does not make a first key, because a SealedSecret is sealed";
    waiting::until(cause, DEADLINE, async || controller.log_text().contains(cause).then_some(())).await?;
    let keys = Api::<SealingKey>::namespaced(cluster.client(), KEY_NAMESPACE);
    assert!(keys.list(&ListParams::default()).await?.items.is_empty());

    namespace.api::<SealedSecret>().delete("db", &DeleteParams::default()).await?;
    // An event in the key namespace makes the controller read its keys again.
    let mut identity = Secret::default();
    identity.metadata.name = Some("event".to_owned());
    identity.type_ = Some("waxseal.dev/sealing-key".to_owned());
    let secrets = Api::<Secret>::namespaced(cluster.client(), KEY_NAMESPACE);
    secrets.create(&PostParams::default(), &identity).await?;
    secrets.delete("event", &DeleteParams::default()).await?;
    controller.ready().await?;
    Ok(())
}

async fn restart(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let first = Controller::start(cluster, &context.programs, "first").await?;
    first.ready().await?;
    let namespace = cluster.namespace("restart").await?;
    create(&namespace, &sealed(context, cluster, &first, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    assert_eq!(first.stop().await?, Some(0));
    let fetched = fetches(cluster)?;
    assert!(fetched > 0);

    let versions = async || -> Result<_, crate::registration::Error> {
        let object = namespace.api::<SealedSecret>().get("db").await?.resource_version();
        Ok((object, namespace.api::<Secret>().get("db").await?.resource_version()))
    };
    let before = versions().await?;
    let second = Controller::start(cluster, &context.programs, "second").await?;
    second.ready().await?;
    waiting::until("the second controller's judgement", DEADLINE, async || {
        let (_, metrics) = second.get("/metrics").await?;
        metrics.contains("waxseal_sealed_secrets{reason=\"Materialised\"} 1").then_some(())
    })
    .await?;
    assert_eq!(versions().await?, before);
    assert_eq!(fetches(cluster)?, fetched, "a settled object is not even read");
    let (_, metrics) = answer(&second, "/metrics").await.ok_or("no metrics")?;
    assert!(metrics.contains("waxseal_secret_writes_total 0"), "{metrics}");
    assert_eq!(second.stop().await?, Some(0));
    Ok(())
}

/// Counts the SealedSecrets that the controllers of a cluster have fetched so far, by the audit log.
fn fetches(cluster: &Cluster) -> Result<usize, crate::registration::Error> {
    let log = std::fs::read_to_string(cluster.audit_log())?;
    let is_fetch = |line: &&str| {
        line.contains("\"verb\":\"get\"")
            && line.contains("\"resource\":\"sealedsecrets\"")
            && line.contains(installation::SERVICE_ACCOUNT)
    };
    Ok(log.lines().filter(is_fetch).count())
}

/// Several attempts fail, so that the waits between them grow. The restarted API server no longer knows the versions of
/// the watches. All watches continue within seconds.
fn outage(context: &Context) -> TestResult {
    let _slot = own_cluster_slot()?;
    let mut cluster = Cluster::start(&context.assets.kubernetes, &installation::definitions()?)?;
    let (controller, namespace) = cluster.block_on(async {
        installation::apply(&cluster).await?;
        let controller = Controller::start(&cluster, &context.programs, "outage").await?;
        controller.ready().await?;
        let keys_file = cluster.folder().join("keys.yaml");
        installation::fetch_keys(&context.programs, &controller.kubeconfig, &keys_file)?;
        Ok::<_, crate::registration::Error>((controller, cluster.namespace("outage").await?))
    })?;
    let keys_file = cluster.folder().join("keys.yaml");
    let seal = |name| seal_with(context, &keys_file, &opaque(name, &[("PASSWORD", "hunter2")]), namespace.name());
    cluster.block_on(async {
        create(&namespace, &seal("before")?).await?;
        with_reason(&namespace, "before", "Materialised").await
    })?;

    cluster.kill_api_server();
    cluster.block_on(waiting::until("five failed watches of SealedSecrets", DEADLINE, async || {
        let (_, metrics) = controller.get("/metrics").await?;
        let count = metrics.lines().find_map(|line| line.strip_prefix(WATCH_FAILURES))?;
        (count.trim().parse::<u32>().ok()? >= 5).then_some(())
    }))?;
    cluster.restart_api_server(&context.assets.kubernetes)?;

    cluster.block_on(async {
        create(&namespace, &seal("after")?).await?;
        namespace.api::<Secret>().delete("before", &DeleteParams::default()).await?;
        let followed = async || {
            namespace.api::<Secret>().get_opt("after").await.ok()??;
            namespace.api::<Secret>().get_opt("before").await.ok()?.map(drop)
        };
        waiting::until("both Secrets", FOLLOWED_AGAIN, followed).await?;
        with_reason(&namespace, "after", "Materialised").await?;
        assert_eq!(controller.stop().await?, Some(0));
        Ok(())
    })
}

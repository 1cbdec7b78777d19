//! The start of the controller, its first key, and its end, mostly on API servers of their own.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyRole, KeyState, SealingKey, SealingKeySpec};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::waiting;

use crate::registration::{Context, Test, TestResult, own_cluster_slot};
use crate::sealing::{DEADLINE, create, opaque, seal_with, sealed, with_reason};

const WATCH_FAILURES: &str = "waxseal_watch_failures_total{kind=\"SealedSecrets\"}";
/// Far longer than two of the longest waits between attempts, and far shorter than the library's waits.
const FOLLOWED_AGAIN: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("startup::two_controllers_at_once_end_with_one_primary", two_at_once),
        Test::on_own_cluster("startup::no_key_is_made_while_objects_name_other_keys", awaiting),
        Test::on_own_cluster("startup::a_restart_writes_nothing_and_sigterm_ends_it", restart),
        Test::blocking("startup::watches_continue_after_an_outage_of_the_api_server", outage),
        Test::new("startup::a_planted_sealing_key_is_deleted", planted),
        Test::new("startup::a_deleted_sealing_key_is_published_again", republished),
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
    assert_eq!(controller.get("/readyz").await, Some((503, "AwaitingKeys".to_owned())));
    assert_eq!(controller.get("/livez").await, Some((200, "ok".to_owned())));
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
    let (_, metrics) = second.get("/metrics").await.ok_or("no metrics")?;
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

async fn planted(context: &Context) -> TestResult {
    let keys = Api::<SealingKey>::namespaced(context.cluster.client(), KEY_NAMESPACE);
    let identity = context.cluster.folder().join("planted.key");
    let mut generate = std::process::Command::new(&context.programs.waxseal);
    let planted = generate.env_clear().args(["keys", "generate", "-o"]).arg(&identity).output()?;
    let recipient = String::from_utf8(planted.stdout)?;
    let recipient = recipient.lines().find_map(|line| line.trim().strip_prefix("recipient: ")).ok_or("no recipient")?;
    let name = waxseal_shared::key::Recipient::parse(recipient)?.key_id().to_string();
    let spec = SealingKeySpec {
        recipient: recipient.to_owned(),
        role: KeyRole::Recovery,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        state: KeyState::Active,
    };
    keys.create(&PostParams::default(), &SealingKey::new(&name, spec)).await?;
    let gone = async || keys.get_opt(&name).await.ok()?.is_none().then_some(());
    waiting::until("the planted key's end", DEADLINE, gone).await?;
    // The API server shows the end of an object before the controller gets the answer to its request and logs it.
    waiting::until("a line about the planted key", DEADLINE, async || {
        let log = context.controller.log_text();
        let mut lines = log.lines().filter(|line| line.contains(&name));
        lines.any(|line| line.contains("deleted a SealingKey that neither an identity")).then_some(())
    })
    .await?;
    Ok(())
}

async fn republished(context: &Context) -> TestResult {
    let keys = Api::<SealingKey>::namespaced(context.cluster.client(), KEY_NAMESPACE);
    let own = waxseal_shared::manifest::read_keys(&std::fs::read_to_string(&context.keys_file)?)?;
    let name = own[0].recipient.key_id().to_string();
    let before = keys.get(&name).await?;
    keys.delete(&name, &DeleteParams::default()).await?;
    let after = waiting::until("the key's return", DEADLINE, async || keys.get_opt(&name).await.ok().flatten()).await?;
    assert_ne!(before.uid(), after.uid());
    assert_eq!(before.spec, after.spec);
    let change = json!({"spec": {"recipient": "age1other"}});
    let refused = keys.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.message.contains("never changes")));
    Ok(())
}

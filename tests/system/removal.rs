//! Removing Waxseal with the commands of the README, on an API server with the garbage collector.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{Controller, KEY_NAMESPACE, SERVICE_ACCOUNT};
use waxseal_tests::waiting;

use crate::key_namespace::Keys;
use crate::kustomize::{does_the_job, on_empty_cluster};
use crate::readme::{Person, blocks};
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, values};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The longest time until the garbage collector has deleted the Secret of a deleted owner.
pub(crate) const COLLECTED: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        on_empty_cluster("removal::without_the_controller_everything_of_value_stays", controller),
        on_empty_cluster("removal::cascade_orphan_keeps_the_secrets", orphans),
        on_empty_cluster("removal::the_last_commands_remove_everything", everything),
    ]
}

/// The blocks of the README: how to apply the files, remove the controller, keep the Secrets, and remove everything.
struct Commands {
    person: Person,
    apply: &'static str,
    remove_controller: &'static str,
    keep_secrets: &'static str,
    remove_everything: &'static str,
}

impl Commands {
    fn new(context: &Context, cluster: &Cluster) -> Result<Self, Error> {
        let person = Person::new(context, Some(cluster.admin_kubeconfig().to_owned()))?;
        symlink(Path::new(REPOSITORY).join("deploy"), person.folder().join("deploy"))?;
        let [apply] = blocks("\n### Upgrading\n", "sh")?[..] else { return Err("not one block".into()) };
        let [remove_controller, keep_secrets, remove_everything] = blocks("\n### Removing\n", "sh")?[..] else {
            return Err("not three blocks".into());
        };
        Ok(Self { person, apply, remove_controller, keep_secrets, remove_everything })
    }

    fn run(&self, block: &str) -> TestResult {
        self.person.pastes(block, &[]).map(drop)
    }
}

/// Installs Waxseal, lets it make the Secret `db` in a namespace, and removes the controller. Returns the Secret.
async fn installed_and_stopped(
    context: &Context,
    cluster: &Cluster,
    commands: &Commands,
    namespace: &waxseal_tests::cluster::Namespace,
) -> Result<Secret, Error> {
    commands.run(commands.apply)?;
    does_the_job(context, cluster, namespace).await?;
    commands.run(commands.remove_controller)?;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), KEY_NAMESPACE);
    assert!(deployments.get_opt(SERVICE_ACCOUNT).await?.is_none());
    Ok(namespace.api::<Secret>().get("db").await?)
}

/// Without the controller all SealedSecrets, Secrets and keys stay, and a controller that comes back goes on with them.
async fn controller(context: &Context, cluster: &Cluster) -> TestResult {
    let commands = Commands::new(context, cluster)?;
    let namespace = cluster.namespace("shop").await?;
    let before = installed_and_stopped(context, cluster, &commands, &namespace).await?;
    assert_eq!(Keys::of(cluster).identity_names().await?, ["first-sealing-key"]);
    let object = namespace.api::<SealedSecret>().get("db").await?;
    commands.run(commands.apply)?;
    let again = Controller::start_deployed(cluster, &context.image()?, KEY_NAMESPACE).await?;
    again.ready().await?;
    waiting::until("the judgement of the controller that came back", DEADLINE, async || {
        let (_, metrics) = again.get("/metrics").await?;
        metrics.contains("waxseal_sealed_secrets{reason=\"Materialised\"} 1\n").then_some(())
    })
    .await?;
    assert_eq!(namespace.api::<Secret>().get("db").await?, before);
    assert_eq!(namespace.api::<SealedSecret>().get("db").await?.resource_version(), object.resource_version());
    Ok(())
}

async fn orphans(context: &Context, cluster: &Cluster) -> TestResult {
    let commands = Commands::new(context, cluster)?;
    let namespace = cluster.namespace("shop").await?;
    let before = installed_and_stopped(context, cluster, &commands, &namespace).await?;
    assert_eq!(before.metadata.owner_references.as_ref().map(Vec::len), Some(1));
    commands.run(commands.keep_secrets)?;
    assert!(namespace.api::<SealedSecret>().list(&Default::default()).await?.items.is_empty());
    commands.run(commands.remove_everything)?;
    assert_gone(cluster).await?;
    let after = namespace.api::<Secret>().get("db").await?;
    assert_eq!((after.uid(), values(&after)), (before.uid(), values(&before)));
    assert_eq!(after.metadata.owner_references, None);
    Ok(())
}

async fn everything(context: &Context, cluster: &Cluster) -> TestResult {
    let commands = Commands::new(context, cluster)?;
    let namespace = cluster.namespace("shop").await?;
    installed_and_stopped(context, cluster, &commands, &namespace).await?;
    commands.run(commands.remove_everything)?;
    assert_gone(cluster).await?;
    let secrets = namespace.api::<Secret>();
    let collected = async || secrets.get_opt("db").await.ok()?.is_none().then_some(());
    Ok(waiting::until("the end of the Secret", COLLECTED, collected).await?)
}

/// Fails if a definition or the namespace of the keys is still there.
async fn assert_gone(cluster: &Cluster) -> TestResult {
    let definitions = Api::<CustomResourceDefinition>::all(cluster.client()).list(&Default::default()).await?;
    assert!(definitions.items.is_empty(), "{definitions:?}");
    assert!(Api::<Namespace>::all(cluster.client()).get_opt(KEY_NAMESPACE).await?.is_none());
    Ok(())
}

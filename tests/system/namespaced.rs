//! Controllers that serve only some namespaces, with Roles and without a ClusterRole.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::SealingKey;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller, SERVICE_ACCOUNT};
use waxseal_tests::waiting;

use crate::harness::NAMESPACE_DELETED;
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, condition, create, opaque, seal_with, values, with_reason};

/// A watch that was refused is tried again after 5 s at the latest.
const SERVED_AGAIN: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_namespaced_cluster("namespaced::a_controller_serves_its_namespaces_and_asks_for_no_other", serves),
        Test::on_namespaced_cluster("namespaced::a_missing_role_is_named_and_stops_no_other_namespace", missing_role),
        Test::on_namespaced_cluster("namespaced::a_namespace_comes_later_and_goes_and_returns", comes_and_goes),
        Test::on_namespaced_cluster("namespaced::two_installs_do_not_touch_each_other", two_installs),
        Test::on_namespaced_cluster("namespaced::two_installs_in_one_namespace_destroy_nothing", overlap),
        Test::on_namespaced_cluster("namespaced::the_key_namespace_can_be_served_too", key_namespace),
    ]
}

/// A controller that serves some namespaces, and the public keys that it made.
pub(crate) struct Install<'a> {
    context: &'a Context,
    pub(crate) cluster: &'a Cluster,
    keys_file: PathBuf,
    pub(crate) key_namespace: String,
    pub(crate) controller: Controller,
}

impl<'a> Install<'a> {
    /// Applies the rights, starts the controller, and returns when it is ready.
    pub(crate) async fn start(
        context: &'a Context,
        cluster: &'a Cluster,
        key_namespace: &str,
        namespaces: &[&str],
    ) -> Result<Self, Error> {
        installation::apply_namespaced(cluster, key_namespace, namespaces).await?;
        for namespace in namespaces {
            until_may_list(cluster, key_namespace, namespace, "sealedsecrets").await?;
        }
        until_may_list(cluster, key_namespace, key_namespace, "sealingkeys").await?;
        let install = Self::begin(context, cluster, key_namespace, namespaces).await?;
        install.controller.ready().await?;
        install.fetch_keys()?;
        Ok(install)
    }

    /// Starts the controller and waits for nothing.
    pub(crate) async fn begin(
        context: &'a Context,
        cluster: &'a Cluster,
        key_namespace: &str,
        namespaces: &[&str],
    ) -> Result<Self, Error> {
        let mut command = Command::new(&context.programs.waxseal_controller);
        command.env_clear().env("WAXSEAL_KEY_NAMESPACE", key_namespace);
        command.env("WAXSEAL_NAMESPACES", namespaces.join(","));
        let controller = Controller::start_in(cluster, command, key_namespace, key_namespace).await?;
        let keys_file = cluster.folder().join(format!("{key_namespace}.yaml"));
        Ok(Self { context, cluster, keys_file, key_namespace: key_namespace.to_owned(), controller })
    }

    /// Stops the controller and starts it again. Waits for nothing.
    pub(crate) async fn restarted(self, namespaces: &[&str]) -> Result<Self, Error> {
        let Self { context, cluster, key_namespace, controller, .. } = self;
        assert_eq!(controller.stop().await?, Some(0));
        Self::begin(context, cluster, &key_namespace, namespaces).await
    }

    fn fetch_keys(&self) -> TestResult {
        let programs = &self.context.programs;
        let kubeconfig = &self.controller.kubeconfig;
        Ok(installation::fetch_keys_of(programs, kubeconfig, &self.key_namespace, &self.keys_file)?)
    }

    fn seal(&self, namespace: &str, name: &str, value: &str) -> Result<SealedSecret, Error> {
        seal_with(self.context, &self.keys_file, &opaque(name, &[("PASSWORD", value)]), namespace)
    }

    /// Creates a SealedSecret that is sealed to the keys of this install.
    pub(crate) async fn create(&self, namespace: &Namespace, name: &str) -> TestResult {
        create(namespace, &self.seal(namespace.name(), name, "hunter2")?).await
    }

    /// Creates a SealedSecret, and waits until its Secret is there.
    async fn materialise(&self, namespace: &Namespace, name: &str) -> TestResult {
        self.create(namespace, name).await?;
        with_reason(namespace, name, "Materialised").await?;
        assert_eq!(
            values(&namespace.api::<Secret>().get(name).await?),
            [("PASSWORD".to_owned(), "hunter2".to_owned())]
        );
        Ok(())
    }

    /// Waits until `/readyz` says this.
    pub(crate) async fn until_not_ready(&self, text: &str) -> TestResult {
        let what = format!("the answer of /readyz {text:?}");
        let said = waiting::until(&what, SERVED_AGAIN, async || {
            (self.controller.get("/readyz").await? == (503, text.to_owned())).then_some(())
        });
        match said.await {
            Ok(()) => Ok(()),
            Err(error) => Err(format!("{error}; it says {:?}", self.controller.get("/readyz").await).into()),
        }
    }

    /// Waits until the log has a line with this text.
    pub(crate) async fn until_logged(&self, text: &str) -> TestResult {
        let logged =
            waiting::until(text, SERVED_AGAIN, async || self.controller.log_text().contains(text).then_some(()));
        logged.await.map_err(|error| format!("{error}; the log: {}", self.controller.log_text()).into())
    }

    /// The names and versions of all Secrets and SealingKeys in the key namespace.
    async fn key_versions(&self) -> Result<Vec<(String, Option<String>)>, Error> {
        let client = self.cluster.client();
        let all = ListParams::default();
        let secrets = Api::<Secret>::namespaced(client.clone(), &self.key_namespace).list_metadata(&all).await?;
        let keys = Api::<SealingKey>::namespaced(client, &self.key_namespace).list_metadata(&all).await?;
        let secrets = secrets.items.iter().map(|secret| (secret.name_any(), secret.resource_version()));
        Ok(secrets.chain(keys.items.iter().map(|key| (key.name_any(), key.resource_version()))).collect())
    }

    /// The requests of the controller so far.
    fn requests(&self) -> Result<Vec<Value>, Error> {
        let log = std::fs::read_to_string(self.cluster.audit_log())?;
        let user = format!("system:serviceaccount:{}:{SERVICE_ACCOUNT}", self.key_namespace);
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(events.filter(|event| event["user"]["username"] == user.as_str()).collect())
    }
}

async fn serves(context: &Context, cluster: &Cluster) -> TestResult {
    let (shop, blog) = (cluster.namespace("shop").await?, cluster.namespace("blog").await?);
    let (other, keys) = (cluster.namespace("other").await?, cluster.namespace("keys").await?);
    // A namespace that is named twice is served once.
    let names = [shop.name(), blog.name(), shop.name()];
    let install = Install::start(context, cluster, keys.name(), &names).await?;
    install.create(&other, "db").await?;
    for namespace in [&shop, &blog] {
        install.materialise(namespace, "db").await?;
        // A deletion of the Secret is noticed.
        let secrets = namespace.api::<Secret>();
        secrets.delete("db", &DeleteParams::default()).await?;
        let made = async || secrets.get_opt("db").await.ok().flatten();
        let made = waiting::until("the Secret's return", DEADLINE, made).await?;
        let objects = namespace.api::<SealedSecret>();
        waiting::until("the status about it", DEADLINE, async || {
            let settled = objects.get("db").await.ok()?.status?.settled?;
            (Some(settled.secret_uid) == made.uid()).then_some(())
        })
        .await?;
    }
    until_counted(&keys, 2).await?;
    let events = keys.api::<Event>().list(&ListParams::default()).await?;
    assert!(events.items.iter().any(|event| event.reason.as_deref() == Some("KeyMade")));

    let before = (versions(&shop).await?, versions(&blog).await?);
    let install = install.restarted(&names).await?;
    install.controller.ready().await?;
    waiting::until("the judgement of two objects", DEADLINE, async || {
        let (_, metrics) = install.controller.get("/metrics").await?;
        metrics.contains("waxseal_sealed_secrets{reason=\"Materialised\"} 2").then_some(())
    })
    .await?;
    assert_eq!((versions(&shop).await?, versions(&blog).await?), before);

    assert!(other.api::<SealedSecret>().get("db").await?.status.is_none_or(|status| status.conditions.is_empty()));
    for event in install.requests()? {
        let namespace = event["objectRef"]["namespace"].as_str().unwrap_or_default();
        assert!([keys.name(), shop.name(), blog.name()].contains(&namespace), "{event}");
        assert_ne!(event["annotations"]["authorization.k8s.io/decision"], "forbid", "{event}");
    }
    Ok(())
}

/// Waits until the controller's account may list a kind of Waxseal in a namespace: a right is in force a moment after
/// it was given. The administrator asks, because the tests look at all requests of the controller's account.
async fn until_may_list(cluster: &Cluster, key_namespace: &str, namespace: &str, kind: &str) -> TestResult {
    let review = json!({"spec": {
        "user": format!("system:serviceaccount:{key_namespace}:{SERVICE_ACCOUNT}"),
        "resourceAttributes": {"group": "waxseal.dev", "resource": kind, "verb": "list", "namespace": namespace},
    }});
    let review: SubjectAccessReview = serde_json::from_value(review)?;
    let reviews = Api::<SubjectAccessReview>::all(cluster.client());
    let is_allowed = async || {
        let answer = reviews.create(&PostParams::default(), &review).await.ok()?;
        answer.status?.allowed.then_some(())
    };
    Ok(waiting::until(&format!("the right to list {kind} in {namespace}"), DEADLINE, is_allowed).await?)
}

/// Waits until the status of the only SealingKey says that this many SealedSecrets have a wrap for it.
async fn until_counted(keys: &Namespace, objects: i64) -> TestResult {
    let published = keys.api::<SealingKey>();
    let counted = waiting::until("the count of objects", DEADLINE, async || {
        let published = published.list(&ListParams::default()).await.ok()?;
        (published.items[0].status.as_ref()?.objects == Some(objects)).then_some(())
    });
    Ok(counted.await?)
}

async fn versions(namespace: &Namespace) -> Result<[Option<String>; 2], Error> {
    let object = namespace.api::<SealedSecret>().get("db").await?;
    Ok([object.resource_version(), namespace.api::<Secret>().get("db").await?.resource_version()])
}

async fn missing_role(context: &Context, cluster: &Cluster) -> TestResult {
    let (shop, blog) = (cluster.namespace("shop").await?, cluster.namespace("blog").await?);
    let keys = cluster.namespace("keys").await?;
    let names = [shop.name(), blog.name()];
    installation::apply_namespaced(cluster, keys.name(), &names).await?;
    let bindings = blog.api::<RoleBinding>();
    bindings.delete(SERVICE_ACCOUNT, &DeleteParams::default()).await?;
    let refused =
        format!("Forbidden: the controller may not list and watch SealedSecrets in {0}, Secrets in {0}", blog.name());

    // Without the list of blog the controller cannot know whether keys were lost, so it makes no first key.
    let install = Install::begin(context, cluster, keys.name(), &names).await?;
    install.until_not_ready(&refused).await?;
    let no_list = format!("failed to list the SealedSecrets in {}: HTTP 403 Forbidden; trying again", blog.name());
    install.until_logged(&no_list).await?;
    assert!(install.key_versions().await?.is_empty());
    installation::apply_namespaced(cluster, keys.name(), &names).await?;
    install.controller.ready().await?;
    install.fetch_keys()?;

    // With a key, blog waits alone: at a start without its Role, and when its Role goes.
    bindings.delete(SERVICE_ACCOUNT, &DeleteParams::default()).await?;
    install.until_not_ready(&refused).await?;
    install.materialise(&shop, "while-running").await?;
    let install = install.restarted(&names).await?;
    install.until_not_ready(&refused).await?;
    for kind in ["SealedSecrets", "Secrets"] {
        let line = format!("watching {kind} in {} failed, trying again: HTTP 403 Forbidden", blog.name());
        install.until_logged(&line).await?;
    }
    install.materialise(&shop, "after-the-start").await?;
    install.create(&blog, "db").await?;
    installation::apply_namespaced(cluster, keys.name(), &names).await?;
    with_reason(&blog, "db", "Materialised").await?;
    install.controller.ready().await?;
    Ok(())
}

async fn comes_and_goes(context: &Context, cluster: &Cluster) -> TestResult {
    let (shop, keys) = (cluster.namespace("shop").await?, cluster.namespace("keys").await?);
    let all = Api::<NamespaceObject>::all(cluster.client());
    let later = || json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}});
    let install = Install::start(context, cluster, keys.name(), &[shop.name()]).await?;
    let names = [shop.name(), "later"];
    let install = install.restarted(&names).await?;
    let refused = "Forbidden: the controller may not list and watch SealedSecrets in later, Secrets in later";
    install.until_not_ready(refused).await?;
    install.materialise(&shop, "before").await?;
    for round in ["first", "second"] {
        all.create(&PostParams::default(), &serde_json::from_value(later())?).await?;
        installation::apply_namespaced(cluster, keys.name(), &names).await?;
        install.controller.ready().await?;
        let secrets = Api::<Secret>::namespaced(cluster.client(), "later");
        let objects = Api::<SealedSecret>::namespaced(cluster.client(), "later");
        objects.create(&PostParams::default(), &install.seal("later", "db", "hunter2")?).await?;
        waiting::until("the Secret", DEADLINE, async || secrets.get_opt("db").await.ok().flatten()).await?;
        all.delete("later", &DeleteParams::default()).await?;
        let gone = async || all.get_opt("later").await.ok()?.is_none().then_some(());
        waiting::until("the end of the namespace", NAMESPACE_DELETED, gone).await?;
        install.until_not_ready(refused).await?;
        install.materialise(&shop, round).await?;
    }
    Ok(())
}

async fn two_installs(context: &Context, cluster: &Cluster) -> TestResult {
    let (shop, blog) = (cluster.namespace("shop").await?, cluster.namespace("blog").await?);
    let (keys_one, keys_two) = (cluster.namespace("keys").await?, cluster.namespace("keys").await?);
    let one = Install::start(context, cluster, keys_one.name(), &[shop.name()]).await?;
    one.materialise(&shop, "db").await?;
    until_counted(&keys_one, 1).await?;
    let before = (versions(&shop).await?, one.key_versions().await?);

    let two = Install::start(context, cluster, keys_two.name(), &[blog.name()]).await?;
    two.materialise(&blog, "db").await?;
    // What is sealed to the keys of one install does not open in the namespace of the other.
    create(&blog, &one.seal(blog.name(), "of-one", "hunter2")?).await?;
    with_reason(&blog, "of-one", "KeyMissing").await?;
    let published = keys_two.api::<SealingKey>();
    let key = published.list(&ListParams::default()).await?.items.pop().ok_or("no SealingKey")?;
    published.delete(&key.name_any(), &DeleteParams::default()).await?;
    let again = async || published.get_opt(&key.name_any()).await.ok().flatten();
    waiting::until("the SealingKey's return", DEADLINE, again).await?;
    assert_eq!((versions(&shop).await?, one.key_versions().await?), before);

    for (install, own) in [(&one, [shop.name(), keys_one.name()]), (&two, [blog.name(), keys_two.name()])] {
        for event in install.requests()? {
            let namespace = event["objectRef"]["namespace"].as_str().unwrap_or_default();
            assert!(own.contains(&namespace), "{event}");
        }
    }
    Ok(())
}

/// Two controllers serve one namespace, which the README forbids. They disagree about the status, and the Secret stays
/// as it is.
async fn overlap(context: &Context, cluster: &Cluster) -> TestResult {
    let common = cluster.namespace("common").await?;
    let (keys_one, keys_two) = (cluster.namespace("keys").await?, cluster.namespace("keys").await?);
    let one = Install::start(context, cluster, keys_one.name(), &[common.name()]).await?;
    one.materialise(&common, "db").await?;
    let before = common.api::<Secret>().get("db").await?;
    installation::apply_namespaced(cluster, keys_two.name(), &[]).await?;
    allow_second(&common, keys_two.name()).await?;
    let two = Install::begin(context, cluster, keys_two.name(), &[common.name()]).await?;
    // The second controller makes no key, because the object is sealed to a key that this controller does not hold.
    two.until_not_ready("AwaitingKeys").await?;
    assert!(two.key_versions().await?.is_empty());
    for install in [&one, &two] {
        waiting::until("writes of the status", DEADLINE, async || (status_writes(install).ok()? >= 4).then_some(()))
            .await?;
    }
    create(&common, &one.seal(common.name(), "web", "hunter2")?).await?;
    let web = waiting::until("the Secret", DEADLINE, async || common.api::<Secret>().get_opt("web").await.ok()?);
    assert_eq!(values(&web.await?), [("PASSWORD".to_owned(), "hunter2".to_owned())]);

    let Install { controller, .. } = two;
    assert_eq!(controller.stop().await?, Some(0));
    with_reason(&common, "db", "Materialised").await?;
    let after = common.api::<Secret>().get("db").await?;
    assert_eq!((after.uid(), after.resource_version()), (before.uid(), before.resource_version()));
    Ok(())
}

/// Gives the account of a second install the rights in a namespace that another install serves.
async fn allow_second(namespace: &Namespace, key_namespace: &str) -> TestResult {
    let bindings: Api<RoleBinding> = namespace.api();
    let mut binding = bindings.get(SERVICE_ACCOUNT).await?;
    binding.metadata = Default::default();
    binding.metadata.name = Some(key_namespace.to_owned());
    for subject in binding.subjects.iter_mut().flatten() {
        subject.namespace = Some(key_namespace.to_owned());
    }
    bindings.create(&PostParams::default(), &binding).await?;
    Ok(())
}

fn status_writes(install: &Install<'_>) -> Result<usize, Error> {
    let is_write = |event: &&Value| {
        let object = &event["objectRef"];
        event["verb"] == "patch" && object["resource"] == "sealedsecrets" && object["name"] == "db"
    };
    Ok(install.requests()?.iter().filter(is_write).count())
}

async fn key_namespace(context: &Context, cluster: &Cluster) -> TestResult {
    let keys = cluster.namespace("keys").await?;
    let install = Install::start(context, cluster, keys.name(), &[keys.name()]).await?;
    let (objects, secrets) = (keys.api::<SealedSecret>(), keys.api::<Secret>());
    let identity = secrets.list(&ListParams::default().fields("type=waxseal.dev/sealing-key")).await?;
    let identity = identity.items.first().ok_or("no identity")?.clone();
    for name in ["db", &identity.name_any()] {
        objects.create(&PostParams::default(), &install.seal(keys.name(), name, "hunter2")?).await?;
    }
    let reason = async |name: &str, reason: &str| {
        waiting::until(&format!("{reason} of {name}"), DEADLINE, async || {
            let object = objects.get(name).await.ok()?;
            (condition(&object, "Ready")?.1 == reason).then_some(())
        })
        .await
    };
    reason("db", "Materialised").await?;
    reason(&identity.name_any(), "ForeignOwner").await?;
    assert_eq!(secrets.get(&identity.name_any()).await?, identity);
    Ok(())
}

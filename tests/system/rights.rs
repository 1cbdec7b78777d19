//! The controller's rights, and its use of them according to the audit log of the API server.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::sealing_key::SealingKey;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE, SERVICE_ACCOUNT};
use waxseal_tests::waiting;

use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, create, create_plain, opaque, patch, replace_spec, seal_with, sealed, with_reason};

/// The rights that `deploy/kustomize/base` gives the controller in every namespace: resource and verbs. The component
/// `namespaced` gives the same rights in each namespace that the controller serves.
const EVERYWHERE: [(&str, &[&str]); 3] = [
    ("sealedsecrets", &["get", "list", "watch"]),
    ("sealedsecrets/status", &["patch"]),
    ("secrets", &["create", "get", "list", "patch", "watch"]),
];
/// The rights that the base also gives in the controller's own namespace. Every user may get and list SealingKeys
/// there, too.
const IN_ITS_NAMESPACE: [(&str, &[&str]); 3] = [
    ("events", &["create"]),
    ("sealingkeys", &["create", "delete", "get", "list", "patch", "watch"]),
    ("sealingkeys/status", &["patch"]),
];
/// The rights that the component `namespaced` gives in addition in the controller's own namespace.
const IDENTITIES: (&str, &[&str]) = ("secrets", &["create", "list", "patch", "watch"]);
/// The controller patches a SealingKey only to make it as strict as its identity, or to remove its finalizers before a
/// deletion.
const SELDOM_USED: (&str, &str) = ("sealingkeys", "patch");

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("rights::one_object_needs_one_secret_write_and_one_status_write", cost),
        Test::new("rights::the_controller_asks_for_nothing_it_has_no_right_to", nothing_refused),
        Test::new("rights::the_controller_has_these_rights_and_no_others", golden),
        Test::on_namespaced_cluster(
            "rights::a_controller_of_some_namespaces_has_these_rights_and_no_others",
            golden_namespaced,
        ),
        Test::on_own_cluster("rights::the_controller_uses_all_rights_that_it_has", used),
        Test::on_cluster_as_in_openshift(
            "rights::an_owner_reference_is_restored_where_that_needs_another_right",
            openshift,
        ),
        Test::new("rights::anybody_who_is_logged_in_can_read_the_sealing_keys_and_no_identity", readers),
    ]
}

/// The controller's requests so far. Watches among them can still run.
pub(crate) fn requests(cluster: &Cluster) -> Result<Vec<Value>, Error> {
    let log = std::fs::read_to_string(cluster.audit_log())?;
    let user = format!("system:serviceaccount:{KEY_NAMESPACE}:{SERVICE_ACCOUNT}");
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(events
        .filter(|event| event["user"]["username"] == user.as_str())
        .filter(|event| event["stage"] == "ResponseComplete" || event["verb"] == "watch")
        .collect())
}

pub(crate) fn requests_in(cluster: &Cluster, namespace: &Namespace) -> Result<Vec<Value>, Error> {
    let mut requests = requests(cluster)?;
    requests.retain(|event| event["objectRef"]["namespace"] == namespace.name());
    Ok(requests)
}

pub(crate) fn writes(requests: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    requests
        .iter()
        .filter(|event| !matches!(event["verb"].as_str(), Some("get" | "list" | "watch")))
        .map(|event| {
            let object = &event["objectRef"];
            format!("{} {} {}", word(&event["verb"]), word(&object["resource"]), word(&object["subresource"]))
                .trim()
                .to_owned()
        })
        .collect()
}

async fn cost(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("cost").await?;
    context.create_sealed(&namespace, "db", "first").await?;
    let once = ["patch secrets", "patch sealedsecrets status"];
    assert_eq!(all_writes(context, &namespace, once.len()).await?, once);
    let changed = context.seal(&opaque("db", &[("PASSWORD", "second")]), &namespace)?;
    replace_spec(&namespace, &changed).await?;
    crate::sealing::judged(&namespace, "db").await?;
    assert_eq!(all_writes(context, &namespace, 2 * once.len()).await?, once.repeat(2));
    Ok(())
}

/// Returns the writes in a namespace when there are at least this many. The API server shows a new status before it
/// logs the end of the request that wrote it.
async fn all_writes(context: &Context, namespace: &Namespace, count: usize) -> Result<Vec<String>, Error> {
    let all = waiting::until("the audit log", DEADLINE, async || {
        let all = writes(&requests_in(&context.cluster, namespace).ok()?);
        (all.len() >= count).then_some(all)
    });
    Ok(all.await?)
}

async fn nothing_refused(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("refused").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let all = requests(&context.cluster)?;
    assert!(!all.is_empty());
    let forbidden = |event: &&Value| event["annotations"]["authorization.k8s.io/decision"] == "forbid";
    let refused: Vec<_> = all.iter().filter(forbidden).map(|event| &event["requestURI"]).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let deletes = all.iter().filter(|event| event["verb"] == "delete" && event["objectRef"]["resource"] == "secrets");
    assert_eq!(deletes.count(), 0);
    Ok(())
}

/// Fails if a controller has asked for anything that is not among its rights, whether it got it or not.
pub(crate) fn nothing_else_was_asked_for(cluster: &Cluster) -> TestResult {
    let log = std::fs::read_to_string(cluster.audit_log())?;
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut of_controllers = events
        .filter(|event| event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("waxseal-controller/")));
    let (everywhere, in_its_namespace) = (rights(&EVERYWHERE), rights(&IN_ITS_NAMESPACE));
    let is_right = |event: &Value| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        // A controller that runs with the rights of a user has its keys in waxseal-system.
        let key_namespace = user
            .strip_prefix("system:serviceaccount:")
            .map_or(KEY_NAMESPACE, |account| account.split(':').next().unwrap_or_default());
        right_of(event).is_some_and(|right| {
            let is_in_its_namespace = event["objectRef"]["namespace"] == key_namespace;
            everywhere.contains(&right) || (is_in_its_namespace && in_its_namespace.contains(&right))
        })
    };
    of_controllers.find(|event| !is_right(event)).map_or(Ok(()), |event| Err(format!("not a right: {event}").into()))
}

/// The resource and the verb of a request for an object.
fn right_of(event: &Value) -> Option<(String, String)> {
    let (object, verb) = (&event["objectRef"], event["verb"].as_str()?);
    let resource = object["resource"].as_str()?;
    let subresource = object["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
    Some((format!("{resource}{subresource}"), verb.to_owned()))
}

/// Resources with their verbs.
pub(crate) type Rights = BTreeSet<(String, String)>;

pub(crate) fn rights(listed: &[(&str, &[&str])]) -> Rights {
    let pairs = listed.iter().flat_map(|(resource, verbs)| verbs.iter().map(move |verb| (resource, verb)));
    pairs.map(|(resource, verb)| ((*resource).to_owned(), (*verb).to_owned())).collect()
}

/// The rights of the controller's account, as the API server reports them.
pub(crate) async fn granted(cluster: &Cluster, key_namespace: &str, namespace: &str) -> Result<Rights, Error> {
    let token = cluster.service_account_token(key_namespace, SERVICE_ACCOUNT).await?;
    rights_of(cluster.client_as(&token)?, namespace).await
}

/// The rights of a user in a namespace, as the API server reports them, without those that Kubernetes gives to every
/// account.
pub(crate) async fn rights_of(user: Client, namespace: &str) -> Result<Rights, Error> {
    let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
    let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
    let reviews = Api::<SelfSubjectRulesReview>::all(user);
    let status = reviews.create(&PostParams::default(), &review).await?.status.ok_or("no status")?;
    let of_everybody =
        ["clustertrustbundles", "selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"];
    let mut rights = Rights::new();
    for rule in status.resource_rules {
        let mut resources = rule.resources.unwrap_or_default();
        resources.retain(|resource| !of_everybody.contains(&resource.as_str()));
        for resource in resources {
            rights.extend(rule.verbs.iter().map(|verb| (resource.clone(), verb.clone())));
        }
    }
    Ok(rights)
}

async fn golden(context: &Context) -> TestResult {
    assert_eq!(granted(&context.cluster, KEY_NAMESPACE, "default").await?, rights(&EVERYWHERE));
    let mut in_its_namespace = rights(&EVERYWHERE);
    in_its_namespace.extend(rights(&IN_ITS_NAMESPACE));
    assert_eq!(granted(&context.cluster, KEY_NAMESPACE, KEY_NAMESPACE).await?, in_its_namespace);
    Ok(())
}

async fn golden_namespaced(_: &Context, cluster: &Cluster) -> TestResult {
    let (shop, blog) = (cluster.namespace("shop").await?, cluster.namespace("blog").await?);
    let keys = cluster.namespace("keys").await?;
    installation::apply_namespaced(cluster, keys.name(), &[shop.name(), blog.name()]).await?;
    for namespace in [&shop, &blog] {
        assert_granted(cluster, keys.name(), namespace.name(), &rights(&EVERYWHERE)).await?;
    }
    let mut in_its_namespace = rights(&[IDENTITIES]);
    in_its_namespace.extend(rights(&IN_ITS_NAMESPACE));
    assert_granted(cluster, keys.name(), keys.name(), &in_its_namespace).await?;
    assert_eq!(granted(cluster, keys.name(), "default").await?, Rights::new());
    Ok(())
}

/// Fails unless the controller's account soon has exactly these rights in a namespace: a right is in force a moment
/// after it was given.
async fn assert_granted(cluster: &Cluster, key_namespace: &str, namespace: &str, expected: &Rights) -> TestResult {
    let has = async || (granted(cluster, key_namespace, namespace).await.ok()? == *expected).then_some(());
    let _differs = waiting::until("the rights", DEADLINE, has).await;
    assert_eq!(granted(cluster, key_namespace, namespace).await?, *expected, "in {namespace}");
    Ok(())
}

/// The test fails for a right that the controller never uses: such a right must be removed.
async fn used(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let controller = Controller::start(cluster, &context.programs, "used").await?;
    controller.ready().await?;
    let keys_file = cluster.folder().join("keys.yaml");
    installation::fetch_keys(&context.programs, &controller.kubeconfig, &keys_file)?;
    let namespace = cluster.namespace("used").await?;
    let seal = |name| seal_with(context, &keys_file, &opaque(name, &[("PASSWORD", "x")]), namespace.name());
    create(&namespace, &seal("db")?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    // The deletion of a Secret causes a reconcile, and the reconcile of a foreign Secret reads it.
    let secrets = namespace.api::<Secret>();
    secrets.delete("db", &DeleteParams::default()).await?;
    waiting::until("the Secret's return", DEADLINE, async || secrets.get_opt("db").await.ok().flatten()).await?;
    create_plain(&namespace, "web", "theirs").await?;
    create(&namespace, &seal("web")?).await?;
    with_reason(&namespace, "web", "ForeignOwner").await?;
    plant_sealing_key(cluster).await?;

    let mut given = rights(&EVERYWHERE);
    given.extend(rights(&IN_ITS_NAMESPACE));
    let unused = || {
        let used: Rights = requests(cluster)?.iter().filter_map(right_of).collect();
        let mut rest: Rights = given.difference(&used).cloned().collect();
        rest.retain(|(resource, verb)| (&**resource, &**verb) != SELDOM_USED);
        Ok::<_, Error>(rest)
    };
    // The API server shows the result of a request before it logs the end of the request.
    let all_used = async || unused().ok()?.is_empty().then_some(());
    let _some_unused = waiting::until("the use of all rights", DEADLINE, all_used).await;
    assert_eq!(unused()?, Rights::new());
    Ok(())
}

/// Creates a SealingKey that belongs to no identity, and waits until the controller has deleted it.
async fn plant_sealing_key(cluster: &Cluster) -> TestResult {
    let keys = Api::<SealingKey>::namespaced(cluster.client(), KEY_NAMESPACE);
    let planted: SealingKey = serde_json::from_value(json!({
        "apiVersion": "waxseal.dev/v1alpha1", "kind": "SealingKey", "metadata": {"name": "planted"},
        "spec": {"recipient": "age1x", "role": "Cluster", "createdAt": "2026-01-01T00:00:00Z", "state": "Active"},
    }))?;
    keys.create(&PostParams::default(), &planted).await?;
    let gone = async || keys.get_opt("planted").await.ok()?.is_none().then_some(());
    Ok(waiting::until("the planted key's end", DEADLINE, gone).await?)
}

/// With the plugin, an account needs the right to delete a Secret to change its owner.
async fn openshift(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let controller = Controller::start(cluster, &context.programs, "openshift").await?;
    controller.ready().await?;
    let namespace = cluster.namespace("openshift").await?;
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    let object = with_reason(&namespace, "db", "Materialised").await?;

    let secrets = namespace.api::<Secret>();
    let take_owner_away = async || patch(&secrets, "db", json!({"metadata": {"ownerReferences": null}})).await;
    take_owner_away().await?;
    with_reason(&namespace, "db", "Forbidden").await?;
    installation::apply_owner_references_rights(cluster).await?;
    // A new right is in force a moment after it was given.
    waiting::until("the owner reference's return", DEADLINE, async || {
        let secret = secrets.get("db").await.ok()?;
        if secret.owner_references().first().is_some_and(|owner| Some(&owner.uid) == object.metadata.uid.as_ref()) {
            return Some(());
        }
        patch(&secrets, "db", json!({"metadata": {"annotations": {"touched": secret.resource_version()}}}))
            .await
            .ok()?;
        None
    })
    .await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let all = requests(cluster)?;
    let is_deletion = |event: &&Value| event["verb"] == "delete" && event["objectRef"]["resource"] == "secrets";
    assert_eq!(all.iter().filter(is_deletion).count(), 0);
    Ok(())
}

async fn readers(context: &Context) -> TestResult {
    let somebody = context.cluster.client_as(&context.cluster.user("somebody", "developers")?)?;
    let keys = Api::<SealingKey>::namespaced(somebody.clone(), KEY_NAMESPACE).list(&ListParams::default()).await?;
    assert_eq!(keys.items.iter().filter(|key| key.spec.recipient.starts_with("age1pq1")).count(), 1);
    assert_forbidden(Api::<Secret>::namespaced(somebody, KEY_NAMESPACE).list(&ListParams::default()).await);
    Ok(())
}

/// Fails unless the API server refused a request because the user lacks the right to it.
#[track_caller]
pub(crate) fn assert_forbidden<T>(answer: kube::Result<T>) {
    assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 403));
}

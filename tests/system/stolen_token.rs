//! What the README says of an attacker with a token of the controller's account.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_tests::cluster::{Cluster, Credential, Namespace};
use waxseal_tests::installation::{self, KEY_NAMESPACE, SERVICE_ACCOUNT};
use waxseal_tests::waiting;

use crate::key_namespace::{MADE, new_identity, sealing_key, secret as identity};
use crate::registration::{Context, Error, Test, TestResult};
use crate::rights::assert_forbidden;
use crate::sealing::{DEADLINE, create_plain};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("stolen_token::without_a_policy_it_makes_tokens_for_every_account", without_policy),
        Test::on_own_cluster(
            "stolen_token::with_the_policy_it_reads_secrets_and_plants_keys_but_makes_no_token",
            with_policy,
        ),
        Test::on_namespaced_cluster("stolen_token::of_some_namespaces_it_is_refused_in_all_others", of_some_namespaces),
    ]
}

/// An attacker who holds a token of the controller's account. `creates`, `changes` and `can_delete` are dry runs.
struct Attacker(Client);

impl Attacker {
    async fn of(cluster: &Cluster, key_namespace: &str) -> Result<Self, Error> {
        let token = cluster.service_account_token(key_namespace, SERVICE_ACCOUNT).await?;
        Ok(Self(cluster.client_as(&token)?))
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.0.clone(), namespace)
    }

    async fn reads(&self, namespace: &str) -> bool {
        self.secrets(namespace).list(&ListParams::default()).await.is_ok()
    }

    /// Waits until the attacker reads the Secrets of a namespace: a right is in force a moment after it was given.
    async fn until_reads(&self, namespace: &str) -> TestResult {
        let what = format!("the right to list Secrets in {namespace}");
        let reads = async || self.reads(namespace).await.then_some(());
        Ok(waiting::until(&what, DEADLINE, reads).await?)
    }

    async fn creates(&self, namespace: &str, secret: &Secret) -> bool {
        self.secrets(namespace).create(&dry_run(), secret).await.is_ok()
    }

    async fn changes(&self, namespace: &str, secret: &str) -> bool {
        let change = json!({"data": {"identity": "eQ=="}});
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        self.secrets(namespace).patch(secret, &params, &Patch::Merge(change)).await.is_ok()
    }

    /// Whether the attacker can make the garbage collector delete a Secret, by naming an owner that does not exist.
    async fn can_delete(&self, namespace: &str, secret: &str) -> bool {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"});
        let change = json!({"metadata": {"ownerReferences": [owner]}});
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        self.secrets(namespace).patch(secret, &params, &Patch::Merge(change)).await.is_ok()
    }

    /// Fails if the attacker can do what no right of the controller includes.
    async fn assert_without_other_rights(&self, namespace: &str, secret: &str) -> TestResult {
        let params = DeleteParams { dry_run: true, ..DeleteParams::default() };
        assert!(self.secrets(namespace).delete(secret, &params).await.is_err(), "deletes a Secret");
        let objects: Api<SealedSecret> = Api::namespaced(self.0.clone(), namespace);
        let object: SealedSecret = serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": {}}))?;
        assert_forbidden(objects.create(&dry_run(), &object).await);
        let all = ListParams::default();
        assert_forbidden(Api::<ConfigMap>::namespaced(self.0.clone(), namespace).list(&all).await);
        let pods: Api<Pod> = Api::namespaced(self.0.clone(), namespace);
        assert_forbidden(pods.list(&all).await);
        assert_forbidden(pods.create(&dry_run(), &pod()?).await);
        let accounts: Api<ServiceAccount> = Api::namespaced(self.0.clone(), namespace);
        assert_forbidden(accounts.create_token_request("default", &PostParams::default(), &Default::default()).await);
        Ok(())
    }
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn pod() -> Result<Pod, Error> {
    let container = json!({"name": "shell", "image": "shell"});
    Ok(serde_json::from_value(json!({"metadata": {"name": "shell"}, "spec": {"containers": [container]}}))?)
}

fn secret(type_: &str, labels: Value) -> Result<Secret, Error> {
    let annotations = json!({"kubernetes.io/service-account.name": "default"});
    let metadata = json!({"name": "new", "labels": labels, "annotations": annotations});
    Ok(serde_json::from_value(json!({"metadata": metadata, "type": type_}))?)
}

fn token() -> Result<Secret, Error> {
    secret("kubernetes.io/service-account-token", json!({"waxseal.dev/secret": "owned"}))
}

fn marked() -> Result<Secret, Error> {
    secret("Opaque", json!({"waxseal.dev/secret": "owned"}))
}

/// Returns a namespace with a Secret `db` of somebody else.
async fn somebodys(cluster: &Cluster) -> Result<Namespace, Error> {
    let namespace = cluster.namespace("somebody").await?;
    create_plain(&namespace, "db", "theirs").await?;
    Ok(namespace)
}

/// Creates the identity Secret `key`.
async fn add_identity(cluster: &Cluster, key_namespace: &str) -> TestResult {
    let keys: Api<Secret> = Api::namespaced(cluster.client(), key_namespace);
    keys.create(&PostParams::default(), &identity("key", &new_identity(), MADE)).await?;
    Ok(())
}

async fn without_policy(_: &Context, cluster: &Cluster) -> TestResult {
    installation::apply_without_policy(cluster).await?;
    let somebody = somebodys(cluster).await?;
    add_identity(cluster, KEY_NAMESPACE).await?;
    let attacker = Attacker::of(cluster, KEY_NAMESPACE).await?;
    attacker.until_reads(somebody.name()).await?;
    for namespace in [somebody.name(), KEY_NAMESPACE, "kube-system"] {
        assert!(attacker.reads(namespace).await && attacker.creates(namespace, &token()?).await, "{namespace}");
    }
    assert!(attacker.changes(somebody.name(), "db").await);
    assert!(attacker.changes(KEY_NAMESPACE, "key").await, "the identity of a key");
    assert!(attacker.can_delete(somebody.name(), "db").await && attacker.can_delete(KEY_NAMESPACE, "key").await);
    attacker.assert_without_other_rights(somebody.name(), "db").await?;
    assert_eq!(
        made_token(cluster, &attacker, &somebody).await?,
        format!("system:serviceaccount:{}:default", somebody.name())
    );
    Ok(())
}

/// Makes a token for the account `default` of a namespace; returns the user that the API server sees behind it.
async fn made_token(cluster: &Cluster, attacker: &Attacker, namespace: &Namespace) -> Result<String, Error> {
    let accounts: Api<ServiceAccount> = namespace.api();
    waiting::until("the account", DEADLINE, async || accounts.get_opt("default").await.ok().flatten()).await?;
    let secrets = attacker.secrets(namespace.name());
    secrets.create(&PostParams::default(), &token()?).await?;
    let made = waiting::until("the token", DEADLINE, async || secrets.get("new").await.ok()?.data?.remove("token"));
    let made = String::from_utf8(made.await?.0)?;
    let reviews = Api::<SelfSubjectReview>::all(cluster.client_as(&Credential::Token(made))?);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(review.status.and_then(|status| status.user_info?.username).unwrap_or_default())
}

async fn with_policy(_: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let somebody = somebodys(cluster).await?;
    add_identity(cluster, KEY_NAMESPACE).await?;
    let attacker = Attacker::of(cluster, KEY_NAMESPACE).await?;
    attacker.until_reads(somebody.name()).await?;
    // A policy is in force a moment after it was made.
    let in_force = async || (!attacker.creates(somebody.name(), &token().ok()?).await).then_some(());
    waiting::until("the policy", DEADLINE, in_force).await?;
    for namespace in [somebody.name(), KEY_NAMESPACE, "kube-system"] {
        assert!(attacker.reads(namespace).await, "{namespace}");
        assert!(!attacker.creates(namespace, &token()?).await, "{namespace}");
        assert!(attacker.creates(namespace, &marked()?).await, "{namespace}");
        assert!(!attacker.creates(namespace, &secret("Opaque", json!({}))?).await, "{namespace}");
    }
    assert!(!attacker.changes(somebody.name(), "db").await);
    assert!(!attacker.changes(KEY_NAMESPACE, "key").await, "the identity of a key");
    assert!(!attacker.can_delete(somebody.name(), "db").await && !attacker.can_delete(KEY_NAMESPACE, "key").await);
    somebody.api::<Secret>().create(&PostParams::default(), &marked()?).await?;
    assert!(attacker.can_delete(somebody.name(), "new").await);
    assert!(attacker.creates(KEY_NAMESPACE, &identity("planted", &new_identity(), MADE)).await);
    let keys: Api<SealingKey> = Api::namespaced(attacker.0.clone(), KEY_NAMESPACE);
    let published = sealing_key(&new_identity(), KeyState::Active);
    keys.create(&PostParams::default(), &published).await?;
    let name = published.metadata.name.ok_or("no name")?;
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    keys.patch(&name, &params, &Patch::Merge(json!({"spec": {"state": "Revoked"}}))).await?;
    keys.delete(&name, &DeleteParams { dry_run: true, ..DeleteParams::default() }).await?;
    attacker.assert_without_other_rights(somebody.name(), "db").await
}

async fn of_some_namespaces(_: &Context, cluster: &Cluster) -> TestResult {
    let (served, somebody) = (somebodys(cluster).await?, somebodys(cluster).await?);
    let keys = cluster.namespace("keys").await?;
    installation::apply_namespaced(cluster, keys.name(), &[served.name()]).await?;
    add_identity(cluster, keys.name()).await?;
    let attacker = Attacker::of(cluster, keys.name()).await?;
    for namespace in [&served, &keys] {
        attacker.until_reads(namespace.name()).await?;
        assert!(attacker.creates(namespace.name(), &token()?).await, "{}", namespace.name());
    }
    assert!(attacker.changes(served.name(), "db").await && attacker.changes(keys.name(), "key").await);
    for namespace in [somebody.name(), "kube-system"] {
        assert!(!attacker.reads(namespace).await && !attacker.creates(namespace, &token()?).await, "{namespace}");
    }
    assert!(!attacker.changes(somebody.name(), "db").await);
    attacker.assert_without_other_rights(served.name(), "db").await
}

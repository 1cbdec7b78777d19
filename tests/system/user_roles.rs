//! The rights of users: those that `view`, `edit` and `admin` of Kubernetes get from Waxseal, and those of every user.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::KEY_NAMESPACE;
use waxseal_tests::waiting;

use crate::key_namespace::{new_identity, sealing_key};
use crate::registration::{Context, Error, Test, TestResult};
use crate::rights::{Rights, assert_forbidden, rights, rights_of};
use crate::sealing::{DEADLINE, opaque, patch, with_reason};

/// The rights of a user with the role `view` of Kubernetes.
const VIEW: [(&str, &[&str]); 2] = [("sealedsecrets", &["get", "list", "watch"]), ("sealedsecrets/status", &["get"])];
/// The rights of a user with the role `edit` or `admin` of Kubernetes.
const EDIT: [(&str, &[&str]); 2] = [
    ("sealedsecrets", &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]),
    ("sealedsecrets/status", &["get"]),
];
/// The rights of every user in the namespace of the keys.
const OF_EVERYBODY: (&str, &[&str]) = ("sealingkeys", &["get", "list"]);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("user_roles::view_edit_and_admin_include_these_rights_and_no_others", golden),
        Test::new("user_roles::a_user_with_view_reads_sealed_secrets_and_writes_none", views),
        Test::new("user_roles::a_user_with_edit_writes_sealed_secrets_and_no_status_and_no_key", edits),
    ]
}

/// A new user with a ClusterRole in a namespace.
async fn user_with(cluster: &Cluster, user: &str, role: &str, namespace: &str) -> Result<Client, Error> {
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }))?;
    Api::namespaced(cluster.client(), namespace).create(&PostParams::default(), &binding).await?;
    Ok(cluster.client_as(&cluster.user(user, "developers")?)?)
}

/// Fails unless the user soon has exactly these rights on Waxseal's objects in a namespace.
async fn assert_has(user: &Client, namespace: &str, expected: &Rights, role: &str) -> TestResult {
    let granted = async || {
        let mut granted = rights_of(user.clone(), namespace).await?;
        granted.retain(|(resource, _)| resource.starts_with("sealedsecrets") || resource.starts_with("sealingkeys"));
        Ok::<_, Error>(granted)
    };
    // Kubernetes adds the rules to `view`, `edit` and `admin` a moment after Waxseal's ClusterRoles are made.
    let has = async || (granted().await.ok()? == *expected).then_some(());
    let _differs = waiting::until("the rights", DEADLINE, has).await;
    assert_eq!(granted().await?, *expected, "{role} in {namespace}");
    Ok(())
}

async fn golden(context: &Context) -> TestResult {
    let shop = context.cluster.namespace("shop").await?;
    for (role, expected) in [("view", rights(&VIEW)), ("edit", rights(&EDIT)), ("admin", rights(&EDIT))] {
        let user = user_with(&context.cluster, &format!("{role}-user"), role, shop.name()).await?;
        assert_has(&user, shop.name(), &expected, role).await?;
        assert_has(&user, "default", &Rights::new(), role).await?;
        assert_has(&user, KEY_NAMESPACE, &rights(&[OF_EVERYBODY]), role).await?;
        let user = user_with(&context.cluster, &format!("{role}-user-of-keys"), role, KEY_NAMESPACE).await?;
        let in_key_namespace = expected.union(&rights(&[OF_EVERYBODY])).cloned().collect();
        assert_has(&user, KEY_NAMESPACE, &in_key_namespace, role).await?;
    }
    Ok(())
}

async fn views(context: &Context) -> TestResult {
    let shop = context.cluster.namespace("shop").await?;
    let sealed = context.create_sealed(&shop, "db", "hunter2").await?;
    let user = user_with(&context.cluster, "viewer", "view", shop.name()).await?;
    assert_has(&user, shop.name(), &rights(&VIEW), "view").await?;
    let objects: Api<SealedSecret> = Api::namespaced(user, shop.name());
    assert_eq!(objects.list(&ListParams::default()).await?.items.len(), 1);
    assert!(objects.get_status("db").await?.status.is_some());
    assert_forbidden(objects.create(&PostParams::default(), &sealed).await);
    assert_forbidden(objects.delete("db", &DeleteParams::default()).await);
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    assert_forbidden(objects.patch("db", &PatchParams::default(), &label).await);
    Ok(())
}

async fn edits(context: &Context) -> TestResult {
    let shop = context.cluster.namespace("shop").await?;
    let user = user_with(&context.cluster, "editor", "edit", shop.name()).await?;
    assert_has(&user, shop.name(), &rights(&EDIT), "edit").await?;
    let objects: Api<SealedSecret> = Api::namespaced(user, shop.name());
    for name in ["db", "web"] {
        let sealed = context.seal(&opaque(name, &[("PASSWORD", "hunter2")]), &shop)?;
        objects.create(&PostParams::default(), &sealed).await?;
        with_reason(&shop, name, "Materialised").await?;
    }
    patch(&objects, "db", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    let forged = Patch::Merge(json!({"status": {"observedGeneration": 7}}));
    assert_forbidden(objects.patch_status("db", &PatchParams::default(), &forged).await);
    objects.delete("db", &DeleteParams::default()).await?;
    objects.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;

    let user = user_with(&context.cluster, "planter", "admin", KEY_NAMESPACE).await?;
    let in_key_namespace = rights(&EDIT).union(&rights(&[OF_EVERYBODY])).cloned().collect();
    assert_has(&user, KEY_NAMESPACE, &in_key_namespace, "admin").await?;
    let keys: Api<SealingKey> = Api::namespaced(user, KEY_NAMESPACE);
    let planted = sealing_key(&new_identity(), KeyState::Active);
    assert_forbidden(keys.create(&PostParams::default(), &planted).await);
    let key = keys.list(&ListParams::default()).await?.items.pop().and_then(|key| key.metadata.name).ok_or("no key")?;
    let revoked = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
    assert_forbidden(keys.patch(&key, &PatchParams::default(), &revoked).await);
    assert_forbidden(keys.delete(&key, &DeleteParams::default()).await);
    Ok(())
}

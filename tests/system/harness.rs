//! Tests of the support code: the cluster, its audit log, and age.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Resource};
use serde_json::json;
use waxseal_tests::cluster::Namespace;
use waxseal_tests::waiting;

use crate::peers::Peer;
use crate::registration::{Context, Test, TestResult};
use crate::removal::COLLECTED;

const DEADLINE: Duration = Duration::from_secs(90);
/// The deletion of a namespace takes about 70 requests, and other tests delete theirs at the same time.
pub(crate) const NAMESPACE_DELETED: Duration = Duration::from_secs(120);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("harness::the_api_server_has_the_pinned_version", version),
        Test::new("harness::a_namespace_gets_its_service_account", account),
        Test::new("harness::garbage_collection_deletes_an_object_after_its_owner", garbage),
        Test::new("harness::a_token_is_limited_by_rbac", token),
        Test::new("harness::the_audit_log_shows_each_request_with_its_user", audit),
        Test::new("harness::a_dropped_namespace_is_deleted", deletion),
        Test::blocking("harness::age_decrypts_what_it_encrypted", age),
    ]
}

async fn version(context: &Context) -> TestResult {
    let version = context.cluster.client().apiserver_version().await?;
    if let Some(pinned) = context.assets.kubernetes.version {
        assert_eq!(version.git_version, pinned);
    }
    Ok(())
}

async fn account(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("account").await?;
    let accounts = namespace.api::<ServiceAccount>();
    waiting::until("the ServiceAccount", DEADLINE, async || accounts.get_opt("default").await.ok().flatten()).await?;
    Ok(())
}

async fn garbage(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("garbage").await?;
    let owners = namespace.api::<ConfigMap>();
    let owner = create(&owners, "owner").await?;
    let secrets = namespace.api::<Secret>();
    let mut secret = Secret::default();
    secret.metadata.name = Some("owned".to_owned());
    secret.metadata.owner_references = owner.controller_owner_ref(&()).map(|owner| vec![owner]);
    secrets.create(&PostParams::default(), &secret).await?;
    owners.delete("owner", &DeleteParams::default()).await?;
    waiting::until("garbage collection", COLLECTED, async || {
        let found = secrets.get_opt("owned").await.ok()?;
        found.is_none().then_some(())
    })
    .await?;
    Ok(())
}

async fn token(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("token").await?;
    create(&namespace.api::<ServiceAccount>(), "reader").await?;
    allow_to_read_config_maps(&namespace).await?;
    let token = context.cluster.service_account_token(namespace.name(), "reader").await?;
    let client = context.cluster.client_as(&token)?;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace.name());
    // A new right is in force a moment after it was given.
    let allowed = async || config_maps.get_opt("absent").await.ok().map(drop);
    waiting::until("the right to read ConfigMaps", DEADLINE, allowed).await?;
    let secrets: Api<Secret> = Api::namespaced(client, namespace.name());
    let refusal = secrets.get_opt("absent").await;
    assert!(matches!(refusal, Err(kube::Error::Api(status)) if status.code == 403));
    Ok(())
}

async fn audit(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("audit").await?;
    create(&namespace.api::<ConfigMap>(), "witness").await?;
    let log = std::fs::read_to_string(context.cluster.audit_log())?;
    // The API server can be in the middle of the last line.
    let mut events = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mine = events.find(|event| {
        let object = &event["objectRef"];
        object["namespace"] == namespace.name()
            && object["resource"] == "configmaps"
            && event["user"]["username"] == "admin"
    });
    let event = mine.ok_or("the creation is not in the audit log")?;
    assert_eq!(event["verb"], "create");
    assert_eq!(event["level"], "Metadata");
    Ok(())
}

async fn deletion(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("deletion").await?;
    let name = namespace.name().to_owned();
    drop(namespace);
    let all: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(context.cluster.client());
    let gone = async || all.get_opt(&name).await.ok()?.is_none().then_some(());
    Ok(waiting::until("deletion", NAMESPACE_DELETED, gone).await?)
}

fn age(context: &Context) -> TestResult {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let identity = folder.path().join("identity");
    let age_keygen = &context.assets.age_keygen;
    let pq = Command::new(age_keygen).args(["-pq", "-o"]).arg(&identity).output()?;
    assert!(pq.status.success(), "age-keygen makes post-quantum keys");
    let recipient = Command::new(age_keygen).arg("-y").arg(&identity).output()?;
    let recipient = String::from_utf8(recipient.stdout)?;
    assert!(recipient.starts_with("age1pq1"), "{recipient}");
    let closed = Peer::Age.encrypt(context, recipient.trim(), b"a secret")?;
    assert_eq!(Peer::Age.decrypt(context, &identity, &closed)?, b"a secret");
    Ok(())
}

async fn create<K>(api: &Api<K>, name: &str) -> kube::Result<K>
where
    K: Default + Resource + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let mut object = K::default();
    object.meta_mut().name = Some(name.to_owned());
    api.create(&PostParams::default(), &object).await
}

async fn allow_to_read_config_maps(namespace: &Namespace) -> TestResult {
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": "reader" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }],
    }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [{
            "kind": "ServiceAccount", "name": "reader", "namespace": namespace.name(),
        }],
    }))?;
    let parameters = PostParams::default();
    namespace.api().create(&parameters, &role).await?;
    namespace.api().create(&parameters, &binding).await?;
    Ok(())
}

//! What the controller cannot do without one of its rights, and how it says so: each test takes one verb away.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation;
use waxseal_tests::waiting;

use crate::controllers::readiness;
use crate::key_namespace::{new_identity, sealing_key};
use crate::namespaced::Install;
use crate::registration::{Context, Error, Test, TestResult};
use crate::rights;
use crate::sealing::{DEADLINE, condition, create_plain, patch, with_reason};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_namespaced_cluster("missing_rights::get_sealedsecrets", async |context, cluster| {
            let lacking = Lacking::in_served(context, cluster, "get", "sealedsecrets").await?;
            lacking.install.create(&lacking.served, "db").await?;
            lacking.install.until_logged("failed to get the SealedSecret: HTTP 403 Forbidden; trying again").await?;
            lacking.assert_not_judged("db").await
        }),
        Test::on_namespaced_cluster("missing_rights::list_sealedsecrets", async |context, cluster| {
            Lacking::in_served(context, cluster, "list", "sealedsecrets").await?.assert_unserved("SealedSecrets").await
        }),
        Test::on_namespaced_cluster("missing_rights::watch_sealedsecrets", async |context, cluster| {
            let lacking = Lacking::in_served(context, cluster, "watch", "sealedsecrets").await?;
            lacking.assert_refused("SealedSecrets", &lacking.served).await
        }),
        Test::on_namespaced_cluster("missing_rights::patch_sealedsecrets_status", async |context, cluster| {
            let lacking = Lacking::in_served(context, cluster, "patch", "sealedsecrets/status").await?;
            lacking.install.create(&lacking.served, "db").await?;
            let line = "failed to patch sealedsecrets/status: HTTP 403 Forbidden; trying again";
            lacking.install.until_logged(line).await?;
            let secrets = lacking.served.api::<Secret>();
            waiting::until("the Secret", DEADLINE, async || secrets.get_opt("db").await.ok().flatten()).await?;
            lacking.assert_not_judged("db").await
        }),
        Test::on_namespaced_cluster("missing_rights::get_secrets", async |context, cluster| {
            let lacking = Lacking::in_served(context, cluster, "get", "secrets").await?;
            create_plain(&lacking.served, "db", "theirs").await?;
            lacking.assert_forbidden("get").await
        }),
        Test::on_namespaced_cluster("missing_rights::list_secrets", async |context, cluster| {
            Lacking::in_served(context, cluster, "list", "secrets").await?.assert_unserved("Secrets").await
        }),
        Test::on_namespaced_cluster("missing_rights::watch_secrets", async |context, cluster| {
            let lacking = Lacking::in_served(context, cluster, "watch", "secrets").await?;
            lacking.assert_refused("Secrets", &lacking.served).await
        }),
        Test::on_namespaced_cluster("missing_rights::create_secrets", async |context, cluster| {
            let lacking = Lacking::in_served(context, cluster, "create", "secrets").await?;
            lacking.assert_forbidden("create and patch").await
        }),
        Test::on_namespaced_cluster("missing_rights::patch_secrets", async |context, cluster| {
            let lacking = Lacking::in_served(context, cluster, "patch", "secrets").await?;
            lacking.assert_forbidden("create and patch").await
        }),
        Test::on_namespaced_cluster("missing_rights::list_identity_secrets", async |context, cluster| {
            let lacking = Lacking::first_key(context, cluster, "list", "secrets").await?;
            lacking.assert_refused("identity Secrets", &lacking.keys).await?;
            lacking.assert_no_key("failed to list the identity Secrets: HTTP 403 Forbidden; trying again").await
        }),
        Test::on_namespaced_cluster("missing_rights::watch_identity_secrets", async |context, cluster| {
            let lacking = Lacking::first_key(context, cluster, "watch", "secrets").await?;
            lacking.assert_refused("identity Secrets", &lacking.keys).await
        }),
        Test::on_namespaced_cluster("missing_rights::create_identity_secrets", async |context, cluster| {
            let lacking = Lacking::first_key(context, cluster, "create", "secrets").await?;
            let line = "failed to create the first identity Secret: HTTP 403 Forbidden; trying again";
            lacking.assert_no_key(line).await
        }),
        Test::on_namespaced_cluster("missing_rights::patch_identity_secrets", async |context, cluster| {
            let lacking = Lacking::with_key(context, cluster, "patch", "secrets").await?;
            let key = lacking.key().await?.name_any();
            patch(&lacking.keys.api::<SealingKey>(), &key, json!({"spec": {"state": "Revoked"}})).await?;
            let line = "failed to write the state Revoked to the identity Secret first-sealing-key: HTTP 403 Forbidden";
            lacking.install.until_logged(line).await?;
            let status = lacking.keys.api::<SealingKey>().get(&key).await?.status.ok_or("no status")?;
            assert_ne!(status.state, Some(KeyState::Revoked), "the state is confirmed");
            Ok(())
        }),
        Test::on_namespaced_cluster("missing_rights::get_sealingkeys", async |context, cluster| {
            let lacking = Lacking::with_key(context, cluster, "get", "sealingkeys").await?;
            let line = format!("failed to read the SealingKey {}: HTTP 403 Forbidden", lacking.key().await?.name_any());
            lacking.install.until_logged(&line).await
        }),
        Test::on_namespaced_cluster("missing_rights::list_sealingkeys", async |context, cluster| {
            let lacking = Lacking::with_key(context, cluster, "list", "sealingkeys").await?;
            lacking.install.until_logged("failed to list the SealingKeys: HTTP 403 Forbidden; trying again").await
        }),
        Test::on_namespaced_cluster("missing_rights::watch_sealingkeys", async |context, cluster| {
            let lacking = Lacking::with_key(context, cluster, "watch", "sealingkeys").await?;
            lacking.assert_refused("SealingKeys", &lacking.keys).await
        }),
        Test::on_namespaced_cluster("missing_rights::create_sealingkeys", async |context, cluster| {
            let lacking = Lacking::first_key(context, cluster, "create", "sealingkeys").await?;
            lacking.install.until_logged("failed to publish a SealingKey: HTTP 403 Forbidden; trying again").await?;
            assert!(lacking.keys.api::<SealingKey>().list(&ListParams::default()).await?.items.is_empty());
            Ok(())
        }),
        Test::on_namespaced_cluster("missing_rights::patch_sealingkeys", async |context, cluster| {
            let lacking = Lacking::with_key(context, cluster, "patch", "sealingkeys").await?;
            let key = lacking.key().await?.name_any();
            let revoked = json!({"stringData": {"state": "Revoked"}});
            patch(&lacking.keys.api::<Secret>(), "first-sealing-key", revoked).await?;
            let line = format!("failed to write the state Revoked to the SealingKey {key}: HTTP 403 Forbidden");
            lacking.install.until_logged(&line).await
        }),
        Test::on_namespaced_cluster("missing_rights::delete_sealingkeys", async |context, cluster| {
            let lacking = Lacking::with_key(context, cluster, "delete", "sealingkeys").await?;
            let planted = sealing_key(&new_identity(), KeyState::Active);
            let keys = lacking.keys.api::<SealingKey>();
            keys.create(&PostParams::default(), &planted).await?;
            lacking.install.until_logged("failed to delete a SealingKey: HTTP 403 Forbidden; trying again").await?;
            keys.get(&planted.name_any()).await?;
            Ok(())
        }),
        Test::on_namespaced_cluster("missing_rights::patch_sealingkeys_status", async |context, cluster| {
            let lacking = Lacking::first_key(context, cluster, "patch", "sealingkeys/status").await?;
            let line = "failed to write the status of the SealingKey ";
            lacking.install.until_logged(line).await?;
            assert!(lacking.key().await?.status.is_none_or(|status| status.state.is_none()));
            Ok(())
        }),
        Test::on_namespaced_cluster("missing_rights::create_events", async |context, cluster| {
            let lacking = Lacking::first_key(context, cluster, "create", "events").await?;
            lacking.install.until_logged("failed to write an Event: HTTP 403 Forbidden").await?;
            lacking.install.controller.ready().await?;
            assert!(lacking.keys.api::<Event>().list(&ListParams::default()).await?.items.is_empty());
            Ok(())
        }),
    ]
}

/// A controller that lacks one right in the namespace that it serves, or in the namespace of its keys.
struct Lacking<'a> {
    install: Install<'a>,
    served: Namespace,
    keys: Namespace,
}

impl<'a> Lacking<'a> {
    /// A controller with a key, which lacks the right in the namespace that it serves.
    async fn in_served(context: &'a Context, cluster: &'a Cluster, verb: &str, resource: &str) -> Result<Self, Error> {
        let (served, keys) = (cluster.namespace("served").await?, cluster.namespace("keys").await?);
        let install = Install::start(context, cluster, keys.name(), &[served.name()]).await?;
        take_away(cluster, keys.name(), &served, verb, resource).await?;
        let install = install.restarted(&[served.name()]).await?;
        Ok(Self { install, served, keys })
    }

    /// A controller with a key, which lacks the right in the namespace of its keys.
    async fn with_key(context: &'a Context, cluster: &'a Cluster, verb: &str, resource: &str) -> Result<Self, Error> {
        let (served, keys) = (cluster.namespace("served").await?, cluster.namespace("keys").await?);
        let install = Install::start(context, cluster, keys.name(), &[served.name()]).await?;
        take_away(cluster, keys.name(), &keys, verb, resource).await?;
        let install = install.restarted(&[served.name()]).await?;
        Ok(Self { install, served, keys })
    }

    /// A controller without a key, which lacks the right in the namespace of its keys.
    async fn first_key(context: &'a Context, cluster: &'a Cluster, verb: &str, resource: &str) -> Result<Self, Error> {
        let (served, keys) = (cluster.namespace("served").await?, cluster.namespace("keys").await?);
        installation::apply_namespaced(cluster, keys.name(), &[served.name()]).await?;
        take_away(cluster, keys.name(), &keys, verb, resource).await?;
        let install = Install::begin(context, cluster, keys.name(), &[served.name()]).await?;
        Ok(Self { install, served, keys })
    }

    /// The only SealingKey.
    async fn key(&self) -> Result<SealingKey, Error> {
        let keys = self.keys.api::<SealingKey>();
        let first = async || keys.list(&ListParams::default()).await.ok()?.items.pop();
        Ok(waiting::until("a SealingKey", DEADLINE, first).await?)
    }

    async fn assert_not_judged(&self, name: &str) -> TestResult {
        let object = self.served.api::<SealedSecret>().get(name).await?;
        assert_eq!(condition(&object, "Ready"), None);
        Ok(())
    }

    /// Fails unless `/readyz` and the log say that a kind cannot be watched in a namespace.
    async fn assert_refused(&self, kind: &str, namespace: &Namespace) -> TestResult {
        let subject = format!("{kind} in {}", namespace.name());
        self.install.until_logged(&format!("watching {subject} failed, trying again: HTTP 403 Forbidden")).await?;
        self.install.until_not_ready(&format!("Forbidden: the controller may not list and watch {subject}")).await?;
        assert!(!self.install.controller.log_text().contains(&format!("watching {subject} again")));
        Ok(())
    }

    /// Fails unless the served namespace waits for the right and is served with it.
    async fn assert_unserved(&self, kind: &str) -> TestResult {
        self.install.create(&self.served, "db").await?;
        self.assert_refused(kind, &self.served).await?;
        self.assert_not_judged("db").await?;
        installation::apply_namespaced(self.install.cluster, self.keys.name(), &[self.served.name()]).await?;
        with_reason(&self.served, "db", "Materialised").await?;
        Ok(())
    }

    /// Fails unless the status says that the controller may not do this with Secrets.
    async fn assert_forbidden(&self, verbs: &str) -> TestResult {
        self.install.create(&self.served, "db").await?;
        let object = with_reason(&self.served, "db", "Forbidden").await?;
        let said = condition(&object, "Ready").map(|(_, _, message)| message).unwrap_or_default();
        assert!(said.starts_with(&format!("the controller may not {verbs} Secrets in this namespace: ")), "{said}");
        Ok(())
    }

    /// Fails unless the log has the line and no key is made.
    async fn assert_no_key(&self, line: &str) -> TestResult {
        self.install.until_logged(line).await?;
        assert!(self.keys.api::<SealingKey>().list(&ListParams::default()).await?.items.is_empty());
        assert_eq!(readiness(&self.install.controller).await, Some(503));
        Ok(())
    }
}

/// Takes a verb away from the controller in a namespace, and deletes the RoleBinding that lets every account read
/// SealingKeys: it would give the verb back. Returns when the API server refuses the verb.
async fn take_away(
    cluster: &Cluster,
    key_namespace: &str,
    namespace: &Namespace,
    verb: &str,
    resource: &str,
) -> TestResult {
    let bindings: Api<RoleBinding> = namespace.api();
    if bindings.get_opt("waxseal-sealing-keys-reader").await?.is_some() {
        bindings.delete("waxseal-sealing-keys-reader", &DeleteParams::default()).await?;
    }
    let roles: Api<Role> = namespace.api();
    let mut taken = 0;
    let of_the_controller = |role: &Role| role.name_any().starts_with("waxseal-controller");
    for mut role in roles.list(&ListParams::default()).await?.into_iter().filter(of_the_controller) {
        taken += take_from(&mut role.rules, verb, resource);
        roles.replace(&role.name_any(), &PostParams::default(), &role).await?;
    }
    assert!(taken > 0, "the controller has no right to {verb} {resource}");
    let right = (resource.to_owned(), verb.to_owned());
    let is_lost = async || {
        let rights = rights::granted(cluster, key_namespace, namespace.name()).await.ok()?;
        (!rights.contains(&right)).then_some(())
    };
    Ok(waiting::until("the loss of the right", DEADLINE, is_lost).await?)
}

/// Takes a verb out of the rules of a Role or ClusterRole; returns how many rules had it.
pub(crate) fn take_from(rules: &mut Option<Vec<PolicyRule>>, verb: &str, resource: &str) -> usize {
    let mut taken = 0;
    for rule in rules.iter_mut().flatten() {
        let is_of_resource = rule.resources.iter().flatten().any(|name| name == resource);
        let before = rule.verbs.len();
        rule.verbs.retain(|granted| !is_of_resource || granted != verb);
        taken += before - rule.verbs.len();
    }
    rules.iter_mut().for_each(|rules| rules.retain(|rule| !rule.verbs.is_empty()));
    taken
}

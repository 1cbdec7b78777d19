//! `waxseal keys delete` on a real cluster, with the rights that it needs and no others.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::api_group::BACKED_UP_ANNOTATION;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::KEY_NAMESPACE;
use waxseal_tests::waiting;

use crate::backup::give;
use crate::controllers::started;
use crate::key_commands::{Operator, give_rights};
use crate::key_namespace::{new_identity, secret};
use crate::registration::{Context, Error, Test, TestResult};
use crate::rotation::{Fleet, is_current, offers_one_key, secrets};
use crate::sealing::{DEADLINE, patch, values, with_reason};

const MADE_LONG_AGO: &str = "2025-01-01T00:00:00Z";
const BACKUP_TIME: &str = "2026-01-02T00:00:00Z";
/// The number of runs that are killed. More follow if all were killed too early or too late.
const KILLS: u32 = 20;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("key_delete::a_key_goes_when_nothing_needs_it_any_more", life),
        Test::on_own_cluster("key_delete::a_deletion_without_a_running_controller_is_finished_later", absent),
        Test::on_own_cluster("key_delete::an_identity_that_was_restored_meanwhile_stays", restored),
        Test::on_own_cluster("key_delete::a_second_secret_with_the_identity_is_named", copied),
        Test::on_own_cluster("key_delete::a_killed_delete_is_finished_by_the_next_one", killed),
    ]
}

/// Gives the operator the right to list SealedSecrets.
async fn give_list(cluster: &Cluster) -> TestResult {
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": "operators"},
        "rules": [{"apiGroups": ["waxseal.dev"], "resources": ["sealedsecrets"], "verbs": ["list"]}],
    }))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "operators"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "operators"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "operators"}],
    }))?;
    Api::all(cluster.client()).create(&PostParams::default(), &role).await?;
    Api::all(cluster.client()).create(&PostParams::default(), &binding).await?;
    Ok(())
}

/// Some SealedSecrets, their files, and an operator.
struct Deletion<'a> {
    fleet: Fleet<'a>,
    operator: Operator<'a>,
    files: String,
}

/// What a run printed, and its exit code.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl<'a> Deletion<'a> {
    /// An operator without rights.
    async fn begin(context: &'a Context, cluster: &'a Cluster) -> Result<Self, Error> {
        let fleet = Fleet::start(context, cluster, &[("blog", secrets(2, 1)), ("shop", secrets(1, 1))]).await?;
        let operator = Operator::new(context, cluster)?;
        let files = fleet.files().to_str().ok_or("a path in UTF-8")?.to_owned();
        Ok(Self { fleet, operator, files })
    }

    /// An operator with all rights.
    async fn begin_with_rights(context: &'a Context, cluster: &'a Cluster) -> Result<Self, Error> {
        let deletion = Self::begin(context, cluster).await?;
        give_rights(cluster).await?;
        give_list(cluster).await?;
        give(cluster, &["delete"]).await?;
        // A new right is in force a moment after it was given.
        let client = cluster.client_as(&cluster.user("operator", "operators")?)?;
        let (objects, identities) =
            (Api::<SealedSecret>::all(client.clone()), Api::<Secret>::namespaced(client, KEY_NAMESPACE));
        let has_rights = async || {
            objects.list(&ListParams::default().limit(1)).await.ok()?;
            let deleted = identities.delete("absent", &DeleteParams::default()).await;
            matches!(deleted, Err(kube::Error::Api(status)) if status.code == 404).then_some(())
        };
        waiting::until("the operator's rights", DEADLINE, has_rights).await?;
        Ok(deletion)
    }

    fn command(&self, key: &str, timeout: &str) -> Command {
        let mut command = self.operator.command(&["delete", key, &self.files, "--timeout", timeout]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, key: &str, timeout: &str) -> Result<Outcome, Error> {
        let output = self.command(key, timeout).output()?;
        let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        Ok(Outcome { code: output.status.code(), stdout, stderr })
    }

    /// Runs the command until it ends with this text: a new right is in force a moment after it was given.
    async fn until(&self, key: &str, code: i32, end: &str) -> Result<Outcome, Error> {
        let wanted = async || {
            let outcome = self.run(key, "60s").ok()?;
            (outcome.code == Some(code) && outcome.stderr.ends_with(end)).then_some(outcome)
        };
        match waiting::until("the outcome", DEADLINE, wanted).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(format!("{error}: {}", self.run(key, "1s")?.stderr).into()),
        }
    }

    /// Adds a Retired key that nothing needs, with a backup; returns its id.
    async fn add_retired(&self, name: &str) -> Result<String, Error> {
        let identity = new_identity();
        let mut secret = secret(name, &identity, MADE_LONG_AGO);
        secret.string_data = Some([("state".to_owned(), "Retired".to_owned())].into());
        secret.metadata.annotations = Some([(BACKED_UP_ANNOTATION.to_owned(), BACKUP_TIME.to_owned())].into());
        self.fleet.keys.identities.create(&PostParams::default(), &secret).await?;
        let id = identity.recipient().key_id().to_string();
        self.until_retired_with_backup(&id, name).await?;
        Ok(id)
    }

    /// Waits until the controller confirms that a key is Retired and in a backup, and names its present Secret.
    async fn until_retired_with_backup(&self, key: &str, secret: &str) -> TestResult {
        let uid = self.fleet.keys.identities.get(secret).await?.uid();
        let confirmed = async || {
            let status = self.fleet.keys.published.get_opt(key).await.ok()??.status?;
            let is_of_secret = status.identity_secret.map(|secret| secret.uid) == uid;
            let is_done = status.state == Some(KeyState::Retired) && status.last_backup_time.is_some();
            (is_of_secret && is_done).then_some(())
        };
        Ok(waiting::until("a Retired key with a backup", DEADLINE, confirmed).await?)
    }

    async fn identity(&self, name: &str) -> Result<Option<Secret>, Error> {
        Ok(self.fleet.keys.identities.get_opt(name).await?)
    }

    async fn published(&self, key: &str) -> Result<Option<SealingKey>, Error> {
        Ok(self.fleet.keys.published.get_opt(key).await?)
    }
}

/// The end of stderr when the operator lacks a right.
fn forbidden(what: &str, role: &str) -> String {
    format!("error: context prod: the API server does not let you {what} (403)\nhint: ask for a {role}\n")
}

async fn life(context: &Context, cluster: &Cluster) -> TestResult {
    let mut deletion = Deletion::begin(context, cluster).await?;
    let first = deletion.fleet.first.clone();
    let versions = deletion.fleet.secret_versions().await?;
    let second = deletion.fleet.add_primary().await?.recipient().key_id().to_string();
    deletion.fleet.keys.ask_for(&first, "Retired").await?;
    deletion.fleet.keys.until_durable("one", "Retired").await?;
    deletion.fleet.until_all("offers", |status| offers_one_key(status, &second)).await?;
    give_rights(cluster).await?;
    let role = "ClusterRole with the verb list on sealedsecrets.waxseal.dev in all namespaces";
    deletion.until(&first, 5, &forbidden("list SealedSecrets in all namespaces", role)).await?;
    give_list(cluster).await?;

    // The files have wraps for the second key, and the objects of the cluster do not.
    deletion.fleet.fetch_keys()?;
    deletion.fleet.rotate()?;
    let outcome = deletion.until(&first, 3, "or pass `--even-if-it-strands 3`\n").await?;
    let [blog, shop] = [0, 1].map(|at| deletion.fleet.namespaces[at].name());
    let named = [(blog, "db-0"), (blog, "db-1"), (shop, "db-0")]
        .map(|(namespace, name)| format!("SealedSecret {namespace}/{name}: not opened through another key yet\n"));
    assert_eq!((outcome.code, outcome.stdout), (Some(3), named.concat()), "{}", outcome.stderr);
    let text = format!("error: context prod: {first} is still needed by 3 SealedSecrets in the cluster\n");
    assert!(outcome.stderr.contains(&text), "{}", outcome.stderr);

    deletion.fleet.apply()?;
    deletion.fleet.until_all("objects that are up to date", is_current).await?;
    let end = format!(
        "error: context prod: no backup has the identity of {first} in its present state\n\
         hint: `waxseal keys backup` writes one\n"
    );
    deletion.until(&first, 3, &end).await?;
    let annotations = json!({"metadata": {"annotations": {BACKED_UP_ANNOTATION: BACKUP_TIME}}});
    patch(&deletion.fleet.keys.identities, "one", annotations).await?;
    deletion.until_retired_with_backup(&first, "one").await?;
    let outcome = deletion.run(&first, "30s")?;
    let role = "Role with the verb delete on secrets in waxseal-system";
    let end = forbidden("delete Secrets in waxseal-system", role);
    assert!(outcome.code == Some(5) && outcome.stderr.ends_with(&end), "{}", outcome.stderr);
    assert!(deletion.identity("one").await?.is_some() && deletion.published(&first).await?.is_some());

    give(cluster, &["delete"]).await?;
    let end = format!("deleted {first}; run `waxseal keys fetch` in each repository\n");
    deletion.until(&first, 0, &end).await?;
    assert!(deletion.identity("one").await?.is_none() && deletion.published(&first).await?.is_none());
    deletion.fleet.until_all("objects that are up to date", is_current).await?;
    deletion.fleet.restart().await?;
    assert_eq!(deletion.fleet.secret_versions().await?, versions);
    // Each object still opens: its Secret is made anew.
    for namespace in &deletion.fleet.namespaces {
        let secrets = namespace.api::<Secret>();
        secrets.delete("db-0", &DeleteParams::default()).await?;
        let made = waiting::until("the Secret", DEADLINE, async || secrets.get_opt("db-0").await.ok().flatten());
        assert_eq!(values(&made.await?), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
        with_reason(namespace, "db-0", "Materialised").await?;
    }
    Ok(())
}

async fn absent(context: &Context, cluster: &Cluster) -> TestResult {
    let mut deletion = Deletion::begin_with_rights(context, cluster).await?;
    let key = deletion.add_retired("old").await?;
    let versions = deletion.fleet.secret_versions().await?;
    deletion.fleet.controller.kill()?;
    let outcome = deletion.run(&key, "1s")?;
    assert!(outcome.code == Some(5) && outcome.stderr.ends_with(&not_removed(&key)), "{}", outcome.stderr);
    assert!(deletion.identity("old").await?.is_none() && deletion.published(&key).await?.is_some());

    let mut second_run = deletion.command(&key, "60s").spawn()?;
    let mut said = BufReader::new(second_run.stderr.take().ok_or("stderr")?).lines();
    let searched = said.next().ok_or("no word")??;
    assert!(searched.starts_with("searched 3 sealed values in the working tree"), "{searched}");
    let asked = said.next().ok_or("no word")??;
    assert_eq!(asked, format!("context prod: deletes the identity of {key}; only a backup has it then"));
    deletion.fleet.controller = started(context, cluster, "again").await?;
    let rest = said.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(rest, [format!("deleted {key}; run `waxseal keys fetch` in each repository")]);
    assert!(second_run.wait()?.success() && deletion.published(&key).await?.is_none());
    assert_eq!(deletion.fleet.secret_versions().await?, versions);
    Ok(())
}

/// The end of stderr when no controller removes the SealingKey.
fn not_removed(key: &str) -> String {
    format!(
        "error: context prod: the controller did not remove the SealingKey {key} within 1 seconds\n\
         hint: the Secret that the SealingKey names is deleted: start the controller, or see in its log why it keeps \
         the SealingKey\n"
    )
}

/// The status of the SealingKey still names the Secret that was there before.
async fn restored(context: &Context, cluster: &Cluster) -> TestResult {
    let mut deletion = Deletion::begin_with_rights(context, cluster).await?;
    let key = deletion.add_retired("old").await?;
    deletion.fleet.controller.kill()?;
    let identities = &deletion.fleet.keys.identities;
    let mut identity = identities.get("old").await?;
    identities.delete("old", &DeleteParams::default()).await?;
    (identity.metadata.uid, identity.metadata.resource_version) = (None, None);
    let again = identities.create(&PostParams::default(), &identity).await?;
    let outcome = deletion.run(&key, "1s")?;
    let end = "error: context prod: the identity Secret old was replaced by another one\n\
               hint: wait until the controller has read it, and run the command again\n";
    assert!(outcome.code == Some(3) && outcome.stderr.ends_with(end), "{}", outcome.stderr);
    assert_eq!(deletion.identity("old").await?.and_then(|identity| identity.uid()), again.uid());

    deletion.fleet.controller = started(context, cluster, "again").await?;
    deletion.until_retired_with_backup(&key, "old").await?;
    deletion.until(&key, 0, "").await?;
    assert!(deletion.identity("old").await?.is_none() && deletion.published(&key).await?.is_none());
    Ok(())
}

/// Two Secrets hold the identity, and finalizers keep one of them. The status of the SealingKey names the Secret that
/// is not being deleted.
async fn copied(context: &Context, cluster: &Cluster) -> TestResult {
    let deletion = Deletion::begin_with_rights(context, cluster).await?;
    let key = deletion.add_retired("old").await?;
    let identities = &deletion.fleet.keys.identities;
    let mut copy = identities.get("old").await?;
    (copy.metadata.uid, copy.metadata.resource_version) = (None, None);
    copy.metadata.name = Some("older".to_owned());
    identities.create(&PostParams::default(), &copy).await?;
    patch(identities, "old", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await?;
    let kept = "error: context prod: the identity Secret old is being deleted, and its finalizers keep it\n\
                hint: find out what set the finalizers, or remove them: `kubectl patch secret old -n waxseal-system \
                --type merge -p '{\"metadata\":{\"finalizers\":null}}'`\n";
    deletion.until(&key, 3, kept).await?;
    let second = "error: context prod: the identity Secret old has the identity, too\n\
                  hint: run the command again: it deletes this Secret\n";
    deletion.until(&key, 3, second).await?;
    assert!(deletion.identity("older").await?.is_none());
    deletion.until(&key, 3, kept).await?;
    patch(identities, "old", json!({"metadata": {"finalizers": null}})).await?;
    deletion.fleet.keys.until_gone(&key).await?;
    assert!(deletion.identity("old").await?.is_none());
    Ok(())
}

async fn killed(context: &Context, cluster: &Cluster) -> TestResult {
    let deletion = Deletion::begin_with_rights(context, cluster).await?;
    let versions = deletion.fleet.secret_versions().await?;
    let key = deletion.add_retired("first").await?;
    assert_eq!(deletion.run(&key, "30s")?.code, Some(0));
    let key = deletion.add_retired("measured").await?;
    let begin = Instant::now();
    assert_eq!(deletion.run(&key, "30s")?.code, Some(0));
    let whole_run = begin.elapsed();
    let (mut untouched, mut begun) = (0, 0);
    for round in 0..5 * KILLS {
        if round >= KILLS && untouched > 0 && begun > 0 {
            break;
        }
        let name = format!("key-{round}");
        let key = deletion.add_retired(&name).await?;
        let before = deletion.identity(&name).await?;
        let mut child = deletion.command(&key, "30s").spawn()?;
        // The machine can be slower now than it was when the whole run was measured.
        thread::sleep(whole_run * (1 + round / KILLS) * (round % KILLS) / KILLS);
        child.kill()?;
        let was_killed = child.wait()?.code().is_none();
        let found = deletion.identity(&name).await?;
        assert!(found.is_none() || found == before, "{round}");
        untouched += u32::from(found.is_some());
        begun += u32::from(was_killed && found.is_none());
        if found.is_some() && deletion.published(&key).await?.is_none() {
            // The API server was still carrying out the deletion.
            assert!(deletion.identity(&name).await?.is_none(), "{round}");
        }
        let outcome = deletion.run(&key, "30s")?;
        // The API server and the controller may finish the deletion before this run begins, or during this run.
        let ends = [format!("no key {key}; there are: "), format!("{key} was changed meanwhile\n")];
        let is_finished = outcome.code == Some(3) && ends.iter().any(|end| outcome.stderr.contains(end));
        assert!(outcome.code == Some(0) || is_finished, "{}", outcome.stderr);
        let left = (deletion.identity(&name).await?, deletion.published(&key).await?);
        assert!(left.0.is_none() && left.1.is_none(), "{round}");
    }
    assert!(untouched > 0 && begun > 0, "{untouched} runs were killed before the deletion, {begun} after it");
    assert_eq!(deletion.fleet.secret_versions().await?, versions);
    deletion.fleet.until_all("objects that are up to date", is_current).await?;
    Ok(())
}

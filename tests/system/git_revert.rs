//! `git revert`: a file is again as it was two keys ago.

use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use waxseal_shared::sealing_key::KeyState;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, CONTEXT, Controller};

use crate::key_namespace::Keys;
use crate::kustomize::kubectl;
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{condition, recipient_in, run, values, with_reason};

const FILE: &str = "db.yaml";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("git_revert::a_file_of_a_retired_key_opens", retired),
        Test::on_own_cluster("git_revert::a_file_of_a_revoked_key_stalls_and_says_how_to_go_on", revoked),
    ]
}

/// A repository whose file was sealed to three keys in turn, with another value each time.
struct Repository<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    folder: PathBuf,
    keys: Keys,
    namespace: Namespace,
    controller: Controller,
    /// The key of the first version of the file.
    first_key: String,
}

impl<'a> Repository<'a> {
    async fn with_three_versions(context: &'a Context, cluster: &'a Cluster) -> Result<Self, Error> {
        installation::apply(cluster).await?;
        let folder = cluster.folder().join("repository");
        std::fs::create_dir(&folder)?;
        let mut generate = Command::new(&context.programs.waxseal);
        generate.args(["keys", "generate", "--recovery", "-o", "recovery.key"]).env_clear();
        let recovery = run(generate.current_dir(cluster.folder()), "")?;
        let mut command = Command::new(&context.programs.waxseal_controller);
        command.env_clear().env("WAXSEAL_RECOVERY_RECIPIENT", recipient_in(&recovery)?);
        let controller = Controller::start_command(cluster, command, "controller").await?;
        controller.ready().await?;
        let keys = Keys::of(cluster);
        let first_key = keys.primary().await?;
        let namespace = cluster.namespace("revert").await?;
        let repository = Self { context, cluster, folder, keys, namespace, controller, first_key };
        repository.git(&["init", "--quiet"])?;

        repository.fetch_keys()?;
        let manifest = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {PASSWORD: one}\n";
        let seal = ["seal", "--keys", "prod.yaml", "-n", repository.namespace.name(), "-o", FILE, "-"];
        repository.waxseal(&seal, manifest)?;
        repository.commit_and_apply("one").await?;
        for value in ["two", "three"] {
            repository.waxseal(&["keys", "rotate", "--context", CONTEXT, "--yes"], "")?;
            repository.fetch_keys()?;
            repository.waxseal(&["set", "--keys", "prod.yaml", FILE, "PASSWORD"], value)?;
            repository.commit_and_apply(value).await?;
        }
        repository.keys.until_published(&repository.first_key, KeyState::Retired).await?;
        Ok(repository)
    }

    fn fetch_keys(&self) -> TestResult {
        let file = self.folder.join("prod.yaml");
        Ok(installation::fetch_keys(&self.context.programs, &self.controller.kubeconfig, &file)?)
    }

    /// Runs `waxseal` with this input. It must succeed.
    fn waxseal(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        let mut waxseal = Command::new(&self.context.programs.waxseal);
        waxseal.env_clear().env("KUBECONFIG", self.cluster.folder().join("operator.kubeconfig"));
        let operator = self.cluster.user("operator", "system:masters")?;
        let kubeconfig = self.cluster.folder().join("operator.kubeconfig");
        self.cluster.write_kubeconfig(&kubeconfig, CONTEXT, &operator, "default")?;
        run(waxseal.args(arguments).current_dir(&self.folder), input)
    }

    fn git(&self, arguments: &[&str]) -> TestResult {
        let mut git = Command::new("git");
        git.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
        git.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]);
        // The folder of the cluster lies in the work tree of Waxseal itself.
        git.env("GIT_CEILING_DIRECTORIES", self.cluster.folder());
        git.args(["-c", "user.name=Operator", "-c", "user.email=operator@example.test"]).args(arguments);
        run(git.current_dir(&self.folder), "").map(drop)
    }

    async fn commit_and_apply(&self, value: &str) -> TestResult {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", value])?;
        self.apply()?;
        with_reason(&self.namespace, "db", "Materialised").await?;
        self.assert_secret(value).await.map(drop)
    }

    fn apply(&self) -> TestResult {
        let mut kubectl = kubectl(self.context, self.cluster);
        run(kubectl.args(["apply", "--server-side", "-f", FILE]).current_dir(&self.folder), "").map(drop)
    }

    /// Reverts the file to its first version, and applies it.
    fn revert(&self) -> TestResult {
        // The file alone: a keys file never goes back.
        self.git(&["revert", "--no-commit", "HEAD", "HEAD~1"])?;
        self.git(&["checkout", "HEAD", "--", "prod.yaml"])?;
        self.git(&["commit", "--quiet", "--message", "Go back to the first value"])?;
        self.apply()
    }

    /// Checks the value in the Secret; returns its resourceVersion.
    async fn assert_secret(&self, value: &str) -> Result<Option<String>, Error> {
        let secret = self.namespace.api::<Secret>().get("db").await?;
        assert_eq!(values(&secret), [("PASSWORD".to_owned(), value.to_owned())]);
        Ok(secret.resource_version())
    }
}

async fn retired(context: &Context, cluster: &Cluster) -> TestResult {
    let repository = Repository::with_three_versions(context, cluster).await?;
    repository.revert()?;
    let object = with_reason(&repository.namespace, "db", "Materialised").await?;
    repository.assert_secret("one").await?;
    let (_, reason, _) = condition(&object, "KeyCurrent").ok_or("no KeyCurrent")?;
    assert_eq!(reason, "Behind");

    repository.waxseal(&["rotate", FILE, "--keys", "prod.yaml", "--context", CONTEXT], "")?;
    repository.commit_and_apply("one").await?;
    let object = with_reason(&repository.namespace, "db", "Materialised").await?;
    assert_eq!(condition(&object, "KeyCurrent"), None);
    Ok(())
}

async fn revoked(context: &Context, cluster: &Cluster) -> TestResult {
    let repository = Repository::with_three_versions(context, cluster).await?;
    let first = repository.first_key.as_str();
    repository.waxseal(&["keys", "revoke", first, "--context", CONTEXT, "--yes"], "")?;
    let version = repository.assert_secret("three").await?;
    repository.revert()?;
    let object = with_reason(&repository.namespace, "db", "KeyRevoked").await?;
    let (status, reason, _) = condition(&object, "Stalled").ok_or("not stalled")?;
    assert_eq!((status.as_str(), reason.as_str()), ("True", "KeyRevoked"));
    let (_, _, message) = condition(&object, "Ready").ok_or("no Ready")?;
    let envelope = object.spec.envelopes.keys().next().ok_or("no envelope")?;
    let said = format!(
        "spec.envelopes.{envelope}: all keys that this program holds for this envelope are revoked: {first}; the Secret stays \
         as it is. Change the values and seal them again. To keep the values, seal them again with a recovery key: \
         waxseal rotate PATH --reseal --identity FILE, where PATH is the sealed file and FILE the identity file of the \
         recovery key"
    );
    assert_eq!(message, said);
    assert_eq!(repository.assert_secret("three").await?, version);

    // What the message says, both ways.
    repository.fetch_keys()?;
    repository.waxseal(&["rotate", FILE, "--reseal", "--identity", "../recovery.key", "--keys", "prod.yaml"], "")?;
    repository.commit_and_apply("one").await?;
    repository.waxseal(&["set", "--keys", "prod.yaml", FILE, "PASSWORD"], "four")?;
    repository.commit_and_apply("four").await
}

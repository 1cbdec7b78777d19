//! `waxseal keys rotate`, `retire` and `revoke` on a real cluster, with the rights that `deploy/` gives an operator.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use waxseal_shared::sealing_key::KeyState;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::waiting;

use crate::key_namespace::Keys;
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, create, sealed, with_reason};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("key_commands::an_operator_rotates_retires_and_revokes_keys", life),
        Test::on_own_cluster("key_commands::a_controller_that_does_not_run_confirms_nothing", absent),
    ]
}

/// An operator at a machine with a kubeconfig.
pub(crate) struct Operator<'a> {
    context: &'a Context,
    kubeconfig: PathBuf,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(context: &'a Context, cluster: &Cluster) -> Result<Self, Error> {
        let kubeconfig = cluster.folder().join("operator.kubeconfig");
        cluster.write_kubeconfig(&kubeconfig, "prod", &cluster.user("operator", "operators")?, "default")?;
        Ok(Self { context, kubeconfig })
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.context.programs.waxseal);
        command.env_clear().arg("keys").args(arguments).args(["--context", "prod", "--yes", "--kubeconfig"]);
        command.arg(&self.kubeconfig);
        command
    }

    fn keys(&self, arguments: &[&str]) -> Result<Output, Error> {
        Ok(self.command(arguments).output()?)
    }

    /// Runs a command that must succeed; returns its stdout and stderr.
    fn does(&self, arguments: &[&str]) -> Result<(String, String), Error> {
        let output = self.keys(arguments)?;
        let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        Ok((stdout, stderr))
    }

    /// Runs a command that must fail; returns its stderr.
    fn fails(&self, code: i32, arguments: &[&str]) -> Result<String, Error> {
        let output = self.keys(arguments)?;
        let stderr = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        Ok(stderr)
    }
}

/// Binds the Role of `deploy/` to the operator.
pub(crate) async fn give_rights(cluster: &Cluster) -> TestResult {
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "operators"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "waxseal-sealing-keys-operator",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "operators"}],
    }))?;
    let bindings = Api::<RoleBinding>::namespaced(cluster.client(), KEY_NAMESPACE);
    bindings.create(&PostParams::default(), &binding).await?;
    Ok(())
}

fn log_has_fingerprint(log: &Path, fingerprint: &str) -> bool {
    std::fs::read_to_string(log).unwrap_or_default().contains(fingerprint)
}

async fn life(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let controller = Controller::start(cluster, &context.programs, "life").await?;
    controller.ready().await?;
    let first = keys.first().await?;
    let namespace = cluster.namespace("life").await?;
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;

    let operator = Operator::new(context, cluster)?;
    let refused = operator.fails(5, &["rotate"])?;
    let said = "error: context prod: the API server does not let you patch SealingKeys in waxseal-system (403)\n\
                hint: ask for a Role with the verb patch on sealingkeys.waxseal.dev in waxseal-system\n";
    assert!(refused.ends_with(said), "{refused}");
    give_rights(cluster).await?;

    let only = operator.fails(3, &["retire", &first])?;
    assert_eq!(
        only,
        format!(
            "error: context prod: {first} is the only Active key: nothing could be sealed\n\
             hint: run `waxseal keys rotate`: the controller makes a new key first\n"
        )
    );
    // A new right is in force a moment after it was given.
    let rotated = waiting::until("the operator's right", DEADLINE, async || {
        let output = operator.keys(&["rotate"]).ok()?;
        output.status.success().then_some(output)
    });
    let rotated = String::from_utf8(rotated.await?.stdout)?;
    let (second, fingerprint) = rotated.trim().split_once(' ').ok_or("no fingerprint")?;
    assert!(second != first && log_has_fingerprint(&controller.log, fingerprint), "{rotated}");
    keys.until_published(&first, KeyState::Retired).await?;
    assert_eq!(keys.durable("first-sealing-key").await.as_deref(), Some("Retired"));
    with_reason(&namespace, "db", "Materialised").await?;

    let (_, said) = operator.does(&["retire", &first])?;
    assert_eq!(said, format!("the controller confirms: {first} is Retired\n"));
    let (_, said) = operator.does(&["revoke", &first])?;
    assert!(said.contains(&format!("\nthe controller confirms: {first} is Revoked\n")), "{said}");
    assert_eq!(keys.durable("first-sealing-key").await.as_deref(), Some("Revoked"));
    with_reason(&namespace, "db", "KeyRevoked").await?;
    let unknown = operator.fails(3, &["revoke", "k0000000000000000"])?;
    assert!(unknown.starts_with("error: context prod: no key k0000000000000000; there are: "), "{unknown}");
    assert_eq!(keys.identity_names().await?.len(), 2);
    // The only Active key is revoked: a third key follows.
    operator.does(&["revoke", second])?;
    operator.does(&["rotate"])?;
    assert_eq!(keys.identity_names().await?.len(), 4);
    Ok(())
}

/// The request is written, and the command says that nobody has confirmed it.
async fn absent(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let controller = Controller::start(cluster, &context.programs, "before").await?;
    controller.ready().await?;
    let first = keys.first().await?;
    drop(controller);
    let operator = Operator::new(context, cluster)?;
    give_rights(cluster).await?;
    let requested = waiting::until("the operator's right", DEADLINE, async || {
        let output = operator.keys(&["revoke", &first, "--timeout", "1s"]).ok()?;
        let said = String::from_utf8(output.stderr).ok()?;
        said.contains("did not confirm").then_some((output.status.code(), said))
    });
    let (code, said) = requested.await?;
    let end = format!(
        "error: context prod: the controller did not confirm that {first} is Revoked within 1 seconds\n\
         hint: the request stays: the controller's log says why it is not carried out\n"
    );
    assert!(said.ends_with(&end) && code == Some(5), "{said}");
    let _controller = Controller::start(cluster, &context.programs, "after").await?;
    operator.does(&["revoke", &first])?;
    assert_eq!(keys.durable("first-sealing-key").await.as_deref(), Some("Revoked"));
    Ok(())
}

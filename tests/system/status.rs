//! `waxseal status`, `waxseal doctor` and `kubectl waxseal` on a real cluster.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waxseal_shared::api_group::{BACKED_UP_ANNOTATION, BACKED_UP_STATE_ANNOTATION};
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::randomness;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::KeyState;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE, SERVICE_ACCOUNT};
use waxseal_tests::waiting;

use crate::key_namespace::{Keys, new_identity, sealing_key, secret};
use crate::namespaced::Install;
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, condition, create, create_plain, judged, opaque, sealed, with_reason};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("status::it_says_what_the_controller_says", says),
        Test::new("status::watch_shows_changes_as_they_come", watch),
        Test::new("status::kubectl_runs_it_as_a_plugin", plugin),
        Test::on_own_cluster("doctor::a_good_installation_has_no_problem_and_each_fault_is_named", doctor),
        Test::on_namespaced_cluster("doctor::with_namespaces_it_judges_only_these", some_namespaces),
        Test::on_own_cluster("doctor::with_few_rights_it_says_what_it_did_not_check", few_rights),
    ]
}

/// `waxseal` as the administrator of a cluster.
fn waxseal(context: &Context, cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.programs.waxseal);
    command.env_clear().args(arguments).arg("--kubeconfig").arg(cluster.admin_kubeconfig()).stdin(Stdio::null());
    command
}

/// The exit code, stdout and stderr of a command.
fn outcome(output: Output) -> Result<(Option<i32>, String, String), Error> {
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

async fn says(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("status").await?;
    let run = |arguments: &[&str]| {
        let arguments = [&["status", "-n", namespace.name()], arguments].concat();
        outcome(waxseal(context, &context.cluster, &arguments).output()?)
    };
    context.create_sealed(&namespace, "good", "hunter2").await?;
    let (code, list, said) = run(&[])?;
    let cells: Vec<Vec<_>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["NAME", "READY", "REASON", "KEY", "AGE"]);
    assert_eq!((cells.len(), &cells[1][..4]), (2, &["good", "True", "Materialised", "Current"][..]));
    assert_eq!((code, said.as_str()), (Some(0), ""));

    create_plain(&namespace, "foreign", "mine").await?;
    let foreign = context.create_sealed(&namespace, "foreign", "hunter2").await?;
    let message = condition(&foreign, "Ready").ok_or("no condition")?.2;
    let (code, list, said) = run(&["--format", "json"])?;
    let rows: Value = serde_json::from_str(&list)?;
    assert_eq!(rows[0]["reason"], "ForeignOwner");
    assert_eq!([&rows[0]["message"], &rows[1]["ready"]], [&json!(message), &json!(true)]);
    assert!(code == Some(4) && said.starts_with("error: context admin: 1 of 2 SealedSecrets is not Ready\n"), "{said}");
    let (code, words, _) = run(&["foreign"])?;
    let key = waxseal_shared::manifest::read_keys(&std::fs::read_to_string(&context.keys_file)?)?;
    let sealed_to = format!("Sealed to:\n  {}\n", key[0].recipient.key_id());
    for expected in ["\n  to do: to hand the Secret over, run `kubectl label secret", &message, &sealed_to] {
        assert!(words.contains(expected), "{expected:?} is not in\n{words}");
    }
    assert_eq!(code, Some(4));
    let (code, words, _) = run(&["good"])?;
    let checked = format!("{} (the controller has checked the wraps for this key)\n", key[0].recipient.key_id());
    assert!(words.contains(&checked), "{words}");
    assert_eq!(code, Some(0));
    Ok(())
}

async fn watch(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("watch").await?;
    context.create_sealed(&namespace, "one", "hunter2").await?;
    let mut command = waxseal(context, &context.cluster, &["status", "-n", namespace.name(), "--watch"]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
    let mut next = || Ok::<_, Error>(lines.next().ok_or("the watch ended")??);
    assert!(next()?.starts_with("NAME"));
    assert!(next()?.starts_with("one"));
    // The watch begins after the list was printed, from the version of the list.
    create_plain(&namespace, "two", "mine").await?;
    create(&namespace, &context.seal(&opaque("two", &[("A", "b")]), &namespace)?).await?;
    judged(&namespace, "two").await?;
    let mut line = next()?;
    while !line.contains("ForeignOwner") {
        assert!(line.starts_with("two") && line.contains("Unknown"), "{line}");
        line = next()?;
    }
    namespace.api::<SealedSecret>().delete("one", &DeleteParams::default()).await?;
    let line = next()?;
    assert!(line.starts_with("one") && line.contains("(deleted)"), "{line}");
    drop(lines);
    let ended = waiting::until("the end of the watch", DEADLINE, async || child.try_wait().ok()?).await;
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    assert_eq!(ended?.code(), Some(0));
    Ok(())
}

async fn plugin(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("plugin").await?;
    context.create_sealed(&namespace, "good", "hunter2").await?;
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    symlink(&context.programs.waxseal, folder.path().join("kubectl-waxseal"))?;
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(&context.assets.kubectl);
        command.env_clear().env("PATH", folder.path()).env("HOME", folder.path());
        command.env("KUBECONFIG", context.cluster.admin_kubeconfig()).arg("waxseal").args(arguments);
        outcome(command.stdin(Stdio::null()).output()?)
    };
    let (code, list, said) = kubectl(&["status", "-n", namespace.name()])?;
    assert!(code == Some(0) && list.contains("\ngood  True"), "{list}{said}");
    let (_, help, _) = kubectl(&["status", "--help"])?;
    assert!(help.contains("Usage: kubectl waxseal status [OPTIONS] [NAME]"), "{help}");
    let (code, _, said) = kubectl(&["status", "-A", "good"])?;
    assert!(said.contains("Usage: kubectl waxseal status"), "{said}");
    // kubectl passes the exit code on.
    assert_eq!(code, Some(2));
    Ok(())
}

/// The lines of `waxseal doctor` that begin with this word.
fn lines<'a>(report: &'a str, verdict: &str) -> Vec<&'a str> {
    report.lines().filter_map(|line| line.strip_prefix(verdict)?.strip_prefix(": ")).collect()
}

/// Writes into the status of the Deployment how many Pods are available, as a cluster with nodes does.
async fn report_available_pods(cluster: &Cluster, count: i32) -> TestResult {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), KEY_NAMESPACE);
    let status = json!({"status": {"replicas": count, "readyReplicas": count, "availableReplicas": count}});
    deployments.patch_status(SERVICE_ACCOUNT, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn doctor(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let run = || outcome(waxseal(context, cluster, &["doctor"]).output()?);
    let keys = Keys::of(cluster);
    report_available_pods(cluster, 1).await?;
    let (code, report, _) = run()?;
    assert_eq!((code, lines(&report, "PROBLEM").len()), (Some(4), 1), "{report}");
    assert!(report.contains("PROBLEM: there is no SealingKey in the namespace waxseal-system: "), "{report}");

    let recovery = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
    let start = async |name: &str| {
        let mut command = Command::new(&context.programs.waxseal_controller);
        command.env_clear().env("WAXSEAL_RECOVERY_RECIPIENT", recovery.recipient().as_str());
        let controller = Controller::start_command(cluster, command, name).await?;
        controller.ready().await?;
        Ok::<_, Error>(controller)
    };
    keys.identities.create(&PostParams::default(), &secret("one", &new_identity(), "2026-01-01T00:00:00Z")).await?;
    let controller = start("doctor").await?;
    let namespace = cluster.namespace("doctor").await?;
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let until = async |what: &str, is_done: &dyn Fn(&str) -> bool| {
        waiting::until(what, DEADLINE, async || {
            let (code, report, _) = run().ok()?;
            assert_eq!(code == Some(0), lines(&report, "PROBLEM").is_empty(), "{report}");
            is_done(&report).then_some(report)
        })
        .await
    };
    let problem = |report: &str, text: &str| lines(report, "PROBLEM").iter().any(|line| line.contains(text));
    until("the missing backups", &|report| problem(report, "no backup has ")).await?;
    let names = keys.identity_names().await?;
    for name in &names {
        let state = if names.len() > 1 && name == "one" { "Retired" } else { "Active" };
        let annotations = json!({BACKED_UP_ANNOTATION: "2026-01-02T00:00:00Z", BACKED_UP_STATE_ANNOTATION: state});
        let record = json!({"metadata": {"annotations": annotations}});
        crate::sealing::patch(&keys.identities, name, record).await?;
    }
    let good = until("a report without problems", &|report| lines(report, "PROBLEM").is_empty()).await?;
    assert_eq!(lines(&good, "not checked"), [""; 0], "{good}");
    for expected in [
        "ok: the API server answers\n",
        "ok: the clocks of this machine and of the API server agree\n",
        "ok: the definition sealedsecrets.waxseal.dev is the one of this waxseal\n",
        "ok: the definition sealingkeys.waxseal.dev is the one of this waxseal\n",
        "ok: the Deployment waxseal-controller in waxseal-system has an available Pod\n",
        "ok: the controller confirms the state of every key\n",
        "ok: every key is in a backup in its present state\n",
        "ok: there is an Active recovery key\n",
        "ok: the controller has judged every SealedSecret: 1\n",
    ] {
        assert!(good.contains(expected), "{expected:?} is not in\n{good}");
    }
    let (code, json, _) =
        outcome(waxseal(context, cluster, &["doctor", "--renew-after", "1d", "--format", "json"]).output()?)?;
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!(json[0], json!({"verdict": "ok", "text": "the API server answers"}));
    assert_eq!(code, Some(0), "{json}");

    // Without a controller, a planted key stays, and a changed object is not judged.
    drop(controller);
    report_available_pods(cluster, 0).await?;
    let planted = sealing_key(&new_identity(), KeyState::Active);
    keys.published.create(&PostParams::default(), &planted).await?;
    let patched = json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
    crate::sealing::patch(&Api::<SealedSecret>::namespaced(cluster.client(), namespace.name()), "db", patched).await?;
    let (code, report, said) = run()?;
    let id = planted.metadata.name.ok_or("no name")?;
    let unconfirmed = format!("the controller does not confirm that the SealingKey {id} (Cluster, Active) is its own");
    assert!(problem(&report, &unconfirmed), "{report}");
    let unjudged = format!("the controller has not judged 1 of 1 SealedSecret, such as {}/db: ", namespace.name());
    assert!(problem(&report, &unjudged), "{report}");
    assert!(problem(&report, "the Deployment waxseal-controller in waxseal-system has no available Pod"), "{report}");
    assert_eq!((code, said.as_str()), (Some(4), "error: context admin: 3 problems\n"), "{report}");
    let _controller = start("again").await?;
    report_available_pods(cluster, 1).await?;
    until("a healed cluster", &|report| lines(report, "PROBLEM").is_empty()).await?;
    Ok(())
}

async fn some_namespaces(context: &Context, cluster: &Cluster) -> TestResult {
    let (served, other) = (cluster.namespace("served").await?, cluster.namespace("other").await?);
    let keys = cluster.namespace("keys").await?;
    let install = Install::start(context, cluster, keys.name(), &[served.name()]).await?;
    install.create(&other, "unserved").await?;
    install.create(&served, "db").await?;
    with_reason(&served, "db", "Materialised").await?;
    let report = |options: &[&str]| {
        let arguments = [&["doctor", "-n", keys.name()], options].concat();
        outcome(waxseal(context, cluster, &arguments).output()?).map(|(_, report, _)| report)
    };
    let all = report(&[])?;
    let unjudged = |line: &&str| line.starts_with("the controller has not judged ");
    assert!(lines(&all, "PROBLEM").iter().any(unjudged), "{all}");
    let of_served = report(&["--namespaces", served.name()])?;
    assert!(of_served.ends_with("ok: the controller has judged every SealedSecret: 1\n"), "{of_served}");
    Ok(())
}

async fn few_rights(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let kubeconfig = cluster.folder().join("nobody.kubeconfig");
    cluster.write_kubeconfig(&kubeconfig, "nobody", &cluster.user("nobody", "nobodies")?, "default")?;
    let mut command = Command::new(&context.programs.waxseal);
    command.env_clear().args(["doctor", "--kubeconfig"]).arg(&kubeconfig).args(["-n", "default"]);
    let (code, report, said) = outcome(command.stdin(Stdio::null()).output()?)?;
    assert_eq!(
        lines(&report, "not checked"),
        [
            "whether the definition sealedsecrets.waxseal.dev is the one of this waxseal: you may not get CustomResourceDefinitions",
            "whether the definition sealingkeys.waxseal.dev is the one of this waxseal: you may not get CustomResourceDefinitions",
            "whether the controller runs: you may not get Deployments in default",
            "the keys: you may not list SealingKeys in default",
            "the controller's work: you may not list SealedSecrets in all namespaces",
        ],
        "{report}"
    );
    let info = "your rights are too few for `waxseal keys backup`: you may not list secrets in default";
    assert!(lines(&report, "info").contains(&info), "{report}");
    let few = "error: context nobody: 5 checks could not be made\n";
    assert_eq!((code, said.as_str()), (Some(4), few), "{report}");
    let keys_are_public = Command::new(&context.programs.waxseal)
        .env_clear()
        .args(["doctor", "--kubeconfig"])
        .arg(&kubeconfig)
        .args(["-n", KEY_NAMESPACE])
        .output()?;
    let (_, report, _) = outcome(keys_are_public)?;
    assert!(report.contains("PROBLEM: there is no SealingKey in the namespace waxseal-system: "), "{report}");
    Ok(())
}

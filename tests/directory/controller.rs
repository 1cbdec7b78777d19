//! What the controller says before it works, whatever it works on.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;
use waxseal_tests::{programs, waiting};

use crate::machine::names;

const DEADLINE: Duration = Duration::from_secs(20);

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: dead, cluster: {server: 'https://127.0.0.1:1'}}]
contexts: [{name: dead, context: {cluster: dead, user: dead}}]
users: [{name: dead, user: {}}]
";

fn controller(arguments: &[&str]) -> Command {
    let programs = programs::build().expect("the programs");
    let mut command = Command::new(programs.waxseal_controller);
    command.env_clear().args(["--log-format", "json"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn assert_fails(arguments: &[&str], message: &str) {
    let output = controller(arguments).output().expect("the program runs");
    let stderr = String::from_utf8(output.stderr).expect("a log is text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let line: serde_json::Value = serde_json::from_str(stderr.trim_end()).expect("one line of JSON");
    assert_eq!((line["level"].as_str(), line["message"].as_str()), (Some("ERROR"), Some(message)));
}

#[test]
fn it_never_picks_a_cluster_by_itself() {
    assert_fails(&[], "not in a cluster: name the one to work on with --context or --kubeconfig");
    let message = "failed to use the kubeconfig: see what `kubectl config view` says of it and of the context";
    assert_fails(&["kubernetes", "--kubeconfig", "/absent"], message);
    assert_fails(&["kubernetes", "--context", "absent"], message);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = TempDir::new().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, KUBECONFIG).expect("written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let kubeconfig = kubeconfig.to_str().expect("a plain path");
    let message = format!("failed to listen on {address}: Address already in use (os error 98)");
    assert_fails(&["kubernetes", "--kubeconfig", kubeconfig, "--context", "dead", "--listen", &address], &message);
}

/// Port 8080 may be taken on this machine; then the controller names where it wanted to listen.
#[test]
fn outside_a_cluster_it_listens_on_loopback_unless_told() {
    let folder = TempDir::new().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, KUBECONFIG).expect("written");
    let kubeconfig = kubeconfig.to_str().expect("a plain path");
    let mut child =
        controller(&["kubernetes", "--kubeconfig", kubeconfig, "--context", "dead"]).spawn().expect("the program runs");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("stderr is piped")).read_line(&mut line).expect("a log");
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
    let address = line["address"].as_str().map(str::to_owned);
    let failure = line["message"].as_str().unwrap_or_default();
    assert!(
        address.as_deref() == Some("127.0.0.1:8080") || failure.starts_with("failed to listen on 127.0.0.1:8080: "),
        "{line}"
    );
}

#[test]
fn an_empty_prefix_of_metadata_is_refused() {
    for command in [&["kubernetes", "--context", "x"][..], &["directory"]] {
        let output = controller(command).args(["--forbid-metadata", ""]).output().expect("the program runs");
        let said = String::from_utf8(output.stderr).expect("text");
        let expected = "invalid value '' for '--forbid-metadata <PREFIX>': an empty prefix would forbid all labels and annotations";
        assert!(output.status.code() == Some(2) && said.contains(expected), "{said}");
    }
}

#[test]
fn a_dead_api_server_does_not_keep_it_from_stopping() {
    let folder = TempDir::new().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, KUBECONFIG).expect("written");
    let kubeconfig = kubeconfig.to_str().expect("a plain path");
    let arguments = ["kubernetes", "--kubeconfig", kubeconfig, "--context", "dead", "--listen", "127.0.0.1:0"];
    let mut child = controller(&arguments).spawn().expect("the program runs");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let mut log = String::new();
    while !log.contains("trying again") {
        let mut buffer = [0; 4096];
        let length = stderr.read(&mut buffer).expect("a log");
        assert_ne!(length, 0, "it ended by itself: {log}");
        log.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("ids fit")).expect("not zero");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is there");
    let ended = waiting::until_blocking("the end", DEADLINE, || child.try_wait().expect("our child"));
    if ended.is_err() {
        child.kill().expect("it is there");
    }
    assert_eq!(ended.expect("it stops").code(), Some(0));
}

/// The limit shows in `/proc`, and so does the dumpable attribute to everybody but root: without it
/// the files there are root's (proc(5)). So root runs a copy of the program as another user.
#[test]
fn a_crash_leaves_no_core_dump() {
    // Not SIGQUIT: a run in the background may have inherited that it is ignored.
    for signal in [Signal::ABORT, Signal::TRAP] {
        let folder = TempDir::new().expect("a folder");
        let mut child = as_ordinary_user(folder.path()).spawn().expect("the program runs");
        let status = folder.path().join("secrets/..waxseal-status.json");
        waiting::until_blocking("the first pass", DEADLINE, || status.exists().then_some(())).expect("a status");
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("it runs");
        let limit = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        assert_eq!(limit.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        let owner = fs::metadata(format!("/proc/{}/environ", child.id())).expect("it runs").uid();
        assert_eq!(owner, 0, "it is dumpable");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let ended = waiting::until_blocking("the end", DEADLINE, || child.try_wait().expect("our child"));
        if ended.is_err() {
            child.kill().expect("it is there");
        }
        let ended = ended.expect("it dies");
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(signal.as_raw()), false));
        assert_eq!(names(folder.path()), ["controller", "keys", "manifests", "secrets"]);
    }
}

/// The controller on a folder, where root is not who runs it.
fn as_ordinary_user(folder: &Path) -> Command {
    const NOBODY: u32 = 65534;
    let copy = folder.join("controller");
    let original = programs::build().expect("the programs").waxseal_controller;
    fs::copy(original, &copy).expect("room for a copy");
    fs::create_dir(folder.join("manifests")).expect("a folder");
    let mut command = Command::new(copy);
    command.env_clear().current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
    command.args(["directory", "--manifests", "manifests", "--secrets", "secrets", "--keys", "keys"]);
    if getuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).expect("root may");
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

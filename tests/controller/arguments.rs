//! Arguments of `waxseal-controller kubernetes`: the cluster, `--listen` and `--forbid-metadata`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use tempfile::TempDir;

use crate::{KUBECONFIG, controller};

#[track_caller]
fn assert_fails(arguments: &[&str], message: &str) {
    let output = controller(arguments).output().expect("the program runs");
    let stderr = String::from_utf8(output.stderr).expect("a log is text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let line: serde_json::Value = serde_json::from_str(stderr.trim_end()).expect("one line of JSON");
    assert_eq!((line["level"].as_str(), line["message"].as_str()), (Some("ERROR"), Some(message)));
}

#[test]
fn outside_a_cluster_a_context_or_kubeconfig_is_required() {
    assert_fails(
        &[],
        "this process does not run in a cluster: name the cluster to work on with --context or --kubeconfig",
    );
    let message = "failed to use the kubeconfig: see what `kubectl config view` says of it and of the context";
    assert_fails(&["kubernetes", "--kubeconfig", "/absent"], message);
    assert_fails(&["kubernetes", "--context", "absent"], message);
}

#[test]
fn a_port_in_use_is_an_error_with_the_address() {
    let folder = TempDir::new().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, KUBECONFIG).expect("written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let kubeconfig = kubeconfig.to_str().expect("a plain path");
    let message = format!("failed to listen on {address}: Address already in use (os error 98)");
    assert_fails(&["kubernetes", "--kubeconfig", kubeconfig, "--context", "dead", "--listen", &address], &message);
}

/// Port 8080 may be in use on this machine: then the error names the address.
#[test]
fn outside_a_cluster_it_listens_on_loopback_by_default() {
    let folder = TempDir::new().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, KUBECONFIG).expect("written");
    let kubeconfig = kubeconfig.to_str().expect("a plain path");
    let mut child =
        controller(&["kubernetes", "--kubeconfig", kubeconfig, "--context", "dead"]).spawn().expect("the program runs");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("stderr is piped")).read_line(&mut line).expect("a log");
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
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
        let stderr = String::from_utf8(output.stderr).expect("text");
        let expected = "invalid value '' for '--forbid-metadata <PREFIX>': an empty prefix would forbid all labels and annotations";
        assert!(output.status.code() == Some(2) && stderr.contains(expected), "{stderr}");
    }
}

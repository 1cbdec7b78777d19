//! Arguments of `waxseal-controller`: the cluster, the ports, and what is refused at the start.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::randomness;

use crate::{controller, kubeconfig};

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
    let message =
        "failed to use the kubeconfig: see what `kubectl config view`, with the same --kubeconfig and --context, says";
    assert_fails(&["kubernetes", "--kubeconfig", "/absent"], message);
    assert_fails(&["kubernetes", "--context", "absent"], message);
}

#[test]
fn a_port_in_use_is_an_error_with_the_address() {
    let (_folder, kubeconfig) = kubeconfig();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let message = format!(
        "failed to listen on {address} (--listen and --metrics-listen choose other addresses): Address already in use (os \
         error 98)"
    );
    for (taken, free) in [("--listen", "--metrics-listen"), ("--metrics-listen", "--listen")] {
        let ports = [taken, &address, free, "127.0.0.1:0"];
        let cluster = ["kubernetes", "--kubeconfig", &kubeconfig, "--context", "dead"];
        assert_fails(&[&cluster[..], &ports].concat(), &message);
    }
}

/// A default port may be in use on this machine: then the error names the address.
#[test]
fn outside_a_cluster_it_listens_on_loopback_by_default() {
    let is_default = |given: &[&str], field: &str, address: &str| {
        let line = first_line(given);
        let failure = line["message"].as_str().unwrap_or_default();
        assert!(line[field] == address || failure.starts_with(&format!("failed to listen on {address} (")), "{line}");
    };
    is_default(&["--metrics-listen", "127.0.0.1:0"], "address", "127.0.0.1:8080");
    is_default(&["--listen", "127.0.0.1:0"], "metrics_address", "127.0.0.1:8081");
}

/// Starts a controller with these arguments outside of any cluster; returns the first line of its log.
fn first_line(arguments: &[&str]) -> serde_json::Value {
    let (_folder, kubeconfig) = kubeconfig();
    let cluster = ["kubernetes", "--kubeconfig", &kubeconfig, "--context", "dead"];
    let mut child = controller(&cluster).args(arguments).spawn().expect("the program runs");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("stderr is piped")).read_line(&mut line).expect("a log");
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    serde_json::from_str(&line).expect("a line of JSON")
}

#[test]
fn each_recovery_recipient_that_cannot_be_used_is_refused_at_the_start() {
    let folder = TempDir::new().expect("a folder");
    let identity = |kind| Identity::generate(kind, &mut randomness::system());
    let (hybrid, classic) = (identity(KeyKind::Hybrid), identity(KeyKind::Classic));
    let (good, private) = (hybrid.recipient().as_str(), hybrid.expose());
    let id = hybrid.recipient().key_id();
    let flag = |value: &str, error: &str| {
        let message = format!("failed to use --recovery-recipient: {error}");
        assert_fails(&["kubernetes", "--context", "dead", "--recovery-recipient", value], &message);
    };
    flag("garbage", "not a recipient: expected \"age1pq1…\" or \"age1…\"");
    flag("AGE-SECRET-KEY-1", "this is an identity, a private key; a recipient begins with \"age1\"");
    flag(&format!("{good},{good}"), &format!("{id} is given twice"));
    let classic_id = classic.recipient().key_id();
    let is_classic = format!(
        "{classic_id} is a classic key (X25519): the keys of clusters are post-quantum, and an envelope has wraps of one \
         kind only; make a key with `waxseal keys generate --recovery`"
    );
    flag(classic.recipient().as_str(), &is_classic);
    let many: Vec<_> = (0..9).map(|_| identity(KeyKind::Hybrid).recipient().to_string()).collect();
    flag(&many.join(","), "more than 8 recovery keys");

    let path = folder.path().join("recipients");
    let name = path.to_str().expect("a plain path");
    let file = |text: &str, error: &str| {
        fs::write(&path, text).expect("written");
        assert_fails(&["kubernetes", "--context", "dead", "--recovery-recipients-file", name], error);
    };
    let of_line =
        |line: usize, error: &str| format!("failed to use the recovery recipients in {name}: line {line}: {error}");
    file(&format!("# ours\n\n{good}\n {good}\n"), &of_line(4, &format!("{id} is given twice")));
    file(
        &format!("{}\n", private.as_str()),
        &of_line(1, "this is an identity, a private key; a recipient begins with \"age1\""),
    );
    // With such a file, the controller would withdraw the recovery keys that it has published.
    let none = format!(
        "failed to use the recovery recipients in {name}: the file has no recipient; if it is not needed, leave out \
         --recovery-recipients-file"
    );
    file("", &none);
    file("# age1pq1…\n\n", &none);
    let too_large = format!("failed to read the recovery recipients in {name}: the file has more than 65536 bytes");
    file(&"#".repeat(65537), &too_large);
    fs::remove_file(&path).expect("it is there");
    let missing = format!("failed to read the recovery recipients in {name}: No such file or directory (os error 2)");
    assert_fails(&["kubernetes", "--context", "dead", "--recovery-recipients-file", name], &missing);
    let folders = ["directory", "--manifests", "m", "--secrets", "s", "--keys", "k", "--recovery-recipient", "garbage"];
    assert_fails(&folders, "failed to use --recovery-recipient: not a recipient: expected \"age1pq1…\" or \"age1…\"");
}

#[test]
fn private_keys_in_arguments_and_variables_are_refused_and_not_shown() {
    let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system()).expose();
    let (key, lower) = (identity.as_str(), identity.to_lowercase());
    let folder = ["directory", "--manifests", "m", "--secrets", "s"];
    let refused = |command: &mut Command, place: &str| {
        let output = command.output().expect("the program runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        let expected = format!(
            "error: {place} contains a private key\nhint: the Deployment, the shell's history and the list of processes \
             can hold it now: make a new key\n"
        );
        assert_eq!((output.status.code(), stderr), (Some(2), expected));
    };
    for text in [key, &lower, &format!("# created: today\n{key}\n"), &format!("cl.key:{key}")] {
        for arguments in [
            &["kubernetes", "--recovery-recipient", text][..],
            &["kubernetes", "--recovery-recipients-file", text],
            &["kubernetes", &format!("--renew-after={text}")],
            &[&folder[..], &["--keys", text]].concat(),
            &[text],
            &["directory", &format!("--{text}")],
        ] {
            refused(&mut controller(arguments), "an argument");
        }
        for name in ["WAXSEAL_KEYS", "WAXSEAL_RENEW_AFTER", "WAXSEAL_LOG_FORMAT", "WAXSEAL_NO_KEY_GENERATION"] {
            refused(controller(&folder).env(name, text), &format!("the variable {name}"));
        }
    }
    let name = "failed to read the recovery recipients in age-secret-key-1.txt: No such file or directory (os error 2)";
    let file = ["--recovery-recipients-file", "age-secret-key-1.txt"];
    assert_fails(&[&["kubernetes", "--context", "dead"][..], &file].concat(), name);
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

#[test]
fn a_namespace_that_cannot_exist_is_refused() {
    for namespaces in ["", "shop,", "shop, blog", "Shop"] {
        let output = controller(&["kubernetes", "--namespaces", namespaces]).output().expect("the program runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        let expected = "for '--namespaces <NAMESPACE>': a namespace must be 1 to 63 lower-case letters";
        assert!(output.status.code() == Some(2) && stderr.contains(expected), "{stderr}");
    }
    let output = controller(&["kubernetes", "--key-namespace", "a/../b"]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
    for variable in ["WAXSEAL_NAMESPACES", "WAXSEAL_KEY_NAMESPACE"] {
        let output = controller(&["kubernetes"]).env(variable, "").output().expect("the program runs");
        assert_eq!(output.status.code(), Some(2), "an empty variable does not mean the default");
    }
}

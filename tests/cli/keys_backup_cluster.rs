//! What `waxseal keys backup` does if an identity Secret changes at the same time.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::api_server::{head, point_at, request, serve_with};
use crate::folder::{Folder, Outcome};

const SECRETS: &str = "/api/v1/namespaces/waxseal-system/secrets";
const BACKUP: [&str; 8] = ["keys", "backup", "-o", "keys.age", "--keys", "recovery.yaml", "--kubeconfig", "kubeconfig"];

fn secret(identity: &str, version: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "waxseal.dev/sealing-key",
        "metadata": {"name": "first", "resourceVersion": version.to_string()},
        "data": {"identity": BASE64_STANDARD.encode(identity)},
    })
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "quotes a-secret"})
}

/// Backs up a cluster with one identity. The API server refuses the first `conflicts` records. From the first record
/// on, the Secret holds `after`.
fn back_up(folder: &Folder, conflicts: usize, after: &str) -> Outcome {
    let (before, after) = (folder.read("cluster.key"), folder.read(after));
    let records = AtomicUsize::new(0);
    point_at(
        folder,
        serve_with(move |mut stream| {
            let (line, body) = request(&stream);
            let count = records.load(Ordering::Relaxed);
            let identity = if count == 0 { &before } else { &after };
            let (status, answer) = if line.starts_with(&format!("GET {SECRETS}?")) {
                assert!(line.contains("fieldSelector=type%3Dwaxseal.dev%2Fsealing-key"), "{line}");
                let items = [secret(&before, 1)];
                ("200 OK", json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": items}))
            } else if line.starts_with(&format!("GET {SECRETS}/first")) {
                ("200 OK", secret(identity, count + 2))
            } else if line.starts_with(&format!("PATCH {SECRETS}/first")) {
                assert_record(&body, count + 2);
                records.fetch_add(1, Ordering::Relaxed);
                if count < conflicts { ("409 Conflict", status(409)) } else { ("200 OK", metadata()) }
            } else {
                ("404 Not Found", status(404))
            };
            let answer = answer.to_string();
            let head = head(status, &format!("content-length: {}", answer.len()));
            let _gone = stream.write_all(format!("{head}{answer}").as_bytes());
        }),
    );
    folder.waxseal(&BACKUP).writes(&["keys.age"]).finish()
}

/// A record names the version that was read, and changes one annotation.
fn assert_record(body: &str, version: usize) {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let time = body["metadata"]["annotations"]["waxseal.dev/backed-up-at"].as_str().expect("a time").to_owned();
    let annotations = json!({"waxseal.dev/backed-up-at": time, "waxseal.dev/backed-up-state": "Active"});
    assert_eq!(body, json!({"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}));
}

fn metadata() -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "first"}})
}

fn folder() -> Folder {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("other", &[]);
    folder
}

#[test]
fn a_conflict_is_tried_again() {
    for conflicts in [0, 1, 4] {
        let outcome = back_up(&folder(), conflicts, "cluster.key");
        assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.ends_with("keys.age has 1 key of context test\n"), "{}", outcome.stderr);
    }
}

#[test]
fn a_secret_that_changes_all_the_time_is_not_recorded() {
    let outcome = back_up(&folder(), 5, "cluster.key");
    let end = "error: context test: keys.age is a good backup, but not recorded: the identity Secret first is changed all \
               the time by somebody else\n";
    assert!(outcome.stderr.ends_with(end), "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(5));
}

#[test]
fn another_identity_in_the_same_secret_is_not_recorded() {
    let outcome = back_up(&folder(), 1, "other.key");
    let end = "error: context test: keys.age is a good backup, but not recorded: the identity Secret first has been \
               changed since it was read\nhint: make another backup\n";
    assert!(outcome.stderr.ends_with(end), "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(5));
}

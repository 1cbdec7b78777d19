//! `waxseal keys backup` of a cluster: identity Secrets that change during the backup, and SealingKeys that are missing
//! or cannot be read.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::api_server::{failure, list, point_at, request, respond, serve_with};
use crate::folder::{Folder, Outcome};

const SECRETS: &str = "/api/v1/namespaces/waxseal-system/secrets";
const SEALING_KEYS: &str = "/apis/waxseal.dev/v1alpha1/namespaces/waxseal-system/sealingkeys";
const BACKUP: [&str; 8] = ["keys", "backup", "-o", "keys.age", "--keys", "recovery.yaml", "--kubeconfig", "kubeconfig"];

fn secret(identity: &str, version: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "waxseal.dev/sealing-key",
        "metadata": {"name": "first", "resourceVersion": version.to_string()},
        "data": {"identity": BASE64_STANDARD.encode(identity)},
    })
}

/// Backs up a cluster that has one identity and does not know SealingKeys. The API server refuses the first `conflicts`
/// records. From the first record on, the Secret holds `after`.
fn back_up(folder: &Folder, conflicts: usize, after: &str) -> Outcome {
    back_up_beside(folder, conflicts, after, ("404 Not Found", failure(404)))
}

/// Like [`back_up`], but a request for the SealingKeys gets the answer `keys`: a status and JSON.
fn back_up_beside(folder: &Folder, conflicts: usize, after: &str, keys: (&'static str, Value)) -> Outcome {
    let (before, after) = (folder.read("cluster.key"), folder.read(after));
    let records = AtomicUsize::new(0);
    point_at(
        folder,
        serve_with(move |stream| {
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
                if count < conflicts { ("409 Conflict", failure(409)) } else { ("200 OK", metadata()) }
            } else if line.starts_with(&format!("GET {SEALING_KEYS}")) {
                keys.clone()
            } else {
                ("404 Not Found", failure(404))
            };
            respond(stream, status, &answer.to_string());
        }),
    );
    folder.waxseal(&BACKUP).writes(&["keys.age"]).finish()
}

/// Checks that a record names the version that was read, and changes two annotations: the time and the state.
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
fn a_recovery_key_that_is_not_published_has_a_warning() {
    let unread = "error: context test: failed to read the SealingKeys, so the backup may lack states that were \
                  requested for them: the API server does not let you list SealingKeys in waxseal-system (403)\n";
    for (published, has_warning, code) in
        [(Some(&["cluster"][..]), true, 0), (Some(&["cluster", "recovery"][..]), false, 0), (None, false, 5)]
    {
        let folder = folder();
        let keys = match published {
            Some(names) => ("200 OK", list(&folder, names)),
            None => ("403 Forbidden", failure(403)),
        };
        let outcome = back_up_beside(&folder, 0, "cluster.key", keys);
        let (stderr, id) = (outcome.stderr, folder.key_id("recovery"));
        let warning =
            format!("warning: {id}: the controller does not publish this recovery key: be sure that it is yours\n");
        assert_eq!((stderr.contains(&warning), stderr.contains("warning: ")), (has_warning, has_warning), "{stderr}");
        let expected = (published.is_none(), Some(code));
        assert_eq!((stderr.contains(unread), outcome.status.code()), expected, "{stderr}");
    }
}

#[test]
fn a_secret_that_changes_all_the_time_is_not_recorded() {
    let outcome = back_up(&folder(), 5, "cluster.key");
    let end = "error: context test: keys.age is a good backup, but its time was not recorded: the identity Secret \
               first is changed all the time by somebody else\n";
    assert!(outcome.stderr.ends_with(end), "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(5));
}

#[test]
fn another_identity_in_the_same_secret_is_not_recorded() {
    let outcome = back_up(&folder(), 1, "other.key");
    let end = "error: context test: keys.age is a good backup, but its time was not recorded: the identity Secret \
               first has been changed since it was read\nhint: make another backup\n";
    assert!(outcome.stderr.ends_with(end), "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(5));
}

//! `waxseal keys backup` and `waxseal keys restore` of a cluster: identity Secrets that change during the backup or are
//! being deleted, and SealingKeys that are missing or cannot be read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
/// attempts to record the backup. After the first attempt, the Secret holds the identity of the file `after`.
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

/// The identity Secrets of a cluster that does not know SealingKeys, by name.
#[derive(Clone, Default)]
struct Secrets(Arc<Mutex<BTreeMap<String, Value>>>);

impl Secrets {
    /// Starts an API server that has one identity under each of these names. The Secrets are being deleted.
    fn being_deleted(folder: &Folder, names: &[&str]) -> Self {
        let secrets = Self::default();
        for name in names {
            let mut secret = secret(&folder.read("cluster.key"), 1);
            let metadata = json!({"name": name, "resourceVersion": "1", "finalizers": ["example.com/hold"], "deletionTimestamp": "2026-01-01T00:00:00Z"});
            secret["metadata"] = metadata;
            secrets.0.lock().expect("no panic").insert((*name).to_owned(), secret);
        }
        let served = secrets.clone();
        point_at(
            folder,
            serve_with(move |stream| {
                let (line, body) = request(&stream);
                let (status, answer) = served.answer(&line, &body);
                respond(stream, status, &answer.to_string());
            }),
        );
        secrets
    }

    fn answer(&self, line: &str, body: &str) -> (&'static str, Value) {
        let mut secrets = self.0.lock().expect("no panic");
        let path = line.split([' ', '?']).nth(1).unwrap_or_default();
        let Some(name) = path.strip_prefix(SECRETS) else { return ("404 Not Found", failure(404)) };
        match (line.split(' ').next(), name.strip_prefix('/')) {
            (Some("GET"), None) => {
                let items: Vec<_> = secrets.values().collect();
                ("200 OK", json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": items}))
            }
            (Some("GET"), Some(name)) => match secrets.get(name) {
                Some(secret) => ("200 OK", secret.clone()),
                None => ("404 Not Found", failure(404)),
            },
            (Some("PATCH"), Some(_)) => ("200 OK", metadata()),
            (Some("POST"), None) => {
                let secret: Value = serde_json::from_str(body).expect("JSON");
                let name = secret["metadata"]["name"].as_str().expect("a name").to_owned();
                if secrets.contains_key(&name) {
                    return ("409 Conflict", failure(409));
                }
                secrets.insert(name, secret.clone());
                ("201 Created", secret)
            }
            _ => ("500 Unexpected", failure(500)),
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().expect("no panic").keys().cloned().collect()
    }
}

/// While finalizers keep the Secret, a backup can still read its identity.
#[test]
fn a_secret_that_is_being_deleted_is_backed_up_and_restored_under_another_name() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let own = format!("waxseal-key-{id}");
    let secrets = Secrets::being_deleted(&folder, &["first"]);
    let outcome = folder.waxseal(&BACKUP).writes(&["keys.age"]).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.ends_with("keys.age has 1 key of context test\n"), "{}", outcome.stderr);

    let restore = ["keys", "restore", "keys.age", "--identity", "recovery.key", "--keys", "cluster.yaml", "--yes"];
    let restore = [&restore[..], &["--no-wait", "--kubeconfig", "kubeconfig"]].concat();
    let deleted = |name: &str| {
        format!("warning: context test: the Secret {name} holds {id}, is being deleted, and does not count\n")
    };
    let outcome = folder.waxseal(&restore).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with(&deleted("first")), "{}", outcome.stderr);
    assert!(outcome.stderr.ends_with(&format!("restored {id} to the Secret {own}\n")), "{}", outcome.stderr);
    assert_eq!(secrets.names(), ["first", own.as_str()]);
    // Now the key is there.
    let outcome = folder.waxseal(&restore).finish();
    let there = format!("{}context test: {id} is there (Active) and stays as it is\n", deleted("first"));
    assert_eq!((outcome.stderr, outcome.status.code()), (there, Some(0)));

    // Both names are taken.
    let secrets = Secrets::being_deleted(&folder, &["first", &own]);
    let outcome = folder.waxseal(&restore).finish();
    let error = format!(
        "error: context test: the Secret {own} holds {id} and is being deleted: its finalizers keep it
hint: find out what set the finalizers, and run the command again when the Secret is gone
"
    );
    assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.ends_with(&error), "{}", outcome.stderr);
    assert_eq!(secrets.names().len(), 2);
}

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

/// A Revoked key opens nothing any more: an operator may have deleted its identity.
#[test]
fn a_published_key_whose_identity_is_not_there_is_an_error() {
    for (state, is_missing) in [("Active", true), ("Retired", true), ("Revoked", false)] {
        let folder = folder();
        let mut published = list(&folder, &["cluster", "other", "recovery"]);
        published["items"][1]["spec"]["state"] = state.into();
        let outcome = back_up_beside(&folder, 0, "cluster.key", ("200 OK", published));
        let id = folder.key_id("other");
        let error = format!(
            "keys.age has 1 key of context test
error: context test: not in the backup: {id} is published as {state}, and there is no usable identity of it
hint: make another backup: the controller may have changed the key meanwhile. If the error stays, put the identity \
back from an older backup with `waxseal keys restore`
"
        );
        let code = if is_missing { Some(3) } else { Some(0) };
        assert_eq!((outcome.stderr.ends_with(&error), outcome.status.code()), (is_missing, code), "{}", outcome.stderr);
    }
}

#[test]
fn the_identities_of_all_pages_are_backed_up() {
    let folder = folder();
    let page = |key: &str, more: &str| {
        let mut secret = secret(&folder.read(key), 1);
        secret["metadata"]["name"] = key.into();
        let metadata = json!({"resourceVersion": "7", "continue": more});
        json!({"apiVersion": "v1", "kind": "SecretList", "metadata": metadata, "items": [secret]})
    };
    let pages = [page("cluster.key", "more"), page("other.key", "")];
    point_at(
        &folder,
        serve_with(move |stream| {
            let (line, _) = request(&stream);
            let (status, answer) = if line.starts_with(&format!("GET {SECRETS}?")) {
                ("200 OK", pages[usize::from(line.contains("continue=more"))].clone())
            } else if line.starts_with(&format!("GET {SECRETS}/")) {
                let page = &pages[usize::from(line.contains("/other.key"))];
                ("200 OK", page["items"][0].clone())
            } else if line.starts_with("PATCH ") {
                ("200 OK", metadata())
            } else {
                ("404 Not Found", failure(404))
            };
            respond(stream, status, &answer.to_string());
        }),
    );
    let outcome = folder.waxseal(&BACKUP).writes(&["keys.age"]).finish();
    assert!(outcome.stderr.ends_with("keys.age has 2 keys of context test\n"), "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(0));
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

/// Before, the key exists in the backup alone.
#[test]
fn a_key_is_restored_only_if_the_answer_is_its_secret() {
    let folder = folder();
    let id = folder.key_id("cluster");
    assert_eq!(back_up(&folder, 0, "cluster.key").status.code(), Some(0));
    let other = secret(&folder.read("other.key"), 1);
    let mut other_name = secret(&folder.read("cluster.key"), 1);
    other_name["metadata"]["name"] = "second".into();
    for answer in [json!({}), other, other_name] {
        point_at(
            &folder,
            serve_with(move |stream| {
                let (line, _) = request(&stream);
                let (status, answer) = if line.starts_with("POST ") {
                    ("201 Created", answer.clone())
                } else if line.starts_with(&format!("GET {SECRETS}?")) {
                    ("200 OK", json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": []}))
                } else {
                    ("404 Not Found", failure(404))
                };
                respond(stream, status, &answer.to_string());
            }),
        );
        let restore = ["keys", "restore", "keys.age", "--identity", "recovery.key", "--keys", "cluster.yaml", "--yes"];
        let outcome = folder.waxseal(&[&restore[..], &["--no-wait", "--kubeconfig", "kubeconfig"]].concat()).finish();
        let error = format!(
            "error: context test: the API server does not confirm that the Secret first holds {id}
hint: see if an admission webhook changes Secrets, and run the command again
"
        );
        assert!(outcome.stderr.ends_with(&error) && !outcome.stderr.contains("restored "), "{}", outcome.stderr);
        assert_eq!(outcome.status.code(), Some(5));
    }
}

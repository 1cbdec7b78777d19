//! `waxseal keys delete`: what needs a key, and what the user reads. The repositories are made by Git.

use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::api_server::{failure, list_of, object, point_at, request, respond, sealed_secrets, serve_with};
use crate::folder::{Folder, Run, program};
use crate::rotate::wrap;

/// The objects and answers of an API server, and the deletions that were requested there.
#[derive(Clone, Default)]
struct Cluster {
    keys: Vec<Value>,
    sealed_secrets: Vec<Value>,
    /// Whether the SealingKey stays when its identity is deleted.
    keeps_keys: bool,
    /// Whether finalizers keep the Secret: the answer to its deletion is the Secret.
    keeps_secret: bool,
    /// The HTTP status of the answer to a deletion, if the API server refuses it.
    refusal: Option<&'static str>,
    /// Whether the answer to a deletion is a failure in spite of its HTTP status.
    fails_with_200: bool,
    /// A key that is there until the SealedSecrets are listed.
    key_at_first: Arc<Mutex<Option<Value>>>,
    /// The path and the body of each request for a deletion.
    deletions: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Cluster {
    /// The Retired key `cluster`, which a backup has, and the Active key `newer`.
    fn of(folder: &Folder) -> Self {
        let mut old = object(&folder.read("cluster.yaml"));
        old["spec"]["state"] = "Retired".into();
        old["status"] = json!({
            "state": "Retired",
            "lastBackupTime": old["spec"]["createdAt"],
            "identitySecret": {"name": "first-sealing-key", "uid": "the-uid"},
        });
        let mut newer = object(&folder.read("newer.yaml"));
        newer["status"] = json!({"state": "Active"});
        Self { keys: vec![old, newer], ..Self::default() }
    }

    fn serve(&self, folder: &Folder) {
        let cluster = self.clone();
        let port = serve_with(move |stream| {
            let (line, body) = request(&stream);
            let (status, answer) = cluster.answer(&line, &body);
            respond(stream, status, &answer.to_string());
        });
        point_at(folder, port);
    }

    fn answer(&self, line: &str, body: &str) -> (&'static str, Value) {
        let mut deletions = self.deletions.lock().expect("no panic");
        if line.starts_with("DELETE ") {
            let path = line.split(' ').nth(1).expect("a path").to_owned();
            deletions.push((path, serde_json::from_str(body).expect("JSON")));
            if self.keeps_secret {
                let metadata = json!({"name": "first-sealing-key", "finalizers": ["example.com/hold"]});
                let data = json!({"identity": "aHVudGVyMg=="});
                let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": data});
                return ("200 OK", secret);
            }
            if self.fails_with_200 {
                return ("200 OK", failure(500));
            }
            let code = self.refusal.map_or(200, |refusal| refusal[..3].parse().expect("a code"));
            let status = json!({"kind": "Status", "apiVersion": "v1", "code": code, "status": if code == 200 { "Success" } else { "Failure" }, "reason": "", "message": ""});
            (self.refusal.unwrap_or("200 OK"), status)
        } else if line.starts_with("GET /apis/waxseal.dev/v1alpha1/sealedsecrets") {
            self.key_at_first.lock().expect("no panic").take();
            ("200 OK", sealed_secrets(&self.sealed_secrets))
        } else {
            let is_gone = !deletions.is_empty() && !self.keeps_keys;
            let at_first = self.key_at_first.lock().expect("no panic");
            let keys: Vec<_> = self.keys[usize::from(is_gone)..].iter().chain(&*at_first).cloned().collect();
            ("200 OK", list_of(&keys))
        }
    }

    fn deletions(&self) -> Vec<(String, Value)> {
        self.deletions.lock().expect("no panic").clone()
    }
}

/// A work tree with the keys `cluster`, `newer` and `recovery`.
fn folder() -> Folder {
    let folder = Folder::with_key();
    folder.generate("newer", &[]);
    folder.generate("recovery", &["--recovery"]);
    folder.write(".git/info/exclude", "/*.yaml\n/*.key\n/*.age\n/keys/\n/kubeconfig\n");
    folder.git(&["init", "--quiet", "--initial-branch=main"]);
    folder
}

/// What the command says before it asks.
fn question(key: &str, values: usize, commits: &str) -> String {
    let values = if values == 1 { "1 sealed value".to_owned() } else { format!("{values} sealed values") };
    format!(
        "searched {values} in the working tree, and {commits}
context test: deletes the identity of {key}; only a backup has it then
"
    )
}

/// Seals `shop/NAME` to these keys.
fn seal(folder: &Folder, name: &str, keys: &[&str]) -> String {
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\nstringData: {{A: a value}}\n"
    );
    let recipients: Vec<_> = keys.iter().map(|key| folder.recipient(key)).collect();
    let options = recipients.iter().flat_map(|recipient| ["--recipient", recipient]);
    let arguments: Vec<_> = ["seal"].into_iter().chain(options).collect();
    let outcome = folder.waxseal(&arguments).stdin(secret).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    outcome.stdout
}

fn commit(folder: &Folder) {
    folder.git(&["add", "--all"]);
    folder.git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
}

fn delete<'a>(folder: &'a Folder, arguments: &[&str]) -> Run<'a> {
    let key = folder.key_id("cluster");
    let options = ["--kubeconfig", "kubeconfig", "--timeout", "0s"];
    folder.waxseal(&[&["keys", "delete", key.as_str()], arguments, &options].concat())
}

/// Runs a command that must be refused, and returns stdout and the last error with its hint.
#[track_caller]
fn refused(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let outcome = delete(folder, arguments).finish();
    assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
    let start = outcome.stderr.rfind("error: ").expect("an error");
    (outcome.stdout, outcome.stderr[start..].to_owned())
}

#[test]
fn a_key_that_nothing_needs_is_deleted_with_the_uid_of_its_secret() {
    let folder = folder();
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    commit(&folder);
    let cluster = Cluster::of(&folder);
    cluster.serve(&folder);
    let key = folder.key_id("cluster");
    let question = question(&key, 1, "1 commit at the tips of branches");
    delete(&folder, &["apps"]).fails(
        2,
        &(question.clone()
            + "error: context test: nobody can be asked without a terminal\nhint: pass `--yes` if this is what you want\n"),
    );
    assert_eq!(cluster.deletions(), []);
    let said = format!("deleted {key}; run `waxseal keys fetch` in each repository\n");
    assert_eq!(delete(&folder, &["apps", "--yes"]).warns(&(question + &said)), "");
    let body = json!({"preconditions": {"uid": "the-uid"}});
    let path = "/api/v1/namespaces/waxseal-system/secrets/first-sealing-key?";
    assert_eq!(cluster.deletions(), [(path.to_owned(), body)]);
}

#[test]
fn files_and_branches_that_need_the_key_are_listed_and_only_their_exact_number_overrides() {
    let folder = folder();
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster"]));
    commit(&folder);
    folder.git(&["tag", "v1"]);
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "recovery"]));
    commit(&folder);
    folder.git(&["branch", "side"]);
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    commit(&folder);
    let cluster = Cluster::of(&folder);
    cluster.serve(&folder);
    let key = folder.key_id("cluster");
    let (list, error) = refused(&folder, &["apps", "--yes"]);
    assert_eq!(
        list, "apps/db.yaml: shop/db: A (side)\n",
        "a recovery key does not open in the cluster; tags do not count"
    );
    let said = format!(
        "error: context test: {key} is still needed by 1 value in files
hint: `waxseal rotate` adds wraps for another key to the files: merge and apply them, or pass `--even-if-it-strands 1`
"
    );
    assert_eq!(error, said);
    assert_eq!(refused(&folder, &["apps", "--yes", "--even-if-it-strands", "0"]).1, said);
    let wrong = said.replace("1 value in files", "1 value in files: in total 1, but `--even-if-it-strands` says 2");
    assert_eq!(refused(&folder, &["apps", "--yes", "--even-if-it-strands", "2"]).1, wrong);
    assert_eq!(cluster.deletions(), []);
    let outcome = delete(&folder, &["apps", "--yes", "--even-if-it-strands", "1"]).finish();
    assert_eq!((outcome.status.code(), cluster.deletions().len()), (Some(0), 1), "{}", outcome.stderr);
}

#[test]
fn a_file_in_the_working_tree_and_one_outside_of_a_repository_are_searched() {
    let folder = folder();
    let other = Folder::new();
    other.write("web.yaml", seal(&folder, "web", &["cluster"]));
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster"]));
    Cluster::of(&folder).serve(&folder);
    let path = other.path().join("web.yaml").display().to_string();
    let (list, error) = refused(&folder, &["apps", &path, "--yes"]);
    assert_eq!(list, format!("apps/db.yaml: shop/db: A (working tree)\n{path}: shop/web: A (working tree)\n"));
    assert!(error.contains("is still needed by 2 values in files\n"), "{error}");
}

#[test]
fn a_file_that_cannot_be_searched_stops_the_deletion() {
    let folder = folder();
    let key = folder.key_id("cluster");
    folder.write("apps/bad.yaml", format!("wax1. {key}: [\n"));
    let cluster = Cluster::of(&folder);
    cluster.serve(&folder);
    for options in [&["--yes"][..], &["--yes", "--even-if-it-strands", "1"]] {
        let outcome = delete(&folder, &[&["apps"], options].concat()).finish();
        assert!(outcome.stderr.contains("error: apps/bad.yaml:"), "{}", outcome.stderr);
        let said = format!(
            "error: context test: not all files were searched, so {key} may be needed
hint: repair what the errors name, or leave it out of the paths
"
        );
        assert!(outcome.stderr.ends_with(&said), "{}", outcome.stderr);
        assert_eq!((outcome.status.code(), cluster.deletions().len()), (Some(3), 0));
    }
}

#[test]
fn escapes_hide_nothing_and_forged_wraps_do_not_count() {
    let folder = folder();
    let [key, newer] = ["cluster", "newer"].map(|name| folder.key_id(name));
    let sealed = seal(&folder, "db", &["cluster"]);
    Cluster::of(&folder).serve(&folder);
    let wrap = sealed.lines().find(|line| line.contains(&format!("{key}: "))).expect("a wrap");
    let text = wrap.trim().split_once(": ").expect("a wrap").1;
    let hidden = sealed
        .replace("kind: SealedSecret", "kind: \"Sealed\\u0053ecret\"")
        .replace("apiVersion: waxseal.dev/", "apiVersion: \"waxseal\\x2edev/")
        .replace("v1alpha1\n", "v1alpha1\"\n")
        .replace(&format!("{key}: "), &format!("\"\\x6b{}\": ", &key[1..]));
    assert_ne!(hidden, sealed);
    for forged in [text, "AAAA", "\"\""] {
        let indent = &wrap[..wrap.len() - wrap.trim_start().len()];
        folder.write("apps/db.yaml", sealed.replace(wrap, &format!("{wrap}\n{indent}{newer}: {forged}")));
        let (list, error) = refused(&folder, &["apps", "--yes"]);
        assert_eq!(list, "apps/db.yaml: shop/db: A (working tree)\n", "{error}");
    }
    folder.write("apps/db.yaml", &hidden);
    commit(&folder);
    folder.git(&["branch", "side"]);
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    commit(&folder);
    let (list, error) = refused(&folder, &["apps", "--yes"]);
    assert_eq!(list, "apps/db.yaml: shop/db: A (side)\n", "{error}");
}

#[test]
fn paths_that_show_nothing_are_refused() {
    let folder = folder();
    folder.write("apps/readme.txt", "nothing");
    let cluster = Cluster::of(&folder);
    cluster.serve(&folder);
    let (_, error) = refused(&folder, &["apps", "--yes"]);
    assert_eq!(
        error,
        "error: context test: no sealed value in these paths
hint: name the folders with the sealed files of all repositories that this controller serves
"
    );
    folder.git(&["clone", "--quiet", "--bare", ".", "bare.git"]);
    for path in [".git", "bare.git"] {
        let (_, error) = refused(&folder, &[path, "--yes"]);
        assert_eq!(
            error,
            format!(
                "error: {path}: is a Git repository itself, and not a work tree
hint: name files and folders in a work tree, such as a clone of this repository
"
            )
        );
    }
    assert_eq!(cluster.deletions(), []);
}

#[test]
fn objects_need_the_key_until_they_were_opened_through_another() {
    let folder = folder();
    let sealed = seal(&folder, "db", &["cluster", "newer"]);
    folder.write("apps/db.yaml", &sealed);
    let key = folder.key_id("cluster");
    let newer = folder.key_id("newer");
    let wrap = |key: &str| wrap(&sealed, key).trim().split_once(": ").expect("a wrap").1.to_owned();
    let envelopes = json!({"e7f3a9c21e0": {"commitment": "", "wraps": {&key: wrap(&key), &newer: wrap(&newer)}}});
    let spec = json!({"envelopes": envelopes, "encryptedData": {"A": "wax1.e7f3a9c21e0.AAAA"}});
    let sealed_secret = |name: &str, opened_with: &str| {
        let settled = json!({
            "secretUID": "", "secretResourceVersion": "", "planVersion": 1, "openedWith": [opened_with], "proof": "",
        });
        let status = json!({"observedGeneration": 1, "settled": settled});
        json!({"metadata": {"namespace": "shop", "name": name, "generation": 1}, "spec": spec, "status": status})
    };
    let mut future = sealed_secret("future", &newer);
    future["spec"]["version2"] = json!({&key: 1});
    let mut cluster = Cluster::of(&folder);
    cluster.sealed_secrets = vec![sealed_secret("web", &key), sealed_secret("db", &newer), future];
    cluster.serve(&folder);
    let (list, error) = refused(&folder, &["apps", "--yes"]);
    let line = |name| format!("SealedSecret shop/{name}: not opened through another key yet\n");
    assert_eq!(list, line("future") + &line("web"));
    assert!(error.contains(&format!("{key} is still needed by 2 SealedSecrets in the cluster\n")), "{error}");
}

#[test]
fn a_key_in_use_and_a_key_without_a_backup_are_refused() {
    let folder = folder();
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let key = folder.key_id("cluster");
    let in_use = format!(
        "error: context test: {key} is still in use: its state is Active
hint: `waxseal keys rotate` makes a new key and retires this one
"
    );
    let unconfirmed = format!(
        "error: context test: the controller has not confirmed yet that {key} is Retired
hint: run the command again in a moment, or see if the controller runs
"
    );
    let no_backup = format!(
        "error: context test: no backup has the identity of {key} in its present state\nhint: `waxseal keys backup` writes one\n"
    );
    let only = format!("error: context test: {key} stays: the cluster has no other key that is Active or Retired\n");
    type Change = fn(&mut Cluster);
    let cases: [(Change, &str); 9] = [
        (|cluster| cluster.keys[0]["spec"]["state"] = "Active".into(), &in_use),
        (|cluster| cluster.keys[0]["status"]["state"] = "Active".into(), &unconfirmed),
        (|cluster| cluster.keys[0]["status"] = Value::Null, &unconfirmed),
        (|cluster| cluster.keys[0]["status"]["lastBackupTime"] = Value::Null, &no_backup),
        (|cluster| cluster.keys[0]["status"]["lastBackupTime"] = "2001-01-01T00:00:00Z".into(), &no_backup),
        (|cluster| cluster.keys[0]["status"]["lastBackupTime"] = "9999-12-01T00:00:00Z".into(), &no_backup),
        (|cluster| cluster.keys[0]["status"]["lastBackupTime"] = "garbage".into(), &no_backup),
        (|cluster| cluster.keys[1]["spec"]["state"] = "Revoked".into(), &only),
        (|cluster| cluster.keys[1]["spec"]["role"] = "Recovery".into(), &only),
    ];
    for (change, said) in cases {
        let mut cluster = Cluster::of(&folder);
        change(&mut cluster);
        cluster.serve(&folder);
        assert_eq!(refused(&folder, &["apps", "--yes"]).1, said);
        assert_eq!(cluster.deletions(), []);
    }
}

/// The uid does not protect the other key: a status can have the uid of its Secret, too.
#[test]
fn a_secret_that_cannot_be_the_one_of_the_key_is_not_deleted() {
    let folder = folder();
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let (key, newer) = (folder.key_id("cluster"), folder.key_id("newer"));
    let same = format!("names the same identity Secret as that of {newer}: first-sealing-key");
    for (name, uid, other_name, other_uid, said) in [
        (
            "../../kube-system/secrets/boot?x=",
            "u",
            "other",
            "other",
            "does not name its identity Secret with a valid name",
        ),
        ("first-sealing-key", "u", "first-sealing-key", "other", &same),
        ("first-sealing-key", "u", "other", "u", &same),
    ] {
        let mut cluster = Cluster::of(&folder);
        cluster.keys[0]["status"]["identitySecret"] = json!({"name": name, "uid": uid});
        cluster.keys[1]["status"]["identitySecret"] = json!({"name": other_name, "uid": other_uid});
        cluster.serve(&folder);
        let error = format!(
            "error: context test: the status of the SealingKey {key} {said}
hint: the controller writes the status: find out who has changed it, and see if the controller runs
"
        );
        assert_eq!(refused(&folder, &["apps", "--yes"]).1, error);
        assert_eq!(cluster.deletions(), []);
    }
}

/// The other key is Active in the spec alone.
/// Otherwise two deletions at once, which count each other's key, could leave no key that opens the value.
#[test]
fn a_key_stays_if_the_other_key_of_a_value_is_gone_when_the_user_has_answered() {
    let folder = folder();
    folder.generate("third", &[]);
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "third"]));
    commit(&folder);
    let mut third = object(&folder.read("third.yaml"));
    third["spec"]["state"] = "Retired".into();
    third["status"] = json!({"state": "Retired"});
    let cluster = Cluster { key_at_first: Arc::new(Mutex::new(Some(third))), ..Cluster::of(&folder) };
    cluster.serve(&folder);
    let (_, error) = refused(&folder, &["apps", "--yes"]);
    let third = folder.key_id("third");
    assert_eq!(error, format!("error: context test: {third} was changed meanwhile\nhint: run the command again\n"));
    assert_eq!(cluster.deletions(), []);
}

#[test]
fn a_key_without_a_confirmed_state_does_not_count_as_another_key() {
    let folder = folder();
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let stderr = format!(
        "warning: context test: {} does not count as another key: the controller has not confirmed its state\n\
         error: context test: {} stays: the cluster has no other key that is Active or Retired\n",
        folder.key_id("newer"),
        folder.key_id("cluster")
    );
    for status in [Value::Null, json!({}), json!({"state": "Revoked"})] {
        let mut cluster = Cluster::of(&folder);
        cluster.keys[1]["status"] = status;
        cluster.serve(&folder);
        delete(&folder, &["apps", "--yes"]).fails(3, &stderr);
        assert_eq!(cluster.deletions(), []);
    }
}

#[test]
fn a_deletion_that_the_cluster_refuses_or_that_the_controller_does_not_notice_is_named() {
    let folder = folder();
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let key = folder.key_id("cluster");
    let cluster = Cluster { refusal: Some("403 Forbidden"), ..Cluster::of(&folder) };
    cluster.serve(&folder);
    let question = question(&key, 1, "no commits");
    delete(&folder, &["apps", "--yes"]).fails(
        5,
        &(question.clone()
            + "error: context test: the API server does not let you delete Secrets in waxseal-system (403)
hint: ask for a Role with the verb delete on secrets in waxseal-system
"),
    );
    let cluster = Cluster { fails_with_200: true, ..Cluster::of(&folder) };
    cluster.serve(&folder);
    let error = "error: context test: the API server answers with an error (500)\n";
    delete(&folder, &["apps", "--yes"]).fails(5, &(question.clone() + error));
    let cluster = Cluster { keeps_keys: true, ..Cluster::of(&folder) };
    cluster.serve(&folder);
    let error = format!(
        "error: context test: the controller did not remove the SealingKey {key} within 0 seconds
hint: the Secret that the SealingKey names is deleted: start the controller, or see in its log why it keeps the SealingKey
"
    );
    delete(&folder, &["apps", "--yes"]).fails(5, &(question.clone() + &error));
    let cluster = Cluster { keeps_secret: true, keeps_keys: true, ..Cluster::of(&folder) };
    cluster.serve(&folder);
    let error = "error: context test: the identity Secret first-sealing-key is being deleted, and its finalizers keep it
hint: find out what set the finalizers, or remove them: `kubectl patch secret first-sealing-key -n waxseal-system --type \
merge -p '{\"metadata\":{\"finalizers\":null}}'`
";
    delete(&folder, &["apps", "--yes"]).fails(3, &(question + error));
    // The Secret is gone already when the command runs again.
    let cluster = Cluster { refusal: Some("404 Not Found"), ..Cluster::of(&folder) };
    cluster.serve(&folder);
    let outcome = delete(&folder, &["apps", "--yes"]).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn missing_paths_and_a_needless_number_of_stranded_values_are_refused() {
    let folder = folder();
    let key = folder.key_id("cluster");
    let missing = folder.waxseal(&["keys", "delete", &key]).finish();
    assert_eq!(missing.status.code(), Some(2), "{}", missing.stderr);
    folder.write("apps/db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let cluster = Cluster::of(&folder);
    cluster.serve(&folder);
    let (_, error) = refused(&folder, &["apps", "--yes", "--even-if-it-strands", "1"]);
    assert_eq!(error, format!("error: context test: nothing needs {key}\nhint: leave out `--even-if-it-strands`\n"));
    let (_, error) = refused(&folder, &["nowhere", "--yes"]);
    assert!(error.contains("not all files were searched"), "{error}");
    assert_eq!(cluster.deletions(), []);
}

#[test]
fn on_a_folder_the_key_file_is_deleted_once_a_backup_has_it() {
    let folder = folder();
    let key = folder.key_id("cluster");
    let newer = folder.key_id("newer");
    folder.write("db.yaml", seal(&folder, "db", &["cluster"]));
    let file = format!("keys/{key}.key");
    folder.write(&format!("keys/{newer}.key"), folder.read("newer.key"));
    // The state that the published file requests, and the state that the controller has written into the key file.
    let set_states = |requested: &str, carried_out: &str| {
        let published = folder.read("cluster.yaml").replace("Active", requested);
        folder.write("keys/sealing-keys.yaml", published + "---\n" + &folder.read("newer.yaml"));
        folder.write(&file, format!("# state: {carried_out}\n{}", folder.read("cluster.key")));
    };
    set_states("Retired", "Retired");
    let delete = || folder.waxseal(&["keys", "delete", &key, "db.yaml", "--keys-dir", "keys", "--yes"]);
    let outcome = delete().finish();
    assert_eq!(outcome.stdout, "db.yaml: shop/db: A (working tree)\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("{key} is still needed by 1 value in files\n")), "{}", outcome.stderr);
    folder.write("db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let no_backup = format!(
        "error: keys/sealing-keys.yaml: no backup has the identity of {key} in its present state\n\
         hint: `waxseal keys backup --keys-dir keys` writes one\n"
    );
    let outcome = delete().finish();
    assert!(outcome.stderr.ends_with(&no_backup), "{}", outcome.stderr);
    let backup = ["keys", "backup", "-o", "keys.age", "--keys", "recovery.yaml", "--keys-dir", "keys"];
    let made = folder.waxseal(&backup).writes(&["keys.age", "keys/last-backup.yaml"]).finish();
    assert_eq!(made.status.code(), Some(0), "{}", made.stderr);
    // Only the published file says Revoked: after a deletion, a restore would bring the key back as Retired.
    set_states("Revoked", "Retired");
    let unconfirmed = format!(
        "error: keys/sealing-keys.yaml: the key file of {key} does not say Revoked yet, or cannot be used\n\
         hint: start the controller: it writes the state into the file, or names the file in its log\n"
    );
    delete().fails(3, &unconfirmed);
    set_states("Revoked", "Revoked");
    let outcome = delete().finish();
    assert!(outcome.stderr.ends_with(&no_backup), "{}", outcome.stderr);
    std::fs::remove_file(folder.path().join("keys.age")).expect("a file");
    let made = folder.waxseal(&backup).writes(&["keys.age", "keys/last-backup.yaml"]).finish();
    assert_eq!(made.status.code(), Some(0), "{}", made.stderr);
    // A record from a clock that was wrong.
    let record = folder.read("keys/last-backup.yaml");
    folder.write("keys/last-backup.yaml", format!("{key}: \"2999-01-01T00:00:00Z\"\n"));
    let outcome = delete().finish();
    assert!(outcome.stderr.ends_with(&no_backup), "{}", outcome.stderr);
    folder.write("keys/last-backup.yaml", record);
    // Not with `Folder::waxseal`, which checks that no file is gone after a run.
    let mut command = Command::new(program());
    command.args(["keys", "delete", &key, "db.yaml", "--keys-dir", "keys", "--yes"]);
    assert!(folder.isolated(&mut command).status().expect("waxseal runs").success());
    assert!(!folder.path().join(&file).exists() && folder.path().join(format!("keys/{newer}.key")).exists());
    let outcome = delete().finish();
    let gone = format!("error: keys/sealing-keys.yaml: {key} has no key file: it is deleted already, or lost\n");
    assert!(outcome.status.code() == Some(3) && outcome.stderr.ends_with(&gone), "{}", outcome.stderr);
    // A restore brings the key file back.
    let restore = ["keys", "restore", "keys.age", "--identity", "recovery.key", "--keys", "cluster.yaml", "--keys"];
    let outcome = folder
        .waxseal(&[&restore[..], &["newer.yaml", "--keys-dir", "keys", "--yes"]].concat())
        .writes(&[&file])
        .finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(folder.read(&file).contains(folder.read("cluster.key").lines().last().expect("an identity")));
    assert!(folder.read(&file).contains("# state: Revoked\n"));
}

/// The other key is Active in the published file alone.
#[test]
fn on_a_folder_a_key_without_a_usable_identity_does_not_count_as_another_key() {
    let folder = folder();
    let (key, newer) = (folder.key_id("cluster"), folder.key_id("newer"));
    folder.write("db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let published = folder.read("cluster.yaml").replace("Active", "Retired") + "---\n" + &folder.read("newer.yaml");
    folder.write("keys/sealing-keys.yaml", published);
    folder.write(&format!("keys/{key}.key"), format!("# state: Retired\n{}", folder.read("cluster.key")));
    let stderr = format!(
        "warning: keys/sealing-keys.yaml: {newer} does not count as another key: its key file cannot be used, or \
         says Revoked\nerror: keys/sealing-keys.yaml: {key} stays: the cluster has no other key that is Active or Retired\n"
    );
    let revoked = format!("# state: Revoked\n{}", folder.read("newer.key"));
    for file in [None, Some(revoked.as_str()), Some("damaged"), Some(&folder.read("cluster.key"))] {
        if let Some(text) = file {
            folder.write(&format!("keys/{newer}.key"), text);
        }
        folder.waxseal(&["keys", "delete", &key, "db.yaml", "--keys-dir", "keys", "--yes"]).fails(3, &stderr);
    }
}

#[test]
fn a_linked_key_file_is_refused() {
    let folder = folder();
    let key = folder.key_id("cluster");
    folder.write("db.yaml", seal(&folder, "db", &["cluster", "newer"]));
    let published = folder.read("cluster.yaml").replace("Active", "Retired") + "---\n" + &folder.read("newer.yaml");
    folder.write("keys/sealing-keys.yaml", published);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(5);
    folder.write("keys/last-backup.yaml", format!("{key}: \"{later}\"\n"));
    folder.write("cluster.key", format!("# state: Retired\n{}", folder.read("cluster.key")));
    folder.write(&format!("keys/{}.key", folder.key_id("newer")), folder.read("newer.key"));
    std::os::unix::fs::symlink("../cluster.key", folder.path().join(format!("keys/{key}.key"))).expect("a link");
    folder.waxseal(&["keys", "delete", &key, "db.yaml", "--keys-dir", "keys", "--yes"]).fails(
        3,
        &format!(
            "searched 1 sealed value in the working tree, and no commits
keys/sealing-keys.yaml: deletes the identity of {key}; only a backup has it then
the controller then takes the key out of sealing-keys.yaml, and `waxseal rotate --prune` no longer finds its wraps
error: keys/{key}.key: is a symbolic link
hint: delete the link and the file that it leads to
"
        ),
    );
    assert!(folder.path().join("cluster.key").exists());
}

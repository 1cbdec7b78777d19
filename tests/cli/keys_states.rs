//! `waxseal keys rotate`, `retire` and `revoke`: the requests, the questions, and what the user reads.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::api_server::{
    failure, kubeconfig, list, list_of, object, point_at, request, respond, serve_changes, serve_with,
};
use crate::folder::{Folder, Run, program};
use crate::terminal::with_answers;

const NEXT: &str = "the holder of the private key can still read what was sealed to it, also in Git's history: change \
                    these values, run `waxseal keys fetch` here and in every other repository, and seal the new \
                    values\n";

/// What `revoke` says if no keys file has the key.
fn no_file(id: &str) -> String {
    format!(
        "no keys file was changed: from the current folder upwards there is no `.waxseal.yaml`, or the keys files of \
         the nearest one do not have {id}\n"
    )
}

/// A folder with the keys `cluster` and `newer`.
fn folder() -> Folder {
    let folder = Folder::with_key();
    folder.generate("newer", &[]);
    folder.write("cluster.yaml", folder.made_at("cluster", "2020-01-01T00:00:00Z"));
    folder.write("newer.yaml", folder.made_at("newer", "2021-01-01T00:00:00Z"));
    folder
}

/// A SealingKey with the state `requested` in its spec and the state `confirmed` in its status.
fn key(folder: &Folder, name: &str, requested: &str, confirmed: &str) -> Value {
    let mut object = object(&folder.read(&format!("{name}.yaml")));
    object["spec"]["state"] = requested.into();
    object["status"] = json!({"state": confirmed, "identitySecret": {"name": name, "uid": name}});
    object
}

/// Starts an API server whose list changes from `before` to `after` when a change succeeds.
fn serve(folder: &Folder, before: &[Value], after: &[Value]) {
    let change = ("200 OK", before[0].clone());
    point_at(folder, serve_changes(list_of(before), change, list_of(after)));
}

fn keys<'a>(folder: &'a Folder, arguments: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["keys"], arguments, &["--kubeconfig", "kubeconfig", "--timeout", "0s"]].concat())
}

#[test]
fn rotate_prints_the_new_primary_and_what_comes_next() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let after = [key(&folder, "cluster", "Retired", "Retired"), key(&folder, "newer", "Active", "Active")];
    serve(&folder, &[key(&folder, "cluster", "Active", "Active")], &after);
    let stderr = format!(
        "context test: {id} becomes Retired once there is a new key; it still opens old values
compare the fingerprint with the controller's log; then run `waxseal keys fetch` for each repository, and `waxseal rotate` on its sealed files
"
    );
    let stdout = keys(&folder, &["rotate", "--yes"]).warns(&stderr);
    assert_eq!(stdout, format!("{} {}\n", folder.key_id("newer"), folder.fingerprint("newer")));
}

#[test]
fn rotate_fails_if_no_new_key_is_published() {
    let folder = folder();
    let id = folder.key_id("cluster");
    serve(&folder, &[key(&folder, "cluster", "Active", "Active")], &[key(&folder, "cluster", "Retired", "Active")]);
    keys(&folder, &["rotate", "--yes"]).fails(
        5,
        &format!(
            "context test: {id} becomes Retired once there is a new key; it still opens old values
error: context test: the controller did not confirm a new primary and that the old keys are Retired within 0 seconds
hint: the request stays: the controller's log says why it is not carried out
"
        ),
    );
}

/// Users who may create SealingKeys can publish a newer key, but they cannot write its status.
#[test]
fn rotate_waits_until_the_controller_confirms_the_new_key_and_the_old_one() {
    let folder = folder();
    let retired = || key(&folder, "cluster", "Retired", "Retired");
    let newer = || key(&folder, "newer", "Active", "Active");
    let mut planted = newer();
    planted["status"] = Value::Null;
    let mut without_identity = newer();
    without_identity["status"]["identitySecret"] = Value::Null;
    let not_retired_yet = key(&folder, "cluster", "Retired", "Active");
    for after in [[retired(), planted], [retired(), without_identity], [not_retired_yet, newer()]] {
        serve(&folder, &[key(&folder, "cluster", "Active", "Active")], &after);
        let outcome = keys(&folder, &["rotate", "--yes"]).finish();
        let said = "did not confirm a new primary and that the old keys are Retired within 0 seconds\n";
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert_eq!((outcome.stdout.as_str(), outcome.status.code()), ("", Some(5)));
    }
    // A revoked key is stricter than Retired.
    serve(
        &folder,
        &[key(&folder, "cluster", "Active", "Active")],
        &[key(&folder, "cluster", "Revoked", "Revoked"), newer()],
    );
    assert_eq!(keys(&folder, &["rotate", "--yes"]).finish().status.code(), Some(0));
}

/// A newer version may have written such SealingKeys. In an emergency they must not be in the way.
#[test]
fn sealing_keys_of_an_unknown_form_are_left_out_with_a_warning() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let newer = key(&folder, "newer", "Active", "Active");
    let unknown = |field: &str| {
        let mut object = key(&folder, "newer", "Active", "Active");
        object["metadata"]["name"] = format!("unknown-{field}").into();
        object["spec"][field] = "Frozen".into();
        object
    };
    let with = |state: &str| [key(&folder, "cluster", state, state), newer.clone(), unknown("state"), unknown("trust")];
    for (command, state) in [("retire", "Retired"), ("revoke", "Revoked")] {
        serve(&folder, &with("Active"), &with(state));
        let outcome = keys(&folder, &[command, &id, "--yes"]).finish();
        for field in ["state", "trust"] {
            let warning = format!(
                "warning: context test: leaves out the SealingKey unknown-{field}, which has a form that this waxseal \
                 does not know\n"
            );
            assert_eq!(outcome.stderr.matches(&warning).count(), 1, "{}", outcome.stderr);
        }
        let confirmed = format!("the controller confirms: {id} is {state}\n");
        assert!(outcome.stderr.contains(&confirmed), "{}", outcome.stderr);
        assert_eq!(outcome.status.code(), Some(0));
    }
}

#[test]
fn a_request_goes_to_the_namespace_that_was_asked_for() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let newer = key(&folder, "newer", "Active", "Active");
    let mut elsewhere = key(&folder, "cluster", "Active", "Active");
    elsewhere["metadata"]["namespace"] = "evil/../kube-system".into();
    // `serve_changes` answers only changes in `waxseal-system`.
    serve(&folder, &[elsewhere, newer.clone()], &[key(&folder, "cluster", "Retired", "Retired"), newer]);
    assert_eq!(keys(&folder, &["retire", &id, "--yes"]).finish().status.code(), Some(0));
}

#[test]
fn rotate_without_an_active_key_is_refused() {
    let folder = folder();
    let keys_of_cluster = [key(&folder, "cluster", "Revoked", "Revoked")];
    serve(&folder, &keys_of_cluster, &keys_of_cluster);
    keys(&folder, &["rotate", "--yes"]).fails(
        3,
        "error: context test: no key of the cluster is Active
hint: the controller makes a key by itself, unless key generation is off (then add an identity); its log says why it has not done so
",
    );
}

#[test]
fn behind_a_proxy_the_hint_is_to_run_waxseal_elsewhere() {
    let folder = Folder::with_key();
    let cluster = json!({"server": "https://127.0.0.1:1", "proxy-url": "http://127.0.0.1:1"});
    folder.write("kubeconfig", kubeconfig(&cluster, &json!({})).to_string());
    let id = folder.key_id("cluster");
    let id = id.as_str();
    for arguments in [&["rotate"][..], &["retire", id], &["revoke", id], &["delete", id, "."]] {
        keys(&folder, arguments).fails(
            5,
            "error: context test: `proxy-url` or $HTTPS_PROXY names a proxy, and waxseal connects without one
hint: run waxseal where the API server can be reached without a proxy
",
        );
    }
}

/// Somebody deletes the SealingKey, and the controller, which has not read the request, publishes the key as it was.
#[test]
fn a_request_that_is_lost_is_made_again() {
    let folder = folder();
    let newer = key(&folder, "newer", "Active", "Active");
    let with = |state: &str| list_of(&[key(&folder, "cluster", state, state), newer.clone()]);
    let (active, revoked, changed) = (with("Active"), with("Revoked"), newer.clone());
    let changes = AtomicUsize::new(0);
    point_at(
        &folder,
        serve_with(move |stream| {
            let (line, _) = request(&stream);
            let body = if line.starts_with("PATCH ") {
                changes.fetch_add(1, Ordering::SeqCst);
                &changed
            } else if changes.load(Ordering::SeqCst) < 2 {
                &active
            } else {
                &revoked
            };
            respond(stream, "200 OK", &body.to_string());
        }),
    );
    let id = folder.key_id("cluster");
    let outcome =
        folder.waxseal(&["keys", "revoke", &id, "--kubeconfig", "kubeconfig", "--yes", "--timeout", "20s"]).finish();
    let confirmed = format!("the controller confirms: {id} is Revoked\n");
    assert!(outcome.stderr.contains(&confirmed), "{}", outcome.stderr);
}

#[test]
fn retire_and_revoke_wait_for_the_confirmation() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let newer = key(&folder, "newer", "Active", "Active");
    let before = [key(&folder, "cluster", "Active", "Active"), newer.clone()];
    serve(&folder, &before, &[key(&folder, "cluster", "Retired", "Retired"), newer.clone()]);
    let said = format!("context test: nothing new will be sealed to {id}; it still opens old values\n");
    let confirmed = format!("the controller confirms: {id} is Retired\n");
    let stdout = keys(&folder, &["retire", &id, "--yes"]).warns(&(said.clone() + &confirmed));
    assert_eq!(stdout, "");

    serve(&folder, &before, &[key(&folder, "cluster", "Retired", "Active"), newer.clone()]);
    let late = format!(
        "error: context test: the controller did not confirm that {id} is Retired within 0 seconds
hint: the request stays: the controller's log says why it is not carried out
"
    );
    keys(&folder, &["retire", &id, "--yes"]).fails(5, &(said + &late));

    serve(&folder, &before, &[key(&folder, "cluster", "Revoked", "Revoked"), newer]);
    let said = format!(
        "context test: {id} will open nothing any more, for ever. SealedSecrets that only this key opens will stall \
         with KeyRevoked; their Secrets stay\nthe controller confirms: {id} is Revoked\n"
    );
    keys(&folder, &["revoke", &id, "--yes"]).warns(&(said + &no_file(&id) + NEXT));
}

#[test]
fn a_key_in_this_state_or_a_stricter_one_needs_no_consent() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let revoked = [key(&folder, "cluster", "Revoked", "Revoked"), key(&folder, "newer", "Active", "Active")];
    serve(&folder, &revoked, &revoked);
    let said = format!("the controller confirms: {id} is Revoked\n");
    keys(&folder, &["retire", &id]).warns(&said);
    keys(&folder, &["revoke", &id]).warns(&(said + &no_file(&id) + NEXT));
}

#[test]
fn revoke_writes_the_keys_files_of_the_repository_that_have_the_key() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let newer = key(&folder, "newer", "Active", "Active");
    serve(
        &folder,
        &[key(&folder, "cluster", "Active", "Active"), newer.clone()],
        &[key(&folder, "cluster", "Revoked", "Revoked"), newer],
    );
    folder.write(
        ".waxseal.yaml",
        "version: 1\nclusters: {prod: {keys: prod.yaml}, b: {keys: b.yaml}, c: {keys: c.yaml}, d: {keys: d.yaml}}\n",
    );
    let both = folder.read("cluster.yaml") + "---\n" + &folder.read("newer.yaml");
    folder.write("prod.yaml", &both);
    folder.write("b.yaml", folder.read("newer.yaml"));
    folder.write("c.yaml", "not: keys\n");
    let outcome = keys(&folder, &["revoke", &id, "--yes"]).writes(&["prod.yaml"]).finish();
    assert_eq!(outcome.status.code(), Some(3));
    let said = format!("prod.yaml: {id} is Revoked now: commit this file\n{NEXT}error: c.yaml:1:1: this file is not");
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    assert_eq!(folder.read("c.yaml"), "not: keys\n");
    assert_eq!(folder.read("b.yaml"), folder.read("newer.yaml"));
    let json: Value =
        serde_json::from_str(&folder.waxseal(&["keys", "list", "prod.yaml", "--format", "json"]).succeeds())
            .expect("JSON");
    let states: Vec<_> = json.as_array().expect("rows").iter().map(|row| [&row["key"], &row["state"]]).collect();
    let newer = folder.key_id("newer");
    assert_eq!(states, [[&json!(id), &json!("Revoked")], [&json!(newer), &json!("Active")]]);
    folder.write("c.yaml", folder.read("newer.yaml"));
    let before = folder.read("prod.yaml");
    keys(&folder, &["revoke", &id]).warns(&format!("the controller confirms: {id} is Revoked\n{NEXT}"));
    assert_eq!(folder.read("prod.yaml"), before);
}

/// Nothing more may be sealed to the key, also while the controller is down.
#[test]
fn revoke_writes_the_keys_files_even_if_the_controller_does_not_confirm() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let requested = [key(&folder, "cluster", "Revoked", "Active")];
    serve(&folder, &[key(&folder, "cluster", "Active", "Active")], &requested);
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: prod.yaml}}\n");
    folder.write("prod.yaml", folder.read("cluster.yaml"));
    let outcome = keys(&folder, &["revoke", &id, "--yes"]).writes(&["prod.yaml"]).finish();
    let said = format!("prod.yaml: {id} is Revoked now: commit this file\n{NEXT}error: context test: ");
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(5), "{}", outcome.stderr);
    assert!(folder.read("prod.yaml").contains("state: Revoked"));
}

#[test]
fn revoke_does_not_say_that_an_unreadable_keys_file_is_without_the_key() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let revoked = [key(&folder, "cluster", "Revoked", "Revoked"), key(&folder, "newer", "Active", "Active")];
    serve(&folder, &revoked, &revoked);
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: prod.yaml}}\n");
    folder.write("prod.yaml", "not: keys\n");
    let outcome = keys(&folder, &["revoke", &id]).finish();
    assert_eq!(outcome.status.code(), Some(3));
    let said = format!("the controller confirms: {id} is Revoked\n{NEXT}error: prod.yaml:1:1: this file is not");
    assert!(outcome.stderr.starts_with(&said), "{}", outcome.stderr);
}

#[test]
fn the_only_active_key_is_not_retired_and_can_be_revoked() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let retired = key(&folder, "newer", "Retired", "Retired");
    let before = [key(&folder, "cluster", "Active", "Active"), retired.clone()];
    serve(&folder, &before, &[key(&folder, "cluster", "Revoked", "Revoked"), retired]);
    keys(&folder, &["retire", &id, "--yes"]).fails(
        3,
        &format!(
            "error: context test: {id} is the only Active key: nothing could be sealed
hint: run `waxseal keys rotate`: the controller makes a new key first
"
        ),
    );
    let outcome = keys(&folder, &["revoke", &id, "--yes"]).finish();
    assert_eq!(outcome.status.code(), Some(0));
    assert!(
        outcome.stderr.contains("\nno other key is Active: the controller makes a new one, unless "),
        "{}",
        outcome.stderr
    );
}

#[test]
fn keys_that_cannot_be_changed_are_refused() {
    let folder = folder();
    folder.generate("recovery", &["--recovery"]);
    let [cluster, newer, recovery] = ["cluster", "newer", "recovery"].map(|name| folder.key_id(name));
    let mut broken = object(&folder.read("newer.yaml"));
    broken["metadata"]["name"] = "planted".into();
    let mut keys_of_cluster = list(&folder, &["cluster", "recovery"]);
    keys_of_cluster["items"].as_array_mut().expect("a list").push(broken);
    point_at(&folder, serve_changes(keys_of_cluster.clone(), ("500 Unexpected", json!({})), keys_of_cluster));
    for command in ["retire", "revoke"] {
        for unknown in [newer.as_str(), "k1"] {
            keys(&folder, &[command, unknown, "--yes"]).fails(
                3,
                &format!("error: context test: no key {unknown}; there are: {cluster} (Active), {recovery} (Active)\n"),
            );
        }
        keys(&folder, &[command, &recovery, "--yes"]).fails(
            3,
            &format!(
                "error: context test: {recovery} is a recovery key, which the controller does not hold
hint: take it out of the controller's configuration
"
            ),
        );
    }
}

#[test]
fn consent_is_needed() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let before = [key(&folder, "cluster", "Active", "Active"), key(&folder, "newer", "Active", "Active")];
    serve(&folder, &before, &before);
    for arguments in [&["rotate"][..], &["retire", &id], &["revoke", &id]] {
        let outcome = keys(&folder, arguments).finish();
        let end = "error: context test: nobody can be asked without a terminal\nhint: pass `--yes` if this is what you want\n";
        assert!(outcome.stderr.ends_with(end), "{}", outcome.stderr);
        assert_eq!(outcome.status.code(), Some(2));
    }
}

#[test]
fn a_refusal_of_the_api_server_names_verb_and_resource() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let before = list_of(&[key(&folder, "cluster", "Active", "Active")]);
    let said = format!("context test: {id} becomes Retired once there is a new key; it still opens old values\n");
    for (head, code, stderr) in [
        (
            "403 Forbidden",
            403,
            "error: context test: the API server does not let you patch SealingKeys in waxseal-system (403)
hint: ask for a Role with the verb patch on sealingkeys.waxseal.dev in waxseal-system
"
            .to_owned(),
        ),
        ("422 Invalid", 422, "error: context test: the API server answers with an error (422)\n".to_owned()),
        ("409 Conflict", 409, format!("error: context test: {id} is changed all the time by somebody else\n")),
        ("404 Not Found", 404, format!("error: context test: {id} is changed all the time by somebody else\n")),
    ] {
        point_at(&folder, serve_changes(before.clone(), (head, failure(code)), before.clone()));
        keys(&folder, &["rotate", "--yes"]).fails(5, &(said.clone() + &stderr));
    }
}

#[test]
fn a_no_at_the_terminal_changes_nothing() {
    let folder = folder();
    let id = folder.key_id("cluster");
    folder.write("sealing-keys.yaml", folder.read("cluster.yaml"));
    for (command, question) in
        [(&["rotate"][..], "Make a new primary? Type yes: "), (&["revoke", &id], "Revoke it? Type yes: ")]
    {
        for answer in ["no", "y"] {
            let session = ask(&folder, command, question, answer);
            assert!(session.ends_with("error: ./sealing-keys.yaml: not confirmed: nothing was changed\n"), "{session}");
            assert!(!folder.read("sealing-keys.yaml").contains("state: Re"));
        }
    }
    ask(&folder, &["revoke", &id], "Revoke it? Type yes: ", "yes");
    assert!(folder.read("sealing-keys.yaml").contains("state: Revoked"));
}

/// Runs a command on the folder `.` at a terminal; returns what it says.
fn ask(folder: &Folder, command: &[&str], question: &str, answer: &str) -> String {
    let arguments = [&["keys"], command, &["--keys-dir", "."]].concat();
    let (_, shown) = with_answers(folder, &arguments, &format!("{answer}\n"));
    assert!(shown.contains(question), "{shown}");
    shown
}

/// Runs a command on the keys in the folder `.` without questions.
fn on_folder<'a>(folder: &'a Folder, arguments: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["keys"], arguments, &["--keys-dir", ".", "--yes"]].concat())
}

#[test]
fn on_a_folder_two_requests_at_once_are_both_written_also_into_the_keys_file_of_the_repository() {
    let folder = folder();
    let keys = ["cluster", "newer"].map(|name| folder.key_id(name));
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: prod.yaml}}\n");
    let files = ["sealing-keys.yaml", "prod.yaml"];
    for round in 0..20 {
        let both = format!("{}---\n{}", folder.read("cluster.yaml"), folder.read("newer.yaml"));
        files.iter().for_each(|file| folder.write(file, &both));
        let runs = keys.each_ref().map(|key| {
            let mut command = Command::new(program());
            command.args(["keys", "revoke", key, "--keys-dir", ".", "--yes"]);
            folder.isolated(&mut command).stderr(Stdio::piped()).spawn().expect("waxseal runs")
        });
        for run in runs {
            let outcome = run.wait_with_output().expect("it ends");
            assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
        }
        for file in files {
            assert_eq!(folder.read(file).matches("state: Revoked").count(), 2, "{file}, round {round}");
        }
    }
}

#[test]
fn on_a_folder_the_request_is_written_to_the_published_file() {
    let folder = folder();
    let id = folder.key_id("cluster");
    let both = format!("{}---\n{}", folder.read("cluster.yaml"), folder.read("newer.yaml"));
    folder.write("sealing-keys.yaml", both);
    let run = |arguments: &[&str]| on_folder(&folder, arguments).writes(&["sealing-keys.yaml"]);
    run(&["retire", &id]).warns(&format!(
        "./sealing-keys.yaml: nothing new will be sealed to {id}; it still opens old values
requested: {id} becomes Retired as soon as the controller runs
"
    ));
    assert_eq!(folder.read("sealing-keys.yaml").matches("state: Retired").count(), 1);
    run(&["rotate"]).warns(&format!(
        "./sealing-keys.yaml: {} becomes Retired once there is a new key; it still opens old values
requested: the controller makes the new key as soon as it runs, and publishes it in ./sealing-keys.yaml
",
        folder.key_id("newer")
    ));
    assert_eq!(folder.read("sealing-keys.yaml").matches("state: Retired").count(), 2);
    let outcome = run(&["revoke", &id]).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    let next = "change these values, copy ./sealing-keys.yaml over the keys file here and in every other repository";
    assert!(outcome.stderr.contains(next), "{}", outcome.stderr);
    assert_eq!(folder.read("sealing-keys.yaml").matches("state: Revoked").count(), 1);
    fs::rename(folder.path().join("sealing-keys.yaml"), folder.path().join("keys.yaml")).expect("a file");
    symlink("keys.yaml", folder.path().join("sealing-keys.yaml")).expect("a link");
    let link = "error: ./sealing-keys.yaml: is a symbolic link, and the controller does not follow links
hint: put the file itself there
";
    on_folder(&folder, &["retire", &folder.key_id("newer")]).fails(3, link);
    fs::remove_file(folder.path().join("sealing-keys.yaml")).expect("a link");
    folder.write("sealing-keys.yaml", "hunter2\n");
    on_folder(&folder, &["rotate"]).fails(3, "error: ./sealing-keys.yaml:1:1: must be a mapping, not a string\n");
    folder
        .waxseal(&["keys", "rotate", "--keys-dir", "absent"])
        .fails(1, "error: absent/sealing-keys.yaml: no such file or folder\n");
}

#[test]
fn invalid_arguments_are_refused() {
    let folder = Folder::new();
    for (arguments, said) in [
        (&["rotate", "--keys-dir", ".", "--context", "prod"][..], "cannot be used with"),
        (
            &["rotate", "--timeout", "1mo"],
            "invalid value '1mo' for '--timeout <DURATION>': not a duration such as 60s or 2m",
        ),
        (
            &["rotate", "--timeout=-5s"],
            "invalid value '-5s' for '--timeout <DURATION>': not a duration such as 60s or 2m",
        ),
        (&["retire"], "required arguments were not provided"),
    ] {
        let outcome = folder.waxseal(&[&["keys"], arguments].concat()).finish();
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert_eq!(outcome.status.code(), Some(2));
    }
}

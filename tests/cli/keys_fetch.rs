//! `waxseal keys fetch`: the keys that it adds to a keys file and keeps, and the consent that it asks for.

use std::fs;

use serde_json::{Value, json};

use crate::api_server::{fetch, list, list_of, object, point_at, request, respond, serve, serve_with};
use crate::folder::{Folder, SECRET};
use crate::terminal::with_answers;

/// The line about a key that changes; `now` is its state afterwards.
fn change(folder: &Folder, name: &str, now: &str, what: &str) -> String {
    let object = object(&folder.read(&format!("{name}.yaml")));
    let (id, spec) = (&object["metadata"]["name"], &object["spec"]);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let (role, created) = (text(&spec["role"]), text(&spec["createdAt"]));
    format!("key {} ({role}, {now}, created {created}){what}: {}\n", text(id), folder.fingerprint(name))
}

pub(crate) fn announcement(folder: &Folder, name: &str) -> String {
    format!("new {}", change(folder, name, "Active", ""))
}

/// The error when a key was not accepted.
pub(crate) fn denial(id: &str) -> String {
    format!(
        "error: prod.yaml: {id} was not accepted: the file stays as it is
hint: compare the fingerprint with what the cluster's operator says, then pass `--accept FINGERPRINT`
"
    )
}

/// Writes the keys of these names to `prod.yaml`, as `keys fetch` writes them.
fn write_keys_file(folder: &Folder, names: &[&str]) {
    point_at(folder, serve("200 OK", list(folder, names)));
    let accept: Vec<_> = names.iter().map(|name| folder.fingerprint(name)).collect();
    let accept: Vec<_> = accept.iter().flat_map(|fingerprint| ["--accept", fingerprint]).collect();
    let fetched = fetch(folder, &accept).writes(&["prod.yaml"]).finish();
    assert_eq!(fetched.status.code(), Some(0), "{}", fetched.stderr);
}

fn with_state(folder: &Folder, name: &str, state: &str) -> Value {
    let mut object = object(&folder.read(&format!("{name}.yaml")));
    object["spec"]["state"] = state.into();
    object
}

#[test]
fn accepted_keys_are_written_and_can_be_sealed_to() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    point_at(&folder, serve("200 OK", list(&folder, &["recovery", "cluster"])));
    let (one, two) = (folder.fingerprint("cluster"), folder.fingerprint("recovery"));
    let accept = ["--accept", &one, "--accept", &two];
    let announced = announcement(&folder, "recovery") + &announcement(&folder, "cluster");
    let said = fetch(&folder, &accept).writes(&["prod.yaml"]).warns(&announced);
    assert_eq!(said, "");
    let keys = folder.read("prod.yaml");
    assert!(keys.starts_with("apiVersion: v1\nkind: List\nitems:\n"), "{keys}");
    assert!(!keys.contains("resourceVersion") && !keys.contains("waxseal-system"), "{keys}");
    fetch(&folder, &[]).prints("");
    fetch(&folder, &["--check"]).prints("");
    let sealed = folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(SECRET).succeeds();
    for key in ["cluster.key", "recovery.key"] {
        folder.waxseal(&["open", "-", "--identity", key]).stdin(&sealed).succeeds();
    }
}

#[test]
fn a_new_key_is_not_written_without_consent() {
    let folder = Folder::with_key();
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let refusal = announcement(&folder, "cluster") + &denial(&folder.key_id("cluster"));
    fetch(&folder, &[]).fails(3, &refusal);
    fetch(&folder, &["--accept", &format!("sha256:{:064}", 0)]).stdin("yes\n").fails(3, &refusal);
}

#[test]
fn consent_is_asked_for_at_the_terminal() {
    for (answer, code) in [("yes", 0), ("y", 3)] {
        let folder = Folder::with_key();
        point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
        let fetch = ["keys", "fetch", "-o", "prod.yaml", "--kubeconfig", "kubeconfig"];
        let (status, shown) = with_answers(&folder, &fetch, &format!("{answer}\n"));
        assert!(shown.contains(&announcement(&folder, "cluster")), "{shown}");
        assert!(shown.contains("Take it into the file? Type yes: "), "{shown}");
        assert_eq!(status, Some(code), "{shown}");
        assert_eq!(folder.path().join("prod.yaml").exists(), code == 0);
    }
}

/// The question can wait for minutes, and meanwhile `keys revoke` can write into the file.
#[test]
fn a_keys_file_that_changes_while_keys_are_fetched_stays_as_it_is() {
    let folder = Folder::with_key();
    folder.generate("newer", &[]);
    write_keys_file(&folder, &["cluster"]);
    let revoked = folder.read("prod.yaml").replace("Active", "Revoked");
    let (path, text) = (folder.path().join("prod.yaml"), revoked.clone());
    let keys = list(&folder, &["cluster", "newer"]).to_string();
    let port = serve_with(move |stream| {
        request(&stream);
        fs::write(&path, &text).expect("a file");
        respond(stream, "200 OK", &keys);
    });
    point_at(&folder, port);
    let fetched = fetch(&folder, &["--accept", &folder.fingerprint("newer")]).writes(&["prod.yaml"]).finish();
    let error =
        "error: prod.yaml: changed while waxseal worked on it, so it stays as it is\nhint: run the command again\n";
    assert!(fetched.stderr.ends_with(error), "{}", fetched.stderr);
    assert_eq!((fetched.status.code(), folder.read("prod.yaml")), (Some(1), revoked));
}

#[test]
fn check_lists_each_difference() {
    let folder = Folder::with_key();
    folder.generate("new", &[]);
    folder.generate("gone", &[]);
    folder.write("prod.yaml", format!("{}---\n{}", folder.read("cluster.yaml"), folder.read("gone.yaml")));
    let (cluster, new, gone) = (folder.key_id("cluster"), folder.key_id("new"), folder.key_id("gone"));
    let mut keys = list(&folder, &["cluster", "new"]);
    keys["items"][0]["spec"]["state"] = "Retired".into();
    point_at(&folder, serve("200 OK", keys));
    fetch(&folder, &["--check"]).fails(
        4,
        &format!(
            "error: prod.yaml: differs from the cluster: {cluster} is Retired now, {new} is new, {gone} is gone
hint: run `waxseal keys fetch` without `--check`, and commit the file
"
        ),
    );
}

/// The person who adds a recovery key to the file can read everything that is sealed from then on.
#[test]
fn a_recovery_key_that_only_the_file_has_stays_and_is_named() {
    let folder = Folder::with_key();
    folder.generate("planted", &["--recovery"]);
    write_keys_file(&folder, &["cluster", "planted"]);
    let file = folder.read("prod.yaml");
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let id = folder.key_id("planted");
    let warning =
        format!("warning: {id}: is a recovery key that the cluster does not publish; everything is sealed to it too\n");
    fetch(&folder, &[]).warns(&warning);
    assert_eq!(folder.read("prod.yaml"), file);
    let error = format!("error: prod.yaml: has a recovery key that the cluster does not publish: {id}\n");
    let hint = "hint: if the key is yours, name it in the configuration of the controller; if it is not, write \
                `state: Revoked` for it in the file, and take it out of the values with `waxseal rotate --reseal`\n";
    fetch(&folder, &["--check"]).fails(4, &format!("{warning}{error}{hint}"));
}

#[test]
fn a_revoked_key_stays_revoked_in_the_file() {
    let folder = Folder::with_key();
    let revoked = folder.read("cluster.yaml").replace("Active", "Revoked");
    folder.write("prod.yaml", &revoked);
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let id = folder.key_id("cluster");
    let stderr =
        format!("warning: {id}: is less strict in the cluster than in the file; it stays Revoked in the file\n");
    fetch(&folder, &[]).writes(&["prod.yaml"]).warns(&stderr);
    assert!(folder.read("prod.yaml").contains("state: Revoked"));
}

#[test]
fn a_key_with_another_role_or_creation_time_is_refused() {
    let folder = Folder::with_key();
    folder.write("prod.yaml", folder.read("cluster.yaml"));
    let stderr = format!(
        "error: prod.yaml: {} has another role or creation time in the cluster
hint: the role and the creation time of a key never change: find out who changed the file or the cluster
",
        folder.key_id("cluster")
    );
    for (field, value) in [("createdAt", "2020-01-01T00:00:00Z"), ("role", "Recovery")] {
        let mut keys = list(&folder, &["cluster"]);
        keys["items"][0]["spec"][field] = value.into();
        point_at(&folder, serve("200 OK", keys));
        fetch(&folder, &[]).fails(3, &stderr);
    }
}

#[test]
fn invalid_sealing_keys_are_refused() {
    let folder = Folder::with_key();
    let mut keys = list(&folder, &["cluster"]);
    keys["items"][0]["metadata"]["name"] = "k0000000000000000".into();
    point_at(&folder, serve("200 OK", keys));
    let id = folder.key_id("cluster");
    let stderr = format!(
        "error: context test: a SealingKey of the cluster is not valid: metadata.name: must be {id}, the key id of its recipient\n"
    );
    fetch(&folder, &[]).fails(3, &stderr);
}

#[test]
fn all_fingerprints_are_shown_before_the_first_key_is_refused() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    point_at(&folder, serve("200 OK", list(&folder, &["cluster", "recovery"])));
    let shown = announcement(&folder, "cluster") + &announcement(&folder, "recovery");
    fetch(&folder, &[]).fails(3, &(shown.clone() + &denial(&folder.key_id("cluster"))));
    let accept = ["--accept", &folder.fingerprint("cluster")];
    fetch(&folder, &accept).fails(3, &(shown + &denial(&folder.key_id("recovery"))));
}

#[test]
fn recovery_keys_and_revoked_keys_stay_in_the_file() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("revoked", &[]);
    write_keys_file(&folder, &["cluster", "recovery", "revoked"]);
    let keys = [object(&folder.read("cluster.yaml")), object(&folder.read("recovery.yaml"))];
    let revoked = with_state(&folder, "revoked", "Revoked");
    point_at(&folder, serve("200 OK", list_of(&[keys[0].clone(), keys[1].clone(), revoked])));
    let said = change(&folder, "revoked", "Revoked", " was Active in the file");
    let outcome = fetch(&folder, &[]).writes(&["prod.yaml"]).finish();
    assert!(outcome.stderr.ends_with(&said), "{}", outcome.stderr);
    let file = folder.read("prod.yaml");

    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    assert_eq!(fetch(&folder, &[]).finish().status.code(), Some(0));
    assert_eq!(folder.read("prod.yaml"), file);
    let shown = folder.waxseal(&["keys", "list", "prod.yaml"]).succeeds();
    assert_eq!(shown.matches("Recovery  Active").count(), 1, "{shown}");
    assert_eq!(shown.matches("Cluster   Revoked").count(), 1, "{shown}");
}

#[test]
fn a_key_that_is_gone_becomes_retired_only_with_consent() {
    let folder = Folder::with_key();
    folder.generate("gone", &[]);
    write_keys_file(&folder, &["cluster", "gone"]);
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let (id, fingerprint) = (folder.key_id("gone"), folder.fingerprint("gone"));
    let said = change(&folder, "gone", "Retired", " is not in the cluster any more");
    fetch(&folder, &["--check"]).fails(
        4,
        &format!(
            "error: prod.yaml: differs from the cluster: {id} is gone
hint: run `waxseal keys fetch` without `--check`, and commit the file
"
        ),
    );
    let denied = fetch(&folder, &[]).finish();
    assert_eq!((denied.stderr.ends_with(&(said.clone() + &denial(&id))), denied.status.code()), (true, Some(3)));
    let accepted = fetch(&folder, &["--accept", &fingerprint]).writes(&["prod.yaml"]).finish();
    assert_eq!((accepted.stderr.ends_with(&said), accepted.status.code()), (true, Some(0)));
    let states = |text: &str| (text.matches("state: Active").count(), text.matches("state: Retired").count());
    assert_eq!(states(&folder.read("prod.yaml")), (1, 1));
    assert!(folder.read("prod.yaml").contains(&id));
    fetch(&folder, &["--check"]).prints("");
}

#[test]
fn a_less_strict_state_needs_consent_and_a_stricter_state_does_not() {
    let folder = Folder::with_key();
    folder.generate("other", &[]);
    write_keys_file(&folder, &["cluster", "other"]);
    let states = |state: &str| {
        let other = object(&folder.read("other.yaml"));
        point_at(&folder, serve("200 OK", list_of(&[with_state(&folder, "cluster", state), other])));
    };
    let (id, fingerprint) = (folder.key_id("cluster"), folder.fingerprint("cluster"));
    states("Retired");
    let tightened = fetch(&folder, &[]).writes(&["prod.yaml"]).finish();
    let said = change(&folder, "cluster", "Retired", " was Active in the file");
    assert!(tightened.stderr.ends_with(&said), "{}", tightened.stderr);
    assert_eq!(tightened.status.code(), Some(0));
    assert!(folder.read("prod.yaml").contains("state: Retired"));

    states("Active");
    let said = change(&folder, "cluster", "Active", " was Retired in the file");
    let denied = fetch(&folder, &[]).finish();
    assert!(denied.stderr.ends_with(&(said.clone() + &denial(&id))), "{}", denied.stderr);
    assert_eq!(denied.status.code(), Some(3));
    let loosened = fetch(&folder, &["--accept", &fingerprint]).writes(&["prod.yaml"]).finish();
    assert!(loosened.stderr.ends_with(&said), "{}", loosened.stderr);
    assert!(!folder.read("prod.yaml").contains("state: Retired"));
}

#[test]
fn a_new_primary_is_reported() {
    let folder = Folder::with_key();
    folder.generate("newer", &[]);
    folder.write("cluster.yaml", folder.made_at("cluster", "2020-01-01T00:00:00Z"));
    write_keys_file(&folder, &["cluster", "newer"]);

    let retired = |name: &str| with_state(&folder, name, "Retired");
    let older = object(&folder.read("cluster.yaml"));
    point_at(&folder, serve("200 OK", list_of(&[older, retired("newer")])));
    let said = format!(
        "key {} becomes the primary: new values are sealed to it\n{}",
        folder.key_id("cluster"),
        change(&folder, "newer", "Retired", " was Active in the file")
    );
    fetch(&folder, &[]).writes(&["prod.yaml"]).warns(&said);

    point_at(&folder, serve("200 OK", list_of(&[retired("cluster"), retired("newer")])));
    let said = format!(
        "no key of the cluster is Active: nothing can be sealed for the cluster\n{}",
        change(&folder, "cluster", "Retired", " was Active in the file")
    );
    fetch(&folder, &[]).writes(&["prod.yaml"]).warns(&said);
}

/// `waxseal keys rotate` requests the retirement of the only Active key, which stays Active while no controller runs.
#[test]
fn the_last_active_key_stays_active_until_its_retirement_is_carried_out() {
    let folder = Folder::with_key();
    let serve_states = |requested: &str, confirmed: &str| {
        let mut key = with_state(&folder, "cluster", requested);
        key["status"] = json!({ "state": confirmed });
        point_at(&folder, serve("200 OK", list_of(&[key])));
    };
    let (id, fingerprint) = (folder.key_id("cluster"), folder.fingerprint("cluster"));
    let note =
        format!("{id}: Retired is requested, and the controller has not carried it out yet: it counts as Active\n");
    serve_states("Retired", "Active");
    let stderr = note.clone() + &announcement(&folder, "cluster");
    fetch(&folder, &["--accept", &fingerprint]).writes(&["prod.yaml"]).warns(&stderr);
    folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(SECRET).succeeds();
    let file = folder.read("prod.yaml");
    for options in [&[][..], &["--check"]] {
        fetch(&folder, options).warns(&note);
        assert_eq!(folder.read("prod.yaml"), file);
    }
    // A file in which the key is Retired already.
    folder.write("prod.yaml", file.replace("Active", "Retired"));
    let differs = format!(
        "error: prod.yaml: differs from the cluster: {id} is Active now
hint: run `waxseal keys fetch` without `--check`, and commit the file
"
    );
    fetch(&folder, &["--check"]).fails(4, &(note + &differs));
    folder.write("prod.yaml", &file);

    // A revocation counts at once.
    serve_states("Revoked", "Active");
    let said = format!(
        "no key of the cluster is Active: nothing can be sealed for the cluster\n{}",
        change(&folder, "cluster", "Revoked", " was Active in the file")
    );
    fetch(&folder, &[]).writes(&["prod.yaml"]).warns(&said);
}

#[test]
fn the_same_keys_give_the_same_bytes() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("other", &[]);
    write_keys_file(&folder, &["cluster", "recovery", "other"]);
    let file = folder.read("prod.yaml");
    point_at(&folder, serve("200 OK", list(&folder, &["other", "cluster", "recovery", "cluster"])));
    fetch(&folder, &[]).prints("");
    assert_eq!(folder.read("prod.yaml"), file);
    // A file with the same keys in another form is rewritten.
    let files = ["other", "recovery", "cluster"].map(|name| folder.read(&format!("{name}.yaml")));
    folder.write("prod.yaml", files.join("---\n"));
    fetch(&folder, &["--check"]).prints("");
    fetch(&folder, &[]).writes(&["prod.yaml"]).prints("");
    assert_eq!(folder.read("prod.yaml"), file);
}

#[test]
fn a_file_that_is_not_a_keys_file_is_not_overwritten() {
    let folder = Folder::with_key();
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    let line = folder.read("cluster.key").lines().position(|line| line.starts_with("AGE-")).expect("it") + 1;
    let kubectl = "hint: a keys file is what `kubectl get sealingkeys -o yaml` prints\n";
    for (text, place, reason, hint) in [
        (sealed.as_str(), ":1:1".to_owned(), "not a SealingKey", kubectl),
        (SECRET, ":1:1".to_owned(), "not a SealingKey", kubectl),
        ("", String::new(), "no SealingKey in it", kubectl),
        ("a note\n", ":1:1".to_owned(), "must be a mapping, not a string", ""),
        (
            &folder.read("cluster.key"),
            format!(":{line}:1"),
            "this is an identity, a private key",
            "hint: `waxseal keys public --identity FILE` prints its SealingKey\n",
        ),
        (
            &folder.read("cluster.yaml").replace("Active", "Actve"),
            ":9:10".to_owned(),
            "spec.state: must be one of Active, Retired, Revoked",
            "hint: update Waxseal, if a newer version wrote this\n",
        ),
    ] {
        folder.write("prod.yaml", text);
        let stderr = format!("error: prod.yaml{place}: this file is not a keys file: {reason}\n{hint}");
        for options in [&[][..], &["--check"], &["--accept", &folder.fingerprint("cluster")]] {
            fetch(&folder, options).fails(3, &stderr);
        }
    }
}

/// Reading it, as a keys file is read before it is replaced, would wait for ever.
#[test]
fn a_pipe_instead_of_a_keys_file_is_refused() {
    let folder = Folder::with_key();
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let fetch = ["keys", "fetch", "-o", "/dev/stdout", "--kubeconfig", "kubeconfig"];
    folder.waxseal(&fetch).fails(3, "error: /dev/stdout: is not a regular file, so it is not replaced\n");
}

#[test]
fn a_key_with_a_creation_time_in_the_future_is_refused() {
    let folder = Folder::with_key();
    folder.generate("future", &[]);
    let mut future = object(&folder.read("future.yaml"));
    future["spec"]["createdAt"] = "2999-01-01T00:00:00Z".into();
    let id = folder.key_id("future");
    let refusal = |place: &str| {
        format!(
            "error: {place}: {id}: its creation time, 2999-01-01T00:00:00Z, is in the future
hint: such a key would stay the primary: find out who published it, or correct the clock
"
        )
    };
    let cluster = object(&folder.read("cluster.yaml"));
    point_at(&folder, serve("200 OK", list_of(&[cluster, future])));
    fetch(&folder, &[]).fails(3, &refusal("context test"));

    // Such a key is refused, too, if only the file has it.
    write_keys_file(&folder, &["cluster"]);
    let future = folder.made_at("future", "2999-01-01T00:00:00Z");
    folder.write("prod.yaml", format!("{}---\n{future}", folder.read("cluster.yaml")));
    let accept = ["--accept", &folder.fingerprint("future")];
    fetch(&folder, &accept).fails(3, &refusal("prod.yaml"));
    let recovery = future.replace("role: Cluster", "role: Recovery");
    folder.write("prod.yaml", format!("{}---\n{recovery}", folder.read("cluster.yaml")));
    fetch(&folder, &accept).fails(3, &refusal("prod.yaml"));
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let folder = Folder::with_key();
    let (one, retired) = (object(&folder.read("cluster.yaml")), with_state(&folder, "cluster", "Retired"));
    point_at(&folder, serve("200 OK", list_of(&[one, retired])));
    let id = folder.key_id("cluster");
    let refused = |text: &str| format!("error: context test: these keys cannot be written to a keys file: {text}\n");
    fetch(&folder, &[]).fails(3, &refused(&format!("items[1]: {id} was given before, with different contents")));
}

#[test]
fn the_folder_of_a_new_keys_file_is_created() {
    let folder = Folder::with_key();
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let accept = ["--accept", &folder.fingerprint("cluster")];
    let fetch = ["keys", "fetch", "-o", ".waxseal/prod.yaml", "--kubeconfig", "kubeconfig"];
    let denied = announcement(&folder, "cluster") + &denial(&folder.key_id("cluster")).replace("prod", ".waxseal/prod");
    folder.waxseal(&fetch).fails(3, &denied);
    assert!(!folder.path().join(".waxseal").exists());
    let run = folder.waxseal(&[&fetch[..], &accept].concat());
    run.writes(&[".waxseal/prod.yaml"]).warns(&announcement(&folder, "cluster"));
}

#[test]
fn a_text_that_is_not_a_fingerprint_is_refused() {
    let folder = Folder::new();
    for text in ["nonsense", "sha256:00", &format!("sha256:{:064}", "X"), &format!("{:064}", 0)] {
        let said = fetch(&folder, &["--accept", text]).finish();
        assert_eq!(said.status.code(), Some(2));
        let refused = "not a fingerprint: write `sha256:` and 64 digits, each 0 to 9 or a to f";
        assert!(said.stderr.contains(refused), "{}", said.stderr);
    }
}

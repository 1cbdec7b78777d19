//! `waxseal keys list`.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::api_server::{list, list_of, object, point_at, request_line, respond, serve, serve_with};
use crate::folder::Folder;

#[test]
fn keys_list_shows_each_key_and_the_primary() {
    let folder = Folder::new();
    folder.generate("old", &[]);
    folder.generate("new", &[]);
    folder.generate("recovery", &["--recovery", "--classic"]);
    let keys = [("recovery", 3), ("new", 2), ("old", 1)]
        .map(|(name, day)| folder.made_at(name, &format!("2026-01-0{day}T00:00:00Z")));
    folder.write("keys.yaml", keys.join("---\n"));
    let [old, new, recovery] = ["old", "new", "recovery"].map(|name| folder.key_id(name));
    let text = folder.waxseal(&["keys", "list", "keys.yaml"]).succeeds();
    let shown: Vec<_> = text.lines().map(|line| line.split(" sha256:").next().unwrap_or_default()).collect();
    assert_eq!(
        shown,
        [
            "KEY                ROLE      STATE             CREATED               KIND     FINGERPRINT".to_owned(),
            format!("{old}  Cluster   Active            2026-01-01T00:00:00Z  hybrid  "),
            format!("{new}  Cluster   Active (primary)  2026-01-02T00:00:00Z  hybrid  "),
            format!("{recovery}  Recovery  Active            2026-01-03T00:00:00Z  classic "),
        ]
    );
    let json = folder.waxseal(&["keys", "list", "keys.yaml", "--format", "json"]).succeeds();
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows[1]["key"], new.as_str());
    assert_eq!(rows[1]["primary"], true);
    assert_eq!(rows[2]["kind"], "classic");
    assert!(rows[0]["fingerprint"].as_str().is_some_and(|text| text.starts_with(&format!("sha256:{}", &old[1..]))));
}

#[test]
fn keys_list_reads_files_and_stdin() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    let [one, two] = ["cluster.yaml", "recovery.yaml"].map(|file| folder.waxseal(&["keys", "list", file]).succeeds());
    assert_eq!(folder.waxseal(&["keys", "list", "-"]).stdin(folder.read("cluster.yaml")).succeeds(), one);
    let both = folder.waxseal(&["keys", "list", "--format", "text", "--", "cluster.yaml", "recovery.yaml"]).succeeds();
    for key in ["cluster", "recovery"] {
        assert!(both.contains(&folder.key_id(key)), "{both}");
    }
    assert_eq!(both.lines().count(), one.lines().count() + two.lines().count() - 1);
    let stderr = "error: `-` names stdin twice, and stdin can be read only once\n";
    folder.waxseal(&["keys", "list", "-", "-"]).fails(2, stderr);
    let stderr = "error: absent.yaml: no such file or folder\n";
    folder.waxseal(&["keys", "list", "absent.yaml"]).fails(1, stderr);
}

#[test]
fn a_namespace_is_refused_if_the_keys_come_from_files() {
    let folder = Folder::with_key();
    for source in [&["cluster.yaml"][..], &["--to", "prod"]] {
        let outcome = folder.waxseal(&[&["keys", "list", "-n", "other"], source].concat()).finish();
        assert_eq!(outcome.status.code(), Some(2));
        assert!(outcome.stderr.contains("cannot be used with"), "{}", outcome.stderr);
    }
}

#[test]
fn keys_list_warns_of_a_creation_time_in_the_future() {
    let folder = Folder::with_key();
    folder.write("keys.yaml", folder.made_at("cluster", "2999-01-01T00:00:00Z"));
    let id = folder.key_id("cluster");
    let list = folder.waxseal(&["keys", "list", "keys.yaml"]).warns(&format!(
        "warning: keys.yaml: {id}: its creation time, 2999-01-01T00:00:00Z, is in the future: `waxseal seal` refuses a keys file with it\n"
    ));
    assert!(list.contains("Active (primary)  2999-01-01T00:00:00Z"), "{list}");
}

/// The status of the first key confirms another state and has no backup. The second status is complete. The third key
/// has no status.
#[test]
fn keys_list_of_a_cluster_shows_state_age_objects_and_backup() {
    let folder = Folder::new();
    folder.generate("old", &[]);
    folder.generate("new", &[]);
    folder.generate("recovery", &["--recovery"]);
    let mut keys = list(&folder, &["old", "new", "recovery"]);
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(25);
    keys["items"][0]["spec"]["createdAt"] = json!("2020-01-01T00:00:00Z");
    keys["items"][1]["spec"]["createdAt"] = json!(yesterday.to_string());
    keys["items"][2]["spec"]["createdAt"] = json!("2020-01-01T00:00:00Z");
    keys["items"][0]["spec"]["state"] = json!("Retired");
    keys["items"][0]["status"] = json!({"state": "Active", "objects": 12, "onlyObjects": 3,
        "identitySecret": {"name": "one", "uid": "u"}});
    keys["items"][1]["status"] = json!({"state": "Active", "objects": 0, "onlyObjects": 0,
        "lastBackupTime": "2026-01-01T00:00:00Z", "note": "of a newer definition"});
    point_at(&folder, serve("200 OK", keys));
    let run =
        |format: &str| folder.waxseal(&["keys", "list", "--kubeconfig", "kubeconfig", "--format", format]).succeeds();
    let text = run("text");
    let rows: Vec<Vec<_>> =
        text.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(rows[0], ["KEY", "ROLE", "STATE", "CREATED", "AGE", "OBJECTS", "ONLY", "BACKUP", "KIND", "FINGERPRINT"]);
    assert_eq!(rows[1][2], "Retired (not confirmed)");
    assert_eq!(rows[1][5..8], ["12", "3", "none"]);
    assert_eq!(rows[2][2], "Active (primary)");
    assert_eq!(rows[2][4..8], ["1d", "0", "0", "2026-01-01T00:00:00Z"]);
    assert_eq!((rows[3][2], &rows[3][5..8]), ("Active (not confirmed)", &["?", "?", "-"][..]));

    let json: Value = serde_json::from_str(&run("json")).expect("JSON");
    assert_eq!([&json[0]["state"], &json[0]["confirmedState"]], ["Retired", "Active"]);
    assert_eq!(
        [&json[0]["objects"], &json[0]["onlyObjects"], &json[0]["lastBackupTime"]],
        [&json!(12), &json!(3), &Value::Null]
    );
    assert!(json[1]["ageSeconds"].as_i64().is_some_and(|age| (90_000..91_000).contains(&age)), "{json}");
    assert_eq!(json[1]["lastBackupTime"], "2026-01-01T00:00:00Z");

    let of_file = folder.waxseal(&["keys", "list", "old.yaml", "--format", "json"]).succeeds();
    let of_file: Value = serde_json::from_str(&of_file).expect("JSON");
    assert_eq!(of_file[0].as_object().expect("a row").len(), 8, "{of_file}");
}

/// Everybody who may create SealingKeys can plant large ones.
#[test]
fn large_sealing_keys_do_not_hide_the_others() {
    let folder = Folder::with_key();
    for name in ["one", "two"] {
        folder.generate(name, &[]);
    }
    let names = ["cluster", "one", "two"];
    let keys = names.map(|name| object(&folder.read(&format!("{name}.yaml"))));
    let limits = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&limits);
    let port = serve_with(move |stream| {
        let line = request_line(&stream);
        let field = |name: &str| {
            let query = line.split(['?', ' ']).nth(2).expect("a query");
            query.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
        };
        let (limit, at) = (field("limit").expect("a limit"), field("continue").unwrap_or(0));
        asked.lock().expect("no panic").push((limit, at));
        if limit > 1 {
            return respond(stream, "200 OK", &" ".repeat(8 * 1024 * 1024 + 1));
        }
        let mut page = list_of(&keys[at..=at]);
        page["metadata"]["continue"] = if at + 1 < keys.len() { (at + 1).to_string() } else { String::new() }.into();
        respond(stream, "200 OK", &page.to_string());
    });
    point_at(&folder, port);
    let text = folder.waxseal(&["keys", "list", "--kubeconfig", "kubeconfig"]).succeeds();
    let rows: Vec<_> = text.lines().skip(1).map(|line| line.split(' ').next().expect("a key")).collect();
    assert_eq!(rows, names.map(|name| folder.key_id(name)));
    assert_eq!(*limits.lock().expect("no panic"), [(100, 0), (12, 0), (1, 0), (1, 1), (1, 2)]);
}

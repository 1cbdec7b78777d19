//! `waxseal keys list`.

use crate::folder::Folder;

#[test]
fn keys_list_shows_each_key_and_the_primary() {
    let folder = Folder::new();
    folder.generate("old", &[]);
    folder.generate("new", &[]);
    folder.generate("recovery", &["--recovery", "--classic"]);
    let at = |name: &str, time: &str| {
        let key = folder.read(&format!("{name}.yaml"));
        let created = key.lines().find(|line| line.contains("createdAt")).expect("a time").to_owned();
        key.replace(&created, &format!("  createdAt: \"{time}\""))
    };
    let keys =
        [at("recovery", "2026-01-03T00:00:00Z"), at("new", "2026-01-02T00:00:00Z"), at("old", "2026-01-01T00:00:00Z")];
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
fn keys_list_warns_of_a_creation_time_in_the_future() {
    let folder = Folder::with_key();
    let key = folder.read("cluster.yaml");
    let line = key.lines().find(|line| line.contains("createdAt")).expect("a time");
    folder.write("keys.yaml", key.replace(line, "  createdAt: \"2999-01-01T00:00:00Z\""));
    let id = folder.key_id("cluster");
    let list = folder.waxseal(&["keys", "list", "keys.yaml"]).warns(&format!(
        "warning: keys.yaml: {id}: its creation time, 2999-01-01T00:00:00Z, is in the future: `waxseal seal` refuses this file\n"
    ));
    assert!(list.contains("Active (primary)  2999-01-01T00:00:00Z"), "{list}");
}

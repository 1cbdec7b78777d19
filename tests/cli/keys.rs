use crate::folder::Folder;

#[test]
fn a_key_file_survives_its_own_reading() {
    let folder = Folder::with_key();
    let key = folder.read("cluster.yaml");
    folder.waxseal(&["keys", "public", "--identity", "cluster.key"]).prints(&key);
    let recovery = folder.waxseal(&["keys", "public", "--identity", "cluster.key", "--recovery"]);
    recovery.prints(&key.replace("role: Cluster", "role: Recovery"));
    assert!(folder.recipient("cluster").starts_with("age1pq1"));
    folder.generate("classic", &["--classic", "--recovery"]);
    assert!(folder.read("classic.yaml").contains("role: Recovery\n"));
    assert!(!folder.recipient("classic").starts_with("age1pq1"));
}

#[test]
fn an_identity_is_never_written_over() {
    let folder = Folder::with_key();
    let generate = folder.waxseal(&["keys", "generate", "-o", "cluster.key"]);
    generate.fails(3, "error: cluster.key: exists already, and secrets are never written over a file\n");
    let generate = folder.waxseal(&["keys", "generate", "-o", "absent/new.key"]);
    generate.fails(1, "error: absent: no such file or folder\n");
}

#[test]
fn an_identity_file_has_to_say_how_old_it_is() {
    let folder = Folder::with_key();
    let identity = folder.read("cluster.key");
    let secret = identity.lines().last().expect("the identity");
    folder.write("bare.key", secret);
    folder.waxseal(&["keys", "public", "--identity", "bare.key"]).fails(
        3,
        "error: bare.key: does not say when its keys were made, and the newest key is the primary
hint: add a line such as `# created: 2026-01-31T09:00:00Z` at its top
",
    );
    folder.write("dated.key", format!("# created: 2026-01-31T09:00:00Z\n{secret}\n"));
    let public = folder.waxseal(&["keys", "public", "--identity", "dated.key"]).succeeds();
    assert!(public.contains("createdAt: \"2026-01-31T09:00:00Z\"\n"), "{public}");
}

#[test]
fn a_list_shows_who_is_primary() {
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
    let text = folder.waxseal(&["keys", "list", "--keys", "keys.yaml"]).succeeds();
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
    let json = folder.waxseal(&["keys", "list", "--keys", "keys.yaml", "--format", "json"]).succeeds();
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows[1]["key"], new.as_str());
    assert_eq!(rows[1]["primary"], true);
    assert_eq!(rows[2]["kind"], "classic");
    assert!(rows[0]["fingerprint"].as_str().is_some_and(|text| text.starts_with(&format!("sha256:{}", &old[1..]))));
}

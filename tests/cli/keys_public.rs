//! `waxseal keys public`.

use crate::folder::Folder;

#[test]
fn keys_public_prints_the_sealing_key_that_keys_generate_printed() {
    let folder = Folder::with_key();
    let key = folder.read("cluster.yaml");
    folder.waxseal(&["keys", "public", "--identity", "cluster.key"]).prints(&key);
    let recovery = folder.waxseal(&["keys", "public", "--identity", "cluster.key", "--recovery"]);
    recovery.prints(&key.replace("role: Cluster", "role: Recovery"));
}

#[test]
fn an_identity_file_with_a_creation_time_in_the_future_is_refused() {
    let folder = Folder::with_key();
    let identity = folder.read("cluster.key");
    let created = identity.lines().find(|line| line.starts_with("# created: ")).expect("it says when");
    folder.write("future.key", identity.replace(created, "# created: 2999-01-01T00:00:00Z"));
    folder.waxseal(&["keys", "public", "--identity", "future.key"]).fails(
        3,
        "error: future.key: its creation time, 2999-01-01T00:00:00Z, is in the future
hint: correct its `# created:` line
",
    );
}

#[test]
fn an_identity_file_without_a_creation_time_is_refused() {
    let folder = Folder::with_key();
    let identity = folder.read("cluster.key");
    let secret = identity.lines().last().expect("the identity");
    folder.write("bare.key", secret);
    folder.waxseal(&["keys", "public", "--identity", "bare.key"]).fails(
        3,
        "error: bare.key: has no `# created:` line, and the creation time decides which key is the primary
hint: add a line such as `# created: 2026-01-31T09:00:00Z` at its top
",
    );
    folder.write("dated.key", format!("# created: 2026-01-31T09:00:00Z\n{secret}\n"));
    let public = folder.waxseal(&["keys", "public", "--identity", "dated.key"]).succeeds();
    assert!(public.contains("createdAt: \"2026-01-31T09:00:00Z\"\n"), "{public}");
}

#[test]
fn keys_public_prints_the_strictest_state_of_the_identity_file() {
    let folder = Folder::with_key();
    let public = |states: &str| {
        folder.write("stated.key", format!("{states}{}", folder.read("cluster.key")));
        folder.waxseal(&["keys", "public", "--identity", "stated.key"])
    };
    let active = public("").succeeds();
    assert!(active.contains("state: Active\n"), "{active}");
    public("# state: Retired\n#State: Revoked\n").prints(&active.replace("state: Active", "state: Revoked"));
    public("# state: hunter2\n").fails(
        3,
        "error: stated.key: has a `# state:` line that is not a state of a key
hint: correct it to Active, Retired or Revoked
",
    );
}

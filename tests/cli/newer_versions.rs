//! Files that a newer version of Waxseal may have written: the error says so, and the files stay as they are.

use crate::folder::{Folder, SECRET};

const HINT: &str = "hint: update Waxseal, if a newer version wrote this\n";

#[test]
fn sealed_secrets_of_a_newer_version_are_refused_and_stay() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    for (newer, error) in [
        (sealed.replace("v1alpha1", "v1beta1"), format!("1:1: a SealedSecret of a version that is not known\n{HINT}")),
        (sealed.replace("spec:", "spec:\n  colour: red"), format!("7:3: spec: unknown field \"colour\"\n{HINT}")),
        (
            sealed.replace("spec:", "spec:\n  scope: Tenant"),
            format!("7:10: spec.scope: must be one of Strict, Namespace, Cluster\n{HINT}"),
        ),
    ] {
        assert_ne!(newer, sealed);
        folder.write("db.yaml", &newer);
        let stderr = format!("error: db.yaml:{error}");
        for command in [
            &["seal", "db.yaml", "--keys", "cluster.yaml"][..],
            &["inspect", "db.yaml"],
            &["open", "db.yaml", "--identity", "cluster.key"],
            &["unset", "db.yaml", "A"],
        ] {
            folder.waxseal(command).fails(3, &stderr);
        }
        assert_eq!(folder.read("db.yaml"), newer);
    }
}

#[test]
fn a_sealed_value_of_a_newer_version_is_not_called_a_plain_value() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    let newer = sealed.replace("wax1.", "wax2.");
    folder.write("db.yaml", &newer);
    let error = "spec.encryptedData.A: not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"\n";
    let line = newer.lines().position(|line| line.contains("wax2.")).expect("the value") + 1;
    let seal = folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml"]);
    seal.fails(3, &format!("error: db.yaml:{line}:8: {error}{HINT}"));
    let malformed = format!("error: db.yaml:1: shop/db: Malformed: {error}");
    folder.waxseal(&["open", "db.yaml", "--identity", "cluster.key"]).fails(3, &malformed);
    folder.waxseal(&["unset", "db.yaml", "A"]).fails(3, &malformed);
    assert_eq!(folder.read("db.yaml"), newer);
}

#[test]
fn keys_of_a_newer_version_are_refused() {
    let folder = Folder::with_key();
    let keys = folder.read("cluster.yaml");
    for (from, to, error) in [
        ("v1alpha1", "v1beta1", format!("1:1: a SealingKey of a version that is not known\n{HINT}")),
        (
            "state: Active",
            "state: Frozen",
            format!("9:10: spec.state: must be one of Active, Retired, Revoked\n{HINT}"),
        ),
        ("role: Cluster", "role: Witness", format!("8:9: spec.role: must be one of Cluster, Recovery\n{HINT}")),
        ("spec:", "spec:\n  colour: red", format!("6:3: spec: unknown field \"colour\"\n{HINT}")),
        (
            "age1pq1",
            "age1next1",
            format!("7:14: spec.recipient: not a recipient: expected \"age1pq1…\" or \"age1…\"\n{HINT}"),
        ),
    ] {
        let newer = keys.replace(from, to);
        assert_ne!(newer, keys);
        folder.write("newer.yaml", newer);
        let seal = folder.waxseal(&["seal", "--keys", "newer.yaml"]).stdin(SECRET);
        seal.fails(3, &format!("error: newer.yaml:{error}"));
    }
}

#[test]
fn an_identity_of_a_newer_kind_is_refused() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    let refused = "an identity of a kind that is not known; update Waxseal, if a newer version made it";
    for (kind, reason) in [("NEXT-", refused), ("", "neither an identity nor a comment")] {
        let next = folder.read("cluster.key").replace("AGE-SECRET-KEY-PQ-1", &format!("AGE-SECRET-KEY-{kind}1"));
        folder.write("next.key", next);
        let open = folder.waxseal(&["open", "-", "--identity", "next.key"]).stdin(&sealed);
        open.fails(3, &format!("error: next.key: line 3: {reason}\n"));
    }
}

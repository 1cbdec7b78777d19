//! `waxseal open`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use waxseal_tests::tampering::with_broken_wrap;

use crate::folder::{Folder, SECRET, data_of, envelope};

fn sealed_in(folder: &Folder) -> String {
    folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds()
}

#[test]
fn an_output_file_is_new_and_private() {
    let folder = Folder::with_key();
    folder.write("sealed.yaml", sealed_in(&folder));
    let open = ["open", "sealed.yaml", "--identity", "cluster.key", "-o", "db.yaml"];
    folder.waxseal(&open).writes(&["db.yaml"]).prints("");
    assert_eq!(data_of(&folder.read("db.yaml"))["A"], b"a long value");
    for name in ["db.yaml", "cluster.key"] {
        let mode = fs::metadata(folder.path().join(name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    folder.waxseal(&open).fails(3, "error: db.yaml: exists already, and secrets are never written over a file\n");
    folder
        .waxseal(&["open", "sealed.yaml", "--identity", "cluster.key", "-o", "yaml"])
        .fails(2, "error: --output names a file, and yaml looks like a format\nhint: the result has the format of the input; for a file with the name yaml write ./yaml\n");
}

#[test]
fn output_to_a_hyphen_is_stdout() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml", "-o", "-"]).stdin(SECRET).succeeds();
    let open = ["open", "-", "--identity", "cluster.key", "-o"];
    let opened = folder.waxseal(&[&open[..], &["-"]].concat()).stdin(&sealed).succeeds();
    assert_eq!(data_of(&opened)["A"], b"a long value");
    folder.waxseal(&[&open[..], &["./-"]].concat()).stdin(&sealed).writes(&["-"]).prints("");
    assert_eq!(folder.read("-"), opened);
    fs::remove_file(folder.path().join("-")).expect("a file");
    folder.waxseal(&["seal", "--keys", "cluster.yaml", "-o", "./-"]).stdin(SECRET).writes(&["-"]).prints("");
}

#[test]
fn the_error_for_a_wrong_identity_names_the_key_that_is_needed() {
    let folder = Folder::with_key();
    folder.generate("other", &[]);
    let sealed = sealed_in(&folder);
    let envelope = envelope(&sealed);
    let id = folder.key_id("cluster");
    let open = folder.waxseal(&["open", "-", "--identity", "other.key"]).stdin(&sealed);
    let refused = |keys: &str| {
        format!(
            "error: <stdin>:1: shop/db: KeyMissing: the given identities do not open the envelope {envelope}, which needs {keys}\n"
        )
    };
    let hint = "hint: pass `--keys KEYS_FILE` or `--to CLUSTER` to see the roles of these keys\n";
    open.fails(3, &(refused(&id) + hint));
    let open = folder.waxseal(&["open", "-", "--identity", "other.key", "--keys", "cluster.yaml"]).stdin(&sealed);
    open.fails(3, &refused(&format!("{id} (Cluster)")));
    let open = folder.waxseal(&["open", "-", "--identity", "other.key", "--identity", "cluster.key"]).stdin(&sealed);
    assert_eq!(data_of(&open.succeeds())["A"], b"a long value");
}

#[test]
fn the_error_for_a_wrong_identity_names_every_key_that_opens() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("other", &[]);
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml", "--keys", "recovery.yaml"]);
    let sealed = seal.stdin(SECRET).succeeds();
    let mut keys = [folder.key_id("cluster"), format!("{} (Recovery)", folder.key_id("recovery"))];
    keys.sort();
    let open = ["open", "-", "--identity", "other.key", "--keys", "recovery.yaml"];
    let outcome = folder.waxseal(&open).stdin(&sealed).finish();
    assert!(outcome.stderr.ends_with(&format!(", which needs {}\n", keys.join(" or "))), "{}", outcome.stderr);
}

#[test]
fn files_folders_and_stdin_are_opened_together() {
    let folder = Folder::with_key();
    let secret = |name: &str| SECRET.replace("name: db", &format!("name: {name}"));
    let seal = |name: &str| folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(secret(name)).succeeds();
    folder.write("apps/a.yaml", seal("a"));
    folder.write("apps/other.yaml", "kind: ConfigMap\n");
    folder.write("b.yaml", seal("b"));
    let json =
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"c","namespace":"shop"},"stringData":{"A":"x"}}"#;
    let json = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(json).succeeds();
    let open = |inputs: &[&str], stdin: &str| {
        folder.waxseal(&[&["open", "--identity", "cluster.key"], inputs].concat()).stdin(stdin).succeeds()
    };
    let opened = open(&["apps", "b.yaml", "-"], &json);
    let are_yaml: Vec<_> = opened.split("---\n").map(|document| document.contains("kind: Secret")).collect();
    assert_eq!(are_yaml, [true, true, false], "{opened}");
    assert!(opened.ends_with("}\n") && opened.contains("\"name\": \"c\""), "{opened}");
    assert_eq!(open(&[], &json), open(&["-"], &json));
    folder.write("none/x.yaml", "kind: ConfigMap\n");
    folder.waxseal(&["open", "none", "--identity", "cluster.key"]).fails(3, "error: none: no SealedSecret in it\n");
    folder.write("more/x.yaml", "kind: ConfigMap\n");
    let several = folder.waxseal(&["open", "none", "more", "--identity", "cluster.key"]);
    several.fails(3, "error: none, more: no SealedSecret in them\n");
}

#[test]
fn a_name_chooses_among_several_sealed_secrets() {
    let folder = Folder::with_key();
    let two = format!("{SECRET}---\n{}", SECRET.replace("db", "other"));
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(two).succeeds();
    let open = |options: &[&str]| {
        folder.waxseal(&[&["open", "-", "--identity", "cluster.key"], options].concat()).stdin(&sealed)
    };
    let both = open(&[]).succeeds();
    let (_, other) = both.split_once("---\n").expect("two documents");
    for name in ["other", "shop/other"] {
        open(&["--name", name]).prints(other);
    }
    open(&["--name", "web/other"]).fails(3, "error: <stdin>: no SealedSecret of that name in it\n");
}

#[test]
fn an_invalid_identity_file_is_refused() {
    let folder = Folder::with_key();
    let sealed = sealed_in(&folder);
    for (content, stderr) in [
        ("", "error: id: no identity in it\n"),
        ("# only this\nhunter2\n", "error: id: line 2: neither an identity nor a comment\n"),
    ] {
        folder.write("id", content);
        folder.waxseal(&["open", "-", "--identity", "id"]).stdin(&sealed).fails(3, stderr);
    }
    let open = folder.waxseal(&["open", "-", "--identity", "absent"]).stdin(&sealed);
    open.fails(1, "error: absent: no such file or folder\n");
}

#[test]
fn a_moved_renamed_or_edited_value_does_not_open() {
    let folder = Folder::with_key();
    let sealed = sealed_in(&folder);
    let open = |text: String| folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(text);
    open(sealed.replacen("namespace: shop", "namespace: web", 1)).fails(
        3,
        "error: <stdin>:1: web/db: Moved: sealed for shop/db (scope Strict), but this object is web/db (scope Strict)\n",
    );
    open(sealed.replace("    A: wax1", "    B: wax1")).fails(
        3,
        "error: <stdin>:1: shop/db: Unreadable: spec.encryptedData.B: does not open: it was changed, or sealed for another place\n",
    );
    open(sealed.replace("    A: wax1", "    A: wax2")).fails(
        3,
        "error: <stdin>:1: shop/db: Malformed: spec.encryptedData.A: not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"\n",
    );
}

#[test]
fn a_wrap_in_ascii_armour_is_refused() {
    let folder = Folder::with_key();
    let sealed = sealed_in(&folder);
    let id = folder.key_id("cluster");
    let wrap = sealed.lines().find(|line| line.contains(&id)).expect("its wrap");
    let (file, proof) = wrap.rsplit_once('.').expect("a proof");
    let (place, _) = file.rsplit_once(' ').expect("a key id");
    let armour = BASE64_STANDARD.encode("-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n");
    let envelope = envelope(&sealed);
    let open = folder.waxseal(&["open", "-", "--identity", "cluster.key"]);
    open.stdin(sealed.replace(wrap, &format!("{place} {armour}.{proof}"))).fails(
        3,
        &format!("error: <stdin>:1: shop/db: Malformed: spec.envelopes.{envelope}.wraps.{id}: the wrap is not an age v1 file in binary form\n"),
    );
}

#[test]
fn a_broken_wrap_of_another_key_is_warned_of() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml", "--keys", "recovery.yaml"]);
    let sealed = seal.stdin(SECRET).succeeds();
    let id = folder.key_id("recovery");
    let broken = with_broken_wrap(&sealed, &id);
    let envelope = envelope(&sealed);
    let stderr = format!("warning: <stdin>:1: shop/db: WrapBroken: envelope {envelope}: the wrap for {id} is broken\n");
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(broken).warns(&stderr);
    assert_eq!(data_of(&opened)["A"], b"a long value");
}

#[test]
fn nothing_is_printed_if_any_input_is_invalid() {
    let folder = Folder::with_key();
    folder.generate("other", &[]);
    let sealed = sealed_in(&folder);
    let open = |identity: &str, text: &str| folder.waxseal(&["open", "-", "--identity", identity]).stdin(text);
    let broken = format!("{sealed}---\n{}", sealed.replace("    A: wax1", "    A: wax2"));
    let line = sealed.lines().count() + 1;
    let stderr = format!(
        "error: <stdin>:{line}: shop/db: Malformed: spec.encryptedData.A: not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"\n"
    );
    for identity in ["cluster.key", "other.key"] {
        open(identity, &broken).fails(3, &stderr);
    }
}

#[test]
fn an_input_without_a_sealed_secret_is_refused_by_open() {
    let folder = Folder::with_key();
    let open = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(SECRET);
    open.fails(3, "error: <stdin>: no SealedSecret in it\n");
}

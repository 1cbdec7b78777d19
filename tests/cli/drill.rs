//! `waxseal drill`.

use waxseal_tests::tampering::{with_broken_wrap, with_other_start};

use crate::folder::{Folder, SECRET, envelope};

const DRILL: [&str; 4] = ["drill", "apps", "--identity", "recovery.key"];

/// A folder with the key of a cluster, a recovery key, and one file that is sealed to both keys.
fn folder() -> Folder {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.write("apps/db.yaml", sealed(&folder, "db", &["--keys", "cluster.yaml", "--keys", "recovery.yaml"]));
    folder
}

fn sealed(folder: &Folder, name: &str, keys: &[&str]) -> String {
    let secret = SECRET.replace("name: db", &format!("name: {name}"));
    folder.waxseal(&[&["seal"], keys].concat()).stdin(secret).succeeds()
}

#[test]
fn everything_that_opens_is_counted_and_nothing_is_shown_or_written() {
    let folder = folder();
    assert_eq!(folder.waxseal(&DRILL).warns("1 of 1 SealedSecret opened, with all values\n"), "");
    folder.write("apps/web.yaml", sealed(&folder, "web", &["--keys", "cluster.yaml", "--keys", "recovery.yaml"]));
    assert_eq!(folder.waxseal(&DRILL).warns("2 of 2 SealedSecrets opened, with all values\n"), "");
    let json = folder.waxseal(&[&DRILL[..], &["--format", "json"]].concat());
    assert_eq!(json.warns("2 of 2 SealedSecrets opened, with all values\n"), "[]\n");
}

#[test]
fn what_does_not_open_is_named_with_its_reason() {
    let folder = folder();
    folder.write("apps/web.yaml", sealed(&folder, "web", &["--keys", "cluster.yaml"]));
    folder.write("apps/api.yaml", sealed(&folder, "api", &["--keys", "cluster.yaml", "--keys", "recovery.yaml"]));
    let outcome = folder.waxseal(&DRILL).finish();
    assert_eq!(outcome.status.code(), Some(4));
    let expected = "2 of 3 SealedSecrets opened, with all values\n\
                    error: 1 of 3 SealedSecrets did not open: the values are lost if only the given identities are left\n\
                    hint: add a wrap for this identity with `waxseal rotate`, while another key still opens them\n";
    assert_eq!(outcome.stderr, expected);
    assert!(outcome.stdout.starts_with("apps/web.yaml:1: shop/web: KeyMissing: "), "{}", outcome.stdout);
    assert_eq!(outcome.stdout.lines().count(), 1);
    let json = folder.waxseal(&[&DRILL[..], &["--format", "json"]].concat()).finish();
    let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((&report[0]["name"], &report[0]["reason"]), (&"web".into(), &"KeyMissing".into()));
}

#[test]
fn a_value_that_was_changed_does_not_open() {
    let folder = folder();
    let text = folder.read("apps/db.yaml");
    let (before, token) = text.split_once(": wax1.").expect("a token");
    // The first character of the salt, after the envelope id and its dot.
    let (id, salt) = token.split_once('.').expect("an envelope id");
    folder.write("apps/db.yaml", format!("{before}: wax1.{id}.{}", with_other_start(salt)));
    let unreadable = |all: &str| {
        format!(
            "error: 1 of {all} did not open: it was changed, or a value was copied to another data key\n\
             hint: take the last good version from Git, or seal the value again with `waxseal set`\n"
        )
    };
    let outcome = folder.waxseal(&DRILL).finish();
    let expected = format!("0 of 1 SealedSecret opened, with all values\n{}", unreadable("1 SealedSecret"));
    assert_eq!((outcome.stderr, outcome.status.code()), (expected, Some(4)));
    assert!(outcome.stdout.contains("shop/db: Unreadable: "), "{}", outcome.stdout);
    // Each reason has its own remedy.
    folder.write("apps/web.yaml", sealed(&folder, "web", &["--keys", "cluster.yaml"]));
    let missing = "error: 1 of 2 SealedSecrets did not open: the values are lost if only the given identities are left\n\
                   hint: add a wrap for this identity with `waxseal rotate`, while another key still opens them\n";
    let expected = format!("0 of 2 SealedSecrets opened, with all values\n{}{missing}", unreadable("2 SealedSecrets"));
    let outcome = folder.waxseal(&DRILL).finish();
    assert_eq!((outcome.stderr, outcome.status.code()), (expected, Some(4)));
}

/// The key of the cluster opens every object, but the recovery key may be unable to open one of them.
#[test]
fn a_broken_wrap_is_named_and_fails_the_drill() {
    let folder = folder();
    folder.write("apps/web.yaml", sealed(&folder, "web", &["--keys", "cluster.yaml", "--keys", "recovery.yaml"]));
    let recovery = folder.key_id("recovery");
    let broken = with_broken_wrap(&folder.read("apps/db.yaml"), &recovery);
    folder.write("apps/db.yaml", &broken);
    let message = format!("envelope {}: the wrap for {recovery} is broken", envelope(&broken));
    let stderr = "2 of 2 SealedSecrets opened, with all values
error: 1 of 2 SealedSecrets opened, but with a broken wrap: the holder of its key may be unable to open the values
hint: remove each broken wrap, or replace it with `waxseal rotate --replace-broken` if the values are meant for its key
";
    for others in [&[][..], &["--identity", "recovery.key"]] {
        let drill = [&["drill", "apps", "--identity", "cluster.key"], others].concat();
        let outcome = folder.waxseal(&drill).finish();
        assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(4)));
        assert_eq!(outcome.stdout, format!("apps/db.yaml:1: shop/db: WrapBroken: {message}\n"));
        let json = folder.waxseal(&[&drill[..], &["--format", "json"]].concat()).finish();
        let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
        assert_eq!(report.as_array().map(Vec::len), Some(1));
        assert_eq!((&report[0]["reason"], &report[0]["message"]), (&"WrapBroken".into(), &message.as_str().into()));
    }
}

#[test]
fn a_manifest_that_cannot_be_read_fails_the_drill() {
    let folder = folder();
    folder.write("apps/bad.yaml", "a: [\n");
    let outcome = folder.waxseal(&DRILL).finish();
    assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(4), ""));
    assert!(outcome.stderr.contains("error: apps/bad.yaml:"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 of 1 SealedSecret opened"), "{}", outcome.stderr);
}

#[test]
fn a_drill_needs_an_identity_and_reads_stdin_once() {
    let folder = folder();
    let without = folder.waxseal(&["drill", "apps"]).finish();
    assert_eq!(without.status.code(), Some(2));
    let twice = folder.waxseal(&["drill", "-", "--identity", "-"]);
    twice.fails(2, "error: `-` names stdin twice, and stdin can be read only once\n");
}

#[test]
fn a_drill_that_finds_no_sealed_secret_fails() {
    let folder = folder();
    folder.write("plain/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    let stderr = "error: no SealedSecret in these paths: nothing was tried\n\
                  hint: name the folders with the sealed files\n";
    folder.waxseal(&["drill", "plain", "--identity", "recovery.key"]).fails(4, stderr);
}

//! Secrets that are sealed and opened again keep every byte.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::folder::{Folder, SECRET, assert_sealed, data_of};

/// Seals a manifest, checks that no value shows, opens it and compares every byte.
fn assert_survives(body: &str, expected: &[(&str, &[u8])], warning: &str) {
    let folder = Folder::with_key();
    folder.write("db.yaml", format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: shop}}\n{body}"));
    let sealed = folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml"]).warns(warning);
    let expected: BTreeMap<_, _> = expected.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect();
    assert_sealed(&sealed, &expected);
    folder.write("sealed.yaml", &sealed);
    let opened = folder.waxseal(&["open", "sealed.yaml", "--identity", "cluster.key"]).succeeds();
    assert!(opened.starts_with("apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  namespace: shop\n"), "{opened}");
    assert_eq!(data_of(&opened), expected);
}

#[test]
fn data_and_string_data_are_merged() {
    let body = "data: {A: b2xkIHZhbHVl, B: a2VwdA==}\nstringData: {A: new value, C: third value}\n";
    let warning = "warning: db.yaml:4:8: data.A: not sealed: stringData has this key too, and wins, as in Kubernetes\n";
    assert_survives(body, &[("A", b"new value"), ("B", b"kept"), ("C", b"third value")], warning);
}

#[test]
fn an_empty_value_and_a_secret_without_values_survive() {
    assert_survives("stringData: {EMPTY: ''}\n", &[("EMPTY", b"")], "");
    assert_survives("", &[], "warning: db.yaml:1:1: this Secret has no values\n");
}

#[test]
fn a_value_of_256_kib_survives() {
    let mut bytes = vec![0; 256 * 1024];
    let mut state = 1u64;
    for byte in &mut bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = state.to_be_bytes()[0];
    }
    let body = format!("data:\n  BLOB: {}\n", BASE64_STANDARD.encode(&bytes));
    let warning = "warning: db.yaml:1: larger than 200 KiB when sealed: `kubectl apply` needs `--server-side` for it\n";
    assert_survives(&body, &[("BLOB", &bytes)], warning);
}

#[test]
fn text_with_special_characters_survives() {
    let pem = "-----BEGIN CERTIFICATE-----\r\nMIIBjzCCATWgAwIBAgIU\r\n-----END CERTIFICATE-----\r\n";
    let body = format!(
        "stringData:\n  PEM: {pem:?}\n  EMOJI: \"🦭 wax 🕯\"\n  \"NO\": \"no\"\n  MODE: '0777'\n  FLOAT: \"1e3\"\n"
    );
    let expected: [(&str, &[u8]); 5] = [
        ("PEM", pem.as_bytes()),
        ("EMOJI", "🦭 wax 🕯".as_bytes()),
        ("NO", b"no"),
        ("MODE", b"0777"),
        ("FLOAT", b"1e3"),
    ];
    assert_survives(&body, &expected, "");
}

#[test]
fn block_scalars_keep_their_final_newlines() {
    let body =
        "stringData:\n  KEEP: |\n    two\n    lines\n  STRIP: |-\n    no newline\n  FOLD: >-\n    one\n    line\n";
    assert_survives(body, &[("KEEP", b"two\nlines\n"), ("STRIP", b"no newline"), ("FOLD", b"one line")], "");
}

#[test]
fn every_scope_opens() {
    for scope in ["Strict", "namespace", "CLUSTER"] {
        let folder = Folder::with_key();
        let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml", "--scope", scope]).stdin(SECRET).succeeds();
        let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(sealed).succeeds();
        assert_eq!(data_of(&opened)["A"], b"a long value", "{scope}");
    }
}

#[test]
fn labels_annotations_type_and_immutable_survive() {
    let folder = Folder::with_key();
    let secret = "apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: shop
  labels: {app: shop}
  annotations:
    argocd.argoproj.io/sync-wave: \"1\"
    example.test/note: kept
type: example.test/thing
immutable: true
stringData: {A: a long value}
";
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(secret).succeeds();
    assert!(
        sealed.contains("  namespace: shop\n  annotations:\n    argocd.argoproj.io/sync-wave: \"1\"\nspec:\n"),
        "{sealed}"
    );
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(sealed);
    opened.prints(
        "apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: shop
  labels:
    app: shop
  annotations:
    example.test/note: kept
type: example.test/thing
immutable: true
data:
  A: YSBsb25nIHZhbHVl
",
    );
}

#[test]
fn recipients_of_all_options_can_open() {
    let folder = Folder::with_key();
    folder.generate("other", &[]);
    folder.generate("recovery", &["--recovery"]);
    let recipient = folder.recipient("other");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {A: a long value}\n";
    let keys = ["--keys", "cluster.yaml", "--keys", "recovery.yaml", "-r", &recipient, "-r", &recipient, "-n", "shop"];
    let sealed = folder.waxseal(&[&["seal", "-"], &keys[..]].concat()).stdin(secret).succeeds();
    for name in ["cluster.key", "other.key", "recovery.key"] {
        let opened = folder.waxseal(&["open", "-", "--identity", name]).stdin(&sealed).succeeds();
        assert_eq!(data_of(&opened)["A"], b"a long value", "{name}");
    }
}

#[test]
fn classic_keys_seal_and_open() {
    let folder = Folder::new();
    folder.generate("classic", &["--classic"]);
    let seal = ["seal", "--keys", "classic.yaml", "--allow-classic"];
    let sealed = folder.waxseal(&seal).stdin(SECRET).succeeds();
    let opened = folder.waxseal(&["open", "-", "--identity", "classic.key"]).stdin(&sealed).succeeds();
    assert_eq!(data_of(&opened)["A"], b"a long value");
}

/// Seals and opens a manifest that kubectl printed.
fn assert_fixture_survives(name: &str, type_: &str, keys: &[&str]) {
    let folder = Folder::with_key();
    let path = format!("{}/fixtures/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(path).expect("a fixture");
    let expected = data_of(&manifest);
    assert_eq!(expected.keys().collect::<Vec<_>>(), keys);
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(&manifest).succeeds();
    assert_sealed(&sealed, &expected);
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(&sealed).succeeds();
    assert_eq!(data_of(&opened), expected);
    let type_line = format!("\ntype: {type_}\n");
    assert_eq!(opened.contains(&type_line), type_ != "Opaque", "{opened}");
}

#[test]
fn secrets_from_kubectl_create_survive() {
    assert_fixture_survives("generic", "Opaque", &["answer", "level", "password", "username"]);
    assert_fixture_survives("tls", "kubernetes.io/tls", &["tls.crt", "tls.key"]);
    assert_fixture_survives("docker-registry", "kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]);
    assert_fixture_survives("basic-auth", "kubernetes.io/basic-auth", &["password", "username"]);
    assert_fixture_survives("ssh-auth", "kubernetes.io/ssh-auth", &["ssh-privatekey"]);
}

#[test]
fn a_secret_from_kubectl_get_survives_without_server_fields() {
    assert_fixture_survives("get", "Opaque", &["password", "username"]);
    let folder = Folder::with_key();
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/get.yaml")).expect("a fixture");
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(manifest).succeeds();
    for dropped in ["last-applied", "kapp.k14s.io/original", "ownerReferences", "managedFields", "184467", "uid"] {
        assert!(!sealed.contains(dropped), "{dropped}\n{sealed}");
    }
    assert!(sealed.contains("example.test/owner: team-shop"), "{sealed}");
}

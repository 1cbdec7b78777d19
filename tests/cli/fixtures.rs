use std::fs;

use crate::folder::{Folder, assert_sealed, data_of};

/// Seals and opens a manifest as kubectl prints it.
fn assert_survives(name: &str, type_: &str, keys: &[&str]) {
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
fn what_kubectl_creates() {
    assert_survives("generic", "Opaque", &["answer", "level", "password", "username"]);
    assert_survives("tls", "kubernetes.io/tls", &["tls.crt", "tls.key"]);
    assert_survives("docker-registry", "kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]);
    assert_survives("basic-auth", "kubernetes.io/basic-auth", &["password", "username"]);
    assert_survives("ssh-auth", "kubernetes.io/ssh-auth", &["ssh-privatekey"]);
}

#[test]
fn what_kubectl_gets_loses_its_copies() {
    assert_survives("get", "Opaque", &["password", "username"]);
    let folder = Folder::with_key();
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/get.yaml")).expect("a fixture");
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(manifest).succeeds();
    for dropped in ["last-applied", "kapp.k14s.io/original", "ownerReferences", "managedFields", "184467", "uid"] {
        assert!(!sealed.contains(dropped), "{dropped}\n{sealed}");
    }
    assert!(sealed.contains("example.test/owner: team-shop"), "{sealed}");
}

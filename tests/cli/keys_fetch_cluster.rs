//! `waxseal keys fetch CLUSTER`: the keys file that `.waxseal.yaml` names, and where it is not written.

use std::fs;
use std::os::unix::fs::symlink;

use crate::api_server::{list, point_at, serve};
use crate::folder::{Folder, Run, SECRET};
use crate::keys_fetch::{announcement, denial};

/// Fetches the keys of the cluster `prod` of `.waxseal.yaml`.
fn fetch_prod<'a>(folder: &'a Folder, options: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["keys", "fetch", "prod", "--kubeconfig", "kubeconfig"], options].concat())
}

/// A folder with a configuration, a cluster key, and an API server that publishes the key.
fn configured() -> Folder {
    let folder = Folder::with_key();
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: .waxseal/prod.yaml}}\n");
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    folder
}

#[test]
fn the_keys_file_of_a_cluster_is_written_checked_and_sealed_to() {
    let folder = configured();
    let accept = ["--accept", &folder.fingerprint("cluster")];
    let denied = announcement(&folder, "cluster") + &denial(&folder.key_id("cluster")).replace("prod", ".waxseal/prod");
    fetch_prod(&folder, &[]).fails(3, &denied);
    assert!(!folder.path().join(".waxseal").exists());
    let id = folder.key_id("cluster");
    let hint = "hint: run `waxseal keys fetch` without `--check`, and commit the file\n";
    let new = format!("error: .waxseal/prod.yaml: differs from the cluster: {id} is new\n{hint}");
    fetch_prod(&folder, &["--check"]).fails(4, &new);
    // From a folder below.
    folder.write("apps/x", "");
    let kubeconfig = folder.path().join("kubeconfig").display().to_string();
    let fetch = ["keys", "fetch", "prod", "--kubeconfig", &kubeconfig, accept[0], accept[1]];
    let run = folder.waxseal_in("apps", &fetch).writes(&[".waxseal/prod.yaml"]);
    run.warns(&announcement(&folder, "cluster"));
    let written = folder.read(".waxseal/prod.yaml");
    fetch_prod(&folder, &[]).prints("");
    fetch_prod(&folder, &["--check"]).prints("");
    folder.waxseal(&["seal", "--to", "prod"]).stdin(SECRET).succeeds();
    // `-o FILE` writes the same bytes for the same keys.
    folder
        .waxseal(&["keys", "fetch", "-o", "prod.yaml", "--kubeconfig", "kubeconfig", accept[0], accept[1]])
        .writes(&["prod.yaml"])
        .warns(&announcement(&folder, "cluster"));
    assert_eq!(folder.read("prod.yaml"), written);
}

#[test]
fn check_lists_the_differences_of_a_cluster_and_writes_nothing() {
    let folder = configured();
    folder.generate("new", &[]);
    folder.write(".waxseal/prod.yaml", folder.read("cluster.yaml"));
    let mut keys = list(&folder, &["cluster", "new"]);
    keys["items"][0]["spec"]["state"] = "Retired".into();
    point_at(&folder, serve("200 OK", keys));
    let (cluster, new) = (folder.key_id("cluster"), folder.key_id("new"));
    let stderr = format!(
        "error: .waxseal/prod.yaml: differs from the cluster: {cluster} is Retired now, {new} is new
hint: run `waxseal keys fetch` without `--check`, and commit the file
"
    );
    fetch_prod(&folder, &["--check"]).fails(4, &stderr);
}

#[test]
fn a_cluster_or_a_file_is_needed_and_not_both() {
    let folder = configured();
    for arguments in [&["keys", "fetch"][..], &["keys", "fetch", "prod", "-o", "prod.yaml"]] {
        let run = folder.waxseal(arguments).finish();
        assert_eq!((run.status.code(), run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
    }
}

#[test]
fn the_keys_file_of_a_cluster_is_not_written_through_a_link() {
    let outside = Folder::new();
    let folder = configured();
    let accept = ["--accept", &folder.fingerprint("cluster")];
    let root = folder.path().canonicalize().expect("it is there");
    let shown = |name: &str| root.join(name).display().to_string();
    let refusal = |name: &str| {
        format!(
            "{}error: {}: is a symbolic link, and nothing is written through it\nhint: remove the link\n",
            announcement(&folder, "cluster"),
            shown(name)
        )
    };
    // The folder `.waxseal` is a link: to a folder outside, then to one inside.
    symlink(outside.path(), folder.path().join(".waxseal")).expect("a link");
    fetch_prod(&folder, &accept).fails(3, &refusal(".waxseal"));
    fs::remove_file(folder.path().join(".waxseal")).expect("it is there");
    folder.write("keys/x", "");
    symlink("keys", folder.path().join(".waxseal")).expect("a link");
    fetch_prod(&folder, &accept).fails(3, &refusal(".waxseal"));
    fs::remove_file(folder.path().join(".waxseal")).expect("it is there");
    // The file itself: to a file outside, to nowhere, and to a file inside.
    fs::create_dir(folder.path().join(".waxseal")).expect("a folder");
    let file = folder.path().join(".waxseal/prod.yaml");
    outside.write("prod.yaml", "");
    symlink(outside.path().join("prod.yaml"), &file).expect("a link");
    let stderr = "error: .waxseal/prod.yaml: a symbolic link leads out of the folder of .waxseal.yaml
hint: put the file itself there: a link in a checkout must not choose a file elsewhere
";
    fetch_prod(&folder, &accept).fails(3, stderr);
    fs::remove_file(&file).expect("it is there");
    symlink("nowhere", &file).expect("a link");
    fetch_prod(&folder, &accept).fails(1, "error: .waxseal/prod.yaml: no such file or folder\n");
    fs::remove_file(&file).expect("it is there");
    folder.write("keys/prod.yaml", folder.read("cluster.yaml").replace("Active", "Retired"));
    symlink("../keys/prod.yaml", &file).expect("a link");
    let run = fetch_prod(&folder, &accept).finish();
    let error = format!(
        "error: {}: is a symbolic link, and nothing is written through it\nhint: remove the link\n",
        shown(".waxseal/prod.yaml")
    );
    assert!(run.stderr.ends_with(&error), "{}", run.stderr);
    assert_eq!(run.status.code(), Some(3));
}

#[test]
fn a_keys_path_of_the_configuration_never_leads_a_write_elsewhere() {
    let folder = configured();
    folder.git(&["init", "-q"]);
    let accept = ["--accept", &folder.fingerprint("cluster")];
    for path in ["../prod.yaml", "/tmp/prod.yaml", ".git/hooks/pre-commit", "a/.Git/config"] {
        folder.write(".waxseal.yaml", format!("version: 1\nclusters: {{prod: {{keys: {path}}}}}\n"));
        let run = fetch_prod(&folder, &accept).finish();
        assert_eq!(run.status.code(), Some(3), "{path}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: .waxseal.yaml:2:25: clusters.prod.keys: "), "{}", run.stderr);
    }
    assert!(!folder.path().join(".git/hooks/pre-commit").exists());
    // A file that is not a keys file stays as it is.
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: Makefile.yaml}}\n");
    folder.write("Makefile.yaml", "all:\n");
    let run = fetch_prod(&folder, &accept).finish();
    assert!(run.stderr.contains("Makefile.yaml:1:1: this file is not a keys file: "), "{}", run.stderr);
}

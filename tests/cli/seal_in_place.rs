//! `waxseal seal --in-place`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::folder::{Folder, SECRET};

const JSON: &str =
    r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"shop"},"data":{"A":"aGk="}}"#;
const OTHER: &str = "apiVersion: v1\nkind: ConfigMap\n";

#[test]
fn the_files_of_a_folder_are_sealed_in_place() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    folder.write("apps/deep/web.yml", SECRET);
    folder.write("apps/deep/x.json", JSON);
    folder.write("apps/other.yaml", OTHER);
    folder.write("apps/.hidden/db.yaml", SECRET);
    folder.write("apps/notes.txt", SECRET);
    fs::create_dir(folder.path().join("elsewhere")).expect("a folder");
    symlink(folder.path().join("elsewhere"), folder.path().join("apps/link")).expect("a link");
    let seal = ["seal", "apps", "--in-place", "--keys", "cluster.yaml"];
    let run = folder.waxseal(&seal).writes(&["apps/db.yaml", "apps/deep/web.yml", "apps/deep/x.json"]);
    let left_out = "warning: apps/link: left out, because it is a link that leads out of apps or into `.git`\n";
    assert_eq!(run.warns(&format!("{left_out}sealed 3 Secrets in 3 files\n")), "");
    for name in ["apps/db.yaml", "apps/deep/web.yml", "apps/deep/x.json"] {
        assert!(folder.read(name).contains("SealedSecret"), "{name}");
    }
    let already = format!("{left_out}sealed 0 Secrets in 0 files, 3 already sealed\n");
    assert_eq!(folder.waxseal(&seal).warns(&already), "");
}

#[test]
fn the_summary_counts_secrets_and_files() {
    let folder = Folder::with_key();
    let two = format!("{SECRET}---\n{}", SECRET.replace("db", "web"));
    folder.write("apps/one.yaml", SECRET);
    folder.write("apps/two.yaml", &two);
    let seal = ["seal", "apps", "--in-place", "--keys", "cluster.yaml"];
    let run = folder.waxseal(&seal).writes(&["apps/one.yaml", "apps/two.yaml"]);
    assert_eq!(run.warns("sealed 3 Secrets in 2 files\n"), "");
    folder.write("apps/one.yaml", format!("{}---\n{SECRET}", folder.read("apps/one.yaml")));
    folder.write("apps/list.json", format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{JSON},{JSON}]}}"));
    let run = folder.waxseal(&seal).writes(&["apps/one.yaml", "apps/list.json"]);
    assert_eq!(run.warns("sealed 3 Secrets in 2 files, 3 already sealed\n"), "");
    let seal = ["seal", "apps", "--output-dir", "out", "--keys", "cluster.yaml"];
    let run = folder.waxseal(&seal).writes(&["out/one.yaml", "out/two.yaml", "out/list.json"]);
    assert_eq!(run.warns("sealed 0 Secrets in 0 files, 6 already sealed\n"), "");
}

#[test]
fn sealing_in_place_keeps_the_mode_and_symbolic_links() {
    let folder = Folder::with_key();
    folder.write("real/db.yaml", SECRET);
    fs::set_permissions(folder.path().join("real/db.yaml"), fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink("real/db.yaml", folder.path().join("db.yaml")).expect("a link");
    let seal = folder.waxseal(&["seal", "db.yaml", "--in-place", "--keys", "cluster.yaml"]);
    assert_eq!(seal.writes(&["db.yaml", "real/db.yaml"]).warns("sealed 1 Secret in 1 file\n"), "");
    assert!(folder.path().join("db.yaml").is_symlink());
    let mode = fs::metadata(folder.path().join("real/db.yaml")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_file_with_a_bad_document_stays_unchanged_and_the_others_are_sealed() {
    let folder = Folder::with_key();
    folder.write("bad.yaml", format!("{SECRET}---\n{SECRET}stringdata: {{}}\n"));
    folder.write("good.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "bad.yaml", "good.yaml", "--in-place", "--keys", "cluster.yaml"]);
    let stderr = "sealed 1 Secret in 1 file\nerror: bad.yaml:10:1: unknown field \"stringdata\"\nhint: did you mean \"stringData\"?\n";
    seal.writes(&["good.yaml"]).fails(3, stderr);
}

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::folder::Folder;

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";
const JSON: &str =
    r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"shop"},"data":{"A":"aGk="}}"#;
const OTHER: &str = "apiVersion: v1\nkind: ConfigMap\n";

#[test]
fn files_of_a_folder_are_replaced() {
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
    assert_eq!(run.warns("sealed 3 Secrets in 3 files\n"), "");
    for name in ["apps/db.yaml", "apps/deep/web.yml", "apps/deep/x.json"] {
        assert!(folder.read(name).contains("SealedSecret"), "{name}");
    }
    assert_eq!(folder.waxseal(&seal).warns("sealed 0 Secrets in 0 files, 3 already sealed\n"), "");
}

#[test]
fn what_was_done_is_counted() {
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
fn mode_and_symlinks_stay() {
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
fn a_file_with_one_bad_document_stays_as_it_is_and_the_others_are_done() {
    let folder = Folder::with_key();
    folder.write("bad.yaml", format!("{SECRET}---\n{SECRET}stringdata: {{}}\n"));
    folder.write("good.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "bad.yaml", "good.yaml", "--in-place", "--keys", "cluster.yaml"]);
    let stderr = "sealed 1 Secret in 1 file\nerror: bad.yaml:10:1: unknown field \"stringdata\"\nhint: did you mean \"stringData\"?\n";
    seal.writes(&["good.yaml"]).fails(3, stderr);
}

#[test]
fn unlike_failures_are_a_failure() {
    let folder = Folder::with_key();
    folder.write("other.yaml", OTHER);
    let seal = folder.waxseal(&["seal", "absent.yaml", "other.yaml", "--in-place", "--keys", "cluster.yaml"]);
    seal.fails(
        1,
        "sealed 0 Secrets in 0 files\nerror: absent.yaml: no such file or folder\nerror: other.yaml: no Secret in it\n",
    );
}

#[test]
fn results_go_below_another_folder() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    folder.write("apps/deep/web.yaml", format!("{OTHER}---\n{SECRET}"));
    folder.write("apps/other.yaml", OTHER);
    folder.write("single.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "apps", "single.yaml", "--output-dir", "out", "--keys", "cluster.yaml"]);
    let run = seal.writes(&["out/db.yaml", "out/deep/web.yaml", "out/single.yaml"]);
    assert_eq!(run.warns("sealed 3 Secrets in 3 files\n"), "");
    assert!(folder.read("out/deep/web.yaml").starts_with(&format!("{OTHER}---\napiVersion: waxseal.dev/")));
}

#[test]
fn two_results_never_share_a_file() {
    let folder = Folder::with_key();
    folder.write("a/db.yaml", SECRET);
    folder.write("b/db.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "a", "b/db.yaml", "--output-dir", "out", "--keys", "cluster.yaml"]);
    seal.fails(2, "error: a/db.yaml and b/db.yaml would both become out/db.yaml\n");
}

#[test]
fn an_input_is_never_written_over_by_accident() {
    let folder = Folder::with_key();
    folder.write("a/db.yaml", SECRET);
    let path = folder.path().join("a/db.yaml").canonicalize().expect("a path").display().to_string();
    let stderr = format!("error: {path} would be written over itself\nhint: pass `--in-place` if that is meant\n");
    folder.waxseal(&["seal", "a", "--output-dir", "a", "--keys", "cluster.yaml"]).fails(2, &stderr);
    folder.waxseal(&["seal", "a/db.yaml", "-o", "./a/db.yaml", "--keys", "cluster.yaml"]).fails(2, &stderr);
}

#[test]
fn an_output_file_is_made_or_replaced() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    let seal = ["seal", "db.yaml", "-o", "out/sealed.yaml", "--keys", "cluster.yaml"];
    folder.waxseal(&seal).writes(&["out/sealed.yaml"]).prints("");
    let first = folder.read("out/sealed.yaml");
    folder.waxseal(&seal).writes(&["out/sealed.yaml"]).prints("");
    assert_ne!(folder.read("out/sealed.yaml"), first);
}

#[test]
fn what_is_no_file_is_written_to_and_not_replaced() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    symlink("/dev/stdout", folder.path().join("pipe")).expect("a link");
    let sealed = folder.waxseal(&["seal", "db.yaml", "-o", "pipe", "--keys", "cluster.yaml"]).succeeds();
    assert!(sealed.starts_with("apiVersion: waxseal.dev/v1alpha1\n"), "{sealed}");
    assert!(folder.path().join("pipe").is_symlink());
}

use crate::folder::Folder;

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";
const WARNING: &str = "warning: db.yaml: Git already holds this file, and history keeps it: change the values\n";

#[test]
fn a_file_that_git_holds_is_warned_of() {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet"]);
    folder.write("db.yaml", SECRET);
    let seal = ["seal", "db.yaml", "--in-place", "--keys", "cluster.yaml"];
    folder.waxseal(&seal).writes(&["db.yaml"]).prints("");

    folder.write("db.yaml", SECRET);
    folder.git(&["add", "db.yaml"]);
    assert_eq!(folder.waxseal(&seal).writes(&["db.yaml"]).warns(WARNING), "");

    folder.write("db.yaml", SECRET);
    folder.git(&["commit", "--quiet", "--message", "plain"]);
    folder.git(&["rm", "--quiet", "--cached", "db.yaml"]);
    let run = folder.waxseal(&seal).env("GIT_DIR", "/nowhere").writes(&["db.yaml"]);
    assert_eq!(run.warns(WARNING), "");
}

#[test]
fn a_name_is_no_pattern() {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet"]);
    folder.write("x.yaml", "");
    folder.git(&["add", "x.yaml"]);
    folder.write("*.yaml", SECRET);
    folder.waxseal(&["seal", "*.yaml", "--in-place", "--keys", "cluster.yaml"]).writes(&["*.yaml"]).prints("");
}

#[test]
fn secrets_are_not_written_where_git_would_take_them() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    folder.write("sealed.yaml", &sealed);
    folder.git(&["init", "--quiet"]);
    folder.write(".gitignore", "*.plain\n");
    let open = |name| folder.waxseal(&["open", "sealed.yaml", "--identity", "cluster.key", "-o", name]);
    let refusal = |name: &str| {
        format!(
            "error: {name}: is in a Git work tree, and Git does not ignore it
hint: write it outside the work tree, or add it to .gitignore first
"
        )
    };
    open("db.yaml").fails(3, &refusal("db.yaml"));
    open("db.plain").writes(&["db.plain"]).prints("");
    open(":(top)x.plain").writes(&[":(top)x.plain"]).prints("");
    open("*.plain").writes(&["*.plain"]).prints("");
    let generate = folder.waxseal(&["keys", "generate", "-o", "new.key"]);
    generate.fails(3, &refusal("new.key"));
}

#[test]
fn without_git_a_work_tree_is_not_trusted() {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet"]);
    folder.write(".gitignore", "*.plain\n");
    let generate = folder.waxseal(&["keys", "generate", "-o", "new.plain"]).env("PATH", "/nowhere");
    generate.fails(
        3,
        "error: new.plain: is in a Git work tree, and Git does not say if it ignores it
hint: write it outside the work tree
",
    );
}

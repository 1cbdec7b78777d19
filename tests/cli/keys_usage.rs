//! `waxseal keys usage`. The repositories are made by Git.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::folder::{Folder, HOSTILE_NAME, HOSTILE_NAME_ESCAPED};

const STAYS_READABLE: &str =
    "Git history stays readable: the identity of this key opens these values in every clone, for ever
rotating, revoking or deleting the key does not change that: change the values
";

/// A folder with a key. The folder is the work tree of a repository.
fn work_tree() -> Folder {
    let folder = Folder::with_key();
    folder.write(".git/info/exclude", "/cluster.*\n/*.key\n");
    folder.git(&["init", "--quiet", "--initial-branch=main"]);
    folder
}

/// Seals `shop/NAME` with one value for each data key.
fn seal(folder: &Folder, name: &str, data_keys: &[&str]) -> String {
    let values: Vec<_> = data_keys.iter().map(|key| format!("{key}: a value")).collect();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\nstringData: {{{}}}\n",
        values.join(", ")
    );
    folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(secret).succeeds()
}

/// Commits all files on a day of January 2026, and returns the commit.
fn commit(folder: &Folder, day: usize) -> String {
    folder.git(&["add", "--all"]);
    dated_git(folder, day, &["commit", "--quiet", "--allow-empty", "--message", "x"])
}

/// Runs Git on a day of January 2026, and returns the commit at HEAD.
fn dated_git(folder: &Folder, day: usize, arguments: &[&str]) -> String {
    let mut git = folder.git_command();
    let date = format!("2026-01-{day:02}T00:00:00Z");
    git.args(arguments).envs([("GIT_COMMITTER_DATE", &date), ("GIT_AUTHOR_DATE", &date)]);
    let output = git.output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    folder.git(&["rev-parse", "HEAD"])
}

/// Runs the command, and returns the rows as JSON and stderr.
#[track_caller]
fn rows(folder: &Folder, arguments: &[&str], code: i32) -> (Vec<serde_json::Value>, String) {
    let key = folder.key_id("cluster");
    let arguments = [&["keys", "usage", &key, "--format", "json"], arguments].concat();
    let outcome = folder.waxseal(&arguments).finish();
    assert_eq!(outcome.status.code(), Some(code), "{}", outcome.stderr);
    (serde_json::from_str(&outcome.stdout).expect("JSON"), outcome.stderr)
}

/// The file, data key, `current` and first commit of each row of a report on the history.
#[track_caller]
fn history(folder: &Folder, path: &str) -> Vec<[String; 4]> {
    let (rows, _) = rows(folder, &[path, "--history"], 0);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    rows.iter().map(|row| [&row["file"], &row["dataKey"], &row["current"], &row["commit"]["id"]].map(text)).collect()
}

fn row(file: &str, data_key: &str, current: &str, commit: &str) -> [String; 4] {
    [file, data_key, current, commit].map(str::to_owned)
}

#[test]
fn the_working_tree_and_all_branches_are_listed() {
    let folder = work_tree();
    folder.write("apps/db.yaml", seal(&folder, "db", &["A", "B"]));
    commit(&folder, 1);
    folder.git(&["tag", "v1"]);
    folder.git(&["checkout", "--quiet", "-b", "side"]);
    folder.write("apps/web.yaml", seal(&folder, "web", &["A"]));
    let side = commit(&folder, 2);
    folder.git(&["checkout", "--quiet", "main"]);
    folder.write("apps/db.yaml", seal(&folder, "db", &["A"]));
    let key = folder.key_id("cluster");
    let usage = |format: &str| {
        let run = folder.waxseal(&["keys", "usage", &key, "apps", "--format", format]);
        run.warns(&format!(
            "{key} opens 4 sealed values in 2 files; the working tree still has 1 of these values
searched the working tree and 2 commits at 3 references, not the history: for that, pass --history
{STAYS_READABLE}"
        ))
    };
    let branch = &side[..12];
    assert_eq!(
        usage("text"),
        format!(
            "\
FILE           SECRET    DATA KEY  CURRENT  WHERE                COMMIT        DATE
apps/db.yaml   shop/db   A         changed  main, side, tags/v1  {branch}  2026-01-02T00:00:00Z
apps/db.yaml   shop/db   A         same     working tree         -             -
apps/db.yaml   shop/db   B         removed  main, side, tags/v1  {branch}  2026-01-02T00:00:00Z
apps/web.yaml  shop/web  A         removed  side                 {branch}  2026-01-02T00:00:00Z
"
        )
    );
    assert_eq!(
        usage("csv"),
        [
            "where,file,namespace,name,data_key,current,commit,date,last_commit,last_date",
            &format!("main; side; tags/v1,apps/db.yaml,shop,db,A,changed,{side},2026-01-02T00:00:00Z,,"),
            "working tree,apps/db.yaml,shop,db,A,same,,,,",
            &format!("main; side; tags/v1,apps/db.yaml,shop,db,B,removed,{side},2026-01-02T00:00:00Z,,"),
            &format!("side,apps/web.yaml,shop,web,A,removed,{side},2026-01-02T00:00:00Z,,"),
            "",
        ]
        .join("\r\n")
    );
    let json: serde_json::Value = serde_json::from_str(&usage("json")).expect("JSON");
    let object = |data_key: &str, current: &str, references: &[&str]| {
        serde_json::json!({
            "file": "apps/db.yaml", "namespace": "shop", "name": "db", "dataKey": data_key, "current": current,
            "inWorkingTree": references.is_empty(), "references": references,
        })
    };
    let mut changed = object("A", "changed", &["main", "side", "tags/v1"]);
    changed["commit"] = serde_json::json!({"id": side, "date": "2026-01-02T00:00:00Z"});
    assert_eq!([&json[0], &json[1]], [&changed, &object("A", "same", &[])]);
}

#[test]
fn the_history_lists_each_value_once_with_its_first_and_last_commit() {
    let folder = work_tree();
    let [old, new] = [(); 2].map(|()| seal(&folder, "db", &["A"]));
    let mut commits = Vec::new();
    for (day, text) in [&old, &old, &new, &old, &new].into_iter().enumerate() {
        folder.write("db.yaml", text);
        commits.push(commit(&folder, day + 1));
    }
    fs::rename(folder.path().join("db.yaml"), folder.path().join("other.yaml")).expect("a file");
    commits.push(commit(&folder, 6));
    let key = folder.key_id("cluster");
    let [one, three, four, five, six] = [0, 2, 3, 4, 5].map(|at: usize| commits[at][..12].to_owned());
    let text = folder.waxseal(&["keys", "usage", &key, ".", "--history"]).warns(&format!(
        "{key} opens 3 sealed values in 2 files; the working tree still has 2 of these values
searched the working tree and 6 commits of 1 reference
{STAYS_READABLE}"
    ));
    assert_eq!(
        text,
        format!(
            "\
FILE        SECRET   DATA KEY  CURRENT  WHERE               FIRST COMMIT  DATE                  LAST COMMIT   DATE
db.yaml     shop/db  A         changed  history             {one}  2026-01-01T00:00:00Z  {four}  2026-01-04T00:00:00Z
db.yaml     shop/db  A         same     history             {three}  2026-01-03T00:00:00Z  {five}  2026-01-05T00:00:00Z
other.yaml  shop/db  A         same     working tree, main  {six}  2026-01-06T00:00:00Z  {six}  2026-01-06T00:00:00Z
"
        )
    );
    let csv = folder.waxseal(&["keys", "usage", &key, "other.yaml", "--history", "--format", "csv"]).finish().stdout;
    let (id, date) = (&commits[5], "2026-01-06T00:00:00Z");
    let line = format!("working tree; main,other.yaml,shop,db,A,same,{id},{date},{id},{date}\r\n");
    assert_eq!(csv.split_once('\n').expect("two lines").1, line);
    // The same ciphertext is the same value, whatever the rest of the file says.
    folder.write("other.yaml", format!("# a comment\n{new}"));
    commit(&folder, 7);
    assert_eq!(history(&folder, "other.yaml"), [row("other.yaml", "A", "same", &commits[5])]);
}

#[test]
fn every_commit_and_reference_is_searched_in_every_kind_of_object_storage() {
    for format in ["sha1", "sha256"] {
        let folder = Folder::with_key();
        folder.git(&["init", "--quiet", "--initial-branch=main", &format!("--object-format={format}")]);
        let write = |name: &str| folder.write(&format!("apps/{name}.yaml"), seal(&folder, name, &["A"]));
        let gone = |name: &str| fs::remove_file(folder.path().join(format!("apps/{name}.yaml"))).expect("a file");
        assert_eq!(commit(&folder, 1).len(), if format == "sha1" { 40 } else { 64 });
        // On a branch that was merged and is gone.
        folder.git(&["checkout", "--quiet", "-b", "side"]);
        write("side");
        let two = commit(&folder, 2);
        gone("side");
        commit(&folder, 3);
        folder.git(&["checkout", "--quiet", "main"]);
        commit(&folder, 4);
        folder.git(&["merge", "--quiet", "--no-commit", "side"]);
        folder.git(&["branch", "--quiet", "-D", "side"]);
        // In the merge alone.
        write("merge");
        let five = commit(&folder, 5);
        gone("merge");
        commit(&folder, 6);
        // In references that are not branches.
        for (day, name) in [(7, "tag"), (8, "custom"), (9, "stash")] {
            write(name);
            let kept = match name {
                "stash" => {
                    folder.git(&["add", "--all"]);
                    dated_git(&folder, day, &["stash", "--quiet"])
                }
                _ => commit(&folder, day),
            };
            match name {
                "tag" => folder.git(&["tag", "--annotate", "kept", "--message", "x"]),
                "custom" => folder.git(&["update-ref", "refs/custom/kept", &kept]),
                _ => String::new(),
            };
            folder.git(&["reset", "--quiet", "--hard", &five]);
        }
        gone("merge");
        let stash = folder.git(&["rev-parse", "stash^2"]);
        let [tag, custom] = ["kept^{commit}", "refs/custom/kept"].map(|name| folder.git(&["rev-parse", name]));
        let expected = [
            row("apps/custom.yaml", "A", "removed", &custom),
            row("apps/merge.yaml", "A", "removed", &five),
            row("apps/side.yaml", "A", "removed", &two),
            row("apps/stash.yaml", "A", "removed", &stash),
            row("apps/tag.yaml", "A", "removed", &tag),
        ];
        assert_eq!(history(&folder, "apps"), expected, "{format}");
        folder.git(&["gc", "--quiet", "--prune=now"]);
        assert_eq!(history(&folder, "apps"), expected, "{format}");
        let (tips, _) = rows(&folder, &["apps"], 0);
        let references: Vec<_> = tips.iter().map(|row| row["references"].to_string()).collect();
        let expected = [r#"["custom/kept"]"#, r#"["custom/kept","main","stash"]"#, r#"["stash"]"#, r#"["tags/kept"]"#];
        assert_eq!(references, expected, "{format}");
    }
}

#[test]
fn a_detached_head_a_replaced_commit_and_no_git_program_make_no_difference() {
    let folder = work_tree();
    let first = commit(&folder, 1);
    folder.git(&["worktree", "add", "--quiet", "--detach", "elsewhere"]);
    folder.write("elsewhere/db.yaml", seal(&folder, "db", &["A"]));
    folder.git(&["-C", "elsewhere", "add", "--all"]);
    dated_git(&folder, 2, &["-C", "elsewhere", "commit", "--quiet", "--message", "x"]);
    let second = folder.git(&["-C", "elsewhere", "rev-parse", "HEAD"]);
    folder.git(&["replace", "--force", &second, &first]);
    let key = folder.key_id("cluster");
    let run = folder.waxseal(&["keys", "usage", &key, "db.yaml", "--history", "--format", "json"]);
    let outcome = run.env("PATH", "/nowhere").finish();
    let list: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(list[0]["commit"]["id"], second.as_str(), "{}", outcome.stderr);
    assert_eq!(list[0]["references"], serde_json::json!(["worktrees/elsewhere/HEAD"]));
    let nested = rows(&folder, &["elsewhere"], 0).0;
    assert_eq!(nested[0]["references"], serde_json::json!(["HEAD"]));
    assert_eq!(nested[0]["inWorkingTree"], true);
}

#[test]
fn a_clone_without_all_objects_gives_an_incomplete_list() {
    let folder = work_tree();
    folder.git(&["config", "uploadpack.allowFilter", "true"]);
    for day in 1..4 {
        folder.write("apps/db.yaml", seal(&folder, "db", &["A"]));
        commit(&folder, day);
    }
    let url = format!("file://{}", folder.path().display());
    folder.write(".git/info/exclude", "/shallow\n/blobless\n");
    let root = |clone: &str| folder.path().canonicalize().expect("a folder").join(clone).display().to_string();

    folder.git(&["clone", "--quiet", "--depth=2", &url, "shallow"]);
    let (found, stderr) = rows(&folder, &["shallow/apps", "--history"], 1);
    let error = format!(
        "error: {}: is a shallow clone, and part of the history is not here: the list is not complete
hint: get the rest with `git fetch --unshallow`
",
        root("shallow")
    );
    assert!(found.len() == 2 && stderr.ends_with(&error), "{stderr}");
    // The newest commits are complete.
    assert_eq!(rows(&folder, &["shallow/apps"], 0).0.len(), 1);

    folder.git(&["clone", "--quiet", "--filter=blob:none", &url, "blobless"]);
    let (found, stderr) = rows(&folder, &["blobless/apps", "--history"], 1);
    let error = format!(
        "error: {}: 2 objects missing or damaged, as in a partial clone: the list is not complete
hint: search a complete clone
",
        root("blobless")
    );
    assert!(found.len() == 1 && stderr.ends_with(&error), "{stderr}");
}

#[test]
fn an_unreadable_repository_does_not_hide_the_working_tree() {
    let folder = work_tree();
    folder.write("db.yaml", seal(&folder, "db", &["A"]));
    folder.write(".git/config", "[core]\n\trepositoryformatversion = 2\n");
    let (found, stderr) = rows(&folder, &["db.yaml"], 1);
    let root = folder.path().canonicalize().expect("a folder");
    let error = format!("error: {}: its Git repository cannot be read\n", root.display());
    assert!(found.len() == 1 && stderr.ends_with(&error), "{stderr}");
}

#[test]
fn without_a_repository_only_files_are_searched() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", seal(&folder, "db", &["A"]));
    let key = folder.key_id("cluster");
    let list = folder.waxseal(&["keys", "usage", &key, "apps", "apps/db.yaml"]).warns(&format!(
        "{key} opens 1 sealed value in 1 file; the working tree still has 1 of these values
searched files only: no Git repository was read
"
    ));
    let line = "apps/db.yaml  shop/db  A         same     working tree  -       -\n";
    assert_eq!(list, format!("FILE          SECRET   DATA KEY  CURRENT  WHERE         COMMIT  DATE\n{line}"));
    folder.waxseal(&["keys", "usage", &key, "apps", "--history"]).fails(
        3,
        "error: --history reads a Git repository, and no repository contains these paths
hint: name files and folders in a Git work tree, or leave out --history
",
    );
    let stderr = format!(
        "{key} opens nothing here\nsearched files only: no Git repository was read\n\
         error: absent/db.yaml: no such file or folder\n"
    );
    folder.waxseal(&["keys", "usage", &key, "absent/db.yaml"]).fails(1, &stderr);
}

#[test]
fn only_the_paths_are_searched_also_where_the_working_tree_does_not_have_them() {
    let folder = work_tree();
    for name in ["apps/a.yaml", "apps/deep/b.yaml", "apps/deep/e.yaml", "app/c.yaml", "d.yaml"] {
        folder.write(name, seal(&folder, "db", &["A"]));
    }
    let first = commit(&folder, 1);
    for name in ["apps", "app"] {
        fs::remove_dir_all(folder.path().join(name)).expect("a folder");
    }
    commit(&folder, 2);
    let files = |paths: &[&str]| {
        let (rows, _) = rows(&folder, &[paths, &["--history"]].concat(), 0);
        rows.iter().map(|row| row["file"].as_str().expect("a file").to_owned()).collect::<Vec<_>>()
    };
    let deep = ["b", "e"].map(|name| row(&format!("apps/deep/{name}.yaml"), "A", "removed", &first));
    assert_eq!(history(&folder, "apps/deep"), deep);
    let apps = ["apps/a.yaml", "apps/deep/b.yaml", "apps/deep/e.yaml"];
    assert_eq!(files(&["apps"]), apps);
    assert_eq!(files(&["apps/deep/b.yaml", "apps"]), apps);
    assert_eq!(files(&["apps/a.yaml", "./d.yaml", "apps/a.yaml"]), ["apps/a.yaml", "d.yaml"]);
    assert_eq!(files(&["d.yaml", "apps/deep/b.yaml"]), ["apps/deep/b.yaml", "d.yaml"]);
    assert_eq!(files(&["."]), [&["app/c.yaml"][..], &apps, &["d.yaml"]].concat());
    let (_, stderr) = rows(&folder, &["apps/x.yaml", "ap", "--history"], 1);
    let error = "no such file or folder, and none in the searched commits\n";
    assert!(stderr.ends_with(&format!("error: apps/x.yaml: {error}error: ap: {error}")), "{stderr}");
    // Without `--history`, no searched commit has this folder.
    let (_, stderr) = rows(&folder, &["apps"], 1);
    assert!(stderr.ends_with(&format!("error: apps: {error}")), "{stderr}");
    folder.git(&["init", "--quiet", "other"]);
    folder.waxseal(&["keys", "usage", &folder.key_id("cluster"), "d.yaml", "other"]).fails(
        2,
        "error: other: is in another Git work tree than the paths before it
hint: run the command once for each work tree
",
    );
}

#[test]
fn a_key_is_named_by_its_id_recipient_or_fingerprint() {
    let folder = Folder::with_key();
    folder.generate("other", &[]);
    folder.write("db.yaml", seal(&folder, "db", &["A"]));
    let fingerprint = folder.fingerprint("cluster");
    for key in [folder.key_id("cluster"), folder.recipient("cluster"), fingerprint.clone()] {
        let usage = folder.waxseal(&["keys", "usage", &key, "db.yaml"]).finish();
        assert_eq!(usage.stdout.lines().count(), 2, "{key}: {}", usage.stderr);
    }
    let other = folder.key_id("other");
    let nothing = format!("{other} opens nothing here\nsearched files only: no Git repository was read\n");
    for (format, list) in [("text", ""), ("json", "[]\n")] {
        assert_eq!(folder.waxseal(&["keys", "usage", &other, "db.yaml", "--format", format]).warns(&nothing), list);
    }
    let hint = "hint: `waxseal keys list KEYS_FILE` shows the key ids and fingerprints of a keys file\n";
    let wrong = format!("error: KEY: not a key id, recipient or fingerprint\n{hint}");
    for key in ["db.yaml", "k2F41ab09c3d4e5f6", &fingerprint[..70], "sha256:\u{202e}"] {
        folder.waxseal(&["keys", "usage", key, "db.yaml"]).fails(2, &wrong);
    }
    let identity = folder.read("cluster.key");
    let error = "error: KEY: this is an identity, a private key; a recipient begins with \"age1\"\n";
    folder.waxseal(&["keys", "usage", identity.lines().last().expect("a key"), "db.yaml"]).fails(2, error);
    let error = "error: KEY: not a recipient: expected \"age1pq1…\" or \"age1…\"\n";
    folder.waxseal(&["keys", "usage", "age1x", "db.yaml"]).fails(2, error);
}

#[test]
fn a_value_is_the_same_also_if_the_working_tree_has_no_wrap_for_the_key() {
    let folder = work_tree();
    folder.generate("other", &[]);
    let keys = ["--keys", "cluster.yaml", "--recipient", &folder.recipient("other")];
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: x}\n";
    let sealed = folder.waxseal(&[&["seal"][..], &keys].concat()).stdin(secret).succeeds();
    folder.write("db.yaml", &sealed);
    let first = commit(&folder, 1);
    let key = folder.key_id("cluster");
    let pruned: String = sealed.split_inclusive('\n').filter(|line| !line.contains(&key)).collect();
    folder.write("db.yaml", pruned);
    commit(&folder, 2);
    assert_eq!(history(&folder, "db.yaml"), [row("db.yaml", "A", "same", &first)]);
    assert_eq!(rows(&folder, &["db.yaml"], 0).0.len(), 0);
    // The value has moved to another file.
    fs::rename(folder.path().join("db.yaml"), folder.path().join("new.yaml")).expect("a file");
    assert_eq!(history(&folder, "."), [row("db.yaml", "A", "same", &first)]);
}

#[test]
fn manifests_that_a_cluster_refuses_and_escaped_key_ids_are_found() {
    let folder = work_tree();
    let key = folder.key_id("cluster");
    let sealed = seal(&folder, "db", &["A"]);
    folder.write("moved.yaml", sealed.replacen("namespace: shop", "namespace: web", 1));
    folder.write("unplaced.yaml", sealed.replacen("  namespace: shop\n", "", 1));
    folder.write("escaped.yaml", sealed.replace(&key, &format!("\"\\x6b{}\"", &key[1..])));
    folder.write(".hidden/db.yaml.bak", &sealed);
    commit(&folder, 1);
    let (rows, _) = rows(&folder, &["."], 0);
    let found: Vec<_> = rows.iter().map(|row| format!("{} {}", row["file"], row["namespace"])).collect();
    assert!(rows.iter().all(|row| row["inWorkingTree"] == true && row["current"] == "same"), "{rows:?}");
    assert_eq!(
        found,
        [
            r#"".hidden/db.yaml.bak" "shop""#,
            r#""escaped.yaml" "shop""#,
            r#""moved.yaml" "web""#,
            r#""unplaced.yaml" """#
        ]
    );
    let text = folder.waxseal(&["keys", "usage", &key, "unplaced.yaml"]).finish().stdout;
    assert!(text.contains("unplaced.yaml  db      A "), "{text}");
}

#[test]
fn a_committed_file_in_a_hidden_folder_is_compared_with_the_working_tree() {
    let folder = work_tree();
    let current = |expected: &str| {
        let (rows, _) = rows(&folder, &["."], 0);
        let found: Vec<_> = rows.iter().map(|row| row["current"].as_str().expect("a text")).collect();
        assert_eq!(found, [expected]);
    };
    folder.write(".hidden/db", seal(&folder, "db", &["A"]));
    commit(&folder, 1);
    current("same");
    let hidden = folder.path().join(".hidden");
    folder.waxseal(&["unset", ".hidden/db", "A"]).writes(&[".hidden/db"]).warns("removed A from shop/db\n");
    current("removed");
    // Outside of the work tree, the file could be anybody's.
    let outside = Folder::new();
    outside.write("db", seal(&folder, "db", &["A"]));
    fs::remove_dir_all(&hidden).expect("a folder");
    symlink(outside.path(), &hidden).expect("a link");
    current("removed");
}

#[test]
fn a_file_that_may_need_the_key_and_cannot_be_read_is_an_error() {
    let folder = work_tree();
    let key = folder.key_id("cluster");
    let sealed = seal(&folder, "db", &["A"]);
    folder.write("apps/broken.yaml", format!("{sealed}---\nkind: [\n"));
    folder.write("apps/latin.yaml", [sealed.as_bytes(), b"# \xe9\n"].concat());
    folder.write("apps/notes.md", format!("The key {key} has: [\n"));
    folder.write("apps/other.yaml", "{{ if .Values.sealed }}\n");
    folder.write("apps/script", format!("waxseal.dev: [ \\\n {key}\n"));
    let first = commit(&folder, 1);
    fs::remove_dir_all(folder.path().join("apps")).expect("a folder");
    commit(&folder, 2);
    let (found, stderr) = rows(&folder, &["apps", "--history"], 3);
    let line = sealed.lines().count() + 2;
    let hint = "hint: `git show COMMIT:FILE` shows the file: the values that cannot be read are not in the list\n";
    let errors = format!(
        "error: {first}:apps/broken.yaml:{line}:7: not YAML: a bracket is never closed
{hint}error: {first}:apps/latin.yaml: not UTF-8
{hint}"
    );
    assert!(stderr.ends_with(&format!("change the values\n{errors}")), "{stderr}");
    assert_eq!(found.len(), 1, "the first document of the broken file");

    folder.write("large.txt", format!("{key} wax1.{}", "#\n".repeat(16 << 20)));
    folder.write("larger.txt", format!("{key} wax1.{}", "#\n".repeat(33 << 20)));
    let third = commit(&folder, 3);
    let (_, stderr) = rows(&folder, &["."], 3);
    for name in ["large", "larger"] {
        let error = format!("error: {third}:{name}.txt: larger than 32 MiB, the most that is read\n");
        assert!(stderr.contains(&error), "{stderr}");
    }
    folder.write("now.yaml", "kind: [\nwax1.x");
    let (_, stderr) = rows(&folder, &["now.yaml"], 3);
    assert!(stderr.ends_with("error: now.yaml:1:7: not YAML: a bracket is never closed\n"), "{stderr}");
}

#[test]
fn hostile_names_are_escaped() {
    let folder = work_tree();
    let sealed = seal(&folder, "db", &["A"]);
    let file = format!("=1,\"{HOSTILE_NAME}\".yaml");
    folder.write(&file, &sealed);
    symlink(&file, folder.path().join("link.yaml")).expect("a link");
    folder.git(&["init", "--quiet", "module"]);
    folder.git(&["-C", "module", "commit", "--quiet", "--allow-empty", "--message", "x"]);
    let branch = "b\u{202e};\"x\"";
    folder.git(&["checkout", "--quiet", "-b", branch]);
    let id = commit(&folder, 1);
    let key = folder.key_id("cluster");
    let usage = |format: &str| folder.waxseal(&["keys", "usage", &key, ".", "--format", format]).finish().stdout;
    let text = usage("text");
    let line =
        format!("=1,\"{HOSTILE_NAME_ESCAPED}\".yaml  shop/db  A         same     working tree, b\\u{{202e}};\"x\"");
    assert!(text.lines().count() == 2 && text.contains(&line), "{text}");
    let line = format!(
        "\"working tree; b\\u{{202e}};\"\"x\"\"\",\"'=1,\"\"{HOSTILE_NAME_ESCAPED}\"\".yaml\",shop,db,A,same,{id},2026-01-01T00:00:00Z,,\r\n"
    );
    let csv = usage("csv");
    assert_eq!(csv.split_once('\n').expect("lines").1, line);
    let json = usage("json");
    assert!(!json.contains('\u{202e}') && !json.contains('\u{1b}'), "{json:?}");
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&rows[0]["file"], &rows[0]["references"]), (&file.into(), &serde_json::json!([branch])));
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_tree_that_repeats_its_subtrees_ends_with_an_error() {
    let folder = work_tree();
    folder.write("seed", "x");
    let mut object = format!("100644 blob {}\tx\n", folder.git(&["hash-object", "-w", "seed"]));
    let mktree = |lines: &str| {
        folder.write("lines", lines);
        let script = "git mktree < lines";
        let mut shell = Command::new("sh");
        let output = folder.isolated(shell.args(["-c", script])).output().expect("sh runs");
        String::from_utf8(output.stdout).expect("a hash").trim().to_owned()
    };
    for _ in 0..10 {
        let tree = mktree(&object);
        object = (0..10).map(|name| format!("040000 tree {tree}\t{name}\n")).collect();
    }
    let bomb = mktree(&object);
    let id = folder.git(&["commit-tree", "-m", "x", &bomb]);
    folder.git(&["update-ref", "refs/heads/bomb", &id]);
    fs::remove_file(folder.path().join("lines")).expect("a file");
    let (_, stderr) = rows(&folder, &[".", "--history"], 3);
    let error = "has too many folders, files or values to search: the list is not complete
hint: name smaller folders
";
    assert!(stderr.ends_with(error), "{stderr}");
}

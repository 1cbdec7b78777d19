//! How `waxseal` treats files in Git work trees. The repositories are made by Git, some of them hostile.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::folder::{Folder, Run, SECRET};

const WARNING: &str = "warning: db.yaml: Git already had this file before sealing, and its history may show the plain \
                       values: change the values\n";
const SEALED: &str = "sealed 1 Secret in 1 file\n";
const SEAL: [&str; 5] = ["seal", "db.yaml", "--in-place", "--keys", "cluster.yaml"];

/// A folder with a key. The folder is the work tree of a repository.
fn work_tree() -> Folder {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet"]);
    folder
}

/// Generates an identity, which is refused where Git would add it.
fn generate<'a>(folder: &'a Folder, name: &str) -> Run<'a> {
    folder.waxseal(&["keys", "generate", "-o", name])
}

/// The error for a private file that Git does not ignore.
fn not_ignored(name: &str) -> String {
    format!(
        "error: {name}: is in a Git work tree, and Git does not ignore it
hint: write it outside the work tree, or add it to .gitignore first
"
    )
}

/// The error for a private file in a work tree whose repository cannot be read.
fn unreadable(name: &str) -> String {
    format!(
        "error: {name}: is in a Git work tree, and its repository cannot be read to see if Git ignores it
hint: write it outside the work tree
"
    )
}

/// The error for a private file with the name of a file that Git tracks.
fn tracked(name: &str) -> String {
    format!(
        "error: {name}: Git tracks a file of this name, so Git does not ignore it
hint: write it outside the work tree
"
    )
}

#[track_caller]
fn assert_written(folder: &Folder, name: &str) {
    generate(folder, name).writes(&[name]).succeeds();
}

#[track_caller]
fn assert_exposed(folder: &Folder, name: &str) {
    generate(folder, name).fails(3, &not_ignored(name));
}

#[track_caller]
fn assert_exposed_to(folder: &Folder, name: &str, work_tree: &str) {
    let root = folder.path().canonicalize().expect("a path").join(work_tree);
    let root = root.display().to_string();
    let root = root.trim_end_matches('/');
    let stderr = format!(
        "error: {name}: is also in the Git work tree {root}, and Git does not ignore it there
hint: write it outside that work tree, or add it to {root}/.gitignore first
"
    );
    generate(folder, name).fails(3, &stderr);
}

#[track_caller]
fn assert_unknown(folder: &Folder, name: &str) {
    generate(folder, name).fails(3, &unreadable(name));
}

#[track_caller]
fn assert_inside_repository(folder: &Folder, name: &str) {
    let stderr =
        format!("error: {name}: is inside the folder where Git keeps a repository\nhint: write it to another folder\n");
    generate(folder, name).fails(3, &stderr);
}

/// Seals `db.yaml` in place and expects exactly this warning about Git.
#[track_caller]
fn assert_warned(folder: &Folder, warning: &str) {
    folder.write("db.yaml", SECRET);
    assert_eq!(folder.waxseal(&SEAL).writes(&["db.yaml"]).warns(&format!("{warning}{SEALED}")), "");
}

/// The warning if `waxseal` cannot tell whether Git holds `db.yaml`.
fn perhaps(doubt: &str) -> String {
    format!("warning: db.yaml: Git may hold this file ({doubt}): change the values if it was ever committed\n")
}

/// Commits `db.yaml`, and removes it in the next commit.
fn commit_and_remove(folder: &Folder) {
    folder.write("db.yaml", SECRET);
    folder.git(&["add", "db.yaml"]);
    folder.git(&["commit", "--quiet", "--message", "plain"]);
    folder.git(&["rm", "--quiet", "--cached", "db.yaml"]);
    folder.git(&["commit", "--quiet", "--message", "gone"]);
}

/// A folder with `checkout`, the clone of a repository in which the folder `apps` is itself a bare repository. Git
/// commits `apps` like any other folder.
fn hostile_checkout(configuration: &str, exclude: &str) -> Folder {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet", "origin"]);
    let apps = "origin/apps";
    folder.git(&["init", "--quiet", "--bare", apps]);
    folder.write("empty", "");
    let blob = folder.git(&["-C", apps, "hash-object", "-w", "../../empty"]);
    folder.git(&["-C", apps, "--work-tree=.", "update-index", "--add", "--cacheinfo", "100644", &blob, "x"]);
    let tree = folder.git(&["-C", apps, "write-tree"]);
    let commit = folder.git(&["-C", apps, "commit-tree", "-m", "x", &tree]);
    folder.git(&["-C", apps, "update-ref", "refs/heads/main", &commit]);
    // In a partial clone, Git would start `uploadpack` to fetch the missing tree.
    fs::remove_file(folder.path().join(apps).join("objects").join(&tree[..2]).join(&tree[2..])).expect("a tree");
    folder.write("origin/apps/config", configuration);
    folder.write("origin/apps/info/exclude", exclude);
    folder.write("origin/apps/db.yaml", SECRET);
    folder.git(&["-C", "origin", "-c", "safe.bareRepository=explicit", "add", "."]);
    folder.git(&["-C", "origin", "-c", "safe.bareRepository=explicit", "commit", "--quiet", "--message", "hostile"]);
    folder.git(&["clone", "--quiet", "origin", "checkout"]);
    folder
}

#[test]
fn the_configuration_of_a_bare_repository_in_a_checkout_starts_no_program() {
    let marker = tempfile::tempdir().expect("a folder");
    let marker = marker.path().join("marker");
    for core in ["bare = true", "bare = false\n\tworktree = ./\n\tfsmonitor = touch marker"] {
        let folder = hostile_checkout(
            &format!(
                "[core]\n\trepositoryformatversion = 1\n\t{core}\n[extensions]\n\tpartialclone = origin\n\
                 [remote \"origin\"]\n\turl = .\n\tpromisor = true\n\tuploadpack = touch {}; false\n",
                marker.display()
            ),
            "",
        );
        let db = "checkout/apps/db.yaml";
        let warning = format!(
            "warning: {db}: Git already had this file before sealing, and its history may show the plain values: change the values\n"
        );
        let seal = folder.waxseal(&["seal", db, "--in-place", "--keys", "cluster.yaml"]);
        assert_eq!(seal.writes(&[db]).warns(&format!("{warning}{SEALED}")), "");
        let open = ["open", db, "--identity", "cluster.key", "-o", "checkout/apps/plain.yaml"];
        folder.waxseal(&open).fails(
            3,
            "error: checkout/apps/plain.yaml: is inside the folder where Git keeps a repository
hint: write it to another folder
",
        );
        assert_inside_repository(&folder, "checkout/apps/new.key");
        assert_inside_repository(&folder, "checkout/apps/info/new.key");
        assert!(!marker.exists(), "a program ran");
    }
}

#[test]
fn the_ignore_rules_of_a_bare_repository_in_a_checkout_have_no_effect() {
    let folder = hostile_checkout("[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = ./\n", "*\n");
    assert_inside_repository(&folder, "checkout/apps/new.key");
    // Without `HEAD` the folder is not a repository, and its ignore rules have no effect, either.
    fs::remove_file(folder.path().join("checkout/apps/HEAD")).expect("a file");
    assert_exposed(&folder, "checkout/apps/new.key");
}

#[test]
fn git_checks_work_without_a_git_program() {
    let folder = work_tree();
    folder.write(".gitignore", "*.plain\n");
    commit_and_remove(&folder);
    folder.write("db.yaml", SECRET);
    let seal = folder.waxseal(&SEAL).env("PATH", "/nowhere").writes(&["db.yaml"]);
    assert_eq!(seal.warns(&format!("{WARNING}{SEALED}")), "");
    generate(&folder, "new.plain").env("PATH", "/nowhere").writes(&["new.plain"]).succeeds();
}

#[test]
fn sealing_a_committed_file_warns_that_history_has_it() {
    let folder = work_tree();
    assert_warned(&folder, "");

    folder.write("db.yaml", SECRET);
    folder.git(&["add", "db.yaml"]);
    assert_warned(&folder, WARNING);

    folder.write("db.yaml", SECRET);
    folder.git(&["commit", "--quiet", "--message", "plain"]);
    folder.git(&["rm", "--quiet", "--cached", "db.yaml"]);
    let run = folder.waxseal(&SEAL).env("GIT_DIR", "/nowhere").writes(&["db.yaml"]);
    assert_eq!(run.warns(&format!("{WARNING}{SEALED}")), "");
}

#[test]
fn a_committed_file_is_found_in_every_kind_of_object_storage() {
    for format in ["sha1", "sha256"] {
        let folder = Folder::with_key();
        folder.git(&["init", "--quiet", &format!("--object-format={format}")]);
        folder.write("first.yaml", "");
        folder.git(&["add", "first.yaml"]);
        folder.git(&["commit", "--quiet", "--message", "first"]);
        // The file is in no commit on the line of first parents.
        folder.git(&["checkout", "--quiet", "-b", "side"]);
        commit_and_remove(&folder);
        folder.git(&["checkout", "--quiet", "-"]);
        folder.git(&["commit", "--quiet", "--allow-empty", "--message", "main"]);
        folder.git(&["merge", "--quiet", "--no-edit", "side"]);
        folder.git(&["branch", "--quiet", "-D", "side"]);
        assert_warned(&folder, WARNING);
        folder.git(&["gc", "--quiet", "--prune=now"]);
        assert_warned(&folder, WARNING);
        folder.write("other.yaml", SECRET);
        let seal = folder.waxseal(&["seal", "other.yaml", "--in-place", "--keys", "cluster.yaml"]);
        assert_eq!(seal.writes(&["other.yaml"]).warns(SEALED), "");
    }
}

#[test]
fn a_committed_file_is_found_from_every_kind_of_reference() {
    let folder = work_tree();
    folder.git(&["commit", "--quiet", "--allow-empty", "--message", "first"]);
    let first = folder.git(&["rev-parse", "HEAD"]);
    let restart = || folder.git(&["reset", "--quiet", "--soft", &first]);
    let forget = ["-c", "gc.reflogExpire=now", "-c", "gc.reflogExpireUnreachable=now", "gc", "--quiet", "--prune=now"];
    for keep in [
        &["tag", "--annotate", "kept", "--message", "x"][..],
        &["update-ref", "refs/custom/kept", "HEAD"],
        &["worktree", "add", "--quiet", "--detach", "elsewhere", "HEAD"],
    ] {
        commit_and_remove(&folder);
        folder.git(keep);
        restart();
        assert_warned(&folder, WARNING);
        folder.git(&forget);
        assert_warned(&folder, WARNING);
        match keep[0] {
            "tag" => folder.git(&["tag", "--delete", "kept"]),
            "update-ref" => folder.git(&["update-ref", "-d", "refs/custom/kept"]),
            _ => break,
        };
        folder.git(&["reset", "--quiet"]);
        assert_warned(&folder, "");
    }
    // Only the detached HEAD of the main work tree leads to the plain file. A run in the other work tree finds it, too.
    folder.git(&["-C", "elsewhere", "checkout", "--quiet", "--detach", &first]);
    folder.git(&["checkout", "--quiet", "--detach"]);
    commit_and_remove(&folder);
    folder.write("elsewhere/db.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "elsewhere/db.yaml", "--in-place", "--keys", "cluster.yaml"]);
    let warning = WARNING.replace("db.yaml", "elsewhere/db.yaml");
    assert_eq!(seal.writes(&["elsewhere/db.yaml"]).warns(&format!("{warning}{SEALED}")), "");
}

#[test]
fn a_file_in_a_replaced_commit_is_found() {
    let folder = work_tree();
    folder.git(&["commit", "--quiet", "--allow-empty", "--message", "first"]);
    commit_and_remove(&folder);
    let (first, plain) = (folder.git(&["rev-parse", "HEAD~2"]), folder.git(&["rev-parse", "HEAD~1"]));
    folder.git(&["replace", "--force", &plain, &first]);
    assert_eq!(folder.git(&["rev-list", "--all", "--full-history", "--", "db.yaml"]), "");
    assert_warned(&folder, WARNING);
}

#[test]
fn an_incomplete_history_is_warned_of() {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet", "origin"]);
    folder.git(&["-C", "origin", "config", "uploadpack.allowFilter", "true"]);
    for name in ["a/x", "a/y", "a/z"] {
        folder.write(&format!("origin/{name}"), name);
        folder.git(&["-C", "origin", "add", "."]);
        folder.git(&["-C", "origin", "commit", "--quiet", "--message", name]);
    }
    let url = format!("file://{}/origin", folder.path().display());
    let seal = |clone: &str, warning: &str| {
        let file = format!("{clone}/a/db.yaml");
        folder.write(&file, SECRET);
        let seal = folder.waxseal(&["seal", &file, "--in-place", "--keys", "cluster.yaml"]);
        assert_eq!(seal.writes(&[&file]).warns(&format!("{}{SEALED}", warning.replace("db.yaml", &file))), "");
    };
    folder.git(&["clone", "--quiet", &url, "full"]);
    seal("full", "");
    folder.git(&["clone", "--quiet", "--depth=2", &url, "shallow"]);
    seal("shallow", &perhaps("this clone lacks a part of the history"));
    folder.git(&["clone", "--quiet", "--filter=tree:0", &url, "partial"]);
    seal("partial", &perhaps("this clone lacks a part of the history"));
    folder.git(&["clone", "--quiet", "--filter=blob:none", &url, "blobless"]);
    seal("blobless", "");
}

#[test]
fn an_unreadable_history_is_warned_of() {
    let folder = work_tree();
    folder.git(&["commit", "--quiet", "--allow-empty", "--message", "first"]);
    folder.git(&["config", "core.repositoryFormatVersion", "1"]);
    assert_warned(&folder, "");
    folder.git(&["config", "extensions.refStorage", "reftable"]);
    assert_warned(&folder, &perhaps("its repository cannot be read"));
    folder.write(".git/config", "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tnewer = true\n");
    assert_warned(&folder, &perhaps("its repository cannot be read"));
    assert_unknown(&folder, "new.key");
    folder.write(".git/config", "[core\n");
    assert_warned(&folder, &perhaps("its repository cannot be read"));
    assert_unknown(&folder, "new.key");
    folder.write(".git/config", "[core]\n\trepositoryformatversion = 2\n");
    assert_warned(&folder, &perhaps("its repository cannot be read"));
    assert_unknown(&folder, "new.key");
    fs::remove_dir_all(folder.path().join(".git/objects")).expect("a folder");
    assert_warned(&folder, &perhaps("its repository cannot be read"));
    assert_unknown(&folder, "new.key");
}

#[test]
fn a_repository_that_blocks_is_given_up_after_a_timeout() {
    let folder = work_tree();
    folder.git(&["commit", "--quiet", "--allow-empty", "--message", "first"]);
    let refs = folder.path().join(".git/packed-refs");
    mknodat(CWD, &refs, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    assert_warned(&folder, &perhaps("its history takes too long to read"));
    fs::remove_file(&refs).expect("a file");
    assert_warned(&folder, "");
    let exclude = folder.path().join(".git/info/exclude");
    fs::remove_file(&exclude).expect("a file");
    mknodat(CWD, &exclude, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    assert_unknown(&folder, "new.key");
}

#[test]
fn special_characters_in_a_file_name_are_not_a_pattern() {
    let folder = work_tree();
    folder.write("x.yaml", "");
    folder.git(&["add", "x.yaml"]);
    folder.write("*.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "*.yaml", "--in-place", "--keys", "cluster.yaml"]);
    assert_eq!(seal.writes(&["*.yaml"]).warns(SEALED), "");
}

#[test]
fn a_private_file_is_refused_where_git_would_add_it() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    folder.write("sealed.yaml", &sealed);
    folder.git(&["init", "--quiet"]);
    folder.write(".gitignore", "*.plain\n");
    let open = |name| folder.waxseal(&["open", "sealed.yaml", "--identity", "cluster.key", "-o", name]);
    open("db.yaml").fails(3, &not_ignored("db.yaml"));
    open("db.plain").writes(&["db.plain"]).prints("");
    open(":(top)x.plain").writes(&[":(top)x.plain"]).prints("");
    open("*.plain").writes(&["*.plain"]).prints("");
    assert_exposed(&folder, "new.key");
}

#[test]
fn ignore_rules_do_not_protect_a_tracked_file() {
    let folder = work_tree();
    folder.write(".gitignore", "*.key\n");
    folder.write("old.key", "");
    folder.git(&["add", "--force", "old.key"]);
    fs::remove_file(folder.path().join("old.key")).expect("a file");
    for name in ["old.key", "OLD.key"] {
        generate(&folder, name).fails(3, &tracked(name));
    }
    assert_written(&folder, "new.key");
}

#[test]
fn a_private_file_in_a_repository_folder_is_refused() {
    let folder = work_tree();
    folder.write(".git/new/x", "");
    folder.git(&["init", "--quiet", "--bare", "bare.git"]);
    for name in [".git/new.key", ".git/new/new.key", "bare.git/new.key", "bare.git/refs/new.key"] {
        assert_inside_repository(&folder, name);
    }
}

#[test]
fn every_repository_around_a_path_must_ignore_it() {
    let folder = work_tree();
    folder.git(&["init", "--quiet", "inner"]);
    folder.write("inner/deep/x", "");
    assert_exposed(&folder, "inner/deep/new.key");
    folder.write("inner/.git/info/exclude", "*.key\n");
    assert_exposed_to(&folder, "inner/deep/new.key", "");
    folder.write(".git/info/exclude", "/inner/deep/new.*\n");
    assert_written(&folder, "inner/deep/new.key");
    // Both repositories read the `.gitignore` files of the inner folders.
    folder.write("inner/.gitignore", "*.yaml\n");
    assert_written(&folder, "inner/deep/new.yaml");
    folder.write("inner/deep/.gitignore", "!other.key\n");
    assert_exposed(&folder, "inner/deep/other.key");
    // A `.git` that cannot be read as a repository.
    folder.write("inner/deep/.git", "gitdir: nowhere\n");
    assert_unknown(&folder, "inner/deep/other.key");
}

#[test]
fn a_file_in_a_submodule_follows_the_rules_of_the_submodule() {
    let folder = work_tree();
    folder.git(&["init", "--quiet", "origin"]);
    folder.write("origin/.gitignore", "*.key\n");
    folder.git(&["-C", "origin", "add", "."]);
    folder.git(&["-C", "origin", "commit", "--quiet", "--message", "first"]);
    folder.git(&["submodule", "--quiet", "add", "./origin", "module"]);
    assert_written(&folder, "module/new.key");
    assert_exposed(&folder, "module/new.yaml");
    // Without its repository, the submodule is an ordinary folder.
    folder.git(&["submodule", "--quiet", "deinit", "--force", "module"]);
    assert_exposed(&folder, "module/other.key");
}

#[test]
fn a_linked_work_tree_uses_the_rules_of_its_repository() {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet", "main"]);
    folder.write("main/.gitignore", "*.plain\n");
    folder.git(&["-C", "main", "add", "."]);
    folder.git(&["-C", "main", "commit", "--quiet", "--message", "first"]);
    folder.write("main/.git/info/exclude", "*.key\n");
    folder.git(&["-C", "main", "worktree", "add", "--quiet", "../linked"]);
    assert_written(&folder, "linked/new.key");
    assert_written(&folder, "linked/new.plain");
    assert_exposed(&folder, "linked/new.yaml");
    fs::remove_dir_all(folder.path().join("main")).expect("a folder");
    assert_unknown(&folder, "linked/other.key");
}

#[test]
fn a_bare_repository_does_not_expose_the_files_around_it() {
    let folder = Folder::with_key();
    folder.git(&["init", "--quiet", "--bare", ".git"]);
    assert_written(&folder, "new.key");
}

#[test]
fn a_repository_with_another_work_tree_is_not_read() {
    let folder = work_tree();
    folder.write("elsewhere/x", "");
    folder.write(".gitignore", "*.key\n");
    folder.git(&["config", "core.worktree", "../elsewhere"]);
    assert_unknown(&folder, "new.key");
}

#[test]
fn a_linked_ignore_file_has_no_effect_as_in_git() {
    let folder = work_tree();
    folder.write("rules", "*.key\n");
    symlink("rules", folder.path().join(".gitignore")).expect("a link");
    assert_exposed(&folder, "new.key");
}

#[test]
fn a_file_is_refused_if_an_ignore_file_is_larger_than_the_limit() {
    let folder = work_tree();
    folder.write(".gitignore", format!("*.key\n{}", "#\n".repeat(1 << 20)));
    assert_unknown(&folder, "new.key");
}

/// In each case no rule matches the file, or the last rule that matches includes the file again.
#[test]
fn the_last_rule_that_matches_decides() {
    for (rules, exclude) in [
        ("*.key\n!*.key\r", ""),
        ("*\n!*.key\n", ""),
        ("!*.key\n", "*.key\n"),
        ("", "*\n!*.key\n"),
        ("", "*/\n**/\n/\n"),
        ("", "*/*\n"),
        ("\u{feff}!*.key", "*\n"),
    ] {
        let folder = work_tree();
        folder.write(".gitignore", rules);
        folder.write(".git/info/exclude", exclude);
        assert_exposed(&folder, "new.key");
    }
    let folder = work_tree();
    folder.write(".gitignore", "*\n");
    // No rule can include a file again if its folder is ignored.
    folder.write("apps/.gitignore", "!*.key\n");
    assert_written(&folder, "apps/new.key");
    folder.write(".gitignore", "*\n!apps/\n");
    assert_exposed(&folder, "apps/other.key");
}

#[test]
fn ignore_files_outside_a_sparse_checkout_apply() {
    let folder = work_tree();
    folder.write(".gitignore", "*.key\n");
    folder.write("apps/.gitignore", "!*.key\n");
    folder.git(&["add", "."]);
    folder.git(&["update-index", "--skip-worktree", "apps/.gitignore"]);
    fs::remove_file(folder.path().join("apps/.gitignore")).expect("a file");
    assert_exposed(&folder, "apps/new.key");
    assert_written(&folder, "new.key");
    folder.git(&["update-index", "--no-skip-worktree", "apps/.gitignore"]);
    assert_written(&folder, "apps/new.key");
}

#[test]
fn the_ignore_file_of_the_user_applies() {
    let folder = work_tree();
    let home = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| fs::write(path, content)).expect("a file");
    };
    let generate = |name: &str| {
        let run = generate(&folder, name).env("HOME", home.path()).without_env("GIT_CONFIG_GLOBAL");
        run.without_env("XDG_CONFIG_HOME")
    };
    write(".config/git/ignore", "*.key\n");
    generate("a.key").writes(&["a.key"]).succeeds();
    // With `core.excludesFile`, Git does not read the default file.
    write(".gitconfig", "[include]\n\tpath = more\n");
    write("more", "[core]\n\texcludesFile = ~/ignored\n");
    write("ignored", "*.plain\n");
    generate("b.key").fails(3, &not_ignored("b.key"));
    generate("b.plain").writes(&["b.plain"]).succeeds();
    write("other", "");
    generate("c.plain").env("GIT_CONFIG_GLOBAL", home.path().join("other")).fails(3, &not_ignored("c.plain"));
}

#[test]
fn the_variables_that_git_sets_for_a_hook_have_no_effect() {
    let folder = work_tree();
    folder.write(".gitignore", "*.key\n");
    folder.write("old.key", "");
    folder.git(&["add", "--force", "old.key"]);
    fs::remove_file(folder.path().join("old.key")).expect("a file");
    folder.git(&["init", "--quiet", "other"]);
    folder.write("other/.git/info/exclude", "*\n");
    let other = folder.path().join("other");
    let hook = |name: &str| {
        let run = generate(&folder, name).env("GIT_DIR", other.join(".git"));
        run.env("GIT_INDEX_FILE", other.join(".git/index")).env("GIT_PREFIX", "x/")
    };
    hook("old.key").fails(3, &tracked("old.key"));
    hook("new.key").writes(&["new.key"]).succeeds();
}

#[test]
fn a_git_work_tree_variable_that_names_another_work_tree_is_refused() {
    let folder = work_tree();
    folder.git(&["init", "--quiet", "other"]);
    let other = folder.path().join("other");
    let run = generate(&folder, "new.yaml").env("GIT_DIR", other.join(".git")).env("GIT_WORK_TREE", &other);
    run.fails(3, &unreadable("new.yaml"));
}

//! Output files: `--output`, `--output-dir`, which files are replaced, and which need `--force`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use age::armor::Format;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::getuid;

use crate::folder::{Folder, HEAD, Run, SECRET};
use crate::passphrases::protect;

const OTHER: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n";

fn refusal(name: &str) -> String {
    format!(
        "error: {name}: exists already, and holds something that the result does not
hint: name another file, or pass `--force` to replace it
"
    )
}

fn seal<'a>(folder: &'a Folder, output: &str) -> Run<'a> {
    folder.waxseal(&["seal", "db.yaml", "-o", output, "--keys", "cluster.yaml"])
}

fn seal_by_force<'a>(folder: &'a Folder, output: &str) -> Run<'a> {
    folder.waxseal(&["seal", "db.yaml", "-o", output, "--keys", "cluster.yaml", "--force"])
}

#[test]
fn a_file_of_the_same_objects_is_replaced() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    seal(&folder, "sealed.yaml").writes(&["sealed.yaml"]).prints("");
    let first = folder.read("sealed.yaml");
    folder.write("db.yaml", format!("{SECRET}---\n{OTHER}---\n{}", SECRET.replace("db", "web")));
    for before in [
        first.clone(),
        format!("# by hand\n{first}"),
        format!("{first}---\n{}", OTHER.replace("a: b", "a: c")),
        String::new(),
    ] {
        folder.write("sealed.yaml", before);
        seal(&folder, "sealed.yaml").writes(&["sealed.yaml"]).prints("");
    }
}

#[test]
fn a_file_of_other_objects_is_replaced_only_with_force() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    seal(&folder, "sealed.yaml").writes(&["sealed.yaml"]).prints("");
    let sealed = folder.read("sealed.yaml");
    for before in [
        SECRET,
        OTHER,
        "a list of things to do\n",
        "\u{0}",
        "kind: [",
        &sealed.replace("name: db", "name: web"),
        &sealed.replace("namespace: shop", "namespace: web"),
        &format!("{sealed}---\n{OTHER}"),
        &format!("{sealed}---\n{}", sealed.replace("name: db", "name: web")),
        &folder.read("cluster.yaml"),
    ] {
        folder.write("other.yaml", before);
        seal(&folder, "other.yaml").fails(3, &refusal("other.yaml"));
        assert_eq!(folder.read("other.yaml"), before);
        seal_by_force(&folder, "other.yaml").writes(&["other.yaml"]).prints("");
        assert!(folder.read("other.yaml").starts_with("apiVersion: waxseal.dev/"));
    }
    folder.write("large.yaml", vec![b'#'; 33 << 20]);
    seal(&folder, "large.yaml").fails(3, &refusal("large.yaml"));
}

#[test]
fn identities_and_the_keys_files_in_use_are_never_replaced() {
    let folder = Folder::with_key();
    folder.generate("other", &["--classic"]);
    folder.write("db.yaml", SECRET);
    let identity = folder.read("cluster.key");
    folder.write("safe.key", protect(&identity, "a pass phrase", Format::Binary));
    folder.write("armoured.key", protect(&identity, "a pass phrase", Format::AsciiArmor));
    let armour = folder.read("armoured.key");
    folder.write("spaced.key", format!("\n{armour}"));
    folder.write("named.key", format!("# my recovery key\n{armour}"));
    folder.write("marked.key", format!("\u{feff}{armour}"));
    folder.write("lower.key", identity.to_lowercase());
    folder.write("secret.yaml", SECRET.replace("a long value", identity.lines().next_back().expect("a line")));
    for name in [
        "cluster.key",
        "other.key",
        "safe.key",
        "armoured.key",
        "spaced.key",
        "named.key",
        "marked.key",
        "lower.key",
        "secret.yaml",
    ] {
        let stderr = format!("error: {name}: holds an identity, and is never written over\n");
        seal(&folder, name).fails(3, &stderr);
        seal_by_force(&folder, name).fails(3, &stderr);
    }
    symlink("cluster.yaml", folder.path().join("link.yaml")).expect("a link");
    fs::hard_link(folder.path().join("cluster.yaml"), folder.path().join("again.yaml")).expect("a link");
    for name in ["cluster.yaml", "link.yaml", "again.yaml"] {
        let stderr = format!("error: {name}: is a keys file of this command, and is never written over\n");
        seal(&folder, name).fails(3, &stderr);
    }
    let stderr = "error: cluster.yaml: is a keys file of this command, and is never written over\n";
    seal_by_force(&folder, "cluster.yaml").fails(3, stderr);
    let stderr = "sealed 0 Secrets in 0 files
error: ./cluster.yaml: is a keys file of this command, and is never written over
";
    folder.write("in/cluster.yaml", SECRET);
    let seal = ["seal", "in", "--output-dir", ".", "--keys", "cluster.yaml", "--force"];
    folder.waxseal(&seal).fails(3, stderr);
}

#[test]
fn force_does_not_follow_a_link() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    seal(&folder, "real/sealed.yaml").writes(&["real/sealed.yaml"]).prints("");
    symlink("real/sealed.yaml", folder.path().join("link.yaml")).expect("a link");
    seal(&folder, "link.yaml").writes(&["real/sealed.yaml", "link.yaml"]).prints("");
    assert!(folder.path().join("link.yaml").is_symlink());
    seal_by_force(&folder, "link.yaml").fails(
        3,
        "error: link.yaml: is a symbolic link, and `--force` does not follow links
hint: name the file that it leads to
",
    );
}

#[test]
fn a_link_that_leads_nowhere_is_not_replaced() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    symlink("nowhere", folder.path().join("link.yaml")).expect("a link");
    symlink("loop.yaml", folder.path().join("loop.yaml")).expect("a link");
    for name in ["link.yaml", "loop.yaml"] {
        let stderr = format!("error: {name}: is a symbolic link that leads nowhere\n");
        seal(&folder, name).fails(3, &stderr);
        seal_by_force(&folder, name).fails(3, &stderr);
        let below = folder.waxseal(&["seal", "db.yaml", "--output-dir", name, "--keys", "cluster.yaml"]);
        below.fails(3, &format!("sealed 0 Secrets in 0 files\n{stderr}"));
    }
    let stderr = "error: link.yaml: is a symbolic link that leads nowhere\n";
    seal(&folder, "link.yaml/deep/db.yaml").fails(3, stderr);
}

#[test]
fn force_without_an_output_option_is_refused() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    let outcome = folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml", "--force"]).finish();
    assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(2), ""));
    assert!(outcome.stderr.contains("--output-dir <DIR>"), "{}", outcome.stderr);
}

#[test]
fn output_dir_replaces_files_one_by_one() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    folder.write("apps/deep/web.yaml", SECRET.replace("db", "web"));
    let seal = ["seal", "apps", "--output-dir", "out", "--keys", "cluster.yaml"];
    let run = |options: &[&str]| folder.waxseal(&[&seal[..], options].concat());
    let both = ["out/db.yaml", "out/deep/web.yaml"];
    for _ in 0..2 {
        assert_eq!(run(&[]).writes(&both).warns("sealed 2 Secrets in 2 files\n"), "");
    }
    folder.write("out/db.yaml", OTHER);
    let stderr = format!("sealed 1 Secret in 1 file\n{}", refusal("out/db.yaml"));
    run(&[]).writes(&["out/deep/web.yaml"]).fails(3, &stderr);
    assert_eq!(run(&["--force"]).writes(&both).warns("sealed 2 Secrets in 2 files\n"), "");
}

#[test]
fn nothing_is_written_through_a_link_below_output_dir() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    folder.write("apps/deep/web.yaml", SECRET.replace("db", "web"));
    folder.write("elsewhere/keep", "");
    fs::create_dir(folder.path().join("real")).expect("a folder");
    symlink("real", folder.path().join("out")).expect("a link");
    symlink("../elsewhere", folder.path().join("real/deep")).expect("a link");
    symlink("../elsewhere/db.yaml", folder.path().join("real/db.yaml")).expect("a link");
    let error = |name: &str| {
        format!(
            "error: {name}: is a symbolic link, and nothing is written through it
hint: remove the link
"
        )
    };
    for force in [&[][..], &["--force"]] {
        let seal = [&["seal", "apps", "--output-dir", "out", "--keys", "cluster.yaml"], force].concat();
        let stderr = format!("sealed 0 Secrets in 0 files\n{}{}", error("out/db.yaml"), error("out/deep"));
        folder.waxseal(&seal).fails(3, &stderr);
    }
    // The output folder itself may be a link: it is on the command line.
    fs::remove_file(folder.path().join("real/deep")).expect("a link");
    fs::remove_file(folder.path().join("real/db.yaml")).expect("a link");
    let seal = folder.waxseal(&["seal", "apps", "--output-dir", "out", "--keys", "cluster.yaml"]);
    let written = ["out/db.yaml", "out/deep/web.yaml", "real/db.yaml", "real/deep/web.yaml"];
    assert_eq!(seal.writes(&written).warns("sealed 2 Secrets in 2 files\n"), "");
}

#[test]
fn a_folder_instead_of_a_file_and_the_reverse_are_refused() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    folder.write("apps/db.yaml", SECRET);
    let is_folder = "error: apps: is a folder, not a file\n";
    let new = ["seal", "--keys", "cluster.yaml", "-o", "new/"];
    folder.waxseal(&new).stdin(SECRET).fails(3, "error: new/: is a folder, not a file\n");
    let is_file = "error: cluster.yaml: is a file, not a folder\n";
    seal(&folder, "apps").fails(3, is_folder);
    seal(&folder, "cluster.yaml/db.yaml").fails(3, is_file);
    seal(&folder, "cluster.yaml/deep/db.yaml").fails(3, is_file);
    for (arguments, stderr) in [
        (&["inspect", "cluster.yaml/db.yaml"][..], is_file),
        (&["inspect", "absent.yaml"], "error: absent.yaml: no such file or folder\n"),
        (&["open", "db.yaml", "--identity", "apps"], is_folder),
        (&["seal", "db.yaml", "--keys", "apps"], is_folder),
        (&["keys", "list", "apps"], is_folder),
        (&["keys", "public", "--identity", "apps"], is_folder),
        (&["keys", "fetch", "-o", "apps"], is_folder),
        (&["keys", "generate", "-o", "cluster.yaml/new.key"], is_file),
        (&["keys", "generate", "-o", "absent/new.key"], "error: absent: no such file or folder\n"),
    ] {
        let code = if stderr.contains("no such") { 1 } else { 3 };
        folder.waxseal(arguments).fails(code, stderr);
    }
    let seal = ["seal", "db.yaml", "--output-dir", "cluster.yaml", "--keys", "cluster.yaml"];
    folder.waxseal(&seal).fails(3, &format!("sealed 0 Secrets in 0 files\n{is_file}"));
    folder.write("out/db.yaml/x", "");
    let seal = ["seal", "db.yaml", "--output-dir", "out", "--keys", "cluster.yaml"];
    folder.waxseal(&seal).fails(3, "sealed 0 Secrets in 0 files\nerror: out/db.yaml: is a folder, not a file\n");
    fs::remove_dir_all(folder.path().join("out")).expect("a folder");
    fs::create_dir(folder.path().join("out")).expect("a folder");
    let pipe = folder.path().join("out/db.yaml");
    mknodat(CWD, pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    folder.waxseal(&seal).fails(3, "sealed 0 Secrets in 0 files\nerror: out/db.yaml: is not a regular file\n");
    let seal = ["seal", "cluster.yaml/x", "absent", "--in-place", "--keys", "cluster.yaml"];
    folder
        .waxseal(&seal)
        .fails(1, &format!("sealed 0 Secrets in 0 files\n{is_file}error: absent: no such file or folder\n"));
}

/// Otherwise a committed link could redirect the results of others.
#[test]
fn nothing_is_written_through_a_link_out_of_a_work_tree() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    folder.write("elsewhere/empty", "");
    folder.write("elsewhere/plain.yaml", SECRET);
    folder.write("checkout/.git/HEAD", "ref: refs/heads/main\n");
    folder.write("checkout/.GIT/HEAD", "ref: refs/heads/main\n");
    folder.write("checkout/real/db.yaml", SECRET);
    for (target, link) in [
        ("../elsewhere/empty", "file.yaml"),
        ("../elsewhere", "folder"),
        ("../elsewhere/plain.yaml", "plain.yaml"),
        (".git", "repository"),
        (".GIT", "in_capitals"),
        ("real", "inside"),
    ] {
        symlink(target, folder.path().join("checkout").join(link)).expect("a link");
    }
    let refused = |link: &str| {
        format!(
            "error: checkout/{link}: is a symbolic link that does not lead to a file of its Git work tree\nhint: nothing is \
             written through it: name the file or folder that it leads to\n"
        )
    };
    seal(&folder, "checkout/file.yaml").fails(3, &refused("file.yaml"));
    seal(&folder, "checkout/folder/new.yaml").fails(3, &refused("folder"));
    seal(&folder, "checkout/folder/absent/new.yaml").fails(3, &refused("folder"));
    let detour = "checkout/absent/../folder/new.yaml";
    seal(&folder, detour).fails(3, &refused("absent/../folder"));
    assert!(!folder.path().join("elsewhere/absent").exists());
    seal(&folder, "checkout/repository/new.yaml").fails(3, &refused("repository"));
    seal(&folder, "checkout/in_capitals/new.yaml").fails(3, &refused("in_capitals"));
    let keys = ["--keys", "cluster.yaml"];
    let nothing = "sealed 0 Secrets in 0 files\n";
    let below = ["seal", "db.yaml", "--output-dir", "checkout/folder"];
    folder.waxseal(&[&below[..], &keys].concat()).fails(3, &format!("{nothing}{}", refused("folder")));
    let in_place = |name: &str| folder.waxseal(&[&["seal", "--in-place", name], &keys[..]].concat());
    in_place("checkout/plain.yaml").fails(3, &format!("{nothing}{}", refused("plain.yaml")));
    in_place("checkout/folder").fails(3, &refused("folder"));
    in_place("checkout/folder/plain.yaml").fails(3, &format!("{nothing}{}", refused("folder")));
    let doubt = "warning: checkout/inside/db.yaml: Git may hold this file (its repository cannot be read): change the \
                 values if it was ever committed\nsealed 1 Secret in 1 file\n";
    in_place("checkout/inside").writes(&["checkout/real/db.yaml", "checkout/inside/db.yaml"]).warns(doubt);
    let open = ["open", "checkout/real/db.yaml", "--identity", "cluster.key", "-o", "checkout/folder/opened.yaml"];
    folder.waxseal(&open).fails(3, &refused("folder"));
    let sealed = ["elsewhere/sealed.yaml", "checkout/folder/sealed.yaml"];
    seal(&folder, sealed[0]).writes(&sealed).prints("");
    let rotate = ["rotate", sealed[1], "--reseal", "--keys", "cluster.yaml", "--identity", "cluster.key"];
    let nothing = "changed 0 of 1 SealedSecret in 0 files\n";
    folder.waxseal(&rotate).fails(3, &format!("{nothing}{}", refused("folder")));
}

#[test]
fn contradicting_output_options_are_refused() {
    let folder = Folder::with_key();
    folder.write("a.yaml", HEAD);
    folder.write("b.yaml", HEAD);
    folder.write("apps/c.yaml", HEAD);
    let seal = |arguments: &[&str]| folder.waxseal(&[&["seal", "--keys", "cluster.yaml"], arguments].concat());
    for format in ["yaml", "json"] {
        seal(&["a.yaml", "-o", format]).fails(
            2,
            &format!(
                "error: --output names a file, and {format} looks like a format
hint: the result has the format of the input; for a file with the name {format} write ./{format}
"
            ),
        );
    }
    let stderr = "error: this command writes to a file, but `--output -` means stdout\nhint: name a file; for a file called - write ./-\n";
    folder.waxseal(&["keys", "generate", "-o", "-"]).fails(2, stderr);
    folder.waxseal(&["keys", "fetch", "-o", "-"]).fails(2, stderr);
    let several = "error: the results of a folder, or of several files, cannot be written to one output\n\
                   hint: pass `--output-dir DIR` or `--in-place`\n";
    seal(&["a.yaml", "b.yaml"]).fails(2, several);
    seal(&["apps"]).fails(2, several);
    seal(&["apps", "-o", "-"]).fails(2, several);
    seal(&["apps", "-o", "x.yaml"]).fails(2, several);
    let nameless = "error: stdin has no name to write its result under\nhint: pass `--output FILE`\n";
    seal(&["-", "--in-place"]).fails(2, nameless);
    seal(&["--output-dir", "x"]).fails(2, nameless);
    seal(&["absent.yaml"]).fails(1, "error: absent.yaml: no such file or folder\n");
}

#[test]
fn an_output_file_is_created_or_replaced() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    let seal = ["seal", "db.yaml", "-o", "out/sealed.yaml", "--keys", "cluster.yaml"];
    folder.waxseal(&seal).writes(&["out/sealed.yaml"]).prints("");
    let first = folder.read("out/sealed.yaml");
    folder.waxseal(&seal).writes(&["out/sealed.yaml"]).prints("");
    assert_ne!(folder.read("out/sealed.yaml"), first);
}

/// Otherwise a file that root changes would no longer belong to its owner, who could no longer read it.
#[test]
fn a_replaced_file_keeps_its_owner_group_and_mode() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    seal(&folder, "sealed.yaml").writes(&["sealed.yaml"]).prints("");
    let path = folder.path().join("sealed.yaml");
    let owned = || fs::metadata(&path).map(|file| (file.uid(), file.gid(), file.mode() & 0o7777)).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("our file");
    if getuid().is_root() {
        chown(&path, Some(65534), Some(65533)).expect("root may");
    }
    let (before, replaced) = (owned(), fs::metadata(&path).expect("a file").ino());
    seal(&folder, "sealed.yaml").writes(&["sealed.yaml"]).prints("");
    assert_ne!(fs::metadata(&path).expect("a file").ino(), replaced);
    assert_eq!(owned(), before);
}

#[test]
fn a_pipe_as_the_output_is_written_to_and_not_replaced() {
    let folder = Folder::with_key();
    folder.write("db.yaml", SECRET);
    symlink("/dev/stdout", folder.path().join("pipe")).expect("a link");
    let sealed = folder.waxseal(&["seal", "db.yaml", "-o", "pipe", "--keys", "cluster.yaml"]).succeeds();
    assert!(sealed.starts_with("apiVersion: waxseal.dev/v1alpha1\n"), "{sealed}");
    assert!(folder.path().join("pipe").is_symlink());
}

#[test]
fn output_dir_mirrors_the_input_folder() {
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
fn two_results_with_one_output_path_are_refused() {
    let folder = Folder::with_key();
    folder.write("a/db.yaml", SECRET);
    folder.write("b/db.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "a", "b/db.yaml", "--output-dir", "out", "--keys", "cluster.yaml"]);
    seal.fails(2, "error: a/db.yaml and b/db.yaml would both become out/db.yaml\n");
}

#[test]
fn output_over_an_input_file_is_refused() {
    let folder = Folder::with_key();
    folder.write("a/db.yaml", SECRET);
    let path = folder.path().join("a/db.yaml").canonicalize().expect("a path").display().to_string();
    let stderr = format!("error: {path} would be written over itself\nhint: pass `--in-place` if that is meant\n");
    folder.waxseal(&["seal", "a", "--output-dir", "a", "--keys", "cluster.yaml"]).fails(2, &stderr);
    folder.waxseal(&["seal", "a/db.yaml", "-o", "./a/db.yaml", "--keys", "cluster.yaml"]).fails(2, &stderr);
}

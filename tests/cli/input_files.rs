//! Input files and folders: which files of a folder are read, files that cannot be read, and stdin that is a terminal.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::getuid;

use crate::folder::{Folder, HOSTILE_NAME, HOSTILE_NAME_ESCAPED, Run, SECRET, program};
use crate::terminal::Terminal;

fn seal_in_place<'a>(folder: &'a Folder, input: &str) -> Run<'a> {
    folder.waxseal(&["seal", input, "--in-place", "--keys", "cluster.yaml"])
}

#[test]
fn file_extensions_are_recognised_in_upper_and_lower_case() {
    let folder = Folder::with_key();
    for name in ["apps/a.YAML", "apps/b.Yml", "apps/c.JSON", "apps/d.yaml.bak", "apps/yaml", "apps/.e.YML"] {
        folder.write(name, SECRET);
    }
    let run = seal_in_place(&folder, "apps").writes(&["apps/a.YAML", "apps/b.Yml", "apps/c.JSON", "apps/.e.YML"]);
    assert_eq!(run.warns("sealed 4 Secrets in 4 files\n"), "");
}

#[test]
fn files_with_unusual_names_are_sealed() {
    let folder = Folder::with_key();
    let names = ["apps/-x.yaml", "apps/--in-place.yaml", "apps/ .yaml", "apps/*.yaml", "apps/é\n.yaml"];
    for name in names {
        folder.write(name, SECRET);
    }
    assert_eq!(seal_in_place(&folder, "apps").writes(&names).warns("sealed 5 Secrets in 5 files\n"), "");
    folder.write("-apps/-x.yaml", SECRET);
    folder.write("-y.yaml", SECRET);
    let seal = folder.waxseal(&["seal", "--in-place", "--keys", "cluster.yaml", "--", "-apps", "-y.yaml"]);
    assert_eq!(seal.writes(&["-apps/-x.yaml", "-y.yaml"]).warns("sealed 2 Secrets in 2 files\n"), "");
    let seal = folder.waxseal(&["seal", "--output-dir", "out", "--keys", "cluster.yaml", "--", "-apps", "-y.yaml"]);
    let run = seal.writes(&["out/-x.yaml", "out/-y.yaml"]);
    assert_eq!(run.warns("sealed 0 Secrets in 0 files, 2 already sealed\n"), "");
    let name = OsStr::from_bytes(b"apps/\xff.yaml");
    fs::write(folder.path().join(name), SECRET).expect("a file");
    let run = seal_in_place(&folder, "apps").writes(&["apps/\u{fffd}.yaml"]);
    assert_eq!(run.warns("sealed 1 Secret in 1 file, 5 already sealed\n"), "");
}

#[test]
fn the_output_folder_is_not_searched_for_input() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    folder.write("apps/deep/web.yaml", SECRET);
    for _ in 0..2 {
        let seal = folder.waxseal(&["seal", "apps", "--output-dir", "apps/deep/out", "--keys", "cluster.yaml"]);
        let run = seal.writes(&["apps/deep/out/db.yaml", "apps/deep/out/deep/web.yaml"]);
        assert_eq!(run.warns("sealed 2 Secrets in 2 files\n"), "");
    }
}

#[test]
fn links_out_of_the_folder_are_not_followed() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    folder.write("elsewhere/db.yaml", SECRET);
    symlink("../elsewhere/db.yaml", folder.path().join("apps/out.yaml")).expect("a link");
    symlink(folder.path().join("elsewhere"), folder.path().join("apps/folder.yaml")).expect("a link");
    symlink("/dev/zero", folder.path().join("apps/zero.yaml")).expect("a link");
    symlink("nowhere", folder.path().join("apps/broken.yaml")).expect("a link");
    symlink(folder.path().join("elsewhere"), folder.path().join("apps/.hidden")).expect("a link");
    symlink("../elsewhere", folder.path().join("apps/shared")).expect("a link");
    symlink("deep", folder.path().join("apps/inside")).expect("a link");
    folder.write("apps/deep/keep", "");
    let left_out = |name: &str| {
        format!("warning: apps/{name}: left out, because it is a link that leads out of apps or into `.git`\n")
    };
    let warning = ["folder.yaml", "out.yaml", "shared"].map(left_out).concat();
    let stderr = format!("{warning}sealed 1 Secret in 1 file\n");
    assert_eq!(seal_in_place(&folder, "apps").writes(&["apps/db.yaml"]).warns(&stderr), "");
    let seal = folder.waxseal(&["seal", "apps", "--output-dir", "out", "--keys", "cluster.yaml"]);
    let stderr = format!("{warning}sealed 0 Secrets in 0 files, 1 already sealed\n");
    assert_eq!(seal.writes(&["out/db.yaml"]).warns(&stderr), "");
}

#[test]
fn a_link_within_the_folder_is_followed_and_stays_a_link() {
    let folder = Folder::with_key();
    folder.write("apps/..data/db.yaml", SECRET);
    folder.write("apps/web.yaml", SECRET);
    folder.write("apps/nested/keep", "");
    symlink("..data/db.yaml", folder.path().join("apps/db.yaml")).expect("a link");
    symlink("web.yaml", folder.path().join("apps/again.yaml")).expect("a link");
    symlink("../db.yaml", folder.path().join("apps/nested/db.yaml")).expect("a link");
    let written = ["apps/..data/db.yaml", "apps/db.yaml", "apps/web.yaml", "apps/again.yaml", "apps/nested/db.yaml"];
    let run = seal_in_place(&folder, "apps").writes(&written);
    assert_eq!(run.warns("sealed 2 Secrets in 2 files\n"), "");
    for link in ["apps/db.yaml", "apps/again.yaml", "apps/nested/db.yaml"] {
        assert!(folder.path().join(link).is_symlink(), "{link}");
    }
}

#[test]
fn a_file_with_several_names_is_sealed_once() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    symlink("apps/db.yaml", folder.path().join("db.yaml")).expect("a link");
    let seal = ["seal", "apps", "apps/db.yaml", "db.yaml", "./apps", "--in-place", "--keys", "cluster.yaml"];
    let run = folder.waxseal(&seal).writes(&["apps/db.yaml", "db.yaml"]);
    assert_eq!(run.warns("sealed 1 Secret in 1 file\n"), "");
}

#[test]
fn pipes_and_sockets_in_a_folder_are_not_opened() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    let pipe = folder.path().join("apps/pipe.yaml");
    mknodat(CWD, pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    symlink("pipe.yaml", folder.path().join("apps/linked-pipe.yaml")).expect("a link");
    let _socket = UnixListener::bind(folder.path().join("apps/socket.yaml")).expect("a socket");
    let run = seal_in_place(&folder, "apps").writes(&["apps/db.yaml"]);
    assert_eq!(run.warns("sealed 1 Secret in 1 file\n"), "");
    // A pipe on the command line is read, but cannot be replaced.
    let stderr = "sealed 0 Secrets in 0 files\nerror: /dev/stdin: is not a regular file, so it is not replaced\n";
    seal_in_place(&folder, "/dev/stdin").stdin(SECRET).fails(3, stderr);
}

#[test]
fn a_file_larger_than_the_limit_is_refused_and_the_others_are_sealed() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    let huge = fs::File::create(folder.path().join("apps/huge.yaml")).expect("a file");
    huge.set_len(33 << 20).expect("a hole");
    let stderr =
        "sealed 1 Secret in 1 file\nerror: apps/huge.yaml: larger than 32 MiB, which is the limit for an input\n";
    seal_in_place(&folder, "apps").writes(&["apps/db.yaml"]).fails(3, stderr);
}

#[test]
fn a_file_with_a_hard_link_is_refused_in_a_folder_and_sealed_by_name() {
    let folder = Folder::with_key();
    folder.write("apps/web.yaml", SECRET);
    folder.write("db.yaml", SECRET);
    fs::hard_link(folder.path().join("db.yaml"), folder.path().join("apps/db.yaml")).expect("a link");
    let stderr = "sealed 1 Secret in 1 file
error: apps/db.yaml: has a second name, a hard link, which can lead out of the folder
hint: name the file itself, or make a copy
";
    seal_in_place(&folder, "apps").writes(&["apps/web.yaml"]).fails(3, stderr);
    let run = seal_in_place(&folder, "apps/db.yaml").writes(&["apps/db.yaml"]);
    let stderr = "warning: apps/db.yaml: another name of the file, a hard link, still holds the plain values
sealed 1 Secret in 1 file
";
    assert_eq!(run.warns(stderr), "");
    assert_eq!(folder.read("db.yaml"), SECRET);
}

#[test]
fn an_unreadable_folder_is_an_error_and_the_other_files_are_sealed() {
    let folder = Folder::with_key();
    folder.write("apps/db.yaml", SECRET);
    folder.write("apps/closed/db.yaml", SECRET);
    fs::create_dir(folder.path().join("out")).expect("a folder");
    let closed = folder.path().join("apps/closed");
    let set_mode = |mode| fs::set_permissions(&closed, Permissions::from_mode(mode)).expect("ours");
    set_mode(0o300);
    let mut command = as_ordinary_user(&folder);
    command.args(["seal", "apps", "--output-dir", "out", "--keys", "cluster.yaml"]);
    let output = command.output().expect("waxseal runs");
    set_mode(0o700);
    let stderr = format!(
        "sealed to {} (Cluster, from cluster.yaml)\nsealed 1 Secret in 1 file\nerror: apps/closed: failed to read the \
         folder: permission denied\n",
        folder.key_id("cluster")
    );
    assert_eq!((String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code()), (stderr, Some(1)));
    assert!(folder.read("out/db.yaml").starts_with("apiVersion: waxseal.dev/"));
}

#[test]
fn a_folder_that_may_not_be_searched_is_not_called_a_repository() {
    let folder = Folder::with_key();
    folder.write("closed/db.yaml", "");
    let closed = folder.path().join("closed");
    let set_mode = |mode| fs::set_permissions(&closed, Permissions::from_mode(mode)).expect("ours");
    set_mode(0o600);
    let key = folder.key_id("cluster");
    for (arguments, error) in [
        (&["keys", "generate", "-o", "closed/x.key"][..], "closed/x.key: failed to create it: permission denied"),
        (&["keys", "usage", &key, "closed"], "closed/db.yaml: failed to read it: permission denied"),
    ] {
        let output = as_ordinary_user(&folder).args(arguments).output().expect("waxseal runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains(&format!("error: {error}\n")), "{stderr}");
        assert!(!output.status.success(), "{stderr}");
    }
    set_mode(0o700);
}

/// The program as a user who is not root and owns the folder.
pub(crate) fn as_ordinary_user(folder: &Folder) -> Command {
    const NOBODY: u32 = 65534;
    let copy = folder.path().join("waxseal");
    // Another process writes the copy: a child that another test starts in this process at the same time inherits open
    // files for a moment, and a program that is open for writing cannot be started.
    let copied = Command::new("cp").arg("-p").args([program(), &copy]).status().expect("cp runs");
    assert!(copied.success(), "room for a copy");
    let mut command = Command::new(copy);
    folder.isolated(&mut command).stdin(Stdio::null());
    if getuid().is_root() {
        let mut waiting = vec![folder.path().to_owned()];
        while let Some(path) = waiting.pop() {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may");
            if path.is_dir() {
                waiting.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            }
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

#[test]
fn input_that_is_not_utf_8_is_refused_with_a_hint_for_utf_16() {
    let folder = Folder::with_key();
    let seal = || folder.waxseal(&["seal", "--keys", "cluster.yaml"]);
    seal().stdin(b"\xc3\x28").fails(3, "error: <stdin>: not UTF-8\n");
    let stderr = "error: <stdin>: not UTF-8\nhint: it looks like UTF-16: save it as UTF-8\n";
    seal().stdin(b"\xff\xfea\x00").fails(3, stderr);
    seal().stdin(b"\xff\xfe\x00\x00a\x00\x00\x00").fails(3, "error: <stdin>: not UTF-8\n");
}

#[test]
fn hidden_characters_in_file_names_are_escaped() {
    let folder = Folder::with_key();
    folder.write(&format!("{HOSTILE_NAME}.yaml"), "kind: [\n");
    folder.write(&format!("apps/{HOSTILE_NAME}.yaml"), "kind: [\n");
    let file = format!("{HOSTILE_NAME}.yaml");
    let refused = |place: &str| format!("error: {place}:1:7: not YAML: a bracket is never closed\n");
    for arguments in [
        &["inspect", &file][..],
        &["open", &file, "--identity", "cluster.key"],
        &["seal", &file, "--keys", "cluster.yaml"],
        &["keys", "list", &file],
    ] {
        folder.waxseal(arguments).fails(3, &refused(&format!("{HOSTILE_NAME_ESCAPED}.yaml")));
    }
    let seal = folder.waxseal(&["seal", "apps", "--in-place", "--keys", "cluster.yaml"]);
    seal.fails(3, &format!("sealed 0 Secrets in 0 files\n{}", refused(&format!("apps/{HOSTILE_NAME_ESCAPED}.yaml"))));
}

#[test]
fn a_terminal_as_stdin_is_refused() {
    let folder = Folder::with_key();
    let terminal = Terminal::open();
    for (arguments, what) in [
        (&["seal", "--keys", "cluster.yaml"][..], "seal"),
        (&["inspect"], "read"),
        (&["open", "--identity", "cluster.key"], "read"),
    ] {
        let mut command = Command::new(program());
        folder.isolated(&mut command).args(arguments).stdin(terminal.other_end());
        let output = command.output().expect("waxseal runs");
        let stderr =
            format!("error: nothing to {what}: stdin is a terminal\nhint: name a file, or `-` to type a manifest\n");
        assert_eq!((String::from_utf8_lossy(&output.stderr), output.status.code()), (stderr.into(), Some(2)));
        assert_eq!(output.stdout, b"");
    }
}

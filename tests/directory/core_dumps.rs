//! A crash of the controller leaves no core dump.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;
use waxseal_tests::{programs, waiting};

use crate::machine::names;

const DEADLINE: Duration = Duration::from_secs(20);

/// `/proc` shows the limit. It shows the dumpable attribute too, as the owner of the files there: root, if the process
/// is not dumpable (proc(5)). Root itself cannot see the difference, so it runs a copy of the program as another user.
#[test]
fn a_crash_leaves_no_core_dump() {
    // Not SIGQUIT: a background job may inherit that it is ignored.
    for signal in [Signal::ABORT, Signal::TRAP] {
        let folder = TempDir::new().expect("a folder");
        let mut child = as_ordinary_user(folder.path()).spawn().expect("the program runs");
        let status = folder.path().join("secrets/..waxseal-status.json");
        waiting::until_blocking("the first pass", DEADLINE, || status.exists().then_some(())).expect("a status");
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("it runs");
        let limit = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        assert_eq!(limit.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        let owner = fs::metadata(format!("/proc/{}/environ", child.id())).expect("it runs").uid();
        assert_eq!(owner, 0, "it is dumpable");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let ended = waiting::until_blocking("the end", DEADLINE, || child.try_wait().expect("our child"));
        if ended.is_err() {
            child.kill().expect("it is there");
        }
        let ended = ended.expect("it dies");
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(signal.as_raw()), false));
        assert_eq!(names(folder.path()), ["controller", "keys", "manifests", "secrets"]);
    }
}

/// The controller on a folder, as a user who is not root.
fn as_ordinary_user(folder: &Path) -> Command {
    const NOBODY: u32 = 65534;
    let copy = folder.join("controller");
    let original = programs::build().expect("the programs").waxseal_controller;
    // Another process writes the copy: a child that another test starts in this process at the same time inherits open
    // files for a moment, and a program that is open for writing cannot be started.
    let copied = Command::new("cp").arg("-p").args([&original, &copy]).status().expect("cp runs");
    assert!(copied.success(), "room for a copy");
    fs::create_dir(folder.join("manifests")).expect("a folder");
    let mut command = Command::new(copy);
    command.env_clear().current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
    command.args(["directory", "--manifests", "manifests", "--secrets", "secrets", "--keys", "keys"]);
    if getuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).expect("root may");
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

//! Commands that change files and are killed at some moment: every file is as it was before or as it is afterwards.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use waxseal_shared::sealing_key::KeyState;

use crate::folder::{Folder, SECRET, changed_lines, data_of, program};
use crate::keys_backup::{self, BACKUP, RESTORE, keys_in};

/// The least number of runs of `keys backup`, and of `keys restore`, that a test kills. The test goes on as [`kill`]
/// does.
const KILLS: u32 = 40;

/// A folder with the keys of a cluster before and after its primary changed: `before.yaml` and `keys.yaml`.
fn rotated() -> Folder {
    let folder = Folder::new();
    folder.generate("old", &[]);
    folder.generate("new", &[]);
    let old = folder.read("old.yaml");
    folder.write("before.yaml", &old);
    folder.write("keys.yaml", old.replace("state: Active", "state: Retired") + "---\n" + &folder.read("new.yaml"));
    folder
}

fn command(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    folder.isolated(&mut command).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs a command at least as often as `rounds` says, and kills each run at another moment of its `usual` time. Calls
/// `check` after each run; the argument says whether the run ended with success before it was killed. Goes on until
/// `check` returns that every outcome that the test needs has occurred, and gives up after ten times `rounds`.
fn kill(rounds: u32, mut command: Command, usual: Duration, mut check: impl FnMut(bool) -> bool) {
    for round in 0..10 * rounds {
        // The machine can be slower now than it was when the usual time was measured.
        let usual = usual * (1 + round / rounds);
        let is_enough = check(kill_after(&mut command, usual * (round * 37 % rounds) / rounds));
        if is_enough && round + 1 >= rounds {
            return;
        }
    }
    panic!("{} killed runs did not have every outcome that the test needs", 10 * rounds);
}

/// Starts a command and kills it after this time. Returns whether it ended with success before.
fn kill_after(command: &mut Command, time: Duration) -> bool {
    let mut child = command.spawn().expect("the program starts");
    thread::sleep(time);
    child.kill().expect("it is there");
    child.wait().expect("it ends").success()
}

fn time(mut command: Command) -> Duration {
    let start = Instant::now();
    assert!(command.status().expect("the program starts").success());
    start.elapsed()
}

#[test]
fn rotate_leaves_no_file_half_written() {
    const FILES: usize = 20;
    let folder = rotated();
    let sealed = folder.waxseal(&["seal", "--keys", "before.yaml"]).stdin(SECRET).succeeds();
    let write_old =
        |folder: &Folder| (0..FILES).for_each(|number| folder.write(&format!("apps/{number}.yaml"), &sealed));
    let arguments = ["rotate", "apps", "--keys", "keys.yaml", "--identity", "old.key"];
    write_old(&folder);
    let usual = time(command(&folder, &arguments));
    let whole = folder.read("apps/0.yaml");
    let (removed, added) = changed_lines(&sealed, &whole);
    assert_eq!((removed.len(), added.len()), (0, 1));
    let (mut old, mut new) = (0, 0);
    let drill = || {
        let said = format!("{FILES} of {FILES} SealedSecrets opened, with all values\n");
        folder.waxseal(&["drill", "apps", "--identity", "new.key"]).warns(&said);
    };
    let files = || (0..FILES).map(|number| folder.read(&format!("apps/{number}.yaml"))).collect::<Vec<_>>();
    write_old(&folder);
    kill(60, command(&folder, &arguments), usual, |ended| {
        for text in files() {
            if text == sealed {
                assert!(!ended, "a run that ended has changed every file");
                old += 1;
                continue;
            }
            new += 1;
            let (removed, added) = changed_lines(&sealed, &text);
            assert_eq!((removed.len(), added.len()), (0, 1), "{text}");
        }
        if files().iter().all(|text| *text != sealed) {
            drill();
            write_old(&folder);
        }
        old > FILES && new > FILES
    });
    assert!(command(&folder, &arguments).status().expect("the program starts").success());
    drill();
}

#[test]
fn set_leaves_the_old_or_the_new_value() {
    let folder = rotated();
    let sealed = folder.waxseal(&["seal", "--keys", "before.yaml"]).stdin(SECRET).succeeds();
    folder.write("db.yaml", &sealed);
    folder.write("value", "another value");
    let arguments = ["set", "db.yaml", "--from-file", "EXTRA=value", "--keys", "before.yaml"];
    let usual = time(command(&folder, &arguments));
    let open = || data_of(&folder.waxseal(&["open", "db.yaml", "--identity", "old.key"]).succeeds());
    let with_extra = open();
    assert_eq!(with_extra["EXTRA"], b"another value");
    folder.write("db.yaml", &sealed);
    let without = open();
    let (mut old, mut new) = (0, 0);
    kill(20, command(&folder, &arguments), usual, |ended| {
        let is_new = folder.read("db.yaml") != sealed;
        assert!(is_new || !ended);
        assert_eq!(open(), if is_new { with_extra.clone() } else { without.clone() });
        if is_new {
            new += 1;
        } else {
            old += 1;
        }
        folder.write("db.yaml", &sealed);
        old > 0 && new > 0
    });
}

#[test]
fn a_revocation_is_whole_in_each_file() {
    let folder = rotated();
    let id = folder.key_id("old");
    let keys = folder.read("old.yaml") + "---\n" + &folder.read("new.yaml");
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: prod.yaml}}\n");
    let write_old = || {
        folder.write("prod.yaml", &keys);
        folder.write("sealing-keys.yaml", &keys);
    };
    write_old();
    let arguments = ["keys", "revoke", &id, "--keys-dir", ".", "--yes"];
    let usual = time(command(&folder, &arguments));
    let whole = folder.read("prod.yaml");
    assert_eq!(whole.matches("state: Revoked").count(), 1);
    write_old();
    let (mut old, mut new) = (0, 0);
    kill(20, command(&folder, &arguments), usual, |ended| {
        for file in ["sealing-keys.yaml", "prod.yaml"] {
            let text = folder.read(file);
            assert!(text == whole || text == keys && !ended, "{text}");
        }
        // The request is written before the keys file: no keys file says Revoked without a request to the controller.
        assert!(folder.read("prod.yaml") == keys || folder.read("sealing-keys.yaml") == whole);
        if folder.read("prod.yaml") == whole {
            new += 1;
        } else {
            old += 1;
        }
        write_old();
        old > 0 && new > 0
    });
}

#[test]
fn a_killed_restore_leaves_whole_files_and_the_next_run_goes_on() {
    let (folder, ids) = keys_backup::folder(&[KeyState::Active; 12]);
    keys_backup::run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    let lists: Vec<_> = (0..ids.len()).map(|at| folder.read(&format!("made/{at}.yaml"))).collect();
    folder.write("prod.yaml", lists.join("---\n"));
    let restore = [&RESTORE[..], &["--keys", "prod.yaml"]].concat();
    let whole_run = time(command(&folder, &restore));
    let (mut present, mut partial) = (keys_in(&folder, "new"), 0);
    for round in 0..10 * KILLS {
        if round >= KILLS && partial > 0 {
            break;
        }
        if present.len() == ids.len() {
            fs::remove_dir_all(folder.path().join("new")).expect("our folder");
            present.clear();
        }
        // The machine can be slower now than it was when the whole run was measured.
        let whole_run = whole_run * (1 + round / KILLS);
        kill_after(&mut command(&folder, &restore), whole_run * (round % KILLS) / KILLS);
        let after = keys_in(&folder, "new");
        assert!(present.keys().all(|id| after.contains_key(id)), "a key is gone");
        partial += u32::from(!after.is_empty() && after.len() < ids.len());
        present = after;
    }
    assert!(partial > 0, "no run was killed between two keys");
    time(command(&folder, &restore));
    assert_eq!(keys_in(&folder, "new").len(), ids.len());
    let files = fs::read_dir(folder.path().join("new")).expect("a folder").count();
    assert_eq!(files, ids.len(), "a killed run left something behind");
}

#[test]
fn a_killed_backup_leaves_a_whole_file_or_none() {
    let (folder, ids) = keys_backup::folder(&[KeyState::Active; 12]);
    let whole_run = time(command(&folder, &BACKUP)) * 5 / 4;
    let (mut absent, mut whole) = (0, 0);
    for round in 0..10 * KILLS {
        if round >= KILLS && absent > 0 && whole > 0 {
            break;
        }
        let _none = fs::remove_file(folder.path().join("keys.age"));
        // The machine can be slower now than it was when the whole run was measured.
        let whole_run = whole_run * (1 + round / KILLS);
        kill_after(&mut command(&folder, &BACKUP), whole_run * (round % KILLS) / KILLS);
        if !folder.path().join("keys.age").exists() {
            absent += 1;
            continue;
        }
        whole += 1;
        let restore = ["keys", "restore", "keys.age", "--identity", "recovery.key", "--keys-dir", "keys"];
        let (code, said) = keys_backup::run(&folder, &restore, &[]);
        assert_eq!((code, said.lines().count()), (Some(0), ids.len()), "{said}");
    }
    assert!(absent > 0 && whole > 0, "{absent} {whole}");
}

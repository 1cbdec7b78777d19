//! Commands that change files and are killed at some moment: every file is as it was before or as it is afterwards.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::folder::{Folder, SECRET, changed_lines, data_of, program};

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

/// Runs a command as often as `rounds` says, and kills each run at another moment of its usual time. Calls `check` after
/// each, with whether the run had ended before.
fn kill(rounds: u32, mut command: Command, usual: Duration, mut check: impl FnMut(bool)) {
    for round in 0..rounds {
        let mut child = command.spawn().expect("the program starts");
        thread::sleep(usual * (round * 37 % rounds) / rounds);
        child.kill().expect("it is there");
        let status = child.wait().expect("it ends");
        check(status.success());
    }
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
    });
    assert!(old > FILES && new > FILES, "the kills were spread: {old} {new}");
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
        *(if is_new { &mut new } else { &mut old }) += 1;
        folder.write("db.yaml", &sealed);
    });
    assert!(old > 0, "{old} {new}");
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
    kill(20, command(&folder, &arguments), usual, |ended| {
        for file in ["sealing-keys.yaml", "prod.yaml"] {
            let text = folder.read(file);
            assert!(text == whole || text == keys && !ended, "{text}");
        }
        // The request is written before the keys file: no keys file says Revoked without a request to the controller.
        assert!(folder.read("prod.yaml") == keys || folder.read("sealing-keys.yaml") == whole);
        write_old();
    });
}

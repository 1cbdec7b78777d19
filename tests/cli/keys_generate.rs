//! `waxseal keys generate`.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::folder::{Folder, program};

#[test]
fn keys_generate_never_overwrites_a_file() {
    let folder = Folder::with_key();
    let generate = folder.waxseal(&["keys", "generate", "-o", "cluster.key"]);
    generate.fails(3, "error: cluster.key: exists already, and secrets are never written over a file\n");
}

#[test]
fn a_key_is_hybrid_and_of_a_cluster_unless_the_options_say_otherwise() {
    let folder = Folder::with_key();
    assert!(folder.read("cluster.yaml").contains("role: Cluster\n"));
    assert!(folder.recipient("cluster").starts_with("age1pq1"));
    folder.generate("classic", &["--classic", "--recovery"]);
    assert!(folder.read("classic.yaml").contains("role: Recovery\n"));
    assert!(!folder.recipient("classic").starts_with("age1pq1"));
}

#[test]
fn a_sealing_key_that_cannot_be_printed_can_be_printed_again() {
    let folder = Folder::new();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" keys generate --recovery -o new.key > /dev/full"]).arg(program());
    let output = folder.isolated(&mut command).output().expect("waxseal runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), stderr.as_ref()),
        (
            Some(1),
            "error: failed to write to stdout: no storage space
hint: the identity is written; print its SealingKey with `waxseal keys public --identity new.key --recovery`
"
        )
    );
    folder.waxseal(&["keys", "public", "--identity", "new.key", "--recovery"]).succeeds();
}

/// A file that has its name before it is whole can stay behind empty if the program is killed on a full disk.
#[test]
fn an_identity_that_cannot_be_written_never_has_a_name() {
    let folder = Folder::new();
    let changed = || folder.path().metadata().and_then(|metadata| metadata.modified()).expect("a folder");
    let before = changed();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" keys generate -o new.key"]).arg(program());
    let output = folder.isolated(&mut command).output().expect("waxseal runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), stderr.as_ref()),
        (Some(1), "error: new.key: failed to write it: file too large\n")
    );
    assert_eq!(changed(), before);
}

#[test]
fn an_identity_file_has_mode_0600_with_every_umask() {
    for umask in ["0777", "0000", "0277"] {
        let folder = Folder::new();
        let mut command = Command::new("sh");
        let script = format!("umask {umask}; exec \"$0\" keys generate -o new.key");
        command.args(["-c", &script]).arg(program());
        let output = folder.isolated(&mut command).output().expect("waxseal runs");
        assert!(output.status.success(), "{umask}: {}", String::from_utf8_lossy(&output.stderr));
        let mode = folder.path().join("new.key").metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{umask}");
    }
}

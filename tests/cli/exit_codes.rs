//! Exit codes that are not the code of one error. All other tests check the exit code of their errors.

use std::process::{Command, Stdio};

use crate::folder::{Folder, HEAD, program};

#[test]
fn a_closed_stdout_is_a_success() {
    let folder = Folder::with_key();
    folder.write("db.yaml", format!("{HEAD}stringData: {{A: x}}\n"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(program());
    folder.isolated(&mut command).args(["seal", "db.yaml", "--keys", "cluster.yaml"]).stdin(Stdio::null());
    let output = command.stdout(writer).stderr(Stdio::piped()).output().expect("waxseal runs");
    assert_eq!((output.stderr.as_slice(), output.status.code()), (&b""[..], Some(0)));
}

#[test]
fn failures_with_different_exit_codes_give_1() {
    let folder = Folder::with_key();
    folder.write("other.yaml", "apiVersion: v1\nkind: ConfigMap\n");
    let seal = folder.waxseal(&["seal", "absent.yaml", "other.yaml", "--in-place", "--keys", "cluster.yaml"]);
    seal.fails(
        1,
        "sealed 0 Secrets in 0 files\nerror: absent.yaml: no such file or folder\nerror: other.yaml: no Secret in it\n",
    );
}

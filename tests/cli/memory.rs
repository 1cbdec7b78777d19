//! The memory of `waxseal open` while its result waits for a reader.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use waxseal_shared::key::IdentityFile;
use waxseal_tests::canaries::{Canaries, Sighting, list};
use waxseal_tests::vectors::KnownObject;
use waxseal_tests::{memory, waiting};

use crate::folder::{Folder, program};

const DEADLINE: Duration = Duration::from_secs(30);
/// The capacity of a pipe on Linux (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;

/// The pipe is full, so the program waits after opening and before writing. The value must be in memory once, in base64
/// as in the Secret that the program prints. The program must also forbid core dumps.
#[test]
fn only_the_result_is_in_memory_while_it_waits_to_be_read() {
    let known = KnownObject::new("shop", "db");
    let folder = Folder::new();
    let made = "2026-01-01T00:00:00Z".parse().expect("a time");
    folder.write("known.key", IdentityFile::write(&known.identity, made).as_bytes());
    folder.write("db.json", known.manifest.to_string());
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b' '; PIPE_BYTES]).expect("room for it");
    let mut command = memory::readable(program()).expect("/proc is mounted");
    folder.isolated(&mut command).args(["open", "db.json", "--identity", "known.key"]);
    let mut open = command.stdin(Stdio::null()).stdout(writer).spawn().expect("it starts");

    let waited = waiting::until_blocking("the result", DEADLINE, || waits_with(&open, &known.value).then_some(()));
    let found = waited.map(|()| sightings(&open, &known.canaries()));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", open.id()));
    drop((reader, command));
    open.wait().expect("our child");
    let limits = limits.expect("it runs");
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    assert_eq!(limit.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
    let found = found.expect("it waits for the pipe");
    let places: Vec<_> = found.iter().map(|sighting| (sighting.secret.as_str(), sighting.form)).collect();
    assert_eq!(places, [("the value", "base64")], "{}", list(&found));
}

/// Whether the program waits and has the text in memory.
fn waits_with(open: &Child, text: &str) -> bool {
    memory::is_idle(open.id()).unwrap_or_default() && !sightings(open, &Canaries::new([("it", text)])).is_empty()
}

fn sightings(open: &Child, canaries: &Canaries) -> Vec<Sighting> {
    let memory = memory::read(open.id()).unwrap_or_else(|error| panic!("{}", waxseal_tests::report(&error)));
    memory::sightings(&memory, canaries).into_iter().map(|(_, sighting)| sighting).collect()
}

//! Manifests at and beyond every limit. The controller refuses them in bounded time and memory, and keeps all Secrets.

use std::fs;

use crate::machine::{Machine, secret};

const MIB: usize = 1 << 20;
const VALUE: &str = "hunter2-hunter2";
const SPLIT_THE_LIST: &str =
    " (if this is a list, write its items as documents of their own, as `jq -c '.items[]'` does)";

/// Asserts that the controller refuses a manifest with exactly this message, and keeps the materialised Secret.
#[track_caller]
fn assert_refused(machine: &Machine, text: impl AsRef<[u8]>, message: &str) {
    machine.write_manifest("bad.yaml", text);
    machine.bounded_once().fails();
    let status = machine.status();
    let unreadable = status["unreadable"].as_array().expect("what was not read");
    let [said] = &unreadable[..] else { panic!("{status}") };
    let numbers: String = ["line", "column"].iter().filter_map(|n| said[n].as_u64()).map(|n| format!(":{n}")).collect();
    let hint = said["hint"].as_str().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let said = format!("{numbers}: {}{hint}", said["message"].as_str().expect("a message"));
    assert_eq!(said, message);
    machine.assert_reason("db", "Materialised");
    assert_eq!(machine.value("shop/db/password").as_deref(), Some(VALUE));
}

fn materialised() -> Machine {
    let machine = Machine::with_key();
    machine.seal(&secret("db", VALUE), "db.yaml");
    machine.bounded_once().succeeds();
    machine
}

#[test]
fn a_hostile_file_is_refused() {
    let machine = materialised();
    let too_large = format!(":1:1: a document of more than 8 MiB is not read{SPLIT_THE_LIST}");
    let too_many = ": a stream of more than 10000 documents is not read (split it into several streams)";
    let dense = format!("---\n[{}1]\n", "1,".repeat(99_998));
    let level = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    let bomb: String = (1..250).map(level).collect();
    let sealed = fs::read_to_string(machine.manifest("db.yaml")).expect("it was sealed");
    let other = sealed.replace("name: db", "name: other");
    let texts: [(Vec<u8>, String); 11] = [
        (vec![b'#'; 100 * MIB], ": failed to read it: larger than 33554432 bytes".to_owned()),
        (vec![b'\n'; 31 * MIB], too_large.clone()),
        (vec![b'['; 31 * MIB], too_large),
        ("---\n".repeat(31 * MIB / 4).into(), format!(":10001:1{too_many}")),
        ("{}".repeat(31 * MIB / 2).into(), format!(":1:20001{too_many}")),
        ("[".repeat(7 * MIB).into(), ":1:256: nested too deeply".to_owned()),
        (dense.repeat(160).into(), ":42:1: a stream of more than 2000000 keys and values is not read (split it into several streams)".to_owned()),
        ([&vec![b'x'; 31 * MIB][..], b"\xff"].concat(), ": failed to read it: not UTF-8".to_owned()),
        (format!("{other}a0: &a0 x\n{bomb}").into(), ":17:9: a0: anchors are not allowed (put a value that begins with & or * in quotes, or write the value out at each place)".to_owned()),
        (
            format!("{other}status: {{x: {}}}\n", "x".repeat(2 * MIB)).into(),
            ":1:1: larger than 1.5 MiB, which is the limit for an object".to_owned(),
        ),
        (
            other.replace("name: other", "name: \"o\\0r\"").into(),
            ":4:9: metadata.name: a name must be 1 to 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit".to_owned(),
        ),
    ];
    for (text, message) in texts {
        assert_refused(&machine, text, &message);
    }
}

#[test]
fn a_file_within_every_limit_is_read() {
    let machine = materialised();
    let sealed = fs::read_to_string(machine.manifest("db.yaml")).expect("it was sealed");
    let silly = ["\n".repeat(7 * MIB), format!("#{}\n", "x".repeat(7 * MIB)), "# c\n".repeat(MIB)];
    machine.write_manifest("db.yaml", format!("{}\n---\n{sealed}", silly.join("---\n")));
    machine.bounded_once().succeeds();
    machine.assert_reason("db", "Materialised");
    assert_eq!(machine.value("shop/db/password").as_deref(), Some(VALUE));
}

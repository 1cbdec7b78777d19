use std::fs;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;
use waxseal_shared::names::KeyId;

use crate::machine::{Machine, Once, mode, secret, write_private};

const EARLIER: &str = "2001-01-01T00:00:00Z";

/// So much later than now that a key of this time is the primary, and not so much that it is refused.
fn later() -> String {
    (Timestamp::now() + SignedDuration::from_mins(5)).to_string()
}

/// Changes the state of the only published key, as a person does.
fn ask_for(machine: &Machine, state: &str) {
    let text = published(machine);
    assert!(text.contains("state: Active"), "{text}");
    fs::write(machine.key("sealing-keys.yaml"), text.replace("state: Active", &format!("state: {state}")))
        .expect("written");
}

/// The lines of a log about held keys.
fn held_keys(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["message"] == "holds a sealing key").collect()
}

fn published(machine: &Machine) -> String {
    fs::read_to_string(machine.key("sealing-keys.yaml")).unwrap_or_default()
}

/// The key ids that a sealed file names.
fn sealed_to(machine: &Machine, file: &str) -> Vec<String> {
    let text = fs::read_to_string(machine.manifest(file)).expect("it is there");
    let keys = text.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key);
    keys.filter(|key| KeyId::parse(key).is_ok()).map(str::to_owned).collect()
}

#[test]
fn the_first_key_is_made_once() {
    let machine = Machine::new();
    let log = machine.once().succeeds();
    assert!(log.contains("made the first sealing key"), "{log}");
    let files = machine.key_files();
    assert_eq!(files.len(), 1);
    machine.once().succeeds();
    assert_eq!(machine.key_files(), files);
    let identity = fs::read_to_string(machine.key(&files[0])).expect("text");
    assert!(identity.starts_with("# created: ") && identity.contains("AGE-SECRET-KEY-PQ-1"));
    assert!(published(&machine).contains("recipient: age1pq1") && !published(&machine).contains("AGE-SECRET"));
}

#[test]
fn several_instances_at_once_make_one_key() {
    let machine = Machine::new();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| machine.once())).collect();
        let ended: Vec<_> = runs.into_iter().map(|run| run.join().expect("no panic")).collect();
        assert!(ended.iter().any(Once::is_success));
    });
    assert_eq!(machine.key_files().len(), 1);
}

#[test]
fn a_key_added_later_becomes_primary_and_the_older_still_opens() {
    let machine = Machine::with_key();
    machine.seal(&secret("old", "one"), "old.yaml");
    let controller = machine.start();
    controller.wait_for_reason("old", "Materialised");
    let new = machine.add_key(&later());
    controller.wait_until("the new key", || published(&machine).contains(&new));
    machine.seal(&secret("new", "two"), "new.yaml");
    controller.wait_for_value("shop/new/password", "two");
    assert_eq!(sealed_to(&machine, "new.yaml"), std::slice::from_ref(&new));
    assert_ne!(sealed_to(&machine, "old.yaml"), [new]);
    // The older file is opened anew, by the older key.
    fs::remove_dir_all(machine.secret("shop/old")).expect("it is there");
    machine.write_manifest("touched.yaml", "");
    controller.wait_for_value("shop/old/password", "one");
}

#[test]
fn an_older_key_added_later_does_not_become_primary() {
    let machine = Machine::with_key();
    let old = machine.add_key(EARLIER);
    machine.once().succeeds();
    assert!(published(&machine).contains(&old));
    machine.seal(&secret("db", "one"), "db.yaml");
    assert_ne!(sealed_to(&machine, "db.yaml"), [old]);
}

#[test]
fn a_missing_key_is_named_and_its_return_heals() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.once().succeeds();
    let file = machine.key_files().remove(0);
    let aside = machine.elsewhere("aside.key");
    fs::rename(machine.key(&file), &aside).expect("moved");
    let other = machine.add_key(&later());
    machine.seal(&secret("web", "two"), "web.yaml");
    let controller = machine.start();
    let message = controller.wait_for_reason("db", "KeyMissing");
    assert!(message.contains(file.trim_end_matches(".key")), "{message}");
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("one"));
    fs::rename(aside, machine.key(&file)).expect("moved");
    controller.wait_for_reason("db", "Materialised");
    assert!(published(&machine).contains(&other));
}

#[test]
fn no_first_key_is_made_while_values_are_sealed_to_another() {
    let elsewhere = Machine::with_key();
    let machine = Machine::new();
    let sealed = elsewhere.sealed(&secret("db", "one"));
    machine.write_manifest("db.yaml", &sealed);
    machine.once().fails();
    machine.assert_reason("db", "AwaitingKeys");
    assert_eq!(machine.key_files(), [""; 0]);
    assert!(!machine.key("sealing-keys.yaml").exists());
    let file = elsewhere.key_files().remove(0);
    let controller = machine.start();
    write_private(&machine.key(&file), &fs::read_to_string(elsewhere.key(&file)).expect("text"));
    controller.wait_for_value("shop/db/password", "one");
}

#[test]
fn no_first_key_is_made_while_a_manifest_cannot_be_read() {
    let machine = Machine::new();
    machine.write_manifest("bad.yaml", "a: [");
    let log = machine.once().fails();
    assert!(
        log.contains("the controller does not make a first key, because a manifest was not read: bad.yaml:"),
        "{log}"
    );
    assert_eq!(machine.key_files(), [""; 0]);
}

#[test]
fn no_first_key_is_made_beside_a_broken_one() {
    let machine = Machine::new();
    fs::create_dir(machine.key("")).expect("made");
    write_private(&machine.key("mine.key"), "hunter2\n");
    let log = machine.once().fails();
    assert!(
        log.contains("no key can be used, and no first key is made while there are key files that cannot be used"),
        "{log}"
    );
    assert!(log.contains("the key keys/mine.key is not used: line 1: neither an identity nor a comment"), "{log}");
    assert_eq!(machine.key_files(), ["mine.key"]);
}

#[test]
fn broken_keys_are_named_and_the_others_work() {
    let machine = Machine::with_key();
    let good = machine.key_files().remove(0);
    let id = machine.add_key(&later());
    fs::rename(machine.key(&format!("{id}.key")), machine.key("mine.key")).expect("renamed");
    machine.seal(&secret("db", "one"), "db.yaml");
    let log = machine.once().succeeds();
    assert!(log.contains(&format!("the key keys/mine.key is not used: it must be named {id}.key")), "{log}");
    assert!(!published(&machine).contains(&id));
    assert!(published(&machine).contains(good.trim_end_matches(".key")));
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("one"));
}

#[test]
fn a_revocation_outlives_the_published_file_and_a_restart() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    let controller = machine.start();
    controller.wait_for_reason("db", "Materialised");
    let file = machine.key_files().remove(0);
    let identity = fs::read_to_string(machine.key(&file)).expect("text");
    ask_for(&machine, "Revoked");
    // The last good Secret stays.
    controller.wait_for_reason("db", "KeyRevoked");
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("one"));
    let revoked = fs::read_to_string(machine.key(&file)).expect("text");
    assert_eq!((revoked, mode(&machine.key(&file))), (format!("# state: Revoked\n{identity}"), 0o600));
    fs::remove_file(machine.key("sealing-keys.yaml")).expect("it is there");
    controller.wait_until("the published file", || published(&machine).contains("state: Revoked"));
    assert_eq!(controller.stop(Signal::KILL), None);

    fs::remove_file(machine.key("sealing-keys.yaml")).expect("it is there");
    let log = machine.once().fails();
    machine.assert_reason("db", "KeyRevoked");
    assert!(published(&machine).contains("state: Revoked") && !published(&machine).contains("state: Active"));
    assert_eq!(held_keys(&log)[0]["state"], "Revoked");
}

#[test]
fn a_revoked_key_does_not_become_active_again() {
    let machine = Machine::with_key();
    let active = published(&machine);
    ask_for(&machine, "Revoked");
    machine.once().succeeds();
    fs::write(machine.key("sealing-keys.yaml"), active).expect("written");
    machine.once().succeeds();
    assert!(published(&machine).contains("state: Revoked"), "{}", published(&machine));
}

#[test]
fn each_key_is_logged_once_with_its_fingerprint() {
    let machine = Machine::with_key();
    machine.add_key(EARLIER);
    let controller = machine.start();
    controller.wait_until("the first pass", || machine.status().is_object());
    let added = machine.add_key(EARLIER);
    controller.wait_until("the new key", || published(&machine).contains(&added));
    let lines = held_keys(&controller.log());
    let mut ids: Vec<_> = lines.iter().map(|line| line["key"].as_str().unwrap_or_default()).collect();
    ids.sort_unstable();
    let mut expected: Vec<_> =
        machine.key_files().iter().map(|file| file.trim_end_matches(".key").to_owned()).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    for line in &lines {
        let fingerprint = line["fingerprint"].as_str().expect("a fingerprint");
        let id = line["key"].as_str().expect("a key id");
        assert_eq!(fingerprint.strip_prefix("sha256:").and_then(|hex| hex.get(..16)), id.strip_prefix('k'));
        assert_eq!((line["role"].as_str(), line["state"].as_str()), (Some("Cluster"), Some("Active")));
    }
    assert_eq!(lines.iter().filter(|line| line["created"] == EARLIER).count(), 2);
}

#[test]
fn a_key_from_the_future_is_refused() {
    let machine = Machine::with_key();
    let good = machine.key_files().remove(0);
    let id = machine.add_key("2100-01-01T00:00:00Z");
    let log = machine.once().succeeds();
    let said = format!("the key keys/{id}.key is not used: its creation time, 2100-01-01T00:00:00Z, is in the future");
    assert!(log.contains(&said), "{log}");
    assert!(published(&machine).contains(good.trim_end_matches(".key")) && !published(&machine).contains(&id));
}

#[test]
fn a_state_that_no_key_has_is_refused() {
    let machine = Machine::with_key();
    let file = machine.key_files().remove(0);
    let identity = fs::read_to_string(machine.key(&file)).expect("text");
    write_private(&machine.key(&file), &format!("# state: revoked\n{identity}"));
    let log = machine.once().fails();
    let said =
        format!("the key keys/{file} is not used: its comment \\\"# state:\\\" must say Active, Retired or Revoked");
    assert!(log.contains(&said), "{log}");
}

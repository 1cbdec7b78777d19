use std::fs;
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;
use waxseal_shared::manifest::read_keys;
use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::{KeyState, PublishedKey};

use crate::machine::{Machine, Once, later, mode, secret, write_private};

const EARLIER: &str = "2001-01-01T00:00:00Z";

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
    let log = machine.once().fails();
    let cause = "because a SealedSecret is sealed to a key that is not here: put the lost keys back";
    assert!(log.contains(&format!("the controller does not make a first key, {cause}")), "{log}");
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
    // The revoked key, and the key that follows it.
    let published = published(&machine);
    assert_eq!((published.matches("state: Revoked").count(), published.matches("state: Active").count()), (1, 1));
    let held = held_keys(&log);
    let id = file.trim_end_matches(".key");
    let states: Vec<_> = held.iter().filter(|line| line["key"] == id).map(|line| &line["state"]).collect();
    assert!(states == ["Revoked"] && held.len() == 2, "{log}");
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
    let earlier = (Timestamp::now() - SignedDuration::from_hours(1)).to_string();
    machine.add_key(&earlier);
    let controller = machine.start();
    controller.wait_until("both keys in the log", || controller.log().matches("holds a sealing key").count() == 2);
    let added = machine.add_key(&earlier);
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
    assert_eq!(lines.iter().filter(|line| line["created"] == earlier.as_str()).count(), 2);
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

/// The published keys, oldest first.
fn published_keys(machine: &Machine) -> Vec<PublishedKey> {
    let mut keys = read_keys(&published(machine)).unwrap_or_default();
    keys.sort_by_key(|key| key.created_at);
    keys
}

/// Whether exactly one key is Active, and it is the newest.
fn is_settled(oldest_first: &[PublishedKey]) -> bool {
    oldest_first.iter().filter(|key| key.state == KeyState::Active).eq(oldest_first.last())
}

#[test]
fn a_key_is_renewed_after_the_period_and_the_older_still_opens() {
    let machine = Machine::with_key();
    machine.seal(&secret("old", "one"), "old.yaml");
    let controller = machine.start_with(&[("WAXSEAL_RENEW_AFTER", "2s")]);
    controller.wait_until("a new key", || published_keys(&machine).len() >= 2);
    controller.wait_for_value("shop/old/password", "one");
    let files = machine.key_files();
    controller.wait_until("one more key", || machine.key_files().len() > files.len());
    controller.wait_until("rest", || is_settled(&published_keys(&machine)));
}

#[test]
fn a_controller_that_is_killed_while_it_renews_ends_with_one_active_key() {
    let machine = Machine::with_key();
    let period = [("WAXSEAL_RENEW_AFTER", "1s")];
    for round in 0..36 {
        let before = machine.key_files().len();
        let controller = machine.start_with(&period);
        match round % 2 {
            0 => controller.wait_until("a new key file", || machine.key_files().len() > before),
            _ => thread::sleep(Duration::from_millis(10 * round)),
        }
        assert_eq!(controller.stop(Signal::KILL), None);
    }
    let controller = machine.start_with(&period);
    controller.wait_until("one Active key", || {
        let keys = published_keys(&machine);
        is_settled(&keys) && keys.len() == machine.key_files().len()
    });
    drop(controller);
    let keys = published_keys(&machine);
    assert!(keys.len() > 18, "{}", keys.len());
    for pair in keys.windows(2) {
        let gap = pair[1].created_at.duration_since(pair[0].created_at);
        assert!(gap >= SignedDuration::from_secs(1), "{pair:?}");
        assert_eq!(pair[0].state, KeyState::Retired);
    }
}

#[test]
fn the_only_active_key_is_retired_after_its_successor_is_made() {
    let machine = Machine::with_key();
    let controller = machine.start_with(&[("WAXSEAL_RENEW_AFTER", "0")]);
    ask_for(&machine, "Retired");
    controller.wait_until("a new key", || {
        let keys = published_keys(&machine);
        keys.len() == 2 && is_settled(&keys) && keys[0].state == KeyState::Retired
    });
    assert!(controller.log().contains("made a new sealing key"));
}

#[test]
fn without_key_generation_no_key_is_made() {
    let machine = Machine::new();
    let off = [("WAXSEAL_NO_KEY_GENERATION", "true"), ("WAXSEAL_RENEW_AFTER", "1s")];
    let log = machine.once_with(&off).fails();
    assert!(log.contains("there is no sealing key, because key generation is off: add a key file"), "{log}");
    assert_eq!(machine.key_files(), [""; 0]);
    machine.add_key(EARLIER);
    machine.once_with(&off).succeeds();
    assert_eq!(machine.key_files().len(), 1);
}

#[test]
fn a_renewal_period_that_is_not_a_duration_is_refused() {
    let machine = Machine::new();
    let refused = machine.once_with(&[("WAXSEAL_RENEW_AFTER", "1y")]).log();
    let said = "invalid value '1y' for '--renew-after <DURATION>': must be 0 (never) or a duration of at least one second \
                in weeks, days, hours, minutes and seconds, such as 90d";
    assert!(refused.contains(said), "{refused}");
}

#[test]
fn a_state_that_no_key_has_is_refused() {
    let machine = Machine::with_key();
    let file = machine.key_files().remove(0);
    let identity = fs::read_to_string(machine.key(&file)).expect("text");
    write_private(&machine.key(&file), &format!("# state: revoked\n{identity}"));
    let log = machine.once().fails();
    let said = format!(
        "the key keys/{file} is not used: its comment \\\"# state:\\\" must say Active, Retired or Revoked; update Waxseal, if a newer version wrote it"
    );
    assert!(log.contains(&said), "{log}");
}

//! A change of keys on a folder: what the status file says and offers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use jiff::Timestamp;
use serde_json::{Value, json};
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::manifest::write_key;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::machine::{Machine, later, secret};

const STATUS_FILE: &str = "..waxseal-status.json";

/// A machine with the SealedSecret `shop/db`, which is behind a new key. Also returns the ids of the old and the new
/// key.
fn behind() -> (Machine, String, String) {
    let machine = Machine::with_key();
    let old = machine.key_files().remove(0).trim_end_matches(".key").to_owned();
    machine.seal(&secret("db", "hunter2"), "db.yaml");
    machine.once().succeeds();
    let new = machine.add_key(&later());
    machine.once().succeeds();
    (machine, old, new)
}

fn status_of_db(machine: &Machine) -> Value {
    machine.status()["sealedSecrets"][0]["status"].take()
}

fn status_text(machine: &Machine) -> String {
    fs::read_to_string(machine.secret(STATUS_FILE)).expect("a status file")
}

/// Runs `waxseal rotate` with the offers in the status file. Returns its messages, except the lines `sealed to …`.
fn rotate(machine: &Machine) -> String {
    let mut command = Command::new(machine.waxseal());
    command.env_clear().arg("rotate").arg(machine.manifest("")).arg("--keys").arg(machine.key("sealing-keys.yaml"));
    let output = command.arg("--offers").arg(machine.secret(STATUS_FILE)).output().expect("waxseal starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    stderr.split_inclusive('\n').filter(|line| !line.starts_with("sealed to ")).collect()
}

#[test]
fn an_object_behind_a_new_key_gets_an_offer_that_stays_and_rotate_takes_it() {
    let (machine, old, new) = behind();
    let written = fs::metadata(machine.secret("shop/db/password")).expect("a value").ino();
    let status = status_of_db(&machine);
    let (envelope, keys) = status["keys"].as_object().and_then(|keys| keys.iter().next()).expect("an envelope");
    let message = format!("envelope {envelope}: no wrap for {new}");
    assert_eq!(machine.condition("db", "KeyCurrent"), Some(["False", "Behind", &message].map(str::to_owned)));
    assert_eq!(keys, &json!([old]));
    let offered: Vec<_> = status["rewrapped"][envelope]["wraps"].as_object().expect("wraps").keys().collect();
    assert_eq!(offered, [&new]);

    // The same offer from pass to pass, and after a restart.
    let text = status_text(&machine);
    let news = machine.once().news();
    assert_eq!(status_text(&machine), text, "{news}");
    assert!(!news.contains("Behind"), "it is logged once: {news}");
    let controller = machine.start();
    machine.seal(&secret("web", "two"), "web.yaml");
    controller.wait_for_value("shop/web/password", "two");
    controller.wait_until("the entry of web", || machine.ready("web").is_some());
    assert_eq!(
        status_of_db(&machine),
        serde_json::from_str::<Value>(&text).expect("JSON")["sealedSecrets"][0]["status"]
    );

    assert_eq!(rotate(&machine), "changed 1 of 2 SealedSecrets in 1 file\n");
    controller.wait_until("the end of KeyCurrent", || machine.condition("db", "KeyCurrent").is_none());
    let mut both = [old, new];
    both.sort();
    let status = status_of_db(&machine);
    assert_eq!((&status["keys"][envelope], status.get("rewrapped")), (&json!(both), None));
    assert_eq!(fs::metadata(machine.secret("shop/db/password")).expect("a value").ino(), written);
}

#[test]
fn a_forged_offer_in_the_status_file_is_put_right() {
    let (machine, _, new) = behind();
    let status = status_of_db(&machine);
    let (envelope, offer) = status["rewrapped"].as_object().and_then(|offers| offers.iter().next()).expect("an offer");
    let wrap = offer["wraps"][&new].as_str().expect("a wrap");
    let without_proof = format!("{}AAAAAAAAAAAAAAAAAAAAAA", &wrap[..wrap.len() - 22]);
    for forgery in ["garbage", &without_proof] {
        let text = status_text(&machine);
        let present = status_of_db(&machine)["rewrapped"][envelope]["wraps"][&new].as_str().expect("a wrap").to_owned();
        fs::write(machine.secret(STATUS_FILE), text.replace(&present, forgery)).expect("written");
        machine.once().succeeds();
        let offered = status_of_db(&machine)["rewrapped"][envelope]["wraps"][&new].clone();
        let offered = offered.as_str().expect("a wrap");
        assert!(offered != forgery && offered.starts_with("YWdlLWVuY3J5cHRpb24ub3JnL3Yx"), "{offered}");
    }
    assert_eq!(rotate(&machine), "changed 1 of 1 SealedSecret in 1 file\n");
    machine.once().succeeds();
    assert_eq!(machine.condition("db", "KeyCurrent"), None);
}

#[test]
fn a_recovery_key_comes_from_the_configuration_alone() {
    let machine = Machine::with_key();
    let [ours, planted] = [(); 2].map(|()| Identity::generate(KeyKind::Hybrid, &mut randomness::system()));
    let (id, recipient) = (ours.recipient().key_id().as_str(), ours.recipient().as_str());
    machine.seal(&secret("db", "hunter2"), "db.yaml");
    let published = || fs::read_to_string(machine.key("sealing-keys.yaml")).expect("published");
    let planted = PublishedKey {
        recipient: planted.recipient().clone(),
        role: KeyRole::Recovery,
        created_at: Timestamp::UNIX_EPOCH,
        state: KeyState::Active,
    };
    fs::write(machine.key("sealing-keys.yaml"), format!("{}---\n{}", published(), write_key(&planted)))
        .expect("written");

    let log = machine.once_with_recovery_keys(recipient).succeeds();
    let warning = "removed a published key that neither an identity nor the configuration accounts for";
    assert!(log.contains(warning) && log.contains("has a recovery key in its configuration"), "{log}");
    let with_ours = published();
    assert!(with_ours.contains(id) && with_ours.contains("role: Recovery"), "{with_ours}");
    assert!(!with_ours.contains(planted.recipient.as_str()), "{with_ours}");
    let [_, reason, message] = machine.condition("db", "KeyCurrent").expect("it is behind");
    assert!(reason == "Behind" && message.ends_with(&format!("no wrap for {id}")), "{message}");
    // A later start publishes the key with the same creation time.
    machine.once_with_recovery_keys(recipient).succeeds();
    assert_eq!(published(), with_ours);

    assert_eq!(rotate(&machine), "changed 1 of 1 SealedSecret in 1 file\n");
    machine.once_with_recovery_keys(recipient).succeeds();
    assert_eq!(machine.condition("db", "KeyCurrent"), None);
    machine.seal(&secret("new", "two"), "new.yaml");
    let sealed = fs::read_to_string(machine.manifest("new.yaml")).expect("sealed");
    assert!(sealed.contains(&format!("{id}: ")), "new values are sealed to it too");

    machine.once().succeeds();
    assert!(!published().contains(id), "{}", published());
}

#[test]
fn a_recovery_key_whose_identity_is_here_is_refused() {
    let machine = Machine::with_key();
    let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
    let id = machine.add_identity(&identity, "2026-01-01T00:00:00Z");
    let log = machine.once_with_recovery_keys(identity.recipient().as_str()).fails();
    let said = format!(
        "the recovery key {id} is not used: the controller holds its identity, so it does not survive this machine; keep \
         the identity elsewhere, or take the key out of the configuration"
    );
    assert!(log.contains(&said), "{log}");
}

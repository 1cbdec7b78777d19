use std::fs;

use rustix::process::Signal;

use crate::machine::{Machine, names, secret};

#[test]
fn a_second_instance_is_refused() {
    let machine = Machine::with_key();
    let controller = machine.start();
    controller.wait_until("the start", || controller.log().contains("started"));
    let log = machine.once().fails();
    assert!(log.contains("failed to lock secrets: another waxseal-controller works on this folder"), "{log}");
    assert_eq!(controller.stop(Signal::TERM), Some(0));
    machine.once().succeeds();
}

#[test]
fn both_signals_stop_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let machine = Machine::with_key();
        machine.seal(&secret("db", "one"), "db.yaml");
        let controller = machine.start();
        controller.wait_for_reason("db", "Materialised");
        assert_eq!(controller.stop(signal), Some(0));
        machine.once().succeeds();
    }
}

#[test]
fn a_missing_folder_of_manifests_is_an_error_at_the_start() {
    let machine = Machine::new();
    fs::remove_dir(machine.manifest("")).expect("it is empty");
    let log = machine.once().fails();
    assert!(log.contains("failed to read manifests: No such file or directory"), "{log}");
    assert!(!machine.secret("").exists());
}

#[test]
fn a_folder_of_manifests_that_vanishes_deletes_nothing_and_is_read_when_it_returns() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    let controller = machine.start();
    controller.wait_for_reason("db", "Materialised");
    let aside = machine.elsewhere("manifests-aside");
    fs::rename(machine.manifest(""), &aside).expect("moved");
    let message = controller.wait_for_reason("db", "ApiUnavailable");
    assert!(message.contains("manifests: failed to read it: No such file or directory"), "{message}");
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("one"));
    fs::rename(aside, machine.manifest("")).expect("moved");
    controller.wait_for_reason("db", "Materialised");
    assert_eq!(controller.log().matches("a manifest is not read").count(), 1, "{}", controller.log());
    machine.seal(&secret("db", "two"), "db.yaml");
    controller.wait_for_value("shop/db/password", "two");
}

#[test]
fn a_controller_whose_folder_is_replaced_ends_and_leaves_the_new_folder_alone() {
    for (name, own_file) in [("secrets", "..waxseal-status.json"), ("keys", "sealing-keys.yaml")] {
        let machine = Machine::with_key();
        machine.seal(&secret("db", "one"), "db.yaml");
        let controller = machine.start();
        controller.wait_for_reason("db", "Materialised");
        let (folder, aside) = (machine.elsewhere(name), machine.elsewhere("folder-aside"));
        fs::rename(&folder, &aside).expect("moved");
        fs::create_dir(&folder).expect("made");
        // Wakes the controller.
        machine.write_manifest("note.yaml", "");
        let log = controller.log_path();
        assert_eq!(controller.ends(), Some(1));
        let log = fs::read_to_string(log).expect("a log");
        assert!(
            log.contains(&format!("failed to keep the lock of {name}: this folder, or the file ..lock in it")),
            "{log}"
        );
        assert_eq!(names(&folder), [""; 0]);
        fs::remove_dir(&folder).expect("it is empty");
        fs::rename(&aside, &folder).expect("moved back");
        assert!(folder.join(own_file).exists());
        fs::remove_file(machine.manifest("note.yaml")).expect("it is there");
        machine.once().succeeds();
    }
}

#[test]
fn nothing_is_written_into_a_folder_that_is_replaced_during_a_pass() {
    let machine = Machine::with_key();
    let manifests: Vec<_> = (0..300).map(|number| secret(&format!("db-{number}"), "hunter2")).collect();
    machine.seal(&manifests.join("---\n"), "all.yaml");
    let controller = machine.start();
    controller.watch_until("some Secrets", || names(&machine.secret("shop")).len() >= 10);
    let (folder, aside) = (machine.elsewhere("secrets"), machine.elsewhere("folder-aside"));
    fs::rename(&folder, &aside).expect("moved");
    fs::create_dir(&folder).expect("made");
    assert_eq!(controller.ends(), Some(1));
    // One Secret may have been in work.
    assert!(!folder.join("..waxseal-status.json").exists());
    assert!(!folder.join("shop").exists() || names(&folder.join("shop")).len() <= 1);
}

#[test]
fn no_log_and_no_status_holds_a_value() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "hunter2-hunter2"), "db.yaml");
    let controller = machine.start();
    controller.wait_for_reason("db", "Materialised");
    machine.edit("db.yaml", "encryptedData:", "encryptedData:\n    plain: hunter2-hunter2");
    controller.wait_for_reason("db", "Malformed");
    machine.edit("db.yaml", "spec:", "unknown: hunter2-hunter2\nspec:");
    controller.wait_until("the unknown field", || machine.status()["unreadable"][0]["line"] == 6);
    let log = controller.log();
    for text in [&log, &machine.status().to_string()] {
        assert!(!text.contains("hunter2-hunter2"), "{text}");
        assert!(!text.contains("AGE-SECRET-KEY"), "{text}");
    }
}

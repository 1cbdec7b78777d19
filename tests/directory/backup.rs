use std::fs;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::machine::{Machine, secret};

/// Runs `waxseal keys` in the folder that contains the three folders; it must succeed.
fn keys(machine: &Machine, arguments: &[&str]) -> Output {
    let mut command = Command::new(machine.waxseal());
    let output = command.env_clear().current_dir(machine.elsewhere("")).arg("keys").args(arguments).output();
    let output = output.expect("waxseal runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn a_running_controller_uses_restored_keys_and_ignores_the_record_of_a_backup() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.once().succeeds();
    let public = keys(&machine, &["generate", "--recovery", "-o", "recovery.key"]).stdout;
    fs::write(machine.elsewhere("recovery.yaml"), public).expect("written");
    fs::copy(machine.key("sealing-keys.yaml"), machine.elsewhere("public.yaml")).expect("it was published");
    keys(&machine, &["backup", "-o", "keys.age", "--keys", "recovery.yaml", "--keys-dir", "keys"]);
    let record = fs::read_to_string(machine.key("last-backup.yaml")).expect("it was recorded");
    assert_eq!(machine.once().news(), "");

    let files = machine.key_files();
    fs::remove_dir_all(machine.key("")).expect("our folder");
    let controller = machine.start();
    controller.wait_until("the loss of the key", || machine.ready("db").is_some_and(|[status, ..]| status != "True"));
    keys(
        &machine,
        &["restore", "keys.age", "--identity", "recovery.key", "--keys", "public.yaml", "--keys-dir", "keys", "--yes"],
    );
    controller.wait_for_reason("db", "Materialised");
    assert_eq!(machine.key_files(), files);
    assert!(record.contains(files[0].trim_end_matches(".key")), "{record}");
    assert_eq!(controller.stop(Signal::TERM), Some(0));
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("one"));
}

//! Secrets appear only in the files that must hold them, even when the controller logs everything.

use std::fs;
use std::path::Path;

use waxseal_tests::vectors::KnownObject;

use crate::machine::{Machine, secret, write_private};

const MADE: &str = "2026-01-01T00:00:00Z";

/// A machine, and an object whose secrets may appear only in the files that must hold them.
struct Watch {
    machine: Machine,
    known: KnownObject,
}

impl Watch {
    /// Materialises the known object.
    fn new() -> Self {
        let (machine, known) = (Machine::new(), KnownObject::new("shop", "db"));
        machine.add_identity(&known.identity, MADE);
        let watch = Self { machine, known };
        watch.restore();
        watch.assert_silent("success");
        assert_eq!(watch.machine.value("shop/db/PASSWORD").as_ref(), Some(&watch.known.value));
        watch
    }

    fn restore(&self) {
        self.machine.write_manifest("db.json", self.known.manifest.to_string());
    }

    /// Runs one pass, and searches its log and its files for secrets.
    #[track_caller]
    fn assert_silent(&self, what: &str) {
        let log = self.machine.once_talkative().log();
        let canaries = self.known.canaries();
        canaries.assert_absent(&format!("the log of {what}"), &log);
        assert!(!log.is_empty(), "{what} says nothing");
        let root = self.machine.elsewhere("");
        canaries.assert_absent_below(&root, |name| is_made_to_hold_secrets(name) || name.starts_with("manifests"));
        assert!(self.machine.status()["sealedSecrets"].is_array(), "{what} wrote no status");
    }
}

/// Whether the file of this name holds a value of `shop/db` or an identity.
fn is_made_to_hold_secrets(name: &Path) -> bool {
    let is_value = name.starts_with("secrets/shop/db") && name.ends_with("PASSWORD");
    is_value || name.starts_with("keys") && name.extension().is_some_and(|extension| extension == "key")
}

#[test]
fn manifests_that_fail_are_not_quoted() {
    let watch = Watch::new();
    let value = &watch.known.value;
    let plain_value = format!("\"encryptedData\":{{\"PLAIN\":\"{value}\",");
    for (from, to) in [
        ("\"PASSWORD\"", "\"PASSWORT\"".to_owned()),
        ("wax1.", "wax2.".to_owned()),
        ("\"encryptedData\":{", plain_value),
        ("\"spec\":{", format!("\"unknown\":\"{value}\",\"spec\":{{")),
        ("\"spec\":{", format!("\"spec\":{{\"scope\":\"{value}\",")),
        ("\"spec\":{", format!("\"spec\":\"{value}\" {{")),
        ("\"name\":\"db\"", format!("\"name\":\"db\",\"annotations\":{{\"a\":[\"{value}\"]}}")),
        ("\"shop\"", "\"blog\"".to_owned()),
    ] {
        watch.restore();
        watch.machine.edit("db.json", from, &to);
        watch.assert_silent(&to.replace(value, "…"));
    }
    watch.machine.write_manifest("plain.yaml", secret("plain", value));
    watch.assert_silent("a Secret that is not sealed");
    watch.machine.write_manifest("plain.yaml", format!("stringData: [{value}\nkind: {value}: x\n"));
    watch.assert_silent("what is not YAML");
}

#[test]
fn keys_and_folders_that_fail_are_not_quoted() {
    let watch = Watch::new();
    let identity = watch.known.identity.expose();
    let (one, other) = identity.split_at(identity.len() / 2);
    for (name, text) in [
        ("cut", format!("# created: {MADE}\n{one}\n{other}\n")),
        ("lower", format!("# created: {MADE}\n{}x\n", identity.to_lowercase())),
        ("value", watch.known.value.clone()),
        ("undated", identity.to_string()),
    ] {
        write_private(&watch.machine.key(&format!("{name}.key")), &text);
        watch.assert_silent(name);
    }
    fs::remove_file(watch.machine.secret("shop/db/PASSWORD")).expect("it is there");
    fs::create_dir(watch.machine.secret("shop/db/PASSWORD")).expect("a folder");
    fs::write(watch.machine.secret("shop/db/..data/PASSWORD"), "changed").expect("written");
    watch.assert_silent("a value that cannot be written");
    fs::remove_dir_all(watch.machine.secret("shop/db")).expect("it is there");
    fs::create_dir(watch.machine.secret("shop/db")).expect("a folder");
    watch.assert_silent("a foreign folder");
    for file in watch.machine.key_files() {
        fs::remove_file(watch.machine.key(&file)).expect("it is there");
    }
    watch.assert_silent("no key");
}

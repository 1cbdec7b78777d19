use std::fs;
use std::os::unix::fs::symlink;

use crate::machine::{Machine, names, secret, write_private};

const VALUE: &str = "hunter2-hunter2";

/// A machine with `shop/db` materialised from `db.yaml`.
fn materialised() -> Machine {
    let machine = Machine::with_key();
    machine.seal(&secret("db", VALUE), "db.yaml");
    machine.once().succeeds();
    machine
}

#[track_caller]
fn assert_last_good_stays(machine: &Machine) {
    assert_eq!(machine.value("shop/db/password").as_deref(), Some(VALUE));
    assert!(!machine.status().to_string().contains(VALUE));
}

#[test]
fn the_last_good_secret_stays_whatever_happens_to_its_manifest() {
    let breakages: [(&str, &str, &str, &str); 7] = [
        ("spec:", "spec: [", "Malformed", "db.yaml:"),
        ("spec:", "spec:\n  scoep: Strict", "Malformed", "db.yaml:7:3: spec: unknown field \"scoep\" (did you mean"),
        ("wax1.", "wax2.", "Malformed", "spec.encryptedData.password: not a sealed value that this version knows"),
        (
            "v1alpha1",
            "v1beta1",
            "Malformed",
            "a SealedSecret of a version that is not known (update Waxseal, if a newer",
        ),
        ("spec:", "spec:\n  colour: red", "Malformed", "unknown field \"colour\" (update Waxseal, if a newer version"),
        (
            "metadata:",
            "metadata:\n  generateName: db-",
            "Malformed",
            "values are bound to a name, so it cannot be generated",
        ),
        ("password: wax1.", "passwort: wax1.", "Unreadable", "spec.encryptedData.passwort: does not open"),
    ];
    for (from, to, reason, message) in breakages {
        let machine = materialised();
        machine.edit("db.yaml", from, to);
        let log = machine.once().fails();
        let said = machine.assert_reason("db", reason);
        assert!(said.contains(message), "{said}");
        assert!(log.contains("failed to materialise everything: 1 of 1 SealedSecrets are not ready"), "{log}");
        assert_last_good_stays(&machine);
        machine.seal(&secret("db", "healed"), "db.yaml");
        machine.once().succeeds();
        machine.assert_reason("db", "Materialised");
        assert_eq!(machine.value("shop/db/password").as_deref(), Some("healed"));
    }
}

#[test]
fn a_running_controller_says_why_and_recovers() {
    let machine = materialised();
    let controller = machine.start();
    machine.edit("db.yaml", "spec:", "sepc:");
    let message = controller.wait_for_reason("db", "Malformed");
    let unclear = "the SealedSecret is missing from the manifests; its Secret stays until this file is corrected: db.yaml:6:1: unknown field \"sepc\"";
    assert!(message.starts_with(unclear), "{message}");
    assert_last_good_stays(&machine);
    machine.edit("db.yaml", "sepc:", "spec:");
    controller.wait_for_reason("db", "Materialised");
    assert_eq!(controller.log().matches("its Secret stays").count(), 1, "{}", controller.log());
}

#[test]
fn a_value_in_another_place_is_moved() {
    let machine = materialised();
    let text = fs::read_to_string(machine.manifest("db.yaml")).expect("it is there");
    let copy = text.replacen("name: db", "name: copy", 1);
    machine.write_manifest("copy.yaml", &copy);
    machine.once().fails();
    let message = machine.assert_reason("copy", "Moved");
    assert_eq!(message, "sealed for shop/db (scope Strict), but this object is shop/copy (scope Strict)");
    machine.assert_reason("db", "Materialised");
    assert_eq!(names(&machine.secret("shop")), ["db"]);
}

/// Why `shop/db` stays while a file is unclear.
fn unclear(place_and_fault: &str) -> String {
    format!(
        "the SealedSecret is missing from the manifests; its Secret stays until this file is corrected: {place_and_fault}"
    )
}

#[test]
fn an_unreadable_file_deletes_nothing() {
    let machine = materialised();
    machine.seal(&secret("web", "two"), "web.yaml");
    machine.once().succeeds();
    fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
    machine.write_manifest("bad.yaml", "a: [");
    let log = machine.once().fails();
    assert!(log.contains("a manifest is not read: bad.yaml:"), "{log}");
    let message = machine.assert_reason("db", "Malformed");
    assert!(message.starts_with(&unclear("bad.yaml:")), "{message}");
    assert_last_good_stays(&machine);
    machine.assert_reason("web", "Materialised");
    fs::remove_file(machine.manifest("bad.yaml")).expect("it is there");
    machine.once().succeeds();
    assert_eq!(names(&machine.secret("shop")), ["web"]);
}

/// The text of a ConfigMap that stands in the same file.
const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n";

#[test]
fn nothing_is_deleted_while_a_file_is_empty_or_holds_something_that_is_not_an_object() {
    let machine = materialised();
    let good = fs::read_to_string(machine.manifest("db.yaml")).expect("it was written");
    let edited = |from: &str, to: &str| good.replacen(from, to, 1);
    let empty = "no object in it (delete the file if its Secrets should be deleted)";
    let not_an_object = "not a Kubernetes object, which has an apiVersion and a kind";
    for (text, fault) in [
        (String::new(), empty),
        ("# mine\n---\n".to_owned(), empty),
        ("apiVer".to_owned(), not_an_object),
        ("apiVersion: waxseal".to_owned(), not_an_object),
        (edited("apiVersion:", "apiversion:"), not_an_object),
        (edited("apiVersion: waxseal.dev/v1alpha1\n", ""), not_an_object),
        (format!("replicas: 3\n---\n{CONFIG_MAP}"), not_an_object),
    ] {
        machine.write_manifest("db.yaml", &text);
        let log = machine.once().fails();
        let expected = unclear(&format!("db.yaml:1: {fault}"));
        let line = log.lines().find(|line| line.contains(&expected)).expect("a line");
        assert!(line.contains("\"level\":\"WARN\""), "{log}");
        assert_eq!(machine.assert_reason("db", "Malformed"), expected);
        assert_last_good_stays(&machine);
    }
    machine.write_manifest("db.yaml", &good);
    machine.once().succeeds();
    machine.assert_reason("db", "Materialised");
}

#[test]
fn a_values_file_only_holds_deletion_back_and_the_log_names_it() {
    let machine = materialised();
    machine.write_manifest("values.yaml", "replicas: 3\n");
    let log = machine.once().succeeds();
    let warning = "no Secret is deleted until this file is corrected or removed: values.yaml:1: not a Kubernetes";
    let line = log.lines().find(|line| line.contains(warning)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("\"level\":\"WARN\""), "{line}");
    fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
    machine.once().fails();
    machine.assert_reason("db", "Malformed");
    assert_last_good_stays(&machine);
    fs::remove_file(machine.manifest("values.yaml")).expect("it is there");
    machine.once().succeeds();
    assert!(!machine.secret("shop").exists());
}

#[test]
fn a_secret_is_deleted_when_its_sealed_secret_is_taken_out_of_its_file() {
    let machine = Machine::with_key();
    let bitnami = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db}\n";
    machine.seal(&secret("db", VALUE), "db.yaml");
    machine.seal(&secret("web", VALUE), "web.yaml");
    machine.once().succeeds();
    machine.write_manifest("db.yaml", format!("# no more\n---\n{CONFIG_MAP}"));
    machine.write_manifest("web.yaml", format!("{bitnami}---\n{}", CONFIG_MAP.replace("v1", "waxsael.dev/v1")));
    machine.once().succeeds();
    assert!(!machine.secret("shop").exists());
    assert_eq!((machine.ready("db"), machine.ready("web")), (None, None));
}

#[test]
fn no_name_of_a_file_forges_a_line_of_the_log() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", VALUE), "db\nFORGED\u{1b}[31m.yaml");
    machine.seal(&secret("gone", VALUE), "gone\nFORGED.yaml");
    machine.once().succeeds();
    machine.write_manifest("db\nFORGED\u{1b}[31m.yaml", "");
    fs::remove_file(machine.manifest("gone\nFORGED.yaml")).expect("it is there");
    machine.write_manifest("bad\rFORGED\u{9b}.yaml", "a: [");
    machine.write_manifest("plain\nFORGED.yaml", secret("plain", "x"));
    write_private(&machine.key("k\nFORGED.key"), "");
    let log = machine.once_in_text().fails();
    let escaped = log.matches("\\nFORGED").count() + log.matches("\\rFORGED").count();
    assert_eq!(escaped, log.matches("FORGED").count(), "{log}");
    assert!(log.chars().all(|character| character == '\n' || !character.is_control()), "{log:?}");
    for said in ["bad\\rFORGED\\u{9b}.yaml:1:", "plain\\nFORGED.yaml:1", "the key keys/k\\nFORGED.key"] {
        assert!(log.contains(said), "no {said} in {log}");
    }
    let message = machine.assert_reason("db", "Malformed");
    assert!(message.starts_with(&unclear("bad\\rFORGED\\u{9b}.yaml:1:")), "{message}");
    assert_eq!(machine.status()["unreadable"][0]["file"], "bad\\rFORGED\\u{9b}.yaml");
    assert_last_good_stays(&machine);
}

#[test]
fn a_sealed_secret_under_another_name_is_moved_and_its_former_secret_goes() {
    for (from, to) in
        [("metadata:\n  name: db", "metadata:\n  name: web"), ("  namespace: shop\nspec", "  namespace: blog\nspec")]
    {
        let machine = materialised();
        machine.edit("db.yaml", from, to);
        let log = machine.once().fails();
        let refused = log.lines().find(|line| line.contains("\"reason\":\"Moved\"")).expect("a line about it");
        assert!(refused.contains("\"level\":\"WARN\""), "{refused}");
        assert!(log.contains("deleted the Secret: its SealedSecret is in no manifest"), "{log}");
        assert!(!machine.secret("shop").exists());
    }
}

#[test]
fn a_sealed_secret_that_is_read_and_refused_holds_no_deletion_back() {
    for (file, from, to) in
        [("web.yaml", "password: wax1.", "passwort: wax1."), ("web.yaml", "wax1.", "wax2."), ("copy.yaml", "", "")]
    {
        let machine = materialised();
        machine.seal(&secret("web", VALUE), "web.yaml");
        machine.once().succeeds();
        fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
        let good = fs::read_to_string(machine.manifest("web.yaml")).expect("it was written");
        machine.write_manifest(file, good.replacen(from, to, 1));
        machine.once().fails();
        assert_eq!(names(&machine.secret("shop")), ["web"]);
        assert_eq!(machine.value("shop/web/password").as_deref(), Some(VALUE));
        assert_eq!(machine.ready("db"), None);
    }
}

#[test]
fn a_missing_key_does_not_hold_deletion_back() {
    let machine = materialised();
    machine.seal(&secret("web", "two"), "web.yaml");
    machine.once().succeeds();
    for file in machine.key_files() {
        fs::remove_file(machine.key(&file)).expect("it is there");
    }
    fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
    machine.once().fails();
    machine.assert_reason("web", "AwaitingKeys");
    assert_eq!(names(&machine.secret("shop")), ["web"]);
}

#[test]
fn an_unsealed_secret_is_named() {
    let machine = Machine::with_key();
    machine.write_manifest("deep/plain.yaml", format!("# mine\n---\n{}", secret("db", VALUE)));
    let log = machine.once().succeeds();
    assert!(log.contains("deep/plain.yaml:2: this Secret is not sealed, and the controller ignores it"), "{log}");
    assert!(!log.contains(VALUE));
    assert!(!machine.secret("shop").exists());
}

#[test]
fn a_document_without_a_namespace_is_refused_and_deletes_nothing() {
    let machine = materialised();
    machine.edit("db.yaml", "  namespace: shop\nspec", "spec");
    machine.once().fails();
    let fault = "metadata.namespace: missing; a folder has no default namespace";
    assert_eq!(machine.status()["unreadable"][0]["message"], fault);
    assert_eq!(machine.assert_reason("db", "Malformed"), unclear(&format!("db.yaml:1: {fault}")));
    assert_last_good_stays(&machine);
}

#[test]
fn two_documents_of_one_name_are_both_refused() {
    let machine = materialised();
    machine.seal(&format!("{}---\n{}", secret("web", "two"), secret("db", "other")), "second.yaml");
    machine.once().fails();
    let message = machine.assert_reason("db", "Malformed");
    assert!(
        message.starts_with("several manifests have this namespace and name: db.yaml:1, second.yaml:"),
        "{message}"
    );
    let status = machine.status();
    let entries = status["sealedSecrets"].as_array().expect("entries");
    let files: Vec<_> = entries.iter().filter(|entry| entry["name"] == "db").map(|entry| &entry["file"]).collect();
    assert_eq!(files, ["db.yaml", "second.yaml"]);
    machine.assert_reason("web", "Materialised");
    assert_last_good_stays(&machine);
}

#[test]
fn a_folder_that_waxseal_did_not_make_stays() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", VALUE), "db.yaml");
    fs::create_dir_all(machine.secret("shop/db")).expect("made");
    fs::write(machine.secret("shop/db/password"), "theirs").expect("written");
    machine.once().fails();
    let message = machine.assert_reason("db", "ForeignOwner");
    assert_eq!(message, "secrets/shop/db was not made by Waxseal and stays as it is: move it away");
    assert_eq!(names(&machine.secret("shop/db")), ["password"]);
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("theirs"));
    fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
    machine.once().succeeds();
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("theirs"));
}

#[test]
fn no_planted_symlink_is_followed_out() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", VALUE), "db.yaml");
    let elsewhere = machine.elsewhere("elsewhere");
    fs::create_dir_all(elsewhere.join("db")).expect("made");
    let ways: [(&str, &str); 3] =
        [("shop", "elsewhere"), ("shop/db", "elsewhere/db"), ("shop/db/..data", "elsewhere/db")];
    for (link, target) in ways {
        let _ = fs::remove_file(machine.secret("shop"));
        let link = machine.secret(link);
        fs::create_dir_all(link.parent().expect("it has one")).expect("made");
        symlink(machine.elsewhere(target), &link).expect("linked");
        machine.once().fails();
        machine.assert_reason("db", "ForeignOwner");
        assert!(fs::symlink_metadata(&link).is_ok_and(|metadata| metadata.is_symlink()));
        assert_eq!(names(&elsewhere.join("db")), [""; 0]);
        fs::remove_file(link).expect("it is there");
    }
}

#[test]
fn a_secret_that_cannot_be_written_is_named() {
    let machine = materialised();
    fs::remove_file(machine.secret("shop/db/password")).expect("it is there");
    fs::create_dir(machine.secret("shop/db/password")).expect("made");
    machine.seal(&secret("db", "new"), "db.yaml");
    machine.once().fails();
    let message = machine.assert_reason("db", "ApiUnavailable");
    assert_eq!(message, "failed to write secrets/shop/db: Is a directory (os error 21)");
    assert_eq!(machine.value("shop/db/..data/password").as_deref(), Some(VALUE));
    fs::remove_dir(machine.secret("shop/db/password")).expect("it is empty");
    machine.once().succeeds();
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("new"));
}

#[test]
fn metadata_that_the_operator_forbids_is_refused_and_the_last_good_secret_stays() {
    let machine = materialised();
    let annotated = secret("db", "another").replace("name: db", "name: db, annotations: {mirror/to: all}");
    machine.seal(&annotated, "db.yaml");
    machine.once_forbidding("example.com/,mirror/").fails();
    let message = machine.assert_reason("db", "TypeForbidden");
    assert_eq!(
        message,
        "spec.template: labels and annotations that begin with mirror/ are forbidden by the configuration of this \
         controller"
    );
    assert_last_good_stays(&machine);
    machine.once_forbidding("example.com/").succeeds();
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("another"));
}

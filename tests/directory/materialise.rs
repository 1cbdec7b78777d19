use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::manifest::{DocumentKind, Format, split, write_sealed_secret};
use waxseal_shared::names::Namespace;
use waxseal_shared::randomness;
use waxseal_shared::seal::seal;
use waxseal_shared::sealed_secret::Scope;
use waxseal_tests::fixtures;
use waxseal_tests::tampering::with_broken_wrap;

use crate::machine::{Machine, mode, names, secret};

/// The message on a Secret whose SealedSecret has just disappeared.
const WAITS: &str = "the SealedSecret is missing from the manifests; its Secret is deleted unless a manifest contains it \
                     again within 5 seconds";
/// Shorter than the time after which the controller deletes the Secret, which is 5 s.
const BEFORE_THE_DELETION: Duration = Duration::from_secs(4);

#[test]
fn every_fixture_comes_out_byte_for_byte() {
    let machine = Machine::with_key();
    for fixture in fixtures::secrets().expect("the fixtures") {
        let sealed = machine.sealed(&fixture.text);
        fixture.assert_holds_no_value(&sealed);
        let object: Value = serde_saphyr::from_str(&sealed).expect("YAML or JSON");
        let name = object["metadata"]["name"].as_str().expect("a name");
        machine.write_manifest(&format!("{name}.yaml"), &sealed);
        machine.once().succeeds();
        machine.assert_reason(name, "Materialised");
        let values = fixture.values().expect("the fixture was read before");
        assert_eq!(machine.values(&format!("shop/{name}")), values, "{}", fixture.name);
    }
    fs::remove_dir_all(machine.manifest("")).expect("it is there");
    fs::create_dir(machine.manifest("")).expect("made");
    machine.once().succeeds();
    assert!(!machine.secret("shop").exists());
}

#[test]
fn everything_but_the_public_keys_is_private_to_its_owner() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "hunter2hunter2"), "db.yaml");
    machine.once().succeeds();
    assert_private(&machine.secret(""));
    for file in machine.key_files() {
        assert_eq!(mode(&machine.key(&file)), 0o600);
    }
    assert_eq!(mode(&machine.key("")), 0o700);
    assert_eq!(mode(&machine.key("sealing-keys.yaml")), 0o644);
}

fn assert_private(folder: &Path) {
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    for name in names(folder) {
        let path = folder.join(name);
        let kind = fs::symlink_metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            assert_private(&path);
        } else if kind.is_file() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[test]
fn type_and_metadata_of_the_secret_lie_beside_its_data() {
    let machine = Machine::with_key();
    let typed = "type: kubernetes.io/basic-auth\nimmutable: true\n";
    let metadata = "metadata: {name: db, labels: {team: shop}, annotations: {note: x}}";
    machine.seal(
        &secret("db", "hunter2").replace("metadata: {name: db}", metadata).replace("kind", &format!("{typed}kind")),
        "db.yaml",
    );
    machine.once().succeeds();
    let description = fs::read(machine.secret("shop/db/..data/..secret.json")).expect("it is there");
    let description: Value = serde_json::from_slice(&description).expect("JSON");
    assert_eq!(description["type"], "kubernetes.io/basic-auth");
    assert_eq!(description["immutable"], true);
    assert_eq!(description["metadata"]["labels"]["team"], "shop");
    assert_eq!(description["metadata"]["labels"]["waxseal.dev/secret"], "owned");
    assert_eq!(description["metadata"]["annotations"]["note"], "x");
    assert_eq!(description.get("data"), None);
    machine.seal(&secret("db", "changed"), "db.yaml");
    machine.once().fails();
    machine.assert_reason("db", "TypeImmutable");
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("hunter2"));
}

#[test]
fn a_broken_wrap_is_logged_once_and_shown_in_the_status_while_it_is_there() {
    let machine = Machine::new();
    let generate = || Identity::generate(KeyKind::Hybrid, &mut randomness::system());
    let (own, recovery) = (generate(), generate());
    machine.add_identity(&own, &Timestamp::now().to_string());
    let namespace = Namespace::parse("shop").expect("a namespace");
    let recipients = [&own, &recovery].map(|identity| identity.recipient().clone());
    let text = secret("db", "one");
    let stream = split(&text).expect("YAML");
    let Ok(DocumentKind::Secret(secret)) = stream.documents[0].kind() else { panic!("a Secret") };
    let secret = secret.read().expect("it is good");
    let object = seal(&secret, &namespace, Scope::Strict, &recipients, &mut randomness::system()).expect("it seals");
    let good = write_sealed_secret(&object, Format::Yaml);
    let recovery = recovery.recipient().key_id().as_str();
    machine.write_manifest("db.yaml", &good);
    machine.once().succeeds();
    machine.write_manifest("db.yaml", with_broken_wrap(&good, recovery));
    let log = machine.once().succeeds();
    let envelope = object.spec.envelopes.keys().next().expect("one envelope");
    let message = format!("envelope {envelope}: the wrap for {recovery} is broken");
    let warning = log.lines().find(|line| line.contains("\"level\":\"WARN\"")).unwrap_or_else(|| panic!("{log}"));
    assert!(warning.contains("\"reason\":\"WrapBroken\"") && warning.contains(&message), "{log}");
    machine.assert_reason("db", "Materialised");
    assert_eq!(machine.condition("db", "KeyCurrent"), Some(["False".to_owned(), "WrapBroken".to_owned(), message]));
    let before = fingerprint(&machine.secret(""));
    assert_eq!(machine.once().news(), "", "it was said");
    assert_eq!(fingerprint(&machine.secret("")), before);
    machine.write_manifest("db.yaml", &good);
    machine.once().succeeds();
    machine.assert_reason("db", "Materialised");
    assert_eq!(machine.condition("db", "KeyCurrent"), None);
}

#[test]
fn a_running_controller_follows_every_change() {
    let machine = Machine::new();
    let controller = machine.start();
    controller.wait_until("the first key", || machine.key("sealing-keys.yaml").exists());
    machine.seal(&secret("db", "one"), "db.yaml");
    controller.wait_for_value("shop/db/password", "one");
    machine.seal(&secret("db", "two").replace("password", "other"), "db.yaml");
    controller.wait_for_value("shop/db/other", "two");
    // The controller removes the link of the old data key only after it has made the new link.
    controller.wait_until("the end of the old data key", || {
        names(&machine.secret("shop/db")).iter().filter(|name| !name.starts_with("..")).eq(["other"])
    });
    let both = format!("{}---\n{}", secret("web", "three"), secret("api", "four"));
    machine.seal(&both, "deep/er/both.yaml");
    controller.wait_for_value("shop/web/password", "three");
    controller.wait_for_value("shop/api/password", "four");
    controller.wait_for_reason("api", "Materialised");
}

#[test]
fn a_mount_of_the_kubelet_is_followed() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "..v1/db.yaml");
    symlink("..v1", machine.manifest("..data")).expect("linked");
    symlink("..data/db.yaml", machine.manifest("db.yaml")).expect("linked");
    let controller = machine.start();
    controller.wait_for_value("shop/db/password", "one");
    machine.seal(&secret("db", "two"), "..v2/db.yaml");
    symlink("..v2", machine.manifest("..data_tmp")).expect("linked");
    fs::rename(machine.manifest("..data_tmp"), machine.manifest("..data")).expect("renamed");
    controller.wait_for_value("shop/db/password", "two");
}

#[test]
fn a_secret_goes_with_its_sealed_secret_and_its_neighbour_stays() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.seal(&secret("web", "two"), "web.yaml");
    let controller = machine.start();
    controller.wait_for_reason("web", "Materialised");
    let removed = Instant::now();
    fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
    controller.wait_until("the deletion", || !machine.secret("shop/db").exists());
    // The controller waits, because a program that writes a file slowly leaves it empty for seconds.
    assert!(removed.elapsed() > Duration::from_secs(4), "after {:?}", removed.elapsed());
    controller.wait_until("its line in the status", || machine.ready("db").is_none());
    assert_eq!(machine.value("shop/web/password").as_deref(), Some("two"));
    controller.wait_until("the end of what was left of it", || names(&machine.secret("shop")) == ["web"]);
    assert_eq!(controller.stop(Signal::TERM), Some(0));
}

/// Runs a test up to five times, until it returns `true`. It returns `false` if the machine was so slow that the
/// manifest was back too late.
fn until_in_time(test: impl Fn() -> bool) {
    assert!((0..5).any(|_| test()), "the machine is too slow: the manifest was back too late");
}

#[test]
fn a_single_run_waits_before_it_deletes() {
    until_in_time(|| {
        let machine = Machine::with_key();
        machine.seal(&secret("db", "one"), "db.yaml");
        machine.seal(&secret("web", "two"), "web.yaml");
        machine.once().succeeds();
        let text = fs::read_to_string(machine.manifest("web.yaml")).expect("it is there");
        for file in ["db.yaml", "web.yaml"] {
            fs::remove_file(machine.manifest(file)).expect("it is there");
        }
        let removed = Instant::now();
        let run = machine.start_once();
        let message = run.wait_for_reason("web", "ApiUnavailable");
        assert_eq!(message, WAITS);
        fs::write(machine.manifest("web.yaml"), text).expect("written");
        if removed.elapsed() > BEFORE_THE_DELETION {
            return false;
        }
        assert_eq!(run.ends(), Some(0));
        assert!(removed.elapsed() > Duration::from_secs(4), "after {:?}", removed.elapsed());
        assert_eq!(names(&machine.secret("shop")), ["web"]);
        assert_eq!(machine.ready("db"), None);
        true
    });
}

#[test]
fn a_single_run_that_is_told_to_stop_while_it_waits_deletes_nothing() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.once().succeeds();
    fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
    let run = machine.start_once();
    run.wait_for_reason("db", "ApiUnavailable");
    let log = run.log_path();
    assert_eq!(run.stop(Signal::TERM), Some(1));
    let log = fs::read_to_string(log).expect("it was created");
    assert!(log.contains("stopped by a signal before everything was done"), "{log}");
    assert_eq!(machine.value("shop/db/password").as_deref(), Some("one"));
}

#[test]
fn a_file_that_is_gone_for_a_moment_deletes_nothing() {
    until_in_time(|| {
        let machine = Machine::with_key();
        machine.seal(&secret("db", "one"), "db.yaml");
        let controller = machine.start();
        controller.wait_for_reason("db", "Materialised");
        let text = fs::read_to_string(machine.manifest("db.yaml")).expect("it is there");
        let before = fingerprint(&machine.secret("shop/db"));
        let removed = Instant::now();
        fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
        let message = controller.wait_for_reason("db", "ApiUnavailable");
        assert_eq!(message, WAITS);
        fs::write(machine.manifest("db.yaml"), &text).expect("written");
        if removed.elapsed() > BEFORE_THE_DELETION {
            return false;
        }
        controller.wait_for_reason("db", "Materialised");
        assert_eq!(fingerprint(&machine.secret("shop/db")), before);
        assert!(!controller.log().contains("deleted the Secret"), "{}", controller.log());
        true
    });
}

#[test]
fn a_restart_writes_nothing() {
    let machine = Machine::with_key();
    machine.seal(&format!("{}---\n{}", secret("db", "one"), secret("web", "two")), "both.yaml");
    machine.once().succeeds();
    let before = (fingerprint(&machine.secret("")), fingerprint(&machine.key("")));
    assert_eq!(machine.once().news(), "", "nothing changed, so there is nothing to say");
    let controller = machine.start();
    // A change shows that a whole pass is over.
    machine.write_manifest("other.yaml", "kind: [");
    controller.wait_until("a pass", || machine.status()["unreadable"][0]["file"] == "other.yaml");
    fs::remove_file(machine.manifest("other.yaml")).expect("it is there");
    controller.wait_until("a pass", || machine.status()["unreadable"][0].is_null());
    assert_eq!(controller.stop(Signal::TERM), Some(0));
    let shop = |fingerprint: &BTreeMap<String, (u64, SystemTime)>| {
        let entries = fingerprint.iter().filter(|(path, _)| path.contains("shop"));
        entries.map(|(path, seen)| (path.clone(), *seen)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(shop(&fingerprint(&machine.secret(""))), shop(&before.0));
    assert_eq!(fingerprint(&machine.key("")), before.1);
}

/// The inode and the modification time of everything in a folder, by path.
fn fingerprint(folder: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut seen = BTreeMap::new();
    for name in names(folder) {
        let path = folder.join(name);
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let modified = metadata.modified().expect("files have times");
        seen.insert(path.display().to_string(), (metadata.ino(), modified));
        if metadata.is_dir() {
            seen.extend(fingerprint(&path));
        }
    }
    seen
}

#[test]
fn changed_values_are_restored() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.once().succeeds();
    fs::write(machine.secret("shop/db/..data/password"), "tampered").expect("written");
    fs::write(machine.secret("shop/db/..data/more"), "tampered").expect("written");
    machine.once().succeeds();
    assert_eq!(machine.values("shop/db"), BTreeMap::from([("password".to_owned(), b"one".to_vec())]));
}

#[test]
fn loosened_modes_are_restored() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.once().succeeds();
    let before = fingerprint(&machine.secret("shop/db"));
    for path in ["shop/db", "shop/db/..data", "shop/db/..data/password", "shop/db/..data/..secret.json"] {
        fs::set_permissions(machine.secret(path), fs::Permissions::from_mode(0o755)).expect("changed");
    }
    machine.once().succeeds();
    assert_private(&machine.secret(""));
    assert_eq!(fingerprint(&machine.secret("shop/db")), before);
}

#[test]
fn files_of_others_in_a_secret_folder_stay() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.once().succeeds();
    let theirs = ["..backup", "note.txt", "own-link"];
    fs::create_dir(machine.secret("shop/db/..backup")).expect("made");
    fs::write(machine.secret("shop/db/note.txt"), "theirs").expect("written");
    symlink("note.txt", machine.secret("shop/db/own-link")).expect("linked");
    machine.once().succeeds();
    machine.seal(&secret("db", "two").replace("password", "other"), "db.yaml");
    machine.once().succeeds();
    let mut present = names(&machine.secret("shop/db"));
    present.retain(|name| !name.starts_with("..v-"));
    assert_eq!(present, ["..backup", "..data", "note.txt", "other", "own-link"]);
    fs::remove_file(machine.manifest("db.yaml")).expect("it is there");
    machine.once().succeeds();
    assert_eq!(names(&machine.secret("shop/db")), theirs);
    assert_eq!(names(&machine.secret("shop")), ["db"]);
    machine.once().succeeds();
    assert_eq!(names(&machine.secret("shop/db")), theirs);
}

#[test]
fn leftovers_of_a_crash_are_removed_even_if_nothing_is_written() {
    let machine = Machine::with_key();
    machine.seal(&secret("db", "one"), "db.yaml");
    machine.once().succeeds();
    let private = |path: &Path| fs::DirBuilder::new().mode(0o700).recursive(true).create(path).expect("made");
    private(&machine.elsewhere("elsewhere/..unfinished-4"));
    symlink(machine.elsewhere("elsewhere"), machine.secret("linked")).expect("linked");
    for path in ["shop/..unfinished-1/db", "gone/..unfinished-2/db/..v-1", "..unfinished-3"] {
        private(&machine.secret(path));
        fs::write(machine.secret(path).join("password"), "one").expect("written");
    }
    fs::write(machine.key("..unfinished-5"), "one").expect("written");
    machine.once().succeeds();
    assert_eq!(names(&machine.secret("")), ["..lock", "..waxseal-status.json", "linked", "shop"]);
    assert_eq!(names(&machine.secret("shop")), ["db"]);
    assert_eq!(names(&machine.elsewhere("elsewhere")), ["..unfinished-4"]);
    assert!(!machine.key("..unfinished-5").exists());
}

#[test]
fn a_running_controller_removes_leftovers_of_a_crash() {
    let machine = Machine::with_key();
    let controller = machine.start();
    controller.wait_until("the start", || controller.log().contains("started"));
    fs::create_dir_all(machine.secret("shop/..unfinished-1")).expect("made");
    machine.write_manifest("other.yaml", "");
    controller.wait_until("the sweep", || !machine.secret("shop/..unfinished-1").exists());
}

#[test]
fn a_crash_in_the_middle_of_a_write_leaves_the_old_secret_or_the_new() {
    const KEYS: usize = 40;
    const ROUNDS: usize = 24;
    let machine = Machine::with_key();
    let value = |version: usize| format!("value-{version}");
    let seal = |version| {
        let values: Vec<_> = (0..KEYS).map(|key| format!("  k{key}: {}", value(version))).collect();
        let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData:\n";
        machine.sealed(&(head.to_owned() + &values.join("\n")))
    };
    // A version returns only after a whole cycle of rounds, whose last round sees a new current version. So the version
    // of a manifest is never the current version already, and there is a write.
    let versions: Vec<_> = (0..=ROUNDS).map(seal).collect();
    machine.write_manifest("db.yaml", &versions[0]);
    let mut controller = machine.start();
    controller.wait_for_reason("db", "Materialised");
    let (mut last, mut unfinished) = (0, 0);
    // The test goes on until a kill has hit a write, and gives up after ten times the usual number.
    for round in 0..10 * ROUNDS {
        if round >= ROUNDS && unfinished > 0 {
            break;
        }
        last = (round + 1) % versions.len();
        let before = Written::see(&machine);
        machine.write_manifest("db.yaml", &versions[last]);
        // Each kill of a cycle comes after another number of files. The last numbers are larger than that of a version,
        // so the last kills come after the change of the link.
        let files = 2 * (round % ROUNDS);
        controller.watch_until("a write", || before.is_followed_by(files, &machine));
        controller.stop(Signal::KILL);
        unfinished += usize::from(Written::see(&machine).current == before.current);
        let values = machine.values("shop/db");
        let first = values.values().next().expect("forty values");
        assert!(values.len() == KEYS && values.values().all(|value| value == first), "{values:?}");
        controller = machine.start();
    }
    assert!(unfinished > 0, "no kill hit a write");
    controller.wait_for_value("shop/db/k0", &value(last));
    controller.wait_until("a clean folder", || names(&machine.secret("shop/db")).len() == KEYS + 2);
    assert!(machine.values("shop/db").values().all(|seen| *seen == value(last).as_bytes()));
    assert_eq!(names(&machine.secret("shop")), ["db"]);
}

/// The versions of a Secret that are written or being written.
struct Written {
    versions: Vec<String>,
    /// The version that readers see.
    current: Option<PathBuf>,
}

impl Written {
    fn see(machine: &Machine) -> Self {
        let mut versions = names(&machine.secret("shop/db"));
        versions.retain(|name| name.starts_with("..v-"));
        Self { versions, current: fs::read_link(machine.secret("shop/db/..data")).ok() }
    }

    /// Whether readers see another version by now, or a new version has this number of files.
    fn is_followed_by(&self, files: usize, machine: &Machine) -> bool {
        let now = Self::see(machine);
        let mut new = now.versions.iter().filter(|version| !self.versions.contains(version));
        now.current != self.current
            || new.any(|version| names(&machine.secret(&format!("shop/db/{version}"))).len() >= files)
    }
}

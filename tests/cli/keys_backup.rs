//! `waxseal keys backup` and `waxseal keys restore` on folders of keys.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use age::armor::Format;
use jiff::{SignedDuration, Timestamp};
use waxseal_shared::key::{EncryptedFile, Identity, KeyKind, Recipient};
use waxseal_shared::key_backup::{self, BackedUpKey};
use waxseal_shared::key_life::{HeldKey, read_held_key};
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

use crate::folder::{Folder, Outcome, program};
use crate::passphrases::protect;
use crate::terminal::with_answers;

const MAKE_ONE: &str = "hint: make a recovery key with `waxseal keys generate --recovery -o recovery.key`, and keep it \
                        offline; `--recovery-recipient` names it to the controller\n";
const NOT_PROVEN: &str = "hint: a backup does not prove who made it: name a keys file that lists the key with `--to` or \
                          `--keys`, or compare the fingerprint and pass `--accept FINGERPRINT`\n";

pub(crate) const BACKUP: [&str; 8] =
    ["keys", "backup", "-o", "keys.age", "--keys", "recovery.yaml", "--keys-dir", "keys"];
pub(crate) const RESTORE: [&str; 8] =
    ["keys", "restore", "keys.age", "--identity", "recovery.key", "--keys-dir", "new", "--yes"];

/// A folder with a recovery key and, in `keys`, an identity in each of these states. Returns the key ids of the
/// identities.
pub(crate) fn folder(states: &[KeyState]) -> (Folder, Vec<String>) {
    let folder = Folder::new();
    folder.generate("recovery", &["--recovery"]);
    let ids = states.iter().enumerate().map(|(at, state)| add_key(&folder, at, *state)).collect();
    (folder, ids)
}

/// The arguments of a backup to these recipients.
fn backup<'a>(recipients: &[&'a str]) -> Vec<&'a str> {
    [&BACKUP[..4], recipients, &BACKUP[6..]].concat()
}

/// Puts a new identity into the folder `keys`, and its SealingKey into `made/AT.yaml`. Returns the key id.
fn add_key(folder: &Folder, at: usize, state: KeyState) -> String {
    let name = format!("made/{at}");
    fs::create_dir_all(folder.path().join("made")).expect("a folder");
    folder.generate(&name, &[]);
    let id = folder.key_id(&name);
    let line = if state == KeyState::Active { String::new() } else { format!("# state: {}\n", state.as_str()) };
    let path = format!("keys/{id}.key");
    folder.write(&path, line + &folder.read(&format!("{name}.key")));
    fs::set_permissions(folder.path().join(path), fs::Permissions::from_mode(0o600)).expect("our file");
    id
}

/// The keys in a folder of keys: each id and state. Every key file must be whole, and private.
pub(crate) fn keys_in(folder: &Folder, name: &str) -> BTreeMap<String, KeyState> {
    let mut keys = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder.path().join(name)) else { return keys };
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.extension().is_none_or(|extension| extension != "key") {
            continue;
        }
        let key = read_held_key(&fs::read(&path).expect("a file"), Timestamp::now()).expect("a whole identity");
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(key.key_id().as_str()));
        assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
        keys.insert(key.key_id().to_string(), key.published().state);
    }
    keys
}

/// Runs a command, and returns its exit code and what it says.
pub(crate) fn run(folder: &Folder, arguments: &[&str], writes: &[&str]) -> (Option<i32>, String) {
    let Outcome { status, stdout, stderr } = folder.waxseal(arguments).writes(writes).finish();
    assert_eq!(stdout, "");
    assert!(!stderr.contains("AGE-SECRET-KEY"), "{stderr}");
    (status.code(), stderr)
}

/// Writes this text to `keys.age`, encrypted to the recovery key. Everybody who knows its recipient can do this.
fn forge(folder: &Folder, text: &str) {
    let recipient = Recipient::parse(&folder.recipient("recovery")).expect("a recipient");
    let file = EncryptedFile::seal(text.as_bytes(), &[recipient], &mut randomness::system()).expect("a hybrid key");
    folder.write("keys.age", file.to_armour());
}

/// The text of a backup of one new key.
fn forged_text(created_at: Timestamp) -> String {
    let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
    let key = HeldKey::new(identity, KeyRole::Cluster, created_at, KeyState::Active);
    let namespace = Namespace::parse("waxseal-system").expect("a namespace");
    let secret_name = ObjectName::parse("first-sealing-key").expect("a name");
    key_backup::write(&[BackedUpKey { secret_name, key }], &namespace).to_string()
}

#[test]
fn all_keys_and_their_states_come_back() {
    use KeyState::{Active, Retired, Revoked};
    let (folder, ids) = folder(&[Active, Retired, Revoked, Active]);
    // A request that the controller has not carried out yet.
    folder.write("keys/sealing-keys.yaml", folder.read("made/3.yaml").replace("state: Active", "state: Revoked"));
    let (code, said) = run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    let recovery = format!("sealed to {} (Recovery, from recovery.yaml)\n", folder.key_id("recovery"));
    assert!(said.ends_with(&format!("{recovery}keys.age has 4 keys of keys\n")), "{said}");
    assert!(said.contains(&format!("backed up {} (Retired, created ", ids[1])), "{said}");
    let file = folder.path().join("keys.age");
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let record = folder.read("keys/last-backup.yaml");
    let times: BTreeMap<String, String> = serde_saphyr::from_str(&record).expect("YAML");
    assert_eq!(times.keys().collect::<Vec<_>>(), {
        let mut ids: Vec<_> = ids.iter().collect();
        ids.sort();
        ids
    });
    for time in times.values() {
        let time: Timestamp = time.parse().expect("a time");
        assert!(Timestamp::now().duration_since(time) < SignedDuration::from_mins(1));
    }

    let lists: Vec<_> = (0..4).map(|at| folder.read(&format!("made/{at}.yaml"))).collect();
    folder.write("prod.yaml", lists.join("---\n"));
    let files: Vec<_> = ids.iter().map(|id| format!("new/{id}.key")).collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let restore = [&RESTORE[..], &["--keys", "prod.yaml"]].concat();
    let (code, said) = run(&folder, &restore, &files);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("which is listed in prod.yaml: sha256:"), "{said}");
    assert!(said.contains(&format!("new: {} becomes the primary: new values are sealed to it\n", ids[0])), "{said}");
    let states = [Active, Retired, Revoked, Revoked];
    assert_eq!(keys_in(&folder, "new"), ids.iter().cloned().zip(states).collect());

    // A second restore changes nothing, so it needs no consent. A blank line before the armour does not matter.
    folder.write("keys.age", format!("\n{}", folder.read("keys.age")));
    let (code, said) = run(&folder, &RESTORE[..RESTORE.len() - 1], &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("new: {} is there (Retired) and stays as it is\n", ids[1])), "{said}");
}

#[test]
fn a_state_in_a_keys_file_counts_and_a_key_that_is_there_stays_as_it_is() {
    let (folder, ids) = folder(&[KeyState::Active, KeyState::Retired]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    let revoked = folder.read("made/0.yaml").replace("state: Active", "state: Revoked");
    folder.write("prod.yaml", format!("{revoked}---\n{}", folder.read("made/1.yaml")));
    // Somebody put an older copy of the second key there, which is Active.
    folder.write(&format!("new/{}.key", ids[1]), folder.read("made/1.key"));
    fs::set_permissions(folder.path().join(format!("new/{}.key", ids[1])), fs::Permissions::from_mode(0o600))
        .expect("our file");
    let restored = format!("new/{}.key", ids[0]);
    let (code, said) = run(&folder, &[&RESTORE[..], &["--keys", "prod.yaml"]].concat(), &[&restored]);
    assert_eq!(code, Some(0), "{said}");
    let warning = format!(
        "warning: {}: is Retired in the backup, and Active here: if the backup is right, run `waxseal keys retire`\n",
        ids[1]
    );
    assert!(said.contains(&warning), "{said}");
    let states = [KeyState::Revoked, KeyState::Active];
    assert_eq!(keys_in(&folder, "new"), ids.iter().cloned().zip(states).collect());
}

#[test]
fn a_broken_identity_is_named_and_the_others_are_backed_up() {
    let (folder, ids) = folder(&[KeyState::Active]);
    folder.write("keys/kbroken.key", "hunter2\n");
    folder.write("keys/notes.txt", "not a key");
    folder.write("keys/.hidden.key", "not a key");
    let (code, said) = run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    assert_eq!(code, Some(3), "{said}");
    let end = "keys.age has 1 key of keys\nerror: keys/kbroken.key: not in the backup: the identity cannot be used: \
               line 1: neither an identity nor a comment\n";
    assert!(said.ends_with(end), "{said}");
    assert!(folder.read("keys/last-backup.yaml").contains(&ids[0]));
    let accept = folder.fingerprint("made/0");
    let restored = format!("new/{}.key", ids[0]);
    let (code, said) = run(&folder, &[&RESTORE[..], &["--accept", &accept]].concat(), &[&restored]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(keys_in(&folder, "new").len(), 1);
}

#[test]
fn a_backup_that_cannot_be_recorded_is_kept() {
    let (folder, _) = folder(&[KeyState::Active]);
    folder.write("keys/last-backup.yaml", "hunter2: [\n");
    let (code, said) = run(&folder, &BACKUP, &["keys.age"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("error: keys/last-backup.yaml:"), "{said}");
    assert!(said.contains(": keys.age is a good backup, but its time was not recorded: "), "{said}");
    folder.write("keys/last-backup.yaml", "hunter2: now\n");
    fs::remove_file(folder.path().join("keys.age")).expect("it is there");
    run(&folder, &BACKUP, &["keys.age"]);
    let (_, said) = run(&folder, &[&BACKUP[..3], &["other.age"], &BACKUP[4..]].concat(), &["other.age"]);
    let end = "error: keys/last-backup.yaml: other.age is a good backup, but its time was not recorded: an entry is \
               not a key id and an RFC 3339 time\n\
               hint: delete the file, and make a new backup with `waxseal keys backup`\n";
    assert!(said.ends_with(end), "{said}");
}

#[test]
fn a_second_backup_keeps_the_record_of_keys_that_are_gone() {
    let (folder, ids) = folder(&[KeyState::Active]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    let record = folder.read("keys/last-backup.yaml");
    folder.write("keys/last-backup.yaml", "kffffffffffffffff: \"2026-01-01T00:00:00Z\"\n");
    run(&folder, &[&BACKUP[..3], &["other.age"], &BACKUP[4..]].concat(), &["other.age", "keys/last-backup.yaml"]);
    let times: BTreeMap<String, String> = serde_saphyr::from_str(&folder.read("keys/last-backup.yaml")).expect("YAML");
    assert!(times.len() == 2 && times.contains_key(&ids[0]) && record.contains(&ids[0]), "{times:?}");
}

#[test]
fn only_recovery_keys_can_read_a_backup() {
    let (folder, ids) = folder(&[KeyState::Active]);
    folder.generate("classic", &["--recovery", "--classic"]);
    folder.write("retired.yaml", folder.read("recovery.yaml").replace("state: Active", "state: Retired"));
    let [own, recovery, classic] = ["made/0", "recovery", "classic"].map(|name| folder.recipient(name));
    let not_recovery =
        format!("{} is not a recovery key: it would be lost together with the keys in the backup\n{MAKE_ONE}", ids[0]);
    let is_classic = format!(
        "error: {} is a classic key (X25519), which a quantum computer will break\n{MAKE_ONE}",
        folder.key_id("classic")
    );
    for (recipients, code, stderr) in [
        (
            &[][..],
            2,
            "error: no recovery key to encrypt to\nhint: pass `--to CLUSTER`, `--keys FILE` or `--recipient age1pq1…`; \
             `waxseal keys generate --recovery` makes a recovery key\n"
                .to_owned(),
        ),
        (&["--keys", "made/0.yaml"], 3, format!("error: made/0.yaml: no Active recovery key in it\n{MAKE_ONE}")),
        (&["--keys", "retired.yaml"], 3, format!("error: retired.yaml: no Active recovery key in it\n{MAKE_ONE}")),
        (&["-r", &own], 3, format!("error: keys: {not_recovery}")),
        (&["-r", &classic], 3, is_classic.clone()),
        (&["--keys", "classic.yaml"], 3, is_classic),
        (&["--to", "prod"], 2, "error: no cluster prod: there is no .waxseal.yaml in the folder or above it, up to the root of its Git work tree\nhint: write one: `{version: 1, clusters: {prod: {keys: .waxseal/prod.yaml}}}`\n".to_owned()),
        (&["-r", "hunter2"], 2, "error: --recipient: not a recipient: expected \"age1pq1…\" or \"age1…\"\n".to_owned()),
    ] {
        folder.waxseal(&backup(recipients)).fails(code, &stderr);
    }
    let revoked = folder.read("recovery.yaml").replace("state: Active", "state: Revoked");
    folder.generate("second", &["--recovery"]);
    folder.write("both.yaml", format!("{revoked}---\n{}", folder.read("second.yaml")));
    let stderr = format!("error: both.yaml: {} is Revoked: nothing new is sealed to it\n", folder.key_id("recovery"));
    folder.waxseal(&backup(&["--keys", "both.yaml", "-r", &recovery])).fails(3, &stderr);
    let both = format!("{}---\n{}", folder.read("made/0.yaml"), folder.read("second.yaml"));
    folder.write("both.yaml", both);
    folder.waxseal(&backup(&["--keys", "both.yaml", "-r", &own])).fails(3, &format!("error: {not_recovery}"));
    let (code, said) =
        run(&folder, &backup(&["--keys", "both.yaml", "-r", &recovery]), &["keys.age", "keys/last-backup.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    for name in ["second", "recovery"] {
        let (from, key) = (format!("{name}.key"), folder.key_id(name));
        assert!(said.contains(&format!("sealed to {key} (")), "{said}");
        let restore = ["keys", "restore", "keys.age", "--identity", &from, "--keys-dir", "keys"];
        assert_eq!(run(&folder, &restore, &[]).0, Some(0));
    }
}

#[test]
fn a_backup_is_not_written_over_a_file_nor_without_identities_nor_into_a_missing_folder() {
    let (folder, _) = folder(&[KeyState::Active]);
    folder.write("keys.age", "other");
    folder.waxseal(&BACKUP).fails(3, "error: keys.age: exists already, and secrets are never written over a file\n");
    let backup = |output, keys| ["keys", "backup", "-o", output, "--keys", "recovery.yaml", "--keys-dir", keys];
    let stderr = "error: absent: no identity to back up, so no file was written\n";
    folder.waxseal(&backup("new.age", "absent")).fails(3, stderr);
    folder.waxseal(&backup("absent/new.age", "keys")).fails(1, "error: absent: no such file or folder\n");
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    let folder = Folder::new();
    let (code, said) =
        run(&folder, &["keys", "backup", "-o", "x.age", "--keys-dir", ".", "--context", "prod", "-r", "x"], &[]);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
    let (code, said) = run(&folder, &[&RESTORE[..], &["--no-wait"]].concat(), &[]);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
}

/// Everybody who knows the recipient of the recovery key can make a file that the recovery key opens.
#[test]
fn a_forged_backup_plants_no_key() {
    let (folder, _) = folder(&[]);
    forge(&folder, &forged_text(Timestamp::now()));
    folder.generate("other", &[]);
    let foreign = format!("sha256:{:064}", 0);
    for trust in [&[][..], &["--keys", "other.yaml"], &["--accept", &foreign]] {
        let (code, said) = run(&folder, &[&RESTORE[..], trust].concat(), &[]);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(" was not accepted: nothing was restored\n") && said.ends_with(NOT_PROVEN), "{said}");
        assert!(said.contains("which is listed in no keys file: sha256:"), "{said}");
        assert!(said.contains(" becomes the primary: new values are sealed to it\n"), "{said}");
        assert_eq!(keys_in(&folder, "new"), BTreeMap::new());
    }
}

#[test]
fn a_key_with_another_creation_time_than_in_the_keys_file_is_refused() {
    let (folder, ids) = folder(&[KeyState::Active]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    folder.write("prod.yaml", folder.made_at("made/0", "2020-01-01T00:00:00Z"));
    folder.waxseal(&[&RESTORE[..], &["--keys", "prod.yaml"]].concat()).fails(
        3,
        &format!(
            "error: prod.yaml: {} has another role or creation time in the backup\nhint: the role and the \
             creation time of a key never change: find out who changed the file or the backup\n",
            ids[0]
        ),
    );
}

#[test]
fn a_file_in_the_place_of_a_key_keeps_only_this_key_from_being_restored() {
    let (folder, ids) = folder(&[KeyState::Active, KeyState::Active]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    let (damaged, other) = (&ids[0], &ids[1]);
    folder.write(&format!("new/{damaged}.key"), "damaged\n");
    let restore = [&RESTORE[..], &["--keys", "made/0.yaml", "--keys", "made/1.yaml"]].concat();
    let (code, said) = run(&folder, &restore, &[&format!("new/{other}.key")]);
    let end = format!(
        "restored {other} to new/{other}.key\nerror: new/{damaged}.key: a file is there that cannot be used as {damaged}\n\
         hint: repair the file; or, if it does not hold this key, move it away, and run the command again\n"
    );
    assert!(code == Some(3) && said.ends_with(&end), "{said}");
    assert_eq!(folder.read(&format!("new/{damaged}.key")), "damaged\n");
}

/// Otherwise the controller would find Retired keys alone, and make a new key.
#[test]
fn without_an_active_key_no_retired_key_is_restored() {
    let (folder, ids) = folder(&[KeyState::Active, KeyState::Active, KeyState::Retired]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    let keys = ["made/0.yaml", "made/1.yaml", "made/2.yaml"].map(|file| ["--keys", file]).concat();
    for id in &ids[..2] {
        folder.write(&format!("new/{id}.key"), "damaged\n");
    }
    let (code, said) = run(&folder, &[&RESTORE[..], &keys].concat(), &[]);
    assert!(code == Some(3) && said.matches("error: new/").count() == 2 && !said.contains("restored"), "{said}");
}

#[test]
fn files_that_are_not_a_backup_are_refused() {
    let (folder, _) = folder(&[KeyState::Active]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    let good = folder.read("keys.age");
    folder.generate("stranger", &["--recovery"]);
    let restore = |identity| ["keys", "restore", "keys.age", "--identity", identity, "--keys-dir", "new", "--yes"];
    folder
        .waxseal(&restore("stranger.key"))
        .fails(3, "error: keys.age: it is encrypted to other keys, or its header was changed\n");
    let cut = |lines: usize| good.lines().take(lines).map(|line| format!("{line}\n")).collect::<String>();
    let end = "-----END AGE ENCRYPTED FILE-----\n";
    let lines = good.lines().count();
    for (file, said) in [
        (String::new(), "not a key backup: not encrypted with age"),
        ("hunter2".to_owned(), "not a key backup: not encrypted with age"),
        (cut(lines - 1), "not a key backup: its ASCII armour is damaged or cut off"),
        (cut(lines / 2) + end, "it was changed or cut off: a part of it does not decrypt"),
        (cut(10) + end, "not a key backup: not a whole age v1 file"),
        (
            String::from_utf8(protect("keys", "pass", Format::AsciiArmor)).expect("armour"),
            "not a key backup: it is encrypted with a passphrase and not to a key",
        ),
    ] {
        folder.write("keys.age", file);
        folder.bounded_waxseal(&restore("recovery.key")).fails(3, &format!("error: keys.age: {said}\n"));
    }
    let future = forged_text(Timestamp::now() + SignedDuration::from_hours(1));
    let hour = future.lines().find_map(|line| line.trim().strip_prefix("createdAt: ")).expect("a time").to_owned();
    let text = forged_text(Timestamp::now());
    let secret = &text[..text.find("---\n").expect("two documents")];
    let id = text.lines().filter_map(|line| line.trim().strip_prefix("name: ")).next_back().expect("a name").to_owned();
    for (text, said) in [
        ("hunter2".to_owned(), "its first line is not \"# waxseal key backup, version 1\"".to_owned()),
        (text.replacen('1', "2", 1), "it has a version that this waxseal does not know".to_owned()),
        ("# waxseal key backup, version 1\n".to_owned(), "no key in it".to_owned()),
        (
            format!("{text}---\napiVersion: v1\nkind: ConfigMap\n"),
            "it has an object that is neither an identity Secret nor a SealingKey".to_owned(),
        ),
        (secret.to_owned(), format!("{id} has no SealingKey with its role and creation time")),
        (
            format!("{text}---\n{}", folder.read("stranger.yaml")),
            format!("{} has a SealingKey, but no identity", folder.key_id("stranger")),
        ),
        (format!("{text}---\n{secret}"), format!("{id} is in it twice")),
        (
            future,
            format!(
                "the Secret first-sealing-key: the identity: its creation time, {}, is in the future",
                hour.trim_matches('"')
            ),
        ),
    ] {
        forge(&folder, &text);
        let stderr = format!("error: keys.age: its decrypted content is not a key backup: {said}\n");
        folder.bounded_waxseal(&restore("recovery.key")).fails(3, &stderr);
    }
    let recipient = Recipient::parse(&folder.recipient("recovery")).expect("a recipient");
    let file = EncryptedFile::seal(b"\xff", &[recipient], &mut randomness::system()).expect("a hybrid key");
    folder.write("keys.age", file.to_armour());
    let stderr = "error: keys.age: its decrypted content is not a key backup: not UTF-8\n";
    folder.waxseal(&restore("recovery.key")).fails(3, stderr);
    assert_eq!(keys_in(&folder, "new"), BTreeMap::new());
}

#[test]
fn a_large_hostile_backup_is_refused_in_little_time_and_memory() {
    let (folder, _) = folder(&[]);
    let text = forged_text(Timestamp::now());
    let documents = &text[text.find("apiVersion").expect("a manifest")..];
    for (added, said) in [
        (format!("---\n{documents}").repeat(2000), " is in it twice\n"),
        (
            format!("---\n{}\n", "a: ".to_owned() + &"[".repeat(1_000_000)),
            "its decrypted content is not a key backup: ",
        ),
        (format!("---\nkind: {}\n", "x".repeat(9_000_000)), "its decrypted content is not a key backup: "),
    ] {
        forge(&folder, &format!("{text}{added}"));
        let outcome = folder.bounded_waxseal(&RESTORE).finish();
        assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}

#[test]
fn a_recovery_key_with_a_passphrase_and_stdin_work() {
    let (folder, ids) = folder(&[KeyState::Active]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    folder.write("safe.key", protect(&folder.read("recovery.key"), "correct horse", Format::Binary));
    folder.write("pass", "correct horse\n");
    let restore = ["keys", "restore", "-", "--identity", "safe.key", "--passphrase-file", "pass", "--keys-dir", "new"];
    let restored = format!("new/{}.key", ids[0]);
    let arguments = [&restore[..], &["--yes", "--keys", "made/0.yaml"]].concat();
    let outcome = folder.waxseal(&arguments).stdin(folder.read("keys.age")).writes(&[&restored]).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    let twice = [&restore[..], &["--keys", "-"]].concat();
    folder.waxseal(&twice).fails(2, "error: `-` names stdin twice, and stdin can be read only once\n");
}

#[test]
fn restore_asks_at_the_terminal_for_each_unknown_key_and_for_the_whole() {
    let (folder, ids) = folder(&[KeyState::Active, KeyState::Retired]);
    run(&folder, &BACKUP, &["keys.age", "keys/last-backup.yaml"]);
    let unlisted = format!("Is {} your key? Type yes: ", folder.fingerprint("made/0"));
    let whole = "Restore 2 keys? Type yes: ";
    for (answers, end) in [("no\n", NOT_PROVEN), ("yes\nno\n", "error: new: not confirmed: nothing was changed\n")] {
        let shown = ask(&folder, answers);
        assert!(shown.contains(&unlisted) && shown.ends_with(end), "{shown}");
        assert!(!shown.contains(&format!("Is {} your key?", folder.fingerprint("made/1"))), "{shown}");
        assert_eq!(keys_in(&folder, "new"), BTreeMap::new());
    }
    let shown = ask(&folder, "yes\nyes\n");
    assert!(shown.contains(whole), "{shown}");
    assert_eq!(keys_in(&folder, "new").into_keys().collect::<Vec<_>>(), {
        let mut ids = ids;
        ids.sort();
        ids
    });
    let quiet = run(
        &folder,
        &[
            "keys",
            "restore",
            "keys.age",
            "--identity",
            "recovery.key",
            "--keys-dir",
            "other",
            "--keys",
            "made/1.yaml",
            "--accept",
            &folder.fingerprint("made/0"),
        ],
        &[],
    );
    let end = "error: other: nobody can be asked without a terminal\nhint: pass `--yes` if this is what you want\n";
    assert!(quiet.0 == Some(2) && quiet.1.ends_with(end), "{}", quiet.1);
}

/// Restores at a terminal, with a keys file that lists the second key; returns what the terminal shows.
fn ask(folder: &Folder, answers: &str) -> String {
    let restore = [&RESTORE[..RESTORE.len() - 1], &["--keys", "made/1.yaml"]].concat();
    with_answers(folder, &restore, answers).1
}

/// Looks at the file all the time, from its first moment.
#[test]
fn nobody_sees_a_half_written_backup() {
    let (folder, _) = folder(&[KeyState::Active; 12]);
    let path = folder.path().join("keys.age");
    for _ in 0..20 {
        let mut command = Command::new(program());
        folder.isolated(&mut command).args(BACKUP).stdin(Stdio::null()).stderr(Stdio::null());
        let mut backup = command.spawn().expect("waxseal starts");
        let seen = loop {
            match (backup.try_wait().expect("our child"), fs::read(&path)) {
                (_, Ok(seen)) => break seen,
                (None, Err(_)) => {}
                (Some(status), Err(error)) => panic!("{status}: {error}"),
            }
        };
        assert!(seen.ends_with(b"-----END AGE ENCRYPTED FILE-----\n"), "{} bytes", seen.len());
        assert!(backup.wait().expect("our child").success());
        fs::remove_file(&path).expect("it is there");
    }
}

#[test]
fn a_backup_beside_the_keys_is_refused() {
    let (folder, _) = folder(&[KeyState::Active]);
    let backup = ["keys", "backup", "-o", "x/../keys/x.key", "--keys", "recovery.yaml", "--keys-dir", "keys"];
    fs::create_dir(folder.path().join("x")).expect("a folder");
    let said = "error: x/../keys/x.key: is in the folder of the keys
hint: write the backup to another folder, and keep it on another machine
";
    folder.waxseal(&backup).fails(3, said);
}

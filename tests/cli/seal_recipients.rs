//! Recipients of `waxseal seal`: which it selects and lists, and which recipients and keys files it refuses.

use jiff::{SignedDuration, Timestamp};

use crate::configuration::assert_says;
use crate::folder::{Folder, HEAD, SECRET};

const NO_CLUSTER: &str = "error: no recipient is a key of a cluster, so no cluster could open the values
hint: pass the keys file of a cluster too
";

/// A folder with the keys `cluster`, `recovery` and `stranger`.
fn folder() -> Folder {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("stranger", &[]);
    folder
}

/// The time in this many seconds.
fn in_seconds(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).strftime("%FT%TZ").to_string()
}

#[test]
fn each_recipient_is_listed_with_its_role_and_source() {
    let folder = folder();
    folder.write("prod.yaml", format!("{}---\n{}", folder.read("cluster.yaml"), folder.read("recovery.yaml")));
    let [cluster, recovery, stranger] = ["cluster", "recovery", "stranger"].map(|name| folder.key_id(name));
    let recipient = folder.recipient("stranger");
    let said = format!(
        "sealed to {cluster} (Cluster, from prod.yaml)
sealed to {recovery} (Recovery, from prod.yaml)
sealed to {stranger} (from --recipient)
"
    );
    let seal = ["seal", "--keys", "prod.yaml", "--recipient", &recipient];
    let sealed = assert_says(folder.waxseal(&seal).stdin(SECRET), &said);
    assert!(sealed.contains("kind: SealedSecret"), "{sealed}");
    // Once for a run, also with several files.
    folder.write("a.yaml", SECRET);
    folder.write("b.yaml", SECRET);
    let run = folder.waxseal(&[&seal[..], &["a.yaml", "b.yaml", "--in-place"]].concat());
    assert_says(run.writes(&["a.yaml", "b.yaml"]), &format!("{said}sealed 2 Secrets in 2 files\n"));
}

#[test]
fn a_file_name_that_looks_like_the_keys_option_shows_as_a_source() {
    let folder = folder();
    folder.write("shop/db.yaml", SECRET);
    folder.write("shop/.x.yaml", folder.read("stranger.yaml"));
    let run = folder.waxseal(&["seal", "--keys", "cluster.yaml", "--in-place", "shop/db.yaml", "--keys=shop/.x.yaml"]);
    let (cluster, stranger) = (folder.key_id("cluster"), folder.key_id("stranger"));
    let said = format!(
        "sealed to {cluster} (Cluster, from cluster.yaml)\nsealed to {stranger} (Cluster, from shop/.x.yaml)\nsealed 1 \
         Secret in 1 file\n"
    );
    assert_says(run.writes(&["shop/db.yaml"]), &said);
}

#[test]
fn a_recipient_given_twice_is_listed_once() {
    let folder = folder();
    let recipient = folder.recipient("cluster");
    let seal = ["seal", "--keys", "cluster.yaml", "--keys", "./cluster.yaml", "--recipient", &recipient];
    let said = format!("sealed to {} (Cluster, from cluster.yaml)\n", folder.key_id("cluster"));
    assert_says(folder.waxseal(&seal).stdin(SECRET), &said);
}

#[test]
fn no_recipients_are_listed_if_nothing_was_sealed() {
    let folder = folder();
    let seal = |arguments: &[&str]| folder.waxseal(&[&["seal", "--keys", "cluster.yaml"], arguments].concat());
    let sealed = seal(&[]).stdin(SECRET).succeeds();
    assert_eq!(assert_says(seal(&[]).stdin(&sealed), ""), sealed);
    folder.write("apps/sealed.yaml", &sealed);
    folder.write("apps/other.yaml", "kind: ConfigMap\n");
    assert_says(seal(&["apps", "--in-place"]), "sealed 0 Secrets in 0 files, 1 already sealed\n");
    let outcome = seal(&[]).stdin("kind: ConfigMap\n").finish();
    assert_eq!(outcome.stderr, "error: <stdin>: no Secret in it\n");
    // Some Secrets are sealed and others are refused.
    folder.write("apps/bad.yaml", SECRET.replace("name: db, ", ""));
    folder.write("apps/db.yaml", SECRET);
    let outcome = seal(&["apps", "--in-place"]).writes(&["apps/db.yaml"]).finish();
    let said = format!(
        "sealed to {} (Cluster, from cluster.yaml)\nsealed 1 Secret in 1 file, 1 already sealed\nerror: \
         apps/bad.yaml:3:11: metadata: field \"name\" is missing\n",
        folder.key_id("cluster")
    );
    assert_eq!(outcome.stderr, said);
}

#[test]
fn hidden_characters_in_the_name_of_a_keys_file_are_escaped() {
    let folder = folder();
    let name = "a\nsealed to k0\u{202e}\u{1b}[2J.yaml";
    folder.write(name, folder.read("cluster.yaml"));
    let said = format!(
        "sealed to {} (Cluster, from a\\nsealed to k0\\u{{202e}}\\u{{1b}}[2J.yaml)\n",
        folder.key_id("cluster")
    );
    assert_says(folder.waxseal(&["seal", "--keys", name]).stdin(SECRET), &said);
}

#[test]
fn a_keys_file_with_a_creation_time_in_the_future_is_refused() {
    let folder = folder();
    let id = folder.key_id("stranger");
    let (far, near) = (in_seconds(3600), in_seconds(300));
    for (time, is_refused) in [("2999-01-01T00:00:00Z", true), (far.as_str(), true), (near.as_str(), false)] {
        let stranger = folder.made_at("stranger", time);
        for stranger in [stranger.clone(), stranger.replace("role: Cluster", "role: Recovery")] {
            folder.write("prod.yaml", format!("{}---\n{stranger}", folder.read("cluster.yaml")));
            let run = folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(SECRET);
            if is_refused {
                run.fails(
                    3,
                    &format!(
                        "error: prod.yaml: {id}: its creation time, {time}, is in the future
hint: such a key would stay the primary: find out who published it, or correct the clock
"
                    ),
                );
            } else {
                run.succeeds();
            }
        }
    }
}

#[test]
fn a_key_of_a_cluster_in_one_keys_file_is_one_in_all_and_contradictions_are_refused() {
    let folder = folder();
    let key = folder.read("cluster.yaml");
    folder.write("recovery-only.yaml", key.replace("role: Cluster", "role: Recovery"));
    let id = folder.key_id("cluster");
    for [first, second] in [["cluster.yaml", "recovery-only.yaml"], ["recovery-only.yaml", "cluster.yaml"]] {
        let said = format!("sealed to {id} (Cluster, from {first})\n");
        assert_says(folder.waxseal(&["seal", "--keys", first, "--keys", second]).stdin(SECRET), &said);
    }
    // A file that contradicts itself.
    folder.write("prod.yaml", format!("{key}---\n{}", key.replace("Active", "Retired")));
    let line = key.lines().count() + 2;
    let stderr = format!("error: prod.yaml:{line}:1: {id} was given before, with different contents\n");
    folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(SECRET).fails(3, &stderr);
}

#[test]
fn a_keys_file_of_two_clusters_seals_to_the_newest_key() {
    let folder = folder();
    let (older, newer) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let keys = [folder.made_at("cluster", newer), folder.made_at("stranger", older)];
    folder.write("prod.yaml", keys.join("---\n"));
    let said = format!("sealed to {} (Cluster, from prod.yaml)\n", folder.key_id("cluster"));
    assert_says(folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(SECRET), &said);
}

#[test]
fn no_recipients_is_an_error() {
    let folder = Folder::new();
    folder.waxseal(&["seal"]).stdin(HEAD).fails(
        2,
        "error: no recipients to seal to
hint: pass `--to CLUSTER`, `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`, or write rules \
         into .waxseal.yaml
",
    );
}

#[test]
fn an_invalid_keys_file_is_refused() {
    let folder = Folder::with_key();
    let seal = || folder.waxseal(&["seal", "--keys", "keys.yaml"]).stdin(HEAD);
    seal().fails(1, "error: keys.yaml: no such file or folder\n");
    let hint = "hint: a keys file is what `kubectl get sealingkeys -o yaml` prints\n";
    folder.write("keys.yaml", HEAD);
    seal().fails(3, &format!("error: keys.yaml:1:1: not a SealingKey\n{hint}"));
    folder.write("keys.yaml", "");
    seal().fails(3, &format!("error: keys.yaml: no SealingKey in it\n{hint}"));
    let line = folder.read("cluster.key").lines().position(|line| line.starts_with("AGE-")).expect("it") + 1;
    folder.waxseal(&["seal", "--keys", "cluster.key"]).stdin(HEAD).fails(
        3,
        &format!(
            "error: cluster.key:{line}:1: this is an identity, a private key
hint: `waxseal keys public --identity FILE` prints its SealingKey
"
        ),
    );
    let key = folder.read("cluster.yaml");
    folder.write("keys.yaml", key.replace("Active", "Retired"));
    let stderr = "error: keys.yaml: no Active key of a cluster in it
hint: fetch the keys again: `waxseal keys fetch -o FILE`. Without Kubernetes, start the controller: it makes a key and \
                  writes the file
";
    seal().fails(3, stderr);
    let recovery = key.replace("role: Cluster", "role: Recovery");
    folder.write("keys.yaml", &recovery);
    seal().fails(3, NO_CLUSTER);
    // Otherwise `seal` would leave out the recovery key in silence.
    folder.write("keys.yaml", recovery.replace("Active", "Retired"));
    folder.waxseal(&["seal", "--keys", "cluster.yaml", "--keys", "keys.yaml"]).stdin(HEAD).fails(
        3,
        "error: keys.yaml: no Active recovery key in it, and no key of a cluster
hint: add a recovery key to it: `waxseal keys public --identity IDENTITY_FILE --recovery` prints one
",
    );
    let id = folder.key_id("cluster");
    folder.write("keys.yaml", key.replace(&format!("name: {id}"), "name: k0000000000000000"));
    let stderr = format!("error: keys.yaml:4:9: metadata.name: must be {id}, the key id of its recipient\n");
    seal().fails(3, &stderr);
    folder.write("keys.yaml", key.replace("Active", "Revoked"));
    let recipient = folder.recipient("cluster");
    folder.generate("other", &[]);
    folder.write("keys.yaml", format!("{}---\n{}", folder.read("keys.yaml"), folder.read("other.yaml")));
    let seal = || folder.waxseal(&["seal", "--keys", "keys.yaml", "-r", &recipient]).stdin(HEAD);
    seal().fails(3, &format!("error: keys.yaml: {id} is Revoked: nothing new is sealed to it\n"));
    folder.write("keys.yaml", folder.read("keys.yaml").replace("Revoked", "Retired"));
    seal().fails(3, &format!("error: keys.yaml: {id} is Retired: nothing new is sealed to it\n"));
}

#[test]
fn a_recovery_key_that_only_one_cluster_retired_is_sealed_to() {
    let folder = folder();
    let recovery = folder.read("recovery.yaml");
    folder.write("prod.yaml", format!("{}---\n{recovery}", folder.read("cluster.yaml")));
    let retired = recovery.replace("Active", "Retired");
    folder.write("staging.yaml", format!("{}---\n{retired}", folder.read("stranger.yaml")));
    let [cluster, recovery, stranger] = ["cluster", "recovery", "stranger"].map(|name| folder.key_id(name));
    let said = format!(
        "sealed to {cluster} (Cluster, from prod.yaml)
sealed to {recovery} (Recovery, from prod.yaml)
sealed to {stranger} (Cluster, from staging.yaml)
"
    );
    assert_says(folder.waxseal(&["seal", "--keys", "prod.yaml", "--keys", "staging.yaml"]).stdin(SECRET), &said);
    folder.write("staging.yaml", folder.read("staging.yaml").replace("Retired", "Revoked"));
    let stderr = format!(
        "error: staging.yaml: {recovery} is Revoked: nothing new is sealed to it\nhint: prod.yaml says Active: correct it\n"
    );
    folder.waxseal(&["seal", "--keys", "prod.yaml", "--keys", "staging.yaml"]).stdin(SECRET).fails(3, &stderr);
}

/// The options name a stale keys file. The configuration names the present one, also for files that no rule matches.
#[test]
fn a_key_that_a_keys_file_of_the_configuration_revokes_or_retires_is_refused() {
    let folder = folder();
    let (key, id) = (folder.read("cluster.yaml"), folder.key_id("cluster"));
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: prod.yaml}}\n");
    folder.write("db.yaml", SECRET);
    assert_eq!(
        folder
            .waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml", "-o", "sealed.yaml"])
            .writes(&["sealed.yaml"])
            .finish()
            .status
            .code(),
        Some(0)
    );
    let recipient = folder.recipient("cluster");
    for state in ["Revoked", "Retired"] {
        folder.write("prod.yaml", key.replace("Active", state));
        let error = format!("error: prod.yaml: {id} is {state}: nothing new is sealed to it\n");
        let stale = format!("{error}hint: cluster.yaml says Active: correct it\n");
        folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml"]).fails(3, &stale);
        folder.waxseal(&["seal", "db.yaml", "-r", &recipient]).fails(3, &error);
        let set = ["set", "sealed.yaml", "B", "--keys", "cluster.yaml"];
        folder.waxseal(&set).stdin("a new value").fails(3, &stale);
    }
    folder.write("prod.yaml", key);
    folder.waxseal(&["set", "sealed.yaml", "B", "-r", &recipient]).stdin("a value").writes(&["sealed.yaml"]).finish();
}

#[test]
fn an_invalid_recipient_is_refused() {
    let folder = Folder::new();
    let seal = |recipient: &str| folder.waxseal(&["seal", "-r", recipient]).stdin(HEAD);
    let stderr = "error: --recipient: not a recipient: expected \"age1pq1…\" or \"age1…\"\n";
    seal("age1hunter2").fails(2, stderr);
    let stderr = "error: --recipient: this is an identity, a private key; a recipient begins with \"age1\"\n";
    seal("AGE-SECRET-KEY-1HUNTER2").fails(2, stderr);
}

#[test]
fn classic_keys_need_allow_classic() {
    let folder = Folder::with_key();
    folder.generate("classic", &["--classic"]);
    let (recipient, id) = (folder.recipient("classic"), folder.key_id("classic"));
    let stderr = format!(
        "error: {id} is a classic key (X25519), which a quantum computer will break
hint: pass `--allow-classic` if the values need no protection from a quantum computer
"
    );
    folder.waxseal(&["seal", "--keys", "classic.yaml"]).stdin(HEAD).fails(3, &stderr);
    folder.waxseal(&["seal", "-r", &recipient]).stdin(HEAD).fails(3, &stderr);
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml", "-r", &recipient, "--allow-classic"]).stdin(HEAD);
    seal.fails(3, "error: hybrid (\"age1pq1…\") and classic (\"age1…\") recipients cannot be mixed\n");
}

//! Whom `waxseal seal` seals to, what it says of that, and which keys files it refuses.

use std::time::{Duration, SystemTime};

use crate::folder::{Folder, Run};

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";

/// Ends with 0, and says exactly this.
#[track_caller]
fn assert_says(run: Run<'_>, stderr: &str) -> String {
    let outcome = run.finish();
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(0)));
    outcome.stdout
}

/// A folder with the keys of a cluster, a recovery key and a stranger.
fn folder() -> Folder {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("stranger", &[]);
    folder
}

/// A SealingKey of [`Folder::generate`] with another creation time.
fn made_at(folder: &Folder, name: &str, time: &str) -> String {
    let key = folder.read(&format!("{name}.yaml"));
    let line = key.lines().find(|line| line.contains("createdAt")).expect("a creation time").to_owned();
    key.replace(&line, &format!("  createdAt: \"{time}\""))
}

/// The time in so many seconds, as date(1) writes it.
fn in_seconds(seconds: u64) -> String {
    let then = SystemTime::now() + Duration::from_secs(seconds);
    let since = then.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let output = std::process::Command::new("date").args(["-u", "-d", &format!("@{since}"), "+%FT%TZ"]).output();
    String::from_utf8(output.expect("date runs").stdout).expect("ASCII").trim().to_owned()
}

#[test]
fn each_recipient_is_named_with_its_role_and_its_source() {
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
    // Once a run, however many files there are.
    folder.write("a.yaml", SECRET);
    folder.write("b.yaml", SECRET);
    let run = folder.waxseal(&[&seal[..], &["a.yaml", "b.yaml", "--in-place"]].concat());
    assert_says(run.writes(&["a.yaml", "b.yaml"]), &format!("{said}sealed 2 Secrets in 2 files\n"));
}

#[test]
fn a_keys_file_that_the_shell_made_an_option_is_named() {
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
fn a_recipient_that_is_given_twice_is_named_once() {
    let folder = folder();
    let recipient = folder.recipient("cluster");
    let seal = ["seal", "--keys", "cluster.yaml", "--keys", "./cluster.yaml", "--recipient", &recipient];
    let said = format!("sealed to {} (Cluster, from cluster.yaml)\n", folder.key_id("cluster"));
    assert_says(folder.waxseal(&seal).stdin(SECRET), &said);
}

#[test]
fn nobody_is_named_when_nothing_was_sealed() {
    let folder = folder();
    let seal = |arguments: &[&str]| folder.waxseal(&[&["seal", "--keys", "cluster.yaml"], arguments].concat());
    let sealed = seal(&[]).stdin(SECRET).succeeds();
    assert_eq!(assert_says(seal(&[]).stdin(&sealed), ""), sealed);
    folder.write("apps/sealed.yaml", &sealed);
    folder.write("apps/other.yaml", "kind: ConfigMap\n");
    assert_says(seal(&["apps", "--in-place"]), "sealed 0 Secrets in 0 files, 1 already sealed\n");
    let outcome = seal(&[]).stdin("kind: ConfigMap\n").finish();
    assert_eq!(outcome.stderr, "error: <stdin>: no Secret in it\n");
    // Some were sealed, and others were not.
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
fn the_name_of_a_keys_file_makes_no_line_and_turns_no_text() {
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
fn a_creation_time_in_the_future_is_refused() {
    let folder = folder();
    let id = folder.key_id("stranger");
    let (far, near) = (in_seconds(3600), in_seconds(300));
    for (time, is_refused) in [("2999-01-01T00:00:00Z", true), (far.as_str(), true), (near.as_str(), false)] {
        let stranger = made_at(&folder, "stranger", time);
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
fn keys_files_that_say_different_things_of_one_key() {
    let folder = folder();
    let key = folder.read("cluster.yaml");
    folder.write("recovery-only.yaml", key.replace("role: Cluster", "role: Recovery"));
    let id = folder.key_id("cluster");
    // The first file that knows the key says what it is.
    let said = format!("sealed to {id} (Cluster, from cluster.yaml)\n");
    let seal = ["seal", "--keys", "cluster.yaml", "--keys", "recovery-only.yaml"];
    assert_says(folder.waxseal(&seal).stdin(SECRET), &said);
    let seal = ["seal", "--keys", "recovery-only.yaml", "--keys", "cluster.yaml"];
    folder.waxseal(&seal).stdin(SECRET).fails(
        3,
        "error: only recovery keys to seal to: no cluster could open it\nhint: pass the keys file of a cluster too\n",
    );
    // One file contradicts itself.
    folder.write("prod.yaml", format!("{key}---\n{}", key.replace("Active", "Retired")));
    let line = key.lines().count() + 2;
    let stderr = format!("error: prod.yaml:{line}:1: {id} was given before, with different contents\n");
    folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(SECRET).fails(3, &stderr);
}

#[test]
fn of_two_clusters_in_one_file_the_newest_key_is_sealed_to() {
    let folder = folder();
    let (older, newer) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let keys = [made_at(&folder, "cluster", newer), made_at(&folder, "stranger", older)];
    folder.write("prod.yaml", keys.join("---\n"));
    let said = format!("sealed to {} (Cluster, from prod.yaml)\n", folder.key_id("cluster"));
    assert_says(folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(SECRET), &said);
}

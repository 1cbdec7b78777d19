//! `waxseal rotate` with a keys file that holds recovery keys alone.

use waxseal_tests::tampering::with_broken_wrap;

use crate::folder::{Folder, Run, envelope};
use crate::rotate::{NOTHING, ONE, assert_opens, ends, says, seal, wrap, write_keys};

/// A folder with the key of a cluster, and with two keys files of recovery keys alone: `recovery.yaml` from before a
/// new recovery key was made, and `offline.yaml` from afterwards. `db.yaml` is sealed to the cluster and to the old
/// recovery key, and `web.yaml` to the cluster alone.
fn folder() -> Folder {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("recovery2", &["--recovery"]);
    write_keys(&folder, "offline.yaml", &[("recovery", "Retired"), ("recovery2", "Active")]);
    folder.write("db.yaml", seal(&folder, "db", &["--keys", "cluster.yaml", "--keys", "recovery.yaml"]));
    folder.write("web.yaml", seal(&folder, "web", &["--keys", "cluster.yaml"]));
    folder
}

/// Runs `rotate` on `db.yaml` with the keys files of the cluster and of the recovery keys.
fn rotate<'a>(folder: &'a Folder, recovery: &str, options: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["rotate", "db.yaml", "--keys", "cluster.yaml", "--keys", recovery], options].concat())
}

/// How many wraps a file has for each of these keys.
#[track_caller]
fn wraps<const N: usize>(folder: &Folder, file: &str, keys: [&str; N]) -> [usize; N] {
    let text = folder.read(file);
    keys.map(|key| text.matches(&format!("{}: ", folder.key_id(key))).count())
}

#[test]
fn a_new_recovery_key_gets_wraps_where_an_old_one_has_them() {
    let folder = folder();
    says(rotate(&folder, "recovery.yaml", &["--check"]), "", "");
    let (id, new) = (envelope(&folder.read("db.yaml")), folder.key_id("recovery2"));
    let behind = format!("db.yaml:1: shop/db: Behind: envelope {id}: no wrap for {new}\n");
    let all = ["rotate", "db.yaml", "web.yaml", "--keys", "cluster.yaml", "--keys", "offline.yaml"];
    let run = folder.waxseal(&[&all[..], &["--check"]].concat());
    let stderr = "error: 1 of 2 SealedSecrets is not up to date\nhint: run `waxseal rotate` without `--check`\n";
    ends(run, 4, &behind, stderr);
    let added = folder.waxseal(&[&all[..], &["--identity", "recovery.key", "--identity", "cluster.key"]].concat());
    let stderr = format!("sealed to {new} (Recovery, from offline.yaml)\nchanged 1 of 2 SealedSecrets in 1 file\n");
    assert_eq!(added.writes(&["db.yaml"]).finish().stderr, stderr);
    assert_eq!(wraps(&folder, "db.yaml", ["cluster", "recovery", "recovery2"]), [1, 1, 1]);
    assert_opens(&folder, "db.yaml", "recovery2.key");
    says(folder.waxseal(&[&all[..], &["--check"]].concat()), "", "");
    let prune = ["--prune", "--identity", "recovery2.key"];
    says(rotate(&folder, "offline.yaml", &prune).writes(&["db.yaml"]), "", ONE);
    assert_eq!(wraps(&folder, "db.yaml", ["cluster", "recovery", "recovery2"]), [1, 0, 1]);
}

#[test]
fn resealed_values_open_with_the_recovery_keys_if_they_did_before() {
    let folder = folder();
    let set = folder.waxseal(&["set", "db.yaml", "B", "--keys", "cluster.yaml", "--keys", "recovery.yaml"]);
    set.stdin("another value").writes(&["db.yaml"]).warns("set B in shop/db\n");
    for (keys, identity, wanted) in [("recovery.yaml", "recovery", [1, 1, 0]), ("offline.yaml", "recovery2", [1, 0, 1])]
    {
        let reseal = ["--reseal", "--identity", "recovery.key"];
        says(rotate(&folder, keys, &reseal).writes(&["db.yaml"]), "", ONE);
        assert_eq!(wraps(&folder, "db.yaml", ["cluster", "recovery", "recovery2"]), wanted);
        assert_opens(&folder, "db.yaml", "cluster.key");
        assert_opens(&folder, "db.yaml", &format!("{identity}.key"));
    }
    let web = ["rotate", "web.yaml", "--keys", "cluster.yaml", "--keys", "offline.yaml"];
    let web = folder.waxseal(&[&web[..], &["--reseal", "--identity", "cluster.key"]].concat());
    says(web.writes(&["web.yaml"]), "", ONE);
    assert_eq!(wraps(&folder, "web.yaml", ["cluster", "recovery", "recovery2"]), [1, 0, 0]);
}

/// The holder of the recovery key must not get values that were not sealed to it.
#[test]
fn values_of_which_only_some_are_sealed_to_the_recovery_keys_are_not_resealed() {
    let folder = folder();
    let set = folder.waxseal(&["set", "web.yaml", "B", "--keys", "cluster.yaml", "--keys", "recovery.yaml"]);
    set.stdin("a value for both").writes(&["web.yaml"]).warns("set B in shop/web\n");
    let stderr = format!(
        "{NOTHING}error: web.yaml:1: shop/web: only some of its values are sealed to recovery keys of offline.yaml, and \
         resealing would seal all of them to these keys\nhint: set the values again with `waxseal set`, for the same \
         keys\n"
    );
    let all = ["rotate", "web.yaml", "--keys", "cluster.yaml", "--keys", "offline.yaml", "--identity", "cluster.key"];
    folder.waxseal(&[&all[..], &["--reseal"]].concat()).fails(3, &stderr);
    says(folder.waxseal(&all).writes(&["web.yaml"]), "", ONE);
    assert_eq!(wraps(&folder, "web.yaml", ["cluster", "recovery", "recovery2"]), [2, 1, 1]);
}

#[test]
fn a_recovery_key_that_a_cluster_lists_too_does_not_make_values_readable_for_the_cluster() {
    let folder = folder();
    folder.generate("staging", &[]);
    write_keys(&folder, "staging2.yaml", &[("staging", "Active"), ("recovery", "Active")]);
    let sealed = folder.read("db.yaml");
    for keys in [["staging2.yaml", "offline.yaml"], ["offline.yaml", "staging2.yaml"]] {
        folder.write("db.yaml", &sealed);
        let rotate = ["rotate", "db.yaml", "--keys", keys[0], "--keys", keys[1], "--identity", "recovery.key"];
        let foreign = "1 of 1 SealedSecret has no wrap for a cluster of the keys files, and gets none
hint: to add wraps for a cluster of .waxseal.yaml, pass `--to CLUSTER` and `--identity IDENTITY_FILE`
";
        let unknown = format!(
            "{NOTHING}{foreign}error: db.yaml:1: shop/db: sealed to {}, which is in none of the keys files
hint: name the keys files of all clusters and recovery keys that must open it. If the holder of this key must not, list the key in one of these files with `state: Revoked`
",
            folder.key_id("cluster")
        );
        folder.waxseal(&[&rotate[..], &["--reseal"]].concat()).fails(3, &unknown);
        says(folder.waxseal(&rotate).writes(&["db.yaml"]), "", &format!("{ONE}{foreign}"));
        assert_eq!(wraps(&folder, "db.yaml", ["cluster", "staging", "recovery", "recovery2"]), [1, 0, 1, 1]);
        // Staging still uses the old recovery key, so its wrap stays.
        let prune = folder.waxseal(&[&rotate[..], &["--prune"]].concat());
        says(prune, "", &format!("{NOTHING}{foreign}"));
    }
}

/// Everybody who can edit the file can add a wrap that does not open.
#[test]
fn a_broken_wrap_does_not_prove_that_a_value_is_for_the_recovery_keys() {
    let folder = folder();
    let recovery = folder.key_id("recovery");
    let broken = with_broken_wrap(&folder.read("db.yaml"), &recovery);
    folder.write("db.yaml", &broken);
    let id = envelope(&broken);
    let finding = format!("db.yaml:1: shop/db: WrapBroken: envelope {id}: the wrap for {recovery} is broken\n");
    let outcome = rotate(&folder, "offline.yaml", &["--identity", "cluster.key"]).finish();
    assert_eq!((outcome.stdout, outcome.status.code()), (finding, Some(0)));
    let refused = |keys: &str, option: &str| {
        format!(
            "{NOTHING}error: db.yaml:1: shop/db: envelope {id}: the wrap for {recovery} is broken, and no other wrap \
             shows that the values are meant for the recovery keys of {keys}\nhint: if the values are meant for the \
             recovery keys of {keys}, first run `waxseal rotate` on this file alone, with `{option}` instead of \
             `--reseal`; if they are not, remove this wrap\n"
        )
    };
    let reseal = ["--reseal", "--identity", "cluster.key"];
    for (keys, option) in [("offline.yaml", "--to CLUSTER"), ("recovery.yaml", "--replace-broken")] {
        rotate(&folder, keys, &reseal).fails(3, &refused(keys, option));
    }
    let replace = ["--replace-broken", "--identity", "cluster.key"];
    says(rotate(&folder, "recovery.yaml", &replace).writes(&["db.yaml"]), "", ONE);
    says(rotate(&folder, "recovery.yaml", &reseal).writes(&["db.yaml"]), "", ONE);
    assert_opens(&folder, "db.yaml", "recovery.key");
}

/// A pull request can take the wraps for a cluster out of a file.
#[test]
fn a_wrap_for_a_recovery_key_does_not_stand_for_a_cluster() {
    let folder = folder();
    let clusters = "{prod: {keys: cluster.yaml}, offline: {keys: offline.yaml}}";
    folder.write(".waxseal.yaml", format!("version: 1\nclusters: {clusters}\n"));
    let add = ["rotate", "web.yaml", "--identity", "cluster.key", "--to", "offline"];
    says(folder.waxseal(&add).writes(&["web.yaml"]), "", ONE);
    assert_opens(&folder, "web.yaml", "recovery2.key");
    says(folder.waxseal(&["rotate", "web.yaml", "--check"]), "", "");
    let text = folder.read("web.yaml");
    folder.write("web.yaml", text.replace(wrap(&text, &folder.key_id("cluster")), ""));
    let stderr = "error: 1 of 1 SealedSecret has no wrap for a cluster of the keys files\n\
                  hint: to add wraps for a cluster of .waxseal.yaml, pass `--to CLUSTER` and `--identity IDENTITY_FILE`\n";
    folder.waxseal(&["rotate", "web.yaml", "--check"]).fails(4, stderr);
}

#[test]
fn without_a_cluster_only_values_for_the_recovery_keys_get_wraps() {
    let folder = folder();
    let rotate = ["rotate", "db.yaml", "web.yaml", "--keys", "offline.yaml", "--identity", "recovery.key"];
    let stderr = "changed 1 of 2 SealedSecrets in 1 file
1 of 2 SealedSecrets has no wrap for a key of the keys files, and gets none
hint: to add wraps for a cluster of .waxseal.yaml, pass `--to CLUSTER` and `--identity IDENTITY_FILE`
";
    says(folder.waxseal(&rotate).writes(&["db.yaml"]), "", stderr);
    assert_opens(&folder, "db.yaml", "recovery2.key");
}

#[test]
fn a_recovery_key_that_another_keys_file_revokes_gets_no_wrap() {
    let folder = folder();
    write_keys(&folder, "prod.yaml", &[("cluster", "Active"), ("recovery", "Revoked")]);
    let stderr = format!(
        "error: prod.yaml: {} is Revoked: nothing new is sealed to it\nhint: recovery.yaml says Active: correct it\n",
        folder.key_id("recovery")
    );
    let rotate = ["rotate", "db.yaml", "--keys", "prod.yaml", "--keys", "recovery.yaml", "--identity", "cluster.key"];
    folder.waxseal(&[&rotate[..], &["--reseal"]].concat()).fails(3, &stderr);
}

/// The keys file of staging lists the recovery key, too. But the object is not sealed for staging.
#[test]
fn a_recovery_key_that_only_the_file_of_another_cluster_has_is_not_left_out() {
    let folder = folder();
    folder.generate("staging", &[]);
    write_keys(&folder, "prod.yaml", &[("cluster", "Active")]);
    write_keys(&folder, "staging.yaml", &[("staging", "Active"), ("recovery", "Active")]);
    let rotate = ["rotate", "db.yaml", "--keys", "prod.yaml", "--keys", "staging.yaml", "--identity", "recovery.key"];
    let stderr = format!(
        "{NOTHING}error: db.yaml:1: shop/db: sealed to {}, a recovery key that is only in the keys file of a cluster that the SealedSecret is \
         not sealed for\n\
         hint: name the keys files of all clusters and recovery keys that must open it. If the holder of this key must not, list the key in one of these files with `state: Revoked`\n",
        folder.key_id("recovery")
    );
    folder.waxseal(&[&rotate[..], &["--reseal"]].concat()).fails(3, &stderr);
    let with_recovery = [&rotate[..], &["--keys", "recovery.yaml", "--reseal"]].concat();
    says(folder.waxseal(&with_recovery).writes(&["db.yaml"]), "", ONE);
    assert_opens(&folder, "db.yaml", "recovery.key");
}

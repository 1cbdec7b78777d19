//! `waxseal rotate --reseal`, `--replace-broken` and `--prune`.

use waxseal_tests::tampering::with_broken_wrap;

use crate::folder::{Folder, changed_lines, data_of, envelope};
use crate::rotate::{
    NOTHING, ONE, OTHER, assert_opens, behind, check, ends, no_intact_wrap, rotate, rotated, says, seal, wrap,
    write_keys,
};

#[test]
fn values_for_a_revoked_key_are_exposed_until_they_are_resealed() {
    let folder = behind();
    write_keys(&folder, "keys.yaml", &[("old", "Revoked"), ("new", "Active"), ("recovery", "Active")]);
    let (before, old, new) = (folder.read("db.yaml"), folder.key_id("old"), folder.key_id("new"));
    let id = envelope(&before);
    let exposed = format!("db.yaml:1: shop/db: Exposed: envelope {id}: sealed to {old}, which is revoked\n");
    let behind = format!("db.yaml:1: shop/db: Behind: envelope {id}: no wrap for {new}\n");
    let waits = "1 of 1 SealedSecret is not up to date
hint: seal the values again with `--reseal`, and change the values: old copies of the file stay readable
";
    ends(check(&folder, "db.yaml"), 4, &format!("{exposed}{behind}"), &format!("error: {waits}"));
    for options in [&[][..], &["--prune"]] {
        folder.write("db.yaml", &before);
        says(rotate(&folder, "db.yaml", options).writes(&["db.yaml"]), &exposed, &format!("{ONE}{waits}"));
        assert!(folder.read("db.yaml").contains(&old), "the wrap shows what was exposed");
    }
    says(rotate(&folder, "db.yaml", &["--reseal"]).writes(&["db.yaml"]), "", ONE);
    let after = folder.read("db.yaml");
    assert!(!after.contains(&old) && envelope(&after) != id, "{after}");
    assert_opens(&folder, "db.yaml", "new.key");
    says(check(&folder, "db.yaml"), "", "");
}

#[test]
fn resealing_is_refused_if_a_keys_file_is_missing() {
    let folder = rotated();
    folder.generate("stranger", &[]);
    folder.write("db.yaml", seal(&folder, "db", &["--keys", "before.yaml", "--keys", "stranger.yaml"]));
    let stderr = format!(
        "{NOTHING}error: db.yaml:1: shop/db: sealed to {}, which is in none of the keys files
hint: name the keys files of all clusters and recovery keys that must open it. If the holder of this key must not, list the key in one of these files with `state: Revoked`
",
        folder.key_id("stranger")
    );
    rotate(&folder, "db.yaml", &["--reseal"]).fails(3, &stderr);
    says(rotate(&folder, "db.yaml", &[]).writes(&["db.yaml"]), "", ONE);
    let all = ["--keys", "stranger.yaml", "--reseal"];
    says(rotate(&folder, "db.yaml", &all).writes(&["db.yaml"]), "", ONE);
    for identity in ["new.key", "stranger.key", "recovery.key"] {
        assert_opens(&folder, "db.yaml", identity);
    }
}

/// Somebody who adds one value for another cluster must not get the other values.
#[test]
fn values_for_different_clusters_are_not_resealed() {
    let folder = behind();
    folder.generate("staging", &[]);
    let set = folder.waxseal(&["set", "db.yaml", "B", "--keys", "before.yaml", "--keys", "staging.yaml"]);
    set.stdin("a value for both").writes(&["db.yaml"]).warns("set B in shop/db\n");
    let stderr = format!(
        "{NOTHING}error: db.yaml:1: shop/db: its values are for different clusters, and resealing would give each \
         cluster all of them\nhint: set the values again with `waxseal set`, for the same clusters\n"
    );
    rotate(&folder, "db.yaml", &["--keys", "staging.yaml", "--reseal"]).fails(3, &stderr);
    says(rotate(&folder, "db.yaml", &["--keys", "staging.yaml"]).writes(&["db.yaml"]), "", ONE);
    let text = folder.read("db.yaml");
    assert_eq!(text.matches(&format!("{}: ", folder.key_id("staging"))).count(), 1);
    assert_eq!(text.matches(&format!("{}: ", folder.key_id("new"))).count(), 2);
}

#[test]
fn resealing_merges_all_envelopes_into_one_and_keeps_every_value() {
    let folder = behind();
    let set = folder.waxseal(&["set", "db.yaml", "B", "--keys", "before.yaml"]).stdin("another long value");
    set.writes(&["db.yaml"]).warns("set B in shop/db\n");
    let before = format!("# by hand\n{}---\n{OTHER}", folder.read("db.yaml"));
    folder.write("db.yaml", &before);
    says(rotate(&folder, "db.yaml", &["--reseal"]).writes(&["db.yaml"]), "", ONE);
    let after = folder.read("db.yaml");
    assert!(after.starts_with("# by hand\n") && after.ends_with(&format!("---\n{OTHER}")), "{after}");
    assert_eq!(after.matches("commitment: ").count(), 1);
    let opened = folder.waxseal(&["open", "db.yaml", "--identity", "new.key"]).succeeds();
    let data = data_of(&opened);
    assert_eq!((&data["A"][..], &data["B"][..]), (&b"a long value"[..], &b"another long value"[..]));
}

#[test]
fn a_file_whose_wrap_for_a_cluster_is_broken_is_resealed_as_the_hint_says() {
    let folder = behind();
    folder.generate("staging", &[]);
    folder.generate("staging-old", &[]);
    write_keys(&folder, "staging2.yaml", &[("staging-old", "Retired"), ("staging", "Active"), ("recovery", "Active")]);
    let clusters = "{prod: {keys: keys.yaml}, staging: {keys: staging2.yaml}}";
    folder.write(".waxseal.yaml", format!("version: 1\nclusters: {clusters}\n"));
    let sealed = folder.read("db.yaml");
    let good = wrap(&sealed, &folder.key_id("old")).to_owned();
    let rotate =
        |options: &[&str]| folder.waxseal(&[&["rotate", "db.yaml", "--identity", "recovery.key"], options].concat());
    for (broken, shown, option) in [
        (&["staging-old"][..], "staging-old", &["--to", "staging"][..]),
        (&["staging"], "staging", &["--replace-broken"]),
        (&["staging-old", "staging"], "staging", &["--replace-broken"]),
    ] {
        let planted: String =
            broken.iter().map(|key| good.replace(&folder.key_id("old"), &folder.key_id(key))).collect();
        folder.write("db.yaml", sealed.replace(&good, &format!("{good}{planted}")));
        let in_hint = option.join(" ").replace("staging", "CLUSTER");
        rotate(&["--reseal"]).fails(3, &no_intact_wrap(&envelope(&sealed), &folder.key_id(shown), &in_hint));
        assert_eq!(rotate(option).writes(&["db.yaml"]).finish().status.code(), Some(0));
        says(rotate(&["--reseal"]).writes(&["db.yaml"]), "", ONE);
        let text = folder.read("db.yaml");
        let has = |name: &str| text.matches(&format!("{}: ", folder.key_id(name))).count();
        assert_eq!(["new", "staging", "recovery", "old", "staging-old"].map(has), [1, 1, 1, 0, 0]);
    }
}

#[test]
fn a_reseal_that_opens_nothing_fails() {
    let folder = behind();
    folder.write("db.yaml", seal(&folder, "db", &["--keys", "old.yaml"]));
    let outcome = rotate(&folder, "db.yaml", &["--reseal"]).finish();
    let error = "error: 1 of 1 SealedSecret is not up to date
hint: this needs identities that open every value: the lines above say what is missing
";
    assert!(outcome.stderr.ends_with(error), "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("KeyMissing: the given identities do not open it\n"), "{}", outcome.stdout);
    assert_eq!(outcome.status.code(), Some(3));
}

#[test]
fn a_classic_envelope_needs_to_be_resealed_and_never_becomes_classic_again() {
    let folder = rotated();
    folder.generate("classic", &["--classic"]);
    folder.write("db.yaml", seal(&folder, "db", &["--keys", "classic.yaml", "--allow-classic"]));
    write_keys(&folder, "keys.yaml", &[("classic", "Retired"), ("new", "Active")]);
    let (id, new) = (envelope(&folder.read("db.yaml")), folder.key_id("new"));
    let rotate = ["rotate", "db.yaml", "--keys", "keys.yaml", "--identity", "classic.key"];
    let finding = format!("db.yaml:1: shop/db: NeedsReseal: envelope {id}: cannot get a wrap for {new}\n");
    let hint = "hint: seal the values again with `--reseal`\n";
    says(folder.waxseal(&rotate), &finding, &format!("{NOTHING}1 of 1 SealedSecret is not up to date\n{hint}"));
    let reseal = [&rotate[..], &["--reseal"]].concat();
    says(folder.waxseal(&reseal).writes(&["db.yaml"]), "", ONE);
    assert_opens(&folder, "db.yaml", "new.key");
    write_keys(&folder, "keys.yaml", &[("new", "Retired"), ("classic", "Active")]);
    let back = ["rotate", "db.yaml", "--keys", "keys.yaml", "--identity", "new.key", "--reseal"];
    let stderr = format!(
        "{NOTHING}error: db.yaml:1: shop/db: {} is a classic key (X25519), which a quantum computer will break
hint: put a hybrid key in its place: resealing never removes the post-quantum protection of a value
",
        folder.key_id("classic")
    );
    folder.waxseal(&back).fails(3, &stderr);
}

#[test]
fn a_broken_wrap_is_reported_and_replaced_only_on_request() {
    let folder = rotated();
    let sealed = seal(&folder, "db", &["--keys", "keys.yaml"]);
    let (id, new) = (envelope(&sealed), folder.key_id("new"));
    let broken = with_broken_wrap(&sealed, &new);
    folder.write("db.yaml", &broken);
    let finding = format!("db.yaml:1: shop/db: WrapBroken: envelope {id}: the wrap for {new} is broken\n");
    let hint = "hint: remove each broken wrap, or replace it with `--replace-broken` if the values are meant for its cluster\n";
    let stderr = format!("{NOTHING}1 of 1 SealedSecret is not up to date\n{hint}");
    says(rotate(&folder, "db.yaml", &[]), &finding, &stderr);
    says(rotate(&folder, "db.yaml", &["--replace-broken"]).writes(&["db.yaml"]), "", ONE);
    let after = folder.read("db.yaml");
    let (gone, added) = changed_lines(&broken, &after);
    assert_eq!((gone, added), (vec![wrap(&broken, &new)], vec![wrap(&after, &new)]));
    assert_opens(&folder, "db.yaml", "new.key");
    says(rotate(&folder, "db.yaml", &["--replace-broken"]), "", NOTHING);
}

#[test]
fn wraps_for_retired_keys_are_pruned_where_the_others_are_proven() {
    let folder = behind();
    let (before, old, new) = (folder.read("db.yaml"), folder.key_id("old"), folder.key_id("new"));
    says(rotate(&folder, "db.yaml", &["--prune"]).writes(&["db.yaml"]), "", ONE);
    let after = folder.read("db.yaml");
    assert_eq!(changed_lines(&before, &after), (vec![wrap(&before, &old)], vec![wrap(&after, &new)]));
    assert_opens(&folder, "db.yaml", "new.key");
    says(rotate(&folder, "db.yaml", &["--prune"]), "", NOTHING);
    let not_opened = "db.yaml:1: shop/db: KeyMissing: the given identities do not open it\n";
    let prune = ["rotate", "db.yaml", "--keys", "keys.yaml", "--identity", "old.key", "--prune"];
    let stderr = format!(
        "{NOTHING}error: 1 of 1 SealedSecret is not up to date\nhint: this needs identities that open every value: the \
         lines above say what is missing\n"
    );
    ends(folder.waxseal(&prune), 3, not_opened, &stderr);
    // A broken wrap for the recovery key: the old wrap may be the last one that opens.
    folder.write("db.yaml", with_broken_wrap(&before, &folder.key_id("recovery")));
    let outcome = folder.waxseal(&prune).writes(&["db.yaml"]).finish();
    assert!(outcome.stdout.contains(": WrapBroken: "), "{}", outcome.stdout);
    assert!(folder.read("db.yaml").contains(&old));
}

#[test]
fn wraps_for_a_key_that_another_cluster_uses_or_has_revoked_stay() {
    let folder = rotated();
    folder.generate("staging", &[]);
    folder.generate("shared", &["--recovery"]);
    write_keys(&folder, "prod.yaml", &[("shared", "Retired"), ("new", "Active"), ("recovery", "Active")]);
    let sealed = |folder: &Folder| {
        let to = ["--keys", "prod.yaml", "--keys", "staging.yaml", "--keys", "shared.yaml"];
        folder.write("db.yaml", seal(folder, "db", &to));
    };
    let prune = ["rotate", "db.yaml", "--keys", "prod.yaml", "--identity", "recovery.key", "--prune"];
    for state in ["Active", "Revoked"] {
        sealed(&folder);
        write_keys(&folder, "other.yaml", &[("shared", state), ("staging", "Active")]);
        let outcome = folder.waxseal(&[&prune[..], &["--keys", "other.yaml"]].concat()).finish();
        assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    }
    says(folder.waxseal(&prune).writes(&["db.yaml"]), "", ONE);
    assert!(!folder.read("db.yaml").contains(&folder.key_id("shared")));
}

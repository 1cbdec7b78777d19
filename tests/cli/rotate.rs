//! `waxseal rotate`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::folder::{Folder, HEAD, Run, SECRET, changed_lines, data_of, envelope, program};
use crate::input_files::as_ordinary_user;
use crate::terminal::Terminal;

pub(crate) const OTHER: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b} # by hand\n";
pub(crate) const NOTHING: &str = "changed 0 of 1 SealedSecret in 0 files\n";
pub(crate) const ONE: &str = "changed 1 of 1 SealedSecret in 1 file\n";

/// A SealingKey from [`Folder::generate`] with this state, made on this day of January 2026.
fn key(folder: &Folder, name: &str, state: &str, day: u32) -> String {
    let text = folder.made_at(name, &format!("2026-01-{day:02}T00:00:00Z"));
    text.replace("state: Active", &format!("state: {state}"))
}

/// Writes a keys file with these keys, each with its name and state. Each key is one day newer than the key before it.
pub(crate) fn write_keys(folder: &Folder, file: &str, keys: &[(&str, &str)]) {
    let days = keys.iter().zip(1..);
    let keys: Vec<_> = days.map(|((name, state), day)| key(folder, name, state, day)).collect();
    folder.write(file, keys.join("---\n"));
}

/// A folder with the keys of a cluster before and after its primary changed: `before.yaml` and `keys.yaml`.
pub(crate) fn rotated() -> Folder {
    let folder = Folder::new();
    folder.generate("old", &[]);
    folder.generate("new", &[]);
    folder.generate("recovery", &["--recovery"]);
    write_keys(&folder, "before.yaml", &[("old", "Active"), ("recovery", "Active")]);
    write_keys(&folder, "keys.yaml", &[("old", "Retired"), ("new", "Active"), ("recovery", "Active")]);
    folder
}

/// A folder as [`rotated`], and `db.yaml`, which is behind.
pub(crate) fn behind() -> Folder {
    let folder = rotated();
    folder.write("db.yaml", seal(&folder, "db", &["--keys", "before.yaml"]));
    folder
}

pub(crate) fn seal(folder: &Folder, name: &str, to: &[&str]) -> String {
    let secret = SECRET.replace("name: db", &format!("name: {name}"));
    folder.waxseal(&[&["seal"], to].concat()).stdin(secret).succeeds()
}

/// Runs `rotate` on a file or folder with the keys after the change and the identity of the recovery key.
pub(crate) fn rotate<'a>(folder: &'a Folder, path: &str, options: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["rotate", path, "--keys", "keys.yaml", "--identity", "recovery.key"], options].concat())
}

pub(crate) fn check<'a>(folder: &'a Folder, path: &str) -> Run<'a> {
    folder.waxseal(&["rotate", path, "--keys", "keys.yaml", "--check"])
}

/// The line of the wrap for a key.
pub(crate) fn wrap<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.split_inclusive('\n').find(|line| line.trim_start().starts_with(&format!("{key}: ")));
    line.expect("its wrap")
}

#[track_caller]
pub(crate) fn assert_opens(folder: &Folder, file: &str, identity: &str) {
    let opened = folder.waxseal(&["open", file, "--identity", identity]).succeeds();
    assert_eq!(data_of(&opened)["A"], b"a long value");
}

/// Checks that a run ends with 0 and has this result and these messages, apart from the recipients.
#[track_caller]
pub(crate) fn says(run: Run<'_>, stdout: &str, stderr: &str) {
    assert_eq!(run.warns(stderr), stdout);
}

/// Checks that a run ends with this code and has this result and these messages.
#[track_caller]
pub(crate) fn ends(run: Run<'_>, code: i32, stdout: &str, stderr: &str) {
    let outcome = run.finish();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (stdout, stderr));
    assert_eq!(outcome.status.code(), Some(code));
}

#[test]
fn a_file_that_is_behind_gets_a_line_for_each_wrap_that_it_lacks() {
    let folder = behind();
    let sealed = folder.read("db.yaml");
    let before = format!("# by hand\n{}---\n{OTHER}", sealed.replace("spec:\n", "spec: # not by hand\n"));
    for newline in ["\n", "\r\n"] {
        let before = before.replace('\n', newline);
        folder.write("db.yaml", &before);
        says(rotate(&folder, "db.yaml", &[]).writes(&["db.yaml"]), "", ONE);
        let after = folder.read("db.yaml");
        let (gone, new) = changed_lines(&before, &after);
        assert_eq!((gone.len(), new.len()), (0, 1), "{new:?}");
        assert!(new[0].starts_with(&format!("        {}: ", folder.key_id("new"))) && new[0].ends_with(newline));
        assert_opens(&folder, "db.yaml", "new.key");
        says(rotate(&folder, "db.yaml", &[]), "", NOTHING);
        says(check(&folder, "db.yaml"), "", "");
    }
}

#[test]
fn json_and_lists_get_wraps_too() {
    let folder = rotated();
    let json = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop"},"stringData":{"A":"a long value"}}"#;
    let list = format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{json},{}]}}", json.replace("db", "web"));
    for (secret, number) in [(json, 1), (&list, 2)] {
        folder.write("db.json", folder.waxseal(&["seal", "--keys", "before.yaml"]).stdin(secret).succeeds());
        let objects = if number == 1 { "SealedSecret" } else { "SealedSecrets" };
        let says_so = format!("changed {number} of {number} {objects} in 1 file\n");
        says(rotate(&folder, "db.json", &[]).writes(&["db.json"]), "", &says_so);
        let text = folder.read("db.json");
        assert_eq!(text.matches(&folder.key_id("new")).count(), number);
        let _json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let open = folder.waxseal(&["open", "db.json", "--identity", "new.key"]).succeeds();
        assert_eq!(open.matches("YSBsb25nIHZhbHVl").count(), number);
    }
}

#[test]
fn a_check_ends_with_4_and_changes_nothing() {
    let folder = behind();
    folder.write("new.yaml.d/new.yaml", seal(&folder, "new", &["--keys", "keys.yaml"]));
    let (envelope, new) = (envelope(&folder.read("db.yaml")), folder.key_id("new"));
    let run = folder.waxseal(&["rotate", "db.yaml", "new.yaml.d", "--keys", "keys.yaml", "--check"]);
    let stderr = "error: 1 of 2 SealedSecrets is not up to date\nhint: run `waxseal rotate` without `--check`\n";
    ends(run, 4, &format!("db.yaml:1: shop/db: Behind: envelope {envelope}: no wrap for {new}\n"), stderr);
    let run = folder.waxseal(&["rotate", "db.yaml", "--keys", "keys.yaml", "--check", "--format", "json"]).finish();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let message = format!("envelope {envelope}: no wrap for {new}");
    let expected = serde_json::json!([{
        "place": "db.yaml:1", "namespace": "shop", "name": "db",
        "findings": [{"reason": "Behind", "message": message}],
    }]);
    assert_eq!((report, run.status.code()), (expected, Some(4)));
    says(check(&folder, "new.yaml.d"), "", "");
    says(folder.waxseal(&["rotate", "new.yaml.d", "--keys", "keys.yaml", "--check", "--format", "json"]), "[]\n", "");
}

/// Otherwise staging could open the values of production.
#[test]
fn an_envelope_for_one_cluster_gets_no_wrap_for_another() {
    let folder = rotated();
    folder.generate("staging", &[]);
    folder.generate("recovery2", &["--recovery"]);
    let recovery = [("recovery", "Active"), ("recovery2", "Active")];
    write_keys(&folder, "keys.yaml", &[&[("old", "Retired"), ("new", "Active")][..], &recovery].concat());
    write_keys(&folder, "staging2.yaml", &[&[("staging", "Active")][..], &recovery].concat());
    let sealed = seal(&folder, "db", &["--keys", "before.yaml"]);
    for keys in [["keys.yaml", "staging2.yaml"], ["staging2.yaml", "keys.yaml"]] {
        folder.write("db.yaml", &sealed);
        let rotate = ["rotate", "db.yaml", "--keys", keys[0], "--keys", keys[1], "--identity", "recovery.key"];
        says(folder.waxseal(&rotate).writes(&["db.yaml"]), "", ONE);
        let text = folder.read("db.yaml");
        let has = |name: &str| text.matches(&format!("{}: ", folder.key_id(name))).count();
        assert_eq!(["old", "new", "recovery", "recovery2", "staging"].map(has), [1, 1, 1, 1, 0]);
        says(folder.waxseal(&rotate), "", NOTHING);
    }
    folder.write("db.yaml", &sealed);
    let rotate = ["rotate", "db.yaml", "--keys", "staging2.yaml", "--identity", "recovery.key"];
    let foreign = "1 of 1 SealedSecret has no wrap for a cluster of the keys files, and gets none
hint: to add wraps for a cluster of .waxseal.yaml, pass `--to CLUSTER` and `--identity IDENTITY_FILE`
";
    says(folder.waxseal(&rotate), "", &format!("{NOTHING}{foreign}"));
    says(folder.waxseal(&[&rotate[..], &["--reseal"]].concat()), "", &format!("{NOTHING}{foreign}"));
    says(
        folder.waxseal(&["rotate", "db.yaml", "--keys", "staging2.yaml", "--check"]),
        "",
        &foreign.replace(", and gets none", ""),
    );
}

/// Everybody who can edit the file can add a wrap that does not open.
#[test]
fn clusters_that_together_want_too_many_wraps_get_those_that_fit() {
    let folder = behind();
    folder.generate("two", &[]);
    folder.generate("two-new", &[]);
    write_keys(&folder, "two-before.yaml", &[("two", "Active")]);
    write_keys(&folder, "two.yaml", &[("two", "Retired"), ("two-new", "Active")]);
    let others: Vec<_> = (0..12).map(|n| format!("other-{n}")).collect();
    others.iter().for_each(|name| folder.generate(name, &[]));
    let others: Vec<_> = others.iter().map(|name| format!("--recipient={}", folder.recipient(name))).collect();
    let options = ["--keys", "before.yaml", "--keys", "two-before.yaml"].into_iter();
    let options: Vec<_> = options.chain(others.iter().map(String::as_str)).collect();
    let sealed = seal(&folder, "db", &options);
    folder.write("db.yaml", &sealed);
    let run = rotate(&folder, "db.yaml", &["--keys", "two.yaml"]).writes(&["db.yaml"]);
    let left_out = folder.key_id("two-new");
    let finding =
        format!("db.yaml:1: shop/db: NeedsReseal: envelope {}: cannot get a wrap for {left_out}\n", envelope(&sealed));
    let unready = "1 of 1 SealedSecret is not up to date\nhint: seal the values again with `--reseal`\n";
    says(run, &finding, &format!("{ONE}{unready}"));
}

#[test]
fn a_broken_wrap_does_not_prove_that_a_value_is_for_its_cluster() {
    let folder = behind();
    folder.generate("staging", &[]);
    folder.generate("staging-old", &[]);
    write_keys(&folder, "staging2.yaml", &[("staging-old", "Retired"), ("staging", "Active"), ("recovery", "Active")]);
    let sealed = folder.read("db.yaml");
    let (envelope, staging_old) = (envelope(&sealed), folder.key_id("staging-old"));
    let good = wrap(&sealed, &folder.key_id("old")).to_owned();
    let planted = sealed.replace(&good, &format!("{good}{}", good.replace(&folder.key_id("old"), &staging_old)));
    folder.write("db.yaml", &planted);
    let both = |options: &[&str]| {
        let rotate =
            ["rotate", "db.yaml", "--keys", "keys.yaml", "--keys", "staging2.yaml", "--identity", "recovery.key"];
        folder.waxseal(&[&rotate[..], options].concat())
    };
    let broken = format!("db.yaml:1: shop/db: WrapBroken: envelope {envelope}: the wrap for {staging_old} is broken\n");
    let hint = "hint: remove each broken wrap, or replace it with `--replace-broken` if the values are meant for its cluster\n";
    let stderr = format!("{ONE}1 of 1 SealedSecret is not up to date\n{hint}");
    says(both(&[]).writes(&["db.yaml"]), &broken, &stderr);
    let text = folder.read("db.yaml");
    assert!(
        text.contains(&folder.key_id("new")) && !text.contains(&format!("{}: ", folder.key_id("staging"))),
        "{text}"
    );
    both(&["--reseal"]).fails(3, &no_intact_wrap(&envelope, &staging_old, "--to CLUSTER"));
}

/// The messages of `--reseal` if all wraps for a cluster are broken. The hint names the option that makes a new wrap.
pub(crate) fn no_intact_wrap(envelope: &str, key: &str, option: &str) -> String {
    format!(
        "{NOTHING}error: db.yaml:1: shop/db: envelope {envelope}: the wrap for {key} is broken, and no other wrap \
         shows that the values are meant for this key's cluster\nhint: if the values are meant for this key's \
         cluster, first run `waxseal rotate` on this file alone, with `{option}` instead of `--reseal`; if they are \
         not, remove this wrap\n"
    )
}

/// A pull request can take the wraps for a cluster out of a file.
#[test]
fn a_file_that_no_cluster_of_the_configuration_opens_is_found_by_check() {
    let folder = behind();
    folder.generate("staging", &[]);
    folder.write(".waxseal.yaml", "version: 1\nclusters: {staging: {keys: staging.yaml}}\n");
    let foreign = "1 of 1 SealedSecret has no wrap for a cluster of the keys files";
    let hint =
        "hint: to add wraps for a cluster of .waxseal.yaml, pass `--to CLUSTER` and `--identity IDENTITY_FILE`\n";
    folder.waxseal(&["rotate", "db.yaml", "--check"]).fails(4, &format!("error: {foreign}\n{hint}"));
    says(
        folder.waxseal(&["rotate", "db.yaml", "--identity", "recovery.key"]),
        "",
        &format!("{NOTHING}{foreign}, and gets none\n{hint}"),
    );
    let check = ["rotate", "db.yaml", "--check", "--keys", "staging.yaml"];
    says(folder.waxseal(&check), "", &format!("{foreign}\n{hint}"));
}

/// A pull request can replace one of several values, sealed to a key of its author alone.
#[test]
fn a_file_whose_values_are_for_different_clusters_is_found_by_check() {
    let folder = Folder::new();
    ["prod", "staging", "stranger"].iter().for_each(|name| folder.generate(name, &[]));
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: prod.yaml}, staging: {keys: staging.yaml}}\n");
    let secret = format!("{HEAD}stringData: {{A: a long value, B: another value}}\n");
    let sealed = folder.waxseal(&["seal", "--to", "prod"]).stdin(secret).succeeds();
    let finding = "db.yaml:1: shop/db: KeyMissing: no cluster of the keys files has a wrap for each of its values, so none of them opens it\n";
    for other in ["staging.yaml", "stranger.yaml"] {
        folder.write("db.yaml", &sealed);
        let set = ["set", "db.yaml", "B", "--keys", other, "--drop-cluster", "prod"];
        folder.waxseal(&set).stdin("x").writes(&["db.yaml"]).warns("set B in shop/db\n");
        let checked = folder.waxseal(&["rotate", "db.yaml", "--check"]).finish();
        assert_eq!((checked.stdout.as_str(), checked.status.code()), (finding, Some(4)), "{}", checked.stderr);
    }
    // Each of them opens all values.
    let values = ["--from-literal", "A=x", "--from-literal", "B=y"];
    let both =
        [&["set", "db.yaml", "--to", "prod", "--to", "staging", "--keys", "stranger.yaml"], &values[..]].concat();
    let outcome = folder.waxseal(&both).writes(&["db.yaml"]).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    folder.waxseal(&["rotate", "db.yaml", "--check"]).prints("");
}

/// A pull request can delete the keys file that says which wraps are missing.
#[test]
fn a_cluster_without_a_keys_file_is_refused() {
    let folder = behind();
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: prod.yaml}, new: {keys: new.yaml}}\n");
    let stderr = "error: prod.yaml: the cluster prod has no keys file yet\nhint: run `waxseal keys fetch prod`\n";
    for arguments in [&["--check"][..], &["--identity", "recovery.key"]] {
        folder.waxseal(&[&["rotate", "db.yaml"], arguments].concat()).fails(3, stderr);
    }
}

#[test]
fn an_object_that_the_identity_does_not_open_waits_and_the_others_are_done() {
    let folder = behind();
    folder.write("apps/a.yaml", seal(&folder, "a", &["--keys", "old.yaml"]));
    folder.write("apps/b.yaml", folder.read("db.yaml"));
    let (envelope, new, recovery) =
        (envelope(&folder.read("apps/a.yaml")), folder.key_id("new"), folder.key_id("recovery"));
    let place = "apps/a.yaml:1: shop/a";
    let mut keys = [new, recovery];
    keys.sort();
    let findings: String =
        keys.iter().map(|key| format!("{place}: Behind: envelope {envelope}: no wrap for {key}\n")).collect();
    let stdout = format!("{findings}{place}: KeyMissing: the given identities do not open it\n");
    let stderr = "changed 1 of 2 SealedSecrets in 1 file\n1 of 2 SealedSecrets is not up to date\n";
    says(rotate(&folder, "apps", &[]).writes(&["apps/b.yaml"]), &stdout, stderr);
    // `--reseal` must open every object, so it also names an object that has all wraps and does not open.
    let run = folder.waxseal(&["rotate", "apps", "--keys", "old.yaml", "--identity", "recovery.key", "--reseal"]);
    let outcome = run.finish();
    assert!(outcome.stdout.contains("apps/a.yaml:1: shop/a: KeyMissing: "), "{}", outcome.stdout);
}

/// Otherwise an attacker could copy the envelope of another object into an object of his own, and get a wrap for it.
#[test]
fn an_envelope_that_was_copied_into_another_object_gets_no_wrap() {
    let folder = behind();
    let good = folder.read("db.yaml");
    folder.write("db.yaml", format!("{}---\n{good}", good.replace("name: db", "name: evil")));
    let stderr = "changed 1 of 2 SealedSecrets in 1 file
error: db.yaml:1: shop/evil: Unreadable: spec.encryptedData.A: does not open: it was changed, or sealed for another place
";
    rotate(&folder, "db.yaml", &[]).writes(&["db.yaml"]).fails(3, stderr);
    let text = folder.read("db.yaml");
    let (evil, good) = text.split_once("---\n").expect("two documents");
    assert!(!evil.contains(&folder.key_id("new")) && good.contains(&folder.key_id("new")), "{text}");
}

#[test]
fn only_the_files_that_are_behind_are_written() {
    let folder = rotated();
    for number in 0..198 {
        let secret = SECRET.replace("name: db", &format!("name: n{number}"));
        folder.write(&format!("apps/{number}.yaml"), secret);
    }
    let sealed = folder.waxseal(&["seal", "apps", "--in-place", "--keys", "keys.yaml"]);
    let names: Vec<_> = (0..198).map(|number| format!("apps/{number}.yaml")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    sealed.writes(&names).warns("sealed 198 Secrets in 198 files\n");
    for name in ["a", "b"] {
        folder.write(&format!("apps/{name}.yaml"), seal(&folder, name, &["--keys", "before.yaml"]));
    }
    let stamps = || {
        let stamp = |name: &&str| {
            let file = fs::metadata(folder.path().join(name)).expect("a file");
            (file.ino(), file.mtime(), file.mtime_nsec())
        };
        names.iter().map(stamp).collect::<Vec<_>>()
    };
    let before = stamps();
    let run = rotate(&folder, "apps", &[]).writes(&["apps/a.yaml", "apps/b.yaml"]);
    says(run, "", "changed 2 of 200 SealedSecrets in 2 files\n");
    assert_eq!(stamps(), before);
}

#[test]
fn a_file_that_cannot_be_changed_is_named_and_the_others_are_done() {
    let folder = behind();
    for name in ["apps/a.yaml", "apps/closed/db.yaml", "apps/z.yaml"] {
        folder.write(name, folder.read("db.yaml"));
    }
    folder.write("apps/bad.yaml", folder.read("db.yaml").replace("spec:", "sepc:"));
    let before = folder.read("db.yaml");
    let mut command = as_ordinary_user(&folder);
    let closed = folder.path().join("apps/closed");
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).expect("ours");
    command.args(["rotate", "apps", "--keys", "keys.yaml", "--identity", "recovery.key"]);
    let output = command.output().expect("waxseal runs");
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("ours");
    let stderr = format!(
        "sealed to {} (Cluster, from keys.yaml)
changed 2 of 3 SealedSecrets in 2 files
error: apps/bad.yaml:6:1: unknown field \"sepc\"
hint: did you mean \"spec\"?
error: apps/closed/db.yaml: failed to write it: permission denied
",
        folder.key_id("new")
    );
    assert_eq!((String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code()), (stderr, Some(1)));
    assert_eq!(folder.read("apps/closed/db.yaml"), before);
    assert_eq!(fs::read_dir(closed).expect("a folder").count(), 1);
    for name in ["apps/a.yaml", "apps/z.yaml"] {
        assert!(folder.read(name).contains(&folder.key_id("new")), "{name}");
    }
}

#[test]
fn each_file_is_changed_once_and_links_out_of_a_folder_are_left_out() {
    let folder = behind();
    folder.write("apps/db.yaml", folder.read("db.yaml"));
    folder.write("apps/copy.yaml", folder.read("db.yaml"));
    symlink("db.yaml", folder.path().join("apps/again.yaml")).expect("a link");
    symlink("../db.yaml", folder.path().join("apps/out.yaml")).expect("a link");
    folder.write("apps/.git/db.yaml", folder.read("db.yaml"));
    symlink(".git/db.yaml", folder.path().join("apps/into.yaml")).expect("a link");
    fs::hard_link(folder.path().join("db.yaml"), folder.path().join("apps/hard.yaml")).expect("a link");
    let rotate = ["rotate", "apps", "apps/db.yaml", "--keys", "keys.yaml", "--identity", "recovery.key"];
    let run = folder.waxseal(&rotate).writes(&["apps/again.yaml", "apps/copy.yaml", "apps/db.yaml"]);
    let stderr = "warning: apps/into.yaml: left out, because it is a link that leads out of apps or into `.git`
warning: apps/out.yaml: left out, because it is a link that leads out of apps or into `.git`
changed 2 of 2 SealedSecrets in 2 files
error: apps/hard.yaml: has a second name, a hard link, which can lead out of the folder
hint: name the file itself, or make a copy
";
    run.fails(3, stderr);
    assert!(folder.path().join("apps/again.yaml").is_symlink());
    assert_eq!(folder.read("apps/db.yaml").matches(&format!("{}: ", folder.key_id("new"))).count(), 1);
}

#[test]
fn another_name_of_the_file_keeps_the_text_from_before_and_is_warned_of() {
    let folder = behind();
    let before = folder.read("db.yaml");
    fs::hard_link(folder.path().join("db.yaml"), folder.path().join("again.yaml")).expect("a link");
    let stderr =
        format!("warning: db.yaml: another name of the file, a hard link, still leads to the text from before\n{ONE}");
    assert_eq!(rotate(&folder, "db.yaml", &[]).writes(&["db.yaml"]).warns(&stderr), "");
    assert_eq!(folder.read("again.yaml"), before);
}

#[test]
fn a_link_out_of_a_work_tree_is_refused() {
    let folder = behind();
    folder.git(&["init", "--quiet", "tree"]);
    symlink("../db.yaml", folder.path().join("tree/db.yaml")).expect("a link");
    let stderr = format!(
        "{NOTHING}error: tree/db.yaml: is a symbolic link that does not lead to a file of its Git work tree
hint: nothing is written through it: name the file or folder that it leads to
"
    );
    rotate(&folder, "tree/db.yaml", &[]).fails(3, &stderr);
    folder.write("apps/db.yaml", folder.read("db.yaml"));
    symlink("../apps", folder.path().join("tree/apps")).expect("a link");
    let stderr = "error: tree/apps: is a symbolic link that does not lead to a file of its Git work tree
hint: nothing is written through it: name the file or folder that it leads to
";
    rotate(&folder, "tree/apps", &[]).fails(3, stderr);
}

#[test]
fn the_keys_that_got_a_wrap_are_named_once() {
    let folder = behind();
    folder.write("web.yaml", seal(&folder, "web", &["--keys", "before.yaml"]));
    let line = |name: &str, role: &str| format!("sealed to {} ({role}, from keys.yaml)\n", folder.key_id(name));
    let run = |options: &[&str]| {
        let rotate = ["rotate", "db.yaml", "web.yaml", "--keys", "keys.yaml", "--identity", "recovery.key"];
        folder.waxseal(&[&rotate[..], options].concat()).writes(&["db.yaml", "web.yaml"]).finish().stderr
    };
    let changed = "changed 2 of 2 SealedSecrets in 2 files\n";
    assert_eq!(run(&[]), format!("{}{changed}", line("new", "Cluster")));
    let mut lines = [line("new", "Cluster"), line("recovery", "Recovery")];
    lines.sort();
    assert_eq!(run(&["--reseal"]), format!("{}{changed}", lines.concat()));
}

#[test]
fn invalid_arguments_are_refused() {
    let folder = behind();
    for options in [
        &["rotate", "db.yaml", "--identity", "recovery.key"][..],
        &["rotate", "--keys", "keys.yaml", "--check"],
        &["rotate", "db.yaml", "--keys", "keys.yaml", "--check", "--identity", "recovery.key"],
        &["rotate", "db.yaml", "--keys", "keys.yaml", "--offers", "db.yaml", "--identity", "recovery.key"],
        &["rotate", "db.yaml", "--keys", "keys.yaml", "--offers", "db.yaml", "--reseal"],
        &["rotate", "db.yaml", "--keys", "keys.yaml", "--check", "--prune"],
        &["rotate", "db.yaml", "--to", "prod", "--context", "prod"],
        &["rotate", "db.yaml", "--to", "prod", "--check"],
        &["rotate", "db.yaml", "--to", "prod", "--offers", "db.yaml"],
        &["rotate", "db.yaml", "--keys", "keys.yaml", "--identity", "recovery.key", "--prune", "--reseal"],
        &["rotate", "db.yaml", "--keys", "keys.yaml", "--identity", "recovery.key", "--prune", "--replace-broken"],
    ] {
        let outcome = folder.waxseal(options).finish();
        assert_eq!(outcome.status.code(), Some(2), "{options:?}: {}", outcome.stderr);
    }
    rotate(&folder, "-", &[]).fails(2, "error: `-` is stdin, and this command changes files\n");
    let twice = ["rotate", "db.yaml", "--keys", "-", "--offers", "-"];
    let stderr = "error: `-` names stdin twice, and stdin can be read only once\n";
    folder.waxseal(&twice).stdin(folder.read("keys.yaml")).fails(2, stderr);
}

#[test]
fn keys_files_without_a_primary_are_refused() {
    let folder = behind();
    let check_with = |file| folder.waxseal(&["rotate", "db.yaml", "--keys", file, "--check"]);
    let no_active_key = |keys: &str| {
        format!(
            "error: revoked.yaml: no Active key of a cluster in it\nhint: fetch the keys again: `waxseal keys fetch \
             {keys}`. Without Kubernetes, start the controller: it makes a key and writes the file\n"
        )
    };
    write_keys(&folder, "revoked.yaml", &[("old", "Revoked"), ("recovery", "Active")]);
    check_with("revoked.yaml").fails(3, &no_active_key("-o FILE"));
    folder.write(".waxseal.yaml", "version: 1\nclusters: {prod: {keys: revoked.yaml}}\n");
    folder.waxseal(&["rotate", "db.yaml", "--check"]).fails(3, &no_active_key("prod"));
    for state in ["Retired", "Revoked"] {
        write_keys(&folder, "recovery2.yaml", &[("recovery", state)]);
        let stderr = "error: recovery2.yaml: no Active recovery key in it, and no key of a cluster\nhint: add a recovery \
                      key to it: `waxseal keys public --identity IDENTITY_FILE --recovery` prints one\n";
        check_with("recovery2.yaml").fails(3, stderr);
    }
    folder.write("future.yaml", key(&folder, "new", "Active", 1).replace("2026", "2999"));
    let outcome = folder.waxseal(&["rotate", "db.yaml", "--keys", "future.yaml", "--check"]).finish();
    assert!(outcome.stderr.contains("is in the future") && outcome.status.code() == Some(3), "{}", outcome.stderr);
}

#[test]
fn inputs_without_a_sealed_secret_and_broken_ones_are_refused() {
    let folder = behind();
    let none = "changed 0 of 0 SealedSecrets in 0 files\nerror: x.yaml: no SealedSecret in it\n";
    for text in ["", SECRET, OTHER] {
        folder.write("x.yaml", text);
        rotate(&folder, "x.yaml", &[]).fails(3, none);
    }
    rotate(&folder, "absent", &[])
        .fails(1, "changed 0 of 0 SealedSecrets in 0 files\nerror: absent: no such file or folder\n");
    folder.write("none/x.yaml", SECRET);
    says(rotate(&folder, "none", &[]), "", "changed 0 of 0 SealedSecrets in 0 files\n");
    let good = folder.read("db.yaml");
    let old = folder.key_id("old");
    for broken in [
        good.replace("name: db\n  namespace", "name: web\n  namespace"),
        good.replace("    A: ", "    A: &a "),
        good.replace("      wraps:", "      wraps: &w"),
        good.replace(wrap(&good, &old), &wrap(&good, &old).repeat(2)),
        good.replace("spec:", &format!("spec:\n  x: {}hunter2{}", "[".repeat(500), "]".repeat(500))),
        format!("{HEAD}stringData: {{A: hunter2}}\n---\n{}", good.replace("kind: SealedSecret", "kind: SealedSecrets")),
    ] {
        folder.write("x.yaml", &broken);
        let outcome = rotate(&folder, "x.yaml", &[]).finish();
        assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    }
}

#[test]
fn a_check_that_finds_no_sealed_secret_ends_with_4() {
    let folder = behind();
    folder.write("plain/config.yaml", OTHER);
    let stderr = "error: no SealedSecret in these paths: nothing was compared\n\
                  hint: name the folders with the sealed files\n";
    ends(check(&folder, "plain"), 4, "", stderr);
}

#[test]
fn a_check_that_cannot_read_a_file_ends_with_4() {
    let folder = behind();
    folder.write("apps/bad.yaml", "a: [\n");
    let check = ["rotate", "apps", "--keys", "keys.yaml", "--check"];
    let outcome = folder.waxseal(&check).finish();
    assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(4), ""), "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("error: apps/bad.yaml:1:"), "{}", outcome.stderr);
    let both = folder.waxseal(&["rotate", "apps", "db.yaml", "--keys", "keys.yaml", "--check"]).finish();
    assert_eq!(both.status.code(), Some(4), "{}", both.stderr);
}

#[test]
fn many_files_show_a_progress_bar_on_a_terminal_only() {
    let folder = behind();
    for number in 0..200 {
        folder.write(&format!("apps/{number}.yaml"), folder.read("db.yaml"));
    }
    let arguments = ["rotate", "apps", "--keys", "keys.yaml", "--check"];
    let outcome = folder.waxseal(&arguments).finish();
    let end = "error: 200 of 200 SealedSecrets are not up to date\nhint: run `waxseal rotate` without `--check`\n";
    assert_eq!(outcome.stderr, end);
    let terminal = Terminal::open();
    let mut command = Command::new(program());
    command.args(arguments).stdout(Stdio::null()).stderr(terminal.other_end());
    let status = folder.isolated(&mut command).env("TERM", "xterm").status().expect("the program runs");
    drop(command);
    let shown = terminal.shows();
    assert!(shown.contains("/200 files"), "{shown}");
    assert!(shown.ends_with(end), "{shown}");
    assert_eq!(status.code(), Some(4));
}

//! What `waxseal set` changes in a file, and what it refuses to change.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::folder::{Folder, HEAD, SECRET, assert_sealed, changed_lines, data_of, program};
use crate::input_files::as_ordinary_user;

const OTHER: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b} # by hand\n";
pub(crate) const SET_A: [&str; 5] = ["set", "db.yaml", "A", "--keys", "cluster.yaml"];
pub(crate) const SAYS_A: &str = "set A in shop/db\n";

fn seal(folder: &Folder, secret: &str) -> String {
    folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(secret).succeeds()
}

fn secret(values: &str) -> String {
    format!("{HEAD}stringData: {{{values}}}\n")
}

/// A folder with a key and the sealed file `db.yaml`.
pub(crate) fn folder_with(values: &str) -> Folder {
    let folder = Folder::with_key();
    folder.write("db.yaml", seal(&folder, &secret(values)));
    folder
}

pub(crate) fn opened(folder: &Folder, file: &str) -> String {
    folder.waxseal(&["open", file, "--identity", "cluster.key"]).succeeds()
}

/// The value of a data key in an opened Secret.
pub(crate) fn value(secret: &str, key: &str) -> String {
    String::from_utf8(data_of(secret)[key].clone()).expect("UTF-8")
}

fn envelopes(text: &str) -> usize {
    text.matches("commitment: ").count()
}

/// Checks that the run is refused and that the file stays as it is.
#[track_caller]
fn refuses(folder: &Folder, arguments: &[&str], stderr: &str) {
    folder.waxseal(arguments).stdin("a new value").fails(3, stderr);
}

#[test]
fn a_value_is_replaced_and_no_other_byte_changes() {
    let folder = folder_with("A: a long value, B: another long value");
    let before = format!("# by hand\n{}{OTHER}", folder.read("db.yaml").replace("    B: ", "    # kept\n    B:   "));
    for (before, newline) in [(before.clone(), "\n"), (before.replace('\n', "\r\n"), "\r\n")] {
        folder.write("db.yaml", &before);
        folder.waxseal(&SET_A).stdin("a new value").writes(&["db.yaml"]).warns(SAYS_A);
        let after = folder.read("db.yaml");
        let (gone, new) = changed_lines(&before, &after);
        assert_eq!((gone.len(), new.len()), (1, 8), "{new:?}");
        assert!(gone[0].starts_with("    A: wax1.") && new[7].starts_with("    A: wax1."), "{new:?}");
        assert!(new.iter().all(|line| line.ends_with(newline)), "{new:?}");
        let opened = opened(&folder, "db.yaml");
        assert_eq!((value(&opened, "A"), value(&opened, "B")), ("a new value".into(), "another long value".into()));
    }
}

#[test]
fn a_value_is_added_in_the_order_of_the_data_keys() {
    let folder = folder_with("A: a long value, C: another long value");
    let before = folder.read("db.yaml");
    let set = folder.waxseal(&["set", "db.yaml", "B", "--keys", "cluster.yaml"]).stdin("in between");
    set.writes(&["db.yaml"]).warns("set B in shop/db\n");
    let after = folder.read("db.yaml");
    let (gone, new) = changed_lines(&before, &after);
    assert_eq!((gone, new.len()), (vec![], 8));
    let keys: Vec<_> = after.lines().filter_map(|line| line.trim().split_once(": wax1.")).map(|(key, _)| key).collect();
    assert_eq!(keys, ["A", "B", "C"]);
    assert_eq!(value(&opened(&folder, "db.yaml"), "B"), "in between");
}

#[test]
fn json_stays_json_and_its_other_bytes_stay() {
    let folder = Folder::with_key();
    let json = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop"},"stringData":{"A":"a long value","B":"x"}}"#;
    folder.write("db.json", seal(&folder, json));
    let before = folder.read("db.json");
    let set = folder.waxseal(&["set", "db.json", "A", "--keys", "cluster.yaml"]).stdin("a new value");
    set.writes(&["db.json"]).warns(SAYS_A);
    let after = folder.read("db.json");
    let (gone, _) = changed_lines(&before, &after);
    assert!(gone.iter().all(|line| line.contains("wax1.") || line.trim() == "}"), "{gone:?}");
    let opened: serde_json::Value = serde_json::from_str(&opened(&folder, "db.json")).expect("JSON");
    assert_eq!(opened["data"]["A"], "YSBuZXcgdmFsdWU=");
    assert_eq!(opened["data"]["B"], "eA==");
}

#[test]
fn several_values_share_one_envelope_and_an_unused_envelope_goes() {
    let folder = folder_with("A: a long value, B: another long value");
    folder.waxseal(&SET_A).stdin("a new value").writes(&["db.yaml"]).warns(SAYS_A);
    assert_eq!(envelopes(&folder.read("db.yaml")), 2);
    folder.write("B", "from a file");
    let literal = "warning: C: the shell's history and the list of processes show a value of --from-literal\n";
    let set = ["set", "db.yaml", "A", "--from-file", "B", "--from-literal", "C=x=y", "--keys", "cluster.yaml"];
    let set = folder.waxseal(&set).stdin("the last value").writes(&["db.yaml"]);
    set.warns(&format!("{literal}set A, B, C in shop/db\n"));
    let text = folder.read("db.yaml");
    assert_eq!(envelopes(&text), 1);
    let opened = opened(&folder, "db.yaml");
    let values = ["A", "B", "C"].map(|key| value(&opened, key));
    assert_eq!(values, ["the last value", "from a file", "x=y"]);
    assert_sealed(&text, &data_of(&opened));
}

/// A merge can leave such an envelope.
#[test]
fn an_envelope_that_no_value_named_before_goes_too() {
    let folder = folder_with("A: a long value");
    let set = |key: &str| folder.waxseal(&["set", "db.yaml", key, "--keys", "cluster.yaml"]).stdin("x");
    set("B").writes(&["db.yaml"]).warns("set B in shop/db\n");
    let text = folder.read("db.yaml");
    let token = text.lines().find(|line| line.trim_start().starts_with("B: ")).expect("a token");
    folder.write("db.yaml", text.replace(&format!("{token}\n"), ""));
    set("C").writes(&["db.yaml"]).warns("set C in shop/db\n");
    assert_eq!(envelopes(&folder.read("db.yaml")), 2);
    assert_eq!(value(&opened(&folder, "db.yaml"), "A"), "a long value");
}

#[test]
fn two_runs_at_once_lose_no_value() {
    let folder = folder_with("A: a long value");
    let mut done = Vec::new();
    for round in 0..20 {
        let names = ["x", "y"].map(|name| format!("{name}{round}"));
        let start = |name: &String| {
            let literal = format!("{name}=another long value");
            let mut command = Command::new(program());
            command.args(["set", "db.yaml", "--from-literal", &literal, "--keys", "cluster.yaml"]);
            folder.isolated(&mut command).stderr(Stdio::piped()).spawn().expect("waxseal runs")
        };
        let runs = names.each_ref().map(start);
        for (run, name) in runs.into_iter().zip(&names) {
            let outcome = run.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
            let is_set = folder.read("db.yaml").contains(&format!("    {name}: wax1."));
            assert!(is_set || said.contains("changed while waxseal worked on it"), "{said}");
            assert_eq!(outcome.status.success(), is_set, "round {round}: {said}");
            if is_set {
                done.push(name.clone());
            }
        }
    }
    let text = folder.read("db.yaml");
    let lost: Vec<_> = done.iter().filter(|name| !text.contains(&format!("    {name}: wax1."))).collect();
    assert!(lost.is_empty() && done.len() >= 20, "{done:?}, lost: {lost:?}");
}

#[test]
fn a_lock_that_another_program_keeps_is_reported() {
    let folder = folder_with("A: a long value");
    let lock = fs::File::open(folder.path().join("db.yaml")).expect("a file");
    lock.lock().expect("the lock");
    let stderr = "error: db.yaml: another program holds the lock of this file
hint: see if another waxseal hangs, and run the command again
";
    folder.waxseal(&SET_A).stdin("a new value").fails(1, stderr);
}

#[test]
fn a_name_chooses_among_several_sealed_secrets() {
    let folder = folder_with("A: a long value");
    let [db, web] = ["db", "web"].map(|name| seal(&folder, &SECRET.replace("name: db", &format!("name: {name}"))));
    let elsewhere = seal(&folder, &SECRET.replace("namespace: shop", "namespace: other"));
    let before = format!("{db}---\n{web}---\n{elsewhere}");
    folder.write("db.yaml", &before);
    let list = "the file has shop/db, shop/web, other/db";
    let several =
        format!("error: db.yaml: several SealedSecrets in it\nhint: pass `--name [NAMESPACE/]NAME`; {list}\n");
    refuses(&folder, &SET_A, &several);
    let named = |name| [&SET_A[..], &["--name", name]].concat();
    for (name, number) in
        [("db", "several SealedSecrets"), ("nobody", "no SealedSecret"), ("shop/nobody", "no SealedSecret")]
    {
        let stderr =
            format!("error: db.yaml: {number} of that name in it\nhint: pass `--name [NAMESPACE/]NAME`; {list}\n");
        refuses(&folder, &named(name), &stderr);
    }
    for (name, says) in [("web", "shop/web"), ("other/db", "other/db"), ("shop/db", "shop/db")] {
        let set = folder.waxseal(&named(name)).stdin("a new value").writes(&["db.yaml"]);
        set.warns(&format!("set A in {says}\n"));
    }
    assert_eq!(opened(&folder, "db.yaml").matches("YSBuZXcgdmFsdWU=").count(), 3);
}

#[test]
fn a_message_names_16_sealed_secrets_and_counts_the_others() {
    let folder = folder_with("A: a long value");
    let sealed = folder.read("db.yaml");
    let names: Vec<_> = (10..28).map(|number| format!("db{number}")).collect();
    let all: Vec<_> = names.iter().map(|name| sealed.replace("name: db", &format!("name: {name}"))).collect();
    folder.write("db.yaml", all.join("---\n"));
    let titles: Vec<_> = names[..16].iter().map(|name| format!("shop/{name}")).collect();
    let list = format!("the file has {}, and 2 more", titles.join(", "));
    let several =
        format!("error: db.yaml: several SealedSecrets in it\nhint: pass `--name [NAMESPACE/]NAME`; {list}\n");
    refuses(&folder, &SET_A, &several);
}

#[test]
fn a_sealed_secret_in_a_list_is_changed() {
    let folder = Folder::with_key();
    let item = |name: &str| seal(&folder, &SECRET.replace("name: db", &format!("name: {name}"))).replace('\n', "\n  ");
    let [a, db] = ["a", "db"].map(item);
    let start = format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- ", a.trim_end());
    folder.write("db.yaml", format!("{start}{}\n", db.trim_end()));
    let set = folder.waxseal(&[&SET_A[..], &["--name", "db"]].concat()).stdin("a new value");
    set.writes(&["db.yaml"]).warns(SAYS_A);
    let after = folder.read("db.yaml");
    assert!(after.starts_with(&start), "{after}");
    assert_eq!(opened(&folder, "db.yaml").matches("YSBuZXcgdmFsdWU=").count(), 1);
}

#[test]
fn the_scope_and_the_template_stay() {
    let folder = Folder::with_key();
    let secret = SECRET.replace("kind: Secret", "kind: Secret\ntype: example.com/db\nimmutable: true");
    for scope in ["Namespace", "Cluster"] {
        let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml", "--scope", scope]);
        folder.write("db.yaml", seal.stdin(&secret).succeeds());
        let set = folder.waxseal(&["set", "db.yaml", "B", "--keys", "cluster.yaml"]).stdin("a new value");
        set.writes(&["db.yaml"]).warns(&format!("set B in shop/db (scope {scope})\n"));
        folder.write("db.yaml", folder.read("db.yaml").replace("name: db", "name: copy"));
        let opened = opened(&folder, "db.yaml");
        assert_eq!((value(&opened, "A"), value(&opened, "B")), ("a long value".into(), "a new value".into()));
        assert!(opened.contains("type: example.com/db") && opened.contains("immutable: true"), "{opened}");
    }
}

#[test]
fn a_value_that_still_shows_is_warned_of() {
    let folder = folder_with("A: a long value");
    folder.write("db.yaml", format!("{}{OTHER}# it is hunter2hunter2\n", folder.read("db.yaml")));
    let lines = folder.read("db.yaml").lines().count();
    let set = folder.waxseal(&["set", "db.yaml", "A", "--keys", "cluster.yaml"]).stdin("hunter2hunter2");
    set.writes(&["db.yaml"]).warns(&format!("warning: db.yaml:{lines}: the value of A in db still shows\n{SAYS_A}"));
}

#[test]
fn a_file_without_a_sealed_secret_is_refused() {
    let folder = Folder::with_key();
    let none = "error: db.yaml: no SealedSecret in it\n";
    for text in ["", SECRET, OTHER, "# only a comment\n", &folder.read("cluster.yaml")] {
        folder.write("db.yaml", text);
        refuses(&folder, &SET_A, none);
    }
    let stdin = "error: `-` is stdin, and this command changes a file\n";
    folder.waxseal(&["set", "-", "A", "--keys", "cluster.yaml"]).stdin("x").fails(2, stdin);
    folder.write("apps/x", "");
    refuses(&folder, &["set", "apps", "A", "--keys", "cluster.yaml"], "error: apps: is a folder, not a file\n");
    let absent = "error: absent.yaml: no such file or folder\n";
    folder.waxseal(&["set", "absent.yaml", "A", "--keys", "cluster.yaml"]).stdin("x").fails(1, absent);
}

#[test]
fn a_broken_sealed_secret_is_refused() {
    let folder = folder_with("A: a long value");
    let good = folder.read("db.yaml");
    let token = good.lines().find(|line| line.contains("wax1.")).expect("a value").to_owned();
    for broken in [
        good.replace("name: db\n  namespace", "name: web\n  namespace"),
        good.replace(&token, "    A: hunter2"),
        good.replace(&token, "    A: &a hunter2"),
        good.replace(&token, &format!("{token}\n{token}")),
        good.replace("kind: SealedSecret", "kind: SealedSecret\nsecret: hunter2"),
        good.replace("spec:", &format!("spec:\n  x: {}hunter2{}", "[".repeat(500), "]".repeat(500))),
    ] {
        folder.write("db.yaml", &broken);
        let outcome = folder.waxseal(&SET_A).stdin("a new value").finish();
        assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("hunter2") && !outcome.stderr.contains("a new value"), "{}", outcome.stderr);
    }
}

/// Git merges and reverts without a conflict what an edit has changed in several places of the file.
#[test]
fn what_a_merge_has_broken_is_named_with_a_remedy() {
    let folder = folder_with("A: a long value, B: another value");
    let before = folder.read("db.yaml");
    let value = |text: &str| text.lines().find(|line| line.starts_with("    A: ")).expect("a value").to_owned();
    folder.waxseal(&SET_A).stdin("a new value").writes(&["db.yaml"]).warns(SAYS_A);
    let new = value(&folder.read("db.yaml"));
    folder.write("db.yaml", before.replace(&value(&before), &new));
    let outcome = folder.waxseal(&SET_A).stdin("x").finish();
    let hint = "which spec.envelopes does not have\nhint: a merge or revert can bring an old value back without its \
                envelope: delete the line of this value, and set it again with `waxseal set`\n";
    assert!(outcome.stderr.ends_with(hint) && outcome.status.code() == Some(3), "{}", outcome.stderr);
    folder.write("db.yaml", before.replace(&format!("{}\n", value(&before)), ""));
    folder.waxseal(&SET_A).stdin("x").writes(&["db.yaml"]).warns(SAYS_A);
    let envelope = "    e0000000000: {commitment: x, wraps: {}}\n";
    let many: String = (0..64).map(|number| envelope.replace("0000000000", &format!("{number:010x}"))).collect();
    folder.write("db.yaml", before.replacen("  envelopes:\n", &format!("  envelopes:\n{many}"), 1));
    let stderr = "error: db.yaml:1: shop/db: Malformed: spec.envelopes: more than 64 envelopes
hint: if a merge put the envelopes of two branches together: undo the merge, run `waxseal rotate --reseal` on the file in each branch, and merge again
";
    refuses(&folder, &SET_A, stderr);
}

#[test]
fn a_sealed_secret_that_stands_twice_is_refused() {
    let folder = folder_with("A: a long value");
    let sealed = folder.read("db.yaml");
    folder.write("db.yaml", format!("{sealed}---\n{sealed}"));
    let stderr = format!(
        "error: db.yaml: shop/db stands twice in it\nhint: remove one of the two SealedSecrets, db.yaml:1 and db.yaml:{}\n",
        sealed.lines().count() + 1
    );
    for arguments in [&SET_A[..], &[&SET_A[..], &["--name", "shop/db"]].concat()] {
        refuses(&folder, arguments, &stderr);
    }
}

#[test]
fn a_file_that_cannot_be_edited_without_other_changes_is_refused() {
    let folder = folder_with("A: a long value");
    let lines = folder.read("db.yaml").replacen('\n', "\r", 1);
    folder.write("db.yaml", &lines);
    let stderr = "error: db.yaml:1: cannot be edited without changing other bytes, so it stays as it is\n\
                  hint: write its envelopes and encryptedData in block style, one entry a line, as `waxseal seal` does, \
                  and end every line with a line feed\n";
    folder.waxseal(&SET_A).stdin("a new value").fails(3, stderr);
}

#[test]
fn a_number_that_is_too_large_is_named() {
    let folder = folder_with("A: a long value");
    let sealed = folder.read("db.yaml");
    folder.write("db.yaml", format!("{sealed}status: {{x: [1, 1e999]}}\n"));
    let line = sealed.lines().count() + 1;
    let stderr = &format!("error: db.yaml:{line}:17: status.x[1]: this number is too large\n");
    folder.waxseal(&SET_A).stdin("a new value").fails(3, stderr);
}

#[test]
fn too_much_data_is_refused_before_anything_is_written() {
    let folder = folder_with("A: a long value");
    folder.write("half", vec![b'x'; 600 << 10]);
    let half = |key: &str| format!("{key}=half");
    let (a, b) = (half("A"), half("B"));
    let set = folder.waxseal(&["set", "db.yaml", "--from-file", &a, "--keys", "cluster.yaml"]).writes(&["db.yaml"]);
    set.warns(SAYS_A);
    let too_large = "error: db.yaml:1: shop/db: TooLarge: spec.encryptedData: the values come to more than 1 MiB; each \
                     counts with the greatest length that its padding allows\n";
    folder.waxseal(&["set", "db.yaml", "--from-file", &b, "--keys", "cluster.yaml"]).fails(3, too_large);
}

#[test]
fn a_value_in_a_65th_envelope_is_refused_and_one_that_replaces_an_envelope_is_set() {
    let folder = folder_with("A: a long value");
    let set = |key: &str| folder.waxseal(&["set", "db.yaml", key, "--keys", "cluster.yaml"]).stdin("x");
    for number in 1..64 {
        let key = format!("K{number}");
        set(&key).writes(&["db.yaml"]).warns(&format!("set {key} in shop/db\n"));
    }
    let stderr = "error: db.yaml:1: shop/db: Malformed: spec.envelopes: more than 64 envelopes\n\
                  hint: `waxseal rotate FILE --reseal --identity IDENTITY_FILE`, with the same `--keys`, puts all \
                  values into one envelope\n";
    set("K64").fails(3, stderr);
    set("K63").writes(&["db.yaml"]).warns("set K63 in shop/db\n");
    let as_hinted = ["rotate", "db.yaml", "--reseal", "--identity", "cluster.key", "--keys", "cluster.yaml"];
    folder.waxseal(&as_hinted).writes(&["db.yaml"]).warns("changed 1 of 1 SealedSecret in 1 file\n");
    set("K64").writes(&["db.yaml"]).warns("set K64 in shop/db\n");
}

#[test]
fn a_read_only_folder_loses_nothing() {
    let folder = Folder::with_key();
    folder.write("closed/db.yaml", seal(&folder, SECRET));
    folder.write("value", "a new value");
    let before = folder.read("closed/db.yaml");
    let closed = folder.path().join("closed");
    let mut command = as_ordinary_user(&folder);
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).expect("ours");
    command.args(["set", "closed/db.yaml", "--from-file", "A=value", "--keys", "cluster.yaml"]);
    let output = command.output().expect("waxseal runs");
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("ours");
    let stderr = "error: closed/db.yaml: failed to write it: permission denied\n";
    assert_eq!((String::from_utf8_lossy(&output.stderr).as_ref(), output.status.code()), (stderr, Some(1)));
    assert_eq!(folder.read("closed/db.yaml"), before);
    assert_eq!(fs::read_dir(closed).expect("a folder").count(), 1);
}

#[test]
fn links_pipes_and_devices_are_not_replaced() {
    let folder = folder_with("A: a long value");
    folder.write("real/db.yaml", folder.read("db.yaml"));
    symlink("real/db.yaml", folder.path().join("link.yaml")).expect("a link");
    let set = |file| folder.waxseal(&["set", file, "A", "--keys", "cluster.yaml"]).stdin("a new value");
    set("link.yaml").writes(&["link.yaml", "real/db.yaml"]).warns(SAYS_A);
    assert!(folder.path().join("link.yaml").is_symlink());
    let pipe = folder.path().join("pipe.yaml");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    for file in ["pipe.yaml", "/dev/zero", "/dev/stdin"] {
        set(file).fails(3, &format!("error: {file}: is not a regular file, so it is not replaced\n"));
    }
    symlink("nowhere", folder.path().join("nowhere.yaml")).expect("a link");
    set("nowhere.yaml").fails(3, "error: nowhere.yaml: is a symbolic link that leads nowhere\n");
}

#[test]
fn a_link_out_of_a_work_tree_is_refused() {
    let folder = folder_with("A: a long value");
    folder.git(&["init", "--quiet", "tree"]);
    symlink("../db.yaml", folder.path().join("tree/db.yaml")).expect("a link");
    folder.write("tree/real.yaml", folder.read("db.yaml"));
    symlink("real.yaml", folder.path().join("tree/inside.yaml")).expect("a link");
    let stderr = "error: tree/db.yaml: is a symbolic link that does not lead to a file of its Git work tree
hint: nothing is written through it: name the file or folder that it leads to
";
    refuses(&folder, &["set", "tree/db.yaml", "A", "--keys", "cluster.yaml"], stderr);
    let set = folder.waxseal(&["set", "tree/inside.yaml", "A", "--keys", "cluster.yaml"]).stdin("a new value");
    set.writes(&["tree/inside.yaml", "tree/real.yaml"]).warns(SAYS_A);
}

#[test]
fn another_name_of_the_file_keeps_the_text_from_before_and_is_warned_of() {
    let folder = folder_with("A: a long value");
    let before = folder.read("db.yaml");
    fs::hard_link(folder.path().join("db.yaml"), folder.path().join("again.yaml")).expect("a link");
    fs::set_permissions(folder.path().join("db.yaml"), Permissions::from_mode(0o640)).expect("ours");
    let warning = "warning: db.yaml: another name of the file, a hard link, still leads to the text from before\n";
    folder.waxseal(&SET_A).stdin("a new value").writes(&["db.yaml"]).warns(&format!("{warning}{SAYS_A}"));
    assert_eq!(folder.read("again.yaml"), before);
    let file = fs::metadata(folder.path().join("db.yaml")).expect("a file");
    assert_eq!((file.nlink(), file.mode() & 0o777), (1, 0o640));
}

#[test]
fn a_value_for_fewer_clusters_than_the_others_is_refused_unless_the_cluster_is_named() {
    let folder = folder_with("A: a long value");
    folder.generate("staging", &[]);
    let both = ["seal", "--keys", "cluster.yaml", "--keys", "staging.yaml"];
    folder.write("db.yaml", folder.waxseal(&both).stdin(SECRET).succeeds());
    let staging = folder.key_id("staging");
    let outcome = folder.waxseal(&SET_A).stdin("new").finish();
    assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&staging) && outcome.stderr.contains("--drop-cluster"), "{}", outcome.stderr);
    let dropping = [&SET_A[..], &["--drop-cluster", &staging]].concat();
    folder.waxseal(&dropping).stdin("new").writes(&["db.yaml"]).warns(SAYS_A);
    let both = ["--keys", "staging.yaml", "--drop-cluster", "staging.yaml"];
    let stderr = "error: db.yaml:1: `--drop-cluster staging.yaml`, but the new value would be sealed to staging.yaml\n\
                  hint: name the clusters to seal to, with `--to CLUSTER` or `--keys KEYS_FILE`\n";
    folder.waxseal(&[&SET_A[..], &both].concat()).stdin("new").fails(2, stderr);
}

//! `.waxseal.yaml` files that are refused, and keys files that lead out of their folder or cannot be used.

use std::fs;
use std::os::unix::fs::symlink;

use crate::configuration::{TWO_CLUSTERS, assert_says, folder, sealed_to};
use crate::folder::SECRET;

#[test]
fn a_configuration_is_refused_with_line_and_column() {
    let folder = folder();
    folder.write("apps/db.yaml", SECRET);
    let head = "version: 1\nclusters:\n  prod: {keys: .waxseal/prod.yaml}\n";
    let rule = |fields: &str| format!("{head}rules:\n- {fields}\n");
    let below = "\nhint: write a path below the folder of .waxseal.yaml";
    let keys = |path: &str| format!("version: 1\nclusters:\n  prod: {{keys: {path}}}\n");
    for (text, expected) in [
        (format!("{head}rule: []\n"), "4:1: unknown field \"rule\"\nhint: did you mean \"rules\"?".to_owned()),
        (rule("{path: [a], clusters: [prod]}"), "5:4: rules[0]: unknown field \"path\"\nhint: did you mean \"paths\"?".into()),
        (format!("{head}clusters: {{}}\n"), "4:1: clusters: given twice, first on line 2".into()),
        (format!("{head}  prod: {{keys: b}}\n"), "4:3: clusters.prod: given twice, first on line 3".into()),
        ("version: 1\nclusters: {prod: {key: a}}\n".into(), "2:19: clusters.prod: unknown field \"key\"\nhint: did you mean \"keys\"?".into()),
        ("version: 2\n".into(), "1:10: version: this waxseal reads version 1 only".into()),
        ("version: '1'\n".into(), "1:10: version: must be a number, not a string".into()),
        ("clusters: {}\n".into(), "1:1: field \"version\" is missing".into()),
        (String::new(), " no document".into()),
        ("version: 1\nclusters: {a b: {keys: a}}\n".into(), "2:12: clusters.…: not a name of a cluster\nhint: use at most 63 letters, digits, - _ and ., beginning with a letter or digit".into()),
        ("version: 1\nclusters: {a: {keys: x}, b: {keys: ./x}}\n".into(), "2:36: clusters.b.keys: the cluster a has the same keys file".into()),
        (keys("../prod.yaml"), format!("3:16: clusters.prod.keys: a path with ..{below}")),
        (keys("a/../../b"), format!("3:16: clusters.prod.keys: a path with ..{below}")),
        (keys("/etc/passwd"), format!("3:16: clusters.prod.keys: an absolute path{below}")),
        (keys(".git/config"), format!("3:16: clusters.prod.keys: leads into a Git repository{below}")),
        (keys("''"), format!("3:16: clusters.prod.keys: not the name of a file{below}")),
        (rule("{paths: [], clusters: [prod]}"), "5:4: rules[0].paths: an empty list: the rule would match no file".into()),
        (rule("{paths: [a], clusters: []}"), "5:16: rules[0].clusters: an empty list: there would be nothing to seal to".into()),
        (rule("{paths: [a], clusters: [prod, stagin]}"), "5:33: rules[0].clusters[1]: not a cluster of this file, which has prod".into()),
        (rule("{paths: [a], clusters: [prod, prod]}"), "5:33: rules[0].clusters[1]: the cluster is in the list twice".into()),
        ("version: 1\nrules: [{paths: [a], clusters: [prod]}]\n".into(), "2:33: rules[0].clusters[0]: not a cluster of this file, which has none".into()),
        (rule("{paths: [a, '[b'], clusters: [prod]}"), "5:15: rules[0].paths[1]: a glob with [ and without its ]".into()),
        (rule("{paths: ['!a'], clusters: [prod]}"), "5:12: rules[0].paths[0]: a glob with an exception\nhint: put a rule for the excepted files before this rule".into()),
        (rule("{paths: [/a], clusters: [prod]}"), "5:12: rules[0].paths[0]: an absolute path\nhint: leave out the / at its start: paths are relative to this file's folder".into()),
        (rule("{paths: [apps/], clusters: [prod]}"), "5:12: rules[0].paths[0]: the path of a folder\nhint: write ** after the / for all files below the folder".into()),
        (rule("{paths: [./a], clusters: [prod]}"), "5:12: rules[0].paths[0]: a part of the path is empty, . or ..\nhint: write the path without it".into()),
        (rule("{paths: [a], clusters: [prod], namespace: A_b}"), "5:45: rules[0].namespace: not a namespace: it must be a DNS label".into()),
        (rule("{paths: [a], clusters: [prod], scope: Wide}"), "5:41: rules[0].scope: must be one of Strict, Namespace, Cluster".into()),
        (format!("{head}scan: {{allow: [{{path: a}}]}}\n"), "4:16: scan.allow[0]: field \"reason\" is missing".into()),
        (format!("{head}scan: {{alow: []}}\n"), "4:8: scan: unknown field \"alow\"\nhint: did you mean \"allow\"?".into()),
    ] {
        folder.write(".waxseal.yaml", &text);
        let expected = format!("error: .waxseal.yaml:{expected}\n");
        folder.waxseal(&["seal", "apps/db.yaml"]).fails(3, &expected);
        folder.waxseal(&["seal", "apps/db.yaml", "--keys", "prod.yaml"]).fails(3, &expected);
    }
    folder.write(".waxseal.yaml", format!("{head}scan: {{allow: [{{path: 'test/**', reason: generated}}]}}\n"));
    folder.waxseal(&["seal", "apps/db.yaml", "--to", "prod"]).succeeds();
}

#[test]
fn a_large_configuration_is_refused_in_bounded_time_and_memory() {
    let folder = folder();
    folder.write("db.yaml", SECRET);
    let seal = || folder.bounded_waxseal(&["seal", "db.yaml"]);
    folder.write(".waxseal.yaml", format!("version: 1 #{}\n", " ".repeat(1024 * 1024)));
    seal().fails(3, "error: .waxseal.yaml: larger than 1 MiB, the most that is read\n");
    let head = "version: 1\nclusters: {prod: {keys: a}}\nrules:\n";
    folder.write(".waxseal.yaml", format!("{head}{}", "- {paths: ['**/*?*/a*'], clusters: [prod]}\n".repeat(1001)));
    seal().fails(3, "error: .waxseal.yaml:3:1: rules: more than 1000 paths in all rules together\n");
    folder.write(".waxseal.yaml", format!("{head}- {{paths: ['{}'], clusters: [prod]}}\n", "{".repeat(1001)));
    seal().fails(3, "error: .waxseal.yaml:4:12: rules[0].paths[0]: a glob of more than 1000 bytes\n");
    let nested = format!("{}a{}", "{".repeat(499), "}".repeat(499));
    folder.write(".waxseal.yaml", format!("{head}- {{paths: ['{nested}'], clusters: [prod]}}\n"));
    seal().fails(3, "error: .waxseal.yaml:4:4: rules[0].paths: a glob that is too complicated\n");
    // At the limit: each run ends within its bounds, with the error for the missing keys file, or for a file without a
    // rule.
    let most = |glob: &str| format!("  - '{}'\n", glob.repeat(1000 / glob.len())).repeat(24);
    for glob in ["*", "?", "*?", "{?,*}", "{[!a],**}", "[!a]"] {
        let paths = format!("{head}- clusters: [prod]\n  paths:\n{}", most(glob));
        folder.write(".waxseal.yaml", paths);
        let run = seal().finish();
        assert_eq!(run.status.code(), Some(3), "{glob}: {}", run.stderr);
    }
    folder.write(".waxseal.yaml", format!("{head}- clusters: [prod]\n  paths:\n{}", most("*").repeat(2)));
    seal().fails(3, "error: .waxseal.yaml:3:1: rules: more than 24 KiB of paths in all rules together\n");
    folder.write(".waxseal.yaml", b"version: 1 # \xff\n");
    seal().fails(3, "error: .waxseal.yaml: not UTF-8\n");
}

#[test]
fn links_that_lead_out_are_refused() {
    let (folder, outside) = (folder(), folder());
    folder.write("apps/lab/db.yaml", SECRET);
    let seal = || folder.waxseal(&["seal", "apps/lab/db.yaml"]);
    let link = |target: &str, name: &str| {
        let path = folder.path().join(name);
        let _absent = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        symlink(target, path).expect("a link");
    };
    let hint = "hint: put the file itself there: a link in a checkout must not choose a file elsewhere\n";
    let outside_of = |name: &str| outside.path().join(name).display().to_string();
    let refusal = |place: &str, of: &str| format!("error: {place}: a symbolic link leads out of {of}\n{hint}");
    // Without a work tree, and in one.
    link(&outside_of(".waxseal.yaml"), ".waxseal.yaml");
    seal().fails(3, &refusal(".waxseal.yaml", "its folder"));
    folder.git(&["init", "-q"]);
    seal().fails(3, &refusal(".waxseal.yaml", "its Git work tree"));
    folder.write("config/waxseal.yaml", TWO_CLUSTERS);
    link("config/waxseal.yaml", ".waxseal.yaml");
    assert_says(seal(), &sealed_to(&folder, "staging"));
    link("nowhere", ".waxseal.yaml");
    seal().fails(1, "error: .waxseal.yaml: no such file or folder\n");
    link("config/waxseal.yaml", ".waxseal.yaml");
    // Keys files, and the folders on their path.
    let staging = ".waxseal/staging.yaml";
    link(&outside_of(staging), staging);
    let expected = refusal(staging, "the folder of .waxseal.yaml");
    seal().fails(3, &expected);
    folder.waxseal(&["seal", "apps/lab/db.yaml", "--to", "staging"]).fails(3, &expected);
    folder.waxseal(&["keys", "list", "--to", "staging"]).fails(3, &expected);
    link(&outside_of(".waxseal"), ".waxseal");
    seal().fails(3, &expected);
    fs::create_dir(folder.path().join("keys")).expect("a folder");
    folder.write("keys/staging.yaml", folder.read("staging.yaml"));
    link("keys", ".waxseal");
    assert_says(seal(), &sealed_to(&folder, "staging"));
}

#[test]
fn a_configuration_or_keys_file_that_cannot_be_used_is_refused() {
    let folder = folder();
    folder.write("apps/lab/db.yaml", SECRET);
    let seal = || folder.waxseal(&["seal", "apps/lab/db.yaml"]);
    let staging = folder.path().join(".waxseal/staging.yaml");
    fs::remove_file(&staging).expect("it is there");
    let absent = "error: .waxseal/staging.yaml: the cluster staging has no keys file yet\nhint: run `waxseal keys fetch staging`\n";
    seal().fails(3, absent);
    // The error is shown once, also if several files need the keys file.
    folder.write("apps/lab/other.yaml", SECRET);
    let run = folder.waxseal(&["seal", "--in-place", "apps"]).finish();
    assert_eq!((run.stderr, run.status.code()), (format!("sealed 0 Secrets in 0 files\n{absent}"), Some(3)));
    fs::create_dir(&staging).expect("a folder");
    seal().fails(3, "error: .waxseal/staging.yaml: is a folder, not a file\n");
    fs::remove_dir(&staging).expect("it is there");
    rustix::fs::mkfifoat(rustix::fs::CWD, &staging, 0o600.into()).expect("a pipe");
    seal().fails(3, "error: .waxseal/staging.yaml: is not a regular file\n");
    fs::remove_file(&staging).expect("it is there");
    folder.write(".waxseal/staging.yaml", vec![b'#'; 32 * 1024 * 1024 + 1]);
    seal().fails(3, "error: .waxseal/staging.yaml: larger than 32 MiB, the most that is read\n");
    folder.write(".waxseal/staging.yaml", SECRET);
    let hint = "hint: a keys file is what `kubectl get sealingkeys -o yaml` prints\n";
    seal().fails(3, &format!("error: .waxseal/staging.yaml:1:1: not a SealingKey\n{hint}"));
    folder.write(".waxseal/staging.yaml", folder.read("staging.yaml").replace("Active", "Retired"));
    seal().fails(
        3,
        "error: .waxseal/staging.yaml: no Active key of a cluster in it\nhint: fetch the keys again: `waxseal keys fetch staging`. Without Kubernetes, start the controller: it makes a key and writes the file\n",
    );
    fs::remove_dir_all(folder.path().join(".waxseal")).expect("it is there");
    folder.write(".waxseal", "");
    let no_folder = "error: .waxseal/staging.yaml: .waxseal is a file, not a folder\n";
    seal().fails(3, no_folder);
    folder.waxseal(&["keys", "fetch", "staging"]).fails(3, no_folder);
    fs::remove_file(folder.path().join(".waxseal.yaml")).expect("it is there");
    fs::create_dir(folder.path().join(".waxseal.yaml")).expect("a folder");
    seal().fails(3, "error: .waxseal.yaml: is a folder, not a file\n");
}

#[test]
fn the_configuration_and_its_keys_files_are_never_written_over() {
    let folder = folder();
    folder.write("apps/lab/db.yaml", SECRET);
    for (name, what) in [(".waxseal.yaml", "the .waxseal.yaml"), (".waxseal/staging.yaml", "a keys file")] {
        let stderr = format!("error: {name}: is {what} of this command, and is never written over\n");
        folder.waxseal(&["seal", "apps/lab/db.yaml", "-o", name, "--force"]).fails(3, &stderr);
    }
}

#[test]
fn a_rule_whose_recipients_cannot_be_used_is_refused_once() {
    let folder = folder();
    folder.generate("classic", &["--classic"]);
    folder.write(".waxseal/staging.yaml", folder.read("classic.yaml"));
    folder.write("apps/lab/a.yaml", SECRET);
    folder.write("apps/lab/b.yaml", SECRET);
    let run = folder.waxseal(&["seal", "--in-place", "apps"]).finish();
    let said = format!(
        "sealed 0 Secrets in 0 files
error: .waxseal.yaml: {} is a classic key (X25519), which a quantum computer will break
hint: pass `--allow-classic` if the values need no protection from a quantum computer
",
        folder.key_id("classic")
    );
    assert_eq!((run.stderr, run.status.code()), (said, Some(3)));
    let run = folder.waxseal(&["seal", "--in-place", "apps", "--allow-classic"]);
    let files = ["apps/lab/a.yaml", "apps/lab/b.yaml"];
    let id = folder.key_id("classic");
    let said =
        format!("sealed to {id} (Cluster, from cluster staging, .waxseal/staging.yaml)\nsealed 2 Secrets in 2 files\n");
    assert_says(run.writes(&files), &said);
}

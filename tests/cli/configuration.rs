//! `.waxseal.yaml`: which files its rules match, and which `.waxseal.yaml` counts for a file.
//! `configuration_refused.rs` has those that are refused, and `keys_fetch_cluster.rs` has `keys fetch CLUSTER`.

use std::fs;
use std::os::unix::fs::symlink;

use crate::folder::{Folder, Run, SECRET};

const OPTIONS: &str = "`--to CLUSTER`, `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`";
/// A Secret without a namespace.
const NOWHERE: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {A: a long value}\n";

pub(crate) const TWO_CLUSTERS: &str = "\
version: 1
clusters:
  prod: {keys: .waxseal/prod.yaml}
  staging: {keys: .waxseal/staging.yaml}
rules:
  - paths: [\"apps/shop/**\"]
    clusters: [prod, staging]
    namespace: shop
    scope: Namespace
  - paths: [\"apps/*/staging.yaml\", \"apps/lab/**\"]
    clusters: [staging]
";

/// What `seal` says of the first rule.
const SCOPE: &str = ".waxseal.yaml: rule 1 gives the scope Namespace\n";

/// A folder with the clusters `prod` and `staging`.
pub(crate) fn folder() -> Folder {
    let folder = Folder::new();
    for name in ["prod", "staging"] {
        folder.generate(name, &[]);
        folder.write(&format!(".waxseal/{name}.yaml"), folder.read(&format!("{name}.yaml")));
    }
    folder.write(".waxseal.yaml", TWO_CLUSTERS);
    folder
}

/// The line that says that values were sealed to the key of a cluster.
pub(crate) fn sealed_to(folder: &Folder, name: &str) -> String {
    format!("sealed to {} (Cluster, from cluster {name}, .waxseal/{name}.yaml)\n", folder.key_id(name))
}

/// Checks that the run ends with 0 and prints exactly this on stderr; returns the result.
#[track_caller]
pub(crate) fn assert_says(run: Run<'_>, stderr: &str) -> String {
    let outcome = run.finish();
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(0)));
    outcome.stdout
}

#[test]
fn each_file_is_sealed_as_its_first_matching_rule_says() {
    let folder = folder();
    folder.write("apps/shop/staging.yaml", NOWHERE);
    folder.write("apps/lab/a/b.yaml", SECRET);
    folder.write("apps/lab/kustomization.yaml", "kind: Kustomization\n");
    let said = sealed_to(&folder, "staging") + &sealed_to(&folder, "prod") + SCOPE + "sealed 2 Secrets in 2 files\n";
    let files = ["apps/lab/a/b.yaml", "apps/shop/staging.yaml"];
    assert_says(folder.waxseal(&["seal", "--in-place", "apps"]).writes(&files), &said);
    let shop = folder.read("apps/shop/staging.yaml");
    assert!(shop.contains("  namespace: shop\n") && shop.contains("  scope: Namespace\n"), "{shop}");
    let lab = folder.read("apps/lab/a/b.yaml");
    assert!(!lab.contains("  scope: "), "{lab}");
    for (file, key, opens) in
        [(files[1], "prod", true), (files[1], "staging", true), (files[0], "staging", true), (files[0], "prod", false)]
    {
        let open = folder.waxseal(&["open", file, "--identity", &format!("{key}.key")]).finish();
        assert_eq!(open.status.success(), opens, "{file} {key}: {}", open.stderr);
    }
}

#[test]
fn the_whole_repository_can_be_sealed_at_once() {
    let folder = folder();
    folder.write("apps/lab/db.yaml", SECRET);
    let said = sealed_to(&folder, "staging") + "sealed 1 Secret in 1 file\n";
    assert_says(folder.waxseal(&["seal", "--in-place", "."]).writes(&["apps/lab/db.yaml"]), &said);
    let again = folder.waxseal(&["seal", "--in-place", "."]);
    assert_says(again, "sealed 0 Secrets in 0 files, 1 already sealed\n");
}

#[test]
fn a_file_without_a_rule_is_refused_if_it_has_a_secret() {
    let folder = folder();
    folder.write("apps/shop/db.yaml", SECRET);
    folder.write("other/db.yaml", SECRET);
    folder.write("other/config.yaml", "kind: ConfigMap\n");
    let run = folder.waxseal(&["seal", "--in-place", "apps", "other"]).writes(&["apps/shop/db.yaml"]).finish();
    let said = format!(
        "{}{}{SCOPE}sealed 1 Secret in 1 file
error: other/db.yaml: no recipients: no rule of .waxseal.yaml matches it
hint: add a rule, or pass {OPTIONS}
",
        sealed_to(&folder, "prod"),
        sealed_to(&folder, "staging"),
    );
    assert_eq!((run.stderr, run.status.code()), (said, Some(3)));
    let sealed = folder.read("apps/shop/db.yaml");
    assert_eq!(folder.waxseal(&["seal"]).stdin(&sealed).finish().stdout, sealed, "it needs no recipients");
}

#[test]
fn a_file_without_a_configuration_is_refused_and_the_others_are_sealed() {
    let (folder, outside) = (folder(), Folder::new());
    folder.write("apps/lab/db.yaml", SECRET);
    outside.write("db.yaml", SECRET);
    let other = outside.path().join("db.yaml").display().to_string();
    let run = folder.waxseal(&["seal", "--in-place", "apps", &other]).writes(&["apps/lab/db.yaml"]).finish();
    let said = format!(
        "{}sealed 1 Secret in 1 file
error: {other}: no recipients: there is no .waxseal.yaml in its folder or above it, up to the root of its Git work tree
hint: pass {OPTIONS}
",
        sealed_to(&folder, "staging"),
    );
    assert_eq!((run.stderr, run.status.code()), (said, Some(3)));
}

#[test]
fn the_namespace_of_a_rule_is_only_for_manifests_without_one() {
    let folder = folder();
    let other = SECRET.replace("namespace: shop", "namespace: other");
    folder.write("apps/shop/other.yaml", &other);
    folder.write("apps/shop/nowhere.yaml", NOWHERE);
    let namespace_of = |file: &str, options: &[&str]| {
        let sealed = folder.waxseal(&[&["seal", file], options].concat()).finish();
        assert!(sealed.stderr.ends_with(SCOPE) && sealed.status.success(), "{}", sealed.stderr);
        let sealed = sealed.stdout;
        let line = sealed.lines().find_map(|line| line.strip_prefix("  namespace: ")).expect("a namespace");
        line.to_owned()
    };
    assert_eq!(namespace_of("apps/shop/other.yaml", &[]), "other");
    assert_eq!(namespace_of("apps/shop/nowhere.yaml", &[]), "shop");
    assert_eq!(namespace_of("apps/shop/nowhere.yaml", &["-n", "mine"]), "mine");
    folder.waxseal(&["seal", "apps/shop/other.yaml", "-n", "mine"]).fails(
        3,
        "error: apps/shop/other.yaml:1: metadata.namespace: is other, and --namespace says mine
hint: a value is sealed for one place: change one of the two
",
    );
}

#[test]
fn options_name_the_recipients_and_the_rule_still_gives_namespace_and_scope() {
    let folder = folder();
    folder.write("apps/shop/db.yaml", NOWHERE);
    let seal = |options: &[&str]| folder.waxseal(&[&["seal", "apps/shop/db.yaml"], options].concat());
    let recipient = folder.recipient("prod");
    let id = folder.key_id("prod");
    for (options, said) in [
        (["--to", "prod"], sealed_to(&folder, "prod")),
        (["--keys", "prod.yaml"], format!("sealed to {id} (Cluster, from prod.yaml)\n")),
        (["--recipient", &recipient], format!("sealed to {id} (from --recipient)\n")),
    ] {
        let sealed = assert_says(seal(&options), &(said + SCOPE));
        assert!(sealed.contains("  namespace: shop\n") && sealed.contains("  scope: Namespace\n"), "{sealed}");
    }
    let sealed = seal(&["--to", "prod", "--scope", "Strict", "-n", "mine"]).succeeds();
    assert!(sealed.contains("  namespace: mine\n") && !sealed.contains("  scope: "), "{sealed}");
    let both = seal(&["--to", "prod", "--to", "staging", "--to", "prod"]);
    assert_says(both, &(sealed_to(&folder, "prod") + &sealed_to(&folder, "staging") + SCOPE));
}

#[test]
fn the_nearest_configuration_counts_alone() {
    let folder = folder();
    folder.generate("inner", &[]);
    folder.write("apps/lab/keys/inner.yaml", folder.read("inner.yaml"));
    let inner =
        "version: 1\nclusters: {inner: {keys: keys/inner.yaml}}\nrules: [{paths: [db.yaml], clusters: [inner]}]\n";
    folder.write("apps/lab/.waxseal.yaml", inner);
    folder.write("apps/lab/db.yaml", SECRET);
    folder.write("apps/lab/other.yaml", SECRET);
    // The keys file shows that another configuration decides than the one above.
    let said = |file| format!("sealed to {} (Cluster, from cluster inner, {file})\n", folder.key_id("inner"));
    assert_says(folder.waxseal(&["seal", "apps/lab/db.yaml"]), &said("apps/lab/keys/inner.yaml"));
    let absolute = folder.path().join("apps/lab/db.yaml").display().to_string();
    assert_says(folder.waxseal_in("apps/lab", &["seal", &absolute]), &said("keys/inner.yaml"));
    // The configuration above has a rule for it, and does not count.
    folder.waxseal(&["seal", "apps/lab/other.yaml"]).fails(
        3,
        &format!(
            "error: apps/lab/other.yaml: no recipients: no rule of apps/lab/.waxseal.yaml matches it\nhint: add a rule, or pass {OPTIONS}\n"
        ),
    );
    folder.waxseal(&["seal", "apps/lab/db.yaml", "--to", "prod"]).fails(
        2,
        "error: apps/lab/.waxseal.yaml: no cluster prod; its clusters: inner
hint: add it below `clusters`: `prod: {keys: .waxseal/prod.yaml}`
",
    );
}

#[test]
fn stdin_counts_as_the_output_file_or_as_a_file_in_the_current_folder() {
    let folder = folder();
    folder.write("apps/lab/x", "");
    let staging = sealed_to(&folder, "staging");
    let absolute = folder.path().join(".waxseal/staging.yaml").display().to_string();
    let from_inside = staging.replace(".waxseal/staging.yaml", &absolute);
    assert_says(folder.waxseal_in("apps/lab", &["seal"]).stdin(SECRET), &from_inside);
    let run = folder.waxseal(&["seal", "-o", "apps/lab/new/db.yaml"]).stdin(SECRET);
    assert_says(run.writes(&["apps/lab/new/db.yaml"]), &staging);
    let run = folder.waxseal(&["seal", "-o", "apps/lab/new2/../../shop/a/db.yaml"]).stdin(SECRET);
    let both = sealed_to(&folder, "prod") + &staging + SCOPE;
    assert_says(run.writes(&["apps/shop/a/db.yaml"]), &both);
    let hint = format!("hint: add a rule, or pass {OPTIONS}\n");
    let stderr = format!("error: <stdin>: no recipients: no rule of .waxseal.yaml matches it\n{hint}");
    folder.waxseal(&["seal"]).stdin(SECRET).fails(3, &stderr);
    folder.waxseal(&["seal", "-o", "-"]).stdin(SECRET).fails(3, &stderr);
    // Stdin counts as a file `-` in the current folder, even if a link `-` leads to a file that a rule matches.
    symlink("apps/lab/x", folder.path().join("-")).expect("a link");
    folder.waxseal(&["seal"]).stdin(SECRET).fails(3, &stderr);
}

#[test]
fn the_search_ends_at_the_root_of_the_git_work_tree() {
    let folder = folder();
    folder.write("apps/lab/db.yaml", SECRET);
    let stderr = format!("error: no recipients to seal to\nhint: pass {OPTIONS}, or write rules into .waxseal.yaml\n");
    folder.git(&["init", "-q", "apps"]);
    folder.waxseal(&["seal", "apps/lab/db.yaml"]).fails(2, &stderr);
    // The root itself is searched.
    folder.git(&["init", "-q", "."]);
    fs::remove_dir_all(folder.path().join("apps/.git")).expect("it is there");
    assert_says(folder.waxseal(&["seal", "apps/lab/db.yaml"]), &sealed_to(&folder, "staging"));
}

#[test]
fn a_link_is_sealed_as_its_target() {
    let folder = folder();
    folder.write("apps/lab/db.yaml", SECRET);
    fs::create_dir_all(folder.path().join("apps/shop")).expect("a folder");
    symlink("../lab/db.yaml", folder.path().join("apps/shop/link.yaml")).expect("a link");
    assert_says(folder.waxseal(&["seal", "apps/shop/link.yaml"]), &sealed_to(&folder, "staging"));
}

#[test]
fn an_unknown_cluster_is_refused_with_a_list_of_the_known_clusters() {
    let folder = folder();
    let sealed = folder.waxseal(&["seal", "--to", "prod"]).stdin(SECRET).succeeds();
    folder.write("db.sealed.yaml", &sealed);
    folder.write("db.yaml", SECRET);
    let unknown = |name: &str, shown: &str, example: &str| {
        let stderr = format!(
            "error: .waxseal.yaml: no cluster {shown}; its clusters: prod, staging
hint: add it below `clusters`: `{example}: {{keys: .waxseal/{example}.yaml}}`
"
        );
        folder.waxseal(&["seal", "db.yaml", "--to", name]).fails(2, &stderr);
        folder.waxseal(&["inspect", "db.sealed.yaml", "--to", name]).fails(2, &stderr);
        folder.waxseal(&["open", "db.sealed.yaml", "--identity", "prod.key", "--to", name]).fails(2, &stderr);
        folder.waxseal(&["keys", "list", "--to", name]).fails(2, &stderr);
        folder.waxseal(&["keys", "fetch", name]).fails(2, &stderr);
    };
    unknown("test", "test", "test");
    unknown("a\u{1b}[2J b", "a\\u{1b}[2J b", "NAME");
    folder.write(".waxseal.yaml", "version: 1\n");
    let hint = "hint: add it below `clusters`: `test: {keys: .waxseal/test.yaml}`\n";
    let stderr = format!("error: .waxseal.yaml: no cluster test; its clusters: none\n{hint}");
    folder.waxseal(&["keys", "list", "--to", "test"]).fails(2, &stderr);
    fs::remove_file(folder.path().join(".waxseal.yaml")).expect("it is there");
    let stderr = "error: no cluster test: there is no .waxseal.yaml in the folder or above it, up to the root of its Git work tree
hint: write one: `{version: 1, clusters: {test: {keys: .waxseal/test.yaml}}}`
";
    folder.waxseal(&["seal", "db.yaml", "--to", "test"]).fails(2, stderr);
    folder.waxseal(&["keys", "fetch", "test"]).fails(2, stderr);
}

#[test]
fn clusters_name_the_keys_that_inspect_open_and_list_show() {
    let folder = folder();
    folder.write("apps/lab/db.sealed.yaml", folder.waxseal(&["seal", "--to", "prod"]).stdin(SECRET).succeeds());
    // The configuration above the manifest counts, not that of the current folder.
    folder.write("elsewhere/.waxseal.yaml", "version: 1\n");
    let id = folder.key_id("prod");
    let shown = folder.waxseal_in("elsewhere", &["inspect", "../apps", "--to", "prod"]).succeeds();
    let place = folder.path().canonicalize().expect("it is there").join(".waxseal/prod.yaml");
    let expected = format!("    key {id} (hybrid): Cluster, Active, in {}\n", place.display());
    assert!(shown.contains(&expected), "{shown}");
    let shown = folder.waxseal(&["inspect", "apps", "--to", "staging", "--keys", "prod.yaml"]).succeeds();
    assert!(shown.contains(&format!("    key {id} (hybrid): Cluster, Active, in prod.yaml\n")), "{shown}");
    let open = folder.waxseal(&["open", "apps", "--identity", "staging.key", "--to", "prod"]).finish();
    assert!(open.stderr.contains(&format!("which needs {id} (Cluster)\n")), "{}", open.stderr);
    let both = folder.waxseal(&["keys", "list", "--to", "prod", "--to", "staging"]).succeeds();
    assert!(both.contains(&id) && both.contains(&folder.key_id("staging")), "{both}");
    let json = folder.waxseal_in("apps", &["keys", "list", "--to", "prod", "--format", "json"]).succeeds();
    assert!(json.contains(&format!("\"file\": \"{}\"", place.display())), "{json}");
}

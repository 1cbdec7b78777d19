//! The architecture's invariants, the freshness of what is generated, and the format's vectors.

mod mutations;
mod vectors;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

const CRYPTO: [&str; 13] = [
    "aes-gcm",
    "age",
    "age-core",
    "aws-lc-rs",
    "bech32",
    "getrandom",
    "hkdf",
    "hpke",
    "ml-kem",
    "sha2",
    "sha3",
    "shake",
    "x25519-dalek",
];
const YAML: [&str; 4] = ["granit-parser", "serde-saphyr", "serde_yaml", "serde_yml"];
const INPUT_AND_OUTPUT: [&str; 14] = [
    "axum",
    "clap",
    "hyper",
    "kube",
    "kube-client",
    "kube-runtime",
    "notify",
    "reqwest",
    "rustix",
    "tempfile",
    "tokio",
    "tracing",
    "tracing-subscriber",
    "ureq",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata answers")
}

fn dependencies(package: &str) -> BTreeSet<String> {
    let metadata = metadata();
    let package = metadata.packages.iter().find(|found| found.name == package).expect("a package of the workspace");
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.clone()).collect()
}

#[track_caller]
fn assert_none_of(package: &str, forbidden: &[&str]) {
    let found: Vec<_> = dependencies(package).into_iter().filter(|name| forbidden.contains(&name.as_str())).collect();
    assert!(found.is_empty(), "{package} names {found:?}");
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source is text");
                sources.push((path, text));
            }
        }
    }
    assert!(!sources.is_empty(), "{folder} holds no source");
    sources
}

#[track_caller]
fn assert_nowhere(sources: &[(PathBuf, String)], word: &str) {
    for (path, text) in sources {
        assert!(!text.contains(word), "{} has {word}", path.display());
    }
}

#[test]
fn shared_does_no_input_or_output() {
    assert_none_of("waxseal-shared", &INPUT_AND_OUTPUT);
    for word in [
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "std::io::std",
    ] {
        assert_nowhere(&sources("shared/src"), word);
    }
}

#[test]
fn only_shared_names_a_crypto_crate() {
    assert!(dependencies("waxseal-shared").contains("age"));
    assert_none_of("waxseal", &CRYPTO);
    assert_none_of("waxseal-controller", &CRYPTO);
}

#[test]
fn only_the_manifest_module_names_a_yaml_parser() {
    assert_none_of("waxseal", &YAML);
    assert_none_of("waxseal-controller", &YAML);
    let outside: Vec<_> = sources("shared/src")
        .into_iter()
        .filter(|(path, _)| !path.starts_with(root().join("shared/src/manifest")))
        .collect();
    assert_nowhere(&outside, "granit_parser");
}

#[test]
fn the_kubernetes_path_parses_no_yaml() {
    assert_nowhere(&sources("controller/src/kubernetes"), "manifest");
}

#[test]
fn no_code_of_ours_starts_a_program() {
    assert_nowhere(&sources("controller/src"), "process::Command");
    assert_nowhere(&sources("cli/src"), "process::Command");
}

#[test]
fn only_the_git_module_of_the_cli_reads_repositories() {
    assert!(dependencies("waxseal").contains("gix"));
    assert_none_of("waxseal-controller", &["gix"]);
    assert_none_of("waxseal-shared", &["gix"]);
    let is_git = |path: &Path| path == root().join("cli/src/git.rs") || path.starts_with(root().join("cli/src/git"));
    let outside: Vec<_> = sources("cli/src").into_iter().filter(|(path, _)| !is_git(path)).collect();
    assert_nowhere(&outside, "gix");
}

#[test]
fn programs_do_not_know_each_other() {
    assert_none_of("waxseal", &["waxseal-controller", "waxseal-tests"]);
    assert_none_of("waxseal-controller", &["waxseal", "waxseal-tests"]);
    assert_none_of("waxseal-shared", &["waxseal", "waxseal-controller", "waxseal-tests"]);
}

#[test]
fn the_top_of_the_tree_holds_what_it_should() {
    let allowed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "cli",
        "controller",
        "deploy",
        "shared",
        "target",
        "tests",
    ];
    let entries = std::fs::read_dir(root()).expect("the workspace's folder");
    for entry in entries {
        let name = entry.expect("a readable entry").file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_definitions_in_deploy_are_those_of_the_code() {
    let shipped = std::fs::read_to_string(root().join("deploy/crds.yaml")).expect("deploy/crds.yaml");
    assert!(
        shipped == waxseal_shared::crds::to_yaml(),
        "deploy/crds.yaml is stale: cargo run -p waxseal-controller -- manifests > deploy/crds.yaml"
    );
}

/// The packages of a lock file: name, version and checksum, which is empty for those of this tree.
fn locked(path: &str) -> BTreeSet<[String; 3]> {
    let text = std::fs::read_to_string(root().join(path)).expect("a lock file");
    let field = |package: &str, name: &str| {
        let value = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let packages = text.split("[[package]]").skip(1);
    packages.map(|package| ["name", "version", "checksum"].map(|name| field(package, name))).collect()
}

#[test]
fn fuzzers_are_built_from_what_the_programs_are_built_from() {
    const OWN: [&str; 3] = ["arbitrary", "libfuzzer-sys", "waxseal-fuzz"];
    const REMEDY: &str = "cp Cargo.lock tests/fuzz/ && cargo metadata --manifest-path tests/fuzz/Cargo.toml";
    let (ours, theirs) = (locked("Cargo.lock"), locked("tests/fuzz/Cargo.lock"));
    let others: Vec<_> = theirs.difference(&ours).filter(|[name, ..]| !OWN.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "tests/fuzz/Cargo.lock has {others:?}: {REMEDY}");
    for needed in dependencies("waxseal-shared") {
        assert!(theirs.iter().any(|[name, ..]| *name == needed), "tests/fuzz/Cargo.lock lacks {needed}: {REMEDY}");
    }
}

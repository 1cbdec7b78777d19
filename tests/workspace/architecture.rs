//! The architecture of the crates: which crate and module may name which dependency.

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

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata answers")
}

pub(crate) fn dependencies(package: &str) -> BTreeSet<String> {
    let metadata = metadata();
    let package =
        metadata.packages.iter().find(|found| found.name == package).expect("the package is in the workspace");
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
    assert!(!sources.is_empty(), "{folder} has no source");
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
fn the_kubernetes_backend_parses_no_yaml() {
    assert_nowhere(&sources("controller/src/kubernetes"), "manifest");
}

#[test]
fn no_program_starts_another_program() {
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
fn only_one_module_names_the_library_for_globs() {
    let own = root().join("cli/src/configuration/globs.rs");
    let outside: Vec<_> = sources("cli/src").into_iter().filter(|(path, _)| *path != own).collect();
    assert_nowhere(&outside, "globset");
}

#[test]
fn the_programs_do_not_depend_on_each_other() {
    assert_none_of("waxseal", &["waxseal-controller", "waxseal-tests"]);
    assert_none_of("waxseal-controller", &["waxseal", "waxseal-tests"]);
    assert_none_of("waxseal-shared", &["waxseal", "waxseal-controller", "waxseal-tests"]);
}

#[test]
fn the_top_folder_has_only_known_entries() {
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

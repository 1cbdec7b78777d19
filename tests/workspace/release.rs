//! The files of a release, made from text files in place of the programs, and what `cargo binstall` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use waxseal_tests::release::{self, CHECKSUMS, PROGRAMS, REPOSITORY, TARGETS, VERSION};

use crate::architecture::{metadata, root};

/// The names of the targets in krew and in a formula.
const SYSTEMS: [[&str; 5]; 4] = [
    ["aarch64-apple-darwin", "darwin", "arm64", "on_macos", "on_arm"],
    ["aarch64-unknown-linux-gnu", "linux", "arm64", "on_linux", "on_arm"],
    ["x86_64-apple-darwin", "darwin", "amd64", "on_macos", "on_intel"],
    ["x86_64-unknown-linux-gnu", "linux", "amd64", "on_linux", "on_intel"],
];

static FILES: LazyLock<BTreeMap<String, Vec<u8>>> =
    LazyLock::new(|| release::files(programs().path()).expect("the files of a release"));

fn programs() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for [triple, ..] in SYSTEMS {
        let place = folder.path().join(triple);
        fs::create_dir(&place).expect("the folder is writable");
        for program in PROGRAMS {
            fs::write(place.join(program), said_by(program, triple)).expect("the folder is writable");
        }
    }
    folder
}

fn said_by(program: &str, triple: &str) -> String {
    format!("{program} for {triple}")
}

fn text(name: &str) -> &str {
    std::str::from_utf8(&FILES[name]).expect("text")
}

fn digest(name: &str) -> String {
    Sha256::digest(&FILES[name]).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn archive(triple: &str) -> String {
    format!("waxseal-{VERSION}-{triple}.tar.gz")
}

fn address(triple: &str) -> String {
    format!("{REPOSITORY}/releases/download/v{VERSION}/{}", archive(triple))
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The paths in an archive, as tar lists them.
fn paths(triple: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("archive");
    fs::write(&file, &FILES[&archive(triple)]).expect("the folder is writable");
    run(Command::new("tar").arg("-tzf").arg(file)).lines().map(str::to_owned).collect()
}

#[test]
fn a_release_has_an_archive_for_each_target_and_these_files() {
    let archives = SYSTEMS.iter().map(|[triple, ..]| archive(triple));
    let bills = PROGRAMS.iter().map(|program| format!("{program}-{VERSION}.cdx.json"));
    let others = [CHECKSUMS, "waxseal.rb", "waxseal.yaml"].map(str::to_owned);
    let expected: BTreeSet<_> = archives.chain(bills).chain(others).collect();
    assert_eq!(FILES.keys().cloned().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_same_programs_give_the_same_bytes() {
    let again = release::files(programs().path()).expect("the files of a release");
    let differing: Vec<_> = again.iter().filter(|(name, content)| FILES.get(*name) != Some(content)).collect();
    assert!(differing.is_empty(), "{:?}", differing.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn sha256sum_accepts_the_checksums_of_all_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("new");
    release::write(programs().path(), &place).expect("the folder is writable");
    let said = run(Command::new("sha256sum").args(["--check", "--strict", CHECKSUMS]).current_dir(&place));
    let checked: BTreeSet<_> = said.lines().filter_map(|line| line.strip_suffix(": OK")).collect();
    let files: BTreeSet<_> = FILES.keys().map(String::as_str).filter(|name| *name != CHECKSUMS).collect();
    assert_eq!(checked, files);
    // `shasum --check` of macOS wants two spaces.
    assert!(text(CHECKSUMS).lines().all(|line| line.get(64..66) == Some("  ")));
}

#[test]
fn each_archive_holds_the_programs_of_its_target() {
    for [triple, ..] in SYSTEMS {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("archive"), &FILES[&archive(triple)]).expect("the folder is writable");
        run(Command::new("tar").args(["-xzf", "archive"]).current_dir(folder.path()));
        let place = folder.path().join(format!("waxseal-{VERSION}-{triple}"));
        for program in PROGRAMS {
            assert_eq!(fs::read_to_string(place.join(program)).expect("a program"), said_by(program, triple));
            let mode = fs::metadata(place.join(program)).expect("a program").permissions().mode();
            assert_eq!(mode & 0o777, 0o755);
        }
        for name in ["LICENSE", "README.md"] {
            let read = |folder: &Path| fs::read(folder.join(name)).expect(name);
            assert!(read(&place) == read(&root()), "{name}");
        }
    }
}

#[test]
fn a_missing_program_is_named() {
    let folder = programs();
    let missing = folder.path().join("x86_64-apple-darwin/waxseal-controller");
    fs::remove_file(&missing).expect("the program is there");
    let refused = release::files(folder.path()).expect_err("a program is missing").to_string();
    assert_eq!(refused, format!("failed to read {}", missing.display()));
}

/// What krew requires of a plugin (`ValidatePlugin`), and of a plugin in its index.
#[test]
fn the_manifest_for_krew_has_the_form_of_a_plugin() {
    let plugin: Value = serde_saphyr::from_str(text("waxseal.yaml")).expect("YAML");
    assert_eq!(plugin["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(plugin["kind"], "Plugin");
    assert_eq!(plugin["metadata"], json!({"name": "waxseal"}));
    let spec = plugin["spec"].as_object().expect("a spec");
    assert_eq!(spec["version"], format!("v{VERSION}"));
    assert!(spec["shortDescription"].as_str().is_some_and(|words| words.len() <= 50 && !words.contains('\n')));
    let known = ["description", "homepage", "platforms", "shortDescription", "version"];
    assert!(spec.keys().all(|key| known.contains(&key.as_str())), "{spec:?}");
}

#[test]
fn the_manifest_for_krew_names_the_archives_and_files_in_them() {
    let plugin: Value = serde_saphyr::from_str(text("waxseal.yaml")).expect("YAML");
    let platforms = plugin["spec"]["platforms"].as_array().expect("a list");
    assert_eq!(platforms.len(), SYSTEMS.len());
    for [triple, system, processor, ..] in SYSTEMS {
        let names = ["waxseal", "LICENSE"].map(|name| format!("waxseal-{VERSION}-{triple}/{name}"));
        let platform = json!({
            "selector": {"matchLabels": {"os": system, "arch": processor}},
            "uri": address(triple),
            "sha256": digest(&archive(triple)),
            "files": names.each_ref().map(|name| json!({"from": name, "to": "."})),
            "bin": "waxseal",
        });
        assert!(platforms.contains(&platform), "{platforms:#?}");
        assert!(paths(triple).is_superset(&BTreeSet::from(names)));
    }
}

#[test]
fn the_formula_names_the_archives() {
    let (mut system, mut processor, mut url) = ("", "", "");
    let mut found = BTreeSet::new();
    for line in text("waxseal.rb").lines().map(str::trim) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            [name @ ("on_macos" | "on_linux"), "do"] => system = name,
            [name @ ("on_arm" | "on_intel"), "do"] => processor = name,
            ["url", address] => url = address,
            ["sha256", digest] => assert!(found.insert([system, processor, url, digest].map(str::to_owned))),
            _ => {}
        }
    }
    let quoted = |text: String| format!("\"{text}\"");
    let expected = SYSTEMS.map(|[triple, .., system, processor]| {
        [system.to_owned(), processor.to_owned(), quoted(address(triple)), quoted(digest(&archive(triple)))]
    });
    assert_eq!(found, BTreeSet::from(expected));
    assert!(text("waxseal.rb").contains(&format!("  version \"{VERSION}\"\n")));
}

/// The variables are those of binstall's SUPPORT.md.
#[test]
fn binstall_finds_the_programs_in_the_archives() {
    for program in PROGRAMS {
        let packages = metadata().packages;
        let package = packages.iter().find(|package| package.name == program).expect("a package");
        let (repository, version) = (package.repository.as_deref().unwrap_or_default(), package.version.to_string());
        let settings = package.metadata["binstall"].as_object().expect("settings of binstall");
        assert_eq!(settings.len(), 3);
        assert_eq!(settings["pkg-fmt"], "tgz");
        for [triple, ..] in SYSTEMS {
            let expand = |setting: &str| {
                let template = settings[setting].as_str().expect("a template").to_owned();
                let values = [("repo", repository), ("version", &version), ("target", triple), ("bin", program)];
                values.iter().fold(template, |text, (name, value)| text.replace(&format!("{{ {name} }}"), value))
            };
            assert_eq!(expand("pkg-url"), address(triple));
            assert!(paths(triple).contains(&expand("bin-dir")), "{}", expand("bin-dir"));
        }
    }
}

#[test]
fn chart_and_kustomize_use_the_image_of_the_release() {
    let read = |name: &str| fs::read_to_string(root().join("deploy").join(name)).expect(name);
    let values: Value = serde_saphyr::from_str(&read("chart/values.yaml")).expect("YAML");
    assert_eq!(values["image"]["repository"], release::image());
    assert_eq!(values["image"]["tag"], "");
    let deployment: Value = serde_saphyr::from_str(&read("kustomize/base/deployment.yaml")).expect("YAML");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("{}:{VERSION}", release::image()));
}

#[test]
fn the_release_has_these_four_targets() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|target| target.triple).collect();
    assert_eq!(targets, SYSTEMS.iter().map(|[triple, ..]| *triple).collect());
}

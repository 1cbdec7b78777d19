//! The bills of materials: they list what Cargo compiles for the programs, with the checksums of `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use waxseal_tests::release::{self, PROGRAMS, TARGETS, VERSION};

use crate::architecture::root;

fn bill(program: &str) -> Value {
    serde_json::from_str(&release::sbom(program).expect("a bill of materials")).expect("JSON")
}

fn words<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect(field)
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().expect(field)
}

/// The packages, as `NAME@VERSION`, that Cargo would compile for all targets, also for macros and build scripts.
///
/// Only Cargo's own plan has exactly these. The option is unstable, and `RUSTC_BOOTSTRAP` makes a stable Cargo take it.
fn planned(program: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "-Z", "unstable-options", "--unit-graph", "--locked", "--release"])
        .args(["--package", program])
        .args(TARGETS.iter().flat_map(|target| ["--target", target.triple]))
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = items(&plan, "units").iter().map(|unit| words(unit, "pkg_id"));
    packages.map(|id| id.rsplit('#').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_components_are_what_cargo_compiles_for_all_targets() {
    for program in PROGRAMS {
        let bill = bill(program);
        let others = items(&bill, "components").iter();
        let all = others.chain([&bill["metadata"]["component"]]);
        let listed: Vec<_> = all.map(|part| format!("{}@{}", words(part, "name"), words(part, "version"))).collect();
        let set: BTreeSet<_> = listed.iter().cloned().collect();
        assert_eq!(set.len(), listed.len(), "a component is there twice");
        let compiled = planned(program);
        assert!(compiled.len() > 200);
        let differing: Vec<_> = set.symmetric_difference(&compiled).collect();
        assert!(differing.is_empty(), "{program}: {differing:?}");
    }
}

#[test]
fn each_component_has_the_checksum_of_the_lock_file() {
    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("a lock file");
    for program in PROGRAMS {
        for part in items(&bill(program), "components") {
            let (name, version) = (words(part, "name"), words(part, "version"));
            if name == "waxseal-shared" {
                assert_eq!(part["hashes"], Value::Null);
                assert_eq!(words(part, "purl"), format!("pkg:github/waxseal/waxseal@v{VERSION}#shared"));
                continue;
            }
            let [hash] = items(part, "hashes") else { panic!("{name} has other than one hash") };
            assert_eq!(words(hash, "alg"), "SHA-256");
            let locked = format!(
                "name = \"{name}\"\nversion = \"{version}\"\nsource = \"{REGISTRY}\"\nchecksum = \"{}\"\n",
                words(hash, "content")
            );
            assert!(lock.contains(&locked), "{locked}");
        }
    }
}

#[test]
fn every_component_is_needed_by_the_program() {
    for program in PROGRAMS {
        let bill = bill(program);
        let entries = items(&bill, "dependencies").iter();
        let needs: BTreeMap<_, _> = entries.map(|entry| (words(entry, "ref"), items(entry, "dependsOn"))).collect();
        let mut open = vec![words(&bill["metadata"]["component"], "bom-ref")];
        let mut reached = BTreeSet::new();
        while let Some(reference) = open.pop() {
            if reached.insert(reference) {
                open.extend(needs[reference].iter().filter_map(Value::as_str));
            }
        }
        assert_eq!(reached.len(), items(&bill, "components").len() + 1);
    }
}

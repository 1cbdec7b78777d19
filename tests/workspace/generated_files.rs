//! Generated files are up to date: the resource definitions and the lock file of the fuzz targets.

use waxseal_tests::lock_file;

use crate::architecture::{dependencies, root};

#[test]
fn the_definitions_in_deploy_match_the_code() {
    const PATH: &str = "deploy/kustomize/definitions/crds.yaml";
    let shipped = std::fs::read_to_string(root().join(PATH)).expect(PATH);
    assert!(
        shipped == waxseal_shared::crds::to_yaml(),
        "{PATH} is stale: cargo run -p waxseal-controller -- manifests > {PATH}"
    );
}

#[test]
fn the_fuzz_targets_use_the_same_dependencies_as_the_programs() {
    const OWN: [&str; 3] = ["arbitrary", "libfuzzer-sys", "waxseal-fuzz"];
    const REMEDY: &str = "cp Cargo.lock tests/fuzz/ && cargo metadata --manifest-path tests/fuzz/Cargo.toml";
    let packages = |path| lock_file::packages(path).expect("a lock file");
    let (workspace, fuzz) = (packages("Cargo.lock"), packages("tests/fuzz/Cargo.lock"));
    let others: Vec<_> = fuzz.difference(&workspace).filter(|[name, ..]| !OWN.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "tests/fuzz/Cargo.lock has {others:?}: {REMEDY}");
    for needed in dependencies("waxseal-shared") {
        assert!(fuzz.iter().any(|[name, ..]| *name == needed), "tests/fuzz/Cargo.lock lacks {needed}: {REMEDY}");
    }
}

//! The seeds and past findings of the fuzz targets, run with the stable compiler.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use waxseal_tests::fuzz::{self, TARGETS};

/// The target whose seeds are written by hand, because they cannot be derived from sealed objects.
const BY_HAND: &str = "manifest";

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind)
}

/// The files of a folder, sorted; none if the folder does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    files.sort();
    files
}

fn replay(kind: &str, target: &str, run: fn(&[u8])) -> usize {
    let files = files(&folder(kind).join(target));
    for file in &files {
        let input = fs::read(file).expect("an input");
        assert!(catch_unwind(|| run(&input)).is_ok(), "{target} fails on {}", file.display());
    }
    files.len()
}

#[test]
fn every_seed_and_past_finding_passes_its_target() {
    for (target, run) in TARGETS {
        assert!(replay("seeds", target, run) > 0, "{target} has no seeds");
        replay("crashes", target, run);
    }
}

#[test]
fn every_seed_belongs_to_a_target_of_cargo_fuzz() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("the fuzz targets' manifest");
    let built: BTreeSet<_> =
        manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|bin| bin.split('"').next()).collect();
    assert_eq!(built, TARGETS.map(|(target, _)| target).into());
    for folder in files(&folder("seeds")).into_iter().chain(files(&folder("crashes"))) {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a folder with a name");
        assert!(built.contains(name), "{name} is not a target");
    }
}

#[test]
fn the_seeds_are_up_to_date() {
    let derived = fuzz::seeds::derived(fuzz::objects());
    for ((target, name), expected) in &derived {
        let found = fs::read(folder("seeds").join(target).join(name)).unwrap_or_default();
        assert!(found == *expected, "{target}/{name} is stale; tests/fuzz/src/lib.rs says how to make seeds");
    }
    for (target, _) in TARGETS.iter().filter(|(target, _)| *target != BY_HAND) {
        let seeds = derived.keys().filter(|(of, _)| of == target).count();
        assert_eq!(files(&folder("seeds").join(target)).len(), seeds, "{target} has seeds that are not derived");
    }
}

/// With a seed that does not open, the fuzzer would not reach the code after opening.
#[test]
fn the_sealed_objects_of_the_seeds_open_except_the_revoked_object() {
    for object in fuzz::objects() {
        let sealed = waxseal_shared::format::Sealed::decode(object).expect("an object that was sealed");
        let opened = waxseal_shared::open::open(&sealed, fuzz::ring());
        assert_eq!(opened.is_ok(), sealed.name.as_str() != "revoked", "{}", sealed.name);
    }
}

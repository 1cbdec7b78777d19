//! Replays the fuzz targets' seeds and past findings on a stable compiler.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use waxseal_tests::fuzz::{self, TARGETS};

/// Inputs for the manifest reader are written by hand: nothing that was sealed gives them.
const BY_HAND: &str = "manifest";

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind)
}

/// The files of a folder that may be absent, sorted.
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
fn every_seed_and_every_past_finding_passes_its_target() {
    for (target, run) in TARGETS {
        assert!(replay("seeds", target, run) > 0, "{target} has no seeds");
        replay("crashes", target, run);
    }
}

#[test]
fn seeds_and_findings_belong_to_targets_that_cargo_fuzz_builds() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("the fuzz targets' manifest");
    let built: BTreeSet<_> =
        manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|bin| bin.split('"').next()).collect();
    assert_eq!(built, TARGETS.map(|(target, _)| target).into());
    for folder in files(&folder("seeds")).into_iter().chain(files(&folder("crashes"))) {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a folder with a name");
        assert!(built.contains(name), "{name} is no target");
    }
}

#[test]
fn seeds_are_those_that_the_sealed_objects_give() {
    let derived = fuzz::seeds::derived(fuzz::objects());
    for ((target, name), expected) in &derived {
        let found = fs::read(folder("seeds").join(target).join(name)).unwrap_or_default();
        assert!(found == *expected, "{target}/{name} is stale; the library's documentation says how to make seeds");
    }
    for (target, _) in TARGETS.iter().filter(|(target, _)| *target != BY_HAND) {
        let seeds = derived.keys().filter(|(of, _)| of == target).count();
        assert_eq!(files(&folder("seeds").join(target)).len(), seeds, "{target} has seeds that nothing gives");
    }
}

/// A seed that does not get through tells the fuzzer nothing of what lies behind.
#[test]
fn the_sealed_objects_open_but_the_revoked_one() {
    for object in fuzz::objects() {
        let sealed = waxseal_shared::format::Sealed::decode(object).expect("an object that was sealed");
        let opened = waxseal_shared::open::open(&sealed, fuzz::ring());
        assert_eq!(opened.is_ok(), sealed.name.as_str() != "revoked", "{}", sealed.name);
    }
}

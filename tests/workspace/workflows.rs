//! The workflows: what they build, what they may do, and which actions they trust. `tests/system` lints them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use waxseal_tests::release::TARGETS;

use crate::architecture::root;

const NAMES: [&str; 2] = ["ci.yml", "release.yml"];

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(".github/workflows").join(name)).expect("a workflow")
}

fn workflow(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).expect("YAML")
}

fn jobs(workflow: &Value) -> &serde_json::Map<String, Value> {
    workflow["jobs"].as_object().expect("jobs")
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().expect("steps")
}

fn has_command(job: &Value, command: &str) -> bool {
    steps(job).iter().any(|step| step["run"].as_str().is_some_and(|run| run.contains(command)))
}

#[test]
fn each_action_is_pinned_to_one_commit_and_says_its_version() {
    let mut pinned = BTreeMap::new();
    for name in NAMES {
        for line in text(name).lines().filter_map(|line| line.split_once("uses: ")) {
            let (action, pin) = line.1.split_once('@').expect("a pin");
            let (commit, version) = pin.split_once(" # v").expect("a version");
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
            let (major, _) = version.split_once('.').expect("a whole version");
            assert!(major.parse::<u32>().is_ok(), "{action}");
            assert_eq!(*pinned.entry(action.to_owned()).or_insert(pin.to_owned()), pin, "{action}");
        }
    }
    assert_eq!(pinned.len(), 6, "{pinned:?}");
}

#[test]
fn each_job_has_only_the_permissions_that_it_needs() {
    let registry = json!({"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"});
    for name in NAMES {
        let workflow = workflow(name);
        assert_eq!(workflow["permissions"], json!({}), "{name}");
        for (job, settings) in jobs(&workflow) {
            let expected = match job.as_str() {
                "image" | "chart" => registry.clone(),
                "release" => json!({"contents": "write", "id-token": "write", "attestations": "write"}),
                _ => json!({"contents": "read"}),
            };
            assert_eq!(settings["permissions"], expected, "{name}: {job}");
        }
    }
}

#[test]
fn no_checkout_leaves_its_token_behind() {
    for name in NAMES {
        let workflow = workflow(name);
        let all = jobs(&workflow).values().flat_map(steps);
        let is_checkout =
            |step: &&Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@"));
        let checkouts: Vec<_> = all.filter(is_checkout).collect();
        assert!(!checkouts.is_empty());
        assert!(checkouts.iter().all(|step| step["with"]["persist-credentials"] == false), "{name}");
    }
}

#[test]
fn nothing_is_published_before_all_checks_have_passed() {
    let workflow = workflow("release.yml");
    let jobs = jobs(&workflow);
    assert!(has_command(&jobs["check"], ".ci/run") && has_command(&jobs["check"], "release -- names"));
    for job in ["image", "chart", "release"] {
        let mut open = vec![job];
        let mut before = BTreeSet::new();
        while let Some(job) = open.pop() {
            let needs = jobs[job]["needs"].as_array().into_iter().flatten();
            open.extend(needs.filter_map(Value::as_str).filter(|needed| before.insert(*needed)));
        }
        assert!(["check", "programs", "files", "image-binary"].iter().all(|needed| before.contains(needed)), "{job}");
    }
    assert!(has_command(&self::workflow("ci.yml")["jobs"]["check"], ".ci/run"));
}

#[test]
fn the_programs_are_built_for_each_target_by_the_toolchain_of_the_workspace() {
    for name in NAMES {
        assert_eq!(workflow(name)["env"]["RUSTUP_TOOLCHAIN"], env!("CARGO_PKG_RUST_VERSION"), "{name}");
    }
    let workflow = workflow("release.yml");
    let matrix = workflow["jobs"]["programs"]["strategy"]["matrix"]["include"].as_array().expect("a matrix");
    let built: BTreeSet<_> = matrix.iter().filter_map(|build| build["target"].as_str()).collect();
    assert_eq!(built, TARGETS.iter().map(|target| target.triple).collect());
}

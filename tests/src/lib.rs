//! Support code for the tests, the benchmarks and the demo. No program of Waxseal uses it.
//!
//! # Where the tests are
//!
//! | folder | tests | needs |
//! | --- | --- | --- |
//! | `tests/cli` | `waxseal`, as a process | the programs |
//! | `tests/directory` | `waxseal-controller directory`, as a process on folders | the programs |
//! | `tests/system` | both programs on a real API server | the cluster, the image, the programs of [`assets`], openssl, Node.js, Python |
//! | `tests/controller` | `waxseal-controller kubernetes`, as a process without an API server | the programs |
//! | `tests/workspace` | the architecture of the crates, generated files, the chart, the vectors, the seeds of the fuzz targets, the files of a release, the workflows | nothing else |
//! | `tests/allocator` | the allocator that wipes freed memory | nothing else |
//! | `tests/clock` | no tests: the library that replaces the wall clock of a program | nothing else |
//! | `tests/fuzz` | the fuzz targets; `cargo test` runs their seeds | nothing else |
//! | `tests/benches` | times and memory on a real API server | the cluster, the program of the image |
//!
//! # Which module serves what
//!
//! | module | purpose |
//! | --- | --- |
//! | [`programs`] | builds the programs under test in the profile of the test |
//! | [`cluster`] | a Kubernetes API server: start and stop, clients, kubeconfigs, namespaces, the audit log |
//! | [`installation`] | applies `deploy/` to a cluster, and starts controllers on it as processes |
//! | [`image`] | builds the image of `deploy/image`, and runs its program as a Pod does |
//! | [`assets`] | finds or builds the programs of other projects: Kubernetes, kubectl, etcd, age, helm, kustomize, kubeconform, actionlint; builds the builder of images |
//! | [`typage`], [`python`] | install age in TypeScript; the second reader of the format, and the CycloneDX library |
//! | [`prerequisites`] | checks what the machine must have, before anything is built |
//! | [`processes`] | process groups that end with the test, however it ends |
//! | [`freezing_proxy`] | a proxy between controller and API server whose connections can fall silent |
//! | [`terminal`] | pseudo-terminals, for programs that ask for passphrases |
//! | [`many_objects`] | SealedSecrets for the benchmarks |
//! | [`canaries`], [`memory`] | search files, logs and the memory of a process for secrets |
//! | [`bounds`] | runs a program with limits on memory and processor time |
//! | [`clock`] | moves the wall clock of the real programs while they run |
//! | [`tampering`] | sealed text with one wrong character |
//! | [`waiting`] | waits for a condition with a deadline, instead of sleeping |
//! | [`fixtures`] | Secret manifests for tests of sealing |
//! | [`chart`] | the generated files of `deploy/chart` |
//! | [`release`], [`lock_file`] | makes the files of a release; the packages in `Cargo.lock` |
//! | [`vectors`], [`fuzz`] | make the vectors of the format, and the inputs of the fuzz targets |
//!
//! # How a system test gets what it needs
//!
//! A test of `tests/system` is a name and a function, listed in the `tests()` of its module (`registration.rs` explains
//! the forms). It gets a `Context`: a cluster that all tests share, with a controller in it.
//!
//! ```text
//! async fn materialises(context: &Context) -> TestResult {
//!     // A namespace of this test. It is deleted when the value is dropped.
//!     let namespace = context.cluster.namespace("materialises").await?;
//!     // Seals with the real program, creates the object, and waits for the controller's judgement.
//!     context.create_sealed(&namespace, "db", "hunter2").await?;
//!     let secret = namespace.api::<Secret>().get("db").await?;
//!     assert_eq!(values(&secret), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
//!     Ok(())
//! }
//! ```
//!
//! A test that changes rights or keys uses `Test::on_own_cluster`. It gets a cluster without a controller, calls
//! [`installation::apply`], and starts its controller with [`Controller::start`](installation::Controller::start). A
//! test that stops the API server uses `Test::blocking`: it waits for its `own_cluster_slot` and starts its cluster
//! itself.
//!
//! # Where files go, and what removes them
//!
//! Some tests and the demo have temporary folders, which they remove, and Go has its own caches. All other files are
//! below Cargo's target folder ([`target_folder`]):
//!
//! - `target/test-assets`: programs that are built or installed once. They stay for the next run; `cargo clean` removes
//!   them. An entry is complete: it is built elsewhere and renamed.
//! - `target/test-clusters/run-…`: the keys, data and logs of one cluster, and the files of its tests
//!   ([`Cluster::folder`](cluster::Cluster::folder)).
//! - `target/waxseal-directory/run-…`: the folders of one test of `tests/directory`.
//!
//! Each folder `run-…` and the processes that work on it belong to a [`ProcessGroup`](processes::ProcessGroup). The
//! group kills its processes and removes its folder when the test program ends, also after a panic, Ctrl-C or SIGKILL.
//! No test has to clean up.
//!
//! The tests never read the user's kubeconfig or Git configuration.

use std::error::Error;

mod asset_cache;
pub mod assets;
pub mod bounds;
pub mod canaries;
mod certificates;
pub mod chart;
pub mod clock;
pub mod cluster;
pub mod fixtures;
pub mod freezing_proxy;
#[path = "../fuzz/src/lib.rs"]
pub mod fuzz;
mod go_build;
pub mod image;
pub mod installation;
pub mod lock_file;
pub mod many_objects;
pub mod memory;
pub mod prerequisites;
pub mod processes;
pub mod programs;
pub mod python;
pub mod release;
pub mod tampering;
pub mod target_folder;
pub mod terminal;
pub mod typage;
pub mod vectors;
pub mod waiting;

/// Returns the failed operation and each of its causes, with a colon before each cause.
pub fn report(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::report;

    #[test]
    fn a_report_names_each_cause() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = crate::processes::Error::Start { program: "etcd".into(), source: missing };
        assert_eq!(report(&error), "failed to start etcd: entity not found");
    }
}

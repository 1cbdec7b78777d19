//! What the system tests and the demo stand on: a real Kubernetes API server, the programs under
//! test, and the certainty that neither leaves anything running.
//!
//! Everything is written below Cargo's target folder (and Go's own caches). The user's kubeconfig
//! and Git configuration are never read.

use std::error::Error;

mod asset_cache;
pub mod assets;
pub mod bounds;
pub mod canaries;
mod certificates;
pub mod cluster;
pub mod fixtures;
pub mod freezing_proxy;
#[path = "../fuzz/src/lib.rs"]
pub mod fuzz;
mod go_build;
pub mod installation;
pub mod memory;
pub mod prerequisites;
pub mod processes;
pub mod programs;
pub mod python;
pub mod target_folder;
pub mod terminal;
pub mod typage;
pub mod vectors;
pub mod waiting;

/// One line that names the failed operation and each of its causes.
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

//! Tests of `waxseal-controller` as a process without a cluster: its arguments, and an API server that does not answer.
//! Tests with a cluster are in `tests/system`, and tests of the work on folders in `tests/directory`.

mod arguments;
mod unreachable_api_server;

use std::process::{Command, Stdio};

use tempfile::TempDir;
use waxseal_tests::programs;

/// A kubeconfig whose API server does not exist.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: dead, cluster: {server: 'https://127.0.0.1:1'}}]
contexts: [{name: dead, context: {cluster: dead, user: dead}}]
users: [{name: dead, user: {}}]
";

/// Writes [`KUBECONFIG`] to a temporary folder. Returns the folder and the path of the file.
fn kubeconfig() -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, KUBECONFIG).expect("written");
    let path = path.to_str().expect("a plain path").to_owned();
    (folder, path)
}

/// The controller, without the environment of the tests and with a log of JSON on stderr.
fn controller(arguments: &[&str]) -> Command {
    let programs = programs::build().expect("the programs");
    let mut command = Command::new(programs.waxseal_controller);
    command.env_clear().args(["--log-format", "json"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

//! The programs under test.

use std::ffi::OsString;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use cargo_metadata::Message;

use crate::target_folder;

/// The paths of the programs after the build.
#[derive(Clone, Debug)]
pub struct Programs {
    pub waxseal: PathBuf,
    pub waxseal_controller: PathBuf,
    /// The library of `tests/clock`, which [`crate::clock`] gives to programs.
    pub clock: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TargetFolder(#[from] target_folder::Error),
    #[error("failed to run cargo")]
    Cargo(#[from] io::Error),
    #[error("failed to build the programs under test: cargo ended ({0}), its errors are above")]
    Build(ExitStatus),
    #[error("failed to build the programs under test: the workspace has no {0}")]
    Absent(&'static str),
}

/// Builds all programs of the workspace, with the profile of the running program.
///
/// Cargo builds only the packages that a test or `cargo run` names: without this build, the programs would be absent or
/// outdated. It builds the whole workspace, as `cargo test` does, so that the features are the same and nothing is
/// compiled twice. Runs cargo once per process, with its progress on stderr.
pub fn build() -> Result<Programs, Error> {
    static BUILT: Mutex<Option<Programs>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(programs) = &*built {
        return Ok(programs.clone());
    }
    let programs = run_cargo(&target_folder::find()?, &target_folder::profile()?)?;
    Ok(built.insert(programs).clone())
}

fn run_cargo(target: &Path, profile: &str) -> Result<Programs, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut child = Command::new(cargo)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--workspace", "--bins", "--lib", "--profile", profile])
        .arg("--message-format=json-render-diagnostics")
        // An absolute path: CARGO_TARGET_DIR can be relative to another current folder.
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().expect("stdout is piped above");
    let files = built_files(BufReader::new(output));
    let status = child.wait()?;
    if !status.success() {
        return Err(Error::Build(status));
    }
    Programs::among(&files?)
}

fn built_files(output: impl io::BufRead) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for message in Message::parse_stream(output) {
        if let Message::CompilerArtifact(artifact) = message? {
            files.extend(artifact.filenames.into_iter().map(PathBuf::from));
        }
    }
    Ok(files)
}

impl Programs {
    fn among(files: &[PathBuf]) -> Result<Self, Error> {
        let find = |name| {
            let mut named = files.iter().filter(|path| path.ends_with(name));
            named.next().cloned().ok_or(Error::Absent(name))
        };
        let (waxseal, waxseal_controller) = (find("waxseal")?, find("waxseal-controller")?);
        Ok(Self { waxseal, waxseal_controller, clock: find("libwaxseal_tests_clock.so")? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_absent_program_is_named() {
        let files = [PathBuf::from("/t/debug/waxseal")];
        let error = Programs::among(&files).expect_err("the controller is absent");
        assert_eq!(
            error.to_string(),
            "failed to build the programs under test: the workspace has no waxseal-controller"
        );
    }

    #[test]
    fn built_files_are_read_from_cargo_messages() {
        let artifact = json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///w/cli#waxseal@0.1.0",
            "manifest_path": "/w/cli/Cargo.toml",
            "target": {"kind": ["bin"], "crate_types": ["bin"], "name": "waxseal", "src_path": "/w/cli/src/main.rs"},
            "profile": {"opt_level": "0", "debug_assertions": true, "overflow_checks": true, "test": false},
            "features": [],
            "filenames": ["/t/debug/waxseal"],
            "executable": "/t/debug/waxseal",
            "fresh": true,
        });
        let output = format!("{artifact}\n{{\"reason\":\"build-finished\",\"success\":true}}\n");
        assert_eq!(built_files(output.as_bytes()).expect("two messages"), [PathBuf::from("/t/debug/waxseal")]);
    }
}

//! typage, the implementation of age in TypeScript, from the packages that `tests/typage` pins.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::asset_cache::{self, AssetCache, say, wait_visibly};
use crate::processes::{self, ProcessGroup};
use crate::target_folder;

const PACKAGE: &str = include_str!("../typage/package.json");
const LOCK: &str = include_str!("../typage/package-lock.json");
const SCRIPT: &str = include_str!("../typage/age.mjs");
const SCRIPT_FILE: &str = "age.mjs";
/// The name and version in messages for people.
pub(crate) const TITLE: &str = "typage v0.3.1";
/// The oldest Node.js that all packages of the lock file support.
pub(crate) const NODE_VERSION: &str = "20.19.0";

/// An installed typage.
#[derive(Clone, Debug)]
pub struct Typage {
    script: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TargetFolder(#[from] target_folder::Error),
    #[error("failed to prepare {}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("failed to start npm")]
    Processes(#[from] processes::Error),
    #[error("`npm ci` failed to install {TITLE}:\n{0}")]
    Failed(String),
}

/// Finds typage in the cache of the tests, or installs it there with its progress on stderr.
///
/// A second call, also in another process, runs no `npm` and needs no network.
pub fn prepare() -> Result<Typage, Error> {
    Installation::below(&target_folder::find()?).prepare()
}

/// Whether [`prepare`] would find typage in the cache.
pub(crate) fn is_installed() -> Result<bool, target_folder::Error> {
    Ok(Installation::below(&target_folder::find()?).is_complete())
}

impl Typage {
    /// Returns the command `node age.mjs` without the user's settings except `PATH`. `age.mjs` explains its arguments.
    pub fn command(&self) -> Command {
        let mut node = Command::new("node");
        node.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).arg(&self.script);
        node
    }
}

struct Installation {
    assets: AssetCache,
}

impl Installation {
    fn below(target: &Path) -> Self {
        Self { assets: AssetCache::new(target) }
    }

    fn entry(&self) -> String {
        format!("typage-{}", asset_cache::digest(&[PACKAGE, LOCK, SCRIPT]))
    }

    fn script(&self) -> PathBuf {
        self.assets.folder().join(self.entry()).join(SCRIPT_FILE)
    }

    fn is_complete(&self) -> bool {
        self.script().is_file()
    }

    fn prepare(&self) -> Result<Typage, Error> {
        let make = |group: &ProcessGroup| -> Result<PathBuf, Error> {
            let folder = group.folder().join("typage");
            lay_out(&folder).map_err(|source| self.error(source))?;
            self.install(&folder, group)?;
            Ok(folder)
        };
        self.assets.fill(&self.entry(), || self.is_complete(), |source| self.error(source), make)?;
        Ok(Typage { script: self.script() })
    }

    fn install(&self, folder: &Path, group: &ProcessGroup) -> Result<(), Error> {
        let start = Instant::now();
        say(&format!("installing {TITLE} with npm, a few seconds"));
        let log = group.folder().join("npm.log");
        let output = File::create(&log).map_err(|source| self.error(source))?;
        let mut npm = Command::new("npm");
        npm.current_dir(folder)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--cache"])
            // A cache of its own, which is removed with the process group: the user's cache stays as it is.
            .arg(group.folder().join("npm-cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let mut process = group.spawn(&mut npm)?;
        let status = wait_visibly(&mut process, &format!("installing {TITLE}"), start);
        if status.map_err(|source| self.error(source))?.success() {
            say(&format!("installed {TITLE} in {} s", start.elapsed().as_secs()));
            return Ok(());
        }
        Err(Error::Failed(processes::last_lines(&log, 15)))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Files { path: self.assets.folder().to_owned(), source }
    }
}

fn lay_out(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK), (SCRIPT_FILE, SCRIPT)] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn packages() -> serde_json::Map<String, Value> {
        let lock: Value = serde_json::from_str(LOCK).expect("the lock file is JSON");
        lock["packages"].as_object().expect("it has packages").clone()
    }

    #[test]
    fn the_versions_for_people_are_those_of_the_lock_file() {
        let packages = packages();
        let version = packages["node_modules/age-encryption"]["version"].as_str();
        assert_eq!(version.map(|version| format!("typage v{version}")).as_deref(), Some(TITLE));
        for engine in packages.values().filter_map(|package| package["engines"]["node"].as_str()) {
            assert_eq!(engine, format!(">= {NODE_VERSION}"));
        }
    }

    #[test]
    fn the_lock_file_has_a_digest_for_each_package_and_names_no_registry() {
        for (name, package) in packages().iter().filter(|(name, _)| !name.is_empty()) {
            assert!(package["integrity"].as_str().is_some_and(|text| text.starts_with("sha512-")), "{name}");
            assert!(package["resolved"].is_null(), "{name}");
        }
    }

    #[test]
    fn only_a_complete_installation_counts() {
        let target = tempfile::tempdir().expect("a folder");
        let installation = Installation::below(target.path());
        assert!(!installation.is_complete());
        let made = target.path().join("made");
        lay_out(&made).expect("the folder is writable");
        drop(installation.assets.lock().expect("nobody else is here"));
        installation.assets.keep(&made, &installation.entry()).expect("the folder is writable");
        assert!(installation.is_complete());
    }
}

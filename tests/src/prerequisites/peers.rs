//! Programs that the tests compare Waxseal with, or need for the recipes of the README.

use std::ffi::OsStr;

use super::{Version, run};
use crate::{python, typage};

/// The programs of this kind that a machine has.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    pub(super) openssl: bool,
    pub(super) node: Option<Version>,
    pub(super) npm: bool,
    /// Whether typage is in the cache, so that npm is not needed.
    pub(super) typage_is_installed: bool,
    pub(super) python: Option<Version>,
    /// Whether Python can make an environment with pip. On Debian this is a package of its own.
    pub(super) venv: bool,
    /// Whether both environments of this Python are in the cache, so that venv is not needed.
    pub(super) python_is_installed: bool,
}

impl Peers {
    pub(super) fn probe(path: &OsStr, typage_is_installed: bool, python_is_installed: bool) -> Self {
        Self {
            openssl: run(path, "openssl", &["version"]).is_some(),
            node: node_version(path),
            npm: run(path, "npm", &["--version"]).is_some(),
            typage_is_installed,
            python: python_version(path),
            venv: run(path, "python3", &["-c", "import ensurepip, venv"]).is_some(),
            python_is_installed,
        }
    }

    /// Returns what is missing, each with the commands that install it.
    pub(super) fn missing(&self) -> [Option<String>; 5] {
        [self.missing_openssl(), self.missing_node(), self.missing_npm(), self.missing_python(), self.missing_venv()]
    }

    fn missing_openssl(&self) -> Option<String> {
        let advice = "
  openssl: PATH has none that runs
    Debian, Ubuntu: sudo apt-get install openssl
    elsewhere:      https://openssl-library.org/source";
        (!self.openssl).then(|| advice.to_owned())
    }

    fn missing_node(&self) -> Option<String> {
        let needed = Version::parse(typage::NODE_VERSION).unwrap_or_default();
        let found = match &self.node {
            Some(version) if *version >= needed => return None,
            Some(version) => format!("PATH has {version}"),
            None => "PATH has none that runs".to_owned(),
        };
        let archive = format!("v{needed}/node-v{needed}-{}-{}.tar.gz", std::env::consts::OS, processor());
        let archive = archive.replace("-macos-", "-darwin-");
        Some(format!(
            "
  Node.js {needed} or newer, to run {}: {found}
    Debian, Ubuntu: sudo apt-get install nodejs npm (`apt-cache policy nodejs` says how new)
    elsewhere:      curl -fsSL https://nodejs.org/dist/{archive} | sudo tar -xz -C /usr/local --strip-components=1",
            typage::TITLE
        ))
    }

    fn missing_npm(&self) -> Option<String> {
        // npm is installed together with Node.js, so the advice for Node.js is enough.
        let is_missing = !self.npm && !self.typage_is_installed && self.missing_node().is_none();
        is_missing.then(|| {
            format!(
                "
  npm, to install {}: PATH has none that runs
    Debian, Ubuntu: sudo apt-get install npm
    elsewhere:      it comes with Node.js, https://nodejs.org/en/download",
                typage::TITLE
            )
        })
    }

    fn missing_python(&self) -> Option<String> {
        let found = match &self.python {
            Some(_) if self.python_is_installed => return None,
            Some(version) if is_served(version) => return None,
            Some(version) => format!("PATH has {version}"),
            None => "PATH has none that runs".to_owned(),
        };
        let [oldest, newest] = python::VERSIONS;
        Some(format!(
            "
  Python {oldest} to {newest}, to run the Python reader: {found}
    Debian, Ubuntu: sudo apt-get install python3 python3-venv (`apt-cache policy python3` says how new)
    elsewhere:      https://www.python.org/downloads, and `python3` of such a version first in PATH"
        ))
    }

    fn missing_venv(&self) -> Option<String> {
        let is_missing = !self.venv && !self.python_is_installed && self.missing_python().is_none();
        is_missing.then(|| {
            format!(
                "
  Python's venv with pip, to install {}: `python3` has no module ensurepip
    Debian, Ubuntu: sudo apt-get install python3-venv
    elsewhere:      it comes with Python, https://www.python.org/downloads",
                python::TITLE
            )
        })
    }
}

/// Whether the pinned packages support this Python. `VERSIONS` has no patch numbers.
fn is_served(version: &Version) -> bool {
    let Version([major, minor, _]) = *version;
    let [oldest, newest] = python::VERSIONS.map(|version| Version::parse(version).unwrap_or_default());
    (oldest..=newest).contains(&Version([major, minor, 0]))
}

/// Parses output of the form `Python 3.11.7`.
fn python_version(path: &OsStr) -> Option<Version> {
    let output = run(path, "python3", &["--version"])?;
    Version::parse(String::from_utf8_lossy(&output.stdout).strip_prefix("Python ")?)
}

/// Parses output of the form `v20.20.2`.
fn node_version(path: &OsStr) -> Option<Version> {
    let output = run(path, "node", &["--version"])?;
    Version::parse(String::from_utf8_lossy(&output.stdout).strip_prefix('v')?)
}

fn processor() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        processor => processor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Peers {
        Peers {
            openssl: true,
            node: Version::parse("20.19.0"),
            npm: true,
            typage_is_installed: false,
            python: Version::parse("3.10.0"),
            venv: true,
            python_is_installed: false,
        }
    }

    fn message(peers: &Peers) -> String {
        peers.missing().into_iter().flatten().collect()
    }

    #[test]
    fn a_complete_machine_lacks_nothing() {
        assert_eq!(message(&complete()), "");
    }

    #[test]
    fn a_missing_openssl_is_named() {
        assert_eq!(
            message(&Peers { openssl: false, ..complete() }),
            "
  openssl: PATH has none that runs
    Debian, Ubuntu: sudo apt-get install openssl
    elsewhere:      https://openssl-library.org/source"
        );
    }

    #[test]
    fn a_missing_or_old_node_is_named_and_brings_npm() {
        for (version, found) in [(None, "PATH has none that runs"), (Version::parse("18.20.4"), "PATH has 18.20.4")] {
            let message = message(&Peers { node: version, npm: false, ..complete() });
            let first = format!("\n  Node.js 20.19.0 or newer, to run typage v0.3.1: {found}\n");
            assert!(message.starts_with(&first), "{message}");
            assert!(message.contains("\n    Debian, Ubuntu: sudo apt-get install nodejs npm ("), "{message}");
            assert!(message.contains("https://nodejs.org/dist/v20.19.0/node-v20.19.0-"), "{message}");
            assert_eq!(message.lines().count(), 4, "{message}");
        }
    }

    #[test]
    fn a_missing_npm_is_named_while_there_is_something_to_install() {
        let peers = Peers { npm: false, ..complete() };
        assert_eq!(
            message(&peers),
            "
  npm, to install typage v0.3.1: PATH has none that runs
    Debian, Ubuntu: sudo apt-get install npm
    elsewhere:      it comes with Node.js, https://nodejs.org/en/download"
        );
        assert_eq!(message(&Peers { typage_is_installed: true, ..peers }), "");
    }

    #[test]
    fn a_missing_old_or_new_python_is_named_and_brings_venv() {
        let found = [("", "none that runs"), ("3.9.2", "3.9.2"), ("3.15.0rc1", "3.15.0")];
        for (version, found) in found {
            assert_eq!(
                message(&Peers { python: Version::parse(version), venv: false, ..complete() }),
                format!(
                    "
  Python 3.10 to 3.14, to run the Python reader: PATH has {found}
    Debian, Ubuntu: sudo apt-get install python3 python3-venv (`apt-cache policy python3` says how new)
    elsewhere:      https://www.python.org/downloads, and `python3` of such a version first in PATH"
                )
            );
        }
        assert_eq!(message(&Peers { python: Version::parse("3.14.5"), ..complete() }), "");
    }

    #[test]
    fn a_missing_venv_is_named_while_there_is_something_to_install() {
        let peers = Peers { venv: false, ..complete() };
        assert_eq!(
            message(&peers),
            "
  Python's venv with pip, to install the packages of the Python reader: `python3` has no module ensurepip
    Debian, Ubuntu: sudo apt-get install python3-venv
    elsewhere:      it comes with Python, https://www.python.org/downloads"
        );
        assert_eq!(message(&Peers { python_is_installed: true, ..peers }), "");
    }

    #[test]
    fn the_readme_names_the_programs_and_their_versions() {
        let readme = include_str!("../../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let version = typage::NODE_VERSION.trim_end_matches(".0");
        let [oldest, newest] = python::VERSIONS;
        assert!(readme.contains(&format!(
            "Node.js {version} or newer with npm, Python {oldest} to {newest} with venv, and openssl."
        )));
    }
}

//! Programs that the tests compare Waxseal with, and run the README's recipes with.

use std::ffi::OsStr;

use super::{Version, run};
use crate::typage;

/// What a machine was found to have of them.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    pub(super) openssl: bool,
    pub(super) node: Option<Version>,
    pub(super) npm: bool,
    /// Whether npm has nothing left to install.
    pub(super) typage_is_installed: bool,
}

impl Peers {
    pub(super) fn probe(path: &OsStr, typage_is_installed: bool) -> Self {
        Self {
            openssl: run(path, "openssl", &["version"]).is_some(),
            node: node_version(path),
            npm: run(path, "npm", &["--version"]).is_some(),
            typage_is_installed,
        }
    }

    /// What is missing, each with the way to get it.
    pub(super) fn missing(&self) -> [Option<String>; 3] {
        [self.missing_openssl(), self.missing_node(), self.missing_npm()]
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
        // npm runs on Node.js, and comes with it.
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
}

/// The output has the form `v20.20.2`.
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
        Peers { openssl: true, node: Version::parse("20.19.0"), npm: true, typage_is_installed: false }
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
    fn the_readme_names_them() {
        let readme = include_str!("../../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let version = typage::NODE_VERSION.trim_end_matches(".0");
        assert!(readme.contains(&format!("Node.js {version} or newer with npm, and openssl.")));
    }
}

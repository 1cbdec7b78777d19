//! The files of a release, made from the version and the repository in `Cargo.toml`.
//!
//! The same programs and the same `Cargo.lock` give the same bytes: no file holds the time of its making or a random
//! number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};

mod archive;
mod formula;
mod krew;
mod sbom;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The home of the project, `https://github.com/OWNER/NAME`.
pub const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// The programs in each archive, named like their packages.
pub const PROGRAMS: [&str; 2] = ["waxseal", "waxseal-controller"];
/// The digests of all other files, in the form of `sha256sum`.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// A platform that a release has programs for.
#[derive(Debug)]
pub struct Target {
    /// The name in Rust.
    pub triple: &'static str,
    /// The names of system and processor in Go, which krew uses too.
    pub system: &'static str,
    pub processor: &'static str,
}

pub const TARGETS: [Target; 4] = [
    Target { triple: "aarch64-apple-darwin", system: "darwin", processor: "arm64" },
    Target { triple: "x86_64-apple-darwin", system: "darwin", processor: "amd64" },
    Target { triple: "aarch64-unknown-linux-gnu", system: "linux", processor: "arm64" },
    Target { triple: "x86_64-unknown-linux-gnu", system: "linux", processor: "amd64" },
];

impl Target {
    /// The only folder in the archive.
    pub fn folder(&self) -> String {
        format!("waxseal-{VERSION}-{}", self.triple)
    }

    pub fn archive(&self) -> String {
        format!("{}.tar.gz", self.folder())
    }

    /// The address of the archive after the release.
    pub fn address(&self) -> String {
        format!("{REPOSITORY}/releases/download/v{VERSION}/{}", self.archive())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the tag is {tag}, but the version in Cargo.toml is {VERSION}")]
    Tag { tag: String },
    #[error("the version is {version}: a tag of an image cannot hold the `+`")]
    BuildMetadata { version: String },
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to make the archive for {triple}")]
    Archive { triple: &'static str, source: io::Error },
    #[error("failed to read Cargo.lock")]
    Lock(#[source] io::Error),
    #[error("failed to run cargo tree")]
    Cargo(#[source] io::Error),
    #[error("`cargo tree` failed for {program}:\n{log}")]
    Tree { program: String, log: String },
    #[error("failed to understand `cargo tree`: {line}")]
    TreeLine { line: String },
}

/// The image of the controller, without a tag.
pub fn image() -> String {
    format!("{}/waxseal-controller", registry())
}

/// The folder of the registry that the chart `waxseal` is pushed to.
fn charts() -> String {
    format!("{}/charts", registry())
}

fn registry() -> String {
    let owner = REPOSITORY.rsplit('/').nth(1).unwrap_or_default();
    format!("ghcr.io/{owner}")
}

/// Returns what the workflow has to know, as lines `NAME=VALUE`. Refuses a tag that is not the one of the version, and
/// a version that no image can have.
pub fn names(tag: &str) -> Result<String, Error> {
    if tag != format!("v{VERSION}") {
        return Err(Error::Tag { tag: tag.to_owned() });
    }
    let is_prerelease = is_prerelease(VERSION)?;
    Ok(format!("version={VERSION}\nprerelease={is_prerelease}\nimage={}\ncharts={}\n", image(), charts()))
}

/// Whether a version comes before a release, as Semantic Versioning 2.0.0 defines it in section 9. Refuses build
/// metadata.
fn is_prerelease(version: &str) -> Result<bool, Error> {
    if version.contains('+') {
        return Err(Error::BuildMetadata { version: version.to_owned() });
    }
    Ok(version.contains('-'))
}

/// Returns all files of a release by name. `programs` has a folder for each target, named by its triple.
pub fn files(programs: &Path) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut files = BTreeMap::new();
    for target in &TARGETS {
        files.insert(target.archive(), archive(target, &programs.join(target.triple))?);
    }
    let digests = digests(&files);
    files.insert("waxseal.yaml".to_owned(), krew::manifest(&digests).into_bytes());
    files.insert("waxseal.rb".to_owned(), formula::text(&digests).into_bytes());
    for program in PROGRAMS {
        files.insert(format!("{program}-{VERSION}.cdx.json"), sbom(program)?.into_bytes());
    }
    files.insert(CHECKSUMS.to_owned(), checksums(&files).into_bytes());
    Ok(files)
}

/// Returns the archive for a target with the programs of a folder.
pub fn archive(target: &Target, programs: &Path) -> Result<Vec<u8>, Error> {
    archive::make(target, programs)
}

/// Returns the bill of materials of a program, in CycloneDX. It asks Cargo, which may download packages of other
/// targets.
pub fn sbom(program: &str) -> Result<String, Error> {
    sbom::text(program)
}

/// Writes all files of a release into a folder, which it makes.
pub fn write(programs: &Path, folder: &Path) -> Result<(), Error> {
    let files = files(programs)?;
    fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

/// The SHA-256 digests of files by their names, in hex.
type Digests = BTreeMap<String, String>;

fn digests(files: &BTreeMap<String, Vec<u8>>) -> Digests {
    let digest = |content: &[u8]| Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    files.iter().map(|(name, content)| (name.clone(), digest(content))).collect()
}

fn checksums(files: &BTreeMap<String, Vec<u8>>) -> String {
    digests(files).iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_of_the_version_is_released() {
        let found = names(&format!("v{VERSION}")).expect("the tag");
        assert!(found.starts_with(&format!("version={VERSION}\nprerelease=false\nimage=")), "{found}");
        for tag in [VERSION, "v0.0.9", "main", ""] {
            let refused = names(tag).expect_err(tag).to_string();
            assert_eq!(refused, format!("the tag is {tag}, but the version in Cargo.toml is {VERSION}"));
        }
    }

    #[test]
    fn a_version_with_a_hyphen_is_a_prerelease() {
        let found = ["1.0.0", "1.0.0-rc.1"].map(|version| is_prerelease(version).expect(version));
        assert_eq!(found, [false, true]);
        let refused = is_prerelease("1.0.0+5").expect_err("build metadata").to_string();
        assert_eq!(refused, "the version is 1.0.0+5: a tag of an image cannot hold the `+`");
    }
}

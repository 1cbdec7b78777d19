//! Checking what the machine must have, before the tests build or install anything.
//!
//! The error names everything that is missing, each with the command that installs it. Otherwise a person would install
//! one program, wait for minutes, and then learn of the next.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::go_build::{Module, go_processor, go_system};
use crate::{assets, python, target_folder, typage};

mod image;
mod peers;

use image::ImageNeeds;
use peers::Peers;

const GIB: u64 = 1 << 30;
/// Disk space in bytes for Go's caches and two copies of the programs, if a program must be built with Go.
const DISK_TO_BUILD: u64 = 6 * GIB;
/// Disk space in bytes for the cluster's data and logs, and the programs under test.
const DISK_TO_RUN: u64 = GIB;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TargetFolder(#[from] target_folder::Error),
    #[error(transparent)]
    Assets(#[from] assets::Error),
    #[error(transparent)]
    Missing(#[from] Missing),
}

/// Fails if this machine cannot prepare and run a cluster. Changes nothing.
///
/// Go is needed only if a program must be built with it.
pub fn check() -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let environment = Environment::probe(&path, target_folder::find()?, &assets::to_build()?);
    Ok(environment.check()?)
}

/// Like [`check`], and also fails without what only the tests need: programs of other projects, and what the image is
/// built and run with.
pub fn check_for_tests() -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let environment = Environment::probe(&path, target_folder::find()?, &assets::to_build_for_tests()?);
    let peers = Some(Peers::probe(&path, typage::is_installed()?, python::is_installed()?));
    let image = Some(ImageNeeds::probe(&path, &environment.target));
    Ok(Environment { peers, image, ..environment }.check()?)
}

/// The programs and the disk space of a machine.
#[derive(Clone, Debug)]
struct Environment {
    c_toolchain: bool,
    git: bool,
    go: Option<Version>,
    target: PathBuf,
    free_disk: u64,
    /// The programs that must be built with Go.
    to_build: Vec<String>,
    go_needed: Version,
    /// `None` if only a cluster is needed, as for the demo and the benchmarks.
    peers: Option<Peers>,
    /// `None` if only a cluster is needed, as for the demo and the benchmarks.
    image: Option<ImageNeeds>,
}

impl Environment {
    fn probe(path: &OsStr, target: PathBuf, to_build: &[&Module]) -> Self {
        let needed = to_build.iter().map(|module| module.go_version());
        Self {
            c_toolchain: links_a_program(path, &target, &[]),
            git: run(path, "git", &["--version"]).is_some(),
            go: go_version(path),
            free_disk: free_disk(&target),
            target,
            to_build: to_build.iter().map(|module| module.title()).collect(),
            go_needed: needed.filter_map(Version::parse).max().unwrap_or_default(),
            peers: None,
            image: None,
        }
    }

    fn check(&self) -> Result<(), Missing> {
        let own = [self.missing_c_toolchain(), self.missing_git(), self.missing_go(), self.missing_disk()];
        let peers = self.peers.iter().flat_map(Peers::missing);
        let image = self.image.iter().flat_map(ImageNeeds::missing);
        let missing: Vec<_> = own.into_iter().chain(peers).chain(image).flatten().collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Missing(missing.concat())),
        }
    }

    fn missing_c_toolchain(&self) -> Option<String> {
        let advice = "
  a C compiler and a linker: `cc` does not link an empty program
    Debian, Ubuntu: sudo apt-get install build-essential
    elsewhere:      install gcc or clang so that PATH has `cc`";
        (!self.c_toolchain).then(|| advice.to_owned())
    }

    fn missing_git(&self) -> Option<String> {
        let advice = "
  git: PATH has none that runs
    Debian, Ubuntu: sudo apt-get install git
    elsewhere:      https://git-scm.com/downloads";
        (!self.git).then(|| advice.to_owned())
    }

    fn missing_go(&self) -> Option<String> {
        let found = match &self.go {
            _ if self.to_build.is_empty() => return None,
            Some(version) if *version >= self.go_needed => return None,
            Some(version) => format!("PATH has {version}"),
            None => "PATH has none that runs".to_owned(),
        };
        let needed = &self.go_needed;
        let programs = self.to_build.join(", ");
        let archive = format!("go{needed}.{}-{}.tar.gz", go_system(), go_processor());
        Some(format!(
            "
  Go {needed} or newer, to build {programs}: {found}
    Debian, Ubuntu: sudo apt-get install golang-go (`apt-cache policy golang-go` says how new)
    elsewhere:      curl -fsSL https://go.dev/dl/{archive} | sudo tar -xz -C /usr/local
                    export PATH=/usr/local/go/bin:$PATH"
        ))
    }

    fn missing_disk(&self) -> Option<String> {
        let needed = match self.to_build.is_empty() {
            true => DISK_TO_RUN,
            false => DISK_TO_BUILD,
        };
        (self.free_disk < needed).then(|| {
            format!(
                "
  {} GiB of free disk: the file system of {} has {:.1} GiB
    everywhere:     cargo clean
                    or export CARGO_TARGET_DIR=(a folder on a larger disk)",
                needed / GIB,
                self.target.display(),
                self.free_disk as f64 / GIB as f64
            )
        })
    }
}

/// Everything that is missing, with the commands that install it, in several lines.
#[derive(Debug, thiserror::Error)]
#[error("this machine lacks{0}")]
pub struct Missing(String);

/// A version of Go, Node.js or Python without its suffix: `1.26rc1` counts as `1.26.0`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u32; 3]);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(leading_number);
        let major = numbers.next()??;
        let minor = numbers.next()??;
        let patch = numbers.next().flatten().unwrap_or_default();
        Some(Self([major, minor, patch]))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// Runs a program of `path`; `None` if it is absent or fails.
fn run(path: &OsStr, program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path);
    // Without it, Go would download another toolchain than the installed one.
    command.env("GOTOOLCHAIN", "local");
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output)
}

/// Parses output of the form `go version go1.26.8 linux/amd64`.
fn go_version(path: &OsStr) -> Option<Version> {
    let output = run(path, "go", &["version"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().filter_map(|word| word.strip_prefix("go")).find_map(Version::parse)
}

/// Links an empty program: a compiler without a linker or the C library would fail only minutes later.
fn links_a_program(path: &OsStr, folder: &Path, options: &[&str]) -> bool {
    let Ok(folder) = tempfile::tempdir_in(folder) else {
        return false;
    };
    let source = folder.path().join("empty.c");
    let written = std::fs::File::create(&source).and_then(|mut file| file.write_all(b"int main(void) { return 0; }\n"));
    let program = OsString::from(folder.path().join("empty"));
    let arguments = [source.as_os_str(), OsStr::new("-o"), &program];
    written.is_ok()
        && Command::new("cc")
            .args(options)
            .args(arguments)
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
}

fn free_disk(folder: &Path) -> u64 {
    // A file system that does not report its free space must not stop the tests.
    rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go_build::{AGE, ETCD};

    fn complete() -> Environment {
        Environment {
            c_toolchain: true,
            git: true,
            go: Version::parse("1.26.8"),
            target: PathBuf::from("/project/target"),
            free_disk: 7 * GIB,
            to_build: vec![ETCD.title(), AGE.title()],
            go_needed: Version([1, 26, 0]),
            peers: None,
            image: None,
        }
    }

    fn message(environment: &Environment) -> String {
        let missing = environment.check().expect_err("something is missing");
        missing.to_string()
    }

    #[test]
    fn a_complete_machine_passes() {
        assert!(complete().check().is_ok());
    }

    #[test]
    fn a_missing_c_compiler_is_named() {
        let environment = Environment { c_toolchain: false, ..complete() };
        assert_eq!(
            message(&environment),
            "this machine lacks
  a C compiler and a linker: `cc` does not link an empty program
    Debian, Ubuntu: sudo apt-get install build-essential
    elsewhere:      install gcc or clang so that PATH has `cc`"
        );
    }

    #[test]
    fn a_missing_git_is_named() {
        let environment = Environment { git: false, ..complete() };
        assert_eq!(
            message(&environment),
            "this machine lacks
  git: PATH has none that runs
    Debian, Ubuntu: sudo apt-get install git
    elsewhere:      https://git-scm.com/downloads"
        );
    }

    #[test]
    fn a_missing_go_is_named() {
        let environment = Environment { go: None, ..complete() };
        assert_eq!(message(&environment), go_message("PATH has none that runs"));
    }

    #[test]
    fn an_old_go_is_named() {
        let environment = Environment { go: Version::parse("1.24.4"), ..complete() };
        assert_eq!(message(&environment), go_message("PATH has 1.24.4"));
    }

    fn go_message(found: &str) -> String {
        format!(
            "this machine lacks
  Go 1.26.0 or newer, to build etcd v3.6.16, age and age-keygen and age-plugin-batchpass v1.3.2: {found}
    Debian, Ubuntu: sudo apt-get install golang-go (`apt-cache policy golang-go` says how new)
    elsewhere:      curl -fsSL https://go.dev/dl/go1.26.0.{}-{}.tar.gz | sudo tar -xz -C /usr/local
                    export PATH=/usr/local/go/bin:$PATH",
            go_system(),
            go_processor()
        )
    }

    #[test]
    fn a_full_disk_is_named() {
        let environment = Environment { free_disk: 5 * GIB + GIB / 2, ..complete() };
        assert_eq!(
            message(&environment),
            "this machine lacks
  6 GiB of free disk: the file system of /project/target has 5.5 GiB
    everywhere:     cargo clean
                    or export CARGO_TARGET_DIR=(a folder on a larger disk)"
        );
    }

    #[test]
    fn everything_missing_is_named_at_once() {
        let peers = Some(Peers {
            openssl: false,
            node: None,
            npm: false,
            typage_is_installed: false,
            python: None,
            venv: false,
            python_is_installed: false,
        });
        let image = Some(ImageNeeds { static_c_library: false, user_namespaces: false });
        let environment =
            Environment { c_toolchain: false, git: false, go: None, free_disk: 0, peers, image, ..complete() };
        let message = message(&environment);
        let own = ["\n  a C compiler", "\n  git:", "\n  Go 1.26.0", "\n  6 GiB"];
        for name in own.into_iter().chain([
            "\n  openssl:",
            "\n  Node.js",
            "\n  Python",
            "\n  the static C library",
            "\n  user namespaces",
        ]) {
            assert!(message.contains(name), "{name} in {message}");
        }
    }

    #[test]
    fn with_nothing_to_build_neither_go_nor_much_disk_is_needed() {
        let environment = Environment { go: None, free_disk: 2 * GIB, to_build: Vec::new(), ..complete() };
        assert!(environment.check().is_ok());
    }

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        let version = |text| Version::parse(text).expect("it is a version");
        assert!(version("1.9.7") < version("1.26.0"));
        assert_eq!(version("1.27rc1"), Version([1, 27, 0]));
        assert_eq!(Version::parse("devel"), None);
    }

    #[test]
    fn a_machine_without_programs_is_seen_as_such() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().as_os_str();
        let environment = Environment::probe(path, folder.path().to_owned(), &[&ETCD]);
        assert!(!environment.c_toolchain && !environment.git && environment.go.is_none());
        let peers = Peers::probe(path, false, false);
        assert!(!peers.openssl && peers.node.is_none() && !peers.npm && peers.python.is_none() && !peers.venv);
        assert!(environment.free_disk > 0);
    }

    #[test]
    fn each_hidden_program_is_reported_as_missing() {
        let programs = ["cc", "git", "go", "openssl", "node", "npm", "python3"];
        for hidden in programs {
            let folder = tempfile::tempdir().expect("a folder");
            for program in programs.iter().filter(|program| **program != hidden) {
                link(program, folder.path());
            }
            // The compiler finds its assembler and linker in PATH.
            link("as", folder.path());
            link("ld", folder.path());
            let path = folder.path().as_os_str();
            let environment = Environment::probe(path, folder.path().to_owned(), &[&ETCD]);
            assert_eq!(environment.c_toolchain, hidden != "cc", "cc");
            assert_eq!(environment.git, hidden != "git", "git");
            assert_eq!(environment.go.is_some(), hidden != "go", "go");
            let peers = Peers::probe(path, false, false);
            assert_eq!(peers.openssl, hidden != "openssl", "openssl");
            assert_eq!(peers.node.is_some(), hidden != "node", "node");
            assert_eq!(peers.npm, hidden != "npm" && hidden != "node", "npm");
            assert_eq!(peers.python.is_some() && peers.venv, hidden != "python3", "python3");
        }
    }

    /// Creates a link to a program of PATH, if PATH has it.
    fn link(program: &str, folder: &Path) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = std::env::split_paths(&path).map(|entry| entry.join(program));
        let found = match program {
            "python3" => python_itself(&path),
            _ => candidates.find(|candidate| candidate.is_file()),
        };
        if let Some(found) = found {
            std::os::unix::fs::symlink(found, folder.join(program)).expect("the folder is new");
        }
    }

    /// A program in PATH can be a script of a version manager, which needs other programs.
    fn python_itself(path: &OsStr) -> Option<PathBuf> {
        let output = run(path, "python3", &["-c", "import sys; print(sys.executable)"])?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end()))
    }
}

//! The project's Python programs (`tests/python`), and the virtual environments with their packages: the second reader
//! of the format, and the check of the bills of materials.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::asset_cache::{self, AssetCache, say, wait_visibly};
use crate::processes::{self, ProcessGroup};
use crate::target_folder;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
/// The name of the reader's packages in messages for people.
pub(crate) const TITLE: &str = "the packages of the Python reader";
const READER: Packages = Packages { title: TITLE, requirements: include_str!("../python/requirements.txt") };
const CYCLONEDX: Packages = Packages {
    title: "the CycloneDX library for Python",
    requirements: include_str!("../python/sbom-requirements.txt"),
};
/// The oldest and the newest Python that all pinned packages have wheels for.
pub(crate) const VERSIONS: [&str; 2] = ["3.10", "3.14"];
/// The arguments of pip that install the packages. The README has the same words.
const INSTALL: &str = "install --require-hashes --only-binary :all: -r requirements.txt";

/// The pinned packages of an environment.
#[derive(Clone, Copy, Debug)]
struct Packages {
    /// Their name in messages for people.
    title: &'static str,
    requirements: &'static str,
}

/// A virtual environment with pinned packages.
#[derive(Clone, Debug)]
pub struct Python {
    environment: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TargetFolder(#[from] target_folder::Error),
    #[error("failed to ask `python3` for its version")]
    Interpreter(#[source] io::Error),
    #[error("failed to prepare {}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("failed to start python3")]
    Processes(#[from] processes::Error),
    #[error("`python3 -m {module}` failed to install {title}:\n{log}")]
    Failed { module: &'static str, title: &'static str, log: String },
}

/// Finds the reader's environment in the cache of the tests, or creates it there with its progress on stderr.
///
/// A second call, also in another process, runs no `pip` and needs no network.
pub fn prepare() -> Result<Python, Error> {
    Installation::below(&target_folder::find()?, READER)?.prepare()
}

/// Finds or creates the environment with the CycloneDX library, as [`prepare`] does.
pub fn prepare_cyclonedx() -> Result<Python, Error> {
    Installation::below(&target_folder::find()?, CYCLONEDX)?.prepare()
}

/// Whether both environments are in the cache; false without `python3`.
pub(crate) fn is_installed() -> Result<bool, target_folder::Error> {
    let target = target_folder::find()?;
    let is_complete =
        |packages| Installation::below(&target, packages).is_ok_and(|installation| installation.is_complete());
    Ok([READER, CYCLONEDX].into_iter().all(is_complete))
}

/// The folder of the project's Python files.
pub fn sources() -> &'static Path {
    Path::new(SOURCES)
}

impl Python {
    /// The environment's folder, with `bin/python3` in it.
    pub fn environment(&self) -> &Path {
        &self.environment
    }

    /// Returns the command `python3 SCRIPT` for a script of the project, without the user's settings.
    pub fn command(&self, script: &str) -> Command {
        let mut python = Command::new(program(&self.environment));
        // Python would write its bytecode next to the sources.
        python.env_clear().arg("-B").arg(sources().join(script));
        python
    }
}

struct Installation {
    assets: AssetCache,
    packages: Packages,
    /// The Python that creates the environment. It is a part of the entry's name: an environment links to its Python.
    interpreter: String,
}

impl Installation {
    fn below(target: &Path, packages: Packages) -> Result<Self, Error> {
        let interpreter = interpreter().map_err(Error::Interpreter)?;
        Ok(Self { assets: AssetCache::new(target), packages, interpreter })
    }

    fn entry(&self) -> String {
        format!("python-{}", asset_cache::digest(&[self.packages.requirements, &self.interpreter]))
    }

    fn environment(&self) -> PathBuf {
        self.assets.folder().join(self.entry())
    }

    fn is_complete(&self) -> bool {
        program(&self.environment()).is_file()
    }

    fn prepare(&self) -> Result<Python, Error> {
        // Scripts such as `bin/pip` contain the path from before the rename: only `bin/python3` works.
        let make = |group: &ProcessGroup| -> Result<PathBuf, Error> {
            let environment = group.folder().join("python");
            self.make(&environment, group)?;
            Ok(environment)
        };
        self.assets.fill(&self.entry(), || self.is_complete(), |source| self.error(source), make)?;
        Ok(Python { environment: self.environment() })
    }

    fn make(&self, environment: &Path, group: &ProcessGroup) -> Result<(), Error> {
        let Packages { title, requirements: text } = self.packages;
        let start = Instant::now();
        say(&format!("installing {title} with pip, a few seconds"));
        let requirements = group.folder().join("requirements.txt");
        fs::write(&requirements, text).map_err(|source| self.error(source))?;
        self.run("venv", python("python3").args(["-m", "venv"]).arg(environment), group, start)?;
        self.run("pip", pip(environment).current_dir(group.folder()), group, start)?;
        say(&format!("installed {title} in {} s", start.elapsed().as_secs()));
        Ok(())
    }

    fn run(
        &self,
        module: &'static str,
        command: &mut Command,
        group: &ProcessGroup,
        start: Instant,
    ) -> Result<(), Error> {
        let title = self.packages.title;
        let log = group.folder().join("python.log");
        let output = File::create(&log).map_err(|source| self.error(source))?;
        // `venv` writes its errors to stdout.
        let stdout = output.try_clone().map_err(|source| self.error(source))?;
        let mut process = group.spawn(command.stdin(Stdio::null()).stdout(stdout).stderr(output))?;
        let status = wait_visibly(&mut process, &format!("installing {title}"), start);
        if status.map_err(|source| self.error(source))?.success() {
            return Ok(());
        }
        Err(Error::Failed { module, title, log: processes::last_lines(&log, 15) })
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Files { path: self.assets.folder().to_owned(), source }
    }
}

fn program(environment: &Path) -> PathBuf {
    environment.join("bin/python3")
}

/// Returns version and location of the `python3` in `PATH`.
fn interpreter() -> io::Result<String> {
    let script = "import sys; print(sys.version, sys.base_prefix)";
    let output = python("python3").args(["-c", script]).stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// Returns a `python3` command that ignores the user's folders of modules.
fn python(program: impl AsRef<OsStr>) -> Command {
    let mut python = Command::new(program);
    python.env_remove("PYTHONHOME").env_remove("PYTHONPATH");
    python
}

/// Returns a `pip` command that keeps the user's index, proxy and certificates, and ignores settings that change what
/// is installed, or where.
///
/// For pip, a variable overrides a configuration file, and an argument overrides both. An empty variable overrides
/// nothing.
fn pip(environment: &Path) -> Command {
    let mut pip = python(program(environment));
    pip.args(["-m", "pip"])
        .args(INSTALL.split(' '))
        .args(["--no-cache-dir", "--no-input", "--disable-pip-version-check"])
        .args(["--no-user", "--target=", "--root=/", "--prefix"])
        .arg(environment)
        .env("PIP_CONSTRAINT", "/dev/null")
        .env("PIP_DRY_RUN", "0");
    pip
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    const README: &str = include_str!("../../README.md");
    /// Writes the smallest valid wheel.
    const MAKE_WHEEL: &str = r#"
import zipfile
with zipfile.ZipFile("probe-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("probe.py", "")
    wheel.writestr("probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
    wheel.writestr("probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("probe-1.0.dist-info/RECORD", "probe.py,,\nprobe-1.0.dist-info/RECORD,,\n")
"#;

    #[track_caller]
    fn run(command: &mut Command) {
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns a pip configuration that names an index, and has settings that would change what is installed, or where.
    fn settings(folder: &Path) -> String {
        let place = folder.display();
        format!(
            "[global]\nno-index = true\nfind-links = {place}\n[install]\nuser = true\ntarget = {place}/target\n\
             prefix = {place}/prefix\nroot = {place}/root\nconstraint = {place}/constraint\nno-binary = :all:\n\
             dry-run = true\nrequire-virtualenv = true\n"
        )
    }

    #[test]
    fn pip_keeps_the_users_index_and_ignores_other_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        run(python("python3").args(["-c", MAKE_WHEEL]).current_dir(folder.path()));
        let wheel = fs::read(file("probe-1.0-py3-none-any.whl")).expect("it was made");
        let digest: String = Sha256::digest(wheel).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(file("requirements.txt"), format!("probe==1.0 --hash=sha256:{digest}\n")).expect("writable");
        fs::write(file("constraint"), "probe==2.0\n").expect("writable");
        fs::write(file("pip.conf"), settings(folder.path())).expect("writable");
        let environment = file("environment");
        run(python("python3").args(["-m", "venv"]).arg(&environment));
        let mut pip = pip(&environment);
        // These variables would override the file.
        pip.env_remove("PIP_NO_INDEX").env_remove("PIP_FIND_LINKS");
        run(pip.current_dir(folder.path()).env("PIP_CONFIG_FILE", file("pip.conf")));
        run(python(program(&environment)).args(["-c", "import probe"]));
    }

    #[test]
    fn every_requirement_is_pinned_with_digests_and_none_names_a_registry() {
        for text in [READER, CYCLONEDX].map(|packages| packages.requirements) {
            let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
            let (digests, packages): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("--hash=sha256:"));
            assert!(packages.len() >= 2 && digests.len() > packages.len());
            for package in packages {
                assert!(package.contains("==") && package.ends_with('\\'), "{package}");
            }
            assert!(!text.contains("://"));
        }
    }

    #[test]
    fn the_readme_installs_what_the_tests_install() {
        assert!(README.contains(&format!("pip {INSTALL}`")));
    }

    #[test]
    fn only_a_complete_environment_for_this_python_counts() {
        let target = tempfile::tempdir().expect("a folder");
        let made_by = |interpreter: &str| Installation {
            assets: AssetCache::new(target.path()),
            packages: READER,
            interpreter: interpreter.to_owned(),
        };
        let installation = made_by("3.11.2 /usr");
        assert!(!installation.is_complete());
        let made = target.path().join("made");
        fs::create_dir_all(made.join("bin")).expect("the folder is writable");
        fs::write(program(&made), "").expect("the folder is writable");
        drop(installation.assets.lock().expect("nobody else is here"));
        installation.assets.keep(&made, &installation.entry()).expect("the folder is writable");
        assert!(installation.is_complete());
        assert!(!made_by("3.11.3 /usr").is_complete());
    }
}

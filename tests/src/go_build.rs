//! Building programs from the Go modules that `tests/go` pins, and the cache that keeps them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::Access;

use crate::asset_cache::{self, AssetCache, say, wait_visibly};
use crate::processes::{self, ProcessGroup};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");

/// A Go module below `tests/go`: its programs are those of its `tool` lines, or its own source code.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its folder below `tests/go`.
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// The source code of the programs that are this project's own.
    source: &'static str,
    /// The dependency whose version is the programs' version.
    origin: &'static str,
    programs: &'static [Program],
    /// Whether `KUBEBUILDER_ASSETS` is a source of the programs.
    pub(crate) is_kubernetes: bool,
    /// The duration of a build with two cores and empty caches, for the message to people.
    duration: &'static str,
}

#[derive(Debug)]
struct Program {
    name: &'static str,
    package: &'static str,
}

pub(crate) const KUBERNETES: Module = Module {
    name: "kubernetes",
    go_mod: include_str!("../go/kubernetes/go.mod"),
    go_sum: include_str!("../go/kubernetes/go.sum"),
    source: "",
    origin: "k8s.io/kubernetes",
    programs: &[
        Program { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" },
        Program { name: "kube-controller-manager", package: "k8s.io/kubernetes/cmd/kube-controller-manager" },
    ],
    is_kubernetes: true,
    duration: "about 5 minutes on two cores",
};

/// A module of its own: `KUBEBUILDER_ASSETS` replaces the programs of [`KUBERNETES`], but not kubectl.
pub(crate) const KUBECTL: Module = Module {
    name: "kubectl",
    go_mod: include_str!("../go/kubectl/go.mod"),
    go_sum: include_str!("../go/kubectl/go.sum"),
    source: "",
    origin: "k8s.io/kubernetes",
    programs: &[Program { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" }],
    is_kubernetes: false,
    duration: "about 30 seconds",
};

pub(crate) const ETCD: Module = Module {
    name: "etcd",
    go_mod: include_str!("../go/etcd/go.mod"),
    go_sum: include_str!("../go/etcd/go.sum"),
    source: "",
    origin: "go.etcd.io/etcd/server/v3",
    programs: &[Program { name: "etcd", package: "go.etcd.io/etcd/server/v3" }],
    is_kubernetes: true,
    duration: "about 30 seconds",
};

pub(crate) const AGE: Module = Module {
    name: "age",
    go_mod: include_str!("../go/age/go.mod"),
    go_sum: include_str!("../go/age/go.sum"),
    source: "",
    origin: "filippo.io/age",
    programs: &[
        Program { name: "age", package: "filippo.io/age/cmd/age" },
        Program { name: "age-keygen", package: "filippo.io/age/cmd/age-keygen" },
        // `age -p` asks for the passphrase at a terminal. This plugin reads it from the environment.
        Program { name: "age-plugin-batchpass", package: "filippo.io/age/cmd/age-plugin-batchpass" },
    ],
    is_kubernetes: false,
    duration: "about 20 seconds",
};

pub(crate) const HELM: Module = Module {
    name: "helm",
    go_mod: include_str!("../go/helm/go.mod"),
    go_sum: include_str!("../go/helm/go.sum"),
    source: "",
    origin: "helm.sh/helm/v4",
    programs: &[Program { name: "helm", package: "helm.sh/helm/v4/cmd/helm" }],
    is_kubernetes: false,
    duration: "about 3 minutes on two cores",
};

/// The pinned version has the same library as the pinned kubectl, for `kubectl apply -k`.
pub(crate) const KUSTOMIZE: Module = Module {
    name: "kustomize",
    go_mod: include_str!("../go/kustomize/go.mod"),
    go_sum: include_str!("../go/kustomize/go.sum"),
    source: "",
    origin: "sigs.k8s.io/kustomize/kustomize/v5",
    programs: &[Program { name: "kustomize", package: "sigs.k8s.io/kustomize/kustomize/v5" }],
    is_kubernetes: false,
    duration: "about 40 seconds",
};

pub(crate) const KUBECONFORM: Module = Module {
    name: "kubeconform",
    go_mod: include_str!("../go/kubeconform/go.mod"),
    go_sum: include_str!("../go/kubeconform/go.sum"),
    source: "",
    origin: "github.com/yannh/kubeconform",
    programs: &[Program { name: "kubeconform", package: "github.com/yannh/kubeconform/cmd/kubeconform" }],
    is_kubernetes: false,
    duration: "about 30 seconds",
};

/// A program of this project around the parser of buildah, which needs no container engine.
pub(crate) const IMAGE_BUILDER: Module = Module {
    name: "image-builder",
    go_mod: include_str!("../go/image-builder/go.mod"),
    go_sum: include_str!("../go/image-builder/go.sum"),
    source: include_str!("../go/image-builder/main.go"),
    origin: "github.com/openshift/imagebuilder",
    programs: &[Program { name: "image-builder", package: "." }],
    is_kubernetes: false,
    duration: "about 20 seconds",
};

pub(crate) const ACTIONLINT: Module = Module {
    name: "actionlint",
    go_mod: include_str!("../go/actionlint/go.mod"),
    go_sum: include_str!("../go/actionlint/go.sum"),
    source: "",
    origin: "github.com/rhysd/actionlint",
    programs: &[Program { name: "actionlint", package: "github.com/rhysd/actionlint/cmd/actionlint" }],
    is_kubernetes: false,
    duration: "about 20 seconds",
};

/// What a cluster, the demo and most tests need.
pub(crate) const MODULES: [&Module; 4] = [&KUBERNETES, &KUBECTL, &ETCD, &AGE];
/// What only some tests need: those of `deploy/`, of the image and of the workflows.
pub(crate) const ON_DEMAND: [&Module; 5] = [&HELM, &KUSTOMIZE, &KUBECONFORM, &ACTIONLINT, &IMAGE_BUILDER];

impl Module {
    /// The version of the programs, such as `v1.36.3`.
    pub(crate) fn version(&self) -> &'static str {
        word_after(self.go_mod, self.origin).expect("go.mod requires the module's origin")
    }

    /// The oldest Go that builds the module, such as `1.26.0`.
    pub(crate) fn go_version(&self) -> &'static str {
        word_after(self.go_mod, "go").expect("go.mod has a go line")
    }

    pub(crate) fn program_names(&self) -> impl Iterator<Item = &'static str> {
        self.programs.iter().map(|program| program.name)
    }

    /// The programs and their version in a form for people: `kube-apiserver and kube-controller-manager v1.36.3`.
    pub(crate) fn title(&self) -> String {
        let names: Vec<_> = self.program_names().collect();
        format!("{} {}", names.join(" and "), self.version())
    }

    /// The linker flags that set the version. Without them Kubernetes reports v0.0.0-master, and clients that check the
    /// version refuse it.
    fn linker_flags(&self) -> String {
        let version = self.version().trim_start_matches('v');
        let mut numbers = version.split('.');
        let (major, minor) = (numbers.next(), numbers.next());
        let set = "-X k8s.io/component-base/version.git";
        format!(
            "-s -w {set}Version=v{version} {set}Major={} {set}Minor={} {set}TreeState=clean",
            major.unwrap_or_default(),
            minor.unwrap_or_default(),
        )
    }

    /// Returns a digest of everything that decides what is built: an outdated cache entry is never used.
    fn cache_key(&self) -> String {
        let digest = asset_cache::digest(&[self.go_mod, self.go_sum, self.source, &self.linker_flags()]);
        format!("{}-{}-{digest}", self.name, self.version())
    }
}

/// Returns the word after `name` on a line of a `go.mod`, inside or outside of a block.
fn word_after<'a>(go_mod: &'a str, name: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("require ").unwrap_or(line);
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next()).flatten()
    })
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to prepare {}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("failed to start a build")]
    Processes(#[from] processes::Error),
    #[error("`go build {package}` failed:\n{log}")]
    Failed { package: String, log: String },
}

/// The folder of built programs. A module that is in it is complete.
#[derive(Debug)]
pub(crate) struct Cache {
    target: PathBuf,
    assets: AssetCache,
}

impl Cache {
    pub(crate) fn new(target: &Path) -> Self {
        Self { target: target.to_owned(), assets: AssetCache::new(target) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.assets.folder()
    }

    /// The path of the program after its module is built.
    pub(crate) fn program(&self, module: &Module, name: &str) -> PathBuf {
        self.folder().join(module.cache_key()).join(name)
    }

    pub(crate) fn holds(&self, module: &Module) -> bool {
        module.program_names().all(|name| self.program(module, name).is_file())
    }

    /// Builds the module unless it is in the cache, with its progress on stderr.
    ///
    /// Test runs that need the module at the same time share one build: the others wait for it.
    pub(crate) fn fill(&self, module: &Module) -> Result<(), Error> {
        let build = |group: &ProcessGroup| -> Result<PathBuf, Error> {
            self.build(module, group)?;
            Ok(group.folder().join("programs"))
        };
        self.assets.fill(&module.cache_key(), || self.holds(module), |source| self.error(source), build)
    }

    fn build(&self, module: &Module, group: &ProcessGroup) -> Result<(), Error> {
        let title = module.title();
        let start = Instant::now();
        say(&format!("building {title} from Go modules, {}", module.duration));
        for program in module.programs {
            self.build_program(module, program, group, start)?;
        }
        say(&format!("built {title} in {} s", start.elapsed().as_secs()));
        Ok(())
    }

    fn build_program(
        &self,
        module: &Module,
        program: &Program,
        group: &ProcessGroup,
        start: Instant,
    ) -> Result<(), Error> {
        let log = group.folder().join("go-build.log");
        let output = File::create(&log).map_err(|source| self.error(source))?;
        let mut go = go(&self.target);
        go.current_dir(Path::new(FOLDER).join(module.name))
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags"])
            .arg(module.linker_flags())
            .arg("-o")
            .arg(group.folder().join("programs").join(program.name))
            .arg(program.package)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let mut process = group.spawn(&mut go)?;
        let status = wait_visibly(&mut process, &format!("building {}", program.name), start);
        if status.map_err(|source| self.error(source))?.success() {
            return Ok(());
        }
        Err(Error::Failed { package: program.package.to_owned(), log: processes::last_lines(&log, 15) })
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Files { path: self.folder().to_owned(), source }
    }
}

/// Returns a `go` command without the settings of the user that change what is built.
///
/// These variables must not be absent or empty: Go would then use the values that `go env -w` has stored.
fn go(target: &Path) -> Command {
    let mut go = Command::new("go");
    go.env("GOFLAGS", "-mod=readonly")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .env("GOOS", go_system())
        .env("GOARCH", go_processor());
    if !home_is_usable() {
        // By default Go makes its module cache read-only, and `cargo clean` cannot remove it.
        go.env("GOFLAGS", "-mod=readonly -modcacherw");
        for (variable, folder) in [("GOPATH", "go"), ("GOCACHE", "go-build")] {
            if std::env::var_os(variable).is_none_or(|value| value.is_empty()) {
                go.env(variable, target.join(folder));
            }
        }
    }
    go
}

/// Returns Go's name of this machine's operating system.
pub(crate) fn go_system() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        system => system,
    }
}

/// Returns Go's name of this machine's processor architecture.
pub(crate) fn go_processor() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        processor => processor,
    }
}

fn home_is_usable() -> bool {
    std::env::var_os("HOME")
        .is_some_and(|home| Path::new(&home).is_absolute() && rustix::fs::access(&home, Access::WRITE_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn versions_come_from_go_mod() {
        let versions = MODULES.map(Module::version);
        assert_eq!(versions, ["v1.36.3", "v1.36.3", "v3.6.16", "v1.3.2"]);
        assert_eq!(ON_DEMAND.map(Module::version), ["v4.3.1", "v5.8.1", "v0.8.0", "v1.7.12", "v1.2.22"]);
        assert_eq!(KUBERNETES.go_version(), "1.26.0");
    }

    #[test]
    fn a_title_names_programs_and_version() {
        assert_eq!(KUBERNETES.title(), "kube-apiserver and kube-controller-manager v1.36.3");
    }

    #[test]
    fn a_version_is_found_in_a_block_and_on_a_line() {
        for go_mod in [
            "require example.org/a v1.2.3 // indirect",
            "require (\n\texample.org/b/a v9.9.9\n\texample.org/a v1.2.3\n)",
            "tool example.org/a\n\nrequire example.org/a v1.2.3",
        ] {
            assert_eq!(word_after(go_mod, "example.org/a"), Some("v1.2.3"));
        }
    }

    #[test]
    fn only_a_complete_folder_is_a_hit() {
        let target = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(target.path());
        let place = cache.folder().join(AGE.cache_key());
        fs::create_dir_all(&place).expect("the folder is writable");
        fs::write(place.join("age"), "").expect("the folder is writable");
        assert!(!cache.holds(&AGE));
        fs::write(place.join("age-keygen"), "").expect("the folder is writable");
        assert!(!cache.holds(&AGE));
        fs::write(place.join("age-plugin-batchpass"), "").expect("the folder is writable");
        assert!(cache.holds(&AGE));
    }
}

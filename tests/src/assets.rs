//! The programs of other projects that the tests run: Kubernetes' control plane and kubectl, etcd and age; helm,
//! kustomize, kubeconform and actionlint.
//!
//! `kube-apiserver`, `kube-controller-manager` and `etcd` come from the first of
//!
//! 1. the folder that `KUBEBUILDER_ASSETS` names, which must hold all three;
//! 2. the project's own cache, `test-assets` in Cargo's target folder;
//! 3. `go build` from the modules pinned below `tests/go`, into that cache.
//!
//! The others come from 2 or 3. [`helm`], [`kustomize`], [`kubeconform`], [`actionlint`] and the builder of images are
//! built only when a test asks for them. The official envtest archive is not a source: it lacks
//! `kube-controller-manager`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::go_build::{
    self, ACTIONLINT, AGE, Cache, ETCD, HELM, IMAGE_BUILDER, KUBECONFORM, KUBECTL, KUBERNETES, KUSTOMIZE, MODULES,
    Module, ON_DEMAND,
};
use crate::target_folder;

const GIVEN: &str = "KUBEBUILDER_ASSETS";

/// Paths of programs that exist.
#[derive(Clone, Debug)]
pub struct Assets {
    pub kubernetes: Kubernetes,
    pub kubectl: PathBuf,
    pub age: PathBuf,
    pub age_keygen: PathBuf,
    /// In the same folder as `age`, which finds it through `PATH`.
    pub age_plugin_batchpass: PathBuf,
}

/// The programs that [`crate::cluster::Cluster`] runs.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    pub kube_apiserver: PathBuf,
    pub kube_controller_manager: PathBuf,
    pub etcd: PathBuf,
    /// The pinned version, such as `v1.36.3`; `None` for programs of `KUBEBUILDER_ASSETS`.
    pub version: Option<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TargetFolder(#[from] target_folder::Error),
    #[error(
        "{GIVEN} names {}, which has no {missing}; it must hold kube-apiserver, \
         kube-controller-manager and etcd",
        folder.display()
    )]
    Given { folder: PathBuf, missing: String },
    #[error(
        "failed to find {programs}: {GIVEN} {given}; the cache {} does not hold the pinned \
         version; it cannot be built",
        cache.display()
    )]
    NoSource { programs: String, given: &'static str, cache: PathBuf, source: go_build::Error },
}

/// Finds the programs of [`Assets`], and builds those that no source has, with the progress on stderr.
///
/// A second call, also in another process, finds them in the cache. It runs no `go` and needs no network.
pub fn prepare() -> Result<Assets, Error> {
    Sources::find()?.prepare()
}

/// Finds helm, or builds it as [`prepare`] does.
pub fn helm() -> Result<PathBuf, Error> {
    Sources::find()?.program(&HELM, "helm")
}

/// Finds kustomize, or builds it as [`prepare`] does.
pub fn kustomize() -> Result<PathBuf, Error> {
    Sources::find()?.program(&KUSTOMIZE, "kustomize")
}

/// Finds kubeconform, or builds it as [`prepare`] does.
pub fn kubeconform() -> Result<PathBuf, Error> {
    Sources::find()?.program(&KUBECONFORM, "kubeconform")
}

/// Finds the builder of images, or builds it as [`prepare`] does.
pub(crate) fn image_builder() -> Result<PathBuf, Error> {
    Sources::find()?.program(&IMAGE_BUILDER, "image-builder")
}

/// Finds actionlint, or builds it as [`prepare`] does.
pub fn actionlint() -> Result<PathBuf, Error> {
    Sources::find()?.program(&ACTIONLINT, "actionlint")
}

/// The programs that [`prepare`] would build.
pub(crate) fn to_build() -> Result<Vec<&'static Module>, Error> {
    Ok(Sources::find()?.to_build(&MODULES))
}

/// The programs that all tests together would build.
pub(crate) fn to_build_for_tests() -> Result<Vec<&'static Module>, Error> {
    Ok(Sources::find()?.to_build(&[&MODULES[..], &ON_DEMAND].concat()))
}

struct Sources {
    given: Option<PathBuf>,
    cache: Cache,
}

impl Sources {
    fn find() -> Result<Self, Error> {
        let target = target_folder::find()?;
        Ok(Self::new(std::env::var_os(GIVEN), &target))
    }

    fn new(given: Option<OsString>, target: &Path) -> Self {
        Self { given: given.filter(|path| !path.is_empty()).map(PathBuf::from), cache: Cache::new(target) }
    }

    fn to_build(&self, modules: &[&'static Module]) -> Vec<&'static Module> {
        let mut modules = modules.to_vec();
        modules.retain(|module| !self.is_given(module) && !self.cache.holds(module));
        modules
    }

    fn is_given(&self, module: &Module) -> bool {
        self.given.is_some() && module.is_kubernetes
    }

    fn prepare(&self) -> Result<Assets, Error> {
        Ok(Assets {
            kubernetes: match &self.given {
                Some(folder) => given(folder)?,
                None => self.pinned()?,
            },
            kubectl: self.program(&KUBECTL, "kubectl")?,
            age: self.program(&AGE, "age")?,
            age_keygen: self.program(&AGE, "age-keygen")?,
            age_plugin_batchpass: self.program(&AGE, "age-plugin-batchpass")?,
        })
    }

    fn pinned(&self) -> Result<Kubernetes, Error> {
        Ok(Kubernetes {
            kube_apiserver: self.program(&KUBERNETES, "kube-apiserver")?,
            kube_controller_manager: self.program(&KUBERNETES, "kube-controller-manager")?,
            etcd: self.program(&ETCD, "etcd")?,
            version: Some(KUBERNETES.version()),
        })
    }

    fn program(&self, module: &Module, name: &str) -> Result<PathBuf, Error> {
        self.cache.fill(module).map_err(|source| self.no_source(module, source))?;
        Ok(self.cache.program(module, name))
    }

    fn no_source(&self, module: &Module, source: go_build::Error) -> Error {
        Error::NoSource {
            programs: module.title(),
            given: match module.is_kubernetes {
                true => "is not set",
                false => "is not a source for it",
            },
            cache: self.cache.folder().to_owned(),
            source,
        }
    }
}

/// Takes the programs of a folder, whatever their versions are: the user has chosen them with the variable.
fn given(folder: &Path) -> Result<Kubernetes, Error> {
    let names = KUBERNETES.program_names().chain(ETCD.program_names());
    let missing: Vec<_> = names.filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        return Err(Error::Given { folder: folder.to_owned(), missing: missing.join(" and no ") });
    }
    Ok(Kubernetes {
        kube_apiserver: folder.join("kube-apiserver"),
        kube_controller_manager: folder.join("kube-controller-manager"),
        etcd: folder.join("etcd"),
        version: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_given_folder_must_hold_all_three() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("etcd"), "").expect("the folder is writable");
        let error = given(folder.path()).expect_err("two are missing");
        assert_eq!(
            error.to_string(),
            format!(
                "KUBEBUILDER_ASSETS names {}, which has no kube-apiserver and no \
                 kube-controller-manager; it must hold kube-apiserver, kube-controller-manager \
                 and etcd",
                folder.path().display()
            )
        );
    }

    #[test]
    fn a_complete_given_folder_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["kube-apiserver", "kube-controller-manager", "etcd"] {
            fs::write(folder.path().join(name), "").expect("the folder is writable");
        }
        let programs = given(folder.path()).expect("it is complete");
        assert_eq!(programs.etcd, folder.path().join("etcd"));
        assert_eq!(programs.version, None);
    }

    #[test]
    fn with_a_given_folder_only_kubectl_and_age_are_built() {
        let target = tempfile::tempdir().expect("a folder");
        let titles = |given: Option<&str>| {
            let sources = Sources::new(given.map(OsString::from), target.path());
            let modules = sources.to_build(&MODULES);
            modules.iter().map(|module| module.title()).collect::<Vec<_>>()
        };
        assert_eq!(titles(Some("/given")), ["kubectl v1.36.3", "age and age-keygen and age-plugin-batchpass v1.3.2"]);
        assert_eq!(titles(Some("")).len(), 4);
        assert_eq!(titles(None).len(), 4);
    }

    #[test]
    fn without_a_source_the_error_names_all_of_them() {
        let target = Path::new("/t");
        let failure =
            go_build::Error::Failed { package: "go.etcd.io/etcd/server/v3".to_owned(), log: "no network".to_owned() };
        let error = Sources::new(None, target).no_source(&ETCD, failure);
        assert_eq!(
            crate::report(&error),
            "failed to find etcd v3.6.16: KUBEBUILDER_ASSETS is not set; the cache \
             /t/test-assets does not hold the pinned version; it cannot be built: \
             `go build go.etcd.io/etcd/server/v3` failed:\nno network"
        );
    }
}

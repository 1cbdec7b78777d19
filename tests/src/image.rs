//! The image of `deploy/image`, and its program as a Pod runs it.
//!
//! The image is built as an OCI layout, without a container engine. A Pod gives a program the files of the image and of
//! the ServiceAccount, an environment, and a user. [`Image::pod_command`] does so with namespaces of the kernel. No
//! node takes part: there are no limits of resources and no seccomp profile, and the program shares the network of the
//! machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::asset_cache::say;
use crate::{assets, target_folder};

/// The architecture of this machine, as images name it.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/image");
/// Makes the root folder read-only and enters it as another user. The outer user namespace allows the mounts, also for
/// a user without rights. In the inner one the process has the user and group of the image. Every container has the two
/// devices.
const RUN_IN: &str = r#"
set -e
root=$1 user=$2 group=$3
shift 3
mkdir -p "$root/dev"
mount --bind "$root" "$root"
for device in random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root"
exec unshare --user --map-user="$user" --map-group="$group" --root="$root" --wd=/ "$@"
"#;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TargetFolder(#[from] target_folder::Error),
    #[error(transparent)]
    Assets(#[from] assets::Error),
    #[error("failed to use {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("failed to start {program}")]
    Start { program: &'static str, source: io::Error },
    #[error("{program} ended ({status}), its errors are above")]
    Failed { program: &'static str, status: ExitStatus },
    #[error("failed to read the OCI layout")]
    Json(#[from] serde_json::Error),
}

/// An image of one architecture as an OCI layout.
#[derive(Clone, Debug)]
pub struct Image {
    /// The folder that the Containerfile copies from.
    pub context: PathBuf,
    layout: PathBuf,
}

/// Builds the static program with `deploy/image/build-binary`, and the image, in a folder that it makes. Progress is on
/// stderr: the first build takes minutes.
pub fn build(folder: &Path) -> Result<Image, Error> {
    say("building the static program of the image: 5 minutes on two cores, and seconds if nothing has changed");
    let context = folder.join("context");
    let mut build = Command::new(Path::new(SOURCES).join("build-binary"));
    build.arg(&context).env("CARGO_TARGET_DIR", target_folder::find()?).stdin(Stdio::null());
    run("build-binary", &mut build)?;
    assemble(&context, &folder.join("layout"))
}

/// Builds the image for this machine from a context that `build-binary` has filled.
pub fn assemble(context: &Path, layout: &Path) -> Result<Image, Error> {
    let mut builder = Command::new(assets::image_builder()?);
    builder.arg(Path::new(SOURCES).join("Containerfile")).args([context, layout]);
    builder.arg(format!("TARGETARCH={ARCHITECTURE}")).arg(concat!("VERSION=", env!("CARGO_PKG_VERSION")));
    run("image-builder", &mut builder)?;
    Ok(Image { context: context.to_owned(), layout: layout.to_owned() })
}

fn run(program: &'static str, command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| Error::Start { program, source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { program, status }) }
}

impl Image {
    /// The program that the image contains.
    pub fn program(&self) -> PathBuf {
        self.context.join(ARCHITECTURE).join("waxseal-controller")
    }

    /// The digest of the image's manifest, `sha256:…`.
    pub fn digest(&self) -> Result<String, Error> {
        let index = self.json(&self.layout.join("index.json"))?;
        Ok(index["manifests"][0]["digest"].as_str().unwrap_or_default().to_owned())
    }

    /// The settings of the image: user, entry point, labels.
    pub fn config(&self) -> Result<Value, Error> {
        let config = self.blob(&self.manifest()?["config"]);
        self.json(&config)
    }

    /// The archive, compressed by gzip, of each layer.
    pub fn layers(&self) -> Result<Vec<PathBuf>, Error> {
        let manifest = self.manifest()?;
        Ok(manifest["layers"].as_array().into_iter().flatten().map(|layer| self.blob(layer)).collect())
    }

    /// Writes the files of the image to a new folder.
    pub fn unpack(&self, root: &Path) -> Result<(), Error> {
        create_folder(root)?;
        for layer in self.layers()? {
            run("tar", Command::new("tar").arg("-xzf").arg(layer).arg("-C").arg(root))?;
        }
        Ok(())
    }

    /// Returns a command that runs the image's entry point as a Pod does: as the user of the image, and in a root file
    /// system that is read-only and has only the files of the image and of `volumes`. The environment has only `PATH`,
    /// to find the programs that make the namespaces.
    ///
    /// `root` is a new folder for the files. `volumes` has the absolute path and the content of each file that a Pod
    /// adds.
    pub fn pod_command(&self, root: &Path, volumes: &[(String, String)]) -> Result<Command, Error> {
        self.unpack(root)?;
        for (path, text) in volumes {
            let path = root.join(path.trim_start_matches('/'));
            create_folder(path.parent().unwrap_or(root))?;
            fs::write(&path, text).map_err(|source| Error::File { path, source })?;
        }
        let settings = self.config()?["config"].take();
        let user = settings["User"].as_str().unwrap_or("0:0").to_owned();
        let (user, group) = user.split_once(':').unwrap_or((&user, "0"));
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", RUN_IN, "sh"]);
        command.arg(root).args([user, group]);
        command.args(settings["Entrypoint"].as_array().into_iter().flatten().filter_map(Value::as_str));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Ok(command)
    }

    fn manifest(&self) -> Result<Value, Error> {
        let index = self.json(&self.layout.join("index.json"))?;
        self.json(&self.blob(&index["manifests"][0]))
    }

    /// The path of the content that a descriptor names.
    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap_or_default().replacen(':', "/", 1);
        self.layout.join("blobs").join(digest)
    }

    fn json(&self, path: &Path) -> Result<Value, Error> {
        let file = File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        Ok(serde_json::from_reader(io::BufReader::new(file))?)
    }
}

fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

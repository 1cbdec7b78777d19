//! Installing Waxseal in a cluster with the files of `deploy/`, and running the controller as a process.
//!
//! No Pod runs in the test cluster. So the controller is a process of the test, with a token of the ServiceAccount of
//! `deploy/` and the rights of that account.

mod deployed;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use waxseal_shared::manifest::{self, DocumentKind, ManifestError};

use crate::cluster::{self, Cluster};
use crate::image;
use crate::processes::{self, Process, last_lines};
use crate::programs::Programs;
use crate::waiting;

pub use deployed::deployed_pod;

/// The namespace of the installation.
pub const KEY_NAMESPACE: &str = "waxseal-system";
/// The name of the ServiceAccount of the installation.
pub const SERVICE_ACCOUNT: &str = "waxseal-controller";
/// The context in the controller's kubeconfig.
pub const CONTEXT: &str = "waxseal-test";

const DEFINITIONS: &str = include_str!("../../deploy/kustomize/definitions/crds.yaml");
const BASE: [&str; 5] = [
    include_str!("../../deploy/kustomize/definitions/namespace.yaml"),
    include_str!("../../deploy/kustomize/base/rights.yaml"),
    include_str!("../../deploy/kustomize/base/user-roles.yaml"),
    include_str!("../../deploy/kustomize/base/deployment.yaml"),
    include_str!("../../deploy/kustomize/base/network-policy.yaml"),
];
const RIGHTS_IN_A_NAMESPACE: &str = include_str!("../../deploy/kustomize/components/namespaced/rights/rights.yaml");
const IDENTITIES_RIGHTS: &str = include_str!("../../deploy/kustomize/components/namespaced/identities-rights.yaml");
const ADMISSION_POLICY: &str = include_str!("../../deploy/kustomize/components/admission-policy/admission-policy.yaml");
const OWNER_REFERENCES_RIGHTS: &str = include_str!("../../deploy/kustomize/components/owner-references/rights.yaml");
const DEADLINE: Duration = Duration::from_secs(60);
const ANY_PORT: &str = "127.0.0.1:0";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read deploy/")]
    Manifest(#[from] ManifestError),
    #[error("failed to apply {kind} {name}")]
    Apply { kind: String, name: String, source: Box<kube::Error> },
    #[error("failed to apply {kind} {name}: its apiVersion is not valid")]
    InvalidVersion { kind: String, name: String },
    #[error("failed to read the Deployment {SERVICE_ACCOUNT}")]
    Deployment(#[source] Box<kube::Error>),
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("failed to read the ConfigMap {name}")]
    ConfigMap { name: String, source: Box<kube::Error> },
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error("failed to write the controller's log file")]
    Log(#[source] std::io::Error),
    #[error("failed to send a signal to the controller")]
    Signal(#[source] std::io::Error),
    #[error("{source}; the controller's log ends with:\n{log}")]
    NotReady { source: waiting::TimedOut, log: String },
    #[error(transparent)]
    Process(#[from] processes::Error),
    #[error("failed to run waxseal")]
    Run(#[source] std::io::Error),
    #[error("failed to fetch the keys of the cluster: waxseal says\n{0}")]
    FetchKeys(String),
}

/// Reads the definitions of SealedSecret and SealingKey, for [`Cluster::start`].
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, Error> {
    objects(DEFINITIONS)
}

/// Applies the namespace, the base and the component `admission-policy`. The cluster already has the definitions.
pub async fn apply(cluster: &Cluster) -> Result<(), Error> {
    apply_without_policy(cluster).await?;
    apply_all(cluster, ADMISSION_POLICY).await
}

/// Applies the namespace and the base alone.
pub async fn apply_without_policy(cluster: &Cluster) -> Result<(), Error> {
    for manifests in BASE {
        apply_all(cluster, manifests).await?;
    }
    Ok(())
}

/// Applies the component `owner-references`.
pub async fn apply_owner_references_rights(cluster: &Cluster) -> Result<(), Error> {
    apply_all(cluster, OWNER_REFERENCES_RIGHTS).await
}

/// Applies the objects for a controller that serves some namespaces: the namespace, the base without its ClusterRoles,
/// and the Roles of the component `namespaced`, with these names in place of the names in the files. The Deployment
/// does not name `namespaces`: the test passes them to the controller that it starts.
pub async fn apply_namespaced(cluster: &Cluster, key_namespace: &str, namespaces: &[&str]) -> Result<(), Error> {
    for object in objects(&BASE.join("---\n").replace(KEY_NAMESPACE, key_namespace))? {
        if !matches!(kind_of(&object), "ClusterRole" | "ClusterRoleBinding") {
            apply_one(cluster, object).await?;
        }
    }
    apply_all(cluster, &IDENTITIES_RIGHTS.replace(KEY_NAMESPACE, key_namespace)).await?;
    for namespace in namespaces {
        for mut object in objects::<DynamicObject>(&RIGHTS_IN_A_NAMESPACE.replace(KEY_NAMESPACE, key_namespace))? {
            object.metadata.namespace = Some((*namespace).to_owned());
            apply_one(cluster, object).await?;
        }
    }
    Ok(())
}

fn kind_of(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

async fn apply_all(cluster: &Cluster, manifests: &str) -> Result<(), Error> {
    for object in objects(manifests)? {
        apply_one(cluster, object).await?;
    }
    Ok(())
}

async fn apply_one(cluster: &Cluster, object: DynamicObject) -> Result<(), Error> {
    let types = object.types.clone().unwrap_or_default();
    let failed = |source| Error::Apply { kind: types.kind.clone(), name: object.name_any(), source: Box::new(source) };
    let invalid = |_| Error::InvalidVersion { kind: types.kind.clone(), name: object.name_any() };
    let kind = GroupVersionKind::try_from(&types).map_err(invalid)?;
    let resource = ApiResource::from_gvk(&kind);
    let api = match object.namespace() {
        Some(namespace) => Api::<DynamicObject>::namespaced_with(cluster.client(), &namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    };
    let params = PatchParams::apply("test-installation").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.map_err(failed)?;
    Ok(())
}

fn objects<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    let stream = manifest::split(text)?;
    let mut objects = Vec::new();
    for document in &stream.documents {
        if let DocumentKind::Other(object) = document.kind()? {
            objects.push(object.read()?);
        }
    }
    Ok(objects)
}

/// A running controller. It is killed on drop.
pub struct Controller {
    process: Process,
    /// The path of its log, with one JSON object per line.
    pub log: PathBuf,
    /// The path of a kubeconfig with the controller's rights and the context [`CONTEXT`].
    pub kubeconfig: PathBuf,
}

impl Controller {
    /// Starts a controller as the ServiceAccount of `deploy/`, with an empty environment and free ports.
    ///
    /// `name` must be unique in the cluster: it is a part of the file names of the controller.
    pub async fn start(cluster: &Cluster, programs: &Programs, name: &str) -> Result<Self, Error> {
        let mut command = Command::new(&programs.waxseal_controller);
        command.env_clear();
        Self::start_command(cluster, command, name).await
    }

    /// Like [`start`](Self::start), with a proxy between controller and API server.
    pub async fn start_through(
        cluster: &Cluster,
        programs: &Programs,
        name: &str,
        proxy: SocketAddr,
    ) -> Result<Self, Error> {
        let kubeconfig = cluster.folder().join(format!("{name}.kubeconfig"));
        let credential = cluster.service_account_token(KEY_NAMESPACE, SERVICE_ACCOUNT).await?;
        cluster.write_kubeconfig_through(proxy, &kubeconfig, CONTEXT, &credential)?;
        let mut command = Command::new(&programs.waxseal_controller);
        command.env_clear();
        Self::start_with(cluster, command, name, kubeconfig)
    }

    /// Like [`start`](Self::start), with a command that runs the program in another way.
    pub async fn start_command(cluster: &Cluster, command: Command, name: &str) -> Result<Self, Error> {
        Self::start_in(cluster, command, name, KEY_NAMESPACE).await
    }

    /// Like [`start_command`](Self::start_command), as the ServiceAccount of another namespace.
    pub async fn start_in(cluster: &Cluster, command: Command, name: &str, namespace: &str) -> Result<Self, Error> {
        let kubeconfig = cluster.folder().join(format!("{name}.kubeconfig"));
        let credential = cluster.service_account_token(namespace, SERVICE_ACCOUNT).await?;
        cluster.write_kubeconfig(&kubeconfig, CONTEXT, &credential, "default")?;
        Self::start_with(cluster, command, name, kubeconfig)
    }

    fn start_with(cluster: &Cluster, mut command: Command, name: &str, kubeconfig: PathBuf) -> Result<Self, Error> {
        command.args(["kubernetes", "--context", CONTEXT, "--listen", ANY_PORT, "--metrics-listen", ANY_PORT]);
        command.arg("--kubeconfig").arg(&kubeconfig);
        Self::spawn(cluster, command, name, kubeconfig)
    }

    fn spawn(cluster: &Cluster, mut command: Command, name: &str, kubeconfig: PathBuf) -> Result<Self, Error> {
        let log = cluster.folder().join(format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&log).map_err(Error::Log)?);
        let process = cluster.spawn(&mut command)?;
        Ok(Self { process, log, kubeconfig })
    }

    /// Waits until `/readyz` answers 200.
    pub async fn ready(&self) -> Result<(), Error> {
        let ready = waiting::until("the controller's readiness", DEADLINE, async || {
            let (code, _) = self.get("/readyz").await?;
            (code == 200).then_some(())
        });
        ready.await.map_err(|source| Error::NotReady { source, log: last_lines(&self.log, 20) })
    }

    /// Requests a path from the port that serves it; `None` as long as the controller does not answer.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = if path == "/metrics" { self.metrics_address()? } else { self.address()? };
        let mut stream = tokio::net::TcpStream::connect(&address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The log so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills the controller with SIGKILL, as a crash does.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    /// Stops the process as a slow machine does; [`resume`](Self::resume) lets it go on.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let id = i32::try_from(self.process.id()).expect("process ids fit pid_t");
        let process = Pid::from_raw(id).expect("a child's id is not zero");
        kill_process(process, signal).map_err(|error| Error::Signal(error.into()))
    }

    /// Sends SIGTERM to the controller and waits until it ends; returns its exit code.
    pub async fn stop(mut self) -> Result<Option<i32>, Error> {
        self.signal(Signal::TERM)?;
        let stopped = waiting::until("the controller's end", DEADLINE, async || self.process.try_wait().ok()?);
        let status = stopped.await.map_err(|source| Error::NotReady { source, log: last_lines(&self.log, 20) })?;
        Ok(status.code())
    }

    /// The address of its probes; `None` as long as it does not listen.
    pub fn address(&self) -> Option<String> {
        self.started_with("address")
    }

    /// The address of its metrics; `None` as long as it does not listen.
    pub fn metrics_address(&self) -> Option<String> {
        self.started_with("metrics_address")
    }

    /// A field of the log line that says that the controller has started.
    fn started_with(&self, field: &str) -> Option<String> {
        let log = self.log_text();
        let started = log.lines().find(|line| line.contains("\"started\""))?;
        let line: serde_json::Value = serde_json::from_str(started).ok()?;
        Some(line[field].as_str()?.to_owned())
    }
}

/// Writes the public keys of a cluster to a file, with `waxseal keys fetch`, and accepts every key.
pub fn fetch_keys(programs: &Programs, kubeconfig: &Path, output: &Path) -> Result<(), Error> {
    fetch_keys_of(programs, kubeconfig, KEY_NAMESPACE, output)
}

/// Like [`fetch_keys`], for the keys in another namespace.
pub fn fetch_keys_of(programs: &Programs, kubeconfig: &Path, namespace: &str, output: &Path) -> Result<(), Error> {
    let mut fetch = Command::new(&programs.waxseal);
    fetch
        .env_clear()
        .args(["keys", "fetch", "-n", namespace, "--context", CONTEXT, "--kubeconfig"])
        .arg(kubeconfig)
        .arg("-o")
        .arg(output);
    // Without a terminal, the first run refuses new keys and prints their fingerprints.
    let first = fetch.output().map_err(Error::Run)?;
    let text = String::from_utf8_lossy(&first.stderr);
    let fingerprints = text.split_whitespace().filter(|word| word.starts_with("sha256:"));
    for fingerprint in fingerprints {
        fetch.arg("--accept").arg(fingerprint);
    }
    let second = fetch.output().map_err(Error::Run)?;
    match second.status.success() {
        true => Ok(()),
        false => Err(Error::FetchKeys(String::from_utf8_lossy(&second.stderr).into_owned())),
    }
}

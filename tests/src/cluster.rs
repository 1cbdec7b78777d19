//! A real Kubernetes API server with the controllers that the tests need, and without nodes.

mod access;
mod control_plane;
mod namespace;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::runtime::{Handle, Runtime};

use crate::assets::Kubernetes;
use crate::processes::{self, Process};
use crate::{target_folder, waiting};
use access::Server;
use control_plane::{ControlPlane, STORE};

pub use access::Credential;
pub use namespace::Namespace;

const ATTEMPTS: usize = 5;
/// The longest time until the port of a stopped API server is free again. A connection of another test can use it for
/// seconds.
const PORT_FREE_AGAIN: Duration = Duration::from_secs(60);
const PORT_RETRY: Duration = Duration::from_millis(200);
const AS_IN_OPENSHIFT: &[&str] = &["--enable-admission-plugins=OwnerReferencesPermissionEnforcement"];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TargetFolder(#[from] target_folder::Error),
    #[error("failed to start an async runtime")]
    Runtime(#[source] io::Error),
    #[error("failed to find a free port")]
    Port(#[source] io::Error),
    #[error("failed to create certificates")]
    Certificates(#[from] rcgen::Error),
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to run a part of the cluster")]
    Processes(#[from] processes::Error),
    #[error("failed to start the cluster: {program} ended ({status}), saying\n{log}")]
    Ended { program: &'static str, status: String, log: String },
    #[error("failed to start the cluster: {program} says\n{log}")]
    NotReady { program: &'static str, log: String, source: waiting::TimedOut },
    #[error("failed to set up a client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("failed to get a token: the API server's answer has none")]
    NoToken,
    #[error("failed to {operation}")]
    Request { operation: String, source: Box<kube::Error> },
}

impl Error {
    fn request(operation: String) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Request { operation, source: Box::new(source) }
    }

    /// Another process can take a free port before the API server listens on it, so the start is tried again.
    fn is_port_taken(&self) -> bool {
        matches!(self, Self::Ended { log, .. } if log.contains("address already in use"))
    }
}

/// A running cluster: etcd, kube-apiserver and kube-controller-manager.
///
/// Authorization is RBAC, and every response is in the audit log. The controllers for garbage collection, namespaces,
/// ServiceAccounts and their tokens, the ConfigMaps `kube-root-ca.crt` and aggregated ClusterRoles run. There are no
/// nodes, so Pods never run.
///
/// Its processes end and its files are removed on drop, and when this process ends for any reason (see
/// [`crate::processes`]).
pub struct Cluster {
    control_plane: ControlPlane,
    admin_kubeconfig: PathBuf,
    client: Client,
    namespaces: AtomicU64,
    runtime: Runtime,
}

impl Cluster {
    /// Starts a cluster and returns when it is ready, after about five seconds.
    ///
    /// `definitions` are established before the garbage collector starts. It searches for new kinds only every 30 s, so
    /// objects of a kind that is defined later keep their dependents for that time.
    ///
    /// Must not be called in an async runtime: the cluster has its own.
    pub fn start(programs: &Kubernetes, definitions: &[CustomResourceDefinition]) -> Result<Self, Error> {
        while_ports_are_taken(|| Self::start_once(programs, definitions, &[]))
    }

    /// Like [`start`](Self::start), with the admission plugin `OwnerReferencesPermissionEnforcement`,
    /// as in OpenShift.
    pub fn start_as_in_openshift(
        programs: &Kubernetes,
        definitions: &[CustomResourceDefinition],
    ) -> Result<Self, Error> {
        while_ports_are_taken(|| Self::start_once(programs, definitions, AS_IN_OPENSHIFT))
    }

    fn start_once(
        programs: &Kubernetes,
        definitions: &[CustomResourceDefinition],
        api_server_flags: &'static [&'static str],
    ) -> Result<Self, Error> {
        let runtime = Runtime::new().map_err(Error::Runtime)?;
        let mut control_plane = ControlPlane::prepare(&target_folder::find()?, api_server_flags)?;
        let admin_kubeconfig = control_plane.admin_kubeconfig();
        let client = runtime.block_on(async {
            control_plane.start_api_server(programs)?;
            let client = control_plane.server().client(control_plane.admin())?;
            control_plane.api_server_is_ready(&client).await?;
            control_plane.establish(&client, definitions).await?;
            control_plane.start_controllers(programs)?;
            control_plane.controllers_are_ready(&client).await?;
            Ok::<_, Error>(client)
        })?;
        Ok(Self { control_plane, admin_kubeconfig, client, namespaces: AtomicU64::new(0), runtime })
    }

    /// The API server's address, such as `https://127.0.0.1:34567`.
    pub fn url(&self) -> &str {
        &self.server().url
    }

    /// The PEM certificate of the authority that signed the API server's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.server().ca
    }

    /// A kubeconfig with the rights of `system:masters` and the context `admin`.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// A client with the rights of `system:masters`; it does not retry.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client with the rights of `credential`; it does not retry.
    pub fn client_as(&self, credential: &Credential) -> Result<Client, Error> {
        let _entered = self.runtime.enter();
        self.server().client(credential)
    }

    /// Returns a certificate for `user`, a member of `group`. Without RBAC bindings the user has no rights.
    pub fn user(&self, user: &str, group: &str) -> Result<Credential, Error> {
        self.control_plane.user(user, group)
    }

    /// Writes a kubeconfig with one context of this name. Only the user can read the file.
    pub fn write_kubeconfig(
        &self,
        path: &Path,
        context: &str,
        credential: &Credential,
        namespace: &str,
    ) -> Result<(), Error> {
        self.server().write_kubeconfig(path, context, credential, namespace)
    }

    /// Like [`write_kubeconfig`](Self::write_kubeconfig), for a proxy that listens on this machine.
    pub fn write_kubeconfig_through(
        &self,
        proxy: SocketAddr,
        path: &Path,
        context: &str,
        credential: &Credential,
    ) -> Result<(), Error> {
        let server = self.server();
        let through = Server { url: format!("https://{proxy}"), ca: server.ca.clone(), ca_der: server.ca_der.clone() };
        through.write_kubeconfig(path, context, credential, "default")
    }

    /// The socket address of the API server.
    pub fn address(&self) -> SocketAddr {
        self.control_plane.address()
    }

    /// The audit log: each line is a JSON object of the kind `Event` in `audit.k8s.io/v1`, level `Metadata`.
    ///
    /// The API server writes an event before it sends the response.
    pub fn audit_log(&self) -> PathBuf {
        self.folder().join(control_plane::AUDIT_LOG)
    }

    /// A folder for files of tests. It is removed with the cluster.
    pub fn folder(&self) -> &Path {
        self.control_plane.folder()
    }

    /// Starts a program. It is killed when the process value or the cluster is dropped.
    pub fn spawn(&self, command: &mut Command) -> Result<Process, Error> {
        Ok(self.control_plane.spawn(command)?)
    }

    /// Kills the API server, as a crash does. etcd and the controllers continue.
    ///
    /// Must not be called in an async runtime.
    pub fn kill_api_server(&mut self) {
        self.control_plane.kill_api_server();
    }

    /// Kills API server and etcd, and copies etcd's data into a folder.
    ///
    /// Must not be called in an async runtime.
    pub fn stop_and_back_up(&mut self, backup: &Path) -> Result<(), Error> {
        self.control_plane.kill_store();
        self.control_plane.copy_store(&self.folder().join(STORE), backup)
    }

    /// Kills API server and etcd.
    ///
    /// Must not be called in an async runtime.
    pub fn stop_store(&mut self) {
        self.control_plane.kill_store();
    }

    /// Replaces etcd's data by a backup, while API server and etcd are stopped.
    ///
    /// Must not be called in an async runtime.
    pub fn restore(&mut self, backup: &Path) -> Result<(), Error> {
        self.control_plane.copy_store(backup, &self.folder().join(STORE))
    }

    /// Starts etcd and the API server again, at the same addresses.
    ///
    /// Must not be called in an async runtime.
    pub fn restart_store(&mut self, programs: &Kubernetes) -> Result<(), Error> {
        self.control_plane.start_store(programs)?;
        self.restart_api_server(programs)
    }

    /// Starts the API server again, at the same address and with the data of etcd.
    ///
    /// Must not be called in an async runtime.
    pub fn restart_api_server(&mut self, programs: &Kubernetes) -> Result<(), Error> {
        let Self { control_plane, client, runtime, .. } = self;
        until_port_is_free(|| {
            control_plane.kill_api_server();
            control_plane.start_api_server_alone(programs)?;
            runtime.block_on(control_plane.api_server_is_ready(client))
        })
    }

    /// Creates a namespace for one test. Its name begins with `prefix` and is unique.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace, Error> {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{number}");
        Namespace::create(name, self.client(), self.handle().clone()).await
    }

    /// Requests a token of the ServiceAccount that is valid for an hour.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<Credential, Error> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let answer = api
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .map_err(Error::request(format!("get a token of {namespace}/{name}")))?;
        let token = answer.status.and_then(|status| status.token);
        token.map(Credential::Token).ok_or(Error::NoToken)
    }

    /// Runs a future to its end on the cluster's runtime. Must not be called in an async runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The runtime that drives the cluster's clients.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    fn server(&self) -> &Server {
        self.control_plane.server()
    }
}

/// Tries a start again for a while if another process uses the port: a cluster keeps its port.
fn until_port_is_free(mut start: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let begin = Instant::now();
    loop {
        match start() {
            Err(error) if error.is_port_taken() && begin.elapsed() < PORT_FREE_AGAIN => {
                std::thread::sleep(PORT_RETRY);
            }
            outcome => return outcome,
        }
    }
}

fn while_ports_are_taken<T>(mut start: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..ATTEMPTS {
        match start() {
            Err(error) if error.is_port_taken() => {}
            outcome => return outcome,
        }
    }
    start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(log: &str) -> Error {
        Error::Ended { program: "kube-apiserver", status: "exit status: 1".to_owned(), log: log.to_owned() }
    }

    #[test]
    fn a_taken_port_is_tried_again_a_few_times() {
        let mut attempts = 0;
        let outcome = while_ports_are_taken(|| {
            attempts += 1;
            Err::<(), _>(ended("listen tcp 127.0.0.1:1: bind: address already in use"))
        });
        assert!(outcome.is_err());
        assert_eq!(attempts, ATTEMPTS);
    }

    #[test]
    fn a_restart_waits_for_its_port() {
        let mut attempts = 0;
        let outcome = until_port_is_free(|| {
            attempts += 1;
            if attempts < 3 { Err(ended("listen tcp 127.0.0.1:1: bind: address already in use")) } else { Ok(()) }
        });
        assert!(outcome.is_ok());
        assert_eq!(attempts, 3);
        let outcome = until_port_is_free(|| Err(ended("unknown flag: --sunshine")));
        assert!(outcome.is_err());
    }

    #[test]
    fn another_failure_is_final_and_shows_the_log() {
        let mut attempts = 0;
        let outcome = while_ports_are_taken(|| {
            attempts += 1;
            Err::<(), _>(ended("unknown flag: --sunshine"))
        });
        assert_eq!(attempts, 1);
        assert_eq!(
            outcome.expect_err("it never starts").to_string(),
            "failed to start the cluster: kube-apiserver ended (exit status: 1), saying\n\
             unknown flag: --sunshine"
        );
    }

    #[test]
    fn the_start_fails_at_once_if_a_part_ends() {
        let programs = Kubernetes {
            kube_apiserver: "cat".into(),
            kube_controller_manager: "cat".into(),
            etcd: "cat".into(),
            version: None,
        };
        let outcome = Cluster::start(&programs, &[]);
        let error = outcome.err().expect("cat knows none of the flags");
        assert!(matches!(error, Error::Ended { .. }), "{error}");
    }
}

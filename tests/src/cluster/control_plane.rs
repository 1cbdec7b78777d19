use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::runtime::wait::{Condition, conditions};
use kube::{Api, Client, ResourceExt};

use super::Error;
use super::access::{Credential, Server};
use crate::assets::Kubernetes;
use crate::certificates::{Authority, Identity};
use crate::processes::{self, Process, ProcessGroup, last_lines};
use crate::waiting;

pub(super) const AUDIT_LOG: &str = "audit.log";
/// The name of etcd's data folder in the folder of the cluster.
pub(super) const STORE: &str = "etcd";
const ADMIN_KUBECONFIG: &str = "admin.kubeconfig";
const API_SERVER_NAME: &str = "kube-apiserver";
const ETCD_NAME: &str = "etcd";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DEADLINE: Duration = Duration::from_secs(90);

/// A socket in the folder of the cluster: it cannot collide with a port, and other users cannot open it. Its "port" is
/// a part of the file name. All processes run in that folder, because the path of a socket is limited to about 100
/// bytes.
const ETCD_CLIENTS: &str = "unix://localhost:1";
const ETCD_PEERS: &str = "unix://localhost:2";

/// Records every response with user, verb and object, and without bodies.
const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"#;

const ETCD: &[&str] = &["--unsafe-no-fsync", "--name=tests", "--data-dir=etcd", "--quota-backend-bytes=8589934592"];

const API_SERVER: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    "--endpoint-reconciler-type=none",
    "--authorization-mode=RBAC",
    "--client-ca-file=ca.crt",
    "--tls-cert-file=server.crt",
    "--tls-private-key-file=server.key",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-account-key-file=service-account.pub",
    "--service-account-signing-key-file=service-account.key",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--audit-policy-file=audit-policy.yaml",
    "--audit-log-path=audit.log",
    // Rotation would hide events from the tests that read the log.
    "--audit-log-maxsize=65536",
];

const CONTROLLER_MANAGER: &[&str] = &[
    "--kubeconfig=admin.kubeconfig",
    "--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller,\
     serviceaccount-token-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller",
    "--use-service-account-credentials",
    "--service-account-private-key-file=service-account.key",
    "--root-ca-file=ca.crt",
    "--leader-elect=false",
    "--secure-port=0",
    // Tests that run at the same time would wait for the default limit of 20 requests per second.
    "--kube-api-qps=400",
    "--kube-api-burst=800",
];

/// The processes of a cluster and the folder with their keys, data and logs.
pub(super) struct ControlPlane {
    /// The first field, so that it is dropped first: it kills all parts at the same time.
    group: ProcessGroup,
    parts: Vec<Part>,
    server: Server,
    port: u16,
    api_server_flags: &'static [&'static str],
    authority: Authority,
    admin: Credential,
}

struct Part {
    name: &'static str,
    process: Process,
    log: PathBuf,
}

impl ControlPlane {
    /// Writes all files, but starts no part of the cluster. The API server gets these flags in addition to its own.
    pub(super) fn prepare(target: &Path, api_server_flags: &'static [&'static str]) -> Result<Self, Error> {
        let authority = Authority::new()?;
        let admin = Credential::from(authority.client("admin", "system:masters")?);
        let port = free_port().map_err(Error::Port)?;
        let server =
            Server { url: format!("https://{LOCALHOST}:{port}"), ca: authority.pem(), ca_der: authority.der() };
        let group = ProcessGroup::start(&target.join("test-clusters"))?;
        write_files(group.folder(), &authority)?;
        let kubeconfig = group.folder().join(ADMIN_KUBECONFIG);
        server.write_kubeconfig(&kubeconfig, "admin", &admin, "default")?;
        Ok(Self { group, parts: Vec::new(), server, port, api_server_flags, authority, admin })
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn admin(&self) -> &Credential {
        &self.admin
    }

    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.folder().join(ADMIN_KUBECONFIG)
    }

    pub(super) fn folder(&self) -> &Path {
        self.group.folder()
    }

    pub(super) fn user(&self, user: &str, group: &str) -> Result<Credential, Error> {
        Ok(self.authority.client(user, group)?.into())
    }

    pub(super) fn spawn(&self, command: &mut Command) -> Result<Process, processes::Error> {
        self.group.spawn(command)
    }

    /// Starts etcd and the API server, which waits for etcd.
    pub(super) fn start_api_server(&mut self, programs: &Kubernetes) -> Result<(), Error> {
        self.start_store(programs)?;
        self.start_api_server_alone(programs)
    }

    /// Starts etcd.
    pub(super) fn start_store(&mut self, programs: &Kubernetes) -> Result<(), Error> {
        let mut etcd = Command::new(&programs.etcd);
        etcd.args(ETCD)
            .arg(format!("--listen-client-urls={ETCD_CLIENTS}"))
            .arg(format!("--advertise-client-urls={ETCD_CLIENTS}"))
            .arg(format!("--listen-peer-urls={ETCD_PEERS}"))
            .arg(format!("--initial-advertise-peer-urls={ETCD_PEERS}"))
            .arg(format!("--initial-cluster=tests={ETCD_PEERS}"));
        self.start(ETCD_NAME, etcd)
    }

    pub(super) fn start_api_server_alone(&mut self, programs: &Kubernetes) -> Result<(), Error> {
        let mut api_server = Command::new(&programs.kube_apiserver);
        api_server
            .args(API_SERVER)
            .args(self.api_server_flags)
            .arg(format!("--etcd-servers={ETCD_CLIENTS}"))
            .arg(format!("--secure-port={}", self.port));
        self.start(API_SERVER_NAME, api_server)
    }

    /// Kills the API server. etcd and the controllers continue.
    pub(super) fn kill_api_server(&mut self) {
        self.parts.retain(|part| part.name != API_SERVER_NAME);
    }

    /// Kills the API server and etcd.
    pub(super) fn kill_store(&mut self) {
        self.kill_api_server();
        self.parts.retain(|part| part.name != ETCD_NAME);
    }

    /// Replaces a folder by a copy of another one.
    pub(super) fn copy_store(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write { path: to.to_owned(), source };
        if to.exists() {
            fs::remove_dir_all(to).map_err(failed)?;
        }
        copy_folder(from, to).map_err(failed)
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(LOCALHOST, self.port)
    }

    /// Starts the controllers. The API server must be ready: without the RBAC rules that it creates at its start, the
    /// controllers exit.
    pub(super) fn start_controllers(&mut self, programs: &Kubernetes) -> Result<(), Error> {
        let mut controllers = Command::new(&programs.kube_controller_manager);
        controllers.args(CONTROLLER_MANAGER);
        self.start("kube-controller-manager", controllers)
    }

    pub(super) async fn api_server_is_ready(&mut self, client: &Client) -> Result<(), Error> {
        self.wait("readiness", async || {
            let request = http::Request::get("/readyz").body(Vec::new()).ok()?;
            client.request_text(request).await.ok().map(drop)
        })
        .await
    }

    /// Creates custom resource definitions and waits until the API server serves them.
    pub(super) async fn establish(
        &mut self,
        client: &Client,
        definitions: &[CustomResourceDefinition],
    ) -> Result<(), Error> {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in definitions {
            let name = definition.name_any();
            api.create(&PostParams::default(), definition)
                .await
                .map_err(Error::request(format!("create the definition {name}")))?;
            self.wait(&format!("establishing {name}"), async || {
                let found = api.get_opt(&name).await.ok()?;
                let established = conditions::is_crd_established();
                established.matches_object(found.as_ref()).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until the first ServiceAccount shows that the controllers run.
    pub(super) async fn controllers_are_ready(&mut self, client: &Client) -> Result<(), Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        self.wait("the first ServiceAccount", async || accounts.get_opt("default").await.ok().flatten().map(drop)).await
    }

    fn start(&mut self, name: &'static str, mut command: Command) -> Result<(), Error> {
        let log = self.folder().join(format!("{name}.log"));
        let write_error = |source| Error::Write { path: log.clone(), source };
        let output = File::create(&log).map_err(write_error)?;
        let errors = output.try_clone().map_err(write_error)?;
        command.current_dir(self.folder()).stdin(Stdio::null()).stdout(output).stderr(errors);
        let process = self.group.spawn(&mut command)?;
        self.parts.push(Part { name, process, log });
        Ok(())
    }

    /// Waits until `is_true` returns `Some`. Fails at once if a part ends. After the deadline, the error names the part
    /// that was started last.
    async fn wait(&mut self, what: &str, mut is_true: impl AsyncFnMut() -> Option<()>) -> Result<(), Error> {
        let outcome = waiting::until(what, DEADLINE, async || match self.ended() {
            Some(error) => Some(Err(error)),
            None => is_true().await.map(Ok),
        });
        let timed_out = match outcome.await {
            Ok(result) => return result,
            Err(timed_out) => timed_out,
        };
        let part = self.parts.last().expect("a part was started before");
        Err(Error::NotReady { program: part.name, log: last_lines(&part.log, 10), source: timed_out })
    }

    fn ended(&mut self) -> Option<Error> {
        self.parts.iter_mut().find_map(Part::ended)
    }
}

impl Part {
    fn ended(&mut self) -> Option<Error> {
        let status = match self.process.try_wait() {
            Ok(status) => status?.to_string(),
            Err(error) => error.to_string(),
        };
        Some(Error::Ended { program: self.name, status, log: last_lines(&self.log, 10) })
    }
}

impl From<Identity> for Credential {
    fn from(identity: Identity) -> Self {
        Self::ClientCertificate { certificate: identity.certificate, key: identity.key }
    }
}

fn write_files(folder: &Path, authority: &Authority) -> Result<(), Error> {
    let server = authority.server(LOCALHOST)?;
    let service_accounts = rcgen::KeyPair::generate()?;
    for (name, content) in [
        ("ca.crt", authority.pem()),
        ("server.crt", server.certificate),
        ("server.key", server.key),
        ("service-account.key", service_accounts.serialize_pem()),
        ("service-account.pub", service_accounts.public_key_pem()),
        ("audit-policy.yaml", AUDIT_POLICY.to_owned()),
    ] {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((LOCALHOST, 0))?.local_addr()?.port())
}

use std::env;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use thiserror::Error;
use waxseal_shared::key::contains_identity;
use waxseal_shared::key_succession::{KeyGeneration, RenewalPeriodError, parse_renewal_period};
use waxseal_shared::names::Namespace;
use waxseal_shared::recovery_keys::{RecoveryKeyError, RecoveryKeys};
use waxseal_shared::template::ForbiddenPrefix;
use waxseal_shared::visible_text::{escaped, visible_path};

/// The largest file of recovery recipients; each recipient has 2 KB.
const MAX_RECIPIENTS_FILE: u64 = 64 * 1024;

/// Turns SealedSecrets into Secrets, in a cluster or on a folder.
#[derive(Parser)]
#[command(name = "waxseal-controller", version)]
pub(crate) struct Args {
    /// The form of log lines; by default text on a terminal and JSON elsewhere
    #[arg(long, env = "WAXSEAL_LOG_FORMAT", global = true)]
    pub(crate) log_format: Option<LogFormat>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Args {
    /// Reads the arguments and the variables of the process. Exits on a usage error, and after `--help` and
    /// `--version`.
    pub(crate) fn read() -> Self {
        match place_of_private_key() {
            Some(place) => private_key_error(&place).exit(),
            None => Self::parse(),
        }
    }
}

/// The place of a private key in the arguments or in a variable of this program. The errors of clap and the log would
/// show the key.
fn place_of_private_key() -> Option<String> {
    if env::args_os().any(|argument| contains_identity(argument.as_encoded_bytes())) {
        return Some("an argument".to_owned());
    }
    let (name, _) = env::vars_os().find(|(name, value)| {
        name.as_encoded_bytes().starts_with(b"WAXSEAL_") && contains_identity(value.as_encoded_bytes())
    })?;
    Some(format!("the variable {}", escaped(&name.to_string_lossy())))
}

fn private_key_error(place: &str) -> clap::Error {
    let hint = "the Deployment, the shell's history and the list of processes can hold it now: make a new key";
    clap::Error::raw(ErrorKind::ValueValidation, format!("{place} contains a private key\nhint: {hint}\n"))
}

/// The form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Watch SealedSecrets in a cluster and write Secrets there (the default)
    Kubernetes(Kubernetes),
    /// Watch a folder of manifests and write Secrets into another
    Directory(Directory),
    /// Print the custom resource definitions that this program was built with
    Manifests,
}

#[derive(clap::Args)]
pub(crate) struct Kubernetes {
    /// The kubeconfig to use; in a Pod, it takes precedence over the cluster that the Pod runs in
    #[arg(long, env = "WAXSEAL_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use
    #[arg(long, env = "WAXSEAL_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The namespace of the identities and SealingKeys; by default the namespace of the Pod, for the
    /// cluster that the Pod runs in, and otherwise waxseal-system
    #[arg(long, env = "WAXSEAL_KEY_NAMESPACE", value_name = "NAMESPACE", value_parser = Namespace::parse)]
    pub(crate) key_namespace: Option<Namespace>,
    /// Serve only these namespaces, with Roles there instead of a ClusterRole; can be given several times or with
    /// commas; by default all namespaces
    #[arg(long, env = "WAXSEAL_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',', value_parser = Namespace::parse)]
    pub(crate) namespaces: Vec<Namespace>,
    /// The address and port of the probes /livez and /readyz. Default for the cluster that the Pod runs in: port 8080
    /// on all addresses of the Pod. Default outside a cluster, and with --kubeconfig or --context: 127.0.0.1:8080
    #[arg(long, env = "WAXSEAL_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The address and port of /metrics. Default for the cluster that the Pod runs in: port 8081 on all addresses of
    /// the Pod. Default outside a cluster, and with --kubeconfig or --context: 127.0.0.1:8081
    #[arg(long, env = "WAXSEAL_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) key_life: KeyLife,
    #[command(flatten)]
    pub(crate) forbidden: ForbiddenMetadata,
    #[command(flatten)]
    pub(crate) recovery: RecoveryRecipients,
}

impl Kubernetes {
    /// Whether the controller works on the cluster that it runs in as a Pod.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.kubeconfig.is_none() && self.context.is_none() && env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    }

    /// The addresses to try for the probes, in this order.
    pub(crate) fn probe_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(self.listen, 8080)
    }

    /// The addresses to try for the metrics, in this order.
    pub(crate) fn metrics_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(self.metrics_listen, 8081)
    }

    /// The chosen address, or the defaults. In a cluster these are `[::]`, which also accepts IPv4 connections, and
    /// then `0.0.0.0`, for a machine without IPv6.
    fn addresses(&self, chosen: Option<SocketAddr>, port: u16) -> Vec<SocketAddr> {
        match chosen {
            Some(address) => vec![address],
            None if self.is_in_cluster() => {
                vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]
            }
            None => vec![(Ipv4Addr::LOCALHOST, port).into()],
        }
    }
}

impl Default for Command {
    fn default() -> Self {
        let Args { command, .. } = Args::parse_from(["waxseal-controller", "kubernetes"]);
        command.expect("the subcommand was just given")
    }
}

#[derive(clap::Args)]
pub(crate) struct Directory {
    /// The folder of SealedSecret manifests
    #[arg(long, env = "WAXSEAL_MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: PathBuf,
    /// The folder to write Secrets into, as NAMESPACE/NAME/KEY
    #[arg(long, env = "WAXSEAL_SECRETS", value_name = "DIR")]
    pub(crate) secrets: PathBuf,
    /// The folder of identities (KEYID.key) and of the public sealing-keys.yaml
    #[arg(long, env = "WAXSEAL_KEYS", value_name = "DIR")]
    pub(crate) keys: PathBuf,
    /// Do the work once and exit: 0 if nothing failed and every SealedSecret is materialised, 1 otherwise. Waits 5
    /// seconds before it deletes a Secret
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) key_life: KeyLife,
    #[command(flatten)]
    pub(crate) forbidden: ForbiddenMetadata,
    #[command(flatten)]
    pub(crate) recovery: RecoveryRecipients,
}

/// When the controller makes keys by itself.
#[derive(clap::Args, Default)]
pub(crate) struct KeyLife {
    /// Make a new sealing key when the primary has this age, and retire the old key, which still opens what was sealed
    /// to it; 0 means that no key is renewed
    #[arg(long, env = "WAXSEAL_RENEW_AFTER", value_name = "DURATION", value_parser = RenewalPeriod::parse, default_value = "90d")]
    renew_after: RenewalPeriod,
    /// Never make a sealing key, neither the first nor a new one: all identities are brought by an operator
    #[arg(long, env = "WAXSEAL_NO_KEY_GENERATION")]
    no_key_generation: bool,
}

/// The age at which the primary gets a successor; `None`: its age is no reason for a successor.
#[derive(Clone, Copy, Default)]
struct RenewalPeriod(Option<SignedDuration>);

impl RenewalPeriod {
    fn parse(text: &str) -> Result<Self, RenewalPeriodError> {
        parse_renewal_period(text).map(Self)
    }
}

impl KeyLife {
    pub(crate) fn generation(&self) -> KeyGeneration {
        if self.no_key_generation {
            return KeyGeneration::Off;
        }
        KeyGeneration::On { renew_after: self.renew_after.0 }
    }
}

/// The labels and annotations that the template of a SealedSecret must not have, in addition to those that Waxseal
/// always forbids.
#[derive(clap::Args, Default)]
pub(crate) struct ForbiddenMetadata {
    /// Refuse SealedSecrets whose template has a label or annotation that begins with PREFIX, in addition to those of
    /// known replicators; can be given several times; in the variable, separate the prefixes with commas
    #[arg(long = "forbid-metadata", env = "WAXSEAL_FORBID_METADATA", value_name = "PREFIX", value_delimiter = ',')]
    pub(crate) metadata: Vec<ForbiddenPrefix>,
}

/// The recovery keys, whose identities are kept offline.
#[derive(clap::Args, Default)]
pub(crate) struct RecoveryRecipients {
    /// Publish this recovery key, `age1pq1…`: everything that is sealed for this controller is sealed to it too; can be
    /// given several times; in the variable, separate the recipients with commas
    // Not parsed by clap: its error would show the value, which may be a private key.
    #[arg(
        long = "recovery-recipient",
        env = "WAXSEAL_RECOVERY_RECIPIENT",
        hide_env_values = true,
        value_name = "RECIPIENT",
        value_delimiter = ','
    )]
    recipients: Vec<String>,
    /// Publish the recovery keys in this file too: one recipient on each line, and comments that begin with `#`
    #[arg(long = "recovery-recipients-file", env = "WAXSEAL_RECOVERY_RECIPIENTS_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Why the recovery recipients cannot be used.
#[derive(Debug, Error)]
pub(crate) enum RecoveryRecipientsError {
    #[error("failed to use --recovery-recipient: {0}")]
    Flag(RecoveryKeyError),
    #[error("failed to read the recovery recipients in {}", visible_path(.0))]
    Read(PathBuf, #[source] std::io::Error),
    #[error("failed to read the recovery recipients in {}: the file has more than {MAX_RECIPIENTS_FILE} bytes", visible_path(.0))]
    TooLarge(PathBuf),
    #[error(
        "failed to use the recovery recipients in {}: the file has no recipient; if it is not needed, leave out \
         --recovery-recipients-file",
        visible_path(.0)
    )]
    NoRecipient(PathBuf),
    #[error("failed to use the recovery recipients in {}: line {line}: {error}", visible_path(.path))]
    Line { path: PathBuf, line: usize, error: RecoveryKeyError },
}

impl RecoveryRecipients {
    pub(crate) fn read(&self) -> Result<RecoveryKeys, RecoveryRecipientsError> {
        let mut keys = RecoveryKeys::default();
        for text in &self.recipients {
            keys.add(text.trim()).map_err(RecoveryRecipientsError::Flag)?;
        }
        if let Some(path) = &self.file {
            add_recipients_of(path, &mut keys)?;
        }
        Ok(keys)
    }
}

/// Adds the recipients of a file. Refuses a file without one: the controller would withdraw the recovery keys that it
/// has published.
fn add_recipients_of(path: &Path, keys: &mut RecoveryKeys) -> Result<(), RecoveryRecipientsError> {
    let text = read_recipients(path)?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let mut recipients = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).peekable();
    if recipients.peek().is_none() {
        return Err(RecoveryRecipientsError::NoRecipient(path.to_owned()));
    }
    for (line, text) in recipients {
        keys.add(text).map_err(|error| RecoveryRecipientsError::Line { path: path.to_owned(), line, error })?;
    }
    Ok(())
}

fn read_recipients(path: &Path) -> Result<String, RecoveryRecipientsError> {
    let mut text = String::new();
    let length = File::open(path).and_then(|file| file.take(MAX_RECIPIENTS_FILE + 1).read_to_string(&mut text));
    match length.map_err(|error| RecoveryRecipientsError::Read(path.to_owned(), error))? as u64 {
        ..=MAX_RECIPIENTS_FILE => Ok(text),
        _ => Err(RecoveryRecipientsError::TooLarge(path.to_owned())),
    }
}

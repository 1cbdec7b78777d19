use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use waxseal_shared::key_succession::{KeyGeneration, RenewalPeriodError, parse_renewal_period};
use waxseal_shared::template::ForbiddenPrefix;

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
    /// The kubeconfig to use outside a cluster
    #[arg(long, env = "WAXSEAL_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use
    #[arg(long, env = "WAXSEAL_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The namespace of the identities and SealingKeys; by default the namespace of the Pod in a cluster, and
    /// waxseal-system outside
    #[arg(long, env = "WAXSEAL_KEY_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) key_namespace: Option<String>,
    /// The address and port of probes and metrics; by default port 8080 on every address in a cluster, and
    /// 127.0.0.1:8080 outside
    #[arg(long, env = "WAXSEAL_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) key_life: KeyLife,
    #[command(flatten)]
    pub(crate) forbidden: ForbiddenMetadata,
}

impl Kubernetes {
    /// Whether the controller works on the cluster that it runs in as a Pod.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.kubeconfig.is_none() && self.context.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    }

    /// The addresses to try, in this order. `[::]` also accepts IPv4 connections, but a machine can lack IPv6.
    pub(crate) fn listen_addresses(&self) -> Vec<SocketAddr> {
        const PORT: u16 = 8080;
        match self.listen {
            Some(address) => vec![address],
            None if self.is_in_cluster() => {
                vec![(Ipv6Addr::UNSPECIFIED, PORT).into(), (Ipv4Addr::UNSPECIFIED, PORT).into()]
            }
            None => vec![(Ipv4Addr::LOCALHOST, PORT).into()],
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
    /// Do the work once and exit: 0 if everything was read and every SealedSecret is materialised, 1 otherwise. Waits 5
    /// seconds before it deletes a Secret
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) key_life: KeyLife,
    #[command(flatten)]
    pub(crate) forbidden: ForbiddenMetadata,
}

/// When the controller makes keys by itself.
#[derive(clap::Args, Default)]
pub(crate) struct KeyLife {
    /// Make a new sealing key when the primary is older than this, and retire the old one, which still opens; 0 is never
    #[arg(long, env = "WAXSEAL_RENEW_AFTER", value_name = "DURATION", value_parser = RenewalPeriod::parse, default_value = "90d")]
    renew_after: RenewalPeriod,
    /// Never make a sealing key, neither the first nor a new one: all identities are brought by an operator
    #[arg(long, env = "WAXSEAL_NO_KEY_GENERATION")]
    no_key_generation: bool,
}

/// How long a key is the primary; `None` is for ever.
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

/// The metadata that SealedSecrets must not have, in addition to what Waxseal always forbids.
#[derive(clap::Args, Default)]
pub(crate) struct ForbiddenMetadata {
    /// Refuse SealedSecrets whose template has a label or annotation that begins with PREFIX, in addition to those of
    /// known replicators; can be given several times; in the variable, separate the prefixes with commas
    #[arg(long = "forbid-metadata", env = "WAXSEAL_FORBID_METADATA", value_name = "PREFIX", value_delimiter = ',')]
    pub(crate) metadata: Vec<ForbiddenPrefix>,
}

//! Texts for errors of the Kubernetes client. The client's own texts can contain tokens, so they are never shown.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use http_body_util::LengthLimitError;
use kube::Config;
use kube::client::AuthError;
use kube::config::{KubeconfigError, LoadDataError};
use kube::core::Status;
use rustls::pki_types::InvalidDnsNameError;
use rustls::{AlertDescription, CertificateError};
use waxseal_shared::visible_text::{escaped, visible_path};

use super::{MAX_ANSWER_BYTES, no_cluster};
use crate::error::CliError;
use crate::file_names::{is_private_key, private_key_instead_of};

/// The text of the client's error when a host name cannot be resolved. The client has no type for it.
const UNRESOLVED: &str = "dns error";
pub(super) const IN_ALL_NAMESPACES: &str = "in all namespaces";
const NO_URL: &str = "the `server` of its cluster is not a URL with http:// or https://";
const WITH_KUBECTL: &str = "see if `kubectl` can use the context";

/// The API server, as errors name it: without the credentials that its URL in the kubeconfig may contain.
pub(super) struct Server {
    host: String,
    port: u16,
    /// Whether the kubeconfig names the certificate authority of the server.
    has_certificate_authority: bool,
}

/// What a request asks for, as errors name it.
#[derive(Clone)]
pub(super) struct Asked {
    /// The verb of the right that it needs.
    pub(super) verb: &'static str,
    /// Such as `SealingKeys`.
    pub(super) kinds: &'static str,
    /// As in `kubectl get RESOURCE`.
    pub(super) resource: &'static str,
    /// Such as `in shop`, or [`IN_ALL_NAMESPACES`].
    pub(super) place: String,
    /// The hint if the kubeconfig or `$HTTPS_PROXY` names a proxy: waxseal connects without one.
    pub(super) instead: String,
}

impl Asked {
    /// What to do without the right.
    fn right(&self) -> String {
        let Self { verb, resource, place, .. } = self;
        let role = if place == IN_ALL_NAMESPACES { "ClusterRole" } else { "Role" };
        format!("ask for a {role} with the verb {verb} on {resource} {place}")
    }
}

/// The error for a kubeconfig that cannot be read; `path` is the value of `--kubeconfig`. Does not show a private key
/// in `$KUBECONFIG` or `$HOME`.
pub(super) fn unreadable_kubeconfig(error: &KubeconfigError, path: Option<&Path>) -> CliError {
    let (failure, path) = match error {
        KubeconfigError::ReadConfig(error, path) => (no_cluster(reason(error)), Some(path.as_path())),
        KubeconfigError::FindPath => (no_cluster("there is no home folder to look for a kubeconfig in"), path),
        _ => (no_cluster("not a kubeconfig"), path),
    };
    if path.is_some_and(|path| is_private_key(path.as_os_str())) {
        return private_key_instead_of("a path").at("$KUBECONFIG or $HOME");
    }
    let place = path.map_or_else(|| "kubeconfig".to_owned(), |path| format!("kubeconfig {}", visible_path(path)));
    failure.at(place).with_hint("name a kubeconfig with `--kubeconfig FILE`, and see what `kubectl config view` says")
}

/// The error if the kubeconfig does not have the wanted context, or has no current context; `what` says which of them
/// is missing.
pub(super) fn no_context(what: &str, contexts: &[&str]) -> CliError {
    if contexts.is_empty() {
        return no_cluster(format!("{what}; the kubeconfig has no contexts"));
    }
    let contexts: Vec<_> = contexts.iter().map(|name| escaped(name)).collect();
    let error = no_cluster(format!("{what}; the kubeconfig has: {}", contexts.join(", ")));
    error.with_hint("name one with `--context CONTEXT`")
}

/// The error for a context that cannot be used.
pub(super) fn unusable_context(error: &KubeconfigError) -> CliError {
    no_cluster(match error {
        KubeconfigError::LoadContext(_) => "its entry in the kubeconfig is empty".to_owned(),
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("the kubeconfig does not have its cluster, {}", escaped(name))
        }
        KubeconfigError::MissingClusterUrl => "its cluster has no `server`".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => NO_URL.to_owned(),
        KubeconfigError::ParseProxyUrl(_) => "the proxy's URL is not a URL".to_owned(),
        KubeconfigError::LoadCertificateAuthority(error) => unreadable_file("certificate authority", error),
        KubeconfigError::ParseCertificates(_) => "the certificate authority is not PEM".to_owned(),
        KubeconfigError::LoadClientCertificate(error) => unreadable_file("client certificate", error),
        KubeconfigError::LoadClientKey(LoadDataError::ReadFile(error, _)) => {
            // Without the path: users write the key itself where its path is expected.
            format!("cannot read the kubeconfig's client key: {}", reason(error))
        }
        KubeconfigError::LoadClientKey(error) => unreadable_file("client key", error),
        _ => "it cannot be used".to_owned(),
    })
}

/// The error for an answer that is not a list of the kind that was asked for.
pub(super) fn unknown_answer(Asked { kinds, resource, .. }: &Asked) -> CliError {
    CliError::refused(format!("the answer is not a list of {kinds} that this waxseal knows"))
        .with_hint(format!("update waxseal, or see what `kubectl get {resource} -A` says"))
}

/// Whether an answer was larger than [`MAX_ANSWER_BYTES`].
pub(super) fn is_too_large(error: &kube::Error) -> bool {
    causes(error).any(|cause| cause.is::<LengthLimitError>())
}

/// Whether a 403 comes from something other than an API server, such as a proxy. An API server sends a Status as JSON;
/// for any other body, the client makes a Status itself.
pub(super) fn is_foreign_refusal(status: &Status) -> bool {
    status.code == 403 && status.reason == "Failed to parse error data"
}

impl Server {
    pub(super) fn of(config: &Config) -> Result<Self, CliError> {
        let url = &config.cluster_url;
        let usual_port = match url.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            _ => return Err(no_cluster(NO_URL)),
        };
        let host = url.host().ok_or_else(|| no_cluster(NO_URL))?;
        Ok(Self {
            host: escaped(host).into_owned(),
            port: url.port_u16().unwrap_or(usual_port),
            has_certificate_authority: config.root_cert.is_some(),
        })
    }

    pub(super) fn failure(&self, error: &kube::Error, asked: &Asked) -> CliError {
        let Asked { verb, kinds, place, instead, .. } = asked;
        match error {
            kube::Error::Api(status) if status.code == 404 => no_cluster(format!("the cluster does not know {kinds}"))
                .with_hint("waxseal-controller and its custom resource definitions are not installed there"),
            kube::Error::Api(status) if is_foreign_refusal(status) => {
                no_cluster(format!("{self} does not answer as an API server does"))
            }
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                let error = format!("the API server does not let you {verb} {kinds} {place} ({})", status.code);
                match status.code {
                    403 => no_cluster(error).with_hint(asked.right()),
                    _ => no_cluster(error).with_hint(WITH_KUBECTL),
                }
            }
            kube::Error::Api(status) => no_cluster(format!("the API server answers with an error ({})", status.code)),
            kube::Error::SerdeError(error) if error.is_data() => unknown_answer(asked),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                no_cluster(format!("{self} does not answer as an API server does"))
            }
            kube::Error::InferKubeconfig(error) => unusable_context(error),
            kube::Error::RustlsTls(_) => {
                no_cluster("the certificates of the context cannot be used").with_hint(WITH_KUBECTL)
            }
            kube::Error::ProxyProtocolDisabled { .. } | kube::Error::ProxyProtocolUnsupported { .. } => {
                no_cluster("`proxy-url` or $HTTPS_PROXY names a proxy, and waxseal connects without one")
                    .with_hint(instead)
            }
            error => match causes(error).find_map(|cause| cause.downcast_ref()) {
                Some(error) => failed_login(error),
                None => no_cluster(self.broken_connection(error)),
            },
        }
    }

    fn broken_connection(&self, error: &kube::Error) -> String {
        let causes = || causes(error);
        if is_too_large(error) {
            let limit = MAX_ANSWER_BYTES / (1024 * 1024);
            return format!("the answer of {self} is larger than {limit} MiB, which is the limit");
        }
        if let Some(error) = causes().find_map(|cause| cause.downcast_ref()) {
            return self.broken_tls(error);
        }
        if causes().any(|cause| cause.is::<InvalidDnsNameError>() || cause.to_string() == UNRESOLVED) {
            return format!("cannot resolve host {}", self.host);
        }
        let kind = causes().find_map(|cause| {
            let kind = cause.downcast_ref::<io::Error>()?.kind();
            Some(kind).filter(|kind| *kind != io::ErrorKind::Other)
        });
        match kind {
            Some(io::ErrorKind::ConnectionRefused) => format!("connection refused by {self}"),
            Some(kind) => format!("the connection to {self} failed: {kind}"),
            None => format!("{self} does not answer as an API server does"),
        }
    }

    fn broken_tls(&self, error: &rustls::Error) -> String {
        match error {
            rustls::Error::InvalidCertificate(error) => self.bad_certificate(error),
            rustls::Error::InvalidMessage(_) => format!("{self} does not speak TLS"),
            rustls::Error::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate,
            ) => format!("{self} refuses the client certificate"),
            _ => format!("the TLS connection to {self} failed"),
        }
    }

    fn bad_certificate(&self, error: &CertificateError) -> String {
        let fault = match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                return format!("the server's certificate is for another name than {}", self.host);
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature if self.has_certificate_authority => {
                "is not signed by the kubeconfig's CA"
            }
            CertificateError::UnknownIssuer => "is not signed by a CA of this machine, and the kubeconfig has no CA",
            _ => "is not valid",
        };
        format!("the server's certificate {fault}")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The error for credentials that cannot be read. The output of a login plugin is not shown.
fn failed_login(error: &AuthError) -> CliError {
    let text = match error {
        // Without the path: users write the token itself where its path is expected.
        AuthError::ReadTokenFile(error, _) => format!("cannot read the kubeconfig's token file: {}", reason(error)),
        AuthError::AuthExecStart(error) => format!("cannot start the kubeconfig's login plugin: {}", reason(error)),
        AuthError::AuthExecRun { .. } | AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "the kubeconfig's login plugin failed".to_owned()
        }
        _ => return no_credentials(),
    };
    no_cluster(text).with_hint(WITH_KUBECTL)
}

/// The error for credentials that cannot be sent in a request.
pub(super) fn no_credentials() -> CliError {
    no_cluster("the kubeconfig's credentials cannot be used").with_hint(WITH_KUBECTL)
}

fn unreadable_file(what: &str, error: &LoadDataError) -> String {
    match error {
        LoadDataError::ReadFile(error, path) => format!("cannot read {what} {}: {}", visible_path(path), reason(error)),
        LoadDataError::DecodeBase64(_) => format!("the {what} in the kubeconfig is not base64"),
        LoadDataError::NoBase64DataOrFile => format!("the kubeconfig has no {what}"),
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        kind => kind.to_string(),
    }
}

/// Returns the error and its causes. `source` of an `io::Error` skips the wrapped error, so `get_ref` comes first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

//! The log lines of both backends, and the error line with which the program ends.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use waxseal_shared::judgement::Fact;
use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::{KeyRole, PublishedKey};

use crate::args::LogFormat;

const DEFAULT_FILTER: &str = "info";

/// Writes log lines to stderr: by default all lines from INFO on. `RUST_LOG` replaces this filter, but a line that
/// [`is_safe`] forbids is never written.
pub(crate) fn init(format: Option<LogFormat>) {
    let format = format.unwrap_or(if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // The reader of stderr can close it. The library would report that on stderr, too, and panic.
    let builder = builder.log_internal_errors(false);
    let is_coloured = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let safe = filter_fn(is_safe);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).finish().with(safe).init(),
        LogFormat::Text => builder.with_ansi(is_coloured).finish().with(safe).init(),
    }
}

/// Whether a log line cannot show the content of a Secret. The controller's own lines are safe at every level; those of
/// libraries are safe at INFO, WARN and ERROR. Lines of `kube_client` are never written: it logs answers of the API
/// server, which can quote a Secret. The code that makes a request logs its failure in words of its own.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    let is_of = |package: &str| metadata.target().split("::").next() == Some(package);
    is_of(env!("CARGO_CRATE_NAME")) || (*metadata.level() <= Level::INFO && !is_of("kube_client"))
}

/// Logs the error with which the program ends, and all its causes, in one line.
pub(crate) fn fatal(error: &dyn Error) {
    tracing::error!("{}", chain(error));
}

/// Returns the text of an error and of its causes, joined by colons.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The complaints of the last attempt. A complaint is logged when it is new, and not again while it lasts.
#[derive(Default)]
pub(crate) struct Complaints(BTreeSet<String>);

impl Complaints {
    /// Logs the complaints that the last attempt did not have, and forgets those that are over.
    pub(crate) fn log(&mut self, complaints: BTreeSet<String>) {
        complaints.difference(&self.0).for_each(|complaint| tracing::warn!("{complaint}"));
        self.0 = complaints;
    }
}

pub(crate) fn made_first_key(key: &PublishedKey) {
    tracing::info!(
        key = key.recipient.key_id().as_str(),
        fingerprint = key.recipient.fingerprint(),
        "made the first sealing key"
    );
}

pub(crate) fn made_successor(key: &PublishedKey, of: &KeyId) {
    tracing::info!(
        key = key.recipient.key_id().as_str(),
        after = of.as_str(),
        fingerprint = key.recipient.fingerprint(),
        "made a new sealing key"
    );
}

/// Logs one condition of a SealedSecret: at INFO if the condition is true, at WARN if it is false.
pub(crate) fn fact(namespace: &str, name: &str, fact: &Fact) {
    let Fact { is_true, reason, message, .. } = fact;
    if *is_true {
        tracing::info!(namespace, name, reason, "{message}");
    } else {
        tracing::warn!(namespace, name, reason, "{message}");
    }
}

/// Logs the keys that are new or have changed: people compare their fingerprints.
pub(crate) fn new_keys(before: &[PublishedKey], now: &[PublishedKey]) {
    for key in now.iter().filter(|key| !before.contains(key)) {
        tracing::info!(
            key = key.recipient.key_id().as_str(),
            role = key.role.as_str(),
            state = key.state.as_str(),
            created = %key.created_at,
            fingerprint = key.recipient.fingerprint(),
            "{}",
            match key.role {
                KeyRole::Cluster => "holds a sealing key",
                KeyRole::Recovery => "has a recovery key in its configuration",
            }
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn libraries_log_from_info_on_and_the_client_never() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let writer = Arc::new(File::create(file.path()).expect("a file"));
        let everything = tracing_subscriber::fmt()
            .with_env_filter("trace,kube_client::client=trace")
            .with_ansi(false)
            .with_writer(writer);
        tracing::subscriber::with_default(everything.finish().with(filter_fn(is_safe)), || {
            tracing::trace!("the controller's at trace");
            tracing::info!(target: "kube_runtime::controller", "a library's at info");
            tracing::debug!(target: "hyper::proto", "a library's at debug");
            tracing::debug!(target: "waxseal_controllers", "a namesake's at debug");
            tracing::error!(target: "kube_client::client::builder", "the client's at error");
        });
        let text = std::fs::read_to_string(file.path()).expect("text");
        let logged: Vec<_> = text.lines().filter_map(|line| line.split_once(": ")).map(|(_, text)| text).collect();
        assert_eq!(logged, ["the controller's at trace", "a library's at info"], "{text}");
    }
}

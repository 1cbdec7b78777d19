//! Log lines, and the one way to say why the program ends.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use waxseal_shared::judgement::Fact;
use waxseal_shared::sealing_key::PublishedKey;

use crate::args::LogFormat;

const DEFAULT_FILTER: &str = "info";

/// Writes log lines to stderr. `RUST_LOG` chooses what is shown of what [may be said](may_be_said),
/// instead of everything from INFO on.
pub(crate) fn init(format: Option<LogFormat>) {
    let format = format.unwrap_or(if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // Whoever reads the log may go away: by default the library then panics, since it reports that on stderr, too.
    let builder = builder.log_internal_errors(false);
    let is_coloured = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let safe = filter_fn(may_be_said);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).finish().with(safe).init(),
        LogFormat::Text => builder.with_ansi(is_coloured).finish().with(safe).init(),
    }
}

/// Whatever `RUST_LOG` asks for, libraries are not heard below INFO, and the client library never:
/// it logs the answers of the API server, which quote what a Secret holds. Each of its requests
/// that fails is said once, in our words, by who made it.
fn may_be_said(metadata: &Metadata<'_>) -> bool {
    let is_of = |package: &str| metadata.target().split("::").next() == Some(package);
    is_of(env!("CARGO_CRATE_NAME")) || (*metadata.level() <= Level::INFO && !is_of("kube_client"))
}

/// Says why the program ends: the whole chain of causes in one line.
pub(crate) fn fatal(error: &dyn Error) {
    tracing::error!("{}", chain(error));
}

/// An error and its causes, joined by colons.
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

/// What was complained of last: a complaint that still stands is not logged again.
#[derive(Default)]
pub(crate) struct Complaints(BTreeSet<String>);

impl Complaints {
    /// Logs the complaints that are new, and forgets those that no longer stand.
    pub(crate) fn log(&mut self, complaints: BTreeSet<String>) {
        complaints.difference(&self.0).for_each(|complaint| tracing::warn!("{complaint}"));
        self.0 = complaints;
    }
}

/// Logs the making of the first key.
pub(crate) fn made_first_key(key: &PublishedKey) {
    tracing::info!(
        key = key.recipient.key_id().as_str(),
        fingerprint = key.recipient.fingerprint(),
        "made the first sealing key"
    );
}

/// Logs one fact about a SealedSecret, as a warning if it is a bad one.
pub(crate) fn fact(namespace: &str, name: &str, fact: &Fact) {
    let Fact { is_true, reason, message, .. } = fact;
    if *is_true {
        tracing::info!(namespace, name, reason, "{message}");
    } else {
        tracing::warn!(namespace, name, reason, "{message}");
    }
}

/// One line for a key that is held, so that people can compare its fingerprint.
pub(crate) fn held_key(key: &PublishedKey) {
    tracing::info!(
        key = key.recipient.key_id().as_str(),
        role = key.role.as_str(),
        state = key.state.as_str(),
        created = %key.created_at,
        fingerprint = key.recipient.fingerprint(),
        "holds a sealing key"
    );
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn libraries_are_not_heard_below_info_and_the_client_never() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let writer = Arc::new(File::create(file.path()).expect("a file"));
        let everything = tracing_subscriber::fmt()
            .with_env_filter("trace,kube_client::client=trace")
            .with_ansi(false)
            .with_writer(writer);
        tracing::subscriber::with_default(everything.finish().with(filter_fn(may_be_said)), || {
            tracing::trace!("ours at trace");
            tracing::info!(target: "kube_runtime::controller", "a library's at info");
            tracing::debug!(target: "hyper::proto", "a library's at debug");
            tracing::debug!(target: "waxseal_controllers", "a namesake's at debug");
            tracing::error!(target: "kube_client::client::builder", "the client's at error");
        });
        let text = std::fs::read_to_string(file.path()).expect("text");
        let said: Vec<_> = text.lines().filter_map(|line| line.split_once(": ")).map(|(_, said)| said).collect();
        assert_eq!(said, ["ours at trace", "a library's at info"], "{text}");
    }
}

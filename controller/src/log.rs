//! Log lines, and the one way to say why the program ends.

use std::error::Error;
use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// The client library logs every request that fails as an error of its own; each is said once, in
/// our words, by who made it.
const DEFAULT_FILTER: &str = "info,kube_client=off";

/// Writes log lines to stderr. `RUST_LOG` chooses what is shown instead of the default.
pub(crate) fn init(format: Option<LogFormat>) {
    let format = format.unwrap_or(if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).init(),
    }
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

mod definitions;
mod deployment;
mod findings;
mod keys;
mod objects;
mod rights;

use std::collections::BTreeSet;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use waxseal_shared::key_succession::parse_renewal_period;
use waxseal_shared::names::Namespace;

use self::findings::Findings;
use self::keys::RenewalPeriod;
use super::inspect::{ReportFormat, to_json};
use crate::cluster::{ClusterArguments, Look, RUN_WITHOUT_PROXY, SealedSecretSelection, Session};
use crate::error::{CliError, Failures, Kind};
use crate::streams::{Streams, counted};

/// Check an installation: the definitions, the controller and its work, the keys and the clock.
///
/// Prints a line for each check: `ok`, `PROBLEM` with what to do, `not checked` with the reason, or `info`. Exits with
/// 4 if there is a problem, or if a check could not be made. Changes nothing, and reads no Secret.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArguments {
    /// The renewal period of the controller (its option `--renew-after`), such as 90d; 0 is never. With it, a primary
    /// that is older is a problem
    #[arg(long, value_name = "PERIOD", value_parser = renewal_period)]
    renew_after: Option<RenewalPeriod>,
    /// Print the lines in this format
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    format: ReportFormat,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The namespace of the SealingKeys
    #[arg(short, long, value_parser = Namespace::parse, default_value = "waxseal-system", help_heading = "Cluster")]
    namespace: Namespace,
    /// The namespace of the controller's Deployment, if it is not that of the SealingKeys
    #[arg(long, value_name = "NAMESPACE", value_parser = Namespace::parse, help_heading = "Cluster")]
    controller_namespace: Option<Namespace>,
    /// The namespaces that the controller serves (its option `--namespaces`), if it does not serve all. Repeatable, or
    /// with commas
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',', value_parser = Namespace::parse, help_heading = "Cluster")]
    namespaces: Vec<Namespace>,
}

const EXAMPLES: &str = "\
Examples:
  waxseal doctor --context prod
  waxseal doctor --context prod --renew-after 90d --format json
  waxseal doctor -n shop-keys --namespaces shop,blog";

/// How far two clocks may be apart.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(2);

pub(crate) fn run(arguments: DoctorArguments, streams: &mut Streams) -> Result<(), Failures> {
    let mut findings = Findings::default();
    let session = Session::of_sealed_secrets(&arguments.cluster, RUN_WITHOUT_PROXY)?;
    let examined = examine(&arguments, &session, &mut findings);
    // What was found before a failure is shown too.
    streams.result(&match arguments.format {
        ReportFormat::Text => findings.text(),
        ReportFormat::Json => to_json(&findings),
    })?;
    examined?;
    match findings.failure() {
        None => Ok(()),
        Some(failure) => Err(CliError::new(Kind::Found, failure).at(session.place()).into()),
    }
}

fn renewal_period(text: &str) -> Result<RenewalPeriod, waxseal_shared::key_succession::RenewalPeriodError> {
    parse_renewal_period(text).map(RenewalPeriod)
}

fn examine(arguments: &DoctorArguments, session: &Session, findings: &mut Findings) -> Result<(), CliError> {
    let server_time = session.server_time()?;
    let now = Timestamp::now();
    session.check_is_api_server()?;
    findings.ok("the API server answers");
    check_clock(server_time, now, findings);
    definitions::check(session, findings)?;
    deployment::check(session, arguments.controller_namespace.as_ref().unwrap_or(&arguments.namespace), findings)?;
    rights::check(session, &arguments.namespace, findings)?;
    match session.look_at_sealing_keys(&arguments.namespace)? {
        Look::Found(keys) => keys::check(&keys, &arguments.namespace, arguments.renew_after, now, findings),
        // `definitions::check` reports the missing definition.
        Look::Absent => {}
        Look::Forbidden => {
            findings.not_checked(format!("the keys: you may not list SealingKeys in {}", arguments.namespace))
        }
    }
    objects::check(session, &served(&arguments.namespaces), findings)
}

/// Selects the SealedSecrets that the controller serves. Without names, it serves all namespaces.
fn served(namespaces: &[Namespace]) -> Vec<SealedSecretSelection> {
    if namespaces.is_empty() {
        return vec![SealedSecretSelection::default()];
    }
    let each_once: BTreeSet<_> = namespaces.iter().cloned().collect();
    each_once.into_iter().map(|namespace| SealedSecretSelection { namespace: Some(namespace), name: None }).collect()
}

fn check_clock(server: Option<Timestamp>, now: Timestamp, findings: &mut Findings) {
    let Some(server) = server else {
        return findings.not_checked("the clock: the answers of the API server have no time");
    };
    let difference = now.duration_since(server);
    if difference.abs() <= CLOCK_TOLERANCE {
        return findings.ok("the clocks of this machine and of the API server agree");
    }
    let (minutes, direction) =
        (difference.abs().as_mins(), if difference.is_positive() { "ahead of" } else { "behind" });
    findings.problem(
        format!("the clock of this machine is {} {direction} that of the API server", counted_minutes(minutes)),
        "set the clocks of both with NTP: keys are ordered by the time at which they were made",
    );
}

fn counted_minutes(minutes: i64) -> String {
    counted(usize::try_from(minutes).unwrap_or_default(), "minute")
}

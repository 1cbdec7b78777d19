mod details;
mod row;
mod watch;

use clap::Args;
use jiff::Timestamp;
use waxseal_shared::names::{Namespace, ObjectName};

use self::details::Details;
use self::row::StatusRow;
use super::inspect::{ReportFormat, to_json};
use crate::cluster::{ClusterArguments, SealedSecretSelection, SealedSecretState, Session};
use crate::error::{CliError, Failures, Kind};
use crate::file_names::object_name;
use crate::streams::{Streams, counted};
use crate::table::table;

/// Show what the controller says of the SealedSecrets of a cluster.
///
/// Lists the SealedSecrets of a namespace, or of all namespaces. With a name, explains every condition of this
/// SealedSecret, and says what to do. Without `--watch`, exits with 4 if a SealedSecret that it shows is not Ready.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArguments {
    /// Explain the SealedSecret of this name
    #[arg(value_name = "NAME", value_parser = object_name(), conflicts_with = "all_namespaces")]
    name: Option<ObjectName>,
    /// The namespace of the SealedSecrets; by default the namespace of the context
    #[arg(short, long, value_parser = Namespace::parse, conflicts_with = "all_namespaces", help_heading = "Cluster")]
    namespace: Option<Namespace>,
    /// List the SealedSecrets of all namespaces
    #[arg(short = 'A', long, help_heading = "Cluster")]
    all_namespaces: bool,
    /// Print the list, and then a line for each change, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Print the list in this format; with `--watch`, JSON is one object on each line
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    format: ReportFormat,
    #[command(flatten)]
    cluster: ClusterArguments,
}

const EXAMPLES: &str = "\
Examples:
  waxseal status -A
  waxseal status -n shop --watch
  waxseal status -n shop db
  waxseal status -A --context prod --format json";

/// What to do if this program cannot connect, and kubectl can.
const INSTEAD: &str = "`kubectl get wax -A -o wide` shows the same reasons";

pub(crate) fn run(arguments: StatusArguments, streams: &mut Streams) -> Result<(), Failures> {
    let session = Session::of_sealed_secrets(&arguments.cluster, INSTEAD)?;
    let selection = arguments.selection(&session)?;
    if arguments.watch {
        return Ok(watch::run(&session, &selection, arguments.format, streams)?);
    }
    let (now, mut objects) = (Timestamp::now(), Vec::new());
    session.list_sealed_secrets(&selection, |object| {
        objects.extend(Some(object).filter(|object| selection.selects(object)))
    })?;
    match (&selection.name, objects.first()) {
        (None, _) => list(&objects, &selection, arguments.format, now, streams)?,
        (Some(_), Some(object)) => explain(object, arguments.format, now, streams)?,
        (Some(name), None) => return Err(absent(name, &selection).at(session.place()).into()),
    }
    check(&objects, &selection).map_err(|error| error.at(session.place()).into())
}

impl StatusArguments {
    fn selection(&self, session: &Session) -> Result<SealedSecretSelection, CliError> {
        let namespace = match &self.namespace {
            Some(namespace) => Some(namespace.clone()),
            None if self.all_namespaces => None,
            None => Some(session.default_namespace()?),
        };
        Ok(SealedSecretSelection { namespace, name: self.name.clone() })
    }
}

fn list(
    objects: &[SealedSecretState],
    selection: &SealedSecretSelection,
    format: ReportFormat,
    now: Timestamp,
    streams: &mut Streams,
) -> Result<(), CliError> {
    let rows: Vec<_> = objects.iter().map(|object| StatusRow::of(object, now)).collect();
    match format {
        ReportFormat::Json => streams.result(&to_json(&rows)),
        ReportFormat::Text if rows.is_empty() => {
            streams.say(&format!("no SealedSecrets {}", selection.place()));
            Ok(())
        }
        ReportFormat::Text => {
            let lines: Vec<_> = [row::head()].into_iter().chain(rows.iter().map(StatusRow::cells)).collect();
            streams.result(&table(&lines.iter().map(|line| selection.columns(line)).collect::<Vec<_>>()))
        }
    }
}

fn explain(
    object: &SealedSecretState,
    format: ReportFormat,
    now: Timestamp,
    streams: &mut Streams,
) -> Result<(), CliError> {
    let details = Details::of(object, now);
    match format {
        ReportFormat::Text => streams.result(&details.text()),
        ReportFormat::Json => streams.result(&to_json(&details)),
    }
}

/// Returns an error if an object is not Ready.
fn check(objects: &[SealedSecretState], selection: &SealedSecretSelection) -> Result<(), CliError> {
    let unready = objects.iter().filter(|object| !object.is_ready()).count();
    if unready == 0 {
        return Ok(());
    }
    let verb = if unready == 1 { "is" } else { "are" };
    let text = format!("{unready} of {} {verb} not Ready", counted(objects.len(), "SealedSecret"));
    let error = CliError::new(Kind::Found, text);
    match selection.name {
        Some(_) => Err(error),
        None => Err(error.with_hint("`waxseal status -n NAMESPACE NAME` explains one, and says what to do")),
    }
}

fn absent(name: &ObjectName, selection: &SealedSecretSelection) -> CliError {
    CliError::new(Kind::Failed, format!("no SealedSecret {name} {}", selection.place()))
        .with_hint("`waxseal status -A` lists the SealedSecrets of all namespaces")
}

impl SealedSecretSelection {
    /// The cells to show. Leaves out the namespace if the list is of one namespace.
    fn columns(&self, cells: &[String]) -> Vec<String> {
        let skipped = usize::from(self.namespace.is_some());
        cells[skipped..].to_vec()
    }
}

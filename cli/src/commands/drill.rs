use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args;
use serde::{Serialize, Serializer};
use waxseal_shared::advice::{Advice, for_ready};
use waxseal_shared::open::{BrokenWrap, open};
use waxseal_shared::reason::{KeyReason, Reason};

use super::inspect::{ReportFormat, to_json};
use crate::error::{CliError, Failures, Kind};
use crate::file_names::file_name;
use crate::identities;
use crate::input::{Input, check_stdin_once};
use crate::passphrases::PassphraseArguments;
use crate::sealed_objects::{SealedObject, inputs_of, read_each};
use crate::streams::{Streams, counted};
use crate::workers;

/// Try whether an identity opens every SealedSecret.
///
/// For recovery keys: only opening proves that their wraps are good. Opens all values, shows none, and writes nothing.
/// Prints each SealedSecret that does not open or has a broken wrap, and exits with 4 if there is one, if a manifest
/// cannot be read, or if there is no SealedSecret.
#[derive(Args)]
#[command(after_help = "Example:\n  waxseal drill apps/ --identity recovery.key")]
pub(crate) struct DrillArguments {
    /// Open the SealedSecrets of these files and folders; `-` is stdin
    #[arg(value_name = "FILE|DIR|-", value_parser = file_name::<OsString>(), required = true)]
    paths: Vec<OsString>,
    /// Open with this age identity file, plain or protected by a passphrase. Repeatable: each value must open with one
    /// of the identities
    #[arg(long, value_name = "IDENTITY_FILE", value_parser = file_name::<OsString>(), required = true)]
    identity: Vec<OsString>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Print the report in this format
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

/// A SealedSecret with a fault.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Faulty {
    place: String,
    namespace: String,
    name: String,
    #[serde(rename = "reason", serialize_with = "word")]
    fault: Fault,
    message: String,
}

/// What trying to open a SealedSecret shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    DoesNotOpen(Reason),
    /// It opens, but the holder of another key may be unable to open it.
    WrapBroken,
}

impl Fault {
    fn as_str(self) -> &'static str {
        match self {
            Self::DoesNotOpen(reason) => reason.as_str(),
            Self::WrapBroken => KeyReason::WrapBroken.as_str(),
        }
    }
}

/// The outcome for one input.
#[derive(Default)]
struct Tried {
    objects: usize,
    faulty: Vec<Faulty>,
    errors: Vec<CliError>,
}

pub(crate) fn run(arguments: DrillArguments, streams: &mut Streams) -> Result<(), Failures> {
    let others = arguments.identity.iter().chain(arguments.passphrase.file());
    check_stdin_once(arguments.paths.iter().chain(others))?;
    let ring = identities::key_ring(&arguments.identity, &arguments.passphrase)?;
    let (mut inputs, mut total) = (Vec::new(), Tried::default());
    for name in &arguments.paths {
        inputs.extend(inputs_of(name, &mut total.errors, streams)?);
    }
    let work = |input: &Input| {
        let mut tried = Tried::default();
        let read = read_each(input, |object| {
            tried.objects += 1;
            let SealedObject { place, sealed, .. } = object;
            let found = match open(&sealed, &ring) {
                Ok(opened) if opened.broken_wraps.is_empty() => None,
                Ok(opened) => Some((Fault::WrapBroken, list(&opened.broken_wraps))),
                Err(refusal) => Some((Fault::DoesNotOpen(refusal.reason()), refusal.to_string())),
            };
            tried.faulty.extend(found.map(|(fault, message)| {
                let (namespace, name) = (sealed.namespace.to_string(), sealed.name.to_string());
                Faulty { place, namespace, name, fault, message }
            }));
        });
        tried.errors.extend(Failures::errors_of(read));
        tried
    };
    workers::in_order(&inputs, work, |tried: Tried| {
        total.objects += tried.objects;
        total.faulty.extend(tried.faulty);
        total.errors.extend(tried.errors);
    });
    drop(ring);
    report(arguments.format, total, streams)
}

fn report(format: ReportFormat, total: Tried, streams: &mut Streams) -> Result<(), Failures> {
    let Tried { objects, faulty, mut errors } = total;
    streams.result(&match format {
        ReportFormat::Text => faulty.iter().map(line).collect(),
        ReportFormat::Json => to_json(&faulty),
    })?;
    let mut faults: BTreeMap<Fault, usize> = BTreeMap::new();
    faulty.iter().for_each(|object| *faults.entry(object.fault).or_default() += 1);
    let all = counted(objects, "SealedSecret");
    if objects > 0 {
        let opened = objects - faulty.iter().filter(|object| object.fault != Fault::WrapBroken).count();
        streams.say(&format!("{opened} of {all} opened, with all values"));
    }
    errors = errors.into_iter().map(|error| error.with_kind(Kind::Found)).collect();
    if objects == 0 && errors.is_empty() {
        let error = CliError::new(Kind::Found, "no SealedSecret in these paths: nothing was tried");
        errors.push(error.with_hint("name the folders with the sealed files"));
    }
    errors.extend(faults.into_iter().map(|(fault, count)| {
        let Advice { meaning, remedy } = advice(fault);
        let outcome = match fault {
            Fault::DoesNotOpen(_) => "did not open",
            Fault::WrapBroken => "opened, but with a broken wrap",
        };
        CliError::new(Kind::Found, format!("{count} of {all} {outcome}: {meaning}")).with_hint(remedy)
    }));
    Failures::none_or(errors)
}

/// What a fault means, and what to do.
fn advice(fault: Fault) -> Advice {
    match fault {
        Fault::DoesNotOpen(Reason::KeyMissing) => Advice {
            meaning: "the values are lost if only the given identities are left",
            remedy: "add a wrap for this identity with `waxseal rotate`, while another key still opens them",
        },
        // Every other reason means the same for the holder of an identity as for a cluster.
        Fault::DoesNotOpen(reason) => for_ready(reason),
        // Everybody who can edit the file can add such a wrap, also for a key that the values are not meant for.
        Fault::WrapBroken => Advice {
            meaning: "the holder of its key may be unable to open the values",
            remedy: "remove each broken wrap, or replace it with `waxseal rotate --replace-broken` if the values are \
                     meant for its key",
        },
    }
}

fn list(broken_wraps: &[BrokenWrap]) -> String {
    broken_wraps.iter().map(BrokenWrap::to_string).collect::<Vec<_>>().join("; ")
}

/// The reason as the report shows it.
fn word<S: Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(fault.as_str())
}

fn line(Faulty { place, namespace, name, fault, message }: &Faulty) -> String {
    format!("{place}: {namespace}/{name}: {}: {message}\n", fault.as_str())
}

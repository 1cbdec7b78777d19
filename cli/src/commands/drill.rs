use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args;
use serde::{Serialize, Serializer};
use waxseal_shared::advice::{Advice, for_ready};
use waxseal_shared::open::open;
use waxseal_shared::reason::Reason;

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
/// Prints each SealedSecret that does not open, and exits with 4 if there is one, if a manifest cannot be read, or if
/// there is no SealedSecret.
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

/// A SealedSecret that does not open.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unopened {
    place: String,
    namespace: String,
    name: String,
    #[serde(serialize_with = "word")]
    reason: Reason,
    message: String,
}

/// The outcome for one input.
#[derive(Default)]
struct Tried {
    objects: usize,
    unopened: Vec<Unopened>,
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
            tried.unopened.extend(open(&object.sealed, &ring).err().map(|refusal| {
                let SealedObject { place, sealed, .. } = object;
                let (namespace, name) = (sealed.namespace.to_string(), sealed.name.to_string());
                Unopened { place, namespace, name, reason: refusal.reason(), message: refusal.to_string() }
            }));
        });
        tried.errors.extend(Failures::errors_of(read));
        tried
    };
    workers::in_order(&inputs, work, |tried: Tried| {
        total.objects += tried.objects;
        total.unopened.extend(tried.unopened);
        total.errors.extend(tried.errors);
    });
    drop(ring);
    report(arguments.format, total, streams)
}

fn report(format: ReportFormat, total: Tried, streams: &mut Streams) -> Result<(), Failures> {
    let Tried { objects, unopened, mut errors } = total;
    streams.result(&match format {
        ReportFormat::Text => unopened.iter().map(line).collect(),
        ReportFormat::Json => to_json(&unopened),
    })?;
    let all = counted(objects, "SealedSecret");
    if objects > 0 {
        streams.say(&format!("{} of {all} opened, with all values", objects - unopened.len()));
    }
    errors = errors.into_iter().map(|error| error.with_kind(Kind::Found)).collect();
    if objects == 0 && errors.is_empty() {
        let error = CliError::new(Kind::Found, "no SealedSecret in these paths: nothing was tried");
        errors.push(error.with_hint("name the folders with the sealed files"));
    }
    let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
    unopened.iter().for_each(|object| *reasons.entry(object.reason).or_default() += 1);
    errors.extend(reasons.into_iter().map(|(reason, count)| {
        let Advice { meaning, remedy } = advice(reason);
        CliError::new(Kind::Found, format!("{count} of {all} did not open: {meaning}")).with_hint(remedy)
    }));
    Failures::none_or(errors)
}

/// What it means that SealedSecrets did not open for this reason, and what to do.
fn advice(reason: Reason) -> Advice {
    match reason {
        Reason::KeyMissing => Advice {
            meaning: "the values are lost if only the given identities are left",
            remedy: "add a wrap for this identity with `waxseal rotate`, while another key still opens them",
        },
        // Every other reason means the same for the holder of an identity as for a cluster.
        reason => for_ready(reason),
    }
}

/// The reason as the report shows it.
fn word<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.as_str())
}

fn line(Unopened { place, namespace, name, reason, message }: &Unopened) -> String {
    format!("{place}: {namespace}/{name}: {reason}: {message}\n")
}

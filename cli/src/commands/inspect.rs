use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;
use waxseal_shared::key::KeyKind;
use waxseal_shared::sealed_secret::BoundTo;
use waxseal_shared::visible_text::escaped_json;

use crate::error::Failures;
use crate::file_names::file_name;
use crate::input::Input;
use crate::sealed_objects::{self, SealedObject};
use crate::streams::Streams;
use crate::untrusted_text::shown;

/// Shows what SealedSecrets are sealed to and bound to. No key is needed, nothing is opened.
#[derive(Args)]
pub(crate) struct InspectArguments {
    /// The file; `-` is stdin
    #[arg(value_parser = file_name::<OsString>())]
    file: OsString,
    /// How the report is written
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    place: String,
    namespace: String,
    name: String,
    scope: &'static str,
    #[serde(rename = "type")]
    type_: String,
    immutable: bool,
    envelopes: BTreeMap<String, EnvelopeReport>,
    data: BTreeMap<String, ValueReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeReport {
    bound_to: BoundTo,
    keys: BTreeMap<String, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueReport {
    envelope: String,
    /// The length inside the encryption: a size class, not the value's own length.
    padded_bytes: usize,
}

pub(crate) fn run(arguments: InspectArguments, streams: &mut Streams) -> Result<(), Failures> {
    let (_, reports) = sealed_objects::read(&Input::named(&arguments.file), |object, _| report(&object))?;
    let text = match arguments.format {
        ReportFormat::Text => reports.iter().map(to_text).collect::<Vec<_>>().join("\n"),
        ReportFormat::Json => to_json(&reports),
    };
    Ok(streams.result(&text)?)
}

/// A report as JSON, indented; characters that a terminal obeys or hides are escaped.
pub(crate) fn to_json(report: &impl Serialize) -> String {
    // Reports are made of strings, numbers and maps with strings as keys.
    let text = serde_json::to_string_pretty(report).expect("a report is JSON") + "\n";
    escaped_json(&text).into_owned()
}

/// The word for a kind of key.
pub(crate) fn kind_word(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Hybrid => "hybrid",
        KeyKind::Classic => "classic",
    }
}

fn report(object: &SealedObject) -> Report {
    let sealed = &object.sealed;
    let template = &sealed.template;
    Report {
        place: object.place.clone(),
        namespace: sealed.namespace.to_string(),
        name: sealed.name.to_string(),
        scope: sealed.scope.as_str(),
        type_: template.type_.clone().unwrap_or_else(|| "Opaque".to_owned()),
        immutable: template.immutable.unwrap_or_default(),
        envelopes: envelopes(object),
        data: sealed
            .data_keys()
            .map(|(key, envelope)| {
                let token = &object.object.spec.encrypted_data[key.as_str()];
                (key.to_string(), ValueReport { envelope: envelope.to_string(), padded_bytes: padded_bytes(token) })
            })
            .collect(),
    }
}

fn envelopes(object: &SealedObject) -> BTreeMap<String, EnvelopeReport> {
    let envelopes = object.sealed.envelopes().iter();
    envelopes
        .map(|(id, envelope)| {
            let bound_to = object.object.spec.envelopes[id.as_str()].bound_to.clone();
            let keys = envelope.wraps.iter().map(|(id, wrap)| (id.to_string(), kind_word(wrap.kind()))).collect();
            (id.to_string(), EnvelopeReport { bound_to, keys })
        })
        .collect()
}

/// The length of the ciphertext in a token that was decoded: without salt and tag, 16 bytes each.
fn padded_bytes(token: &str) -> usize {
    let encoded = token.rsplit('.').next().unwrap_or_default();
    (encoded.len() * 3 / 4).saturating_sub(32)
}

fn to_text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _infallible = write_text(&mut text, report);
    text
}

fn write_text(text: &mut String, report: &Report) -> std::fmt::Result {
    let immutable = if report.immutable { ", immutable" } else { "" };
    writeln!(text, "{}/{}", report.namespace, report.name)?;
    writeln!(text, "  scope {}, type {}{immutable}", report.scope, shown(&report.type_))?;
    for (id, envelope) in &report.envelopes {
        writeln!(text, "  envelope {id}, bound to {}", bound_to_text(&envelope.bound_to))?;
        for (key, kind) in &envelope.keys {
            writeln!(text, "    key {key} ({kind})")?;
        }
    }
    for (key, value) in &report.data {
        writeln!(text, "  data {key}: envelope {}, up to {} bytes", value.envelope, value.padded_bytes - 4)?;
    }
    Ok(())
}

fn bound_to_text(bound_to: &BoundTo) -> String {
    match (&bound_to.namespace, &bound_to.name) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (Some(namespace), None) => format!("namespace {namespace}"),
        _ => "no place".to_owned(),
    }
}

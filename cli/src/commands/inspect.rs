use std::collections::BTreeMap;
use std::fmt;

use clap::{Args, ValueEnum};
use serde::Serialize;
use waxseal_shared::key::KeyKind;
use waxseal_shared::sealed_secret::BoundTo;
use waxseal_shared::secret::{DEFAULT_TYPE, MAX_SECRET_BYTES};
use waxseal_shared::visible_text::escaped_json;

use crate::error::Failures;
use crate::input;
use crate::known_keys::{KnownKey, KnownKeys, KnownKeysArguments};
use crate::sealed_objects::{ManifestArguments, SealedObject, inputs_of, read_each};
use crate::streams::Streams;
use crate::untrusted_text::name_or_ellipsis;

/// Show the keys that SealedSecrets are sealed to, and the namespace and name that they claim.
///
/// Needs no identity and opens nothing. Namespace and name are claims of the manifest: only opening proves them. A
/// manifest that cannot be read gives an error, and the others are shown all the same.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    #[command(flatten)]
    known_keys: KnownKeysArguments,
    /// Print the report in this format
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

const EXAMPLES: &str = "\
Examples:
  waxseal inspect db.sealed.yaml
  waxseal inspect apps/ --to prod
  waxseal inspect db.sealed.yaml --keys prod.yaml
  kubectl get wax -A -o yaml | waxseal inspect --format json";

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
    /// The place that the manifest claims.
    bound_to: BoundTo,
    keys: BTreeMap<String, KeyReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyReport {
    kind: &'static str,
    /// The entries of the keys files for this key, if keys files were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Vec<KnownKey>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueReport {
    envelope: String,
    /// The largest possible length of the value. The padding hides the exact length.
    max_bytes: usize,
}

pub(crate) fn run(arguments: InspectArguments, streams: &mut Streams) -> Result<(), Failures> {
    let names = arguments.manifests.names()?;
    input::check_stdin_once(names.iter().chain(arguments.known_keys.names()))?;
    let known_keys = arguments.known_keys.read(&names)?;
    let mut reports = Vec::new();
    let mut errors = Vec::new();
    for name in &names {
        let inputs = inputs_of(name, &mut errors, streams);
        for input in inputs.map_err(|error| errors.push(error)).unwrap_or_default() {
            let outcome = read_each(&input, |object| reports.push(report(&object, known_keys.as_ref())));
            errors.extend(Failures::errors_of(outcome));
        }
    }
    let text = match arguments.format {
        ReportFormat::Text => reports.iter().map(Report::to_string).collect::<Vec<_>>().join("\n"),
        ReportFormat::Json => to_json(&reports),
    };
    streams.result(&text)?;
    Failures::none_or(errors)
}

/// Returns a report as indented JSON with hidden characters escaped.
pub(crate) fn to_json(report: &impl Serialize) -> String {
    // Reports consist of strings, numbers, and maps with strings as keys.
    let text = serde_json::to_string_pretty(report).expect("a report is JSON") + "\n";
    escaped_json(&text).into_owned()
}

pub(crate) fn kind_word(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Hybrid => "hybrid",
        KeyKind::Classic => "classic",
    }
}

fn report(object: &SealedObject, known_keys: Option<&KnownKeys>) -> Report {
    let sealed = &object.sealed;
    let template = &sealed.template;
    Report {
        place: object.place.clone(),
        namespace: sealed.namespace.to_string(),
        name: sealed.name.to_string(),
        scope: sealed.scope.as_str(),
        // Kubernetes reads an empty type as Opaque.
        type_: template.type_.clone().filter(|type_| !type_.is_empty()).unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
        immutable: template.immutable.unwrap_or_default(),
        envelopes: envelopes(object, known_keys),
        data: sealed
            .data_keys()
            .map(|(key, envelope)| {
                let token = &object.object.spec.encrypted_data[key.as_str()];
                (key.to_string(), ValueReport { envelope: envelope.to_string(), max_bytes: max_bytes(token) })
            })
            .collect(),
    }
}

fn envelopes(object: &SealedObject, known_keys: Option<&KnownKeys>) -> BTreeMap<String, EnvelopeReport> {
    let envelopes = object.sealed.envelopes().iter();
    envelopes
        .map(|(id, envelope)| {
            let bound_to = object.object.spec.envelopes[id.as_str()].bound_to.clone();
            let wraps = envelope.wraps.iter();
            let keys = wraps
                .map(|(id, wrap)| {
                    let known = known_keys.map(|known_keys| known_keys.of(id).to_vec());
                    (id.to_string(), KeyReport { kind: kind_word(wrap.kind()), known })
                })
                .collect();
            (id.to_string(), EnvelopeReport { bound_to, keys })
        })
        .collect()
}

/// Returns the length of the longest value that fits into a token: its bytes without the salt and the tag (16 bytes
/// each) and without the length (4 bytes), but at most [`MAX_SECRET_BYTES`].
fn max_bytes(token: &str) -> usize {
    let encoded = token.rsplit('.').next().unwrap_or_default();
    (encoded.len() * 3 / 4).saturating_sub(36).min(MAX_SECRET_BYTES)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let immutable = if self.immutable { ", immutable" } else { "" };
        writeln!(f, "{}/{} ({})", self.namespace, self.name, self.place)?;
        writeln!(f, "  scope {}, type {}{immutable}", self.scope, name_or_ellipsis(&self.type_))?;
        for (id, envelope) in &self.envelopes {
            writeln!(f, "  envelope {id}, claims to be sealed for {}", bound_to_text(&envelope.bound_to))?;
            for (id, key) in &envelope.keys {
                writeln!(f, "    key {id} ({}){}", key.kind, known_text(key.known.as_deref()))?;
            }
        }
        for (key, value) in &self.data {
            writeln!(f, "  data {key}: envelope {}, up to {} bytes", value.envelope, value.max_bytes)?;
        }
        Ok(())
    }
}

/// Returns the entries of the keys files for a key, as text after its id; empty without keys files.
fn known_text(known: Option<&[KnownKey]>) -> String {
    let said = |key: &KnownKey| format!("{}, {}, in {}", key.role.as_str(), key.state.as_str(), key.file);
    match known {
        None => String::new(),
        Some([]) => ": in none of the keys files".to_owned(),
        Some(known) => format!(": {}", known.iter().map(said).collect::<Vec<_>>().join("; ")),
    }
}

fn bound_to_text(bound_to: &BoundTo) -> String {
    match (&bound_to.namespace, &bound_to.name) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (Some(namespace), None) => format!("namespace {namespace}"),
        _ => "any place".to_owned(),
    }
}

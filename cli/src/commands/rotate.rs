use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{ArgGroup, Args};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use waxseal_shared::manifest::{DocumentKind, ManifestError, split};
use waxseal_shared::sealed_secret::OfferedWraps;
use waxseal_shared::visible_text::escaped_json;

use super::inspect::ReportFormat;
use crate::cluster::{self, ClusterArguments};
use crate::error::{CliError, Failures, Kind};
use crate::file_names::file_name;
use crate::identities;
use crate::input::Input;
use crate::lossless_edit::{self, ObjectChanges};
use crate::output::{ChangedFolders, Destination};
use crate::passphrases::PassphraseArguments;
use crate::recipients::check_creation_times;
use crate::rotating::{self, ClusterKeys, Extent, Offers, WantedOffers, WrapSource};
use crate::sealed_objects::{ObjectIndex, inputs_of, read_text, sealed_secrets_of};
use crate::streams::Streams;
use crate::workers;

/// Bring SealedSecrets up to date after a change of keys.
///
/// Adds wraps for the primary and the Active recovery keys of the keys files, and changes no value. The wraps are those
/// that the controller offers in the status of its SealedSecrets: it reads the status of all SealedSecrets in the
/// cluster, unless `--offers` names a file. Or the wraps are made offline with an identity. Only lines of `wraps` change;
/// every other byte of the files stays. Old wraps stay, too: history has them anyway.
///
/// A SealedSecret is brought up to date for the clusters that it is sealed for already.
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    group = ArgGroup::new("source").args(["identity", "offers", "check"]).conflicts_with("cluster"),
    group = ArgGroup::new("cluster").args(["context", "kubeconfig"]).multiple(true),
    group = ArgGroup::new("extent").args(["replace_broken", "prune", "reseal"]).requires("identity")
)]
pub(crate) struct RotateArguments {
    /// Change the SealedSecrets of these files and folders
    #[arg(value_name = "FILE|DIR", value_parser = file_name::<OsString>(), required = true)]
    paths: Vec<OsString>,
    /// The keys file of a cluster. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>(), required = true)]
    keys: Vec<OsString>,
    /// Take the wraps that a controller offers from a file, and not from the cluster: SealedSecrets with their status, as
    /// `kubectl get wax -A -o yaml` prints them, or the status file of a controller without Kubernetes. `-` is stdin
    #[arg(long, value_name = "FILE", value_parser = file_name::<OsString>(), conflicts_with = "identity")]
    offers: Option<OsString>,
    /// Make the wraps with this age identity file. Repeatable
    #[arg(long, value_name = "IDENTITY_FILE", value_parser = file_name::<OsString>())]
    identity: Vec<OsString>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Only compare: write nothing, and exit with 4 if a SealedSecret is not up to date
    #[arg(long, conflicts_with_all = ["identity", "offers"])]
    check: bool,
    /// Also replace wraps whose proof fails
    #[arg(long)]
    replace_broken: bool,
    /// Also remove wraps for Retired keys, where the wraps for the keys that replace them are proven. Wraps for Revoked
    /// keys stay: they show what was exposed
    #[arg(long, conflicts_with_all = ["replace_broken", "reseal"])]
    prune: bool,
    /// Seal every value again, under a new DEK. Removes the wraps for Revoked keys; what history holds stays readable
    #[arg(long, conflicts_with = "replace_broken")]
    reseal: bool,
    /// Print the report in this format
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

const EXAMPLES: &str = "\
Examples:
  waxseal rotate apps/ --keys .waxseal/prod.yaml --context prod
  kubectl get wax -A -o json | waxseal rotate apps/ --keys .waxseal/prod.yaml --offers -
  waxseal rotate apps/ --keys .waxseal/prod.yaml --identity recovery.key
  waxseal rotate apps/ --keys .waxseal/prod.yaml --check";

/// One SealedSecret that is not up to date after the run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    place: String,
    namespace: String,
    name: String,
    findings: Vec<FindingReport>,
}

#[derive(Serialize)]
struct FindingReport {
    reason: &'static str,
    message: String,
}

/// The outcome for one file.
#[derive(Default)]
struct FileOutcome {
    objects: usize,
    changed: usize,
    waiting: Vec<Waiting>,
    errors: Vec<CliError>,
}

pub(crate) fn run(arguments: RotateArguments, streams: &mut Streams) -> Result<(), Failures> {
    let clusters = arguments.clusters()?;
    let (mut inputs, mut errors) = (Vec::new(), Vec::new());
    for name in &arguments.paths {
        if name == "-" {
            return Err(CliError::usage("`-` is stdin, and this command changes files").into());
        }
        inputs.extend(inputs_of(name, &mut errors, streams)?);
    }
    let mut wanted = WantedOffers::default();
    if arguments.takes_offers() {
        workers::in_order(&inputs, |input| wanted_in(input, &clusters), |found| wanted.extend(found));
    }
    let source = arguments.source(&wanted, streams)?;
    let folders = ChangedFolders::default();
    let (mut files, mut total) = (0, FileOutcome { errors, ..FileOutcome::default() });
    let work = |input: &Input| {
        let mut outcome = FileOutcome::default();
        let done = arguments.rotate_file(input, &clusters, &source, &folders, &mut outcome);
        outcome.errors.extend(Failures::errors_of(done));
        outcome
    };
    workers::in_order(&inputs, work, |outcome: FileOutcome| {
        files += usize::from(outcome.changed > 0);
        total.objects += outcome.objects;
        total.changed += outcome.changed;
        total.waiting.extend(outcome.waiting);
        total.errors.extend(outcome.errors);
    });
    total.errors.extend(folders.sync().err());
    arguments.report(total, files, streams)
}

impl RotateArguments {
    fn clusters(&self) -> Result<Vec<ClusterKeys>, CliError> {
        let read = |name: &OsString| {
            let input = Input::named(name);
            let keys = input.read_keys()?;
            check_creation_times(&input.place(), &keys)?;
            Ok(ClusterKeys { keys, is_target: false })
        };
        self.keys.iter().map(read).collect()
    }

    fn takes_offers(&self) -> bool {
        self.identity.is_empty() && !self.check
    }

    fn source<'a>(&self, wanted: &'a WantedOffers, streams: &mut Streams) -> Result<WrapSource<'a>, CliError> {
        if self.check {
            return Ok(WrapSource::Nowhere);
        }
        if !self.identity.is_empty() {
            return Ok(WrapSource::Identities(identities::key_ring(&self.identity, &self.passphrase)?));
        }
        let mut offers = Offers::for_wanted(wanted);
        match &self.offers {
            Some(name) => read_offers(&Input::named(name), &mut offers)?,
            None => {
                let context = self.cluster.chosen()?;
                streams.say(&format!("the wraps are those that the cluster of {} offers", context.place()));
                cluster::each_rewrapped(context, |title, rewrapped| offers.add(title, offers_in(rewrapped)))?;
            }
        }
        Ok(WrapSource::Offers(offers))
    }

    fn extent(&self) -> Extent {
        match (self.replace_broken, self.prune, self.reseal) {
            (true, ..) => Extent::ReplaceBroken,
            (_, true, _) => Extent::Prune,
            (.., true) => Extent::Reseal,
            _ => Extent::Add,
        }
    }

    fn rotate_file(
        &self,
        input: &Input,
        clusters: &[ClusterKeys],
        source: &WrapSource<'_>,
        folders: &ChangedFolders,
        outcome: &mut FileOutcome,
    ) -> Result<(), Failures> {
        let text = input.read()?;
        let mut changes = Vec::new();
        let read = read_text(input, &text, |object| {
            outcome.objects += 1;
            match rotating::rotate(&object, clusters, source, self.extent()) {
                Ok(rotated) => {
                    if !rotated.changes.is_empty() {
                        let ObjectIndex { document, object: index } = object.index;
                        changes.push(ObjectChanges { document, object: index, changes: rotated.changes });
                    }
                    if !rotated.findings.is_empty() {
                        let (namespace, name) = (object.sealed.namespace.to_string(), object.sealed.name.to_string());
                        let findings = rotated.findings.iter();
                        let findings = findings
                            .map(|found| FindingReport { reason: found.reason(), message: found.to_string() })
                            .collect();
                        outcome.waiting.push(Waiting { place: object.place, namespace, name, findings });
                    }
                }
                Err(error) => outcome.errors.push(error),
            }
        });
        outcome.errors.extend(Failures::errors_of(read));
        if !changes.is_empty()
            && let Some(file) = input.file()
        {
            let new = lossless_edit::apply(&input.place(), &text, &changes)?;
            let destination = Destination::at(file).map_err(|error| error.at(input.place()))?;
            destination.write(&new, folders)?;
            outcome.changed = changes.len();
        }
        Ok(())
    }

    fn report(&self, total: FileOutcome, files: usize, streams: &mut Streams) -> Result<(), Failures> {
        if self.format == ReportFormat::Json {
            streams.result(&json(&total.waiting))?;
        } else {
            streams.result(&text(&total.waiting))?;
        }
        let objects = total.objects;
        let waiting = total.waiting.len();
        if !self.check {
            streams.say(&format!("changed {} of {objects} SealedSecrets, in {files} files", total.changed));
        }
        let mut errors = total.errors;
        if waiting > 0 {
            let text = format!("{waiting} of {objects} SealedSecrets are not up to date");
            if self.check {
                errors.push(CliError::new(Kind::Found, text).with_hint("run `waxseal rotate` without `--check`"));
            } else {
                streams.say(&text);
            }
        }
        Failures::none_or(errors)
    }
}

fn text(waiting: &[Waiting]) -> String {
    let line = |object: &Waiting, finding: &FindingReport| {
        let Waiting { place, namespace, name, .. } = object;
        format!("{place}: {namespace}/{name}: {}: {}\n", finding.reason, finding.message)
    };
    waiting.iter().flat_map(|object| object.findings.iter().map(move |finding| line(object, finding))).collect()
}

fn json(waiting: &[Waiting]) -> String {
    // A report is plain data.
    let json = serde_json::to_string_pretty(waiting).expect("a report is JSON");
    format!("{}\n", escaped_json(&json))
}

/// Finds the wraps that the SealedSecrets of an input lack. Ignores failures: they show when the input is changed.
fn wanted_in(input: &Input, clusters: &[ClusterKeys]) -> WantedOffers {
    let mut wanted = WantedOffers::default();
    if let Ok(text) = input.read() {
        let _shown_later = read_text(input, &text, |object| wanted.add(&object, clusters));
    }
    wanted
}

/// The status file of a controller without Kubernetes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusFile {
    sealed_secrets: Vec<StatusFileEntry>,
}

#[derive(Deserialize)]
struct StatusFileEntry {
    namespace: String,
    name: String,
    #[serde(default)]
    status: Value,
}

/// Reads the offers of the SealedSecrets in a file, or of a status file.
fn read_offers(input: &Input, offers: &mut Offers<'_>) -> Result<(), CliError> {
    let (place, text) = (input.place(), input.read()?);
    if let Ok(StatusFile { sealed_secrets }) = serde_json::from_str(&text) {
        for StatusFileEntry { namespace, name, mut status } in sealed_secrets {
            offers.add(&format!("{namespace}/{name}"), offers_in(status["rewrapped"].take()));
        }
        return Ok(());
    }
    let failed = |error| CliError::manifest(&place, &error);
    for (_, kind) in split(&text).map_err(failed)?.kinds() {
        add_offers(kind.map_err(failed)?, offers).map_err(failed)?;
    }
    Ok(())
}

fn add_offers(kind: DocumentKind<'_>, offers: &mut Offers<'_>) -> Result<(), ManifestError> {
    for object in sealed_secrets_of(kind) {
        let mut value = object.to_value()?;
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let title = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
        let rewrapped = value.pointer_mut("/status/rewrapped").map(Value::take);
        offers.add(&title, offers_in(rewrapped.unwrap_or_default()));
    }
    Ok(())
}

/// The offers in a field `status.rewrapped`. A field of another shape has no offers for this version.
fn offers_in(rewrapped: Value) -> BTreeMap<String, OfferedWraps> {
    serde_json::from_value(rewrapped).unwrap_or_default()
}

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use serde::Serialize;
use waxseal_shared::names::KeyId;
use waxseal_shared::reason::Reason;
use waxseal_shared::sealing_key::KeyState;

use super::inspect::{ReportFormat, to_json};
use crate::cluster::{ClusterArguments, Session};
use crate::clusters::Clusters;
use crate::error::{CliError, Failures, Kind};
use crate::file_names::{cluster_name, file_name};
use crate::identities;
use crate::input::{Input, check_stdin_once, each_file_once};
use crate::keys_file::KeysFile;
use crate::lossless_edit::{self, ObjectChanges};
use crate::offers::{Offers, WantedOffers};
use crate::output::{ChangedFolders, Destination, SECOND_NAME_STAYS, check_symbolic_links, has_second_name};
use crate::passphrases::PassphraseArguments;
use crate::progress::Progress;
use crate::recipients::check_states;
use crate::sealed_objects::{ObjectIndex, inputs_of, read_text};
use crate::streams::{Streams, counted};
use crate::workers;
use crate::wrap_changes::{self, ClusterKeys, Finding, RotationMode, WrapSource, wanted_wraps};

/// Bring SealedSecrets up to date after a change of keys.
///
/// Adds wraps for the primary and the Active recovery keys of the keys files. The wraps are those that the controller
/// offers in the status of its SealedSecrets: this command reads the status of all SealedSecrets in the cluster, unless
/// `--offers` names a file. Or the wraps are made offline with an identity. Without `--replace-broken`, `--prune` and
/// `--reseal`, only lines of `wraps` change, every other byte of the files stays, and old wraps stay, too: history has
/// them anyway.
///
/// A SealedSecret is brought up to date for the clusters that it is sealed for already. For a keys file that holds
/// recovery keys alone, it is brought up to date if it has a wrap for one of these keys already.
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    group = ArgGroup::new("source").args(["identity", "offers", "check"]).conflicts_with("cluster"),
    group = ArgGroup::new("cluster").args(["context", "kubeconfig"]).multiple(true),
    // clap does not enforce `requires("identity")` if an option is given that conflicts with `--identity`. So the modes
    // conflict with these options, too: `--offers`, `--check` and the options of the cluster.
    group = ArgGroup::new("mode")
        .args(["replace_broken", "prune", "reseal"])
        .requires("identity")
        .conflicts_with_all(["offers", "check", "cluster"])
)]
pub(crate) struct RotateArguments {
    /// Change the SealedSecrets of these files and folders
    #[arg(value_name = "FILE|DIR", value_parser = file_name::<OsString>(), required = true)]
    paths: Vec<OsString>,
    /// The keys file of a cluster or of recovery keys, instead of the keys files that `.waxseal.yaml` names. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>())]
    keys: Vec<OsString>,
    /// Also make wraps for this cluster of `.waxseal.yaml` where values have none yet. Repeatable
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_name(), requires = "identity", conflicts_with_all = ["offers", "check", "cluster"])]
    to: Vec<String>,
    /// Read the offered wraps from this file, and not from the cluster: SealedSecrets with their status, as
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
    /// Only compare the files with the keys files, without a cluster: write nothing, and exit with 4 if a SealedSecret
    /// is not up to date, if a file cannot be read, or if there is no SealedSecret. Without `--keys`, also exit with 4
    /// if a SealedSecret is sealed for none of the clusters of `.waxseal.yaml`
    #[arg(long, conflicts_with_all = ["identity", "offers"])]
    check: bool,
    /// Also replace the broken wraps for the primary and the Active recovery keys. The holder of a key cannot use its
    /// broken wrap, but can open the values with the wrap that replaces it. Everybody who can edit the file can add a
    /// broken wrap: use this only if the values are meant for every cluster whose wrap is broken
    #[arg(long)]
    replace_broken: bool,
    /// Also remove the wraps for Retired keys from each envelope that has intact wraps for the primary and the Active
    /// recovery keys. Wraps for Revoked keys stay: they show what was exposed
    #[arg(long, conflicts_with_all = ["replace_broken", "reseal"])]
    prune: bool,
    /// Seal every value again, under a new DEK, for the primary and the Active recovery keys alone. What history holds
    /// stays readable
    #[arg(long, conflicts_with = "replace_broken")]
    reseal: bool,
    /// Print the report in this format
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

/// Where offers come from if waxseal cannot connect to the cluster.
const OFFERS_FILE: &str = "`--offers FILE` takes what `kubectl get wax -A -o yaml` prints";

const EXAMPLES: &str = "\
Examples:
  waxseal rotate apps/ --context prod
  kubectl get wax -A -o json | waxseal rotate apps/ --offers -
  waxseal rotate apps/ --identity recovery.key
  waxseal rotate apps/ --identity recovery.key --to new-cluster
  waxseal rotate apps/ --keys prod.yaml --check";

const ADD_CLUSTER: &str =
    "to add wraps for a cluster of .waxseal.yaml, pass `--to CLUSTER` and `--identity IDENTITY_FILE`";

const NEEDS_IDENTITIES: &str = "this needs identities that open every value: the lines above say what is missing";

/// One SealedSecret that is not up to date after the run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    place: String,
    namespace: String,
    name: String,
    findings: Vec<Finding>,
}

#[derive(Default)]
struct FileOutcome {
    objects: usize,
    /// The SealedSecrets without a wrap for any of the clusters.
    foreign: usize,
    changed: usize,
    /// The keys that got a wrap in a file that was written.
    sealed_to: BTreeSet<KeyId>,
    /// The changed files that have another name, a hard link.
    with_second_name: Vec<String>,
    waiting: Vec<Waiting>,
    errors: Vec<CliError>,
}

pub(crate) fn run(arguments: RotateArguments, streams: &mut Streams) -> Result<(), Failures> {
    let read_once = arguments.keys.iter().chain(&arguments.identity).chain(&arguments.offers);
    check_stdin_once(read_once.chain(arguments.passphrase.file()))?;
    let clusters = arguments.clusters()?;
    let (mut inputs, mut errors) = (Vec::new(), Vec::new());
    for name in &arguments.paths {
        if name == "-" {
            return Err(CliError::usage("`-` is stdin, and this command changes files").into());
        }
        if !arguments.check && Path::new(name).is_dir() {
            check_symbolic_links(Path::new(name))?;
        }
        inputs.extend(inputs_of(name, &mut errors, streams)?);
    }
    let inputs = each_file_once(inputs);
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
    let progress = Progress::of_files(inputs.len());
    workers::in_order(&inputs, work, |outcome: FileOutcome| {
        progress.advance();
        files += usize::from(outcome.changed > 0);
        total.objects += outcome.objects;
        total.foreign += outcome.foreign;
        total.changed += outcome.changed;
        total.sealed_to.extend(outcome.sealed_to);
        total.with_second_name.extend(outcome.with_second_name);
        total.waiting.extend(outcome.waiting);
        total.errors.extend(outcome.errors);
    });
    drop(progress);
    total.errors.extend(folders.sync().err());
    total.with_second_name.iter().for_each(|place| streams.warn(place, SECOND_NAME_STAYS));
    announce(&total.sealed_to, &clusters, streams);
    arguments.report(total, files, &clusters, streams)
}

impl RotateArguments {
    /// Returns the keys of all clusters that the SealedSecrets may be for: those of `--keys`, or else those of the
    /// `.waxseal.yaml` nearest to the first path. The clusters of `--to` are targets. Refuses a cluster without a keys
    /// file, and keys files that contradict each other ([`check_states`]).
    fn clusters(&self) -> Result<Vec<ClusterKeys>, CliError> {
        let first = self.paths.first().map_or(Input::Stdin, |path| Input::named(path));
        let mut known = Clusters::new();
        let targets = known.keys_files_of(&self.to, &first)?;
        let mut files = targets.clone();
        for name in &self.keys {
            files.push(Arc::new(KeysFile::read(name)?));
        }
        if self.keys.is_empty()
            && let Some(configuration) = known.near(&first)?
        {
            for (cluster, _) in configuration.clusters() {
                // Refuses a cluster without a keys file: its wraps could not be checked.
                let file = known.keys_file(Some(&configuration), cluster.as_str())?;
                files.extend(targets.iter().all(|target| target.place != file.place).then_some(file));
            }
        }
        if files.is_empty() {
            let error = CliError::usage("no keys file is given, so the missing wraps are not known");
            return Err(error.with_hint("pass `--keys KEYS_FILE`, or name your clusters in .waxseal.yaml"));
        }
        let clusters = files.iter().enumerate().map(|(index, file)| ClusterKeys::new(file, index < targets.len()));
        let clusters = clusters.collect::<Result<Vec<_>, _>>()?;
        let keys = files.iter().flat_map(|file| &file.keys);
        let active = keys.filter(|key| key.state == KeyState::Active).map(|key| &key.recipient);
        check_states(active, &files)?;
        Ok(clusters)
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
            Some(name) => offers.read(&Input::named(name))?,
            None => {
                let session = Session::of_sealed_secrets(&self.cluster, OFFERS_FILE)?;
                streams.say(&format!("the wraps are those that the cluster of {} offers", session.place()));
                session.each_rewrapped(|title, rewrapped| offers.add(title, rewrapped))?;
            }
        }
        Ok(WrapSource::Offers(offers))
    }

    fn mode(&self) -> RotationMode {
        match (self.replace_broken, self.prune, self.reseal) {
            (true, ..) => RotationMode::ReplaceBroken,
            (_, true, _) => RotationMode::Prune,
            (.., true) => RotationMode::Reseal,
            _ => RotationMode::Add,
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
        let (mut changes, mut sealed_to) = (Vec::new(), BTreeSet::new());
        let read = read_text(input, &text, |object| {
            outcome.objects += 1;
            outcome.foreign += usize::from(wrap_changes::is_foreign(&object, clusters));
            match wrap_changes::rotate(&object, clusters, source, self.mode()) {
                Ok(rotated) => {
                    sealed_to.extend(rotated.sealed_to);
                    if !rotated.changes.is_empty() {
                        let ObjectIndex { document, object: index } = object.index;
                        changes.push(ObjectChanges { document, object: index, changes: rotated.changes });
                    }
                    if !rotated.findings.is_empty() {
                        let (namespace, name) = (object.sealed.namespace.to_string(), object.sealed.name.to_string());
                        let findings = rotated.findings;
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
            let destination = Destination::of_regular_file(file)?;
            let has_second_name = has_second_name(file);
            destination.write_over(&text, &new, folders).map_err(|error| error.at(input.place()))?;
            outcome.with_second_name.extend(has_second_name.then(|| input.place()));
            outcome.changed = changes.len();
            outcome.sealed_to = sealed_to;
        }
        Ok(())
    }

    fn report(
        &self,
        total: FileOutcome,
        files: usize,
        clusters: &[ClusterKeys],
        streams: &mut Streams,
    ) -> Result<(), Failures> {
        if self.format == ReportFormat::Json {
            streams.result(&to_json(&total.waiting))?;
        } else {
            streams.result(&text(&total.waiting))?;
        }
        let objects = counted(total.objects, "SealedSecret");
        let waiting = total.waiting.len();
        let mut errors = total.errors;
        if !self.check {
            streams.say(&format!("changed {} of {objects} in {}", total.changed, counted(files, "file")));
        } else if total.objects == 0 && errors.is_empty() {
            let error = CliError::new(Kind::Found, "no SealedSecret in these paths: nothing was compared");
            errors.push(error.with_hint("name the folders with the sealed files"));
        }
        if self.check {
            errors = errors.into_iter().map(|error| error.with_kind(Kind::Found)).collect();
        }
        if total.foreign > 0 {
            let text = foreign(total.foreign, &objects, clusters);
            // With `--keys`, the other SealedSecrets may be for clusters that the user did not name.
            if self.check && self.keys.is_empty() {
                errors.push(CliError::new(Kind::Found, text).with_hint(ADD_CLUSTER));
            } else {
                let get_none = match (self.check, total.foreign) {
                    (true, _) => "",
                    (false, 1) => ", and gets none",
                    (false, _) => ", and get none",
                };
                streams.say(&format!("{text}{get_none}\nhint: {ADD_CLUSTER}"));
            }
        }
        if waiting > 0 {
            let verb = if waiting == 1 { "is" } else { "are" };
            let text = format!("{waiting} of {objects} {verb} not up to date");
            let advice = advice(&total.waiting);
            if self.check {
                let hint = advice.unwrap_or("run `waxseal rotate` without `--check`");
                errors.push(CliError::new(Kind::Found, text).with_hint(hint));
            } else if self.reseal || self.mode() != RotationMode::Add && is_any_unopened(&total.waiting) {
                errors.push(CliError::refused(text).with_hint(NEEDS_IDENTITIES));
            } else {
                streams.say(&text);
                advice.into_iter().for_each(|hint| streams.say(&format!("hint: {hint}")));
            }
        }
        Failures::none_or(errors)
    }
}

/// Tells of SealedSecrets without a wrap for a cluster of the run. They get no wrap for a cluster, because nothing
/// shows that they are meant for one of these clusters.
fn foreign(count: usize, objects: &str, clusters: &[ClusterKeys]) -> String {
    let has = if count == 1 { "has" } else { "have" };
    let holder = if wrap_changes::has_cluster(clusters) { "cluster" } else { "key" };
    format!("{count} of {objects} {has} no wrap for a {holder} of the keys files")
}

/// Names each key that got a wrap, like every command that seals.
fn announce(sealed_to: &BTreeSet<KeyId>, clusters: &[ClusterKeys], streams: &mut Streams) {
    for id in sealed_to {
        let find = |cluster: &ClusterKeys| {
            let key = cluster.keys.iter().find(|key| key.recipient.key_id() == id)?;
            Some(format!("sealed to {id} ({}, from {})", key.role.as_str(), cluster.place))
        };
        clusters.iter().find_map(find).into_iter().for_each(|line| streams.say(&line));
    }
}

fn is_any_unopened(waiting: &[Waiting]) -> bool {
    waiting.iter().flat_map(|object| &object.findings).any(|found| found.reason == Reason::KeyMissing.as_str())
}

/// What helps against the most urgent finding, if adding wraps does not.
fn advice(waiting: &[Waiting]) -> Option<&'static str> {
    let reasons: BTreeSet<_> = waiting.iter().flat_map(|object| &object.findings).map(|found| found.reason).collect();
    let advice = [
        (
            "Exposed",
            "seal the values again with `--reseal`, and change the values: old copies of the file stay readable",
        ),
        ("NeedsReseal", "seal the values again with `--reseal`"),
        (
            "WrapBroken",
            "remove each broken wrap, or replace it with `--replace-broken` if the values are meant for its cluster",
        ),
    ];
    advice.into_iter().find(|(reason, _)| reasons.contains(reason)).map(|(_, advice)| advice)
}

fn text(waiting: &[Waiting]) -> String {
    let line = |object: &Waiting, finding: &Finding| {
        let Waiting { place, namespace, name, .. } = object;
        format!("{place}: {namespace}/{name}: {}: {}\n", finding.reason, finding.message)
    };
    waiting.iter().flat_map(|object| object.findings.iter().map(move |finding| line(object, finding))).collect()
}

/// Finds the wraps that the SealedSecrets of an input lack. Ignores failures: they show when the input is changed.
fn wanted_in(input: &Input, clusters: &[ClusterKeys]) -> WantedOffers {
    let mut wanted = WantedOffers::default();
    if let Ok(text) = input.read() {
        let _shown_later = read_text(input, &text, |object| wanted.add(&object, wanted_wraps(&object, clusters)));
    }
    wanted
}

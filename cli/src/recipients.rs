//! The recipients that values are sealed to: those that the command line names, or those of the rules.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use waxseal_shared::key::{KeyKind, Recipient};
use waxseal_shared::seal::SealError;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::clusters::{Clusters, ConfiguredFile};
use crate::configuration::FILE_NAME;
use crate::error::CliError;
use crate::file_names::{cluster_name, file_name};
use crate::input::Input;
use crate::keys_file::{KeysFile, check_creation_times};
use crate::streams::Streams;

/// The options that name recipients. Without them, the rules of `.waxseal.yaml` choose.
const OPTIONS: &str = "`--to CLUSTER`, `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`";

/// What to do without a recovery key.
pub(crate) const MAKE_RECOVERY_KEY: &str = "make a recovery key with `waxseal keys generate --recovery -o recovery.key`, and keep it \
                                            offline; `--recovery-recipient` names it to the controller";

/// Selects the recipients.
#[derive(Args)]
pub(crate) struct RecipientArguments {
    /// Seal to the primary and the Active recovery keys of this cluster. The nearest `.waxseal.yaml`, searched from the
    /// folder of the first input upwards, names its keys file. Repeatable
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_name(), help_heading = "Recipients")]
    to: Vec<String>,
    /// Seal to the primary and the Active recovery keys of this keys file, from `waxseal keys fetch` or
    /// `kubectl get sealingkeys -o yaml`. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>(), help_heading = "Recipients")]
    keys: Vec<OsString>,
    /// Seal to this recipient, `age1pq1…`. Repeatable
    // Not parsed by clap: its error would show the value, which may be a private key.
    #[arg(short, long, value_name = "RECIPIENT", help_heading = "Recipients")]
    recipient: Vec<String>,
    /// Allow recipients without post-quantum protection (`age1…`)
    #[arg(long, help_heading = "Recipients")]
    allow_classic: bool,
}

/// A recipient and where it comes from.
#[derive(Debug)]
pub(crate) struct ChosenRecipient {
    pub(crate) recipient: Recipient,
    /// The role in the keys files: `Cluster` if one of them says so.
    role: Option<KeyRole>,
    /// The first cluster or keys file that selects the recipient, or `--recipient`.
    source: String,
}

/// The recipients of a file, each once.
pub(crate) type Recipients = Arc<[ChosenRecipient]>;

/// Chooses the recipients of each file of a run. Reads each configuration and keys file once.
///
/// Options that name recipients choose them for all files. Without such options, the first rule that matches a file
/// chooses its recipients.
pub(crate) struct FileRecipients<'a> {
    arguments: &'a RecipientArguments,
    pub(crate) clusters: Clusters,
    /// The recipients that the options name.
    named: Option<Recipients>,
    /// The keys files of `--to` and `--keys`.
    pub(crate) named_files: Vec<Arc<KeysFile>>,
    /// The recipients of each rule, by the folder of the configuration and the number of the rule.
    by_rule: HashMap<(PathBuf, usize), Result<Recipients, CliError>>,
}

impl RecipientArguments {
    pub(crate) fn keys_files(&self) -> impl Iterator<Item = &OsString> {
        self.keys.iter()
    }

    pub(crate) fn names_recipients(&self) -> bool {
        !(self.to.is_empty() && self.keys.is_empty() && self.recipient.is_empty())
    }

    /// Returns each recipient once, those of keys files first.
    ///
    /// Refuses revoked and retired keys, recovery keys alone, mixed kinds, classic recipients without
    /// `--allow-classic`, and the keys files that [`KeysFile::recipients`] refuses.
    fn choose(&self, files: &[Arc<KeysFile>], recipients: &[Recipient]) -> Result<Recipients, CliError> {
        let mut given = Vec::new();
        for file in files {
            let source = file.source();
            given.extend(file.recipients()?.into_iter().map(|recipient| (recipient, source.clone())));
        }
        given.extend(of_option(recipients));
        let chosen = each_once(given, files);
        check_states(chosen.iter().map(|chosen| &chosen.recipient), files)?;
        self.check_roles_and_kinds(&chosen)?;
        Ok(chosen.into())
    }

    fn check_roles_and_kinds(&self, chosen: &[ChosenRecipient]) -> Result<(), CliError> {
        for ChosenRecipient { recipient, .. } in chosen {
            if recipient.kind() == KeyKind::Classic && !self.allow_classic {
                let id = recipient.key_id();
                let error =
                    CliError::refused(format!("{id} is a classic key (X25519), which a quantum computer will break"));
                return Err(
                    error.with_hint("pass `--allow-classic` if the values need no protection from a quantum computer")
                );
            }
        }
        if chosen.iter().all(|chosen| chosen.role == Some(KeyRole::Recovery)) {
            let error = CliError::refused("no recipient is a key of a cluster, so no cluster could open the values");
            return Err(error.with_hint("pass the keys file of a cluster too"));
        }
        let first = chosen.first().map(|chosen| chosen.recipient.kind());
        if chosen.iter().any(|chosen| Some(chosen.recipient.kind()) != first) {
            return Err(CliError::refused(SealError::MixedRecipients.to_string()));
        }
        Ok(())
    }
}

impl<'a> FileRecipients<'a> {
    /// Reads the keys files that the options name; `first` is the first input on the command line.
    pub(crate) fn new(arguments: &'a RecipientArguments, first: &Input) -> Result<Self, CliError> {
        let mut clusters = Clusters::new();
        let mut named_files = clusters.keys_files_of(&arguments.to, first)?;
        for name in &arguments.keys {
            named_files.push(Arc::new(KeysFile::read(name)?));
        }
        let named = match arguments.names_recipients() {
            false => None,
            true => Some(arguments.choose(&named_files, &parse(&arguments.recipient)?)?),
        };
        Ok(Self { arguments, clusters, named, named_files, by_rule: HashMap::new() })
    }

    /// Returns the recipients of a file; `file` is what [`Clusters::of_file`] returned for it.
    ///
    /// Refuses a file for which neither options nor a rule give recipients; this error has no place. Refuses a rule
    /// whose recipients cannot be used together, and recipients that [`check_states`] refuses because of a keys file of
    /// the configuration, also if the file is not sealed to the cluster of this keys file.
    pub(crate) fn of(&mut self, file: Option<&ConfiguredFile>) -> Result<Recipients, CliError> {
        let chosen = self.choose(file)?;
        if let Some(file) = file {
            let mut files = self.clusters.all_keys_files(&file.configuration)?;
            files.extend(self.named_files.iter().cloned());
            check_states(chosen.iter().map(|chosen| &chosen.recipient), &files)?;
        }
        Ok(chosen)
    }

    fn choose(&mut self, file: Option<&ConfiguredFile>) -> Result<Recipients, CliError> {
        if let Some(named) = &self.named {
            return Ok(Arc::clone(named));
        }
        let Some(ConfiguredFile { configuration, rule_number }) = file else {
            let error = CliError::refused(format!(
                "no recipients: there is no {FILE_NAME} in its folder or above it, up to the root of its Git work tree"
            ));
            return Err(error.with_hint(format!("pass {OPTIONS}")));
        };
        let Some((number, rule)) = rule_number.and_then(|number| Some((number, configuration.rule(number)?))) else {
            let error = CliError::refused(format!("no recipients: no rule of {} matches it", configuration.place));
            return Err(error.with_hint(format!("add a rule, or pass {OPTIONS}")));
        };
        let key = (configuration.folder.clone(), number);
        if let Some(known) = self.by_rule.get(&key) {
            return known.clone();
        }
        let files = rule.clusters.iter().map(|cluster| self.clusters.keys_file(Some(configuration), cluster.as_str()));
        let chosen = files.collect::<Result<Vec<_>, _>>().and_then(|files| self.arguments.choose(&files, &[]));
        let chosen = chosen.map_err(|error| error.or_at(&configuration.place));
        self.by_rule.insert(key, chosen.clone());
        chosen
    }
}

/// The error of a command whose files have neither recipients nor a configuration.
pub(crate) fn nothing_names_recipients() -> CliError {
    let error = CliError::usage("no recipients to seal to");
    error.with_hint(format!("pass {OPTIONS}, or write rules into {FILE_NAME}"))
}

/// Reads the recipients of `--recipient`.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<Recipient>, CliError> {
    let parsed = texts
        .iter()
        .map(|text| Recipient::parse(text).map_err(|error| CliError::usage(error.to_string()).at("--recipient")));
    parsed.collect()
}

/// Returns the Active recovery keys of keys files and the recipients of `--recipient`, each once.
///
/// Refuses a keys file without an Active recovery key, keys with a creation time more than 10 minutes in the future,
/// revoked and retired keys, and keys of a cluster.
pub(crate) fn recovery_keys(files: &[Arc<KeysFile>], recipients: &[Recipient]) -> Result<Recipients, CliError> {
    let mut given = Vec::new();
    for file in files {
        check_creation_times(&file.place, &file.keys)?;
        let is_usable = |key: &&PublishedKey| key.role == KeyRole::Recovery && key.state == KeyState::Active;
        let keys: Vec<_> = file.keys.iter().filter(is_usable).collect();
        if keys.is_empty() {
            return Err(CliError::refused("no Active recovery key in it").at(&file.place).with_hint(MAKE_RECOVERY_KEY));
        }
        given.extend(keys.into_iter().map(|key| (key.recipient.clone(), file.source())));
    }
    given.extend(of_option(recipients));
    let chosen = each_once(given, files);
    check_states(chosen.iter().map(|chosen| &chosen.recipient), files)?;
    match chosen.iter().find(|chosen| chosen.role == Some(KeyRole::Cluster)) {
        Some(own) => Err(key_of_the_cluster(&own.recipient)),
        None => Ok(chosen.into()),
    }
}

/// The error for a backup that would be encrypted to a key of the cluster itself.
pub(crate) fn key_of_the_cluster(recipient: &Recipient) -> CliError {
    let text =
        format!("{} is not a recovery key: it would be lost together with the keys in the backup", recipient.key_id());
    CliError::refused(text).with_hint(MAKE_RECOVERY_KEY)
}

/// The recipients of `--recipient`, with their source.
fn of_option(recipients: &[Recipient]) -> impl Iterator<Item = (Recipient, String)> {
    recipients.iter().map(|recipient| (recipient.clone(), "--recipient".to_owned()))
}

/// Looks up the role of each recipient, and returns each recipient once.
fn each_once(given: Vec<(Recipient, String)>, files: &[Arc<KeysFile>]) -> Vec<ChosenRecipient> {
    let known = || files.iter().flat_map(|file| &file.keys);
    let mut chosen: Vec<ChosenRecipient> = Vec::new();
    for (recipient, source) in given {
        if !chosen.iter().any(|chosen| chosen.recipient == recipient) {
            let roles = || known().filter(|key| key.recipient == recipient).map(|key| key.role);
            let role = roles().find(|role| *role == KeyRole::Cluster).or(roles().next());
            chosen.push(ChosenRecipient { recipient, role, source });
        }
    }
    chosen
}

/// Refuses recipients whose key is Revoked or Retired in one of the keys files. But a recovery key that one file calls
/// Retired and another one Active is not refused: clusters can share it, and one of them may retire it first.
pub(crate) fn check_states<'r>(
    recipients: impl IntoIterator<Item = &'r Recipient>,
    files: &[Arc<KeysFile>],
) -> Result<(), CliError> {
    for recipient in recipients {
        let id = recipient.key_id();
        let entries = || {
            let all = files.iter().flat_map(|file| file.keys.iter().map(move |key| (&file.place, key)));
            all.filter(|(_, key)| key.recipient == *recipient)
        };
        let active = entries().find(|(_, key)| key.state == KeyState::Active);
        let is_shared = active.is_some() && entries().all(|(_, key)| key.role == KeyRole::Recovery);
        let state = |state| entries().find(move |(_, key)| key.state == state);
        let retired = state(KeyState::Retired).filter(|_| !is_shared);
        if let Some((place, key)) = state(KeyState::Revoked).or(retired) {
            let error =
                CliError::refused(format!("{id} is {}: nothing new is sealed to it", key.state.as_str())).at(place);
            let outdated = active.map(|(place, _)| format!("{place} says Active: correct it"));
            return Err(outdated.into_iter().fold(error, CliError::with_hint));
        }
    }
    Ok(())
}

/// Says to whom values were sealed, each recipient once.
pub(crate) fn announce<'r>(recipients: impl IntoIterator<Item = &'r ChosenRecipient>, streams: &mut Streams) {
    let mut said: Vec<&Recipient> = Vec::new();
    for ChosenRecipient { recipient, role, source } in recipients {
        if said.contains(&recipient) {
            continue;
        }
        said.push(recipient);
        let role = role.map(|role| format!("{}, ", role.as_str())).unwrap_or_default();
        streams.say(&format!("sealed to {} ({role}from {source})", recipient.key_id()));
    }
}

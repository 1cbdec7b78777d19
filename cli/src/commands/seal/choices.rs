//! How each file of a run is sealed: by the options, and by the rules of `.waxseal.yaml`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use waxseal_shared::names::Namespace;
use waxseal_shared::sealed_secret::Scope;

use crate::clusters::ConfiguredFile;
use crate::error::CliError;
use crate::input::Input;
use crate::recipients::{FileRecipients, RecipientArguments, Recipients};
use crate::sealing::Sealing;

/// How one file is sealed.
pub(super) struct Choice {
    pub(super) sealing: Sealing,
    /// The recipients of `sealing`, to be announced; empty if `sealing.recipients` is an error.
    pub(super) recipients: Recipients,
    /// Whether there is a `.waxseal.yaml` for the file.
    pub(super) is_configured: bool,
    /// Says which rule gives the scope, if it is not Strict: a pull request can change the rule.
    pub(super) wider_scope: Option<String>,
}

/// The options that decide how all files are sealed.
pub(super) struct Options<'a> {
    pub(super) recipients: &'a RecipientArguments,
    pub(super) scope: Option<Scope>,
    pub(super) namespace: Option<&'a Namespace>,
}

/// Makes the choice for each file. Files with the same rule share one.
pub(super) struct Choices<'a> {
    options: Options<'a>,
    recipients: FileRecipients<'a>,
    /// By the folder of the configuration and the number of the rule.
    known: HashMap<Option<(PathBuf, Option<usize>)>, Arc<Choice>>,
}

impl<'a> Choices<'a> {
    /// Reads the keys files that the options name; `first` is the first input.
    pub(super) fn new(options: Options<'a>, first: &Input) -> Result<Self, CliError> {
        let recipients = FileRecipients::new(options.recipients, first)?;
        Ok(Self { options, recipients, known: HashMap::new() })
    }

    /// Returns the choice for the file at a path, which need not exist, or for stdin. Refuses a `.waxseal.yaml` that
    /// cannot be used.
    pub(super) fn of(&mut self, path: Option<&Path>) -> Result<Arc<Choice>, CliError> {
        let clusters = &mut self.recipients.clusters;
        let file = match path {
            Some(path) => clusters.of_file(path)?,
            None => clusters.of_stdin()?,
        };
        let key = file.as_ref().map(|file| (file.configuration.folder.clone(), file.rule_number));
        if let Some(known) = self.known.get(&key) {
            return Ok(Arc::clone(known));
        }
        let choice = Arc::new(self.choose(file.as_ref()));
        self.known.insert(key, Arc::clone(&choice));
        Ok(choice)
    }

    /// The configurations and keys files that were read for the choices so far.
    pub(super) fn files_read(&self) -> Vec<PathBuf> {
        self.recipients.clusters.files_read().collect()
    }

    fn choose(&mut self, file: Option<&ConfiguredFile>) -> Choice {
        let chosen = self.recipients.of(file);
        let rule = file.and_then(ConfiguredFile::rule);
        let recipients = chosen.as_ref().map(Arc::clone).unwrap_or_else(|_| Arc::new([]));
        let sealing = Sealing {
            recipients: chosen.map(|chosen| chosen.iter().map(|chosen| chosen.recipient.clone()).collect()),
            scope: self.options.scope.or(rule.and_then(|rule| rule.scope)).unwrap_or_default(),
            namespace: self.options.namespace.cloned(),
            namespace_of_rule: rule.and_then(|rule| rule.namespace.clone()),
        };
        Choice { sealing, recipients, is_configured: file.is_some(), wider_scope: self.wider_scope(file) }
    }

    fn wider_scope(&self, file: Option<&ConfiguredFile>) -> Option<String> {
        let ConfiguredFile { configuration, rule_number } = file?;
        let number = (*rule_number)?;
        let scope = configuration.rule(number)?.scope.filter(|scope| *scope != Scope::Strict)?;
        let text = || format!("{}: rule {} gives the scope {}", configuration.place, number + 1, scope.as_str());
        self.options.scope.is_none().then(text)
    }
}

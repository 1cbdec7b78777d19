use std::ffi::OsString;

use clap::Args;
use waxseal_shared::randomness;
use waxseal_shared::seal::{Place, seal_values};
use waxseal_shared::sealed_secret::Scope;
use waxseal_shared::secret::{SecretData, SecretManifest};
use waxseal_shared::visible_text::visible_path;

use crate::dropped_clusters;
use crate::edited_file::{EditedFile, path, remove_unused_envelopes, token};
use crate::error::{CliError, Failures};
use crate::file_names::{cluster_name, file_name};
use crate::input::{Input, check_stdin_once};
use crate::lossless_edit::{Change, NewValue};
use crate::recipients::{self, FileRecipients, RecipientArguments, Recipients, nothing_names_recipients};
use crate::residue::ValueSearch;
use crate::sealed_objects::SealedObject;
use crate::streams::Streams;
use crate::values::{ValueArguments, list};

/// Set values of a SealedSecret.
///
/// Needs no private key. Adds the values or replaces them, and seals them for the place and the scope of the
/// SealedSecret. Only the lines of these values and of their envelopes change, and envelopes that no value names go;
/// every other byte of the file stays.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SetArguments {
    /// The file to change
    #[arg(value_parser = file_name::<OsString>())]
    file: OsString,
    #[command(flatten)]
    values: ValueArguments,
    /// The SealedSecret to change, if the file has several
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    name: Option<String>,
    #[command(flatten)]
    recipients: RecipientArguments,
    /// Leave out a cluster, or a key id, that the other values of the SealedSecret are sealed to. Repeatable
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_name(), help_heading = "Recipients")]
    drop_cluster: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  waxseal set --keys prod.yaml db.sealed.yaml PASSWORD
  openssl rand -hex 32 | tr -d '\\n' | waxseal set --keys prod.yaml db.sealed.yaml TOKEN
  waxseal set --keys prod.yaml db.sealed.yaml --from-file tls.key";

pub(crate) fn run(arguments: SetArguments, streams: &mut Streams) -> Result<(), Failures> {
    check_stdin_once(arguments.recipients.keys_files())?;
    if arguments.values.reads_stdin() && arguments.recipients.keys_files().any(|name| name == "-") {
        let error = CliError::usage("`--keys -` reads stdin, which holds the value");
        return Err(error.with_hint("name the keys file, or pass `--from-file KEY=FILE`").into());
    }
    let file = EditedFile::read(&arguments.file)?;
    let object = file.object(arguments.name.as_deref())?;
    let chosen = arguments.choose_recipients(&object)?;
    let data = arguments.values.read(streams)?;
    let recipients: Vec<_> = chosen.iter().map(|chosen| chosen.recipient.clone()).collect();
    let place = Place { scope: object.sealed.scope, namespace: &object.sealed.namespace, name: &object.sealed.name };
    let refused = |text: String| CliError::refused(format!("{}: {text}", object.title())).at(&object.place);
    let sealed = seal_values(&data, place, &recipients, &mut randomness::system());
    let sealed = sealed.map_err(|error| refused(error.to_string()))?;
    let mut changed = object.object.clone();
    changed.spec.envelopes.insert(sealed.envelope_id.to_string(), sealed.envelope.clone());
    let tokens = sealed.tokens.iter().map(|(key, token)| (key.to_string(), token.clone()));
    changed.spec.encrypted_data.extend(tokens);
    let mut changes = vec![Change {
        path: path(&["spec", "envelopes", sealed.envelope_id.as_str()]),
        to: Some(NewValue::Envelope(sealed.envelope)),
    }];
    changes.extend(sealed.tokens.into_iter().map(|(key, text)| token(key.as_str(), text)));
    changes.extend(remove_unused_envelopes(&object, |key| data.contains_key(key), &mut changed)?);
    let place = file.place();
    let text = file.change(&object, changes, streams)?;
    let set = list(data.keys());
    warn_of_values_that_show(&place, &object, data, &text, streams);
    recipients::announce(chosen.iter(), streams);
    streams.say(&format!("set {set} in {}{}", object.title(), scope_text(object.sealed.scope)));
    Ok(())
}

impl SetArguments {
    /// Returns the recipients for the file. Refuses recipients that [`dropped_clusters::check`] refuses: they leave out
    /// somebody who can read a value of the object now.
    fn choose_recipients(&self, object: &SealedObject) -> Result<Recipients, CliError> {
        let placed = |error: CliError| error.or_at(&visible_path(self.file.as_ref()));
        let mut recipients = FileRecipients::new(&self.recipients, &Input::named(&self.file))?;
        let configured = recipients.clusters.of_file(self.file.as_ref())?;
        if configured.is_none() && !self.recipients.names_recipients() {
            return Err(nothing_names_recipients());
        }
        let chosen = recipients.of(configured.as_ref()).map_err(placed)?;
        let mut files = recipients.named_files.clone();
        if let Some(file) = &configured {
            files.extend(recipients.clusters.all_keys_files(&file.configuration)?);
        }
        let ids: Vec<_> = chosen.iter().map(|chosen| chosen.recipient.key_id().clone()).collect();
        let wraps = object.sealed.used_envelopes().flat_map(|(_, envelope)| envelope.wraps.keys());
        dropped_clusters::check(wraps, &files, &ids, &self.drop_cluster).map_err(|error| error.or_at(&object.place))?;
        Ok(chosen)
    }
}

/// The scope as messages show it after the name of an object. An edit of the file can change the scope, so messages
/// name every scope except Strict.
fn scope_text(scope: Scope) -> String {
    match scope {
        Scope::Strict => String::new(),
        Scope::Namespace | Scope::Cluster => format!(" (scope {})", scope.as_str()),
    }
}

fn warn_of_values_that_show(file: &str, object: &SealedObject, data: SecretData, text: &str, streams: &mut Streams) {
    let secret = SecretManifest {
        name: object.sealed.name.clone(),
        namespace: None,
        labels: Default::default(),
        annotations: Default::default(),
        type_: None,
        immutable: None,
        data,
    };
    for (at, value) in ValueSearch::new([&secret]).in_text(text) {
        let line = 1 + text[..at].matches('\n').count();
        streams.warn(&format!("{file}:{line}"), &format!("the value {value} still shows"));
    }
}

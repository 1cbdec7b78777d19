use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::manifest::{Format, write_secret};
use waxseal_shared::open::open;
use waxseal_shared::sealed_secret::TemplateMetadata;
use waxseal_shared::secret::SecretManifest;
use waxseal_shared::status::broken_wrap;
use zeroize::Zeroizing;

use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::identities;
use crate::input::{self, Input};
use crate::output::{self, Output};
use crate::passphrases::PassphraseArguments;
use crate::sealed_objects::{self, SealedObject};
use crate::streams::Streams;

/// Turns SealedSecrets back into Secret manifests.
///
/// For emergencies and migrations: it takes an identity, a private key. Prints all SealedSecrets of the file; other
/// documents are left out.
#[derive(Args)]
pub(crate) struct OpenArguments {
    /// The file; `-` is stdin
    #[arg(value_parser = file_name::<OsString>())]
    file: OsString,
    /// An age identity file, plain or protected by a passphrase. Repeatable
    #[arg(long, value_name = "FILE", value_parser = file_name::<OsString>(), required = true)]
    identity: Vec<OsString>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Open only this one of several
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    name: Option<String>,
    /// Write the Secrets to this new file, which only its owner can read; `-` is stdout
    #[arg(short, long, value_name = "FILE", value_parser = file_name::<PathBuf>())]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: OpenArguments, streams: &mut Streams) -> Result<(), Failures> {
    let output = Output::named(arguments.output)?;
    if let Output::File(path) = &output {
        output::check_private(path)?;
    }
    input::check_stdin_once(arguments.identity.iter().chain([&arguments.file]).chain(arguments.passphrase.file()))?;
    let ring = identities::key_ring(&arguments.identity, &arguments.passphrase)?;
    let input = Input::named(&arguments.file);
    let (format, opened) = sealed_objects::read(&input, |object, format| {
        let is_wanted = arguments.name.as_deref().is_none_or(|name| is_named(&object, name));
        is_wanted.then(|| open_one(&object, &ring, streams).map(|secret| write_secret(&secret, format)))
    })?;
    let opened: Vec<_> = opened.into_iter().flatten().collect();
    if opened.is_empty() {
        return Err(CliError::refused("no SealedSecret of that name in it").at(input.place()).into());
    }
    let text = joined(opened, format)?;
    // Whoever takes the result may take his time.
    drop(ring);
    match &output {
        Output::File(path) => output::create_private(path, &text)?,
        Output::Stdout => streams.result(&text)?,
    }
    Ok(())
}

fn is_named(object: &SealedObject, wanted: &str) -> bool {
    let sealed = &object.sealed;
    match wanted.split_once('/') {
        Some((namespace, name)) => sealed.namespace.as_str() == namespace && sealed.name.as_str() == name,
        None => sealed.name.as_str() == wanted,
    }
}

/// All of them in one text, or why some did not open.
fn joined(opened: Vec<Result<Zeroizing<String>, CliError>>, format: Format) -> Result<Zeroizing<String>, Failures> {
    let mut texts = Vec::new();
    let mut errors = Vec::new();
    for result in opened {
        match result {
            Ok(text) => texts.push(text),
            Err(error) => errors.push(error),
        }
    }
    Failures::none_or(errors)?;
    let separator = if format == Format::Yaml { "---\n" } else { "" };
    let length = texts.iter().map(|text| text.len() + separator.len()).sum();
    let mut joined = Zeroizing::new(String::with_capacity(length));
    for text in &texts {
        if !joined.is_empty() {
            joined.push_str(separator);
        }
        joined.push_str(text);
    }
    Ok(joined)
}

fn open_one(object: &SealedObject, ring: &KeyRing, streams: &mut Streams) -> Result<SecretManifest, CliError> {
    let sealed = &object.sealed;
    let title = format!("{}/{}", sealed.namespace, sealed.name);
    let opened = open(sealed, ring).map_err(|error| {
        let reason = error.reason();
        CliError::refused(format!("{title}: {reason}: {error}")).at(&object.place)
    })?;
    for (envelope, keys) in &opened.broken_wraps {
        for key in keys {
            streams.warn(&object.place, &format!("{title}: {}", broken_wrap(envelope, key)));
        }
    }
    let template = sealed.template.clone();
    let TemplateMetadata { labels, annotations } = template.metadata.unwrap_or_default();
    Ok(SecretManifest {
        name: sealed.name.clone(),
        namespace: Some(sealed.namespace.clone()),
        labels,
        annotations,
        type_: template.type_,
        immutable: template.immutable,
        data: opened.data,
    })
}

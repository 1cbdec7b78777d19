use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use waxseal_shared::format::{Check, FieldPath, Refusal, Sealed};
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::manifest::{Format, write_secret};
use waxseal_shared::open::open;
use waxseal_shared::sealed_secret::TemplateMetadata;
use waxseal_shared::secret::SecretManifest;

use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::identities;
use crate::input::{self, Input};
use crate::known_keys::{KnownKeys, KnownKeysArguments};
use crate::output::Output;
use crate::passphrases::PassphraseArguments;
use crate::private_file;
use crate::sealed_objects::{self, ManifestArguments, SealedObject, inputs_of};
use crate::streams::Streams;

/// Turn SealedSecrets back into Secret manifests.
///
/// For emergencies and migrations: it needs an identity, the private key. Prints all Secrets or, if one does not open,
/// none. Leaves other documents out.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct OpenArguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    /// Open with this age identity file, plain or protected by a passphrase. Repeatable
    #[arg(long, value_name = "IDENTITY_FILE", value_parser = file_name::<OsString>(), required = true)]
    identity: Vec<OsString>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    #[command(flatten)]
    known_keys: KnownKeysArguments,
    /// Open only the SealedSecret of this name
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    name: Option<String>,
    /// Write the Secrets to this new file, which only its owner can read; `-` is stdout
    #[arg(short, long, value_name = "FILE", value_parser = file_name::<PathBuf>())]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  waxseal open db.sealed.yaml --identity recovery.key
  waxseal open apps/ --identity recovery.key -o /dev/shm/secrets.yaml
  kubectl get wax db -o yaml | waxseal open --identity recovery.key";

pub(crate) fn run(arguments: OpenArguments, streams: &mut Streams) -> Result<(), Failures> {
    let output = Output::named(arguments.output.clone())?;
    if let Output::File(path) = &output {
        private_file::check(path)?;
    }
    // `open_all` wipes the keys when it returns. So they are not in memory while a slow reader takes the result.
    let text = open_all(&arguments, streams)?;
    match &output {
        Output::File(path) => private_file::create(path, &text)?,
        Output::Stdout => streams.result(&text)?,
    }
    Ok(())
}

/// Returns all Secrets in one text, or the errors if any did not open.
fn open_all(arguments: &OpenArguments, streams: &mut Streams) -> Result<String, Failures> {
    let names = arguments.manifests.names()?;
    let others = arguments.identity.iter().chain(arguments.passphrase.file()).chain(arguments.known_keys.names());
    input::check_stdin_once(names.iter().chain(others))?;
    let known_keys = arguments.known_keys.read(&names)?;
    let ring = identities::key_ring(&arguments.identity, &arguments.passphrase)?;
    let wanted = arguments.name.as_deref();
    let (mut opened, mut separator) = (Vec::new(), "");
    for input in inputs(&names, streams)? {
        sealed_objects::read_all(&input, |object| {
            if wanted.is_some_and(|name| !object.is_named(name)) {
                return;
            }
            // A YAML stream can contain JSON documents, but not the other way round.
            if object.format == Format::Yaml {
                separator = "---\n";
            }
            let secret = open_one(&object, &ring, known_keys.as_ref(), streams);
            opened.push(secret.map(|secret| write_secret(&secret, object.format)));
        })?;
    }
    if opened.is_empty() {
        let absent = if wanted.is_some() { "no SealedSecret of that name" } else { "no SealedSecret" };
        let text = format!("{absent} in {}", if names.len() == 1 { "it" } else { "them" });
        let places: Vec<_> = names.iter().map(|name| Input::named(name).place()).collect();
        return Err(CliError::refused(text).at(places.join(", ")).into());
    }
    Ok(Failures::all_or_errors(opened)?.join(separator))
}

fn inputs(names: &[OsString], streams: &mut Streams) -> Result<Vec<Input>, Failures> {
    let (mut inputs, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        inputs.extend(inputs_of(name, &mut errors, streams)?);
    }
    Failures::none_or(errors).map(|()| inputs)
}

fn open_one(
    object: &SealedObject,
    ring: &KeyRing,
    known_keys: Option<&KnownKeys>,
    streams: &mut Streams,
) -> Result<SecretManifest, CliError> {
    let sealed = &object.sealed;
    let title = object.title();
    let opened = open(sealed, ring).map_err(|refusal| refusal_error(&refusal, sealed, known_keys).at(&object.place))?;
    for wrap in &opened.broken_wraps {
        streams.warn(&object.place, &format!("{title}: WrapBroken: {wrap}"));
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

fn refusal_error(refusal: &Refusal, sealed: &Sealed, known_keys: Option<&KnownKeys>) -> CliError {
    let title = format!("{}/{}: {}", sealed.namespace, sealed.name, refusal.reason());
    let (FieldPath::Envelope(envelope), Check::EnvelopeKeyMissing) = (refusal.field(), refusal.check()) else {
        return CliError::refused(format!("{title}: {refusal}"));
    };
    let role = |id| known_keys.and_then(|known_keys| known_keys.of(id).first()).map(|key| key.role);
    let keys = sealed.envelopes()[envelope].wraps.keys().map(|id| match role(id) {
        Some(role) => format!("{id} ({})", role.as_str()),
        None => id.to_string(),
    });
    let keys = keys.collect::<Vec<_>>().join(" or ");
    let text = format!("{title}: the given identities do not open the envelope {envelope}, which needs {keys}");
    let error = CliError::refused(text);
    match known_keys {
        Some(_) => error,
        None => error.with_hint("pass `--keys KEYS_FILE` or `--to CLUSTER` to see the roles of these keys"),
    }
}

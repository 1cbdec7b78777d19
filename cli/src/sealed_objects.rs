//! Reads and decodes the SealedSecrets of files, folders and stdin.

use std::ffi::{OsStr, OsString};

use clap::Args;
use waxseal_shared::format::{Check, Sealed};
use waxseal_shared::manifest::{DocumentKind, Format, SealedSecretObject, Stream, split};
use waxseal_shared::sealed_secret::SealedSecret;

use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::input::{self, Input};
use crate::streams::{Streams, counted};

/// The most errors that are shown for one input. A hostile input could give millions.
const MAX_SHOWN_ERRORS: usize = 100;

/// What helps if a value names an envelope that is not there. Edits remove envelopes that no value names.
const VALUE_WITHOUT_ENVELOPE: &str = "a merge or revert can bring an old value back without its envelope: delete the line of this value, and set it \
                                      again with `waxseal set`";
/// What helps if a merge of two branches has too many envelopes: resealing gives all values of a branch one envelope.
const TOO_MANY_ENVELOPES: &str = "if a merge put the envelopes of two branches together: undo the merge, run `waxseal rotate --reseal` on the \
                                  file in each branch, and merge again";

/// A SealedSecret and its place.
pub(crate) struct SealedObject {
    /// `FILE:LINE`.
    pub(crate) place: String,
    pub(crate) index: ObjectIndex,
    /// The format of the whole file or stream.
    pub(crate) format: Format,
    /// The object before decoding.
    pub(crate) object: SealedSecret,
    /// The decoded object.
    pub(crate) sealed: Sealed,
}

/// The place of a SealedSecret in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectIndex {
    /// The index of the document in the stream.
    pub(crate) document: usize,
    /// The index among the SealedSecrets of the document.
    pub(crate) object: usize,
}

impl SealedObject {
    /// `NAMESPACE/NAME`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.sealed.namespace, self.sealed.name)
    }

    /// Whether `[NAMESPACE/]NAME` on the command line means this object.
    pub(crate) fn is_named(&self, wanted: &str) -> bool {
        match wanted.split_once('/') {
            Some((namespace, name)) => self.sealed.namespace.as_str() == namespace && self.sealed.name.as_str() == name,
            None => self.sealed.name.as_str() == wanted,
        }
    }
}

/// The manifests that a command reads SealedSecrets from.
#[derive(Args)]
pub(crate) struct ManifestArguments {
    /// Read these files and folders; `-` or no argument is stdin
    #[arg(value_name = "MANIFEST|DIR|-", value_parser = file_name::<OsString>())]
    manifests: Vec<OsString>,
}

impl ManifestArguments {
    /// Returns the names on the command line. Without names, returns `-`, and refuses a terminal as stdin.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, CliError> {
        input::names_or_stdin(&self.manifests, "read")
    }
}

/// Returns the inputs for a name on the command line: a file, stdin, or the manifests below a folder. Adds an error for
/// each folder that cannot be searched.
pub(crate) fn inputs_of(
    name: &OsStr,
    errors: &mut Vec<CliError>,
    streams: &mut Streams,
) -> Result<Vec<Input>, CliError> {
    match Input::named(name) {
        Input::File(path) if path.is_dir() => {
            let found = input::manifests_below(&path, None)?;
            found.warn_of_links_out(&path, streams);
            errors.extend(found.errors);
            Ok(found.files.into_iter().map(Input::Found).collect())
        }
        input => Ok(vec![input]),
    }
}

/// Calls `take` for each SealedSecret, also in lists, but only if all SealedSecrets can be read. Refuses an input on
/// the command line without a SealedSecret.
///
/// Reads each object twice, the first time to check all of them. This keeps only one object in memory: objects take
/// many times the memory of their text.
pub(crate) fn read_all(input: &Input, take: impl FnMut(SealedObject)) -> Result<(), Failures> {
    let text = input.read()?;
    read_text(input, &text, |_| ())?;
    read_text(input, &text, take)
}

/// Calls `take` for each SealedSecret that can be read, and then returns the errors for the others. Refuses an input on
/// the command line without a SealedSecret.
pub(crate) fn read_each(input: &Input, take: impl FnMut(SealedObject)) -> Result<(), Failures> {
    read_text(input, &input.read()?, take)
}

/// As [`read_each`], for a text of the input that was read already.
pub(crate) fn read_text(input: &Input, text: &str, mut take: impl FnMut(SealedObject)) -> Result<(), Failures> {
    let place = input.place();
    let stream = split(text).map_err(|error| CliError::manifest(&place, &error))?;
    let mut is_empty = true;
    let (mut errors, mut hidden) = (Vec::new(), 0);
    for object in objects(&place, &stream) {
        is_empty = false;
        match object {
            Ok(object) => take(object),
            Err(error) if errors.len() < MAX_SHOWN_ERRORS => errors.push(error),
            Err(_) => hidden += 1,
        }
    }
    if hidden > 0 {
        errors.push(CliError::refused(format!("{} not shown", counted(hidden, "more error"))).at(&place));
    }
    if is_empty && !matches!(input, Input::Found(_)) {
        return Err(CliError::refused("no SealedSecret in it").at(place).into());
    }
    Failures::none_or(errors)
}

/// Returns the SealedSecrets of a stream. Reads each only when the iterator reaches it.
fn objects<'a>(input: &'a str, stream: &'a Stream<'_>) -> impl Iterator<Item = Result<SealedObject, CliError>> {
    stream.kinds().enumerate().flat_map(move |(number, (document, kind))| {
        let found = match kind {
            Ok(kind) => sealed_secrets_of(kind).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        let place = format!("{input}:{}", document.line());
        found.into_iter().enumerate().map(move |(object_number, object)| {
            let index = ObjectIndex { document: number, object: object_number };
            let object = object.and_then(|object: SealedSecretObject| object.read());
            decode(object.map_err(|error| CliError::manifest(input, &error))?, &place, index, stream.format)
        })
    })
}

/// Returns the SealedSecrets of a document, also those in lists, in the order of the text.
pub(crate) fn sealed_secrets_of(kind: DocumentKind<'_>) -> Vec<SealedSecretObject<'_>> {
    match kind {
        DocumentKind::SealedSecret(object) => vec![object],
        DocumentKind::List(items) => items.into_iter().flat_map(sealed_secrets_of).collect(),
        DocumentKind::Empty | DocumentKind::Secret(_) | DocumentKind::Other(_) => Vec::new(),
    }
}

fn decode(object: SealedSecret, place: &str, index: ObjectIndex, format: Format) -> Result<SealedObject, CliError> {
    match Sealed::decode(&object) {
        Ok(sealed) => Ok(SealedObject { place: place.to_owned(), index, format, object, sealed }),
        Err(error) => {
            let (namespace, name) = (object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
            let reason = error.reason();
            if let (None, Some(name)) = (namespace, name) {
                let refused = CliError::refused(format!("{name}: {reason}: metadata.namespace: missing")).at(place);
                return Err(refused.with_hint("write the namespace of its values into the manifest"));
            }
            let [namespace, name] = [namespace, name].map(Option::unwrap_or_default);
            let refused = CliError::refused(format!("{namespace}/{name}: {reason}: {error}")).at(place);
            Err(match error.check() {
                Check::TokenEnvelope => refused.with_hint(VALUE_WITHOUT_ENVELOPE),
                Check::EnvelopeCount => refused.with_hint(TOO_MANY_ENVELOPES),
                _ => refused,
            })
        }
    }
}

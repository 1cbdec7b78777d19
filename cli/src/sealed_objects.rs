//! The SealedSecrets of a text, decoded.

use waxseal_shared::format::Sealed;
use waxseal_shared::manifest::{DocumentKind, Format, SealedSecretObject, Stream, split};
use waxseal_shared::sealed_secret::SealedSecret;

use crate::error::{CliError, Failures};
use crate::input::Input;

/// How many failures of one input are told: nobody reads more, and a hostile input has any number.
const MOST_FAILURES: usize = 100;

/// A SealedSecret and where it stood.
pub(crate) struct SealedObject {
    /// `FILE:LINE`.
    pub(crate) place: String,
    /// As it was read.
    pub(crate) object: SealedSecret,
    /// As it was decoded.
    pub(crate) sealed: Sealed,
}

/// Reads every SealedSecret of an input, those in lists too, and keeps what `make` makes of each;
/// refuses an input without any.
///
/// Reads all of them before the first is made into something, and then again: objects take many
/// times the memory of their text, so there is one at a time.
pub(crate) fn read<T>(
    input: &Input,
    mut make: impl FnMut(SealedObject, Format) -> T,
) -> Result<(Format, Vec<T>), Failures> {
    let text = input.read()?;
    let place = input.place();
    let stream = split(&text).map_err(|error| CliError::manifest(&place, &error))?;
    Failures::none_or(objects(&place, &stream).filter_map(Result::err).take(MOST_FAILURES).collect())?;
    let made: Vec<_> = objects(&place, &stream).flatten().map(|object| make(object, stream.format)).collect();
    if made.is_empty() {
        return Err(CliError::refused("no SealedSecret in it").at(place).into());
    }
    Ok((stream.format, made))
}

/// The SealedSecrets of a stream, each decoded when it is asked for.
fn objects<'a>(input: &'a str, stream: &'a Stream<'_>) -> impl Iterator<Item = Result<SealedObject, CliError>> {
    stream.kinds().flat_map(move |(document, kind)| {
        let found = match kind {
            Ok(kind) => sealed_secrets_of(kind).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        let place = format!("{input}:{}", document.line());
        found.into_iter().map(move |object| {
            let object = object.and_then(|object: SealedSecretObject| object.read());
            decode(object.map_err(|error| CliError::manifest(input, &error))?, &place)
        })
    })
}

fn sealed_secrets_of(kind: DocumentKind) -> Vec<SealedSecretObject> {
    match kind {
        DocumentKind::SealedSecret(object) => vec![object],
        DocumentKind::List(items) => items.into_iter().flat_map(sealed_secrets_of).collect(),
        DocumentKind::Empty | DocumentKind::Secret(_) | DocumentKind::Other(_) => Vec::new(),
    }
}

fn decode(object: SealedSecret, place: &str) -> Result<SealedObject, CliError> {
    match Sealed::decode(&object) {
        Ok(sealed) => Ok(SealedObject { place: place.to_owned(), object, sealed }),
        Err(error) => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let reason = error.reason();
            Err(CliError::refused(format!("{namespace}/{name}: {reason}: {error}")).at(place))
        }
    }
}

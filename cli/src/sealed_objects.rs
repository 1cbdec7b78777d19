//! The SealedSecrets of a text, decoded.

use waxseal_shared::format::Sealed;
use waxseal_shared::manifest::{DocumentKind, Format, SealedSecretObject, split};
use waxseal_shared::sealed_secret::SealedSecret;

use crate::error::{CliError, Failures};
use crate::input::Input;

/// A SealedSecret and where it stood.
pub(crate) struct SealedObject {
    /// `FILE:LINE`.
    pub(crate) place: String,
    /// As it was read.
    pub(crate) object: SealedSecret,
    /// As it was decoded.
    pub(crate) sealed: Sealed,
}

/// Reads every SealedSecret of an input, those in lists too; refuses an input without any.
pub(crate) fn read(input: &Input) -> Result<(Format, Vec<SealedObject>), Failures> {
    let text = input.read()?;
    let manifest = |error| CliError::manifest(&input.place(), &error);
    let stream = split(&text).map_err(manifest)?;
    let mut objects = Vec::new();
    let mut errors = Vec::new();
    for (document, kind) in stream.kinds() {
        let place = format!("{}:{}", input.place(), document.line());
        match kind.map(sealed_secrets_of) {
            Err(error) => errors.push(manifest(error)),
            Ok(found) => {
                for object in found {
                    match object.read().map_err(manifest).and_then(|object| decode(object, &place)) {
                        Ok(object) => objects.push(object),
                        Err(error) => errors.push(error),
                    }
                }
            }
        }
    }
    Failures::none_or(errors)?;
    if objects.is_empty() {
        return Err(CliError::refused("no SealedSecret in it").at(input.place()).into());
    }
    Ok((stream.format, objects))
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

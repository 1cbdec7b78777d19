//! A manifest file in which SealedSecrets are changed: read, edited, checked, written back.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use waxseal_shared::format::{Check, Sealed};
use waxseal_shared::names::DataKey;
use waxseal_shared::sealed_secret::SealedSecret;

use crate::error::{CliError, Failures};
use crate::input::Input;
use crate::lossless_edit::{self, Change, NewValue, ObjectChanges};
use crate::output::{ChangedFolders, Destination, SECOND_NAME_STAYS, has_second_name};
use crate::sealed_objects::{SealedObject, read_text};
use crate::streams::Streams;

/// A message names at most this many SealedSecrets of a file.
const MOST_TITLES: usize = 16;

/// A file of manifests, with its text.
pub(crate) struct EditedFile {
    input: Input,
    destination: Destination,
    text: String,
    has_second_name: bool,
}

impl EditedFile {
    /// Reads a file. Refuses stdin, pipes, devices and folders, and a link that leads out of a Git work tree.
    pub(crate) fn read(name: &OsStr) -> Result<Self, CliError> {
        let input = Input::named(name);
        let Some(file) = input.file() else {
            return Err(CliError::usage("`-` is stdin, and this command changes a file"));
        };
        let destination = Destination::of_regular_file(file)?;
        let has_second_name = has_second_name(file);
        let text = input.read()?;
        Ok(Self { input, destination, text, has_second_name })
    }

    /// Returns the name of the file that errors show.
    pub(crate) fn place(&self) -> String {
        self.input.place()
    }

    /// Returns the only SealedSecret of the file, or the one that `[NAMESPACE/]NAME` means.
    pub(crate) fn object(&self, wanted: Option<&str>) -> Result<SealedObject, Failures> {
        let (mut titles, mut found) = (Vec::new(), Vec::<SealedObject>::new());
        read_text(&self.input, &self.text, |object| {
            titles.push(object.title());
            if wanted.is_none_or(|wanted| object.is_named(wanted)) && found.len() < 2 {
                found.push(object);
            }
        })?;
        if let [first, second] = &found[..]
            && first.title() == second.title()
        {
            let error = CliError::refused(format!("{} stands twice in it", first.title())).at(self.place());
            let hint = format!("remove one of the two SealedSecrets, {} and {}", first.place, second.place);
            return Err(error.with_hint(hint).into());
        }
        let text = match (<[SealedObject; 1]>::try_from(found), wanted) {
            (Ok([object]), _) => return Ok(object),
            (Err(found), Some(_)) if found.is_empty() => "no SealedSecret of that name in it",
            (Err(_), Some(_)) => "several SealedSecrets of that name in it",
            (Err(_), None) => "several SealedSecrets in it",
        };
        let more = titles.len().saturating_sub(MOST_TITLES);
        titles.truncate(MOST_TITLES);
        titles.extend((more > 0).then(|| format!("and {more} more")));
        let error = CliError::refused(text).at(self.place());
        Err(error.with_hint(format!("pass `--name [NAMESPACE/]NAME`; the file has {}", titles.join(", "))).into())
    }

    /// Writes changes of one SealedSecret into the file, and returns the new text.
    pub(crate) fn change(
        self,
        object: &SealedObject,
        changes: Vec<Change>,
        streams: &mut Streams,
    ) -> Result<String, CliError> {
        let changes = [ObjectChanges { document: object.index.document, object: object.index.object, changes }];
        let text = lossless_edit::apply(&self.place(), &self.text, &changes)?;
        let folders = ChangedFolders::default();
        self.destination.write_over(&self.text, &text, &folders)?;
        folders.sync()?;
        if self.has_second_name {
            streams.warn(&self.place(), SECOND_NAME_STAYS);
        }
        Ok(text)
    }
}

/// Takes the envelopes that no old value needs any more out of `changed`, and returns the changes that remove them from
/// the file. `is_gone` tells whether the old value of a data key is removed or replaced. An envelope that no value
/// named before goes too.
///
/// # Errors
///
/// Without these envelopes, `changed` still breaks a limit of the format: it has too many data keys or envelopes, or
/// its values are too large.
pub(crate) fn remove_unused_envelopes(
    object: &SealedObject,
    is_gone: impl Fn(&DataKey) -> bool,
    changed: &mut SealedSecret,
) -> Result<Vec<Change>, CliError> {
    let kept = object.sealed.data_keys().filter(|(key, _)| !is_gone(key));
    let kept: BTreeSet<_> = kept.map(|(_, envelope)| envelope.as_str()).collect();
    let envelopes = object.object.spec.envelopes.keys().map(String::as_str);
    let unused: Vec<_> = envelopes.filter(|id| !kept.contains(id)).collect();
    changed.spec.envelopes.retain(|id, _| !unused.contains(&id.as_str()));
    Sealed::decode(changed).map_err(|refusal| {
        let text = format!("{}: {}: {refusal}", object.title(), refusal.reason());
        let error = CliError::refused(text).at(&object.place);
        match refusal.check() {
            Check::EnvelopeCount => error.with_hint(lossless_edit::ONE_ENVELOPE),
            _ => error,
        }
    })?;
    Ok(unused.into_iter().map(|id| Change { path: path(&["spec", "envelopes", id]), to: None }).collect())
}

/// The change that sets or replaces the token of a value.
pub(crate) fn token(key: &str, token: String) -> Change {
    Change { path: path(&["spec", "encryptedData", key]), to: Some(NewValue::Text(token)) }
}

pub(crate) fn path(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

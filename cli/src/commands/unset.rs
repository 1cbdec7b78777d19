use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::Args;
use waxseal_shared::names::DataKey;

use crate::edited_file::{EditedFile, path, remove_unused_envelopes};
use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::lossless_edit::Change;
use crate::streams::Streams;
use crate::values::{data_keys, list};

/// Remove values from a SealedSecret.
///
/// Needs no key. Removes the lines of these values, and the envelopes that no value names then. No other byte of the
/// file changes. The history of the file still holds the values.
#[derive(Args)]
#[command(after_help = "Example:\n  waxseal unset db.sealed.yaml OLD_PASSWORD")]
pub(crate) struct UnsetArguments {
    /// The file to change
    #[arg(value_parser = file_name::<OsString>())]
    file: OsString,
    /// The data keys of the values
    #[arg(value_name = "KEY", required = true)]
    data_keys: Vec<String>,
    /// The SealedSecret to change, if the file has several
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    name: Option<String>,
}

pub(crate) fn run(arguments: UnsetArguments, streams: &mut Streams) -> Result<(), Failures> {
    let keys: BTreeSet<_> = data_keys(&arguments.data_keys)?.into_iter().collect();
    let file = EditedFile::read(&arguments.file)?;
    let object = file.object(arguments.name.as_deref())?;
    let mut changed = object.object.clone();
    for key in &keys {
        if changed.spec.encrypted_data.remove(key.as_str()).is_none() {
            let text = format!("{}: no value for the data key {key}", object.title());
            return Err(CliError::refused(text).at(&object.place).into());
        }
    }
    let value = |key: &DataKey| Change { path: path(&["spec", "encryptedData", key.as_str()]), to: None };
    let mut changes: Vec<_> = keys.iter().map(value).collect();
    changes.extend(remove_unused_envelopes(&object, |key| keys.contains(key), &mut changed)?);
    file.change(&object, changes, streams)?;
    streams.say(&format!("removed {} from {}", list(&keys), object.title()));
    Ok(())
}

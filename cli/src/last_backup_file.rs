//! The file in a folder of keys that says when each key was last written into a backup. In a cluster the identity
//! Secrets say it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use waxseal_shared::manifest::{read_one, write};
use waxseal_shared::names::KeyId;
use waxseal_shared::visible_text::visible_path;

use crate::clusters::exists;
use crate::error::CliError;
use crate::input::Input;
use crate::output::{self, Destination};

const FILE: &str = "last-backup.yaml";

/// Reads the time of the last backup of each key. Without the file, no key has a backup.
pub(crate) fn read(folder: &Path) -> Result<BTreeMap<KeyId, Timestamp>, CliError> {
    let path = folder.join(FILE);
    if !exists(&path) {
        return Ok(BTreeMap::new());
    }
    let text = Input::File(path.clone()).read()?;
    let times: BTreeMap<String, String> =
        read_one(&text).map_err(|error| CliError::manifest(&visible_path(&path), &error))?;
    let parsed = times.iter().map(|(id, time)| Some((KeyId::parse(id).ok()?, time.parse().ok()?)));
    parsed.collect::<Option<_>>().ok_or_else(|| {
        CliError::refused("an entry is not a key id and an RFC 3339 time")
            .at(visible_path(&path))
            .with_hint("delete the file, and make a new backup with `waxseal keys backup`")
    })
}

/// Records that these keys were written into a backup. The entries of all other keys stay.
pub(crate) fn record<'a>(
    folder: &Path,
    keys: impl IntoIterator<Item = &'a KeyId>,
    time: Timestamp,
) -> Result<(), CliError> {
    let path = folder.join(FILE);
    let _lock = Destination::at(&path)?.lock()?;
    let mut times = read(folder)?;
    times.extend(keys.into_iter().map(|id| (id.clone(), time)));
    let times: BTreeMap<_, _> = times.iter().map(|(id, time)| (id.as_str(), time.to_string())).collect();
    output::replace(&path, &write(&times))
}

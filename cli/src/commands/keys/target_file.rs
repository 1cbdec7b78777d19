//! The keys files that `keys fetch` and `keys revoke` write.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use waxseal_shared::manifest::read_keys;
use waxseal_shared::sealing_key::PublishedKey;
use waxseal_shared::visible_text::visible_path;

use crate::clusters::{self, Clusters};
use crate::configuration::Configuration;
use crate::error::CliError;
use crate::file_names::folder_of;
use crate::input::Input;
use crate::output::{self, ChangedFolders, Destination};

/// A keys file to read, compare and write.
pub(super) struct KeysTarget {
    path: PathBuf,
    place: String,
    /// The configuration that names the file; `None` for `--output`. If there is one, no read and no write leaves its
    /// folder.
    configuration: Option<Arc<Configuration>>,
}

impl KeysTarget {
    /// Returns the keys file of a cluster, or the file of `--output`. Refuses a cluster that is not in the nearest
    /// `.waxseal.yaml`, from the current folder upwards.
    pub(super) fn named(cluster: Option<&str>, output: Option<PathBuf>) -> Result<Self, CliError> {
        let Some(cluster) = cluster else {
            let path = output.unwrap_or_default();
            output::check_names_a_file(&path)?;
            return Ok(Self { place: visible_path(&path), path, configuration: None });
        };
        let mut clusters = Clusters::new();
        let nearest = clusters.near(&Input::Stdin)?;
        let path = clusters::find(cluster, nearest.as_deref())?.path;
        Ok(Self { place: clusters.shown(&path), path, configuration: nearest })
    }

    /// Returns the existing keys files of the clusters that the nearest `.waxseal.yaml` names, from the current folder
    /// upwards.
    pub(super) fn of_nearest_configuration() -> Result<Vec<Self>, CliError> {
        let mut clusters = Clusters::new();
        let Some(configuration) = clusters.near(&Input::Stdin)? else { return Ok(Vec::new()) };
        let paths = configuration.clusters().map(|(_, path)| path).filter(|path| clusters::exists(path));
        let target =
            |path: PathBuf| Self { place: clusters.shown(&path), path, configuration: Some(configuration.clone()) };
        Ok(paths.map(target).collect())
    }

    /// The name that messages show.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Reads the file; `None` if it does not exist.
    pub(super) fn read(&self) -> Result<Option<String>, CliError> {
        let text = match &self.configuration {
            Some(configuration) if clusters::exists(&self.path) => {
                clusters::read_text(configuration, &self.path).map_err(|error| error.at(&self.place))
            }
            None if clusters::exists(&self.path) => {
                // Reading a pipe or a terminal would wait for ever.
                Destination::of_regular_file(&self.path)?;
                Input::File(self.path.clone()).read()
            }
            Some(_) | None => return Ok(None),
        };
        text.map(Some)
    }

    /// Reads the keys in the text of the file. Refuses a file that is not a keys file, so that it is not overwritten.
    pub(super) fn keys_in(&self, text: Option<&str>) -> Result<Vec<PublishedKey>, CliError> {
        let refused = |error| CliError::manifest(&self.place, &error).with_context("this file is not a keys file");
        text.map_or(Ok(Vec::new()), |text| read_keys(text).map_err(refused))
    }

    /// Locks the file until the result is dropped: another run must not write between reading and writing. Makes the
    /// folder of the file.
    pub(super) fn lock(&self) -> Result<Option<File>, CliError> {
        self.destination()?.lock()
    }

    /// Writes the file, and makes its folder. Follows no link below the folder of the configuration.
    pub(super) fn write(&self, text: &str) -> Result<(), CliError> {
        let folders = ChangedFolders::default();
        self.destination()?.write(text, &folders)?;
        folders.sync()
    }

    fn destination(&self) -> Result<Destination, CliError> {
        let Some(configuration) = &self.configuration else {
            output::make_folder(&folder_of(&self.path))?;
            return Destination::at(&self.path);
        };
        // The path was made by joining the folder and the path below it, so it has this prefix.
        let below = self.path.strip_prefix(&configuration.folder).unwrap_or(Path::new(""));
        Destination::below(&configuration.folder, below)
    }
}

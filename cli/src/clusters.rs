//! What a repository knows of its clusters: for each file the nearest `.waxseal.yaml`, and the keys files that it
//! names.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use waxseal_shared::manifest::read_keys;
use waxseal_shared::visible_text::{escaped, visible_path};

use crate::configuration::search::{self, Confines};
use crate::configuration::{ClusterName, Configuration, FILE_NAME, Rule, joined};
use crate::error::CliError;
use crate::file_names::folder_of;
use crate::input::{Input, MAX_INPUT_BYTES};
use crate::keys_file::KeysFile;

/// The configurations and keys files of one run. Each is read once, however many files use it.
///
/// [`Self::of_file`] returns the configuration of a file and the rule that matches it. [`Self::keys_file`] returns the
/// keys file of one cluster. [`Self::all_keys_files`] returns the keys files of all clusters, also of those that the
/// file is not sealed to. [`FileRecipients`](crate::recipients::FileRecipients) chooses the recipients of a file.
pub(crate) struct Clusters {
    current_folder: PathBuf,
    /// By the folder in which the search began.
    nearest: HashMap<PathBuf, Option<Arc<Configuration>>>,
    /// By the folder of the `.waxseal.yaml`.
    configurations: BTreeMap<PathBuf, Arc<Configuration>>,
    /// By the folder of the configuration, the name of the cluster, and the path.
    keys_files: BTreeMap<(PathBuf, ClusterName, PathBuf), Result<Arc<KeysFile>, CliError>>,
}

/// What the nearest `.waxseal.yaml` says about one file.
#[derive(Clone)]
pub(crate) struct ConfiguredFile {
    pub(crate) configuration: Arc<Configuration>,
    /// The number of the first rule that matches the file, counted from 0.
    pub(crate) rule_number: Option<usize>,
}

impl ConfiguredFile {
    pub(crate) fn rule(&self) -> Option<&Rule> {
        self.rule_number.and_then(|number| self.configuration.rule(number))
    }
}

impl Clusters {
    pub(crate) fn new() -> Self {
        // A folder that was deleted has no path, and no files either.
        let current_folder = std::env::current_dir().unwrap_or_default();
        Self { current_folder, nearest: HashMap::new(), configurations: BTreeMap::new(), keys_files: BTreeMap::new() }
    }

    /// Returns what the nearest `.waxseal.yaml` says about a file; `None` if there is no `.waxseal.yaml`. The file need
    /// not exist.
    ///
    /// The search begins in the folder in which the file really is: a symbolic link is sealed as its target.
    pub(crate) fn of_file(&mut self, path: &Path) -> Result<Option<ConfiguredFile>, CliError> {
        self.of_real_path(&search::real_path(&self.current_folder, path))
    }

    /// Like [`Self::of_file`] for stdin, which counts as a file `-` in the current folder.
    pub(crate) fn of_stdin(&mut self) -> Result<Option<ConfiguredFile>, CliError> {
        self.of_real_path(&self.current_folder.join("-"))
    }

    /// Returns the nearest `.waxseal.yaml` of an input, which may be a folder: stdin has that of the current folder.
    pub(crate) fn near(&mut self, input: &Input) -> Result<Option<Arc<Configuration>>, CliError> {
        match input.file().map(|path| search::real_path(&self.current_folder, path)) {
            None => self.nearest(&self.current_folder.clone()),
            Some(folder) if folder.is_dir() => self.nearest(&folder),
            Some(file) => self.nearest(&folder_of(&file)),
        }
    }

    /// Returns the keys files of the clusters of `--to`; `input` is the first one on the command line. Refuses a
    /// cluster that is not in the nearest `.waxseal.yaml` of the input, or whose keys file does not exist.
    pub(crate) fn keys_files_of(&mut self, names: &[String], input: &Input) -> Result<Vec<Arc<KeysFile>>, CliError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let configuration = self.near(input)?;
        names.iter().map(|name| self.keys_file(configuration.as_deref(), name)).collect()
    }

    /// Returns the keys file of a cluster. Refuses a cluster that is not in the configuration, and a keys file that
    /// does not exist, that is not a keys file, or that is outside of its configuration's folder through a symbolic
    /// link.
    pub(crate) fn keys_file(
        &mut self,
        configuration: Option<&Configuration>,
        name: &str,
    ) -> Result<Arc<KeysFile>, CliError> {
        let Found { configuration, cluster, path } = find(name, configuration)?;
        let place = self.shown(&path);
        let read = || read_keys_file(configuration, cluster, &path, place).map(Arc::new);
        let key = (configuration.folder.clone(), cluster.clone(), path.clone());
        self.keys_files.entry(key).or_insert_with(read).clone()
    }

    /// Returns the keys files of all clusters of a configuration, without those that do not exist yet.
    pub(crate) fn all_keys_files(&mut self, configuration: &Configuration) -> Result<Vec<Arc<KeysFile>>, CliError> {
        let fetched = configuration.clusters().filter(|(_, path)| exists(path));
        fetched.map(|(cluster, _)| self.keys_file(Some(configuration), cluster.as_str())).collect()
    }

    /// The keys files and configurations that were read so far.
    pub(crate) fn files_read(&self) -> impl Iterator<Item = PathBuf> {
        let configurations = self.configurations.keys().map(|folder| folder.join(FILE_NAME));
        self.keys_files.keys().map(|(_, _, path)| path.clone()).chain(configurations)
    }

    /// The name of a file that messages show: relative to the current folder if the file is below it.
    pub(crate) fn shown(&self, path: &Path) -> String {
        visible_path(path.strip_prefix(&self.current_folder).unwrap_or(path))
    }

    fn of_real_path(&mut self, path: &Path) -> Result<Option<ConfiguredFile>, CliError> {
        let Some(configuration) = self.nearest(&folder_of(path))? else {
            return Ok(None);
        };
        let below = path.strip_prefix(&configuration.folder).ok();
        let rule_number = below.and_then(|below| configuration.rule_for(below));
        Ok(Some(ConfiguredFile { configuration, rule_number }))
    }

    fn nearest(&mut self, start: &Path) -> Result<Option<Arc<Configuration>>, CliError> {
        if let Some(known) = self.nearest.get(start) {
            return Ok(known.clone());
        }
        let found = search::nearest_folder(start).map(|folder| self.configuration(folder, start)).transpose()?;
        self.nearest.insert(start.to_owned(), found.clone());
        Ok(found)
    }

    fn configuration(&mut self, folder: &Path, start: &Path) -> Result<Arc<Configuration>, CliError> {
        let place = self.shown(&folder.join(FILE_NAME));
        search::check_owner(folder, start).map_err(|error| error.at(&place))?;
        if let Some(known) = self.configurations.get(folder) {
            return Ok(Arc::clone(known));
        }
        let configuration = Arc::new(search::read(folder, place)?);
        self.configurations.insert(folder.to_owned(), Arc::clone(&configuration));
        Ok(configuration)
    }
}

/// A cluster that was found by its name.
pub(crate) struct Found<'a> {
    pub(crate) configuration: &'a Configuration,
    pub(crate) cluster: &'a ClusterName,
    /// Of the keys file.
    pub(crate) path: PathBuf,
}

/// Finds a cluster in the nearest configuration.
pub(crate) fn find<'a>(name: &str, configuration: Option<&'a Configuration>) -> Result<Found<'a>, CliError> {
    // The line to copy shows the name that the user typed only if a cluster can have this name.
    let example = if ClusterName::parse(name).is_some() { name } else { "NAME" };
    let line = format!("{example}: {{keys: .waxseal/{example}.yaml}}");
    let Some(configuration) = configuration else {
        let text = format!(
            "no cluster {}: there is no {FILE_NAME} in the folder or above it, up to the root of its Git work tree",
            escaped(name)
        );
        return Err(CliError::usage(text).with_hint(format!("write one: `{{version: 1, clusters: {{{line}}}}}`")));
    };
    let Some((cluster, path)) = configuration.cluster(name) else {
        let known = joined(configuration.clusters().map(|(known, _)| known));
        let text = format!("no cluster {}; its clusters: {known}", escaped(name));
        let error = CliError::usage(text).at(&configuration.place);
        return Err(error.with_hint(format!("add it below `clusters`: `{line}`")));
    };
    Ok(Found { configuration, cluster, path })
}

/// Reads the text of a keys file below the folder of its configuration.
pub(crate) fn read_text(configuration: &Configuration, path: &Path) -> Result<String, CliError> {
    let confines = Confines { folder: &configuration.folder, name: "the folder of .waxseal.yaml" };
    search::read_confined(path, &confines, MAX_INPUT_BYTES)
}

fn read_keys_file(
    configuration: &Configuration,
    cluster: &ClusterName,
    path: &Path,
    place: String,
) -> Result<KeysFile, CliError> {
    if !exists(path) {
        let error = CliError::refused(format!("the cluster {cluster} has no keys file yet")).at(place);
        return Err(error.with_hint(format!("run `waxseal keys fetch {cluster}`")));
    }
    let text = read_text(configuration, path).map_err(|error| error.at(&place))?;
    let keys = read_keys(&text).map_err(|error| CliError::manifest(&place, &error))?;
    Ok(KeysFile { cluster: Some(cluster.clone()), place, keys })
}

/// Whether a file or link is at a path. Also true if a folder of the path is a file, or if the operating system refuses
/// to tell: then reading the file gives the error.
pub(crate) fn exists(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

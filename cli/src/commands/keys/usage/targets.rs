//! The files and folders on the command line: in the working tree, and as paths of a repository.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use waxseal_shared::visible_text::visible_path;

use crate::error::{CliError, Kind};
use crate::file_names::folder_of;
use crate::git;
use crate::input::{self, FoundFile, Input};
use crate::streams::Streams;

/// Files and folders of one work tree, or outside of all work trees.
pub(super) struct Targets {
    /// The work tree around them.
    pub(super) work_tree: Option<PathBuf>,
    list: Vec<Target>,
}

struct Target {
    /// The path on the command line.
    path: PathBuf,
    /// The path without symbolic links. A file that only commits have does not exist there.
    canonical: PathBuf,
}

impl Targets {
    /// Refuses paths of different work trees: two of their files could have the same name in the report.
    pub(super) fn resolve(paths: &[PathBuf]) -> Result<Self, CliError> {
        let mut groups = Self::by_work_tree(paths)?.into_iter();
        let first = groups.next().unwrap_or(Self { work_tree: None, list: Vec::new() });
        if let Some(other) = groups.next().and_then(|group| group.list.into_iter().next()) {
            let error = CliError::usage("is in another Git work tree than the paths before it");
            return Err(error.at(visible_path(&other.path)).with_hint("run the command once for each work tree"));
        }
        Ok(first)
    }

    /// Returns the paths of each work tree together, in the order of the command line.
    pub(super) fn by_work_tree(paths: &[PathBuf]) -> Result<Vec<Self>, CliError> {
        let mut groups: Vec<Self> = Vec::new();
        for path in paths {
            let target = Target::resolve(path)?;
            let work_tree = git::work_tree_around(&target.canonical).map(Path::to_owned);
            match groups.iter_mut().find(|group| group.work_tree == work_tree) {
                Some(group) => group.list.push(target),
                None => groups.push(Self { work_tree, list: vec![target] }),
            }
        }
        Ok(groups)
    }

    /// The names of the paths in the report. In a work tree they are relative to it, as Git stores them.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        self.list.iter().map(|target| self.name_of(target)).collect()
    }

    /// Returns the files that exist, each once by its name in the report.
    pub(super) fn files(&self, errors: &mut Vec<CliError>, streams: &mut Streams) -> BTreeMap<Vec<u8>, Input> {
        let mut files = BTreeMap::new();
        for target in self.list.iter().filter(|target| target.canonical.exists()) {
            if !target.canonical.is_dir() {
                files.insert(self.name_of(target), Input::File(target.path.clone()));
                continue;
            }
            match input::manifests_below(&target.path, None) {
                Ok(found) => {
                    found.warn_of_links_out(&target.path, streams);
                    errors.extend(found.errors);
                    files.extend(found.files.into_iter().map(|file| (self.name_of_found(&file), Input::Found(file))));
                }
                Err(error) => errors.push(error),
            }
        }
        files
    }

    /// Returns an error for each path that does not exist and that no searched commit has either. `absent` are the
    /// indexes of the paths that no commit has.
    pub(super) fn unknown(&self, absent: &[usize]) -> Vec<CliError> {
        let absent = absent.iter().map(|index| &self.list[*index]).filter(|target| !target.canonical.exists());
        let text = match self.work_tree {
            Some(_) => "no such file or folder, and none in the searched commits",
            None => "no such file or folder",
        };
        absent.map(|target| CliError::new(Kind::Failed, text).at(visible_path(&target.path))).collect()
    }

    /// The name of a file in the report: below the work tree, or else as the user wrote it.
    fn name_of(&self, target: &Target) -> Vec<u8> {
        match self.below_work_tree(&target.canonical) {
            Some(name) => name,
            None => target.path.as_os_str().as_bytes().to_vec(),
        }
    }

    fn name_of_found(&self, file: &FoundFile) -> Vec<u8> {
        self.below_work_tree(&file.target).unwrap_or_else(|| file.path.as_os_str().as_bytes().to_vec())
    }

    fn below_work_tree(&self, canonical: &Path) -> Option<Vec<u8>> {
        let below = canonical.strip_prefix(self.work_tree.as_ref()?).ok()?;
        Some(below.as_os_str().as_bytes().to_vec())
    }
}

impl Target {
    fn resolve(path: &Path) -> Result<Self, CliError> {
        let canonical = canonical(path).map_err(|error| CliError::path("read it", path, &error))?;
        if git::is_inside_repository(&canonical) {
            let error = CliError::refused("is a Git repository itself, and not a work tree").at(visible_path(path));
            return Err(error.with_hint("name files and folders in a work tree, such as a clone of this repository"));
        }
        Ok(Self { path: path.to_owned(), canonical })
    }
}

/// Returns the path without symbolic links, also if its last parts do not exist.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    match (path.canonicalize(), path.file_name()) {
        (Err(error), Some(name)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(canonical(&folder_of(path))?.join(name))
        }
        (canonical, _) => canonical,
    }
}

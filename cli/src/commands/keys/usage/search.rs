//! Searches the working tree and the commits of a repository for the values that a key opens.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use waxseal_shared::visible_text::visible_path;

use super::rows::Rows;
use super::targets::Targets;
use super::values::{Finder, Value, Wanted};
use crate::error::{CliError, Kind};
use crate::git::{self, Blob, Reach, Revisions};
use crate::input::{FoundFile, Input};
use crate::streams::{Streams, counted};

/// The most errors that are shown. A broken manifest can have thousands of versions.
const MAX_SHOWN_ERRORS: usize = 100;

/// What helps if a file of a commit cannot be read.
const NOT_IN_THE_LIST: &str =
    "`git show COMMIT:FILE` shows the file: the values that cannot be read are not in the list";

/// A search, and what it has found so far.
pub(super) struct Search {
    pub(super) finder: Finder,
    pub(super) rows: Rows,
    pub(super) errors: Errors,
    /// The files of the working tree that were read, by their names in the report.
    files: BTreeSet<Vec<u8>>,
}

/// The first errors, and the number of the others.
#[derive(Default)]
pub(super) struct Errors {
    shown: Vec<CliError>,
    hidden: usize,
}

impl Search {
    pub(super) fn new(finder: Finder) -> Self {
        Self { finder, rows: Rows::default(), errors: Errors::default(), files: BTreeSet::new() }
    }

    pub(super) fn working_tree(&mut self, targets: &Targets, streams: &mut Streams) {
        let mut errors = Vec::new();
        let files = targets.files(&mut errors, streams);
        errors.into_iter().for_each(|error| self.errors.add(error));
        for (name, input) in files {
            self.file(name, &input);
        }
    }

    fn file(&mut self, name: Vec<u8>, input: &Input) {
        let error = match input.read_bytes() {
            Ok(text) => {
                let (values, error) = self.finder.values(&text, Wanted::AllValues, || input.place());
                self.rows.add_file(&name, values);
                error
            }
            Err(error) => Some(error),
        };
        error.into_iter().for_each(|error| self.errors.add(error));
        self.files.insert(name);
    }

    /// Searches the commits. Then also searches, in the working tree, the files in which a commit has a value and which
    /// [`Self::working_tree`] left out because of their names. Without a repository, fails for [`Reach::History`], and
    /// otherwise returns `None`. If the repository cannot be read, adds an error and returns `None`.
    pub(super) fn commits(
        &mut self,
        targets: &Targets,
        reach: Reach,
    ) -> Result<Option<Revisions<Vec<Value>>>, CliError> {
        let names = targets.names();
        let Some(root) = &targets.work_tree else {
            if reach == Reach::History {
                let error =
                    CliError::refused("--history reads a Git repository, and no repository contains these paths");
                return Err(error.with_hint("name files and folders in a Git work tree, or leave out --history"));
            }
            let unknown = targets.unknown(&(0..names.len()).collect::<Vec<_>>());
            unknown.into_iter().for_each(|error| self.errors.add(error));
            return Ok(None);
        };
        let place = visible_path(root);
        let Some(revisions) = git::search(root, &names, reach, |blob| self.values_of(blob)) else {
            self.errors.add(CliError::new(Kind::Failed, "its Git repository cannot be read").at(place));
            return Ok(None);
        };
        self.rows.add_revisions(&revisions);
        self.other_files(root, &revisions);
        let faults = faults_of(&revisions, self.rows.are_too_many).into_iter().map(|error| error.at(&place));
        faults.chain(targets.unknown(&revisions.absent)).for_each(|error| self.errors.add(error));
        Ok(Some(revisions))
    }

    /// Reads the files in the working tree that have a value in one of the commits, and were not read before: those in
    /// hidden folders, and those without the ending of a manifest. Otherwise their values would count as removed.
    fn other_files(&mut self, root: &Path, revisions: &Revisions<Vec<Value>>) {
        let names: BTreeSet<_> = revisions.files.iter().map(|revision| &revision.path).collect();
        for name in names {
            let path = root.join(OsStr::from_bytes(name));
            // A link, or a file below a link, can lead out of the work tree.
            let is_here = path.is_file() && path.canonicalize().is_ok_and(|canonical| canonical == path);
            if is_here && !self.files.contains(name) {
                let file = FoundFile { path: path.clone(), target: path, is_link: false };
                self.file(name.clone(), &Input::Found(file));
            }
        }
    }

    /// Returns the values in a blob that the key opens, or `None` if it opens no value.
    fn values_of(&mut self, blob: &Blob<'_>) -> Option<Vec<Value>> {
        // The place is written as Git writes it: `git show COMMIT:FILE` shows the blob.
        let place = || format!("{}:{}", blob.commit.id, visible_path(Path::new(OsStr::from_bytes(&blob.path()))));
        let Some(content) = blob.content else {
            self.errors.add(CliError::refused("larger than 32 MiB, the most that is read").at(place()));
            return None;
        };
        let (found, error) = self.finder.values(content, Wanted::OpenedValues, place);
        // A commit cannot be mended, so the hint of the error does not help.
        error.into_iter().for_each(|error| self.errors.add(error.with_hint(NOT_IN_THE_LIST)));
        Some(found.into_iter().map(|found| found.value).collect()).filter(|values: &Vec<_>| !values.is_empty())
    }
}

impl Errors {
    fn add(&mut self, error: CliError) {
        if self.shown.len() < MAX_SHOWN_ERRORS {
            self.shown.push(error);
        } else {
            self.hidden += 1;
        }
    }

    pub(super) fn into_shown(mut self) -> Vec<CliError> {
        if self.hidden > 0 {
            let text = format!("{} not shown", counted(self.hidden, "more error"));
            self.shown.push(CliError::new(Kind::Failed, text));
        }
        self.shown
    }
}

/// Returns errors for the parts of a repository that were not searched.
fn faults_of(revisions: &Revisions<Vec<Value>>, are_too_many: bool) -> Vec<CliError> {
    let mut faults = Vec::new();
    if revisions.missing > 0 {
        let (text, hint) = if revisions.is_shallow {
            let text = "is a shallow clone, and part of the history is not here: the list is not complete";
            (text.to_owned(), "get the rest with `git fetch --unshallow`")
        } else {
            let objects = counted(revisions.missing, "object");
            let text = format!("{objects} missing or damaged, as in a partial clone: the list is not complete");
            (text, "search a complete clone")
        };
        faults.push(CliError::new(Kind::Failed, text).with_hint(hint));
    }
    if revisions.is_too_large || are_too_many {
        let text = "has too many folders, files or values to search: the list is not complete";
        faults.push(CliError::refused(text).with_hint("name smaller folders"));
    }
    faults
}

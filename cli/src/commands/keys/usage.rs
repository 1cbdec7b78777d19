mod report;
mod rows;
mod targets;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use waxseal_shared::key::Recipient;
use waxseal_shared::names::KeyId;
use waxseal_shared::visible_text::visible_path;

use crate::commands::seal::counted;
use crate::error::{CliError, Failures, Kind};
use crate::file_names::file_name;
use crate::git::{self, Blob, Commit, Reach, Revisions};
use crate::streams::Streams;
use report::{Current, Row, UsageFormat};
use rows::Rows;
use targets::Targets;
use values::{Finder, Value, Wanted};

/// The most errors that are shown. A broken manifest can have thousands of versions.
const MAX_SHOWN_ERRORS: usize = 100;

/// List the sealed values that a key opens, also on other branches and in the history.
///
/// Searches the manifests (`.yaml`, `.yml`, `.json`) in the working tree, and all files in the commits that the
/// branches, tags and other references of its Git repository point to; with `--history` also in all commits before
/// them. Opens nothing: a key opens a value if the manifest has a wrap for the key. Finds no manifests that are
/// compressed, encrypted or larger than 32 MiB, and searches no submodules and no commits that only a reflog leads to.
///
/// CURRENT says whether the manifests in the working tree still have this ciphertext (same), another one for this
/// SealedSecret and data key (changed), or none (removed). The commit is the newest of the references that have the
/// value; with `--history` the first and the last commit that have it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UsageArguments {
    /// The key: its id, its recipient, or its fingerprint `sha256:…`
    // Not parsed by clap: its error would show the value, which may be a private key.
    key: String,
    /// Search these files and folders, also those that only commits have
    #[arg(value_name = "PATH", value_parser = file_name::<PathBuf>(), required = true)]
    paths: Vec<PathBuf>,
    /// Search all commits that references lead to
    #[arg(long)]
    history: bool,
    /// Print the list in this format
    #[arg(long, value_enum, default_value = "text")]
    format: UsageFormat,
}

const EXAMPLES: &str = "\
Examples:
  waxseal keys usage k2f41ab09c3d4e5f6 apps/
  waxseal keys usage k2f41ab09c3d4e5f6 . --history
  waxseal keys usage k2f41ab09c3d4e5f6 . --history --format csv > values.csv";

pub(crate) fn run(arguments: UsageArguments, streams: &mut Streams) -> Result<(), Failures> {
    let key = key_id(&arguments.key)?;
    let reach = if arguments.history { Reach::History } else { Reach::Tips };
    let targets = Targets::resolve(&arguments.paths)?;
    let mut search = Search { finder: Finder::new(key.clone()), rows: Rows::default(), errors: Errors::default() };
    search.working_tree(&targets, streams);
    let revisions = search.commits(&targets, reach)?;
    let commits = revisions.as_ref().map(|revisions| revisions.commits.as_slice()).unwrap_or_default();
    let rows = search.rows.report(&search.finder.names, commits, reach);
    streams.result(&report::text_of(&rows, arguments.format, reach))?;
    summarise(&key, &rows, revisions.is_some().then_some(commits), reach, streams);
    Failures::none_or(search.errors.into_shown())
}

/// Returns the key id of a key id, recipient or fingerprint.
fn key_id(text: &str) -> Result<KeyId, CliError> {
    if let Ok(id) = KeyId::parse(text) {
        return Ok(id);
    }
    // A key id is the start of the fingerprint.
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64).and_then(|digits| digits.get(..16));
    if let Some(Ok(id)) = digits.map(|digits| KeyId::parse(&format!("k{digits}"))) {
        return Ok(id);
    }
    if text.to_ascii_lowercase().starts_with("age") {
        let parsed = Recipient::parse(text).map_err(|error| CliError::usage(error.to_string()).at("KEY"));
        return Ok(parsed?.key_id().clone());
    }
    let error = CliError::usage("not a key id, recipient or fingerprint").at("KEY");
    Err(error.with_hint("`waxseal keys list KEYS_FILE` shows the key ids and fingerprints of a keys file"))
}

/// A search, and what it has found so far.
struct Search {
    finder: Finder,
    rows: Rows,
    errors: Errors,
}

/// The first errors, and the number of the others.
#[derive(Default)]
struct Errors {
    shown: Vec<CliError>,
    hidden: usize,
}

impl Search {
    fn working_tree(&mut self, targets: &Targets, streams: &mut Streams) {
        let mut errors = Vec::new();
        for (name, input) in targets.files(&mut errors, streams) {
            match input.read_bytes() {
                Ok(text) => {
                    let (values, error) = self.finder.values(&text, Wanted::AllValues, || input.place());
                    self.rows.add_file(&name, values);
                    errors.extend(error);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.into_iter().for_each(|error| self.errors.add(error));
    }

    /// Searches the commits. Returns `None` if there is no repository, or if it cannot be read.
    fn commits(&mut self, targets: &Targets, reach: Reach) -> Result<Option<Revisions<Vec<Value>>>, CliError> {
        let names = targets.names();
        let Some(root) = &targets.work_tree else {
            if reach == Reach::History {
                let error = CliError::refused("--history reads a Git repository, and there is none around these paths");
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
        let faults = faults_of(&revisions, self.rows.are_too_many).into_iter().map(|error| error.at(&place));
        faults.chain(targets.unknown(&revisions.absent)).for_each(|error| self.errors.add(error));
        Ok(Some(revisions))
    }

    /// Returns the values in a blob that the key opens; `None` if there are none.
    fn values_of(&mut self, blob: &Blob<'_>) -> Option<Vec<Value>> {
        // The place is written as Git writes it: `git show COMMIT:FILE` shows the blob.
        let place = || format!("{}:{}", blob.commit.id, visible_path(Path::new(OsStr::from_bytes(&blob.path()))));
        let Some(content) = blob.content else {
            self.errors.add(CliError::refused("larger than 32 MiB, the most that is read").at(place()));
            return None;
        };
        let (found, error) = self.finder.values(content, Wanted::OpenedValues, place);
        error.into_iter().for_each(|error| self.errors.add(error));
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

    fn into_shown(mut self) -> Vec<CliError> {
        if self.hidden > 0 {
            let text = format!("{} more are not shown", counted(self.hidden, "error"));
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

/// Says what was found and searched, and that a change of the key does not protect values in Git's history.
fn summarise(key: &KeyId, rows: &[Row<'_>], commits: Option<&[Commit]>, reach: Reach, streams: &mut Streams) {
    if rows.is_empty() {
        streams.say(&format!("{key} opens nothing here"));
    } else {
        let files: BTreeSet<_> = rows.iter().map(|row| &row.file).collect();
        let same = rows.iter().filter(|row| row.current == Current::Same).count();
        let values = counted(rows.len(), "sealed value");
        let files = counted(files.len(), "file");
        streams.say(&format!("{key} opens {values} in {files}; {same} of them still in the working tree"));
    }
    let Some(commits) = commits else {
        streams.say("searched files only: no Git repository was read");
        return;
    };
    let count = counted(commits.len(), "commit");
    let references = counted(commits.iter().map(|commit| commit.references.len()).sum(), "reference");
    match reach {
        Reach::Tips => streams.say(&format!(
            "searched the working tree and {count} at {references}, not the history: for that, pass --history"
        )),
        Reach::History => streams.say(&format!("searched the working tree and {count} of {references}")),
    }
    if !rows.is_empty() {
        streams.say(
            "Git history stays readable: the identity of this key opens these values in every clone, for ever\n\
             rotating, revoking or deleting the key does not change that: change the values",
        );
    }
}

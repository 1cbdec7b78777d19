//! The files and streams that one run of `seal` reads, and what becomes of each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use waxseal_shared::visible_text::visible_path;

use super::SealArguments;
use super::choices::Choice;
use crate::configuration::FILE_NAME;
use crate::error::{CliError, Failures};
use crate::file_names::folder_of;
use crate::input::Input;
use crate::output::{self, ChangedFolders, Destination, Output};
use crate::replacement::{holds_identity, is_covered};
use crate::sealing::Counts;

/// One text to seal.
pub(super) struct Job {
    pub(super) input: Input,
    pub(super) target: Target,
}

/// A job, and how its text is sealed.
pub(super) struct ChosenJob {
    pub(super) job: Job,
    pub(super) choice: Arc<Choice>,
}

pub(super) struct Run<'a> {
    pub(super) arguments: &'a SealArguments,
    pub(super) jobs: Vec<ChosenJob>,
    pub(super) folders: ChangedFolders,
    /// The configurations and keys files of the run. They are never written over.
    pub(super) files_read: Vec<PathBuf>,
}

pub(super) enum Target {
    Output(Output),
    /// The file with this path below `--output-dir`.
    Below(PathBuf),
    /// The input file itself.
    Input,
}

pub(super) struct JobOutcome {
    pub(super) counts: Counts,
    pub(super) choice: Arc<Choice>,
    /// The result, if it goes to stdout.
    pub(super) result: Option<String>,
    pub(super) warnings: Vec<(String, String)>,
    /// The name that messages show, and the path of the file that had plain Secrets before it was replaced.
    pub(super) replaced: Option<(String, PathBuf)>,
}

impl Run<'_> {
    /// Seals the text of a job and writes the result, unless it goes to stdout.
    pub(super) fn seal(&self, ChosenJob { job, choice }: &ChosenJob) -> Result<JobOutcome, Failures> {
        let place = job.input.place();
        let text = job.input.read()?;
        let sealed = choice.sealing.seal_text(&place, &text)?;
        let mut outcome = JobOutcome {
            counts: sealed.counts,
            choice: Arc::clone(choice),
            result: None,
            warnings: sealed.warnings,
            replaced: None,
        };
        if sealed.counts.is_zero() {
            return match job.input {
                Input::Found(_) => Ok(outcome),
                // An input on the command line must have a Secret or a SealedSecret.
                Input::Stdin | Input::File(_) => Err(CliError::refused("no Secret in it").at(place).into()),
            };
        }
        match &job.target {
            Target::Output(Output::Stdout) => outcome.result = Some(sealed.text.into_owned()),
            Target::Output(Output::File(path)) => self.write_file(path, &sealed.text)?,
            Target::Below(path) => {
                let root = self.arguments.output_dir.as_deref().unwrap_or(Path::new("."));
                self.write(&Destination::below(root, path)?, &sealed.text)?;
            }
            Target::Input if sealed.counts.secrets > 0 => {
                replace_input(&job.input, &text, &sealed.text, &self.folders, &mut outcome)?
            }
            Target::Input => {}
        }
        Ok(outcome)
    }

    fn write_file(&self, path: &Path, text: &str) -> Result<(), CliError> {
        output::make_folder(&folder_of(path))?;
        let destination = Destination::at(path)?;
        if self.arguments.force && path.is_symlink() && !destination.is_stream() {
            let error = CliError::refused("is a symbolic link, and `--force` does not follow links");
            return Err(error.at(visible_path(path)).with_hint("name the file that it leads to"));
        }
        self.write(&destination, text)
    }

    /// Writes a result. Replaces a file only if the result has all of its objects, or with `--force`. Never replaces an
    /// identity file, or a keys file or `.waxseal.yaml` that the command reads.
    fn write(&self, destination: &Destination, text: &str) -> Result<(), CliError> {
        let _lock = destination.lock()?;
        let Some(existing) = destination.existing()? else {
            return destination.write(text, &self.folders);
        };
        let refused = |text: &str| CliError::refused(text).at(destination.place());
        let not_covered = || {
            let error = refused("exists already, and holds something that the result does not");
            error.with_hint("name another file, or pass `--force` to replace it")
        };
        if !self.arguments.force && !existing.is_whole {
            return Err(not_covered());
        }
        if holds_identity(&existing.content) {
            return Err(refused("holds an identity, and is never written over"));
        }
        let mut keys_files = self.arguments.recipients.keys_files();
        let read = self.files_read.iter().find(|file| existing.is_at(file));
        if read.is_some_and(|file| file.ends_with(FILE_NAME)) {
            return Err(refused("is the .waxseal.yaml of this command, and is never written over"));
        }
        if read.is_some() || keys_files.any(|file| existing.is_at(file.as_ref())) {
            return Err(refused("is a keys file of this command, and is never written over"));
        }
        if !self.arguments.force && !is_covered(&existing.content, text) {
            return Err(not_covered());
        }
        destination.write(text, &self.folders)
    }
}

/// Replaces an input by its result, unless it changed since `read` was read from it.
fn replace_input(
    input: &Input,
    read: &str,
    text: &str,
    folders: &ChangedFolders,
    outcome: &mut JobOutcome,
) -> Result<(), CliError> {
    // Stdin is never sealed in place.
    let Some(file) = input.file() else {
        return Ok(());
    };
    let destination = Destination::of_regular_file(file)?;
    let has_second_name = output::has_second_name(file);
    destination.write_over(read, text, folders).map_err(|error| error.at(input.place()))?;
    if has_second_name {
        let warning = "another name of the file, a hard link, still holds the plain values";
        // This warning comes before the warnings about values that still show.
        outcome.warnings.insert(0, (input.place(), warning.to_owned()));
    }
    outcome.replaced = Some((input.place(), file.to_owned()));
    Ok(())
}

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealed_secret::Scope;
use waxseal_shared::visible_text::visible_path;

use crate::error::{CliError, Failures};
use crate::file_names::{file_name, folder_of};
use crate::git::{self, Doubt, Held};
use crate::input::{self, Input};
use crate::output::{self, ChangedFolders, Destination, Output};
use crate::recipients::{self, RecipientArguments};
use crate::replacement::{holds_identity, is_covered};
use crate::sealing::{Counts, Sealing};
use crate::streams::Streams;
use crate::workers;

/// Turn Secret manifests into SealedSecrets.
///
/// Reads YAML and JSON, files with several documents, and lists. Documents without a Secret stay byte for byte. A
/// sealed document keeps only the comments above it, and a list with a Secret is written anew with all its items. The
/// result of one file or stdin goes to stdout; several files and folders need `--output-dir` or `--in-place`. Searches
/// folders for .yaml, .yml and .json, and does not follow links that lead out of them.
#[derive(Args)]
#[command(group = ArgGroup::new("written").args(["output", "output_dir"]), after_help = EXAMPLES)]
pub(crate) struct SealArguments {
    /// Seal these files and folders; `-` or no argument is stdin
    #[arg(value_name = "FILE|DIR|-", value_parser = file_name::<OsString>())]
    inputs: Vec<OsString>,
    #[command(flatten)]
    recipients: RecipientArguments,
    /// Bind the values to namespace and name (Strict), to the namespace, or to neither (Cluster)
    #[arg(long, value_parser = scope(), ignore_case = true, default_value = "Strict")]
    scope: Scope,
    /// Use this namespace for manifests without a namespace
    #[arg(short, long, value_parser = Namespace::parse)]
    namespace: Option<Namespace>,
    /// Write the result to this file; `-` is stdout. An existing file is replaced only if the result has all of its
    /// objects
    #[arg(short, long, value_name = "FILE", value_parser = file_name::<PathBuf>(), conflicts_with_all = ["output_dir", "in_place"])]
    output: Option<PathBuf>,
    /// Write the results below this folder. A file keeps its name; a file that was found in a folder keeps its path in
    /// that folder. Existing files are replaced as with `--output`, and links are not followed
    #[arg(long, value_name = "DIR", value_parser = file_name::<PathBuf>(), conflicts_with = "in_place")]
    output_dir: Option<PathBuf>,
    /// Also replace a file that holds other objects; an identity file or a file of `--keys` is never replaced
    #[arg(long, requires = "written")]
    force: bool,
    /// Replace each file with its result, if all of its documents can be sealed
    #[arg(long)]
    in_place: bool,
}

const EXAMPLES: &str = "\
Examples:
  waxseal seal --keys prod.yaml db.yaml -o db.sealed.yaml
  waxseal seal --keys prod.yaml apps --output-dir sealed
  waxseal seal --keys prod.yaml --in-place -- apps/*.yaml";

/// The warning about a file that Git had before it was sealed.
const IN_HISTORY: &str =
    "Git already had this file before sealing, and its history may show the plain values: change the values";

/// One text to seal.
struct Job {
    input: Input,
    target: Target,
}

enum Target {
    Output(Output),
    /// The file with this path below `--output-dir`.
    Below(PathBuf),
    /// The input file itself.
    Input,
}

/// The outcome of a job.
struct JobOutcome {
    counts: Counts,
    /// The result, if it goes to stdout.
    result: Option<String>,
    warnings: Vec<(String, String)>,
    /// The name that messages show, and the path of the file that had plain Secrets before it was replaced.
    replaced: Option<(String, PathBuf)>,
}

/// The outcomes of all jobs so far.
#[derive(Default)]
struct Done {
    counts: Counts,
    /// The number of files in which Secrets were sealed.
    files: usize,
    replaced: Vec<(String, PathBuf)>,
    errors: Vec<CliError>,
}

pub(crate) fn run(arguments: SealArguments, streams: &mut Streams) -> Result<(), Failures> {
    let mut done = Done::default();
    let jobs = arguments.jobs(&mut done, streams)?;
    let recipients = arguments.recipients.resolve()?;
    let sealing = Sealing {
        recipients: recipients.iter().map(|chosen| chosen.recipient.clone()).collect(),
        scope: arguments.scope,
        namespace: arguments.namespace.clone(),
    };
    let folders = ChangedFolders::default();
    let run_job = |job: &Job| arguments.run_job(job, &sealing, &folders);
    workers::in_order(&jobs, run_job, |outcome| {
        let added = outcome.and_then(|outcome| done.add(outcome, streams));
        done.errors.extend(Failures::errors_of(added));
    });
    done.errors.extend(folders.sync().err());
    warn_of_history(&done.replaced, streams);
    if done.counts.secrets > 0 {
        recipients::announce(&recipients, streams);
    }
    if arguments.writes_many() {
        streams.say(&done.summary());
    }
    Failures::none_or(done.errors)
}

impl SealArguments {
    /// Whether several inputs are allowed.
    fn writes_many(&self) -> bool {
        self.in_place || self.output_dir.is_some()
    }

    fn jobs(&self, done: &mut Done, streams: &mut Streams) -> Result<Vec<Job>, CliError> {
        let output = Output::named(self.output.clone())?;
        let names = input::names_or_stdin(&self.inputs, "seal")?;
        let inputs: Vec<_> = names.iter().map(|name| Input::named(name)).collect();
        if self.writes_many() {
            return self.jobs_on_files(inputs, done, streams);
        }
        match <[Input; 1]>::try_from(inputs) {
            Ok([input]) if !is_folder(&input) => {
                if let (Input::File(file), Output::File(target)) = (&input, &output) {
                    refuse_output_over_input(file, target)?;
                }
                Ok(vec![Job { input, target: Target::Output(output) }])
            }
            _ => Err(CliError::usage("several inputs cannot be written to one output")
                .with_hint("pass `--output-dir DIR` or `--in-place`")),
        }
    }

    fn jobs_on_files(&self, inputs: Vec<Input>, done: &mut Done, streams: &mut Streams) -> Result<Vec<Job>, CliError> {
        let mut files = Vec::new();
        for input in inputs {
            let Input::File(path) = input else {
                return Err(
                    CliError::usage("stdin has no name to write its result under").with_hint("pass `--output FILE`")
                );
            };
            if !path.is_dir() {
                let name = path.file_name().unwrap_or_default().into();
                files.push((Input::File(path), name));
                continue;
            }
            if self.in_place {
                output::check_symbolic_links(&path)?;
            }
            let found = input::manifests_below(&path, self.output_dir.as_deref())?;
            found.warn_of_links_out(&path, streams);
            done.errors.extend(found.errors);
            files.extend(found.files.into_iter().map(|file| {
                let name = file.path.strip_prefix(&path).unwrap_or(&file.path).to_owned();
                (Input::Found(file), name)
            }));
        }
        match &self.output_dir {
            Some(folder) => jobs_below(folder, files),
            None => {
                let inputs = input::each_file_once(files.into_iter().map(|(input, _)| input).collect());
                Ok(inputs.into_iter().map(|input| Job { input, target: Target::Input }).collect())
            }
        }
    }

    fn run_job(&self, job: &Job, sealing: &Sealing, folders: &ChangedFolders) -> Result<JobOutcome, Failures> {
        let place = job.input.place();
        let text = job.input.read()?;
        let sealed = sealing.seal_text(&place, &text)?;
        let mut outcome = JobOutcome { counts: sealed.counts, result: None, warnings: sealed.warnings, replaced: None };
        if sealed.counts.is_zero() {
            return match job.input {
                Input::Found(_) => Ok(outcome),
                // An input on the command line must have a Secret.
                Input::Stdin | Input::File(_) => Err(CliError::refused("no Secret in it").at(place).into()),
            };
        }
        match &job.target {
            Target::Output(Output::Stdout) => outcome.result = Some(sealed.text.into_owned()),
            Target::Output(Output::File(path)) => self.write_file(path, &sealed.text, folders)?,
            Target::Below(path) => {
                let root = self.output_dir.as_deref().unwrap_or(Path::new("."));
                self.write(&Destination::below(root, path)?, &sealed.text, folders)?;
            }
            Target::Input if sealed.counts.secrets > 0 => {
                replace_input(&job.input, &text, &sealed.text, folders, &mut outcome)?
            }
            Target::Input => {}
        }
        Ok(outcome)
    }

    fn write_file(&self, path: &Path, text: &str, folders: &ChangedFolders) -> Result<(), CliError> {
        output::make_folder(&folder_of(path))?;
        let destination = Destination::at(path)?;
        if self.force && path.is_symlink() && !destination.is_stream() {
            let error = CliError::refused("is a symbolic link, and `--force` does not follow links");
            return Err(error.at(visible_path(path)).with_hint("name the file that it leads to"));
        }
        self.write(&destination, text, folders)
    }

    /// Writes a result. Replaces a file only if the result has all of its objects, or with `--force`.
    fn write(&self, destination: &Destination, text: &str, folders: &ChangedFolders) -> Result<(), CliError> {
        let Some(existing) = destination.existing()? else {
            return destination.write(text, folders);
        };
        let refused = |text: &str| CliError::refused(text).at(destination.place());
        let not_covered = || {
            let error = refused("exists already, and holds something that the result does not");
            error.with_hint("name another file, or pass `--force` to replace it")
        };
        if !self.force && !existing.is_whole {
            return Err(not_covered());
        }
        if holds_identity(&existing.content) {
            return Err(refused("holds an identity, and is never written over"));
        }
        if self.recipients.keys_files().any(|file| existing.is_at(file.as_ref())) {
            return Err(refused("is a keys file of this command, and is never written over"));
        }
        if !self.force && !is_covered(&existing.content, text) {
            return Err(not_covered());
        }
        destination.write(text, folders)
    }
}

impl Done {
    /// Adds the outcome of a job, and prints its result and warnings.
    fn add(&mut self, outcome: JobOutcome, streams: &mut Streams) -> Result<(), Failures> {
        if let Some(text) = outcome.result {
            streams.result(&text)?;
        }
        for (place, text) in &outcome.warnings {
            streams.warn(place, text);
        }
        self.counts = [self.counts, outcome.counts].into_iter().sum();
        self.files += usize::from(outcome.counts.secrets > 0);
        self.replaced.extend(outcome.replaced);
        Ok(())
    }

    fn summary(&self) -> String {
        let Counts { secrets, sealed_secrets } = self.counts;
        let secrets = counted(secrets, "Secret");
        let files = counted(self.files, "file");
        let before = if sealed_secrets == 0 { String::new() } else { format!(", {sealed_secrets} already sealed") };
        format!("sealed {secrets} in {files}{before}")
    }
}

/// Returns a number with a noun in the singular or the plural.
pub(super) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Returns jobs that write each result below a folder. Refuses two results with one name.
fn jobs_below(folder: &Path, files: Vec<(Input, PathBuf)>) -> Result<Vec<Job>, CliError> {
    let mut taken: HashMap<PathBuf, String> = HashMap::new();
    let mut jobs = Vec::new();
    for (input, name) in files {
        let target = folder.join(&name);
        if let Some(file) = input.file() {
            refuse_output_over_input(file, &target)?;
        }
        let place = input.place();
        if let Some(other) = taken.insert(name.clone(), place.clone()) {
            let target = visible_path(&target);
            return Err(CliError::usage(format!("{other} and {place} would both become {target}")));
        }
        jobs.push(Job { input, target: Target::Below(name) });
    }
    Ok(jobs)
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
    let placed = |error: CliError| error.at(input.place());
    let destination = Destination::of_regular_file(file).map_err(placed)?;
    let has_second_name = file.metadata().is_ok_and(|file| file.nlink() > 1);
    destination.write_over(read, text, folders).map_err(placed)?;
    if has_second_name {
        let warning = "another name of the file, a hard link, still holds the plain values";
        // Before the warnings about values that still show.
        outcome.warnings.insert(0, (input.place(), warning.to_owned()));
    }
    outcome.replaced = Some((input.place(), file.to_owned()));
    Ok(())
}

/// Warns of the files whose plain text is, or may be, in a Git repository.
fn warn_of_history(replaced: &[(String, PathBuf)], streams: &mut Streams) {
    let files: Vec<_> = replaced.iter().map(|(_, file)| file.clone()).collect();
    for ((place, _), held) in replaced.iter().zip(git::held(&files)) {
        let doubt = match held {
            Held::No => continue,
            Held::Yes => {
                streams.warn(place, IN_HISTORY);
                continue;
            }
            Held::Perhaps(Doubt::Incomplete) => "this clone lacks a part of the history",
            Held::Perhaps(Doubt::TooLong) => "its history takes too long to read",
            Held::Perhaps(Doubt::Unreadable) => "its repository cannot be read",
        };
        streams.warn(place, &format!("Git may hold this file ({doubt}): change the values if it was ever committed"));
    }
}

fn is_folder(input: &Input) -> bool {
    matches!(input, Input::File(path) if path.is_dir())
}

fn refuse_output_over_input(file: &Path, target: &Path) -> Result<(), CliError> {
    match (file.canonicalize(), target.canonicalize()) {
        (Ok(file), Ok(target)) if file == target => {
            Err(CliError::usage(format!("{} would be written over itself", visible_path(&file)))
                .with_hint("pass `--in-place` if that is meant"))
        }
        _ => Ok(()),
    }
}

/// Parses a scope in upper or lower case.
fn scope() -> impl TypedValueParser<Value = Scope> {
    const SCOPES: [Scope; 3] = [Scope::Strict, Scope::Namespace, Scope::Cluster];
    let parse = |word: String| SCOPES.into_iter().find(|scope| scope.as_str().eq_ignore_ascii_case(&word));
    // The parser before accepts only the words of these scopes.
    PossibleValuesParser::new(SCOPES.map(Scope::as_str)).map(move |word| parse(word).expect("a scope"))
}

mod choices;
mod jobs;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealed_secret::Scope;
use waxseal_shared::visible_text::visible_path;

use self::choices::{Choice, Choices, Options};
use self::jobs::{ChosenJob, Job, JobOutcome, Run, Target};
use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::git::{self, Doubt, Held};
use crate::input::{self, Input};
use crate::output::{self, ChangedFolders, Output};
use crate::recipients::{self, RecipientArguments, nothing_names_recipients};
use crate::sealing::Counts;
use crate::streams::{Streams, counted};
use crate::workers;

/// Turn Secret manifests into SealedSecrets.
///
/// Reads YAML and JSON, files with several documents, and lists. Documents without a Secret stay byte for byte. A
/// sealed document keeps only the comments above it, and a list with a Secret is written anew with all its items. The
/// result of one file or stdin goes to stdout; several files, or a folder, need `--output-dir` or `--in-place`.
/// Searches folders for .yaml, .yml and .json files, except in hidden folders. In folders, does not follow links to
/// other folders, or links that lead out of the searched folder.
///
/// Without --to, --keys and --recipient, each file is sealed to the clusters of the first rule of `.waxseal.yaml` whose
/// paths match the file, in the scope of the rule. The nearest `.waxseal.yaml` counts, from the folder of the file
/// upwards, at most to the root of its Git work tree. Stdin counts as the file of --output, or else as a file `-` in
/// the current folder. Options that name recipients replace those of the rule; its namespace and scope apply all the
/// same, unless --namespace and --scope say otherwise.
#[derive(Args)]
#[command(group = ArgGroup::new("written").args(["output", "output_dir"]), after_help = EXAMPLES)]
pub(crate) struct SealArguments {
    /// Seal these files and folders; `-` or no argument is stdin
    #[arg(value_name = "FILE|DIR|-", value_parser = file_name::<OsString>())]
    inputs: Vec<OsString>,
    #[command(flatten)]
    recipients: RecipientArguments,
    /// Bind the values to namespace and name (Strict), to the namespace, or to neither (Cluster) [default: the scope of
    /// the rule in .waxseal.yaml, or else Strict]
    #[arg(long, value_parser = scope(), ignore_case = true)]
    scope: Option<Scope>,
    /// Use this namespace for manifests without a namespace, instead of the namespace of the rule in .waxseal.yaml
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
    /// Also replace a file that holds other objects. Identity files, and the keys files and `.waxseal.yaml` files that
    /// this command reads, are never replaced
    #[arg(long, requires = "written")]
    force: bool,
    /// Replace each file with its result, unless one of its documents is refused
    #[arg(long)]
    in_place: bool,
}

const EXAMPLES: &str = "\
Examples:
  waxseal seal --keys prod.yaml db.yaml -o db.sealed.yaml
  waxseal seal --in-place apps
  waxseal seal --to prod --to staging apps --output-dir sealed
  waxseal seal --keys prod.yaml --in-place -- apps/*.yaml";

/// The warning about a file that Git had before it was sealed.
const IN_HISTORY: &str =
    "Git already had this file before sealing, and its history may show the plain values: change the values";

/// The outcomes of all jobs so far.
#[derive(Default)]
struct Done {
    counts: Counts,
    /// The number of files in which Secrets were sealed.
    files: usize,
    /// How these files were sealed.
    choices: Vec<Arc<Choice>>,
    replaced: Vec<(String, PathBuf)>,
    errors: Vec<CliError>,
    seen: HashSet<CliError>,
}

pub(crate) fn run(arguments: SealArguments, streams: &mut Streams) -> Result<(), Failures> {
    let mut done = Done::default();
    let jobs = arguments.jobs(&mut done, streams)?;
    let run = arguments.choose(jobs)?;
    workers::in_order(
        &run.jobs,
        |job| run.seal(job),
        |outcome| {
            let added = outcome.and_then(|outcome| done.add(outcome, streams));
            done.add_errors(Failures::errors_of(added));
        },
    );
    done.errors.extend(run.folders.sync().err());
    warn_of_history(&done.replaced, streams);
    recipients::announce(done.choices.iter().flat_map(|choice| &choice.recipients[..]), streams);
    done.choices.iter().filter_map(|choice| choice.wider_scope.as_ref()).for_each(|text| streams.say(text));
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
            _ => Err(CliError::usage("the results of a folder, or of several files, cannot be written to one output")
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

    /// Chooses how each file is sealed. Reads the configurations and keys files for that.
    fn choose(&self, jobs: Vec<Job>) -> Result<Run<'_>, CliError> {
        let options = Options { recipients: &self.recipients, scope: self.scope, namespace: self.namespace.as_ref() };
        let mut choices = Choices::new(options, &self.first_input())?;
        let mut chosen = Vec::new();
        for job in jobs {
            let choice = choices.of(self.path_of(&job.input))?;
            chosen.push(ChosenJob { job, choice });
        }
        if !self.recipients.names_recipients() && !chosen.iter().any(|job| job.choice.is_configured) {
            return Err(nothing_names_recipients());
        }
        let files_read = choices.files_read();
        Ok(Run { arguments: self, jobs: chosen, folders: ChangedFolders::default(), files_read })
    }

    /// The input whose `.waxseal.yaml` has the clusters of `--to`.
    fn first_input(&self) -> Input {
        let first = self.inputs.first().map_or(Input::Stdin, |name| Input::named(name));
        match (first, &self.output) {
            (Input::Stdin, Some(output)) if output != "-" => Input::File(output.clone()),
            (first, _) => first,
        }
    }

    /// Returns the path that rules are matched against; `None` for stdin without a file to write to.
    fn path_of<'i>(&'i self, input: &'i Input) -> Option<&'i Path> {
        let output = || self.output.as_deref().filter(|output| *output != Path::new("-"));
        input.file().or_else(output)
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
        if outcome.counts.secrets > 0 {
            self.files += 1;
            if !self.choices.iter().any(|choice| Arc::ptr_eq(choice, &outcome.choice)) {
                self.choices.push(outcome.choice);
            }
        }
        self.replaced.extend(outcome.replaced);
        Ok(())
    }

    /// Adds errors, each once: an error about a keys file comes from each file that needs it.
    fn add_errors(&mut self, errors: Vec<CliError>) {
        for error in errors {
            if self.seen.insert(error.clone()) {
                self.errors.push(error);
            }
        }
    }

    fn summary(&self) -> String {
        let Counts { secrets, sealed_secrets } = self.counts;
        let secrets = counted(secrets, "Secret");
        let files = counted(self.files, "file");
        let before = if sealed_secrets == 0 { String::new() } else { format!(", {sealed_secrets} already sealed") };
        format!("sealed {secrets} in {files}{before}")
    }
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

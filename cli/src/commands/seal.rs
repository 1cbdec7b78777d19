use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealed_secret::Scope;

use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::git::{self, Doubt, Held};
use crate::input::{self, Input};
use crate::output::{self, Output};
use crate::recipients::RecipientArguments;
use crate::sealing::{Holds, Sealing};
use crate::streams::Streams;

/// Turns Secret manifests into SealedSecrets.
///
/// Takes YAML and JSON, files with several documents, and lists. What is sealed already and all other kinds stay as
/// they are, byte for byte; sealed documents are written anew, without comments. One file or stdin goes to stdout;
/// several files and folders need `--output-dir` or `--in-place`. Folders are searched for .yaml, .yml and .json.
#[derive(Args)]
pub(crate) struct SealArguments {
    /// Files and folders; `-`, or nothing, is stdin
    #[arg(value_name = "FILE|DIR|-", value_parser = file_name::<OsString>())]
    inputs: Vec<OsString>,
    #[command(flatten)]
    recipients: RecipientArguments,
    /// What the values are bound to: namespace and name, the namespace alone, or neither
    #[arg(long, value_enum, ignore_case = true, default_value = "Strict")]
    scope: ScopeArgument,
    /// The namespace of manifests that have none
    #[arg(short, long, value_parser = Namespace::parse)]
    namespace: Option<Namespace>,
    /// Write the result to this file; `-` is stdout
    #[arg(short, long, value_name = "FILE", value_parser = file_name::<PathBuf>(), conflicts_with_all = ["output_dir", "in_place"])]
    output: Option<PathBuf>,
    /// Write each result below this folder: a file under its name, those of a folder under their path in it
    #[arg(long, value_name = "DIR", value_parser = file_name::<PathBuf>(), conflicts_with = "in_place")]
    output_dir: Option<PathBuf>,
    /// Replace each file with its result, once all of its documents are sealed
    #[arg(long)]
    in_place: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScopeArgument {
    #[value(name = "Strict")]
    Strict,
    #[value(name = "Namespace")]
    Namespace,
    #[value(name = "Cluster")]
    Cluster,
}

/// One text to seal.
struct Job {
    input: Input,
    origin: Origin,
    target: Target,
}

/// How an input came to be sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Someone named it: then there has to be something to seal.
    Named,
    /// It was found in a folder.
    Found,
}

enum Target {
    Stdout,
    File(PathBuf),
    InPlace(PathBuf),
}

pub(crate) fn run(arguments: SealArguments, streams: &mut Streams) -> Result<(), Failures> {
    let jobs = arguments.jobs()?;
    let sealing = Sealing {
        recipients: arguments.recipients.resolve()?,
        scope: arguments.scope.into(),
        namespace: arguments.namespace,
    };
    let mut errors = Vec::new();
    let mut replaced = Vec::new();
    for job in jobs {
        if let Err(failures) = job.run(&sealing, &mut replaced, streams) {
            errors.extend(failures.into_errors());
        }
    }
    warn_of_history(&replaced, streams);
    Failures::none_or(errors)
}

impl SealArguments {
    fn jobs(&self) -> Result<Vec<Job>, CliError> {
        let output = Output::named(self.output.clone())?;
        if self.inputs.is_empty() && input::stdin_is_terminal() {
            let error = CliError::usage("nothing to seal: stdin is a terminal");
            return Err(error.with_hint("name a file, or `-` to type a manifest"));
        }
        let inputs: Vec<_> = self.inputs.iter().map(|name| Input::named(name)).collect();
        let inputs = if inputs.is_empty() { vec![Input::Stdin] } else { inputs };
        if self.in_place || self.output_dir.is_some() {
            return self.jobs_on_files(inputs);
        }
        match <[Input; 1]>::try_from(inputs) {
            Ok([input]) if !is_folder(&input) => Ok(vec![Job::to_one(input, output)?]),
            _ => Err(CliError::usage("several files and folders do not go to one place")
                .with_hint("pass `--output-dir DIR` or `--in-place`")),
        }
    }

    fn jobs_on_files(&self, inputs: Vec<Input>) -> Result<Vec<Job>, CliError> {
        let mut jobs = Vec::new();
        for input in inputs {
            let Input::File(path) = input else {
                return Err(
                    CliError::usage("stdin has no name to write its result under").with_hint("pass `--output FILE`")
                );
            };
            let (origin, root, files) = if path.is_dir() {
                (Origin::Found, path.clone(), input::manifests_below(&path)?)
            } else {
                (Origin::Named, output::folder_of(&path), vec![path])
            };
            for file in files {
                let target = self.target(&root, &file, &jobs)?;
                jobs.push(Job { input: Input::File(file), origin, target });
            }
        }
        Ok(jobs)
    }

    fn target(&self, root: &Path, file: &Path, jobs: &[Job]) -> Result<Target, CliError> {
        let Some(folder) = &self.output_dir else {
            return Ok(Target::InPlace(file.to_owned()));
        };
        let target = folder.join(file.strip_prefix(root).unwrap_or(file));
        check_not_itself(file, &target)?;
        let taken = |job: &&Job| matches!(&job.target, Target::File(other) if *other == target);
        match jobs.iter().find(taken) {
            None => Ok(Target::File(target)),
            Some(job) => {
                let (one, other) = (job.input.place(), input::shown(file));
                Err(CliError::usage(format!("{one} and {other} would both become {}", input::shown(&target))))
            }
        }
    }
}

impl Job {
    fn to_one(input: Input, output: Output) -> Result<Self, CliError> {
        if let (Input::File(file), Output::File(target)) = (&input, &output) {
            check_not_itself(file, target)?;
        }
        let target = match output {
            Output::Stdout => Target::Stdout,
            Output::File(path) => Target::File(path),
        };
        Ok(Self { input, origin: Origin::Named, target })
    }

    /// Seals the text; a file that is replaced by its result is added to `replaced`, with its place.
    fn run(
        self,
        sealing: &Sealing,
        replaced: &mut Vec<(String, PathBuf)>,
        streams: &mut Streams,
    ) -> Result<(), Failures> {
        let place = self.input.place();
        let text = self.input.read()?;
        let sealed = sealing.seal_text(&place, &text)?;
        if sealed.holds == Holds::Neither {
            return match self.origin {
                Origin::Named => Err(CliError::refused("no Secret in it").at(place).into()),
                Origin::Found => Ok(()),
            };
        }
        match &self.target {
            Target::Stdout => streams.result(&sealed.text)?,
            Target::File(path) => write(path, &sealed.text)?,
            Target::InPlace(path) if sealed.holds == Holds::Secrets => {
                output::replace(path, &sealed.text)?;
                replaced.push((place, path.clone()));
            }
            Target::InPlace(_) => {}
        }
        for (place, text) in &sealed.warnings {
            streams.warn(place, text);
        }
        Ok(())
    }
}

/// Says of which files Git has the plain text, or may have it.
fn warn_of_history(replaced: &[(String, PathBuf)], streams: &mut Streams) {
    let files: Vec<_> = replaced.iter().map(|(_, file)| file.clone()).collect();
    for ((place, _), held) in replaced.iter().zip(git::held(&files)) {
        let doubt = match held {
            Held::No => continue,
            Held::Yes => {
                streams.warn(place, "Git already holds this file, and history keeps it: change the values");
                continue;
            }
            Held::Perhaps(Doubt::Incomplete) => "part of its history is not here",
            Held::Perhaps(Doubt::TooLong) => "its history takes too long to read",
            Held::Perhaps(Doubt::Unreadable) => "its repository cannot be read",
        };
        streams.warn(place, &format!("Git may hold this file ({doubt}): change the values if it was ever committed"));
    }
}

fn is_folder(input: &Input) -> bool {
    matches!(input, Input::File(path) if path.is_dir())
}

fn check_not_itself(file: &Path, target: &Path) -> Result<(), CliError> {
    match (file.canonicalize(), target.canonicalize()) {
        (Ok(file), Ok(target)) if file == target => {
            Err(CliError::usage(format!("{} would be written over itself", input::shown(&file)))
                .with_hint("pass `--in-place` if that is meant"))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = output::folder_of(path);
    std::fs::create_dir_all(&folder)
        .map_err(|error| CliError::io("make the folder", &error).at(input::shown(&folder)))?;
    output::replace(path, text)
}

impl From<ScopeArgument> for Scope {
    fn from(scope: ScopeArgument) -> Self {
        match scope {
            ScopeArgument::Strict => Self::Strict,
            ScopeArgument::Namespace => Self::Namespace,
            ScopeArgument::Cluster => Self::Cluster,
        }
    }
}

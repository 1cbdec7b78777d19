//! The folder of the demo, the commands that run in it, and the text for the audience.

use std::error::Error;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use waxseal_tests::processes::{Process, ProcessGroup, last_lines};
use waxseal_tests::programs::Programs;
use waxseal_tests::waiting;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The controller's log, in the stage's folder.
pub(crate) const LOG: &str = "controller.log";
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("step {number} ({title})")]
    Step { number: usize, title: String, source: Box<dyn Error> },
    #[error("`{line}` ended with {status}, saying\n{stderr}")]
    Command { line: String, status: std::process::ExitStatus, stderr: String },
    #[error("failed to start `{line}`")]
    Start { line: String, source: io::Error },
    #[error("{what}: expected {expected}, found {found}")]
    Unexpected { what: String, expected: String, found: String },
}

pub(crate) struct Stage {
    pub(crate) programs: Programs,
    folder: PathBuf,
    group: ProcessGroup,
    number: usize,
    title: String,
}

impl Stage {
    /// Creates the folder. It is removed when this process ends for any reason, unless `keep` is set.
    pub(crate) fn open(programs: Programs, keep: bool) -> Result<Self> {
        let temporary = std::env::temp_dir();
        let group = ProcessGroup::start(&temporary)?;
        let folder = match keep {
            true => tempfile::Builder::new().prefix("waxseal-demo-").tempdir_in(temporary)?.keep(),
            false => group.folder().to_owned(),
        };
        Ok(Self { programs, folder, group, number: 0, title: String::new() })
    }

    /// Prints the paths of the folder and of the programs.
    pub(crate) fn introduce(&self) -> Result<()> {
        let programs = self.programs.waxseal.parent().unwrap_or(Path::new("."));
        say(format_args!("What follows happens in {}.", self.folder.display()))?;
        say(format_args!("Each line that begins with $ is run there, with the programs of"))?;
        Ok(say(format_args!("{}.", programs.display()))?)
    }

    /// Ends every process, and removes the folder unless `keep` is set.
    pub(crate) fn close(self, keep: bool) -> io::Result<()> {
        let folder = self.folder.clone();
        drop(self);
        say(format_args!("\n{} {}", if keep { "Kept:" } else { "Removed:" }, folder.display()))
    }

    /// Adds the current step to an error, if a step has begun.
    pub(crate) fn failed(&self, source: Box<dyn Error>) -> Box<dyn Error> {
        if self.number == 0 {
            return source;
        }
        Box::new(Failure::Step { number: self.number, title: self.title.clone(), source })
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, title: &str) -> Result<()> {
        self.number += 1;
        self.title = title.to_owned();
        Ok(say(format_args!("\n{}. {title}", self.number))?)
    }

    /// Prints an explanation.
    pub(crate) fn tell(&self, text: impl Display) -> Result<()> {
        Ok(say(format_args!("   {text}"))?)
    }

    /// Prints a result that was checked.
    pub(crate) fn confirm(&self, text: impl Display) -> Result<()> {
        Ok(say(format_args!("   ok: {text}"))?)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.path(name)).map_err(|error| format!("failed to read {name}: {error}").into())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path(name), text).map_err(|error| format!("failed to write {name}: {error}").into())
    }

    /// Prints a command, runs it in the folder and returns its output.
    pub(crate) fn run(&self, line: &[&str]) -> Result<String> {
        self.tell(format_args!("$ {}", shown(line)))?;
        let failed = |source| Failure::Start { line: shown(line), source };
        let output = self.command(line).stdin(Stdio::null()).output().map_err(failed)?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            return Err(Failure::Command { line: shown(line), status: output.status, stderr }.into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Prints a command, and starts it in the background with its log in [`LOG`].
    pub(crate) fn start(&self, line: &[&str]) -> Result<Process> {
        self.tell(format_args!("$ {} 2>{LOG} &", shown(line)))?;
        let mut command = self.command(line);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(self.path(LOG))?);
        Ok(self.group.spawn(&mut command)?)
    }

    /// Prints the output of a command.
    pub(crate) fn quote(&self, text: &str) -> Result<()> {
        text.lines().try_for_each(|line| self.tell(line))
    }

    /// Returns a command without the user's settings, also without those of Git.
    fn command(&self, line: &[&str]) -> Command {
        let (name, arguments) = line.split_first().unwrap_or((&"true", &[]));
        let program = match *name {
            "waxseal" => self.programs.waxseal.as_path(),
            "waxseal-controller" => self.programs.waxseal_controller.as_path(),
            other => Path::new(other),
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &self.folder);
        command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Demo").env(format!("GIT_{role}_EMAIL"), "demo@example.test");
        }
        command
    }

    /// Waits until `probe` returns the expected result; the error shows the last result.
    pub(crate) fn wait_for<T: PartialEq>(
        &self,
        what: &str,
        expected: &T,
        mut probe: impl FnMut() -> Result<T>,
        show: fn(&T) -> String,
    ) -> Result<()> {
        let mut last = Ok(());
        let waited = waiting::until_blocking(what, DEADLINE, || match probe() {
            Ok(found) if found == *expected => Some(()),
            Ok(found) => {
                last = Err(unexpected(what, show(expected), show(&found)));
                None
            }
            Err(error) => {
                last = Err(error);
                None
            }
        });
        match waited {
            Ok(()) => Ok(()),
            Err(timed_out) => {
                let error = last.err().map_or_else(|| timed_out.to_string(), |error| waxseal_tests::report(&*error));
                let log = last_lines(&self.path(LOG), 12);
                Err(format!("{error} (after {} s); the controller's log ends with\n{log}", DEADLINE.as_secs()).into())
            }
        }
    }
}

/// Returns the error for a result that differs from the expected one.
pub(crate) fn unexpected(what: impl Display, expected: impl Display, found: impl Display) -> Box<dyn Error> {
    let [what, expected, found] = [what.to_string(), expected.to_string(), found.to_string()];
    Box::new(Failure::Unexpected { what, expected, found })
}

/// Returns the command in the form in which a person types it.
fn shown(line: &[&str]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@".contains(&byte);
    let quoted = |word: &&str| match word.bytes().all(is_plain) && !word.is_empty() {
        true => (*word).to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    line.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn say(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(stdout(), "{line}")
}

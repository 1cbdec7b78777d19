//! Errors as users see them: the place, the text, a hint, and the exit code.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use waxseal_shared::manifest::ManifestError;
use waxseal_shared::visible_text::visible_path;

/// The kind of a failure, and its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The reader of stdout, or of a pipe that `--output` names, closed the pipe, as `head` does. Counts as success.
    ClosedPipe = 0,
    /// An operation failed, such as reading a file.
    Failed = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// The input is refused.
    Refused = 3,
    /// A check found something: `--check`, `drill`, `status` or `doctor`.
    Found = 4,
    /// The cluster cannot be reached or refuses the request, or the controller does not carry it out.
    NoCluster = 5,
}

/// One failure: the place, what is wrong, and a hint what to do. It never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CliError {
    kind: Kind,
    place: Option<String>,
    text: String,
    hint: Option<String>,
}

/// The failures of one run; at least one.
#[derive(Debug)]
pub(crate) struct Failures(Vec<CliError>);

impl CliError {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, place: None, text: text.into(), hint: None }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Kind::Usage, text)
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::new(Kind::Refused, text)
    }

    /// An I/O error; `what` completes "failed to …", such as "read the file".
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::ClosedPipe, ""),
            // The kind alone: `io::Error` would add the number of the error.
            kind => Self::new(Kind::Failed, format!("failed to {what}: {kind}")),
        }
    }

    /// An I/O error at a file or folder; `what` completes "failed to …".
    pub(crate) fn path(what: &str, path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(Kind::Failed, "no such file or folder").at(visible_path(path)),
            io::ErrorKind::IsADirectory => Self::refused("is a folder, not a file").at(visible_path(path)),
            io::ErrorKind::NotADirectory => {
                let is_file = |path: &&Path| path.metadata().is_ok_and(|metadata| !metadata.is_dir());
                let file = path.ancestors().find(is_file).unwrap_or(path);
                Self::refused("is a file, not a folder").at(visible_path(file))
            }
            _ => Self::io(what, error).at(visible_path(path)),
        }
    }

    /// An error in a manifest; `input` is the name of the file or stream.
    pub(crate) fn manifest(input: &str, error: &ManifestError) -> Self {
        let place = place_in(input, error.place());
        Self { kind: Kind::Refused, place: Some(place), text: error.to_string(), hint: error.hint().map(str::to_owned) }
    }

    /// The failure with `what` before its text: `WHAT: TEXT`.
    pub(crate) fn with_context(mut self, what: &str) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Sets the kind. For example, `rotate --check` and `drill` report a file that they cannot read as [`Kind::Found`].
    pub(crate) fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the place unless there is one.
    pub(crate) fn or_at(mut self, place: &str) -> Self {
        self.place.get_or_insert_with(|| place.to_owned());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Returns a place as messages show it: `FILE`, or `FILE:LINE:COLUMN`.
pub(crate) fn place_in(input: &str, place: Option<(usize, usize)>) -> String {
    match place {
        Some((line, column)) => format!("{input}:{line}:{column}"),
        None => input.to_owned(),
    }
}

impl From<CliError> for Failures {
    fn from(error: CliError) -> Self {
        Self(vec![error])
    }
}

impl Failures {
    /// Returns `Ok` if there are no errors.
    pub(crate) fn none_or(errors: Vec<CliError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// Returns all values, or all errors if there are any.
    pub(crate) fn all_or_errors<T>(results: impl IntoIterator<Item = Result<T, CliError>>) -> Result<Vec<T>, Self> {
        let mut errors = Vec::new();
        let values = results.into_iter().filter_map(|result| result.map_err(|error| errors.push(error)).ok()).collect();
        Self::none_or(errors).map(|()| values)
    }

    pub(crate) fn errors_of(outcome: Result<(), Self>) -> Vec<CliError> {
        outcome.err().map(|failures| failures.0).unwrap_or_default()
    }

    /// The failures to show: all except closed pipes.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &CliError> {
        self.0.iter().filter(|error| error.kind != Kind::ClosedPipe)
    }

    /// The exit code of the run: 1 if failures have different exit codes.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let mut kinds = self.errors().map(|error| error.kind);
        let first = kinds.next().unwrap_or(Kind::ClosedPipe);
        let code = if kinds.all(|kind| kind == first) { first } else { Kind::Failed };
        ExitCode::from(code as u8)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error: ")?;
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

//! The values that a command seals: typed at the terminal, from stdin, from files, or from the command line.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::path::Path;

use clap::Args;
use waxseal_shared::names::DataKey;
use waxseal_shared::secret::{MAX_SECRET_BYTES, SecretBytes, SecretData};
use waxseal_shared::visible_text::visible_path;

use crate::error::CliError;
use crate::file_names::{data_key, file_name};
use crate::input::Input;
use crate::streams::Streams;
use crate::terminal;

/// Selects data keys and the sources of their values.
#[derive(Args)]
pub(crate) struct ValueArguments {
    /// The data key of a value, for which waxseal asks at the terminal. If it is the only one and stdin is not a
    /// terminal, the value is what stdin holds, byte for byte
    // Not parsed by clap: its error would show what was typed, and that may be `KEY=VALUE`.
    #[arg(value_name = "KEY")]
    data_keys: Vec<String>,
    /// Take the value from a file, byte for byte; the data key is the file's name unless it is given. Repeatable
    #[arg(long, value_name = "[KEY=]FILE", value_parser = file_name::<OsString>(), help_heading = "Values")]
    from_file: Vec<OsString>,
    /// Take the value from the command line, where the shell's history and the list of processes show it. Repeatable
    // Not parsed by clap: its error would show the value.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Values")]
    from_literal: Vec<String>,
}

impl ValueArguments {
    /// Whether stdin holds a value.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.data_keys.len() == 1 && !io::stdin().is_terminal()
    }

    /// Reads all values. Refuses a data key that is given twice, and a run without a value.
    pub(crate) fn read(&self, streams: &mut Streams) -> Result<SecretData, CliError> {
        let mut data = SecretData::new();
        let mut add = |key: DataKey, value: SecretBytes| match data.insert(key.clone(), value) {
            None => Ok(()),
            Some(_) => Err(CliError::usage(format!("the data key {key} is given twice"))),
        };
        for argument in &self.from_file {
            let (key, value) = from_file(argument)?;
            add(key, value)?;
        }
        for argument in &self.from_literal {
            let (key, value) = from_literal(argument)?;
            streams.warn(key.as_str(), "the shell's history and the list of processes show a value of --from-literal");
            add(key, value)?;
        }
        match &data_keys(&self.data_keys)?[..] {
            [key] if self.reads_stdin() => add(key.clone(), from_stdin(key, streams)?)?,
            keys => keys.iter().try_for_each(|key| add(key.clone(), typed(key)?))?,
        }
        if data.is_empty() {
            let error = CliError::usage("no value to set");
            return Err(error.with_hint("name a data key, or pass `--from-file [KEY=]FILE`"));
        }
        Ok(data)
    }
}

/// Parses data keys on the command line. Refuses `KEY=VALUE` without showing the value.
pub(crate) fn data_keys(arguments: &[String]) -> Result<Vec<DataKey>, CliError> {
    if arguments.iter().any(|argument| argument.contains('=')) {
        let error = CliError::usage("KEY=VALUE on the command line: the shell's history keeps the value");
        return Err(error.with_hint("name the data key alone, without `=` and a value"));
    }
    arguments.iter().map(|argument| key_of(argument, "KEY")).collect()
}

/// Returns data keys as messages show them.
pub(crate) fn list<'a>(keys: impl IntoIterator<Item = &'a DataKey>) -> String {
    keys.into_iter().map(DataKey::as_str).collect::<Vec<_>>().join(", ")
}

fn key_of(text: &str, place: &str) -> Result<DataKey, CliError> {
    data_key(text).map_err(|error| error.at(place))
}

fn from_file(argument: &OsStr) -> Result<(DataKey, SecretBytes), CliError> {
    let text = argument.to_str().ok_or_else(|| CliError::usage("not UTF-8").at("--from-file"))?;
    let (key, path) = match text.split_once('=') {
        Some((key, path)) => (key, Path::new(path)),
        None => (Path::new(text).file_name().and_then(OsStr::to_str).unwrap_or_default(), Path::new(text)),
    };
    let key = key_of(key, "--from-file")?;
    let bytes = Input::File(path.to_owned()).read_bytes()?;
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(CliError::refused("larger than 1 MiB, which is the limit for a Secret").at(visible_path(path)));
    }
    Ok((key, SecretBytes::new(bytes)))
}

fn from_literal(argument: &str) -> Result<(DataKey, SecretBytes), CliError> {
    let Some((key, value)) = argument.split_once('=') else {
        return Err(CliError::usage("not KEY=VALUE").at("--from-literal"));
    };
    Ok((key_of(key, "--from-literal")?, SecretBytes::new(value.as_bytes().to_vec())))
}

fn from_stdin(key: &DataKey, streams: &mut Streams) -> Result<SecretBytes, CliError> {
    let bytes = Input::Stdin.read_bytes()?;
    if bytes.is_empty() {
        let error = CliError::refused(format!("nothing on stdin for the value of {key}"));
        return Err(error.with_hint("pass `--from-literal KEY=` for an empty value"));
    }
    if bytes.ends_with(b"\n") {
        streams.warn("<stdin>", &format!("the value of {key} ends with a line break; `printf %s` writes none"));
    }
    Ok(SecretBytes::new(bytes))
}

fn typed(key: &DataKey) -> Result<SecretBytes, CliError> {
    let what = format!("the value of {key}");
    let Some(typed) = terminal::ask_hidden(&format!("Value of {key}: "), &what) else {
        let error = CliError::usage(format!("no terminal to ask for {what}"));
        return Err(error.with_hint("pass `--from-file KEY=FILE`, or one data key alone and the value on stdin"));
    };
    let typed = typed.map_err(|error| error.with_hint("pass `--from-file KEY=FILE`"))?;
    let value = typed.strip_suffix('\n').unwrap_or(&typed);
    if value.is_empty() {
        return Err(
            CliError::refused(format!("{what} is empty")).with_hint("pass `--from-literal KEY=` for an empty value")
        );
    }
    // While the echo is off, nobody sees that an arrow key or Ctrl-Z has typed a control character.
    if value.contains(|character: char| character.is_control() && character != '\t') {
        return Err(CliError::refused(format!("{what} has a control character, such as that of an arrow key"))
            .with_hint("type it again, or pass `--from-file KEY=FILE`"));
    }
    Ok(SecretBytes::new(value.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_cut_at_the_first_equals_sign() {
        let (key, value) = from_literal("A=b=c").expect("a literal");
        assert_eq!((key.as_str(), value.expose()), ("A", &b"b=c"[..]));
        let error = from_literal("hunter2").map(|_| ()).expect_err("without =").to_string();
        assert_eq!(error, "error: --from-literal: not KEY=VALUE");
    }
}

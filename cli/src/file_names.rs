//! Names on the command line, such as those of files and clusters. A private key that is passed instead of a name is
//! refused and never shown.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::{ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use waxseal_shared::key::contains_identity;
use waxseal_shared::names::{DataKey, ObjectName};
use waxseal_shared::visible_text::{escaped, is_hidden};

use crate::error::CliError;

const PRIVATE_KEY: &str = "AGE-SECRET-KEY-";
const HINT: &str = "the shell's history and the list of processes hold it now: make a new key";

/// Parses a name. Refuses a private key, because an error about the name would show the key.
#[derive(Clone)]
struct NameParser {
    /// What the argument should be.
    expected: &'static str,
}

/// Parses the name of a file or folder; refuses an empty name and a private key.
pub(crate) fn file_name<T>() -> impl TypedValueParser<Value = T>
where
    T: From<OsString> + Clone + Send + Sync + 'static,
{
    // An empty path would mean the current folder in some places.
    let not_empty = |name: OsString| if name.is_empty() { Err("the name is empty") } else { Ok(T::from(name)) };
    NameParser { expected: "a file name" }.try_map(not_empty)
}

pub(crate) fn context_name() -> impl TypedValueParser<Value = String> {
    NameParser { expected: "the name of a context" }.try_map(|name| name.into_string().map_err(|_| "not UTF-8"))
}

pub(crate) fn cluster_name() -> impl TypedValueParser<Value = String> {
    NameParser { expected: "the name of a cluster" }.try_map(|name| name.into_string().map_err(|_| "not UTF-8"))
}

pub(crate) fn object_name() -> impl TypedValueParser<Value = ObjectName> {
    NameParser { expected: "the name of a SealedSecret" }.try_map(|name| ObjectName::parse(&name.to_string_lossy()))
}

/// Parses what should be a key id. Refuses only a private key: the command says if there is no key of this id.
pub(crate) fn key_id() -> impl TypedValueParser<Value = String> {
    NameParser { expected: "a key id" }.try_map(|id| id.into_string().map_err(|_| "not UTF-8"))
}

/// Parses a data key; refuses a private key.
pub(crate) fn data_key(text: &str) -> Result<DataKey, CliError> {
    if is_private_key(OsStr::new(text)) {
        return Err(private_key_instead_of("a data key"));
    }
    DataKey::parse(text).map_err(|error| CliError::usage(error.to_string()))
}

/// The error for a private key in the place of a name; `expected` is what should be there.
pub(crate) fn private_key_instead_of(expected: &str) -> CliError {
    CliError::usage(format!("this is a private key, but {expected} is expected")).with_hint(HINT)
}

/// Whether an argument contains a private key, or begins with `AGE-SECRET-KEY-`, in upper or lower case, also after
/// blanks. So a private key at the start of the argument is found even if it is cut off.
pub(crate) fn is_private_key(argument: &OsStr) -> bool {
    let argument = argument.as_encoded_bytes();
    let start = argument.trim_ascii_start().get(..PRIVATE_KEY.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PRIVATE_KEY.as_bytes())) || contains_identity(argument)
}

/// Returns a name as one word of a shell's command line: in single quotes if the shell would change or split it.
pub(crate) fn shell_word(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./_-+,@%:".contains(&byte);
    match !name.is_empty() && name.bytes().all(is_plain) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("'{}'", name.replace('\'', r"'\''"))),
    }
}

/// Returns the folder of a file: `.` for a name alone.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl TypedValueParser for NameParser {
    type Value = OsString;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<OsString, Error> {
        if is_private_key(value) {
            let option = argument.and_then(Arg::get_long);
            let place = option.map(|name| format!("--{name}: ")).unwrap_or_default();
            let text = format!("{place}this is a private key, but {} is expected\nhint: {HINT}\n", self.expected);
            return Err(Error::raw(ErrorKind::ValueValidation, text));
        }
        OsStringValueParser::new().parse_ref(command, argument, value)
    }
}

/// Returns a usage error that is safe to show: without private keys and with hidden characters escaped.
///
/// Arguments can contain hidden characters: the shell expands `*` to file names that others may have chosen.
pub(crate) fn safe_to_show(error: Error) -> Error {
    if error.to_string().to_ascii_uppercase().contains(PRIVATE_KEY) {
        let text = format!("an argument is a private key, which does not belong on a command line\nhint: {HINT}\n");
        return Error::raw(error.kind(), text);
    }
    let with_hidden_character = error.context().find_map(|(_, value)| match value {
        ContextValue::String(word) if word.contains(is_hidden) => Some(escaped(word).into_owned()),
        _ => None,
    });
    match with_hidden_character {
        Some(word) => Error::raw(error.kind(), format!("the argument '{word}' is not understood\n")),
        None => error,
    }
}

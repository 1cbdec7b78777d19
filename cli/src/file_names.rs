//! Names of files on the command line, and private keys that stand there by mistake.

use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

const PRIVATE_KEY: &str = "AGE-SECRET-KEY-";
const HINT: &str = "hint: the shell's history and the list of processes hold it now: make a new key";

#[derive(Clone)]
struct FileName;

/// Takes the name of a file or folder; refuses a private key, which every later error would show.
pub(crate) fn file_name<T>() -> impl TypedValueParser<Value = T>
where
    T: From<OsString> + Clone + Send + Sync + 'static,
{
    FileName.map(T::from)
}

impl TypedValueParser for FileName {
    type Value = OsString;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<OsString, Error> {
        let start = value.as_encoded_bytes().get(..PRIVATE_KEY.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(PRIVATE_KEY.as_bytes())) {
            let option = argument.and_then(Arg::get_long);
            let place = option.map(|name| format!("--{name}: ")).unwrap_or_default();
            let text = format!("{place}this is a private key, and a file name belongs here\n{HINT}\n");
            return Err(Error::raw(ErrorKind::ValueValidation, text));
        }
        OsStringValueParser::new().parse_ref(command, argument, value)
    }
}

/// The error about a command line, unless it shows a private key: then one that does not.
pub(crate) fn without_private_key(error: Error) -> Error {
    if !error.to_string().to_ascii_uppercase().contains(PRIVATE_KEY) {
        return error;
    }
    Error::raw(error.kind(), format!("a private key, which does not belong on a command line\n{HINT}\n"))
}

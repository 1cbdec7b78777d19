//! Passphrases of identity files: from a file that is named, or from whoever sits at the terminal.

use std::ffi::OsString;

use clap::Args;
use waxseal_shared::key::{IdentityFile, Passphrase, ProtectedIdentityFile};
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::file_names::file_name;
use crate::input::Input;
use crate::terminal;

/// Where passphrases come from.
#[derive(Args)]
pub(crate) struct PassphraseArguments {
    /// The file that holds the passphrase of the identity files; one final newline is not part of it. Without it the
    /// terminal asks
    #[arg(long, value_name = "FILE", value_parser = file_name::<OsString>())]
    passphrase_file: Option<OsString>,
}

/// What opens protected identity files.
pub(crate) enum Passphrases {
    /// One for all of them.
    Given(Passphrase),
    /// Whatever is typed, for each of them.
    Typed,
}

impl PassphraseArguments {
    /// The file that is named.
    pub(crate) fn file(&self) -> Option<&OsString> {
        self.passphrase_file.as_ref()
    }

    /// Reads the file, if one is named; refuses one that no identity file needs.
    pub(crate) fn resolve(&self, protected_files: usize) -> Result<Passphrases, CliError> {
        let Some(name) = &self.passphrase_file else {
            return Ok(Passphrases::Typed);
        };
        if protected_files == 0 {
            let error = CliError::usage("no identity file is protected by a passphrase").at("--passphrase-file");
            return Err(error.with_hint("leave `--passphrase-file` out"));
        }
        let input = Input::named(name);
        parse(input.read()?, &input).map(Passphrases::Given)
    }
}

impl Passphrases {
    /// Opens one identity file.
    pub(crate) fn open(&self, file: &ProtectedIdentityFile, input: &Input) -> Result<IdentityFile, CliError> {
        let opened = match self {
            Self::Given(passphrase) => file.open(passphrase),
            Self::Typed => file.open(&ask(input)?),
        };
        opened.map_err(|error| CliError::refused(error.to_string()).at(input.place()))
    }
}

fn ask(input: &Input) -> Result<Passphrase, CliError> {
    let place = input.place();
    match terminal::ask_hidden(&format!("Passphrase of {place}: ")) {
        Some(typed) => {
            let typed = typed.map_err(|error| CliError::io("read the passphrase", &error).at(place))?;
            parse(typed, input)
        }
        None => {
            let error = CliError::usage("protected by a passphrase, and there is no terminal to ask for it");
            Err(error.at(place).with_hint("pass `--passphrase-file FILE`"))
        }
    }
}

fn parse(text: Zeroizing<String>, from: &Input) -> Result<Passphrase, CliError> {
    Passphrase::parse(text).map_err(|error| CliError::refused(error.to_string()).at(from.place()))
}

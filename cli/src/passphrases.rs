//! Passphrases of identity files, from a file or from the terminal.

use std::ffi::OsString;

use clap::Args;
use waxseal_shared::key::{IdentityFile, Passphrase, ProtectedIdentityFile};
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::file_names::file_name;
use crate::input::Input;
use crate::terminal;

/// Selects where passphrases come from.
#[derive(Args)]
pub(crate) struct PassphraseArguments {
    /// Read the passphrase of the identity files from this file; without this option, waxseal asks at the terminal. A
    /// final newline is not part of the passphrase
    #[arg(long, value_name = "FILE", value_parser = file_name::<OsString>())]
    passphrase_file: Option<OsString>,
}

impl PassphraseArguments {
    pub(crate) fn file(&self) -> Option<&OsString> {
        self.passphrase_file.as_ref()
    }

    /// Reads the passphrase file; returns `None` without the option: then [`open`] asks at the terminal. Refuses the
    /// option if no identity file is protected.
    pub(crate) fn resolve(&self, protected_files: usize) -> Result<Option<Passphrase>, CliError> {
        let Some(name) = &self.passphrase_file else {
            return Ok(None);
        };
        if protected_files == 0 {
            let error = CliError::usage("no identity file is protected by a passphrase").at("--passphrase-file");
            return Err(error.with_hint("leave `--passphrase-file` out"));
        }
        let input = Input::named(name);
        parse_passphrase(Zeroizing::new(input.read()?), &input).map(Some)
    }
}

/// Opens an identity file with this passphrase; if `passphrase` is `None`, asks for it at the terminal.
pub(crate) fn open(
    file: &ProtectedIdentityFile,
    input: &Input,
    passphrase: Option<&Passphrase>,
) -> Result<IdentityFile, CliError> {
    let opened = match passphrase {
        Some(passphrase) => file.open(passphrase),
        None => file.open(&ask_for_passphrase(input)?),
    };
    opened.map_err(|error| CliError::refused(error.to_string()).at(input.place()))
}

fn ask_for_passphrase(input: &Input) -> Result<Passphrase, CliError> {
    let place = input.place();
    match terminal::ask_hidden(&format!("Passphrase of {place}: "), "the passphrase") {
        Some(typed) => {
            let typed = typed.map_err(|error| error.at(place).with_hint("pass `--passphrase-file FILE`"))?;
            parse_passphrase(typed, input)
        }
        None => {
            let error = CliError::usage("protected by a passphrase, and there is no terminal to ask for it");
            Err(error.at(place).with_hint("pass `--passphrase-file FILE`"))
        }
    }
}

fn parse_passphrase(text: Zeroizing<String>, from: &Input) -> Result<Passphrase, CliError> {
    Passphrase::parse(text).map_err(|error| CliError::refused(error.to_string()).at(from.place()))
}

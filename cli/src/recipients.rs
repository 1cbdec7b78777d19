//! The recipients that values are sealed to, from keys files and from the command line.

use std::ffi::OsString;

use clap::Args;
use jiff::Timestamp;
use waxseal_shared::key::{KeyKind, Recipient};
use waxseal_shared::key_life::{check_creation_time, sealing_recipients};
use waxseal_shared::seal::SealError;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::error::CliError;
use crate::file_names::file_name;
use crate::input::Input;
use crate::streams::Streams;

/// Selects the recipients.
#[derive(Args)]
pub(crate) struct RecipientArguments {
    /// Seal to the primary and the Active recovery keys of this keys file, from `waxseal keys fetch` or
    /// `kubectl get sealingkeys -o yaml`. Repeatable
    #[arg(long, value_name = "KEYS_FILE", value_parser = file_name::<OsString>(), help_heading = "Recipients")]
    keys: Vec<OsString>,
    /// Seal to this recipient, `age1pq1…`. Repeatable
    // Not parsed by clap: its error would show the value, which may be a private key.
    #[arg(short, long, value_name = "RECIPIENT", help_heading = "Recipients")]
    recipient: Vec<String>,
    /// Allow recipients without post-quantum protection (`age1…`)
    #[arg(long, help_heading = "Recipients")]
    allow_classic: bool,
}

/// A recipient and where it comes from.
pub(crate) struct ChosenRecipient {
    pub(crate) recipient: Recipient,
    /// The role in the first keys file that has the key.
    role: Option<KeyRole>,
    /// The first keys file that selects the recipient, or `--recipient`.
    source: String,
}

/// The content of a keys file.
struct KeysFile {
    place: String,
    keys: Vec<PublishedKey>,
}

impl RecipientArguments {
    pub(crate) fn keys_files(&self) -> impl Iterator<Item = &OsString> {
        self.keys.iter()
    }

    /// Returns each recipient once, those of keys files first.
    ///
    /// Refuses an empty list, revoked keys, recovery keys alone, mixed kinds, classic recipients without
    /// `--allow-classic`, and keys files with a creation time in the future.
    pub(crate) fn resolve(&self) -> Result<Vec<ChosenRecipient>, CliError> {
        if self.keys.is_empty() && self.recipient.is_empty() {
            let error = CliError::usage("no recipients to seal to");
            return Err(
                error.with_hint("pass `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`")
            );
        }
        let files = self.keys.iter().map(KeysFile::read).collect::<Result<Vec<_>, _>>()?;
        let mut given = Vec::new();
        for file in &files {
            given.extend(file.recipients()?.into_iter().map(|recipient| (recipient, file.place.as_str())));
        }
        for text in &self.recipient {
            let parsed = Recipient::parse(text);
            let recipient = parsed.map_err(|error| CliError::usage(error.to_string()).at("--recipient"))?;
            given.push((recipient, "--recipient"));
        }
        let known: Vec<_> = files.iter().flat_map(|file| &file.keys).collect();
        let mut chosen: Vec<ChosenRecipient> = Vec::new();
        for (recipient, source) in given {
            if !chosen.iter().any(|chosen| chosen.recipient == recipient) {
                let role = known.iter().find(|key| key.recipient == recipient).map(|key| key.role);
                chosen.push(ChosenRecipient { recipient, role, source: source.to_owned() });
            }
        }
        self.check_recipients(&chosen, &known)?;
        Ok(chosen)
    }

    fn check_recipients(&self, chosen: &[ChosenRecipient], known: &[&PublishedKey]) -> Result<(), CliError> {
        for ChosenRecipient { recipient, .. } in chosen {
            let id = recipient.key_id();
            if known.iter().any(|key| key.recipient == *recipient && key.state == KeyState::Revoked) {
                return Err(CliError::refused(format!("{id} is revoked: nothing is sealed to it")));
            }
            if recipient.kind() == KeyKind::Classic && !self.allow_classic {
                let error =
                    CliError::refused(format!("{id} is a classic key (X25519), which a quantum computer will break"));
                return Err(
                    error.with_hint("pass `--allow-classic` if the values need no protection from a quantum computer")
                );
            }
        }
        if chosen.iter().all(|chosen| chosen.role == Some(KeyRole::Recovery)) {
            let error = CliError::refused("all recipients are recovery keys, so no cluster could open the values");
            return Err(error.with_hint("pass the keys file of a cluster too"));
        }
        let first = chosen.first().map(|chosen| chosen.recipient.kind());
        if chosen.iter().any(|chosen| Some(chosen.recipient.kind()) != first) {
            return Err(CliError::refused(SealError::MixedRecipients.to_string()));
        }
        Ok(())
    }
}

impl KeysFile {
    fn read(name: &OsString) -> Result<Self, CliError> {
        let input = Input::named(name);
        let place = input.place();
        let keys = input.read_keys()?;
        check_creation_times(&place, &keys)?;
        Ok(Self { place, keys })
    }

    /// Returns the recipients of the file: the primary and the Active recovery keys, or all Active keys if no key is a
    /// cluster's.
    fn recipients(&self) -> Result<Vec<Recipient>, CliError> {
        if let Some(recipients) = sealing_recipients(&self.keys) {
            return Ok(recipients);
        }
        if self.keys.iter().any(|key| key.role == KeyRole::Cluster) {
            let error = CliError::refused("no Active key of a cluster in it").at(&self.place);
            return Err(error.with_hint("fetch the keys again: `waxseal keys fetch`"));
        }
        let active = self.keys.iter().filter(|key| key.state == KeyState::Active);
        Ok(active.map(|key| key.recipient.clone()).collect())
    }
}

/// Refuses keys with a creation time in the future; `place` is the keys file or cluster that has them.
pub(crate) fn check_creation_times(place: &str, keys: &[PublishedKey]) -> Result<(), CliError> {
    let now = Timestamp::now();
    for key in keys {
        check_creation_time(key.created_at, now).map_err(|error| {
            let refused = CliError::refused(format!("{}: {error}", key.recipient.key_id())).at(place);
            refused.with_hint("such a key would stay the primary: find out who published it, or correct the clock")
        })?;
    }
    Ok(())
}

pub(crate) fn announce(recipients: &[ChosenRecipient], streams: &mut Streams) {
    for ChosenRecipient { recipient, role, source } in recipients {
        let role = role.map(|role| format!("{}, ", role.as_str())).unwrap_or_default();
        streams.say(&format!("sealed to {} ({role}from {source})", recipient.key_id()));
    }
}

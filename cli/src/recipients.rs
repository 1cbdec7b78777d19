//! To whom values are sealed: the recipients of keys files, and those on the command line.

use std::ffi::OsString;

use clap::Args;
use waxseal_shared::key::{KeyKind, Recipient};
use waxseal_shared::manifest::read_keys;
use waxseal_shared::seal::SealError;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey, sealing_recipients};

use crate::error::CliError;
use crate::file_names::file_name;
use crate::input::Input;

/// Whom to seal to.
#[derive(Args)]
pub(crate) struct RecipientArguments {
    /// Seal to the primary and the Active recovery keys of this keys file: what `waxseal keys fetch`
    /// writes, or `kubectl get sealingkeys -o yaml` prints. Repeatable
    #[arg(long, value_name = "FILE", value_parser = file_name::<OsString>())]
    keys: Vec<OsString>,
    /// Seal to this recipient, `age1pq1…`. Repeatable
    // Parsed here and not by clap, which would show what it refuses: it may be a private key.
    #[arg(short, long, value_name = "RECIPIENT")]
    recipient: Vec<String>,
    /// Seal to recipients without post-quantum protection (`age1…`) too
    #[arg(long)]
    allow_classic: bool,
}

impl RecipientArguments {
    /// The keys files that are named.
    pub(crate) fn keys_files(&self) -> impl Iterator<Item = &OsString> {
        self.keys.iter()
    }

    /// The recipients, each once; refuses none, revoked ones, mixed kinds, and classic ones unless
    /// they are allowed.
    pub(crate) fn resolve(&self) -> Result<Vec<Recipient>, CliError> {
        if self.keys.is_empty() && self.recipient.is_empty() {
            let error = CliError::usage("nobody to seal to");
            return Err(
                error.with_hint("pass `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`")
            );
        }
        let mut recipients = Vec::new();
        let mut keys = Vec::new();
        for name in &self.keys {
            let (mut chosen, mut known) = read_keys_file(name)?;
            recipients.append(&mut chosen);
            keys.append(&mut known);
        }
        for text in &self.recipient {
            let parsed = Recipient::parse(text);
            recipients.push(parsed.map_err(|error| CliError::usage(error.to_string()).at("--recipient"))?);
        }
        let mut unique: Vec<Recipient> = Vec::new();
        for recipient in recipients {
            if !unique.contains(&recipient) {
                unique.push(recipient);
            }
        }
        self.check(&unique, &keys)?;
        Ok(unique)
    }

    fn check(&self, recipients: &[Recipient], keys: &[PublishedKey]) -> Result<(), CliError> {
        for recipient in recipients {
            let id = recipient.key_id();
            if keys.iter().any(|key| key.recipient == *recipient && key.state == KeyState::Revoked) {
                return Err(CliError::refused(format!("{id} is revoked: nothing is sealed to it")));
            }
            if recipient.kind() == KeyKind::Classic && !self.allow_classic {
                let error =
                    CliError::refused(format!("{id} is a classic key (X25519), which a quantum computer will break"));
                return Err(error.with_hint("pass `--allow-classic` if the values may be read then"));
            }
        }
        let is_recovery_only = recipients
            .iter()
            .all(|recipient| keys.iter().any(|key| key.recipient == *recipient && key.role == KeyRole::Recovery));
        if is_recovery_only {
            let error = CliError::refused("only recovery keys to seal to: no cluster could open it");
            return Err(error.with_hint("pass the keys file of a cluster too"));
        }
        let first = recipients.first().map(Recipient::kind);
        if recipients.iter().any(|recipient| Some(recipient.kind()) != first) {
            return Err(CliError::refused(SealError::MixedRecipients.to_string()));
        }
        Ok(())
    }
}

/// The recipients that a keys file gives, and all of its keys.
fn read_keys_file(name: &OsString) -> Result<(Vec<Recipient>, Vec<PublishedKey>), CliError> {
    let input = Input::named(name);
    let keys = read_keys(&input.read()?).map_err(|error| CliError::manifest(&input.place(), &error))?;
    if let Some(recipients) = sealing_recipients(&keys) {
        return Ok((recipients, keys));
    }
    if keys.iter().any(|key| key.role == KeyRole::Cluster) {
        let error = CliError::refused("no Active key of a cluster in it").at(input.place());
        return Err(error.with_hint("fetch the keys again: `waxseal keys fetch`"));
    }
    let active = keys.iter().filter(|key| key.state == KeyState::Active);
    Ok((active.map(|key| key.recipient.clone()).collect(), keys))
}

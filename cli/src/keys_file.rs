//! A keys file: the SealingKeys of one cluster, or of recovery keys alone, and the recipients among them.

use std::ffi::OsStr;

use jiff::Timestamp;
use waxseal_shared::key::Recipient;
use waxseal_shared::key_life::{check_creation_time, sealing_recipients};
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::configuration::ClusterName;
use crate::error::CliError;
use crate::input::Input;

#[derive(Debug)]
pub(crate) struct KeysFile {
    /// The cluster of `.waxseal.yaml` that the file belongs to; `None` for a file of `--keys`.
    pub(crate) cluster: Option<ClusterName>,
    /// The name that messages show.
    pub(crate) place: String,
    pub(crate) keys: Vec<PublishedKey>,
}

impl KeysFile {
    /// Reads a file that the command line names; `-` is stdin.
    pub(crate) fn read(name: &OsStr) -> Result<Self, CliError> {
        let input = Input::named(name);
        Ok(Self { cluster: None, place: input.place(), keys: input.read_keys()? })
    }

    /// The name that `--drop-cluster` takes: that of the cluster, or that of the file.
    pub(crate) fn name(&self) -> &str {
        self.cluster.as_ref().map_or(&self.place, ClusterName::as_str)
    }

    /// The source of its keys, for messages: the file, and the cluster that it belongs to.
    pub(crate) fn source(&self) -> String {
        match &self.cluster {
            Some(cluster) => format!("cluster {cluster}, {}", self.place),
            None => self.place.clone(),
        }
    }

    /// Returns the recipients of the file: the primary and the Active recovery keys, or all Active keys if no key has
    /// the role `Cluster`.
    ///
    /// Refuses a file without such a key, and keys with a creation time more than 10 minutes in the future.
    pub(crate) fn recipients(&self) -> Result<Vec<Recipient>, CliError> {
        check_creation_times(&self.place, &self.keys)?;
        if let Some(recipients) = sealing_recipients(&self.keys) {
            return Ok(recipients);
        }
        if self.has_cluster_key() {
            return Err(self.no_active_key());
        }
        let active: Vec<_> = self.keys.iter().filter(|key| key.state == KeyState::Active).collect();
        if active.is_empty() {
            let error = CliError::refused("no Active recovery key in it, and no key of a cluster").at(&self.place);
            let hint = "add a recovery key to it: `waxseal keys public --identity IDENTITY_FILE --recovery` prints one";
            return Err(error.with_hint(hint));
        }
        Ok(active.into_iter().map(|key| key.recipient.clone()).collect())
    }

    /// Whether one of the keys, in any state, has the role `Cluster`. If not, the file holds recovery keys alone.
    pub(crate) fn has_cluster_key(&self) -> bool {
        self.keys.iter().any(|key| key.role == KeyRole::Cluster)
    }

    /// The error for a file with keys of a cluster, none of them Active.
    fn no_active_key(&self) -> CliError {
        let target = self.cluster.as_ref().map_or("-o FILE", ClusterName::as_str);
        let error = CliError::refused("no Active key of a cluster in it").at(&self.place);
        error.with_hint(format!(
            "fetch the keys again: `waxseal keys fetch {target}`. Without Kubernetes, start the controller: it makes a \
             key and writes the file"
        ))
    }
}

/// Refuses keys with a creation time more than 10 minutes in the future; `place` is the keys file or cluster that has
/// them.
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

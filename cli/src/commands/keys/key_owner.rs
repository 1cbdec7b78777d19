//! The controller whose keys a command changes: in a cluster or on a folder. The state of a published key is a request,
//! which the controller carries out.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde_json::Value;
use waxseal_shared::key_life::{backup_time, primary};
use waxseal_shared::manifest::{read_keys, write_keys};
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::sealing_key::{IdentitySecretReference, KeyRole, KeyState, PublishedKey, SealingKey};
use waxseal_shared::visible_text::{escaped, visible_path};

use crate::cluster::{ClusterArguments, RUN_WITHOUT_PROXY, RequestOutcome, Session, UnknownSealingKey};
use crate::error::{CliError, Kind};
use crate::file_names::{file_name, folder_of, shell_word};
use crate::input::Input;
use crate::last_backup_file;
use crate::output::{self, Destination};
use crate::streams::Streams;

/// The file in a folder of keys that shows the public halves.
const PUBLISHED_FILE: &str = "sealing-keys.yaml";
/// The extension of the files in a folder of keys that hold the identities, each named after its key.
pub(super) const KEY_EXTENSION: &str = "key";
/// The pause between two looks at the controller's answer.
const INTERVAL: Duration = Duration::from_millis(300);
/// The most attempts to write a request while somebody else changes the SealingKey.
const TRIES: u32 = 5;

/// Selects the controller, and says whether to ask the user and how long to wait.
#[derive(Args)]
pub(super) struct OwnerArguments {
    /// Make the change without asking for a `yes`. Needed without a terminal
    #[arg(long)]
    yes: bool,
    /// Wait this long for the controller
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, default_value = "60s", help_heading = "Cluster")]
    #[arg(conflicts_with = "keys_dir")]
    timeout: Duration,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Selects the controller.
#[derive(Args)]
pub(super) struct PlaceArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The namespace of the SealingKeys
    #[arg(short, long, value_parser = Namespace::parse, default_value = "waxseal-system", help_heading = "Cluster")]
    namespace: Namespace,
    /// Use the keys of a controller without a cluster, in its folder of keys
    #[arg(long, value_name = "DIR", value_parser = file_name::<PathBuf>(), help_heading = "Without a cluster")]
    #[arg(conflicts_with_all = ["context", "kubeconfig", "namespace"])]
    keys_dir: Option<PathBuf>,
}

/// Where the keys are published.
pub(super) enum KeyOwner {
    /// The SealingKeys in this namespace of a cluster.
    Cluster(Box<Session>, Namespace),
    /// `sealing-keys.yaml` in a folder of keys.
    Folder(PathBuf),
}

/// A key as its controller publishes it.
pub(super) struct OwnedKey {
    pub(super) key: PublishedKey,
    object: Option<SealingKey>,
}

fn parse_timeout(text: &str) -> Result<Duration, &'static str> {
    let refused = "not a duration such as 60s or 2m";
    let span: Span = text.parse().map_err(|_| refused)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| refused)?;
    Duration::try_from(duration).map_err(|_| refused)
}

impl PlaceArguments {
    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn open(&self) -> Result<KeyOwner, CliError> {
        match &self.keys_dir {
            Some(folder) => Ok(KeyOwner::Folder(folder.join(PUBLISHED_FILE))),
            None => {
                let session = Session::of_keys(&self.cluster, &self.namespace, RUN_WITHOUT_PROXY)?;
                Ok(KeyOwner::Cluster(Box::new(session), self.namespace.clone()))
            }
        }
    }
}

impl OwnerArguments {
    pub(super) fn open(&self) -> Result<KeyOwner, CliError> {
        self.place.open()
    }

    /// Calls `each` with every SealedSecret of the cluster.
    pub(super) fn each_sealed_secret(&self, each: impl FnMut(Value)) -> Result<(), CliError> {
        let session = Session::of_sealed_secrets(&self.place.cluster, RUN_WITHOUT_PROXY)?;
        session.each_sealed_secret(each)
    }

    /// Asks for a `yes`, unless `--yes` is given.
    pub(super) fn ask_for_consent(&self, streams: &mut Streams, question: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !streams.can_ask() {
            return Err(CliError::usage("nobody can be asked without a terminal")
                .with_hint("pass `--yes` if this is what you want"));
        }
        match streams.ask_for_yes(&format!("{question} Type yes: ")) {
            true => Ok(()),
            false => Err(CliError::refused("not confirmed: nothing was changed")),
        }
    }

    /// Looks at the keys until `is_done` returns something. A failed look is repeated. `what` completes "the controller
    /// did not …".
    pub(super) fn wait_until<T>(
        &self,
        owner: &KeyOwner,
        what: &str,
        is_done: impl Fn(&[OwnedKey]) -> Option<T>,
    ) -> Result<T, CliError> {
        let start = Instant::now();
        loop {
            let keys = owner.keys();
            if let Ok(Some(done)) = keys.as_deref().map(&is_done) {
                return Ok(done);
            }
            if start.elapsed() >= self.timeout {
                keys?;
                let text = format!("the controller did not {what} within {} seconds", self.timeout.as_secs());
                let error = CliError::new(Kind::NoCluster, text).at(owner.place());
                return Err(error.with_hint("the request stays: the controller's log says why it is not carried out"));
            }
            thread::sleep(INTERVAL);
        }
    }
}

impl KeyOwner {
    /// The owner as errors and questions name it.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Cluster(session, _) => session.place().to_owned(),
            Self::Folder(path) => visible_path(path),
        }
    }

    /// Whether the controller confirms what it carries out: in a cluster it does, on a folder it does not.
    pub(super) fn confirms(&self) -> bool {
        matches!(self, Self::Cluster(..))
    }

    /// The keys of the controller. Leaves out SealingKeys that are not valid, also those with a state that only a newer
    /// version knows: in an emergency they must not keep the user from revoking another key.
    pub(super) fn keys(&self) -> Result<Vec<OwnedKey>, CliError> {
        self.keys_and_unknown().map(|(keys, _)| keys)
    }

    /// Like [`keys`](Self::keys). Warns of the SealingKeys of an unknown form.
    pub(super) fn keys_with_warnings(&self, streams: &mut Streams) -> Result<Vec<OwnedKey>, CliError> {
        let (keys, unknown) = self.keys_and_unknown()?;
        for UnknownSealingKey { name } in unknown {
            let text = format!("leaves out the SealingKey {name}, which has a form that this waxseal does not know");
            streams.warn(&self.place(), &text);
        }
        Ok(keys)
    }

    fn keys_and_unknown(&self) -> Result<(Vec<OwnedKey>, Vec<UnknownSealingKey>), CliError> {
        match self {
            Self::Cluster(session, namespace) => {
                let (mut keys, mut unknown) = (Vec::new(), Vec::new());
                for object in session.sealing_keys(namespace)? {
                    match object {
                        Ok(object) => {
                            let key = PublishedKey::decode(&object).ok();
                            keys.extend(key.map(|key| OwnedKey::new(key, Some(object))));
                        }
                        Err(object) => unknown.push(object),
                    }
                }
                Ok((keys, unknown))
            }
            Self::Folder(path) => {
                let text = Input::File(path.clone()).read()?;
                let keys = read_keys(&text).map_err(|error| CliError::manifest(&visible_path(path), &error))?;
                Ok((keys.into_iter().map(|key| OwnedKey::new(key, None)).collect(), Vec::new()))
            }
        }
    }

    /// When a key was last backed up in its present state. In a cluster, `status.lastBackupTime` is absent if the
    /// backup has another state. In a folder, a key file that is newer than the record is not backed up: each change of
    /// the state writes the file anew. A record with a time in the future does not count ([`backup_time`]).
    pub(super) fn backed_up_at(&self, found: &OwnedKey) -> Result<Option<Timestamp>, CliError> {
        if let Self::Folder(published) = self {
            let recorded = last_backup_file::read(&folder_of(published))?.get(found.key.recipient.key_id()).copied();
            let written = key_file(published, &found.key).metadata().and_then(|metadata| metadata.modified()).ok();
            let written = written.and_then(|time| Timestamp::try_from(time).ok());
            let recorded = recorded.and_then(|time| backup_time(&time.to_string(), Timestamp::now()));
            return Ok(recorded.filter(|time| written.is_none_or(|written| written <= *time)));
        }
        let status = found.object.as_ref().and_then(|object| object.status.as_ref());
        Ok(status.and_then(|status| backup_time(status.last_backup_time.as_ref()?, Timestamp::now())))
    }

    /// Deletes the identity of a key. `keys` are all keys of this controller. In a cluster, refuses a Secret that
    /// another SealingKey names, too: its deletion could delete the identity of that key.
    pub(super) fn delete_identity(&self, found: &OwnedKey, keys: &[OwnedKey]) -> Result<(), CliError> {
        match self {
            Self::Cluster(session, namespace) => {
                let Some(secret) = found.identity_secret() else {
                    let text =
                        format!("{}: its status does not name its identity Secret", found.key.recipient.key_id());
                    let error = CliError::new(Kind::NoCluster, text).at(self.place());
                    return Err(error.with_hint("the controller writes the status: see if it runs"));
                };
                check_names_own_secret(found, secret, keys).map_err(|error| error.at(self.place()))?;
                session.delete_identity(namespace, secret)
            }
            Self::Folder(published) => {
                let path = key_file(published, &found.key);
                if path.is_symlink() {
                    let error = CliError::refused("is a symbolic link").at(visible_path(&path));
                    return Err(error.with_hint("delete the link and the file that it leads to"));
                }
                output::remove(&path)
            }
        }
    }

    /// A command of `waxseal keys` on the same keys, to be copied into a shell.
    pub(super) fn command(&self, verb: &str) -> String {
        match self {
            Self::Cluster(..) => format!("waxseal keys {verb}"),
            Self::Folder(published) => {
                format!("waxseal keys {verb} --keys-dir {}", shell_word(&visible_path(&folder_of(published))))
            }
        }
    }

    /// Requests a state for a key, unless it already has this state or a stricter one.
    pub(super) fn request(&self, key: &PublishedKey, state: KeyState) -> Result<(), CliError> {
        // In a folder, the lock keeps others from requesting a state between reading and writing.
        let _lock = match self {
            Self::Folder(path) if path.is_symlink() => {
                let error =
                    CliError::refused("is a symbolic link, and the controller does not follow links").at(self.place());
                return Err(error.with_hint("put the file itself there"));
            }
            Self::Folder(path) => Destination::at(path)?.lock()?,
            Self::Cluster(..) => None,
        };
        for _ in 0..TRIES {
            let mut keys = self.keys()?;
            let Some(found) = keys.iter_mut().find(|found| found.key.recipient == key.recipient) else {
                return Err(unknown(key.recipient.key_id().as_str(), &keys).at(self.place()));
            };
            if found.key.state >= state {
                return Ok(());
            }
            found.key.state = state;
            match (self, &found.object) {
                (Self::Cluster(session, namespace), Some(object)) => {
                    match session.request_state(namespace, object, state)? {
                        RequestOutcome::Written => return Ok(()),
                        RequestOutcome::Conflict => {}
                    }
                }
                (Self::Folder(path), _) => {
                    let keys: Vec<_> = keys.into_iter().map(|found| found.key).collect();
                    return output::replace(path, &write_keys(&keys));
                }
                (Self::Cluster(..), None) => {}
            }
        }
        let text = format!("{} is changed all the time by somebody else", key.recipient.key_id());
        Err(CliError::new(Kind::NoCluster, text).at(self.place()))
    }
}

impl OwnedKey {
    fn new(key: PublishedKey, object: Option<SealingKey>) -> Self {
        Self { key, object }
    }

    /// The state that the controller confirms: the identity Secret has this state, and the controller acts on it.
    pub(super) fn confirmed(&self) -> Option<KeyState> {
        self.object.as_ref()?.status.as_ref()?.state
    }

    /// The Secret with the identity, as the controller says.
    pub(super) fn identity_secret(&self) -> Option<&IdentitySecretReference> {
        self.object.as_ref()?.status.as_ref()?.identity_secret.as_ref()
    }
}

/// Refuses the Secret of a status that cannot be right: its name is not the name of an object, or another SealingKey
/// names the same Secret.
fn check_names_own_secret(
    found: &OwnedKey,
    secret: &IdentitySecretReference,
    keys: &[OwnedKey],
) -> Result<(), CliError> {
    let id = found.key.recipient.key_id();
    let refused = |what: String| {
        CliError::refused(format!("the status of the SealingKey {id} {what}"))
            .with_hint("the controller writes the status: find out who has changed it, and see if the controller runs")
    };
    if ObjectName::parse(&secret.name).is_err() {
        return Err(refused("does not name its identity Secret with a valid name".to_owned()));
    }
    let is_same = |other: &IdentitySecretReference| other.name == secret.name || other.uid == secret.uid;
    let others = keys.iter().filter(|other| other.key.recipient != found.key.recipient);
    match others.into_iter().find(|other| other.identity_secret().is_some_and(is_same)) {
        Some(other) => {
            let other = other.key.recipient.key_id();
            Err(refused(format!("names the same identity Secret as that of {other}: {}", secret.name)))
        }
        None => Ok(()),
    }
}

/// The identity file of a key, beside `sealing-keys.yaml`.
pub(super) fn key_file(published: &Path, key: &PublishedKey) -> PathBuf {
    published.with_file_name(format!("{}.{KEY_EXTENSION}", key.recipient.key_id()))
}

pub(super) fn primary_of(keys: &[OwnedKey]) -> Option<&PublishedKey> {
    primary(keys.iter().map(|found| &found.key))
}

/// Whether this is an Active key of the cluster.
pub(super) fn is_active(key: &PublishedKey) -> bool {
    key.role == KeyRole::Cluster && key.state == KeyState::Active
}

/// Finds the cluster's key with this id.
pub(super) fn find<'a>(keys: &'a [OwnedKey], id: &str) -> Result<&'a OwnedKey, CliError> {
    let Some(found) = keys.iter().find(|found| found.key.recipient.key_id().as_str() == id) else {
        return Err(unknown(id, keys));
    };
    match found.key.role {
        KeyRole::Cluster => Ok(found),
        KeyRole::Recovery => {
            Err(CliError::refused(format!("{id} is a recovery key, which the controller does not hold"))
                .with_hint("take it out of the controller's configuration"))
        }
    }
}

fn unknown(id: &str, keys: &[OwnedKey]) -> CliError {
    let described = |found: &OwnedKey| format!("{} ({})", found.key.recipient.key_id(), found.key.state.as_str());
    let known: Vec<_> = keys.iter().map(described).collect();
    CliError::refused(format!("no key {}; there are: {}", escaped(id), known.join(", ")))
}

//! Reads and stores the identities of a controller with the rights of the operator: in the Secrets of a cluster or in a
//! folder of keys.

use std::fmt::Display;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use waxseal_shared::identity_secret::{may_have_name, own_name};
use waxseal_shared::key::Recipient;
use waxseal_shared::key_backup::BackedUpKey;
use waxseal_shared::key_life::{HeldKey, read_held_key, with_state};
use waxseal_shared::manifest::read_keys;
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::sealing_key::{KeyState, PublishedKey};
use waxseal_shared::visible_text::visible_path;
use zeroize::Zeroizing;

use super::key_owner::{KEY_EXTENSION, KeyOwner, OwnedKey, key_file};
use crate::cluster::{IdentitySecret, RequestOutcome, Session};
use crate::clusters::exists;
use crate::error::{CliError, Kind};
use crate::file_names::folder_of;
use crate::input::Input;
use crate::last_backup_file;
use crate::private_file;

/// The largest key file that the controller reads.
const MAX_KEY_FILE_BYTES: u64 = 256 * 1024;
/// The most attempts to write a record while somebody else changes the Secret.
const TRIES: u32 = 5;

/// What one look at a store of identities found.
#[derive(Default)]
pub(super) struct StoredIdentities {
    /// The identities that can be used, and are not being deleted. An identity may be stored twice. In a folder, an
    /// identity has the name that its Secret would have.
    pub(super) held: Vec<BackedUpKey>,
    /// The identities that can be used, in Secrets that somebody has deleted, and that only finalizers keep.
    pub(super) being_deleted: Vec<BackedUpKey>,
    pub(super) broken: Vec<BrokenIdentity>,
}

/// An identity that cannot be used.
pub(super) struct BrokenIdentity {
    /// The context or the file.
    pub(super) place: String,
    pub(super) text: String,
}

/// Where an identity is stored.
pub(super) struct IdentityPlace {
    key: PublishedKey,
    secret_name: ObjectName,
}

impl StoredIdentities {
    /// Every identity that can be used, also those that are being deleted.
    pub(super) fn all(&self) -> impl Iterator<Item = &BackedUpKey> {
        self.held.iter().chain(&self.being_deleted)
    }

    /// The identity of a key, unless it is being deleted.
    pub(super) fn find(&self, recipient: &Recipient) -> Option<&HeldKey> {
        let found = self.held.iter().find(|stored| stored.key.published().recipient == *recipient);
        found.map(|stored| &stored.key)
    }

    /// The public halves of the identities that are not being deleted.
    pub(super) fn published(&self) -> Vec<PublishedKey> {
        self.held.iter().map(|stored| stored.key.published().clone()).collect()
    }

    pub(super) fn places(&self) -> Vec<IdentityPlace> {
        let place = |BackedUpKey { secret_name, key }: &BackedUpKey| IdentityPlace {
            key: key.published().clone(),
            secret_name: secret_name.clone(),
        };
        self.all().map(place).collect()
    }
}

impl KeyOwner {
    /// The store of the identities as errors and questions name it.
    pub(super) fn store(&self) -> String {
        match self {
            Self::Cluster(session, _) => session.place().to_owned(),
            Self::Folder(published) => visible_path(&folder_of(published)),
        }
    }

    /// Reads all identities, except Secrets that a SealedSecret made.
    pub(super) fn identities(&self, now: Timestamp) -> Result<StoredIdentities, CliError> {
        match self {
            Self::Cluster(session, namespace) => in_cluster(session, namespace, now),
            Self::Folder(published) => in_folder(&folder_of(published), now),
        }
    }

    /// The state that is stored with the identity of a key: it stays if somebody deletes the published key. In a
    /// cluster, the controller confirms this state. `None` if the state is not known.
    pub(super) fn carried_out(&self, found: &OwnedKey) -> Option<KeyState> {
        match self {
            Self::Cluster(..) => found.confirmed(),
            Self::Folder(published) => {
                let identity = read_key_file(&key_file(published, &found.key), Timestamp::now());
                Some(identity.ok()?.published().state)
            }
        }
    }

    /// The keys that are published now; there may be none. Leaves out SealingKeys that are not valid. Refuses one of an
    /// unknown form.
    pub(super) fn published_so_far(&self) -> Result<Vec<PublishedKey>, CliError> {
        match self {
            Self::Cluster(session, namespace) => {
                let objects = session.sealing_keys_so_far(namespace)?;
                Ok(objects.iter().filter_map(|object| PublishedKey::decode(object).ok()).collect())
            }
            Self::Folder(published) if !exists(published) => Ok(Vec::new()),
            Self::Folder(published) => {
                let text = Input::File(published.clone()).read()?;
                read_keys(&text).map_err(|error| CliError::manifest(&visible_path(published), &error))
            }
        }
    }

    /// Records that these identities are in a backup.
    pub(super) fn record_backup(&self, places: &[IdentityPlace], time: Timestamp) -> Result<(), CliError> {
        match self {
            Self::Cluster(session, namespace) => {
                places.iter().try_for_each(|place| record_in_cluster(session, namespace, place, time))
            }
            Self::Folder(published) => {
                let ids = places.iter().map(|place| place.key.recipient.key_id());
                last_backup_file::record(&folder_of(published), ids, time)
            }
        }
    }

    /// Stores an identity, and returns where. Never replaces anything: if the identity is there already, it stays as it
    /// is. A Secret that is being deleted does not count. `others` are the keys of the store and of the backup.
    pub(super) fn store_identity(
        &self,
        identity: &BackedUpKey,
        others: &[PublishedKey],
        now: Timestamp,
    ) -> Result<String, CliError> {
        match self {
            Self::Cluster(session, namespace) => store_in_cluster(session, namespace, identity, others, now),
            Self::Folder(published) => store_in_folder(&folder_of(published), &identity.key, now),
        }
    }
}

fn in_cluster(session: &Session, namespace: &Namespace, now: Timestamp) -> Result<StoredIdentities, CliError> {
    let mut stored = StoredIdentities::default();
    for IdentitySecret { name, key, is_being_deleted, .. } in session.identity_secrets(namespace, now)? {
        let list = if is_being_deleted { &mut stored.being_deleted } else { &mut stored.held };
        match key {
            Ok(key) => list.push(named(key, &name)?),
            Err(error) => {
                let text = format!("the identity Secret {name} cannot be used: {error}");
                stored.broken.push(BrokenIdentity { place: session.place().to_owned(), text });
            }
        }
    }
    Ok(stored)
}

fn named(key: HeldKey, secret_name: &str) -> Result<BackedUpKey, CliError> {
    // The API server returns only names that are valid.
    let secret_name = ObjectName::parse(secret_name).map_err(|error| CliError::refused(error.to_string()))?;
    Ok(BackedUpKey { secret_name, key })
}

/// Reads the key files in the order of their names. A folder that does not exist has none.
fn in_folder(folder: &Path, now: Timestamp) -> Result<StoredIdentities, CliError> {
    let mut stored = StoredIdentities::default();
    if !exists(folder) {
        return Ok(stored);
    }
    let failed = |error| CliError::path("read the folder", folder, &error);
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut paths: Vec<_> = entries.iter().map(fs::DirEntry::path).filter(|path| !is_hidden(path)).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == KEY_EXTENSION));
    paths.sort();
    for path in paths {
        match read_key_file(&path, now) {
            Ok(key) => {
                let name = own_name(key.key_id());
                stored.held.push(named(key, &name)?);
            }
            Err(text) => stored.broken.push(BrokenIdentity { place: visible_path(&path), text }),
        }
    }
    Ok(stored)
}

/// Reads a key file as the controller does. The error has no place.
fn read_key_file(path: &Path, now: Timestamp) -> Result<HeldKey, String> {
    let unusable = |cause: &dyn Display| format!("the identity cannot be used: {cause}");
    let metadata = fs::metadata(path).map_err(|error| unusable(&error.kind()))?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(unusable(&"it is not a regular file of at most 256 KiB"));
    }
    let bytes = fs::read(path).map(Zeroizing::new).map_err(|error| unusable(&error.kind()))?;
    let key = read_held_key(&bytes, now).map_err(|error| unusable(&error))?;
    if path.file_stem().is_none_or(|stem| stem != key.key_id().as_str()) {
        let cause = format!("the file must be named {}.{KEY_EXTENSION}, after the id of its key", key.key_id());
        return Err(unusable(&cause));
    }
    Ok(key)
}

fn record_in_cluster(
    session: &Session,
    namespace: &Namespace,
    IdentityPlace { key, secret_name }: &IdentityPlace,
    time: Timestamp,
) -> Result<(), CliError> {
    for _ in 0..TRIES {
        let present = session.identity_secret(namespace, secret_name.as_str(), time)?;
        let Some(secret) = present.filter(|secret| secret.key.as_ref().is_ok_and(|present| present.published() == key))
        else {
            let text = format!("the identity Secret {secret_name} has been changed since it was read");
            let error = CliError::new(Kind::NoCluster, text).at(session.place());
            return Err(error.with_hint("make another backup"));
        };
        if let RequestOutcome::Written = session.record_backup(namespace, &secret, time)? {
            return Ok(());
        }
    }
    let text = format!("the identity Secret {secret_name} is changed all the time by somebody else");
    Err(CliError::new(Kind::NoCluster, text).at(session.place()))
}

fn store_in_cluster(
    session: &Session,
    namespace: &Namespace,
    BackedUpKey { key, secret_name }: &BackedUpKey,
    others: &[PublishedKey],
    now: Timestamp,
) -> Result<String, CliError> {
    let may_keep_name = may_have_name(key.published(), secret_name.as_str(), others);
    let names = may_keep_name.then(|| secret_name.to_string()).into_iter().chain([own_name(key.key_id())]);
    let mut dying = None;
    for name in names {
        if let RequestOutcome::Written = session.create_identity(namespace, &name, key, now)? {
            return Ok(format!("the Secret {name}"));
        }
        let present = session.identity_secret(namespace, &name, now)?;
        match present.filter(|secret| secret.holds(&key.published().recipient)) {
            Some(secret) if secret.is_being_deleted => dying = Some(name),
            Some(_) => return Ok(format!("the Secret {name}")),
            None => {}
        }
    }
    Err(cannot_store(key, dying.as_deref()).at(session.place()))
}

/// The error for an identity whose names are all taken. `dying` is a Secret that holds the identity and is being
/// deleted.
fn cannot_store(key: &HeldKey, dying: Option<&str>) -> CliError {
    let (id, own) = (key.key_id(), own_name(key.key_id()));
    if dying == Some(own.as_str()) {
        return CliError::refused(format!("the Secret {own} holds {id} and is being deleted: its finalizers keep it"))
            .with_hint("find out what set the finalizers, and run the command again when the Secret is gone");
    }
    CliError::refused(format!("a Secret {own} is there that cannot be used as {id}")).with_hint(
        "find out who made it, and repair it; or, if it does not hold this key, remove it, and run the command again",
    )
}

fn store_in_folder(folder: &Path, key: &HeldKey, now: Timestamp) -> Result<String, CliError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| CliError::path("make the folder", folder, &error))?;
    let path = folder.join(format!("{}.{KEY_EXTENSION}", key.key_id()));
    let text = match key.published().state {
        KeyState::Active => key.to_identity_file(),
        state => with_state(&key.to_identity_file(), state),
    };
    let is_there = || {
        let present = read_key_file(&path, now);
        present.is_ok_and(|present| present.published().recipient == key.published().recipient)
    };
    let existed = exists(&path);
    match private_file::create(&path, &text) {
        Err(_) if existed && is_there() => {}
        Err(_) if existed => {
            let error = CliError::refused(format!("a file is there that cannot be used as {}", key.key_id()));
            return Err(error.at(visible_path(&path)).with_hint(
                "repair the file; or, if it does not hold this key, move it away, and run the command again",
            ));
        }
        created => created?,
    }
    Ok(visible_path(&path))
}

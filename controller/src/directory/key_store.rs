//! The key store of the folder backend: identities in `KEYID.key`, and what is published of them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use waxseal_shared::key::{IdentityFileError, Recipient};
use waxseal_shared::key_life::{
    HeldKey, HeldKeyError, StoredKeys, StrictestStates, must_be_removed_from_folder, primary, read_held_key, with_state,
};
use waxseal_shared::key_ring::{KeyRing, Keys};
use waxseal_shared::key_succession::{FirstKeyObstacle, KeyGeneration, Succession, Successor, first_key_obstacle};
use waxseal_shared::manifest::{read_keys, write_keys};
use waxseal_shared::names::KeyId;
use waxseal_shared::randomness;
use waxseal_shared::recovery_keys::RecoveryKeys;
use waxseal_shared::sealing_key::{KeyState, PublishedKey};
use waxseal_shared::visible_text::visible_path;

use super::durable_file::{self, FileError, failed_to};
use super::folders::visible_entries;
use super::manifests_folder::FolderContents;
use super::problems::Problems;
use crate::log;

/// The public half of the keys: the file that `waxseal seal --keys` takes. The states that a person writes into it are
/// requests.
const PUBLISHED_FILE: &str = "sealing-keys.yaml";
const KEY_EXTENSION: &str = "key";
const MAX_KEY_FILE_BYTES: u64 = 256 * 1024;
/// A keys file with the largest permitted number of keys is smaller than this.
const MAX_PUBLISHED_BYTES: u64 = 8 * 1024 * 1024;

/// The folder of keys, and what the controller remembers of it.
pub(super) struct KeyStore {
    path: PathBuf,
    published_path: PathBuf,
    generation: KeyGeneration,
    strictest: StrictestStates,
    /// The time of the next renewal, as computed in the last look.
    next_renewal: Option<Timestamp>,
    recovery: RecoveryKeys,
    /// All keys of the last pass, as they were logged. While the published file cannot be read, the recovery keys have
    /// their states from here.
    logged: Vec<PublishedKey>,
}

/// Why a key file is not used or not written. Never quotes it.
#[derive(Debug, Error)]
enum KeyFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Content(#[from] HeldKeyError),
    #[error("it must be named {0}.{KEY_EXTENSION}, after the id of its key")]
    Name(KeyId),
    #[error("it is a symlink; write the line \"# state: {}\" into the file that it leads to", .0.as_str())]
    Symlink(KeyState),
}

/// The file that an identity was read from.
struct KeyFile {
    path: PathBuf,
    text: Vec<u8>,
}

impl KeyStore {
    pub(super) fn new(path: PathBuf, generation: KeyGeneration, recovery: RecoveryKeys) -> Self {
        let published_path = path.join(PUBLISHED_FILE);
        let strictest = StrictestStates::default();
        Self { path, published_path, generation, strictest, next_renewal: None, recovery, logged: Vec::new() }
    }

    /// The time from `now` until the next renewal; zero if the renewal has become due since the last look.
    pub(super) fn time_to_renewal(&self, now: Timestamp) -> Option<Duration> {
        Some(Duration::try_from(self.next_renewal?.duration_since(now)).unwrap_or_default())
    }

    /// Reads the identities, carries out what the published file requests, and publishes the keys. Makes the first key
    /// unless something forbids it, and the successor that is due ([`waxseal_shared::key_succession`]).
    pub(super) fn refresh(&mut self, manifests: &FolderContents, now: Timestamp, problems: &mut Problems) -> Keys {
        let mut stored = self.read(now, problems);
        let published = self.read_published(problems);
        if stored.is_empty() {
            problems.failures.extend(self.make_first(manifests, published.as_deref(), now).err());
            stored = self.read(now, problems);
        }
        if published.as_deref().is_some_and(|published| self.make_successor(&stored, published, now, problems)) {
            stored = self.read(now, problems);
        }
        self.tighten(&mut stored, published.as_deref(), now, problems);
        let broken = stored.broken.len();
        problems.warnings.extend(std::mem::take(&mut stored.broken));
        let held = stored.into_keys();
        let recovery = self.recovery_keys(&held, published.as_deref(), now, problems);
        let keys = Keys::of(KeyRing::new(held).with_recovery_keys(recovery));
        // Logs before it publishes: people compare the fingerprints of the published file with the log.
        let all = keys.published();
        log::new_keys(&self.logged, &all);
        self.logged = all;
        if keys.held().is_empty() && broken > 0 {
            let text = "no key can be used, and no first key is made while there are key files that cannot be used";
            problems.failures.insert(text.to_owned());
        }
        // Does not replace a file that it cannot read: somebody may just be writing a request to revoke a key into it.
        if let (Keys::Held(ring), Some(published)) = (&keys, published) {
            problems.ok_or_note(self.publish(ring, published, broken));
        }
        keys
    }

    /// The recovery keys of the configuration, with the creation times and states that they were published with. While
    /// the published file cannot be read, only those that the last pass had, with the same creation times and states:
    /// any other one could be Revoked in the file.
    fn recovery_keys(
        &self,
        held: &[HeldKey],
        published: Option<&[PublishedKey]>,
        now: Timestamp,
        problems: &mut Problems,
    ) -> Vec<PublishedKey> {
        let known = published.unwrap_or(&self.logged);
        let present = |recipient: &Recipient| known.iter().find(|key| key.recipient == *recipient).cloned();
        let (mut keys, held_here) = self.recovery.to_publish(held, present, now);
        keys.retain(|key| published.is_some() || present(&key.recipient).is_some());
        problems.failures.extend(held_here.into_iter().map(|id| {
            format!(
                "the recovery key {id} is not used: the controller holds its identity, so it does not survive this \
                 machine; keep the identity elsewhere, or take the key out of the configuration"
            )
        }));
        keys
    }

    fn read(&self, now: Timestamp, problems: &mut Problems) -> StoredKeys<KeyFile> {
        let mut stored = StoredKeys { held: Vec::new(), broken: Vec::new() };
        let entries = visible_entries(&self.path).map_err(failed_to("read", &self.path)).unwrap_or_else(|error| {
            stored.broken.push(log::chain(&error));
            Vec::new()
        });
        let paths = entries.iter().map(DirEntry::path);
        for path in paths.filter(|path| path.extension().is_some_and(|found| found == KEY_EXTENSION)) {
            problems.warnings.extend(warning_about_mode(&path));
            match read_key(&path, now) {
                Ok(key) => stored.held.push(key),
                Err(error) => {
                    let (path, cause) = (visible_path(&path), log::chain(&error));
                    stored.broken.push(format!("the key {path} is not used: {cause}"));
                }
            }
        }
        stored
    }

    /// The keys that are published now, none if there is no file; `None` if the file cannot be read.
    fn read_published(&self, problems: &mut Problems) -> Option<Vec<PublishedKey>> {
        let path = &self.published_path;
        let read = || -> Result<_, Box<dyn Error>> {
            let text = match durable_file::read_itself(path, MAX_PUBLISHED_BYTES) {
                // After any other error there may be a file, which may hold a request to revoke a key.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                text => text?,
            };
            Ok(read_keys(str::from_utf8(&text)?)?)
        };
        let keys = read().map_err(|error| {
            let path = visible_path(path);
            let text =
                format!("{path} is not understood, so neither this file nor the state of a key changes: {error}");
            problems.failures.insert(text);
        });
        keys.ok()
    }

    fn make_first(
        &self,
        manifests: &FolderContents,
        published: Option<&[PublishedKey]>,
        now: Timestamp,
    ) -> Result<(), String> {
        if self.generation == KeyGeneration::Off {
            return Err("there is no sealing key, because key generation is off: add a key file".to_owned());
        }
        let sealed_secrets = manifests.sealed_secrets().map(|manifest| &manifest.object);
        let cause = match first_key_obstacle(sealed_secrets, published, manifests.unreadable.first()) {
            None => {
                let added = self.add(now).map_err(|error| log::chain(&error));
                return added.map(|key| log::made_first_key(&key));
            }
            Some(FirstKeyObstacle::SealedSecret) => {
                "a SealedSecret is sealed to a key that is not here: put the lost keys back".to_owned()
            }
            Some(FirstKeyObstacle::Published) => {
                let path = visible_path(&self.published_path);
                format!("{path} exists without the identities of its keys: restore the identities, or delete the file")
            }
            Some(FirstKeyObstacle::Unread(file)) => format!("a manifest was not read: {file}"),
        };
        Err(format!("the controller does not make a first key, because {cause}"))
    }

    /// Makes the successor that is due, and returns whether it did. No other process makes one at the same time: the
    /// folder is locked.
    fn make_successor(
        &self,
        stored: &StoredKeys<KeyFile>,
        requests: &[PublishedKey],
        now: Timestamp,
        problems: &mut Problems,
    ) -> bool {
        let due = self.succession(stored, requests, now).due();
        let due = due.map_err(|obstacle| problems.warnings.insert(obstacle.to_string())).ok().flatten();
        let Some(Successor { of, created_at }) = due else { return false };
        let made = problems.ok_or_note(self.add(created_at));
        made.iter().for_each(|key| log::made_successor(key, &of));
        made.is_some()
    }

    /// Writes the file of a new key.
    fn add(&self, created_at: Timestamp) -> Result<PublishedKey, FileError> {
        let key = HeldKey::generate_for_controller(created_at, &mut randomness::system());
        let path = self.path.join(format!("{}.{KEY_EXTENSION}", key.key_id()));
        let added = durable_file::add(&path, key.to_identity_file().as_bytes(), 0o600);
        // Names the folder: each attempt makes another key, and an error with its name would be logged each time.
        added.map_err(failed_to("write a new key to", &self.path))?;
        Ok(key.published().clone())
    }

    fn succession(&self, stored: &StoredKeys<KeyFile>, published: &[PublishedKey], now: Timestamp) -> Succession {
        let requested = |key: &PublishedKey| {
            let requests = published.iter().filter(|request| request.recipient == key.recipient);
            requests.map(|request| request.state).max()
        };
        Succession::new(stored, &self.strictest, requested, BTreeSet::new(), self.generation, now)
    }

    fn tighten(
        &mut self,
        stored: &mut StoredKeys<KeyFile>,
        published: Option<&[PublishedKey]>,
        now: Timestamp,
        problems: &mut Problems,
    ) {
        let succession = published.map(|published| self.succession(stored, published, now));
        self.next_renewal = succession.as_ref().and_then(Succession::next_renewal);
        for (file, state) in stored.tighten(&mut self.strictest, |key| succession.as_ref()?.state(key)) {
            let (path, word) = (visible_path(&file.path), state.as_str());
            match file.write_state(state) {
                Ok(()) => tracing::info!(file = path, state = word, "wrote the state of a sealing key to its file"),
                Err(error) => {
                    let cause = log::chain(&error);
                    problems.failures.insert(format!("failed to write the state {word} to the key {path}: {cause}"));
                }
            }
        }
    }

    /// If the file differs, writes the public half of the keys, and the published keys that stay without an identity
    /// ([`must_be_removed_from_folder`]). Does not overwrite a request that somebody has made since the file was read:
    /// this change causes the next pass.
    fn publish(&self, ring: &KeyRing, published: Vec<PublishedKey>, broken: usize) -> Result<(), FileError> {
        let lock = match durable_file::try_lock(&self.published_path) {
            // Another program has just replaced the file: this change causes the next pass.
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(failed_to("write", &self.published_path)(error));
            }
            // After another error there is no file yet, or the file system has no locks.
            lock => lock,
        };
        if self.read_published(&mut Problems::default()).is_none_or(|present| present != published) {
            return Ok(());
        }
        let is_of_ring = |key: &PublishedKey| ring.published().any(|own| own.recipient == key.recipient);
        let with_request = |key: &PublishedKey| published.iter().fold(key.clone(), with_stricter_state);
        let (kept, removed): (Vec<_>, Vec<_>) = published
            .iter()
            .filter(|key| !is_of_ring(key))
            .partition(|key| !must_be_removed_from_folder(key, ring.keys(), broken));
        let keys: Vec<_> = ring.published().map(with_request).chain(kept.into_iter().cloned()).collect();
        let path = &self.published_path;
        let updated = durable_file::update(path, write_keys(&keys).as_bytes(), 0o644);
        if updated.map_err(failed_to("write", path))? {
            let primary = primary(&keys).map(|key| key.recipient.key_id().as_str());
            tracing::info!(file = visible_path(path), primary, keys = keys.len(), "published the sealing keys");
            drop(lock);
            for key in removed.iter().map(|key| key.recipient.key_id().as_str()) {
                let file = visible_path(path);
                tracing::warn!(
                    file,
                    key,
                    "removed a published key that neither an identity nor the configuration accounts for"
                );
            }
        }
        Ok(())
    }
}

impl KeyFile {
    /// Writes a state into the file. Never replaces a symlink: the private key may be kept off this disk on purpose.
    fn write_state(&self, state: KeyState) -> Result<(), KeyFileError> {
        if fs::symlink_metadata(&self.path).map_err(failed_to("read", &self.path))?.is_symlink() {
            return Err(KeyFileError::Symlink(state));
        }
        let text = str::from_utf8(&self.text).map_err(|_| HeldKeyError::File(IdentityFileError::NotText))?;
        let replaced = durable_file::replace(&self.path, with_state(text, state).as_bytes(), 0o600);
        Ok(replaced.map_err(failed_to("write", &self.path))?)
    }
}

/// Returns the key. If the request is for this key, the key gets the stricter of its own state and the requested state.
/// So the file keeps a request to retire a key until another key is Active and the request can be carried out.
fn with_stricter_state(key: PublishedKey, request: &PublishedKey) -> PublishedKey {
    let is_for_key = key.recipient == request.recipient;
    if is_for_key { PublishedKey { state: key.state.stricter(request.state), ..key } } else { key }
}

fn read_key(path: &Path, now: Timestamp) -> Result<(HeldKey, KeyFile), KeyFileError> {
    let text = durable_file::read(path, MAX_KEY_FILE_BYTES).map_err(failed_to("read", path))?;
    let key = read_held_key(&text, now)?;
    if path.file_stem().is_none_or(|stem| stem != key.key_id().as_str()) {
        return Err(KeyFileError::Name(key.key_id().clone()));
    }
    Ok((key, KeyFile { path: path.to_owned(), text }))
}

fn warning_about_mode(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    let path = visible_path(path);
    (mode & 0o077 != 0)
        .then(|| format!("the key {path} has the mode {mode:04o}: run chmod 600, so that only its owner can read it"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use jiff::SignedDuration;
    use tempfile::TempDir;
    use waxseal_shared::key::{Identity, KeyKind};
    use waxseal_shared::manifest::write_key;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
    }

    fn refresh(store: &mut KeyStore) -> (Keys, Problems) {
        refresh_at(store, 100)
    }

    fn refresh_at(store: &mut KeyStore, seconds: i64) -> (Keys, Problems) {
        let mut problems = Problems::default();
        let keys = store.refresh(&FolderContents::default(), second(seconds), &mut problems);
        (keys, problems)
    }

    /// Starts a controller on the folder. Returns its keys and its warnings.
    fn start(folder: &TempDir) -> (Keys, Vec<String>) {
        let (keys, problems) = refresh(&mut store(folder));
        (keys, problems.warnings.into_iter().collect())
    }

    /// A store that makes no keys.
    fn store(folder: &TempDir) -> KeyStore {
        KeyStore::new(folder.path().to_owned(), KeyGeneration::Off, RecoveryKeys::default())
    }

    /// A store that makes keys, and renews them after this many seconds.
    fn making_store(folder: &TempDir, period: i64) -> KeyStore {
        let renew_after = Some(SignedDuration::from_secs(period));
        KeyStore::new(folder.path().to_owned(), KeyGeneration::On { renew_after }, RecoveryKeys::default())
    }

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(format!("{name}.key"));
        durable_file::add(&path, text.as_bytes(), 0o600).expect("written");
        path
    }

    fn key(seconds: i64) -> HeldKey {
        HeldKey::generate_for_controller(second(seconds), &mut randomness::system())
    }

    fn add_key(folder: &TempDir) -> PathBuf {
        let key = key(1);
        write(folder, key.key_id().as_str(), &key.to_identity_file())
    }

    /// Changes the state of the first key in the file of published keys, as a person does.
    fn request(folder: &TempDir, state: KeyState) {
        let path = folder.path().join(PUBLISHED_FILE);
        let text = fs::read_to_string(&path).expect("published");
        fs::write(path, text.replacen("state: Active", &format!("state: {}", state.as_str()), 1)).expect("written");
    }

    fn states(keys: &Keys) -> Vec<KeyState> {
        keys.held().iter().map(|key| key.published().state).collect()
    }

    /// `waxseal keys revoke --keys-dir` holds the lock from reading the file to replacing it.
    #[test]
    fn the_published_file_is_not_replaced_while_somebody_holds_its_lock() {
        let folder = folder();
        add_key(&folder);
        let mut store = store(&folder);
        refresh(&mut store);
        let published = folder.path().join(PUBLISHED_FILE);
        let before = fs::read_to_string(&published).expect("published");
        let lock = File::open(&published).expect("published");
        lock.lock().expect("the lock");
        add_key(&folder);
        let (_, problems) = refresh(&mut store);
        let said = format!("failed to write {}: another program holds its lock", published.display());
        assert!(problems.failures.iter().any(|failure| failure.contains(&said)), "{:?}", problems.failures);
        assert_eq!(fs::read_to_string(&published).expect("published"), before);
        drop(lock);
        refresh(&mut store);
        assert_eq!(fs::read_to_string(&published).expect("published").matches("kind: SealingKey").count(), 2);
    }

    #[test]
    fn the_first_key_is_private_and_published_once() {
        let folder = folder();
        let (keys, problems) = refresh(&mut making_store(&folder, 1000));
        assert_eq!((keys.held().len(), problems.warnings.len()), (1, 0));
        let made = keys.held()[0].published();
        assert_eq!((made.created_at, made.recipient.kind()), (second(100), KeyKind::Hybrid));
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode(&folder.path().join(format!("{}.key", made.recipient.key_id()))), 0o600);
        let published = folder.path().join(PUBLISHED_FILE);
        assert_eq!(mode(&published), 0o644);
        let written = fs::metadata(&published).expect("it is there").ino();
        start(&folder);
        assert_eq!(fs::metadata(&published).expect("it is there").ino(), written);
        assert!(!fs::read_to_string(&published).expect("text").contains("AGE-SECRET-KEY"));
    }

    #[test]
    fn unusable_key_files_are_named_with_their_causes() {
        let folder = folder();
        let (one, other) = (key(1), Identity::generate(KeyKind::Hybrid, &mut randomness::system()));
        let one_text = one.to_identity_file();
        let id = other.recipient().key_id().as_str();
        write(&folder, "a", "hunter2\n");
        write(&folder, "b", &one_text);
        write(&folder, "c", &format!("{}\n", other.expose().as_str()));
        write(&folder, id, &format!("{}{}\n", one_text.as_str(), other.expose().as_str()));
        write(&folder, ".d", "hidden");
        write(&folder, "e", "age-encryption.org/v1\n-> scrypt");
        write(&folder, "f", &key(701).to_identity_file());
        let (keys, problems) = refresh(&mut store(&folder));
        assert!(matches!(keys, Keys::Awaiting));
        let failures: Vec<_> = problems.failures.iter().map(String::as_str).collect();
        assert_eq!(
            failures,
            ["no key can be used, and no first key is made while there are key files that cannot be used"]
        );
        let renamed = format!("it must be named {}.key, after the id of its key", one.key_id());
        for (name, cause) in [
            ("a", "line 1: neither an identity nor a comment"),
            ("b", &renamed),
            ("c", "it has no comment \"# created: TIME\" with an RFC 3339 time, by which keys are ordered"),
            (id, "2 identities in it, where there must be one"),
            ("e", "it is encrypted, but a plain identity file is needed"),
            ("f", "its creation time, 1970-01-01T00:11:41Z, is in the future"),
        ] {
            let path = folder.path().join(format!("{name}.key"));
            let warning = format!("the key {} is not used: {cause}", path.display());
            assert!(problems.warnings.contains(&warning), "no {warning} in {:?}", problems.warnings);
        }
        assert_eq!(problems.warnings.len(), 6);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_used_with_a_warning() {
        let folder = folder();
        let path = add_key(&folder);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        let (keys, warnings) = start(&folder);
        let shown = path.display();
        let warning = format!("the key {shown} has the mode 0640: run chmod 600, so that only its owner can read it");
        assert_eq!((keys.held().len(), warnings), (1, vec![warning]));
    }

    #[test]
    fn a_requested_state_is_written_to_the_identity_and_outlives_the_published_file() {
        let folder = folder();
        let path = add_key(&folder);
        let before = fs::read_to_string(&path).expect("an identity");
        start(&folder);
        assert_eq!(fs::read_to_string(&path).expect("an identity"), before);
        request(&folder, KeyState::Revoked);
        assert_eq!(states(&start(&folder).0), [KeyState::Revoked]);
        assert_eq!(fs::read_to_string(&path).expect("an identity"), format!("# state: Revoked\n{before}"));
        let written = fs::metadata(&path).expect("it is there");
        assert_eq!(written.mode() & 0o777, 0o600);
        fs::remove_file(folder.path().join(PUBLISHED_FILE)).expect("removed");
        let (keys, warnings) = start(&folder);
        assert_eq!((states(&keys), warnings), (vec![KeyState::Revoked], vec![no_successor(&keys)]));
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), written.ino());
    }

    #[test]
    fn a_state_that_cannot_be_written_counts_as_long_as_the_process_runs() {
        let (folder, elsewhere) = (folder(), folder());
        let path = add_key(&folder);
        let target = elsewhere.path().join("identity");
        fs::rename(&path, &target).expect("moved");
        symlink(&target, &path).expect("linked");
        let mut store = store(&folder);
        refresh(&mut store);
        request(&folder, KeyState::Revoked);
        let (keys, problems) = refresh(&mut store);
        let failure = format!(
            "failed to write the state Revoked to the key {}: it is a symlink; write the line \"# state: Revoked\" into \
             the file that it leads to",
            path.display()
        );
        assert_eq!((states(&keys), problems.warnings), (vec![KeyState::Revoked], [no_successor(&keys)].into()));
        assert_eq!(problems.failures, [failure].into());
        fs::remove_file(folder.path().join(PUBLISHED_FILE)).expect("removed");
        assert_eq!(states(&refresh(&mut store).0), [KeyState::Revoked]);
        assert_eq!(states(&start(&folder).0), [KeyState::Revoked]);
        assert!(path.is_symlink());
    }

    /// The file of one of two keys is lost for one pass, and then restored from a backup that is older than the
    /// request.
    #[test]
    fn a_revoked_key_whose_identity_was_gone_for_a_while_stays_revoked() {
        for (requested, after) in [(KeyState::Revoked, KeyState::Revoked), (KeyState::Active, KeyState::Active)] {
            let folder = folder();
            let (path, _other) = (add_key(&folder), add_key(&folder));
            let backup = fs::read(&path).expect("a key file");
            let (keys, _) = start(&folder);
            let lost = keys.held().iter().find(|key| path.ends_with(format!("{}.key", key.key_id()))).expect("held");
            let request = PublishedKey { state: requested, ..lost.published().clone() };
            let others = keys.held().iter().filter(|key| key.key_id() != lost.key_id());
            let published: Vec<_> = others.map(|key| key.published().clone()).chain([request]).collect();
            fs::write(folder.path().join(PUBLISHED_FILE), write_keys(&published)).expect("written");
            fs::remove_file(&path).expect("lost");
            assert_eq!(states(&start(&folder).0), [KeyState::Active]);
            fs::write(&path, backup).expect("restored");
            let (keys, _) = start(&folder);
            let restored = keys.held().iter().find(|key| key.key_id() == lost.key_id()).expect("held");
            assert_eq!(restored.published().state, after);
        }
    }

    #[test]
    fn a_published_file_that_cannot_be_read_is_named_and_stays() {
        let folder = folder();
        add_key(&folder);
        let path = folder.path().join(PUBLISHED_FILE);
        fs::write(&path, "hunter2\n").expect("written");
        let (keys, problems) = refresh(&mut store(&folder));
        let expected =
            format!("{} is not understood, so neither this file nor the state of a key changes: ", path.display());
        let failure = problems.failures.first().expect("it is named");
        assert!(failure.starts_with(&expected) && !failure.contains("hunter2"), "{failure}");
        assert_eq!(states(&keys), [KeyState::Active]);
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("hunter2\n"));
    }

    #[test]
    fn a_recovery_key_keeps_its_state_while_the_published_file_cannot_be_read() {
        let folder = folder();
        add_key(&folder);
        let recovery = key(1).published().recipient.clone();
        let mut configured = RecoveryKeys::default();
        configured.add(recovery.as_str()).expect("a recipient");
        let new_store = || KeyStore::new(folder.path().to_owned(), KeyGeneration::Off, configured.clone());
        let state = |store: &mut KeyStore| {
            let keys = refresh(store).0.published();
            keys.iter().find(|key| key.recipient == recovery).map(|key| key.state)
        };
        let mut store = new_store();
        assert_eq!(state(&mut store), Some(KeyState::Active));
        let path = folder.path().join(PUBLISHED_FILE);
        let mut keys = read_keys(&fs::read_to_string(&path).expect("published")).expect("keys");
        keys.iter_mut().filter(|key| key.recipient == recovery).for_each(|key| key.state = KeyState::Revoked);
        fs::write(&path, write_keys(&keys)).expect("written");
        assert_eq!(state(&mut store), Some(KeyState::Revoked));
        fs::write(&path, "<<<<<<<").expect("written");
        assert_eq!(state(&mut store), Some(KeyState::Revoked));
        assert_eq!(state(&mut new_store()), None, "no reading yet");
    }

    #[test]
    fn only_an_absent_published_file_counts_as_empty() {
        let folder = folder();
        let mut problems = Problems::default();
        assert_eq!(store(&folder).read_published(&mut problems), Some(Vec::new()));
        assert_eq!(problems.failures.len(), 0);
        // Looking at the file fails, as it does on a broken disk.
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let store = KeyStore::new(file, KeyGeneration::Off, RecoveryKeys::default());
        assert_eq!(store.read_published(&mut problems), None);
        let failure = problems.failures.first().expect("it is named");
        assert!(
            failure.contains("is not understood") && failure.ends_with("Not a directory (os error 20)"),
            "{failure}"
        );
    }

    #[test]
    fn no_first_key_is_made_beside_a_published_key_without_its_identity() {
        let folder = folder();
        let path = folder.path().join(PUBLISHED_FILE);
        fs::write(&path, write_key(key(2).published())).expect("written");
        let (keys, problems) = refresh(&mut making_store(&folder, 1000));
        let expected = format!(
            "the controller does not make a first key, because {} exists without the identities of its keys: \
             restore the identities, or delete the file",
            path.display()
        );
        assert_eq!((states(&keys), problems.failures), (vec![], [expected].into()));
    }

    /// The warning about the only key, of a store that makes no keys.
    fn no_successor(keys: &Keys) -> String {
        let id = keys.held()[0].key_id();
        format!("no successor of the sealing key {id} is made, because key generation is off: add an identity")
    }

    fn published_states(folder: &TempDir) -> Vec<KeyState> {
        let text = fs::read_to_string(folder.path().join(PUBLISHED_FILE)).expect("text");
        read_keys(&text).expect("a keys file").iter().map(|key| key.state).collect()
    }

    #[test]
    fn the_primary_gets_exactly_one_successor_after_the_renewal_period() {
        let folder = folder();
        add_key(&folder);
        let mut store = making_store(&folder, 1000);
        assert_eq!(states(&refresh_at(&mut store, 1000).0), [KeyState::Active]);
        assert_eq!(store.time_to_renewal(second(1000)), Some(Duration::from_secs(1)));
        let (keys, problems) = refresh_at(&mut store, 1001);
        assert_eq!(states(&keys), [KeyState::Active, KeyState::Retired]);
        assert_eq!(keys.held()[0].published().created_at, second(1001));
        assert_eq!((published_states(&folder).len(), problems.warnings), (2, [].into()));
        for seconds in [1001, 1002, 2000] {
            assert_eq!(states(&refresh_at(&mut making_store(&folder, 1000), seconds).0).len(), 2);
        }
        assert_eq!(states(&refresh_at(&mut store, 2001).0), [KeyState::Active, KeyState::Retired, KeyState::Retired]);
    }

    #[test]
    fn the_only_active_key_is_retired_when_another_key_is_active() {
        let folder = folder();
        add_key(&folder);
        start(&folder);
        request(&folder, KeyState::Retired);
        let (keys, warnings) = start(&folder);
        assert_eq!((states(&keys), warnings), (vec![KeyState::Active], vec![no_successor(&keys)]));
        assert_eq!(published_states(&folder), [KeyState::Retired]);
        let (keys, problems) = refresh(&mut making_store(&folder, 1000));
        assert_eq!((states(&keys), problems.warnings), (vec![KeyState::Active, KeyState::Retired], [].into()));
    }

    #[test]
    fn a_published_file_that_is_not_understood_delays_the_renewal() {
        let folder = folder();
        add_key(&folder);
        let path = folder.path().join(PUBLISHED_FILE);
        fs::write(&path, "hunter2\n").expect("written");
        let mut store = making_store(&folder, 10);
        assert_eq!(states(&refresh(&mut store).0), [KeyState::Active]);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(states(&refresh(&mut store).0), [KeyState::Active, KeyState::Retired]);
    }

    #[test]
    fn without_key_generation_no_first_key_is_made() {
        let folder = folder();
        let (keys, problems) = refresh(&mut store(&folder));
        assert_eq!(keys.held().len(), 0);
        let text = "there is no sealing key, because key generation is off: add a key file".to_owned();
        assert_eq!(problems.failures, [text].into());
    }

    #[test]
    fn a_request_for_a_broken_key_stands_until_the_key_is_repaired() {
        let folder = folder();
        add_key(&folder);
        let broken = key(2);
        let text = broken.to_identity_file();
        let path = write(&folder, broken.key_id().as_str(), text.trim_start_matches("# created:"));
        let request = PublishedKey { state: KeyState::Revoked, ..broken.published().clone() };
        let published_path = folder.path().join(PUBLISHED_FILE);
        fs::write(&published_path, write_key(&request)).expect("written");
        start(&folder);
        let published = read_keys(&fs::read_to_string(&published_path).expect("text")).expect("a keys file");
        assert!(published.len() == 2 && published.contains(&request));
        fs::write(path, text.as_bytes()).expect("written");
        assert_eq!(states(&start(&folder).0), [KeyState::Active, KeyState::Revoked]);
    }
}

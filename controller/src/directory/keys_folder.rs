//! The folder of keys: identities in `KEYID.key`, and what is published of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use thiserror::Error;
use waxseal_shared::key::KeyKind;
use waxseal_shared::key_life::{HeldKey, HeldKeyError, StoredKeys, StrictestStates, held_key, is_planted, with_state};
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::manifest::{read_keys, write_keys};
use waxseal_shared::names::KeyId;
use waxseal_shared::plan::Keys;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};
use zeroize::Zeroizing;

use super::durable_file::{self, FileError, failed_to, shown};
use crate::log;

/// The public half of the keys: the file that `waxseal seal --keys` takes. The states that a person
/// writes into it are requests.
const PUBLISHED_FILE: &str = "sealing-keys.yaml";
const KEY_EXTENSION: &str = "key";
/// The largest file that is read here.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The largest file of published keys that is read: room for more keys than it may hold.
const MAX_PUBLISHED_BYTES: u64 = 8 * 1024 * 1024;

/// A folder of keys, and what was seen in it since the start.
pub(super) struct KeysFolder {
    path: PathBuf,
    /// A state that was used stays in force, even if it cannot be written to the identity.
    strictest: StrictestStates,
    /// The keys that were logged last.
    logged: Vec<PublishedKey>,
}

/// The keys that the folder holds at one moment.
#[derive(Default)]
pub(super) struct HeldKeys {
    ring: KeyRing,
    /// What a person should know of the folder: broken files, modes that are too wide.
    pub(super) complaints: Vec<String>,
    /// How many key files are not used.
    broken: usize,
    /// What the file of published keys says now.
    published: Vec<PublishedKey>,
}

/// Why a key file is not used. Never quotes it.
#[derive(Debug, Error)]
enum KeyFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Content(#[from] HeldKeyError),
    #[error("it must be named {0}.{KEY_EXTENSION}, after the id of its key")]
    Name(KeyId),
}

/// Why a state is not written to a key file.
#[derive(Debug, Error)]
enum StateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("it is not UTF-8")]
    NotText,
    #[error("it is a symlink; write the line \"# state: {}\" into the file that it leads to", .0.as_str())]
    Symlink(KeyState),
}

/// A key file whose identity is held.
struct KeyFile {
    path: PathBuf,
    text: Zeroizing<Vec<u8>>,
}

impl HeldKeys {
    /// The keys as a plan takes them.
    pub(super) fn as_keys(&self) -> Keys<'_> {
        if self.ring.keys().is_empty() { Keys::Awaiting } else { Keys::Held(&self.ring) }
    }

    /// Whether there are key files, and none of them can be used.
    pub(super) fn is_broken(&self) -> bool {
        self.broken > 0 && self.ring.keys().is_empty()
    }

    /// Whether there is not even a broken key.
    pub(super) fn is_without_files(&self) -> bool {
        self.broken == 0 && self.ring.keys().is_empty()
    }

    /// The keys to publish: those that are held, and what may be a request for a broken one.
    fn to_publish(&self) -> Vec<PublishedKey> {
        let held = self.ring.keys().iter().map(HeldKey::published);
        let is_held = |key: &PublishedKey| held.clone().any(|held| held.recipient == key.recipient);
        let requests =
            self.published.iter().filter(|key| !is_held(key) && !is_planted(key, self.ring.keys(), self.broken));
        held.clone().chain(requests).cloned().collect()
    }
}

impl KeysFolder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, strictest: StrictestStates::default(), logged: Vec::new() }
    }

    /// Reads every identity in the folder, and gives each key the strictest state that its identity
    /// has, that is asked for, or that it ever had. What cannot be used is skipped with a complaint.
    ///
    /// A stricter state is written to the identity before the key is used: it must outlive the file of
    /// published keys and this process. If that fails, the state counts all the same.
    pub(super) fn read(&mut self, now: Timestamp) -> HeldKeys {
        let mut held = HeldKeys::default();
        let paths = match key_paths(&self.path) {
            Ok(paths) => paths,
            Err(error) => {
                held.broken = 1;
                held.complaints.push(log::chain(&error));
                return held;
            }
        };
        let mut stored = StoredKeys::default();
        for path in paths {
            held.complaints.extend(complaint_about_mode(&path));
            match read_key(&path, now) {
                Ok(file) => stored.held.push(file),
                Err(error) => {
                    held.broken += 1;
                    held.complaints.push(format!("the key {} is not used: {}", shown(&path), log::chain(&error)));
                }
            }
        }
        held.published = self.read_published(&mut held.complaints);
        self.make_stricter(&mut stored, &held.published, &mut held.complaints);
        held.ring = KeyRing::new(stored.into_keys());
        self.log_changes(&held.ring);
        held
    }

    /// Makes the first key of a folder that has none.
    pub(super) fn make_first(&self, now: Timestamp) -> Result<(), FileError> {
        let key = HeldKey::generate(KeyKind::Hybrid, KeyRole::Cluster, now, &mut randomness::system());
        let path = self.path.join(format!("{}.{KEY_EXTENSION}", key.published().recipient.key_id()));
        durable_file::add(&path, key.to_identity_file().as_bytes(), 0o600)?;
        log::made_first_key(key.published());
        Ok(())
    }

    /// Writes the public half of the keys, if it differs from what is there.
    pub(super) fn publish(&self, held: &HeldKeys) -> Result<(), FileError> {
        if held.ring.keys().is_empty() {
            return Ok(());
        }
        let keys = held.to_publish();
        let path = self.published_path();
        let text = write_keys(&keys);
        let present = durable_file::read_itself(&path, MAX_PUBLISHED_BYTES);
        if present.is_ok_and(|present| *present == text.as_bytes()) {
            return Ok(());
        }
        durable_file::replace(&path, text.as_bytes(), 0o644)?;
        let primary = held.ring.primary().map(|key| key.recipient.key_id().as_str());
        tracing::info!(file = %shown(&path), primary, keys = keys.len(), "published the sealing keys");
        Ok(())
    }

    /// The keys that are published now; none if the file is absent or cannot be read.
    fn read_published(&self, complaints: &mut Vec<String>) -> Vec<PublishedKey> {
        let path = self.published_path();
        if fs::symlink_metadata(&path).is_err() {
            return Vec::new();
        }
        let unusable = match durable_file::read_itself(&path, MAX_PUBLISHED_BYTES) {
            Err(error) => log::chain(&error),
            Ok(bytes) => match str::from_utf8(&bytes).map(read_keys) {
                Ok(Ok(keys)) => return keys,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it is not UTF-8".to_owned(),
            },
        };
        complaints.push(format!("what {} asks for is not known: {unusable}", shown(&path)));
        Vec::new()
    }

    fn make_stricter(
        &mut self,
        stored: &mut StoredKeys<KeyFile>,
        published: &[PublishedKey],
        complaints: &mut Vec<String>,
    ) {
        let requested = |key: &PublishedKey| {
            let requests = published.iter().filter(|request| request.recipient == key.recipient);
            requests.map(|request| request.state).max()
        };
        for (KeyFile { path, text }, state) in stored.tighten(&mut self.strictest, requested) {
            let (shown, word) = (shown(path), state.as_str());
            match write_state(path, text, state) {
                Ok(()) => {
                    tracing::info!(file = shown, state = word, "wrote the state of a sealing key to its file");
                }
                Err(error) => {
                    let cause = log::chain(&error);
                    complaints.push(format!("failed to write the state {word} to the key {shown}: {cause}"));
                }
            }
        }
    }

    /// Logs the keys that are new, and those whose state changed.
    fn log_changes(&mut self, ring: &KeyRing) {
        let keys: Vec<_> = ring.keys().iter().map(|key| key.published().clone()).collect();
        keys.iter().filter(|key| !self.logged.contains(key)).for_each(log::held_key);
        self.logged = keys;
    }

    fn published_path(&self) -> PathBuf {
        self.path.join(PUBLISHED_FILE)
    }
}

fn key_paths(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed_to("read", folder))? {
        let name = entry.map_err(failed_to("read", folder))?.file_name();
        let is_key = Path::new(&name).extension().is_some_and(|extension| extension == KEY_EXTENSION);
        if is_key && !name.as_encoded_bytes().starts_with(b".") {
            paths.push(folder.join(name));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn read_key(path: &Path, now: Timestamp) -> Result<(HeldKey, KeyFile), KeyFileError> {
    let text = durable_file::read(path, MAX_FILE_BYTES)?;
    let key = held_key(&text, now)?;
    let id = key.published().recipient.key_id();
    if path.file_stem().is_none_or(|stem| stem != id.as_str()) {
        return Err(KeyFileError::Name(id.clone()));
    }
    Ok((key, KeyFile { path: path.to_owned(), text }))
}

/// Writes a state into a key file. Never in the place of a symlink: the private key may be where it is
/// because it must not be on this disk.
fn write_state(path: &Path, text: &[u8], state: KeyState) -> Result<(), StateError> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(StateError::Symlink(state));
    }
    let text = str::from_utf8(text).map_err(|_| StateError::NotText)?;
    Ok(durable_file::replace(path, with_state(text, state).as_bytes(), 0o600)?)
}

fn complaint_about_mode(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    let fix = "only its owner should: chmod 600";
    (mode & 0o077 != 0)
        .then(|| format!("others than its owner can get at the key {} (mode {mode:04o}); {fix}", shown(path)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use waxseal_shared::key::{Identity, IdentityFile};
    use waxseal_shared::manifest::write_key;

    use super::*;

    fn identity() -> Identity {
        Identity::generate(KeyKind::Hybrid, &mut randomness::system())
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
    }

    fn read(folder: &Path) -> HeldKeys {
        opened(folder).read(second(100))
    }

    fn opened(folder: &Path) -> KeysFolder {
        KeysFolder::new(folder.to_owned())
    }

    fn write(folder: &Path, name: &str, text: &str) {
        durable_file::add(&folder.join(format!("{name}.key")), text.as_bytes(), 0o600).expect("written");
    }

    fn add_key(folder: &Path, created_at: Timestamp) -> KeyId {
        let identity = identity();
        let id = identity.recipient().key_id().clone();
        write(folder, id.as_str(), &IdentityFile::write(&identity, created_at));
        id
    }

    /// Changes the first key's state in the file of published keys, as a person does.
    fn ask_for(folder: &Path, state: KeyState) {
        let path = folder.join(PUBLISHED_FILE);
        let text = fs::read_to_string(&path).expect("published");
        fs::write(path, text.replacen("state: Active", &format!("state: {}", state.as_str()), 1)).expect("written");
    }

    fn states(held: &HeldKeys) -> Vec<KeyState> {
        held.ring.keys().iter().map(|key| key.published().state).collect()
    }

    #[test]
    fn the_first_key_is_a_file_like_every_other() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(folder.path()).is_without_files());
        opened(folder.path()).make_first(second(7)).expect("made");
        let held = read(folder.path());
        assert_eq!((held.ring.keys().len(), held.complaints.len()), (1, 0));
        let published = held.ring.keys()[0].published();
        assert_eq!((published.created_at, published.recipient.kind()), (second(7), KeyKind::Hybrid));
        let path = folder.path().join(format!("{}.key", published.recipient.key_id()));
        assert_eq!(fs::metadata(path).expect("it is there").mode() & 0o777, 0o600);
    }

    #[test]
    fn the_newest_is_primary_and_all_are_published_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = add_key(folder.path(), second(9));
        add_key(folder.path(), second(1));
        let held = read(folder.path());
        assert_eq!(held.ring.primary().map(|key| key.recipient.key_id().clone()), Some(new));
        let path = folder.path().join(PUBLISHED_FILE);
        opened(folder.path()).publish(&held).expect("written");
        let written = fs::metadata(&path).expect("it is there");
        opened(folder.path()).publish(&read(folder.path())).expect("left");
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), written.ino());
        assert_eq!(written.mode() & 0o777, 0o644);
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(read_keys(&text).expect("a keys file").len(), 2);
        assert!(!text.contains("AGE-SECRET-KEY"));
    }

    #[test]
    fn what_cannot_be_used_is_skipped_with_its_path_and_cause() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (identity(), identity());
        let one_text = IdentityFile::write(&one, second(1));
        let id = other.recipient().key_id().as_str();
        write(folder.path(), "a", "hunter2\n");
        write(folder.path(), "b", &one_text);
        write(folder.path(), "c", &format!("{}\n", other.expose().as_str()));
        write(folder.path(), id, &format!("{}{}\n", one_text.as_str(), other.expose().as_str()));
        write(folder.path(), ".d", "hidden");
        write(folder.path(), "e", "age-encryption.org/v1\n-> scrypt");
        write(folder.path(), "f", &IdentityFile::write(&identity(), second(701)));
        let held = read(folder.path());
        assert!(matches!(held.as_keys(), Keys::Awaiting));
        assert!(!held.is_without_files() && held.is_broken());
        let complaints = |file: &str| {
            let path = folder.path().join(file).display().to_string();
            held.complaints.iter().filter(|text| text.contains(&path)).cloned().collect::<Vec<_>>().concat()
        };
        assert!(complaints("a.key").ends_with("is not used: line 1: neither an identity nor a comment"));
        let renamed =
            format!("is not used: it must be named {}.key, after the id of its key", one.recipient().key_id());
        assert!(complaints("b.key").ends_with(&renamed), "{}", complaints("b.key"));
        assert!(complaints("c.key").contains("it has no comment \"# created: TIME\""));
        assert!(complaints(id).ends_with("is not used: 2 identities in it, where there must be one"));
        assert!(complaints("e.key").ends_with("it is encrypted, and only a plain identity file is read here"));
        let ahead = "is not used: its creation time, 1970-01-01T00:11:41Z, is in the future";
        assert!(complaints("f.key").ends_with(ahead), "{}", complaints("f.key"));
        assert_eq!(held.complaints.len(), 6);
        assert!(held.complaints.iter().all(|text| !text.contains("hunter2") && !text.contains("AGE-SECRET")));
    }

    #[test]
    fn a_key_that_others_can_read_is_used_and_complained_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = add_key(folder.path(), second(1));
        let path = folder.path().join(format!("{id}.key"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        let held = read(folder.path());
        assert_eq!(held.ring.keys().len(), 1);
        assert!(held.complaints[0].contains("(mode 0640); only its owner should: chmod 600"), "{}", held.complaints[0]);
    }

    #[test]
    fn a_requested_state_is_written_to_the_identity_and_outlives_the_published_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = add_key(folder.path(), second(1));
        let path = folder.path().join(format!("{id}.key"));
        let before = fs::read_to_string(&path).expect("an identity");
        opened(folder.path()).publish(&read(folder.path())).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("an identity"), before);
        ask_for(folder.path(), KeyState::Revoked);
        assert_eq!(states(&read(folder.path())), [KeyState::Revoked]);
        assert_eq!(fs::read_to_string(&path).expect("an identity"), format!("# state: Revoked\n{before}"));
        let written = fs::metadata(&path).expect("it is there");
        assert_eq!(written.mode() & 0o777, 0o600);
        fs::remove_file(folder.path().join(PUBLISHED_FILE)).expect("removed");
        let held = read(folder.path());
        assert_eq!((states(&held), held.complaints), (vec![KeyState::Revoked], Vec::new()));
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), written.ino());
    }

    #[test]
    fn no_key_becomes_less_strict() {
        let folder = tempfile::tempdir().expect("a folder");
        add_key(folder.path(), second(1));
        opened(folder.path()).publish(&read(folder.path())).expect("written");
        ask_for(folder.path(), KeyState::Retired);
        assert_eq!(states(&read(folder.path())), [KeyState::Retired]);
        let path = folder.path().join(PUBLISHED_FILE);
        let retired = fs::read_to_string(&path).expect("published");
        fs::write(&path, retired.replace("Retired", "Active")).expect("written");
        let held = read(folder.path());
        assert_eq!(states(&held), [KeyState::Retired]);
        opened(folder.path()).publish(&held).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("published"), retired);
    }

    #[test]
    fn a_state_that_cannot_be_written_counts_as_long_as_the_process_runs() {
        let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let id = add_key(folder.path(), second(1));
        let (path, target) = (folder.path().join(format!("{id}.key")), elsewhere.path().join("identity"));
        fs::rename(&path, &target).expect("moved");
        symlink(&target, &path).expect("linked");
        let mut keys = opened(folder.path());
        let held = keys.read(second(100));
        keys.publish(&held).expect("written");
        ask_for(folder.path(), KeyState::Revoked);
        let held = keys.read(second(100));
        let complaint = format!(
            "failed to write the state Revoked to the key {}: it is a symlink; write the line \"# state: Revoked\" into \
             the file that it leads to",
            path.display()
        );
        assert_eq!((states(&held), held.complaints), (vec![KeyState::Revoked], vec![complaint]));
        fs::remove_file(folder.path().join(PUBLISHED_FILE)).expect("removed");
        let held = keys.read(second(100));
        assert_eq!(states(&held), [KeyState::Revoked]);
        keys.publish(&held).expect("written");
        assert_eq!(states(&read(folder.path())), [KeyState::Revoked]);
        assert!(path.is_symlink());
    }

    #[test]
    fn a_published_file_that_cannot_be_read_is_complained_of() {
        let folder = tempfile::tempdir().expect("a folder");
        add_key(folder.path(), second(1));
        let path = folder.path().join(PUBLISHED_FILE);
        fs::write(&path, "hunter2\n").expect("written");
        let held = read(folder.path());
        let complaint = format!("what {} asks for is not known: ", path.display());
        assert!(held.complaints[0].starts_with(&complaint) && !held.complaints[0].contains("hunter2"));
        opened(folder.path()).publish(&held).expect("written");
        assert_eq!(read(folder.path()).complaints, [""; 0]);
    }

    #[test]
    fn a_request_for_a_broken_key_stands_until_it_is_mended() {
        let folder = tempfile::tempdir().expect("a folder");
        add_key(folder.path(), second(1));
        let mended = identity();
        let text = IdentityFile::write(&mended, second(2));
        let id = mended.recipient().key_id().as_str();
        write(folder.path(), id, text.trim_start_matches("# created:"));
        let key = held_key(text.as_bytes(), second(100)).expect("an identity").published().clone();
        let request = PublishedKey { state: KeyState::Revoked, ..key };
        let path = folder.path().join(PUBLISHED_FILE);
        fs::write(&path, write_key(&request)).expect("written");
        opened(folder.path()).publish(&read(folder.path())).expect("written");
        let published = read_keys(&fs::read_to_string(&path).expect("text")).expect("a keys file");
        assert!(published.len() == 2 && published.contains(&request));
        fs::write(folder.path().join(format!("{id}.key")), text.as_bytes()).expect("written");
        assert_eq!(states(&read(folder.path())), [KeyState::Active, KeyState::Revoked]);
    }
}

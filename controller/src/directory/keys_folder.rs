//! The folder of keys: identities in `KEYID.key`, and what is published of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use thiserror::Error;
use waxseal_shared::key::{Identity, IdentityFile, IdentityFileError, KeyKind};
use waxseal_shared::key_ring::{HeldKey, KeyRing};
use waxseal_shared::manifest::write_keys;
use waxseal_shared::names::KeyId;
use waxseal_shared::plan::Keys;
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use super::durable_file::{self, FileError, failed_to, shown};
use crate::log;

/// The public half of the keys: the file that `waxseal seal --keys` takes.
const PUBLISHED_FILE: &str = "sealing-keys.yaml";
const KEY_EXTENSION: &str = "key";
/// The largest file that is read here.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The keys that the folder holds at one moment.
#[derive(Default)]
pub(super) struct HeldKeys {
    ring: KeyRing,
    /// What a person should know of the folder: broken files, modes that are too wide.
    pub(super) complaints: Vec<String>,
    /// Whether there is any key file, broken ones included.
    has_files: bool,
}

/// Why a key file is not used. Never quotes it.
#[derive(Debug, Error)]
enum KeyFileError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Content(#[from] IdentityFileError),
    #[error("{0} identities in it; a key file holds one")]
    SeveralIdentities(usize),
    #[error("it has no comment \"# created: TIME\" with an RFC 3339 time, by which keys are ordered")]
    NoCreationTime,
    #[error("it must be named {0}.{KEY_EXTENSION}, after the id of its key")]
    Name(KeyId),
}

impl HeldKeys {
    /// The keys as a plan takes them.
    pub(super) fn as_keys(&self) -> Keys<'_> {
        if self.ring.keys().is_empty() { Keys::Awaiting } else { Keys::Held(&self.ring) }
    }

    /// Whether there are key files, and none of them can be used.
    pub(super) fn is_broken(&self) -> bool {
        self.has_files && self.ring.keys().is_empty()
    }

    /// Whether there is not even a broken key.
    pub(super) fn is_without_files(&self) -> bool {
        !self.has_files
    }
}

/// Reads every identity in the folder. What cannot be used is skipped with a complaint.
pub(super) fn read(folder: &Path) -> HeldKeys {
    let mut held = HeldKeys::default();
    let mut keys = Vec::new();
    let files = match key_files(folder) {
        Ok(files) => files,
        Err(error) => {
            held.has_files = true;
            held.complaints.push(log::chain(&error));
            return held;
        }
    };
    held.has_files = !files.is_empty();
    for path in files {
        match read_key(&path) {
            Ok(key) => keys.push(key),
            Err(error) => held.complaints.push(format!("the key {} is not used: {}", shown(&path), log::chain(&error))),
        }
        held.complaints.extend(complaint_about_mode(&path));
    }
    held.ring = KeyRing::new(keys);
    held
}

/// Makes the first key of a folder that has none.
pub(super) fn make_first(folder: &Path, now: Timestamp) -> Result<(), FileError> {
    let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
    let created_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let path = folder.join(format!("{}.{KEY_EXTENSION}", identity.recipient().key_id()));
    durable_file::add(&path, IdentityFile::write(&identity, created_at).as_bytes(), 0o600)?;
    let recipient = identity.recipient();
    tracing::info!(
        key = recipient.key_id().as_str(),
        fingerprint = recipient.fingerprint(),
        "made the first sealing key"
    );
    Ok(())
}

/// Writes the public half of the keys, if it differs from what is there.
pub(super) fn publish(folder: &Path, held: &HeldKeys) -> Result<(), FileError> {
    let keys: Vec<_> = held.ring.keys().iter().map(|key| key.published.clone()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let path = folder.join(PUBLISHED_FILE);
    let text = write_keys(&keys);
    let is_same = durable_file::read_itself(&path, MAX_FILE_BYTES).is_ok_and(|present| *present == text.as_bytes());
    if is_same {
        return Ok(());
    }
    durable_file::replace(&path, text.as_bytes(), 0o644)?;
    let primary = held.ring.primary().map(|key| key.recipient.key_id().as_str());
    tracing::info!(file = %shown(&path), primary, keys = keys.len(), "published the sealing keys");
    Ok(())
}

fn key_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed_to("read", folder))? {
        let name = entry.map_err(failed_to("read", folder))?.file_name();
        let is_key = Path::new(&name).extension().is_some_and(|extension| extension == KEY_EXTENSION);
        if is_key && !name.as_encoded_bytes().starts_with(b".") {
            files.push(folder.join(name));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read_key(path: &Path) -> Result<HeldKey, KeyFileError> {
    let bytes = durable_file::read(path, MAX_FILE_BYTES)?;
    let IdentityFile { created_at, mut identities } = IdentityFile::parse(&bytes)?;
    let count = identities.len();
    let identity = match identities.pop() {
        Some(identity) if count == 1 => identity,
        _ => return Err(KeyFileError::SeveralIdentities(count)),
    };
    let created_at = created_at.ok_or(KeyFileError::NoCreationTime)?;
    let recipient = identity.recipient().clone();
    if path.file_stem().is_none_or(|stem| stem != recipient.key_id().as_str()) {
        return Err(KeyFileError::Name(recipient.key_id().clone()));
    }
    let published = PublishedKey { recipient, role: KeyRole::Cluster, created_at, state: KeyState::Active };
    Ok(HeldKey { identity, published })
}

fn complaint_about_mode(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    let fix = "only its owner should: chmod 600";
    (mode & 0o077 != 0)
        .then(|| format!("others than its owner can get at the key {} (mode {mode:04o}); {fix}", shown(path)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use waxseal_shared::manifest::read_keys;

    use super::*;

    fn identity() -> Identity {
        Identity::generate(KeyKind::Hybrid, &mut randomness::system())
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
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

    #[test]
    fn the_first_key_is_a_file_like_every_other() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(folder.path()).is_without_files());
        make_first(folder.path(), second(7)).expect("made");
        let held = read(folder.path());
        assert_eq!((held.ring.keys().len(), held.complaints.len()), (1, 0));
        let published = &held.ring.keys()[0].published;
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
        publish(folder.path(), &held).expect("written");
        let written = fs::metadata(&path).expect("it is there");
        publish(folder.path(), &held).expect("left");
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
        assert!(complaints(id).ends_with("is not used: 2 identities in it; a key file holds one"));
        assert!(complaints("e.key").ends_with("it is encrypted, and only a plain identity file is read here"));
        assert_eq!(held.complaints.len(), 5);
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
}

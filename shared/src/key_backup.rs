//! Backups of the identities of a controller, as text. [`EncryptedFile`](crate::key::EncryptedFile) encrypts the text.
//!
//! The text is a stream of YAML documents: the first line names the version, then follow the identity Secrets, and a
//! SealingKey for each. `kubectl create` takes it as it stands.
//!
//! The encryption does not tell who wrote a backup. The caller of [`read`] must not trust a key only because it is in a
//! backup.

use jiff::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::api_group::{API_VERSION, IDENTITY_TYPE};
use crate::identity_secret::{self, IDENTITY, IdentitySecretError, STATE};
use crate::key_life::{HeldKey, is_publication_of};
use crate::manifest::{self, DocumentKind, Format, ManifestError, split};
use crate::names::{DataKey, KeyId, Namespace, ObjectName};
use crate::sealing_key::{PublishedKey, SealingKey, SealingKeyError};
use crate::secret::SecretManifest;

/// The most keys of a backup, far more than a cluster ever has.
pub const MAX_KEYS: usize = 1000;

const HEAD: &str = "# waxseal key backup, version ";
const VERSION: &str = "1";
const NOTE: &str =
    "# These are private keys. `waxseal keys restore` reads this text, and so does `kubectl create -f -`.\n";

/// One identity in a backup, and the name of its Secret.
#[derive(Debug)]
pub struct BackedUpKey {
    /// The name of the identity Secret.
    pub secret_name: ObjectName,
    /// The identity and its state.
    pub key: HeldKey,
}

/// Why a text is not a backup. Of the text it shows only names, key ids and times.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyBackupError {
    /// Its first line is not that of a backup.
    #[error("its first line is not \"{HEAD}{VERSION}\"")]
    Head,
    /// A newer version of Waxseal wrote it.
    #[error("it has a version that this waxseal does not know")]
    Version,
    /// A document is not a valid manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A document is neither an identity Secret nor a SealingKey.
    #[error("it has an object that is neither an identity Secret nor a SealingKey")]
    Foreign,
    /// An identity Secret cannot be used.
    #[error("the Secret {0}: {1}")]
    Identity(ObjectName, IdentitySecretError),
    /// An identity Secret has more than an identity and a state.
    #[error("the Secret {0}: it has a data key other than \"identity\" and \"state\"")]
    DataKey(ObjectName),
    /// A SealingKey is not valid.
    #[error("a SealingKey: {0}")]
    SealingKey(#[from] SealingKeyError),
    /// Two identities or two SealingKeys are of the same key.
    #[error("{0} is in it twice")]
    Twice(KeyId),
    /// Two Secrets have the same name.
    #[error("the Secret {0} is in it twice")]
    NameTwice(ObjectName),
    /// An identity has no SealingKey with its recipient, role and creation time.
    #[error("{0} has no SealingKey with its role and creation time")]
    NoSealingKey(KeyId),
    /// A SealingKey has no identity.
    #[error("{0} has a SealingKey, but no identity")]
    NoIdentity(KeyId),
    /// There is no key in it.
    #[error("no key in it")]
    Empty,
    /// There are too many keys in it.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

/// Writes a backup. The Secrets and SealingKeys in it are of this namespace. The same keys give the same bytes.
pub fn write(keys: &[BackedUpKey], namespace: &Namespace) -> Zeroizing<String> {
    let secrets = keys.iter().map(|key| manifest::write_secret(&secret(key, namespace), Format::Yaml));
    let sealing_keys = keys.iter().map(|key| sealing_key(key.key.published(), namespace));
    let documents: Vec<_> = secrets.chain(sealing_keys).map(Zeroizing::new).collect();
    let documents: Vec<_> = documents.iter().map(|document| document.as_str()).collect();
    Zeroizing::new([HEAD, VERSION, "\n", NOTE, &*Zeroizing::new(documents.join("---\n"))].concat())
}

/// Reads a backup. A creation time that is too far after `now` is refused.
///
/// Each identity must have a SealingKey of the same recipient, role and creation time, and each SealingKey an identity.
/// The state is the stricter of both.
pub fn read(text: &str, now: Timestamp) -> Result<Vec<BackedUpKey>, KeyBackupError> {
    check_version(text)?;
    let (mut keys, mut published) = (Vec::new(), Vec::new());
    for (_, kind) in split(text)?.kinds() {
        match kind? {
            DocumentKind::Empty => {}
            DocumentKind::Secret(secret) => add_key(&mut keys, read_secret(secret.read()?, now)?)?,
            DocumentKind::Other(object) if object.is(API_VERSION, "SealingKey") => {
                add_published(&mut published, PublishedKey::decode(&object.read::<SealingKey>()?)?)?;
            }
            _ => return Err(KeyBackupError::Foreign),
        }
    }
    for BackedUpKey { key, .. } in &mut keys {
        let own = published.iter().position(|published| is_publication_of(published, key.published()));
        let own = own.ok_or_else(|| KeyBackupError::NoSealingKey(key.key_id().clone()))?;
        key.tighten(published.swap_remove(own).state);
    }
    match published.first() {
        Some(left) => Err(KeyBackupError::NoIdentity(left.recipient.key_id().clone())),
        None if keys.is_empty() => Err(KeyBackupError::Empty),
        None => Ok(keys),
    }
}

fn secret(BackedUpKey { secret_name, key }: &BackedUpKey, namespace: &Namespace) -> SecretManifest {
    let data = identity_secret::data(key).map(|(name, value)| {
        // `identity` and `state` are valid data keys.
        (DataKey::parse(name).expect("a data key"), value)
    });
    SecretManifest {
        name: secret_name.clone(),
        namespace: Some(namespace.clone()),
        labels: Default::default(),
        annotations: Default::default(),
        type_: Some(IDENTITY_TYPE.to_owned()),
        immutable: None,
        data: data.into(),
    }
}

fn sealing_key(key: &PublishedKey, namespace: &Namespace) -> String {
    let mut object = key.to_object();
    object.metadata.namespace = Some(namespace.to_string());
    // A `Value` sorts the fields by name.
    manifest::write(&serde_json::to_value(object).expect("a SealingKey is JSON"))
}

fn check_version(text: &str) -> Result<(), KeyBackupError> {
    let version = text.strip_prefix(HEAD).ok_or(KeyBackupError::Head)?;
    match version.lines().next() {
        Some(VERSION) => Ok(()),
        _ => Err(KeyBackupError::Version),
    }
}

fn read_secret(secret: SecretManifest, now: Timestamp) -> Result<BackedUpKey, KeyBackupError> {
    let SecretManifest { name, data, type_, .. } = secret;
    if type_.as_deref() != Some(IDENTITY_TYPE) {
        return Err(KeyBackupError::Foreign);
    }
    if data.keys().any(|key| ![IDENTITY, STATE].contains(&key.as_str())) {
        return Err(KeyBackupError::DataKey(name));
    }
    let value = |name: &str| data.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value);
    match identity_secret::read(value, now) {
        Ok(key) => Ok(BackedUpKey { secret_name: name, key }),
        Err(error) => Err(KeyBackupError::Identity(name, error)),
    }
}

fn add_key(keys: &mut Vec<BackedUpKey>, key: BackedUpKey) -> Result<(), KeyBackupError> {
    if keys.len() == MAX_KEYS {
        return Err(KeyBackupError::TooMany);
    }
    if keys.iter().any(|known| known.key.key_id() == key.key.key_id()) {
        return Err(KeyBackupError::Twice(key.key.key_id().clone()));
    }
    if keys.iter().any(|known| known.secret_name == key.secret_name) {
        return Err(KeyBackupError::NameTwice(key.secret_name));
    }
    keys.push(key);
    Ok(())
}

fn add_published(keys: &mut Vec<PublishedKey>, key: PublishedKey) -> Result<(), KeyBackupError> {
    if keys.len() == MAX_KEYS {
        return Err(KeyBackupError::TooMany);
    }
    if keys.iter().any(|known| known.recipient.key_id() == key.recipient.key_id()) {
        return Err(KeyBackupError::Twice(key.recipient.key_id().clone()));
    }
    keys.push(key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;
    use crate::sealing_key::{KeyRole, KeyState};

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().expect("a time")
    }

    fn key(name: &str, state: KeyState) -> BackedUpKey {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let created_at = "2026-01-31T09:00:00.25Z".parse().expect("a time");
        let key = HeldKey::new(identity, KeyRole::Cluster, created_at, state);
        BackedUpKey { secret_name: ObjectName::parse(name).expect("a name"), key }
    }

    fn write(keys: &[BackedUpKey]) -> String {
        super::write(keys, &Namespace::parse("waxseal-system").expect("a namespace")).to_string()
    }

    fn refusal(text: &str) -> KeyBackupError {
        read(text, now()).expect_err("not a backup")
    }

    #[test]
    fn a_backup_reads_back_with_names_states_and_times() {
        let keys =
            [key("first-sealing-key", KeyState::Active), key("b", KeyState::Retired), key("c", KeyState::Revoked)];
        let text = write(&keys);
        assert!(text.starts_with("# waxseal key backup, version 1\n# "), "{text}");
        assert_eq!(text.matches("\n  namespace: waxseal-system\n").count(), 6, "{text}");
        let read = read(&text, now()).expect("our own backup");
        assert_eq!(read.len(), keys.len());
        for (read, written) in read.iter().zip(&keys) {
            assert_eq!(read.secret_name, written.secret_name);
            assert_eq!(read.key.published(), written.key.published());
            assert_eq!(*read.key.identity().expose(), *written.key.identity().expose());
        }
    }

    #[test]
    fn the_stricter_state_of_secret_and_sealing_key_counts() {
        let text = write(&[key("a", KeyState::Active)]);
        let stricter = text.replace("state: Active", "state: Revoked");
        assert_eq!(read(&stricter, now()).expect("a backup")[0].key.published().state, KeyState::Revoked);
        let text = write(&[key("a", KeyState::Retired)]);
        let relaxed = text.replace("state: Retired", "state: Active");
        assert_eq!(read(&relaxed, now()).expect("a backup")[0].key.published().state, KeyState::Retired);
    }

    #[test]
    fn the_head_tells_the_version() {
        let text = write(&[key("a", KeyState::Active)]);
        for version in ["2", "10", "", "1 ", "1.1", "one"] {
            let other = text.replacen("version 1", &format!("version {version}"), 1);
            assert_eq!(refusal(&other), KeyBackupError::Version, "{version:?}");
        }
        for other in ["", "apiVersion: v1\n", &text[2..], &format!("\n{text}")] {
            assert_eq!(refusal(other), KeyBackupError::Head);
        }
    }

    #[test]
    fn a_backup_that_was_tampered_with_is_refused() {
        let (one, two) = (key("a", KeyState::Active), key("b", KeyState::Active));
        let (first, second) = (one.key.key_id().clone(), two.key.key_id().clone());
        let text = write(&[one, two]);
        let (start, documents) = text.split_at(text.find("apiVersion").expect("a manifest"));
        let documents: Vec<_> = documents.split("---\n").collect();
        let joined = |documents: &[&str]| format!("{start}{}", documents.join("---\n"));
        let [secret, other_secret, sealing_key, other_sealing_key] = documents[..] else { panic!("four documents") };
        let pair = [secret, sealing_key];
        let with = |added: &str| joined(&[&pair[..], &[added]].concat());
        assert_eq!(refusal(&joined(&[])), KeyBackupError::Empty);
        assert_eq!(refusal(&joined(&documents[..3])), KeyBackupError::NoSealingKey(second.clone()));
        assert_eq!(refusal(&joined(&documents[1..])), KeyBackupError::NoIdentity(first.clone()));
        assert_eq!(refusal(&with(other_sealing_key)), KeyBackupError::NoIdentity(second));
        assert_eq!(refusal(&with(secret)), KeyBackupError::Twice(first.clone()));
        assert_eq!(refusal(&with(sealing_key)), KeyBackupError::Twice(first.clone()));
        let same_name = other_secret.replace("name: b\n", "name: a\n");
        assert_eq!(refusal(&with(&same_name)), KeyBackupError::NameTwice(ObjectName::parse("a").expect("a name")));
        let other_time = sealing_key.replace("2026-01-31", "2026-02-01");
        assert_eq!(refusal(&joined(&[secret, &other_time])), KeyBackupError::NoSealingKey(first.clone()));
        let other_role = sealing_key.replace("Cluster", "Recovery");
        assert_eq!(refusal(&joined(&[secret, &other_role])), KeyBackupError::NoSealingKey(first));
        for foreign in [secret.replace("waxseal.dev/", "other.dev/"), "apiVersion: v1\nkind: ConfigMap\n".to_owned()] {
            assert_eq!(refusal(&with(&foreign)), KeyBackupError::Foreign);
        }
        let name = ObjectName::parse("a").expect("a name");
        let third = secret.replace("\ndata:\n", "\ndata:\n  third: aGk=\n");
        assert_eq!(refusal(&joined(&[&third, sealing_key])), KeyBackupError::DataKey(name.clone()));
        let state = secret.replace("QWN0aXZl", "aHVudGVyMg==");
        let error = KeyBackupError::Identity(name, IdentitySecretError::State);
        assert_eq!(refusal(&joined(&[&state, sealing_key])), error);
        assert!(matches!(refusal(&with("hunter2: [")), KeyBackupError::Manifest(_)));
    }

    #[test]
    fn a_key_of_the_future_is_refused() {
        let text = write(&[key("a", KeyState::Active)]);
        let early = "2026-01-01T00:00:00Z".parse().expect("a time");
        let said = "the Secret a: the identity: its creation time, 2026-01-31T09:00:00.25Z, is in the future";
        assert_eq!(read(&text, early).expect_err("the future").to_string(), said);
    }

    #[test]
    fn a_backup_holds_at_most_1000_keys() {
        let keys: Vec<_> = (0..=MAX_KEYS).map(|at| key(&format!("k{at}"), KeyState::Active)).collect();
        assert_eq!(read(&write(&keys[..MAX_KEYS]), now()).map(|keys| keys.len()), Ok(MAX_KEYS));
        assert_eq!(refusal(&write(&keys)), KeyBackupError::TooMany);
    }
}

//! The life of keys: their creation times and states, which key is the primary, and how a key becomes stricter.
//!
//! A controller stores identities and publishes a key for each. An identity carries the creation time and the state of
//! its key. The state of a published key is a request. The strictest state counts, and no key becomes less strict.
//!
//! [`crate::key_succession`] decides when a controller makes a key, and when it retires one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::{Identity, IdentityFile, IdentityFileError, KeyKind, Recipient, STATE, state_word};
use crate::names::KeyId;
use crate::randomness::CryptoRng;
use crate::sealing_key::{KeyRole, KeyState, PublishedKey};

/// How far a creation time may be ahead of the clock that judges it: the clocks of two machines differ.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(10);

/// The primary: the Active key of the cluster with the greatest creation time; among equals the one with the smaller
/// key id.
pub fn primary<'a>(keys: impl IntoIterator<Item = &'a PublishedKey>) -> Option<&'a PublishedKey> {
    keys.into_iter()
        .filter(|key| key.role == KeyRole::Cluster && key.state == KeyState::Active)
        .min_by_key(|key| (Reverse(key.created_at), key.recipient.key_id().clone()))
}

/// The keys that new values are sealed to: the primary and the Active recovery keys; `None` without a primary.
pub fn sealing_recipients(keys: &[PublishedKey]) -> Option<Vec<Recipient>> {
    let primary = primary(keys)?;
    let recovery = keys.iter().filter(|key| key.role == KeyRole::Recovery && key.state == KeyState::Active);
    Some(std::iter::once(primary).chain(recovery).map(|key| key.recipient.clone()).collect())
}

/// The time without the fraction of its second, as Kubernetes writes times. Used for the times that Waxseal itself
/// makes: the creation times of keys, the transition times of conditions, and the backup times in annotations. A time
/// that was read keeps its fraction.
///
/// Never rounds up a time after 1970: a key with a creation time that is too late could become the primary instead of a
/// newer key.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    // The fallback is never used: a time without its fraction is a valid time.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The creation time of a key is in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("its creation time, {0}, is in the future")]
pub struct FutureCreationTime(pub Timestamp);

/// Refuses a creation time that is more than 10 minutes after `now`: the key would be the primary until that time has
/// come, and no newer key could replace it.
///
/// An old time is not refused, however old. It never makes a key the primary while a newer one is Active, and a machine
/// without a battery for its clock makes keys in 1970.
pub fn check_creation_time(created_at: Timestamp, now: Timestamp) -> Result<(), FutureCreationTime> {
    if created_at.duration_since(now) > CLOCK_TOLERANCE { Err(FutureCreationTime(created_at)) } else { Ok(()) }
}

/// The time of a backup, from the annotation [`crate::api_group::BACKED_UP_ANNOTATION`]; `None` if the text cannot
/// be read as a time, and for a time before 1970 or more than 10 minutes after `now`.
pub fn backup_time(annotation: &str, now: Timestamp) -> Option<Timestamp> {
    let time: Timestamp = annotation.parse().ok()?;
    (time >= Timestamp::UNIX_EPOCH && time.duration_since(now) <= CLOCK_TOLERANCE).then_some(time)
}

/// An identity with its public half. The recipient of the public half is always the identity's.
#[derive(Debug)]
pub struct HeldKey {
    identity: Identity,
    published: PublishedKey,
}

impl HeldKey {
    /// Derives the recipient from the identity.
    pub fn new(identity: Identity, role: KeyRole, created_at: Timestamp, state: KeyState) -> Self {
        let published = PublishedKey { recipient: identity.recipient().clone(), role, created_at, state };
        Self { identity, published }
    }

    /// Makes a new Active key.
    pub fn generate(kind: KeyKind, role: KeyRole, created_at: Timestamp, random: &mut impl CryptoRng) -> Self {
        Self::new(Identity::generate(kind, random), role, whole_seconds(created_at), KeyState::Active)
    }

    /// Makes a new Active key for a controller: always a hybrid one, which protects values against quantum computers.
    pub fn generate_for_controller(created_at: Timestamp, random: &mut impl CryptoRng) -> Self {
        Self::generate(KeyKind::Hybrid, KeyRole::Cluster, created_at, random)
    }

    /// The private key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The key id of the recipient.
    pub fn key_id(&self) -> &KeyId {
        self.published.recipient.key_id()
    }

    /// The public half.
    pub fn published(&self) -> &PublishedKey {
        &self.published
    }

    /// The identity file of the key, without its state.
    pub fn to_identity_file(&self) -> Zeroizing<String> {
        IdentityFile::write(&self.identity, self.published.created_at)
    }

    /// Gives the key this state, unless its state is stricter.
    pub fn tighten(&mut self, state: KeyState) {
        self.published.state = self.published.state.stricter(state);
    }
}

/// Why an identity file is not held as a key. Of the file it shows only the creation time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeldKeyError {
    /// It is not an identity file.
    #[error(transparent)]
    File(#[from] IdentityFileError),
    /// It has more than one identity.
    #[error("{0} identities in it, where there must be one")]
    Several(usize),
    /// Nothing says when the key was made.
    #[error("it has no comment \"# created: TIME\" with an RFC 3339 time, by which keys are ordered")]
    NoCreationTime,
    /// The key says that it was made in the future.
    #[error(transparent)]
    Future(#[from] FutureCreationTime),
    /// It has a state that no key can have.
    #[error(
        "its comment \"# state:\" must say Active, Retired or Revoked; update Waxseal, if a newer version wrote it"
    )]
    State,
}

/// Reads an identity file as a key of the controller.
///
/// The file has one identity, the comment `# created: TIME`, and perhaps the comment `# state: STATE`; without it the
/// key is Active. Of several states the strictest counts. A creation time that is too far after `now` is refused
/// ([`check_creation_time`]).
pub fn read_held_key(file: &[u8], now: Timestamp) -> Result<HeldKey, HeldKeyError> {
    let file = IdentityFile::parse(file)?;
    let state = state_in(&file);
    let [identity] =
        <[Identity; 1]>::try_from(file.identities).map_err(|identities| HeldKeyError::Several(identities.len()))?;
    let created_at = file.created_at.ok_or(HeldKeyError::NoCreationTime)?;
    check_creation_time(created_at, now)?;
    Ok(HeldKey::new(identity, KeyRole::Cluster, created_at, state.ok_or(HeldKeyError::State)?))
}

/// The state that the `# state:` comments of an identity file say: the strictest one, Active without a comment; `None`
/// if one of them is not a state.
pub fn state_in(file: &IdentityFile) -> Option<KeyState> {
    let states = file.state_words.iter().map(|word| KeyState::parse(word));
    Some(states.collect::<Option<Vec<_>>>()?.into_iter().max().unwrap_or(KeyState::Active))
}

/// Returns the identity file with this state on its first line, instead of every `# state:` line that it has. All other
/// lines stay byte for byte.
pub fn with_state(file: &str, state: KeyState) -> Zeroizing<String> {
    let first = ["# ", STATE, ": ", state.as_str(), "\n"].concat();
    // Enough for the whole text: a text that grows leaves copies of the identity behind.
    let mut text = Zeroizing::new(String::with_capacity(first.len() + file.len()));
    text.push_str(&first);
    file.split_inclusive('\n').filter(|line| state_word(line).is_none()).for_each(|line| text.push_str(line));
    text
}

/// What one complete look at a store of identities found. `P` tells where an identity is stored.
#[derive(Debug)]
pub struct StoredKeys<P> {
    /// The identities that can be used.
    pub held: Vec<(HeldKey, P)>,
    /// Why each of the other identities is not used.
    pub broken: Vec<String>,
}

impl<P> StoredKeys<P> {
    /// Whether there is no identity, not even a broken one.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.broken.is_empty()
    }

    /// Gives every key the strictest of three states: the state that its identity has, the state that `requested`
    /// returns, and the state that `strictest` noted before. Returns the places of the identities that have to be
    /// written, and the states to write.
    ///
    /// Write a state before the key is used: the state must outlive the published key and this process. If the write
    /// fails, use the key all the same: in memory it already has the stricter state.
    pub fn tighten(
        &mut self,
        strictest: &mut StrictestStates,
        requested: impl Fn(&PublishedKey) -> Option<KeyState>,
    ) -> Vec<(&P, KeyState)> {
        // Notes the states of all copies first: an identity may be stored twice, and every copy gets the strictest
        // state.
        for (key, _) in &self.held {
            strictest.note_both(key.published(), requested(key.published()));
        }
        let mut writes = Vec::new();
        for (key, place) in &mut self.held {
            let stored = key.published().state;
            let state = strictest.note(&key.published().recipient, stored);
            if state != stored {
                key.tighten(state);
                writes.push((&*place, state));
            }
        }
        writes
    }

    /// The identities that can be used.
    pub fn into_keys(self) -> Vec<HeldKey> {
        self.held.into_iter().map(|(key, _)| key).collect()
    }
}

/// The strictest state in which each key was seen. A controller keeps it as long as it runs, so that a
/// state that cannot be written to the identity stays in force.
#[derive(Debug, Default, Clone)]
pub struct StrictestStates(BTreeMap<String, KeyState>);

impl StrictestStates {
    /// The stored keys in the states that they would have if all requests were carried out. Notes nothing.
    pub(crate) fn with_requests<P>(
        &self,
        stored: &StoredKeys<P>,
        requested: impl Fn(&PublishedKey) -> Option<KeyState>,
    ) -> Vec<PublishedKey> {
        let mut states = self.clone();
        let keys = || stored.held.iter().map(|(key, _)| key.published());
        keys().for_each(|key| states.note_both(key, requested(key)));
        keys().map(|key| PublishedKey { state: states.note(&key.recipient, key.state), ..key.clone() }).collect()
    }

    fn note_both(&mut self, key: &PublishedKey, requested: Option<KeyState>) {
        self.note(&key.recipient, requested.into_iter().fold(key.state, KeyState::stricter));
    }

    /// Notes a state of a key. Returns the strictest that was noted so far.
    fn note(&mut self, key: &Recipient, state: KeyState) -> KeyState {
        let strictest = self.0.entry(key.as_str().to_owned()).or_insert(state);
        *strictest = state.stricter(*strictest);
        *strictest
    }
}

/// Whether two keys have the same recipient, role and creation time. Their states may differ: a published state is a
/// request.
pub fn is_publication_of(published: &PublishedKey, held: &PublishedKey) -> bool {
    published.recipient == held.recipient && published.role == held.role && published.created_at == held.created_at
}

/// Whether a controller must remove a published key. Callers leave out the recovery keys of the controller's
/// configuration: for these the answer would be wrong. The controller removes a key if no held key has the same
/// recipient, role and creation time, with one exception (below).
///
/// A published key of the role Cluster with an unknown recipient may belong to one of the `broken` identities: nobody
/// can tell. If this key is Active, it is removed: the controller cannot open what is sealed to the key. The controller
/// publishes the key again when the identity is repaired. If the key is Retired or Revoked, it stays while an identity
/// is broken: nobody seals to the key, and the repaired identity may have to take its state.
pub fn must_be_removed(published: &PublishedKey, held: &[HeldKey], broken: usize) -> bool {
    match held.iter().find(|key| key.published().recipient == published.recipient) {
        Some(key) => !is_publication_of(published, key.published()),
        // A broken identity has the role Cluster, so a published recovery key cannot belong to it.
        None => broken == 0 || published.state == KeyState::Active || published.role == KeyRole::Recovery,
    }
}

/// Like [`must_be_removed`], for the published keys in a folder of keys, which only the owner of the folder can write.
/// There, a Revoked key of the role Cluster with an unknown recipient stays: its identity can be restored from a backup
/// that is older than the revocation, and must stay Revoked. (In a cluster, a user who may create SealingKeys could
/// fill the namespace with such keys.)
pub fn must_be_removed_from_folder(published: &PublishedKey, held: &[HeldKey], broken: usize) -> bool {
    let is_held = held.iter().any(|key| key.published().recipient == published.recipient);
    let is_revoked = published.role == KeyRole::Cluster && published.state == KeyState::Revoked;
    (is_held || !is_revoked) && must_be_removed(published, held, broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::randomness;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn now() -> Timestamp {
        time("2026-11-21T12:00:00Z")
    }

    fn identity() -> Identity {
        Identity::generate(KeyKind::Classic, &mut randomness::system())
    }

    fn file() -> String {
        IdentityFile::write(&identity(), now()).as_str().to_owned()
    }

    fn state(file: &str) -> Result<KeyState, HeldKeyError> {
        read_held_key(file.as_bytes(), now()).map(|key| key.published().state)
    }

    fn published(role: KeyRole, state: KeyState, second: i64) -> PublishedKey {
        let created_at = Timestamp::from_second(second).expect("a small number");
        HeldKey::new(identity(), role, created_at, state).published().clone()
    }

    fn key(state: KeyState) -> HeldKey {
        HeldKey::new(identity(), KeyRole::Cluster, now(), state)
    }

    #[test]
    fn a_backup_time_lies_between_1970_and_ten_minutes_from_now() {
        let read = |text| backup_time(text, now());
        assert_eq!(read("2026-11-21T13:00:00+01:00"), Some(now()));
        assert_eq!(read("2026-11-21T12:10:00Z"), Some(time("2026-11-21T12:10:00Z")));
        for refused in
            ["", "yesterday", "2026-11-21", "2026-11-21T12:10:01Z", "9999-01-01T00:00:00Z", "-000001-01-01T00:00:00Z"]
        {
            assert_eq!(read(refused), None, "{refused}");
        }
    }

    #[test]
    fn the_newest_active_cluster_key_is_primary() {
        let keys = [
            published(KeyRole::Cluster, KeyState::Active, 1),
            published(KeyRole::Cluster, KeyState::Active, 2),
            published(KeyRole::Cluster, KeyState::Retired, 3),
            published(KeyRole::Recovery, KeyState::Active, 4),
        ];
        assert_eq!(primary(&keys), Some(&keys[1]));
        assert_eq!(sealing_recipients(&keys), Some(vec![keys[1].recipient.clone(), keys[3].recipient.clone()]));
        assert_eq!(sealing_recipients(&keys[2..]), None);
    }

    #[test]
    fn a_tie_goes_to_the_smaller_key_id_in_any_order() {
        let mut keys =
            [published(KeyRole::Cluster, KeyState::Active, 1), published(KeyRole::Cluster, KeyState::Active, 1)];
        keys.sort_by_key(|key| key.recipient.key_id().clone());
        assert_eq!(primary(&keys), Some(&keys[0]));
        assert_eq!(primary(keys.iter().rev()), Some(&keys[0]));
    }

    #[test]
    fn a_creation_time_may_be_ten_minutes_ahead_and_no_more() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
        let check = |time: &str| check_creation_time(time.parse().expect("a time"), now);
        for time in ["2026-11-21T12:10:00Z", "2026-11-21T12:00:00Z", "1970-01-01T00:00:00Z", "-009999-01-02T01:59:59Z"]
        {
            assert_eq!(check(time), Ok(()), "{time}");
        }
        for time in ["2026-11-21T12:10:00.000000001Z", "2026-11-21T11:10:01-01:00", "9999-12-30T22:00:00Z"] {
            let error = check(time).expect_err(time);
            assert_eq!(error, FutureCreationTime(time.parse().expect("a time")));
        }
        let error = check("2999-01-01T00:00:00Z").expect_err("in the future").to_string();
        assert_eq!(error, "its creation time, 2999-01-01T00:00:00Z, is in the future");
    }

    #[test]
    fn a_held_key_has_the_recipient_and_the_time_of_its_file() {
        let identity = identity();
        let held = read_held_key(IdentityFile::write(&identity, now()).as_bytes(), now()).expect("an identity file");
        let PublishedKey { recipient, role, created_at, state } = held.published();
        assert_eq!((recipient, *role), (identity.recipient(), KeyRole::Cluster));
        assert_eq!((*created_at, *state), (now(), KeyState::Active));
    }

    #[test]
    fn files_that_are_not_held_say_why_and_not_what_is_in_them() {
        let file = file();
        let bare = file.lines().last().expect("the identity").to_owned();
        let ahead = file.replace("2026-11-21T12:00:00Z", "2026-11-21T12:10:01Z");
        for (text, said) in [
            ("hunter2".to_owned(), "line 1: neither an identity nor a comment"),
            (format!("{file}{bare}\n"), "2 identities in it, where there must be one"),
            (bare, "it has no comment \"# created: TIME\" with an RFC 3339 time, by which keys are ordered"),
            (ahead, "its creation time, 2026-11-21T12:10:01Z, is in the future"),
            (
                format!("# state: hunter2\n{file}"),
                "its comment \"# state:\" must say Active, Retired or Revoked; update Waxseal, if a newer version wrote it",
            ),
            (
                format!("# state:\n{file}"),
                "its comment \"# state:\" must say Active, Retired or Revoked; update Waxseal, if a newer version wrote it",
            ),
        ] {
            let error = read_held_key(text.as_bytes(), now()).expect_err(said);
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn a_state_is_found_however_it_is_written_and_the_strictest_counts() {
        let file = file();
        for line in
            ["# state: Revoked", "#State:Revoked", "##  STATE : Revoked \r", "# state: Revoked\n# state: Active"]
        {
            assert_eq!(state(&format!("{line}\n{file}")), Ok(KeyState::Revoked), "{line}");
            assert_eq!(state(&format!("{file}{line}")), Ok(KeyState::Revoked), "{line}");
        }
        assert_eq!(state(&format!("# my state: Revoked\n# estate\n{file}")), Ok(KeyState::Active));
        assert_eq!(state(&format!("# state: Retired\n{file}")), Ok(KeyState::Retired));
    }

    #[test]
    fn a_written_state_replaces_the_former_and_no_other_byte_changes() {
        let file = file().replace('\n', "\r\n") + "# no newline at the end";
        let retired = with_state(&file, KeyState::Retired);
        assert_eq!(*retired, format!("# state: Retired\n{file}"));
        assert_eq!(state(&retired), Ok(KeyState::Retired));
        let revoked = with_state(&format!("{}\n#State: Active", *retired), KeyState::Revoked);
        assert_eq!(*revoked, format!("# state: Revoked\n{file}\n"));
    }

    #[test]
    fn every_copy_of_a_key_has_the_strictest_state_that_was_ever_seen() {
        let (text, other) = (file(), file());
        let mut strictest = StrictestStates::default();
        let mut look = |files: &[&str], requested: Option<KeyState>| {
            let held =
                files.iter().map(|file| (read_held_key(file.as_bytes(), now()).expect("an identity file"), *file));
            let mut stored = StoredKeys { held: held.collect(), broken: Vec::new() };
            let writes: Vec<_> =
                stored.tighten(&mut strictest, |_| requested).iter().map(|(_, state)| *state).collect();
            let states = stored.into_keys().iter().map(|key| key.published().state).collect::<Vec<_>>();
            (states, writes)
        };
        use KeyState::{Active, Retired, Revoked};
        let retired = with_state(&text, Retired);
        assert_eq!(look(&[&text], None), (vec![Active], vec![]));
        assert_eq!(look(&[&text, &retired], None), (vec![Retired, Retired], vec![Retired]));
        assert_eq!(look(&[&text], Some(Active)), (vec![Retired], vec![Retired]));
        assert_eq!(look(&[&text, &retired], Some(Revoked)), (vec![Revoked, Revoked], vec![Revoked, Revoked]));
        assert_eq!(look(&[&text, &other], None), (vec![Revoked, Active], vec![Revoked]));
    }

    #[test]
    fn a_published_key_that_belongs_to_no_held_key_must_be_removed() {
        let (held, stranger) = (key(KeyState::Revoked), key(KeyState::Active).published().clone());
        let own = PublishedKey { state: KeyState::Active, ..held.published().clone() };
        let ring = [held];
        let other_role = PublishedKey { role: KeyRole::Recovery, ..own.clone() };
        let other_time = PublishedKey { created_at: Timestamp::UNIX_EPOCH, state: KeyState::Revoked, ..own.clone() };
        for broken in [0, 1] {
            assert!(!must_be_removed(&own, &ring, broken));
            for planted in [&other_role, &other_time, &stranger] {
                assert!(must_be_removed(planted, &ring, broken), "{planted:?}");
            }
            assert!(must_be_removed(&own, &[], broken));
        }
    }

    #[test]
    fn a_retired_or_revoked_key_stays_while_an_identity_is_broken() {
        for state in [KeyState::Retired, KeyState::Revoked] {
            let published = key(state).published().clone();
            assert!(must_be_removed(&published, &[], 0));
            assert!(!must_be_removed(&published, &[], 1));
        }
    }

    #[test]
    fn in_a_folder_a_revoked_key_of_the_cluster_stays_without_its_identity() {
        for (role, state, is_removed) in [
            (KeyRole::Cluster, KeyState::Revoked, false),
            (KeyRole::Cluster, KeyState::Retired, true),
            (KeyRole::Recovery, KeyState::Revoked, true),
        ] {
            let published = PublishedKey { role, ..key(state).published().clone() };
            assert_eq!(must_be_removed_from_folder(&published, &[], 0), is_removed, "{role:?} {state:?}");
        }
        // A forged creation time of a key that is held.
        let held = key(KeyState::Revoked);
        let forged = PublishedKey { created_at: Timestamp::UNIX_EPOCH, ..held.published().clone() };
        assert!(must_be_removed_from_folder(&forged, &[held], 0));
    }

    #[test]
    fn a_key_is_made_in_a_whole_second_that_has_begun() {
        assert_eq!(whole_seconds(time("2026-11-21T12:00:00.999Z")), now());
        assert_eq!(whole_seconds(Timestamp::MIN), Timestamp::MIN);
    }
}

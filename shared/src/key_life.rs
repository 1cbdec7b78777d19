//! The life of a controller's keys: when the first one is made, what is held of an identity, and how
//! a key becomes stricter.
//!
//! A controller keeps identities, and publishes a key for each. An identity carries the state and the
//! creation time of its key; the state that is published is a request. The strictest state counts,
//! and no key ever becomes less strict.

use std::collections::BTreeMap;

use jiff::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::{Identity, IdentityFile, IdentityFileError, Recipient};
use crate::key_ring::{HeldKey, KeyRing};
use crate::sealed_secret::SealedSecret;
use crate::sealing_key::{FutureCreationTime, KeyRole, KeyState, PublishedKey, check_creation_time};

const STATE: &str = "state";

/// Why an identity file is not held as a key. Never quotes the file.
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
    #[error("its comment \"# state:\" must say Active, Retired or Revoked")]
    State,
}

/// Reads an identity file as a key of the controller.
///
/// The file has one identity, the comment `# created: TIME`, and perhaps the comment `# state: STATE`;
/// without it the key is Active. Of several states the strictest counts. A creation time that is too
/// far after `now` is refused ([`check_creation_time`]).
pub fn held_key(file: &[u8], now: Timestamp) -> Result<HeldKey, HeldKeyError> {
    let IdentityFile { created_at, identities } = IdentityFile::parse(file)?;
    let [identity] =
        <[Identity; 1]>::try_from(identities).map_err(|identities| HeldKeyError::Several(identities.len()))?;
    let created_at = created_at.ok_or(HeldKeyError::NoCreationTime)?;
    check_creation_time(created_at, now)?;
    let text = str::from_utf8(file).map_err(|_| IdentityFileError::NotText)?;
    let states = text.lines().filter_map(stated).map(|word| KeyState::parse(word).ok_or(HeldKeyError::State));
    let state = states.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(KeyState::Active);
    Ok(HeldKey::new(identity, KeyRole::Cluster, created_at, state))
}

/// An identity file with another state in it. Every other line stays as it is, to the byte.
pub fn with_state(file: &str, state: KeyState) -> Zeroizing<String> {
    let first = ["# ", STATE, ": ", state.as_str(), "\n"].concat();
    // Enough for all of it: a growing text would leave copies of the identity behind.
    let mut text = Zeroizing::new(String::with_capacity(first.len() + file.len()));
    text.push_str(&first);
    file.split_inclusive('\n').filter(|line| stated(line).is_none()).for_each(|line| text.push_str(line));
    text
}

/// The word of a `# state:` comment. Capitals and spaces do not matter: a comment that is meant to
/// revoke a key must not be passed over.
fn stated(line: &str) -> Option<&str> {
    let comment = line.strip_prefix('#')?.trim_start_matches('#');
    let (name, word) = comment.split_once(':')?;
    name.trim().eq_ignore_ascii_case(STATE).then(|| word.trim())
}

/// The strictest state in which each key was seen. A controller keeps it as long as it runs, so that a
/// state that cannot be written down does not fade.
#[derive(Debug, Default)]
pub struct StrictestStates(BTreeMap<String, KeyState>);

impl StrictestStates {
    /// Notes a state of a key. Returns the strictest that was noted so far.
    pub fn note(&mut self, key: &Recipient, state: KeyState) -> KeyState {
        let strictest = self.0.entry(key.as_str().to_owned()).or_insert(state);
        *strictest = state.max(*strictest);
        *strictest
    }
}

/// Whether a published key is this held key, with its role and creation time, in any state.
pub fn publishes(published: &PublishedKey, held: &PublishedKey) -> bool {
    published.recipient == held.recipient && published.role == held.role && published.created_at == held.created_at
}

/// Whether a published key must be removed, because no held key accounts for it.
///
/// Nobody can tell which published keys belong to the `broken` identities. An Active one is removed
/// all the same: nothing that is sealed to it opens here, and it is published again as soon as its
/// identity is mended. A Retired or Revoked one stays while an identity is broken: nobody seals to it,
/// and it may be the request that the mended identity has to follow.
pub fn is_planted(published: &PublishedKey, held: &KeyRing, broken: usize) -> bool {
    match held.keys().iter().find(|key| key.published.recipient == published.recipient) {
        Some(key) => !publishes(published, &key.published),
        None => broken == 0 || published.state == KeyState::Active,
    }
}

/// Whether a SealedSecret forbids a controller that has no identity to make its first key: some key
/// opens the SealedSecret, and the controller lacks that key.
pub fn forbids_first_key(object: &SealedSecret) -> bool {
    !object.spec.envelopes.is_empty()
}

/// The creation time of a key that is made now, in whole seconds. Never in the future.
pub fn creation_time(now: Timestamp) -> Timestamp {
    // A time without its fraction is in the range of times.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl KeyState {
    /// The state of this word; `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        [KeyState::Active, KeyState::Retired, KeyState::Revoked].into_iter().find(|state| state.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyKind;
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
        held_key(file.as_bytes(), now()).map(|key| key.published.state)
    }

    fn key(state: KeyState) -> HeldKey {
        HeldKey::new(identity(), KeyRole::Cluster, now(), state)
    }

    #[test]
    fn an_identity_file_is_held_with_what_it_says() {
        let identity = identity();
        let held = held_key(IdentityFile::write(&identity, now()).as_bytes(), now()).expect("an identity file");
        let PublishedKey { recipient, role, created_at, state } = &held.published;
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
            (format!("# state: hunter2\n{file}"), "its comment \"# state:\" must say Active, Retired or Revoked"),
            (format!("# state:\n{file}"), "its comment \"# state:\" must say Active, Retired or Revoked"),
        ] {
            let error = held_key(text.as_bytes(), now()).expect_err(said);
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
    fn the_strictest_state_of_each_key_is_kept() {
        let (one, other) = (key(KeyState::Active).published.recipient, key(KeyState::Active).published.recipient);
        let mut states = StrictestStates::default();
        let noted: Vec<_> =
            [KeyState::Active, KeyState::Retired, KeyState::Active, KeyState::Revoked, KeyState::Retired]
                .map(|state| states.note(&one, state).as_str())
                .into();
        assert_eq!(noted, ["Active", "Retired", "Retired", "Revoked", "Revoked"]);
        assert_eq!(states.note(&other, KeyState::Active), KeyState::Active);
    }

    #[test]
    fn what_no_held_key_accounts_for_is_planted() {
        let (held, stranger) = (key(KeyState::Revoked), key(KeyState::Active).published);
        let own = PublishedKey { state: KeyState::Active, ..held.published.clone() };
        let ring = KeyRing::new(vec![held]);
        let other_role = PublishedKey { role: KeyRole::Recovery, ..own.clone() };
        let other_time = PublishedKey { created_at: Timestamp::UNIX_EPOCH, state: KeyState::Revoked, ..own.clone() };
        for broken in [0, 1] {
            assert!(!is_planted(&own, &ring, broken));
            for planted in [&other_role, &other_time, &stranger] {
                assert!(is_planted(planted, &ring, broken), "{planted:?}");
            }
            assert!(is_planted(&own, &KeyRing::default(), broken));
        }
    }

    #[test]
    fn what_may_be_a_request_for_a_broken_identity_stays() {
        for state in [KeyState::Retired, KeyState::Revoked] {
            let published = key(state).published;
            assert!(is_planted(&published, &KeyRing::default(), 0));
            assert!(!is_planted(&published, &KeyRing::default(), 1));
        }
    }

    #[test]
    fn a_key_is_made_in_a_whole_second_that_has_begun() {
        assert_eq!(creation_time(time("2026-11-21T12:00:00.999Z")), now());
        assert_eq!(creation_time(Timestamp::MIN), Timestamp::MIN);
    }

    #[test]
    fn states_have_the_words_of_manifests() {
        for state in [KeyState::Active, KeyState::Retired, KeyState::Revoked] {
            assert_eq!(serde_json::to_value(state).expect("a word"), state.as_str());
            assert_eq!(KeyState::parse(state.as_str()), Some(state));
        }
        for role in [KeyRole::Cluster, KeyRole::Recovery] {
            assert_eq!(serde_json::to_value(role).expect("a word"), role.as_str());
        }
        assert_eq!(KeyState::parse("revoked"), None);
    }
}

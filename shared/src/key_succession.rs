//! The succession of keys: when a controller makes its first key, when it makes a successor, and when it retires the
//! key before the successor.
//!
//! A controller makes its first key only if a complete look at its store shows no identity, not even a broken one
//! ([`StoredKeys::is_empty`]), and if nothing else shows that there was a key before ([`first_key_obstacle`]). If the
//! store shows no identity but something else shows an earlier key, keys are missing, and a new key would open nothing.
//!
//! A successor follows the newest key of the cluster, and its creation time is later. So a new key becomes the primary.
//! A store can name each successor after the key that it follows. Such a store holds at most one successor of each
//! key, even if several controllers work on it.
//!
//! A key becomes Retired only while another key is Active, so retiring a key never leaves the cluster without a
//! primary. A revocation never waits: it can leave the cluster without a primary until the successor is made.
//!
//! A key whose identity is about to be deleted from the store is lost: it is at least Retired, and does not wait for
//! another Active key either. What is sealed to it now could soon not be opened.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use thiserror::Error;

use crate::key_life::{StoredKeys, StrictestStates, check_creation_time, primary, whole_seconds};
use crate::names::KeyId;
use crate::sealed_secret::SealedSecret;
use crate::sealing_key::{KeyRole, KeyState, PublishedKey};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Whether a controller makes keys, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyGeneration {
    /// Never: the operator brings all keys.
    Off,
    /// It makes the first key ([`first_key_obstacle`]) and successors ([`Succession::due`]).
    On {
        /// The age at which the primary gets a successor; `None`: its age is no reason for a successor.
        renew_after: Option<SignedDuration>,
    },
}

/// A text that is not a renewal period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "must be 0 (never) or a duration of at least one second in weeks, days, hours, minutes and seconds, such as 90d"
)]
pub struct RenewalPeriodError;

/// Reads a renewal period, such as `90d` or `12h 30m`; `0` is `None`. A day has 24 hours.
///
/// # Errors
///
/// The text is not a duration, has months or years, or is shorter than a second and not zero. A period cannot be
/// shorter, because the creation time of a successor is at least one second later.
pub fn parse_renewal_period(text: &str) -> Result<Option<SignedDuration>, RenewalPeriodError> {
    if text == "0" {
        return Ok(None);
    }
    let span: Span = text.parse().map_err(|_| RenewalPeriodError)?;
    let period = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| RenewalPeriodError)?;
    if period.is_zero() {
        return Ok(None);
    }
    if period < SECOND { Err(RenewalPeriodError) } else { Ok(Some(period)) }
}

/// Why a controller without identities does not make its first key.
#[derive(Debug, PartialEq, Eq)]
pub enum FirstKeyObstacle<E> {
    /// A SealedSecret is sealed to a key.
    SealedSecret,
    /// Keys were published, or the published keys could not be read.
    Published,
    /// This object or file could not be read. It may be a SealedSecret that is sealed to a key.
    Unread(E),
}

/// Decides whether something shows that there was a key before.
///
/// `published` are the keys in the `sealing-keys.yaml` of a folder of keys, which only the owner of the folder can
/// write; `None` if the file cannot be read. A controller in a cluster passes an empty list: a user who may create a
/// SealingKey could otherwise keep the controller without a key.
pub fn first_key_obstacle<'a, E>(
    sealed_secrets: impl IntoIterator<Item = &'a SealedSecret>,
    published: Option<&[PublishedKey]>,
    unread: Option<E>,
) -> Option<FirstKeyObstacle<E>> {
    if sealed_secrets.into_iter().any(|object| !object.spec.envelopes.is_empty()) {
        return Some(FirstKeyObstacle::SealedSecret);
    }
    if published.is_none_or(|published| !published.is_empty()) {
        return Some(FirstKeyObstacle::Published);
    }
    unread.map(FirstKeyObstacle::Unread)
}

/// A key that must be made as the successor of another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// The key that it follows.
    pub of: KeyId,
    /// Its creation time, in whole seconds.
    pub created_at: Timestamp,
}

/// Why a successor that is due is not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SuccessorObstacle {
    /// An identity is broken. It may be the successor.
    #[error("no successor of the sealing key {0} is made while an identity cannot be used: repair or remove it")]
    BrokenIdentity(KeyId),
    /// The operator brings the keys.
    #[error("no successor of the sealing key {0} is made, because key generation is off: add an identity")]
    GenerationOff(KeyId),
    /// The creation time would be more than 10 minutes in the future.
    #[error(
        "no successor of the sealing key {of} is made yet: its creation time, {created_at}, would be more than 10 minutes \
         in the future; check the clock"
    )]
    ClockBehind {
        /// The key to follow.
        of: KeyId,
        /// The creation time of the successor.
        created_at: Timestamp,
    },
}

/// What follows from one look at the identities and the requests.
#[derive(Debug)]
pub struct Succession {
    /// The stored keys in the states that are asked for: the requested states, and at least Retired for a lost key.
    asked: Vec<PublishedKey>,
    lost: BTreeSet<KeyId>,
    has_broken_identity: bool,
    generation: KeyGeneration,
    now: Timestamp,
}

impl Succession {
    /// Gathers what the decisions need. `requested` returns the state that a published key requests; `lost` are the
    /// stored keys whose identities are about to be deleted.
    pub fn new<P>(
        stored: &StoredKeys<P>,
        strictest: &StrictestStates,
        requested: impl Fn(&PublishedKey) -> Option<KeyState>,
        lost: BTreeSet<KeyId>,
        generation: KeyGeneration,
        now: Timestamp,
    ) -> Self {
        let mut asked = strictest.with_requests(stored, requested);
        for key in asked.iter_mut().filter(|key| lost.contains(key.recipient.key_id())) {
            key.state = key.state.stricter(KeyState::Retired);
        }
        Self { asked, lost, has_broken_identity: !stored.broken.is_empty(), generation, now }
    }

    /// The successor that must be made now, if any.
    ///
    /// It is due when no key would be Active once the requests are carried out and the lost keys are Retired, or when
    /// the primary is as old as the renewal period. Without keys none is due: the first key has rules of its own
    /// ([`first_key_obstacle`]).
    ///
    /// # Errors
    ///
    /// A successor is due, and something forbids it.
    pub fn due(&self) -> Result<Option<Successor>, SuccessorObstacle> {
        let Some(newest) = self.newest() else { return Ok(None) };
        if self.primary().is_some_and(|primary| !self.is_over_age(primary)) {
            return Ok(None);
        }
        let of = newest.recipient.key_id().clone();
        if self.generation == KeyGeneration::Off {
            return Err(SuccessorObstacle::GenerationOff(of));
        }
        if self.has_broken_identity {
            return Err(SuccessorObstacle::BrokenIdentity(of));
        }
        let created_at = whole_seconds(self.now).max(whole_seconds(newest.created_at) + SECOND);
        match check_creation_time(created_at, self.now) {
            Ok(()) => Ok(Some(Successor { of, created_at })),
            Err(_) => Err(SuccessorObstacle::ClockBehind { of, created_at }),
        }
    }

    /// The state that a held key gets now: the state that is asked for. But a key that is not lost becomes Retired only
    /// if another key is Active, and a key as old as the renewal period becomes Retired as soon as a newer key is
    /// Active. `None` if the key keeps its state for now.
    pub fn state(&self, held: &PublishedKey) -> Option<KeyState> {
        let key = self.asked.iter().find(|key| key.recipient == held.recipient)?;
        let primary = self.primary();
        match key.state {
            KeyState::Retired if primary.is_none() && !self.lost.contains(key.recipient.key_id()) => None,
            KeyState::Active if self.is_over_age(key) && primary != Some(key) => Some(KeyState::Retired),
            state => Some(state),
        }
    }

    /// When the primary reaches the renewal period; `None` if it has reached it, or if there is no primary or no
    /// period.
    pub fn next_renewal(&self) -> Option<Timestamp> {
        let renewal = self.primary()?.created_at.checked_add(self.renewal_period()?).ok()?;
        (renewal > self.now).then_some(renewal)
    }

    fn primary(&self) -> Option<&PublishedKey> {
        primary(&self.asked)
    }

    /// The newest key of the cluster in any state, in the order of [`primary`].
    fn newest(&self) -> Option<&PublishedKey> {
        let keys = self.asked.iter().filter(|key| key.role == KeyRole::Cluster);
        keys.min_by_key(|key| (Reverse(key.created_at), key.recipient.key_id()))
    }

    fn is_over_age(&self, key: &PublishedKey) -> bool {
        self.renewal_period().is_some_and(|period| self.now.duration_since(key.created_at) >= period)
    }

    fn renewal_period(&self) -> Option<SignedDuration> {
        match self.generation {
            KeyGeneration::Off => None,
            KeyGeneration::On { renew_after } => renew_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use KeyState::{Active, Retired, Revoked};

    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::key_life::HeldKey;
    use crate::randomness;
    use crate::sealed_secret::{EnvelopeSpec, SealedSecretSpec};

    const DAY: SignedDuration = SignedDuration::from_hours(24);
    const PERIOD: SignedDuration = SignedDuration::from_hours(90 * 24);
    const ON: KeyGeneration = KeyGeneration::On { renew_after: Some(PERIOD) };
    const ON_REQUEST: KeyGeneration = KeyGeneration::On { renew_after: None };

    fn now() -> Timestamp {
        "2026-11-21T12:00:00.5Z".parse().expect("a time")
    }

    /// A store, and what its SealingKeys request. The clock stands still.
    struct Store {
        stored: StoredKeys<()>,
        requests: Vec<Option<KeyState>>,
        lost: BTreeSet<KeyId>,
        generation: KeyGeneration,
        strictest: StrictestStates,
    }

    impl Store {
        fn of(keys: &[(KeyState, SignedDuration)]) -> Self {
            let mut store = Self {
                stored: StoredKeys { held: Vec::new(), broken: Vec::new() },
                requests: Vec::new(),
                lost: BTreeSet::new(),
                generation: ON,
                strictest: StrictestStates::default(),
            };
            keys.iter().for_each(|(state, age)| store.add(*state, now() - *age));
            store
        }

        fn add(&mut self, state: KeyState, created_at: Timestamp) {
            let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
            self.stored.held.push((HeldKey::new(identity, KeyRole::Cluster, created_at, state), ()));
            self.requests.push(None);
        }

        fn with(mut self, generation: KeyGeneration) -> Self {
            self.generation = generation;
            self
        }

        fn asking(mut self, requests: &[Option<KeyState>]) -> Self {
            self.requests = requests.to_vec();
            self
        }

        fn key(&self, at: usize) -> &PublishedKey {
            self.stored.held[at].0.published()
        }

        fn requested(&self, key: &PublishedKey) -> Option<KeyState> {
            self.requests[(0..self.requests.len()).find(|at| self.key(*at).recipient == key.recipient)?]
        }

        fn succession(&self) -> Succession {
            let requested = |key: &PublishedKey| self.requested(key);
            Succession::new(&self.stored, &self.strictest, requested, self.lost.clone(), self.generation, now())
        }

        fn due(&self) -> Result<Option<Successor>, SuccessorObstacle> {
            self.succession().due()
        }

        /// One look of a controller: makes the successor that is due, and then gives every key its state.
        fn look(&mut self) -> Vec<KeyState> {
            if let Ok(Some(successor)) = self.due() {
                self.add(Active, successor.created_at);
            }
            self.carry_out();
            self.states()
        }

        fn carry_out(&mut self) {
            let succession = self.succession();
            self.stored.tighten(&mut self.strictest, |key| succession.state(key));
        }

        fn states(&self) -> Vec<KeyState> {
            self.stored.held.iter().map(|(key, _)| key.published().state).collect()
        }
    }

    #[test]
    fn the_first_key_is_made_only_if_nothing_shows_an_earlier_key() {
        let empty = SealedSecret::new("db", SealedSecretSpec::default());
        let mut sealed = empty.clone();
        sealed.spec.envelopes.insert("e7f3a9c21e0".to_owned(), EnvelopeSpec::default());
        let (none, some) = ([], [Store::of(&[(Revoked, DAY)]).key(0).clone()]);
        let obstacle = |sealed_secrets: &[&SealedSecret], published, unread: Option<&'static str>| {
            first_key_obstacle(sealed_secrets.iter().copied(), published, unread)
        };
        assert_eq!(obstacle(&[], Some(&none), None), None);
        assert_eq!(obstacle(&[&empty], Some(&none), None), None);
        assert_eq!(obstacle(&[&empty], Some(&none), Some("a.yaml")), Some(FirstKeyObstacle::Unread("a.yaml")));
        for published in [Some(&some[..]), None] {
            assert_eq!(obstacle(&[&empty], published, Some("a.yaml")), Some(FirstKeyObstacle::Published));
        }
        for published in [Some(&none[..]), Some(&some), None] {
            assert_eq!(obstacle(&[&empty, &sealed], published, Some("a")), Some(FirstKeyObstacle::SealedSecret));
        }
    }

    #[test]
    fn a_primary_is_renewed_after_the_period_and_not_before() {
        let second = SignedDuration::from_secs(1);
        for (age, is_due) in [(DAY, false), (90 * DAY - second, false), (90 * DAY, true), (4000 * DAY, true)] {
            let store = Store::of(&[(Active, age)]);
            let due = is_due
                .then(|| Successor { of: store.key(0).recipient.key_id().clone(), created_at: whole_seconds(now()) });
            assert_eq!(store.due(), Ok(due), "{age}");
            assert_eq!(store.with(ON_REQUEST).due(), Ok(None));
        }
        assert_eq!(Store::of(&[]).due(), Ok(None));
    }

    #[test]
    fn a_renewal_ends_with_one_new_key_and_the_old_key_is_retired_after_it() {
        let mut store = Store::of(&[(Active, 90 * DAY)]);
        store.carry_out();
        assert_eq!(store.states(), [Active]);
        for _ in 0..3 {
            assert_eq!(store.look(), [Retired, Active]);
        }
        assert_eq!(store.succession().next_renewal(), Some(whole_seconds(now()) + PERIOD));
    }

    #[test]
    fn without_an_active_key_the_newest_key_gets_a_successor() {
        let mut store = Store::of(&[(Retired, 2 * DAY), (Revoked, DAY), (Retired, 3 * DAY)]).with(ON_REQUEST);
        let due = store.due().expect("no obstacle").expect("it is due");
        assert_eq!(due.of, *store.key(1).recipient.key_id());
        assert_eq!(store.look(), [Retired, Revoked, Retired, Active]);
        assert_eq!(store.look().len(), 4);
    }

    #[test]
    fn the_successor_is_there_before_the_only_active_key_is_retired() {
        let mut store = Store::of(&[(Active, DAY)]).asking(&[Some(Retired)]);
        store.carry_out();
        assert_eq!(store.states(), [Active]);
        assert_eq!(store.look(), [Retired, Active]);
        assert_eq!(store.look(), [Retired, Active]);
        // With another Active key no new key is needed.
        let mut store = Store::of(&[(Active, DAY), (Active, 2 * DAY)]).asking(&[Some(Retired), None]);
        assert_eq!(store.look(), [Retired, Active]);
        // When all keys are to be retired, one key is made.
        let mut store = Store::of(&[(Active, DAY), (Active, 2 * DAY)]).asking(&[Some(Retired), Some(Retired)]);
        assert_eq!(store.look(), [Retired, Retired, Active]);
    }

    #[test]
    fn a_revocation_does_not_wait_for_a_successor() {
        let mut store = Store::of(&[(Active, DAY)]).asking(&[Some(Revoked)]);
        store.carry_out();
        assert_eq!(store.states(), [Revoked]);
        assert_eq!(store.look(), [Revoked, Active]);
    }

    #[test]
    fn a_lost_key_is_retired_before_its_successor_is_made() {
        for (asked, state) in [(None, Retired), (Some(Active), Retired), (Some(Revoked), Revoked)] {
            let mut store = Store::of(&[(Active, DAY)]).asking(&[asked]);
            store.lost.insert(store.key(0).recipient.key_id().clone());
            store.carry_out();
            assert_eq!(store.states(), [state], "{asked:?}");
            assert_eq!(store.look(), [state, Active], "{asked:?}");
        }
        // A key that is not lost waits for the successor, also beside a lost one.
        let mut store = Store::of(&[(Active, DAY), (Active, 2 * DAY)]).asking(&[None, Some(Retired)]);
        store.lost.insert(store.key(0).recipient.key_id().clone());
        store.carry_out();
        assert_eq!(store.states(), [Retired, Active]);
        assert_eq!(store.look(), [Retired, Retired, Active]);
    }

    #[test]
    fn no_successor_is_made_while_an_identity_is_broken_or_without_key_generation() {
        for (state, asked) in [(Retired, None), (Revoked, None), (Active, Some(Retired)), (Active, Some(Revoked))] {
            let mut store = Store::of(&[(state, DAY)]).asking(&[asked]);
            store.stored.broken.push("broken".to_owned());
            let id = store.key(0).recipient.key_id().clone();
            assert_eq!(store.due(), Err(SuccessorObstacle::BrokenIdentity(id.clone())));
            let after = store.look();
            assert_eq!(after, [if asked == Some(Retired) { Active } else { asked.unwrap_or(state) }]);
            assert_eq!(store.with(KeyGeneration::Off).due(), Err(SuccessorObstacle::GenerationOff(id)));
        }
        let mut store = Store::of(&[(Active, 90 * DAY)]);
        store.stored.broken.push("broken".to_owned());
        assert!(matches!(store.due(), Err(SuccessorObstacle::BrokenIdentity(_))));
        assert_eq!((store.look(), store.succession().next_renewal()), (vec![Active], None));
        let store = store.with(KeyGeneration::Off);
        assert_eq!((store.due(), store.succession().next_renewal()), (Ok(None), None));
    }

    #[test]
    fn a_clock_slightly_behind_makes_a_later_key_and_one_far_behind_makes_none() {
        let ahead = SignedDuration::from_secs(-120);
        let mut store = Store::of(&[(Retired, ahead)]);
        store.look();
        assert_eq!(store.key(1).created_at, whole_seconds(now()) + SignedDuration::from_secs(121));
        assert_eq!(primary([store.key(0), store.key(1)]), Some(store.key(1)));
        let store = Store::of(&[(Retired, SignedDuration::from_secs(-600))]);
        let (of, created_at) =
            (store.key(0).recipient.key_id().clone(), whole_seconds(now()) + SignedDuration::from_secs(601));
        assert_eq!(store.due(), Err(SuccessorObstacle::ClockBehind { of, created_at }));
    }

    #[test]
    fn a_clock_that_jumps_makes_one_key() {
        let mut store = Store::of(&[(Active, 36_500 * DAY)]);
        for _ in 0..100 {
            store.look();
        }
        assert_eq!(store.states(), [Retired, Active]);
    }

    #[test]
    fn copies_of_a_key_count_as_one_with_the_strictest_state() {
        let mut store = Store::of(&[(Active, DAY)]);
        let (text, created_at) = (store.stored.held[0].0.to_identity_file(), store.key(0).created_at);
        let copy = crate::key_life::read_held_key(text.as_bytes(), now()).expect("an identity file");
        assert_eq!(copy.published().created_at, created_at);
        store.stored.held.push((copy, ()));
        store.requests.push(None);
        store.stored.held[1].0.tighten(Revoked);
        assert_eq!(store.look(), [Revoked, Revoked, Active]);
    }

    #[test]
    fn a_request_that_was_seen_counts_even_if_it_was_not_stored() {
        let mut store = Store::of(&[(Active, DAY)]).asking(&[Some(Revoked)]);
        store.look();
        // The write to the identity failed, and the SealingKey was deleted.
        let text = store.stored.held[0].0.to_identity_file();
        store.stored.held[0].0 = crate::key_life::read_held_key(text.as_bytes(), now()).expect("an identity file");
        store.requests[0] = None;
        assert_eq!(store.states(), [Active, Active]);
        assert_eq!(store.look(), [Revoked, Active]);
    }

    #[test]
    fn a_key_past_the_period_is_retired_beside_a_newer_active_key() {
        let mut store = Store::of(&[(Active, 91 * DAY), (Active, DAY), (Active, 2 * DAY)]);
        assert_eq!(store.look(), [Retired, Active, Active]);
        let mut store = Store::of(&[(Active, 91 * DAY), (Active, DAY)]).with(ON_REQUEST);
        assert_eq!(store.look(), [Active, Active]);
    }

    #[test]
    fn obstacles_say_what_to_do() {
        let id = KeyId::parse("k0123456789abcdef").expect("a key id");
        let created_at = whole_seconds(now());
        for (obstacle, text) in [
            (
                SuccessorObstacle::BrokenIdentity(id.clone()),
                "no successor of the sealing key k0123456789abcdef is made while an identity cannot be used: repair or \
                 remove it",
            ),
            (
                SuccessorObstacle::GenerationOff(id.clone()),
                "no successor of the sealing key k0123456789abcdef is made, because key generation is off: add an identity",
            ),
            (
                SuccessorObstacle::ClockBehind { of: id, created_at },
                "no successor of the sealing key k0123456789abcdef is made yet: its creation time, 2026-11-21T12:00:00Z, \
                 would be more than 10 minutes in the future; check the clock",
            ),
        ] {
            assert_eq!(obstacle.to_string(), text);
        }
    }

    #[test]
    fn periods_are_read_as_people_write_them() {
        for (text, hours) in [("90d", 2160), ("12h", 12), ("1w", 168), ("1 day 2 hours", 26), ("P1D", 24)] {
            assert_eq!(parse_renewal_period(text), Ok(Some(SignedDuration::from_hours(hours))), "{text}");
        }
        assert_eq!(parse_renewal_period("2s"), Ok(Some(SignedDuration::from_secs(2))));
        for never in ["0", "0s", "0d"] {
            assert_eq!(parse_renewal_period(never), Ok(None), "{never}");
        }
        for refused in ["", "90", "never", "-90d", "90d ago", "1mo", "1y", "999ms", "1s1s", "99999999999999999999d"] {
            assert_eq!(parse_renewal_period(refused), Err(RenewalPeriodError), "{refused}");
        }
    }
}

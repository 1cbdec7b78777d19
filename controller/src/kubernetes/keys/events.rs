//! Events about keys, in the key namespace alone. They are for people: a failure to write one stops nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;
use waxseal_shared::api_group::FIELD_MANAGER;
use waxseal_shared::sealing_key::{KeyState, SealingKey};

use super::key_error::ask_unless;

/// The most Events with one reason in a [`PERIOD`]: somebody who may create SealingKeys can plant them in a loop.
const MOST: usize = 30;
const PERIOD: Duration = Duration::from_mins(10);
/// The most Events that wait to be written.
const WAITING: usize = 256;
/// The most bytes of a note: the API server accepts at most 1 KiB.
const LONGEST_NOTE: usize = 1000;
const CONTROLLER: &str = "waxseal.dev/controller";

/// What has happened to a key.
pub(super) enum KeyEvent {
    /// The controller has made the key.
    KeyMade,
    /// An identity Secret with the key is there.
    IdentityAdded,
    /// The controller no longer holds a usable identity of the key.
    IdentityGone,
    /// The state Retired was carried out.
    Retired,
    /// The state Revoked was carried out.
    Revoked,
    /// The configuration names a recovery key.
    RecoveryKeyAdded,
    /// The configuration no longer names a recovery key.
    RecoveryKeyGone,
    /// An identity Secret is not used, for this reason.
    IdentityBroken(String),
    /// A SealingKey that the controller does not account for was deleted.
    PlantedKeyDeleted,
    /// Somebody has deleted a SealingKey, and the controller has made it again.
    PublishedAnew,
}

impl KeyEvent {
    /// The event of a state that was carried out.
    pub(super) fn of_state(state: KeyState) -> Option<Self> {
        match state {
            KeyState::Active => None,
            KeyState::Retired => Some(Self::Retired),
            KeyState::Revoked => Some(Self::Revoked),
        }
    }

    /// The reason. Tools select Events by it, so it never changes.
    fn reason(&self) -> &'static str {
        match self {
            Self::KeyMade => "KeyMade",
            Self::IdentityAdded => "IdentityAdded",
            Self::IdentityGone => "IdentityGone",
            Self::Retired => "Retired",
            Self::Revoked => "Revoked",
            Self::RecoveryKeyAdded => "RecoveryKeyAdded",
            Self::RecoveryKeyGone => "RecoveryKeyGone",
            Self::IdentityBroken(_) => "IdentityBroken",
            Self::PlantedKeyDeleted => "PlantedKeyDeleted",
            Self::PublishedAnew => "PublishedAnew",
        }
    }

    fn is_warning(&self) -> bool {
        matches!(self, Self::IdentityBroken(_) | Self::PlantedKeyDeleted | Self::PublishedAnew)
    }

    /// What the controller did.
    fn action(&self) -> &'static str {
        match self {
            Self::KeyMade | Self::IdentityAdded | Self::RecoveryKeyAdded | Self::PublishedAnew => "Publish",
            Self::IdentityGone | Self::RecoveryKeyGone | Self::PlantedKeyDeleted => "Delete",
            Self::Retired | Self::Revoked => "CarryOut",
            Self::IdentityBroken(_) => "Read",
        }
    }

    fn note(&self) -> String {
        let note = match self {
            Self::KeyMade => "the controller made this key; `waxseal keys fetch` takes it into a keys file",
            Self::IdentityAdded => "the controller holds the identity of this key, and publishes the key",
            Self::IdentityGone => {
                "the controller no longer holds a usable identity of this key: the SealingKey is deleted"
            }
            Self::Retired => "the state is carried out: nothing new is sealed to this key; it still opens old values",
            Self::Revoked => "the state is carried out: this key opens nothing any more, and nothing is sealed to it",
            Self::RecoveryKeyAdded => "the configuration of the controller names this recovery key",
            Self::RecoveryKeyGone => {
                "the configuration of the controller no longer names this recovery key: the SealingKey is deleted"
            }
            Self::IdentityBroken(why) => return format!("this identity Secret is not used: {why}"),
            Self::PlantedKeyDeleted => {
                "neither an identity nor the configuration of the controller accounts for this SealingKey: it is deleted"
            }
            Self::PublishedAnew => {
                "somebody deleted this SealingKey: the controller published it again. A key of the cluster keeps its state; a \
                 recovery key is Active again"
            }
        };
        note.to_owned()
    }
}

pub(super) fn about_sealing_key(metadata: &ObjectMeta) -> ObjectReference {
    about::<SealingKey>(metadata)
}

pub(super) fn about_secret(metadata: &ObjectMeta) -> ObjectReference {
    about::<Secret>(metadata)
}

fn about<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

/// Takes Events, which [`write`] writes. A clone shares the budgets.
#[derive(Clone)]
pub(in super::super) struct Events {
    sender: mpsc::Sender<Event>,
    budgets: Arc<Mutex<BTreeMap<&'static str, Budget>>>,
}

/// The Events with one reason since the start of a period.
struct Budget {
    since: Instant,
    spent: usize,
}

/// Returns the sender of Events, and the receiver that [`write`] takes.
pub(in super::super) fn channel() -> (Events, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Events { sender, budgets: Arc::default() }, receiver)
}

impl Events {
    /// Sends an Event, unless too many with this reason were sent.
    pub(super) fn send(&self, event: &KeyEvent, about: ObjectReference) {
        if self.is_within_budget(event.reason(), Instant::now()) {
            // The channel is full if the API server does not answer. Then this Event is left out.
            let _ = self.sender.try_send(to_object(event, about));
        }
    }

    fn is_within_budget(&self, reason: &'static str, now: Instant) -> bool {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets.entry(reason).or_insert(Budget { since: now, spent: 0 });
        if now.duration_since(budget.since) >= PERIOD {
            *budget = Budget { since: now, spent: 0 };
        }
        budget.spent = budget.spent.saturating_add(1);
        if budget.spent == MOST + 1 {
            let minutes = PERIOD.as_secs() / 60;
            tracing::warn!(
                reason,
                "more than {MOST} Events with this reason in {minutes} minutes: the controller leaves out the others"
            );
        }
        budget.spent <= MOST
    }
}

/// Returns the Event. Its name consists of the reason and of the UID and the version of the object, so a controller
/// that starts again does not write the same Event twice.
fn to_object(event: &KeyEvent, about: ObjectReference) -> Event {
    let [uid, version] = [&about.uid, &about.resource_version].map(|part| part.as_deref().unwrap_or("unknown"));
    let name = format!("{}.{uid}.{version}", event.reason().to_ascii_lowercase());
    let kind = if event.is_warning() { "Warning" } else { "Normal" };
    let mut note = event.note();
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: about.namespace.clone(), ..ObjectMeta::default() },
        type_: Some(kind.to_owned()),
        reason: Some(event.reason().to_owned()),
        action: Some(event.action().to_owned()),
        note: Some(note),
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance()),
        regarding: Some(about),
        ..Event::default()
    }
}

/// The name of the Pod, which Kubernetes makes its host name.
fn instance() -> String {
    let name = std::env::var("HOSTNAME").ok().filter(|name| (1..=128).contains(&name.len()));
    name.unwrap_or_else(|| "waxseal-controller".to_owned())
}

/// Writes the Events. Logs a failure once, and again only after another Event was written. Ends when the last sender is
/// dropped.
pub(in super::super) async fn write(client: Client, namespace: String, mut receiver: mpsc::Receiver<Event>) {
    let events = Api::<Event>::namespaced(client, &namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let mut logged = BTreeSet::new();
    while let Some(event) = receiver.recv().await {
        // HTTP 409: an Event of this name exists already.
        match ask_unless(&[409], "write an Event", events.create(&params, &event)).await {
            Ok(_) => logged.clear(),
            Err(error) => {
                let text = error.to_string();
                if logged.insert(text.clone()) {
                    tracing::warn!("{text}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<KeyEvent> {
        use KeyEvent::*;
        vec![
            KeyMade,
            IdentityAdded,
            IdentityGone,
            Retired,
            Revoked,
            RecoveryKeyAdded,
            RecoveryKeyGone,
            IdentityBroken("x".repeat(2000)),
            PlantedKeyDeleted,
            PublishedAnew,
        ]
    }

    #[test]
    fn every_event_is_as_the_api_server_wants_it() {
        let about =
            ObjectReference { uid: Some("u".to_owned()), resource_version: Some("7".to_owned()), ..Default::default() };
        for event in all() {
            let object = to_object(&event, about.clone());
            let reason = object.reason.expect("a reason");
            assert_eq!(object.metadata.name, Some(format!("{}.u.7", reason.to_ascii_lowercase())));
            assert!(object.note.is_some_and(|note| (20..=1000).contains(&note.len())), "{reason}");
            assert!(object.action.is_some() && object.reporting_instance.is_some_and(|name| !name.is_empty()));
        }
    }

    #[test]
    fn a_long_note_is_cut_between_two_characters() {
        let event = KeyEvent::IdentityBroken("\u{1f511}".repeat(1000));
        let note = to_object(&event, ObjectReference::default()).note.expect("a note");
        // 34 bytes of ASCII and 241 characters of 4 bytes: the next character would end at byte 1002.
        assert_eq!(note.len(), 998);
        assert!(event.note().starts_with(&note), "{note}");
    }

    #[test]
    fn each_reason_has_a_budget_of_its_own() {
        let (events, mut receiver) = channel();
        for _ in 0..1000 {
            events.send(&KeyEvent::PlantedKeyDeleted, ObjectReference::default());
        }
        events.send(&KeyEvent::Revoked, ObjectReference::default());
        let mut reasons = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            reasons.extend(event.reason);
        }
        assert_eq!(reasons.len(), MOST + 1);
        assert_eq!(reasons.last().map(String::as_str), Some("Revoked"));
        assert!(events.is_within_budget("PlantedKeyDeleted", Instant::now() + PERIOD));
    }
}

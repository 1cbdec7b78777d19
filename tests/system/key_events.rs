//! Events about keys: what they say, where they are, and how many there can be.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::sealing_key::KeyState;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::waiting;

use crate::controllers::{readiness, started, until_warned, warnings};
use crate::key_namespace::{Keys, LONGEST_WAIT, identity_secret, new_identity, sealing_key, secret};
use crate::kustomize::kubectl;
use crate::missing_rights::take_from;
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, patch, run};

/// The most Events with one reason in ten minutes.
const MOST: usize = 30;

/// The Role of the controller in the key namespace.
const KEY_ROLE: &str = "waxseal-controller-keys";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("key_events::each_change_of_a_key_has_its_event", changes),
        Test::on_own_cluster("key_events::an_identity_that_stays_broken_has_one_event", broken),
        Test::on_own_cluster("key_events::planted_sealing_keys_cause_a_bounded_number_of_events", planted),
        Test::on_own_cluster("key_events::events_that_cannot_be_written_stop_nothing", refused),
    ]
}

/// The Events of the controller.
async fn events(cluster: &Cluster) -> Result<Vec<Event>, Error> {
    let all = Api::<Event>::all(cluster.client()).list(&ListParams::default()).await?;
    let is_ours = |event: &Event| event.reporting_controller.as_deref() == Some("waxseal.dev/controller");
    Ok(all.items.into_iter().filter(is_ours).collect())
}

fn regards(event: &Event) -> (&str, &str) {
    let text = |field: fn(&k8s_openapi::api::core::v1::ObjectReference) -> Option<&String>| {
        event.regarding.as_ref().and_then(field).map(String::as_str).unwrap_or_default()
    };
    (text(|object| object.kind.as_ref()), text(|object| object.name.as_ref()))
}

/// The Events with a reason about an object.
async fn found(cluster: &Cluster, reason: &str, about: (&str, &str)) -> Result<Vec<Event>, Error> {
    let mut events = events(cluster).await?;
    events.retain(|event| event.reason.as_deref() == Some(reason) && regards(event) == about);
    Ok(events)
}

/// Waits for an Event with a reason about an object; returns it.
async fn until_event(cluster: &Cluster, reason: &str, about: (&str, &str)) -> Result<Event, Error> {
    let event = async || found(cluster, reason, about).await.ok()?.into_iter().next();
    match waiting::until(&format!("the Event {reason} about {about:?}"), LONGEST_WAIT, event).await {
        Ok(event) => Ok(event),
        Err(error) => {
            let events = events(cluster).await?;
            let seen: Vec<_> = events.iter().map(|event| (event.reason.as_deref(), regards(event))).collect();
            Err(format!("{error}; there are {seen:?}").into())
        }
    }
}

fn about_key(key: &str) -> (&str, &str) {
    ("SealingKey", key)
}

/// Takes a verb away from the controller in the key namespace. Returns the Role as it was.
async fn take_right(cluster: &Cluster, verb: &str, resource: &str) -> Result<Role, Error> {
    let before = roles(cluster).get(KEY_ROLE).await?;
    let mut role = before.clone();
    assert_eq!(take_from(&mut role.rules, verb, resource), 1, "the rules to {verb} {resource}");
    roles(cluster).replace(KEY_ROLE, &PostParams::default(), &role).await?;
    Ok(before)
}

async fn give_back(cluster: &Cluster, role: Role) -> TestResult {
    let rules = json!({ "rules": role.rules });
    patch(&roles(cluster), KEY_ROLE, rules).await?;
    Ok(())
}

fn roles(cluster: &Cluster) -> Api<Role> {
    Api::namespaced(cluster.client(), KEY_NAMESPACE)
}

async fn changes(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let role = take_right(cluster, "patch", "sealingkeys/status").await?;
    let keys = Keys::of(cluster);
    let controller = Controller::start(cluster, &context.programs, "changes").await?;
    controller.ready().await?;
    let key = keys.first().await?;
    let made = until_event(cluster, "KeyMade", about_key(&key)).await?;
    let regarding = made.regarding.clone().ok_or("it regards nothing")?;
    assert_eq!(regarding.uid, keys.published.get(&key).await?.uid());
    assert_eq!(made.type_.as_deref(), Some("Normal"));
    let describe = ["describe", "sealingkey", &key, "-n", KEY_NAMESPACE];
    let described = run(kubectl(context, cluster).args(describe), "")?;
    assert!(described.contains("KeyMade") && described.contains("the controller made this key"), "{described}");

    // Young enough to stay Active beside the first key.
    let (identity, made_at) = (new_identity(), Timestamp::now() - SignedDuration::from_hours(1));
    let added = identity.recipient().key_id().to_string();
    let identity = secret("added", &identity, &made_at.to_string());
    keys.identities.create(&PostParams::default(), &identity).await?;
    until_event(cluster, "IdentityAdded", about_key(&added)).await?;
    // The first request comes before the controller has written a status.
    keys.ask_for(&added, "Retired").await?;
    let failed = format!("failed to write the status of the SealingKey {added}: HTTP 403 Forbidden; trying again");
    until_warned(&controller, &failed).await?;
    give_back(cluster, role).await?;
    let retired = until_event(cluster, "Retired", about_key(&added)).await?;
    assert_eq!(retired.type_.as_deref(), Some("Normal"));
    keys.ask_for(&added, "Revoked").await?;
    let revoked = until_event(cluster, "Revoked", about_key(&added)).await?;
    assert_eq!(revoked.type_.as_deref(), Some("Normal"));
    keys.published.delete(&added, &DeleteParams::default()).await?;
    let anew = until_event(cluster, "PublishedAnew", about_key(&added)).await?;
    assert_eq!(anew.type_.as_deref(), Some("Warning"));
    keys.until_published(&added, KeyState::Revoked).await?;
    // Waits until the controller has confirmed the state: only then does it count the SealingKey as its own.
    let confirmed = async || keys.published.get_opt(&added).await.ok()??.status?.state;
    waiting::until("the status", DEADLINE, confirmed).await?;
    keys.identities.delete("added", &DeleteParams::default()).await?;
    until_event(cluster, "IdentityGone", about_key(&added)).await?;

    let all = events(cluster).await?;
    let mut reasons = BTreeMap::new();
    for event in &all {
        assert_eq!(event.namespace().as_deref(), Some(KEY_NAMESPACE));
        *reasons.entry(event.reason.clone().unwrap_or_default()).or_insert(0) += 1;
    }
    let once = ["IdentityAdded", "IdentityGone", "KeyMade", "PublishedAnew", "Retired", "Revoked"];
    assert_eq!(reasons, once.map(|reason| (reason.to_owned(), 1)).into());
    Ok(())
}

async fn broken(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    keys.add("held").await?;
    let controller = started(context, cluster, "broken").await?;
    let until_metric = async |controller: &Controller, count: usize| {
        let line = format!("\nwaxseal_broken_identities {count}\n");
        let shown = async || controller.get("/metrics").await?.1.contains(&line).then_some(());
        waiting::until(&line, DEADLINE, shown).await
    };
    until_metric(&controller, 0).await?;
    keys.identities.create(&PostParams::default(), &identity_secret("broken", b"hunter2")).await?;
    let about = ("Secret", "broken");
    let event = until_event(cluster, "IdentityBroken", about).await?;
    let note = "this identity Secret is not used: the identity: line 1: neither an identity nor a comment";
    assert_eq!((event.type_.as_deref(), event.note.as_deref()), (Some("Warning"), Some(note)));
    until_metric(&controller, 1).await?;

    // Events are written in order: a second Event about the broken identity would precede the one about a later key.
    drop(controller);
    let controller = started(context, cluster, "again").await?;
    for round in 0..3 {
        let key = keys.add(&format!("later-{round}")).await?;
        until_event(cluster, "IdentityAdded", about_key(&key)).await?;
        assert_eq!(found(cluster, "IdentityBroken", about).await?.len(), 1, "round {round}");
        patch(&keys.identities, "broken", json!({"metadata": {"annotations": {"round": round.to_string()}}})).await?;
    }
    // Another way of being broken is another Event.
    patch(&keys.identities, "broken", json!({"data": {"identity": null}})).await?;
    let notes = async || {
        let events = found(cluster, "IdentityBroken", about).await.ok()?;
        let notes: BTreeSet<_> = events.into_iter().filter_map(|event| event.note).collect();
        (notes.len() > 1).then_some(notes)
    };
    let notes = waiting::until("another Event", LONGEST_WAIT, notes).await?;
    assert!(notes.contains("this identity Secret is not used: it has no data key \"identity\""), "{notes:?}");
    keys.identities.delete("broken", &DeleteParams::default()).await?;
    until_metric(&controller, 0).await?;
    Ok(())
}

/// Somebody who may create SealingKeys plants them one after another.
async fn planted(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    let controller = started(context, cluster, "planted").await?;
    for _ in 0..2 * MOST {
        let planted = sealing_key(&new_identity(), KeyState::Active);
        keys.published.create(&PostParams::default(), &planted).await?;
    }
    let alone = async || (keys.published.list(&ListParams::default()).await.ok()?.items.len() == 1).then_some(());
    waiting::until("the end of the planted SealingKeys", DEADLINE, alone).await?;
    let left_out = "more than 30 Events with this reason in 10 minutes: the controller leaves out the others";
    until_warned(&controller, left_out).await?;
    // Events are written in order: none about a planted key follows this one.
    keys.ask_for(&key, "Revoked").await?;
    until_event(cluster, "Revoked", about_key(&key)).await?;
    let planted =
        events(cluster).await?.into_iter().filter(|event| event.reason.as_deref() == Some("PlantedKeyDeleted"));
    let planted: Vec<_> = planted.collect();
    assert_eq!(planted.len(), MOST);
    assert!(planted.iter().all(|event| event.type_.as_deref() == Some("Warning")));
    Ok(())
}

/// The controller may not create Events.
async fn refused(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    take_right(cluster, "create", "events").await?;
    let keys = Keys::of(cluster);
    let held = keys.add("held").await?;
    let controller = started(context, cluster, "refused").await?;
    for name in ["one", "two", "three"] {
        let key = keys.add(name).await?;
        keys.until_published(&key, KeyState::Active).await?;
    }
    let said = "failed to write an Event: HTTP 403 Forbidden";
    until_warned(&controller, said).await?;
    let last = keys.add("last").await?;
    keys.ask_for(&held, "Retired").await?;
    keys.until_durable("held", "Retired").await?;
    keys.until_published(&last, KeyState::Active).await?;
    assert_eq!(warnings(&controller).iter().filter(|warning| *warning == said).count(), 1);
    assert_eq!(readiness(&controller).await, Some(200));
    Ok(())
}

//! New keys: after the renewal period, on request, and after a revocation. There is always a primary, and each key has
//! at most one successor.

use std::process::Command;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use waxseal_shared::key_life::primary;
use waxseal_shared::sealing_key::{KeyState, PublishedKey};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::controllers::{answer, until_warned, warnings};
use crate::key_namespace::{Keys, Seen, identity_secret};
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::DEADLINE;

/// The renewal period in these tests.
const PERIOD: SignedDuration = SignedDuration::from_secs(2);
const KILLS: u64 = 36;
const FIRST: &str = "first-sealing-key";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("key_succession::two_controllers_renew_with_one_key_each_time", renewal),
        Test::on_own_cluster("key_succession::two_controllers_make_one_key_on_request", request),
        Test::on_own_cluster("key_succession::after_kills_during_renewals_each_key_has_one_successor", killed),
        Test::on_own_cluster("key_succession::a_broken_identity_is_no_reason_for_a_new_key", broken),
        Test::on_own_cluster("key_succession::without_key_generation_no_key_is_made", off),
        Test::on_own_cluster("key_succession::a_taken_name_is_reported_and_a_revocation_does_not_wait", taken),
    ]
}

async fn start(context: &Context, cluster: &Cluster, name: &str, renew_after: &str) -> Result<Controller, Error> {
    let mut command = Command::new(&context.programs.waxseal_controller);
    command.env_clear().env("WAXSEAL_RENEW_AFTER", renew_after);
    Ok(Controller::start_command(cluster, command, name).await?)
}

/// Waits until at least this many keys are published, only the newest is Active, and each older key has exactly one
/// successor, which was made at least `gap` later. Returns the keys, oldest first.
async fn until_chain(keys: &Keys, count: usize, gap: SignedDuration) -> Result<Vec<PublishedKey>, Error> {
    let chain = async || {
        let mut found = keys.decoded().await.ok()?;
        found.sort_by_key(|key| key.created_at);
        let names = keys.identity_names().await.ok()?;
        let is_active = |key: &&PublishedKey| key.state == KeyState::Active;
        let is_settled = found.iter().filter(is_active).eq(found.last()) && primary(&found) == found.last();
        let in_order = found.windows(2).all(|pair| pair[1].created_at.duration_since(pair[0].created_at) >= gap);
        (found.len() >= count && is_settled && in_order && names == chain_of_names(&found)).then_some(found)
    };
    Ok(waiting::until("a chain of keys with one Active key", 2 * DEADLINE, chain).await?)
}

/// The names of the identity Secrets if each key but the newest has one successor.
fn chain_of_names(oldest_first: &[PublishedKey]) -> Vec<String> {
    let with_successor = &oldest_first[..oldest_first.len().saturating_sub(1)];
    let mut names: Vec<_> =
        with_successor.iter().map(|key| format!("waxseal-key-after-{}", key.recipient.key_id())).collect();
    names.push(FIRST.to_owned());
    names.sort();
    names
}

/// Both controllers see at the same time that the period is over, several times in a row.
async fn renewal(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let [one, other] = [start(context, cluster, "one", "2s").await?, start(context, cluster, "other", "2s").await?];
    for controller in [&one, &other] {
        controller.ready().await?;
    }
    let seen = Seen::follow(keys.published.clone()).await?;
    let six = async || (keys.identity_names().await.ok()?.len() >= 6).then_some(());
    waiting::until("six keys", DEADLINE, six).await?;
    for controller in [&one, &other] {
        assert_eq!(warnings(controller), [""; 0]);
    }
    // On a slow machine, one of two controllers is always in the middle of a renewal.
    drop(other);
    until_chain(&keys, 6, PERIOD).await?;
    Seen::assert_always_active(&seen);
    assert_eq!(warnings(&one), [""; 0]);
    Ok(())
}

/// Two controllers see at the same time that the only key is to be retired, and that the only key is revoked.
async fn request(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let controllers = [start(context, cluster, "one", "0").await?, start(context, cluster, "other", "0").await?];
    for controller in &controllers {
        controller.ready().await?;
    }
    let seconds = SignedDuration::from_secs(1);
    for round in 1..=5 {
        let chain = until_chain(&keys, round, seconds).await?;
        assert_eq!(chain.len(), round);
        let newest = chain.last().ok_or("no key")?.recipient.key_id().to_string();
        let state = if round % 2 == 0 { "Revoked" } else { "Retired" };
        keys.ask_for(&newest, state).await?;
        until_confirmed(&keys, &newest, state).await?;
    }
    assert_eq!(until_chain(&keys, 6, seconds).await?.len(), 6);
    for controller in &controllers {
        assert_eq!(warnings(controller), [""; 0]);
    }
    Ok(())
}

/// Waits until the controller confirms a state in the status of the SealingKey.
async fn until_confirmed(keys: &Keys, key: &str, state: &str) -> TestResult {
    let confirmed = async || {
        let found = keys.published.get_opt(key).await.ok()??;
        (found.status?.state?.as_str() == state).then_some(())
    };
    Ok(waiting::until(&format!("the confirmation of {state}"), DEADLINE, confirmed).await?)
}

/// Each round kills the controller: as soon as a new identity Secret is there, a little later, or at any other time.
async fn killed(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let seen = Seen::follow(keys.published.clone()).await?;
    for round in 0..KILLS {
        let before = keys.identity_names().await?.len();
        let controller = start(context, cluster, &format!("round-{round}"), "2s").await?;
        let renewed = async || (keys.identity_names().await.ok()?.len() > before).then_some(());
        match round % 3 {
            0 => waiting::until("a new identity Secret", DEADLINE, renewed).await?,
            1 => {
                waiting::until("a new identity Secret", DEADLINE, renewed).await?;
                tokio::time::sleep(Duration::from_millis(2 * round)).await;
            }
            _ => tokio::time::sleep(Duration::from_millis(20 * round)).await,
        }
        drop(controller);
    }
    let last = start(context, cluster, "last", "2s").await?;
    last.ready().await?;
    let chain = until_chain(&keys, 24, PERIOD).await?;
    for key in &chain[..chain.len() - 1] {
        assert_eq!(key.state, KeyState::Retired, "{key:?}");
    }
    Seen::assert_always_active(&seen);
    Ok(())
}

async fn broken(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let first = start(context, cluster, "first", "0").await?;
    first.ready().await?;
    let key = keys.first().await?;
    keys.identities.create(&PostParams::default(), &identity_secret("broken", b"hunter2")).await?;
    drop(first);
    let controller = start(context, cluster, "broken", "1s").await?;
    let said =
        format!("no successor of the sealing key {key} is made while an identity cannot be used: repair or remove it");
    until_warned(&controller, &said).await?;
    // A retirement of the only Active key waits; a revocation does not. When the second broken identity is named, the
    // controller has seen the request.
    keys.ask_for(&key, "Retired").await?;
    keys.identities.create(&PostParams::default(), &identity_secret("also-broken", b"hunter2")).await?;
    let also_broken =
        "this identity Secret is not used: also-broken: the identity: line 1: neither an identity nor a comment";
    until_warned(&controller, also_broken).await?;
    until_confirmed(&keys, &key, "Active").await?;
    keys.ask_for(&key, "Revoked").await?;
    until_confirmed(&keys, &key, "Revoked").await?;
    assert_eq!(keys.durable(FIRST).await.as_deref(), Some("Revoked"));
    assert_eq!(keys.identity_names().await?, ["also-broken", "broken", FIRST]);
    assert_eq!(warnings(&controller).iter().filter(|warning| **warning == said).count(), 1);
    drop(controller);
    let controller = start(context, cluster, "repaired", "0").await?;
    for name in ["broken", "also-broken"] {
        keys.identities.delete(name, &DeleteParams::default()).await?;
    }
    let chain = until_chain(&keys, 2, SignedDuration::from_secs(1)).await?;
    assert_eq!((chain.len(), chain[0].state), (2, KeyState::Revoked));
    drop(controller);
    Ok(())
}

async fn off(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let mut command = Command::new(&context.programs.waxseal_controller);
    command.env_clear().env("WAXSEAL_NO_KEY_GENERATION", "true").env("WAXSEAL_RENEW_AFTER", "1s");
    let controller = Controller::start_command(cluster, command, "off").await?;
    until_warned(&controller, "there is no sealing key, because key generation is off: add an identity Secret").await?;
    assert_eq!(answer(&controller, "/readyz").await, Some((503, "AwaitingKeys".to_owned())));
    let key = keys.add("mine").await?;
    controller.ready().await?;
    keys.ask_for(&key, "Retired").await?;
    let said = format!("no successor of the sealing key {key} is made, because key generation is off: add an identity");
    until_warned(&controller, &said).await?;
    until_confirmed(&keys, &key, "Active").await?;
    let newer = keys.add("newer").await?;
    until_confirmed(&keys, &key, "Retired").await?;
    keys.until_published(&newer, KeyState::Active).await?;
    assert_eq!(keys.identity_names().await?, ["mine", "newer"]);
    Ok(())
}

/// A Secret of the successor's name exists, and is not an identity.
async fn taken(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let controller = start(context, cluster, "taken", "0").await?;
    controller.ready().await?;
    let key = keys.first().await?;
    let name = format!("waxseal-key-after-{key}");
    let mut foreign = Secret::default();
    foreign.metadata.name = Some(name.clone());
    keys.identities.create(&PostParams::default(), &foreign).await?;
    keys.ask_for(&key, "Retired").await?;
    let said = format!(
        "failed to make a successor of the sealing key {key}: the Secret {name} exists and holds no newer key; move what \
         it holds to a Secret of another name; trying again"
    );
    until_warned(&controller, &said).await?;
    assert_eq!(keys.durable(FIRST).await.as_deref(), Some("Active"));
    keys.ask_for(&key, "Revoked").await?;
    until_confirmed(&keys, &key, "Revoked").await?;
    keys.identities.delete(&name, &DeleteParams::default()).await?;
    // The retry makes the key: no watch reports the deletion of a foreign Secret.
    until_chain(&keys, 2, SignedDuration::from_secs(1)).await?;
    Ok(())
}

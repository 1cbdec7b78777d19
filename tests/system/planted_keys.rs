//! SealingKeys that no identity accounts for are deleted.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::key::{Identity, IdentityFile};
use waxseal_shared::sealing_key::{KeyRole, KeyState, SealingKey};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::controllers::{answer, started, started_with_generation, until_warned, warnings};
use crate::key_namespace::{Keys, MADE, Seen, identity_secret, new_identity, sealing_key, secret};
use crate::keys::{is_refused, refuse};
use crate::registration::{Context, Test, TestResult};
use crate::sealing::{DEADLINE, patch};

/// So many keys that each look of the controller at its keys takes much of the time between two looks.
const NEW_KEYS: usize = 100;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("planted_keys::a_sealing_key_that_no_identity_accounts_for_is_deleted", planted),
        Test::on_own_cluster("planted_keys::a_planted_sealing_key_that_stays_does_not_protect_others", kept),
        Test::on_own_cluster("planted_keys::a_sealing_key_whose_identity_was_just_stored_stays", just_stored),
        Test::on_own_cluster("planted_keys::planted_sealing_keys_of_the_greatest_length_are_deleted", large),
        Test::on_own_cluster("planted_keys::thousands_of_planted_sealing_keys_delay_nothing", crowd),
    ]
}

/// Stores identities, and creates the SealingKey of each directly afterwards, as another controller does. With many
/// keys, this often falls between the moments at which the controller reads the identities and lists the SealingKeys.
async fn just_stored(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    keys.add("first").await?;
    let _controller = started(context, cluster, "just-stored").await?;
    let seen = Seen::follow(keys.published.clone()).await?;
    for number in 0..NEW_KEYS {
        let identity = new_identity();
        let stored = secret(&format!("stored-{number}"), &identity, MADE);
        keys.identities.create(&PostParams::default(), &stored).await?;
        let published = sealing_key(&identity, KeyState::Active);
        match keys.published.create(&PostParams::default(), &published).await {
            // The controller was faster.
            Err(kube::Error::Api(answer)) if answer.code == 409 => {}
            created => drop(created?),
        }
    }
    let last = keys.add("last").await?;
    keys.until_published(&last, KeyState::Active).await?;
    let confirmed = async || keys.published.get_opt(&last).await.ok()??.status?.state;
    waiting::until("the look after the last key", DEADLINE, confirmed).await?;
    Seen::assert_always_active(&seen);
    Ok(())
}

/// While identities are broken, an Active SealingKey stays published only if its identity is usable. A Revoked one
/// stays.
async fn planted(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let plant = async |key: &SealingKey| keys.published.create(&PostParams::default(), key).await.map(drop);
    let add = async |secret: &Secret| keys.identities.create(&PostParams::default(), secret).await.map(drop);
    let [stranger, recovery, finalized, materialised, future, held, revoked] = std::array::from_fn(|_| new_identity());
    let id = |identity: &Identity| identity.recipient().key_id().to_string();

    // No identity is usable, and the controller makes no key while identities are broken.
    add(&identity_secret("broken", b"hunter2")).await?;
    add(&secret("future", &future, "2100-01-01T00:00:00Z")).await?;
    let mut made_by_us = secret("materialised", &materialised, MADE);
    made_by_us.metadata.labels = Some([("waxseal.dev/secret".to_owned(), "owned".to_owned())].into());
    add(&made_by_us).await?;
    let mut in_future = sealing_key(&future, KeyState::Active);
    in_future.spec.created_at = "2100-01-01T00:00:00Z".to_owned();
    let mut for_recovery = sealing_key(&recovery, KeyState::Active);
    for_recovery.spec.role = KeyRole::Recovery;
    let mut with_finalizer = sealing_key(&finalized, KeyState::Active);
    with_finalizer.metadata.finalizers = Some(vec!["example.com/stay".to_owned()]);
    plant(&sealing_key(&revoked, KeyState::Revoked)).await?;
    for key in [&in_future, &for_recovery, &with_finalizer, &sealing_key(&materialised, KeyState::Active)] {
        plant(key).await?;
    }
    let controller = Controller::start(cluster, &context.programs, "planted").await?;
    for identity in [&future, &recovery, &finalized, &materialised] {
        keys.until_gone(&id(identity)).await?;
    }
    // The API server shows the end of an object before the controller gets the answer to its request and logs it.
    let is_logged = async || {
        let log = controller.log_text();
        let mut lines = log.lines().filter(|line| line.contains(&id(&recovery)));
        lines
            .any(|line| line.contains("deleted a SealingKey that neither an identity nor the configuration"))
            .then_some(())
    };
    waiting::until("a line about the planted recovery key", DEADLINE, is_logged).await?;
    assert_eq!(answer(&controller, "/readyz").await, Some((503, "AwaitingKeys".to_owned())));
    plant(&sealing_key(&stranger, KeyState::Active)).await?;
    keys.until_gone(&id(&stranger)).await?;
    until_warned(
        &controller,
        "this identity Secret is not used: future: the identity: its creation time, 2100-01-01T00:00:00Z, is in the future",
    )
    .await?;
    until_warned(
        &controller,
        "this identity Secret is not used: broken: the identity: line 1: neither an identity nor a comment",
    )
    .await?;

    // While there is a usable identity too, a planted SealingKey is deleted all the same.
    add(&secret("held", &held, MADE)).await?;
    controller.ready().await?;
    plant(&sealing_key(&stranger, KeyState::Active)).await?;
    keys.until_gone(&id(&stranger)).await?;
    keys.until_published(&id(&held), KeyState::Active).await?;

    // The SealingKey of an identity that breaks is deleted, and is published again when the identity is repaired.
    let good = keys.identities.get("held").await?.data.ok_or("no data")?["identity"].clone();
    patch(&keys.identities, "held", json!({"stringData": {"identity": "hunter2"}})).await?;
    keys.until_gone(&id(&held)).await?;
    patch(&keys.identities, "held", json!({"data": {"identity": good}})).await?;
    keys.until_published(&id(&held), KeyState::Active).await?;

    // The state that a SealingKey asks for stays while its identity is broken.
    keys.until_published(&id(&revoked), KeyState::Revoked).await?;
    let mended = IdentityFile::write(&revoked, MADE.parse()?);
    patch(&keys.identities, "broken", json!({"stringData": {"identity": mended.as_str()}})).await?;
    keys.until_durable("broken", "Revoked").await?;
    keys.until_published(&id(&revoked), KeyState::Revoked).await?;
    let warned = warnings(&controller);
    assert_eq!(warned.iter().filter(|warning| warning.contains("not used: future")).count(), 1, "{warned:?}");
    Ok(())
}

/// A policy of the cluster protects one planted SealingKey; the other one is deleted.
async fn kept(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let mut ids = [new_identity(), new_identity()].map(|identity| sealing_key(&identity, KeyState::Active));
    ids.sort_by_key(ResourceExt::name_any);
    let [first, other] = ids;
    let condition = format!("oldObject.metadata.name != '{}'", first.name_any());
    let operation = json!({
        "apiGroups": ["waxseal.dev"], "apiVersions": ["v1alpha1"], "operations": ["DELETE"], "resources": ["sealingkeys"],
    });
    refuse(cluster, "kept", operation, &condition).await?;
    for key in [&first, &other] {
        keys.published.create(&PostParams::default(), key).await?;
    }
    let params = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let refused = async || is_refused(keys.published.delete(&first.name_any(), &params).await).then_some(());
    waiting::until("the policy", DEADLINE, refused).await?;
    let controller = started_with_generation(context, cluster, "kept").await?;
    keys.until_gone(&other.name_any()).await?;
    until_warned(&controller, "failed to delete a SealingKey: HTTP 422 Invalid; trying again").await?;
    Api::<ValidatingAdmissionPolicyBinding>::all(cluster.client()).delete("kept", &DeleteParams::default()).await?;
    keys.until_gone(&first.name_any()).await
}

/// An attacker has planted thousands of SealingKeys when a key is revoked.
async fn crowd(context: &Context, cluster: &Cluster) -> TestResult {
    const PLANTED: usize = 2000;
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    let _controller = started(context, cluster, "crowd").await?;
    keys.until_published(&key, KeyState::Active).await?;
    let planted: Vec<_> = (0..PLANTED).map(|_| sealing_key(&new_identity(), KeyState::Active)).collect();
    let params = PostParams::default();
    let creations = planted.iter().map(|object| keys.published.create(&params, object));
    let mut creations = futures::stream::iter(creations).buffer_unordered(32);
    while creations.try_next().await?.is_some() {}
    keys.ask_for(&key, "Revoked").await?;
    keys.until_durable("held", "Revoked").await?;
    // A list of all keys has 5 MB.
    let two = ListParams::default().limit(2);
    let alone = async || (keys.published.list_metadata(&two).await.ok()?.items.len() == 1).then_some(());
    // The deadline is long: this test is about the revocation, and not about the time of the removal.
    waiting::until("the end of the planted SealingKeys", 10 * DEADLINE, alone).await?;
    assert_eq!(keys.first().await?, key);
    Ok(())
}

/// The planted SealingKeys have so many labels that a page of them is almost as long as a page can be. Kubernetes does
/// not limit the number of labels.
async fn large(context: &Context, cluster: &Cluster) -> TestResult {
    const PLANTED: usize = 8;
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    let _controller = started(context, cluster, "large").await?;
    keys.until_published(&key, KeyState::Active).await?;
    let labels: BTreeMap<_, _> = (0..14_000).map(|number| (format!("a{number}"), "x".repeat(63))).collect();
    for _ in 0..PLANTED {
        let mut object = sealing_key(&new_identity(), KeyState::Active);
        object.metadata.labels = Some(labels.clone());
        keys.published.create(&PostParams::default(), &object).await?;
    }
    let alone =
        async || (keys.published.list_metadata(&ListParams::default()).await.ok()?.items.len() == 1).then_some(());
    waiting::until("the end of the planted SealingKeys", 2 * DEADLINE, alone).await?;
    assert_eq!(keys.first().await?, key);
    Ok(())
}

//! The status of SealingKeys: what was carried out, counts, backups, and who may write it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::api_group::{BACKED_UP_ANNOTATION, BACKED_UP_STATE_ANNOTATION};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{IdentitySecretReference, KeyState, SealingKey, SealingKeyStatus};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::waiting;

use crate::controllers::{answer, started, until_warned};
use crate::key_commands::give_rights;
use crate::key_namespace::{Keys, MADE, new_identity, secret};
use crate::registration::{Context, Error, Test, TestResult};
use crate::rights::{requests, writes};
use crate::rotation::{Fleet, is_current, offers_one_key, secrets};
use crate::sealing::{DEADLINE, create, patch, sealed, with_reason};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("key_status::a_status_says_what_was_carried_out", carried_out),
        Test::on_own_cluster("key_status::an_operator_cannot_write_a_status", operator),
        Test::on_own_cluster("key_status::a_backup_shows_at_once", backup),
        Test::on_own_cluster("key_status::a_recovery_key_has_a_state_and_counts", recovery),
        Test::on_own_cluster("key_status::counts_follow_many_changes_with_few_writes", counts),
    ]
}

/// Waits until the status of a SealingKey is as wanted; returns it.
async fn until_status(
    keys: &Keys,
    key: &str,
    is_wanted: impl Fn(&SealingKeyStatus) -> bool,
) -> Result<SealingKeyStatus, Error> {
    let wanted = async || keys.published.get_opt(key).await.ok()??.status.filter(&is_wanted);
    match waiting::until("the status", DEADLINE, wanted).await {
        Ok(status) => Ok(status),
        Err(error) => Err(format!("{error}; {key} is {:?}", keys.published.get_opt(key).await?).into()),
    }
}

/// The status of a key that no object uses.
async fn unused(keys: &Keys, state: KeyState, secret: &str) -> Result<SealingKeyStatus, Error> {
    let uid = keys.identities.get(secret).await?.uid().ok_or("no UID")?;
    Ok(SealingKeyStatus {
        state: Some(state),
        objects: Some(0),
        only_objects: Some(0),
        last_backup_time: None,
        identity_secret: Some(IdentitySecretReference { name: secret.to_owned(), uid }),
    })
}

async fn carried_out(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let [held, other] = [keys.add("held").await?, keys.add("other").await?];
    let controller = started(context, cluster, "status").await?;
    let active = unused(&keys, KeyState::Active, "other").await?;
    until_status(&keys, &other, |status| *status == active).await?;
    keys.ask_for(&held, "Retired").await?;
    let retired = unused(&keys, KeyState::Retired, "held").await?;
    until_status(&keys, &held, |status| *status == retired).await?;

    // The only Active key waits for a successor: the request is not carried out yet.
    keys.ask_for(&other, "Retired").await?;
    // The newest key is named; of two keys of the same age, the one with the smaller id.
    let newest = held.clone().min(other.clone());
    let said =
        format!("no successor of the sealing key {newest} is made, because key generation is off: add an identity");
    until_warned(&controller, &said).await?;
    until_status(&keys, &other, |status| *status == active).await?;

    // The revocation is in force, but the status stays Active while the identity Secret cannot take the state.
    let frozen = new_identity();
    let mut frozen_secret = secret("frozen", &frozen, MADE);
    frozen_secret.immutable = Some(true);
    keys.identities.create(&PostParams::default(), &frozen_secret).await?;
    let frozen = frozen.recipient().key_id().to_string();
    let active_frozen = unused(&keys, KeyState::Active, "frozen").await?;
    until_status(&keys, &frozen, |status| *status == active_frozen).await?;
    keys.ask_for(&frozen, "Revoked").await?;
    let immutable = "failed to write the state Revoked to the identity Secret frozen: the Secret is immutable; replace it \
                     by a Secret that is not immutable and has \"Revoked\" under the data key \"state\"; trying again";
    until_warned(&controller, immutable).await?;
    assert_eq!(keys.published.get(&frozen).await?.status, Some(active_frozen));

    // A forged status changes no key, and is put right. So is a missing one.
    let forged = json!({"status": {"state": "Revoked", "objects": 99, "identitySecret": {"name": "frozen"}}});
    let params = PatchParams::default();
    let written = keys.published.patch_status(&held, &params, &Patch::Merge(&forged)).await?;
    assert_eq!(written.status.and_then(|status| status.state), Some(KeyState::Revoked));
    until_status(&keys, &held, |status| *status == retired).await?;
    assert_eq!(keys.durable("held").await.as_deref(), Some("Retired"));
    let uid = keys.published.get(&held).await?.uid();
    keys.published.delete(&held, &DeleteParams::default()).await?;
    until_status(&keys, &held, |status| *status == retired).await?;
    assert_ne!(keys.published.get(&held).await?.uid(), uid);

    // The identity is in a new Secret of the same name, which has another UID: the status names the new UID.
    let identity = keys.identities.get("held").await?;
    keys.identities.delete("held", &DeleteParams::default()).await?;
    let again = Secret { metadata: secret("held", &new_identity(), MADE).metadata, ..identity };
    keys.identities.create(&PostParams::default(), &again).await?;
    let replaced = unused(&keys, KeyState::Retired, "held").await?;
    assert_ne!(replaced, retired);
    until_status(&keys, &held, |status| *status == replaced).await?;
    Ok(())
}

async fn operator(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    keys.add("other").await?;
    let _controller = started(context, cluster, "operator").await?;
    let status = unused(&keys, KeyState::Active, "held").await?;
    until_status(&keys, &key, |found| *found == status).await?;
    give_rights(cluster).await?;
    let client = cluster.client_as(&cluster.user("operator", "operators")?)?;
    let as_operator = Api::<SealingKey>::namespaced(client, KEY_NAMESPACE);
    let forged = json!({
        "metadata": {"annotations": {"touched": "yes"}},
        "status": {"state": "Revoked", "lastBackupTime": "2026-01-01T00:00:00Z"},
    });
    let patched =
        waiting::until("the operator's right", DEADLINE, async || patch(&as_operator, &key, forged.clone()).await.ok());
    let patched = patched.await?;
    assert_eq!(patched.annotations().get("touched").map(String::as_str), Some("yes"));
    assert_eq!(patched.status, Some(status));
    let refused = as_operator.patch_status(&key, &PatchParams::default(), &Patch::Merge(&forged)).await;
    assert!(matches!(&refused, Err(kube::Error::Api(answer)) if answer.code == 403), "{refused:?}");
    Ok(())
}

async fn backup(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    let controller = started(context, cluster, "backup").await?;
    let metric = format!("\nwaxseal_sealing_key_last_backup_timestamp_seconds{{key=\"{key}\"}} ");
    let annotate = async |time: &str| {
        patch(&keys.identities, "held", json!({"metadata": {"annotations": {BACKED_UP_ANNOTATION: time}}})).await
    };
    let hour = SignedDuration::from_hours(1);
    for ignored in ["hunter2".to_owned(), (Timestamp::now() + hour).to_string(), "-000001-01-01T00:00:00Z".to_owned()] {
        annotate("2026-01-01T02:00:00+02:00").await?;
        until_status(&keys, &key, |status| status.last_backup_time.as_deref() == Some(MADE)).await?;
        let (_, metrics) = answer(&controller, "/metrics").await.ok_or("no metrics")?;
        assert!(metrics.contains(&format!("{metric}1767225600\n")), "{metrics}");
        annotate(&ignored).await?;
        let is_gone = |status: &SealingKeyStatus| status.last_backup_time.is_none() && status.objects.is_some();
        let status = until_status(&keys, &key, is_gone).await?;
        assert_eq!(status, unused(&keys, KeyState::Active, "held").await?, "{ignored}");
        let (_, metrics) = answer(&controller, "/metrics").await.ok_or("no metrics")?;
        assert!(!metrics.contains(&metric), "{metrics}");
    }
    // The backup has the key in another state.
    let recorded = |state: &str| {
        let annotations = json!({BACKED_UP_ANNOTATION: MADE, BACKED_UP_STATE_ANNOTATION: state});
        json!({"metadata": {"annotations": annotations}})
    };
    for (state, time) in [("Active", Some(MADE)), ("Retired", None), ("Active", Some(MADE))] {
        patch(&keys.identities, "held", recorded(state)).await?;
        until_status(&keys, &key, |status| status.last_backup_time.as_deref() == time).await?;
    }
    // The same identity in another Secret, which was backed up later.
    let mut copy = keys.identities.get("held").await?;
    let later = "2026-02-01T00:00:00Z";
    let annotations = BTreeMap::from([(BACKED_UP_ANNOTATION.to_owned(), later.to_owned())]);
    copy.metadata = secret("later", &new_identity(), MADE).metadata;
    copy.metadata.annotations = Some(annotations);
    keys.identities.create(&PostParams::default(), &copy).await?;
    let status = until_status(&keys, &key, |status| status.last_backup_time.as_deref() == Some(later)).await?;
    assert_eq!(status.identity_secret.map(|secret| secret.name).as_deref(), Some("held"));
    Ok(())
}

async fn recovery(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let own = keys.add("held").await?;
    let recipient = new_identity().recipient().clone();
    let mut command = Command::new(&context.programs.waxseal_controller);
    command.env_clear().env("WAXSEAL_NO_KEY_GENERATION", "true");
    command.env("WAXSEAL_RECOVERY_RECIPIENT", recipient.as_str());
    let controller = Controller::start_command(cluster, command, "recovery").await?;
    controller.ready().await?;
    let namespace = cluster.namespace("recovery").await?;
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let counted = SealingKeyStatus { objects: Some(1), ..unused(&keys, KeyState::Active, "held").await? };
    until_status(&keys, &own, |status| *status == counted).await?;
    let of_recovery = SealingKeyStatus { identity_secret: None, ..counted };
    until_status(&keys, recipient.key_id().as_str(), |status| *status == of_recovery).await?;
    Ok(())
}

/// A rotation of 300 objects changes the counts of two keys many times, and the controller writes them a few times. A
/// restart changes nothing.
async fn counts(context: &Context, cluster: &Cluster) -> TestResult {
    const ALL: usize = 300;
    /// A fifth of the changes. On a slow machine there are pauses between the changes, and each can cause a write.
    const MOST_WRITES: usize = 60;
    let mut fleet = Fleet::start(context, cluster, &[("fleet", secrets(ALL, 1))]).await?;
    let first = fleet.first.clone();
    let until_counts = async |fleet: &Fleet<'_>, key: &str, objects: usize, only: usize| {
        let counts = [objects, only].map(|count| i64::try_from(count).ok());
        until_status(&fleet.keys, key, |status| [status.objects, status.only_objects] == counts).await
    };
    until_counts(&fleet, &first, ALL, ALL).await?;
    let second = fleet.add_primary().await?.recipient().key_id().to_string();
    fleet.until_all("offers", |status| offers_one_key(status, &second)).await?;
    fleet.fetch_keys()?;
    fleet.rotate()?;
    fleet.apply()?;
    fleet.until_all("objects that are up to date", is_current).await?;
    for key in [&first, &second] {
        until_counts(&fleet, key, ALL, 0).await?;
        let written = sealing_key_writes(cluster, key)?;
        assert!((2..MOST_WRITES).contains(&written.len()), "{written:?}");
    }

    // The API server shows a new status before it logs the end of the request that wrote it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = [&first, &second].map(|key| sealing_key_writes(cluster, key));
    fleet.restart().await?;
    let object = fleet.objects().await?.into_iter().next().ok_or("no object")?;
    fleet.namespaces[0].api::<SealedSecret>().delete(&object.name_any(), &DeleteParams::default()).await?;
    for (key, before) in [&first, &second].into_iter().zip(before) {
        until_counts(&fleet, key, ALL - 1, 0).await?;
        let mut expected = before?;
        expected.push("patch sealingkeys status".to_owned());
        let written = async || sealing_key_writes(cluster, key).ok().filter(|written| written.len() >= expected.len());
        let written = waiting::until("the audit log", DEADLINE, written).await?;
        assert_eq!(written, expected, "the restart wrote nothing");
    }
    Ok(())
}

/// The controller's writes of a SealingKey, in order.
fn sealing_key_writes(cluster: &Cluster, key: &str) -> Result<Vec<String>, Error> {
    let mut all = requests(cluster)?;
    all.retain(|event| event["objectRef"]["resource"] == "sealingkeys" && event["objectRef"]["name"] == key);
    Ok(writes(&all))
}

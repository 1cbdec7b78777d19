//! The published keys of a controller: the primary, backups, recovery keys, and what the controller confirms.

use jiff::{SignedDuration, Timestamp};
use waxseal_shared::key_life::{backup_time, check_creation_time, primary};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey, SealingKey, SealingKeyStatus};

use super::findings::Findings;
use crate::cluster::UnknownSealingKey;
use crate::table::age;

/// The renewal period of the controller; `None`: it renews no key.
#[derive(Clone, Copy)]
pub(super) struct RenewalPeriod(pub(super) Option<SignedDuration>);

/// How long a key may wait for its successor after its renewal period.
const GRACE: SignedDuration = SignedDuration::from_hours(1);
pub(super) const SEE_LOG: &str = "see if the controller runs, and read its log";

/// A key, and what the controller says of it.
struct Known {
    key: PublishedKey,
    status: SealingKeyStatus,
}

pub(super) fn check(
    objects: &[Result<SealingKey, UnknownSealingKey>],
    namespace: &Namespace,
    renew_after: Option<RenewalPeriod>,
    now: Timestamp,
    findings: &mut Findings,
) {
    if objects.is_empty() {
        let text = format!("there is no SealingKey in the namespace {namespace}");
        return findings.problem(
            text,
            "see if the controller runs, or name the namespace of the SealingKeys with `--namespace`. If \
             `waxseal status -A` shows AwaitingKeys, put the lost keys back",
        );
    }
    let keys: Vec<_> = objects.iter().filter_map(|object| known(object, findings)).collect();
    check_primary(&keys, renew_after, now, findings);
    check_confirmations(&keys, findings);
    check_backups(&keys, now, findings);
    check_recovery(&keys, findings);
}

/// Reads a SealingKey. Returns its key if the controller confirms that the SealingKey is its own; otherwise adds a
/// problem.
fn known(object: &Result<SealingKey, UnknownSealingKey>, findings: &mut Findings) -> Option<Known> {
    let object = match object {
        Ok(object) => object,
        Err(UnknownSealingKey { name }) => {
            let text = format!("the SealingKey {name} has a form that this waxseal does not know");
            findings.problem(text, "use definitions, controller and waxseal of the same version");
            return None;
        }
    };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let key = match PublishedKey::decode(object) {
        Ok(key) => key,
        Err(error) => {
            findings.problem(format!("the SealingKey {name} is not valid: {error}"), SEE_LOG);
            return None;
        }
    };
    if object.metadata.deletion_timestamp.is_some() {
        let text = format!("the SealingKey {name} is being deleted and is still there");
        findings.problem(text, "seal nothing to it, and remove its finalizers: somebody may have planted it");
        return None;
    }
    let status = object.status.clone().unwrap_or_default();
    let has_identity = key.role == KeyRole::Recovery || status.identity_secret.is_some();
    if status.state.is_none() || !has_identity {
        let (role, state) = (key.role.as_str(), key.state.as_str());
        let text = format!("the controller does not confirm that the SealingKey {name} ({role}, {state}) is its own");
        let remedy = "seal nothing to it: somebody may have planted it. A controller that runs confirms or deletes it \
                      within seconds: see if it runs";
        findings.problem(text, remedy);
        return None;
    }
    Some(Known { key, status })
}

fn check_primary(keys: &[Known], renew_after: Option<RenewalPeriod>, now: Timestamp, findings: &mut Findings) {
    let keys: Vec<_> = keys.iter().map(in_effect).collect();
    let Some(primary) = primary(&keys) else {
        let remedy = "the controller makes a key by itself, unless key generation is off (then add an identity): see \
                      if it runs, and read in its log why it has not done so";
        return findings.problem("no key of the cluster is Active: nothing can be sealed", remedy);
    };
    if let Err(error) = check_creation_time(primary.created_at, now) {
        let text = format!("the primary {}: {error}", primary.recipient.key_id());
        return findings.problem(text, "set the clocks, and replace the key with `waxseal keys rotate`");
    }
    let old = now.duration_since(primary.created_at);
    let text = format!("the primary is {}, made {} ago", primary.recipient.key_id(), age(old.as_secs().max(0)));
    match renew_after {
        Some(RenewalPeriod(Some(period))) if old > period.saturating_add(GRACE) => {
            findings.problem(format!("{text}, and the controller did not renew it"), SEE_LOG);
        }
        _ => findings.ok(text),
    }
}

/// A key with the state that counts for new values: a key is Active until the controller confirms its retirement. A
/// revocation counts as soon as it is requested.
fn in_effect(Known { key, status }: &Known) -> PublishedKey {
    let is_waiting = key.state == KeyState::Retired && status.state == Some(KeyState::Active);
    PublishedKey { state: if is_waiting { KeyState::Active } else { key.state }, ..key.clone() }
}

fn check_confirmations(keys: &[Known], findings: &mut Findings) {
    let unconfirmed = keys.iter().filter(|known| known.status.state != Some(known.key.state));
    let unconfirmed: Vec<_> = unconfirmed.collect();
    for Known { key, status } in &unconfirmed {
        let confirmed = status.state.map(KeyState::as_str).unwrap_or_default();
        let (id, asked) = (key.recipient.key_id(), key.state.as_str());
        let text = format!("{id} is to be {asked}, and the controller confirms only {confirmed}");
        findings.problem(text, SEE_LOG);
    }
    if unconfirmed.is_empty() && !keys.is_empty() {
        findings.ok("the controller confirms the state of every key");
    }
}

/// The status has the time of a backup only if the backup has the present state. A time that cannot be right does not
/// count ([`backup_time`]).
fn check_backups(keys: &[Known], now: Timestamp, findings: &mut Findings) {
    let has_backup =
        |known: &Known| known.status.last_backup_time.as_ref().is_some_and(|time| backup_time(time, now).is_some());
    let own: Vec<_> = keys.iter().filter(|known| known.key.role == KeyRole::Cluster).collect();
    let missing: Vec<_> = own.iter().filter(|known| !has_backup(known)).collect();
    for Known { key, .. } in &missing {
        let (id, state) = (key.recipient.key_id(), key.state.as_str());
        let text = format!("no backup has {id} in its present state, {state}");
        findings.problem(text, "make a backup with `waxseal keys backup`, as its `--help` shows");
    }
    if missing.is_empty() && !own.is_empty() {
        findings.ok("every key is in a backup in its present state");
    }
}

fn check_recovery(keys: &[Known], findings: &mut Findings) {
    let is_usable = |known: &&Known| known.key.role == KeyRole::Recovery && known.key.state == KeyState::Active;
    match keys.iter().filter(is_usable).count() {
        0 => findings.problem(
            "there is no Active recovery key: without the cluster and its backups, nothing opens what is sealed now",
            "name a new recovery key in the controller's configuration with `--recovery-recipient`",
        ),
        _ => findings.ok("there is an Active recovery key"),
    }
}

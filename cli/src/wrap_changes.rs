//! The changes of one SealedSecret after a change of keys: the wraps that it gets or loses, or new envelopes for all of
//! its values.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use waxseal_shared::format::{Check, Envelope, MAX_WRAPS, Refusal, Sealed};
use waxseal_shared::key::{KeyKind, Recipient};
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::names::{EnvelopeId, KeyId};
use waxseal_shared::open::{BrokenWrap, Opened};
use waxseal_shared::randomness;
use waxseal_shared::reason::Reason;
use waxseal_shared::rotation::{KeyFinding, NewWrap, OpenedObject, WantedWrap, findings, missing_wraps};
use waxseal_shared::seal::{Place, seal_values};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::edited_file::{path, token};
use crate::error::CliError;
use crate::keys_file::KeysFile;
use crate::lossless_edit::{Change, NewValue};
use crate::offers::Offers;
use crate::sealed_objects::SealedObject;

/// The keys of one keys file: those of a cluster, or recovery keys alone. Recovery keys alone count like a cluster of
/// their own.
pub(crate) struct ClusterKeys {
    /// The name of the keys file that messages show.
    pub(crate) place: String,
    pub(crate) keys: Vec<PublishedKey>,
    /// The keys that each envelope for the cluster needs a wrap for; at least one.
    pub(crate) recipients: Vec<Recipient>,
    /// Whether the file has keys of a cluster. If not, it holds recovery keys alone.
    is_cluster: bool,
    /// Whether values get wraps for this cluster even if they have none yet.
    is_target: bool,
}

/// Where new wraps come from.
pub(crate) enum WrapSource<'a> {
    /// Nowhere: objects are only checked.
    Nowhere,
    /// They are made with identities.
    Identities(KeyRing),
    /// A controller made them.
    Offers(Offers<'a>),
}

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RotationMode {
    /// Wraps are added.
    Add,
    /// Wraps are added, and the broken wraps for the primary and the Active recovery keys are replaced.
    ReplaceBroken,
    /// Wraps are added, and those for Retired keys are removed.
    Prune,
    /// Every value is sealed again, under one new DEK.
    Reseal,
}

/// What was done for one object.
pub(crate) struct Rotated {
    pub(crate) changes: Vec<Change>,
    /// The keys that got a wrap.
    pub(crate) sealed_to: BTreeSet<KeyId>,
    /// Why the object is still not up to date after the changes.
    pub(crate) findings: Vec<Finding>,
}

/// Why an object is not up to date.
#[derive(Serialize)]
pub(crate) struct Finding {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl ClusterKeys {
    /// Refuses the files that [`KeysFile::recipients`] refuses.
    pub(crate) fn new(file: &KeysFile, is_target: bool) -> Result<Self, CliError> {
        let recipients = file.recipients()?;
        let (place, keys) = (file.place.clone(), file.keys.clone());
        Ok(Self { place, keys, recipients, is_cluster: file.has_cluster_key(), is_target })
    }

    /// Whether the keys file has a key, in any state.
    fn lists(&self, id: &KeyId) -> bool {
        self.keys.iter().any(|key| key.recipient.key_id() == id)
    }

    /// Whether an envelope is meant for this cluster: the cluster is a target, or the envelope has a wrap for one of
    /// the cluster's own keys.
    ///
    /// A wrap that is known to be broken does not count. Everybody who can edit the file can add such a wrap; the
    /// values must not become readable for another cluster because of it. Only [`RotationMode::ReplaceBroken`] makes a
    /// wrap in its place: there the user says that the values are meant for the cluster of every broken wrap.
    fn is_meant_to_open(&self, id: &EnvelopeId, envelope: &Envelope, broken: &[BrokenWrap]) -> bool {
        let is_broken = |key: &KeyId| broken.iter().any(|wrap| (&wrap.envelope, &wrap.key) == (id, key));
        self.is_target || self.own_wraps(envelope).any(|key| !is_broken(key))
    }

    /// The cluster's own keys that an envelope has a wrap for, in any state. A recovery key is not a cluster's own key:
    /// it can be in the files of several clusters. It is an own key of a file that holds recovery keys alone.
    fn own_wraps(&self, envelope: &Envelope) -> impl Iterator<Item = &KeyId> {
        let own = self.keys.iter().filter(|key| key.role == KeyRole::Cluster || !self.is_cluster);
        own.map(|key| key.recipient.key_id()).filter(|key| envelope.wraps.contains_key(*key))
    }

    fn is_recipient(&self, id: &KeyId) -> bool {
        self.recipients.iter().any(|recipient| recipient.key_id() == id)
    }
}

/// Whether one of the keys files has keys of a cluster.
pub(crate) fn has_cluster(clusters: &[ClusterKeys]) -> bool {
    clusters.iter().any(|cluster| cluster.is_cluster)
}

/// Finds why an object is not up to date with the keys of all clusters, and makes the changes that the source of wraps
/// allows.
///
/// With identities, opens the object even if no wrap is missing: only opening it finds broken wraps.
///
/// # Errors
///
/// The object does not open, although each envelope that a value names has a wrap for an identity; or it cannot be
/// sealed again.
pub(crate) fn rotate(
    object: &SealedObject,
    clusters: &[ClusterKeys],
    source: &WrapSource<'_>,
    mode: RotationMode,
) -> Result<Rotated, CliError> {
    let rotation = Rotation { object, clusters };
    match source {
        WrapSource::Nowhere => rotation.unchanged(&[]),
        WrapSource::Offers(offers) => rotation.with_wrap_changes(rotation.offered(offers), Vec::new(), Vec::new()),
        WrapSource::Identities(ring) => match rotation.opened(ring)? {
            None => rotation.unopened(mode),
            Some(object) if mode == RotationMode::Reseal => rotation.reseal(&object.opened),
            Some(object) => {
                let (added, opened) = (rotation.made(&object, mode), object.opened);
                let pruned = if mode == RotationMode::Prune { rotation.prunable(&opened, &added) } else { Vec::new() };
                rotation.with_wrap_changes(added, pruned, opened.broken_wraps)
            }
        },
    }
}

/// Returns the wraps that an object lacks for the clusters that it is meant for.
pub(crate) fn wanted_wraps(object: &SealedObject, clusters: &[ClusterKeys]) -> Vec<WantedWrap> {
    Rotation { object, clusters }.wanted(&[])
}

/// Whether the object has values, and none of them is meant for one of the clusters, as the wraps say.
pub(crate) fn is_foreign(object: &SealedObject, clusters: &[ClusterKeys]) -> bool {
    let mut envelopes = object.sealed.used_envelopes().peekable();
    envelopes.peek().is_some()
        && envelopes
            .all(|(id, envelope)| !deciding(clusters).any(|cluster| cluster.is_meant_to_open(id, envelope, &[])))
}

/// The keys files that decide for whom an object is: those with keys of a cluster. Only if no file has such keys, the
/// files of recovery keys alone decide: a wrap for a recovery key lets no cluster open the values.
fn deciding(clusters: &[ClusterKeys]) -> impl Iterator<Item = &ClusterKeys> {
    let has_cluster = has_cluster(clusters);
    clusters.iter().filter(move |cluster| cluster.is_cluster == has_cluster)
}

/// The finding about an object that no cluster opens.
fn torn() -> Finding {
    let message = "no cluster of the keys files has a wrap for each of its values, so none of them opens it";
    Finding { reason: Reason::KeyMissing.as_str(), message: message.to_owned() }
}

/// One object, and the clusters whose keys its wraps are compared with.
struct Rotation<'a> {
    object: &'a SealedObject,
    clusters: &'a [ClusterKeys],
}

impl Rotation<'_> {
    /// The wraps that envelopes lack for the clusters that they are meant for. An envelope may have no room for all of
    /// them ([`Self::with_room`]).
    fn wanted(&self, broken: &[BrokenWrap]) -> Vec<WantedWrap> {
        let sealed = &self.object.sealed;
        let mut wanted: Vec<WantedWrap> = Vec::new();
        for cluster in self.clusters {
            let is_meant = |id: &EnvelopeId| cluster.is_meant_to_open(id, &sealed.envelopes()[id], broken);
            let missing = missing_wraps(sealed, &cluster.recipients).into_iter();
            for wrap in missing.filter(|wanted| is_meant(&wanted.envelope)) {
                // Clusters can share a recovery key.
                if !wanted.contains(&wrap) {
                    wanted.push(wrap);
                }
            }
        }
        wanted
    }

    /// Leaves out the wraps for which an envelope has no room beside the wraps before them: clusters can want more
    /// wraps together than an envelope can have.
    fn with_room<W>(&self, mut wraps: Vec<W>, envelope_of: fn(&W) -> &EnvelopeId) -> Vec<W> {
        let envelopes = self.object.sealed.envelopes();
        let mut counts: BTreeMap<_, _> =
            envelopes.iter().map(|(id, envelope)| (id.clone(), envelope.wraps.len())).collect();
        wraps.retain(|wrap| {
            let count = counts.entry(envelope_of(wrap).clone()).or_default();
            *count += 1;
            *count <= MAX_WRAPS
        });
        wraps
    }

    fn offered(&self, offers: &Offers<'_>) -> Vec<NewWrap> {
        self.with_room(offers.accepted(self.object, &self.wanted(&[])), |wrap| &wrap.envelope)
    }

    fn made(&self, object: &OpenedObject, mode: RotationMode) -> Vec<NewWrap> {
        let broken_wraps = &object.opened.broken_wraps;
        let mut wanted = self.with_room(self.wanted(broken_wraps), |wrap| &wrap.envelope);
        if mode == RotationMode::ReplaceBroken {
            let recipients = || self.clusters.iter().flat_map(|cluster| &cluster.recipients);
            wanted.extend(broken_wraps.iter().filter_map(|broken| {
                let recipient = recipients().find(|recipient| *recipient.key_id() == broken.key)?.clone();
                Some(WantedWrap { envelope: broken.envelope.clone(), recipient })
            }));
        }
        object.make_wraps(&wanted, &mut randomness::system())
    }

    /// Opens the object; `None` if an envelope that a value names has no wrap for an identity.
    fn opened(&self, ring: &KeyRing) -> Result<Option<OpenedObject>, CliError> {
        match OpenedObject::open(&self.object.sealed, ring) {
            Err(refusal) if is_for_others(&refusal) => Ok(None),
            opened => opened.map(Some).map_err(|refusal| self.refused(&refusal)),
        }
    }

    /// The outcome for an object that no identity opens.
    fn unopened(&self, mode: RotationMode) -> Result<Rotated, CliError> {
        let mut rotated = self.unchanged(&[])?;
        let is_meant = self
            .object
            .sealed
            .used_envelopes()
            .any(|(id, envelope)| self.clusters.iter().any(|it| it.is_meant_to_open(id, envelope, &[])));
        if is_meant && (mode != RotationMode::Add || !rotated.findings.is_empty()) {
            let message = "the given identities do not open it".to_owned();
            rotated.findings.push(Finding { reason: Reason::KeyMissing.as_str(), message });
        }
        Ok(rotated)
    }

    /// Returns the wraps for Retired keys in envelopes that have proven wraps for the primary and the Active recovery
    /// keys of the same cluster. A key keeps its wraps if any keys file lists it in another state.
    fn prunable(&self, opened: &Opened, added: &[NewWrap]) -> Vec<(EnvelopeId, KeyId)> {
        let is_proven = |id: &EnvelopeId, envelope: &Envelope, key: &KeyId| {
            let is_broken = opened.broken_wraps.iter().any(|wrap| (&wrap.envelope, &wrap.key) == (id, key));
            let is_new = added.iter().any(|wrap| (&wrap.envelope, &wrap.key) == (id, key));
            is_new || envelope.wraps.contains_key(key) && !is_broken
        };
        let all_keys = || self.clusters.iter().flat_map(|cluster| &cluster.keys);
        let is_retired = |id: &KeyId| {
            all_keys().filter(|key| key.recipient.key_id() == id).all(|key| key.state == KeyState::Retired)
        };
        let mut prunable = Vec::new();
        for cluster in self.clusters {
            let has_all = |id, envelope| cluster.recipients.iter().all(|to| is_proven(id, envelope, to.key_id()));
            for (id, envelope) in self.object.sealed.used_envelopes().filter(|(id, envelope)| has_all(id, envelope)) {
                let keys = cluster.keys.iter().map(|key| key.recipient.key_id());
                let retired = keys.filter(|key| envelope.wraps.contains_key(*key) && is_retired(key));
                prunable.extend(retired.map(|key| (id.clone(), key.clone())));
            }
        }
        prunable.sort();
        prunable.dedup();
        prunable
    }

    /// The outcome without a change; `broken` are the broken wraps of the object, as far as they are known.
    fn unchanged(&self, broken: &[BrokenWrap]) -> Result<Rotated, CliError> {
        self.outcome(&self.object.object, Vec::new(), BTreeSet::new(), broken)
    }

    /// The outcome of adding and removing these wraps: the changes, and why the object is still not up to date.
    /// `broken` are the broken wraps that the object had before.
    fn with_wrap_changes(
        &self,
        added: Vec<NewWrap>,
        pruned: Vec<(EnvelopeId, KeyId)>,
        mut broken: Vec<BrokenWrap>,
    ) -> Result<Rotated, CliError> {
        let mut changed = self.object.object.clone();
        let mut changes = Vec::new();
        let wrap_path =
            |envelope: &EnvelopeId, key: &KeyId| path(&["spec", "envelopes", envelope.as_str(), "wraps", key.as_str()]);
        let sealed_to = added.iter().map(|wrap| wrap.key.clone()).collect();
        for NewWrap { envelope, key, text } in added {
            let spec = changed.spec.envelopes.entry(envelope.to_string()).or_default();
            spec.wraps.insert(key.to_string(), text.clone());
            changes.push(Change { path: wrap_path(&envelope, &key), to: Some(NewValue::Text(text)) });
            broken.retain(|wrap| (&wrap.envelope, &wrap.key) != (&envelope, &key));
        }
        for (envelope, key) in pruned {
            let spec = changed.spec.envelopes.entry(envelope.to_string()).or_default();
            spec.wraps.remove(key.as_str());
            changes.push(Change { path: wrap_path(&envelope, &key), to: None });
            broken.retain(|wrap| (&wrap.envelope, &wrap.key) != (&envelope, &key));
        }
        self.outcome(&changed, changes, sealed_to, &broken)
    }

    /// Seals all values again for the clusters that the object is meant for. All old envelopes go.
    fn reseal(&self, opened: &Opened) -> Result<Rotated, CliError> {
        let sealed = &self.object.sealed;
        let recipients = self.reseal_recipients(&opened.broken_wraps)?;
        if recipients.is_empty() {
            return self.unchanged(&opened.broken_wraps);
        }
        let place = Place { scope: sealed.scope, namespace: &sealed.namespace, name: &sealed.name };
        let resealed = seal_values(&opened.data, place, &recipients, &mut randomness::system())
            .map_err(|error| self.error(&error.to_string()))?;
        let mut changed = self.object.object.clone();
        changed.spec.envelopes = [(resealed.envelope_id.to_string(), resealed.envelope.clone())].into();
        let mut changes = vec![Change {
            path: path(&["spec", "envelopes", resealed.envelope_id.as_str()]),
            to: Some(NewValue::Envelope(resealed.envelope)),
        }];
        for (key, text) in resealed.tokens {
            changed.spec.encrypted_data.insert(key.to_string(), text.clone());
            changes.push(token(key.as_str(), text));
        }
        let old = sealed.envelopes().keys();
        changes.extend(old.map(|id| Change { path: path(&["spec", "envelopes", id.as_str()]), to: None }));
        let sealed_to = recipients.iter().map(|recipient| recipient.key_id().clone()).collect();
        self.outcome(&changed, changes, sealed_to, &[])
    }

    /// The recipients for the clusters that the object is meant for; empty if it is for other clusters.
    ///
    /// Refuses a wrap for a key that is in no keys file of these clusters, even if it is a recovery key of another
    /// cluster: the holder of the key could not open the values any more. Refuses an object whose values are for
    /// different clusters, and an envelope whose wraps for a cluster are all broken: resealing would give values to a
    /// cluster that cannot open them now. Refuses classic recipients for values that are hybrid.
    fn reseal_recipients(&self, broken: &[BrokenWrap]) -> Result<Vec<Recipient>, CliError> {
        let (mut recipients, mut meant) = (Vec::<Recipient>::new(), Vec::new());
        for cluster in self.clusters {
            if self.is_for_all(cluster, broken)? {
                recipients.extend(cluster.recipients.iter().cloned());
                meant.push(cluster);
            }
        }
        let mut seen = BTreeSet::new();
        recipients.retain(|recipient| seen.insert(recipient.as_str().to_owned()));
        let mut wraps = self.object.sealed.used_envelopes().flat_map(|(_, envelope)| envelope.wraps.keys());
        if !recipients.is_empty()
            && let Some(id) = wraps.find(|id| !meant.iter().any(|cluster| cluster.lists(id)))
        {
            // A known key is a recovery key here. If it were a cluster's own key, the object would be meant for that
            // cluster, or, if the wrap is broken, `is_for_all` would have refused the object.
            let files = match self.is_known(id) {
                true => {
                    "a recovery key that is only in the keys file of a cluster that the SealedSecret is not sealed for"
                }
                false => "which is in none of the keys files",
            };
            let error = self.error(&format!("sealed to {id}, {files}"));
            return Err(error.with_hint(
                "name the keys files of all clusters and recovery keys that must open it. If the holder of this key must \
                 not, list the key in one of these files with `state: Revoked`",
            ));
        }
        let has_hybrid = self
            .object
            .sealed
            .used_envelopes()
            .any(|(_, envelope)| envelope.wraps.values().any(|wrap| wrap.kind() != KeyKind::Classic));
        if let Some(to) = recipients.iter().find(|to| has_hybrid && to.kind() == KeyKind::Classic) {
            let text = format!("{} is a classic key (X25519), which a quantum computer will break", to.key_id());
            let hint = "put a hybrid key in its place: resealing never removes the post-quantum protection of a value";
            return Err(self.error(&text).with_hint(hint));
        }
        Ok(recipients)
    }

    /// Whether all values of the object are meant for a cluster. Refuses an object if only some of its values are, or
    /// if all wraps of an envelope for this cluster are broken.
    fn is_for_all(&self, cluster: &ClusterKeys, broken: &[BrokenWrap]) -> Result<bool, CliError> {
        let (meant, others): (Vec<_>, Vec<_>) = self
            .object
            .sealed
            .used_envelopes()
            .partition(|(id, envelope)| cluster.is_meant_to_open(id, envelope, broken));
        if let Some(error) = others.iter().find_map(|(id, envelope)| self.broken_for(cluster, id, envelope)) {
            return Err(error);
        }
        if !meant.is_empty() && !others.is_empty() {
            if !cluster.is_cluster {
                let text = format!(
                    "only some of its values are sealed to recovery keys of {}, and resealing would seal all of them \
                     to these keys",
                    cluster.place
                );
                return Err(self.error(&text).with_hint("set the values again with `waxseal set`, for the same keys"));
            }
            let text = "its values are for different clusters, and resealing would give each cluster all of them";
            return Err(self.error(text).with_hint("set the values again with `waxseal set`, for the same clusters"));
        }
        Ok(!meant.is_empty())
    }

    /// The error for an envelope whose wraps for a cluster are all broken; `None` if it has no wrap for the cluster.
    fn broken_for(&self, cluster: &ClusterKeys, id: &EnvelopeId, envelope: &Envelope) -> Option<CliError> {
        // `--replace-broken` makes wraps for recipients alone: for other keys, such as Retired ones, only `--to` helps.
        let (key, option) = match cluster.own_wraps(envelope).find(|key| cluster.is_recipient(key)) {
            Some(key) => (key, "--replace-broken"),
            None => (cluster.own_wraps(envelope).next()?, "--to CLUSTER"),
        };
        let meant_for = match cluster.is_cluster {
            true => "this key's cluster".to_owned(),
            false => format!("the recovery keys of {}", cluster.place),
        };
        let text = format!(
            "envelope {id}: the wrap for {key} is broken, and no other wrap shows that the values are meant for \
             {meant_for}"
        );
        let hint = format!(
            "if the values are meant for {meant_for}, first run `waxseal rotate` on this file alone, with \
             `{option}` instead of `--reseal`; if they are not, remove this wrap"
        );
        Some(self.error(&text).with_hint(hint))
    }

    fn is_known(&self, id: &KeyId) -> bool {
        self.clusters.iter().any(|cluster| cluster.lists(id))
    }

    /// Finds why the object is still not up to date after the changes; `broken` are the broken wraps that stay.
    fn outcome(
        &self,
        changed: &SealedSecret,
        changes: Vec<Change>,
        sealed_to: BTreeSet<KeyId>,
        broken: &[BrokenWrap],
    ) -> Result<Rotated, CliError> {
        let sealed = Sealed::decode(changed).map_err(|refusal| self.refused(&refusal))?;
        let mut found: BTreeSet<_> = BTreeSet::new();
        let is_for_any =
            |id| self.clusters.iter().any(|cluster| cluster.is_meant_to_open(id, &sealed.envelopes()[id], broken));
        let relevant = broken.iter().filter(|wrap| self.is_known(&wrap.key) || is_for_any(&wrap.envelope));
        found.extend(relevant.cloned().map(KeyFinding::WrapBroken));
        for cluster in self.clusters {
            let is_meant = |id: &EnvelopeId| cluster.is_meant_to_open(id, &sealed.envelopes()[id], broken);
            let of_cluster = findings(&sealed, &cluster.keys, &cluster.recipients).into_iter();
            found.extend(of_cluster.filter(|finding| is_meant(finding.envelope())));
        }
        let finding = |found: &KeyFinding| Finding { reason: found.reason().as_str(), message: found.to_string() };
        let findings = self.is_torn(&sealed, broken).then(torn).into_iter().chain(found.iter().map(finding)).collect();
        Ok(Rotated { changes, sealed_to, findings })
    }

    /// Whether some of the values are meant for clusters, and all of them for none of these clusters: then no cluster
    /// opens the object. All values are meant for a cluster of `--to`: the wraps that it lacks are findings of their
    /// own.
    fn is_torn(&self, sealed: &Sealed, broken: &[BrokenWrap]) -> bool {
        let opens = |cluster: &&ClusterKeys, (id, envelope): (&EnvelopeId, &Envelope)| {
            cluster.is_meant_to_open(id, envelope, broken)
        };
        let mut some = deciding(self.clusters)
            .filter(|cluster| sealed.used_envelopes().any(|envelope| opens(cluster, envelope)))
            .peekable();
        some.peek().is_some() && !some.any(|cluster| sealed.used_envelopes().all(|envelope| opens(&cluster, envelope)))
    }

    fn refused(&self, refusal: &Refusal) -> CliError {
        self.error(&format!("{}: {refusal}", refusal.reason()))
    }

    fn error(&self, text: &str) -> CliError {
        CliError::refused(format!("{}: {text}", self.object.title())).at(&self.object.place)
    }
}

/// Whether an object did not open because the key ring has no usable key for one of its envelopes.
fn is_for_others(refusal: &Refusal) -> bool {
    matches!(refusal.check(), Check::EnvelopeKeyMissing | Check::EnvelopeKeyRevoked)
}

//! Follows a change of keys in one SealedSecret: which wraps it lacks, and the changes of its file that add them.

use std::collections::{BTreeMap, BTreeSet};

use waxseal_shared::format::{Check, Envelope, Refusal, Sealed, Wrap};
use waxseal_shared::key::Recipient;
use waxseal_shared::key_life::sealing_recipients;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::names::{EnvelopeId, KeyId};
use waxseal_shared::open::{Opened, open};
use waxseal_shared::randomness;
use waxseal_shared::rotation::{KeyFinding, NewWrap, WantedWrap, accepted_wraps, findings, make_wraps, missing_wraps};
use waxseal_shared::seal::{Place, seal_values};
use waxseal_shared::sealed_secret::{OfferedWraps, SealedSecret};
use waxseal_shared::sealing_key::{KeyRole, KeyState, PublishedKey};

use crate::edited_file::{path, token};
use crate::error::CliError;
use crate::lossless_edit::{Change, NewValue};
use crate::sealed_objects::SealedObject;

/// The keys of one cluster, from its keys file.
pub(crate) struct ClusterKeys {
    pub(crate) keys: Vec<PublishedKey>,
    /// Whether values get wraps for this cluster even if they have none yet.
    pub(crate) is_target: bool,
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
pub(crate) enum Extent {
    /// Wraps are added.
    Add,
    /// Wraps are added, and those whose proof failed are replaced.
    ReplaceBroken,
    /// Wraps are added, and those for Retired keys are removed.
    Prune,
    /// Every value is sealed again, under one new DEK.
    Reseal,
}

/// The most offers that are kept for one envelope, beside those of objects with the names in the files. Everyone who may
/// write the status of an object can forge offers.
const MAX_OFFERS: usize = 8;

/// The offers of one cluster, by envelope id: only those that can add a wrap to an object in the files.
pub(crate) struct Offers<'a> {
    wanted: &'a WantedOffers,
    by_envelope: BTreeMap<String, Vec<Offer>>,
}

/// The wraps that the objects in the files lack.
#[derive(Default)]
pub(crate) struct WantedOffers {
    /// `NAMESPACE/NAME` of the objects, by envelope id.
    titles: BTreeMap<String, BTreeSet<String>>,
    keys: BTreeSet<String>,
}

struct Offer {
    /// `NAMESPACE/NAME` of the object whose status has the offer.
    title: String,
    wraps: OfferedWraps,
}

/// What was done for one object.
pub(crate) struct Rotated {
    pub(crate) changes: Vec<Change>,
    /// What the keys still ask for after the changes.
    pub(crate) findings: BTreeSet<KeyFinding>,
}

impl WantedOffers {
    /// Adds the wraps that an object lacks.
    pub(crate) fn add(&mut self, object: &SealedObject, clusters: &[ClusterKeys]) {
        for WantedWrap { envelope, recipient } in (Rotation { object, clusters }).wanted(&object.sealed) {
            self.titles.entry(envelope.to_string()).or_default().insert(object.title());
            self.keys.insert(recipient.key_id().to_string());
        }
    }

    /// Adds all that another file wants.
    pub(crate) fn extend(&mut self, other: Self) {
        for (envelope, titles) in other.titles {
            self.titles.entry(envelope).or_default().extend(titles);
        }
        self.keys.extend(other.keys);
    }
}

impl<'a> Offers<'a> {
    /// No offers yet.
    pub(crate) fn for_wanted(wanted: &'a WantedOffers) -> Self {
        Self { wanted, by_envelope: BTreeMap::new() }
    }

    /// Adds the offers in the status of one object, as far as they are wanted.
    pub(crate) fn add(&mut self, title: &str, offers: BTreeMap<String, OfferedWraps>) {
        for (envelope, mut wraps) in offers {
            let Some(titles) = self.wanted.titles.get(&envelope) else { continue };
            wraps.wraps.retain(|key, wrap| self.wanted.keys.contains(key) && Wrap::parse(wrap).is_ok());
            let kept = self.by_envelope.entry(envelope).or_default();
            if !wraps.wraps.is_empty() && (kept.len() < MAX_OFFERS || titles.contains(title)) {
                kept.push(Offer { title: title.to_owned(), wraps });
            }
        }
    }

    /// Returns the offered wraps that an object lacks. Names can change on the way to the cluster, so every offer for its
    /// envelopes counts; one in the status of an object of the same name comes first.
    fn accepted(&self, object: &SealedObject, sealed: &Sealed, recipients: &[Recipient]) -> Vec<NewWrap> {
        let title = object.title();
        let mut accepted: BTreeMap<(EnvelopeId, KeyId), NewWrap> = BTreeMap::new();
        for id in sealed.envelopes().keys() {
            let mut offers: Vec<_> = self.by_envelope.get(id.as_str()).into_iter().flatten().collect();
            offers.sort_by_key(|offer| offer.title != title);
            for offer in offers {
                let offer = BTreeMap::from([(id.to_string(), offer.wraps.clone())]);
                for wrap in accepted_wraps(sealed, &offer, recipients) {
                    accepted.entry((wrap.envelope.clone(), wrap.key.clone())).or_insert(wrap);
                }
            }
        }
        accepted.into_values().collect()
    }
}

impl ClusterKeys {
    fn recipients(&self) -> Vec<Recipient> {
        sealing_recipients(&self.keys).unwrap_or_default()
    }

    /// Whether an envelope is meant for this cluster: it has a wrap for one of the cluster's own keys.
    fn has(&self, envelope: &Envelope) -> bool {
        let own = self.keys.iter().filter(|key| key.role == KeyRole::Cluster);
        self.is_target || own.into_iter().any(|key| envelope.wraps.contains_key(key.recipient.key_id()))
    }
}

/// Finds what the keys of all clusters ask of an object, and makes the changes that the source of wraps allows.
///
/// # Errors The object does not open, although it has a wrap for an identity; or it cannot be sealed again.
pub(crate) fn rotate(
    object: &SealedObject,
    clusters: &[ClusterKeys],
    source: &WrapSource<'_>,
    extent: Extent,
) -> Result<Rotated, CliError> {
    let rotation = Rotation { object, clusters };
    if let (Extent::Reseal, WrapSource::Identities(ring)) = (extent, source) {
        return rotation.reseal(ring);
    }
    let added = match source {
        WrapSource::Nowhere => Vec::new(),
        WrapSource::Offers(offers) => rotation.offered(offers),
        WrapSource::Identities(ring) => rotation.made(ring, extent)?,
    };
    let pruned = match (extent, source) {
        (Extent::Prune, WrapSource::Identities(ring)) => rotation.prunable(ring, &added)?,
        _ => Vec::new(),
    };
    rotation.changed(added, pruned)
}

/// One object, and the keys that it is measured by.
struct Rotation<'a> {
    object: &'a SealedObject,
    clusters: &'a [ClusterKeys],
}

impl Rotation<'_> {
    fn wanted(&self, sealed: &Sealed) -> Vec<WantedWrap> {
        let mut wanted: Vec<WantedWrap> = Vec::new();
        for cluster in self.clusters {
            let missing = missing_wraps(sealed, &cluster.recipients()).into_iter();
            for wrap in missing.filter(|wanted| cluster.has(&sealed.envelopes()[&wanted.envelope])) {
                // Clusters can share a recovery key.
                if !wanted.contains(&wrap) {
                    wanted.push(wrap);
                }
            }
        }
        wanted
    }

    fn offered(&self, offers: &Offers<'_>) -> Vec<NewWrap> {
        let sealed = &self.object.sealed;
        let wanted = self.wanted(sealed);
        let recipients: Vec<_> = wanted.iter().map(|wanted| wanted.recipient.clone()).collect();
        let mut accepted = offers.accepted(self.object, sealed, &recipients);
        accepted.retain(|new| {
            wanted.iter().any(|wanted| wanted.envelope == new.envelope && *wanted.recipient.key_id() == new.key)
        });
        accepted
    }

    fn made(&self, ring: &KeyRing, extent: Extent) -> Result<Vec<NewWrap>, CliError> {
        let sealed = &self.object.sealed;
        let mut wanted = self.wanted(sealed);
        if extent == Extent::ReplaceBroken
            && let Some(opened) = self.opened(ring)?
        {
            let keys: Vec<_> = self.clusters.iter().flat_map(ClusterKeys::recipients).collect();
            wanted.extend(opened.broken_wraps.into_iter().filter_map(|broken| {
                let recipient = keys.iter().find(|recipient| *recipient.key_id() == broken.key)?.clone();
                Some(WantedWrap { envelope: broken.envelope, recipient })
            }));
        }
        match make_wraps(sealed, ring, &wanted, &mut randomness::system()) {
            Err(refusal) if is_for_others(&refusal) => Ok(Vec::new()),
            made => made.map_err(|refusal| self.refused(&refusal)),
        }
    }

    /// Opens the object; `None` if it is sealed to other keys only.
    fn opened(&self, ring: &KeyRing) -> Result<Option<Opened>, CliError> {
        match open(&self.object.sealed, ring) {
            Err(refusal) if is_for_others(&refusal) => Ok(None),
            opened => opened.map(Some).map_err(|refusal| self.refused(&refusal)),
        }
    }

    /// Returns the wraps for Retired keys in envelopes that have a proven wrap for the primary of the same cluster.
    fn prunable(&self, ring: &KeyRing, added: &[NewWrap]) -> Result<Vec<(EnvelopeId, KeyId)>, CliError> {
        let Some(opened) = self.opened(ring)? else { return Ok(Vec::new()) };
        let is_proven = |envelope: &EnvelopeId, key: &KeyId| {
            let is_there = self.object.sealed.envelopes()[envelope].wraps.contains_key(key);
            let is_broken = opened.broken_wraps.iter().any(|wrap| (&wrap.envelope, &wrap.key) == (envelope, key));
            let is_new = added.iter().any(|wrap| (&wrap.envelope, &wrap.key) == (envelope, key));
            is_new || is_there && !is_broken
        };
        let used: BTreeSet<_> = self.object.sealed.data_keys().map(|(_, envelope)| envelope).collect();
        let mut prunable = Vec::new();
        for cluster in self.clusters {
            let recipients = cluster.recipients();
            let has_all =
                |envelope: &EnvelopeId| recipients.iter().all(|recipient| is_proven(envelope, recipient.key_id()));
            let retired = cluster.keys.iter().filter(|key| key.state == KeyState::Retired);
            for (key, envelope) in retired.flat_map(|key| used.iter().map(move |envelope| (key, *envelope))) {
                let id = key.recipient.key_id();
                let is_there = self.object.sealed.envelopes()[envelope].wraps.contains_key(id);
                if is_there && !recipients.is_empty() && has_all(envelope) {
                    prunable.push((envelope.clone(), id.clone()));
                }
            }
        }
        Ok(prunable)
    }

    fn changed(&self, added: Vec<NewWrap>, pruned: Vec<(EnvelopeId, KeyId)>) -> Result<Rotated, CliError> {
        let mut changed = self.object.object.clone();
        let mut changes = Vec::new();
        let wrap_path =
            |envelope: &EnvelopeId, key: &KeyId| path(&["spec", "envelopes", envelope.as_str(), "wraps", key.as_str()]);
        for NewWrap { envelope, key, text } in added {
            let spec = changed.spec.envelopes.entry(envelope.to_string()).or_default();
            spec.wraps.insert(key.to_string(), text.clone());
            changes.push(Change { path: wrap_path(&envelope, &key), to: Some(NewValue::Text(text)) });
        }
        for (envelope, key) in pruned {
            let spec = changed.spec.envelopes.entry(envelope.to_string()).or_default();
            spec.wraps.remove(key.as_str());
            changes.push(Change { path: wrap_path(&envelope, &key), to: None });
        }
        self.outcome(&changed, changes)
    }

    /// Seals all values again for the clusters that the object is meant for. All old envelopes go.
    fn reseal(&self, ring: &KeyRing) -> Result<Rotated, CliError> {
        let sealed = &self.object.sealed;
        let Some(opened) = self.opened(ring)? else { return self.outcome(&self.object.object, Vec::new()) };
        let recipients = self.recipients_of_all()?;
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
        self.outcome(&changed, changes)
    }

    /// The recipients for the clusters that the object is meant for. Refuses if a wrap is for a key that no keys file
    /// has: its holder could not open the values any more.
    fn recipients_of_all(&self) -> Result<Vec<Recipient>, CliError> {
        let sealed = &self.object.sealed;
        let known =
            |id: &KeyId| self.clusters.iter().flat_map(|cluster| &cluster.keys).any(|key| key.recipient.key_id() == id);
        let used: BTreeSet<_> = sealed.data_keys().map(|(_, envelope)| envelope).collect();
        let mut wraps = used.iter().flat_map(|envelope| sealed.envelopes()[*envelope].wraps.keys());
        if let Some(id) = wraps.find(|id| !known(id)) {
            let error = self.error(&format!("sealed to {id}, which is in none of the keys files"));
            return Err(error.with_hint("name the keys file of every cluster that must open it"));
        }
        let mut recipients: Vec<Recipient> = Vec::new();
        let is_meant = |cluster: &&ClusterKeys| used.iter().any(|envelope| cluster.has(&sealed.envelopes()[*envelope]));
        for recipient in self.clusters.iter().filter(is_meant).flat_map(ClusterKeys::recipients) {
            if !recipients.contains(&recipient) {
                recipients.push(recipient);
            }
        }
        Ok(recipients)
    }

    fn outcome(&self, changed: &SealedSecret, changes: Vec<Change>) -> Result<Rotated, CliError> {
        let sealed = Sealed::decode(changed).map_err(|refusal| self.refused(&refusal))?;
        let found = self.clusters.iter().flat_map(|cluster| {
            let found = findings(&sealed, &cluster.keys).into_iter();
            found.filter(|finding| cluster.has(&sealed.envelopes()[finding.envelope()])).collect::<Vec<_>>()
        });
        Ok(Rotated { changes, findings: found.collect() })
    }

    fn refused(&self, refusal: &Refusal) -> CliError {
        self.error(&format!("{}: {refusal}", refusal.reason()))
    }

    fn error(&self, text: &str) -> CliError {
        CliError::refused(format!("{}: {text}", self.object.title())).at(&self.object.place)
    }
}

/// Whether an object did not open because it is sealed to keys that are not here.
fn is_for_others(refusal: &Refusal) -> bool {
    matches!(refusal.check(), Check::EnvelopeKeyMissing | Check::EnvelopeKeyRevoked)
}

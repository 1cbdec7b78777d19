//! Which wraps a SealedSecret lacks after a change of keys, how they are made, and which offered wraps are accepted.
//!
//! The CLI decides about files with these functions, the controller about objects. A new wrap never changes a value: it
//! only lets one more key open an envelope that exists. Only an envelope that a value names gets a new wrap, and only
//! after all values of the object were opened. Otherwise an attacker could copy the envelope of another object into an
//! object of their own, and have it wrapped for their own key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::format::{Envelope, MAX_WRAPS, Refusal, Sealed, Wrap};
use crate::key::{KeyKind, Recipient};
use crate::key_life;
use crate::key_ring::{KeyRing, OpenedEnvelope};
use crate::manifest::MAX_OBJECT_BYTES;
use crate::names::{EnvelopeId, KeyId};
use crate::open::{BrokenWrap, Opened, open_whole};
use crate::randomness::CryptoRng;
use crate::reason::KeyReason;
use crate::sealed_secret::{OfferedWraps, SealedSecret};
use crate::sealing_key::{KeyState, PublishedKey};
use crate::stack;

/// The most bytes of offers in one status: 256 KiB.
const MAX_OFFER_BYTES: usize = 256 * 1024;
/// The bytes of an offer besides its wrap: the ids, the commitment and the punctuation.
const OFFER_OVERHEAD: usize = 128;
/// The bytes that are reserved for the rest of the status, and for metadata that the API server writes.
const STATUS_RESERVE: usize = 128 * 1024;

/// What is wrong with a wrap of an envelope, or that a wrap is missing. The most urgent finding comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyFinding {
    /// The envelope has a wrap for a revoked key: its holder can read the values, now and in every old copy.
    Exposed {
        /// The envelope.
        envelope: EnvelopeId,
        /// The revoked key.
        key: KeyId,
    },
    /// The proof of a wrap failed.
    WrapBroken(BrokenWrap),
    /// The envelope cannot have a wrap for the key: its wraps are of the other kind, or there are 16 already.
    NeedsReseal {
        /// The envelope.
        envelope: EnvelopeId,
        /// The key without a wrap.
        key: KeyId,
    },
    /// The envelope has no wrap for the primary or for a recovery key.
    Behind {
        /// The envelope.
        envelope: EnvelopeId,
        /// The key without a wrap.
        key: KeyId,
    },
    /// The status has no room for a wrap that the envelope lacks.
    OffersTruncated {
        /// The envelope.
        envelope: EnvelopeId,
        /// The key without a wrap.
        key: KeyId,
    },
}

/// The state of an object's wraps, from opening it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrapReview {
    /// What is wrong with the wraps, and which wraps are missing.
    pub findings: BTreeSet<KeyFinding>,
    /// For each envelope that a value names, the keys whose wraps are proven (`status.keys`).
    pub keys: BTreeMap<String, Vec<String>>,
    /// The wraps that envelopes lack (`status.rewrapped`).
    pub offers: BTreeMap<String, OfferedWraps>,
}

/// A wrap that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedWrap {
    /// The envelope.
    pub envelope: EnvelopeId,
    /// The key that it is for.
    pub recipient: Recipient,
}

/// A wrap that was made or offered, and is to be added to an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWrap {
    /// The envelope.
    pub envelope: EnvelopeId,
    /// The key that it is for.
    pub key: KeyId,
    /// The wrap as it stands in an envelope.
    pub text: String,
}

impl KeyFinding {
    /// The reason of the condition `KeyCurrent`.
    pub fn reason(&self) -> KeyReason {
        match self {
            KeyFinding::Exposed { .. } => KeyReason::Exposed,
            KeyFinding::WrapBroken(_) => KeyReason::WrapBroken,
            KeyFinding::NeedsReseal { .. } => KeyReason::NeedsReseal,
            KeyFinding::Behind { .. } => KeyReason::Behind,
            KeyFinding::OffersTruncated { .. } => KeyReason::OffersTruncated,
        }
    }

    /// The envelope that it is about.
    pub fn envelope(&self) -> &EnvelopeId {
        match self {
            KeyFinding::Exposed { envelope, .. }
            | KeyFinding::NeedsReseal { envelope, .. }
            | KeyFinding::Behind { envelope, .. }
            | KeyFinding::OffersTruncated { envelope, .. } => envelope,
            KeyFinding::WrapBroken(wrap) => &wrap.envelope,
        }
    }
}

impl fmt::Display for KeyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFinding::Exposed { envelope, key } => {
                write!(f, "envelope {envelope}: sealed to {key}, which is revoked")
            }
            KeyFinding::WrapBroken(wrap) => wrap.fmt(f),
            KeyFinding::NeedsReseal { envelope, key } => {
                write!(f, "envelope {envelope}: cannot get a wrap for {key}")
            }
            KeyFinding::Behind { envelope, key } => write!(f, "envelope {envelope}: no wrap for {key}"),
            KeyFinding::OffersTruncated { envelope, key } => {
                write!(f, "envelope {envelope}: the status has no room for the new wrap for {key}")
            }
        }
    }
}

/// Finds the wraps that an object lacks, and its wraps for revoked keys, given the keys of one cluster. Needs no
/// private key.
///
/// `keys` are all published keys of the cluster, and `recipients` are those that new values are sealed to
/// ([`key_life::sealing_recipients`]). Each envelope that a value names must have a wrap for every recipient, and none
/// for a revoked key. Does not find broken wraps, which only the holder of a key sees.
pub fn findings(sealed: &Sealed, keys: &[PublishedKey], recipients: &[Recipient]) -> Vec<KeyFinding> {
    let is_revoked =
        |id: &&KeyId| keys.iter().any(|key| key.state == KeyState::Revoked && key.recipient.key_id() == *id);
    let mut found: Vec<_> = sealed
        .used_envelopes()
        .flat_map(|(id, envelope)| {
            let exposed = envelope.wraps.keys().filter(is_revoked);
            let exposed = exposed.map(|key| KeyFinding::Exposed { envelope: id.clone(), key: key.clone() });
            let missing = recipients.iter().filter(|recipient| !envelope.wraps.contains_key(recipient.key_id()));
            exposed.chain(missing.map(|recipient| finding_for_missing(id, envelope, recipient))).collect::<Vec<_>>()
        })
        .collect();
    found.sort();
    found
}

fn finding_for_missing(id: &EnvelopeId, envelope: &Envelope, recipient: &Recipient) -> KeyFinding {
    let (id, key) = (id.clone(), recipient.key_id().clone());
    if can_have_wrap_for(envelope, recipient) {
        KeyFinding::Behind { envelope: id, key }
    } else {
        KeyFinding::NeedsReseal { envelope: id, key }
    }
}

/// Returns the wraps that envelopes of an object lack for these recipients, and can get.
pub fn missing_wraps(sealed: &Sealed, recipients: &[Recipient]) -> Vec<WantedWrap> {
    let wanted = sealed.used_envelopes().flat_map(|(id, envelope)| {
        let missing = recipients.iter().filter(|recipient| !envelope.wraps.contains_key(recipient.key_id()));
        let room = MAX_WRAPS.saturating_sub(envelope.wraps.len());
        let missing = missing.filter(|recipient| can_have_wrap_for(envelope, recipient)).take(room);
        missing.map(|recipient| WantedWrap { envelope: id.clone(), recipient: recipient.clone() }).collect::<Vec<_>>()
    });
    wanted.collect()
}

/// An object whose values were all opened, so that wraps may be made for it.
pub struct OpenedObject {
    /// The values, and what was found when they were opened.
    pub opened: Opened,
    envelopes: BTreeMap<EnvelopeId, OpenedEnvelope>,
}

impl OpenedObject {
    /// Opens all values or none.
    ///
    /// # Errors
    ///
    /// The first check of FORMAT.md §7 that fails, as for [`crate::open::open`].
    pub fn open(sealed: &Sealed, ring: &KeyRing) -> Result<Self, Refusal> {
        stack::wiped_after(|| open_whole(sealed, ring).map(|(opened, envelopes)| Self { opened, envelopes }))
    }

    /// Makes wraps for the object. Leaves out those for an envelope that no value names.
    pub fn make_wraps(&self, wanted: &[WantedWrap], random: &mut impl CryptoRng) -> Vec<NewWrap> {
        stack::wiped_after(|| {
            let made = wanted.iter().filter_map(|WantedWrap { envelope, recipient }| {
                let dek = &self.envelopes.get(envelope)?.dek;
                let text = Wrap::seal(recipient, dek, random).to_text();
                Some(NewWrap { envelope: envelope.clone(), key: recipient.key_id().clone(), text })
            });
            made.collect()
        })
    }
}

/// Opens an object and reviews its wraps. Makes the wraps that it lacks, unless its status offers them already.
pub(crate) fn open_and_review(
    object: &SealedSecret,
    sealed: &Sealed,
    ring: &KeyRing,
    random: &mut impl CryptoRng,
) -> Result<(Opened, WrapReview), Refusal> {
    stack::wiped_after(|| {
        let (opened, envelopes) = open_whole(sealed, ring)?;
        let published: Vec<_> = ring.published().cloned().collect();
        let recipients = key_life::sealing_recipients(&published).unwrap_or_default();
        let mut findings: BTreeSet<_> = findings(sealed, &published, &recipients).into_iter().collect();
        findings.extend(opened.broken_wraps.iter().cloned().map(KeyFinding::WrapBroken));
        let keys = envelopes.iter().map(|(id, envelope)| {
            let proven = sealed.envelopes()[id].wraps.keys().filter(|key| !envelope.broken_wraps.contains(key));
            (id.to_string(), proven.map(KeyId::to_string).collect())
        });
        let mut review = WrapReview { findings, keys: keys.collect(), offers: BTreeMap::new() };
        offer_missing(object, sealed, &envelopes, &recipients, &mut review, random);
        Ok((opened, review))
    })
}

/// Offers the wraps that an object lacks. Those that its status offers stay as they are, if their proof is right.
fn offer_missing(
    object: &SealedSecret,
    sealed: &Sealed,
    envelopes: &BTreeMap<EnvelopeId, OpenedEnvelope>,
    recipients: &[Recipient],
    review: &mut WrapReview,
    random: &mut impl CryptoRng,
) {
    let wanted = missing_wraps(sealed, recipients);
    if wanted.is_empty() {
        return;
    }
    let present = object.status.as_ref().map(|status| &status.rewrapped);
    let mut room = room_for_offers(object);
    let mut wraps = Vec::new();
    for WantedWrap { envelope, recipient } in wanted {
        let Some(OpenedEnvelope { dek, .. }) = envelopes.get(&envelope) else { continue };
        let key = recipient.key_id().clone();
        let offered = present.and_then(|offers| offers.get(envelope.as_str())?.wraps.get(key.as_str()));
        let is_good = |text: &&String| {
            let wrap = Wrap::parse(text).ok();
            wrap.is_some_and(|wrap| wrap.kind() == recipient.kind() && wrap.is_proven(dek, &key))
        };
        let text = match offered.filter(is_good) {
            Some(text) => text.clone(),
            None => Wrap::seal(&recipient, dek, random).to_text(),
        };
        match room.checked_sub(text.len() + OFFER_OVERHEAD) {
            Some(left) => {
                room = left;
                wraps.push(NewWrap { envelope, key, text });
            }
            None => {
                review.findings.insert(KeyFinding::OffersTruncated { envelope, key });
            }
        }
    }
    review.offers = offer(sealed, wraps);
}

/// The bytes that the status of an object has for offers: at most 256 KiB, and the object must stay below its limit.
fn room_for_offers(object: &SealedSecret) -> usize {
    // Of the metadata, only the annotations count. The API server writes `managedFields`, which grow with the offers,
    // and the room for offers must not depend on the offers.
    let size = json_length(&object.metadata.annotations) + json_length(&object.spec);
    MAX_OFFER_BYTES.min(MAX_OBJECT_BYTES.saturating_sub(size + STATUS_RESERVE))
}

fn json_length(data: &impl Serialize) -> usize {
    // Writing fails only for a map with a key that is not a string.
    serde_json::to_vec(data).map_or(MAX_OBJECT_BYTES, |text| text.len())
}

/// Returns those of the wanted wraps that are offered. A wrap that an envelope has is never replaced.
///
/// An offer counts for the envelope of the same id and the same commitment. Anyone who may write a status can forge an
/// offer. A forged wrap tells nobody the DEK, and the holder of its key cannot open the envelope with it. A controller
/// that opens the envelope with another key reports the wrap as broken.
pub fn accepted_wraps(sealed: &Sealed, offers: &BTreeMap<String, OfferedWraps>, wanted: &[WantedWrap]) -> Vec<NewWrap> {
    let offered = |wanted: &WantedWrap| {
        let envelope = sealed.envelopes().get(&wanted.envelope)?;
        if envelope.wraps.contains_key(wanted.recipient.key_id()) {
            return None;
        }
        let offer = offers.get(wanted.envelope.as_str())?;
        let text = offer.wraps.get(wanted.recipient.key_id().as_str())?;
        let is_for_it = offer.commitment == commitment_text(envelope);
        let kind = Wrap::parse(text).ok().map(|wrap| wrap.kind());
        (is_for_it && kind == Some(wanted.recipient.kind())).then(|| NewWrap {
            envelope: wanted.envelope.clone(),
            key: wanted.recipient.key_id().clone(),
            text: text.clone(),
        })
    };
    wanted.iter().filter_map(offered).collect()
}

/// Returns wraps as an offer for the status.
pub fn offer(sealed: &Sealed, wraps: Vec<NewWrap>) -> BTreeMap<String, OfferedWraps> {
    let mut offers: BTreeMap<String, OfferedWraps> = BTreeMap::new();
    for NewWrap { envelope, key, text } in wraps {
        let Some(commitment) = sealed.envelopes().get(&envelope).map(commitment_text) else { continue };
        let offer = offers.entry(envelope.to_string()).or_default();
        offer.commitment = commitment;
        offer.wraps.insert(key.to_string(), text);
    }
    offers
}

/// The commitment as it stands in the envelope: base64 has one spelling for it (FORMAT.md §6.2).
fn commitment_text(envelope: &Envelope) -> String {
    BASE64_STANDARD.encode(envelope.commitment.as_bytes())
}

/// Whether an envelope can get a wrap for this recipient: its wraps are of the recipient's kind, and there are fewer
/// than 16.
fn can_have_wrap_for(envelope: &Envelope, recipient: &Recipient) -> bool {
    kind_of(envelope) == Some(recipient.kind()) && envelope.wraps.len() < MAX_WRAPS
}

fn kind_of(envelope: &Envelope) -> Option<KeyKind> {
    envelope.wraps.values().next().map(Wrap::kind)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::format::Check;
    use crate::key::Identity;
    use crate::key_life::HeldKey;
    use crate::names::{DataKey, Namespace, ObjectName};
    use crate::open::open;
    use crate::randomness;
    use crate::seal::{Place, seal_values};
    use crate::sealed_secret::{Scope, SealedSecretSpec, SealedSecretStatus};
    use crate::sealing_key::KeyRole;
    use crate::secret::{SecretBytes, SecretData};

    fn key(kind: KeyKind, role: KeyRole, state: KeyState, second: i64) -> HeldKey {
        let identity = Identity::generate(kind, &mut randomness::system());
        HeldKey::new(identity, role, Timestamp::from_second(second).expect("a small number"), state)
    }

    fn hybrid(second: i64) -> HeldKey {
        key(KeyKind::Hybrid, KeyRole::Cluster, KeyState::Active, second)
    }

    fn recipient(key: &HeldKey) -> Recipient {
        key.published().recipient.clone()
    }

    fn made(sealed: &Sealed, ring: &KeyRing, wanted: &[WantedWrap]) -> Result<Vec<NewWrap>, Refusal> {
        Ok(OpenedObject::open(sealed, ring)?.make_wraps(wanted, &mut randomness::system()))
    }

    /// An object in which each group of values has an envelope of its own, for its own keys.
    fn object(name: &str, groups: &[(&[&str], &[&HeldKey])]) -> SealedSecret {
        let namespace = Namespace::parse("shop").expect("a namespace");
        let object_name = ObjectName::parse(name).expect("a name");
        let mut object = SealedSecret::new(name, SealedSecretSpec::default());
        object.metadata.namespace = Some(namespace.to_string());
        for (values, keys) in groups {
            let data: SecretData = values
                .iter()
                .map(|value| (DataKey::parse(value).expect("a data key"), SecretBytes::new(value.as_bytes().to_vec())))
                .collect();
            let recipients: Vec<_> = keys.iter().map(|key| recipient(key)).collect();
            let place = Place { scope: Scope::Strict, namespace: &namespace, name: &object_name };
            let sealed = seal_values(&data, place, &recipients, &mut randomness::system()).expect("good values");
            object.spec.envelopes.insert(sealed.envelope_id.to_string(), sealed.envelope);
            object.spec.encrypted_data.extend(sealed.tokens.into_iter().map(|(key, token)| (key.to_string(), token)));
        }
        object
    }

    fn decoded(object: &SealedSecret) -> Sealed {
        Sealed::decode(object).expect("our own object")
    }

    fn add(object: &mut SealedSecret, wraps: Vec<NewWrap>) {
        for NewWrap { envelope, key, text } in wraps {
            let envelope = object.spec.envelopes.get_mut(envelope.as_str()).expect("an envelope of the object");
            envelope.wraps.insert(key.to_string(), text);
        }
    }

    fn reason_word(finding: &KeyFinding) -> &'static str {
        finding.reason().as_str()
    }

    fn reasons(sealed: &Sealed, keys: &[&HeldKey]) -> Vec<&'static str> {
        let keys: Vec<_> = keys.iter().map(|key| key.published().clone()).collect();
        let recipients = key_life::sealing_recipients(&keys).unwrap_or_default();
        findings(sealed, &keys, &recipients).iter().map(reason_word).collect()
    }

    #[test]
    fn each_finding_has_its_cause() {
        let (old, new, recovery) = (hybrid(1), hybrid(2), key(KeyKind::Hybrid, KeyRole::Recovery, KeyState::Active, 1));
        let revoked = key(KeyKind::Hybrid, KeyRole::Cluster, KeyState::Revoked, 1);
        let classic = key(KeyKind::Classic, KeyRole::Cluster, KeyState::Active, 1);
        let sealed = |keys: &[&HeldKey]| decoded(&object("db", &[(&["A"], keys)]));
        assert_eq!(reasons(&sealed(&[&new, &recovery]), &[&old, &new, &recovery]), [""; 0]);
        assert_eq!(reasons(&sealed(&[&old, &recovery]), &[&old, &new, &recovery]), ["Behind"]);
        assert_eq!(reasons(&sealed(&[&old]), &[&old, &new, &recovery]), ["Behind", "Behind"]);
        assert_eq!(reasons(&sealed(&[&revoked]), &[&revoked, &new]), ["Exposed", "Behind"]);
        assert_eq!(reasons(&sealed(&[&classic]), &[&new]), ["NeedsReseal"]);
        let full: Vec<_> = (0..16).map(hybrid).collect();
        assert_eq!(reasons(&sealed(&full.iter().collect::<Vec<_>>()), &[&hybrid(99)]), ["NeedsReseal"]);
    }

    #[test]
    fn an_envelope_that_no_value_names_asks_for_nothing_and_gets_nothing() {
        let (old, new) = (hybrid(1), hybrid(2));
        let mut object = object("db", &[(&["A"], &[&old]), (&["B"], &[&old])]);
        object.spec.encrypted_data.remove("B");
        let sealed = decoded(&object);
        let named = sealed.data_keys().map(|(_, envelope)| envelope.clone()).collect::<Vec<_>>();
        let wanted = missing_wraps(&sealed, &[recipient(&new)]);
        assert_eq!(wanted.iter().map(|wanted| wanted.envelope.clone()).collect::<Vec<_>>(), named);
        let of_all: Vec<_> = sealed
            .envelopes()
            .keys()
            .map(|envelope| WantedWrap { envelope: envelope.clone(), recipient: recipient(&new) })
            .collect();
        let made = made(&sealed, &KeyRing::new(vec![old]), &of_all).expect("opens");
        assert_eq!(made.into_iter().map(|wrap| wrap.envelope).collect::<Vec<_>>(), named);
    }

    #[test]
    fn a_new_wrap_opens_with_the_new_key_alone_and_is_proven() {
        let (old, new) = (hybrid(1), hybrid(2));
        let mut object = object("db", &[(&["A", "B"], &[&old]), (&["C"], &[&old])]);
        let sealed = decoded(&object);
        let wanted = missing_wraps(&sealed, &[recipient(&new)]);
        let ring = KeyRing::new(vec![old]);
        add(&mut object, made(&sealed, &ring, &wanted).expect("opens"));
        let opened = open(&decoded(&object), &KeyRing::new(vec![new])).expect("the new key opens it");
        assert_eq!(opened.broken_wraps, []);
        let data: Vec<_> = opened.data.values().map(|value| value.expose().to_vec()).collect();
        assert_eq!(data, [b"A", b"B", b"C"]);
        assert_eq!(open(&decoded(&object), &ring).expect("the old key opens it").broken_wraps, []);
    }

    #[test]
    fn nothing_is_wrapped_for_an_object_that_does_not_open_whole() {
        let (old, new) = (hybrid(1), hybrid(2));
        // The envelope of another object, with a value of it: the value is bound to another name.
        let mut object_ = object("db", &[(&["A"], &[&old])]);
        let mut foreign = object("web", &[(&["B"], &[&old])]);
        foreign.spec.envelopes.values_mut().for_each(|envelope| {
            envelope.bound_to = object_.spec.envelopes.values().next().expect("one").bound_to.clone();
        });
        object_.spec.envelopes.extend(foreign.spec.envelopes);
        object_.spec.encrypted_data.extend(foreign.spec.encrypted_data);
        let sealed = decoded(&object_);
        let wanted = missing_wraps(&sealed, &[recipient(&new)]);
        assert_eq!(wanted.len(), 2);
        let refusal = made(&sealed, &KeyRing::new(vec![old]), &wanted);
        assert_eq!(refusal.expect_err("refused").check(), Check::ValueAuthentication);
    }

    #[test]
    fn an_offer_is_taken_only_for_its_envelope_and_only_for_keys_that_are_asked_for() {
        let (old, new, stranger) = (hybrid(1), hybrid(2), hybrid(3));
        let object = object("db", &[(&["A"], &[&old])]);
        let sealed = decoded(&object);
        let wanted = missing_wraps(&sealed, &[recipient(&new), recipient(&stranger)]);
        let ring = KeyRing::new(vec![old]);
        let made = made(&sealed, &ring, &wanted).expect("opens");
        let offers = offer(&sealed, made.clone());
        assert_eq!(accepted_wraps(&sealed, &offers, &missing_wraps(&sealed, &[recipient(&new)])), made[..1]);
        assert_eq!(accepted_wraps(&sealed, &offers, &[]), []);

        let id = sealed.envelopes().keys().next().expect("one envelope").to_string();
        let changed = |change: &dyn Fn(&mut OfferedWraps)| {
            let mut offers = offers.clone();
            change(offers.get_mut(&id).expect("an offer"));
            accepted_wraps(&sealed, &offers, &missing_wraps(&sealed, &[recipient(&new)]))
        };
        assert_eq!(changed(&|offer| offer.commitment.replace_range(..1, "-")), []);
        let new_id = recipient(&new).key_id().to_string();
        let with_wrap = |text: &str| {
            changed(&|offer| {
                offer.wraps.insert(new_id.clone(), text.to_owned());
            })
        };
        assert_eq!(with_wrap("garbage"), []);
        let classic = key(KeyKind::Classic, KeyRole::Cluster, KeyState::Active, 1);
        let dek = crate::format::Dek::generate(&mut randomness::system());
        let of_other_kind = Wrap::seal(&recipient(&classic), &dek, &mut randomness::system()).to_text();
        assert_eq!(with_wrap(&of_other_kind), []);
    }

    #[test]
    fn offers_that_are_right_stay_and_a_status_without_room_says_so() {
        let (old, new) = (hybrid(1), hybrid(2));
        let mut object = object("db", &[(&["A"], &[&old]), (&["B"], &[&old])]);
        let sealed = decoded(&object);
        let new_id = recipient(&new).key_id().to_string();
        let ring = KeyRing::new(vec![old, new]);
        let review = |object: &SealedSecret| {
            let reviewed = open_and_review(object, &sealed, &ring, &mut randomness::system());
            reviewed.expect("the old key opens it").1
        };
        let first = review(&object);
        assert_eq!(first.findings.iter().map(reason_word).collect::<Vec<_>>(), ["Behind", "Behind"]);

        // Right offers stay as they are.
        let status = SealedSecretStatus { rewrapped: first.offers.clone(), ..SealedSecretStatus::default() };
        object.status = Some(status);
        assert_eq!(review(&object), first);

        // One offer is forged, and the other one stays.
        let ids: Vec<_> = sealed.envelopes().keys().map(EnvelopeId::as_str).collect();
        let offers = &mut object.status.as_mut().expect("a status").rewrapped;
        let of_other = offers[ids[1]].wraps[&new_id].clone();
        offers.get_mut(ids[0]).expect("an offer").wraps.insert(new_id, of_other);
        let again = review(&object);
        assert_eq!(again.offers[ids[1]], first.offers[ids[1]]);
        assert_ne!(again.offers[ids[0]], object.status.as_ref().expect("a status").rewrapped[ids[0]]);

        object.metadata.annotations = Some([("note".to_owned(), "x".repeat(1_500_000))].into());
        let without_room = review(&object);
        assert_eq!(without_room.offers, BTreeMap::new());
        let reasons: Vec<_> = without_room.findings.iter().map(reason_word).collect();
        assert_eq!(reasons, ["Behind", "Behind", "OffersTruncated", "OffersTruncated"]);
    }

    #[test]
    fn an_offer_never_replaces_a_wrap() {
        let (old, new) = (hybrid(1), hybrid(2));
        let mut object = object("db", &[(&["A"], &[&old])]);
        let sealed = decoded(&object);
        let wanted = missing_wraps(&sealed, &[recipient(&new)]);
        let ring = KeyRing::new(vec![old]);
        let made = made(&sealed, &ring, &wanted).expect("opens");
        let offers = offer(&sealed, made.clone());
        add(&mut object, made);
        assert_eq!(accepted_wraps(&decoded(&object), &offers, &wanted), []);
    }
}

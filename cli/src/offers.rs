//! The wraps that a controller offers, as far as the files want them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use waxseal_shared::format::Wrap;
use waxseal_shared::manifest::{ManifestError, SealedSecretObject, split};
use waxseal_shared::names::{EnvelopeId, KeyId};
use waxseal_shared::rotation::{NewWrap, WantedWrap, accepted_wraps};
use waxseal_shared::sealed_secret::OfferedWraps;

use crate::error::CliError;
use crate::input::Input;
use crate::sealed_objects::{SealedObject, sealed_secrets_of};

/// The limit on the offers that are kept for one envelope: everyone who may write the status of an object can forge
/// offers. The limit does not apply to the offers of an object with the namespace and name of an object in the files.
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

/// The status file of a controller without Kubernetes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusFile {
    sealed_secrets: Vec<StatusFileEntry>,
}

#[derive(Deserialize)]
struct StatusFileEntry {
    namespace: String,
    name: String,
    #[serde(default)]
    status: Value,
}

impl WantedOffers {
    /// Adds the wraps that an object lacks.
    pub(crate) fn add(&mut self, object: &SealedObject, wanted: Vec<WantedWrap>) {
        for WantedWrap { envelope, recipient } in wanted {
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
    pub(crate) fn for_wanted(wanted: &'a WantedOffers) -> Self {
        Self { wanted, by_envelope: BTreeMap::new() }
    }

    /// Adds the offers of the SealedSecrets in a file, or of a status file.
    pub(crate) fn read(&mut self, input: &Input) -> Result<(), CliError> {
        let (place, text) = (input.place(), input.read()?);
        if let Ok(StatusFile { sealed_secrets }) = serde_json::from_str(&text) {
            for StatusFileEntry { namespace, name, mut status } in sealed_secrets {
                let rewrapped = status.get_mut("rewrapped").map(Value::take);
                self.add(&format!("{namespace}/{name}"), rewrapped.unwrap_or_default());
            }
            return Ok(());
        }
        let failed = |error| CliError::manifest(&place, &error);
        let mut is_empty = true;
        for (_, kind) in split(&text).map_err(failed)?.kinds() {
            let objects = sealed_secrets_of(kind.map_err(failed)?);
            is_empty &= objects.is_empty();
            for object in objects {
                self.add_object(object).map_err(failed)?;
            }
        }
        if is_empty { Err(CliError::refused("no SealedSecret in it").at(place)) } else { Ok(()) }
    }

    fn add_object(&mut self, object: SealedSecretObject<'_>) -> Result<(), ManifestError> {
        let mut value = object.to_value()?;
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let title = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
        let rewrapped = value.pointer_mut("/status/rewrapped").map(Value::take);
        self.add(&title, rewrapped.unwrap_or_default());
        Ok(())
    }

    /// Adds the offers in the field `status.rewrapped` of one object, as far as they are wanted. A field of another
    /// shape has no offers for this version.
    pub(crate) fn add(&mut self, title: &str, rewrapped: Value) {
        let offers: BTreeMap<String, OfferedWraps> = serde_json::from_value(rewrapped).unwrap_or_default();
        for (envelope, mut wraps) in offers {
            let Some(titles) = self.wanted.titles.get(&envelope) else { continue };
            wraps.wraps.retain(|key, wrap| self.wanted.keys.contains(key) && Wrap::parse(wrap).is_ok());
            let kept = self.by_envelope.entry(envelope).or_default();
            if !wraps.wraps.is_empty() && (kept.len() < MAX_OFFERS || titles.contains(title)) {
                kept.push(Offer { title: title.to_owned(), wraps });
            }
        }
    }

    /// Returns those of the wanted wraps that are offered. Names can change on the way to the cluster, so every offer
    /// for its envelopes counts; one in the status of an object of the same name comes first.
    pub(crate) fn accepted(&self, object: &SealedObject, wanted: &[WantedWrap]) -> Vec<NewWrap> {
        let (title, sealed) = (object.title(), &object.sealed);
        let mut accepted: BTreeMap<(EnvelopeId, KeyId), NewWrap> = BTreeMap::new();
        for id in sealed.envelopes().keys() {
            let mut offers: Vec<_> = self.by_envelope.get(id.as_str()).into_iter().flatten().collect();
            offers.sort_by_key(|offer| offer.title != title);
            for offer in offers {
                let offer = BTreeMap::from([(id.to_string(), offer.wraps.clone())]);
                for wrap in accepted_wraps(sealed, &offer, wanted) {
                    accepted.entry((wrap.envelope.clone(), wrap.key.clone())).or_insert(wrap);
                }
            }
        }
        accepted.into_values().collect()
    }
}

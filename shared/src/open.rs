//! Opening: a SealedSecret becomes the values of its Secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::format::{FieldPath, Refusal, Sealed};
use crate::key_ring::{KeyRing, OpenedEnvelope};
use crate::names::{EnvelopeId, KeyId};
use crate::secret::SecretData;
use crate::stack;

/// An opened SealedSecret.
#[derive(Debug)]
pub struct Opened {
    /// The values.
    pub data: SecretData,
    /// The keys whose wraps were opened.
    pub opened_with: BTreeSet<KeyId>,
    /// The wraps whose proof failed (FORMAT.md §7.4), by envelope and key.
    pub broken_wraps: Vec<BrokenWrap>,
}

/// A wrap whose proof failed: the holder of its key may be unable to open the envelope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokenWrap {
    /// The envelope that the wrap is in.
    pub envelope: EnvelopeId,
    /// The key that the wrap is for.
    pub key: KeyId,
}

impl fmt::Display for BrokenWrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "envelope {}: the wrap for {} is broken", self.envelope, self.key)
    }
}

/// Opens all values or none (FORMAT.md §7): first each envelope that a value names, then the values.
///
/// # Errors
///
/// The first check of FORMAT.md §7 that fails, with its field.
pub fn open(sealed: &Sealed, ring: &KeyRing) -> Result<Opened, Refusal> {
    stack::wiped_after(|| open_whole(sealed, ring).map(|(opened, _)| opened))
}

/// Opens all values or none, and also returns the envelopes that were opened.
pub(crate) fn open_whole(
    sealed: &Sealed,
    ring: &KeyRing,
) -> Result<(Opened, BTreeMap<EnvelopeId, OpenedEnvelope>), Refusal> {
    let envelopes = open_envelopes(sealed, ring)?;
    let mut data = SecretData::new();
    for (key, value) in sealed.values() {
        let envelope = &envelopes[&value.envelope];
        let plain = value
            .open(&envelope.dek, sealed.binding(key))
            .map_err(|check| check.refusal_at(FieldPath::Value(key.clone())))?;
        data.insert(key.clone(), plain);
    }
    let broken_wraps = envelopes
        .iter()
        .flat_map(|(id, opened)| {
            opened.broken_wraps.iter().map(|key| BrokenWrap { envelope: id.clone(), key: key.clone() })
        })
        .collect();
    let opened_with = envelopes.values().map(|opened| opened.key_id.clone()).collect();
    Ok((Opened { data, opened_with, broken_wraps }, envelopes))
}

fn open_envelopes(sealed: &Sealed, ring: &KeyRing) -> Result<BTreeMap<EnvelopeId, OpenedEnvelope>, Refusal> {
    let mut opened = BTreeMap::new();
    for (_, id) in sealed.data_keys() {
        if !opened.contains_key(id) {
            let envelope =
                ring.open(&sealed.envelopes()[id]).map_err(|fault| fault.at(FieldPath::Envelope(id.clone())))?;
            opened.insert(id.clone(), envelope);
        }
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::format::Check;
    use crate::key::{Identity, KeyKind};
    use crate::key_life::HeldKey;
    use crate::names::{DataKey, Namespace};
    use crate::randomness;
    use crate::reason::Reason;
    use crate::seal::seal;
    use crate::sealed_secret::{Scope, SealedSecret};
    use crate::sealing_key::{KeyRole, KeyState};
    use crate::secret::{MAX_SECRET_BYTES, SecretBytes, SecretManifest};

    fn sealed(identity: &Identity, key: &str, length: usize) -> SealedSecret {
        let value = SecretBytes::new(vec![7; length]);
        let secret = SecretManifest::of_data([(DataKey::parse(key).expect("a data key"), value)]);
        let namespace = Namespace::parse("shop").expect("a namespace");
        let recipients = [identity.recipient().clone()];
        seal(&secret, &namespace, Scope::Strict, &recipients, &mut randomness::system()).expect("a good Secret")
    }

    fn ring(identity: Identity) -> KeyRing {
        KeyRing::new(vec![HeldKey::new(identity, KeyRole::Cluster, Timestamp::UNIX_EPOCH, KeyState::Active)])
    }

    /// Each value was sealed in a run of its own, so that no sealer has seen them together. They are as
    /// long as their padding allows, and 8 bytes are left of 1 MiB.
    #[test]
    fn values_together_are_no_more_than_a_secret_can_hold() {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let [fits, does_not] = [507_900, 507_901].map(|length| {
            let mut object = sealed(&identity, "A", length);
            let other = sealed(&identity, "B", 540_668);
            object.spec.envelopes.extend(other.spec.envelopes);
            object.spec.encrypted_data.extend(other.spec.encrypted_data);
            Sealed::decode(&object)
        });
        assert!(Sealed::decode(&sealed(&identity, "A", MAX_SECRET_BYTES)).is_ok());
        let opened = open(&fits.expect("both are good"), &ring(identity)).expect("and open together");
        assert_eq!(opened.data.values().map(|value| value.expose().len()).collect::<Vec<_>>(), [507_900, 540_668]);
        assert_eq!(opened.broken_wraps, []);
        let error = does_not.expect_err("more than 1 MiB");
        assert_eq!((error.check(), error.reason()), (Check::DataSize, Reason::TooLarge));
        let said = "spec.encryptedData: the values come to more than 1 MiB; each counts with the greatest length that \
                    its padding allows";
        assert_eq!(error.to_string(), said);
    }
}

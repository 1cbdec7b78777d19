//! Opening: the values of a SealedSecret, with the identities at hand.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::format::{Check, Sealed, ValueError};
use crate::key_ring::{EnvelopeError, KeyRing, OpenedEnvelope};
use crate::names::{DataKey, EnvelopeId, KeyId};
use crate::reason::Reason;
use crate::secret::SecretData;
use crate::stack;

/// What opening gave.
#[derive(Debug)]
pub struct Opened {
    /// The values.
    pub data: SecretData,
    /// The keys whose wraps were opened.
    pub opened_with: BTreeSet<KeyId>,
    /// Wraps whose proof failed, by envelope.
    pub broken_wraps: BTreeMap<EnvelopeId, Vec<KeyId>>,
}

/// Why an object does not open. Shows names, never values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// An envelope that a value names does not open.
    #[error("envelope {0}: {1}")]
    Envelope(EnvelopeId, EnvelopeError),
    /// A value does not open.
    #[error("data key {0}: {1}")]
    Value(DataKey, ValueError),
}

impl OpenError {
    /// The check that the object failed.
    pub fn check(&self) -> Check {
        match self {
            OpenError::Envelope(_, error) => error.check(),
            OpenError::Value(_, error) => error.check(),
        }
    }

    /// The word for it in status, metrics and output.
    pub fn reason(&self) -> Reason {
        self.check().reason()
    }
}

/// Opens every value, or none (FORMAT.md §7): each envelope that a value names once, then the values.
pub fn open(sealed: &Sealed, ring: &KeyRing) -> Result<Opened, OpenError> {
    stack::wiped_after(|| open_all(sealed, ring))
}

fn open_all(sealed: &Sealed, ring: &KeyRing) -> Result<Opened, OpenError> {
    let envelopes = open_envelopes(sealed, ring)?;
    let mut data = SecretData::new();
    for (key, value) in sealed.values() {
        let envelope = &envelopes[&value.envelope];
        let plain =
            value.open(&envelope.dek, sealed.binding(key)).map_err(|error| OpenError::Value(key.clone(), error))?;
        data.insert(key.clone(), plain);
    }
    let broken_wraps = envelopes
        .iter()
        .filter(|(_, opened)| !opened.broken_wraps.is_empty())
        .map(|(id, opened)| (id.clone(), opened.broken_wraps.clone()))
        .collect();
    let opened_with = envelopes.into_values().map(|opened| opened.key_id).collect();
    Ok(Opened { data, opened_with, broken_wraps })
}

fn open_envelopes(sealed: &Sealed, ring: &KeyRing) -> Result<BTreeMap<EnvelopeId, OpenedEnvelope>, OpenError> {
    let mut opened = BTreeMap::new();
    for (_, id) in sealed.data_keys() {
        if !opened.contains_key(id) {
            let envelope =
                ring.open(&sealed.envelopes()[id]).map_err(|error| OpenError::Envelope(id.clone(), error))?;
            opened.insert(id.clone(), envelope);
        }
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::key_life::HeldKey;
    use crate::names::Namespace;
    use crate::randomness;
    use crate::seal::seal;
    use crate::sealed_secret::{Scope, SealedSecret};
    use crate::sealing_key::{KeyRole, KeyState};
    use crate::secret::{MAX_SECRET_BYTES, SecretBytes, SecretManifest};

    /// An object of one value.
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
        assert_eq!(opened.broken_wraps, BTreeMap::new());
        let error = does_not.expect_err("more than 1 MiB");
        assert_eq!((error.check(), error.reason()), (Check::DataSize, Reason::TooLarge));
        let said = "spec.encryptedData: the values, each as long as its padding allows, come to more than 1 MiB";
        assert_eq!(error.to_string(), said);
    }
}

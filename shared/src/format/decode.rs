use std::collections::BTreeMap;

use thiserror::Error;

use super::base64_text::BytesError;
use super::data_key::{COMMITMENT_BYTES, Commitment};
use super::value::{SealedValue, TokenError};
use super::wrap::{Wrap, WrapError};
use super::{Binding, Check, base64_text};
use crate::names::{DataKey, EnvelopeId, InvalidName, KeyId, Namespace, ObjectName};
use crate::reason::Reason;
use crate::sealed_secret::{BoundTo, EnvelopeSpec, Scope, SealedSecret, Template};
use crate::secret::MAX_SECRET_BYTES;
use crate::template::{self, TemplateError};

/// The greatest number of data keys of one object.
pub const MAX_DATA_KEYS: usize = 256;
/// The greatest number of envelopes of one object.
pub const MAX_ENVELOPES: usize = 64;
/// The greatest number of wraps of one envelope.
pub const MAX_WRAPS: usize = 16;

/// A SealedSecret that was decoded strictly: every part canonical, every reference resolved.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The object's namespace.
    pub namespace: Namespace,
    /// The object's name, which is also the Secret's.
    pub name: ObjectName,
    /// What the values are bound to.
    pub scope: Scope,
    /// What else the Secret holds; checked against what no SealedSecret may ask for.
    pub template: Template,
    envelopes: BTreeMap<EnvelopeId, Envelope>,
    values: BTreeMap<DataKey, SealedValue>,
}

/// An envelope in its parts.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The commitment to its data key.
    pub commitment: Commitment,
    /// Its wraps by key id; all of one kind.
    pub wraps: BTreeMap<KeyId, Wrap>,
}

/// Why an object is refused before any key is used. Shows names, never values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The object has no name, or one that is not canonical.
    #[error("metadata.name: {0}")]
    Name(InvalidName),
    /// The object has no namespace, or one that is not canonical.
    #[error("metadata.namespace: {0}")]
    Namespace(InvalidName),
    /// More data keys than the format allows.
    #[error("spec.encryptedData: more than {MAX_DATA_KEYS} keys")]
    TooManyDataKeys,
    /// More envelopes than the format allows.
    #[error("spec.envelopes: more than {MAX_ENVELOPES} envelopes")]
    TooManyEnvelopes,
    /// More wraps than the format allows.
    #[error("spec.envelopes.{0}.wraps: more than {MAX_WRAPS} wraps")]
    TooManyWraps(EnvelopeId),
    /// A data key that is not canonical.
    #[error("spec.encryptedData: {0}")]
    DataKey(InvalidName),
    /// An envelope id that is not canonical.
    #[error("spec.envelopes: {0}")]
    EnvelopeId(InvalidName),
    /// A key id that is not canonical.
    #[error("spec.envelopes.{0}.wraps: {1}")]
    KeyId(EnvelopeId, InvalidName),
    /// A commitment that is not 32 bytes in canonical base64.
    #[error("spec.envelopes.{0}.commitment: not 32 bytes in canonical base64")]
    Commitment(EnvelopeId, BytesError),
    /// An envelope whose id is not that of its commitment.
    #[error("spec.envelopes.{0}: its commitment belongs to {1}")]
    ForeignCommitment(EnvelopeId, EnvelopeId),
    /// An envelope without a wrap: nobody could open it.
    #[error("spec.envelopes.{0}.wraps: empty")]
    NoWraps(EnvelopeId),
    /// A wrap that is not of the right shape.
    #[error("spec.envelopes.{0}.wraps.{1}: {2}")]
    Wrap(EnvelopeId, KeyId, WrapError),
    /// Hybrid and classic wraps in one envelope: the weaker decides for all.
    #[error("spec.envelopes.{0}.wraps: hybrid and classic wraps in one envelope")]
    MixedWraps(EnvelopeId),
    /// Sealed for another place.
    #[error("sealed for {sealed_for}, but this object is {object}")]
    Moved {
        /// The envelope that says so, the first of perhaps many.
        envelope: EnvelopeId,
        /// What the values were sealed for.
        sealed_for: String,
        /// What they stand in.
        object: String,
    },
    /// A value that is not a token.
    #[error("spec.encryptedData.{0}: {1}")]
    Token(DataKey, TokenError),
    /// A value that names an envelope which is not there.
    #[error("spec.encryptedData.{0}: names envelope {1}, which is not there")]
    MissingEnvelope(DataKey, EnvelopeId),
    /// The values together could be more than a Secret can hold.
    #[error("spec.encryptedData: the values, each as long as its padding allows, come to more than 1 MiB")]
    TooLarge,
    /// The template asks for what no SealedSecret may have.
    #[error("spec.template: {0}")]
    Template(#[from] TemplateError),
}

impl DecodeError {
    /// The check that the object failed.
    pub fn check(&self) -> Check {
        match self {
            DecodeError::Name(error)
            | DecodeError::Namespace(error)
            | DecodeError::DataKey(error)
            | DecodeError::EnvelopeId(error)
            | DecodeError::KeyId(_, error) => error.check(),
            DecodeError::TooManyDataKeys => Check::DataKeyCount,
            DecodeError::TooManyEnvelopes => Check::EnvelopeCount,
            DecodeError::TooManyWraps(_) => Check::WrapCount,
            DecodeError::Commitment(_, BytesError::Encoding) => Check::CommitmentEncoding,
            DecodeError::Commitment(_, BytesError::Length) => Check::CommitmentLength,
            DecodeError::ForeignCommitment(..) => Check::CommitmentForeign,
            DecodeError::NoWraps(_) => Check::WrapsEmpty,
            DecodeError::Wrap(_, _, error) => error.check(),
            DecodeError::MixedWraps(_) => Check::WrapsMixed,
            DecodeError::Moved { .. } => Check::BoundTo,
            DecodeError::Token(_, error) => error.check(),
            DecodeError::MissingEnvelope(..) => Check::TokenEnvelope,
            DecodeError::TooLarge => Check::DataSize,
            DecodeError::Template(error) => error.check(),
        }
    }

    /// The word for it in status, metrics and output.
    pub fn reason(&self) -> Reason {
        self.check().reason()
    }
}

impl Sealed {
    /// Decodes an object without any key; refuses it at the first check that fails.
    ///
    /// The order is fixed (FORMAT.md §6): names, the numbers of data keys and envelopes, each envelope with
    /// its limits and its `boundTo`, each value, the size of all values together, template.
    pub fn decode(object: &SealedSecret) -> Result<Self, DecodeError> {
        let spec = &object.spec;
        // FORMAT.md §6.1
        let name = ObjectName::parse(object.metadata.name.as_deref().unwrap_or_default()).map_err(DecodeError::Name)?;
        let namespace = Namespace::parse(object.metadata.namespace.as_deref().unwrap_or_default())
            .map_err(DecodeError::Namespace)?;
        if spec.encrypted_data.len() > MAX_DATA_KEYS {
            return Err(DecodeError::TooManyDataKeys);
        }
        if spec.envelopes.len() > MAX_ENVELOPES {
            return Err(DecodeError::TooManyEnvelopes);
        }
        let scope = spec.scope.unwrap_or_default();
        let expected = bound_to_for(scope, &namespace, &name);
        let mut envelopes = BTreeMap::new();
        for (id, envelope) in &spec.envelopes {
            let id = EnvelopeId::parse(id).map_err(DecodeError::EnvelopeId)?;
            let decoded = decode_envelope(&id, envelope)?;
            // FORMAT.md §6.6
            if envelope.bound_to != expected {
                return Err(moved(id, scope, &envelope.bound_to, (&namespace, &name)));
            }
            envelopes.insert(id, decoded);
        }
        let values = decode_values(&spec.encrypted_data, &envelopes)?;
        let template = spec.template.clone().unwrap_or_default();
        template::check(&template)?;
        Ok(Self { namespace, name, scope, template, envelopes, values })
    }

    /// The envelopes by id, those that no value names included.
    pub fn envelopes(&self) -> &BTreeMap<EnvelopeId, Envelope> {
        &self.envelopes
    }

    /// The data keys that have a sealed value, and the envelope of each.
    pub fn data_keys(&self) -> impl Iterator<Item = (&DataKey, &EnvelopeId)> {
        self.values.iter().map(|(key, value)| (key, &value.envelope))
    }

    pub(crate) fn values(&self) -> &BTreeMap<DataKey, SealedValue> {
        &self.values
    }

    pub(crate) fn binding<'a>(&'a self, key: &'a DataKey) -> Binding<'a> {
        Binding { scope: self.scope, namespace: &self.namespace, name: &self.name, key }
    }
}

/// What an envelope says it was sealed for: both names for `Strict`, the namespace for
/// `Namespace`, nothing for `Cluster`.
pub fn bound_to_for(scope: Scope, namespace: &Namespace, name: &ObjectName) -> BoundTo {
    BoundTo {
        namespace: (scope != Scope::Cluster).then(|| namespace.to_string()),
        name: (scope == Scope::Strict).then(|| name.to_string()),
    }
}

fn decode_envelope(id: &EnvelopeId, spec: &EnvelopeSpec) -> Result<Envelope, DecodeError> {
    // FORMAT.md §6.2
    let commitment = base64_text::decode_exact::<COMMITMENT_BYTES>(&base64_text::STANDARD, &spec.commitment)
        .map(Commitment)
        .map_err(|error| DecodeError::Commitment(id.clone(), error))?;
    let own_id = commitment.envelope_id();
    if own_id != *id {
        return Err(DecodeError::ForeignCommitment(id.clone(), own_id));
    }
    let wraps = decode_wraps(id, &spec.wraps)?;
    Ok(Envelope { commitment, wraps })
}

fn decode_wraps(id: &EnvelopeId, wraps: &BTreeMap<String, String>) -> Result<BTreeMap<KeyId, Wrap>, DecodeError> {
    // FORMAT.md §6.2
    if wraps.is_empty() {
        return Err(DecodeError::NoWraps(id.clone()));
    }
    if wraps.len() > MAX_WRAPS {
        return Err(DecodeError::TooManyWraps(id.clone()));
    }
    let mut decoded: BTreeMap<KeyId, Wrap> = BTreeMap::new();
    for (key_id, wrap) in wraps {
        // FORMAT.md §6.3
        let key_id = KeyId::parse(key_id).map_err(|error| DecodeError::KeyId(id.clone(), error))?;
        let wrap = Wrap::parse(wrap).map_err(|error| DecodeError::Wrap(id.clone(), key_id.clone(), error))?;
        decoded.insert(key_id, wrap);
    }
    // FORMAT.md §6.6
    let mut kinds = decoded.values().map(Wrap::kind);
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        return Err(DecodeError::MixedWraps(id.clone()));
    }
    Ok(decoded)
}

fn decode_values(
    tokens: &BTreeMap<String, String>,
    envelopes: &BTreeMap<EnvelopeId, Envelope>,
) -> Result<BTreeMap<DataKey, SealedValue>, DecodeError> {
    let mut values = BTreeMap::new();
    for (key, token) in tokens {
        // FORMAT.md §6.7
        let key = DataKey::parse(key).map_err(DecodeError::DataKey)?;
        let value = SealedValue::parse(token).map_err(|error| DecodeError::Token(key.clone(), error))?;
        if !envelopes.contains_key(&value.envelope) {
            return Err(DecodeError::MissingEnvelope(key, value.envelope));
        }
        values.insert(key, value);
    }
    // FORMAT.md §6.7
    if values.values().map(SealedValue::counted_length).sum::<usize>() > MAX_SECRET_BYTES {
        return Err(DecodeError::TooLarge);
    }
    Ok(values)
}

/// Names both places. What stands in `boundTo` is shown only where it is a name.
fn moved(
    envelope: EnvelopeId,
    scope: Scope,
    bound_to: &BoundTo,
    (namespace, name): (&Namespace, &ObjectName),
) -> DecodeError {
    let there = bound_to.namespace.as_deref().map(Namespace::parse);
    let called = bound_to.name.as_deref().map(ObjectName::parse);
    let sealed_for = match (there, called) {
        (Some(Ok(there)), Some(Ok(called))) => format!("{there}/{called} (scope Strict)"),
        (Some(Ok(there)), None) => format!("namespace {there} (scope Namespace)"),
        (None, None) => "any place (scope Cluster)".to_owned(),
        _ => "no place that can be".to_owned(),
    };
    DecodeError::Moved { envelope, sealed_for, object: format!("{namespace}/{name} (scope {})", scope.as_str()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;
    use crate::seal::seal;
    use crate::secret::{SecretBytes, SecretManifest};

    /// An object of one value, sealed to so many new keys.
    fn sealed(kind: KeyKind, keys: usize) -> SealedSecret {
        let value = SecretBytes::new(b"hunter2".to_vec());
        let secret = SecretManifest::of_data([(DataKey::parse("A").expect("a data key"), value)]);
        let namespace = Namespace::parse("shop").expect("a namespace");
        let mut random = randomness::system();
        let recipients: Vec<_> = (0..keys).map(|_| Identity::generate(kind, &mut random).recipient().clone()).collect();
        seal(&secret, &namespace, Scope::Strict, &recipients, &mut random).expect("a good Secret")
    }

    fn envelope(object: &mut SealedSecret) -> &mut EnvelopeSpec {
        object.spec.envelopes.values_mut().next().expect("one envelope")
    }

    fn check(object: &SealedSecret) -> Option<Check> {
        Sealed::decode(object).err().map(|error| error.check())
    }

    #[test]
    fn as_many_as_the_limit_are_looked_at_and_not_one_more() {
        for (count, expected) in [(MAX_DATA_KEYS, Check::TokenVersion), (MAX_DATA_KEYS + 1, Check::DataKeyCount)] {
            let mut object = sealed(KeyKind::Classic, 1);
            object.spec.encrypted_data = (0..count).map(|n| (format!("K{n}"), "no token".to_owned())).collect();
            assert_eq!(check(&object), Some(expected), "{count} data keys");
        }
        for (count, expected) in [(MAX_ENVELOPES, Check::CommitmentLength), (MAX_ENVELOPES + 1, Check::EnvelopeCount)] {
            let mut object = sealed(KeyKind::Classic, 1);
            object.spec.envelopes = (0..count).map(|n| (format!("e{n:010x}"), EnvelopeSpec::default())).collect();
            assert_eq!(check(&object), Some(expected), "{count} envelopes");
        }
        for (count, expected) in [(MAX_WRAPS, Check::WrapParts), (MAX_WRAPS + 1, Check::WrapCount)] {
            let mut object = sealed(KeyKind::Classic, 1);
            envelope(&mut object).wraps = (0..count).map(|n| (format!("k{n:016x}"), "no wrap".to_owned())).collect();
            assert_eq!(check(&object), Some(expected), "{count} wraps");
        }
    }

    #[test]
    fn wraps_of_one_envelope_are_all_of_one_kind() {
        for kind in [KeyKind::Classic, KeyKind::Hybrid] {
            assert_eq!(check(&sealed(kind, 2)), None);
        }
        let mut mixed = sealed(KeyKind::Classic, 1);
        envelope(&mut mixed).wraps.append(&mut envelope(&mut sealed(KeyKind::Hybrid, 1)).wraps);
        assert_eq!(check(&mixed), Some(Check::WrapsMixed));
    }

    #[test]
    fn what_was_sealed_for_another_place_says_for_which() {
        for (namespace, name, expected) in [
            (Some("web"), Some("api"), "web/api (scope Strict)"),
            (Some("web"), None, "namespace web (scope Namespace)"),
            (None, None, "any place (scope Cluster)"),
            (None, Some("api"), "no place that can be"),
            (Some("hunter 2"), None, "no place that can be"),
        ] {
            let mut object = sealed(KeyKind::Classic, 1);
            envelope(&mut object).bound_to =
                BoundTo { namespace: namespace.map(str::to_owned), name: name.map(str::to_owned) };
            let Err(DecodeError::Moved { sealed_for, object, .. }) = Sealed::decode(&object) else {
                panic!("{expected}: not moved");
            };
            assert_eq!((sealed_for.as_str(), object.as_str()), (expected, "shop/db (scope Strict)"));
        }
    }
}

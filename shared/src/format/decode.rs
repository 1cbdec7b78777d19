use std::collections::{BTreeMap, BTreeSet};

use super::dek::Commitment;
use super::value::SealedValue;
use super::wrap::Wrap;
use super::{Binding, Check, FieldPath, Refusal, base64_text};
use crate::names::{DataKey, EnvelopeId, KeyId, Namespace, ObjectName};
use crate::sealed_secret::{BoundTo, EnvelopeSpec, Scope, SealedSecret, Template};
use crate::secret::MAX_SECRET_BYTES;
use crate::template;

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
    /// The type, `immutable` and the metadata of the Secret, checked by FORMAT.md §6.8.
    pub template: Template,
    envelopes: BTreeMap<EnvelopeId, Envelope>,
    values: BTreeMap<DataKey, SealedValue>,
}

/// An envelope in its parts.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The commitment to its DEK.
    pub commitment: Commitment,
    /// Its wraps by key id; all of one kind.
    pub wraps: BTreeMap<KeyId, Wrap>,
}

impl Sealed {
    /// Decodes an object without any key, or returns the first check that it fails.
    ///
    /// The order is fixed (FORMAT.md §6): names, the numbers of data keys and envelopes, each envelope with
    /// its limits and its `boundTo`, each value, the size of all values together, template.
    pub fn decode(object: &SealedSecret) -> Result<Self, Refusal> {
        let spec = &object.spec;
        // FORMAT.md §6.1
        let name = ObjectName::parse(object.metadata.name.as_deref().unwrap_or_default())
            .map_err(|fault| fault.at(FieldPath::Name))?;
        let namespace = Namespace::parse(object.metadata.namespace.as_deref().unwrap_or_default())
            .map_err(|fault| fault.at(FieldPath::Namespace))?;
        if spec.encrypted_data.len() > MAX_DATA_KEYS {
            return Err(Check::DataKeyCount.refusal_at(FieldPath::EncryptedData));
        }
        if spec.envelopes.len() > MAX_ENVELOPES {
            return Err(Check::EnvelopeCount.refusal_at(FieldPath::Envelopes));
        }
        let scope = spec.scope.unwrap_or_default();
        let expected = bound_to_for(scope, &namespace, &name);
        let mut envelopes = BTreeMap::new();
        for (id, envelope) in &spec.envelopes {
            let id = EnvelopeId::parse(id).map_err(|fault| fault.at(FieldPath::Envelopes))?;
            let decoded = decode_envelope(&id, envelope)?;
            // FORMAT.md §6.6
            if envelope.bound_to != expected {
                return Err(moved(id, scope, &envelope.bound_to, (&namespace, &name)));
            }
            envelopes.insert(id, decoded);
        }
        let values = decode_values(&spec.encrypted_data, &envelopes)?;
        let template = spec.template.clone().unwrap_or_default();
        template::check_template(&template).map_err(|fault| fault.at(FieldPath::Template))?;
        Ok(Self { namespace, name, scope, template, envelopes, values })
    }

    /// All envelopes by id, also those that no value names.
    pub fn envelopes(&self) -> &BTreeMap<EnvelopeId, Envelope> {
        &self.envelopes
    }

    /// The data keys that have a sealed value, and the envelope of each.
    pub fn data_keys(&self) -> impl Iterator<Item = (&DataKey, &EnvelopeId)> {
        self.values.iter().map(|(key, value)| (key, &value.envelope))
    }

    /// The envelopes that a value names, each once.
    pub fn used_envelopes(&self) -> impl Iterator<Item = (&EnvelopeId, &Envelope)> {
        let used: BTreeSet<_> = self.values.values().map(|value| &value.envelope).collect();
        self.envelopes.iter().filter(move |(id, _)| used.contains(id))
    }

    pub(crate) fn values(&self) -> &BTreeMap<DataKey, SealedValue> {
        &self.values
    }

    pub(crate) fn binding<'a>(&'a self, key: &'a DataKey) -> Binding<'a> {
        Binding { scope: self.scope, namespace: &self.namespace, name: &self.name, key }
    }
}

/// The `boundTo` of an envelope (FORMAT.md §6.6).
pub(crate) fn bound_to_for(scope: Scope, namespace: &Namespace, name: &ObjectName) -> BoundTo {
    BoundTo {
        namespace: (scope != Scope::Cluster).then(|| namespace.to_string()),
        name: (scope == Scope::Strict).then(|| name.to_string()),
    }
}

fn decode_envelope(id: &EnvelopeId, spec: &EnvelopeSpec) -> Result<Envelope, Refusal> {
    // FORMAT.md §6.2
    let (encoding, length) = (Check::CommitmentEncoding, Check::CommitmentLength);
    let bytes = base64_text::decode_exact(&base64_text::STANDARD, &spec.commitment, encoding, length);
    let commitment = bytes.map(Commitment).map_err(|check| check.refusal_at(FieldPath::Commitment(id.clone())))?;
    let own_id = commitment.envelope_id();
    if own_id != *id {
        return Err(Check::CommitmentForeign.fault_with(own_id.as_str()).at(FieldPath::Envelope(id.clone())));
    }
    let wraps = decode_wraps(id, &spec.wraps)?;
    Ok(Envelope { commitment, wraps })
}

fn decode_wraps(id: &EnvelopeId, wraps: &BTreeMap<String, String>) -> Result<BTreeMap<KeyId, Wrap>, Refusal> {
    // FORMAT.md §6.2
    let at_wraps = || FieldPath::Wraps(id.clone());
    if wraps.is_empty() {
        return Err(Check::WrapsEmpty.refusal_at(at_wraps()));
    }
    if wraps.len() > MAX_WRAPS {
        return Err(Check::WrapCount.refusal_at(at_wraps()));
    }
    let mut decoded: BTreeMap<KeyId, Wrap> = BTreeMap::new();
    for (key_id, wrap) in wraps {
        // FORMAT.md §6.3
        let key_id = KeyId::parse(key_id).map_err(|fault| fault.at(at_wraps()))?;
        let wrap = Wrap::parse(wrap).map_err(|check| check.refusal_at(FieldPath::Wrap(id.clone(), key_id.clone())))?;
        decoded.insert(key_id, wrap);
    }
    // FORMAT.md §6.6
    let mut kinds = decoded.values().map(Wrap::kind);
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        return Err(Check::WrapsMixed.refusal_at(at_wraps()));
    }
    Ok(decoded)
}

fn decode_values(
    tokens: &BTreeMap<String, String>,
    envelopes: &BTreeMap<EnvelopeId, Envelope>,
) -> Result<BTreeMap<DataKey, SealedValue>, Refusal> {
    let mut values = BTreeMap::new();
    for (key, token) in tokens {
        // FORMAT.md §6.7
        let key = DataKey::parse(key).map_err(|fault| fault.at(FieldPath::EncryptedData))?;
        let value = SealedValue::parse(token).map_err(|check| check.refusal_at(FieldPath::Value(key.clone())))?;
        if !envelopes.contains_key(&value.envelope) {
            return Err(Check::TokenEnvelope.fault_with(value.envelope.as_str()).at(FieldPath::Value(key)));
        }
        values.insert(key, value);
    }
    if values.values().map(SealedValue::counted_length).sum::<usize>() > MAX_SECRET_BYTES {
        return Err(Check::DataSize.refusal_at(FieldPath::EncryptedData));
    }
    Ok(values)
}

/// The refusal of a moved object, with both places. Shows the names in `boundTo` only if all of them are valid.
fn moved(
    envelope: EnvelopeId,
    scope: Scope,
    bound_to: &BoundTo,
    (namespace, name): (&Namespace, &ObjectName),
) -> Refusal {
    let there = bound_to.namespace.as_deref().map(Namespace::parse);
    let called = bound_to.name.as_deref().map(ObjectName::parse);
    let sealed_for = match (there, called) {
        (Some(Ok(there)), Some(Ok(called))) => format!("{there}/{called} (scope Strict)"),
        (Some(Ok(there)), None) => format!("namespace {there} (scope Namespace)"),
        (None, None) => "any place (scope Cluster)".to_owned(),
        _ => "a place that is not valid".to_owned(),
    };
    let detail = format!("{sealed_for}, but this object is {namespace}/{name} (scope {})", scope.as_str());
    Check::BoundTo.fault_with(detail).at(FieldPath::Envelope(envelope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;
    use crate::seal::seal;
    use crate::secret::{SecretBytes, SecretManifest};

    /// An object with one value, sealed to this number of new keys.
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
    fn each_count_may_reach_its_limit_and_not_exceed_it() {
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
    fn a_moved_object_names_the_place_that_it_was_sealed_for() {
        for (namespace, name, expected) in [
            (Some("web"), Some("api"), "web/api (scope Strict)"),
            (Some("web"), None, "namespace web (scope Namespace)"),
            (None, None, "any place (scope Cluster)"),
            (None, Some("api"), "a place that is not valid"),
            (Some("hunter 2"), None, "a place that is not valid"),
        ] {
            let mut object = sealed(KeyKind::Classic, 1);
            envelope(&mut object).bound_to =
                BoundTo { namespace: namespace.map(str::to_owned), name: name.map(str::to_owned) };
            let refusal = Sealed::decode(&object).expect_err("it was moved");
            let text = format!("sealed for {expected}, but this object is shop/db (scope Strict)");
            assert_eq!((refusal.check(), refusal.to_string()), (Check::BoundTo, text));
        }
    }
}

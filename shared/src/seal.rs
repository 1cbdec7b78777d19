//! Sealing: a Secret becomes a SealedSecret.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;

use crate::format::{
    Binding, Dek, Fault, MAX_DATA_KEYS, MAX_WRAPS, Wrap, bound_to_for, counted_length, padded_length, seal_value,
};
use crate::key::Recipient;
use crate::names::{DataKey, EnvelopeId, KeyId, Namespace, ObjectName};
use crate::randomness::CryptoRng;
use crate::sealed_secret::{EnvelopeSpec, Scope, SealedSecret, SealedSecretSpec, Template, TemplateMetadata};
use crate::secret::{DEFAULT_TYPE, MAX_SECRET_BYTES, SecretBytes, SecretData, SecretManifest};
use crate::stack;
use crate::template;

/// Prefixes of the annotations for a deployment tool. They go onto the SealedSecret, which that tool
/// applies, and not onto the Secret.
const DEPLOYMENT_TOOL_PREFIXES: [&str; 5] =
    ["argocd.argoproj.io/", "helm.sh/", "meta.helm.sh/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"];

/// Why a Secret is not sealed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The list of recipients is empty.
    #[error("no recipient")]
    NoRecipients,
    /// More recipients than an envelope may have wraps.
    #[error("more than {MAX_WRAPS} recipients")]
    TooManyRecipients,
    /// Hybrid and classic recipients together: the weaker kind would decide for all.
    #[error("hybrid (\"age1pq1…\") and classic (\"age1…\") recipients cannot be mixed")]
    MixedRecipients,
    /// Two different recipients with the same key id, of which only one could have a wrap. Only an attacker makes such
    /// keys.
    #[error("two different recipients have the key id {0}: one of them was made to take the other's place")]
    SameKeyId(KeyId),
    /// More data keys than a SealedSecret may have.
    #[error("more than {MAX_DATA_KEYS} data keys")]
    TooManyDataKeys,
    /// More than 1 MiB of data. Each value counts with the greatest length that its padding allows (FORMAT.md §6.7).
    #[error("the values, padded to hide their lengths, come to more than 1 MiB: divide them among several Secrets")]
    TooLarge,
    /// The Secret has a type, a label or an annotation that a SealedSecret must not have.
    #[error(transparent)]
    Template(#[from] Fault),
}

/// The place that values are bound to.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// How much of the place they are bound to.
    pub scope: Scope,
    /// The namespace of the object.
    pub namespace: &'a Namespace,
    /// The name of the object.
    pub name: &'a ObjectName,
}

/// Values that were sealed together.
#[derive(Debug, Clone)]
pub struct SealedValues {
    /// The id of their envelope.
    pub envelope_id: EnvelopeId,
    /// Their envelope.
    pub envelope: EnvelopeSpec,
    /// The token of each value.
    pub tokens: BTreeMap<DataKey, String>,
}

/// Seals every value of a Secret for its place, under one fresh DEK that is wrapped for each recipient.
///
/// The labels and the annotations of the Secret go into the template, except annotations for deployment tools: these go
/// onto the SealedSecret. Refuses what [`check`] refuses.
pub fn seal(
    secret: &SecretManifest,
    namespace: &Namespace,
    scope: Scope,
    recipients: &[Recipient],
    random: &mut impl CryptoRng,
) -> Result<SealedSecret, SealError> {
    check(secret, recipients)?;
    let (tool_annotations, template) = template_of(secret);
    let mut spec = SealedSecretSpec {
        scope: (scope != Scope::Strict).then_some(scope),
        template: (template != Template::default()).then_some(template),
        ..Default::default()
    };
    if !secret.data.is_empty() {
        let place = Place { scope, namespace, name: &secret.name };
        let sealed = stack::wiped_after(|| seal_data(&secret.data, place, recipients, random));
        spec.envelopes.insert(sealed.envelope_id.to_string(), sealed.envelope);
        spec.encrypted_data = sealed.tokens.into_iter().map(|(key, token)| (key.to_string(), token)).collect();
    }
    let metadata = ObjectMeta {
        name: Some(secret.name.to_string()),
        namespace: Some(namespace.to_string()),
        annotations: (!tool_annotations.is_empty()).then_some(tool_annotations),
        ..Default::default()
    };
    Ok(SealedSecret { metadata, spec, status: None })
}

/// Refuses what [`seal`] refuses: no recipients, more than 16 different ones, recipients of both kinds, two different
/// recipients with one key id, more than 256 data keys, more than 1 MiB of data, and a type, label or annotation that a
/// SealedSecret must not have.
///
/// It takes a small part of the time of sealing, so a program can check many Secrets before it seals the first.
pub fn check(secret: &SecretManifest, recipients: &[Recipient]) -> Result<(), SealError> {
    check_recipients(recipients)?;
    check_size(&secret.data)?;
    template::check_template(&template_of(secret).1)?;
    Ok(())
}

/// Seals values for the place of an object that exists, under one fresh DEK that is wrapped for each recipient.
///
/// Refuses recipients and data that [`check`] refuses. The caller must check the object with its new values
/// ([`crate::format::Sealed::decode`]): together with its other values they can be too many or too large.
pub fn seal_values(
    data: &SecretData,
    place: Place<'_>,
    recipients: &[Recipient],
    random: &mut impl CryptoRng,
) -> Result<SealedValues, SealError> {
    check_recipients(recipients)?;
    check_size(data)?;
    Ok(stack::wiped_after(|| seal_data(data, place, recipients, random)))
}

fn check_recipients(recipients: &[Recipient]) -> Result<(), SealError> {
    let first = recipients.first().ok_or(SealError::NoRecipients)?;
    if recipients.iter().any(|recipient| recipient.kind() != first.kind()) {
        return Err(SealError::MixedRecipients);
    }
    let mut by_id = BTreeMap::new();
    for recipient in recipients {
        if by_id.insert(recipient.key_id(), recipient).is_some_and(|other| other != recipient) {
            return Err(SealError::SameKeyId(recipient.key_id().clone()));
        }
    }
    // A recipient that is given twice counts once (FORMAT.md §8).
    if by_id.len() > MAX_WRAPS {
        return Err(SealError::TooManyRecipients);
    }
    Ok(())
}

fn check_size(data: &SecretData) -> Result<(), SealError> {
    if data.len() > MAX_DATA_KEYS {
        return Err(SealError::TooManyDataKeys);
    }
    let counted = |value: &SecretBytes| {
        let length = value.expose().len();
        counted_length(padded_length(length)).max(length)
    };
    if data.values().map(counted).sum::<usize>() > MAX_SECRET_BYTES {
        return Err(SealError::TooLarge);
    }
    Ok(())
}

fn template_of(secret: &SecretManifest) -> (BTreeMap<String, String>, Template) {
    let (tool_annotations, annotations): (BTreeMap<_, _>, BTreeMap<_, _>) = secret
        .annotations
        .clone()
        .into_iter()
        .partition(|(key, _)| DEPLOYMENT_TOOL_PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
    let metadata = TemplateMetadata { labels: secret.labels.clone(), annotations };
    let template = Template {
        type_: secret.type_.clone().filter(|type_| !matches!(type_.as_str(), "" | DEFAULT_TYPE)),
        immutable: secret.immutable,
        metadata: (metadata != TemplateMetadata::default()).then_some(metadata),
    };
    (tool_annotations, template)
}

/// Makes the envelope and the tokens of values that were checked.
fn seal_data(
    data: &SecretData,
    place: Place<'_>,
    recipients: &[Recipient],
    random: &mut impl CryptoRng,
) -> SealedValues {
    let dek = Dek::generate(random);
    let id = dek.commitment().envelope_id();
    let wraps = recipients
        .iter()
        .map(|recipient| (recipient.key_id().to_string(), Wrap::seal(recipient, &dek, random).to_text()))
        .collect();
    let Place { scope, namespace, name } = place;
    let envelope = EnvelopeSpec {
        bound_to: bound_to_for(scope, namespace, name),
        commitment: BASE64_STANDARD.encode(dek.commitment().as_bytes()),
        wraps,
    };
    let token = |(key, value): (&DataKey, &SecretBytes)| {
        let binding = Binding { scope, namespace, name, key };
        (key.clone(), seal_value(value, &dek, &id, binding, random))
    };
    let tokens = data.iter().map(token).collect();
    SealedValues { envelope_id: id, envelope, tokens }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::names::DataKey;
    use crate::randomness;
    use crate::secret::SecretData;

    fn values(lengths: impl IntoIterator<Item = usize>) -> SecretData {
        let key = |index: usize| DataKey::parse(&format!("K{index}")).expect("a letter and digits");
        lengths.into_iter().enumerate().map(|(index, length)| (key(index), SecretBytes::new(vec![7; length]))).collect()
    }

    fn recipients(kind: KeyKind, count: usize) -> Vec<Recipient> {
        let identity = |_| Identity::generate(kind, &mut randomness::system());
        (0..count).map(identity).map(|identity| identity.recipient().clone()).collect()
    }

    #[test]
    fn one_to_sixteen_recipients_of_one_kind() {
        let secret = SecretManifest::of_data(values([1]));
        let classic = recipients(KeyKind::Classic, 17);
        assert_eq!(check(&secret, &[]), Err(SealError::NoRecipients));
        assert_eq!(check(&secret, &classic[..16]), Ok(()));
        assert_eq!(check(&secret, &classic), Err(SealError::TooManyRecipients));
        let with_one_twice = [&classic[..16], &classic[..1]].concat();
        assert_eq!(check(&secret, &with_one_twice), Ok(()));
        let mixed = [&classic[..1], &recipients(KeyKind::Hybrid, 1)].concat();
        assert_eq!(check(&secret, &mixed), Err(SealError::MixedRecipients));
        let sealed = seal(&secret, &namespace(), Scope::Strict, &mixed, &mut randomness::system());
        assert_eq!(sealed.err(), Some(SealError::MixedRecipients));
    }

    #[test]
    fn no_recipient_takes_the_place_of_another() {
        let secret = SecretManifest::of_data(values([1]));
        let [one, other] = <[_; 2]>::try_from(recipients(KeyKind::Classic, 2)).expect("two");
        let id = one.key_id().clone();
        assert_eq!(check(&secret, &[one.clone(), one.clone(), other.clone()]), Ok(()));
        let other = other.with_key_id(id.clone());
        assert_eq!(check(&secret, &[one, other]), Err(SealError::SameKeyId(id)));
    }

    #[test]
    fn no_more_data_than_a_secret_can_hold() {
        let recipients = recipients(KeyKind::Classic, 1);
        let outcome = |data| check(&SecretManifest::of_data(data), &recipients);
        assert_eq!(outcome(values([1; 256])), Ok(()));
        assert_eq!(outcome(values([1; 257])), Err(SealError::TooManyDataKeys));
        assert_eq!(outcome(values([MAX_SECRET_BYTES])), Ok(()));
        assert_eq!(outcome(values([MAX_SECRET_BYTES + 1])), Err(SealError::TooLarge));
        assert_eq!(outcome(values([MAX_SECRET_BYTES, 0])), Err(SealError::TooLarge));
        // These two are as long as their padding allows, and 8 bytes are left of 1 MiB.
        assert_eq!(outcome(values([507_900, 540_668])), Ok(()));
        assert_eq!(outcome(values([507_901, 540_668])), Err(SealError::TooLarge));
        assert_eq!(outcome(values([507_900, 540_668, 0])), Err(SealError::TooLarge));
        assert_eq!(
            SealError::TooLarge.to_string(),
            "the values, padded to hide their lengths, come to more than 1 MiB: divide them among several Secrets"
        );
    }

    #[test]
    fn annotations_for_deployment_tools_stay_on_the_sealed_secret() {
        let recipients = recipients(KeyKind::Classic, 1);
        let sealed =
            |secret: &SecretManifest| seal(secret, &namespace(), Scope::Strict, &recipients, &mut randomness::system());
        let mut secret = SecretManifest::of_data(values([1]));
        assert_eq!(sealed(&secret).expect("a good Secret").metadata.annotations, None);
        let (tool, other) = ("argocd.argoproj.io/sync-wave", "example.com/team");
        secret.annotations = [tool, other].map(|key| (key.to_owned(), "1".to_owned())).into();
        let object = sealed(&secret).expect("a good Secret");
        assert_eq!(object.metadata.annotations, Some([(tool.to_owned(), "1".to_owned())].into()));
        let template = object.spec.template.and_then(|template| template.metadata).expect("an annotation");
        assert_eq!(template.annotations, [(other.to_owned(), "1".to_owned())].into());
    }

    fn namespace() -> Namespace {
        Namespace::parse("shop").expect("a namespace")
    }

    #[test]
    fn a_type_that_the_api_server_would_give_anyway_is_left_out() {
        for (type_, expected) in [(None, None), (Some(""), None), (Some("Opaque"), None), (Some("a/b"), Some("a/b"))] {
            let secret = SecretManifest { type_: type_.map(str::to_owned), ..SecretManifest::of_data([]) };
            assert_eq!(template_of(&secret).1.type_.as_deref(), expected, "{type_:?}");
        }
    }
}

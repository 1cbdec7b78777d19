//! The decision what to do about one SealedSecret. The backends carry it out.

use std::collections::{BTreeMap, BTreeSet};

use crate::api_group::{MARK_LABEL, MARK_OWNED};
use crate::format::{Refusal, Sealed};
use crate::judgement::Judgement;
use crate::key_ring::{KeyRing, Keys};
use crate::names::{KeyId, ObjectName};
use crate::randomness::CryptoRng;
use crate::reason::Reason;
use crate::rotation::open_and_review;
use crate::sealed_secret::{SealedSecret, Template, TemplateMetadata};
use crate::secret::{DEFAULT_TYPE, SecretData};
use crate::template::{self, ForbiddenPrefix};

/// The version of these rules in `status.settled`. Raise it if new rules make another Secret from an unchanged
/// SealedSecret: the controller then judges every object again.
pub(crate) const PLAN_VERSION: u32 = 1;

/// What exists under the name of the Secret.
#[derive(Debug)]
pub enum Existing {
    /// Nothing.
    Absent,
    /// A Secret or a folder that does not belong to the SealedSecret. Waxseal never changes it. The text says why it
    /// does not belong to the SealedSecret, and what a person can do.
    Foreign(String),
    /// A Secret that belongs to the SealedSecret.
    Ours(Box<ExistingSecret>),
}

/// A Secret as a backend found it.
#[derive(Debug)]
pub struct ExistingSecret {
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The labels that Waxseal wrote.
    pub our_labels: BTreeSet<String>,
    /// The annotations that Waxseal wrote.
    pub our_annotations: BTreeSet<String>,
    /// Its controller.
    pub controller: Controller,
    /// Its type.
    pub type_: String,
    /// Whether its data is immutable.
    pub immutable: bool,
    /// Its values; `None` if Waxseal cannot have written them.
    pub data: Option<SecretData>,
}

/// The controller of an existing Secret, from its owner references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Controller {
    /// It has no controller.
    None,
    /// A SealedSecret.
    SealedSecret {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// An object of another kind.
    Other,
}

/// The Secret that a SealedSecret describes: exactly this data, this type, and at least this metadata.
#[derive(Debug, PartialEq, Eq)]
pub struct DesiredSecret {
    /// Its name.
    pub name: ObjectName,
    /// The labels, with the mark of Waxseal.
    pub labels: BTreeMap<String, String>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
    /// The type.
    pub type_: String,
    /// The field `immutable`, if the SealedSecret has it.
    pub immutable: Option<bool>,
    /// The values.
    pub data: SecretData,
}

/// What to do about an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Do nothing: the object is being deleted.
    Nothing,
    /// Write nothing; the judgement says why.
    Refuse(Judgement),
    /// Write nothing: the Secret is as the object says.
    Keep(Materialised),
    /// Write the Secret. After a successful write the object is materialised.
    Write(Box<DesiredSecret>, Materialised),
}

/// The facts about an object whose Secret is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Materialised {
    /// The judgement, with the state of the wraps.
    pub judgement: Judgement,
    /// The keys whose wraps were opened.
    pub opened_with: BTreeSet<KeyId>,
}

impl Existing {
    /// Decides whether a Secret with an object's name belongs to the object.
    ///
    /// The Secret belongs to the object if it has the mark of Waxseal, and if its controller is absent or is a
    /// SealedSecret with the object's name. The UID of the controller does not matter: a SealedSecret that was deleted
    /// and created again gets its Secret back.
    pub fn of(secret: ExistingSecret, object: &SealedSecret) -> Self {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let label = format!("kubectl label secret {name} -n {namespace} --overwrite {MARK_LABEL}={MARK_OWNED}");
        match &secret.controller {
            Controller::Other => Existing::Foreign(format!(
                "a Secret of this name exists and another controller owns it, so Waxseal does not change it. To hand \
                 the Secret over to Waxseal, delete its owner with --cascade=orphan, then run: {label}"
            )),
            Controller::SealedSecret { name: owner, .. } if owner != name => Existing::Foreign(
                "a Secret of this name exists and another SealedSecret owns it, so Waxseal does not change it. To give \
                 the Secret to this SealedSecret, delete the other one with --cascade=orphan. Or give this \
                 SealedSecret another name"
                    .to_owned(),
            ),
            _ if secret.labels.get(MARK_LABEL).is_none_or(|mark| mark != MARK_OWNED) => Existing::Foreign(format!(
                "a Secret of this name exists without the label {MARK_LABEL}={MARK_OWNED}, so Waxseal does not change \
                 it. To hand the Secret over to Waxseal, run: {label}"
            )),
            Controller::None | Controller::SealedSecret { .. } => Existing::Ours(Box::new(secret)),
        }
    }
}

/// Decides what to do about an object, given the keys, the metadata that the operator forbids and what exists under the
/// name of the Secret.
///
/// `random` is used only for wraps that the object lacks after a change of keys.
///
/// The order of the checks: deletion of the object, keys, format, forbidden metadata, opening, ownership, fields that
/// Kubernetes never changes. The first check that fails decides, and nothing is written.
pub fn plan(
    object: &SealedSecret,
    keys: &Keys,
    forbidden: &[ForbiddenPrefix],
    existing: &Existing,
    random: &mut impl CryptoRng,
) -> Plan {
    if object.metadata.deletion_timestamp.is_some() {
        return Plan::Nothing;
    }
    decide(object, keys, forbidden, existing, random).unwrap_or_else(Plan::Refuse)
}

/// The first field in which a Secret differs from the Secret that an object describes; `None` if the Secret is as the
/// object says.
pub fn difference(object: &SealedSecret, desired: &DesiredSecret, existing: &ExistingSecret) -> Option<&'static str> {
    let labels_are_same = metadata_is(&desired.labels, &existing.labels, &existing.our_labels);
    let annotations_are_same = metadata_is(&desired.annotations, &existing.annotations, &existing.our_annotations);
    let fields = [
        ("data", existing.data.as_ref() == Some(&desired.data)),
        ("type", existing.type_ == desired.type_),
        ("immutable", existing.immutable == desired.immutable.unwrap_or_default()),
        ("metadata.labels", labels_are_same),
        ("metadata.annotations", annotations_are_same),
        ("metadata.ownerReferences", is_controlled_by(object, &existing.controller)),
    ];
    fields.into_iter().find(|(_, is_same)| !is_same).map(|(field, _)| field)
}

fn decide(
    object: &SealedSecret,
    keys: &Keys,
    forbidden: &[ForbiddenPrefix],
    existing: &Existing,
    random: &mut impl CryptoRng,
) -> Result<Plan, Judgement> {
    let ring = ring(keys)?;
    let refused = |refusal: Refusal| Judgement::new(refusal.reason(), with_remedy(&refusal));
    let sealed = Sealed::decode(object).map_err(refused)?;
    check_metadata(&sealed.template, forbidden)?;
    let (opened, wraps) = open_and_review(object, &sealed, ring, random).map_err(refused)?;
    let done = Materialised { judgement: Judgement::materialised(wraps), opened_with: opened.opened_with };
    let desired = desired(&sealed, opened.data);
    match existing {
        Existing::Absent => Ok(Plan::Write(Box::new(desired), done)),
        Existing::Foreign(why) => Err(Judgement::new(Reason::ForeignOwner, why.as_str())),
        Existing::Ours(existing) if difference(object, &desired, existing).is_none() => Ok(Plan::Keep(done)),
        Existing::Ours(existing) => {
            check_changeable(&desired, existing)?;
            Ok(Plan::Write(Box::new(desired), done))
        }
    }
}

/// The text of a refusal, with what a person can do if keys are the cause.
fn with_remedy(refusal: &Refusal) -> String {
    let remedy = match refusal.reason() {
        Reason::KeyRevoked => {
            "; the Secret stays as it is. Change the values and seal them again. To keep the values, seal them again \
             with a recovery key: waxseal rotate PATH --reseal --identity FILE, where PATH is the sealed file and FILE \
             the identity file of the recovery key"
        }
        Reason::KeyMissing => {
            "; seal the values again for this cluster, or add a wrap for its key: waxseal rotate PATH --to CLUSTER \
             --identity FILE, where PATH is the sealed file and FILE the identity file of a recovery key"
        }
        _ => "",
    };
    format!("{refusal}{remedy}")
}

fn check_metadata(template: &Template, forbidden: &[ForbiddenPrefix]) -> Result<(), Judgement> {
    let Some(prefix) = template::forbidden_prefix(template, forbidden) else {
        return Ok(());
    };
    let message = format!(
        "spec.template: labels and annotations that begin with {} are forbidden by the configuration of this controller",
        prefix.as_str()
    );
    // The reason covers the whole template, not only the type.
    Err(Judgement::new(Reason::TypeForbidden, message))
}

fn ring(keys: &Keys) -> Result<&KeyRing, Judgement> {
    match keys {
        Keys::Loading => Err(Judgement::new(Reason::KeysLoading, "the controller is reading its keys")),
        Keys::Awaiting => Err(Judgement::new(
            Reason::AwaitingKeys,
            "the controller holds no usable key and makes none: an identity is broken, a SealedSecret is sealed to a key \
             that the controller lacks, or key generation is off; the controller's log says which",
        )),
        Keys::Held(ring) => Ok(ring),
    }
}

fn desired(sealed: &Sealed, data: SecretData) -> DesiredSecret {
    let Template { type_, immutable, metadata } = sealed.template.clone();
    let TemplateMetadata { mut labels, annotations } = metadata.unwrap_or_default();
    labels.insert(MARK_LABEL.to_owned(), MARK_OWNED.to_owned());
    DesiredSecret {
        name: sealed.name.clone(),
        labels,
        annotations,
        type_: type_.filter(|type_| !type_.is_empty()).unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
        immutable,
        data,
    }
}

/// Whether all desired entries are present, and no entry that Waxseal wrote before is left over.
fn metadata_is(
    desired: &BTreeMap<String, String>,
    present: &BTreeMap<String, String>,
    ours: &BTreeSet<String>,
) -> bool {
    desired.iter().all(|(key, value)| present.get(key) == Some(value))
        && ours.iter().all(|key| desired.contains_key(key))
}

/// Whether the controller of a Secret is this object. On a folder, objects have no UID and Secrets no controller.
fn is_controlled_by(object: &SealedSecret, controller: &Controller) -> bool {
    match (&object.metadata.uid, controller) {
        (Some(uid), Controller::SealedSecret { uid: owner, .. }) => uid == owner,
        (None, Controller::None) => true,
        _ => false,
    }
}

fn check_changeable(desired: &DesiredSecret, existing: &ExistingSecret) -> Result<(), Judgement> {
    if existing.type_ != desired.type_ {
        return Err(Judgement::new(
            Reason::TypeImmutable,
            "the Secret exists with another type, and a Secret's type cannot change; delete the Secret, and the controller makes it again",
        ));
    }
    if existing.immutable && (existing.data.as_ref() != Some(&desired.data) || !desired.immutable.unwrap_or_default()) {
        return Err(Judgement::new(
            Reason::SecretImmutable,
            "the Secret exists, is immutable and differs; delete the Secret, and the controller makes it again",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

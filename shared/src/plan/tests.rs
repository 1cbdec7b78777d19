use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::key::{Identity, KeyKind};
use crate::key_life::HeldKey;
use crate::names::{DataKey, EnvelopeId, Namespace};
use crate::open::BrokenWrap;
use crate::randomness;
use crate::rotation::{KeyFinding, WrapReview};
use crate::seal::seal;
use crate::sealed_secret::Scope;
use crate::sealing_key::{KeyRole, KeyState};
use crate::secret::{SecretBytes, SecretManifest};

const UID: &str = "0b8f7a1c";

/// The plan where the operator forbids nothing.
fn plan(object: &SealedSecret, keys: Keys, existing: Option<ExistingSecret>) -> Plan {
    let existing = existing.map_or(Existing::Absent, |secret| Existing::of(secret, object));
    super::plan(object, &keys, &[], &existing, &mut randomness::system())
}

fn held(ring: &Arc<KeyRing>) -> Keys {
    Keys::Held(Arc::clone(ring))
}

fn ring() -> Arc<KeyRing> {
    let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
    Arc::new(KeyRing::new(vec![HeldKey::new(identity, KeyRole::Cluster, Timestamp::UNIX_EPOCH, KeyState::Active)]))
}

fn secret(data: &[(&str, &str)]) -> SecretManifest {
    let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    SecretManifest { labels, ..SecretManifest::of_data(values(data)) }
}

fn values(data: &[(&str, &str)]) -> SecretData {
    data.iter()
        .map(|(key, value)| (DataKey::parse(key).expect("a key"), SecretBytes::new(value.as_bytes().to_vec())))
        .collect()
}

fn sealed_with(ring: &KeyRing, secret: &SecretManifest, scope: Scope) -> SealedSecret {
    let namespace = Namespace::parse("shop").expect("a namespace");
    let recipients = [ring.primary().expect("one key").recipient.clone()];
    let mut object = seal(secret, &namespace, scope, &recipients, &mut randomness::system()).expect("seals");
    object.metadata.uid = Some(UID.to_owned());
    object
}

fn sealed(ring: &KeyRing) -> SealedSecret {
    sealed_with(ring, &secret(&[("PASSWORD", "hunter2"), ("USER", "app")]), Scope::Strict)
}

fn as_planned(plan: Plan) -> ExistingSecret {
    let Plan::Write(desired, _) = plan else { panic!("nothing was to be written") };
    ExistingSecret {
        our_labels: desired.labels.keys().cloned().collect(),
        our_annotations: desired.annotations.keys().cloned().collect(),
        labels: desired.labels,
        annotations: desired.annotations,
        controller: Controller::SealedSecret { name: "db".to_owned(), uid: UID.to_owned() },
        type_: desired.type_,
        immutable: desired.immutable.unwrap_or_default(),
        data: Some(desired.data),
    }
}

#[track_caller]
fn assert_not_written(plan: Plan, reason: Reason) -> String {
    let judgement = match plan {
        Plan::Refuse(judgement) | Plan::Keep(Materialised { judgement, .. }) => judgement,
        Plan::Nothing | Plan::Write(..) => panic!("expected {reason} and nothing written"),
    };
    assert_eq!(judgement.reason, reason, "{}", judgement.message);
    assert!(!judgement.message.contains("hunter2"));
    judgement.message
}

#[track_caller]
fn assert_written(plan: Plan) -> DesiredSecret {
    let Plan::Write(desired, done) = plan else { panic!("expected a write") };
    assert_eq!(done.judgement.reason, Reason::Materialised);
    *desired
}

#[test]
fn a_fresh_object_is_written_once() {
    let ring = ring();
    let object = sealed(&ring);
    let desired = assert_written(plan(&object, held(&ring), None));
    assert_eq!(desired.data, values(&[("PASSWORD", "hunter2"), ("USER", "app")]));
    assert_eq!(desired.labels[MARK_LABEL], MARK_OWNED);
    assert_eq!(desired.labels["team"], "shop");
    assert_eq!(desired.type_, "Opaque");
    let existing = as_planned(plan(&object, held(&ring), None));
    assert_not_written(plan(&object, held(&ring), Some(existing)), Reason::Materialised);
}

/// Returns the object with a wrong proof in every wrap that is not for the ring's key, and a list of these wraps.
fn with_broken_wraps(mut object: SealedSecret, ring: &KeyRing) -> (SealedSecret, Vec<BrokenWrap>) {
    let own = ring.primary().expect("one key").recipient.key_id().as_str();
    let mut broken = Vec::new();
    for (envelope, spec) in &mut object.spec.envelopes {
        for (key, wrap) in spec.wraps.iter_mut().filter(|(key, _)| *key != own) {
            let (file, proof) = wrap.split_once('.').expect("a proof");
            let first = if proof.starts_with('A') { "B" } else { "A" };
            *wrap = format!("{file}.{first}{}", &proof[1..]);
            let envelope = EnvelopeId::parse(envelope).expect("an envelope id");
            broken.push(BrokenWrap { envelope, key: KeyId::parse(key).expect("a key id") });
        }
    }
    (object, broken)
}

/// An object with one value that is sealed to the ring's key and to this many other keys.
fn sealed_to_others(ring: &KeyRing, data_key: &str, others: usize) -> SealedSecret {
    let generate = || Identity::generate(KeyKind::Classic, &mut randomness::system()).recipient().clone();
    let mut recipients = vec![ring.primary().expect("one key").recipient.clone()];
    recipients.extend(std::iter::repeat_with(generate).take(others));
    let namespace = Namespace::parse("shop").expect("a namespace");
    let secret = secret(&[(data_key, "hunter2")]);
    let mut object = seal(&secret, &namespace, Scope::Strict, &recipients, &mut randomness::system()).expect("seals");
    object.metadata.uid = Some(UID.to_owned());
    object
}

#[test]
fn broken_wraps_are_in_the_judgement_of_a_write_and_of_a_keep() {
    let ring = ring();
    let (object, broken) = with_broken_wraps(sealed_to_others(&ring, "PASSWORD", 2), &ring);
    assert_eq!(broken.len(), 2);
    let primary = ring.primary().expect("one key").recipient.key_id().clone();
    let keys = broken.iter().map(|wrap| (wrap.envelope.to_string(), vec![primary.to_string()])).collect();
    let findings = broken.into_iter().map(KeyFinding::WrapBroken).collect();
    let judgement = Judgement::materialised(WrapReview { findings, keys, ..WrapReview::default() });
    let expected = Materialised { judgement, opened_with: BTreeSet::from([primary]) };
    let Plan::Write(_, done) = plan(&object, held(&ring), None) else { panic!("expected a write") };
    assert_eq!(done, expected);
    let existing = as_planned(plan(&object, held(&ring), None));
    assert_eq!(plan(&object, held(&ring), Some(existing)), Plan::Keep(expected));
}

#[test]
fn an_empty_type_is_opaque() {
    let ring = ring();
    let mut object = sealed(&ring);
    object.spec.template = Some(Template { type_: Some(String::new()), ..Template::default() });
    assert_eq!(assert_written(plan(&object, held(&ring), None)).type_, "Opaque");
}

#[test]
fn metadata_that_others_added_stays() {
    let ring = ring();
    let object = sealed(&ring);
    let mut existing = as_planned(plan(&object, held(&ring), None));
    existing.annotations.insert("reloader".to_owned(), "x".to_owned());
    assert_not_written(plan(&object, held(&ring), Some(existing)), Reason::Materialised);
}

#[test]
fn each_difference_is_written() {
    let ring = ring();
    let object = sealed(&ring);
    let differences: [(fn(&mut ExistingSecret), _); 7] = [
        (|existing| existing.data = Some(values(&[("PASSWORD", "hunter2")])), "data"),
        (|existing| existing.data = Some(values(&[("PASSWORD", "hunter2"), ("USER", "app"), ("MORE", "x")])), "data"),
        (|existing| existing.data = None, "data"),
        (|existing| drop(existing.labels.remove("team")), "metadata.labels"),
        (|existing| existing.our_annotations.extend(["dropped-from-the-template".to_owned()]), "metadata.annotations"),
        (
            |existing| existing.controller = Controller::SealedSecret { name: "db".to_owned(), uid: "x".to_owned() },
            "metadata.ownerReferences",
        ),
        (|existing| existing.controller = Controller::None, "metadata.ownerReferences"),
    ];
    for (index, (differ, field)) in differences.iter().enumerate() {
        let Plan::Write(desired, _) = plan(&object, held(&ring), None) else { panic!("expected a write") };
        let mut existing = as_planned(plan(&object, held(&ring), None));
        differ(&mut existing);
        assert_eq!(difference(&object, &desired, &existing), Some(*field), "{index}");
        assert!(matches!(plan(&object, held(&ring), Some(existing)), Plan::Write(..)), "{index}");
    }
}

#[test]
fn every_way_of_being_foreign_is_refused() {
    let ring = ring();
    let object = sealed(&ring);
    let ways: [fn(&mut ExistingSecret); 5] = [
        |existing| drop(existing.labels.remove(MARK_LABEL)),
        |existing| drop(existing.labels.insert(MARK_LABEL.to_owned(), "adopt".to_owned())),
        |existing| drop(existing.labels.insert(MARK_LABEL.to_owned(), "merge".to_owned())),
        |existing| existing.controller = Controller::Other,
        |existing| existing.controller = Controller::SealedSecret { name: "web".to_owned(), uid: UID.to_owned() },
    ];
    for foreign in ways {
        let mut existing = as_planned(plan(&object, held(&ring), None));
        existing.data = Some(values(&[]));
        foreign(&mut existing);
        assert_not_written(plan(&object, held(&ring), Some(existing)), Reason::ForeignOwner);
    }
}

#[test]
fn the_command_that_hands_over_a_secret_replaces_other_values_of_the_label() {
    let ring = ring();
    let object = sealed(&ring);
    for value in [None, Some("adopt"), Some("merge")] {
        let mut existing = as_planned(plan(&object, held(&ring), None));
        existing.labels.remove(MARK_LABEL);
        existing.labels.extend(value.map(|value| (MARK_LABEL.to_owned(), value.to_owned())));
        let message = assert_not_written(plan(&object, held(&ring), Some(existing)), Reason::ForeignOwner);
        let expected = "a Secret of this name exists without the label waxseal.dev/secret=owned, so Waxseal does not \
                        change it. To hand the Secret over to Waxseal, run: kubectl label secret db -n shop \
                        --overwrite waxseal.dev/secret=owned";
        assert_eq!(message, expected, "{value:?}");
    }
}

#[test]
fn a_foreign_secret_is_refused_with_the_message_of_the_backend() {
    let ring = ring();
    let plan = super::plan(
        &sealed(&ring),
        &held(&ring),
        &[],
        &Existing::Foreign("a folder of others".to_owned()),
        &mut randomness::system(),
    );
    assert_eq!(assert_not_written(plan, Reason::ForeignOwner), "a folder of others");
}

#[test]
fn nothing_is_done_for_an_object_that_is_being_deleted() {
    let ring = ring();
    let mut object = sealed(&ring);
    object.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(plan(&object, held(&ring), None), Plan::Nothing);
}

#[test]
fn without_keys_an_object_waits() {
    let object = sealed(&ring());
    assert_not_written(plan(&object, Keys::Loading, None), Reason::KeysLoading);
    assert_not_written(plan(&object, Keys::Awaiting, None), Reason::AwaitingKeys);
}

#[test]
fn moving_an_object_is_seen_before_any_key_is_used() {
    let ring = ring();
    let moves: [fn(&mut SealedSecret); 4] = [
        |object| object.metadata.name = Some("web".to_owned()),
        |object| object.metadata.namespace = Some("blog".to_owned()),
        |object| object.spec.scope = Some(Scope::Namespace),
        |object| object.spec.scope = Some(Scope::Cluster),
    ];
    for move_it in moves {
        let mut object = sealed(&ring);
        move_it(&mut object);
        let message = assert_not_written(plan(&object, held(&Arc::default()), None), Reason::Moved);
        assert!(message.starts_with("sealed for shop/db (scope Strict), but this object is "), "{message}");
    }
}

#[test]
fn a_moved_value_is_unreadable_even_if_bound_to_fits_and_its_data_key_is_named() {
    let ring = ring();
    let mut swapped = sealed(&ring);
    let token = swapped.spec.encrypted_data["PASSWORD"].clone();
    swapped.spec.encrypted_data.insert("USER".to_owned(), token);
    let message = assert_not_written(plan(&swapped, held(&ring), None), Reason::Unreadable);
    assert_eq!(message, "spec.encryptedData.USER: does not open: it was changed, or sealed for another place");

    let mut disguised = sealed(&ring);
    disguised.metadata.name = Some("web".to_owned());
    for envelope in disguised.spec.envelopes.values_mut() {
        envelope.bound_to.name = Some("web".to_owned());
    }
    let message = assert_not_written(plan(&disguised, held(&ring), None), Reason::Unreadable);
    assert!(message.starts_with("spec.encryptedData.PASSWORD: "), "{message}");
}

#[test]
fn an_object_opens_everywhere_within_its_scope() {
    let ring = ring();
    let secret = secret(&[("PASSWORD", "hunter2")]);
    let mut object = sealed_with(&ring, &secret, Scope::Namespace);
    object.metadata.name = Some("web".to_owned());
    assert_written(plan(&object, held(&ring), None));
    object.metadata.namespace = Some("blog".to_owned());
    assert_not_written(plan(&object, held(&ring), None), Reason::Moved);

    let mut object = sealed_with(&ring, &secret, Scope::Cluster);
    object.metadata.name = Some("web".to_owned());
    object.metadata.namespace = Some("blog".to_owned());
    assert_written(plan(&object, held(&ring), None));
}

#[test]
fn fields_that_kubernetes_never_changes_are_not_written() {
    let ring = ring();
    let object = sealed(&ring);
    let mut typed = as_planned(plan(&object, held(&ring), None));
    typed.type_ = "kubernetes.io/basic-auth".to_owned();
    assert_not_written(plan(&object, held(&ring), Some(typed)), Reason::TypeImmutable);
    let mut frozen = as_planned(plan(&object, held(&ring), None));
    frozen.immutable = true;
    assert_not_written(plan(&object, held(&ring), Some(frozen)), Reason::SecretImmutable);
}

#[test]
fn malformed_and_forbidden_objects_are_not_written() {
    let ring = ring();
    let mut malformed = sealed(&ring);
    malformed.spec.encrypted_data.insert("PASSWORD".to_owned(), "hunter2".to_owned());
    assert_not_written(plan(&malformed, held(&ring), None), Reason::Malformed);
    let mut forbidden = sealed(&ring);
    let type_ = Some("kubernetes.io/service-account-token".to_owned());
    forbidden.spec.template = Some(Template { type_, ..Template::default() });
    assert_not_written(plan(&forbidden, held(&ring), None), Reason::TypeForbidden);
}

#[test]
fn an_object_for_an_unknown_key_says_how_to_go_on() {
    let object = sealed(&ring());
    let message = assert_not_written(plan(&object, held(&Arc::default()), None), Reason::KeyMissing);
    let remedy = "; seal the values again for this cluster, or add a wrap for its key: waxseal rotate PATH --to \
                  CLUSTER --identity FILE, where PATH is the sealed file and FILE the identity file of a recovery key";
    assert!(message.ends_with(remedy), "{message}");
}

#[test]
fn an_object_for_a_revoked_key_says_how_to_go_on() {
    let text = Identity::generate(KeyKind::Classic, &mut randomness::system()).expose();
    let key = |state| {
        let identity = Identity::parse(&text).expect("its own text");
        KeyRing::new(vec![HeldKey::new(identity, KeyRole::Cluster, Timestamp::UNIX_EPOCH, state)])
    };
    let object = sealed(&key(KeyState::Active));
    let message = assert_not_written(plan(&object, held(&Arc::new(key(KeyState::Revoked))), None), Reason::KeyRevoked);
    let remedy = "; the Secret stays as it is. Change the values and seal them again. To keep the values, seal them \
                  again with a recovery key: waxseal rotate PATH --reseal --identity FILE, where PATH is the sealed \
                  file and FILE the identity file of the recovery key";
    assert!(message.ends_with(remedy), "{message}");
}

#[test]
fn metadata_that_the_operator_forbids_is_refused() {
    let ring = ring();
    let forbidden = ["team".parse().expect("a prefix")];
    let message = assert_not_written(
        super::plan(&sealed(&ring), &held(&ring), &forbidden, &Existing::Absent, &mut randomness::system()),
        Reason::TypeForbidden,
    );
    assert_eq!(
        message,
        "spec.template: labels and annotations that begin with team are forbidden by the configuration of this controller"
    );
    assert_written(super::plan(
        &sealed(&ring),
        &held(&ring),
        &["shop".parse().expect("a prefix")],
        &Existing::Absent,
        &mut randomness::system(),
    ));
}

//! The record in the status of a SealedSecret: it says that the Secret is right. While it holds, the controller reads,
//! opens and writes nothing for the SealedSecret, also after a restart.
//!
//! Everybody who may write a status could forge such a record. So it has a proof over the whole status under an
//! identity of the controller. A record with a wrong proof counts as absent.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::key_life::HeldKey;
use crate::key_ring::KeyRing;
use crate::names::KeyId;
use crate::plan::PLAN_VERSION;
use crate::sealed_secret::{SealedSecretStatus, Settled};
use crate::sealing_key::KeyState;
use crate::stack;
use crate::template::ForbiddenPrefix;

const PROOF_BYTES: usize = 16;

/// The SHA-256 of a status without the proof in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusDigest([u8; 32]);

/// What a judgement depends on in addition to keys and Secret.
#[derive(Debug, Clone, Copy)]
pub struct JudgedObject<'a> {
    /// The object's UID.
    pub uid: &'a str,
    /// The object's generation.
    pub generation: i64,
    /// The labels and annotations that the operator forbids.
    pub forbidden: &'a [ForbiddenPrefix],
}

impl StatusDigest {
    /// Digests a status, except for fields that this version does not know.
    pub fn of(status: &SealedSecretStatus) -> Self {
        let mut status = status.clone();
        if let Some(settled) = &mut status.settled {
            settled.proof.clear();
        }
        let text = serde_json::to_vec(&status).expect("a status is plain data");
        Self(Sha256::digest(text).into())
    }
}

/// Records in a status that the object's Secret is right, and proves it with the first usable key of the ring.
///
/// All other fields of `status` must be complete, since the proof covers them. Without a usable key the function
/// records nothing, and the controller judges the object again after each complete list of SealedSecrets or Secrets,
/// also after a restart.
pub fn record(
    status: &mut SealedSecretStatus,
    object: &JudgedObject<'_>,
    (secret_uid, secret_resource_version): (&str, &str),
    opened_with: impl IntoIterator<Item = KeyId>,
    ring: &KeyRing,
) {
    let Some(key) = usable(ring).next() else {
        return;
    };
    status.settled = Some(Settled {
        secret_uid: secret_uid.to_owned(),
        secret_resource_version: secret_resource_version.to_owned(),
        plan_version: PLAN_VERSION,
        opened_with: opened_with.into_iter().map(|id| id.as_str().to_owned()).collect(),
        proof: String::new(),
    });
    let proof = BASE64_URL_SAFE_NO_PAD.encode(proof(key, ring, object, StatusDigest::of(status)));
    if let Some(settled) = &mut status.settled {
        settled.proof = proof;
    }
}

impl Settled {
    /// Whether the record still holds: the Secret is unchanged, the rules are the same, every key that opened a value
    /// is held and not Revoked, and the proof is right.
    pub fn holds(
        &self,
        object: &JudgedObject<'_>,
        status: StatusDigest,
        secret: Option<(&str, &str)>,
        ring: &KeyRing,
    ) -> bool {
        secret == Some((&self.secret_uid, &self.secret_resource_version))
            && self.plan_version == PLAN_VERSION
            && self.opened_with.iter().all(|id| usable(ring).any(|key| key.key_id().as_str() == id))
            && self.is_proven(object, status, ring)
    }

    fn is_proven(&self, object: &JudgedObject<'_>, status: StatusDigest, ring: &KeyRing) -> bool {
        let Ok(claimed) = BASE64_URL_SAFE_NO_PAD.decode(&self.proof) else {
            return false;
        };
        usable(ring).any(|key| proof(key, ring, object, status).ct_eq(claimed.as_slice()).into())
    }
}

fn usable(ring: &KeyRing) -> impl Iterator<Item = &HeldKey> {
    ring.keys().iter().filter(|key| key.published().state != KeyState::Revoked)
}

/// HKDF-SHA256 (RFC 5869) as a message authentication code, with the identity as its key. The code covers all published
/// keys: after a change of keys every object is judged again, because it may lack a wrap.
fn proof(key: &HeldKey, ring: &KeyRing, object: &JudgedObject<'_>, status: StatusDigest) -> [u8; PROOF_BYTES] {
    stack::wiped_after(|| {
        let mut proof = [0; PROOF_BYTES];
        let uid = Sha256::digest(object.uid);
        let mut forbidden = Sha256::new();
        for prefix in object.forbidden {
            forbidden.update(Sha256::digest(prefix.as_str()));
        }
        let mut keys = Sha256::new();
        for key in ring.published() {
            keys.update(Sha256::digest(key.recipient.as_str()));
            keys.update([key.role as u8, key.state as u8]);
        }
        let generation = object.generation.to_be_bytes();
        let (forbidden, keys) = (forbidden.finalize(), keys.finalize());
        let info: [&[u8]; 6] = [b"waxseal/v2/settled", &uid, &generation, &forbidden, &keys, &status.0];
        Hkdf::<Sha256>::new(None, key.identity().expose().as_bytes())
            .expand_multi_info(&info, &mut proof)
            .expect("16 bytes are asked for, of the 8,160 that RFC 5869 allows");
        proof
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::judgement::Judgement;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;
    use crate::reason::Reason;
    use crate::sealed_secret::{SealedSecret, SealedSecretSpec};
    use crate::sealing_key::KeyRole;
    use crate::status;

    const UID: &str = "0b8f7a1c";
    const SECRET: (&str, &str) = ("5ec4e7", "42");

    fn held(state: KeyState) -> HeldKey {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        HeldKey::new(identity, KeyRole::Cluster, Timestamp::UNIX_EPOCH, state)
    }

    fn settled_status(ring: &KeyRing) -> SealedSecretStatus {
        let mut object = SealedSecret::new("db", SealedSecretSpec::default());
        object.metadata.generation = Some(3);
        let mut status = status::after(&object, &Judgement::new(Reason::Materialised, "done"), Timestamp::UNIX_EPOCH);
        let keys: Vec<_> = ring.keys().iter().map(|key| key.key_id().clone()).collect();
        record(&mut status, &JudgedObject { uid: UID, generation: 3, forbidden: &[] }, SECRET, keys, ring);
        status
    }

    fn holds(status: &SealedSecretStatus, uid: &str, generation: i64, secret: (&str, &str), ring: &KeyRing) -> bool {
        holds_under(status, &JudgedObject { uid, generation, forbidden: &[] }, secret, ring)
    }

    fn holds_under(
        status: &SealedSecretStatus,
        object: &JudgedObject<'_>,
        secret: (&str, &str),
        ring: &KeyRing,
    ) -> bool {
        let digest = StatusDigest::of(status);
        status.settled.as_ref().is_some_and(|settled| settled.holds(object, digest, Some(secret), ring))
    }

    #[test]
    fn a_record_holds_until_object_secret_rules_or_keys_change() {
        let ring = KeyRing::new(vec![held(KeyState::Active)]);
        let status = settled_status(&ring);
        assert!(holds(&status, UID, 3, SECRET, &ring));
        assert!(!holds(&status, "another", 3, SECRET, &ring));
        assert!(!holds(&status, UID, 4, SECRET, &ring));
        assert!(!holds(&status, UID, 3, ("5ec4e7", "43"), &ring));
        assert!(!holds(&status, UID, 3, ("another", "42"), &ring));
        let forbidden = ["mirror/".parse().expect("a prefix")];
        assert!(!holds_under(&status, &JudgedObject { uid: UID, generation: 3, forbidden: &forbidden }, SECRET, &ring));
        let others = KeyRing::new(vec![held(KeyState::Active)]);
        assert!(!holds(&status, UID, 3, SECRET, &others));
        assert!(!holds(&status, UID, 3, SECRET, &KeyRing::default()));
    }

    #[test]
    fn a_record_does_not_hold_in_a_changed_status() {
        let ring = KeyRing::new(vec![held(KeyState::Active)]);
        let changes: [fn(&mut SealedSecretStatus); 5] = [
            |status| status.conditions[0].message = "forged".to_owned(),
            |status| status.conditions.clear(),
            |status| status.observed_generation = Some(9),
            |status| status.settled.as_mut().expect("recorded").plan_version += 1,
            |status| status.settled.as_mut().expect("recorded").opened_with.clear(),
        ];
        for change in changes {
            let mut status = settled_status(&ring);
            change(&mut status);
            assert!(!holds(&status, UID, 3, SECRET, &ring));
        }
    }

    #[test]
    fn a_forged_record_does_not_hold() {
        let ring = KeyRing::new(vec![held(KeyState::Active)]);
        let mut status = settled_status(&ring);
        let settled = status.settled.as_mut().expect("recorded");
        settled.secret_resource_version = "43".to_owned();
        assert!(!holds(&status, UID, 3, ("5ec4e7", "43"), &ring));
    }

    #[test]
    fn a_record_does_not_hold_after_its_key_is_revoked() {
        let (mut revoked, other) = (held(KeyState::Active), held(KeyState::Active));
        let again = Identity::parse(&revoked.identity().expose()).expect("its own text");
        let active = HeldKey::new(again, KeyRole::Cluster, Timestamp::UNIX_EPOCH, KeyState::Active);
        let status = settled_status(&KeyRing::new(vec![active]));
        revoked.tighten(KeyState::Revoked);
        assert!(!holds(&status, UID, 3, SECRET, &KeyRing::new(vec![revoked, other])));
    }

    #[test]
    fn without_a_usable_key_nothing_is_recorded() {
        assert_eq!(settled_status(&KeyRing::new(vec![held(KeyState::Revoked)])).settled, None);
    }
}

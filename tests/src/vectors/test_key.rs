//! Keys that follow from their names, for the vectors and for [`KnownObject`](super::KnownObject).

use hpke::kem::XWing;
use hpke::{Deserializable, Kem, Serializable};
use serde::Serialize;
use waxseal_shared::key::{Identity, KeyKind};

use super::algorithms;
use super::seed::Seed;

/// A key whose identity follows from its name, and so is not secret.
pub(super) struct TestKey {
    pub(super) kind: KeyKind,
    pub(super) identity: Identity,
    /// The bytes of the identity.
    pub(super) secret: [u8; 32],
}

/// A key that is held while an object is opened.
#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeldIdentity {
    identity: String,
    role: &'static str,
    state: &'static str,
    created_at: &'static str,
}

impl TestKey {
    pub(super) fn classic(name: &str) -> Self {
        Self::new(name, KeyKind::Classic)
    }

    pub(super) fn hybrid(name: &str) -> Self {
        Self::new(name, KeyKind::Hybrid)
    }

    fn new(name: &str, kind: KeyKind) -> Self {
        let seed = Seed::new(name);
        let identity = Identity::generate(kind, &mut seed.stream("identity"));
        Self { kind, identity, secret: seed.bytes("identity") }
    }

    pub(super) fn id(&self) -> &str {
        self.identity.recipient().key_id().as_str()
    }

    /// The bytes of the recipient.
    pub(super) fn public(&self) -> Vec<u8> {
        match self.kind {
            KeyKind::Classic => algorithms::x25519_public(&self.secret).to_vec(),
            KeyKind::Hybrid => self.hybrid_public().to_bytes().to_vec(),
        }
    }

    pub(super) fn hybrid_public(&self) -> <XWing as Kem>::PublicKey {
        XWing::sk_to_pk(&self.hybrid_private())
    }

    pub(super) fn hybrid_private(&self) -> <XWing as Kem>::PrivateKey {
        <XWing as Kem>::PrivateKey::from_bytes(&self.secret).expect("a seed of 32 bytes")
    }

    /// Returns the key as an Active key of the cluster, made at the beginning of 2026.
    pub(super) fn held(&self) -> HeldIdentity {
        HeldIdentity {
            identity: self.identity.expose().to_string(),
            role: "Cluster",
            state: "Active",
            created_at: "2026-01-01T00:00:00Z",
        }
    }
}

impl HeldIdentity {
    pub(super) fn made(self, created_at: &'static str) -> Self {
        Self { created_at, ..self }
    }

    pub(super) fn state(self, state: &'static str) -> Self {
        Self { state, ..self }
    }

    pub(super) fn role(self, role: &'static str) -> Self {
        Self { role, ..self }
    }
}

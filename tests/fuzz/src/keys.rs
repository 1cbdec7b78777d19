use std::sync::{Arc, OnceLock};

use waxseal_shared::key::Identity;
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::sealing_key::{KeyRole, KeyState};

/// Identities that protect nothing, with creation time and state. The first is the primary.
const HELD: [(&str, &str, KeyState); 4] = [
    (
        "AGE-SECRET-KEY-PQ-13485WY4GH7MQUV807HK4NE60N783P69F4URCTEHYFJ2MEL5EXAUSCMUXQ8",
        "2026-01-04T00:00:00Z",
        KeyState::Active,
    ),
    (
        "AGE-SECRET-KEY-PQ-1W8XXERAVW9WC29UWJHM5VNHSQCMW3S0AHF4HPS82JDNV9E85W3QSE7AZV9",
        "2026-01-03T00:00:00Z",
        KeyState::Retired,
    ),
    (
        "AGE-SECRET-KEY-1YUH2Y6MH6RPQZ6K53AEGHXRGEU736Q4UQK72JU3LP3UV8DEDDJ7QZZC8HN",
        "2026-01-02T00:00:00Z",
        KeyState::Retired,
    ),
    (
        "AGE-SECRET-KEY-PQ-1EEJZ4YX665FFPV6KE6R7TYU6ASACR745KYJKT79J7M9YAA4W0TSSRN89H3",
        "2026-01-01T00:00:00Z",
        KeyState::Revoked,
    ),
];

/// The keys that open the sealed objects: the hybrid primary, an older hybrid key, a classic key and a revoked key, in
/// this order.
pub fn held() -> Vec<HeldKey> {
    HELD.iter().map(|(identity, created_at, state)| key(identity, created_at, *state)).collect()
}

/// The same keys, as a controller holds them.
pub fn ring() -> &'static Arc<KeyRing> {
    static RING: OnceLock<Arc<KeyRing>> = OnceLock::new();
    RING.get_or_init(|| Arc::new(KeyRing::new(held())))
}

fn key(identity: &str, created_at: &str, state: KeyState) -> HeldKey {
    let identity = Identity::parse(identity).expect("an identity of this file");
    HeldKey::new(identity, KeyRole::Cluster, created_at.parse().expect("a time of this file"), state)
}

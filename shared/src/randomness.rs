//! The source of randomness: an argument in this crate, the operating system in the programs.
//!
//! Two libraries take no such argument. The age library draws its file key, payload nonce and grease, and the ephemeral
//! key of a classic wrap, from the operating system. AWS-LC draws the randomness of ML-KEM from its own generator,
//! which the operating system seeds. All other randomness in a sealed file comes through the argument.

pub use getrandom::rand_core::CryptoRng;
use getrandom::{SysRng, rand_core::UnwrapErr};
use zeroize::Zeroizing;

/// The operating system's generator.
///
/// # Panics
///
/// Drawing from it panics if the operating system has no randomness, because no safe fallback exists.
pub fn system() -> impl CryptoRng {
    UnwrapErr(SysRng)
}

/// Draws `N` fresh bytes, which wipe themselves.
pub(crate) fn draw<const N: usize>(random: &mut impl CryptoRng) -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    random.fill_bytes(bytes.as_mut());
    bytes
}

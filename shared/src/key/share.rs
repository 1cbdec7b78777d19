//! Low-order X25519 shares, which would make the shared secret the same for everybody.

/// Whether an X25519 share is of low order, so that the product with any clamped scalar is zero
/// (RFC 7748 §6.1).
///
/// Clamped scalars are multiples of 8, the curve's cofactor (and of 4, the twist's): a share of
/// low order gives zero with each of them, so no private key is needed to tell.
pub(crate) fn is_low_order(share: &[u8; 32]) -> bool {
    const ANY_SCALAR: [u8; 32] = [9; 32];
    x25519_dalek::x25519(ANY_SCALAR, *share) == [0; 32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_low_order_points_are_found() {
        let mut order_8 = [0u8; 32];
        order_8.copy_from_slice(&[
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ]);
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        for share in [[0; 32], one, minus_one, order_8] {
            assert!(is_low_order(&share));
        }
    }

    #[test]
    fn the_base_point_is_not() {
        let mut base = [0; 32];
        base[0] = 9;
        assert!(!is_low_order(&base));
    }
}

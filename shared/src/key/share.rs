//! The X25519 points that are refused: points of low order, with which everybody gets the same shared secret, and, in
//! recipients alone, points in an encoding that is not canonical.

/// 2^255 - 19, the prime of the curve's field.
const PRIME: [u8; 32] = near_prime(0xed);

/// All points of low order, on the curve and on its twist (RFC 7748 §6.1; Bernstein, "Curve25519: new
/// Diffie-Hellman speed records", 2006, §3): 0 and 1, the two points of order 8, -1, and 0 and 1 again
/// with the prime added.
const LOW_ORDER: [[u8; 32]; 7] = [
    small(0),
    small(1),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    near_prime(0xec),
    PRIME,
    near_prime(0xee),
];

const fn small(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = first;
    bytes
}

const fn near_prime(first: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = first;
    bytes[31] = 0x7f;
    bytes
}

/// Whether an X25519 share is of low order, so that the product with any clamped scalar is zero.
///
/// Uses a table, because every wrap of every object is checked and the product costs as much as opening a
/// wrap. A share is public, so the time of the comparison may depend on it.
pub(crate) fn is_low_order(share: &[u8; 32]) -> bool {
    // RFC 7748 §5: the most significant bit does not count.
    let mut point = *share;
    point[31] &= 0x7f;
    LOW_ORDER.contains(&point)
}

/// Whether the bytes of an X25519 point are a number below the prime, in little-endian order.
///
/// X25519 itself ignores the most significant bit and reduces the number (RFC 7748 §5). Without this check
/// one public key would have several recipients, and so several key ids.
pub(super) fn is_canonical(point: &[u8; 32]) -> bool {
    point.iter().rev().lt(PRIME.iter().rev())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::agreement::X25519Key;
    use crate::randomness;

    fn product_is_zero(share: &[u8; 32]) -> bool {
        X25519Key::new(&[9; 32]).agree(share).is_none()
    }

    fn with_top_bit(share: &[u8; 32]) -> [u8; 32] {
        let mut share = *share;
        share[31] |= 0x80;
        share
    }

    #[test]
    fn the_product_with_every_point_of_the_table_is_zero() {
        for point in LOW_ORDER.iter().flat_map(|point| [*point, with_top_bit(point)]) {
            assert!(product_is_zero(&point), "{point:02x?}");
            assert!(is_low_order(&point), "{point:02x?}");
        }
    }

    #[test]
    fn a_point_is_canonical_below_the_prime() {
        let mut middle = near_prime(0xff);
        middle[16] = 0xfe;
        for point in [small(0), small(9), near_prime(0xec), middle] {
            assert!(is_canonical(&point), "{point:02x?}");
            assert!(!is_canonical(&with_top_bit(&point)), "{point:02x?}");
        }
        for point in [PRIME, near_prime(0xee), near_prime(0xff)] {
            assert!(!is_canonical(&point), "{point:02x?}");
        }
    }

    /// The points of the table with one bit changed, the base point, and random points.
    #[test]
    fn no_other_point_is_of_low_order() {
        let mut random = randomness::system();
        let mut points: Vec<[u8; 32]> = (0..64).map(|_| *randomness::draw::<32>(&mut random)).collect();
        points.push(small(9));
        for point in LOW_ORDER {
            points.extend((0..255).map(|bit| {
                let mut other = point;
                other[bit / 8] ^= 1 << (bit % 8);
                other
            }));
        }
        for point in points {
            assert_eq!(is_low_order(&point), product_is_zero(&point), "{point:02x?}");
        }
    }
}

//! Points of low order in every encoding, at every place of an X25519 share (FORMAT.md §6.5).

use waxseal_shared::format::Check;

use super::age_file::{hybrid, raw_base64, stanza};
use super::object_vector::ObjectVector;
use super::refusals::{At, Base};
use super::seed::Seed;
use super::test_key::TestKey;
use super::wrap_refusals::with_stanzas;

/// The two points of order 8, as their u-coordinates below the prime.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
];

/// Returns name, comment and bytes of all 14: seven numbers, each also with the bit that X25519 ignores.
pub(super) fn points() -> Vec<(String, &'static str, [u8; 32])> {
    let small = |number: u8| std::array::from_fn(|at| if at == 0 { number } else { 0 });
    let near_prime = |last: u8| {
        std::array::from_fn(|at| match at {
            0 => last,
            31 => 0x7f,
            _ => 0xff,
        })
    };
    let numbers = [
        ("zero", "the point 0", small(0)),
        ("one", "the point 1", small(1)),
        ("order-8", "a point of order 8", ORDER_8[0]),
        ("other-order-8", "the other point of order 8", ORDER_8[1]),
        ("prime-less-1", "-1", near_prime(0xec)),
        ("prime", "0, written as the prime", near_prime(0xed)),
        ("prime-and-1", "1, written as the prime plus 1", near_prime(0xee)),
    ];
    let with_high_bit = |(name, _, mut point): (&str, &str, [u8; 32])| {
        point[31] |= 0x80;
        (format!("{name}-high-bit"), "the same with the bit set that X25519 ignores", point)
    };
    let plain = numbers.map(|(name, comment, point)| (name.to_owned(), comment, point));
    plain.into_iter().chain(numbers.map(with_high_bit)).collect()
}

/// Returns vectors with each point as the share of a stanza of each kind.
pub(super) fn shares() -> Vec<ObjectVector> {
    let key = TestKey::hybrid("hybrid cluster");
    let refused = |name: String, comment, arguments: [&str; 2], body: &[u8]| {
        let mut base = Base::new(&name);
        with_stanzas(&mut base, |_| stanza(&arguments, body));
        base.refused(comment, Check::ShareLowOrder, At::Wrap)
    };
    let (encapsulation, body) = hybrid(&key, &[3; 16], &Seed::new("low order"));
    let mut vectors = Vec::new();
    for (name, comment, point) in points() {
        let share = raw_base64(&point);
        vectors.push(refused(format!("share-{name}"), comment, ["X25519", &share], &[1; 32]));
        let share = raw_base64(&[&encapsulation[..1088], &point].concat());
        vectors.push(refused(format!("hybrid-share-{name}"), comment, ["mlkem768x25519", &share], &body));
    }
    vectors
}

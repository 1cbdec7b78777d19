//! Texts that are refused as a recipient or as an identity (FORMAT.md §3.3).

use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
use bech32::{Bech32, Bech32m, Checksum, Fe32, Hrp};
use serde_json::{Value, json};
use waxseal_shared::key::KeyKind;

use super::low_order;
use super::test_key::TestKey;

/// The checksum of BIP 173 or BIP 350, for texts of any length.
struct Long<C>(core::marker::PhantomData<C>);

impl<C: Checksum> Checksum for Long<C> {
    type MidstateRepr = C::MidstateRepr;
    type CorrectionField = C::CorrectionField;
    const ROOT_GENERATOR: Self::CorrectionField = C::ROOT_GENERATOR;
    const ROOT_EXPONENTS: core::ops::RangeInclusive<usize> = C::ROOT_EXPONENTS;
    const CODE_LENGTH: usize = 4096;
    const CHECKSUM_LENGTH: usize = C::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = C::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = C::TARGET_RESIDUE;
}

fn bech32(human_readable: &str, bytes: &[u8]) -> String {
    of_characters::<Bech32>(human_readable, &characters(bytes))
}

fn characters(bytes: &[u8]) -> Vec<Fe32> {
    bytes.iter().copied().bytes_to_fes().collect()
}

fn of_characters<C: Checksum>(human_readable: &str, characters: &[Fe32]) -> String {
    let human_readable = Hrp::parse(human_readable).expect("one of few constants");
    characters.iter().copied().with_checksum::<Long<C>>(&human_readable).chars().collect()
}

/// A key as Bech32 text, and the parts of that text.
struct Writing {
    prefix: &'static str,
    human_readable: &'static str,
    /// The human-readable part of the other kind of key.
    other: &'static str,
    bytes: Vec<u8>,
    text: String,
}

const RECIPIENTS: [(KeyKind, &str, &str); 2] = [(KeyKind::Classic, "", "age"), (KeyKind::Hybrid, "hybrid-", "age1pq")];
const IDENTITIES: [(KeyKind, &str, &str); 2] =
    [(KeyKind::Classic, "", "age-secret-key-"), (KeyKind::Hybrid, "hybrid-", "age-secret-key-pq-")];

fn key_of(kind: KeyKind) -> TestKey {
    match kind {
        KeyKind::Classic => TestKey::classic("cluster"),
        KeyKind::Hybrid => TestKey::hybrid("hybrid cluster"),
    }
}

type Case = (String, &'static str, String);

/// Faults of every Bech32 text: its checksum, its case, its length, its last bits, its kind.
fn bech32_cases(writing: &Writing) -> Vec<Case> {
    let Writing { prefix, human_readable, other, bytes, text } = writing;
    let swapped = {
        let (head, tail) = text.split_at(text.len() - 1);
        format!("{head}{}", if tail == "q" { "p" } else { "q" })
    };
    let (head, tail) = text.split_at(text.len() - 20);
    let own = characters(bytes);
    let with = |last: Fe32| [&own[..own.len() - 1], &[last]].concat();
    let set = |bit: u8| Fe32::try_from(own[own.len() - 1].to_u8() | bit).expect("of 5 bits");
    [
        ("checksum", "the last character is another", swapped),
        ("bech32m", "the checksum of Bech32m", of_characters::<Bech32m>(human_readable, &own)),
        ("mixed-case", "lower and upper case", head.to_ascii_lowercase() + &tail.to_ascii_uppercase()),
        ("mixed-case-prefix", "the human-readable part alone in the other case", {
            let (part, rest) = text.rsplit_once('1').unwrap_or_default();
            let is_upper = text.starts_with('A');
            let part = if is_upper { part.to_ascii_lowercase() } else { part.to_ascii_uppercase() };
            format!("{part}1{rest}")
        }),
        ("short", "one byte less", bech32(human_readable, &bytes[1..])),
        ("long", "one byte more", bech32(human_readable, &[bytes.as_slice(), &[0]].concat())),
        ("no-bytes", "no byte", bech32(human_readable, &[])),
        ("unused-bits", "an unused bit is set", of_characters::<Bech32>(human_readable, &with(set(1)))),
        ("unused-character", "a character more than the bytes need", {
            of_characters::<Bech32>(human_readable, &[own.as_slice(), &[Fe32::Q]].concat())
        }),
        ("other-kind", "the human-readable part of another kind of key", bech32(other, bytes)),
        ("other-letters", "a human-readable part of nobody", bech32("agf", bytes)),
        ("space-after", "a space at the end", format!("{text} ")),
        ("space-before", "a space at the beginning", format!(" {text}")),
        ("line-break", "a line break at the end", format!("{text}\n")),
        ("twice", "two of them", format!("{text}{text}")),
    ]
    .map(|(name, comment, text)| (format!("{prefix}{name}"), comment, text))
    .into()
}

pub(super) fn recipients() -> Vec<Value> {
    const PLUGIN: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";
    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOiamLmEAwjZFk1WfMc0XbYwJuLCpxBTqwh7RCkrfVO8";
    let mut cases = Vec::new();
    for (index, (kind, prefix, human_readable)) in RECIPIENTS.into_iter().enumerate() {
        let key = key_of(kind);
        let (bytes, text) = (key.public(), key.identity.recipient().as_str().to_owned());
        let upper = text.to_ascii_uppercase();
        let writing = Writing { prefix, human_readable, other: RECIPIENTS[1 - index].2, bytes: bytes.clone(), text };
        cases.extend(bech32_cases(&writing));
        cases.push((format!("{prefix}upper-case"), "not the canonical form", upper));
        cases.push((format!("{prefix}identity"), "a private key", key.identity.expose().to_string()));
        for (name, comment, point) in low_order::points() {
            let changed = [&bytes[..bytes.len() - 32], &point].concat();
            cases.push((format!("{prefix}low-order-{name}"), comment, bech32(human_readable, &changed)));
        }
        for (name, comment, point) in other_writings(&bytes) {
            let changed = [&bytes[..bytes.len() - 32], &point].concat();
            cases.push((format!("{prefix}point-{name}"), comment, bech32(human_readable, &changed)));
        }
    }
    cases.extend(too_large_coefficients());
    for (name, comment, text) in
        [("plugin", "a recipient of another type", PLUGIN), ("ssh", "a key of SSH", SSH), ("empty", "no text", "")]
    {
        cases.push((name.to_owned(), comment, text.to_owned()));
    }
    named("recipient", cases)
}

/// Points of full order in encodings that are not canonical: a number of 256 bits, and numbers from the prime
/// 2^255 - 19 on.
fn other_writings(public: &[u8]) -> [(&'static str, &'static str, [u8; 32]); 4] {
    let from_prime = |first: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (first, 0x7f);
        bytes
    };
    let mut high_bit: [u8; 32] = *public.last_chunk().expect("a point at the end");
    high_bit[31] |= 0x80;
    [
        ("high-bit", "the bit of the point that X25519 ignores is set", high_bit),
        ("prime-and-2", "2, written as the prime plus 2", from_prime(0xef)),
        ("prime-and-9", "the base point, written as the prime plus 9", from_prime(0xf6)),
        ("prime-and-18", "18, written as the prime plus 18: the largest of 255 bits", from_prime(0xff)),
    ]
}

/// Coefficients of ML-KEM that are too large. A coefficient must be below 3329, and three bytes contain two of them.
fn too_large_coefficients() -> Vec<Case> {
    let changed = |at: usize, bytes: [u8; 3]| {
        let mut public = key_of(KeyKind::Hybrid).public();
        public[at..at + 3].copy_from_slice(&bytes);
        bech32("age1pq", &public)
    };
    [
        ("modulus-first", "the first coefficient is 3329", changed(0, [0x01, 0x0d, 0])),
        ("modulus-last", "the last coefficient is 3329", changed(1149, [0, 0x10, 0xd0])),
        ("modulus-largest", "two coefficients are 4095", changed(600, [0xff; 3])),
    ]
    .map(|(name, comment, text)| (format!("hybrid-{name}"), comment, text))
    .into()
}

pub(super) fn identities() -> Vec<Value> {
    const PLUGIN: &str = "AGE-PLUGIN-YUBIKEY-1GTMQ5QVZQYRSWZQ";
    let mut cases = Vec::new();
    for (index, (kind, prefix, human_readable)) in IDENTITIES.into_iter().enumerate() {
        let key = key_of(kind);
        let text = key.identity.expose().to_string();
        let bytes = key.secret.to_vec();
        // Identities of both kinds have 32 bytes: with the human-readable part of the other kind, the text would be a
        // valid identity. So `other` is the human-readable part of a recipient.
        let writing = Writing { prefix, human_readable, other: RECIPIENTS[index].2, bytes, text };
        cases.extend(bech32_cases(&writing));
        let recipient = key.identity.recipient().as_str().to_owned();
        cases.push((format!("{prefix}recipient"), "a public key", recipient));
    }
    for (name, comment, text) in [
        ("plugin", "an identity of a plugin", PLUGIN),
        ("comment", "a line of a file that is no identity", "# public key: age1"),
        ("empty", "no text", ""),
    ] {
        cases.push((name.to_owned(), comment, text.to_owned()));
    }
    named("identity", cases)
}

fn named(field: &str, cases: Vec<Case>) -> Vec<Value> {
    cases.into_iter().map(|(name, comment, text)| json!({"comment": comment, "name": name, field: text})).collect()
}

//! Bech32 (BIP 173) without its limit of length, as age uses it (c2sp.org/age, "Conventions used in this
//! document").

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Checksum, Fe32, Hrp};
use zeroize::Zeroizing;

/// BIP 173's checksum for strings longer than the 1,023 characters that its code covers:
/// a hybrid recipient has 1,216 bytes.
enum LongBech32 {}

impl Checksum for LongBech32 {
    type MidstateRepr = <Bech32 as Checksum>::MidstateRepr;
    type CorrectionField = <Bech32 as Checksum>::CorrectionField;
    const ROOT_GENERATOR: Self::CorrectionField = Bech32::ROOT_GENERATOR;
    const ROOT_EXPONENTS: core::ops::RangeInclusive<usize> = Bech32::ROOT_EXPONENTS;
    const CODE_LENGTH: usize = 4096;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [u32; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: u32 = Bech32::TARGET_RESIDUE;
}

/// Decodes exactly `N` bytes; `None` for anything else. `human_readable` is in lower case, the text in lower or upper
/// case.
///
/// The library ignores the bits that remain when 5-bit characters are joined into bytes. BIP 173 allows at most four
/// such bits, all zero. So this function encodes the bytes again and compares the texts.
pub(super) fn decode<const N: usize>(text: &str, human_readable: &str) -> Option<Zeroizing<[u8; N]>> {
    let checked = CheckedHrpstring::new::<LongBech32>(text).ok()?;
    if checked.hrp().as_str().to_ascii_lowercase() != human_readable {
        return None;
    }
    let mut bytes = Zeroizing::new([0; N]);
    let mut length = 0;
    for byte in checked.byte_iter() {
        *bytes.get_mut(length)? = byte;
        length += 1;
    }
    let is_canonical = length == N && encode(&*bytes, human_readable).eq_ignore_ascii_case(text);
    is_canonical.then_some(bytes)
}

/// Encodes bytes in lower case.
pub(super) fn encode(bytes: &[u8], human_readable: &str) -> Zeroizing<String> {
    // Room for the checksum and for 8 characters for each 5 bytes, so that the string never moves.
    let mut text = Zeroizing::new(String::with_capacity(human_readable.len() + 16 + bytes.len() * 2));
    let hrp = Hrp::parse(human_readable).expect("the human-readable part is one of four constants");
    bech32::encode_lower_to_fmt::<LongBech32, _>(&mut *text, hrp, bytes)
        .expect("writing to a string does not fail and no key is longer than the code");
    text
}

/// Whether a byte is a character of Bech32's alphabet, in lower or upper case.
pub(super) fn is_data_character(byte: u8) -> bool {
    Fe32::from_char(char::from(byte)).is_ok()
}

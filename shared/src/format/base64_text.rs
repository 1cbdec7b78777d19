//! Base64 in its two canonical forms; every other spelling of the same bytes is refused.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

/// RFC 4648 §4 with padding; unused bits zero, no white space.
pub(super) const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(true).with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// RFC 4648 §5 without padding; unused bits zero, no white space.
pub(super) const URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Decodes exactly `N` bytes; `None` for every other text.
pub(super) fn decode_exact<const N: usize>(engine: &GeneralPurpose, text: &str) -> Option<[u8; N]> {
    let bytes = engine.decode(text).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode_exact::<1>(&STANDARD, "Zg=="), Some(*b"f"));
        for bad in ["Zg", "Zh==", "Zg==\n", " Zg==", "Zg=", "Zm9v"] {
            assert_eq!(decode_exact::<1>(&STANDARD, bad), None, "{bad:?}");
        }
        assert_eq!(decode_exact::<1>(&URL, "Zg"), Some(*b"f"));
        for bad in ["Zg==", "Zh", "Z", "Zg\n"] {
            assert_eq!(decode_exact::<1>(&URL, bad), None, "{bad:?}");
        }
    }
}

//! Base64 in its two canonical forms; every other spelling of the same bytes is refused.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

use super::Check;

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

/// Decodes exactly `N` bytes. Fails with `encoding` if the text is not canonical, and with `length` if it decodes to
/// another number of bytes.
pub(super) fn decode_exact<const N: usize>(
    base64: &GeneralPurpose,
    text: &str,
    encoding: Check,
    length: Check,
) -> Result<[u8; N], Check> {
    let bytes = base64.decode(text).map_err(|_| encoding)?;
    bytes.try_into().map_err(|_| length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(base64: &GeneralPurpose, text: &str) -> Result<[u8; 1], Check> {
        decode_exact(base64, text, Check::ProofEncoding, Check::ProofLength)
    }

    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode(&STANDARD, "Zg=="), Ok(*b"f"));
        for bad in ["Zg", "Zh==", "Zg==\n", " Zg==", "Zg="] {
            assert_eq!(decode(&STANDARD, bad), Err(Check::ProofEncoding), "{bad:?}");
        }
        assert_eq!(decode(&URL, "Zg"), Ok(*b"f"));
        for bad in ["Zg==", "Zh", "Z", "Zg\n"] {
            assert_eq!(decode(&URL, bad), Err(Check::ProofEncoding), "{bad:?}");
        }
    }

    #[test]
    fn the_length_is_exact() {
        for bad in ["", "Zm8=", "Zm9v"] {
            assert_eq!(decode(&STANDARD, bad), Err(Check::ProofLength), "{bad:?}");
        }
    }
}

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

/// Why a text is not so many bytes in canonical base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BytesError {
    /// Not the canonical base64 of any bytes.
    Encoding,
    /// The canonical base64 of more or fewer bytes.
    Length,
}

/// Decodes exactly `N` bytes.
pub(super) fn decode_exact<const N: usize>(engine: &GeneralPurpose, text: &str) -> Result<[u8; N], BytesError> {
    let bytes = engine.decode(text).map_err(|_| BytesError::Encoding)?;
    bytes.try_into().map_err(|_| BytesError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode_exact::<1>(&STANDARD, "Zg=="), Ok(*b"f"));
        for bad in ["Zg", "Zh==", "Zg==\n", " Zg==", "Zg="] {
            assert_eq!(decode_exact::<1>(&STANDARD, bad), Err(BytesError::Encoding), "{bad:?}");
        }
        assert_eq!(decode_exact::<1>(&URL, "Zg"), Ok(*b"f"));
        for bad in ["Zg==", "Zh", "Z", "Zg\n"] {
            assert_eq!(decode_exact::<1>(&URL, bad), Err(BytesError::Encoding), "{bad:?}");
        }
    }

    #[test]
    fn the_length_is_exact() {
        for bad in ["", "Zm8=", "Zm9v"] {
            assert_eq!(decode_exact::<1>(&STANDARD, bad), Err(BytesError::Length), "{bad:?}");
        }
    }
}

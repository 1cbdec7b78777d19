//! Padding inside the encryption: a sealed value reveals only its size class.

use zeroize::Zeroizing;

use crate::secret::MAX_SECRET_BYTES;

const LENGTH_BYTES: usize = 4;
const SMALLEST: usize = 256;

/// The padded length for a value of `length` bytes: Padmé (PURBs, Nikitin et al. 2019, §4) over
/// the length prefix and the value, at least 256.
pub(crate) fn padded_length(length: usize) -> usize {
    let unpadded = LENGTH_BYTES + length;
    if unpadded <= SMALLEST {
        return SMALLEST;
    }
    let exponent = unpadded.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - significant)) - 1;
    (unpadded + mask) & !mask
}

/// The length of the longest value with this padded length (FORMAT.md §6.7). The limit on a Secret's data
/// counts this length.
///
/// The limit must not depend on true lengths: an attacker could add values to an object, see whether it
/// still opens, and so measure the other values.
pub(crate) fn counted_length(padded_length: usize) -> usize {
    padded_length.saturating_sub(LENGTH_BYTES).min(MAX_SECRET_BYTES)
}

/// Length ‖ value ‖ zeros.
pub(super) fn pad(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = u32::try_from(value.len()).expect("a Secret's data is at most 1 MiB");
    let mut padded = Zeroizing::new(vec![0; padded_length(value.len())]);
    padded[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    padded[LENGTH_BYTES..LENGTH_BYTES + value.len()].copy_from_slice(value);
    padded
}

/// The value without its padding; `None` if the padding differs from what [`pad`] makes.
pub(super) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, zeros) = rest.split_at_checked(length)?;
    let fits = length <= MAX_SECRET_BYTES && padded.len() == padded_length(length);
    let canonical = fits && zeros.iter().fold(0, |acc, b| acc | b) == 0;
    canonical.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_the_longest_that_it_could_be() {
        for (length, counted) in
            [(0, 252), (252, 252), (253, 268), (1_048_572, 1_048_572), (1_048_573, 1 << 20), (1 << 20, 1 << 20)]
        {
            assert_eq!(counted_length(padded_length(length)), counted, "{length}");
        }
    }

    #[test]
    fn padding_never_costs_more_than_an_eighth_above_the_smallest() {
        for length in (252..70_000).chain([1 << 19, 1 << 20]) {
            let padded = padded_length(length);
            assert!(padded >= length + 4 && (padded - length - 4) * 8 <= length + 4, "{length}");
        }
    }

    #[test]
    fn only_the_canonical_padding_is_taken_off() {
        let padded = pad(b"hunter2");
        assert_eq!(unpad(&padded), Some(&b"hunter2"[..]));
        let mut dirty = padded.to_vec();
        dirty[255] = 1;
        assert_eq!(unpad(&dirty), None);
        dirty[254] = 1;
        assert_eq!(unpad(&dirty), None, "two bytes that cancel");
        let mut long = padded.to_vec();
        long.extend_from_slice(&[0; 16]);
        assert_eq!(unpad(&long), None);
        let mut beyond = padded.to_vec();
        beyond[2] = 1;
        assert_eq!(unpad(&beyond), None);
        assert_eq!(unpad(&[]), None);
        let longest = pad(&[7; MAX_SECRET_BYTES]);
        assert_eq!(unpad(&longest).map(<[u8]>::len), Some(MAX_SECRET_BYTES));
        let mut longer = longest.to_vec();
        longer[3] = 1;
        assert_eq!(unpad(&longer), None);
        assert_eq!(unpad(&[0xff; 256]), None);
    }
}

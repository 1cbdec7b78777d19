//! The bytes of age files, with or without ASCII armour (c2sp.org/age, "ASCII armor").

use std::io::Read;

use zeroize::Zeroizing;

const BINARY_MARK: &[u8] = b"age-encryption.org/";
/// How every age file in ASCII armour begins.
const ARMOUR_MARK: &[u8] = b"-----BEGIN AGE";

/// Whether a file is encrypted with age. Looks only at the first bytes, as age does.
pub(super) fn is_encrypted(file: &[u8]) -> bool {
    file.starts_with(ARMOUR_MARK) || file.starts_with(BINARY_MARK)
}

/// The file without its ASCII armour, if it has one; `None` if the armour is damaged.
pub(super) fn without_armour(file: &[u8]) -> Option<Vec<u8>> {
    if !file.starts_with(ARMOUR_MARK) {
        return Some(file.to_vec());
    }
    let mut age_file = Vec::new();
    age::armor::ArmoredReader::new(file).read_to_end(&mut age_file).ok()?;
    Some(age_file)
}

/// Reads a payload into a buffer that never moves; `None` if a part of it does not decrypt. The payload is shorter than
/// the age file, so `limit` is the length of the age file.
pub(super) fn read_payload(mut payload: impl Read, limit: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(vec![0; limit]);
    let mut length = 0;
    loop {
        match payload.read(&mut buffer[length..]).ok()? {
            0 => break,
            read => length += read,
        }
    }
    buffer.truncate(length);
    Some(buffer)
}

//! The bytes of age files, with or without ASCII armour (c2sp.org/age, "ASCII armor").

use std::io::Read;

use zeroize::Zeroizing;

const BINARY_MARK: &[u8] = b"age-encryption.org/";
/// How every age file in ASCII armour begins.
const ARMOUR_MARK: &[u8] = b"-----BEGIN AGE";
/// The first line of a binary age file of version 1.
const BINARY_LINE: &[u8] = b"age-encryption.org/v1";
const ARMOUR_LINE: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Whether a file is encrypted with age. Looks only at the first bytes; ASCII armour can have white space before it, as
/// in age.
pub(super) fn is_encrypted(file: &[u8]) -> bool {
    armour_in(file).is_some() || file.starts_with(BINARY_MARK)
}

/// Whether a file is encrypted with age, or contains an encrypted file that begins at the start of a line. A byte order
/// mark before it does not matter. Indented armour, as SOPS writes it into YAML, does not count.
pub fn contains_encrypted_file(file: &[u8]) -> bool {
    let mut lines = file.split(|byte| matches!(byte, b'\n' | b'\r'));
    let begins_file = |line: &[u8]| {
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        line.starts_with(ARMOUR_LINE) || line.starts_with(BINARY_LINE)
    };
    is_encrypted(file) || lines.any(begins_file)
}

/// The file without its ASCII armour, if it has one; `None` if the armour is damaged.
pub(super) fn without_armour(file: &[u8]) -> Option<Vec<u8>> {
    let Some(armour) = armour_in(file) else {
        return Some(file.to_vec());
    };
    let mut age_file = Vec::new();
    age::armor::ArmoredReader::new(armour).read_to_end(&mut age_file).ok()?;
    Some(age_file)
}

/// The ASCII armour of a file, without the white space before it. age ignores that white space; the library does not.
fn armour_in(file: &[u8]) -> Option<&[u8]> {
    Some(file.trim_ascii_start()).filter(|start| start.starts_with(ARMOUR_MARK))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_files_are_found_at_the_start_of_each_line() {
        let armour = "-----BEGIN AGE ENCRYPTED FILE-----\n";
        let binary = "age-encryption.org/v1\n-> scrypt ";
        for file in [armour, binary] {
            for before in ["", "\n", "# my recovery key\n", "a\r\n", "a\r", "\u{feff}", "a\n\u{feff}", "\0\n"] {
                assert!(contains_encrypted_file(format!("{before}{file}").as_bytes()), "{before:?}");
            }
            for before in ["a", "# ", "enc: |\n  ", "\n\u{feff} "] {
                assert!(!contains_encrypted_file(format!("{before}{file}").as_bytes()), "{before:?}");
            }
        }
        assert!(contains_encrypted_file(b"\xff\nage-encryption.org/v1\n"));
        for file in ["", "-----BEGIN CERTIFICATE-----\n", "# age-encryption.org/v1\n"] {
            assert!(!contains_encrypted_file(file.as_bytes()), "{file}");
        }
    }

    #[test]
    fn only_armour_can_have_white_space_before_it() {
        for space in ["", "\n", "\r\n \t\n", " "] {
            assert!(is_encrypted(format!("{space}-----BEGIN AGE ENCRYPTED FILE-----\n").as_bytes()), "{space:?}");
            let is_binary = is_encrypted(format!("{space}age-encryption.org/v1\n").as_bytes());
            assert_eq!(is_binary, space.is_empty(), "{space:?}");
        }
    }
}

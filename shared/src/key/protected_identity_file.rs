use age::DecryptError;
use age_core::secrecy::SecretString;
use thiserror::Error;

use super::age_bytes::{is_encrypted, read_payload, without_armour};
use super::{IdentityFile, IdentityFileError, Passphrase};
use crate::stack;

/// The greatest scrypt work factor that is accepted: 2^22 rounds, as in age. They take 4 GiB of memory and up to a
/// minute. age itself writes 18, which takes a sixteenth of both.
pub const MAX_WORK_FACTOR: u8 = 22;

/// The first bytes of every age v1 file: the version line, and the beginning of the first stanza.
const STANZA_MARK: &[u8] = b"age-encryption.org/v1\n-> ";
/// A header with one scrypt stanza is several times shorter than this.
const MAX_HEADER_BYTES: usize = 1024;

/// An identity file that a passphrase protects, as `age -p` writes it, with or without ASCII armour.
///
/// It is an age file whose only stanza is of the type `scrypt` (c2sp.org/age, "The scrypt recipient
/// type" and "ASCII armor") and whose work factor is at most [`MAX_WORK_FACTOR`].
pub struct ProtectedIdentityFile {
    age_file: Vec<u8>,
}

/// Why an encrypted identity file is not used. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtectedIdentityFileError {
    /// It begins like ASCII armour, but the armour is damaged.
    #[error("its ASCII armour is damaged")]
    Armour,
    /// Its header is not a valid age v1 header, or is too long.
    #[error("it is encrypted, but its age v1 header is damaged, cut off or too long")]
    Header,
    /// It is encrypted to recipients.
    #[error("it is encrypted to a key and not with a passphrase")]
    Recipients,
    /// Its work factor is above the limit; refused before the work that it asks for.
    #[error("its passphrase takes 2^{0} rounds of scrypt, and at most 2^{MAX_WORK_FACTOR} are allowed")]
    WorkFactor(u8),
    /// The passphrase is wrong.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// The passphrase is right, but the file was changed or cut off.
    #[error("the passphrase is right, but the file is damaged: a part of the file does not decrypt")]
    Damaged,
    /// Its decrypted content is not an identity file.
    #[error("its decrypted content is not an identity file: {0}")]
    Content(#[from] IdentityFileError),
}

impl ProtectedIdentityFile {
    /// Recognises an encrypted file, and checks all that can be checked without the passphrase; `None` for a file that
    /// is not encrypted.
    pub fn recognise(file: &[u8]) -> Option<Result<Self, ProtectedIdentityFileError>> {
        if !is_encrypted(file) {
            return None;
        }
        Some(without_armour(file).ok_or(ProtectedIdentityFileError::Armour).and_then(Self::check))
    }

    fn check(age_file: Vec<u8>) -> Result<Self, ProtectedIdentityFileError> {
        let work_factor = work_factor(&age_file)?;
        if work_factor > MAX_WORK_FACTOR {
            return Err(ProtectedIdentityFileError::WorkFactor(work_factor));
        }
        Ok(Self { age_file })
    }

    /// Decrypts the file and reads the identities in it. Takes up to a minute and 4 GiB ([`MAX_WORK_FACTOR`]).
    ///
    /// # Errors
    ///
    /// `Passphrase` for a wrong passphrase, `Damaged` for a file that was changed or cut off, `Content` if the content
    /// is not an identity file.
    pub fn open(&self, passphrase: &Passphrase) -> Result<IdentityFile, ProtectedIdentityFileError> {
        stack::wiped_after(|| self.decrypt(passphrase))
    }

    fn decrypt(&self, passphrase: &Passphrase) -> Result<IdentityFile, ProtectedIdentityFileError> {
        let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.expose().to_owned()));
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        let payload = decryptor(&self.age_file)?.decrypt(std::iter::once(&identity as &dyn age::Identity));
        let payload = payload.map_err(|error| match error {
            DecryptError::DecryptionFailed => ProtectedIdentityFileError::Passphrase,
            _ => ProtectedIdentityFileError::Damaged,
        })?;
        let content = read_payload(payload, self.age_file.len()).ok_or(ProtectedIdentityFileError::Damaged)?;
        Ok(IdentityFile::parse(&content)?)
    }
}

fn decryptor(age_file: &[u8]) -> Result<age::Decryptor<&[u8]>, ProtectedIdentityFileError> {
    age::Decryptor::new_buffered(age_file).map_err(|_| ProtectedIdentityFileError::Header)
}

/// Refuses a header that is not for a passphrase, and a long header: the library needs time that grows with the square
/// of the number of lines.
fn check_header(age_file: &[u8]) -> Result<(), ProtectedIdentityFileError> {
    let stanza = age_file.strip_prefix(STANZA_MARK).ok_or(ProtectedIdentityFileError::Header)?;
    if !stanza.starts_with(b"scrypt ") {
        return Err(ProtectedIdentityFileError::Recipients);
    }
    let start = &age_file[..age_file.len().min(MAX_HEADER_BYTES)];
    let has_end = start.windows(5).any(|window| window == b"\n--- ");
    if has_end { Ok(()) } else { Err(ProtectedIdentityFileError::Header) }
}

/// Returns the work factor that a header asks for. The library reports it only in its error for an identity with a
/// lower limit. The identity here has the limit 0, so the library does none of
/// the work that the header asks for. It only measures the speed of scrypt, with about 2^10 rounds.
fn work_factor(age_file: &[u8]) -> Result<u8, ProtectedIdentityFileError> {
    check_header(age_file)?;
    let decryptor = decryptor(age_file)?;
    let mut identity = age::scrypt::Identity::new(SecretString::default());
    identity.set_max_work_factor(0);
    match decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)) {
        Err(DecryptError::ExcessiveWork { required, .. }) => Ok(required),
        _ => Err(ProtectedIdentityFileError::Header),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use age::armor::{ArmoredWriter, Format};
    use zeroize::Zeroizing;

    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;

    const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::parse(Zeroizing::new(text.to_owned())).expect("not empty")
    }

    fn encrypt(recipient: &dyn age::Recipient, payload: &[u8], format: Format) -> Vec<u8> {
        let mut file = Vec::new();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient)).expect("one recipient");
        let armour = ArmoredWriter::wrap_output(&mut file, format).expect("memory");
        let mut writer = encryptor.wrap_output(armour).expect("memory");
        writer.write_all(payload).expect("memory");
        writer.finish().and_then(ArmoredWriter::finish).expect("memory");
        file
    }

    fn protect(payload: &[u8], format: Format) -> Vec<u8> {
        let mut recipient = age::scrypt::Recipient::new(SecretString::from("open sesame".to_owned()));
        recipient.set_work_factor(2);
        encrypt(&recipient, payload, format)
    }

    fn recognise(file: &[u8]) -> Result<ProtectedIdentityFile, ProtectedIdentityFileError> {
        ProtectedIdentityFile::recognise(file).expect("it is encrypted")
    }

    fn open(file: &[u8], with: &str) -> Result<IdentityFile, ProtectedIdentityFileError> {
        recognise(file)?.open(&passphrase(with))
    }

    #[test]
    fn both_kinds_open_with_and_without_armour() {
        for kind in [KeyKind::Hybrid, KeyKind::Classic] {
            let identity = Identity::generate(kind, &mut randomness::system());
            let text = IdentityFile::write(&identity, jiff::Timestamp::UNIX_EPOCH);
            for format in [Format::Binary, Format::AsciiArmor] {
                let file = open(&protect(text.as_bytes(), format), "open sesame").expect("its passphrase");
                assert_eq!(file.created_at, Some(jiff::Timestamp::UNIX_EPOCH));
                assert_eq!(file.identities[0].recipient(), identity.recipient());
            }
        }
    }

    #[test]
    fn armour_after_white_space_opens() {
        let armour = protect(IDENTITY.as_bytes(), Format::AsciiArmor);
        for space in ["\n", "\r\n", " \t\n\n"] {
            let file = open(&[space.as_bytes(), &armour].concat(), "open sesame").expect("its passphrase");
            assert_eq!(file.identities[0].expose().as_str(), IDENTITY);
        }
    }

    #[test]
    fn a_long_file_of_several_chunks_opens() {
        let text = format!("# {}\n{IDENTITY}\n", "x".repeat(200 * 1024));
        let file = open(&protect(text.as_bytes(), Format::Binary), "open sesame").expect("its passphrase");
        assert_eq!(file.identities.len(), 1);
    }

    #[test]
    fn what_is_not_encrypted_is_not_recognised() {
        for file in [&b""[..], IDENTITY.as_bytes(), b"# created: x\n", b"-----BEGIN CERTIFICATE-----\n", b"\xff\xfe"] {
            assert!(ProtectedIdentityFile::recognise(file).is_none());
        }
    }

    #[test]
    fn another_passphrase_opens_nothing() {
        let file = protect(IDENTITY.as_bytes(), Format::Binary);
        for wrong in ["Open sesame", "open sesame ", "x"] {
            assert_eq!(open(&file, wrong).err(), Some(ProtectedIdentityFileError::Passphrase));
        }
    }

    #[test]
    fn a_work_factor_above_the_limit_is_refused_without_work() {
        let file = protect(IDENTITY.as_bytes(), Format::Binary);
        let claiming = |factor: &str| {
            let header = file.windows(3).position(|window| window == b" 2\n").expect("the work factor");
            [&file[..header], b" ", factor.as_bytes(), &file[header + 2..]].concat()
        };
        assert!(recognise(&claiming("22")).is_ok());
        for (factor, error) in [
            ("23", ProtectedIdentityFileError::WorkFactor(23)),
            ("255", ProtectedIdentityFileError::WorkFactor(255)),
            ("256", ProtectedIdentityFileError::Header),
            ("0", ProtectedIdentityFileError::Header),
            ("022", ProtectedIdentityFileError::Header),
            ("-1", ProtectedIdentityFileError::Header),
        ] {
            assert_eq!(recognise(&claiming(factor)).err(), Some(error), "{factor}");
        }
        // Within the limit the library decrypts. A changed work factor gives another key, so it fails like a wrong
        // passphrase.
        assert_eq!(open(&claiming("3"), "open sesame").err(), Some(ProtectedIdentityFileError::Passphrase));
    }

    #[test]
    fn damage_is_told_from_a_wrong_passphrase() {
        let file = protect(IDENTITY.as_bytes(), Format::Binary);
        let short = &file[..file.len() - 1];
        assert_eq!(open(short, "open sesame").err(), Some(ProtectedIdentityFileError::Damaged));
        let mut changed = file.clone();
        let mac = file.windows(4).position(|window| window == b"--- ").expect("the header's end") + 10;
        changed[mac] = if changed[mac] == b'A' { b'B' } else { b'A' };
        assert_eq!(open(&changed, "open sesame").err(), Some(ProtectedIdentityFileError::Damaged));
        assert_eq!(recognise(&file[..40]).err(), Some(ProtectedIdentityFileError::Header));
        assert_eq!(recognise(b"age-encryption.org/v2\n").err(), Some(ProtectedIdentityFileError::Header));
    }

    #[test]
    fn damaged_armour_has_its_own_error() {
        let file = protect(IDENTITY.as_bytes(), Format::AsciiArmor);
        let text = String::from_utf8(file).expect("armour is text");
        assert!(recognise(text.replace('\n', "\r\n").as_bytes()).is_ok());
        let after_garbage = format!("hunter2\n{text}");
        assert!(ProtectedIdentityFile::recognise(after_garbage.as_bytes()).is_none());
        let (body, end) = text.split_at(text.find("-----END").expect("an end"));
        let garbage = format!("{text}hunter2");
        let twice = format!("{text}{text}");
        let mangled = text.replacen("FILE-----\n", "FILE-----\n!", 1);
        for damaged in [body, &text[..60], "-----BEGIN AGE", &garbage, &twice, &mangled, &format!("{end}{body}")] {
            let recognised = ProtectedIdentityFile::recognise(damaged.as_bytes()).map(Result::err);
            let expected = damaged.starts_with("-----BEGIN").then_some(Some(ProtectedIdentityFileError::Armour));
            assert_eq!(recognised, expected, "{damaged}");
        }
    }

    #[test]
    fn a_file_encrypted_to_a_key_has_its_own_error() {
        let recipient = age::x25519::Identity::generate().to_public();
        let file = encrypt(&recipient, IDENTITY.as_bytes(), Format::Binary);
        assert_eq!(recognise(&file).err(), Some(ProtectedIdentityFileError::Recipients));
    }

    /// In binary form and in armour.
    fn both_forms(age_file: &[u8]) -> [Vec<u8>; 2] {
        let mut armour = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).expect("memory");
        armour.write_all(age_file).expect("memory");
        [age_file.to_vec(), armour.finish().expect("memory")]
    }

    /// For a header of many lines, the library alone needs time that grows with the square of their number.
    #[test]
    fn a_long_header_is_refused_in_linear_time() {
        let grease = "-> a b\n\n".repeat(100_000);
        let scrypt = "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 2\n";
        let end = "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
        for (header, error) in [
            (format!("{grease}{end}"), ProtectedIdentityFileError::Recipients),
            (format!("{scrypt}\n{grease}{end}"), ProtectedIdentityFileError::Header),
            (format!("{scrypt}{}{end}", "A".repeat(64).repeat(10_000)), ProtectedIdentityFileError::Header),
            (format!("{scrypt}{}", format!("{}\n", "A".repeat(64)).repeat(10_000)), ProtectedIdentityFileError::Header),
            (format!("x\n{grease}"), ProtectedIdentityFileError::Header),
        ] {
            for file in both_forms(format!("age-encryption.org/v1\n{header}").as_bytes()) {
                assert_eq!(recognise(&file).err(), Some(error), "{}", &header[..20]);
            }
        }
    }

    #[test]
    fn a_line_between_the_version_and_the_first_stanza_is_refused() {
        let file = protect(IDENTITY.as_bytes(), Format::Binary);
        let (version, stanza) = file.split_at(STANZA_MARK.len() - 3);
        for line in ["", "x", "->scrypt", "--- "] {
            let file = [version, line.as_bytes(), b"\n", stanza].concat();
            assert_eq!(recognise(&file).err(), Some(ProtectedIdentityFileError::Header), "{line}");
        }
    }

    #[test]
    fn a_megabyte_of_damaged_armour_is_refused_in_linear_time() {
        let head = "-----BEGIN AGE ENCRYPTED FILE-----\n";
        for body in [format!("{}\n", "A".repeat(64)).repeat(16_000), "A".repeat(1 << 20), "\n".repeat(1 << 20)] {
            let recognised = recognise(format!("{head}{body}").as_bytes());
            assert_eq!(recognised.err(), Some(ProtectedIdentityFileError::Armour));
        }
    }

    #[test]
    fn decrypted_content_that_is_not_an_identity_file_is_refused_and_not_quoted() {
        for (payload, error) in [
            (&b"hunter2\n"[..], IdentityFileError::Line { line: 1 }),
            (b"# nothing\n", IdentityFileError::Empty),
            (b"\xff\xfe", IdentityFileError::NotText),
            (&protect(IDENTITY.as_bytes(), Format::Binary), IdentityFileError::Encrypted),
        ] {
            let error = ProtectedIdentityFileError::Content(error);
            assert_eq!(open(&protect(payload, Format::Binary), "open sesame").err(), Some(error));
        }
    }
}

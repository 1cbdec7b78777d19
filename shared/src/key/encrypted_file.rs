use std::cell::RefCell;
use std::io::Write;

use age::DecryptError;
use age::armor::{ArmoredWriter, Format};
use thiserror::Error;

use super::age_bytes::{is_encrypted, read_payload, without_armour};
use super::{HybridRecipient, Identity, OwnStanzaOnly, Recipient, RecipientInner};
use crate::names::KeyId;
use crate::randomness::CryptoRng;
use crate::secret::SecretBytes;
use crate::stack;

/// The most recipients of one file.
pub const MAX_RECIPIENTS: usize = 16;

/// A header with [`MAX_RECIPIENTS`] hybrid stanzas is less than half as long.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// A stanza of a hybrid recipient has two lines.
const MAX_HEADER_LINES: usize = 256;

/// A file that is encrypted to one or several recipients: an age v1 file, which stock age opens too.
///
/// The file does not prove who wrote it: everybody who knows a recipient can encrypt to that recipient.
#[derive(PartialEq, Eq)]
pub struct EncryptedFile {
    age_file: Vec<u8>,
}

/// Why recipients are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncryptionError {
    /// A recipient is classic.
    #[error("{0} is a classic key (X25519), which a quantum computer will break")]
    Classic(KeyId),
    /// There are no recipients, or too many.
    #[error("there must be 1 to {MAX_RECIPIENTS} recipients")]
    Count,
}

/// Why an encrypted file is not opened. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncryptedFileError {
    /// It does not begin as an age file does.
    #[error("not encrypted with age")]
    NotEncrypted,
    /// It begins like ASCII armour, but the armour is damaged.
    #[error("its ASCII armour is damaged or cut off")]
    Armour,
    /// Its header is not a valid age v1 header, or is too long.
    #[error("not a whole age v1 file")]
    Header,
    /// It is encrypted with a passphrase.
    #[error("it is encrypted with a passphrase and not to a key")]
    Passphrase,
    /// No identity opens it.
    #[error("it is encrypted to other keys, or its header was changed")]
    Identity,
    /// An identity opens its stanza, but the file was changed or cut off.
    #[error("it was changed or cut off: a part of it does not decrypt")]
    Damaged,
}

impl EncryptedFile {
    /// Encrypts bytes to hybrid recipients.
    pub fn seal(
        plaintext: &[u8],
        recipients: &[Recipient],
        random: &mut impl CryptoRng,
    ) -> Result<Self, EncryptionError> {
        stack::wiped_after(|| Self::encrypt(plaintext, recipients, random))
    }

    fn encrypt(
        plaintext: &[u8],
        recipients: &[Recipient],
        random: &mut impl CryptoRng,
    ) -> Result<Self, EncryptionError> {
        if recipients.is_empty() || recipients.len() > MAX_RECIPIENTS {
            return Err(EncryptionError::Count);
        }
        let random = RefCell::new(random);
        let own = recipients.iter().map(|recipient| match recipient.inner() {
            RecipientInner::Hybrid(key) => Ok(HybridRecipient { key, random: &random }),
            RecipientInner::Classic(_) => Err(EncryptionError::Classic(recipient.key_id().clone())),
        });
        let own = own.collect::<Result<Vec<_>, _>>()?;
        let recipients = own.iter().map(|recipient| recipient as &dyn age::Recipient);
        let mut age_file = Vec::new();
        let encryptor =
            age::Encryptor::with_recipients(recipients).expect("all recipients have the label of hybrid keys");
        let mut writer = encryptor.wrap_output(&mut age_file).expect("writing to memory does not fail");
        writer.write_all(plaintext).expect("writing to memory does not fail");
        writer.finish().expect("writing to memory does not fail");
        Ok(Self { age_file })
    }

    /// Reads a file, binary or in ASCII armour, and checks its header; uses no key.
    pub fn parse(file: &[u8]) -> Result<Self, EncryptedFileError> {
        if !is_encrypted(file) {
            return Err(EncryptedFileError::NotEncrypted);
        }
        let file = Self { age_file: without_armour(file).ok_or(EncryptedFileError::Armour)? };
        file.check_header_size()?;
        if file.decryptor()?.is_scrypt() {
            return Err(EncryptedFileError::Passphrase);
        }
        Ok(file)
    }

    /// The file in ASCII armour.
    pub fn to_armour(&self) -> String {
        let mut text = Vec::new();
        let mut armour = ArmoredWriter::wrap_output(&mut text, Format::AsciiArmor).expect("memory takes every byte");
        armour.write_all(&self.age_file).expect("memory takes every byte");
        armour.finish().expect("memory takes every byte");
        String::from_utf8(text).expect("armour is ASCII")
    }

    /// Decrypts the file with the first identity that opens it.
    ///
    /// # Errors
    ///
    /// `Identity` if no identity opens it, `Damaged` if it was changed or cut off.
    pub fn open<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a Identity>,
    ) -> Result<SecretBytes, EncryptedFileError> {
        stack::wiped_after(|| self.decrypt(identities))
    }

    fn decrypt<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a Identity>,
    ) -> Result<SecretBytes, EncryptedFileError> {
        let identities: Vec<_> = identities.into_iter().map(OwnStanzaOnly).collect();
        let identities = identities.iter().map(|identity| identity as &dyn age::Identity);
        let payload = self.decryptor()?.decrypt(identities).map_err(|error| match error {
            DecryptError::NoMatchingKeys => EncryptedFileError::Identity,
            _ => EncryptedFileError::Damaged,
        })?;
        let mut plaintext = read_payload(payload, self.age_file.len()).ok_or(EncryptedFileError::Damaged)?;
        Ok(SecretBytes::new(std::mem::take(&mut *plaintext)))
    }

    fn decryptor(&self) -> Result<age::Decryptor<&[u8]>, EncryptedFileError> {
        age::Decryptor::new_buffered(self.age_file.as_slice()).map_err(|_| EncryptedFileError::Header)
    }

    /// Refuses a long header: the library needs time that grows with the square of the number of lines.
    fn check_header_size(&self) -> Result<(), EncryptedFileError> {
        let start = &self.age_file[..self.age_file.len().min(MAX_HEADER_BYTES)];
        let mut lines = start.split(|byte| *byte == b'\n').take(MAX_HEADER_LINES);
        if lines.any(|line| line.starts_with(b"--- ")) { Ok(()) } else { Err(EncryptedFileError::Header) }
    }
}

#[cfg(test)]
mod tests {
    use age_core::secrecy::SecretString;

    use super::*;
    use crate::key::KeyKind;
    use crate::randomness;

    fn identity() -> Identity {
        Identity::generate(KeyKind::Hybrid, &mut randomness::system())
    }

    fn seal(plaintext: &[u8], to: &[&Identity]) -> EncryptedFile {
        let recipients: Vec<_> = to.iter().map(|identity| identity.recipient().clone()).collect();
        EncryptedFile::seal(plaintext, &recipients, &mut randomness::system()).expect("hybrid recipients")
    }

    fn refusal(file: &[u8]) -> Option<EncryptedFileError> {
        EncryptedFile::parse(file).err()
    }

    #[test]
    fn each_recipient_opens_it_with_and_without_armour() {
        let (one, other, stranger) = (identity(), identity(), identity());
        for plaintext in [&b""[..], b"keys", &[7; 200 * 1024]] {
            let sealed = seal(plaintext, &[&one, &other]);
            let armour = sealed.to_armour();
            assert!(armour.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{armour}");
            for file in [armour.as_bytes(), format!("\r\n\n{armour}").as_bytes(), &sealed.age_file] {
                let read = EncryptedFile::parse(file).expect("our own file");
                for identities in [vec![&one], vec![&other], vec![&stranger, &other]] {
                    assert_eq!(read.open(identities).map(|opened| opened.expose() == plaintext), Ok(true));
                }
                assert_eq!(read.open([&stranger]).err(), Some(EncryptedFileError::Identity));
            }
        }
    }

    #[test]
    fn other_recipients_are_refused() {
        let mut random = randomness::system();
        let classic = Identity::generate(KeyKind::Classic, &mut random).recipient().clone();
        let mut seal = |recipients: &[Recipient]| EncryptedFile::seal(b"", recipients, &mut random).err();
        let hybrid = identity().recipient().clone();
        assert_eq!(seal(&[hybrid.clone(), classic.clone()]), Some(EncryptionError::Classic(classic.key_id().clone())));
        assert_eq!(seal(&[]), Some(EncryptionError::Count));
        assert_eq!(seal(&vec![hybrid.clone(); MAX_RECIPIENTS]), None);
        assert_eq!(seal(&vec![hybrid; MAX_RECIPIENTS + 1]), Some(EncryptionError::Count));
    }

    #[test]
    fn a_header_with_the_greatest_number_of_recipients_is_read() {
        let own = identity();
        let sealed = seal(b"keys", &[&own; MAX_RECIPIENTS]);
        let read = EncryptedFile::parse(&sealed.age_file).expect("our own file");
        assert!(read.open([&own]).is_ok());
    }

    #[test]
    fn a_file_that_was_cut_off_or_changed_is_refused_at_every_byte() {
        let own = identity();
        let file = seal(b"keys", &[&own]).age_file;
        for length in 0..file.len() {
            let opened = EncryptedFile::parse(&file[..length]).and_then(|file| file.open([&own]).map(|_| ()));
            assert!(opened.is_err(), "{length} bytes");
        }
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let opened = EncryptedFile::parse(&changed).and_then(|file| file.open([&own]).map(|_| ()));
            assert!(opened.is_err(), "byte {at}");
        }
        let longer = [&file[..], b"x"].concat();
        let opened = EncryptedFile::parse(&longer).and_then(|file| file.open([&own]).map(|_| ()));
        assert_eq!(opened, Err(EncryptedFileError::Damaged));
    }

    #[test]
    fn every_file_that_is_refused_has_its_own_error() {
        let file = seal(b"keys", &[&identity()]);
        let armour = file.to_armour();
        let grease = "-> x-grease\n\n".repeat(MAX_HEADER_LINES);
        let passphrase = age::scrypt::Recipient::new(SecretString::from("open sesame".to_owned()));
        let passphrase = age::encrypt(&passphrase, b"keys").expect("memory");
        for (bytes, error) in [
            (&b""[..], EncryptedFileError::NotEncrypted),
            (b"# waxseal key backup, version 1\n", EncryptedFileError::NotEncrypted),
            (&armour.as_bytes()[..armour.len() / 2], EncryptedFileError::Armour),
            (&passphrase, EncryptedFileError::Passphrase),
            (&file.age_file[..500], EncryptedFileError::Header),
            (b"age-encryption.org/v2\n-> x\n\n--- x\n", EncryptedFileError::Header),
            (format!("age-encryption.org/v1\n{grease}--- ").as_bytes(), EncryptedFileError::Header),
        ] {
            assert_eq!(refusal(bytes), Some(error));
        }
    }
}

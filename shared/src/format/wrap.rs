use std::cell::RefCell;
use std::io::{Read, Write};

use base64::Engine;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::age_file::{self, HeaderAtOnce};
use super::base64_text;
use super::check::Check;
use super::dek::{Dek, PROOF_BYTES};
use crate::key::{HybridRecipient, Identity, KeyKind, OwnStanzaOnly, Recipient, RecipientInner};
use crate::names::KeyId;
use crate::randomness::CryptoRng;

/// The greatest size of a wrap's age file in bytes, checked before it is parsed.
pub const MAX_AGE_FILE_BYTES: usize = 4096;
/// The length of the longest age file in base64.
const LONGEST_AGE_FILE: usize = MAX_AGE_FILE_BYTES.div_ceil(3) * 4;

/// The length of the longest text that a wrap can be: an age file, a dot and a proof.
pub(crate) fn longest_wrap() -> usize {
    LONGEST_AGE_FILE + 1 + (PROOF_BYTES * 4).div_ceil(3)
}

/// The DEK wrapped for one recipient: an age file of the checked shape, and a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrap {
    age_file: Vec<u8>,
    proof: [u8; PROOF_BYTES],
    kind: KeyKind,
}

/// The wrap is for another identity, or somebody changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the wrap does not open with its key")]
pub struct NotOpened;

impl Wrap {
    /// Wraps a DEK for one recipient.
    pub fn seal(recipient: &Recipient, dek: &Dek, random: &mut impl CryptoRng) -> Self {
        let age_file = encrypt(recipient, dek, random);
        let proof = dek.proof(recipient.key_id(), &age_file);
        Self { age_file, proof, kind: recipient.kind() }
    }

    /// Parses a wrap and checks its whole shape (FORMAT.md §6.3 to §6.5); uses no key.
    pub fn parse(text: &str) -> Result<Self, Check> {
        // FORMAT.md §6.3
        let (age_file, proof) = text.split_once('.').ok_or(Check::WrapParts)?;
        if proof.contains('.') {
            return Err(Check::WrapParts);
        }
        if age_file.len() > LONGEST_AGE_FILE {
            return Err(Check::WrapSize);
        }
        let proof = base64_text::decode_exact(&base64_text::URL, proof, Check::ProofEncoding, Check::ProofLength)?;
        let age_file = base64_text::STANDARD.decode(age_file).map_err(|_| Check::WrapEncoding)?;
        if age_file.len() > MAX_AGE_FILE_BYTES {
            return Err(Check::WrapSize);
        }
        let kind = age_file::check_shape(&age_file)?;
        Ok(Self { age_file, proof, kind })
    }

    /// The text of the wrap in an envelope.
    pub fn to_text(&self) -> String {
        format!("{}.{}", base64_text::STANDARD.encode(&self.age_file), base64_text::URL.encode(self.proof))
    }

    /// The kind of key that opens it.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Opens the wrap (FORMAT.md §7.3). The caller must compare the DEK with the envelope's commitment before it uses
    /// the DEK.
    ///
    /// # Errors
    ///
    /// [`NotOpened`], whether the wrap is for another identity or was changed.
    pub fn open(&self, identity: &Identity) -> Result<Dek, NotOpened> {
        let decryptor = age::Decryptor::new_buffered(HeaderAtOnce::new(&self.age_file)).map_err(|_| NotOpened)?;
        let identity = OwnStanzaOnly(identity);
        let mut payload = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|_| NotOpened)?;
        // The check of the shape ensures that the payload is one chunk of 32 bytes.
        Dek::fill_with(|bytes| payload.read_exact(bytes)).map_err(|_| NotOpened)
    }

    /// Whether the maker of this wrap knew the DEK; in constant time.
    pub fn is_proven(&self, dek: &Dek, key_id: &KeyId) -> bool {
        dek.proof(key_id, &self.age_file).ct_eq(&self.proof).into()
    }
}

fn encrypt(recipient: &Recipient, dek: &Dek, random: &mut impl CryptoRng) -> Vec<u8> {
    let random = RefCell::new(random);
    let hybrid;
    let recipient: &dyn age::Recipient = match recipient.inner() {
        RecipientInner::Hybrid(key) => {
            hybrid = HybridRecipient { key, random: &random };
            &hybrid
        }
        RecipientInner::Classic(classic) => classic,
    };
    let mut age_file = Vec::new();
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(recipient)).expect("one recipient has one set of labels");
    let mut writer = encryptor.wrap_output(&mut age_file).expect("writing to memory does not fail");
    writer.write_all(dek.expose()).expect("writing to memory does not fail");
    writer.finish().expect("writing to memory does not fail");
    age_file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::randomness;

    #[test]
    fn both_kinds_open_with_their_identity_alone() {
        let mut random = randomness::system();
        for kind in [KeyKind::Hybrid, KeyKind::Classic] {
            let identity = Identity::generate(kind, &mut random);
            let dek = Dek::generate(&mut random);
            let wrap = Wrap::seal(identity.recipient(), &dek, &mut random);
            let read = Wrap::parse(&wrap.to_text()).expect("our own wrap");
            assert_eq!(read, wrap);
            assert_eq!(read.kind(), kind);
            let opened = read.open(&identity).expect("its identity");
            assert_eq!(opened.expose(), dek.expose());
            assert!(read.is_proven(&opened, identity.recipient().key_id()));

            let stranger = Identity::generate(kind, &mut random);
            assert_eq!(read.open(&stranger).err(), Some(NotOpened));
            assert!(!read.is_proven(&opened, stranger.recipient().key_id()));
            assert!(!read.is_proven(&Dek::generate(&mut random), identity.recipient().key_id()));
        }
    }

    #[test]
    fn texts_that_are_not_wraps_are_refused() {
        let mut random = randomness::system();
        let identity = Identity::generate(KeyKind::Hybrid, &mut random);
        let good = Wrap::seal(identity.recipient(), &Dek::generate(&mut random), &mut random).to_text();
        let (file, proof) = good.split_once('.').expect("two parts");
        let armour = base64_text::STANDARD.encode("-----BEGIN AGE ENCRYPTED FILE-----\n");
        for (text, error) in [
            (file.to_owned(), Check::WrapParts),
            (format!("{good}.x"), Check::WrapParts),
            (format!("{file}\n.{proof}"), Check::WrapEncoding),
            (format!("{file}.{proof}="), Check::ProofEncoding),
            (format!("{file}."), Check::ProofLength),
            (format!("{armour}.{proof}"), Check::AgeVersion),
            (format!(".{proof}"), Check::AgeVersion),
            (format!("{}.!", "AAAA".repeat(1366)), Check::ProofEncoding),
            (format!("{}.!", "AAAA".repeat(1367)), Check::WrapSize),
            (format!("{}.{proof}", base64_text::STANDARD.encode([0; MAX_AGE_FILE_BYTES])), Check::AgeVersion),
            (format!("{}.{proof}", base64_text::STANDARD.encode([0; MAX_AGE_FILE_BYTES + 1])), Check::WrapSize),
        ] {
            assert_eq!(Wrap::parse(&text).err(), Some(error));
        }
    }
}

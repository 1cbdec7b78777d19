//! Two forms of an input: the text, or a NUL byte and then the decoded bytes. With the second form the fuzzer reaches
//! the code behind base64 without writing base64.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

const PROOF_BYTES: usize = 16;
const ENVELOPE_ID_BYTES: usize = 11;

/// Decodes base64 with or without padding, and with any unused bits. Encoding the result again gives the canonical
/// text.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Returns the text of a wrap. The decoded bytes are the proof and then the age file.
pub(super) fn wrap(data: &[u8]) -> Option<Cow<'_, str>> {
    text_or(data, |raw| {
        let (proof, age_file) = raw.split_at_checked(PROOF_BYTES)?;
        Some(wrap_text(age_file, proof))
    })
}

pub(super) fn wrap_text(age_file: &[u8], proof: &[u8]) -> String {
    format!("{}.{}", BASE64_STANDARD.encode(age_file), BASE64_URL_SAFE_NO_PAD.encode(proof))
}

/// The age file and the proof of the text of a wrap.
pub(super) fn wrap_parts(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (age_file, proof) = text.split_once('.')?;
    let age_file = GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(age_file).ok()?;
    Some((age_file, GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT).decode(proof).ok()?))
}

/// Returns the text of a token. The decoded bytes are the envelope id and then the sealed value.
pub(super) fn token(data: &[u8]) -> Option<Cow<'_, str>> {
    text_or(data, |raw| {
        let (envelope, sealed) = raw.split_at_checked(ENVELOPE_ID_BYTES)?;
        Some(token_text(std::str::from_utf8(envelope).ok()?, sealed))
    })
}

pub(super) fn token_text(envelope: &str, sealed: &[u8]) -> String {
    format!("wax1.{envelope}.{}", BASE64_URL_SAFE_NO_PAD.encode(sealed))
}

/// The envelope id and the sealed bytes of the text of a token.
pub(super) fn token_parts(text: &str) -> Option<(&str, Vec<u8>)> {
    let (envelope, sealed) = text.strip_prefix("wax1.")?.split_once('.')?;
    Some((envelope, GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT).decode(sealed).ok()?))
}

pub(super) fn commitment_text(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(super) fn commitment_bytes(text: &str) -> Option<Vec<u8>> {
    GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(text).ok()
}

fn text_or(data: &[u8], raw: impl FnOnce(&[u8]) -> Option<String>) -> Option<Cow<'_, str>> {
    match data {
        [0, rest @ ..] => raw(rest).map(Cow::Owned),
        _ => std::str::from_utf8(data).ok().map(Cow::Borrowed),
    }
}

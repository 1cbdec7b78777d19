//! The shape of a wrap's age file, checked before any key is used.
//!
//! The check is stricter than the age library, which also reads headers of its own old versions and files
//! with several recipients. A file that passes the check means the same to every implementation of age.

use std::io::{self, BufRead, Read};
use std::mem;

use age_core::format::{AgeStanza, read::age_stanza};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::check::Check;
use super::dek::DEK_BYTES;
use crate::key::{CLASSIC_TAG, ENCAPSULATION_BYTES, HYBRID_TAG, KeyKind, has_low_order_share, is_low_order};

const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";
const STANZA_BODY_BYTES: usize = 32;
/// The length of a MAC of 32 bytes in base64.
const MAC_CHARACTERS: usize = 43;
/// Nonce, DEK and tag: one chunk of age's STREAM.
const PAYLOAD_BYTES: usize = 16 + DEK_BYTES + 16;

/// Checks the shape of an age file (FORMAT.md §6.4 and §6.5), and returns the kind of key that opens the file.
pub(super) fn check_shape(file: &[u8]) -> Result<KeyKind, Check> {
    // c2sp.org/age, "ABNF definition of file header"
    let rest = file.strip_prefix(VERSION_LINE).ok_or(Check::AgeVersion)?;
    let (stanzas, payload) = parse_header(rest).ok_or(Check::AgeHeader)?;
    if payload.len() != PAYLOAD_BYTES {
        return Err(Check::AgePayload);
    }
    check_stanzas(&stanzas)
}

/// Gives a file that passed [`check_shape`] to the age library, with the whole header as one line.
///
/// The library parses the header from its start again after each line. With one line at a time, a wrap with many grease
/// stanzas (random stanzas whose type ends in `-grease`) would take a thousand times longer than an ordinary wrap.
pub(super) struct HeaderAtOnce<'a> {
    rest: &'a [u8],
    header: usize,
}

impl<'a> HeaderAtOnce<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { rest: file, header: file.len().saturating_sub(PAYLOAD_BYTES) }
    }
}

impl Read for HeaderAtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.rest.read(buffer)
    }
}

impl BufRead for HeaderAtOnce<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.rest.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.rest.consume(amount);
    }

    fn read_until(&mut self, _delimiter: u8, line: &mut Vec<u8>) -> io::Result<usize> {
        let (header, rest) = self.rest.split_at(mem::take(&mut self.header));
        line.extend_from_slice(header);
        self.rest = rest;
        Ok(header.len())
    }
}

/// Splits the part of a file that follows the version line into stanzas and payload; `None` if the header breaks age's
/// grammar.
fn parse_header(mut rest: &[u8]) -> Option<(Vec<AgeStanza<'_>>, &[u8])> {
    let mut stanzas = Vec::new();
    while rest.starts_with(b"-> ") {
        let (after, stanza) = age_stanza(rest).ok()?;
        stanzas.push(stanza);
        rest = after;
    }
    let (mac, rest) = rest.strip_prefix(b"--- ")?.split_at_checked(MAC_CHARACTERS)?;
    BASE64_STANDARD_NO_PAD.decode(mac).ok()?;
    let payload = rest.strip_prefix(b"\n")?;
    (!stanzas.is_empty()).then_some((stanzas, payload))
}

/// Refuses stanzas unless exactly one has a known type and all others are grease.
fn check_stanzas(stanzas: &[AgeStanza<'_>]) -> Result<KeyKind, Check> {
    let mut kinds = Vec::new();
    for stanza in stanzas {
        // FORMAT.md §6.5
        match stanza.tag {
            HYBRID_TAG => kinds.push(check_hybrid(stanza).map(|()| KeyKind::Hybrid)?),
            CLASSIC_TAG => kinds.push(check_classic(stanza).map(|()| KeyKind::Classic)?),
            tag if tag.ends_with("-grease") => {}
            _ => return Err(Check::StanzaForeign),
        }
    }
    match kinds.as_slice() {
        [kind] => Ok(*kind),
        _ => Err(Check::StanzaCount),
    }
}

fn check_hybrid(stanza: &AgeStanza<'_>) -> Result<(), Check> {
    let encapsulation = checked_argument::<ENCAPSULATION_BYTES>(stanza)?;
    if has_low_order_share(&encapsulation) {
        return Err(Check::ShareLowOrder);
    }
    Ok(())
}

fn check_classic(stanza: &AgeStanza<'_>) -> Result<(), Check> {
    if is_low_order(&checked_argument::<32>(stanza)?) {
        return Err(Check::ShareLowOrder);
    }
    Ok(())
}

/// Checks that a stanza has one argument and a body of 32 bytes. Returns the `N` bytes of the argument, which is
/// canonical base64 without padding.
fn checked_argument<const N: usize>(stanza: &AgeStanza<'_>) -> Result<[u8; N], Check> {
    let [argument] = stanza.args.as_slice() else {
        return Err(Check::StanzaArguments);
    };
    if stanza.body().len() != STANZA_BODY_BYTES {
        return Err(Check::StanzaBody);
    }
    let bytes = BASE64_STANDARD_NO_PAD.decode(argument).map_err(|_| Check::ShareEncoding)?;
    bytes.try_into().map_err(|_| Check::ShareLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREASE: &str = "-> x-grease\n\n";

    fn share(bytes: &[u8]) -> String {
        BASE64_STANDARD_NO_PAD.encode(bytes)
    }

    fn stanza(arguments: &str, body: usize) -> String {
        format!("-> {arguments}\n{}\n", share(&vec![1; body]))
    }

    fn classic() -> String {
        stanza(&format!("X25519 {}", share(&[9; 32])), 32)
    }

    fn mac() -> String {
        format!("--- {}\n", share(&[1; 32]))
    }

    fn file(header: &str, payload: usize) -> Vec<u8> {
        [b"age-encryption.org/v1\n", header.as_bytes(), &vec![1; payload]].concat()
    }

    #[test]
    fn a_reader_gets_the_header_in_one_piece_and_then_the_payload() {
        let header = GREASE.repeat(300) + &classic() + &mac();
        let file = file(&header, PAYLOAD_BYTES);
        let mut reader = HeaderAtOnce::new(&file);
        let (mut line, mut payload) = (Vec::new(), Vec::new());
        assert_eq!(reader.read_until(b'\n', &mut line).expect("memory"), file.len() - PAYLOAD_BYTES);
        assert!(line.ends_with(mac().as_bytes()));
        let rest = &file[line.len()..];
        assert_eq!(reader.fill_buf().expect("memory"), rest);
        reader.consume(1);
        assert_eq!(reader.read_to_end(&mut payload).expect("memory"), PAYLOAD_BYTES - 1);
        assert_eq!(payload, rest[1..]);
    }

    #[test]
    fn stanzas_are_checked_before_a_key_is_used() {
        let hybrid = |encapsulation: &[u8]| stanza(&format!("mlkem768x25519 {}", share(encapsulation)), 32);
        let with_argument = |argument: &str| stanza(&format!("X25519 {argument}"), 32);
        let mut low_order = [9; ENCAPSULATION_BYTES];
        low_order[ENCAPSULATION_BYTES - 32..].fill(0);
        for (stanzas, expected) in [
            (classic(), Ok(KeyKind::Classic)),
            (hybrid(&[9; ENCAPSULATION_BYTES]), Ok(KeyKind::Hybrid)),
            (format!("{GREASE}{}{GREASE}", classic()), Ok(KeyKind::Classic)),
            (GREASE.to_owned(), Err(Check::StanzaCount)),
            (classic() + &classic(), Err(Check::StanzaCount)),
            (stanza("ssh-rsa", 9) + &classic(), Err(Check::StanzaForeign)),
            (stanza("scrypt ajMFur+EJLGaohv/dLRGnw 18", 32), Err(Check::StanzaForeign)),
            (stanza("X25519", 32), Err(Check::StanzaArguments)),
            (with_argument(&format!("{0} {0}", share(&[9; 32]))), Err(Check::StanzaArguments)),
            (stanza(&format!("X25519 {}", share(&[9; 32])), 31), Err(Check::StanzaBody)),
            (with_argument(&format!("{}=", share(&[9; 32]))), Err(Check::ShareEncoding)),
            (with_argument(&share(&[9; 31])), Err(Check::ShareLength)),
            (hybrid(&[9; 32]), Err(Check::ShareLength)),
            (with_argument(&share(&[0; 32])), Err(Check::ShareLowOrder)),
            (hybrid(&low_order), Err(Check::ShareLowOrder)),
        ] {
            assert_eq!(check_shape(&file(&(stanzas.clone() + &mac()), 64)), expected, "{stanzas}");
        }
    }

    #[test]
    fn headers_of_another_grammar_are_refused() {
        let good = classic() + &mac();
        for header in [
            mac(),
            good.replace("-> ", "->"),
            good.replace('\n', "\r\n"),
            good.replace("--- ", "---  "),
            good.replace("--- ", "-- "),
            format!("-> x-grease\n{good}"),
            format!("-> x-grease\n{}\n{good}", "A".repeat(64)),
            format!("-> x-grease\nAB\n{good}"),
            format!("-> x-grease \n\n{good}"),
            format!("-> x\u{1}-grease\n\n{good}"),
            format!("\n{good}"),
            classic() + &format!("--- {}x\n", &share(&[1; 32])[..42]),
            classic() + "--- AAAA",
            classic(),
        ] {
            assert_eq!(check_shape(&file(&header, 64)), Err(Check::AgeHeader), "{header:?}");
        }
    }

    #[test]
    fn other_files_and_payloads_are_refused() {
        for (bytes, error) in [
            (Vec::new(), Check::AgeVersion),
            (b"-----BEGIN AGE ENCRYPTED FILE-----\n".to_vec(), Check::AgeVersion),
            (b"age-encryption.org/v2\n".to_vec(), Check::AgeVersion),
            (file(&(classic() + &mac()), 63), Check::AgePayload),
            (file(&(classic() + &mac()), 65), Check::AgePayload),
            (file(&(classic() + &mac()), 0), Check::AgePayload),
        ] {
            assert_eq!(check_shape(&bytes), Err(error));
        }
    }
}

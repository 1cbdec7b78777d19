//! Wraps of the wrong shape, and wraps that do not open, in objects that are otherwise right.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use waxseal_shared::format::Check;

use super::age_file::{AgeFile, classic, hybrid, raw_base64, recipient_stanza, stanza};
use super::draft::wrap_text;
use super::low_order;
use super::object_vector::ObjectVector;
use super::openings::grease_of;
use super::refusals::{At, Base, from_cases};
use super::seed::Seed;
use super::test_key::TestKey;

pub(super) fn texts() -> Vec<ObjectVector> {
    use Check::{ProofEncoding, ProofLength, WrapEncoding, WrapParts, WrapSize};
    fn edited(base: &mut Base, edit: impl FnOnce(&str, &str) -> String) {
        let text = base.wrap().as_str().and_then(|wrap| wrap.split_once('.')).map(|(file, proof)| edit(file, proof));
        *base.wrap() = json!(text);
    }
    from_cases(&[
        ("wrap-without-proof", "no dot", WrapParts, At::Wrap, |base| edited(base, |file, _| file.to_owned())),
        ("wrap-with-third-part", "two dots", WrapParts, At::Wrap, |base| {
            edited(base, |file, proof| format!("{file}.{proof}.AA"));
        }),
        ("wrap-empty", "no text", WrapParts, At::Wrap, |base| *base.wrap() = json!("")),
        ("wrap-of-4097-bytes", "one byte more than 4 KiB", WrapSize, At::Wrap, |base| {
            let mut file = base.age_file();
            let missing = 4097 - file.to_bytes().len();
            file.stanzas += &grease_of(missing);
            base.set_file(&file.to_bytes());
        }),
        ("wrap-of-5465-characters", "seen before it is decoded", WrapSize, At::Wrap, |base| {
            edited(base, |_, proof| format!("{}.{proof}", "A".repeat(5465)));
        }),
        ("wrap-of-5466-characters", "seen before it is decoded", WrapSize, At::Wrap, |base| {
            edited(base, |_, proof| format!("{}.{proof}", "A".repeat(5466)));
        }),
        ("wrap-of-5467-characters", "seen before it is decoded", WrapSize, At::Wrap, |base| {
            edited(base, |_, proof| format!("{}.{proof}", "A".repeat(5467)));
        }),
        ("wrap-of-5468-characters", "seen before it is decoded", WrapSize, At::Wrap, |base| {
            edited(base, |_, proof| format!("{}.{proof}", "A".repeat(5468)));
        }),
        ("proof-padded", "a = at the end", ProofEncoding, At::Wrap, |base| {
            edited(base, |file, proof| format!("{file}.{proof}=="));
        }),
        ("proof-standard-alphabet", "the other alphabet", ProofEncoding, At::Wrap, |base| {
            edited(base, |file, proof| format!("{file}.++{}", &proof[2..]));
        }),
        ("proof-unused-bits", "an unused bit is set", ProofEncoding, At::Wrap, |base| {
            edited(base, |file, _| format!("{file}.{}B", "A".repeat(21)));
        }),
        ("proof-of-15-bytes", "one byte less", ProofLength, At::Wrap, |base| {
            edited(base, |file, _| format!("{file}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 15])));
        }),
        ("proof-of-32-bytes", "a whole digest", ProofLength, At::Wrap, |base| {
            edited(base, |file, _| format!("{file}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 32])));
        }),
        ("proof-empty", "no byte", ProofLength, At::Wrap, |base| edited(base, |file, _| format!("{file}."))),
        ("wrap-url-alphabet", "the other alphabet", WrapEncoding, At::Wrap, |base| {
            edited(base, |file, proof| format!("{}-_==.{proof}", &file[..file.len() - 4]));
        }),
        ("wrap-with-line-break", "a line break", WrapEncoding, At::Wrap, |base| {
            edited(base, |file, proof| format!("{}\n{}.{proof}", &file[..64], &file[64..]));
        }),
        ("wrap-not-padded", "a part of four characters is cut short", WrapEncoding, At::Wrap, |base| {
            edited(base, |file, proof| format!("{}.{proof}", &file[..file.len() - 1]));
        }),
    ])
}

pub(super) fn files() -> Vec<ObjectVector> {
    use Check::{AgeHeader, AgePayload, AgeVersion};
    fn with_header(base: &mut Base, edit: impl FnOnce(&str) -> String) {
        let file = base.age_file();
        let bytes = [edit(&file.header()).as_bytes(), &file.payload()].concat();
        base.set_file(&bytes);
    }
    fn with_mac(base: &mut Base, line: impl FnOnce(&str) -> String) {
        with_header(base, |header| {
            let (before, mac) = header.trim_end().split_once("--- ").unwrap_or_default();
            format!("{before}{}", line(mac))
        });
    }
    /// Puts grease stanzas before the stanzas of a right age file.
    fn with_grease(base: &mut Base, grease: &str) {
        let mut file = base.age_file();
        file.stanzas = format!("{grease}{}", file.stanzas);
        base.set_file(&file.to_bytes());
    }
    fn with_plaintext(base: &mut Base, bytes: usize) {
        let mut file = base.age_file();
        file.plaintext = vec![1; bytes];
        base.set_file(&file.to_bytes());
    }
    from_cases(&[
        ("age-armour", "an armoured age file", AgeVersion, At::Wrap, |base| {
            let body = BASE64_STANDARD.encode(base.age_file().to_bytes());
            let lines: String = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect();
            let text = format!("-----BEGIN AGE ENCRYPTED FILE-----\n{lines}-----END AGE ENCRYPTED FILE-----\n");
            base.set_file(text.as_bytes());
        }),
        ("age-version-2", "another version", AgeVersion, At::Wrap, |base| {
            with_header(base, |header| header.replace("/v1\n", "/v2\n"));
        }),
        ("age-version-carriage-return", "a line that ends in CR LF", AgeVersion, At::Wrap, |base| {
            with_header(base, |header| header.replace("/v1\n", "/v1\r\n"));
        }),
        ("age-file-empty", "no byte", AgeVersion, At::Wrap, |base| base.set_file(&[])),
        ("age-no-stanza", "the MAC at once", AgeHeader, At::Wrap, |base| {
            let mut file = base.age_file();
            file.stanzas.clear();
            base.set_file(&file.to_bytes());
        }),
        ("age-body-absent", "a stanza without even an empty line", AgeHeader, At::Wrap, |base| {
            with_grease(base, "-> x-grease\n");
        }),
        ("age-body-unended", "a full line and no short one, as old versions wrote it", AgeHeader, At::Wrap, |base| {
            with_grease(base, &format!("-> x-grease\n{}\n", "A".repeat(64)));
        }),
        ("age-body-unused-bits", "a body that is not canonical", AgeHeader, At::Wrap, |base| {
            with_grease(base, "-> x-grease\nAB\n");
        }),
        ("age-body-padded", "a body with =", AgeHeader, At::Wrap, |base| with_grease(base, "-> x-grease\nAA==\n")),
        ("age-body-of-65", "a line of 65 characters", AgeHeader, At::Wrap, |base| {
            with_grease(base, &format!("-> x-grease\n{}\n\n", "A".repeat(65)));
        }),
        ("age-two-spaces", "an empty argument", AgeHeader, At::Wrap, |base| with_grease(base, "-> x-grease  a\n\n")),
        ("age-space-at-end", "a space at the end", AgeHeader, At::Wrap, |base| with_grease(base, "-> x-grease \n\n")),
        ("age-control-character", "a byte below 33", AgeHeader, At::Wrap, |base| {
            with_grease(base, "-> x\t-grease\n\n");
        }),
        ("age-not-ascii", "a byte above 126", AgeHeader, At::Wrap, |base| with_grease(base, "-> é-grease\n\n")),
        ("age-carriage-returns", "lines that end in CR LF", AgeHeader, At::Wrap, |base| {
            with_header(base, |header| header.replace('\n', "\r\n").replacen("\r\n", "\n", 1));
        }),
        ("age-line-before-mac", "an empty line before the MAC", AgeHeader, At::Wrap, |base| {
            with_header(base, |header| header.replace("\n---", "\n\n---"));
        }),
        ("age-mac-short", "a MAC of 31 bytes", AgeHeader, At::Wrap, |base| {
            with_header(base, |header| {
                let (before, _) = header.split_once("--- ").unwrap_or_default();
                format!("{before}--- {}\n", raw_base64(&[1; 31]))
            });
        }),
        ("age-mac-unused-bits", "a MAC that is not canonical", AgeHeader, At::Wrap, |base| {
            with_header(base, |header| {
                let (before, _) = header.split_once("--- ").unwrap_or_default();
                format!("{before}--- {}B\n", "A".repeat(42))
            });
        }),
        ("age-header-cut-off", "the file ends in the header", AgeHeader, At::Wrap, |base| {
            let header = base.age_file().header();
            base.set_file(&header.as_bytes()[..header.len() - 1]);
        }),
        ("age-mac-padded", "a MAC with =", AgeHeader, At::Wrap, |base| with_mac(base, |mac| format!("--- {mac}=\n"))),
        ("age-mac-long", "a character behind the MAC", AgeHeader, At::Wrap, |base| {
            with_mac(base, |mac| format!("--- {mac}A\n"));
        }),
        ("age-mac-space", "a space behind the MAC", AgeHeader, At::Wrap, |base| {
            with_mac(base, |mac| format!("--- {mac} \n"));
        }),
        ("age-mac-two-spaces", "two spaces before the MAC", AgeHeader, At::Wrap, |base| {
            with_mac(base, |mac| format!("---  {mac}\n"));
        }),
        ("age-mac-no-space", "no space before the MAC", AgeHeader, At::Wrap, |base| {
            with_mac(base, |mac| format!("---{mac}\n"));
        }),
        ("age-mac-carriage-return", "the line of the MAC alone ends in CR LF", AgeHeader, At::Wrap, |base| {
            with_mac(base, |mac| format!("--- {mac}\r\n"));
        }),
        ("age-delete-character", "the byte 127", AgeHeader, At::Wrap, |base| {
            with_grease(base, "-> x\u{7f}-grease\n\n");
        }),
        ("age-no-arguments", "a stanza without even a type", AgeHeader, At::Wrap, |base| {
            with_grease(base, "-> \n\n");
        }),
        ("age-payload-absent", "nothing after the header", AgePayload, At::Wrap, |base| {
            let header = base.age_file().header();
            base.set_file(header.as_bytes());
        }),
        ("age-payload-of-31-bytes", "one byte less than a DEK", AgePayload, At::Wrap, |base| {
            with_plaintext(base, 31);
        }),
        ("age-payload-of-33-bytes", "one byte more", AgePayload, At::Wrap, |base| with_plaintext(base, 33)),
        ("age-payload-empty", "an age file of nothing", AgePayload, At::Wrap, |base| with_plaintext(base, 0)),
    ])
}

pub(super) fn stanzas() -> Vec<ObjectVector> {
    let mut vectors = from_cases(&[
        ("stanza-ssh", "a recipient of another type beside ours", Check::StanzaForeign, At::Wrap, |base| {
            with_stanzas(base, |own| own + &stanza(&["ssh-ed25519", "BjH7FA"], &[1; 32]));
        }),
        ("stanza-scrypt", "a file for a passphrase", Check::StanzaForeign, At::Wrap, |base| {
            with_stanzas(base, |_| stanza(&["scrypt", "ajMFur+EJLGaohv/dLRGnw", "18"], &[1; 32]));
        }),
        ("stanza-lower-case", "types have one case", Check::StanzaForeign, At::Wrap, |base| {
            with_stanzas(base, |own| own.replace("X25519", "x25519"));
        }),
        ("stanza-grease-inside", "grease is at the end of a type", Check::StanzaForeign, At::Wrap, |base| {
            with_stanzas(base, |own| own + "-> x-grease2\n\n");
        }),
        ("stanza-grease-without-hyphen", "grease has a hyphen", Check::StanzaForeign, At::Wrap, |base| {
            with_stanzas(base, |own| own + "-> xgrease\n\n");
        }),
        ("stanza-grease-upper-case", "grease has one case", Check::StanzaForeign, At::Wrap, |base| {
            with_stanzas(base, |own| own + "-> x-GREASE\n\n");
        }),
        ("stanza-without-argument", "no share", Check::StanzaArguments, At::Wrap, |base| {
            with_stanzas(base, |_| stanza(&["X25519"], &[1; 32]));
        }),
        ("stanza-with-two-arguments", "an argument more", Check::StanzaArguments, At::Wrap, |base| {
            with_stanzas(base, |own| own.replacen('\n', " x\n", 1));
        }),
        ("stanza-body-of-31-bytes", "one byte less", Check::StanzaBody, At::Wrap, |base| {
            with_stanzas(base, |_| stanza(&["X25519", &raw_base64(&[9; 32])], &[1; 31]));
        }),
        ("stanza-body-of-48-bytes", "a file key of 32 bytes", Check::StanzaBody, At::Wrap, |base| {
            with_stanzas(base, |_| stanza(&["X25519", &raw_base64(&[9; 32])], &[1; 48]));
        }),
        ("share-padded", "a = at the end", Check::ShareEncoding, At::Wrap, |base| {
            with_stanzas(base, |own| own.replacen('\n', "=\n", 1));
        }),
        ("share-unused-bits", "an unused bit is set", Check::ShareEncoding, At::Wrap, |base| {
            with_stanzas(base, |_| stanza(&["X25519", &format!("{}B", "A".repeat(42))], &[1; 32]));
        }),
        ("share-of-31-bytes", "one byte less", Check::ShareLength, At::Wrap, |base| {
            with_stanzas(base, |_| stanza(&["X25519", &raw_base64(&[9; 31])], &[1; 32]));
        }),
        ("share-of-33-bytes", "one byte more", Check::ShareLength, At::Wrap, |base| {
            with_stanzas(base, |_| stanza(&["X25519", &raw_base64(&[9; 33])], &[1; 32]));
        }),
        ("only-grease", "no recipient", Check::StanzaCount, At::Wrap, |base| {
            with_stanzas(base, |_| "-> x-grease\n\n".to_owned());
        }),
        ("two-recipients", "a second recipient of the same type", Check::StanzaCount, At::Wrap, |base| {
            let (other, file_key) = (TestKey::classic("recovery"), base.age_file().file_key);
            with_stanzas(base, |own| own + &recipient_stanza(&other, &file_key, &Seed::new("second")));
        }),
        ("two-types-of-recipients", "a second recipient of the other type", Check::StanzaCount, At::Wrap, |base| {
            let (other, file_key) = (TestKey::hybrid("hybrid cluster"), base.age_file().file_key);
            with_stanzas(base, |own| own + &recipient_stanza(&other, &file_key, &Seed::new("second")));
        }),
    ]);
    vectors.extend(low_order::shares());
    vectors.extend(hybrid_shapes());
    vectors
}

pub(super) fn with_stanzas(base: &mut Base, edit: impl FnOnce(String) -> String) {
    let mut file = base.age_file();
    file.stanzas = edit(file.stanzas);
    base.set_file(&file.to_bytes());
}

/// Hybrid stanzas of the wrong shape, each made from a right one.
fn hybrid_shapes() -> Vec<ObjectVector> {
    let key = TestKey::hybrid("hybrid cluster");
    let (right, body) = hybrid(&key, &[3; 16], &Seed::new("hybrid shapes"));
    let share = raw_base64(&right);
    let refused = |name: &str, comment, check, arguments: &[&str], body: &[u8]| {
        let mut base = Base::new(name);
        with_stanzas(&mut base, |_| stanza(&[&["mlkem768x25519"], arguments].concat(), body));
        base.refused(comment, check, At::Wrap)
    };
    let of_length = |bytes: usize| raw_base64(&right.iter().copied().cycle().take(bytes).collect::<Vec<_>>());
    use Check::{ShareEncoding, ShareLength, StanzaArguments, StanzaBody};
    // 1120 bytes leave four bits unused: the last character is one of 4.
    let unused_bits = format!("{}B", "A".repeat(share.len() - 1));
    vec![
        refused("hybrid-without-argument", "no encapsulation", StanzaArguments, &[], &body),
        refused("hybrid-with-two-arguments", "an argument more", StanzaArguments, &[&share, "x"], &body),
        refused("hybrid-body-of-31-bytes", "one byte less", StanzaBody, &[&share], &body[1..]),
        refused("hybrid-body-of-33-bytes", "one byte more", StanzaBody, &[&share], &[&body[..], &[0]].concat()),
        refused("encapsulation-padded", "a = at the end", ShareEncoding, &[&format!("{share}=")], &body),
        refused("encapsulation-unused-bits", "an unused bit is set", ShareEncoding, &[&unused_bits], &body),
        refused("encapsulation-of-1119-bytes", "one byte less", ShareLength, &[&of_length(1119)], &body),
        refused("encapsulation-of-1121-bytes", "one byte more", ShareLength, &[&of_length(1121)], &body),
        refused("encapsulation-of-32-bytes", "a share alone", ShareLength, &[&of_length(32)], &body),
    ]
}

/// Age files that pass all checks of their shape and do not open.
pub(super) fn unopenable() -> Vec<ObjectVector> {
    let mut vectors = from_cases(&[
        ("stanza-tampered", "a bit of the stanza's body is another", Check::EnvelopeBroken, At::Envelope, |base| {
            let mut file = base.age_file();
            let seed = base.draft.wrap_seed(&base.envelope, base.key.id());
            let (share, mut body) = classic(&base.key, &file.file_key, &seed);
            body[0] ^= 1;
            file.stanzas = stanza(&["X25519", &raw_base64(&share)], &body);
            base.set_file(&file.to_bytes());
        }),
        (
            "mac-of-another-header",
            "a stanza was added behind the MAC's back",
            Check::EnvelopeBroken,
            At::Envelope,
            |base| {
                let file = base.age_file();
                let header = file.header().replace("\n---", "\n-> x-grease\n\n---");
                base.set_file(&[header.as_bytes(), &file.payload()].concat());
            },
        ),
        ("payload-tampered", "a bit of the payload is another", Check::EnvelopeBroken, At::Envelope, |base| {
            let mut bytes = base.age_file().to_bytes();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            base.set_file(&bytes);
        }),
        (
            "payload-nonce-tampered",
            "a bit of the payload's nonce is another",
            Check::EnvelopeBroken,
            At::Envelope,
            |base| {
                let file = base.age_file();
                let mut payload = file.payload();
                payload[0] ^= 1;
                base.set_file(&[file.header().as_bytes(), &payload].concat());
            },
        ),
        (
            "another-data-key",
            "the wrap opens, to a DEK that was not committed to",
            Check::EnvelopeBroken,
            At::Envelope,
            |base| {
                let mut file = base.age_file();
                file.plaintext = vec![7; 32];
                base.set_file(&file.to_bytes());
            },
        ),
        (
            "wrap-for-another-key",
            "the file is encrypted to another recipient",
            Check::EnvelopeBroken,
            At::Envelope,
            |base| {
                let stranger = TestKey::classic("stranger");
                let file = base.draft.age_file(&base.envelope, &stranger);
                base.set_file(&file.to_bytes());
            },
        ),
        (
            "wrap-of-another-type",
            "a hybrid file under the id of a classic key",
            Check::EnvelopeBroken,
            At::Envelope,
            |base| {
                let hybrid = TestKey::hybrid("hybrid cluster");
                let file = base.draft.age_file(&base.envelope, &hybrid);
                base.set_file(&file.to_bytes());
            },
        ),
    ]);
    vectors.push(hybrid_tampered());
    vectors.push(fifth_candidate());
    vectors
}

fn hybrid_tampered() -> ObjectVector {
    let key = TestKey::hybrid("hybrid cluster");
    let mut draft = super::draft::Draft::new("encapsulation-tampered");
    let envelope = draft.envelope("1", &[&key]);
    draft.value(&envelope, "PASSWORD", b"hunter2");
    let mut file: AgeFile = draft.age_file(&envelope, &key);
    let (mut encapsulation, body) = hybrid(&key, &file.file_key, &draft.wrap_seed(&envelope, key.id()));
    encapsulation[0] ^= 1;
    file.stanzas = stanza(&["mlkem768x25519", &raw_base64(&encapsulation)], &body);
    draft.set_wrap(&envelope, key.id(), &file.to_bytes());
    let held = vec![key.held()];
    let at = std::collections::BTreeMap::from([("envelope", envelope)]);
    let comment = "ML-KEM does not refuse a changed ciphertext, it gives another secret";
    ObjectVector::refused("encapsulation-tampered", comment, held, draft.object(), Check::EnvelopeBroken, at)
}

fn fifth_candidate() -> ObjectVector {
    let keys: Vec<_> = (1..=5).map(|number| TestKey::classic(&format!("key {number}"))).collect();
    let mut draft = super::draft::Draft::new("fifth-candidate");
    let envelope = draft.envelope("1", &keys.iter().collect::<Vec<_>>());
    draft.value(&envelope, "PASSWORD", b"hunter2");
    for key in &keys[..4] {
        let file = AgeFile::new(key, &[7; 32], &Seed::new("another data key"));
        draft.set_wrap_text(&envelope, key.id(), wrap_text(&file.to_bytes(), &[0; 16]));
    }
    let times = [
        "2026-05-05T00:00:00Z",
        "2026-05-04T00:00:00Z",
        "2026-05-03T00:00:00Z",
        "2026-05-02T00:00:00Z",
        "2026-05-01T00:00:00Z",
    ];
    let held = keys.iter().zip(times).map(|(key, time)| key.held().made(time)).collect();
    let at = std::collections::BTreeMap::from([("envelope", envelope)]);
    let comment = "the fifth wrap would open, but four are tried at most";
    ObjectVector::refused("fifth-candidate", comment, held, draft.object(), Check::EnvelopeBroken, at)
}

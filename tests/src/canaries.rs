//! Searching texts, files and memory for secrets, in every form in which a program could show them.
//!
//! The search finds every part of [`EXCERPT`] bytes of a secret, not only the whole secret: an error can quote the
//! beginning of a value, and the allocator overwrites the first bytes of freed memory.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// The length of the shortest part that counts: shorter parts can appear by chance.
pub const EXCERPT: usize = 12;

/// Secrets, and the automaton that finds them.
pub struct Canaries {
    automaton: AhoCorasick,
    /// The secret and the form of each pattern of the automaton.
    patterns: Vec<(String, &'static str)>,
}

/// A place that shows a secret. Names the secret and never quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The name that the secret was given.
    pub secret: String,
    /// The form of the secret at this place.
    pub form: &'static str,
    /// The range in bytes.
    pub place: Range<usize>,
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in the form {} at {}..{}", self.secret, self.form, self.place.start, self.place.end)
    }
}

impl Canaries {
    /// Takes secrets of at least [`EXCERPT`] bytes, each with the name that a sighting shows.
    ///
    /// # Panics
    /// If a secret is shorter.
    pub fn new<'a, B: AsRef<[u8]> + 'a + ?Sized>(secrets: impl IntoIterator<Item = (&'a str, &'a B)>) -> Self {
        let mut forms = BTreeMap::new();
        for (name, secret) in secrets {
            let secret = secret.as_ref();
            assert!(secret.len() >= EXCERPT, "{name} is too short to be told from chance");
            for (form, pattern) in secret.windows(EXCERPT).flat_map(forms_of) {
                // The simplest form comes first and is the one that a sighting names.
                forms.entry(pattern).or_insert((name.to_owned(), form));
            }
        }
        let automaton = AhoCorasick::new(forms.keys()).expect("a few thousand short patterns");
        Self { automaton, patterns: forms.into_values().collect() }
    }

    /// Returns every place that shows a secret. Parts of one secret in one form that overlap or touch are one place.
    pub fn sightings(&self, text: &[u8]) -> Vec<Sighting> {
        let mut places: BTreeMap<(&str, &'static str), Vec<Range<usize>>> = BTreeMap::new();
        for found in self.automaton.find_overlapping_iter(text) {
            let (secret, form) = &self.patterns[found.pattern().as_usize()];
            let places = places.entry((secret, form)).or_default();
            match places.last_mut() {
                Some(last) if found.start() <= last.end => last.end = last.end.max(found.end()),
                _ => places.push(found.range()),
            }
        }
        let sightings = places.into_iter().flat_map(|((secret, form), places)| {
            places.into_iter().map(move |place| Sighting { secret: secret.to_owned(), form, place })
        });
        sightings.collect()
    }

    /// Panics if `text` shows a secret. `what` names the text in the message.
    #[track_caller]
    pub fn assert_absent(&self, what: &str, text: impl AsRef<[u8]>) {
        let sightings = self.sightings(text.as_ref());
        assert!(sightings.is_empty(), "{what} shows {}", list(&sightings));
    }

    /// Panics if the name or the content of a file below a folder shows a secret. `allowed` gets the path from the
    /// folder and returns true for files that may contain secrets. Links are not followed.
    #[track_caller]
    pub fn assert_absent_below(&self, folder: &Path, allowed: impl Fn(&Path) -> bool) {
        let mut folders = vec![folder.to_owned()];
        while let Some(parent) = folders.pop() {
            for entry in fs::read_dir(&parent).expect("a folder") {
                let path = entry.expect("an entry").path();
                let name = path.strip_prefix(folder).expect("it was found below");
                self.assert_absent("the name of a file", name.as_os_str().as_encoded_bytes());
                let metadata = fs::symlink_metadata(&path).expect("it was just found");
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() && !allowed(name) {
                    self.assert_absent(&name.display().to_string(), fs::read(&path).expect("a file"));
                }
            }
        }
    }
}

/// Returns the sightings in one line.
pub fn list(sightings: &[Sighting]) -> String {
    sightings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the secret parts of an identity: the Bech32 text after the prefix in upper and in lower case, and its bytes.
///
/// # Panics
/// If the text is not an identity.
pub fn of_identity(identity: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (_, secret) = identity.rsplit_once('1').expect("Bech32 has a separator");
    let (_, bytes) = bech32::decode(identity).expect("an identity is Bech32");
    vec![
        ("an identity", secret.to_ascii_uppercase().into_bytes()),
        ("an identity in lower case", secret.to_ascii_lowercase().into_bytes()),
        ("the bytes of an identity", bytes),
    ]
}

/// Returns the forms in which a program could show bytes. The simplest form is the first.
fn forms_of(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("raw", bytes.to_vec()), ("escaped", bytes.escape_ascii().to_string().into_bytes())];
    if let Ok(text) = std::str::from_utf8(bytes) {
        let json = serde_json::to_string(text).expect("a string has a JSON form");
        forms.push(("JSON", json.trim_matches('"').as_bytes().to_vec()));
        forms.push(("debug", format!("{text:?}").trim_matches('"').as_bytes().to_vec()));
    }
    for (form, alphabet) in [("base64", BASE64_STANDARD_NO_PAD), ("base64url", BASE64_URL_SAFE_NO_PAD)] {
        forms.extend((0..3).map(|before| (form, base64_inside(&alphabet, bytes, before))));
    }
    let each = |write: &dyn Fn(&u8) -> String, between: &str| {
        bytes.iter().map(write).collect::<Vec<_>>().join(between).into_bytes()
    };
    forms.push(("hex", each(&|byte| format!("{byte:02x}"), "")));
    forms.push(("upper-case hex", each(&|byte| format!("{byte:02X}"), "")));
    forms.push(("URL-encoded", each(&|byte| percent(*byte, |byte| format!("%{byte:02X}")), "")));
    forms.push(("URL-encoded", each(&|byte| percent(*byte, |byte| format!("%{byte:02x}")), "")));
    forms.push(("URL-encoded", each(&|byte| format!("%{byte:02X}"), "")));
    forms.push(("URL-encoded", each(&|byte| format!("%{byte:02x}"), "")));
    forms.push(("a list of numbers", each(&u8::to_string, ", ")));
    forms.push(("a list of numbers", each(&u8::to_string, ",")));
    forms.push(("a list of numbers", each(&|byte| format!("{byte:02x}"), ", ")));
    forms
}

/// Returns the characters of bytes in the base64 of a longer text. The bytes begin `before` bytes after a multiple of
/// three. Characters that also depend on other bytes are left out.
fn base64_inside(alphabet: &GeneralPurpose, bytes: &[u8], before: usize) -> Vec<u8> {
    let text = alphabet.encode([&vec![0; before][..], bytes].concat());
    let first = (before * 8).div_ceil(6);
    let end = (before + bytes.len()) * 8 / 6;
    text.as_bytes()[first..end].to_vec()
}

/// Encodes a byte, except unreserved characters (RFC 3986 §2.3).
fn percent(byte: u8, encode: impl Fn(u8) -> String) -> String {
    let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if is_unreserved { char::from(byte).to_string() } else { encode(byte) }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

    use super::*;

    const SECRET: &str = "s3cr\"et/+&?>\u{fc}of~7 words\n";

    fn forms_seen(text: impl AsRef<[u8]>) -> Vec<&'static str> {
        let sightings = Canaries::new([("it", SECRET)]).sightings(text.as_ref());
        let mut forms: Vec<_> = sightings.into_iter().map(|sighting| sighting.form).collect();
        forms.dedup();
        forms
    }

    #[test]
    fn every_form_is_found_at_every_alignment() {
        let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
        let encoded = "s3cr%22et%2F%2B%26%3F%3E%C3%BCof~7%20words%0A";
        for (text, form) in [
            (SECRET.to_owned(), "raw"),
            (serde_json::to_string(SECRET).expect("a string"), "JSON"),
            (format!("{SECRET:?}"), "JSON"),
            (hex.clone(), "hex"),
            (hex.to_uppercase(), "upper-case hex"),
            (encoded.to_owned(), "URL-encoded"),
            (encoded.to_lowercase(), "URL-encoded"),
            (hex.as_bytes().chunks(2).map(|two| format!("%{}", String::from_utf8_lossy(two))).collect(), "URL-encoded"),
            (format!("{:?}", SECRET.as_bytes()), "a list of numbers"),
            (serde_json::to_string(SECRET.as_bytes()).expect("bytes"), "a list of numbers"),
        ] {
            assert!(forms_seen(&text).contains(&form), "{form}: {text}");
            assert!(forms_seen(format!("before {text} after")).contains(&form), "{form}: {text}");
        }
        for before in ["", "a", "ab", "abc", "password="] {
            let text = format!("{before}{SECRET}{before}");
            assert!(forms_seen(BASE64_STANDARD.encode(&text)).contains(&"base64"), "{before}");
        }
        // For these bytes the two alphabets differ at every alignment.
        let canaries = Canaries::new([("it", &[0xff; EXCERPT])]);
        for before in 0..3 {
            let text = [&vec![b'a'; before][..], &[0xff; EXCERPT], b"z"].concat();
            for text in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)] {
                assert_eq!(canaries.sightings(text.as_bytes()).len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn an_excerpt_is_found_and_a_shorter_part_is_not() {
        assert_eq!(forms_seen(&SECRET.as_bytes()[5..5 + EXCERPT]), ["raw"]);
        assert_eq!(forms_seen(&SECRET.as_bytes()[5..4 + EXCERPT]), [""; 0]);
        assert_eq!(forms_seen("AGE-SECRET-KEY-PQ-1, and other words"), [""; 0]);
    }

    #[test]
    fn each_place_is_counted_once() {
        let canaries = Canaries::new([("one", "0123456789abcdefghij"), ("two", "klmnopqrstuvwxyz0123")]);
        let text = b"0123456789abcdefghij 0123456789abcdefghij klmnopqrstuvwxyz0123 456789abcdefghij";
        let places: Vec<_> = canaries.sightings(text).into_iter().map(|found| (found.secret, found.place)).collect();
        let one = |place| ("one".to_owned(), place);
        assert_eq!(places, [one(0..20), one(21..41), one(63..79), ("two".to_owned(), 42..62)]);
    }

    #[test]
    fn an_identity_is_found_as_text_and_as_bytes() {
        let identity = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        let secrets = of_identity(identity);
        let canaries = Canaries::new(secrets.iter().map(|(name, secret)| (*name, secret)));
        assert_eq!(canaries.sightings(b"AGE-SECRET-KEY-1 and AGE-SECRET-KEY-PQ-1").len(), 0);
        assert_eq!(canaries.sightings(identity.as_bytes()).len(), 1);
        assert_eq!(canaries.sightings(identity.to_lowercase().as_bytes()).len(), 1);
        assert_eq!(canaries.sightings(&secrets[2].1).len(), 1);
    }

    #[test]
    fn files_are_searched_with_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let canaries = Canaries::new([("it", "0123456789abcdefghij")]);
        let is_clean = || {
            let allowed = |name: &Path| name == Path::new("below/allowed");
            std::panic::catch_unwind(|| canaries.assert_absent_below(folder.path(), allowed)).is_ok()
        };
        fs::create_dir(folder.path().join("below")).expect("a folder");
        fs::write(folder.path().join("below/allowed"), "0123456789abcdefghij").expect("a file");
        assert!(is_clean());
        fs::write(folder.path().join("below/other"), "x0123456789abcdefghij").expect("a file");
        assert!(!is_clean());
        fs::remove_file(folder.path().join("below/other")).expect("it is there");
        fs::write(folder.path().join("below/0123456789abcdefghij"), "").expect("a file");
        assert!(!is_clean());
    }
}

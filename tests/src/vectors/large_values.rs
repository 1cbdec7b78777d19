//! Values around 1 MiB, in vectors of a few lines.
//!
//! Such a value is equal to the key stream, except at its ends, so that its ciphertext is zeros. Then the token repeats
//! one character, and the vector contains only the number of repetitions.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use waxseal_shared::format::Check;

use super::draft::{Draft, padded, padded_length};
use super::object_vector::{Append, ObjectVector};
use super::refusals::{At, Base};

const MIB: usize = 1 << 20;
/// Two lengths that are the largest for their padded length. Together they are 8 bytes less than 1 MiB.
const SHORTER: usize = 507_900;
const LONGER: usize = 540_668;
/// Salt, length and one byte of the value: exactly 28 characters of base64.
const HEAD: usize = 16 + 4 + 1;

/// An object whose values are made from their lengths.
struct Large {
    base: Base,
    appended: Vec<Append>,
}

impl Large {
    fn new(vector: &str) -> Self {
        let mut base = Base::new(vector);
        base.draft = Draft::new(vector);
        base.envelope = base.draft.envelope("1", &[&base.key]);
        base.refresh();
        Self { base, appended: Vec::new() }
    }

    /// Adds a value of this length. `spoil` can change the plaintext.
    fn value(&mut self, data_key: &str, length: usize, spoil: impl FnOnce(&mut Vec<u8>)) {
        let stream = self.base.draft.key_stream(&self.base.envelope, data_key, padded_length(length));
        let zeros = (length - 1) / 3 * 3;
        let mut value = vec![7; length];
        value[1..=zeros].copy_from_slice(&stream[5..][..zeros]);
        let mut plaintext = padded(&value);
        spoil(&mut plaintext);
        let bytes = self.base.draft.sealed_bytes(&self.base.envelope, data_key, &plaintext);
        let (head, rest) = bytes.split_at(HEAD);
        assert!(rest[..zeros].iter().all(|byte| *byte == 0), "the value is the key stream");
        let head = format!("wax1.{}.{}", self.base.envelope, BASE64_URL_SAFE_NO_PAD.encode(head));
        self.base.spec()["encryptedData"][data_key] = json!(head);
        self.append(data_key, "AAAA".to_owned(), zeros / 3);
        self.append(data_key, BASE64_URL_SAFE_NO_PAD.encode(&rest[zeros..]), 1);
        self.base.draft.data.insert(data_key.to_owned(), value);
    }

    fn append(&mut self, data_key: &str, text: String, times: usize) {
        let at = ["spec", "encryptedData", data_key].map(str::to_owned).to_vec();
        self.appended.push(Append { at, text, times });
    }

    fn opens(self, comment: &'static str) -> ObjectVector {
        let Base { draft, key, held, object, .. } = self.base;
        let vector = ObjectVector::opens(comment, &draft, held, &[&key]).with_object(|tree| *tree = object);
        self.appended.into_iter().fold(vector, ObjectVector::appending)
    }

    fn refused(self, comment: &'static str, check: Check, at: At) -> ObjectVector {
        self.appended.into_iter().fold(self.base.refused(comment, check, at), ObjectVector::appending)
    }
}

pub(super) fn vectors() -> Vec<ObjectVector> {
    let right = |_: &mut Vec<u8>| {};
    let of = |name: &str, values: &[(&str, usize)]| {
        let mut large = Large::new(name);
        for (data_key, length) in values {
            large.value(data_key, *length, right);
        }
        large
    };
    let mut spoilt = Large::new("data-size-before-opening");
    spoilt.value("A", SHORTER, |plaintext| plaintext[0] = 0xff);
    spoilt.value("B", LONGER + 1, right);
    let mut template = of("data-size-before-template", &[("A", SHORTER), ("B", LONGER + 1)]);
    template.base.spec()["template"] = json!({"type": "kubernetes.io/service-account-token"});
    let mut token = of("tokens-before-data-size", &[("A", SHORTER), ("B", LONGER + 1)]);
    token.base.spec()["encryptedData"]["C"] = json!("wax1.");
    vec![
        of("largest", &[("LARGE", MIB)]).opens("one value of 1 MiB"),
        of("largest-of-two", &[("A", SHORTER), ("B", LONGER)]).opens("8 bytes are left of 1 MiB"),
        of("largest-of-many", &[("A", SHORTER - 8192), ("B", LONGER), ("C", 252)])
            .opens("all three are as long as their padding allows"),
        of("longer-than-a-secret", &[("LARGE", MIB + 1)]).refused(
            "one value of 1 MiB and a byte: its token has the length of one of 1 MiB",
            Check::ValuePadding,
            At::DataKey("LARGE"),
        ),
        of("too-large-of-two", &[("A", SHORTER), ("B", LONGER + 1)]).refused(
            "less than 1 MiB together, but the length of the second token also fits a longer value",
            Check::DataSize,
            At::Object,
        ),
        // The value has one byte. The name says something else, and names of vectors never change.
        of("too-large-with-an-empty-value", &[("A", SHORTER), ("B", LONGER), ("C", 1)]).refused(
            "a short value counts for the 252 bytes that it may have",
            Check::DataSize,
            At::Object,
        ),
        of("largest-with-another", &[("A", MIB), ("B", 1)]).refused(
            "a value of 1 MiB stands alone",
            Check::DataSize,
            At::Object,
        ),
        spoilt.refused("the first value has bad padding, too", Check::DataSize, At::Object),
        template.refused("the template asks for a type that is refused, too", Check::DataSize, At::Object),
        token.refused("the third value is no token", Check::TokenParts, At::DataKey("C")),
    ]
}

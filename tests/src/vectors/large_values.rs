//! Values around 1 MiB, in vectors of a few lines.
//!
//! Such a value is chosen so that it is encrypted to zeros, but for its ends: it is the key stream
//! of its place. The token is then one character, repeated, and the vector says so.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use waxseal_shared::format::Check;

use super::draft::{Draft, padded, padded_length};
use super::object_vector::{Append, ObjectVector};
use super::refusals::{At, Base};

const MIB: usize = 1 << 20;
/// Salt, length and one byte of the value: 28 characters, none of them shared with what follows.
const HEAD: usize = 16 + 4 + 1;

/// An object with values that are built from their lengths.
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

    /// Adds a value of so many bytes; `spoil` may change what is sealed.
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
    let half = MIB / 2;
    let mut padding = Large::new("value-padding-before-data-size");
    padding.value("LARGE", MIB + 1, |plaintext| *plaintext.last_mut().expect("it is padded") = 1);
    let mut later = of("data-size-before-later-values", &[("A", half), ("B", half + 1)]);
    later.value("C", 300, |plaintext| plaintext[0] = 0xff);
    let mut earlier = Large::new("values-before-data-size");
    earlier.value("A", 300, |plaintext| plaintext[0] = 0xff);
    earlier.value("B", MIB + 1, right);
    vec![
        of("largest", &[("LARGE", MIB)]).opens("one value of 1 MiB"),
        of("largest-of-two", &[("A", half - 100), ("B", half + 100)]).opens("two values of 1 MiB together"),
        of("too-large", &[("LARGE", MIB + 1)]).refused("one value of 1 MiB and a byte", Check::DataSize, At::Object),
        of("too-large-of-two", &[("A", half), ("B", half + 1)]).refused(
            "two values of 1 MiB and a byte together",
            Check::DataSize,
            At::Object,
        ),
        padding.refused("a value of 1 MiB and a byte, with bad padding", Check::ValuePadding, At::DataKey("LARGE")),
        later.refused("the second value is too much; the third has bad padding", Check::DataSize, At::Object),
        earlier.refused(
            "the first value has bad padding; the second is too large",
            Check::ValuePadding,
            At::DataKey("A"),
        ),
    ]
}

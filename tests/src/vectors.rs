//! The test vectors of the format (`shared/FORMAT.md` §14), which are in `shared/vectors`.
//!
//! This code makes them from the text of the specification and from fixed inputs: every run makes the same bytes. For
//! HKDF, HMAC, AES-256-GCM, the ChaCha20-Poly1305 of age files and the encapsulation of the hybrid kind, it uses other
//! libraries than Waxseal. Identities, recipients, key ids, fingerprints, and the names and reasons of checks come from
//! Waxseal; the reader in Python checks these. A vector never changes and is never removed, because files in Git rely
//! on it.

mod age_file;
mod algorithms;
mod derivations;
mod draft;
mod held_keys;
mod key_texts;
mod known_object;
mod large_values;
mod low_order;
mod manifest_sizes;
mod manifests;
mod manifests_read;
mod names;
mod object_vector;
mod opening_refusals;
mod openings;
mod orders;
mod refusals;
mod seed;
mod test_key;
mod trees;
mod wrap_refusals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use object_vector::ObjectVector;

pub use known_object::KnownObject;

/// The consequence of a changed vector, for the error.
const BREAKS: &str = "this breaks every file in Git";

/// The folder of the vectors.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors")
}

/// All vectors, by the name of the file that they belong in.
pub fn files() -> BTreeMap<&'static str, String> {
    let files = [
        ("keys.json", derivations::keys()),
        ("recipients-refused.json", key_texts::recipients()),
        ("identities-refused.json", key_texts::identities()),
        ("padding.json", derivations::paddings()),
        ("derivations.json", derivations::values()),
        ("wraps.json", derivations::wraps()),
        ("manifests-read.json", manifests_read::vectors()),
        ("manifests-refused.json", manifests::refused()),
        ("opening.json", trees(openings::vectors())),
        ("opening-large.json", trees(large_values::vectors())),
        ("refused-names.json", trees(names::vectors())),
        ("refused-objects.json", trees(refusals::objects())),
        ("trees-refused.json", trees::refused()),
        ("refused-envelopes.json", trees(refusals::envelopes())),
        ("refused-wraps.json", trees(wrap_refusals::texts())),
        ("refused-age-files.json", trees(wrap_refusals::files())),
        ("refused-stanzas.json", trees(wrap_refusals::stanzas())),
        ("refused-places.json", trees(refusals::bound_to())),
        ("refused-tokens.json", trees(refusals::values())),
        ("refused-templates.json", trees(refusals::templates())),
        ("refused-keys.json", trees(opening_refusals::keys())),
        ("refused-openings.json", trees(wrap_refusals::unopenable())),
        ("refused-values.json", trees(opening_refusals::values())),
        ("order-of-checks.json", trees([opening_refusals::order(), orders::vectors()].into_iter().flatten().collect())),
    ];
    files.into_iter().map(|(name, vectors)| (name, text(&vectors))).collect()
}

/// Fails if a vector of a file is gone or differs from the generated one.
///
/// Comments may change, and vectors may be added.
pub fn broken(kept: &str, generated: &str) -> Result<(), String> {
    let (kept, generated) = (by_name(kept)?, by_name(generated)?);
    for (name, vector) in kept {
        match generated.get(&name) {
            Some(other) if *other == vector => {}
            Some(_) => return Err(format!("the vector {name} changed: {BREAKS}")),
            None => return Err(format!("the vector {name} is gone: {BREAKS}")),
        }
    }
    Ok(())
}

fn by_name(file: &str) -> Result<BTreeMap<String, Value>, String> {
    let file: Value = serde_json::from_str(file).map_err(|error| format!("not JSON: {error}"))?;
    let vectors = file["vectors"].as_array().ok_or("no vectors")?;
    let named = vectors.iter().map(|vector| {
        let mut vector = vector.clone();
        vector["comment"].take();
        (vector["name"].to_string(), vector)
    });
    Ok(named.collect())
}

fn trees(vectors: Vec<ObjectVector>) -> Vec<Value> {
    vectors.iter().map(tree).collect()
}

fn tree(vector: &impl Serialize) -> Value {
    serde_json::to_value(vector).expect("strings, maps and numbers")
}

fn text(vectors: &[Value]) -> String {
    let file = json!({"specification": "shared/FORMAT.md, version 1", "vectors": vectors});
    serde_json::to_string_pretty(&Shown { value: &file, is_descending: false }).expect("strings, maps and numbers")
        + "\n"
}

/// Writes maps in ascending order of their keys, and in descending order in every `object`. A reader that checks the
/// entries of an `object` in the order of the file then finds another fault first than the specification says.
struct Shown<'a> {
    value: &'a Value,
    is_descending: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = |value, is_descending| Shown { value, is_descending };
        match self.value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|entry| entry.0);
                if self.is_descending {
                    entries.reverse();
                }
                serializer.collect_map(
                    entries.into_iter().map(|(key, value)| (key, of(value, self.is_descending || key == "object"))),
                )
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(|item| of(item, self.is_descending))),
            value => value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(vectors: &[&Value]) -> String {
        text(&vectors.iter().map(|vector| (*vector).clone()).collect::<Vec<_>>())
    }

    #[test]
    fn maps_in_objects_are_in_descending_order() {
        let text = file(&[&json!({"name": "a", "object": {"a": {"b": 1, "c": 2}, "d": []}})]);
        let order: Vec<_> =
            ["\"name\"", "\"object\"", "\"d\"", "\"a\": {", "\"c\"", "\"b\""].map(|part| text.find(part)).into();
        assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{text}");
    }

    #[test]
    fn vectors_may_only_be_added() {
        let (a, b) = (json!({"comment": "x", "name": "a", "v": 1}), json!({"comment": "y", "name": "b", "v": 2}));
        let other_comment = json!({"comment": "z", "name": "a", "v": 1});
        let changed = json!({"comment": "x", "name": "a", "v": 2});
        assert_eq!(broken(&file(&[&a]), &file(&[&b, &other_comment])), Ok(()));
        let error = broken(&file(&[&a]), &file(&[&changed, &b]));
        assert_eq!(error, Err("the vector \"a\" changed: this breaks every file in Git".to_owned()));
        let error = broken(&file(&[&a]), &file(&[&b]));
        assert_eq!(error, Err("the vector \"a\" is gone: this breaks every file in Git".to_owned()));
    }
}

//! The seeds of all targets except `manifest`, made from sealed objects.

use std::collections::BTreeMap;

use waxseal_shared::manifest::{Format, write_sealed_secret};
use waxseal_shared::sealed_secret::SealedSecret;

use super::differential::{EDITS, PARTS};
use super::spelling;

/// Inputs, by target and file name.
pub type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

/// Derives the seeds from sealed objects. Except for `manifest`, `seeds/` has exactly these.
pub fn derived(objects: &[SealedSecret]) -> Seeds {
    let edits = (0..objects.len()).flat_map(of_edits);
    objects.iter().flat_map(of_object).chain(edits).collect()
}

/// Derives seeds from one object: its manifest in both formats, its envelopes, and its wraps and tokens in both forms
/// of `spelling.rs`.
fn of_object(object: &SealedSecret) -> Seeds {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let envelopes = serde_json::to_vec(&object.spec.envelopes).expect("strings as keys");
    let (yaml, json) = (write_sealed_secret(object, Format::Yaml), write_sealed_secret(object, Format::Json));
    let mut seeds = Seeds::from([
        (("object", format!("{name}.yaml")), yaml.into_bytes()),
        (("object", format!("{name}.json")), json.into_bytes()),
        (("envelope", format!("{name}.json")), envelopes),
    ]);
    for (key, token) in &object.spec.encrypted_data {
        seeds.insert(("token", format!("{name}-{key}")), token.clone().into_bytes());
        if let Some((envelope, sealed)) = spelling::token_parts(token) {
            seeds.insert(("token", format!("{name}-{key}.raw")), [b"\0", envelope.as_bytes(), &sealed].concat());
        }
    }
    let wraps = object.spec.envelopes.values().flat_map(|envelope| envelope.wraps.values());
    for (number, wrap) in wraps.enumerate() {
        seeds.insert(("wrap", format!("{name}-{number}")), wrap.clone().into_bytes());
        if let Some((age_file, proof)) = spelling::wrap_parts(wrap) {
            seeds.insert(("wrap", format!("{name}-{number}.raw")), [b"\0", &*proof, &age_file].concat());
        }
    }
    seeds
}

/// One edit in each part of an object.
fn of_edits(object: usize) -> Seeds {
    let object = u8::try_from(object).expect("a few objects");
    let edit = |part| {
        let edit = part % EDITS;
        (("differential", format!("{object}-{part}-{edit}")), vec![object, part, 0, 0, 9, edit, b'x'])
    };
    (0..PARTS).map(edit).collect()
}

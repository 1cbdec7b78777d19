use waxseal_shared::format::Sealed;
use waxseal_shared::manifest::{Format, write_sealed_secret};
use waxseal_shared::open::{Opened, open};
use waxseal_shared::sealed_secret::SealedSecret;

use super::{genuine, ring, spelling};

/// The bytes of an input: object, part, number of the part, position (two bytes), kind of edit, new byte.
pub(super) const INPUT_BYTES: usize = 7;
pub(super) const PARTS: u8 = 6;
pub(super) const EDITS: u8 = 3;

/// Edits one byte of a sealed object. If the object still opens, each value is the value that was sealed for its place.
pub fn differential(data: &[u8]) {
    let Ok([object, part, which, high, low, edit, byte]) = <[u8; INPUT_BYTES]>::try_from(data) else {
        return;
    };
    let objects = genuine::objects();
    let object = &objects[usize::from(object) % objects.len()];
    let edit = Edit { position: u16::from_be_bytes([high, low]).into(), kind: edit % EDITS, byte };
    let which = which.into();
    match part % PARTS {
        0 => edit_text(object, Format::Yaml, edit),
        1 => edit_text(object, Format::Json, edit),
        2 => edit_token(object, which, edit),
        3 => edit_wrap(object, which, |age_file, _| edit.apply(age_file)),
        4 => edit_wrap(object, which, |_, proof| edit.apply(proof)),
        _ => edit_commitment(object, which, edit),
    }
}

#[derive(Clone, Copy)]
struct Edit {
    position: usize,
    kind: u8,
    byte: u8,
}

impl Edit {
    /// Replaces, inserts or removes one byte.
    fn apply(self, bytes: &mut Vec<u8>) {
        let position = self.position % bytes.len();
        match self.kind {
            0 => bytes[position] = self.byte,
            1 => bytes.insert(position, self.byte),
            _ => drop(bytes.remove(position)),
        }
    }
}

/// Edits the text of a manifest. Each value that opens is the value that was sealed for its place, and no data key is
/// new.
fn edit_text(original: &SealedSecret, format: Format, edit: Edit) {
    let mut bytes = write_sealed_secret(original, format).into_bytes();
    edit.apply(&mut bytes);
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return;
    };
    for object in genuine::sealed_secrets(text).into_iter().flatten() {
        let Some(opened) = opened(&object) else {
            continue;
        };
        let values = &original.spec.encrypted_data;
        assert!(opened.data.keys().all(|key| values.contains_key(key.as_str())), "a new data key");
    }
}

fn edit_token(object: &SealedSecret, which: usize, edit: Edit) {
    let mut edited = object.clone();
    let Some(token) = nth(edited.spec.encrypted_data.values_mut(), which) else {
        return;
    };
    let (envelope, sealed) = spelling::token_parts(token).expect("a genuine token");
    let mut changed = sealed.clone();
    edit.apply(&mut changed);
    let is_same = changed == sealed;
    *token = spelling::token_text(envelope, &changed);
    assert_eq!(opened(&edited).is_some(), is_same && opened(object).is_some(), "a changed token opens");
}

/// Edits a wrap. If the object still opens, the wrap is reported as broken if it has changed, and only then.
fn edit_wrap(object: &SealedSecret, which: usize, edit: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) {
    let mut edited = object.clone();
    let wraps = edited.spec.envelopes.iter_mut().flat_map(|(id, envelope)| {
        envelope.wraps.iter_mut().map(move |(key_id, wrap)| (id.as_str(), key_id.as_str(), wrap))
    });
    let Some((id, key_id, wrap)) = nth(wraps, which) else {
        return;
    };
    let (id, key_id) = (id.to_owned(), key_id.to_owned());
    let (mut age_file, mut proof) = spelling::wrap_parts(wrap).expect("a genuine wrap");
    edit(&mut age_file, &mut proof);
    let changed = spelling::wrap_text(&age_file, &proof);
    let is_same = changed == *wrap;
    *wrap = changed;
    let Some(opened) = opened(&edited) else {
        return assert!(!is_same || self::opened(object).is_none());
    };
    let is_named =
        opened.broken_wraps.iter().any(|broken| broken.envelope.as_str() == id && broken.key.as_str() == key_id);
    assert_eq!(is_named, !is_same, "a changed wrap is not reported as broken, or an unchanged wrap is");
}

fn edit_commitment(object: &SealedSecret, which: usize, edit: Edit) {
    let mut edited = object.clone();
    let Some(envelope) = nth(edited.spec.envelopes.values_mut(), which) else {
        return;
    };
    let mut bytes = spelling::commitment_bytes(&envelope.commitment).expect("a genuine commitment");
    edit.apply(&mut bytes);
    let changed = spelling::commitment_text(&bytes);
    let is_same = changed == envelope.commitment;
    envelope.commitment = changed;
    assert_eq!(opened(&edited).is_some(), is_same && opened(object).is_some(), "a changed commitment opens");
}

fn nth<T>(items: impl Iterator<Item = T>, which: usize) -> Option<T> {
    let mut items: Vec<T> = items.collect();
    (!items.is_empty()).then(|| items.swap_remove(which % items.len()))
}

/// Opens an object, and asserts that its values are genuine.
fn opened(object: &SealedSecret) -> Option<Opened> {
    let sealed = Sealed::decode(object).ok()?;
    let opened = open(&sealed, ring()).ok()?;
    genuine::assert_genuine(&sealed, &opened);
    Some(opened)
}

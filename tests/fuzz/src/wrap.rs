use waxseal_shared::format::{MAX_AGE_FILE_BYTES, Wrap};

use super::{genuine, ring, spelling};

/// Parses a wrap, in one spelling only. A wrap that opens has the DEK of a sealed object. Its proof is right only if it
/// is a wrap of that object.
pub fn wrap(data: &[u8]) {
    let Some(text) = spelling::wrap(data) else {
        return;
    };
    let Ok(wrap) = Wrap::parse(&text) else {
        return;
    };
    assert_canonical(&text, &wrap);
    for key in ring().keys() {
        let Ok(dek) = wrap.open(key.identity()) else {
            continue;
        };
        let key_id = key.key_id();
        let id = dek.commitment().envelope_id();
        let (_, envelope) =
            genuine::envelopes().find(|(known, _)| *known == id.as_str()).expect("the DEK of a genuine envelope");
        assert_eq!(wrap.kind(), key.published().recipient.kind());
        let is_ours = envelope.wraps.get(key_id.as_str()).is_some_and(|genuine| *genuine == *text);
        assert_eq!(wrap.is_proven(&dek, key_id), is_ours, "a proof for another wrap than was made");
    }
}

pub(super) fn assert_canonical(text: &str, wrap: &Wrap) {
    assert_eq!(wrap.to_text(), text, "a second spelling");
    let (age_file, proof) = spelling::wrap_parts(text).expect("the text of a wrap");
    assert!((1..=MAX_AGE_FILE_BYTES).contains(&age_file.len()), "an age file of {}", age_file.len());
    assert_eq!(proof.len(), 16, "the proof's length");
}

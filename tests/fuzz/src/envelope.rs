use std::collections::{BTreeMap, BTreeSet};

use waxseal_shared::format::{Envelope, MAX_ENVELOPES, MAX_WRAPS, Sealed, Wrap};
use waxseal_shared::open::open;
use waxseal_shared::sealed_secret::{BoundTo, EnvelopeSpec, SealedSecret};

use super::{genuine, ring, spelling, wrap};

/// Reads `spec.envelopes` from JSON, and puts it into the genuine object with the same `boundTo`. An envelope that
/// decodes is canonical, and the DEK of an envelope that opens matches its commitment.
pub fn envelope(data: &[u8]) {
    let Ok(envelopes) = serde_json::from_slice::<BTreeMap<String, EnvelopeSpec>>(data) else {
        return;
    };
    let bound_to = envelopes.values().next().map(|envelope| &envelope.bound_to);
    let mut object = object_of(bound_to).clone();
    object.spec.envelopes = envelopes;
    object.spec.encrypted_data.retain(|_, token| {
        token.split('.').nth(1).is_some_and(|envelope| object.spec.envelopes.contains_key(envelope))
    });
    let Ok(sealed) = Sealed::decode(&object) else {
        return;
    };
    assert!(sealed.envelopes().len() == object.spec.envelopes.len() && sealed.envelopes().len() <= MAX_ENVELOPES);
    for (id, envelope) in sealed.envelopes() {
        assert_eq!(envelope.commitment.envelope_id(), *id);
        assert_canonical(&object.spec.envelopes[id.as_str()], envelope);
        assert_opens_as_promised(envelope);
    }
    if let Ok(opened) = open(&sealed, ring()) {
        genuine::assert_genuine(&sealed, &opened);
    }
}

fn object_of(bound_to: Option<&BoundTo>) -> &'static SealedSecret {
    let objects = genuine::objects();
    let is_there =
        |object: &&SealedSecret| object.spec.envelopes.values().any(|envelope| Some(&envelope.bound_to) == bound_to);
    objects.iter().find(is_there).unwrap_or(&objects[0])
}

fn assert_canonical(spec: &EnvelopeSpec, envelope: &Envelope) {
    assert_eq!(spelling::commitment_text(envelope.commitment.as_bytes()), spec.commitment, "a second spelling");
    assert!((1..=MAX_WRAPS).contains(&envelope.wraps.len()) && envelope.wraps.len() == spec.wraps.len());
    for (key_id, decoded) in &envelope.wraps {
        wrap::assert_canonical(&spec.wraps[key_id.as_str()], decoded);
    }
    let kinds: BTreeSet<_> = envelope.wraps.values().map(|wrap| format!("{:?}", Wrap::kind(wrap))).collect();
    assert_eq!(kinds.len(), 1, "one kind");
}

fn assert_opens_as_promised(envelope: &Envelope) {
    let Ok(opened) = ring().open(envelope) else {
        return;
    };
    assert!(opened.dek.matches(&envelope.commitment));
    assert!(envelope.wraps.contains_key(&opened.key_id));
    for (key_id, wrap) in &envelope.wraps {
        assert_eq!(wrap.is_proven(&opened.dek, key_id), !opened.broken_wraps.contains(key_id));
    }
}

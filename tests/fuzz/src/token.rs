use waxseal_shared::format::{Check, FieldPath, Sealed};
use waxseal_shared::open::open;
use waxseal_shared::sealed_secret::SealedSecret;

use super::{genuine, ring, spelling};

const SALT_AND_TAG_BYTES: usize = 32;

/// Puts a token in the place of each value of the object that has its envelope. The token decodes in one spelling only,
/// and opens only where it was sealed.
pub fn token(data: &[u8]) {
    let Some(text) = spelling::token(data) else {
        return;
    };
    let object = object_of(&text);
    for key in object.spec.encrypted_data.keys() {
        let mut object = object.clone();
        object.spec.encrypted_data.retain(|other, _| other == key);
        let genuine = object.spec.encrypted_data.insert(key.clone(), text.clone().into_owned());
        match Sealed::decode(&object) {
            Ok(sealed) => judge(&text, genuine.as_deref(), &sealed),
            Err(refusal) if refusal.check() == Check::TokenEnvelope => {}
            Err(refusal) => return assert!(matches!(refusal.field(), FieldPath::Value(_)), "{refusal}"),
        }
    }
}

fn object_of(token: &str) -> &'static SealedSecret {
    let objects = genuine::objects();
    let id = token.split('.').nth(1).unwrap_or_default();
    objects.iter().find(|object| object.spec.envelopes.contains_key(id)).unwrap_or(&objects[0])
}

fn judge(text: &str, genuine: Option<&str>, sealed: &Sealed) {
    assert_canonical(text);
    match open(sealed, ring()) {
        Ok(opened) => {
            assert_eq!(Some(text), genuine, "a forged token opens");
            genuine::assert_genuine(sealed, &opened);
        }
        Err(refusal) if matches!(refusal.field(), FieldPath::Value(_)) => {
            assert_ne!(Some(text), genuine, "a genuine token does not open");
        }
        Err(refusal) => assert_eq!(refusal.reason().as_str(), "KeyRevoked"),
    }
}

fn assert_canonical(text: &str) {
    let (envelope, sealed) = spelling::token_parts(text).expect("the text of a token");
    assert_eq!(spelling::token_text(envelope, &sealed), text, "a second spelling");
    let padded = sealed.len() - SALT_AND_TAG_BYTES;
    assert!(is_padme(padded), "a padded length of {padded}");
}

/// Whether this is a padded length, from the definition of Padmé: a number with E bits of exponent and S bits of
/// mantissa. The product uses bit masks instead.
fn is_padme(length: usize) -> bool {
    let exponent = length.checked_ilog2().unwrap_or_default();
    let significant = exponent.checked_ilog2().unwrap_or_default() + 1;
    length >= 256 && length.is_multiple_of(2usize.pow(exponent - significant))
}

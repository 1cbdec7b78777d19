use std::sync::Arc;

use waxseal_shared::format::Sealed;
use waxseal_shared::judgement::Judgement;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::manifest::split;
use waxseal_shared::open::open;
use waxseal_shared::plan::{Existing, Plan, plan};
use waxseal_shared::randomness;
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::SealedSecret;

use super::{genuine, ring};

/// Takes a manifest from its text to the plan. Values that open are those sealed for the place, the plan agrees with
/// decoding and opening, and no message contains a value.
pub fn object(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(error) = split(text) {
        assert_holds_no_value(&error.to_string());
    }
    for object in genuine::sealed_secrets(text) {
        match object {
            Ok(object) => judge(&object),
            Err(error) => assert_holds_no_value(&error.to_string()),
        }
    }
}

fn judge(object: &SealedSecret) {
    match (
        plan(object, &Keys::Held(Arc::clone(ring())), &[], &Existing::Absent, &mut randomness::system()),
        Sealed::decode(object),
    ) {
        (Plan::Refuse(judgement), Err(error)) => assert_says(&judgement, error.reason(), &error.to_string()),
        (Plan::Refuse(judgement), Ok(sealed)) => {
            let error = open(&sealed, ring()).expect_err("what opens is written");
            assert_says(&judgement, error.reason(), &error.to_string());
        }
        (Plan::Write(desired, done), Ok(sealed)) => {
            let opened = open(&sealed, ring()).expect("what is written opens");
            genuine::assert_genuine(&sealed, &opened);
            assert!(desired.data == opened.data && desired.name == sealed.name);
            assert_eq!(done.judgement.reason, Reason::Materialised);
        }
        (plan, sealed) => panic!("{plan:?} for {sealed:?}"),
    }
}

fn assert_says(judgement: &Judgement, reason: Reason, message: &str) {
    assert_eq!(judgement.reason, reason);
    // Advice may follow.
    assert!(judgement.message.starts_with(message), "{}", judgement.message);
    assert_holds_no_value(&judgement.message);
}

fn assert_holds_no_value(message: &str) {
    assert!(!message.contains(genuine::MARK), "a value in a message");
}

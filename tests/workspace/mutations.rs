//! An object with one changed byte is refused, or opens to the values that were sealed.

use std::collections::BTreeSet;
use std::thread;

use waxseal_shared::format::Sealed;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::manifest::{self, DocumentKind};
use waxseal_shared::open::{Opened, open};
use waxseal_shared::sealed_secret::SealedSecret;

use crate::vectors::{ObjectVector, held, object, object_vectors};

/// Objects that open and have at most this many bytes are changed at every byte, in one way.
const SHORT: usize = 4 * 1024;
/// This object is changed at every bit.
const EVERY_BIT: &str = "strict-classic";
/// All other objects are changed at about this many places.
const PLACES: usize = 16;

const THREADS: usize = 4;

/// An object, its keys, and the values that were sealed in it (`None` if the object itself is refused).
struct Subject {
    name: String,
    json: Vec<u8>,
    ring: KeyRing,
    sealed: Option<Opened>,
}

impl Subject {
    fn new(vector: &ObjectVector) -> Self {
        let object = object(vector);
        let json = serde_json::to_vec(&object).expect("an object");
        let ring = KeyRing::new(vector.identities.iter().map(held).collect());
        let sealed = opened(&object, &ring);
        Self { name: vector.name.clone(), json, ring, sealed }
    }

    /// Returns the changes to try: each a position and its new byte.
    fn changes(&self) -> Vec<(usize, u8)> {
        let is_every = self.sealed.is_some() && self.json.len() <= SHORT;
        let step = if is_every { 1 } else { self.json.len().div_ceil(PLACES) };
        let places = (0..self.json.len()).step_by(step);
        if self.name == EVERY_BIT {
            return places.flat_map(|place| (0..8).map(move |bit| (place, self.json[place] ^ (1 << bit)))).collect();
        }
        places.map(|place| (place, neighbour(self.json[place]))).collect()
    }

    /// Opens the changed object; reads it as strictly as a file.
    fn open_changed(&self, (place, byte): (usize, u8)) -> Option<Opened> {
        let mut json = self.json.clone();
        json[place] = byte;
        opened(&read(str::from_utf8(&json).ok()?)?, &self.ring)
    }
}

fn opened(object: &SealedSecret, ring: &KeyRing) -> Option<Opened> {
    open(&Sealed::decode(object).ok()?, ring).ok()
}

fn read(text: &str) -> Option<SealedSecret> {
    let stream = manifest::split(text).ok()?;
    match stream.documents.first()?.kind().ok()? {
        DocumentKind::SealedSecret(object) => object.read().ok(),
        _ => None,
    }
}

/// Returns another byte. For a letter or a digit, this is another letter or digit: other characters would be refused
/// before a key is used.
fn neighbour(byte: u8) -> u8 {
    match byte {
        b'z' => b'y',
        b'Z' => b'Y',
        b'9' => b'8',
        _ if byte.is_ascii_alphanumeric() => byte + 1,
        _ => byte ^ 1,
    }
}

/// A changed object that still opens gives its own data. A refused object may give any values that were sealed: the
/// change may have repaired it.
#[test]
fn no_changed_byte_gives_another_plaintext() {
    let subjects: Vec<_> = object_vectors().iter().map(|(_, vector)| Subject::new(vector)).collect();
    let known: BTreeSet<&[u8]> = subjects
        .iter()
        .flat_map(|subject| &subject.sealed)
        .flat_map(|opened| opened.data.values())
        .map(|value| value.expose())
        .collect();
    let (mut tried, mut still_opened) = (0, 0);
    thread::scope(|scope| {
        let work: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (subjects, known) = (&subjects, &known);
                let own = move || {
                    subjects
                        .iter()
                        .skip(thread)
                        .step_by(THREADS)
                        .map(|subject| try_changes(subject, known))
                        .collect::<Vec<_>>()
                };
                scope.spawn(own)
            })
            .collect();
        for (all, opened) in
            work.into_iter().flat_map(|thread| thread.join().expect("no change gives another plaintext"))
        {
            tried += all;
            still_opened += opened;
        }
    });
    assert!(tried > 40_000, "{tried} changes");
    assert!(still_opened > 100, "a change of a label or a wrap does not stop opening: {still_opened}");
}

/// Tries all changes of an object. Returns the number of changes, and of those that still open.
fn try_changes(subject: &Subject, known: &BTreeSet<&[u8]>) -> (usize, usize) {
    let changes = subject.changes();
    let mut still_opened = 0;
    for change in &changes {
        let Some(opened) = subject.open_changed(*change) else {
            continue;
        };
        still_opened += 1;
        let is_right = match &subject.sealed {
            Some(sealed) => opened.data == sealed.data,
            None => opened.data.values().all(|value| known.contains(value.expose())),
        };
        assert!(is_right, "{}: byte {} as {:#04x} gives another plaintext", subject.name, change.0, change.1);
    }
    (changes.len(), still_opened)
}

//! Finds the sealed values in texts, and tells which of them a key opens.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use aho_corasick::AhoCorasick;
use waxseal_shared::key_need::{named_envelope, wraps_need};
use waxseal_shared::manifest::{ManifestError, Stream, split};
use waxseal_shared::names::KeyId;
use waxseal_shared::sealed_secret::SealedSecret;

use crate::error::CliError;
use crate::sealed_objects::sealed_secrets_of;

/// The names of a value: of its SealedSecret and of its data key. They are what the manifest says, not checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Names {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) data_key: String,
}

/// A sealed value: two are equal if they have the same names and the same ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Value {
    /// The index of its names in [`Finder::names`].
    pub(super) names: usize,
    /// A keyed hash of the ciphertext. All ciphertexts of a history would take too much memory.
    ciphertext: [u64; 2],
}

pub(super) struct FoundValue {
    pub(super) value: Value,
    /// Whether its envelope has a wrap for the key, and none for a key of [`Finder::except_opened_by`].
    pub(super) is_opened: bool,
}

/// Which values of a text are wanted: all, or only those that the key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    AllValues,
    OpenedValues,
}

pub(super) struct Finder {
    key: KeyId,
    other_keys: BTreeSet<KeyId>,
    words: AhoCorasick,
    hashers: [RandomState; 2],
    /// The names of all values so far.
    pub(super) names: Vec<Names>,
    numbers: HashMap<Names, usize>,
}

/// The words to look for before a text is read; `{key}` stands for the key id.
const WORDS: [&str; 3] = ["{key}", "wax1.", "\\"];

impl Finder {
    pub(super) fn new(key: KeyId) -> Self {
        // Three short words are far below the limits of an automaton.
        let words = AhoCorasick::new(WORDS.map(|word| word.replace("{key}", key.as_str()))).expect("an automaton");
        let hashers = [RandomState::new(), RandomState::new()];
        Self { key, other_keys: BTreeSet::new(), words, hashers, names: Vec::new(), numbers: HashMap::new() }
    }

    /// A value that one of these keys opens too does not count as opened.
    pub(super) fn except_opened_by(self, other_keys: BTreeSet<KeyId>) -> Self {
        Self { other_keys, ..self }
    }

    /// Returns the sealed values of a text, and the first error in it; `place` returns the file that the error shows.
    ///
    /// Skips a text that lacks `wax1.`, or, if only opened values are wanted, the key id. Escapes of YAML and JSON can
    /// hide these words. Therefore it also reads a text without them if the text has a backslash, but ignores errors in
    /// it.
    pub(super) fn values(
        &mut self,
        text: &[u8],
        wanted: Wanted,
        place: impl Fn() -> String,
    ) -> (Vec<FoundValue>, Option<CliError>) {
        let [key, token, backslash] = self.words_in(text);
        let must_be_readable = token && (key || wanted == Wanted::AllValues);
        if !must_be_readable && !backslash {
            return (Vec::new(), None);
        }
        let mut values = Vec::new();
        let error = match str::from_utf8(text).map(split) {
            Ok(Ok(stream)) => self.add_values(&stream, &mut values).map(|error| CliError::manifest(&place(), &error)),
            Ok(Err(error)) => Some(CliError::manifest(&place(), &error)),
            Err(_) => Some(CliError::refused("not UTF-8").at(place())),
        };
        if wanted == Wanted::OpenedValues {
            values.retain(|found| found.is_opened);
        }
        (values, error.filter(|_| must_be_readable))
    }

    fn words_in(&self, text: &[u8]) -> [bool; 3] {
        let mut found = [false; 3];
        for word in self.words.find_iter(text) {
            found[word.pattern()] = true;
            if found == [true; 3] {
                break;
            }
        }
        found
    }

    /// Adds the values of all SealedSecrets that can be read, and returns the first error of the others.
    fn add_values(&mut self, stream: &Stream<'_>, values: &mut Vec<FoundValue>) -> Option<ManifestError> {
        let mut first_error = None;
        for (_, kind) in stream.kinds() {
            let objects = kind.map(sealed_secrets_of).unwrap_or_else(|error| {
                first_error.get_or_insert(error);
                Vec::new()
            });
            for object in objects {
                match object.read() {
                    Ok(object) => values.extend(self.values_in(object)),
                    Err(error) => {
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        first_error
    }

    /// Returns the values of an object. It is not decoded: the key also opens the values of an object that was moved or
    /// that breaks another rule of the format.
    fn values_in(&mut self, object: SealedSecret) -> Vec<FoundValue> {
        let spec = object.spec;
        let is_opened = |token: &str| {
            let envelope = named_envelope(token).and_then(|id| spec.envelopes.get(id));
            envelope.is_some_and(|envelope| wraps_need(&envelope.wraps, &self.key, &self.other_keys))
        };
        let tokens: Vec<_> =
            spec.encrypted_data.into_iter().map(|(data_key, token)| (data_key, is_opened(&token), token)).collect();
        let namespace = object.metadata.namespace.unwrap_or_default();
        let name = object.metadata.name.unwrap_or_default();
        let found = tokens.into_iter().map(|(data_key, is_opened, token)| {
            let names = Names { namespace: namespace.clone(), name: name.clone(), data_key };
            FoundValue { value: self.value(names, &token), is_opened }
        });
        found.collect()
    }

    fn value(&mut self, names: Names, token: &str) -> Value {
        let ciphertext = self.hashers.each_ref().map(|hasher| hasher.hash_one(token));
        let number = self.numbers.get(&names).copied().unwrap_or_else(|| {
            self.numbers.insert(names.clone(), self.names.len());
            self.names.push(names);
            self.names.len() - 1
        });
        Value { names: number, ciphertext }
    }
}

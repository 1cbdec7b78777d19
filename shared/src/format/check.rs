//! What the format refuses: each check with its name, its reason and its text, in the order of the specification
//! (`FORMAT.md`).

use std::fmt;

use thiserror::Error;

use crate::reason::Reason;

macro_rules! checks {
    ($($(#[$doc:meta])* $check:ident = $name:literal gives $reason:ident: $text:literal,)*) => {
        /// A check of the format. Its name never changes: test vectors and other implementations use the name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])* $check,)*
        }

        impl Check {
            /// All checks, in the order of the specification.
            pub const ALL: &[Self] = &[$(Self::$check,)*];

            /// The name that the specification gives the check.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)*
                }
            }

            /// The reason in status, metrics and output for an object that fails the check.
            pub fn reason(self) -> Reason {
                match self {
                    $(Self::$check => Reason::$reason,)*
                }
            }

            /// What is wrong with an object that fails the check; `{}` stands for the detail of a [`Fault`].
            fn text(self) -> &'static str {
                match self {
                    $(Self::$check => $text,)*
                }
            }
        }
    };
}

checks! {
    /// FORMAT.md §6.1: the object's name is canonical.
    ObjectName = "object-name" gives Malformed: "a name must be 1 to 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
    /// FORMAT.md §6.1: the object's namespace is canonical.
    ObjectNamespace = "object-namespace" gives Malformed: "a namespace must be 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    /// FORMAT.md §6.1: at most 256 data keys.
    DataKeyCount = "data-key-count" gives Malformed: "more than 256 data keys",
    /// FORMAT.md §6.1: at most 64 envelopes.
    EnvelopeCount = "envelope-count" gives Malformed: "more than 64 envelopes",
    /// FORMAT.md §6.2: the envelope's id is canonical.
    EnvelopeId = "envelope-id" gives Malformed: "an envelope id must be 'e' and 10 lower-case hex digits",
    /// FORMAT.md §6.2: the commitment is canonical base64.
    CommitmentEncoding = "commitment-encoding" gives Malformed: "not 32 bytes in canonical base64",
    /// FORMAT.md §6.2: the commitment is 32 bytes.
    CommitmentLength = "commitment-length" gives Malformed: "not 32 bytes in canonical base64",
    /// FORMAT.md §6.2: the commitment belongs to the envelope's id.
    CommitmentForeign = "commitment-foreign" gives Malformed: "its commitment is that of another envelope, {}",
    /// FORMAT.md §6.2: at least one wrap.
    WrapsEmpty = "wraps-empty" gives Malformed: "no wrap, so nobody can open it",
    /// FORMAT.md §6.2: at most 16 wraps.
    WrapCount = "wrap-count" gives Malformed: "more than 16 wraps",
    /// FORMAT.md §6.3: the key id is canonical.
    KeyId = "key-id" gives Malformed: "a key id must be 'k' and 16 lower-case hex digits",
    /// FORMAT.md §6.3: two parts, joined by a dot.
    WrapParts = "wrap-parts" gives Malformed: "the wrap is not an age file and a proof, joined by a dot",
    /// FORMAT.md §6.3: the age file is at most 4 KiB.
    WrapSize = "wrap-size" gives Malformed: "the wrap's age file is larger than 4 KiB",
    /// FORMAT.md §6.3: the proof is canonical base64url.
    ProofEncoding = "proof-encoding" gives Malformed: "the wrap's proof is not 16 bytes in canonical base64url",
    /// FORMAT.md §6.3: the proof is 16 bytes.
    ProofLength = "proof-length" gives Malformed: "the wrap's proof is not 16 bytes in canonical base64url",
    /// FORMAT.md §6.3: the age file is canonical base64.
    WrapEncoding = "wrap-encoding" gives Malformed: "the wrap's age file is not canonical base64",
    /// FORMAT.md §6.4: the file begins as a binary age v1 file does.
    AgeVersion = "age-version" gives Malformed: "the wrap is not an age v1 file in binary form",
    /// FORMAT.md §6.4: the header follows age's grammar.
    AgeHeader = "age-header" gives Malformed: "the header of the wrap's age file is malformed",
    /// FORMAT.md §6.4: the payload has the length of an encrypted DEK.
    AgePayload = "age-payload" gives Malformed: "the wrap's payload does not have the length of a DEK",
    /// FORMAT.md §6.5: every stanza is of a known type or grease.
    StanzaForeign = "stanza-foreign" gives Malformed: "the wrap has a stanza of a foreign type",
    /// FORMAT.md §6.5: a known stanza has one argument.
    StanzaArguments = "stanza-arguments" gives Malformed: "the wrap's stanza does not have exactly one argument",
    /// FORMAT.md §6.5: the body of a known stanza is 32 bytes.
    StanzaBody = "stanza-body" gives Malformed: "the body of the wrap's stanza is not 32 bytes",
    /// FORMAT.md §6.5: the argument is canonical base64.
    ShareEncoding = "share-encoding" gives Malformed: "the argument of the wrap's stanza is not canonical base64",
    /// FORMAT.md §6.5: the argument has the length that the type of its stanza demands.
    ShareLength = "share-length" gives Malformed: "the argument of the wrap's stanza does not have the length that its type demands",
    /// FORMAT.md §6.5: the X25519 share is not of low order.
    ShareLowOrder = "share-low-order" gives Malformed: "the wrap's X25519 share is of low order",
    /// FORMAT.md §6.5: exactly one stanza of a known type.
    StanzaCount = "stanza-count" gives Malformed: "the wrap does not have exactly one stanza of a known type",
    /// FORMAT.md §6.6: the wraps of an envelope are of one kind.
    WrapsMixed = "wraps-mixed" gives Malformed: "hybrid and classic wraps in one envelope",
    /// FORMAT.md §6.6: the envelope was sealed for this place.
    BoundTo = "bound-to" gives Moved: "sealed for {}",
    /// FORMAT.md §6.7: the data key is canonical.
    DataKey = "data-key" gives Malformed: "a data key must be 1 to 253 letters, digits, '-', '_' and '.'; it must not be '.' alone or begin with '..'",
    /// FORMAT.md §6.7: the token is of version 1.
    TokenVersion = "token-version" gives Malformed: "not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"",
    /// FORMAT.md §6.7: the token has its three parts.
    TokenParts = "token-parts" gives Malformed: "not a sealed value: expected \"wax1.ENVELOPE.…\"",
    /// FORMAT.md §6.7: the envelope id in the token is canonical.
    TokenEnvelopeId = "token-envelope-id" gives Malformed: "the envelope id in the sealed value must be 'e' and 10 lower-case hex digits",
    /// FORMAT.md §6.7: the token is not longer than the token of a value of 1 MiB.
    TokenSize = "token-size" gives Malformed: "the sealed value is too long: before sealing, a value has at most 1 MiB",
    /// FORMAT.md §6.7: the token is canonical base64url.
    TokenEncoding = "token-encoding" gives Malformed: "the sealed value is not canonical base64url",
    /// FORMAT.md §6.7: the ciphertext has a padded length.
    TokenLength = "token-length" gives Malformed: "the sealed value has a length that sealing never gives",
    /// FORMAT.md §6.7: the envelope that the token names is there.
    TokenEnvelope = "token-envelope" gives Malformed: "names the envelope {}, which spec.envelopes does not have",
    /// FORMAT.md §6.7: the values come to at most 1 MiB together. Each counts with the greatest length that its padding
    /// allows.
    DataSize = "data-size" gives TooLarge: "the values come to more than 1 MiB; each counts with the greatest length that its padding allows",
    /// FORMAT.md §6.8: the Secret's type is one that a SealedSecret may make.
    TemplateType = "template-type" gives TypeForbidden: "Secrets of this type are never made from a SealedSecret",
    /// FORMAT.md §6.8: no label or annotation is reserved for Waxseal.
    TemplateOwnMetadata = "template-own-metadata" gives TypeForbidden: "labels and annotations under waxseal.dev/ are reserved for Waxseal",
    /// FORMAT.md §6.8: no label or annotation makes a known replicator copy the Secret.
    TemplateReplicator = "template-replicator" gives TypeForbidden: "labels and annotations under {} would copy the Secret to other places",
    /// FORMAT.md §7.2: the program holds a key for at least one wrap.
    EnvelopeKeyMissing = "envelope-key-missing" gives KeyMissing: "sealed to {} only, and this program holds none of these keys",
    /// FORMAT.md §7.2: at least one key that the program holds for a wrap is not Revoked.
    EnvelopeKeyRevoked = "envelope-key-revoked" gives KeyRevoked: "all keys that this program holds for this envelope are revoked: {}",
    /// FORMAT.md §7.3: at least one wrap opens, and its DEK matches the commitment.
    EnvelopeBroken = "envelope-broken" gives Unreadable: "no wrap opens: those for {} were changed or made wrongly",
    /// FORMAT.md §7.5: the value is unchanged, and was sealed for this place and this data key.
    ValueAuthentication = "value-authentication" gives Unreadable: "does not open: it was changed, or sealed for another place",
    /// FORMAT.md §7.5: the padding is exactly the padding that sealing makes.
    ValuePadding = "value-padding" gives Unreadable: "does not open: its padding is not canonical",
}

/// A failed check without its place. Shows names, never values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Fault {
    check: Check,
    detail: String,
}

impl Check {
    /// Returns the fault of this check. `detail` replaces `{}` in the text and contains only names.
    pub(crate) fn fault_with(self, detail: impl Into<String>) -> Fault {
        Fault { check: self, detail: detail.into() }
    }
}

impl Fault {
    /// The check that failed.
    pub fn check(&self) -> Check {
        self.check
    }
}

impl From<Check> for Fault {
    fn from(check: Check) -> Self {
        check.fault_with(String::new())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.check.text().split_once("{}") {
            Some((before, after)) => write!(f, "{before}{}{after}", self.detail),
            None => f.write_str(self.check.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_DATA_KEYS, MAX_ENVELOPES, MAX_WRAPS};
    use super::*;
    use crate::api_group::PREFIX;

    /// The rows of FORMAT.md's tables that begin with a check: its name and the reason it gives.
    fn specified() -> Vec<(&'static str, &'static str)> {
        let rows = include_str!("../../FORMAT.md").lines().filter_map(|line| line.strip_prefix("| `"));
        rows.filter_map(|row| {
            let (name, rest) = row.split_once("` | ")?;
            let (reason, _) = rest.split_once(" | ")?;
            let is_word = reason.starts_with(|c: char| c.is_ascii_uppercase()) && !reason.contains(' ');
            is_word.then_some((name, reason))
        })
        .collect()
    }

    #[test]
    fn the_specification_lists_the_same_checks_in_the_same_order() {
        let checks: Vec<_> = Check::ALL.iter().map(|check| (check.as_str(), check.reason().as_str())).collect();
        assert_eq!(specified(), checks);
    }

    #[test]
    fn the_texts_name_the_limits() {
        for (check, limit) in
            [(Check::DataKeyCount, MAX_DATA_KEYS), (Check::EnvelopeCount, MAX_ENVELOPES), (Check::WrapCount, MAX_WRAPS)]
        {
            assert!(check.text().contains(&format!("more than {limit} ")), "{}", check.text());
        }
        assert!(Check::TemplateOwnMetadata.text().contains(PREFIX));
    }

    #[test]
    fn the_names_are_different_and_in_kebab_case() {
        let mut names: Vec<_> = Check::ALL.iter().map(|check| check.as_str()).collect();
        assert!(names.iter().all(|name| {
            name.split('-').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        }));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Check::ALL.len());
    }
}

//! The checks of the format by their names, in the order of the specification (`FORMAT.md`).

use crate::reason::Reason;

macro_rules! checks {
    ($($(#[$doc:meta])* $check:ident = $name:literal gives $reason:ident,)*) => {
        /// A check of the format. Its name is API: test vectors and other implementations use it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

            /// The word for an object that fails the check in status, metrics and output.
            pub fn reason(self) -> Reason {
                match self {
                    $(Self::$check => Reason::$reason,)*
                }
            }
        }
    };
}

checks! {
    /// FORMAT.md §6.1: the object's name is canonical.
    ObjectName = "object-name" gives Malformed,
    /// FORMAT.md §6.1: the object's namespace is canonical.
    ObjectNamespace = "object-namespace" gives Malformed,
    /// FORMAT.md §6.1: at most 256 data keys.
    DataKeyCount = "data-key-count" gives Malformed,
    /// FORMAT.md §6.1: at most 64 envelopes.
    EnvelopeCount = "envelope-count" gives Malformed,
    /// FORMAT.md §6.2: the envelope's id is canonical.
    EnvelopeId = "envelope-id" gives Malformed,
    /// FORMAT.md §6.2: the commitment is canonical base64.
    CommitmentEncoding = "commitment-encoding" gives Malformed,
    /// FORMAT.md §6.2: the commitment is 32 bytes.
    CommitmentLength = "commitment-length" gives Malformed,
    /// FORMAT.md §6.2: the commitment belongs to the envelope's id.
    CommitmentForeign = "commitment-foreign" gives Malformed,
    /// FORMAT.md §6.2: at least one wrap.
    WrapsEmpty = "wraps-empty" gives Malformed,
    /// FORMAT.md §6.2: at most 16 wraps.
    WrapCount = "wrap-count" gives Malformed,
    /// FORMAT.md §6.3: the key id is canonical.
    KeyId = "key-id" gives Malformed,
    /// FORMAT.md §6.3: two parts, joined by a dot.
    WrapParts = "wrap-parts" gives Malformed,
    /// FORMAT.md §6.3: the age file is at most 4 KiB.
    WrapSize = "wrap-size" gives Malformed,
    /// FORMAT.md §6.3: the proof is canonical base64url.
    ProofEncoding = "proof-encoding" gives Malformed,
    /// FORMAT.md §6.3: the proof is 16 bytes.
    ProofLength = "proof-length" gives Malformed,
    /// FORMAT.md §6.3: the age file is canonical base64.
    WrapEncoding = "wrap-encoding" gives Malformed,
    /// FORMAT.md §6.4: the file begins as a binary age v1 file does.
    AgeVersion = "age-version" gives Malformed,
    /// FORMAT.md §6.4: the header is one of age's grammar.
    AgeHeader = "age-header" gives Malformed,
    /// FORMAT.md §6.4: the payload has the length of a data key's.
    AgePayload = "age-payload" gives Malformed,
    /// FORMAT.md §6.5: every stanza is of a known type or grease.
    StanzaForeign = "stanza-foreign" gives Malformed,
    /// FORMAT.md §6.5: a known stanza has one argument.
    StanzaArguments = "stanza-arguments" gives Malformed,
    /// FORMAT.md §6.5: the body of a known stanza is 32 bytes.
    StanzaBody = "stanza-body" gives Malformed,
    /// FORMAT.md §6.5: the argument is canonical base64.
    ShareEncoding = "share-encoding" gives Malformed,
    /// FORMAT.md §6.5: the argument has the length of its type.
    ShareLength = "share-length" gives Malformed,
    /// FORMAT.md §6.5: the X25519 share is not of low order.
    ShareLowOrder = "share-low-order" gives Malformed,
    /// FORMAT.md §6.5: exactly one stanza of a known type.
    StanzaCount = "stanza-count" gives Malformed,
    /// FORMAT.md §6.6: the wraps of an envelope are of one kind.
    WrapsMixed = "wraps-mixed" gives Malformed,
    /// FORMAT.md §6.6: the envelope was sealed for this place.
    BoundTo = "bound-to" gives Moved,
    /// FORMAT.md §6.7: the data key is canonical.
    DataKey = "data-key" gives Malformed,
    /// FORMAT.md §6.7: the token is of version 1.
    TokenVersion = "token-version" gives Malformed,
    /// FORMAT.md §6.7: the token has its three parts.
    TokenParts = "token-parts" gives Malformed,
    /// FORMAT.md §6.7: the envelope id in the token is canonical.
    TokenEnvelopeId = "token-envelope-id" gives Malformed,
    /// FORMAT.md §6.7: the token is no longer than one of 1 MiB.
    TokenSize = "token-size" gives Malformed,
    /// FORMAT.md §6.7: the token is canonical base64url.
    TokenEncoding = "token-encoding" gives Malformed,
    /// FORMAT.md §6.7: the ciphertext has a padded length.
    TokenLength = "token-length" gives Malformed,
    /// FORMAT.md §6.7: the envelope that the token names is there.
    TokenEnvelope = "token-envelope" gives Malformed,
    /// FORMAT.md §6.7: the values, each as long as its padding allows, are at most 1 MiB together.
    DataSize = "data-size" gives TooLarge,
    /// FORMAT.md §6.8: the Secret's type is one that a SealedSecret may make.
    TemplateType = "template-type" gives TypeForbidden,
    /// FORMAT.md §6.8: no label or annotation is Waxseal's own.
    TemplateOwnMetadata = "template-own-metadata" gives TypeForbidden,
    /// FORMAT.md §6.8: no label or annotation speaks to a replicator.
    TemplateReplicator = "template-replicator" gives TypeForbidden,
    /// FORMAT.md §7.2: an identity is held for some wrap.
    EnvelopeKeyMissing = "envelope-key-missing" gives KeyMissing,
    /// FORMAT.md §7.2: one of these is not revoked.
    EnvelopeKeyRevoked = "envelope-key-revoked" gives KeyRevoked,
    /// FORMAT.md §7.3: some wrap opens to what the commitment says.
    EnvelopeBroken = "envelope-broken" gives Unreadable,
    /// FORMAT.md §7.5: the value is authentic, here and under this data key.
    ValueAuthentication = "value-authentication" gives Unreadable,
    /// FORMAT.md §7.5: the padding is the one that sealing gives.
    ValuePadding = "value-padding" gives Unreadable,
}

#[cfg(test)]
mod tests {
    use super::*;

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

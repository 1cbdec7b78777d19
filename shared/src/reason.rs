//! The closed list of reasons. Conditions, metrics and the CLI show these words, so a word never changes.

use std::fmt;

/// Defines an enum whose variants are the words that status, metrics and output show.
macro_rules! words {
    ($(#[$attribute:meta])* pub enum $name:ident { $($(#[$doc:meta])* $word:ident,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $word,)+ }

        impl $name {
            /// The whole list.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// The word in status, metrics and output.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }

            /// The reason of a word; `None` for any other word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The reason of the condition `Ready`: why a SealedSecret is ready, or is not.
    #[non_exhaustive]
    pub enum Reason {
        /// The Secret is as the SealedSecret says.
        Materialised,
        /// Another writer changed the Secret first; the controller judges again.
        Conflict,
        /// The namespace's quota has no room for the Secret. On a folder: the file system has no room.
        Quota,
        /// The API server does not answer, or fails. On a folder: a file cannot be read or written, or a Secret waits
        /// for its deletion.
        ApiUnavailable,
        /// The namespace is being deleted, or is gone.
        NamespaceTerminating,
        /// The controller has not read its keys yet.
        KeysLoading,
        /// The controller holds no usable key and makes none: an identity is broken, a SealedSecret is sealed to a key
        /// that it lacks, or key generation is off.
        AwaitingKeys,
        /// The object breaks a rule of the format. On a folder also: several manifests have its namespace and name, or
        /// its Secret is not deleted because the controller does not understand a manifest.
        Malformed,
        /// The values were sealed for another place.
        Moved,
        /// The values do not open.
        Unreadable,
        /// The program holds none of the keys that the object is sealed to.
        KeyMissing,
        /// The program holds only revoked keys of those that the object is sealed to.
        KeyRevoked,
        /// A Secret of that name exists and does not belong to the SealedSecret.
        ForeignOwner,
        /// The template asks for a type, a label or an annotation that a SealedSecret may not give to its Secret. The
        /// reason covers the whole template, not only the type.
        TypeForbidden,
        /// The existing Secret has another type, and a Secret's type cannot change.
        TypeImmutable,
        /// The existing Secret is immutable and differs.
        SecretImmutable,
        /// The data is larger than a Secret can be. Each value counts with the greatest length that its padding allows.
        TooLarge,
        /// The API server refuses the Secret or changes it. On a folder: the controller may not read or write a file.
        Forbidden,
    }
}

words! {
    /// Why the condition `KeyCurrent` is false, in the order of urgency.
    #[non_exhaustive]
    pub enum KeyReason {
        /// The object is sealed to a revoked key.
        Exposed,
        /// The proof of a wrap failed.
        WrapBroken,
        /// The object cannot get a wrap that it lacks.
        NeedsReseal,
        /// The object has no wrap for the primary or for a recovery key.
        Behind,
        /// The status has no room for a wrap that the object lacks.
        OffersTruncated,
    }
}

impl Reason {
    /// The standing of an object with this reason.
    pub fn standing(self) -> Standing {
        match self {
            Reason::Materialised => Standing::Ready,
            Reason::Conflict
            | Reason::Quota
            | Reason::ApiUnavailable
            | Reason::NamespaceTerminating
            | Reason::KeysLoading
            | Reason::AwaitingKeys => Standing::Waiting,
            Reason::Malformed
            | Reason::Moved
            | Reason::Unreadable
            | Reason::KeyMissing
            | Reason::KeyRevoked
            | Reason::ForeignOwner
            | Reason::TypeForbidden
            | Reason::TypeImmutable
            | Reason::SecretImmutable
            | Reason::TooLarge
            | Reason::Forbidden => Standing::Stalled,
        }
    }
}

/// The standing of an object in the terms of kstatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// `Ready=True`.
    Ready,
    /// `Ready=False`, `Reconciling=True`: the controller tries again, and waiting helps.
    Waiting,
    /// `Ready=False`, `Stalled=True`: waiting does not help.
    Stalled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_the_word_of_one_reason() {
        assert!(Reason::ALL.iter().all(|reason| Reason::parse(reason.as_str()) == Some(*reason)));
        assert!(KeyReason::ALL.iter().all(|reason| KeyReason::parse(reason.as_str()) == Some(*reason)));
        assert_eq!(Reason::parse("Moved"), Some(Reason::Moved));
        for word in ["", "moved", "Moved ", "Behind"] {
            assert_eq!(Reason::parse(word), None);
        }
    }
}

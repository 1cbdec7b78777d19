//! The closed list of reasons. Conditions, metrics and the CLI show these words, so a word never changes.

use std::fmt;

/// Why a SealedSecret is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The Secret is as the SealedSecret says.
    Materialised,
    /// Another writer changed the Secret first; the controller judges again.
    Conflict,
    /// The namespace's quota has no room for the Secret.
    Quota,
    /// The API server does not answer, or fails. On a folder: a file cannot be read or written, or a Secret waits for
    /// its deletion.
    ApiUnavailable,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The controller has not read its keys yet.
    KeysLoading,
    /// The controller holds no key, and may not make one while SealedSecrets name other keys.
    AwaitingKeys,
    /// The object breaks a rule of the format.
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
    /// The data, each value counted as long as its padding allows, is larger than a Secret can be.
    TooLarge,
    /// The API server refuses the Secret.
    Forbidden,
}

impl Reason {
    /// The word in status, metrics and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Materialised => "Materialised",
            Reason::Conflict => "Conflict",
            Reason::Quota => "Quota",
            Reason::ApiUnavailable => "ApiUnavailable",
            Reason::NamespaceTerminating => "NamespaceTerminating",
            Reason::KeysLoading => "KeysLoading",
            Reason::AwaitingKeys => "AwaitingKeys",
            Reason::Malformed => "Malformed",
            Reason::Moved => "Moved",
            Reason::Unreadable => "Unreadable",
            Reason::KeyMissing => "KeyMissing",
            Reason::KeyRevoked => "KeyRevoked",
            Reason::ForeignOwner => "ForeignOwner",
            Reason::TypeForbidden => "TypeForbidden",
            Reason::TypeImmutable => "TypeImmutable",
            Reason::SecretImmutable => "SecretImmutable",
            Reason::TooLarge => "TooLarge",
            Reason::Forbidden => "Forbidden",
        }
    }

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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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

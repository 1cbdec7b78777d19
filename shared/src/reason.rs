//! The closed list of reasons, shared by conditions, Events, metrics and the CLI. It is API.

use std::fmt;

/// Why a SealedSecret is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The Secret is as the SealedSecret says.
    Materialised,
    /// Another writer was quicker; judged again.
    Conflict,
    /// The namespace's quota has no room for the Secret.
    Quota,
    /// The API server does not answer, or answers with an error of its own.
    ApiUnavailable,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The controller has not read its keys yet.
    KeysLoading,
    /// The controller holds no key, and may not make one while SealedSecrets name other keys.
    AwaitingKeys,
    /// The object is not what the format says.
    Malformed,
    /// The values were sealed for another place.
    Moved,
    /// The values do not open.
    Unreadable,
    /// None of the keys it is sealed to is here.
    KeyMissing,
    /// All of the keys it is sealed to that are here are revoked.
    KeyRevoked,
    /// A Secret of that name exists and belongs to somebody else.
    ForeignOwner,
    /// The type or metadata of the Secret is one that no SealedSecret may ask for.
    TypeForbidden,
    /// The existing Secret has another type, and a Secret's type cannot change.
    TypeImmutable,
    /// The existing Secret is immutable and differs.
    SecretImmutable,
    /// The data is larger than a Secret can be.
    TooLarge,
    /// The API server refuses the Secret.
    Forbidden,
}

impl Reason {
    /// The word itself.
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

    /// How the object stands with this reason.
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

/// How an object stands, in kstatus' terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// `Ready=True`.
    Ready,
    /// `Ready=False`, `Reconciling=True`: it heals by waiting.
    Waiting,
    /// `Ready=False`, `Stalled=True`: it does not heal by waiting.
    Stalled,
}

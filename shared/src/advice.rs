//! What each reason means for a user, and what to do about it. The tables of the README are the same, word for word.

use crate::reason::{KeyReason, Reason};

/// What a reason means, and what to do about it: lower-case sentences for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What the reason means.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// The advice for a reason of the condition `Ready`.
pub fn for_ready(reason: Reason) -> Advice {
    let (meaning, remedy) = match reason {
        Reason::Materialised => ("the Secret is as the SealedSecret says", "nothing"),
        Reason::Conflict => (
            "somebody else changed the Secret at the same moment",
            "wait: the controller tries again by itself. If the reason stays, the `managedFields` of the Secret name the \
             other writer",
        ),
        Reason::Quota => (
            "the quota of the namespace has no room for the Secret. Without Kubernetes: the file system has no room",
            "delete what is not needed there, or raise the ResourceQuota. The controller tries again by itself",
        ),
        Reason::ApiUnavailable => (
            "the API server does not answer the controller, or fails. Without Kubernetes: a file cannot be read or \
             written, or a Secret waits for its deletion",
            "wait: the controller tries again by itself. If the reason stays, read the controller's log",
        ),
        Reason::NamespaceTerminating => {
            ("the namespace is being deleted", "nothing: the SealedSecret is deleted with its namespace")
        }
        Reason::KeysLoading => (
            "the controller has started and has not read its keys yet",
            "wait: the controller tries again by itself. If the reason stays, read the controller's log",
        ),
        Reason::AwaitingKeys => (
            "the controller holds no usable key and makes none: an identity is broken, a SealedSecret is sealed to a key \
             that the controller lacks, or key generation is off",
            "read the controller's log, and repair each identity that it names. If the controller's namespace for keys was \
             changed, change it back. Put lost keys back with `waxseal keys restore`. Only if no identity is left and the \
             keys are lost for good, delete the SealedSecrets, and with them their Secrets, so that the controller makes \
             a key: see \"Disaster\" in the README",
        ),
        Reason::Malformed => {
            ("it breaks a rule of the format, which the message names", "seal the Secret again with `waxseal seal`")
        }
        Reason::Moved => (
            "it was sealed for another namespace, name or scope, which the message names",
            "seal it again for this place, or put it back into its old place",
        ),
        Reason::Unreadable => (
            "it was changed, or a value was copied to another data key",
            "take the last good version from Git, or seal the value again with `waxseal set`",
        ),
        Reason::KeyMissing => (
            "the cluster holds none of the keys that it was sealed to",
            "take the cluster's keys into the keys file with `waxseal keys fetch`, and seal it again, or add a wrap \
             with a recovery key: `waxseal rotate --to CLUSTER --identity FILE`. `waxseal keys restore` puts a lost \
             key back",
        ),
        Reason::KeyRevoked => (
            "of the keys that it was sealed to, the cluster holds only revoked ones, which it no longer uses",
            "change the values at their source, and seal the new ones: see \"Compromise\" in the README",
        ),
        Reason::ForeignOwner => (
            "a Secret of that name exists and does not belong to this SealedSecret, so the controller never touches it",
            "to hand the Secret over, run `kubectl label secret NAME -n NAMESPACE --overwrite \
             waxseal.dev/secret=owned`: the controller then replaces its content. If the message says that another \
             controller or SealedSecret owns the Secret, delete this owner with `--cascade=orphan` first. Or give one \
             of the two another name",
        ),
        Reason::TypeForbidden => (
            "the template has a type, a label or an annotation that Waxseal gives to no Secret",
            "remove what the message names from the template",
        ),
        Reason::TypeImmutable => (
            "the Secret has another type, and Kubernetes never changes the type of a Secret",
            "delete the Secret: the controller makes it again",
        ),
        Reason::SecretImmutable => (
            "the Secret is immutable and differs from the SealedSecret",
            "delete the Secret: the controller makes it again",
        ),
        Reason::TooLarge => (
            "the data is larger than a Secret can be. Each value counts with the greatest length that its \
             padding allows",
            "divide the values among several SealedSecrets",
        ),
        Reason::Forbidden => (
            "the API server refuses the Secret or changes it. Without Kubernetes: the controller may not read or \
             write a file",
            "see the message: give the controller the right that it lacks, or change the admission policy or webhook \
             that refuses or changes the Secret. The controller tries again by itself, at the latest after five minutes",
        ),
    };
    Advice { meaning, remedy }
}

/// The advice for a reason of the condition `KeyCurrent`.
pub fn for_key_current(reason: KeyReason) -> Advice {
    let (meaning, remedy) = match reason {
        KeyReason::Exposed => (
            "it is sealed to a revoked key too: the holder of that key can read the values",
            "change the values at their source, and seal them again: see \"Compromise\" in the README",
        ),
        KeyReason::WrapBroken => (
            "the wrap for a key, which the message names, is broken: the holder of that key may be unable to open the \
             SealedSecret",
            "remove the wrap from the file. If the values are meant for the holder of the key, make it anew with `waxseal \
             rotate --replace-broken`, which needs an identity",
        ),
        KeyReason::NeedsReseal => (
            "as it is, it cannot be sealed to the key that the message names: an envelope has 16 wraps already, or \
             wraps of the other kind (hybrid or classic)",
            "seal it again with `waxseal rotate --reseal`, which needs an identity",
        ),
        KeyReason::Behind => (
            "it is not sealed to the newest key or to a recovery key, which the message names",
            "add what is missing with `waxseal rotate`, and apply the files: see \"Rotating keys\" in the README",
        ),
        KeyReason::OffersTruncated => {
            ("the status has no room for all missing wraps", "run `waxseal rotate`, apply the files, and run it again")
        }
    };
    Advice { meaning, remedy }
}

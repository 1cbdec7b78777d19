//! The API group of Waxseal, and the labels, types and names in it.

/// The API group of SealedSecret and SealingKey.
pub const GROUP: &str = "waxseal.dev";
/// The version of the API group.
pub const VERSION: &str = "v1alpha1";
/// The `apiVersion` of SealedSecret and SealingKey.
pub const API_VERSION: &str = "waxseal.dev/v1alpha1";
/// The prefix of every `apiVersion`, label, annotation and Secret type that belongs to Waxseal alone.
pub const PREFIX: &str = "waxseal.dev/";
/// The label of a Secret that Waxseal made, or that its owner hands over to Waxseal.
pub const MARK_LABEL: &str = "waxseal.dev/secret";
/// The value of [`MARK_LABEL`] on a Secret that belongs to Waxseal.
pub const MARK_OWNED: &str = "owned";
/// The type of the Secrets that hold identities of a controller.
pub const IDENTITY_TYPE: &str = "waxseal.dev/sealing-key";
/// The annotation of an identity Secret with the time at which `waxseal keys backup` last wrote the identity into a
/// backup (RFC 3339, UTC, whole seconds).
pub const BACKED_UP_ANNOTATION: &str = "waxseal.dev/backed-up-at";
/// The annotation of an identity Secret with the state that its key has in the last backup. If the key has another
/// state now, the backup does not count: a restore would bring the old state back.
pub const BACKED_UP_STATE_ANNOTATION: &str = "waxseal.dev/backed-up-state";
/// The field manager of the controller (Kubernetes, "Server-Side Apply"): by this name, `managedFields` shows which
/// labels and annotations of a Secret the controller has applied.
pub const FIELD_MANAGER: &str = "waxseal";

#[cfg(test)]
mod tests {
    use kube_core::Resource;

    use super::*;
    use crate::sealed_secret::SealedSecret;
    use crate::sealing_key::SealingKey;

    #[test]
    fn the_kinds_and_names_are_of_the_group() {
        assert_eq!(format!("{GROUP}/{VERSION}"), API_VERSION);
        assert_eq!(format!("{GROUP}/"), PREFIX);
        assert_eq!(SealedSecret::api_version(&()), API_VERSION);
        assert_eq!(SealingKey::api_version(&()), API_VERSION);
        assert!(MARK_LABEL.starts_with(PREFIX) && IDENTITY_TYPE.starts_with(PREFIX));
    }
}

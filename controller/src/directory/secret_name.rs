use serde::{Deserialize, Serialize};
use waxseal_shared::names::{Namespace, ObjectName};

/// The namespace and name that a SealedSecret and its Secret share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct SecretName {
    pub(super) namespace: Namespace,
    pub(super) name: ObjectName,
}

use std::fmt;

use serde::{Deserialize, Serialize};
use waxseal_shared::names::{Namespace, ObjectName};

/// The namespace and name that a SealedSecret and its Secret share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct SecretName {
    pub(super) namespace: Namespace,
    pub(super) name: ObjectName,
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

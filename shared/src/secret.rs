//! A plain Secret, in types that wipe themselves.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::names::{DataKey, Namespace, ObjectName};

/// The greatest size of a Secret's data as Kubernetes has it: 1 MiB, the sum over its values
/// (`MaxSecretSize` in `k8s.io/api/core/v1`).
pub const MAX_SECRET_BYTES: usize = 1024 * 1024;

/// The type of a Secret whose manifest has no type, as the API server sets it.
pub const DEFAULT_TYPE: &str = "Opaque";

/// Bytes that are secret: wiped when dropped, never printed, compared in constant time.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Wraps bytes. The caller must not keep a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.expose(), other.expose()).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// The data of a Secret: its values by key.
pub type SecretData = BTreeMap<DataKey, SecretBytes>;

/// The fields of a Secret manifest (`v1`, kind `Secret`) that a person decides.
///
/// `stringData` is already merged over `data`, as the API server does it. Fields that the server sets, owner references
/// and annotations that hold a copy of the whole object are left out.
#[derive(Debug)]
pub struct SecretManifest {
    /// `metadata.name`.
    pub name: ObjectName,
    /// `metadata.namespace`, where the manifest has one.
    pub namespace: Option<Namespace>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`, without those that hold a copy of the object.
    pub annotations: BTreeMap<String, String>,
    /// `type`, where the manifest has one.
    pub type_: Option<String>,
    /// `immutable`, where the manifest has it.
    pub immutable: Option<bool>,
    /// The values.
    pub data: SecretData,
}

#[cfg(test)]
impl SecretManifest {
    pub(crate) fn of_data(data: impl Into<SecretData>) -> Self {
        Self {
            name: ObjectName::parse("db").expect("a name"),
            namespace: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            type_: None,
            immutable: None,
            data: data.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_bytes_print_nothing() {
        let bytes = SecretBytes::new(b"hunter2".to_vec());
        assert_eq!(format!("{bytes:?}"), "SecretBytes(..)");
    }
}

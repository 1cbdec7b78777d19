use crate::names::{DataKey, Namespace, ObjectName};
use crate::sealed_secret::Scope;

/// What a sealed value is bound to. Moving the value anywhere else makes it unreadable.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The scope, which decides whether namespace and name are part of the binding.
    pub scope: Scope,
    /// The object's namespace; not part of the binding for `Cluster`.
    pub namespace: &'a Namespace,
    /// The object's name; part of the binding for `Strict` only.
    pub name: &'a ObjectName,
    /// The data key.
    pub key: &'a DataKey,
}

impl Binding<'_> {
    /// The bytes for the key derivation: each field after its length, so that two different bindings
    /// never have the same bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (namespace, name) = match self.scope {
            Scope::Strict => (self.namespace.as_str(), self.name.as_str()),
            Scope::Namespace => (self.namespace.as_str(), ""),
            Scope::Cluster => ("", ""),
        };
        let fields = ["waxseal/v1", self.scope.as_str(), namespace, name, self.key.as_str()];
        let mut bytes = Vec::new();
        for field in fields {
            let length = u32::try_from(field.len()).expect("names are at most 253 bytes");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field.as_bytes());
        }
        bytes
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(scope: Scope, namespace: &str, name: &str, key: &str) -> Vec<u8> {
        Binding {
            scope,
            namespace: &Namespace::parse(namespace).expect("a namespace"),
            name: &ObjectName::parse(name).expect("a name"),
            key: &DataKey::parse(key).expect("a data key"),
        }
        .to_bytes()
    }

    #[test]
    fn a_strict_binding_has_these_bytes() {
        let expected = b"\0\0\0\x0awaxseal/v1\0\0\0\x06Strict\0\0\0\x04shop\0\0\0\x02db\0\0\0\x01K";
        assert_eq!(bytes(Scope::Strict, "shop", "db", "K"), expected);
    }

    #[test]
    fn wider_scopes_leave_names_empty() {
        let namespace = b"\0\0\0\x0awaxseal/v1\0\0\0\x09Namespace\0\0\0\x04shop\0\0\0\0\0\0\0\x01K";
        assert_eq!(bytes(Scope::Namespace, "shop", "db", "K"), namespace);
        let cluster = b"\0\0\0\x0awaxseal/v1\0\0\0\x07Cluster\0\0\0\0\0\0\0\0\0\0\0\x01K";
        assert_eq!(bytes(Scope::Cluster, "shop", "db", "K"), cluster);
    }
}

//! The namespaces that the controller serves: all of them, or those that its configuration names.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use waxseal_shared::names::Namespace;

use super::object_key::ObjectKey;

/// The place of the objects of one list or watch. Its text completes "the SealedSecrets in …".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServedScope {
    AllNamespaces,
    Namespace(Arc<str>),
}

impl ServedScope {
    /// One scope for each of these namespaces, however often it is named; without a name, all namespaces.
    pub(super) fn of(namespaces: &[Namespace]) -> Arc<[Self]> {
        if namespaces.is_empty() {
            return [Self::AllNamespaces].into();
        }
        let names: BTreeSet<&str> = namespaces.iter().map(Namespace::as_str).collect();
        names.into_iter().map(|name| Self::Namespace(name.into())).collect()
    }

    /// The namespace; `None` for all namespaces.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::AllNamespaces => None,
            Self::Namespace(name) => Some(name),
        }
    }

    pub(super) fn contains(&self, key: &ObjectKey) -> bool {
        self.namespace().is_none_or(|name| name == &*key.namespace)
    }
}

impl fmt::Display for ServedScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.namespace().unwrap_or("all namespaces"))
    }
}

/// The scopes as one text, for people.
pub(super) fn listing<'a>(scopes: impl IntoIterator<Item = &'a ServedScope>) -> String {
    scopes.into_iter().map(ServedScope::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_named_twice_is_one_scope() {
        let names = ["shop", "blog", "shop"].map(|name| Namespace::parse(name).expect("a namespace"));
        assert_eq!(listing(&*ServedScope::of(&names)), "blog, shop");
        assert_eq!(*ServedScope::of(&[]), [ServedScope::AllNamespaces]);
    }
}

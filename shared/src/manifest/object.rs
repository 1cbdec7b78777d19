//! Classified objects, and how their contents are read.

use std::rc::Rc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ManifestError, ManifestWarning};
use super::node::Node;
use super::plain_data::refuse_what_is_not_plain_data;
use super::tree::Tree;
use super::writer::ListItem;
use super::{sealed_secret_reader, secret_reader};
use crate::sealed_secret::SealedSecret;
use crate::secret::SecretManifest;

/// The kind of a document, and the objects in it.
///
/// It has no `Debug`: it may hold secrets.
pub enum DocumentKind<'a> {
    /// Nothing, only comments, or null.
    Empty,
    /// `v1`, kind `Secret`.
    Secret(SecretObject<'a>),
    /// `waxseal.dev/v1alpha1`, kind `SealedSecret`.
    SealedSecret(SealedSecretObject<'a>),
    /// A list (`v1`, kind `List` or `SecretList`, and the list of SealedSecrets) and its items.
    List(Vec<DocumentKind<'a>>),
    /// Anything else.
    Other(Object<'a>),
}

impl DocumentKind<'_> {
    /// Whether it is a Secret, holds one, or holds an object that looks like one.
    pub(super) fn holds_secret(&self) -> bool {
        match self {
            DocumentKind::Secret(_) => true,
            DocumentKind::List(items) => items.iter().any(Self::holds_secret),
            DocumentKind::Other(object) => object.near_secret().is_some(),
            DocumentKind::Empty | DocumentKind::SealedSecret(_) => false,
        }
    }
}

/// A Secret that was recognised and not yet read.
pub struct SecretObject<'a>(pub(super) Object<'a>);

/// A SealedSecret that was recognised and not yet read.
pub struct SealedSecretObject<'a>(pub(super) Object<'a>);

/// An object that was recognised and not yet read.
pub struct Object<'a> {
    tree: Rc<Tree<'a>>,
    /// The index in each of the lists that it stands in, the outermost first.
    indexes: Vec<usize>,
}

impl SecretObject<'_> {
    /// Reads the Secret.
    ///
    /// Refuses YAML beyond plain data (directives, anchors, aliases, merge keys, tags other than `!!str`, line breaks
    /// that only YAML 1.1 knows), unknown fields, fields given twice, scalars that are not strings to every reader of
    /// YAML where a string belongs, names that Kubernetes does not allow, `generateName`, more than 256 data keys, and
    /// more than 1 MiB of data.
    ///
    /// Refuses base64 other than RFC 4648 §4 with padding; line breaks in it are ignored as in Go, and unused bits must
    /// be zero: apart from line breaks, a value has one spelling.
    ///
    /// Also refuses a Secret that is encrypted with SOPS, a value of `stringData` that contains a Git conflict, and
    /// everything that the API server would refuse (`crate::secret_fault`).
    pub fn read(&self) -> Result<SecretManifest, ManifestError> {
        self.0.read_with(secret_reader::read)
    }

    /// What a person should know before this Secret, which was read as `manifest`, is sealed: that it
    /// has no values, that a value looks like a template that was not rendered, or that a data key is
    /// given in both `data` and `stringData`.
    pub fn warnings(&self, manifest: &SecretManifest) -> Vec<ManifestWarning> {
        let found = secret_reader::warnings(self.0.node(), manifest);
        found.into_iter().map(|warning| self.0.tree.located(warning).into()).collect()
    }
}

impl SealedSecretObject<'_> {
    /// Reads the shape of the SealedSecret; [`crate::format`] decodes its contents.
    ///
    /// Refuses what [`SecretObject::read`] refuses, as far as it applies, and objects larger than
    /// [`super::MAX_OBJECT_BYTES`] as JSON, counted without white space and escapes. `status`, and metadata that
    /// servers set, counts towards the size but is not returned.
    pub fn read(&self) -> Result<SealedSecret, ManifestError> {
        self.0.read_with(sealed_secret_reader::read)
    }

    /// Refuses plain-text values in the places where people write them by mistake, and everything that [`Self::read`]
    /// refuses.
    pub fn check_values(&self) -> Result<(), ManifestError> {
        self.0.read_with(sealed_secret_reader::refuse_plain_values)?;
        self.read().map(|_| ())
    }
}

impl<'a> Object<'a> {
    /// Reads the object into a type; refuses what [`super::read_one`] refuses.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ManifestError> {
        self.read_with(|node| T::deserialize(node))
    }

    /// Returns the object as an item of a list to write. Keeps the order of its fields and every digit of its numbers.
    /// Refuses an object that cannot be read into a [`Value`].
    pub fn to_list_item(&self) -> Result<ListItem<'_>, ManifestError> {
        self.read_with(|node| Value::deserialize(node).map(|_| node.into()))
    }

    /// Whether the object has an apiVersion and a kind, as every Kubernetes object does.
    pub fn is_kubernetes_object(&self) -> bool {
        let has = |name| self.node().value(&[name]).and_then(Node::string).is_some_and(|text| !text.is_empty());
        has("apiVersion") && has("kind")
    }

    /// Whether the object says that it is of this apiVersion and kind.
    pub fn is(&self, api_version: &str, kind: &str) -> bool {
        let says = |name, value| self.node().entry(&[name]).is_some_and(|(_, node)| node.scalar() == Some(value));
        says("apiVersion", api_version) && says("kind", kind)
    }

    /// Returns the error for an object that looks like a Secret or a SealedSecret, such as one with a typing error in
    /// `kind`, that contains a Secret, such as an OpenShift `Template`, or that is one string in which other programs
    /// may see a Secret: its values would stay in plain text.
    pub fn near_secret(&self) -> Option<ManifestError> {
        self.tree.near_secrets().fault(self.node()).map(|error| self.tree.located(error))
    }

    pub(super) fn root(tree: Rc<Tree<'a>>) -> Self {
        Self { tree, indexes: Vec::new() }
    }

    pub(super) fn item(&self, index: usize) -> Self {
        let indexes = [&self.indexes[..], &[index]].concat();
        Self { tree: Rc::clone(&self.tree), indexes }
    }

    /// How many lists it stands in.
    pub(super) fn depth(&self) -> usize {
        self.indexes.len()
    }

    pub(super) fn tree(&self) -> &Tree<'a> {
        &self.tree
    }

    pub(super) fn node(&self) -> &Node {
        self.indexes.iter().fold(self.tree.root(), |list, index| {
            // Only the items of lists get an index.
            let (_, items) = list.entry(&["items"]).expect("a list with items");
            &items.children()[*index]
        })
    }

    /// Reads the object, after checking that it is plain data.
    pub(super) fn read_with<'o, T>(
        &'o self,
        read: impl FnOnce(&'o Node) -> Result<T, ManifestError>,
    ) -> Result<T, ManifestError> {
        if let Some(obstacle) = self.tree.obstacle() {
            return Err(obstacle.clone());
        }
        let plain = refuse_what_is_not_plain_data(self.node(), &self.tree);
        plain.and_then(|()| read(self.node())).map_err(|error| self.tree.located(error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::split;
    use super::*;
    use crate::sealing_key::SealingKey;

    #[test]
    fn errors_in_items_name_the_item() {
        let list = "apiVersion: v1\nkind: List\nitems:\n- {}\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n  data: {A: '*'}\n";
        let stream = split(list).expect("a stream");
        let Ok(DocumentKind::List(items)) = stream.documents[0].kind() else {
            panic!("a list");
        };
        let DocumentKind::Secret(secret) = &items[1] else {
            panic!("a Secret");
        };
        assert_eq!(secret.read().expect_err("not base64").to_string(), "items[1].data.A: not base64");
    }

    fn refusal(text: &str) -> ManifestError {
        let stream = split(text).expect("a stream");
        let Ok(DocumentKind::Secret(secret)) = stream.documents[0].kind() else {
            panic!("a Secret: {text}");
        };
        secret.read().map(|_| ()).expect_err(text)
    }

    #[test]
    fn directives_are_refused_only_where_they_would_matter() {
        let stream = split("%YAML 1.1\n---\na: b").expect("a stream");
        assert!(matches!(stream.documents[0].kind(), Ok(DocumentKind::Other(_))));
        let error = refusal("# c\n%YAML 1.1\n---\napiVersion: v1\nkind: Secret\n");
        assert_eq!(error.to_string(), "YAML directives are not allowed");
        assert_eq!(error.place(), Some((2, 1)));
    }

    #[test]
    fn line_breaks_that_only_yaml_1_1_knows_are_refused() {
        for character in ['\u{85}', '\u{2028}', '\u{2029}'] {
            let error = refusal(&format!("---\napiVersion: v1\nkind: Secret # a{character}b\n"));
            assert_eq!(error.to_string(), "YAML versions disagree on whether a line ends here");
            assert_eq!(
                (error.place(), error.hint()),
                (Some((3, 17)), Some("write the character as an escape in double quotes"))
            );
        }
        let error = refusal("{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"x\": \"\u{2028}\"}");
        assert_eq!(error.to_string(), "unknown field \"x\"");
    }

    #[test]
    fn other_objects_are_read_into_their_types() {
        let list = "apiVersion: v1
items:
- apiVersion: waxseal.dev/v1alpha1
  kind: SealingKey
  metadata:
    creationTimestamp: \"2026-01-01T00:00:00Z\"
    generation: 1
    managedFields:
    - fieldsV1: {f:spec: {.: {}, f:role: {}}}
      manager: waxseal
    name: k2f41ab09c3d4e5f6
    uid: 3b241101-e2bb-4255-8caf-4136c566a962
  spec:
    createdAt: \"2026-01-01T00:00:00Z\"
    recipient: age1pq1x
    role: Cluster
    state: Active
kind: List
metadata:
  resourceVersion: \"\"
";
        let stream = split(list).expect("a stream");
        let Ok(DocumentKind::List(items)) = stream.documents[0].kind() else {
            panic!("a list");
        };
        let DocumentKind::Other(object) = &items[0] else {
            panic!("another object");
        };
        assert!(object.is("waxseal.dev/v1alpha1", "SealingKey") && !object.is("v1", "SealingKey"));
        let key = object.read::<SealingKey>().expect("a SealingKey");
        assert_eq!(key.spec.recipient, "age1pq1x");
        assert_eq!(key.metadata.name.as_deref(), Some("k2f41ab09c3d4e5f6"));
    }
}

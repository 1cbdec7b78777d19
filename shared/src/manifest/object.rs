//! Objects that were recognised, and the way from there to what they hold.

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::classification::{Sort, item_path, sort_of};
use super::error::{ManifestError, ManifestWarning};
use super::field::Field;
use super::node::{Content, Node};
use super::typed;
use super::verbatim::Verbatim;
use super::writer::ListItem;
use super::{sealed_secret_reader, secret_reader};
use crate::sealed_secret::SealedSecret;
use crate::secret::SecretManifest;

/// What a document is.
///
/// It has no `Debug`: it may hold secrets.
pub enum DocumentKind {
    /// Nothing, or only comments.
    Empty,
    /// `v1`, kind `Secret`.
    Secret(SecretObject),
    /// `waxseal.dev/v1alpha1`, kind `SealedSecret`.
    SealedSecret(SealedSecretObject),
    /// A list (`v1`, kind `List` or `SecretList`, and the list of SealedSecrets) and its items.
    List(Vec<DocumentKind>),
    /// Anything else.
    Other(Object),
}

impl DocumentKind {
    /// Whether it is a Secret, or has one in it, or what looks like one.
    pub(super) fn holds_secret(&self) -> bool {
        match self {
            DocumentKind::Secret(_) => true,
            DocumentKind::List(items) => items.iter().any(Self::holds_secret),
            DocumentKind::Other(object) => object.near_secret.is_some(),
            DocumentKind::Empty | DocumentKind::SealedSecret(_) => false,
        }
    }
}

/// A Secret that was recognised and not yet read.
pub struct SecretObject(Object);

/// A SealedSecret that was recognised and not yet read.
pub struct SealedSecretObject(Object);

/// An object that was recognised and not yet read.
pub struct Object {
    node: Node,
    /// Where it stands in its document, such as `items[3]`.
    prefix: String,
    /// Why nothing in its document can be read, though the document is YAML. Shared by the items
    /// of a list, which may be many.
    obstacle: Option<Rc<ManifestError>>,
    /// Why it looks like a Secret, if it does.
    near_secret: Option<Box<ManifestError>>,
}

impl SecretObject {
    /// Reads the Secret.
    ///
    /// Refuses what is not plain data (directives, anchors, aliases, merge keys, tags but `!!str`,
    /// line breaks that only YAML 1.1 knows), unknown fields and fields given twice, scalars that are not strings to every reader of YAML,
    /// base64 other than RFC 4648 §4 with padding (line breaks are ignored, as Go does; unused bits
    /// that are not zero, which Go ignores, are refused: a value has one spelling), names out
    /// of their canonical form, `generateName`, and more or larger data than a Secret takes.
    ///
    /// Refuses also a Secret that is encrypted with SOPS, one with a conflict that Git marked in a
    /// value, and what the API server would refuse (`crate::secret_fault`).
    pub fn read(&self) -> Result<SecretManifest, ManifestError> {
        secret_reader::read(self.0.plain_root()?)
    }

    /// What a person should know before this Secret, which was read as `manifest`, is sealed: that it
    /// has no values, that a value looks like a template that was not rendered, or that a data key is
    /// given in both `data` and `stringData`.
    pub fn warnings(&self, manifest: &SecretManifest) -> Vec<ManifestWarning> {
        // There is no error: the Secret was read from the same tree.
        let found = self.0.plain_root().and_then(|root| secret_reader::warnings(&root, manifest));
        found.unwrap_or_default().into_iter().map(ManifestWarning::from).collect()
    }
}

impl SealedSecretObject {
    /// Reads the SealedSecret: its shape, not what it holds, which [`crate::format`] decodes.
    ///
    /// Refuses what [`SecretObject::read`] does, as far as it applies, and what would be larger
    /// than [`super::MAX_OBJECT_BYTES`] as JSON, without a space and with no character escaped.
    /// `status`, and what servers set in the metadata, counts for the size and is dropped.
    pub fn read(&self) -> Result<SealedSecret, ManifestError> {
        let root = self.0.plain_root()?;
        if root.json_bytes() > super::MAX_OBJECT_BYTES {
            return Err(root.error("larger than 1.5 MiB, the most that an object can be"));
        }
        sealed_secret_reader::read(root)
    }

    /// Refuses values in plain text, where people write them by mistake, and what [`Self::read`] does.
    pub fn check_values(&self) -> Result<(), ManifestError> {
        sealed_secret_reader::refuse_plain_values(&self.0.plain_root()?)?;
        self.read().map(|_| ())
    }
}

impl Object {
    /// Reads the object into a type; refuses what [`super::read_one`] does.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ManifestError> {
        typed::from_field(self.plain_root()?)
    }

    /// The object as an item of a list that is written: fields in the order they were read in,
    /// numbers digit by digit. Refuses what reading it into a value refuses.
    pub fn to_list_item(&self) -> Result<ListItem<'_>, ManifestError> {
        self.read::<Value>()?;
        Ok(Verbatim::new(self.plain_root()?).into())
    }

    /// Whether the object says of itself that it is of this apiVersion and kind.
    pub fn is(&self, api_version: &str, kind: &str) -> bool {
        let Content::Mapping(entries) = &self.node.content else {
            return false;
        };
        let says =
            |name, value| entries.iter().any(|(key, node)| key.scalar() == Some(name) && node.scalar() == Some(value));
        says("apiVersion", api_version) && says("kind", kind)
    }

    /// Why the object looks like a Secret, or holds one, so that its values would stay in plain text
    /// beside what is sealed: a typing error in `kind`, say, or a Secret in an OpenShift `Template`.
    pub fn near_secret(&self) -> Option<&ManifestError> {
        self.near_secret.as_deref()
    }

    pub(super) fn new(node: Node, obstacle: Option<ManifestError>) -> Self {
        Self { node, prefix: String::new(), obstacle: obstacle.map(Rc::new), near_secret: None }
    }

    /// Says what the object is, and keeps its tree for whoever reads it.
    pub(super) fn classified(self) -> Result<DocumentKind, ManifestError> {
        let sort = sort_of(&self.node)?;
        Ok(self.of_sort(sort))
    }

    pub(super) fn is_null(&self) -> bool {
        Field::root(&self.node, "").is_null()
    }

    /// An error at the place where the object begins.
    pub(super) fn error(&self, text: &'static str) -> ManifestError {
        Field::root(&self.node, &self.prefix).error(text)
    }

    /// The root of the object, once it is shown to be plain data.
    pub(super) fn plain_root(&self) -> Result<Field<'_>, ManifestError> {
        if let Some(obstacle) = &self.obstacle {
            return Err(ManifestError::clone(obstacle));
        }
        let root = Field::root(&self.node, &self.prefix);
        root.refuse_what_is_not_plain_data()?;
        Ok(root)
    }

    fn of_sort(self, sort: Sort) -> DocumentKind {
        match sort {
            Sort::Empty => DocumentKind::Empty,
            Sort::Secret => DocumentKind::Secret(SecretObject(self)),
            Sort::SealedSecret => DocumentKind::SealedSecret(SealedSecretObject(self)),
            Sort::List(sorts) => DocumentKind::List(self.of_sorts(sorts)),
            Sort::Other(near_secret) => DocumentKind::Other(Self { near_secret, ..self }),
        }
    }

    fn of_sorts(self, sorts: Vec<Sort>) -> Vec<DocumentKind> {
        let (prefix, obstacle) = (self.prefix, self.obstacle);
        let items = items_of(self.node).into_iter().zip(sorts).enumerate();
        let object = |(index, (node, sort))| {
            let (prefix, obstacle) = (item_path(&prefix, index), obstacle.clone());
            Self { node, prefix, obstacle, near_secret: None }.of_sort(sort)
        };
        items.map(object).collect()
    }
}

fn items_of(list: Node) -> Vec<Node> {
    let Content::Mapping(entries) = list.content else {
        return Vec::new();
    };
    let items = entries.into_iter().find(|(key, _)| key.scalar() == Some("items"));
    match items.map(|(_, value)| value.content) {
        Some(Content::Sequence(items)) => items,
        _ => Vec::new(),
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
        assert_eq!(error.to_string(), "YAML directives are not read here");
        assert_eq!(error.place(), Some((2, 1)));
    }

    #[test]
    fn line_breaks_of_yaml_1_1_alone_are_refused() {
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

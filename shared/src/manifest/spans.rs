//! Where the parts of a SealedSecret stand in its text, for an editor that changes single entries and no other byte.

use std::iter::Peekable;
use std::ops::Range;

use serde_json::Value;

use super::error::ManifestError;
use super::node::{Content, Node};
use super::object::SealedSecretObject;

/// A mapping in the text of a document. All ranges count bytes from the start of the document's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingSpan {
    /// From the first key to the end of the last value, or from brace to brace.
    pub range: Range<usize>,
    /// Its entries in the order of the text.
    pub entries: Vec<EntrySpan>,
}

/// One entry of a mapping in the text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySpan {
    /// The name of the entry, as YAML reads the key.
    pub name: String,
    /// The key, with its quotes.
    pub key: Range<usize>,
    /// The value, with quotes, braces, or the sign of a block scalar. Empty if nothing is written for null.
    pub value: Range<usize>,
}

impl EntrySpan {
    fn of((key, value): (&Node, &Node)) -> Self {
        Self { name: key.scalar().unwrap_or_default().to_owned(), key: key.range.clone(), value: value.range.clone() }
    }
}

impl SealedSecretObject<'_> {
    /// Returns the whole object, with its status, as a value. Refuses YAML beyond plain data, as
    /// [`SealedSecretObject::read`] does.
    pub fn to_value(&self) -> Result<Value, ManifestError> {
        // A tree of plain data has strings as keys, and its numbers are numbers of JSON. So this can fail only for a
        // number that is too large for a `Value`, such as `1e999`.
        let is_too_large = |node: &&Node| node.scalar().is_some() && serde_json::to_value(node).is_err();
        self.0.read_with(|root| {
            serde_json::to_value(root).map_err(|_| {
                let number = root.nodes().find(is_too_large).unwrap_or(root);
                ManifestError::new("this number is too large").at(number)
            })
        })
    }

    /// Returns the place of the entry that a path of names leads to.
    pub fn entry_span(&self, path: &[&str]) -> Option<EntrySpan> {
        self.0.node().entry(path).map(EntrySpan::of)
    }

    /// Returns the place of the mapping that a path of names leads to; the empty path leads to the object itself.
    pub fn mapping_span(&self, path: &[&str]) -> Option<MappingSpan> {
        let root = self.0.node();
        let node = if path.is_empty() { root } else { root.value(path)? };
        node.is_mapping()
            .then(|| MappingSpan { range: node.range.clone(), entries: node.entries().map(EntrySpan::of).collect() })
    }

    /// Whether two documents are equal, except for these SealedSecrets. `ones` must be SealedSecrets of one document,
    /// in the order of the text, and `others` those at the same places of the other document. Each of them knows its
    /// document. False if `ones` or `others` is empty: then there is no document to compare.
    pub fn are_equal_around(ones: &[Self], others: &[Self]) -> bool {
        let (Some(one), Some(other)) = (ones.first(), others.first()) else { return false };
        let mut except = ones.iter().zip(others).map(|(one, other)| (one.0.node(), other.0.node())).peekable();
        ones.len() == others.len() && equal_except(one.0.tree().root(), other.0.tree().root(), &mut except)
    }
}

/// Whether two trees are equal. `except` has pairs of nodes, in the order of the text. The two nodes of a pair may
/// differ, but they must be at the same place in their trees.
fn equal_except<'n>(
    one: &'n Node,
    other: &'n Node,
    except: &mut Peekable<impl Iterator<Item = (&'n Node, &'n Node)>>,
) -> bool {
    let is_one_of = |pair: &(&Node, &Node)| std::ptr::eq(one, pair.0) || std::ptr::eq(other, pair.1);
    if let Some(pair) = except.next_if(is_one_of) {
        return std::ptr::eq(one, pair.0) && std::ptr::eq(other, pair.1);
    }
    let is_alike = match (&one.content, &other.content) {
        (Content::Scalar(one, style), Content::Scalar(other, other_style)) => (one, style) == (other, other_style),
        (Content::Alias(one), Content::Alias(other)) => one == other,
        (Content::Sequence(_), Content::Sequence(_)) | (Content::Mapping(_), Content::Mapping(_)) => true,
        _ => false,
    };
    let (children, others) = (one.children(), other.children());
    is_alike
        && (one.tag, one.anchor, children.len()) == (other.tag, other.anchor, others.len())
        && children.iter().zip(others).all(|(one, other)| equal_except(one, other, except))
}

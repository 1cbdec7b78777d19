//! A document as a tree of nodes with their ranges in the text.

use std::ops::Range;

use super::ambiguity::{Reading, reading};

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: its text decides what it is.
    Plain,
    /// In quotes or as a block: always a string.
    Quoted,
}

/// The tag in front of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    None,
    /// `!!str`.
    Str,
    Other,
}

/// One node of a document. It has no `Debug`: its scalars may be secret.
pub(super) struct Node {
    /// Its bytes in the text of the document, with quotes and brackets, without anchor and tag.
    pub(super) range: Range<usize>,
    pub(super) tag: Tag,
    /// The number of its anchor.
    pub(super) anchor: Option<usize>,
    pub(super) content: Content,
}

pub(super) enum Content {
    Scalar(String, Style),
    Sequence(Vec<Node>),
    /// Each key, followed by its value, in the order of the text; repeated keys are kept.
    Mapping(Vec<Node>),
    /// The number of the anchor that it names.
    Alias(usize),
}

impl Node {
    pub(super) fn new(range: Range<usize>, content: Content) -> Self {
        Self { range, tag: Tag::None, anchor: None, content }
    }

    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The scalar, if it is a string to every reader of YAML.
    pub(super) fn string(&self) -> Option<&str> {
        self.scalar().filter(|_| self.reading() == Some(Reading::Text))
    }

    /// What readers of YAML take a scalar for.
    pub(super) fn reading(&self) -> Option<Reading> {
        match &self.content {
            Content::Scalar(text, Style::Plain) if self.tag != Tag::Str => Some(reading(text)),
            Content::Scalar(..) => Some(Reading::Text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.tag == Tag::None && self.reading() == Some(Reading::Null)
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.content, Content::Mapping(_))
    }

    /// Whether it is the key `<<`, which merges another mapping.
    pub(super) fn is_merge_key(&self) -> bool {
        self.tag != Tag::Str && matches!(&self.content, Content::Scalar(text, Style::Plain) if text == "<<")
    }

    /// The items of a sequence; the keys and values of a mapping.
    pub(super) fn children(&self) -> &[Node] {
        match &self.content {
            Content::Sequence(children) | Content::Mapping(children) => children,
            Content::Scalar(..) | Content::Alias(_) => &[],
        }
    }

    /// The keys and values of a mapping.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Node, &Node)> {
        let children = if self.is_mapping() { self.children() } else { &[] };
        children.chunks_exact(2).map(|entry| (&entry[0], &entry[1]))
    }

    /// Key and value of the entry that a path of names leads to.
    pub(super) fn entry(&self, path: &[&str]) -> Option<(&Node, &Node)> {
        let (name, rest) = path.split_first()?;
        let entry = self.entries().find(|(key, _)| key.scalar() == Some(name))?;
        if rest.is_empty() { Some(entry) } else { entry.1.entry(rest) }
    }

    /// The value that a path of names leads to.
    pub(super) fn value(&self, path: &[&str]) -> Option<&Node> {
        self.entry(path).map(|(_, value)| value)
    }

    /// The node and all nodes below it, in the order of the text.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        let mut waiting = vec![self];
        std::iter::from_fn(move || {
            let node = waiting.pop()?;
            waiting.extend(node.children().iter().rev());
            Some(node)
        })
    }

    /// The size as JSON, counted without white space and escapes.
    pub(super) fn json_bytes(&self) -> usize {
        let own = |node: &Node| match &node.content {
            Content::Scalar(text, Style::Plain) => text.len(),
            Content::Scalar(text, Style::Quoted) => text.len() + 2,
            // The brackets, and a comma or colon before each child but the first.
            Content::Sequence(children) | Content::Mapping(children) => children.len().saturating_sub(1) + 2,
            Content::Alias(_) => 0,
        };
        self.nodes().map(own).sum()
    }
}

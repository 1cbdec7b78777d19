//! A document as a tree that knows where each part stands, and wipes its scalars.

use std::ops::Range;

use zeroize::Zeroizing;

use super::ambiguity::{Reading, reading};
use super::error::ManifestError;

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
    Scalar(Zeroizing<String>, Style),
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
        self.tag != Tag::Str && matches!(&self.content, Content::Scalar(text, Style::Plain) if text.as_str() == "<<")
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

/// What to do about a document that is too large: of valid objects, only a list can be.
pub(super) const SPLIT_THE_LIST: &str =
    "write the items of a list as documents of their own, as `jq -c '.items[]'` does";

/// What to do about a stream that is too long.
pub(super) const SPLIT_THE_STREAM: &str = "split it";

pub(super) const TOO_DEEP: &str = "nested too deeply";

/// The greatest number of values in one stream.
const MAX_VALUES: usize = 2_000_000;

/// Bounds the trees of one stream, so that a hostile text costs neither stack nor memory nor time.
///
/// A depth of 510 is 255 flow inside 255 block collections. 100,000 values a document are a list of
/// some thousand Secrets: a value takes about 200 bytes while its tree is read, so they stay within
/// 64 MiB beside the longest stream and the largest document. 2,000,000 values a stream are ordinary
/// manifests of 32 MiB: the parser takes up to 0.4 µs for each, less than a second for all.
pub(super) struct Limits {
    depth: usize,
    values: usize,
    left: usize,
    is_exceeded: bool,
}

impl Limits {
    pub(super) fn of_a_stream() -> Self {
        Self { depth: 510, values: 100_000, left: MAX_VALUES, is_exceeded: false }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether the stream has more values than are read.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }
}

/// Builds one tree from the events of a parser, without recursion.
pub(super) struct TreeBuilder<'l> {
    limits: &'l mut Limits,
    values: usize,
    open: Vec<Node>,
    root: Option<Node>,
}

impl<'l> TreeBuilder<'l> {
    /// Begins a tree; its values are taken from those that the stream has left.
    pub(super) fn new(limits: &'l mut Limits) -> Self {
        Self { limits, values: 0, open: Vec::new(), root: None }
    }

    /// Adds a scalar or an alias.
    pub(super) fn add(&mut self, node: Node) -> Result<(), ManifestError> {
        self.count(&node)?;
        self.put(node);
        Ok(())
    }

    /// Opens an empty collection, which gets the nodes that follow until it is closed.
    pub(super) fn open(&mut self, node: Node) -> Result<(), ManifestError> {
        self.count(&node)?;
        if self.open.len() >= self.limits.depth {
            return Err(ManifestError::new(TOO_DEEP).at(&node));
        }
        self.open.push(node);
        Ok(())
    }

    /// Closes the collection that was opened last. Without a bracket it ends with its last child.
    pub(super) fn close(&mut self, bracket_end: Option<usize>) {
        if let Some(mut node) = self.open.pop() {
            let end = bracket_end.or_else(|| node.children().last().map(|child| child.range.end));
            node.range.end = end.unwrap_or(node.range.start);
            self.put(node);
        }
    }

    /// Whether the next node is a key or a value.
    pub(super) fn is_in_mapping(&self) -> bool {
        self.open.last().is_some_and(Node::is_mapping)
    }

    /// The root, if the text has a node.
    pub(super) fn finish(self) -> Option<Node> {
        self.root
    }

    fn count(&mut self, node: &Node) -> Result<(), ManifestError> {
        let refusal = |of: &str, most: usize, hint: &'static str| {
            Err(ManifestError::new(format!("a {of} of more than {most} values is not read")).at(node).with_hint(hint))
        };
        if self.limits.left == 0 {
            self.limits.is_exceeded = true;
            return refusal("stream", MAX_VALUES, SPLIT_THE_STREAM);
        }
        if self.values == self.limits.values {
            return refusal("document", self.limits.values, SPLIT_THE_LIST);
        }
        self.limits.left -= 1;
        self.values += 1;
        Ok(())
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut().map(|parent| &mut parent.content) {
            Some(Content::Sequence(children) | Content::Mapping(children)) => children.push(node),
            _ => self.root = Some(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_does_not_outgrow_its_limits() {
        let sequence = || Node::new(0..0, Content::Sequence(Vec::new()));
        let mut limits = Limits { depth: 2, values: 3, ..Limits::of_a_stream() };
        let mut builder = TreeBuilder::new(&mut limits);
        assert!(builder.open(sequence()).is_ok());
        assert!(builder.open(sequence()).is_ok());
        let error = builder.open(sequence()).expect_err("the third level");
        assert_eq!(error.to_string(), "nested too deeply");
        let error = builder.add(sequence()).expect_err("the fourth node");
        assert_eq!(error.to_string(), "a document of more than 3 values is not read");
        assert!(!limits.is_exceeded());
    }

    #[test]
    fn the_trees_of_a_stream_do_not_outgrow_their_limit() {
        let scalar = || Node::new(0..0, Content::Sequence(Vec::new()));
        let mut limits = Limits { left: 3, ..Limits::of_a_stream() };
        for _ in 0..3 {
            assert!(TreeBuilder::new(&mut limits).add(scalar()).is_ok());
        }
        assert!(!limits.is_exceeded());
        let error = TreeBuilder::new(&mut limits).add(scalar()).expect_err("the fourth value");
        assert_eq!(error.to_string(), "a stream of more than 2000000 values is not read");
        assert!(limits.is_exceeded());
    }
}

//! Building the tree of a document from the events of a parser, within limits.

use super::error::ManifestError;
use super::node::{Content, Node};

/// The hint for a document that is too large. A document of this size is nearly always a list.
pub(super) const SPLIT_THE_LIST: &str =
    "if this is a list, write its items as documents of their own, as `jq -c '.items[]'` does";

/// The hint for a stream that is too long.
pub(super) const SPLIT_THE_STREAM: &str = "split it into several streams";

pub(super) const TOO_DEEP: &str = "nested too deeply";

/// The greatest number of keys and values in one stream.
pub(super) const MAX_NODES: usize = 2_000_000;

/// The greatest number of keys and values in one document.
pub(super) const MAX_DOCUMENT_NODES: usize = 100_000;

/// Bounds the trees of one stream, so that a hostile text costs little stack, memory and time.
///
/// A depth of 510 is 255 flow collections inside 255 block collections. A document has at most 100,000 keys and values,
/// as in a list of some thousand Secrets. A key or a value takes about 200 bytes while the tree is read, so all of them
/// stay within 64 MiB together with the longest stream and the largest document. A stream has at most 2,000,000 keys
/// and values, as in 32 MiB of ordinary manifests. The parser takes up to 0.4 µs for each of them, less than a second
/// for all.
pub(super) struct Limits {
    depth: usize,
    nodes_per_document: usize,
    nodes_left: usize,
    is_exceeded: bool,
}

impl Limits {
    pub(super) fn of_a_stream() -> Self {
        Self { depth: 510, nodes_per_document: MAX_DOCUMENT_NODES, nodes_left: MAX_NODES, is_exceeded: false }
    }

    #[cfg(test)]
    pub(super) fn nodes_left(&self) -> usize {
        self.nodes_left
    }

    /// Whether the stream has more keys and values than are read.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }
}

/// Builds one tree from the events of a parser, without recursion.
pub(super) struct TreeBuilder<'l> {
    limits: &'l mut Limits,
    nodes: usize,
    open: Vec<Node>,
    root: Option<Node>,
}

impl<'l> TreeBuilder<'l> {
    /// Begins a tree. Its keys and values count towards the limit of the stream.
    pub(super) fn new(limits: &'l mut Limits) -> Self {
        Self { limits, nodes: 0, open: Vec::new(), root: None }
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

    pub(super) fn is_in_mapping(&self) -> bool {
        self.open.last().is_some_and(Node::is_mapping)
    }

    /// The root, if the text has a node.
    pub(super) fn finish(self) -> Option<Node> {
        self.root
    }

    fn count(&mut self, node: &Node) -> Result<(), ManifestError> {
        let refusal = |of: &str, most: usize, hint: &'static str| {
            let text = format!("a {of} of more than {most} keys and values is not read");
            Err(ManifestError::too_large(text).at(node).with_hint(hint))
        };
        if self.limits.nodes_left == 0 {
            self.limits.is_exceeded = true;
            return refusal("stream", MAX_NODES, SPLIT_THE_STREAM);
        }
        if self.nodes == self.limits.nodes_per_document {
            return refusal("document", self.limits.nodes_per_document, SPLIT_THE_LIST);
        }
        self.limits.nodes_left -= 1;
        self.nodes += 1;
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
        let mut limits = Limits { depth: 2, nodes_per_document: 3, ..Limits::of_a_stream() };
        let mut builder = TreeBuilder::new(&mut limits);
        assert!(builder.open(sequence()).is_ok());
        assert!(builder.open(sequence()).is_ok());
        let error = builder.open(sequence()).expect_err("the third level");
        assert_eq!(error.to_string(), "nested too deeply");
        let error = builder.add(sequence()).expect_err("the fourth node");
        assert_eq!(error.to_string(), "a document of more than 3 keys and values is not read");
        assert!(!limits.is_exceeded());
    }

    #[test]
    fn the_trees_of_a_stream_do_not_outgrow_their_limit() {
        let value = || Node::new(0..0, Content::Sequence(Vec::new()));
        let mut limits = Limits { nodes_left: 3, ..Limits::of_a_stream() };
        for _ in 0..3 {
            assert!(TreeBuilder::new(&mut limits).add(value()).is_ok());
        }
        assert!(!limits.is_exceeded());
        let error = TreeBuilder::new(&mut limits).add(value()).expect_err("the fourth value");
        assert_eq!(error.to_string(), "a stream of more than 2000000 keys and values is not read");
        assert!(limits.is_exceeded());
    }
}

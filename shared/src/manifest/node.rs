//! A document as a tree that knows where each part stood, and forgets it safely.

use zeroize::Zeroizing;

use super::error::ManifestError;

/// A place in a text: line and column from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The place behind `text`, which begins at this one; every line break of YAML counts.
    pub(super) fn after(mut self, text: &str) -> Self {
        let mut previous = '\0';
        for character in text.chars() {
            match (previous, character) {
                ('\r', '\n') => {}
                (_, '\n' | '\r') => self = Self { line: self.line + 1, column: 1 },
                _ => self.column += 1,
            }
            previous = character;
        }
        self
    }
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: what it is depends on its text.
    Plain,
    /// In quotes or as a block: a string whatever it holds.
    Text,
}

/// The tag that was written before a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    None,
    /// `!!str`.
    Str,
    Other,
}

/// One node of a document. It has no `Debug`: its scalars may be secret.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) tag: Tag,
    /// The number of its anchor.
    pub(super) anchor: Option<usize>,
    pub(super) content: Content,
}

pub(super) enum Content {
    Scalar(Zeroizing<String>, Style),
    Sequence(Vec<Node>),
    /// Keys and values in the order of the text, repeated ones included.
    Mapping(Vec<(Node, Node)>),
    /// The number of the anchor it names.
    Alias(usize),
}

impl Node {
    pub(super) fn new(place: Place, content: Content) -> Self {
        Self { place, tag: Tag::None, anchor: None, content }
    }

    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text, _) => Some(text),
            _ => None,
        }
    }
}

/// What to do about a document that is too large: only a list can be, of what a cluster takes.
pub(super) const LISTS_CAN_BE_SPLIT: &str =
    "write the items of a list as documents of their own, as `jq -c '.items[]'` does";

/// What to do about a stream that is too long.
pub(super) const STREAMS_CAN_BE_SPLIT: &str = "split it";

/// The greatest number of values in one stream.
const MAX_VALUES: usize = 2_000_000;

/// What trees may grow to, so that a hostile text costs neither the stack nor memory nor time.
pub(super) struct Limits {
    depth: usize,
    values: usize,
    left: usize,
    is_exceeded: bool,
}

impl Limits {
    /// For one stream, of somebody else.
    ///
    /// A depth of 510 is what 255 flow inside 255 block collections come to. 100,000 values a
    /// document are a list of some thousand Secrets: at about 200 bytes each, while a tree is read,
    /// they stay within 64 MiB next to the longest stream and the largest document. 2,000,000
    /// values a stream are ordinary manifests of 32 MiB: at up to 0.4 µs each, the parser takes
    /// less than a second for them.
    pub(super) fn of_a_stream() -> Self {
        Self { depth: 510, values: 100_000, left: MAX_VALUES, is_exceeded: false }
    }

    /// For texts of our own.
    pub(super) fn none() -> Self {
        Self { depth: usize::MAX, values: usize::MAX, left: usize::MAX, is_exceeded: false }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether the stream has had more values than are read.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }
}

/// Builds one tree from the events of a parser, without recursion.
pub(super) struct TreeBuilder<'l> {
    limits: &'l mut Limits,
    values: usize,
    open: Vec<Open>,
    root: Option<Node>,
}

struct Open {
    node: Node,
    key: Option<Node>,
}

impl<'l> TreeBuilder<'l> {
    /// Begins a tree; its values are taken from what is left of the stream's.
    pub(super) fn new(limits: &'l mut Limits) -> Self {
        Self { limits, values: 0, open: Vec::new(), root: None }
    }

    /// Adds a node that is complete.
    pub(super) fn add(&mut self, node: Node) -> Result<(), ManifestError> {
        self.count(node.place)?;
        self.place(node);
        Ok(())
    }

    /// Opens an empty collection; what is added until it is closed goes into it.
    pub(super) fn open(&mut self, node: Node) -> Result<(), ManifestError> {
        self.count(node.place)?;
        if self.open.len() >= self.limits.depth {
            return Err(too_deep(node.place));
        }
        self.open.push(Open { node, key: None });
        Ok(())
    }

    /// Closes the collection that was opened last.
    pub(super) fn close(&mut self) {
        if let Some(Open { node, .. }) = self.open.pop() {
            self.place(node);
        }
    }

    /// The root, if there was one.
    pub(super) fn finish(self) -> Option<Node> {
        self.root
    }

    fn count(&mut self, place: Place) -> Result<(), ManifestError> {
        let refused = |of: &str, hint: &'static str, most: usize| {
            let error = ManifestError::new(format!("a {of} of more than {most} values is not read"));
            Err(error.with_place(place).with_hint(hint))
        };
        let Some(left) = self.limits.left.checked_sub(1) else {
            self.limits.is_exceeded = true;
            return refused("stream", STREAMS_CAN_BE_SPLIT, MAX_VALUES);
        };
        if self.values == self.limits.values {
            return refused("document", LISTS_CAN_BE_SPLIT, self.limits.values);
        }
        self.limits.left = left;
        self.values += 1;
        Ok(())
    }

    fn place(&mut self, node: Node) {
        let Some(Open { node: parent, key }) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut parent.content, key.take()) {
            (Content::Mapping(entries), Some(key)) => entries.push((key, node)),
            (Content::Mapping(_), None) => *key = Some(node),
            (Content::Sequence(items), _) => items.push(node),
            (Content::Scalar(..) | Content::Alias(_), _) => {}
        }
    }
}

pub(super) fn too_deep(place: Place) -> ManifestError {
    ManifestError::new("nested too deeply").with_place(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_every_line_break() {
        for (text, line, column) in [
            ("", 1, 1),
            ("aé", 1, 3),
            ("a\nb", 2, 2),
            ("a\r\nb", 2, 2),
            ("a\rb", 2, 2),
            ("\n\r", 3, 1),
            ("\r\n\r\n", 3, 1),
        ] {
            assert_eq!(Place::START.after(text), Place { line, column }, "{text:?}");
        }
    }

    #[test]
    fn a_tree_does_not_outgrow_its_limits() {
        let sequence = || Node::new(Place::START, Content::Sequence(Vec::new()));
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
        let scalar = || Node::new(Place::START, Content::Sequence(Vec::new()));
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

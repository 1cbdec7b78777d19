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

/// What a tree may grow to, so that a hostile text costs neither the stack nor the memory.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    depth: usize,
    nodes: usize,
}

impl Limits {
    /// For texts of others. A depth of 510 is what 255 flow inside 255 block collections come to.
    /// 100,000 values are a list of some thousand Secrets; at about 200 bytes each, while a tree is
    /// read, they stay within 64 MiB next to the longest stream and the largest document.
    pub(super) const READING: Self = Self { depth: 510, nodes: 100_000 };
    /// For texts of our own.
    pub(super) const NONE: Self = Self { depth: usize::MAX, nodes: usize::MAX };
}

/// Builds one tree from the events of a parser, without recursion.
pub(super) struct TreeBuilder {
    limits: Limits,
    nodes: usize,
    open: Vec<Open>,
    root: Option<Node>,
}

struct Open {
    node: Node,
    key: Option<Node>,
}

impl TreeBuilder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, nodes: 0, open: Vec::new(), root: None }
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
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let error = ManifestError::new(format!("a document of more than {} values is not read", self.limits.nodes));
            return Err(error.with_place(place).with_hint(LISTS_CAN_BE_SPLIT));
        }
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
        let mut builder = TreeBuilder::new(Limits { depth: 2, nodes: 3 });
        assert!(builder.open(sequence()).is_ok());
        assert!(builder.open(sequence()).is_ok());
        let error = builder.open(sequence()).expect_err("the third level");
        assert_eq!(error.to_string(), "nested too deeply");
        let error = builder.add(sequence()).expect_err("the fourth node");
        assert_eq!(error.to_string(), "a document of more than 3 values is not read");
    }
}

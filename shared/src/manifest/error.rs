//! Why a manifest was refused, in words that never hold a value.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::node::Node;
use super::position::Position;
use crate::names::DataKey;

/// The hint for what a newer version may have written.
pub(super) const UPDATE: &str = "update Waxseal, if a newer version wrote this";

/// Why a manifest was refused.
///
/// Its text is a lower-case fragment that begins with the path of the field, if there is one (`stringData.LEVEL: …`).
/// From the input it shows only names of fields and keys, and only if a name is a data key or short and plain; any
/// other name is shown as `…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    text: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    /// Whether the fault is a field or a word that a newer version may know.
    is_unknown: bool,
    /// See [`Self::is_too_large`].
    is_too_large: bool,
    /// The offset of the fault in the document. `Tree::located` or `Document::located` computes the position from it.
    offset: Option<usize>,
    /// The range of the node that `path` leads to.
    path_range: Option<Range<usize>>,
    position: Option<Position>,
    path: Box<str>,
}

/// A warning about a manifest that was read. Its text is like that of a [`ManifestError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestWarning(ManifestError);

impl ManifestWarning {
    /// The line and the column, as [`ManifestError::place`] gives them.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.0.place()
    }
}

impl From<ManifestError> for ManifestWarning {
    fn from(error: ManifestError) -> Self {
        Self(error)
    }
}

impl fmt::Display for ManifestWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ManifestError {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            is_unknown: false,
            is_too_large: false,
            offset: None,
            path_range: None,
            position: None,
            path: Box::default(),
        }
    }

    pub(super) fn too_large(text: impl Into<Cow<'static, str>>) -> Self {
        Self { is_too_large: true, ..Self::new(text) }
    }

    pub(super) fn unknown_field(name: &str, known: &[&str]) -> Self {
        let error = Self { is_unknown: true, ..Self::new(format!("unknown field {:?}", shown(name))) };
        match known.iter().find(|field| is_typing_error_of(name, field)) {
            Some(field) => error.with_hint(format!("did you mean {field:?}?")),
            None => error,
        }
    }

    pub(super) fn unknown_word(known: &[&str]) -> Self {
        Self { is_unknown: true, ..Self::new(format!("must be one of {}", known.join(", "))) }
    }

    /// Adds the hint to update Waxseal, if the fault is an unknown word, or an unknown field that is not similar to a
    /// known field. For objects of Waxseal's own kinds only: a newer version may have written them.
    pub(super) fn suggest_update(self) -> Self {
        if self.is_unknown && self.hint.is_none() { self.with_hint(UPDATE) } else { self }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn with_position(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Sets the node that the error is about, unless one is set already.
    pub(super) fn at(self, node: &Node) -> Self {
        self.at_range(node.range.clone())
    }

    pub(super) fn at_offset(self, offset: usize) -> Self {
        self.at_range(offset..offset)
    }

    pub(super) fn at_range(mut self, range: Range<usize>) -> Self {
        if self.offset.is_none() {
            self.offset = Some(range.start);
            self.path_range.get_or_insert(range);
        }
        self
    }

    /// Sets the node to which the path leads. It can be another node than the one that the error is about.
    pub(super) fn with_path_to(mut self, node: &Node) -> Self {
        self.path_range = Some(node.range.clone());
        self
    }

    /// The offset that the error is about, if its position is not yet computed.
    pub(super) fn offset(&self) -> Option<usize> {
        self.offset.filter(|_| self.position.is_none())
    }

    /// Computes the path from the root of the document.
    pub(super) fn with_path_from(mut self, root: &Node) -> Self {
        if let Some(range) = &self.path_range {
            self.path = path(root, range).into();
        }
        self
    }

    /// The line and the column, both from 1. The line is counted from the start of the whole text, and the column in
    /// characters.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.position.map(|position| (position.line as usize, position.column as usize))
    }

    /// Whether a SealedSecret, a document or a stream has more bytes, or more keys and values, than are read.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// The path of the field, such as `stringData.LEVEL`; empty for the document itself.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What to do about the error.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for ManifestError {}

/// The path from the root to the node with this range. A key has the path of its value.
fn path(root: &Node, range: &Range<usize>) -> String {
    let mut path = String::new();
    let mut node = root;
    while node.range != *range {
        let children = node.children();
        let after = children.partition_point(|child| child.range.start <= range.start);
        let Some(index) = after.checked_sub(1) else { break };
        if !node.is_mapping() {
            path += &format!("[{index}]");
            node = &children[index];
            continue;
        }
        let (key, value) = (&children[index & !1], &children[index | 1]);
        let dot = if path.is_empty() { "" } else { "." };
        path += &format!("{dot}{}", shown(key.scalar().unwrap_or_default()));
        if key.range == *range {
            break;
        }
        node = value;
    }
    path
}

/// Returns the name as an error may show it: the name itself if it is a data key or short and plain, otherwise `…`.
fn shown(name: &str) -> &str {
    let short_and_plain = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'));
    if short_and_plain || DataKey::parse(name).is_ok() { name } else { "…" }
}

/// Whether the two names are equal, except for letter case and at most one typing error: a letter is missing, added or
/// wrong, or two adjacent letters are swapped.
pub(super) fn is_typing_error_of(name: &str, known: &str) -> bool {
    let (name, known) = (name.to_ascii_lowercase(), known.to_ascii_lowercase());
    let (name, known) = (name.as_bytes(), known.as_bytes());
    let start = name.iter().zip(known).take_while(|(a, b)| a == b).count();
    let (name, known) = (&name[start..], &known[start..]);
    let end = name.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    match (&name[..name.len() - end], &known[..known.len() - end]) {
        (name, known) if name.len() <= 1 && known.len() <= 1 => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_keys_and_short_plain_names_are_shown() {
        for name in ["stringdata", "a/b", "tls.crt", &"x".repeat(253)] {
            assert_eq!(shown(name), name);
        }
        for name in ["", "my password", "é", "a:b", &"/".repeat(65), &"x".repeat(254)] {
            assert_eq!(shown(name), "…");
        }
    }

    #[test]
    fn a_typing_error_gets_a_hint() {
        for name in ["stringdata", "StringData", "stringDat", "stringDaat", "strinGdata", "stirngData", "xtringData"] {
            let error = ManifestError::unknown_field(name, &["data", "stringData"]);
            assert_eq!(error.to_string(), format!("unknown field \"{name}\""));
            assert_eq!(error.hint(), Some("did you mean \"stringData\"?"), "{name}");
        }
        for name in ["strings", "", "status", "stringDataXX"] {
            assert_eq!(ManifestError::unknown_field(name, &["data", "stringData"]).hint(), None, "{name}");
        }
    }

    #[test]
    fn the_path_comes_first() {
        let error = ManifestError { path: "data.KEY".into(), ..ManifestError::new("not base64") };
        assert_eq!(error.to_string(), "data.KEY: not base64");
        assert_eq!(error.path(), "data.KEY");
        assert_eq!(ManifestError::new("not YAML").to_string(), "not YAML");
    }
}

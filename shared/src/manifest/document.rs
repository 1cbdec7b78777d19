//! One document of a stream: reads it, and replaces the manifest in it.

use std::ops::Range;
use std::rc::Rc;

use serde::de::IgnoredAny;

use super::error::ManifestError;
use super::lines::{BYTE_ORDER_MARK, SPACE, is_bare_marker, is_blank_or_comment, is_marker, lines};
use super::object::DocumentKind;
use super::position::{Position, Positions};
use super::tree::Tree;
use super::tree_builder::Limits;
use super::unfinished::{RENDER_IT, RESOLVE_IT, conflict_marker, has_braces};
use super::writer::Format;
use super::{classification, json, yaml};

/// Characters that end a line in YAML 1.1 (§4.1.4) and not in YAML 1.2 (§5.4).
pub(super) const LINE_BREAKS_OF_YAML_1_1: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// One document of a stream, not yet read.
///
/// It has no `Debug`: it may hold secrets.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) offset: usize,
    pub(super) position: Position,
    pub(super) format: Format,
    pub(super) holds: Holds,
}

/// What a part of a YAML stream holds besides comments and blank lines.
#[derive(Clone, Copy, Default)]
pub(super) struct Holds {
    pub(super) marker: bool,
    pub(super) directive: bool,
    pub(super) content: bool,
}

impl<'a> Document<'a> {
    /// The text of the document with its markers, comments and white space.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Where the text stands in the stream, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.text.len()
    }

    /// The line of the stream, from 1, on which the document begins.
    pub fn line(&self) -> usize {
        self.position.line as usize
    }

    /// Whether the document is YAML or JSON.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads the document, and returns its kind.
    ///
    /// Refuses:
    /// - a text that is not YAML (or JSON), is nested too deeply or has more than 100,000 keys and values;
    /// - a SealedSecret of an unknown version, and an unknown kind of the group `waxseal.dev`;
    /// - an object of ambiguous kind that could be a Secret or a kind of this group;
    /// - an item of a SealedSecretList that has only one of apiVersion and kind;
    /// - a list whose `items` is not a list, and more than 8 lists inside each other.
    pub fn kind(&self) -> Result<DocumentKind<'a>, ManifestError> {
        kind(self.tree(&mut Limits::of_a_stream())?)
    }

    /// The text of this document with another manifest in place of its own.
    ///
    /// Keeps the byte order mark. In YAML, also keeps the markers and the comments above the manifest, and ends the
    /// lines of the new manifest with CR LF if the first line of the document ends with CR LF, otherwise with LF. In
    /// JSON, also keeps the white space around the manifest, and the line breaks within the new manifest.
    pub fn replaced_by(&self, manifest: &str) -> String {
        match self.format {
            Format::Yaml => self.yaml_replaced_by(manifest),
            Format::Json => self.json_replaced_by(manifest),
        }
    }

    fn positions(&self) -> Positions<'a> {
        Positions::new(self.text, self.position)
    }

    /// Why no object of the document can be read, although the document is valid YAML: it has directives, or characters
    /// that end a line only for some readers.
    fn obstacle(&self) -> Option<ManifestError> {
        if self.format == Format::Json {
            return None;
        }
        if self.holds.directive {
            let before: usize = lines(self.body()).take_while(|line| !line.starts_with('%')).map(str::len).sum();
            let error = ManifestError::new("YAML directives are not allowed").at_offset(self.base() + before);
            return Some(self.located(error.with_hint("remove the lines that begin with \"%\"")));
        }
        self.unclear_line_break()
    }

    pub(super) fn unclear_line_break(&self) -> Option<ManifestError> {
        let offset = self.text.find(LINE_BREAKS_OF_YAML_1_1)?;
        let error = ManifestError::new("YAML versions disagree on whether a line ends here").at_offset(offset);
        Some(self.located(error.with_hint("write the character as an escape in double quotes")))
    }

    pub(super) fn tree(&self, limits: &mut Limits) -> Result<Option<Tree<'a>>, ManifestError> {
        let root = match self.format {
            Format::Json => json::parse(self.body(), self.base(), limits),
            Format::Yaml if !self.holds.content && !self.holds.directive => Ok(None),
            Format::Yaml => yaml::parse(self.body(), self.base(), limits).map_err(|error| self.explained(error)),
        };
        let root = root.map_err(|error| self.located(error))?;
        Ok(root.map(|root| Tree::new(root, self.positions(), self.obstacle())))
    }

    /// The text without its byte order mark.
    fn body(&self) -> &'a str {
        self.text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(self.text)
    }

    /// The offset of [`Self::body`].
    fn base(&self) -> usize {
        self.text.len() - self.body().len()
    }

    pub(super) fn located(&self, error: ManifestError) -> ManifestError {
        match error.offset() {
            Some(offset) => error.with_position(self.position.advanced(self.text, 0, offset)),
            None => error,
        }
    }

    /// Returns a more helpful error than "not YAML", if there is one. The error of a limit stays.
    fn explained(&self, error: ManifestError) -> ManifestError {
        if error.is_too_large() {
            return error;
        }
        if let Some(offset) = conflict_marker(self.body()) {
            let error = ManifestError::new("not YAML: a conflict marker of Git").at_offset(self.base() + offset);
            return error.with_hint(RESOLVE_IT);
        }
        match self.json_fault() {
            Some(fault) if has_braces(self.text) => fault.with_hint(RENDER_IT),
            Some(fault) => fault,
            None => error,
        }
    }

    /// Returns the JSON error of a document that was probably meant to be JSON. YAML would read such a text further,
    /// and report another error at a later place.
    fn json_fault(&self) -> Option<ManifestError> {
        let value = self.body().trim_start_matches(SPACE);
        if !value.strip_prefix('{')?.trim_start_matches(SPACE).starts_with('"') {
            return None;
        }
        let error = serde_json::Deserializer::from_str(value).into_iter::<IgnoredAny>().next()?.err()?;
        let before: usize = value.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = value.floor_char_boundary(before + error.column().saturating_sub(1));
        let fault = if error.is_eof() { "not JSON: it ends too early" } else { "not JSON" };
        Some(ManifestError::new(fault).at_offset(self.text.len() - value.len() + at))
    }

    fn yaml_replaced_by(&self, manifest: &str) -> String {
        let first = lines(self.body()).next().unwrap_or_default();
        let line_break = if first.ends_with("\r\n") { "\r\n" } else { "\n" };
        let mut text = self.text[..self.base()].to_owned();
        for line in lines(self.body()) {
            if is_marker(line, "---") && !is_bare_marker(line) {
                text.push_str("---");
                text.push_str(line_break);
                break;
            }
            if !is_bare_marker(line) && !is_blank_or_comment(line) && !line.starts_with('%') {
                break;
            }
            text.push_str(line);
        }
        text.push_str(&manifest.replace('\n', line_break));
        text.push_str(lines(self.text).last().filter(|line| is_marker(line, "...")).unwrap_or_default());
        text
    }

    fn json_replaced_by(&self, manifest: &str) -> String {
        let value = self.body().trim_matches(SPACE);
        let (before, after) = self.text.split_once(value).unwrap_or_default();
        format!("{before}{}{after}", manifest.trim_end())
    }
}

/// The kind of the document that a tree was read from.
pub(super) fn kind(tree: Option<Tree<'_>>) -> Result<DocumentKind<'_>, ManifestError> {
    tree.map_or(Ok(DocumentKind::Empty), |tree| classification::kind_of(Rc::new(tree)))
}

#[cfg(test)]
mod tests {
    use crate::manifest::split;

    #[test]
    fn conflict_markers_have_their_own_error() {
        for (text, place) in [
            ("a: b\n---\nc: d\n<<<<<<< HEAD\ne: f\n=======\ng: h\n>>>>>>> main\n", (4, 1)),
            ("{\"a\": 1,\n<<<<<<< HEAD\n\"b\": 1\n=======\n\"b\": 2\n>>>>>>> main\n}", (2, 1)),
        ] {
            let stream = split(text).expect("a stream");
            let error = stream.kinds().find_map(|(_, kind)| kind.err()).expect(text);
            assert_eq!(error.to_string(), "not YAML: a conflict marker of Git");
            assert_eq!((error.place(), error.hint()), (Some(place), Some("resolve the conflict first")));
        }
    }

    #[test]
    fn broken_json_has_its_own_error_and_broken_flow_style_is_not_yaml() {
        for (text, expected, place) in [
            ("\n{\"é\": 1 \"b\": 2}", "not JSON", (2, 9)),
            ("{\n  \"a\": {\n", "not JSON: it ends too early", (3, 1)),
            ("{\"a\": 1}\n---\nb: [\n", "not YAML: a bracket is never closed", (3, 4)),
            ("{a: [}", "not YAML: a bracket is never closed", (1, 5)),
        ] {
            let stream = split(text).expect("a stream");
            let last = stream.documents.last().expect("a document");
            let error = last.kind().err().expect(text);
            assert_eq!((error.to_string().as_str(), error.place()), (expected, Some(place)), "{text:?}");
        }
    }

    #[test]
    fn the_error_of_a_limit_is_not_explained() {
        let text = format!("{{\"a\": [{}],}}", "1,".repeat(100_001));
        let stream = split(&text).expect("a stream");
        let error = stream.documents[0].kind().err().expect("too many values");
        assert!(error.is_too_large(), "{error}");
    }

    #[test]
    fn places_behind_a_byte_order_mark_are_those_an_editor_shows() {
        for text in ["\u{feff}a: *x\n", "\u{feff}\n\na: *x\n"] {
            let stream = split(text).expect("a stream");
            let error = stream.documents[0].kind().err().expect("not YAML");
            assert_eq!(error.place(), Some((text.lines().count(), 4)), "{text:?}");
        }
    }

    #[test]
    fn a_replaced_document_keeps_its_markers_and_first_comments() {
        for (text, expected) in [
            ("a: 1\n", "NEW\n"),
            ("--- # c\n# Source: x\n\na: 1\nb: 2\n", "--- # c\n# Source: x\n\nNEW\n"),
            ("--- {a: 1}\n", "---\nNEW\n"),
            ("a: 1\r\n...\r\n", "NEW\r\n...\r\n"),
            ("\u{feff}{\"a\": 1}\n", "\u{feff}NEW\n"),
            ("\u{feff}a: 1\n", "\u{feff}NEW\n"),
            ("\u{feff}# c\r\na: 1\r\n", "\u{feff}# c\r\nNEW\r\n"),
            ("\u{feff}--- # c\na: 1\n", "\u{feff}--- # c\nNEW\n"),
            ("\u{feff}--- {a: 1}\n", "\u{feff}---\nNEW\n"),
            ("\n{}", "\nNEW"),
        ] {
            let stream = split(text).expect("a stream");
            assert_eq!(stream.documents[0].replaced_by("NEW\n"), expected, "{text:?}");
        }
    }
}

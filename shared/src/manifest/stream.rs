//! A text as a stream of documents that know where they stand.

use std::ops::Range;
use std::rc::Rc;

use serde::de::IgnoredAny;

use super::error::ManifestError;
use super::object::DocumentKind;
use super::position::{Position, Positions};
use super::tree::Tree;
use super::tree_builder::{Limits, SPLIT_THE_LIST, SPLIT_THE_STREAM};
use super::unfinished::{RENDER_IT, RESOLVE_IT, conflict_marker, has_braces};
use super::writer::Format;
use super::{MAX_OBJECT_BYTES, classification, json, yaml};

/// The greatest number of documents in one stream: 10,000. Sealing that many takes seconds. Only a program makes a
/// longer stream, and it can make several shorter ones.
pub const MAX_DOCUMENTS: usize = 10_000;
/// The greatest size of one document: 8 MiB, checked before it is parsed.
///
/// An object has at most 1.5 MiB in etcd. 8 MiB are enough for such an object with comments, escapes and `status`, or
/// for a list of several. The tree of a document holds a copy of all its scalars, and two copies while the scalars are
/// read. With a stream of 32 MiB in memory too, a larger document would not stay within 64 MiB.
pub const MAX_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;

/// The greatest size of a document in which [`Document::hidden_secret`] looks for a Secret: 3 MiB. It reads a second
/// copy of the document, which takes twice the memory. No object that a cluster takes is larger.
const MAX_DOCUMENT_READ_TWICE: usize = 2 * MAX_OBJECT_BYTES;

const BYTE_ORDER_MARK: char = '\u{feff}';
/// Characters that end a line in YAML 1.1 (§4.1.4) and not in YAML 1.2 (§5.4).
const LINE_BREAKS_OF_YAML_1_1: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
/// The white space of JSON, and of the lines that separate YAML documents.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A text, cut into documents that together are the text again, byte for byte.
///
/// It has no `Debug`: the documents may hold secrets.
pub struct Stream<'a> {
    /// How all its documents are written.
    pub format: Format,
    /// The documents in the order of the text; only an empty text has none.
    pub documents: Vec<Document<'a>>,
}

/// One document of a stream, not yet read.
///
/// It has no `Debug`: it may hold secrets.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    text: &'a str,
    offset: usize,
    position: Position,
    format: Format,
    holds: Holds,
}

/// What a part of a YAML stream holds beside comments and blank lines.
#[derive(Clone, Copy, Default)]
struct Holds {
    marker: bool,
    directive: bool,
    content: bool,
}

/// Cuts a text into its documents.
///
/// A text is JSON if it consists of JSON values, one after the other, and the first is an object or an array. Every
/// other text is YAML. YAML is cut at the lines that begin with `---` or `...`. According to YAML 1.2.2 §9.1.2
/// (`c-forbidden`) such a line ends a document everywhere, also within quotes and block scalars, so it is enough to
/// look at lines. Comments before the first `---` are an empty document of their own. Refuses a stream of more than
/// [`MAX_DOCUMENTS`], and a document of more than [`MAX_DOCUMENT_BYTES`], without reading further. Takes linear time.
pub fn split(text: &str) -> Result<Stream<'_>, ManifestError> {
    let (format, documents) = match split_json(text)? {
        Some(documents) => (Format::Json, documents),
        None => (Format::Yaml, split_yaml(text)?),
    };
    Ok(Stream { format, documents })
}

impl<'a> Stream<'a> {
    /// Reads one document after the other, as [`Document::kind`] does.
    ///
    /// If the stream has more than two million values, also refuses the document in which this number is exceeded, and
    /// ends there.
    pub fn kinds(&self) -> impl Iterator<Item = (&Document<'a>, Result<DocumentKind<'a>, ManifestError>)> {
        self.trees().map(|(document, tree)| (document, tree.and_then(kind)))
    }

    /// Parses one document after the other, like [`Self::kinds`], but does not classify them.
    pub(super) fn trees(&self) -> impl Iterator<Item = (&Document<'a>, Result<Option<Tree<'a>>, ManifestError>)> {
        let mut limits = Limits::of_a_stream();
        let mut documents = self.documents.iter();
        std::iter::from_fn(move || {
            let document = if limits.is_exceeded() { None } else { documents.next() }?;
            Some((document, document.tree(&mut limits)))
        })
    }
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

    /// How it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads the document, and returns its kind.
    ///
    /// Refuses a text that is not YAML (or JSON), is nested too deeply or has more than 100,000 values, a SealedSecret
    /// of an unknown version, and an object of ambiguous kind that could be a Secret.
    pub fn kind(&self) -> Result<DocumentKind<'a>, ManifestError> {
        kind(self.tree(&mut Limits::of_a_stream())?)
    }

    /// Returns an error if a Secret is hidden in the document behind a line break of YAML 1.1, or behind a line such as
    /// `---#db`. kubectl ends a line or a document there and sees this Secret; for this reader it is part of a comment
    /// or a scalar. The document must not stay in the result, because its values are not sealed. If a document has such
    /// a line break or line and more than 3 MiB, this function does not look for the Secret and returns the error.
    pub fn hidden_secret(&self) -> Option<ManifestError> {
        if self.format == Format::Json {
            return None;
        }
        let fault = self.unclear_line_break().or_else(|| self.unclear_marker())?;
        let is_found = || {
            let text = self.text.replace(LINE_BREAKS_OF_YAML_1_1, "\n");
            let as_kubectl = |line| if is_unclear_marker(line) { "---\n" } else { line };
            let text: String = lines(&text).map(as_kubectl).collect();
            let stream = split(&text);
            stream.is_ok_and(|stream| stream.kinds().any(|(_, kind)| kind.is_ok_and(|kind| kind.holds_secret())))
        };
        (self.text.len() > MAX_DOCUMENT_READ_TWICE || is_found()).then_some(fault)
    }

    /// The text of this document with another manifest in place of its own.
    ///
    /// Keeps the markers, the comments above the first line, and the kind of line break.
    pub fn replaced_by(&self, manifest: &str) -> String {
        match self.format {
            Format::Yaml => self.yaml_replaced_by(manifest),
            Format::Json => self.json_replaced_by(manifest),
        }
    }

    /// Finds positions by offsets in the text of the document.
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

    fn unclear_line_break(&self) -> Option<ManifestError> {
        let offset = self.text.find(LINE_BREAKS_OF_YAML_1_1)?;
        let error = ManifestError::new("YAML versions disagree on whether a line ends here").at_offset(offset);
        Some(self.located(error.with_hint("write the character as an escape in double quotes")))
    }

    fn unclear_marker(&self) -> Option<ManifestError> {
        let offset = offset_of_line(self.text, is_unclear_marker)?;
        let error = ManifestError::new("kubectl begins a document here, and YAML does not").at_offset(offset);
        Some(self.located(error.with_hint("write a space or nothing after ---")))
    }

    fn tree(&self, limits: &mut Limits) -> Result<Option<Tree<'a>>, ManifestError> {
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

    fn located(&self, error: ManifestError) -> ManifestError {
        match error.offset() {
            Some(offset) => error.with_position(self.position.advanced(self.text, 0, offset)),
            None => error,
        }
    }

    /// Returns a more helpful error than "not YAML", if there is one.
    fn explained(&self, error: ManifestError) -> ManifestError {
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
        let first = lines(self.text).next().unwrap_or_default();
        let line_break = if first.ends_with("\r\n") { "\r\n" } else { "\n" };
        let mut text = String::new();
        for line in lines(self.text) {
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

fn kind(tree: Option<Tree<'_>>) -> Result<DocumentKind<'_>, ManifestError> {
    tree.map_or(Ok(DocumentKind::Empty), |tree| classification::kind_of(Rc::new(tree)))
}

fn split_json(text: &str) -> Result<Option<Vec<Document<'_>>>, ManifestError> {
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if !body.trim_start_matches(SPACE).starts_with(['{', '[']) {
        return Ok(None);
    }
    let mut cutter = Cutter::new(text, Format::Json);
    let mut end = text.len() - body.len();
    while let Some(length) = json_value(&text[end..]) {
        let Ok(length) = length else {
            return Ok(None);
        };
        // White space before a value belongs to that value. White space at the end of the text belongs to the last
        // value.
        let is_last = text[end + length..].trim_start_matches(SPACE).is_empty();
        end = if is_last { text.len() } else { end + length };
        cutter.cut(end, Holds::default())?;
    }
    Ok(Some(cutter.documents))
}

/// Returns the length of the first JSON value of a text; `None` if the text has no value. The length of a value above the
/// limit is not exact, but is above the limit too.
fn json_value(text: &str) -> Option<serde_json::Result<usize>> {
    // The parser's memory grows with the open brackets in its input, so its input ends just above the limit.
    let start = &text[..text.ceil_char_boundary(MAX_DOCUMENT_BYTES + 1)];
    let is_cut_off = start.len() < text.len();
    let mut values = serde_json::Deserializer::from_str(start).into_iter::<IgnoredAny>();
    match values.next() {
        None => is_cut_off.then_some(Ok(start.len())),
        Some(Err(error)) if error.is_eof() && is_cut_off => Some(Ok(start.len())),
        Some(value) => Some(value.map(|_| values.byte_offset())),
    }
}

fn split_yaml(text: &str) -> Result<Vec<Document<'_>>, ManifestError> {
    let mut cutter = Cutter::new(text, Format::Yaml);
    let mut holds = Holds::default();
    let mut offset = 0;
    for line in lines(text) {
        let end = offset + line.len();
        let line = if offset == 0 { line.trim_start_matches(BYTE_ORDER_MARK) } else { line };
        if is_marker(line, "---") {
            if holds.marker || holds.content || !holds.directive {
                cutter.cut(offset, std::mem::take(&mut holds))?;
            }
            holds.marker = true;
            holds.content |= !is_bare_marker(line);
        } else if is_marker(line, "...") {
            holds.content |= !is_bare_marker(line);
            cutter.cut(end, std::mem::take(&mut holds))?;
        } else if line.starts_with('%') && !holds.marker && !holds.content {
            holds.directive = true;
        } else {
            holds.content |= !is_blank_or_comment(line);
        }
        offset = end;
        cutter.check_size(offset)?;
    }
    cutter.cut(offset, holds)?;
    Ok(cutter.documents)
}

/// Cuts a text from its start to its end.
struct Cutter<'a> {
    text: &'a str,
    format: Format,
    offset: usize,
    position: Position,
    documents: Vec<Document<'a>>,
}

impl<'a> Cutter<'a> {
    fn new(text: &'a str, format: Format) -> Self {
        Self { text, format, offset: 0, position: Position::START, documents: Vec::new() }
    }

    /// Makes a document of everything from the last cut to `end`, unless that is empty.
    fn cut(&mut self, end: usize, holds: Holds) -> Result<(), ManifestError> {
        let (text, offset, position) = (&self.text[self.offset..end], self.offset, self.position);
        if text.is_empty() {
            return Ok(());
        }
        self.check_size(end)?;
        if self.documents.len() == MAX_DOCUMENTS {
            let error = ManifestError::new(format!("a stream of more than {MAX_DOCUMENTS} documents is not read"));
            return Err(error.with_position(position).with_hint(SPLIT_THE_STREAM));
        }
        self.documents.push(Document { text, offset, position, format: self.format, holds });
        self.offset = end;
        self.position = position.advanced(text, 0, text.len());
        Ok(())
    }

    /// Refuses the text from the last cut to `end` if it is too large for one document.
    fn check_size(&self, end: usize) -> Result<(), ManifestError> {
        if end - self.offset <= MAX_DOCUMENT_BYTES {
            return Ok(());
        }
        let error = ManifestError::new("a document of more than 8 MiB is not read").with_position(self.position);
        Err(error.with_hint(SPLIT_THE_LIST))
    }
}

/// The lines of a text with their breaks: LF, CR LF or CR (YAML 1.2.2 §5.4).
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|mut rest| {
        std::iter::from_fn(move || {
            let is_break = |at: &usize| &rest[*at..] != "\r\n";
            let end = rest.find('\r').filter(is_break).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            rest = after;
            (!line.is_empty()).then_some(line)
        })
    })
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(SPACE))
}

/// Whether kubectl takes the line for the marker `---`, and YAML does not.
fn is_unclear_marker(line: &str) -> bool {
    line.starts_with("---") && !is_marker(line, "---")
}

/// The offset of the first line that fits.
fn offset_of_line(text: &str, fits: impl Fn(&str) -> bool) -> Option<usize> {
    let mut offset = 0;
    for line in lines(text) {
        if fits(line) {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

/// Whether the line is a marker, perhaps with a comment behind it.
fn is_bare_marker(line: &str) -> bool {
    (is_marker(line, "---") || is_marker(line, "...")) && is_blank_or_comment(&line[3..])
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_matches(SPACE);
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        let stream = split(text).unwrap_or_else(|error| panic!("{error}"));
        stream.documents.iter().map(Document::text).collect()
    }

    #[test]
    fn yaml_is_cut_at_markers() {
        for (text, expected) in [
            ("", vec![]),
            ("\n", vec!["\n"]),
            ("a: 1\n---\nb: 2\n", vec!["a: 1\n", "---\nb: 2\n"]),
            ("---\na: 1\n---\nb: 2", vec!["---\na: 1\n", "---\nb: 2"]),
            ("# head\n---\na: 1\n", vec!["# head\n", "---\na: 1\n"]),
            ("a: 1\n...\n# between\n---\nb: 2\n", vec!["a: 1\n...\n", "# between\n", "---\nb: 2\n"]),
            ("%YAML 1.2\n---\na: 1\n", vec!["%YAML 1.2\n---\na: 1\n"]),
            ("a: 1\r\n---\r\nb: 2\r\n", vec!["a: 1\r\n", "---\r\nb: 2\r\n"]),
            ("a: 1\r---\rb: 2\r", vec!["a: 1\r", "---\rb: 2\r"]),
            ("a: |\n  x\n---\ty\n", vec!["a: |\n  x\n", "---\ty\n"]),
            ("a: |\n  ---\n  x\n", vec!["a: |\n  ---\n  x\n"]),
            ("a: 1\n---b\n", vec!["a: 1\n---b\n"]),
            ("\u{feff}---\na: 1\n", vec!["\u{feff}---\na: 1\n"]),
            ("---", vec!["---"]),
        ] {
            assert_eq!(texts(text), expected, "{text:?}");
            assert_eq!(split(text).map(|stream| stream.format), Ok(Format::Yaml), "{text:?}");
        }
    }

    #[test]
    fn json_is_cut_between_values() {
        for (text, expected) in [
            ("{}", vec!["{}"]),
            (" {\"a\": 1}\n{\"b\": 2}\n\n", vec![" {\"a\": 1}", "\n{\"b\": 2}\n\n"]),
            ("{}{}[]", vec!["{}", "{}", "[]"]),
            ("\u{feff}{}\n", vec!["\u{feff}{}\n"]),
        ] {
            assert_eq!(texts(text), expected, "{text:?}");
            assert_eq!(split(text).map(|stream| stream.format), Ok(Format::Json), "{text:?}");
        }
    }

    #[test]
    fn flow_style_yaml_is_not_json() {
        for text in ["{a: 1}", "{\"a\": 1}\n---\n{\"b\": 2}\n", "{\"a\": 1,}", "\"text\"", "{} # c"] {
            assert_eq!(split(text).map(|stream| stream.format), Ok(Format::Yaml), "{text:?}");
        }
    }

    #[test]
    fn a_secret_behind_a_marker_of_kubectl_alone_is_found() {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: x}\n";
        let json = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"}}\n";
        for text in [format!("|\n---# x\n{secret}"), format!("# x\n---#db\n{json}"), format!("x\n---y\n{json}")] {
            let error = split(&text).expect("a stream").documents[0].hidden_secret().expect(&text);
            assert_eq!(error.to_string(), "kubectl begins a document here, and YAML does not", "{text:?}");
            assert_eq!(error.place(), Some((2, 1)), "{text:?}");
        }
        let text = "# c\n---# d\nkind: ConfigMap\n";
        assert_eq!(split(text).expect("a stream").documents[0].hidden_secret(), None);
    }

    #[test]
    fn a_secret_behind_a_line_break_of_yaml_1_1_is_found() {
        let hidden = |text: &str| split(text).expect("a stream").documents[0].hidden_secret();
        for text in [
            "# c\u{2028}apiVersion: v1\u{85}kind: Secret",
            "\u{feff}apiVersion: v1 # c\u{2029}kind: secret",
            "a: b # c\u{2028}---\u{2028}apiVersion: v1\u{2028}kind: Secret",
            "a: | # c\u{2028}apiVersion: v1\u{2028}kind: Secret",
        ] {
            let error = hidden(text).expect(text);
            assert_eq!(error.to_string(), "YAML versions disagree on whether a line ends here", "{text:?}");
            assert_eq!(error.place().map(|(line, _)| line), Some(1), "{text:?}");
        }
        let large = format!("# \u{2028}\n{}", "x".repeat(MAX_DOCUMENT_READ_TWICE - 6));
        assert_eq!(hidden(&large), None);
        assert!(hidden(&format!("{large}x")).is_some());
        for text in [
            "kind: ConfigMap # c\u{2028}",
            "kind: ConfigMap\ndata: {a: \"Secret\u{2028}x\"}",
            "# c\nkind: Secret",
            "{\"a\": \"\u{2028}kind: Secret\u{2028}apiVersion: v1\"}",
            "a: |\n  b\u{2028}  apiVersion: v1\u{2028}  kind: Secret",
        ] {
            assert_eq!(hidden(text), None, "{text:?}");
        }
    }

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
    fn a_document_knows_its_place() {
        let stream = split("# c\n---\na: 1\n---\n\nkind: [\n").expect("a stream");
        let places: Vec<_> = stream.documents.iter().map(|d| (d.line(), d.range())).collect();
        assert_eq!(places, [(1, 0..4), (2, 4..13), (4, 13..26)]);
        let error = stream.documents[2].kind().err().expect("not YAML");
        assert_eq!(error.place().map(|(line, _)| line), Some(6));

        let stream = split("{}\n {\"kind\": \"\\ud83d\"}").expect("a stream");
        let error = stream.documents[1].kind().err().expect("not JSON");
        assert_eq!(error.place(), Some((2, 11)));
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
            ("\n{}", "\nNEW"),
        ] {
            let stream = split(text).expect("a stream");
            assert_eq!(stream.documents[0].replaced_by("NEW\n"), expected, "{text:?}");
        }
    }

    #[test]
    fn too_many_documents_are_refused() {
        let error = split(&"---\n".repeat(MAX_DOCUMENTS + 1)).err().expect("too many");
        assert_eq!(error.to_string(), "a stream of more than 10000 documents is not read");
        assert_eq!(
            (error.place(), error.hint()),
            (Some((MAX_DOCUMENTS + 1, 1)), Some("split it into several streams"))
        );
        for document in ["---\n", "{}"] {
            let text = document.repeat(MAX_DOCUMENTS);
            let stream = split(&text);
            assert_eq!(stream.map(|stream| stream.documents.len()), Ok(MAX_DOCUMENTS));
        }
    }

    #[test]
    fn a_document_that_is_too_large_is_refused_unparsed() {
        let yaml = |size: usize| format!("a: b\n---\n#{}", "x".repeat(size - 5));
        let json = |size: usize| format!("{{}}\n\"{}\"", "x".repeat(size - 3));
        for text in [yaml(MAX_DOCUMENT_BYTES), json(MAX_DOCUMENT_BYTES)] {
            assert_eq!(split(&text).map(|stream| stream.documents.len()), Ok(2));
        }
        for (text, place) in [(yaml(MAX_DOCUMENT_BYTES + 1), (2, 1)), (json(MAX_DOCUMENT_BYTES + 1), (1, 3))] {
            let error = split(&text).err().expect("too large");
            assert_eq!(
                (error.to_string().as_str(), error.place()),
                ("a document of more than 8 MiB is not read", Some(place))
            );
        }
    }

    #[test]
    fn lines_end_with_any_line_break() {
        for (text, expected) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("\n\r\r\n\n", vec!["\n", "\r", "\r\n", "\n"]),
            ("é\rb\r\nc", vec!["é\r", "b\r\n", "c"]),
        ] {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected);
        }
    }

    proptest! {
        #[test]
        fn the_documents_are_the_text(text in "(---|\\.\\.\\.|%Y|#|a|: |\\{|\\}|\"|\u{feff}|[ \t\r\n]){0,24}") {
            let stream = split(&text).expect("a stream");
            prop_assert_eq!(stream.documents.iter().map(Document::text).collect::<String>(), text.as_str());
            for document in &stream.documents {
                prop_assert_eq!(&text[document.range()], document.text());
                let _ = document.kind();
            }
        }
    }
}

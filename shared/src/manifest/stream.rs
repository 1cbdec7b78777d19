//! Cuts a text into a stream of documents that know where they stand.

use serde::de::IgnoredAny;

use super::document::{Document, Holds, kind};
use super::error::ManifestError;
use super::lines::{BYTE_ORDER_MARK, SPACE, is_bare_marker, is_blank_or_comment, is_marker, lines};
use super::object::DocumentKind;
use super::position::Position;
use super::tree::Tree;
use super::tree_builder::{Limits, MAX_DOCUMENT_NODES, MAX_NODES, SPLIT_THE_LIST, SPLIT_THE_STREAM};
use super::writer::Format;

/// The greatest number of documents in one stream: 10,000. Sealing that many takes seconds. Only a program makes a
/// longer stream, and it can make several shorter ones.
pub const MAX_DOCUMENTS: usize = 10_000;
/// The greatest size of one document: 8 MiB, checked before it is parsed.
///
/// An object has at most 1.5 MiB in etcd. 8 MiB are enough for such an object with comments, escapes and `status`, or
/// for a list of several. The tree of a document holds a copy of all its scalars, and reading the tree into a type can
/// make another copy. A refusal needs at most 64 MiB (FORMAT.md §11). With a stream of 32 MiB in memory too, a larger
/// document would not stay within this limit.
pub const MAX_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;

/// A text, cut into documents that together are the text again, byte for byte.
///
/// It has no `Debug`: the documents may hold secrets.
pub struct Stream<'a> {
    /// How all its documents are written.
    pub format: Format,
    /// The documents in the order of the text; only an empty text has none.
    pub documents: Vec<Document<'a>>,
}

/// Cuts a text into its documents.
///
/// A text is JSON if it consists of JSON values, one after the other, and the first is an object or an array. Every
/// other text is YAML. YAML is cut at its markers: lines that begin with `---` or `...`, followed by white space or by
/// nothing. According to YAML 1.2.2 §9.1.2 (`c-forbidden`) such a line ends a document everywhere, also within quotes
/// and block scalars, so it is enough to look at lines. Comments before the first `---` are an empty document of their
/// own. Refuses a stream of more than [`MAX_DOCUMENTS`], and a document of more than [`MAX_DOCUMENT_BYTES`], without
/// reading further. Takes linear time.
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
    /// If the stream has more than two million keys and values, also refuses the document in which this number is
    /// exceeded, and ends there.
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

/// Refuses the text of a document that this module wrote ([`Document::replaced_by`]), and that it would not read again:
/// a document with too many bytes, too many keys and values, or nested too deeply.
///
/// Reads the text only if its punctuation and indentation do not show that it keeps the limits.
pub fn check_written(document: &str) -> Result<(), ManifestError> {
    // Each level of the block style takes at least one space or dash at the start of the line, and the parser reads 255
    // levels.
    let indent = |line: &str| line.bytes().take_while(|byte| matches!(byte, b' ' | b'-')).count();
    let is_small = document.len() <= MAX_DOCUMENT_BYTES && most_nodes(document) <= MAX_DOCUMENT_NODES;
    if is_small && document.lines().all(|line| indent(line) < 200) {
        return Ok(());
    }
    split(document)?.kinds().try_for_each(|(_, kind)| kind.map(|_| ()))
}

/// Refuses a text with more than two million keys and values, which [`Stream::kinds`] does not read to its end. Ignores
/// faults within single documents.
///
/// Reads the text only if its punctuation does not show that it keeps the limit. Then also refuses what [`split`]
/// refuses.
pub fn check_number_of_values(text: &str) -> Result<(), ManifestError> {
    if most_nodes(text) <= MAX_NODES {
        return Ok(());
    }
    let mut limits = Limits::of_a_stream();
    for document in &split(text)?.documents {
        let tree = document.tree(&mut limits);
        if limits.is_exceeded() {
            return tree.map(|_| ());
        }
    }
    Ok(())
}

/// The most keys and values that a text can have. In YAML and in JSON, a sign stands at each key, item and collection,
/// and a colon stands for at most three of them: a mapping, its first key and the value.
fn most_nodes(text: &str) -> usize {
    let next = text.bytes().skip(1).chain([b' ']);
    let signs = text.bytes().zip(next).filter(|sign| {
        // In base64url, a dash is a digit.
        matches!(sign, (b':' | b',' | b'?' | b'[' | b'{', _) | (b'-', b' ' | b'\t' | b'\r' | b'\n'))
    });
    3 * signs.count() + 1
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

/// Returns the length of the first JSON value of a text; `None` if the text has no value. The length of a value above
/// the limit is not exact, but is above the limit too.
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
        let error = ManifestError::too_large("a document of more than 8 MiB is not read").with_position(self.position);
        Err(error.with_hint(SPLIT_THE_LIST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::writer::write;
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

    fn is_read(text: &str) -> bool {
        split(text).is_ok_and(|stream| stream.kinds().all(|(_, kind)| kind.is_ok()))
    }

    #[test]
    fn a_written_document_is_refused_if_it_would_not_be_read() {
        let nested = |shape: fn(Value, usize) -> Value, depth: usize| (0..depth).fold(json!(["a"]), shape);
        let shapes: [fn(Value, usize) -> Value; 3] = [
            |inner, _| json!([inner]),
            |inner, _| json!({ "a": inner }),
            |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) },
        ];
        let mut documents = Vec::new();
        for shape in shapes {
            documents.extend([100, 190, 210, 253, 254, 255, 300].map(|depth| write(&nested(shape, depth))));
        }
        documents.extend([99_998, 99_999, 100_000].map(|items| write(&vec![1; items])));
        let json = |size: usize| format!("{{\"a\": \"{}\"}}", "x".repeat(size - 9));
        documents.extend([MAX_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES + 1].map(json));
        let read: Vec<_> = documents.iter().map(|text| is_read(text)).collect();
        assert_eq!(documents.iter().map(|text| check_written(text).is_ok()).collect::<Vec<_>>(), read);
        assert!(read.contains(&true) && read.contains(&false));
    }

    #[test]
    fn a_stream_with_too_many_values_is_refused_and_other_faults_are_ignored() {
        let values = |count: usize| format!("---\n[{}1]\n", "1,".repeat(count - 2));
        let full = values(100_000).repeat(20);
        assert_eq!(check_number_of_values(&full), Ok(()));
        let error = check_number_of_values(&format!("{full}{}", values(2))).expect_err("too many");
        assert_eq!(error.to_string(), "a stream of more than 2000000 keys and values is not read");
        assert_eq!(check_number_of_values(&format!("---\nkind: [\n{}", values(100_001).repeat(19))), Ok(()));
    }

    proptest! {
        #[test]
        fn a_text_has_at_most_as_many_values_as_its_signs_allow(text in "([a1]|- ?|: ?|\\? ?|\\[|\\]|\\{|\\}|,|\"|'|[*&!]a|---|\n|\r|\t| ){0,24}") {
            let mut limits = Limits::of_a_stream();
            for document in split(&text).expect("a stream").documents {
                let before = limits.nodes_left();
                let _ = document.tree(&mut limits);
                prop_assert!(before - limits.nodes_left() <= most_nodes(document.text()), "{:?}", text);
            }
        }

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

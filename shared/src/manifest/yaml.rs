//! YAML text to a tree: the only module that names the YAML parser.

use std::ops::Range;

use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Tag as ParsedTag};

use super::error::ManifestError;
use super::node::{Content, Node, Style, Tag};
use super::tree_builder::{Limits, TOO_DEEP, TreeBuilder};
use super::unfinished::{RENDER_IT, has_braces};

/// The hint for a value that begins with a character that has a meaning in YAML.
pub(super) const QUOTE_THE_SIGN: &str = "a value that begins with a sign such as @, %, *, !, & or ` belongs in quotes";
const SECOND_COLON: &str = "not YAML: a second \": \" on one line";

/// Reads a text with one document. `base` is added to all ranges.
///
/// Keeps anchors, aliases, tags and repeated keys. Refuses a text that is not YAML, a second
/// document, and more than the limits allow.
pub(super) fn parse(text: &str, base: usize, limits: &mut Limits) -> Result<Option<Node>, ManifestError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = TreeBuilder::new(limits);
    let mut documents = 0;
    let mut last_end = 0;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| refusal(&error, text, base))?;
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
        }
        if documents > 1 {
            let error = ManifestError::new("a second document begins without \"---\"");
            return Err(error.at_offset(base + offset(span.start)));
        }
        let (mut start, end) = (offset(span.start), offset(span.end));
        // The parser's span of a block scalar, or of a block sequence in a mapping, begins after `|`, `>` or `-`.
        if let Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) = event {
            start = start_of_block(text, last_end..start, b"|>");
        } else if matches!(event, Event::SequenceStart(..)) && builder.is_in_mapping() {
            start = start_of_block(text, last_end..start, b"-");
        }
        last_end = end;
        feed(&mut builder, event, base + start..base + end)?;
    }
    Ok(builder.finish())
}

/// Finds the sign that begins a block, between the last event and the content of the block. An anchor, a tag
/// and comments can stand there too.
fn start_of_block(text: &str, between: Range<usize>, signs: &[u8]) -> usize {
    let mut at = between.start;
    while let Some(byte) = text.as_bytes()[..between.end].get(at) {
        let skips_to = |ends: &[char]| text[at..between.end].find(ends).unwrap_or(between.end - at);
        at += match byte {
            byte if signs.contains(byte) => return at,
            b'&' | b'!' => skips_to(&[' ', '\t', '\n', '\r']),
            b'#' => skips_to(&['\n', '\r']),
            _ => 1,
        };
    }
    between.end
}

fn feed(builder: &mut TreeBuilder<'_>, event: Event<'_>, range: Range<usize>) -> Result<(), ManifestError> {
    let bracket_end = Some(range.end).filter(|_| !range.is_empty());
    let node = |content, anchor, tag: Option<&ParsedTag>| Node {
        range,
        tag: tag.map_or(Tag::None, |tag| kind_of_tag(tag, &content)),
        anchor: (anchor != 0).then_some(anchor),
        content,
    };
    match event {
        Event::Scalar(text, style, anchor, tag) => {
            let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
            builder.add(node(Content::Scalar(text.into_owned(), style), anchor, tag.as_deref()))
        }
        Event::Alias(anchor) => builder.add(node(Content::Alias(anchor), 0, None)),
        Event::SequenceStart(_, anchor, tag) => {
            builder.open(node(Content::Sequence(Vec::new()), anchor, tag.as_deref()))
        }
        Event::MappingStart(_, anchor, tag) => builder.open(node(Content::Mapping(Vec::new()), anchor, tag.as_deref())),
        Event::SequenceEnd | Event::MappingEnd => {
            builder.close(bracket_end);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The tag of a node. `!!str` is accepted on scalars only: readers disagree on a collection that has it.
fn kind_of_tag(tag: &ParsedTag, content: &Content) -> Tag {
    let is_scalar = matches!(content, Content::Scalar(..));
    if is_scalar && tag.is_yaml_core_schema_tag("str") { Tag::Str } else { Tag::Other }
}

fn offset(marker: Marker) -> usize {
    // A parser of a `str` counts bytes.
    marker.byte_offset().unwrap_or_default()
}

/// Returns the error in words of this module, because the error text of the parser may quote the input.
fn refusal(error: &ScanError, text: &str, base: usize) -> ManifestError {
    let fault = match error.kind() {
        ErrorKind::RecursionLimitExceeded => TOO_DEEP,
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            "not YAML: a tab stands where only spaces may"
        }
        ErrorKind::UnclosedQuotedScalar => "not YAML: a quote is never closed",
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            "not YAML: a bracket is never closed"
        }
        ErrorKind::UnknownAnchor => "not YAML: no anchor before this alias has the same name",
        ErrorKind::UndeclaredTagHandle => "not YAML: a tag's handle is not declared",
        ErrorKind::MappingValueNotAllowed => SECOND_COLON,
        ErrorKind::UnknownQuotedScalarEscape => "not YAML: an escape that YAML does not have",
        _ => "not YAML",
    };
    let line = text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
    let error = ManifestError::new(fault).at_offset(base + offset(*error.marker()));
    match hint(fault, line, text) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Returns the most probable way to repair a text that is not YAML on this line.
fn hint(fault: &str, line: &str, text: &str) -> Option<&'static str> {
    if has_braces(line) {
        return Some(RENDER_IT);
    }
    if fault == SECOND_COLON {
        return Some("a value with \": \" in it belongs in quotes");
    }
    if has_value_that_begins_with_a_sign(line) {
        return Some(QUOTE_THE_SIGN);
    }
    has_braces(text).then_some(RENDER_IT)
}

/// Whether a value on the line begins with a character that means something in YAML (1.2.2, §5.3).
fn has_value_that_begins_with_a_sign(line: &str) -> bool {
    line.match_indices(['@', '%', '*', '!', '&', '`', '|', '>']).any(|(at, _)| {
        let before = line[..at].trim_end_matches(' ');
        before.ends_with(['[', '{']) || before.len() < at && before.ends_with([':', '-', ','])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> ManifestError {
        match parse(text, 0, &mut Limits::of_a_stream()) {
            Ok(_) => panic!("{text:?} was read"),
            Err(error) => error,
        }
    }

    #[test]
    fn ranges_are_exact() {
        for (text, expected) in [
            ("k: v # c\r\né: 'it''s'\r\nz: \"\\u00e9\"\r\n", &["k", "v", "é", "'it''s'", "z", "\"\\u00e9\""][..]),
            ("a: &x !<!y> | # >\n  x\nb:\n - >-\n  é", &["a", "| # >\n  x\n", "b", "- >-\n  é", ">-\n  é"]),
            ("a: |\n  x\n  y\n\nb: >-\n  é\n# c\n", &["a", "|\n  x\n  y\n\n", "b", ">-\n  é\n"]),
            (
                "a:\n- é: 1\n- - x\n  - y\n# c\nb:\n  c: d # e\n",
                &["a", "- é: 1\n- - x\n  - y", "é: 1", "é", "1", "- x\n  - y", "x", "y", "b", "c: d", "c", "d"],
            ),
            ("[ a , {b: [ ], 'c' : é} ] # d\n", &["a", "{b: [ ], 'c' : é}", "b", "[ ]", "'c'", "é"]),
            ("{\"a\": [1, {}],\n \"é\" : null} # c", &["\"a\"", "[1, {}]", "1", "{}", "\"é\"", "null"]),
            ("a: &x !!str b\nc: !m {d: *x}\n", &["a", "b", "c", "{d: *x}", "d", "*x"]),
            ("a: two\n  lines\nb:\nc: d", &["a", "two\n  lines", "b", "", "c", "d"]),
            ("? a\n: b\n", &["a", "b"]),
            (
                "a:\n- -1\nb:\n- - x\n- - y\nc: [-1]\nd:\n  - e\n",
                &["a", "- -1", "-1", "b", "- - x\n- - y", "- x", "x", "- y", "y", "c", "[-1]", "-1", "d", "- e", "e"],
            ),
        ] {
            let text = format!("\u{feff}# é\n{text}");
            let node = parse(&text[3..], 3, &mut Limits::of_a_stream()).expect("YAML").expect("a node");
            let parts: Vec<_> = node.nodes().skip(1).map(|node| &text[node.range.clone()]).collect();
            assert_eq!(parts, expected, "{text}");
        }
    }

    #[test]
    fn styles_tags_and_anchors_are_kept() {
        let text = "- plain\n- 'single'\n- \"double\"\n- |\n  block\n- !!str 1\n- !mine 1\n- &a x\n- *a\n";
        let node = parse(text, 0, &mut Limits::of_a_stream()).expect("YAML").expect("a node");
        let Content::Sequence(items) = node.content else {
            panic!("a sequence");
        };
        let styles: Vec<_> = items
            .iter()
            .filter_map(|item| match &item.content {
                Content::Scalar(_, style) => Some(*style),
                _ => None,
            })
            .collect();
        use Style::{Plain, Quoted};
        assert_eq!(styles, [Plain, Quoted, Quoted, Quoted, Plain, Plain, Plain]);
        assert_eq!((items[4].tag, items[5].tag, items[0].tag), (Tag::Str, Tag::Other, Tag::None));
        let Content::Alias(target) = items[7].content else {
            panic!("an alias");
        };
        assert_eq!(items[6].anchor, Some(target));
    }

    #[test]
    fn text_that_is_not_yaml_is_refused_and_not_quoted() {
        for (text, expected) in [
            ("a: 'hunter2", "not YAML: a quote is never closed"),
            ("a: [hunter2", "not YAML: a bracket is never closed"),
            ("a: *hunter2", "not YAML: no anchor before this alias has the same name"),
            ("a: b: hunter2", "not YAML: a second \": \" on one line"),
            ("a: @hunter2", "not YAML"),
            ("a: \"\\q\"", "not YAML: an escape that YAML does not have"),
        ] {
            let error = refused(text);
            assert_eq!(error.to_string(), expected, "{text}");
            assert!(error.offset().is_some(), "{text}");
        }
    }

    #[test]
    fn a_value_that_needs_quotes_gets_a_hint() {
        for value in ["@x", "%x", "*x", "`x", "!x!y", "!<x", "&", "|x", ">x", "[a, @x]", "{a: @x}", "{@x}", "[&]"] {
            assert_eq!(refused(&format!("a: {value}")).hint(), Some(QUOTE_THE_SIGN), "{value}");
        }
        assert_eq!(refused("- @x").hint(), Some(QUOTE_THE_SIGN));
        assert_eq!(refused("a: b: c").hint(), Some("a value with \": \" in it belongs in quotes"));
        for text in ["a: 'x", "a: \"x\"@y", "a: x\n b: @"] {
            assert_ne!(refused(text).hint(), Some(RENDER_IT), "{text}");
        }
    }

    #[test]
    fn a_template_that_was_not_rendered_gets_a_hint() {
        for text in [
            "a: {{ .b }}-c",
            "{{- if .a }}\nb: c\n{{- end }}",
            "a: b\n{{ include \"c\" . | indent 2 }}",
            "{% if a %}\nb: c\n",
        ] {
            assert_eq!(refused(text).hint(), Some(RENDER_IT), "{text}");
        }
        assert_eq!(refused("a: b\n c: {{ d }}\ne\nf: g").hint(), Some(RENDER_IT));
    }

    #[test]
    fn deep_texts_are_refused_and_do_not_overflow_the_stack() {
        for text in ["[".repeat(1 << 20), "- ".repeat(1 << 20), "{a: ".repeat(1 << 20), "? ".repeat(1 << 20)] {
            assert_eq!(refused(&text).to_string(), "nested too deeply");
        }
    }

    #[test]
    fn aliases_are_never_expanded() {
        let level = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 100].join(", "));
        let bomb: String = (1..60).map(level).collect();
        let mut limits = Limits::of_a_stream();
        assert!(parse(&format!("a0: &a0 x\n{bomb}"), 0, &mut limits).is_ok());
        // The key, the sequence and its items for each level, and what is before them.
        assert_eq!(limits.nodes_left(), Limits::of_a_stream().nodes_left() - (59 * 102 + 3));
    }

    #[test]
    fn an_empty_document_is_null_or_has_no_node() {
        for text in ["", "# only this\n", "---\n", "---\n...\n"] {
            let node = parse(text, 0, &mut Limits::of_a_stream()).expect("YAML");
            assert!(node.is_none_or(|node| node.is_null()), "{text:?}");
        }
    }
}

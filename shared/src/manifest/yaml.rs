//! YAML text to a tree: the only module that names the YAML parser.

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag as ParsedTag};
use zeroize::Zeroizing;

use super::error::ManifestError;
use super::field::QUOTE_THE_SIGN;
use super::node::{Content, Limits, Node, Place, Style, Tag, TreeBuilder, too_deep};
use super::unfinished::{RENDER_IT, has_braces};

const SECOND_COLON: &str = "not YAML: a second \": \" on one line";

/// Reads the one document of a text whose first line has the number `first_line`.
///
/// Anchors, aliases, tags and repeated keys are kept for others to judge. Refused are texts that
/// are no YAML, a second document, and what exceeds the limits. Scalars are wiped when the
/// tree is dropped; what the parser itself copied on its way is out of reach.
pub(super) fn parse(text: &str, first_line: u32, limits: &mut Limits) -> Result<Option<Node>, ManifestError> {
    let mut builder = TreeBuilder::new(limits);
    let mut documents = 0;
    for next in parser(text) {
        let (event, span) = next.map_err(|error| refusal(&error, text, first_line))?;
        let place = absolute(&span, first_line);
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
        }
        if documents > 1 {
            return Err(ManifestError::new("a second document begins without \"---\"").with_place(place));
        }
        feed(&mut builder, event, place)?;
    }
    Ok(builder.finish())
}

fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

fn feed(builder: &mut TreeBuilder<'_>, event: Event<'_>, place: Place) -> Result<(), ManifestError> {
    let node = |content, anchor, tag: Option<&ParsedTag>| Node {
        place,
        tag: tag.map_or(Tag::None, |tag| kind_of_tag(tag, &content)),
        anchor: (anchor != 0).then_some(anchor),
        content,
    };
    match event {
        Event::Scalar(text, style, anchor, tag) => {
            let content = Content::Scalar(Zeroizing::new(text.into_owned()), kind_of_style(style));
            builder.add(node(content, anchor, tag.as_deref()))
        }
        Event::Alias(anchor) => builder.add(node(Content::Alias(anchor), 0, None)),
        Event::SequenceStart(_, anchor, tag) => {
            builder.open(node(Content::Sequence(Vec::new()), anchor, tag.as_deref()))
        }
        Event::MappingStart(_, anchor, tag) => builder.open(node(Content::Mapping(Vec::new()), anchor, tag.as_deref())),
        Event::SequenceEnd | Event::MappingEnd => {
            builder.close();
            Ok(())
        }
        _ => Ok(()),
    }
}

fn kind_of_style(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        _ => Style::Text,
    }
}

/// `!!str` is the tag of scalars: a collection that has it is no string, and to other readers nothing.
fn kind_of_tag(tag: &ParsedTag, content: &Content) -> Tag {
    let is_scalar = matches!(content, Content::Scalar(..));
    if is_scalar && tag.is_yaml_core_schema_tag("str") { Tag::Str } else { Tag::Other }
}

fn absolute(span: &Span, first_line: u32) -> Place {
    at(span.start.line(), span.start.col(), first_line)
}

fn at(line: usize, column: usize, first_line: u32) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: first_line.saturating_add(number(line.saturating_sub(1))), column: number(column.saturating_add(1)) }
}

/// Says in our own words what the parser found: its own may quote the text.
fn refusal(error: &ScanError, text: &str, first_line: u32) -> ManifestError {
    let place = at(error.marker().line(), error.marker().col(), first_line);
    let fault = match error.kind() {
        ErrorKind::RecursionLimitExceeded => return too_deep(place),
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            "not YAML: a tab stands where only spaces may"
        }
        ErrorKind::UnclosedQuotedScalar => "not YAML: a quote is never closed",
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            "not YAML: a bracket is never closed"
        }
        ErrorKind::UnknownAnchor => "not YAML: an alias names no anchor before it",
        ErrorKind::UndeclaredTagHandle => "not YAML: a tag's handle is not declared",
        ErrorKind::MappingValueNotAllowed => SECOND_COLON,
        ErrorKind::UnknownQuotedScalarEscape => "not YAML: an escape that YAML does not have",
        _ => "not YAML",
    };
    let line = text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
    let error = ManifestError::new(fault).with_place(place);
    match hint(fault, line, text) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What is most likely to be done about a text that is not YAML on this line.
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
    use super::super::field::Field;
    use super::*;

    fn refused(text: &str) -> ManifestError {
        match parse(text, 1, &mut Limits::of_a_stream()) {
            Ok(_) => panic!("{text:?} was read"),
            Err(error) => error,
        }
    }

    #[test]
    fn places_are_absolute_and_count_characters() {
        let node = parse("# c\nkey: 1\né: x\n", 11, &mut Limits::of_a_stream()).expect("YAML").expect("a node");
        let Content::Mapping(entries) = node.content else {
            panic!("a mapping");
        };
        assert_eq!(entries[0].1.place, Place { line: 12, column: 6 });
        assert_eq!(entries[1].1.place, Place { line: 13, column: 4 });
    }

    #[test]
    fn styles_tags_and_anchors_are_kept() {
        let text = "- plain\n- 'single'\n- \"double\"\n- |\n  block\n- !!str 1\n- !mine 1\n- &a x\n- *a\n";
        let node = parse(text, 1, &mut Limits::of_a_stream()).expect("YAML").expect("a node");
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
        use Style::{Plain, Text};
        assert_eq!(styles, [Plain, Text, Text, Text, Plain, Plain, Plain]);
        assert_eq!((items[4].tag, items[5].tag, items[0].tag), (Tag::Str, Tag::Other, Tag::None));
        let Content::Alias(target) = items[7].content else {
            panic!("an alias");
        };
        assert_eq!(items[6].anchor, Some(target));
    }

    #[test]
    fn what_is_no_yaml_is_refused_without_quoting_it() {
        for (text, expected) in [
            ("a: 'hunter2", "not YAML: a quote is never closed"),
            ("a: [hunter2", "not YAML: a bracket is never closed"),
            ("a: *hunter2", "not YAML: an alias names no anchor before it"),
            ("a: b: hunter2", "not YAML: a second \": \" on one line"),
            ("a: @hunter2", "not YAML"),
            ("a: \"\\q\"", "not YAML: an escape that YAML does not have"),
        ] {
            let error = refused(text);
            assert_eq!(error.to_string(), expected, "{text}");
            assert!(error.place().is_some(), "{text}");
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
    fn deep_texts_are_refused_and_do_not_touch_the_stack() {
        for text in ["[".repeat(1 << 20), "- ".repeat(1 << 20), "{a: ".repeat(1 << 20), "? ".repeat(1 << 20)] {
            assert_eq!(refused(&text).to_string(), "nested too deeply");
        }
    }

    #[test]
    fn aliases_are_never_expanded() {
        let level = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 100].join(", "));
        let bomb: String = (1..60).map(level).collect();
        let mut limits = Limits::of_a_stream();
        assert!(parse(&format!("a0: &a0 x\n{bomb}"), 1, &mut limits).is_ok());
        // The key, the sequence and its items for each level, and what is before them.
        assert_eq!(limits.left(), Limits::of_a_stream().left() - (59 * 102 + 3));
    }

    #[test]
    fn a_number_may_be_as_long_as_its_document() {
        let text = format!("a: {}", "9".repeat(1 << 20));
        let node = parse(&text, 1, &mut Limits::of_a_stream()).expect("YAML").expect("a node");
        let error = Field::root(&node, "").mapping().and_then(|root| root.required("a")?.string().map(str::len));
        assert_eq!(error.expect_err("a number").to_string(), "a: must be a string, not a number");
    }

    #[test]
    fn an_empty_document_has_no_node_or_null() {
        for text in ["", "# only this\n", "---\n", "---\n...\n"] {
            let node = parse(text, 1, &mut Limits::of_a_stream()).expect("YAML");
            assert!(node.is_none_or(|node| Field::root(&node, "").is_null()), "{text:?}");
        }
    }
}

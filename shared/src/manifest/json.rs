//! JSON text to a tree (RFC 8259).
//!
//! A YAML parser refuses some JSON, such as indentation by tabs and long keys, so JSON has its own reader.

use std::ops::Range;

use super::error::ManifestError;
use super::node::{Content, Node, Style};
use super::tree_builder::{Limits, TreeBuilder};

/// Builds the tree of one JSON value.
///
/// The caller must have checked the grammar. `base` is added to all ranges. Refuses half of a surrogate pair that
/// stands alone, and more than the limits allow.
pub(super) fn parse(text: &str, base: usize, limits: &mut Limits) -> Result<Option<Node>, ManifestError> {
    let mut builder = TreeBuilder::new(limits);
    let mut start = 0;
    while let Some(first) = text.as_bytes().get(start) {
        let end = start + token_length(&text.as_bytes()[start..]);
        let (token, range) = (&text[start..end], base + start..base + end);
        match first {
            b'{' => builder.open(Node::new(range, Content::Mapping(Vec::new())))?,
            b'[' => builder.open(Node::new(range, Content::Sequence(Vec::new())))?,
            b'}' | b']' => builder.close(Some(range.end)),
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' => {}
            b'"' => builder.add(string(token, range)?)?,
            _ => builder.add(Node::new(range, Content::Scalar(token.to_owned(), Style::Plain)))?,
        }
        start = end;
    }
    Ok(builder.finish())
}

/// The length of the token that a text begins with; a run of white space is one token.
fn token_length(text: &[u8]) -> usize {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let is_end = |b: &u8| is_space(b) || matches!(b, b'{' | b'}' | b'[' | b']' | b',' | b':' | b'"');
    match text.first() {
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        Some(b'"') => string_length(text),
        Some(first) if is_space(first) => text.iter().take_while(|b| is_space(b)).count(),
        _ => text.iter().take_while(|b| !is_end(b)).count(),
    }
}

fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text[1..].iter().position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The grammar is checked already, so serde_json refuses only half of a surrogate pair here.
fn string(token: &str, range: Range<usize>) -> Result<Node, ManifestError> {
    match serde_json::from_str(token) {
        Ok(text) => Ok(Node::new(range, Content::Scalar(text, Style::Quoted))),
        Err(_) => Err(ManifestError::new("not JSON: half of a surrogate pair stands alone").at_range(range)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(text: &str) -> Result<Vec<String>, ManifestError> {
        let node = parse(text, 0, &mut Limits::of_a_stream())?.expect("a value");
        let Content::Sequence(items) = node.content else {
            panic!("a sequence");
        };
        Ok(items.iter().map(|item| item.scalar().expect("a scalar").to_owned()).collect())
    }

    #[test]
    fn escapes_are_read_as_python_and_go_write_them() {
        let text = r#"["a\"\\\/\b\f\n\r\t", "\u00e9\u20ac", "\ud83d\ude00", "é😀", "", "\u0000", "\u003c"]"#;
        let expected = ["a\"\\/\u{8}\u{c}\n\r\t", "é€", "😀", "é😀", "", "\0", "<"];
        assert_eq!(strings(text).expect("JSON"), expected);
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in [r#"["\ud83d"]"#, r#"["\ude00"]"#, r#"["\ud83dx"]"#, r#"["\ud83d\u0041"]"#, r#"["\ude00\ud83d"]"#] {
            let error = strings(text).expect_err(text);
            assert_eq!(error.to_string(), "not JSON: half of a surrogate pair stands alone");
            assert_eq!(error.offset(), Some(1));
        }
    }

    #[test]
    fn literals_are_plain_and_strings_are_quoted() {
        let text = r#"{"a":1.5e3 ,"b":[true,null],"c":"1"}"#;
        let node = parse(text, 7, &mut Limits::of_a_stream()).expect("JSON").expect("a value");
        let scalars = node.nodes().filter_map(|node| match &node.content {
            Content::Scalar(scalar, Style::Plain) => Some((scalar.to_string(), node.range.clone())),
            _ => None,
        });
        let expected = [("1.5e3", 12..17), ("true", 24..28), ("null", 29..33)];
        assert_eq!(scalars.collect::<Vec<_>>(), expected.map(|(text, range)| (text.to_owned(), range)));
        assert_eq!(node.entry(&["c"]).and_then(|(_, value)| value.string()), Some("1"));
    }

    #[test]
    fn depth_is_limited() {
        let text = format!("{}{}", "[".repeat(511), "]".repeat(511));
        assert_eq!(strings(&text).expect_err("too deep").to_string(), "nested too deeply");
    }
}

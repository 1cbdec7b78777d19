//! JSON text to a tree, with places: RFC 8259, read as it is and not as YAML's cousin.

use zeroize::Zeroizing;

use super::error::ManifestError;
use super::node::{Content, Limits, Node, Place, Style, TreeBuilder};

/// Builds the tree of one JSON value that begins at `start`.
///
/// The caller has shown that the text is JSON by its grammar; refused are halves of surrogate pairs
/// and what exceeds the limits.
pub(super) fn parse(text: &str, start: Place, limits: &mut Limits) -> Result<Option<Node>, ManifestError> {
    let mut builder = TreeBuilder::new(limits);
    let mut rest = text;
    let mut place = start;
    while let Some(first) = rest.bytes().next() {
        let token = &rest[..token_length(rest)];
        match first {
            b'{' => builder.open(Node::new(place, Content::Mapping(Vec::new())))?,
            b'[' => builder.open(Node::new(place, Content::Sequence(Vec::new())))?,
            b'}' | b']' => builder.close(),
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' => {}
            b'"' => builder.add(string(token, place)?)?,
            _ => builder.add(literal(token, place))?,
        }
        place = place.after(token);
        rest = &rest[token.len()..];
    }
    Ok(builder.finish())
}

/// The length of the token that `text` begins with; a run of white space is one token.
fn token_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let is_end = |b: &u8| is_space(b) || matches!(b, b'{' | b'}' | b'[' | b']' | b',' | b':' | b'"');
    match bytes.first() {
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        Some(b'"') => string_length(bytes),
        Some(first) if is_space(first) => bytes.iter().take_while(|b| is_space(b)).count(),
        _ => bytes.iter().take_while(|b| !is_end(b)).count(),
    }
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn literal(token: &str, place: Place) -> Node {
    Node::new(place, Content::Scalar(Zeroizing::new(token.to_owned()), Style::Plain))
}

fn string(token: &str, place: Place) -> Result<Node, ManifestError> {
    let quoted = &token[1..token.len() - 1];
    match unescaped(quoted) {
        Some(text) => Ok(Node::new(place, Content::Scalar(text, Style::Text))),
        None => Err(ManifestError::new("not JSON: half of a surrogate pair stands alone").with_place(place)),
    }
}

/// The characters that the inside of a JSON string stands for; never longer than it, so that the
/// buffer is not moved.
fn unescaped(quoted: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let mut after = escape.chars();
        let character = match after.next()? {
            'u' => unicode_escape(&mut after)?,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        };
        text.push(character);
        rest = after.as_str();
    }
    text.push_str(rest);
    Some(text)
}

fn unicode_escape(after: &mut std::str::Chars<'_>) -> Option<char> {
    let first = code_unit(after)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first.into());
    }
    let follows = after.as_str().strip_prefix("\\u")?;
    *after = follows.chars();
    let second = code_unit(after)?;
    char::decode_utf16([first, second]).next()?.ok()
}

fn code_unit(after: &mut std::str::Chars<'_>) -> Option<u16> {
    let digits = after.as_str().get(..4)?;
    *after = after.as_str()[4..].chars();
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(text: &str) -> Result<Vec<String>, ManifestError> {
        let node = parse(text, Place::START, &mut Limits::of_a_stream())?.expect("a value");
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
            assert_eq!(error.place(), Some((1, 2)));
        }
    }

    #[test]
    fn literals_are_plain_and_strings_are_text() {
        let node = parse(r#"{"a":1.5e3 ,"b":[true,null],"c":"1"}"#, Place::START, &mut Limits::of_a_stream());
        let Content::Mapping(entries) = node.expect("JSON").expect("a value").content else {
            panic!("a mapping");
        };
        let style = |node: &Node| match &node.content {
            Content::Scalar(text, style) => (text.to_string(), *style),
            _ => panic!("a scalar"),
        };
        assert_eq!(style(&entries[0].1), ("1.5e3".to_owned(), Style::Plain));
        assert_eq!(style(&entries[2].1), ("1".to_owned(), Style::Text));
        let Content::Sequence(items) = &entries[1].1.content else {
            panic!("a sequence");
        };
        assert_eq!(style(&items[1]), ("null".to_owned(), Style::Plain));
    }

    #[test]
    fn places_are_those_of_the_whole_text() {
        let start = Place { line: 4, column: 7 };
        let node = parse("{\"é\":\"x\",\n  \"b\": \"y\"}", start, &mut Limits::of_a_stream());
        let Content::Mapping(entries) = node.expect("JSON").expect("a value").content else {
            panic!("a mapping");
        };
        assert_eq!(entries[0].1.place, Place { line: 4, column: 12 });
        assert_eq!(entries[1].1.place, Place { line: 5, column: 8 });
    }

    #[test]
    fn depth_is_limited() {
        let text = format!("{}{}", "[".repeat(511), "]".repeat(511));
        assert_eq!(strings(&text).expect_err("too deep").to_string(), "nested too deeply");
    }
}

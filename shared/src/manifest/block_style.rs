//! A tree as YAML in block style: two spaces, one line a scalar, nothing folded.

use std::fmt::{Result, Write};

use super::ambiguity::{Reading, reading};
use super::node::{Content, Node, Style};

/// The longest key that YAML lets stand before `:` without `?` is 1024 characters (YAML 1.2.2
/// §7.4.2); this many bytes are never more.
const LONGEST_SIMPLE_KEY: usize = 1000;

/// Writes a document. A scalar stays unquoted only if it is a string to every reader of YAML, or if
/// it is not a string to begin with.
pub(super) fn write_document(out: &mut impl Write, root: &Node) -> Result {
    let is_block = match &root.content {
        Content::Mapping(entries) => !entries.is_empty(),
        Content::Sequence(items) => !items.is_empty(),
        Content::Scalar(..) | Content::Alias(_) => false,
    };
    if is_block {
        return write_block(out, root, 0);
    }
    write_inline(out, root)?;
    out.write_char('\n')
}

/// Writes a collection whose first line is already indented.
fn write_block(out: &mut impl Write, node: &Node, indent: usize) -> Result {
    match &node.content {
        Content::Mapping(entries) => {
            for (position, (key, value)) in entries.iter().enumerate() {
                write_indent(out, if position == 0 { 0 } else { indent })?;
                write_key(out, key.scalar().unwrap_or_default(), indent)?;
                write_value(out, value, indent)?;
            }
        }
        Content::Sequence(items) => {
            for (position, item) in items.iter().enumerate() {
                write_indent(out, if position == 0 { 0 } else { indent })?;
                out.write_str("- ")?;
                write_item(out, item, indent + 2)?;
            }
        }
        Content::Scalar(..) | Content::Alias(_) => {}
    }
    Ok(())
}

fn write_key(out: &mut impl Write, key: &str, indent: usize) -> Result {
    let is_simple = quoted_length(key) <= LONGEST_SIMPLE_KEY;
    if !is_simple {
        out.write_str("? ")?;
    }
    write_string(out, key)?;
    if !is_simple {
        out.write_char('\n')?;
        write_indent(out, indent)?;
    }
    out.write_char(':')
}

fn write_value(out: &mut impl Write, value: &Node, indent: usize) -> Result {
    let indent = match &value.content {
        Content::Mapping(entries) if !entries.is_empty() => indent + 2,
        Content::Sequence(items) if !items.is_empty() => indent,
        _ => {
            out.write_char(' ')?;
            write_inline(out, value)?;
            return out.write_char('\n');
        }
    };
    out.write_char('\n')?;
    write_indent(out, indent)?;
    write_block(out, value, indent)
}

fn write_item(out: &mut impl Write, item: &Node, indent: usize) -> Result {
    match &item.content {
        Content::Mapping(entries) if !entries.is_empty() => write_block(out, item, indent),
        Content::Sequence(items) if !items.is_empty() => write_block(out, item, indent),
        _ => {
            write_inline(out, item)?;
            out.write_char('\n')
        }
    }
}

fn write_inline(out: &mut impl Write, node: &Node) -> Result {
    match &node.content {
        Content::Scalar(text, Style::Plain) => out.write_str(text),
        Content::Scalar(text, Style::Text) => write_string(out, text),
        Content::Mapping(_) => out.write_str("{}"),
        Content::Sequence(_) => out.write_str("[]"),
        Content::Alias(_) => Ok(()),
    }
}

fn write_indent(out: &mut impl Write, indent: usize) -> Result {
    (0..indent).try_for_each(|_| out.write_char(' '))
}

fn write_string(out: &mut impl Write, text: &str) -> Result {
    if is_plain(text) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            character if needs_escape(character) => write!(out, "\\u{:04X}", u32::from(character))?,
            character => out.write_char(character)?,
        }
    }
    out.write_char('"')
}

fn quoted_length(text: &str) -> usize {
    text.chars().map(|c| if needs_escape(c) { 6 } else { c.len_utf8() + 1 }).sum::<usize>() + 2
}

/// Whether no reader of YAML takes the text for anything but this string. Narrower than YAML.
fn is_plain(text: &str) -> bool {
    let may_begin = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '+');
    let may_follow = |c: char| may_begin(c) || matches!(c, '-' | '=');
    text.starts_with(may_begin)
        && text.chars().all(may_follow)
        && !text.starts_with("..")
        && reading(text) == Reading::Text
}

/// What YAML cannot show (1.2.2 §5.1), what YAML 1.1 takes for a line break, and what nobody sees.
fn needs_escape(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::json;
    use super::super::node::{Limits, Place};
    use super::super::typed::read_one;
    use super::*;

    fn written(value: &Value) -> String {
        let root = json::parse(&value.to_string(), Place::START, &mut Limits::none()).expect("JSON").expect("a value");
        let mut out = String::new();
        write_document(&mut out, &root).expect("a String takes everything");
        out
    }

    #[test]
    fn the_block_style_is_that_of_kubectl() {
        let value = json!({
            "apiVersion": "v1",
            "empty": {},
            "items": [{"a": 1, "b": {"c": null}}, [], ["x", ["v"]], "z"],
            "kind": "List",
            "none": [],
            "url": "postgres://db",
        });
        let expected = "apiVersion: v1
empty: {}
items:
- a: 1
  b:
    c: null
- []
- - x
  - - v
- z
kind: List
none: []
url: \"postgres://db\"
";
        assert_eq!(written(&value), expected);
        assert_eq!(written(&json!({})), "{}\n");
        assert_eq!(written(&json!("no")), "\"no\"\n");
    }

    #[test]
    fn what_readers_dispute_is_quoted() {
        for text in [
            "",
            "no",
            "y",
            "on",
            "0777",
            "0o17",
            "1_000",
            "1e3",
            "1.10",
            ".inf",
            "0x1F",
            "0b1",
            "1:30",
            "2001-01-01",
            "~",
            "null",
            "=",
            "<<",
            "12345678e1",
            "-",
            "-x",
            "---",
            "...",
            "a b",
            "a:",
            "#a",
            "*a",
            "&a",
            "!a",
            "{a",
            "a,",
            "@a",
            "`a",
            "%a",
            "?",
            "|",
            ">",
            "'a",
            " a",
            "1234",
            "TRUE",
            "==",
        ] {
            assert_eq!(written(&json!(text)), format!("\"{text}\"\n"));
            assert_eq!(written(&json!({ text: 1 })), format!("\"{text}\": 1\n"));
        }
        for text in ["v1.2.3", "hello", "10.0.0.1", "12abc", "5m", "aGk=", "+/x", "a/b", ".dockerconfigjson", "tls.crt"]
        {
            assert_eq!(written(&json!(text)), format!("{text}\n"));
        }
    }

    #[test]
    fn escapes_are_those_of_both_versions() {
        let text = "\"\\\n\r\t\0\u{7f}\u{85}\u{a0}\u{2028}\u{feff}é😀";
        let expected = "\"\\\"\\\\\\n\\r\\t\\u0000\\u007F\\u0085\\u00A0\\u2028\\uFEFFé😀\"\n";
        assert_eq!(written(&json!(text)), expected);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text =
            prop_oneof![any::<String>(), "[-0-9_:.eoxb~=<>nyNYfalsetru +]{0,8}", "[ \t\r\n\u{85}\u{2028}#:'\"]{0,6}"];
        let leaf = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            let value = json!({ "root": value });
            prop_assert_eq!(read_one::<Value>(&written(&value)), Ok(value));
        }

        #[test]
        fn every_scalar_is_one_line(text in any::<String>()) {
            prop_assert_eq!(written(&json!({ &text: &text })).lines().count(), 1);
        }
    }

    #[test]
    fn keys_of_any_length_are_read_back() {
        for key in ["k".repeat(999), "k".repeat(5000), "\u{1}".repeat(300), "é 😀\"".repeat(400)] {
            let value = json!({ "a": { key: { "b": "c" }, "z": 1 } });
            assert_eq!(read_one::<Value>(&written(&value)), Ok(value));
        }
    }
}

//! YAML in block style: indented by two spaces, one line for each scalar, nothing folded.
//!
//! The writer of serde-saphyr cannot be used. It leaves `0x` unquoted: some readers take it for a number, and our own
//! reader refuses it. It also cannot keep the digits of numbers, and list items that were read must keep them.

use std::io::{Result, Write};

use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use super::ambiguity::{Reading, reading};

/// The longest key in bytes that is written without `?` before it. YAML allows 1,024 characters (YAML 1.2.2 §7.4.2),
/// and 1,000 bytes are never more than that.
const LONGEST_SIMPLE_KEY: usize = 1000;

/// Makes serde_json write YAML. A string is written without quotes only if every reader of YAML reads it as this
/// string. Numbers, booleans and null have no quotes.
#[derive(Default)]
pub(super) struct BlockStyle {
    /// The collections that are open, the outermost first.
    open: Vec<Collection>,
    is_key: bool,
    /// The string that is being written. Only the whole string shows whether it needs quotes.
    string: String,
}

struct Collection {
    is_list: bool,
    is_empty: bool,
    /// Whether a key stands before it: then its entries begin on the line after the key.
    is_value: bool,
    indent: usize,
}

impl BlockStyle {
    fn begin(&mut self, is_list: bool) -> Result<()> {
        let (is_value, indent) = match self.open.last() {
            None => (false, 0),
            Some(parent) if is_list && !parent.is_list => (true, parent.indent),
            Some(parent) => (!parent.is_list, parent.indent + 2),
        };
        self.open.push(Collection { is_list, is_empty: true, is_value, indent });
        Ok(())
    }

    fn end(&mut self, out: &mut (impl Write + ?Sized), brackets: &str) -> Result<()> {
        match self.open.pop() {
            Some(Collection { is_empty: true, .. }) => self.write_scalar(out, brackets),
            _ => Ok(()),
        }
    }

    /// Writes the line break and the indentation that stand before the next entry of the innermost collection.
    fn begin_entry(&mut self, out: &mut (impl Write + ?Sized)) -> Result<()> {
        let Some(collection) = self.open.last_mut() else { return Ok(()) };
        let is_first = std::mem::replace(&mut collection.is_empty, false);
        if is_first && collection.is_value {
            out.write_all(b"\n")?;
        }
        if !is_first || collection.is_value { write_indent(out, collection.indent) } else { Ok(()) }
    }

    fn write_scalar(&mut self, out: &mut (impl Write + ?Sized), text: &str) -> Result<()> {
        if self.is_key {
            return self.write_key(out, text);
        }
        if self.open.last().is_some_and(|parent| !parent.is_list) {
            out.write_all(b" ")?;
        }
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")
    }

    fn write_key(&mut self, out: &mut (impl Write + ?Sized), text: &str) -> Result<()> {
        if text.len() <= LONGEST_SIMPLE_KEY {
            out.write_all(text.as_bytes())?;
        } else {
            writeln!(out, "? {text}")?;
            write_indent(out, self.open.last().map_or(0, |mapping| mapping.indent))?;
        }
        out.write_all(b":")
    }
}

macro_rules! write_numbers {
    ($($method:ident $type:ty,)*) => {$(
        fn $method<W: Write + ?Sized>(&mut self, out: &mut W, number: $type) -> Result<()> {
            let mut text = Vec::new();
            CompactFormatter.$method(&mut text, number)?;
            self.write_scalar(out, &String::from_utf8_lossy(&text))
        }
    )*};
}

impl Formatter for BlockStyle {
    write_numbers! {
        write_i8 i8, write_i16 i16, write_i32 i32, write_i64 i64, write_i128 i128,
        write_u8 u8, write_u16 u16, write_u32 u32, write_u64 u64, write_u128 u128,
        write_f32 f32, write_f64 f64,
    }

    fn write_null<W: Write + ?Sized>(&mut self, out: &mut W) -> Result<()> {
        self.write_scalar(out, "null")
    }

    fn write_bool<W: Write + ?Sized>(&mut self, out: &mut W, value: bool) -> Result<()> {
        self.write_scalar(out, if value { "true" } else { "false" })
    }

    /// Writes a number with the digits that were read. Only numbers are written in this way (`Serialize` for `Node`).
    fn write_raw_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> Result<()> {
        self.write_scalar(out, fragment)
    }

    fn begin_string<W: Write + ?Sized>(&mut self, _: &mut W) -> Result<()> {
        self.string.clear();
        Ok(())
    }

    fn write_string_fragment<W: Write + ?Sized>(&mut self, _: &mut W, fragment: &str) -> Result<()> {
        self.string.push_str(fragment);
        Ok(())
    }

    fn write_char_escape<W: Write + ?Sized>(&mut self, _: &mut W, escape: CharEscape) -> Result<()> {
        self.string.push(match escape {
            CharEscape::Quote => '"',
            CharEscape::ReverseSolidus => '\\',
            CharEscape::Solidus => '/',
            CharEscape::Backspace => '\u{8}',
            CharEscape::FormFeed => '\u{c}',
            CharEscape::LineFeed => '\n',
            CharEscape::CarriageReturn => '\r',
            CharEscape::Tab => '\t',
            CharEscape::AsciiControl(byte) => char::from(byte),
        });
        Ok(())
    }

    fn end_string<W: Write + ?Sized>(&mut self, out: &mut W) -> Result<()> {
        let string = std::mem::take(&mut self.string);
        if is_plain(&string) { self.write_scalar(out, &string) } else { self.write_scalar(out, &quoted(&string)) }
    }

    fn begin_array<W: Write + ?Sized>(&mut self, _: &mut W) -> Result<()> {
        self.begin(true)
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> Result<()> {
        self.end(out, "[]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, _: bool) -> Result<()> {
        self.begin_entry(out)?;
        out.write_all(b"- ")
    }

    fn begin_object<W: Write + ?Sized>(&mut self, _: &mut W) -> Result<()> {
        self.begin(false)
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> Result<()> {
        self.end(out, "{}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, _: bool) -> Result<()> {
        self.is_key = true;
        self.begin_entry(out)
    }

    fn end_object_key<W: Write + ?Sized>(&mut self, _: &mut W) -> Result<()> {
        self.is_key = false;
        Ok(())
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, _: &mut W) -> Result<()> {
        Ok(())
    }
}

fn write_indent(out: &mut (impl Write + ?Sized), indent: usize) -> Result<()> {
    (0..indent).try_for_each(|_| out.write_all(b" "))
}

/// The string in double quotes. The result is one line for every YAML reader, and has no control character.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            character if needs_escape(character) => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether every reader of YAML reads the text without quotes as this string. Also false for some texts that need no
/// quotes.
fn is_plain(text: &str) -> bool {
    let may_begin = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '+');
    let may_follow = |c: char| may_begin(c) || matches!(c, '-' | '=');
    text.starts_with(may_begin)
        && text.chars().all(may_follow)
        && !text.starts_with("..")
        && reading(text) == Reading::Text
}

/// Whether a character must be escaped: YAML does not allow it (1.2.2 §5.1), or it is a line break in YAML 1.1, or it
/// is a control character, a no-break space or a byte order mark.
fn needs_escape(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{read_one, write as written};

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
    fn numbers_of_every_type_are_written() {
        assert_eq!(written(&(-1_i8, -2_i16, -3_i32, -4_i64, -5_i128)), "- -1\n- -2\n- -3\n- -4\n- -5\n");
        assert_eq!(written(&(1_u8, 2_u16, 3_u32, 4_u64, 5_u128)), "- 1\n- 2\n- 3\n- 4\n- 5\n");
        assert_eq!(written(&(0.5_f32, 0.25_f64)), "- 0.5\n- 0.25\n");
    }

    #[test]
    fn scalars_that_readers_interpret_differently_are_quoted() {
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
    fn escapes_are_valid_in_yaml_1_1_and_1_2() {
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

//! Untrusted text for people to read: every character is visible and in its real place.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

/// Whether a terminal hides a character, obeys it, or reorders the text around it: control characters, line and
/// paragraph separators, bidirectional controls (Unicode Standard Annex #9, §2), and characters of no width.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with each hidden character as Rust escapes it, such as `\n` and `\u{202e}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, |hidden, escaped| escaped.extend(hidden.escape_default()))
}

/// A path for people to read, with hidden characters as in [`escaped`] and bytes that are not UTF-8 as U+FFFD.
pub fn visible_path(path: &Path) -> String {
    escaped(&path.display().to_string()).into_owned()
}

/// The same JSON with each hidden character except line feeds as a JSON escape, such as `\u202e`. The text must come
/// from `serde_json`, which writes hidden characters only in strings.
pub fn escaped_json(text: &str) -> Cow<'_, str> {
    replaced(text, |hidden, escaped| match hidden {
        '\n' => escaped.push('\n'),
        hidden => {
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(escaped, "\\u{unit:04x}").expect("writing to a string does not fail");
            }
        }
    })
}

fn replaced(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return text.into();
    }
    let mut replaced = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hidden(character) { escape(character, &mut replaced) } else { replaced.push(character) }
    }
    replaced.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_text_is_not_changed() {
        for text in ["", "apps/shop/db.yaml:3:1: a b", "\\u{202e}", "é ü ß 中文 עברית العربية 🦭", "\u{fffd}…"]
        {
            assert_eq!(escaped(text), text);
            assert_eq!(escaped_json(text), text);
        }
    }

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        for (text, expected) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{7f}\u{85}\u{9b}", "\\u{7f}\\u{85}\\u{9b}"),
            ("\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}", "\\u{202a}\\u{202b}\\u{202c}\\u{202d}\\u{202e}"),
            ("\u{2066}\u{2067}\u{2068}\u{2069}", "\\u{2066}\\u{2067}\\u{2068}\\u{2069}"),
            ("\u{200e}\u{200f}\u{61c}", "\\u{200e}\\u{200f}\\u{61c}"),
            ("\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}", "\\u{200b}\\u{200c}\\u{200d}\\u{2060}\\u{feff}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("\u{1bca0}\u{1d173}\u{e0041}", "\\u{1bca0}\\u{1d173}\\u{e0041}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = serde_json::json!({"a\u{202e}": ["\u{9b}\u{2028}", "\u{e0041}\n\"\\"], "b": 1});
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        let escaped = escaped_json(&text);
        assert!(!escaped.replace('\n', "").contains(is_hidden), "{escaped}");
        assert!(escaped.contains(r#""a\u202e""#) && escaped.contains(r"\udb40\udc41"), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
    }
}

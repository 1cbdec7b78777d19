//! The unquoted scalars that readers of YAML 1.1 and YAML 1.2 interpret differently.

/// How other programs that read YAML interpret an unquoted scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A string to all of them.
    Text,
    /// Null to all of them.
    Null,
    /// The same boolean to all of them.
    Boolean(bool),
    /// A number in the grammar of JSON. To YAML 1.1, some of these are strings (`1e3`).
    Number,
    /// Any other scalar that is not the same to all of them (`yes`, `0777`), or a number that JSON does not write like
    /// this (`+1`, `.inf`).
    Disputed,
}

/// Interprets an unquoted scalar.
///
/// Sources: <https://yaml.org/type/> (YAML 1.1: `bool`, `float`, `int`, `merge`, `null`, `timestamp`, `value`) and YAML
/// 1.2.2 §10.3.2. Where a common program accepts more than both, these rules do too: letter case does not matter
/// (Ruby), and `_` may stand anywhere in a number (Go).
pub(super) fn reading(text: &str) -> Reading {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Reading::Null,
        "true" | "True" | "TRUE" => return Reading::Boolean(true),
        "false" | "False" | "FALSE" => return Reading::Boolean(false),
        _ => {}
    }
    if is_json_number(text) {
        return Reading::Number;
    }
    if is_special_word(text) || is_yaml_number(text) || is_timestamp(text) {
        return Reading::Disputed;
    }
    Reading::Text
}

fn is_special_word(text: &str) -> bool {
    const WORDS: [&str; 12] = ["null", "true", "false", "y", "yes", "n", "no", "on", "off", "=", "<<", "~"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// RFC 8259 §6.
fn is_json_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = split_digits(rest);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("0", rest),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    !whole.is_empty() && !leading_zero && !fraction.is_empty() && is_exponent_or_nothing(rest)
}

fn is_yaml_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let text = folded(text);
    let text = text.strip_prefix(['+', '-']).unwrap_or(&text);
    is_based_integer(text) || is_decimal(text) || is_sexagesimal(text) || matches!(text, ".inf" | ".nan")
}

/// The text in lower case and without `_`.
fn folded(text: &str) -> String {
    text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

/// `0b1`, `0o17`, `0x1f`. Go also accepts a second sign (`0b-1`), and Python accepts a number without digits (`0x_`).
fn is_based_integer(text: &str) -> bool {
    let in_base = |prefix, base| {
        let digits: Option<&str> = text.strip_prefix(prefix);
        digits.is_some_and(|digits| digits.trim_start_matches(['+', '-']).chars().all(|c| c.is_digit(base)))
    };
    in_base("0b", 2) || in_base("0o", 8) || in_base("0x", 16)
}

/// `0777`, `1.`, `.5`, `1e3`.
fn is_decimal(text: &str) -> bool {
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = split_digits(rest.strip_prefix('.').unwrap_or(rest));
    !(whole.is_empty() && fraction.is_empty()) && is_exponent_or_nothing(rest)
}

/// `1:30`, `190:20:30.15`: YAML 1.1 counts in sixties.
fn is_sexagesimal(text: &str) -> bool {
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if split_digits(fraction).1.is_empty() => whole,
        _ => text,
    };
    whole.split_once(':').is_some_and(|(first, rest)| is_digits(first) && rest.split(':').all(is_below_sixty))
}

fn is_below_sixty(text: &str) -> bool {
    is_digits(text) && text.len() <= 2 && text.parse::<u8>().is_ok_and(|number| number < 60)
}

/// A date, alone or with a time after it: `2001-01-01`, `2001-1-1 2:03:04.5 -7`.
fn is_timestamp(text: &str) -> bool {
    let (year, rest) = split_digits(text);
    let Some((month, rest)) = rest.strip_prefix('-').map(split_digits) else {
        return false;
    };
    let Some((day, rest)) = rest.strip_prefix('-').map(split_digits) else {
        return false;
    };
    let is_date = year.len() == 4 && matches!(month.len(), 1 | 2) && matches!(day.len(), 1 | 2);
    is_date && (rest.is_empty() || is_time(rest))
}

fn is_time(text: &str) -> bool {
    let time = text.trim_start_matches(['T', 't', ' ', '\t']);
    time.len() < text.len()
        && time.starts_with(|c: char| c.is_ascii_digit())
        && time.contains(':')
        && time.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '+' | '-' | 'Z' | 'z' | ' ' | '\t'))
}

fn is_exponent_or_nothing(text: &str) -> bool {
    match text.strip_prefix(['e', 'E']) {
        Some(power) => is_digits(power.strip_prefix(['+', '-']).unwrap_or(power)),
        None => text.is_empty(),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && split_digits(text).1.is_empty()
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_booleans_and_numbers_are_not_text() {
        for (text, expected) in [
            ("", Reading::Null),
            ("~", Reading::Null),
            ("null", Reading::Null),
            ("NULL", Reading::Null),
            ("true", Reading::Boolean(true)),
            ("FALSE", Reading::Boolean(false)),
            ("0", Reading::Number),
            ("-1", Reading::Number),
            ("5432", Reading::Number),
            ("1.10", Reading::Number),
            ("1e3", Reading::Number),
            ("12345678e1", Reading::Number),
            ("-1.5E+3", Reading::Number),
        ] {
            assert_eq!(reading(text), expected, "{text}");
        }
    }

    #[test]
    fn scalars_that_readers_interpret_differently_are_disputed() {
        for text in [
            "y",
            "Y",
            "yes",
            "Yes",
            "YES",
            "n",
            "N",
            "no",
            "No",
            "NO",
            "nO",
            "on",
            "On",
            "ON",
            "off",
            "OFF",
            "nULL",
            "tRUE",
            "=",
            "<<",
            "0777",
            "-0777",
            "0o17",
            "0O17",
            "0x1F",
            "0X1f",
            "-0x1",
            "0b1",
            "0b1010_0111",
            "0b-1",
            "0o-01_",
            "0x_",
            "+1",
            "1_000",
            "1__0",
            "-_1",
            "089",
            "0123456701",
            "1.",
            ".5",
            "-.5",
            "+1.5",
            "1.5_0",
            "1.e3",
            "1.e+3",
            "01.5",
            ".inf",
            "-.inf",
            "+.Inf",
            ".INF",
            ".nan",
            ".NaN",
            "1:30",
            "12:30:45",
            "190:20:30.15",
            "190:20:30.",
            "-1:30",
            "1_0:20",
            "00:11:22:33:44:55",
            "2001-01-01",
            "2001-1-2",
            "2001-12-14t21:59:43.10-05:00",
            "2001-12-15T02:59:43.1Z",
            "2001-12-14 21:59:43.10 -5",
            "2001-12-15 2:59:43.10",
        ] {
            assert_eq!(reading(text), Reading::Disputed, "{text}");
        }
    }

    #[test]
    fn plain_words_are_text() {
        for text in [
            "v1.2.3",
            "hello",
            "10.0.0.1",
            "a:b",
            "12abc",
            "-word",
            "--flag",
            "-",
            "+",
            ".",
            "..",
            "...",
            "5m",
            "1.2.3",
            "8080:80",
            "1:2:x",
            "1:",
            ":1",
            "1:60",
            "1:030",
            "0b2",
            "0o8",
            "0xg",
            "e1",
            "1e",
            "1e+",
            "1ee1",
            ".e",
            "inf",
            "nan",
            "nope",
            "yess",
            "yes please",
            "nullable",
            "truely",
            "_1",
            "1,000",
            "1 000",
            "2001-01",
            "2001-01-01-x",
            "2001-01-01 at noon",
            "201-01-01",
            "2001-001-01",
            "k2f41ab09c3d4e5f6",
            "e7f3a9c21e0",
            "==",
            "<",
            "~/x",
            "1.2.3e4",
            "1..2",
            "1.5.",
            "0x1.8",
            "1/2",
            "100%",
            "é",
            "１",
        ] {
            assert_eq!(reading(text), Reading::Text, "{text}");
        }
    }
}

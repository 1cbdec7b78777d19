//! The lines of a YAML text, and the markers among them.

pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';
/// The white space of JSON, and of the lines that separate YAML documents.
pub(super) const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The lines of a text with their breaks: LF, CR LF or CR (YAML 1.2.2 §5.4).
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
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

pub(super) fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(SPACE))
}

/// Whether kubectl takes the line for the marker `---`, and YAML does not.
pub(super) fn is_unclear_marker(line: &str) -> bool {
    line.starts_with("---") && !is_marker(line, "---")
}

/// The offset of the first line that fits.
pub(super) fn offset_of_line(text: &str, fits: impl Fn(&str) -> bool) -> Option<usize> {
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
pub(super) fn is_bare_marker(line: &str) -> bool {
    (is_marker(line, "---") || is_marker(line, "...")) && is_blank_or_comment(&line[3..])
}

pub(super) fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_matches(SPACE);
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

//! Texts from untrusted files that are shown at a terminal.

/// Returns a text that looks like a name in a manifest (1 to 253 bytes of printable ASCII without white space), and `…`
/// for any other text.
pub(crate) fn name_or_ellipsis(text: &str) -> &str {
    let is_plain = (1..=253).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { text } else { "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_that_looks_like_a_name_is_shown() {
        for text in ["Opaque", "kubernetes.io/tls", "!", "~", &"x".repeat(253)] {
            assert_eq!(name_or_ellipsis(text), text);
        }
        for text in ["", "a b", "a\nb", "\u{1b}[2J", "\u{7f}", "\u{85}", "é", "\u{202e}", &"x".repeat(254)] {
            assert_eq!(name_or_ellipsis(text), "…", "{text:?}");
        }
    }
}

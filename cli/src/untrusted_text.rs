//! Texts of files that somebody else wrote, on their way to a terminal.

/// The text as a report may show it: itself if it is 1 to 253 bytes of printable ASCII without
/// white space, as the names in manifests are, or `…` where it could be anything.
pub(crate) fn shown(text: &str) -> &str {
    let is_plain = (1..=253).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { text } else { "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_name_is_shown() {
        for text in ["Opaque", "kubernetes.io/tls", "!", "~", &"x".repeat(253)] {
            assert_eq!(shown(text), text);
        }
        for text in ["", "a b", "a\nb", "\u{1b}[2J", "\u{7f}", "\u{85}", "é", "\u{202e}", &"x".repeat(254)] {
            assert_eq!(shown(text), "…", "{text:?}");
        }
    }
}

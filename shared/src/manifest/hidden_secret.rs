//! Secrets that kubectl finds in a document, and that a reader of YAML 1.2 does not.

use super::document::{Document, LINE_BREAKS_OF_YAML_1_1, kind};
use super::error::ManifestError;
use super::lines::{is_unclear_marker, lines, offset_of_line};
use super::stream::split;
use super::tree::Tree;
use super::{Format, MAX_OBJECT_BYTES};

/// The greatest size of a document in which [`Document::hidden_secret`] looks for a Secret: 3 MiB. It reads a second
/// copy of the document, which takes twice the memory. No object that a cluster takes is larger.
const MAX_DOCUMENT_READ_TWICE: usize = 2 * MAX_OBJECT_BYTES;

impl Document<'_> {
    /// Returns an error if a Secret is hidden in the document behind a line break of YAML 1.1, or behind a line such as
    /// `---#db`. kubectl ends a line or a document there and sees this Secret; for this reader it is part of a comment
    /// or a scalar. The document must not stay in the result, because its values are not sealed. If a document has such
    /// a line break or line and more than 3 MiB, this function does not look for the Secret and returns the error.
    pub fn hidden_secret(&self) -> Option<ManifestError> {
        if self.format == Format::Json {
            return None;
        }
        let fault = self.unclear_line_break().or_else(|| unclear_marker(self))?;
        let is_found = || {
            let text = self.text.replace(LINE_BREAKS_OF_YAML_1_1, "\n");
            let as_kubectl = |line| if is_unclear_marker(line) { "---\n" } else { line };
            let text: String = lines(&text).map(as_kubectl).collect();
            // Only a text that is not YAML holds nothing. A document that is refused for another reason can be a
            // Secret.
            let holds_secret = |tree: Result<Option<Tree<'_>>, ManifestError>| match tree {
                Ok(tree) => kind(tree).map_or(true, |kind| kind.holds_secret()),
                Err(error) => error.is_too_large(),
            };
            split(&text).is_ok_and(|stream| stream.trees().any(|(_, tree)| holds_secret(tree)))
        };
        (self.text.len() > MAX_DOCUMENT_READ_TWICE || is_found()).then_some(fault)
    }
}

fn unclear_marker(document: &Document<'_>) -> Option<ManifestError> {
    let offset = offset_of_line(document.text, is_unclear_marker)?;
    let error = ManifestError::new("kubectl begins a document here, and YAML does not").at_offset(offset);
    Some(document.located(error.with_hint("write a space or nothing after ---")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_behind_a_marker_that_only_kubectl_knows_is_found() {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: x}\n";
        let json = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"}}\n";
        for text in [format!("|\n---# x\n{secret}"), format!("# x\n---#db\n{json}"), format!("x\n---y\n{json}")] {
            let error = split(&text).expect("a stream").documents[0].hidden_secret().expect(&text);
            assert_eq!(error.to_string(), "kubectl begins a document here, and YAML does not", "{text:?}");
            assert_eq!(error.place(), Some((2, 1)), "{text:?}");
        }
        let text = "# c\n---# d\nkind: ConfigMap\n";
        assert_eq!(split(text).expect("a stream").documents[0].hidden_secret(), None);
    }

    #[test]
    fn a_secret_behind_a_line_break_of_yaml_1_1_is_found() {
        let hidden = |text: &str| split(text).expect("a stream").documents[0].hidden_secret();
        for text in [
            "# c\u{2028}apiVersion: v1\u{85}kind: Secret",
            "\u{feff}apiVersion: v1 # c\u{2029}kind: secret",
            "a: b # c\u{2028}---\u{2028}apiVersion: v1\u{2028}kind: Secret",
            "a: | # c\u{2028}apiVersion: v1\u{2028}kind: Secret",
            "# c\u{2028}apiVersion: v1\u{2028}kind: Secret\u{2028}kind: Secret",
            "# c\u{2028}x: &k Secret\u{2028}apiVersion: v1\u{2028}kind: *k",
            &format!("# c\u{2028}apiVersion: v1\u{2028}kind: Secret\u{2028}a: [{}]", "1,".repeat(100_001)),
        ] {
            let error = hidden(text).expect(text);
            assert_eq!(error.to_string(), "YAML versions disagree on whether a line ends here", "{text:?}");
            assert_eq!(error.place().map(|(line, _)| line), Some(1), "{text:?}");
        }
        let large = format!("# \u{2028}\n{}", "x".repeat(MAX_DOCUMENT_READ_TWICE - 6));
        assert_eq!(hidden(&large), None);
        assert!(hidden(&format!("{large}x")).is_some());
        for text in [
            "kind: ConfigMap # c\u{2028}",
            "kind: ConfigMap\ndata: {a: \"Secret\u{2028}x\"}",
            "# c\nkind: Secret",
            "{\"a\": \"\u{2028}kind: Secret\u{2028}apiVersion: v1\"}",
            "a: |\n  b\u{2028}  apiVersion: v1\u{2028}  kind: Secret",
        ] {
            assert_eq!(hidden(text), None, "{text:?}");
        }
    }
}

//! Texts that are not finished: templates to render, and conflicts to resolve.

pub(super) const RESOLVE_IT: &str = "resolve the conflict first";
pub(super) const RENDER_IT: &str = "this looks like a template: render it first";

/// Whether a value looks like one that a template engine was meant to replace: one line with `{{ … }}` or `{% … %}` in
/// it (Helm, Jinja), or all of it `${…}` (Flux), `$(…)` or `<path:…>` (the Vault plugin of Argo CD). Texts of several
/// lines are files, which may hold templates of their own.
pub(super) fn looks_unrendered(value: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(value) else {
        return false;
    };
    let text = text.trim();
    let is_within = |start, end| text.starts_with(start) && text.ends_with(end);
    !text.contains('\n')
        && (has_braces(text) || is_within("${", "}") || is_within("$(", ")") || is_within("<path:", ">"))
}

/// Whether a text has the braces of Helm or Jinja in it.
pub(super) fn has_braces(text: &str) -> bool {
    [("{{", "}}"), ("{%", "%}")]
        .iter()
        .any(|(open, close)| text.split_once(open).is_some_and(|(_, rest)| rest.contains(close)))
}

/// Returns the offset of the first line that Git wrote for a conflict.
pub(super) fn conflict_marker(text: &str) -> Option<usize> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let is_marker = |marker: &str| {
            line.strip_prefix(marker).is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with(' '))
        };
        if ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].into_iter().any(is_marker) {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

/// Whether a value contains a whole Git conflict. In flow style the markers are not an error: YAML reads them as part
/// of the value, and joins the lines.
pub(super) fn holds_conflict(value: &str) -> bool {
    ["<<<<<<< ", "=======", ">>>>>>> "].iter().all(|marker| value.contains(marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_template_engine_would_replace() {
        for value in [
            "{{ .Values.password }}",
            "postgres://{{ user }}@db\n",
            "{% if x %}a{% endif %}",
            "${PASSWORD}",
            "$(PASSWORD)",
            "<path:secret/data/db#password>",
            "${{ secrets.PASSWORD }}",
        ] {
            assert!(looks_unrendered(value.as_bytes()), "{value}");
        }
        for value in [
            "",
            "a${b}c",
            "$PASSWORD",
            "{a}",
            "}}{{",
            "{{",
            "<b>",
            "{{ a }}\n{{ b }}\n",
            "pa$$(word)x",
            "{\"a\":{\"b\":1}}",
        ] {
            assert!(!looks_unrendered(value.as_bytes()), "{value}");
        }
        assert!(!looks_unrendered(b"{{\xff}}"));
    }

    #[test]
    fn lines_that_git_wrote_into_a_conflict() {
        for (text, expected) in [
            ("a: b\n<<<<<<< HEAD\nc: d\n", Some(5)),
            ("=======\r\n>>>>>>> main\r\n", Some(0)),
            ("||||||| 1a2b3c4\n", Some(0)),
            ("a: |\n  <<<<<<< HEAD\n", None),
            ("========\n>>>>>>>>\n", None),
            ("", None),
        ] {
            assert_eq!(conflict_marker(text), expected, "{text:?}");
        }
    }
}

//! The globs in rules. Only this module names the crate that matches them.
//!
//! A glob is matched against the whole path below the folder of `.waxseal.yaml`, as in the `paths` of GitHub's
//! workflows and unlike a name without a slash in `.gitignore`: `*.yaml` matches no file in a folder below.

use std::borrow::Cow;
use std::path::Path;

use globset::{ErrorKind, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// The most globs in one file.
const MAX_GLOBS: usize = 1000;
/// The most bytes of all globs in one file. A matcher takes up to 2 KiB of memory for each byte of its globs.
const MAX_BYTES_TOGETHER: usize = 24 * 1024;
/// The longest glob, in bytes. The parser of globs calls itself for each nested brace.
const MAX_BYTES: usize = 1000;

/// The globs of one rule.
#[derive(Debug)]
pub(super) struct Globs(GlobSet);

/// Why globs are refused. Never quotes a glob.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GlobFault {
    /// The number of the glob; `None` for all of them together.
    pub(super) index: Option<usize>,
    pub(super) text: Cow<'static, str>,
    pub(super) hint: Option<&'static str>,
}

impl GlobFault {
    fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { index: None, text: text.into(), hint: None }
    }
}

impl Globs {
    pub(super) fn parse(texts: &[String]) -> Result<Self, GlobFault> {
        let mut set = GlobSetBuilder::new();
        for (index, text) in texts.iter().enumerate() {
            set.add(parse(text).map_err(|fault| GlobFault { index: Some(index), ..fault })?);
        }
        Ok(Self(set.build().map_err(|error| GlobFault::new(meaning(error.kind())))?))
    }

    pub(super) fn match_path(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }
}

/// Refuses more globs, or more bytes of globs, than one file may have.
pub(super) fn check_total<'a>(globs: impl Iterator<Item = &'a String>) -> Result<(), GlobFault> {
    let (count, bytes) = globs.fold((0, 0), |(count, bytes), glob| (count + 1, bytes + glob.len()));
    if count > MAX_GLOBS {
        return Err(GlobFault::new(format!("more than {MAX_GLOBS} paths in all rules together")));
    }
    if bytes > MAX_BYTES_TOGETHER {
        return Err(GlobFault::new("more than 24 KiB of paths in all rules together"));
    }
    Ok(())
}

/// Reads a glob: `*` and `?` do not match `/`, and `**` as a whole part of a path matches any number of folders.
/// Refuses a glob that is empty, too long or malformed, begins with `!`, or has an empty part, `.` or `..`. This check
/// of the parts treats braces like all other characters.
fn parse(text: &str) -> Result<Glob, GlobFault> {
    let refused = |text, hint| Err(GlobFault { index: None, text: Cow::Borrowed(text), hint: Some(hint) });
    if text.is_empty() {
        return Err(GlobFault::new("an empty glob"));
    }
    if text.len() > MAX_BYTES {
        return Err(GlobFault::new(format!("a glob of more than {MAX_BYTES} bytes")));
    }
    if text.starts_with('!') {
        return refused("a glob with an exception", "put a rule for the excepted files before this rule");
    }
    if text.starts_with('/') {
        return refused("an absolute path", "leave out the / at its start: paths are relative to this file's folder");
    }
    if text.ends_with('/') {
        return refused("the path of a folder", "write ** after the / for all files below the folder");
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refused("a part of the path is empty, . or ..", "write the path without it");
    }
    // Without `literal_separator`, `*` would also match `/`.
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
    glob.map_err(|error| GlobFault::new(meaning(error.kind())))
}

/// The meaning of an error. The error's own text can quote parts of the glob.
fn meaning(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnclosedClass => "a glob with [ and without its ]",
        ErrorKind::InvalidRange(..) => "a glob with a range that ends before it begins",
        ErrorKind::UnopenedAlternates => "a glob with } and without its {",
        ErrorKind::UnclosedAlternates => "a glob with { and without its }",
        ErrorKind::DanglingEscape => "a glob with \\ at its end",
        _ => "a glob that is too complicated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_paths() {
        for (glob, path, expected) in [
            ("apps/shop/**", "apps/shop/db.yaml", true),
            ("apps/shop/**", "apps/shop/a/b/db.yaml", true),
            ("apps/shop/**", "apps/shop", false),
            ("apps/shop/**", "apps/shopping/db.yaml", false),
            ("apps/shop/**", "x/apps/shop/db.yaml", false),
            ("apps/*/db.yaml", "apps/shop/db.yaml", true),
            ("apps/*/db.yaml", "apps/shop/a/db.yaml", false),
            ("**/db.yaml", "db.yaml", true),
            ("**/db.yaml", "a/b/db.yaml", true),
            ("a/**/b.yaml", "a/b.yaml", true),
            ("a/**/b.yaml", "a/x/y/b.yaml", true),
            ("**", "a/.hidden/b", true),
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a/b.yaml", false),
            ("a?.yaml", "a/.yaml", false),
            ("[ab].yaml", "b.yaml", true),
            ("{a,b/c}.yaml", "b/c.yaml", true),
            ("A.yaml", "a.yaml", false),
            ("\\*.yaml", "*.yaml", true),
            ("\\*.yaml", "a.yaml", false),
        ] {
            let globs = Globs::parse(&[glob.to_owned()]).expect(glob);
            assert_eq!(globs.match_path(Path::new(path)), expected, "{glob} {path}");
        }
    }

    #[test]
    fn unusable_globs_are_refused() {
        for (glob, expected) in [
            ("", "an empty glob"),
            ("/apps", "an absolute path"),
            ("apps/", "the path of a folder"),
            ("!apps", "a glob with an exception"),
            ("./apps", "a part of the path is empty, . or .."),
            ("a/../b", "a part of the path is empty, . or .."),
            ("a//b", "a part of the path is empty, . or .."),
            ("[a", "a glob with [ and without its ]"),
            ("[b-a]", "a glob with a range that ends before it begins"),
            ("{a", "a glob with { and without its }"),
            ("a}", "a glob with } and without its {"),
            ("a\\", "a glob with \\ at its end"),
            (&"{".repeat(1001), "a glob of more than 1000 bytes"),
        ] {
            let fault = Globs::parse(&["a".to_owned(), glob.to_owned()]).expect_err(glob);
            assert_eq!((fault.index, &*fault.text), (Some(1), expected), "{glob}");
        }
    }

    #[test]
    fn deeply_nested_braces_are_refused_and_do_not_overflow_the_stack() {
        let nested = format!("{}a{}", "{".repeat(499), "}".repeat(499));
        let fault = Globs::parse(&[nested]).expect_err("too deep");
        assert_eq!((fault.index, &*fault.text), (None, "a glob that is too complicated"));
    }
}

//! Walking a tree strictly: every step knows its path, every refusal its place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use super::ambiguity::{Reading, reading};
use super::error::{ManifestError, shown};
use super::node::{Content, Node, Place, Style, Tag};
use super::unfinished::RENDER_IT;

const QUOTE_IT: &str = "write it in quotes";
const QUOTE_OR_WRITE_OUT: &str = "put a value that begins with & or * in quotes, or write the value out at each place";
const WRITE_IT_OUT: &str = "write the value out at each place";
/// For a sign at the beginning of a value that means something in YAML.
pub(super) const QUOTE_THE_SIGN: &str = "a value that begins with a sign such as @, %, *, !, & or ` belongs in quotes";

/// A node and the path that leads to it. It has no `Debug`: its scalars may be secret.
#[derive(Clone)]
pub(super) struct Field<'a> {
    node: &'a Node,
    path: Path<'a>,
}

/// The steps from the root to a field, the last one first.
#[derive(Clone, Default)]
struct Path<'a>(Option<Rc<(Path<'a>, Step<'a>)>>);

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
    /// Where the document itself stands, such as `items[3]`.
    Root(&'a str),
}

/// The entries of a mapping whose keys are strings.
#[derive(Clone)]
pub(super) struct Mapping<'a> {
    field: Field<'a>,
    entries: Vec<Entry<'a>>,
}

#[derive(Clone)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) name_field: Field<'a>,
    pub(super) value: Field<'a>,
}

impl<'a> Field<'a> {
    /// The root of a document that stands at `prefix` (empty: nowhere in particular).
    pub(super) fn root(node: &'a Node, prefix: &'a str) -> Self {
        let path = Path::default();
        let path = if prefix.is_empty() { path } else { path.then(Step::Root(prefix)) };
        Self { node, path }
    }

    pub(super) fn error(&self, text: impl Into<Cow<'static, str>>) -> ManifestError {
        self.locate(ManifestError::new(text))
    }

    /// Gives an error this field's place and path.
    pub(super) fn locate(&self, error: ManifestError) -> ManifestError {
        error.with_place(self.node.place).with_path(self.path.to_text())
    }

    /// Gives an error this field's place and the path of the mapping that it is a key of.
    pub(super) fn locate_key(&self, error: ManifestError) -> ManifestError {
        let parent = self.path.0.as_ref().map(|step| step.0.to_text());
        error.with_place(self.node.place).with_path(parent.unwrap_or_default())
    }

    /// The string; refuses what is none, or is none to some readers of YAML.
    pub(super) fn string(&self) -> Result<&'a str, ManifestError> {
        let Content::Scalar(text, style) = &self.node.content else {
            return Err(self.not_a("string").with_hint(QUOTE_IT));
        };
        if *style == Style::Text || self.node.tag == Tag::Str || reading(text) == Reading::Text {
            return Ok(text);
        }
        Err(match reading(text) {
            Reading::Null => self
                .not_a("string")
                .with_hint("write \"\" for an empty value; one that begins with # belongs in quotes"),
            _ => self.not_a("string").with_hint(QUOTE_IT),
        })
    }

    /// The boolean: `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ManifestError> {
        match self.plain().map(reading) {
            Some(Reading::Boolean(value)) => Ok(value),
            _ => Err(self.error("must be true or false")),
        }
    }

    /// The text of the number, as JSON writes it.
    pub(super) fn number(&self) -> Result<&'a str, ManifestError> {
        self.plain().filter(|text| reading(text) == Reading::Number).ok_or_else(|| self.error("must be a number"))
    }

    pub(super) fn is_null(&self) -> bool {
        self.plain().is_some_and(|text| reading(text) == Reading::Null)
    }

    /// What the field holds, if it is an unquoted scalar.
    pub(super) fn reading(&self) -> Option<Reading> {
        self.plain().map(reading)
    }

    /// The mapping; refuses keys that are not strings to every reader of YAML.
    pub(super) fn mapping(&self) -> Result<Mapping<'a>, ManifestError> {
        let Content::Mapping(entries) = &self.node.content else {
            return Err(self.not_a("mapping"));
        };
        let entries = entries.iter().map(|(key, value)| self.entry(key, value)).collect::<Result<_, _>>()?;
        Ok(Mapping { field: self.clone(), entries })
    }

    /// The items of the sequence.
    pub(super) fn items(&self) -> Result<impl Iterator<Item = Field<'a>> + use<'a>, ManifestError> {
        let Content::Sequence(items) = &self.node.content else {
            return Err(self.not_a("list"));
        };
        let path = self.path.clone();
        Ok(items.iter().enumerate().map(move |(index, node)| Field { node, path: path.then(Step::Index(index)) }))
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.content, Content::Mapping(_))
    }

    pub(super) fn is_sequence(&self) -> bool {
        matches!(self.node.content, Content::Sequence(_))
    }

    /// Refuses, anywhere below: anchors, aliases, merge keys, tags but `!!str`, keys that are no
    /// scalars, keys given twice.
    pub(super) fn refuse_what_is_not_plain_data(&self) -> Result<(), ManifestError> {
        let mut waiting = vec![self.clone()];
        while let Some(field) = waiting.pop() {
            field.refuse_adornments()?;
            let known = waiting.len();
            match &field.node.content {
                Content::Scalar(..) | Content::Alias(_) => {}
                Content::Sequence(_) => waiting.extend(field.items()?),
                Content::Mapping(entries) => {
                    field.refuse_repetitions(entries)?;
                    waiting.extend(entries.iter().map(|(key, value)| Field {
                        node: value,
                        path: field.path.then(Step::Key(key.scalar().unwrap_or_default())),
                    }));
                }
            }
            waiting[known..].reverse();
        }
        Ok(())
    }

    /// How many bytes it takes as JSON at the least: without a space, no character escaped.
    pub(super) fn json_bytes(&self) -> usize {
        let mut bytes = 0;
        let mut waiting = vec![self.node];
        while let Some(node) = waiting.pop() {
            // Two quotes or brackets; and a comma, or a colon, before all but the first of them.
            bytes += match &node.content {
                Content::Scalar(text, Style::Plain) => text.len(),
                Content::Scalar(text, Style::Text) => text.len() + 2,
                Content::Sequence(items) => items.len().saturating_sub(1) + 2,
                Content::Mapping(entries) => (2 * entries.len()).saturating_sub(1) + 2,
                Content::Alias(_) => 0,
            };
            match &node.content {
                Content::Scalar(..) | Content::Alias(_) => {}
                Content::Sequence(items) => waiting.extend(items),
                Content::Mapping(entries) => waiting.extend(entries.iter().flat_map(|(key, value)| [key, value])),
            }
        }
        bytes
    }

    fn refuse_adornments(&self) -> Result<(), ManifestError> {
        if matches!(self.node.content, Content::Alias(_)) {
            return Err(self.error("aliases are not read here").with_hint(QUOTE_OR_WRITE_OUT));
        }
        if self.node.anchor.is_some() {
            return Err(self.error("anchors are not read here").with_hint(QUOTE_OR_WRITE_OUT));
        }
        if self.node.tag == Tag::Other {
            return Err(self.error("tags other than !!str are not read here").with_hint(QUOTE_THE_SIGN));
        }
        Ok(())
    }

    fn refuse_repetitions(&self, entries: &'a [(Node, Node)]) -> Result<(), ManifestError> {
        let mut seen = BTreeMap::<&str, Place>::new();
        for (key, _) in entries {
            let field = Field { node: key, path: self.path.clone() };
            field.refuse_adornments()?;
            let name = key.scalar().ok_or_else(|| field.key_error())?;
            if field.plain() == Some("<<") {
                return Err(field.error("merge keys are not read here").with_hint(WRITE_IT_OUT));
            }
            if let Some(first) = seen.insert(name, key.place) {
                let field = Field { node: key, path: self.path.then(Step::Key(name)) };
                return Err(field.error(format!("given twice, first on line {}", first.line)));
            }
        }
        Ok(())
    }

    fn key_error(&self) -> ManifestError {
        let error = self.error("this key is not a string");
        match &self.node.content {
            Content::Mapping(_) => error.with_hint(RENDER_IT),
            _ => error,
        }
    }

    fn entry(&self, key: &'a Node, value: &'a Node) -> Result<Entry<'a>, ManifestError> {
        let path = self.path.then(Step::Key(key.scalar().unwrap_or_default()));
        let name_field = Field { node: key, path: path.clone() };
        let Ok(name) = name_field.string() else {
            let error = name_field.error("YAML versions disagree on what this unquoted key is");
            return Err(error.with_hint(QUOTE_IT));
        };
        Ok(Entry { name, name_field, value: Field { node: value, path } })
    }

    fn plain(&self) -> Option<&'a str> {
        match &self.node.content {
            Content::Scalar(text, Style::Plain) if self.node.tag == Tag::None => Some(text),
            _ => None,
        }
    }

    fn not_a(&self, wanted: &str) -> ManifestError {
        let found = match (&self.node.content, self.plain().map(reading)) {
            (Content::Mapping(_), _) => "a mapping",
            (Content::Sequence(_), _) => "a list",
            (Content::Alias(_), _) => "an alias",
            (_, Some(Reading::Null)) => "null",
            (_, Some(Reading::Boolean(_))) => "a boolean",
            (_, Some(Reading::Number)) => "a number",
            (_, Some(Reading::Disputed)) => {
                return self.error("YAML versions disagree on what this unquoted value is");
            }
            (_, Some(Reading::Text) | None) => "a string",
        };
        self.error(format!("must be a {wanted}, not {found}"))
    }
}

impl<'a> Mapping<'a> {
    /// Its entries in the order of the text.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter()
    }

    pub(super) fn into_entries(self) -> std::vec::IntoIter<Entry<'a>> {
        self.entries.into_iter()
    }

    /// Refuses fields that are not among the known ones.
    pub(super) fn refuse_unknown(&self, known: &[&str]) -> Result<(), ManifestError> {
        match self.entries.iter().find(|entry| !known.contains(&entry.name)) {
            None => Ok(()),
            Some(entry) => Err(entry.name_field.locate_key(ManifestError::unknown_field(entry.name, known))),
        }
    }

    /// The field of this name, unless it is absent or null.
    pub(super) fn field(&self, name: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some(entry.value.clone()).filter(|field| !field.is_null())
    }

    /// The field of this name; refuses its absence.
    pub(super) fn required(&self, name: &'static str) -> Result<Field<'a>, ManifestError> {
        self.field(name).ok_or_else(|| {
            let field = Field { node: self.field.node, path: self.field.path.then(Step::Key(name)) };
            field.error("missing")
        })
    }
}

impl<'a> Path<'a> {
    fn then(&self, step: Step<'a>) -> Self {
        Self(Some(Rc::new((self.clone(), step))))
    }

    fn to_text(&self) -> String {
        let mut steps = Vec::new();
        let mut path = self;
        while let Some(rest) = &path.0 {
            steps.push(rest.1);
            path = &rest.0;
        }
        let mut text = String::new();
        for step in steps.into_iter().rev() {
            let _infallible = match step {
                Step::Root(prefix) => write!(text, "{prefix}"),
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Key(key) if text.is_empty() => write!(text, "{}", shown(key)),
                Step::Key(key) => write!(text, ".{}", shown(key)),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Limits;
    use super::super::yaml;
    use super::*;

    fn with_root<T>(text: &str, test: impl FnOnce(Field<'_>) -> T) -> T {
        let node = yaml::parse(text, 1, &mut Limits::of_a_stream()).expect("YAML").expect("a node");
        test(Field::root(&node, ""))
    }

    fn string_in(text: &str) -> Result<String, ManifestError> {
        with_root(text, |root| root.mapping()?.required("v")?.string().map(str::to_owned))
    }

    #[test]
    fn a_string_is_one_to_every_reader() {
        for text in ["v: hello", "v: '0777'", "v: \"no\"", "v: |-\n  yes", "v: !!str 1.10", "v: a\n  b", "v: ''"] {
            assert!(string_in(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_string_is_refused_with_its_place() {
        for (text, expected) in [
            ("a: x\nv: 0777", "v: YAML versions disagree on what this unquoted value is"),
            ("a: x\nv: no", "v: YAML versions disagree on what this unquoted value is"),
            ("a: x\nv: 5432", "v: must be a string, not a number"),
            ("a: x\nv: true", "v: must be a string, not a boolean"),
            ("a: x\nv: {b: c}", "v: must be a string, not a mapping"),
            ("a: x\nv: [b]", "v: must be a string, not a list"),
        ] {
            let error = string_in(text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
            assert_eq!(error.place(), Some((2, 4)), "{text}");
            assert_eq!(error.hint(), Some("write it in quotes"), "{text}");
        }
        let error = with_root("v: ~", |root| root.mapping().expect("a mapping").entries[0].value.string().map(|_| ()));
        assert_eq!(error.expect_err("null").to_string(), "v: must be a string, not null");
    }

    #[test]
    fn keys_are_as_strict_as_values() {
        for text in ["a: {no: x}", "a: {0123456701: x}", "a: {12345678e1: x}", "a: {: x}"] {
            let error = with_root(text, |root| root.mapping()?.required("a")?.mapping().map(|_| ()));
            let error = error.expect_err(text);
            assert!(error.to_string().ends_with(": YAML versions disagree on what this unquoted key is"), "{error}");
            assert_eq!(error.place(), Some((1, 5)), "{text}");
        }
    }

    #[test]
    fn only_plain_data_passes() {
        for (text, expected) in [
            ("a: &x 1", "a: anchors are not read here"),
            ("a: {b: &x 1, c: *x}", "a.b: anchors are not read here"),
            ("a: [b, !mine c]", "a[1]: tags other than !!str are not read here"),
            ("a: !!binary aGk=", "a: tags other than !!str are not read here"),
            ("a: !<tag:yaml.org,2002:int> 1", "a: tags other than !!str are not read here"),
            ("!mine a: b", "tags other than !!str are not read here"),
            ("a: !!str {b: c}", "a: tags other than !!str are not read here"),
            ("a: !!str [b]", "a: tags other than !!str are not read here"),
            ("a: ! b", "a: tags other than !!str are not read here"),
            ("a: {<<: {b: c}}", "a: merge keys are not read here"),
            ("a: {? [b] : c}", "a: this key is not a string"),
            ("a:\n  b: 1\n  c: 2\n  \"b\": 3", "a.b: given twice, first on line 2"),
            ("a: {my key: 1, my key: 2}", "a.…: given twice, first on line 1"),
        ] {
            let error = with_root(text, |root| root.refuse_what_is_not_plain_data()).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
            assert!(error.place().is_some(), "{text}");
        }
        let hint = |text| {
            let error = with_root(text, |root| root.refuse_what_is_not_plain_data()).expect_err(text);
            error.hint().map(str::to_owned)
        };
        let template = Some("this looks like a template: render it first".to_owned());
        assert_eq!((hint("a: {{ .Values.x }}"), hint("a: {? [b] : c}")), (template, None));
        for (text, expected) in [
            ("a: &x 1", "put a value that begins with & or * in quotes, or write the value out at each place"),
            ("a: {<<: {b: c}}", "write the value out at each place"),
            ("a: !x 1", "a value that begins with a sign such as @, %, *, !, & or ` belongs in quotes"),
        ] {
            assert_eq!(hint(text).as_deref(), Some(expected), "{text}");
        }
        let plain = "a: {b: !!str 1, \"<<\": [c, {d: e}]}\nf: 'g'";
        assert_eq!(with_root(plain, |root| root.refuse_what_is_not_plain_data()), Ok(()));
    }

    #[test]
    fn unknown_fields_are_refused_where_they_stand() {
        let error =
            with_root("m:\n  nane: x", |root| root.mapping()?.required("m")?.mapping()?.refuse_unknown(&["name"]));
        let error = error.expect_err("unknown");
        assert_eq!(error.to_string(), "m: unknown field \"nane\"");
        assert_eq!((error.place(), error.hint()), (Some((2, 3)), Some("did you mean \"name\"?")));
    }

    #[test]
    fn null_is_absent() {
        with_root("a: null\nb: x", |root| {
            let mapping = root.mapping().expect("a mapping");
            assert!(mapping.field("a").is_none() && mapping.field("c").is_none() && mapping.field("b").is_some());
            assert_eq!(mapping.required("a").err().map(|error| error.to_string()), Some("a: missing".to_owned()));
        });
    }
}

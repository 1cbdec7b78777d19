//! Changes single entries of SealedSecrets in a text that a person wrote, and keeps every other byte.
//!
//! Each change becomes a few splices of bytes. Then the result is read again: it must differ from the text by the
//! changes alone, or it is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use serde_json::{Map, Value, json};
use waxseal_shared::manifest::{
    Document, EntrySpan, Format, ManifestError, MappingSpan, SealedSecretObject, split, write,
};
use waxseal_shared::sealed_secret::EnvelopeSpec;

use crate::error::CliError;
use crate::sealed_objects::{ObjectIndex, sealed_secrets_of};

/// The change of one entry.
pub(crate) struct Change {
    /// The names that lead from the object to the entry, such as `spec`, `encryptedData`, `PASSWORD`.
    pub(crate) path: Vec<String>,
    /// The new value: replaces a scalar, or is inserted. `None` removes the entry.
    pub(crate) to: Option<NewValue>,
}

/// A value to write.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum NewValue {
    /// A token or a wrap: no reader of YAML needs quotes around it.
    Text(String),
    Envelope(EnvelopeSpec),
    Map(BTreeMap<String, NewValue>),
}

/// The changes of one SealedSecret.
pub(crate) struct ObjectChanges {
    pub(crate) index: ObjectIndex,
    pub(crate) changes: Vec<Change>,
}

/// Bytes to replace, and the text that replaces them.
struct Splice {
    range: Range<usize>,
    text: String,
}

/// Applies changes to SealedSecrets of a text, and checks the result. `input` is the name of the text.
pub(crate) fn apply(input: &str, text: &str, all: &[ObjectChanges]) -> Result<String, CliError> {
    let failed = |error: ManifestError| CliError::manifest(input, &error);
    let mut result = String::with_capacity(text.len());
    for (index, document) in split(text).map_err(failed)?.documents.iter().enumerate() {
        let mut edited = document.text().to_owned();
        for ObjectChanges { index: at, changes } in all.iter().filter(|changes| changes.index.document == index) {
            for change in changes {
                edited =
                    changed(&edited, at.object, change).map_err(failed)?.ok_or_else(|| not_edited(input, document))?;
            }
        }
        result.push_str(&edited);
    }
    check(input, text, &result, all)?;
    Ok(result)
}

fn not_edited(input: &str, document: &Document<'_>) -> CliError {
    let error = CliError::refused("cannot be edited without changing other bytes, so it stays as it is");
    let hint = "write its envelopes and encryptedData in block style, one entry a line, as `waxseal seal` does";
    error.at(format!("{input}:{}", document.line())).with_hint(hint)
}

/// Checks that a text is the other text with these changes and no others.
fn check(input: &str, before: &str, after: &str, all: &[ObjectChanges]) -> Result<(), CliError> {
    let failed = |error: ManifestError| CliError::manifest(input, &error);
    let before = split(before).map_err(failed)?.documents;
    let after = split(after).map(|stream| stream.documents).unwrap_or_default();
    for (index, document) in before.iter().enumerate() {
        let changes: Vec<_> = all.iter().filter(|changes| changes.index.document == index).collect();
        let is_right = match after.get(index) {
            Some(after) if changes.is_empty() => after.text() == document.text(),
            Some(after) => is_changed_as_meant(document, after, &changes).unwrap_or(false),
            None => false,
        };
        if !is_right || before.len() != after.len() {
            return Err(not_edited(input, document));
        }
    }
    Ok(())
}

fn is_changed_as_meant(
    before: &Document<'_>,
    after: &Document<'_>,
    all: &[&ObjectChanges],
) -> Result<bool, ManifestError> {
    let (before, after) = (sealed_secrets_of(before.kind()?), sealed_secrets_of(after.kind()?));
    let mut is_right = before.len() == after.len();
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        let mut meant = before.to_value()?;
        for change in all.iter().filter(|changes| changes.index.object == index).flat_map(|changes| &changes.changes) {
            change_value(&mut meant, &change.path, change.to.as_ref());
        }
        is_right &= after.to_value()? == meant;
    }
    // Every object was compared: the rest of the document is the same if it is around the first.
    let surroundings = before.first().zip(after.first());
    Ok(is_right && (before.len() > 1 || surroundings.is_some_and(|(before, after)| before.has_surroundings_of(after))))
}

/// Applies a change to an object that was read.
fn change_value(value: &mut Value, path: &[String], to: Option<&NewValue>) {
    let Some((name, rest)) = path.split_first() else { return };
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let Some(map) = value.as_object_mut() else { return };
    match to {
        None if rest.is_empty() => {
            map.remove(name);
        }
        Some(to) if rest.is_empty() => {
            map.insert(name.clone(), json!(to));
        }
        None => map.get_mut(name).into_iter().for_each(|inner| change_value(inner, rest, None)),
        Some(_) => change_value(map.entry(name).or_insert(Value::Null), rest, to),
    }
}

/// Returns the text of a document after one change; `None` if the change cannot be made.
fn changed(text: &str, object: usize, change: &Change) -> Result<Option<String>, ManifestError> {
    let stream = split(text)?;
    let [document] = &stream.documents[..] else { return Ok(None) };
    let objects = sealed_secrets_of(document.kind()?);
    let Some(object) = objects.get(object) else { return Ok(None) };
    let editor = Editor { text, format: stream.format, object };
    let path: Vec<_> = change.path.iter().map(String::as_str).collect();
    let splices = match (&change.to, object.entry_span(&path)) {
        (Some(NewValue::Text(new)), Some(entry)) => Some(vec![editor.replaced(&entry, new)]),
        (Some(_), Some(_)) => None,
        (Some(value), None) => editor.inserted(&path, value),
        (None, Some(_)) => editor.removed(&path),
        (None, None) => Some(Vec::new()),
    };
    Ok(splices.map(|splices| spliced(text, splices)))
}

fn spliced(text: &str, mut splices: Vec<Splice>) -> String {
    // From the end: the ranges before a splice stay valid.
    splices.sort_by_key(|splice| std::cmp::Reverse(splice.range.start));
    let mut text = text.to_owned();
    for Splice { range, text: new } in splices {
        text.replace_range(range, &new);
    }
    text
}

/// Finds the splices for one SealedSecret in the text of a document.
struct Editor<'a> {
    text: &'a str,
    format: Format,
    object: &'a SealedSecretObject<'a>,
}

impl Editor<'_> {
    /// Replaces a scalar, and keeps its quotes or the sign and indentation of its block.
    fn replaced(&self, entry: &EntrySpan, new: &str) -> Splice {
        let old = &self.text[entry.value.clone()];
        let kept = match old.bytes().next() {
            Some(b'"' | b'\'') => 1..old.len() - 1,
            Some(b'|' | b'>') => {
                let header = old.find('\n').map_or(old.len(), |end| end + 1);
                let indent = old[header..].len() - old[header..].trim_start().len();
                header + indent..old.trim_end().len().max(header + indent)
            }
            _ => 0..old.len(),
        };
        let start = entry.value.start;
        Splice { range: start + kept.start..start + kept.end, text: new.to_owned() }
    }

    /// Inserts an entry into the innermost mapping on its path that exists.
    fn inserted(&self, path: &[&str], value: &NewValue) -> Option<Vec<Splice>> {
        let depth = (0..path.len()).rev().find(|depth| self.object.mapping_span(&path[..*depth]).is_some())?;
        let within = |missing: &[&str]| {
            let nest = |value, name: &&str| NewValue::Map([((*name).to_owned(), value)].into());
            missing.iter().rev().fold(value.clone(), nest)
        };
        let (parents, name) = (&path[..depth], path[depth]);
        if self.object.entry_span(&path[..=depth]).is_some() {
            return self.filled(&path[..=depth], &within(&path[depth + 1..]));
        }
        let mapping = self.object.mapping_span(parents)?;
        let value = within(&path[depth + 1..]);
        if !self.is_flow(&mapping) {
            return Some(vec![self.inserted_in_block(parents, &mapping, name, &value)?]);
        }
        let filled = self.filled(parents, &NewValue::Map([(name.to_owned(), value.clone())].into()));
        filled.or_else(|| Some(vec![self.inserted_in_flow(&mapping, name, &value)]))
    }

    /// Writes a mapping in block style in place of an empty one or of null; `None` if the value is something else, or
    /// stands in braces itself.
    fn filled(&self, path: &[&str], map: &NewValue) -> Option<Vec<Splice>> {
        let (_, parents) = path.split_last()?;
        let parent = self.object.mapping_span(parents).filter(|parent| !self.is_flow(parent))?;
        let entry = self.object.entry_span(path)?;
        let colon = self.colon(&entry)?;
        let end = entry.value.end.max(colon + 1);
        let written: String = self.text[colon + 1..end].split_ascii_whitespace().collect();
        if !matches!(written.as_str(), "" | "{}" | "null" | "~") {
            return None;
        }
        let indent = self.column(parent.entries.first()?.key.start) + 2;
        let lines = self.lines(&write(map), indent);
        Some(vec![Splice { range: colon + 1..end, text: String::new() }, self.line_splice(self.line_end(end), &lines)])
    }

    /// Inserts an entry on lines of its own: in its place if the entries are sorted by name, else as the last.
    fn inserted_in_block(
        &self,
        parents: &[&str],
        mapping: &MappingSpan,
        name: &str,
        value: &NewValue,
    ) -> Option<Splice> {
        let is_sorted = mapping.entries.is_sorted_by(|one, next| one.name <= next.name);
        let before = mapping.entries.iter().rev().find(|entry| !is_sorted || entry.name.as_str() < name);
        let at = match before {
            Some(entry) => self.end_of_lines(entry)?,
            None => self.line_end(self.object.entry_span(parents)?.key.end),
        };
        let indent = self.column(mapping.entries.first()?.key.start);
        Some(self.line_splice(at, &self.lines(&write(&BTreeMap::from([(name, value)])), indent)))
    }

    /// Inserts an entry between braces: in its place if the entries are sorted by name, else as the last. The white space
    /// is that of the entries that are there.
    fn inserted_in_flow(&self, mapping: &MappingSpan, name: &str, value: &NewValue) -> Splice {
        let entries = &mapping.entries;
        let separator = self.separator(mapping);
        let entry = self.flow_entry(mapping, &separator, name, value);
        let is_sorted = entries.is_sorted_by(|one, next| one.name <= next.name);
        let before = entries.iter().rev().find(|entry| !is_sorted || entry.name.as_str() < name);
        let (at, text) = match (before, entries.first()) {
            (Some(before), _) => (before.value.end, format!("{separator}{entry}")),
            (None, Some(first)) => (first.key.start, format!("{entry}{separator}")),
            (None, None) => (mapping.range.start + 1, entry),
        };
        Splice { range: at..at, text }
    }

    /// The comma between two entries in braces, with the white space that is usual there.
    fn separator(&self, mapping: &MappingSpan) -> String {
        let usual = match &mapping.entries[..] {
            [.., before, last] => self.text[before.value.end..last.key.start].to_owned(),
            [only] => format!(",{}", &self.text[mapping.range.start + 1..only.key.start]),
            [] => String::new(),
        };
        match usual.trim() {
            "," if usual != "," || self.format == Format::Json => usual,
            _ => ", ".to_owned(),
        }
    }

    fn flow_entry(&self, mapping: &MappingSpan, separator: &str, name: &str, value: &NewValue) -> String {
        let begins_with_quote = |range: &Range<usize>| self.text[range.clone()].starts_with('"');
        let last = mapping.entries.last();
        let is_json = self.format == Format::Json || last.is_some_and(|entry| begins_with_quote(&entry.key));
        let colon = match last.map(|entry| &self.text[entry.key.end..entry.value.start]) {
            Some(colon) if colon.trim() == ":" && (is_json || colon != ":") => colon,
            _ => ": ",
        };
        let name = if is_json { json!(name).to_string() } else { write(&name).trim_end().to_owned() };
        let indent = separator.rsplit_once('\n').map(|(_, indent)| indent);
        let value = match (value, indent) {
            (NewValue::Text(text), _) if !is_json => text.clone(),
            (NewValue::Text(_), _) | (_, None) => json_text(value, CompactFormatter),
            (_, Some(indent)) => {
                let brace = self.line_start(mapping.range.end - 1);
                let outer = self.text[brace..].bytes().take_while(|byte| *byte == b' ').count();
                let step = " ".repeat(indent.len().saturating_sub(outer).max(1));
                let lines = json_text(value, PrettyFormatter::with_indent(step.as_bytes()));
                lines.replace('\n', &format!("{}{indent}", self.line_break()))
            }
        };
        format!("{name}{colon}{value}")
    }

    /// Removes an entry. A mapping in block style that has no other entry becomes `{}`.
    fn removed(&self, path: &[&str]) -> Option<Vec<Splice>> {
        let (name, parents) = path.split_last()?;
        let mapping = self.object.mapping_span(parents)?;
        let index = mapping.entries.iter().position(|entry| entry.name == *name)?;
        if self.is_flow(&mapping) {
            return Some(vec![Splice { range: self.range_in_flow(&mapping.entries, index)?, text: String::new() }]);
        }
        let entry = &mapping.entries[index];
        let mut range = self.line_start(entry.key.start)..self.end_of_lines(entry)?;
        if !self.text[range.start..entry.key.start].bytes().all(|byte| byte == b' ') {
            return None;
        }
        if range.end == self.text.len() && !self.text.ends_with('\n') {
            // The text still ends without a line break.
            let before = &self.text[..range.start];
            range.start = before.strip_suffix('\n').map_or(before, |line| line.trim_end_matches('\r')).len();
        }
        let mut splices = vec![Splice { range, text: String::new() }];
        if mapping.entries.len() == 1 {
            let after_colon = self.colon(&self.object.entry_span(parents)?)? + 1;
            splices.push(Splice { range: after_colon..after_colon, text: " {}".to_owned() });
        }
        Some(splices)
    }

    /// The bytes of an entry in braces and of one comma beside it; `None` if comments stand between.
    fn range_in_flow(&self, entries: &[EntrySpan], index: usize) -> Option<Range<usize>> {
        let entry = &entries[index];
        let is_comma = |range: &Range<usize>| self.text[range.clone()].trim() == ",";
        let (whole, comma) = match (entries.get(index + 1), index.checked_sub(1)) {
            (Some(next), _) => (entry.key.start..next.key.start, entry.value.end..next.key.start),
            (None, Some(before)) => {
                let end = entries[before].value.end;
                (end..entry.value.end, end..entry.key.start)
            }
            (None, None) => return Some(entry.key.start..entry.value.end),
        };
        is_comma(&comma).then_some(whole)
    }

    fn is_flow(&self, mapping: &MappingSpan) -> bool {
        self.text[mapping.range.start..].starts_with('{')
    }

    /// Where the colon of an entry in block style stands.
    fn colon(&self, entry: &EntrySpan) -> Option<usize> {
        self.text[entry.key.end..].find(':').map(|colon| entry.key.end + colon)
    }

    /// The end of the last line of an entry in block style, with a comment behind it.
    fn end_of_lines(&self, entry: &EntrySpan) -> Option<usize> {
        let value = &self.text[entry.value.clone()];
        let end = match value.trim_end().len() {
            // The range of a missing value can be far behind the colon.
            0 => self.colon(entry)?,
            // The range of a block scalar contains the white space behind it.
            length => entry.value.start + length,
        };
        Some(self.line_end(end))
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |end| end + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn column(&self, at: usize) -> usize {
        at - self.line_start(at)
    }

    fn line_break(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// Indents lines, and gives them the line breaks of the text.
    fn lines(&self, lines: &str, indent: usize) -> String {
        lines.lines().map(|line| format!("{:indent$}{line}{}", "", self.line_break())).collect()
    }

    /// Inserts lines at the start of a line, or at the end of a text whose last line has no break.
    fn line_splice(&self, at: usize, lines: &str) -> Splice {
        let text = if at == self.text.len() && !self.text.ends_with('\n') {
            format!("{}{}", self.line_break(), lines.trim_end())
        } else {
            lines.to_owned()
        };
        Splice { range: at..at, text }
    }
}

fn json_text(value: &NewValue, formatter: impl Formatter) -> String {
    let mut bytes = Vec::new();
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
    // A vector takes everything, and all keys are strings.
    written.expect("text in memory");
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    fn set(at: &str, value: &str) -> Change {
        Change { path: path(at), to: Some(NewValue::Text(value.to_owned())) }
    }

    fn remove(at: &str) -> Change {
        Change { path: path(at), to: None }
    }

    fn edited(text: &str, changes: Vec<Change>) -> Result<String, String> {
        let index = ObjectIndex { document: 0, object: 0 };
        let changes = ObjectChanges { index, changes };
        apply("f.yaml", text, &[changes]).map_err(|error| error.to_string())
    }

    const HEAD: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}\n";

    #[test]
    fn entries_are_replaced_inserted_and_removed_in_every_style() {
        for (before, change, after) in [
            // Replaced, with the quotes that are there.
            (
                "spec:\n  encryptedData:\n    A: x # c\n",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData:\n    A: new # c\n",
            ),
            (
                "spec:\n  encryptedData:\n    A: 'x'\n",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData:\n    A: 'new'\n",
            ),
            (
                "spec: {encryptedData: {\"A\": \"x\"}}\n",
                set("spec/encryptedData/A", "new"),
                "spec: {encryptedData: {\"A\": \"new\"}}\n",
            ),
            (
                "spec:\n  encryptedData:\n    A: >- # c\n        x\n\n    B: z",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData:\n    A: >- # c\n        new\n\n    B: z",
            ),
            (
                "spec:\n  encryptedData:\n    A:\n      x",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData:\n    A:\n      new",
            ),
            // Inserted in the order of the names, or at the end.
            (
                "spec:\n  encryptedData: # c\n    # d\n    B: x\n    D: x # e\n    # f\n",
                set("spec/encryptedData/C", "new"),
                "spec:\n  encryptedData: # c\n    # d\n    B: x\n    C: new\n    D: x # e\n    # f\n",
            ),
            (
                "spec:\n  encryptedData: # c\n    # d\n    B: x\n",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData: # c\n    A: new\n    # d\n    B: x\n",
            ),
            (
                "spec:\r\n  encryptedData:\r\n    B: x\r\n    A: x # e",
                set("spec/encryptedData/AA", "new"),
                "spec:\r\n  encryptedData:\r\n    B: x\r\n    A: x # e\r\n    AA: new",
            ),
            (
                "spec:\n  encryptedData:\n    A: |-\n      x\n  template: {}\n",
                set("spec/encryptedData/no", "new"),
                "spec:\n  encryptedData:\n    A: |-\n      x\n    \"no\": new\n  template: {}\n",
            ),
            (
                "spec: {encryptedData: {A: x}}\n",
                set("spec/encryptedData/B", "new"),
                "spec: {encryptedData: {A: x, B: new}}\n",
            ),
            (
                "spec: {encryptedData: {B: x}}\n",
                set("spec/encryptedData/A", "new"),
                "spec: {encryptedData: {A: new, B: x}}\n",
            ),
            (
                "spec: {scope: Strict}\n",
                set("spec/encryptedData/A", "new"),
                "spec: {encryptedData: {\"A\":\"new\"}, scope: Strict}\n",
            ),
            (
                "spec:\n  scope: Strict # c\n# d\n",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData:\n    A: new\n  scope: Strict # c\n# d\n",
            ),
            (
                "spec:\n  encryptedData: {} # c\n",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData: # c\n    A: new\n",
            ),
            (
                "spec:\n  encryptedData: # c\n",
                set("spec/encryptedData/A", "new"),
                "spec:\n  encryptedData: # c\n    A: new\n",
            ),
            ("spec:\n  encryptedData: null", set("spec/encryptedData/A", "new"), "spec:\n  encryptedData:\n    A: new"),
            // Removed, with the comment on the same line.
            (
                "spec:\n  encryptedData:\n    # a\n    A: x # c\n    # b\n    B: x\n",
                remove("spec/encryptedData/A"),
                "spec:\n  encryptedData:\n    # a\n    # b\n    B: x\n",
            ),
            (
                "spec:\n  encryptedData:\n    A: x\n    B: x",
                remove("spec/encryptedData/B"),
                "spec:\n  encryptedData:\n    A: x",
            ),
            (
                "spec:\n  encryptedData: # a\n    A: x\n    # b\n",
                remove("spec/encryptedData/A"),
                "spec:\n  encryptedData: {} # a\n    # b\n",
            ),
            (
                "spec: {encryptedData: {A: x, B: x}}\n",
                remove("spec/encryptedData/A"),
                "spec: {encryptedData: {B: x}}\n",
            ),
            (
                "spec: {encryptedData: {A: x, B: x}}\n",
                remove("spec/encryptedData/B"),
                "spec: {encryptedData: {A: x}}\n",
            ),
            ("spec: {encryptedData: {A: x}}\n", remove("spec/encryptedData/A"), "spec: {encryptedData: {}}\n"),
            ("spec: {}\n", remove("spec/encryptedData/A"), "spec: {}\n"),
        ] {
            assert_eq!(edited(&format!("{HEAD}{before}"), vec![change]), Ok(format!("{HEAD}{after}")), "{before}");
        }
    }
}

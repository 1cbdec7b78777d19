//! Changes single entries of SealedSecrets in a text that a person wrote, and keeps every other byte.
//!
//! Each change becomes a few splices of bytes. Then the result is read again: it must differ from the text by the
//! changes alone, and keep the limits on what is read, or it is refused.

mod block_style;
mod flow_style;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::{Map, Value, json};
use waxseal_shared::manifest::{
    Document, EntrySpan, Format, ManifestError, MappingSpan, SealedSecretObject, check_number_of_values, split, write,
};
use waxseal_shared::sealed_secret::EnvelopeSpec;

use crate::error::CliError;
use crate::input::{INPUT_TOO_LARGE, MAX_INPUT_BYTES, SPLIT_THE_INPUT};
use crate::sealed_objects::sealed_secrets_of;

/// What helps against an object with too many envelopes, or one that is too large because of them.
pub(crate) const ONE_ENVELOPE: &str = "`waxseal rotate FILE --reseal --identity IDENTITY_FILE`, with the same \
                                       `--keys`, puts all values into one envelope";

/// What helps against an object with too large values.
const SEVERAL_OBJECTS: &str = "divide the values among several SealedSecrets";

/// The change of one entry.
pub(crate) struct Change {
    /// The names that lead from the object to the entry, such as `spec`, `encryptedData`, `PASSWORD`.
    pub(crate) path: Vec<String>,
    /// The new value: replaces a scalar, or is inserted. `None` removes the entry.
    pub(crate) to: Option<NewValue>,
}

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
    /// The index of its document in the stream.
    pub(crate) document: usize,
    /// Its index among the SealedSecrets of the document.
    pub(crate) object: usize,
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
        let changes: Vec<_> = all.iter().filter(|changes| changes.document == index).collect();
        let edited = edited(document, &changes).map_err(|error| not_read_again(input, document, &error))?;
        result.push_str(&edited.ok_or_else(|| not_edited(input, document))?);
    }
    check(input, text, &result, all)?;
    check_size(input, text, &result)?;
    Ok(result)
}

fn not_edited(input: &str, document: &Document<'_>) -> CliError {
    let error = CliError::refused("cannot be edited without changing other bytes, so it stays as it is");
    let hint = "write its envelopes and encryptedData in block style, one entry a line, as `waxseal seal` does, and end \
                every line with a line feed";
    error.at(place(input, document)).with_hint(hint)
}

fn place(input: &str, document: &Document<'_>) -> String {
    format!("{input}:{}", document.line())
}

/// The error for a document that cannot be read after the changes: it became too large, or the changes broke it.
fn not_read_again(input: &str, document: &Document<'_>, error: &ManifestError) -> CliError {
    if !error.is_too_large() {
        return not_edited(input, document);
    }
    let refused = after_the_change(&error.to_string()).at(place(input, document));
    error.hint().map_or(refused.clone(), |hint| refused.with_hint(hint))
}

fn after_the_change(text: &str) -> CliError {
    CliError::refused(format!("after the change: {text}"))
}

/// Refuses a result that is too large to be read. Does not refuse a result with too many keys and values if the text
/// had too many before: of such a text, `rotate` changes the SealedSecrets in the documents before the one in which the
/// number is exceeded.
fn check_size(input: &str, before: &str, after: &str) -> Result<(), CliError> {
    let refused = |text: &str| after_the_change(text).at(input).with_hint(SPLIT_THE_INPUT);
    if after.len() > MAX_INPUT_BYTES {
        return Err(refused(INPUT_TOO_LARGE));
    }
    match check_number_of_values(after) {
        Err(error) if check_number_of_values(before).is_ok() => Err(refused(&error.to_string())),
        _ => Ok(()),
    }
}

/// Checks that `after` is `before` with these changes and no others.
fn check(input: &str, before: &str, after: &str, all: &[ObjectChanges]) -> Result<(), CliError> {
    let failed = |error: ManifestError| CliError::manifest(input, &error);
    let before = split(before).map_err(failed)?;
    // A text that would be JSON without its comments counts as YAML. If its last comment is removed with an entry, the
    // result counts as JSON.
    let after = split(after).ok().filter(|after| after.format == before.format || after.format == Format::Json);
    let after = after.map(|stream| stream.documents).unwrap_or_default();
    for (index, document) in before.documents.iter().enumerate() {
        let changes: Vec<_> = all.iter().filter(|changes| changes.document == index).collect();
        let is_right = match after.get(index) {
            Some(after) if changes.is_empty() => after.text() == document.text(),
            Some(after) => is_changed_as_meant(input, document, after, &changes)?,
            None => false,
        };
        if !is_right || before.documents.len() != after.len() {
            return Err(not_edited(input, document));
        }
    }
    Ok(())
}

fn is_changed_as_meant(
    input: &str,
    before: &Document<'_>,
    after: &Document<'_>,
    all: &[&ObjectChanges],
) -> Result<bool, CliError> {
    let failed = |error: ManifestError| CliError::manifest(input, &error);
    let not_read_again = |error: ManifestError| not_read_again(input, before, &error);
    let objects_before = sealed_secrets_of(before.kind().map_err(failed)?);
    let objects_after = sealed_secrets_of(after.kind().map_err(not_read_again)?);
    if objects_before.len() != objects_after.len() {
        return Ok(false);
    }
    let changed = |objects: Vec<_>| {
        let is_changed = |index| all.iter().any(|changes| changes.object == index);
        objects.into_iter().enumerate().filter(|(index, _)| is_changed(*index)).unzip()
    };
    let (indexes, objects_before): (Vec<_>, Vec<_>) = changed(objects_before);
    let (_, objects_after): (Vec<_>, Vec<_>) = changed(objects_after);
    for ((index, object_before), object_after) in indexes.iter().zip(&objects_before).zip(&objects_after) {
        let mut meant = object_before.to_value().map_err(failed)?;
        for change in all.iter().filter(|changes| changes.object == *index).flat_map(|changes| &changes.changes) {
            change_value(&mut meant, &change.path, change.to.as_ref());
        }
        if object_after.to_value().map_err(not_read_again)? != meant {
            return Ok(false);
        }
        if let Some(error) = object_after.read().err().filter(ManifestError::is_too_large) {
            return Err(too_large(&place(input, before), &meant, &error));
        }
    }
    Ok(SealedSecretObject::are_equal_around(&objects_before, &objects_after))
}

/// The error for an object that is changed as meant, but has become too large.
fn too_large(place: &str, object: &Value, error: &ManifestError) -> CliError {
    let envelopes = object.pointer("/spec/envelopes").and_then(Value::as_object).map_or(0, Map::len);
    let hint = if envelopes > 1 { ONE_ENVELOPE } else { SEVERAL_OBJECTS };
    after_the_change(&error.to_string()).at(place).with_hint(hint)
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

/// Returns the text of a document after all changes; `None` if a change cannot be made.
///
/// Works in rounds, and reads the text again before each: a change moves the entries of the mapping that it touches.
fn edited(document: &Document<'_>, all: &[&ObjectChanges]) -> Result<Option<String>, ManifestError> {
    let mut text = document.text().to_owned();
    if all.is_empty() {
        return Ok(Some(text));
    }
    // YAML also ends a line at a carriage return alone. The functions here know only line feeds, so such a text is
    // refused.
    if text.replace("\r\n", "").contains('\r') {
        return Ok(None);
    }
    let mut waiting: Vec<_> = all.iter().map(|object| (object.object, &object.changes[..])).collect();
    loop {
        // After the last round too: refuses a document that has become too large.
        let stream = split(&text)?;
        if waiting.iter().all(|(_, changes)| changes.is_empty()) {
            return Ok(Some(text));
        }
        let [document] = &stream.documents[..] else { return Ok(None) };
        let objects = sealed_secrets_of(document.kind()?);
        let mut round = |(object, changes): &mut (usize, &[Change])| {
            let (splices, later) = Editor { text: &text, object: objects.get(*object)? }.round(changes)?;
            *changes = later;
            Some(splices)
        };
        let splices: Option<Vec<_>> = waiting.iter_mut().map(&mut round).collect();
        let Some(next) = splices.and_then(|splices| spliced(&text, splices.into_iter().flatten().collect())) else {
            return Ok(None);
        };
        text = next;
    }
}

/// Returns the text with all splices; `None` if two of them overlap.
fn spliced(text: &str, mut splices: Vec<Splice>) -> Option<String> {
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    let mut result = String::with_capacity(text.len());
    let mut end = 0;
    for Splice { range, text: new } in splices {
        result.push_str(text.get(end..range.start)?);
        result.push_str(&new);
        end = range.end;
    }
    result.push_str(text.get(end..)?);
    Some(result)
}

/// Finds the splices for one SealedSecret in the text of a document.
struct Editor<'a> {
    text: &'a str,
    object: &'a SealedSecretObject<'a>,
}

impl Editor<'_> {
    /// Returns the splices for the first changes, and the changes of later rounds. A round ends before the first change
    /// that touches the same text as an earlier change of the round.
    fn round<'c>(&self, changes: &'c [Change]) -> Option<(Vec<Splice>, &'c [Change])> {
        let mut splices = Vec::new();
        let mut touched: Vec<&[String]> = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let path = self.touched_by(change);
            if touched.iter().any(|other| other.starts_with(path) || path.starts_with(other)) {
                return Some((splices, &changes[index..]));
            }
            touched.push(path);
            splices.extend(self.splices(change)?);
        }
        Some((splices, &[]))
    }

    /// The path of what a change touches: the scalar that it replaces, or the mapping whose entries it moves.
    fn touched_by<'c>(&self, change: &'c Change) -> &'c [String] {
        let path: Vec<_> = change.path.iter().map(String::as_str).collect();
        let depth = match &change.to {
            Some(_) if self.object.entry_span(&path).is_some() => path.len(),
            Some(_) => self.innermost_mapping(&path).map_or(0, |(depth, _)| depth),
            None => path.len().saturating_sub(1),
        };
        &change.path[..depth]
    }

    /// Returns the innermost non-empty mapping on the path to an entry, and the length of the path to this mapping.
    fn innermost_mapping(&self, path: &[&str]) -> Option<(usize, MappingSpan)> {
        let with_entries = |depth| self.object.mapping_span(&path[..depth]).filter(|map| !map.entries.is_empty());
        (0..path.len()).rev().find_map(|depth| Some((depth, with_entries(depth)?)))
    }

    fn splices(&self, change: &Change) -> Option<Vec<Splice>> {
        let path: Vec<_> = change.path.iter().map(String::as_str).collect();
        match (&change.to, self.object.entry_span(&path)) {
            (Some(NewValue::Text(new)), Some(entry)) => Some(vec![self.replaced(&entry, new)]),
            (Some(_), Some(_)) => None,
            (Some(value), None) => self.inserted(&path, value),
            (None, Some(_)) => self.removed(&path),
            (None, None) => Some(Vec::new()),
        }
    }

    /// Replaces the text of a scalar. Its quotes stay, and so do the header (`|` or `>`) and the indentation of a block
    /// scalar.
    fn replaced(&self, entry: &EntrySpan, new: &str) -> Splice {
        let old = &self.text[entry.value.clone()];
        let replaced = match old.bytes().next() {
            Some(b'"' | b'\'') => 1..old.len() - 1,
            Some(b'|' | b'>') => {
                let header = old.find('\n').map_or(old.len(), |end| end + 1);
                let indent = old[header..].len() - old[header..].trim_start().len();
                header + indent..old.trim_end().len().max(header + indent)
            }
            _ => 0..old.len(),
        };
        let start = entry.value.start;
        Splice { range: start + replaced.start..start + replaced.end, text: new.to_owned() }
    }

    /// Inserts an entry. Mappings on its path that are missing or empty are written with it, into the innermost mapping
    /// that has entries.
    fn inserted(&self, path: &[&str], value: &NewValue) -> Option<Vec<Splice>> {
        let (depth, mapping) = self.innermost_mapping(path)?;
        let nest = |value, name: &&str| NewValue::Map([((*name).to_owned(), value)].into());
        let value = path[depth + 1..].iter().rev().fold(value.clone(), nest);
        let is_flow = self.is_flow(&mapping);
        match self.object.entry_span(&path[..=depth]) {
            // A mapping without entries, but with a comment between its braces, gets its entry between its braces,
            // even if the mapping around it is in block style.
            Some(entry) if is_flow || self.empty_value(&entry).is_none() => {
                Some(vec![self.filled_in_flow(&mapping, &entry, &value)?])
            }
            Some(entry) => self.filled_in_block(&mapping, &entry, &value),
            None if is_flow => self.inserted_in_flow(&mapping, path[depth], &value),
            None => Some(vec![self.inserted_in_block(&path[..depth], &mapping, path[depth], &value)?]),
        }
    }

    fn removed(&self, path: &[&str]) -> Option<Vec<Splice>> {
        let (name, parents) = path.split_last()?;
        let mapping = self.object.mapping_span(parents)?;
        let index = mapping.entries.iter().position(|entry| entry.name == *name)?;
        if self.is_flow(&mapping) {
            self.removed_in_flow(&mapping, index)
        } else {
            self.removed_in_block(parents, &mapping, index)
        }
    }

    fn is_flow(&self, mapping: &MappingSpan) -> bool {
        self.text[mapping.range.start..].starts_with('{')
    }

    /// The value of an entry with the space before it, if the value is null or an empty mapping.
    fn empty_value(&self, entry: &EntrySpan) -> Option<Range<usize>> {
        let start = self.colon(entry)? + 1;
        let range = start..entry.value.end.max(start);
        let written: String = self.text[range.clone()].split_ascii_whitespace().collect();
        matches!(written.as_str(), "" | "{}" | "null" | "~").then_some(range)
    }

    /// Where the colon of an entry stands; `None` if a comment is before it, as `? key # comment` allows.
    fn colon(&self, entry: &EntrySpan) -> Option<usize> {
        let rest = &self.text[entry.key.end..];
        let colon = rest.len() - rest.trim_start().len();
        rest[colon..].starts_with(':').then_some(entry.key.end + colon)
    }

    /// Writes a scalar in the quotes that all of these scalars have; else in quotes only if YAML needs them.
    fn in_quotes_of<'s>(&self, scalars: impl Iterator<Item = &'s Range<usize>>, text: &str) -> String {
        let mut quotes = scalars.map(|range| self.text[range.clone()].chars().next());
        match quotes.next().flatten() {
            Some(quote @ ('"' | '\'')) if quotes.all(|other| other == Some(quote)) => format!("{quote}{text}{quote}"),
            _ => write(&text).trim_end().to_owned(),
        }
    }

    fn line_start(&self, at: usize) -> usize {
        let byte_order_mark = self.text.len() - self.text.trim_start_matches('\u{feff}').len();
        self.text[..at].rfind('\n').map_or(byte_order_mark, |end| end + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn line_break(&self) -> &'static str {
        if self.text[..self.line_end(0)].ends_with("\r\n") { "\r\n" } else { "\n" }
    }
}

/// Finds the entry that a new entry comes after: in the order of the names if the entries are sorted, else the last.
fn entry_before<'m>(mapping: &'m MappingSpan, name: &str) -> Option<&'m EntrySpan> {
    let is_sorted = mapping.entries.is_sorted_by(|one, next| one.name <= next.name);
    mapping.entries.iter().rev().find(|entry| !is_sorted || entry.name.as_str() < name)
}

#[cfg(test)]
mod tests;

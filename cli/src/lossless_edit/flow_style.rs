//! Splices for mappings in flow style, which JSON is too: a comma stands between two entries.

use std::io::{Result, Write};
use std::ops::Range;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};
use waxseal_shared::manifest::{EntrySpan, MappingSpan, write};

use super::{Editor, NewValue, Splice, entry_before};

impl Editor<'_> {
    /// Inserts an entry with the white space that is usual between the others.
    pub(super) fn inserted_in_flow(&self, mapping: &MappingSpan, name: &str, value: &NewValue) -> Option<Vec<Splice>> {
        let separator = self.separator(mapping);
        let name_as_written = self.in_quotes_of(mapping.entries.iter().map(|entry| &entry.key), name);
        let entry = format!("{name_as_written}{}{}", self.colon_with_space(mapping), self.flow_value(mapping, value));
        let insert = |at: usize, text: String| Splice { range: at..at, text };
        let Some(before) = entry_before(mapping, name) else {
            return Some(vec![insert(mapping.entries.first()?.key.start, format!("{entry}{separator}"))]);
        };
        let (comma, end) = (self.comma_after(before), before.value.end);
        let lines = self.own_lines(&(before.key.start..comma.map_or(end, |comma| comma + 1)));
        let Some(lines) = lines.filter(|_| separator.contains('\n')) else {
            return Some(vec![insert(end, format!("{separator}{entry}"))]);
        };
        // A comment behind the entry stays there.
        let end_of_line = self.text[..lines.end].trim_end_matches(['\n', '\r']).len();
        let line = &separator[1..];
        Some(match comma {
            Some(_) => vec![insert(end_of_line, format!("{line}{entry},"))],
            None => vec![insert(end, ",".to_owned()), insert(end_of_line, format!("{line}{entry}"))],
        })
    }

    /// Writes a mapping in place of an empty one or of null. Comments between the braces stay there.
    pub(super) fn filled_in_flow(&self, parent: &MappingSpan, entry: &EntrySpan, value: &NewValue) -> Option<Splice> {
        let text = self.flow_value(parent, value);
        if self.empty_value(entry).is_some() {
            return Some(Splice { range: entry.value.clone(), text });
        }
        let is_mapping = self.text[entry.value.clone()].starts_with('{');
        let after_brace = entry.value.start + 1;
        is_mapping.then(|| Splice { range: after_brace..after_brace, text: text[1..text.len() - 1].to_owned() })
    }

    /// Writes a value for an entry of a mapping in flow style: over several lines only if the mapping is JSON and its
    /// entries are on lines of their own.
    fn flow_value(&self, mapping: &MappingSpan, value: &NewValue) -> String {
        if let NewValue::Text(text) = value {
            return self.in_quotes_of(mapping.entries.iter().map(|entry| &entry.value), text);
        }
        let is_json = self.is_json(mapping);
        let separator = self.separator(mapping);
        match separator.rsplit_once('\n') {
            Some((_, indent)) if is_json => {
                let brace = self.line_start(mapping.range.end);
                let outer = self.text[brace..].find(|c| !matches!(c, ' ' | '\t')).unwrap_or_default();
                let step = indent.get(outer..).unwrap_or("  ");
                let lines = json_text(value, PrettyFormatter::with_indent(step.as_bytes()));
                lines.replace('\n', &format!("{}{indent}", self.line_break()))
            }
            _ => {
                let colon = self.colon_with_space(mapping);
                json_text(value, OneLine { comma: if colon == ":" { "," } else { ", " }, colon, is_json })
            }
        }
    }

    /// The comma between two entries, with the white space that is usual there.
    fn separator(&self, mapping: &MappingSpan) -> String {
        let usual = match &mapping.entries[..] {
            [.., before, last] => self.text[before.value.end..last.key.start].to_owned(),
            [only] => {
                let padding = self.text.get(mapping.range.start + 1..only.key.start);
                format!(",{}", padding.unwrap_or_default())
            }
            [] => String::new(),
        };
        match (usual.trim(), usual.rsplit_once('\n')) {
            (",", _) if usual != "," || self.colon_with_space(mapping) == ":" => usual,
            // A comment stands between the last two entries: keeps only the line break and the indentation.
            (_, Some((_, indent))) if usual.starts_with(',') => format!(",{}{indent}", self.line_break()),
            _ => ", ".to_owned(),
        }
    }

    /// The colon between a key and its value, with the white space that is usual there.
    fn colon_with_space(&self, mapping: &MappingSpan) -> &str {
        let usual = mapping.entries.last().and_then(|entry| self.text.get(entry.key.end..entry.value.start));
        let is_usable = |colon: &&str| matches!(*colon, ": " | " : ") || *colon == ":" && self.is_json(mapping);
        usual.filter(is_usable).unwrap_or(": ")
    }

    /// Whether all keys are written as JSON writes them.
    fn is_json(&self, mapping: &MappingSpan) -> bool {
        mapping.entries.iter().all(|entry| self.text[entry.key.start..].starts_with('"'))
    }

    /// Removes an entry and one comma: whole lines if the entry has lines of its own.
    pub(super) fn removed_in_flow(&self, mapping: &MappingSpan, index: usize) -> Option<Vec<Splice>> {
        let (entries, entry) = (&mapping.entries, &mapping.entries[index]);
        let bytes = entry.key.start..entry.value.end;
        let with_comma = self.comma_after(entry).map(|comma| bytes.start..comma + 1);
        let ranges = match (with_comma, index.checked_sub(1)) {
            (with_comma, _) if entries.len() == 1 => vec![self.only_entry(with_comma.unwrap_or(bytes), mapping)],
            (Some(bytes), _) => vec![self.own_lines(&bytes).unwrap_or(bytes.start..self.end_of_space(bytes.end))],
            (None, before) => {
                let comma = self.comma_after(&entries[before?])?;
                match self.own_lines(&bytes) {
                    None if self.text[comma + 1..bytes.start].trim().is_empty() => {
                        vec![comma..comma + 1, comma + 1..bytes.end]
                    }
                    lines => vec![comma..comma + 1, lines.unwrap_or(bytes)],
                }
            }
        };
        Some(ranges.into_iter().map(|range| Splice { range, text: String::new() }).collect())
    }

    /// The range to remove for the only entry: all between the braces, unless comments stay there.
    fn only_entry(&self, entry: Range<usize>, mapping: &MappingSpan) -> Range<usize> {
        let entry = self.own_lines(&entry).unwrap_or(entry);
        let inner = mapping.range.start + 1..mapping.range.end - 1;
        let beside = [&self.text[inner.start..entry.start], &self.text[entry.end..inner.end]];
        if beside.iter().all(|text| text.trim().is_empty()) { inner } else { entry }
    }

    /// The comma behind an entry, if no comment is before it.
    fn comma_after(&self, entry: &EntrySpan) -> Option<usize> {
        let rest = &self.text[entry.value.end..];
        let comma = rest.len() - rest.trim_start().len();
        rest[comma..].starts_with(',').then_some(entry.value.end + comma)
    }

    /// The whole lines of a range, with a comment behind it, if nothing else stands on them.
    fn own_lines(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let lines = self.line_start(range.start)..self.line_end(range.end);
        let after = self.text[range.end..lines.end].trim_start();
        let is_own =
            self.text[lines.start..range.start].trim().is_empty() && (after.is_empty() || after.starts_with('#'));
        is_own.then_some(lines)
    }

    /// The end of the white space that begins here. A comment keeps the white space before it.
    fn end_of_space(&self, at: usize) -> usize {
        let rest = self.text[at..].trim_start();
        if rest.starts_with('#') { at } else { self.text.len() - rest.len() }
    }
}

/// Writes a value on one line. Strings are in quotes if it is JSON, or if YAML needs quotes.
struct OneLine<'a> {
    comma: &'a str,
    colon: &'a str,
    is_json: bool,
}

impl Formatter for OneLine<'_> {
    fn begin_string<W: Write + ?Sized>(&mut self, out: &mut W) -> Result<()> {
        out.write_all(if self.is_json { b"\"" } else { b"" })
    }

    fn end_string<W: Write + ?Sized>(&mut self, out: &mut W) -> Result<()> {
        self.begin_string(out)
    }

    /// Writes a whole string: only a string with escapes has several fragments, and no name or token has an escape.
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> Result<()> {
        let text = if self.is_json { fragment } else { &write(&fragment) };
        out.write_all(text.trim_end().as_bytes())
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, is_first: bool) -> Result<()> {
        out.write_all(if is_first { b"" } else { self.comma.as_bytes() })
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> Result<()> {
        out.write_all(self.colon.as_bytes())
    }
}

fn json_text(value: &NewValue, formatter: impl Formatter) -> String {
    let mut bytes = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    // A vector takes everything, and all keys are strings.
    written.expect("text in memory");
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

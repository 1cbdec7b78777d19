//! Splices for mappings in block style: an entry has lines of its own.

use std::collections::BTreeMap;

use waxseal_shared::manifest::{EntrySpan, MappingSpan, write};

use super::{Editor, NewValue, Splice, entry_before};

impl Editor<'_> {
    pub(super) fn inserted_in_block(
        &self,
        parents: &[&str],
        mapping: &MappingSpan,
        name: &str,
        value: &NewValue,
    ) -> Option<Splice> {
        let entries = &mapping.entries;
        let at = match entry_before(mapping, name) {
            Some(entry) => self.end_of_lines(entry)?,
            None => self.line_end(self.object.entry_span(parents)?.key.end),
        };
        let entry = match value {
            NewValue::Text(text) => {
                let name = self.in_quotes_of(entries.iter().map(|entry| &entry.key), name);
                format!("{name}: {}", self.in_quotes_of(entries.iter().map(|entry| &entry.value), text))
            }
            value => write(&BTreeMap::from([(name, value)])),
        };
        Some(self.line_splice(at, &self.lines(&entry, self.column(entries.first()?))))
    }

    /// Writes a mapping in place of an empty one or of null.
    pub(super) fn filled_in_block(
        &self,
        parent: &MappingSpan,
        entry: &EntrySpan,
        value: &NewValue,
    ) -> Option<Vec<Splice>> {
        let empty = self.empty_value(entry)?;
        let lines = self.lines(&write(value), self.column(parent.entries.first()?) + self.step());
        let lines = self.line_splice(self.line_end(empty.end), &lines);
        Some(vec![Splice { range: empty, text: String::new() }, lines])
    }

    /// Removes the lines of an entry. A mapping that has no other entry becomes `{}`.
    pub(super) fn removed_in_block(
        &self,
        parents: &[&str],
        mapping: &MappingSpan,
        index: usize,
    ) -> Option<Vec<Splice>> {
        let entry = &mapping.entries[index];
        let mut range = self.line_start(entry.key.start)..self.end_of_lines(entry)?;
        if !self.text[range.start..entry.key.start].bytes().all(|byte| byte == b' ') {
            return None;
        }
        if range.end == self.text.len() && !self.text.ends_with('\n') {
            // Also removes the line breaks before the entry, even those of blank lines: the text ended without a line
            // break, and this stays so.
            range.start = self.text[..range.start].trim_end_matches(['\n', '\r']).len();
        }
        let mut splices = vec![Splice { range, text: String::new() }];
        if mapping.entries.len() == 1 {
            let after_colon = self.colon(&self.object.entry_span(parents)?)? + 1;
            splices.push(Splice { range: after_colon..after_colon, text: " {}".to_owned() });
        }
        Some(splices)
    }

    /// The end of the last line of an entry, with a comment behind it.
    fn end_of_lines(&self, entry: &EntrySpan) -> Option<usize> {
        let value = &self.text[entry.value.clone()];
        let end = match value.trim_end().len() {
            0 => self.colon(entry)?,
            // The range of a block scalar contains the white space behind it.
            length => entry.value.start + length,
        };
        Some(self.line_end(end))
    }

    fn column(&self, entry: &EntrySpan) -> usize {
        entry.key.start - self.line_start(entry.key.start)
    }

    /// How many spaces indent one level of the object: as many as indent the entries of `spec`, or 2 if `spec` has no
    /// entries in block style.
    fn step(&self) -> usize {
        let first = self.object.mapping_span(&["spec"]).filter(|spec| !self.is_flow(spec));
        let columns = self.object.entry_span(&["spec"]).zip(first.as_ref().and_then(|spec| spec.entries.first()));
        columns.map_or(2, |(spec, first)| self.column(first).saturating_sub(self.column(&spec)).max(1))
    }

    /// Indents lines as the object is indented, and gives them the line breaks of the text.
    fn lines(&self, lines: &str, indent: usize) -> String {
        let (step, line_break) = (self.step(), self.line_break());
        let indented = |line: &str| {
            let text = line.trim_start();
            // In `lines`, two spaces indent one level.
            let indent = indent + (line.len() - text.len()) / 2 * step;
            format!("{:indent$}{text}{line_break}", "")
        };
        lines.lines().map(indented).collect()
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

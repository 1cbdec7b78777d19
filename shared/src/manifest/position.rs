//! Lines and columns, computed from offsets when an error is made.

use std::cell::OnceCell;

/// A line and a column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// The distance in bytes between two known positions of a text. After the first look-up, each look-up reads
/// fewer bytes than this, even in a text that is a single line.
const STEP: usize = 512;
/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// Returns the position of `end` in the text. `self` must be the position of `start`.
    ///
    /// A line ends at LF, CR LF and CR, as in YAML 1.2.2 §5.4. A byte order mark takes no column, as editors
    /// show it.
    pub(super) fn advanced(mut self, text: &str, start: usize, end: usize) -> Self {
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate().take(end).skip(start) {
            match byte {
                b'\n' => self = Self { line: self.line + 1, column: 1 },
                b'\r' if bytes.get(at + 1) != Some(&b'\n') => self = Self { line: self.line + 1, column: 1 },
                // The second to fourth bytes of a character.
                0x80..=0xbf => {}
                0xef if bytes[at..].starts_with(BYTE_ORDER_MARK) => {}
                _ => self.column += 1,
            }
        }
        self
    }
}

/// Finds positions in one text, in constant time each after the first.
pub(super) struct Positions<'a> {
    text: &'a str,
    start: Position,
    /// The position of every byte whose offset is a multiple of [`STEP`].
    known: OnceCell<Vec<Position>>,
}

impl<'a> Positions<'a> {
    /// Positions in a text that itself begins at `start`.
    pub(super) fn new(text: &'a str, start: Position) -> Self {
        Self { text, start, known: OnceCell::new() }
    }

    pub(super) fn at(&self, offset: usize) -> Position {
        let known = self.known.get_or_init(|| {
            let steps = (STEP..=self.text.len()).step_by(STEP);
            let known = steps.scan(self.start, |position, end| {
                *position = position.advanced(self.text, end - STEP, end);
                Some(*position)
            });
            std::iter::once(self.start).chain(known).collect()
        });
        let step = offset.min(self.text.len()) / STEP;
        known[step].advanced(self.text, step * STEP, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_every_line_break() {
        for (text, line, column) in [
            ("", 1, 1),
            ("aé", 1, 3),
            ("a\nb", 2, 2),
            ("a\r\nb", 2, 2),
            ("a\rb", 2, 2),
            ("\n\r", 3, 1),
            ("\r\n\r\n", 3, 1),
            ("\u{feff}a", 1, 2),
        ] {
            assert_eq!(Position::START.advanced(text, 0, text.len()), Position { line, column }, "{text:?}");
        }
    }

    #[test]
    fn positions_in_long_texts_are_those_of_a_count_from_the_start() {
        for unit in ["é\r\n", "é", "a\r", "\n"] {
            let text = unit.repeat(2 * STEP);
            let positions = Positions::new(&text, Position { line: 7, column: 3 });
            for offset in [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP, text.len()] {
                let expected = Position { line: 7, column: 3 }.advanced(&text, 0, offset);
                assert_eq!(positions.at(offset), expected, "{unit:?} {offset}");
            }
        }
    }
}

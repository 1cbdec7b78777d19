use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

/// A passphrase of at least one character: wiped when dropped, never printed.
pub struct Passphrase(Zeroizing<String>);

/// The text contains no passphrase: it is empty, or only a line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the passphrase is empty")]
pub struct EmptyPassphrase;

impl Passphrase {
    /// Returns the passphrase in a text that was typed or read from a file. Removes one line break (`\n` or `\r\n`) at
    /// the end, because editors and `echo` add it. All other characters belong to the passphrase, also spaces. Refuses
    /// a text without a passphrase.
    pub fn parse(mut text: Zeroizing<String>) -> Result<Self, EmptyPassphrase> {
        let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let length = line.map_or(text.len(), str::len);
        text.truncate(length);
        if text.is_empty() { Err(EmptyPassphrase) } else { Ok(Self(text)) }
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_final_line_break_is_not_part_of_the_passphrase() {
        for (text, passphrase) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            ("hunter2\n\n", "hunter2\n"),
            ("hunter2\r", "hunter2\r"),
            (" two words ", " two words "),
        ] {
            let parsed = Passphrase::parse(Zeroizing::new(text.to_owned())).expect("not empty");
            assert_eq!(parsed.expose(), passphrase, "{text:?}");
        }
    }

    #[test]
    fn an_empty_passphrase_is_refused() {
        for text in ["", "\n", "\r\n"] {
            assert_eq!(Passphrase::parse(Zeroizing::new(text.to_owned())).err(), Some(EmptyPassphrase));
        }
    }

    #[test]
    fn debug_does_not_show_the_passphrase() {
        let passphrase = Passphrase::parse(Zeroizing::new("hunter2".to_owned())).expect("not empty");
        assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
    }
}

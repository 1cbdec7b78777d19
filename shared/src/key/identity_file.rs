use jiff::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

use super::Identity;
use super::age_bytes::is_encrypted;

const CREATED: &str = "# created:";
pub(crate) const STATE: &str = "state";

/// The content of an identity file as `age-keygen` writes it: comments, and each identity on a line of its own.
#[derive(Debug)]
pub struct IdentityFile {
    /// The time of the first `# created:` comment that can be read as a time.
    pub created_at: Option<Timestamp>,
    /// The word after each `# state:` comment; [`key_life::state_in`](crate::key_life::state_in) says what they mean.
    pub(crate) state_words: Vec<String>,
    /// The identities, at least one.
    pub identities: Vec<Identity>,
}

/// Why a text is not an identity file. Never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// A line is neither an identity nor a comment.
    #[error("line {line}: neither an identity nor a comment")]
    Line {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line is an identity of another kind.
    #[error("line {line}: an identity of a kind that is not known; update Waxseal, if a newer version made it")]
    Kind {
        /// The line, counted from 1.
        line: usize,
    },
    /// The file contains no identity.
    #[error("no identity in it")]
    Empty,
    /// It is encrypted; [`ProtectedIdentityFile`](super::ProtectedIdentityFile) reads it.
    #[error("it is encrypted, but a plain identity file is needed")]
    Encrypted,
}

impl IdentityFileError {
    /// The error for a line that is not an identity: [`Kind`](Self::Kind) if the line begins as an identity of a kind
    /// that this version does not know.
    fn of_line(text: &str, line: usize) -> Self {
        let is_kind = |kind: &str| kind.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let is_new_kind = |kind: &str| is_kind(kind) && !["", "PQ-"].contains(&kind);
        let kind = text.rsplit_once('1').and_then(|(kind, _)| kind.strip_prefix("AGE-SECRET-KEY-"));
        if kind.is_some_and(is_new_kind) { Self::Kind { line } } else { Self::Line { line } }
    }
}

impl IdentityFile {
    /// Reads an identity file. The error for a line that is not understood has the number of the line.
    pub fn parse(file: &[u8]) -> Result<Self, IdentityFileError> {
        if is_encrypted(file) {
            return Err(IdentityFileError::Encrypted);
        }
        let text = str::from_utf8(file).map_err(|_| IdentityFileError::NotText)?;
        let mut file = Self { created_at: None, state_words: Vec::new(), identities: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches([' ', '\t', '\r']);
            if line.starts_with('#') {
                file.created_at = file.created_at.or_else(|| line.strip_prefix(CREATED)?.trim().parse().ok());
                file.state_words.extend(state_word(line).map(str::to_owned));
            } else if !line.is_empty() {
                let identity = Identity::parse(line).map_err(|_| IdentityFileError::of_line(line, index + 1))?;
                file.identities.push(identity);
            }
        }
        if file.identities.is_empty() {
            return Err(IdentityFileError::Empty);
        }
        Ok(file)
    }

    /// Writes a file with one identity, the time it was made and its public half.
    pub fn write(identity: &Identity, created_at: Timestamp) -> Zeroizing<String> {
        let secret = identity.expose();
        let recipient = identity.recipient().as_str();
        let created_at = created_at.to_string();
        Zeroizing::new([CREATED, " ", &created_at, "\n# public key: ", recipient, "\n", &secret, "\n"].concat())
    }
}

/// The word after `# state:`; `None` if the line is not such a comment. The comment may have more spaces, capitals and
/// `#`, such as `##State : Revoked`: a comment that is meant to revoke a key must not be ignored.
pub(crate) fn state_word(line: &str) -> Option<&str> {
    let comment = line.strip_prefix('#')?.trim_start_matches('#');
    let (name, word) = comment.split_once(':')?;
    name.trim().eq_ignore_ascii_case(STATE).then(|| word.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyKind;
    use crate::randomness;

    const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

    #[test]
    fn a_written_file_reads_back() {
        let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
        let created_at = Timestamp::from_second(1_700_000_000).expect("a small number");
        let file = IdentityFile::parse(IdentityFile::write(&identity, created_at).as_bytes()).expect("our own file");
        assert_eq!(file.created_at, Some(created_at));
        assert_eq!(file.identities[0].recipient(), identity.recipient());
    }

    #[test]
    fn comments_and_empty_lines_are_passed_over() {
        let file = IdentityFile::parse(format!("# a note\n\n{IDENTITY} \t\r\n").as_bytes()).expect("one identity");
        assert_eq!((file.created_at, file.identities.len()), (None, 1));
    }

    #[test]
    fn the_error_for_a_bad_file_has_at_most_the_line_number() {
        let bad_line = format!("{IDENTITY}\nhunter2\n");
        let other_space = format!("{IDENTITY}\u{a0}\n");
        for (file, error) in [
            (&b"# nothing\n"[..], IdentityFileError::Empty),
            (b"-----BEGIN AGE ENCRYPTED FILE-----\n", IdentityFileError::Encrypted),
            (b"\n-----BEGIN AGE ENCRYPTED FILE-----\n", IdentityFileError::Encrypted),
            (b"age-encryption.org/v1\n-> scrypt \xff\n", IdentityFileError::Encrypted),
            (b"\xff\xfe", IdentityFileError::NotText),
            (bad_line.as_bytes(), IdentityFileError::Line { line: 2 }),
            (other_space.as_bytes(), IdentityFileError::Line { line: 1 }),
        ] {
            assert_eq!(IdentityFile::parse(file).err(), Some(error));
        }
    }
}

//! Reading files and stdin: bounded, and wiped after use.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use waxseal_shared::visible_text::escaped;
use zeroize::{Zeroize, Zeroizing};

use crate::error::CliError;

/// The greatest size of a file or stream: 32 MiB.
const MAX_INPUT_BYTES: usize = 32 * 1024 * 1024;

/// Where a text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin,
    File(PathBuf),
}

impl Input {
    /// What stands on the command line: `-` is stdin.
    pub(crate) fn named(name: &OsStr) -> Self {
        if name == "-" { Self::Stdin } else { Self::File(name.into()) }
    }

    /// The name that errors show.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Stdin => "<stdin>".to_owned(),
            Self::File(path) => shown(path),
        }
    }

    /// Reads all of it; refuses more than 32 MiB while reading, and what is not UTF-8.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, CliError> {
        self.text(self.read_bytes()?)
    }

    /// Reads all of it, text or not; refuses more than 32 MiB while reading.
    pub(crate) fn read_bytes(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        self.read_all().map_err(|error| error.at(self.place()))
    }

    /// What was read from it, as text; refuses what is not UTF-8.
    pub(crate) fn text(&self, bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, CliError> {
        into_text(bytes).map_err(|error| error.at(self.place()))
    }

    fn read_all(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        let failed = |error| CliError::io("read it", &error);
        match self {
            Self::Stdin => read_bounded(io::stdin().lock(), 0),
            Self::File(path) => {
                let file = File::open(path).map_err(failed)?;
                let metadata = file.metadata().map_err(failed)?;
                if metadata.is_dir() {
                    return Err(CliError::refused("a folder, where a file belongs"));
                }
                read_bounded(file, usize::try_from(metadata.len()).unwrap_or(usize::MAX))
            }
        }
    }
}

/// Refuses a command line that names stdin twice: it can be read once.
pub(crate) fn check_stdin_once<'a>(names: impl IntoIterator<Item = &'a OsString>) -> Result<(), CliError> {
    match names.into_iter().filter(|name| *name == "-").count() {
        0 | 1 => Ok(()),
        _ => Err(CliError::usage("`-` stands for stdin twice, and it can be read once")),
    }
}

/// Whether nobody has given stdin anything to read.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// A path as a message shows it.
pub(crate) fn shown(path: &Path) -> String {
    escaped(&path.display().to_string()).into_owned()
}

/// The `.yaml`, `.yml` and `.json` files below a folder, sorted; hidden and symlinked folders are
/// not entered, and what is no file is not opened.
pub(crate) fn manifests_below(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let failed = |error| CliError::io("read the folder", &error).at(shown(&folder));
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if entry.file_type().map_err(failed)?.is_dir() {
                let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                waiting.extend((!is_hidden).then_some(path));
            } else if is_manifest(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension)) && path.is_file()
}

/// Reads to the end; a buffer that grows is wiped before it is given back.
fn read_bounded(mut from: impl Read, expected: usize) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let too_large = || CliError::refused("larger than 32 MiB, the most that is read");
    if expected > MAX_INPUT_BYTES {
        return Err(too_large());
    }
    let mut buffer = Zeroizing::new(vec![0; expected.max(4096) + 1]);
    let mut length = 0;
    loop {
        if length == buffer.len() {
            let mut larger = Zeroizing::new(vec![0; length * 2]);
            larger[..length].copy_from_slice(&buffer);
            buffer = larger;
        }
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CliError::io("read it", &error)),
        }
        if length > MAX_INPUT_BYTES {
            return Err(too_large());
        }
    }
    buffer.truncate(length);
    Ok(buffer)
}

fn into_text(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, CliError> {
    String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
        let is_utf16 = is_utf16(error.as_bytes());
        error.into_bytes().zeroize();
        let refused = CliError::refused("not UTF-8");
        if is_utf16 { refused.with_hint("it looks like UTF-16: save it as UTF-8") } else { refused }
    })
}

/// Whether all of it is UTF-16 behind a byte order mark.
fn is_utf16(bytes: &[u8]) -> bool {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        // The mark of UTF-32.
        [0xff, 0xfe, 0, 0, ..] => return false,
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return false,
    };
    let (units, rest) = bytes.as_chunks();
    rest.is_empty() && char::decode_utf16(units.iter().map(|bytes| unit(*bytes))).all(|read| read.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_told_from_what_only_begins_like_it() {
        for text in ["", "kind: Secret\n", "é \u{1f9ad}"] {
            let units = || ['\u{feff}'].into_iter().chain(text.chars()).collect::<String>();
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                assert!(is_utf16(&units().encode_utf16().flat_map(bytes).collect::<Vec<_>>()), "{text:?}");
            }
            let utf_32 = |bytes: fn(u32) -> [u8; 4]| units().chars().map(u32::from).flat_map(bytes).collect::<Vec<_>>();
            assert!(!is_utf16(&utf_32(u32::to_le_bytes)) && !is_utf16(&utf_32(u32::to_be_bytes)), "{text:?}");
        }
        // Of odd length, and half of a surrogate pair.
        for bytes in [&b"\xff\xfea"[..], b"\xfe\xff\0", b"\xff\xfe\0\xd8a\0", b"\xfe\xff\xdc\0", b"a\0", b"\xff", b""] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }
}

//! Reads files, folders and stdin, with a limit.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use waxseal_shared::manifest::read_keys;
use waxseal_shared::sealing_key::PublishedKey;
use waxseal_shared::visible_text::visible_path;

use crate::error::CliError;
use crate::git;
use crate::streams::Streams;

/// The largest file or stream that is read: 32 MiB.
pub(crate) const MAX_INPUT_BYTES: usize = 32 * 1024 * 1024;

/// What is wrong with a larger one.
pub(crate) const INPUT_TOO_LARGE: &str = "larger than 32 MiB, which is the limit for an input";

/// What helps against a result that would be too large to be read again.
pub(crate) const SPLIT_THE_INPUT: &str = "divide its documents among several files";

/// The source of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin,
    /// A file, named by its path. On the command line, the path can also be that of a folder.
    File(PathBuf),
    /// A file that was found in a folder on the command line.
    Found(FoundFile),
}

/// A file that was found in a folder on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundFile {
    /// The path of the file or of the link to it: the folder as the user wrote it, and the name below it.
    pub(crate) path: PathBuf,
    /// The canonical path of the file, without symbolic links.
    pub(crate) target: PathBuf,
    /// Whether `path` is a symbolic link.
    pub(crate) is_link: bool,
}

/// The result of searching a folder.
#[derive(Default)]
pub(crate) struct FoundFiles {
    /// The files, sorted.
    pub(crate) files: Vec<FoundFile>,
    /// The symbolic links to manifests and folders outside of the folder, sorted. They are not followed.
    pub(crate) links_out: Vec<PathBuf>,
    /// The errors for folders that cannot be searched.
    pub(crate) errors: Vec<CliError>,
}

impl Input {
    /// Returns the input for an argument: `-` is stdin.
    pub(crate) fn named(name: &OsStr) -> Self {
        if name == "-" { Self::Stdin } else { Self::File(name.into()) }
    }

    /// Returns the name that errors show.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Stdin => "<stdin>".to_owned(),
            Self::File(path) | Self::Found(FoundFile { path, .. }) => visible_path(path),
        }
    }

    /// Returns the path to the file; `None` for stdin.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::File(path) | Self::Found(FoundFile { target: path, .. }) => Some(path),
        }
    }

    /// Reads the whole input; refuses more than 32 MiB, and bytes that are not UTF-8.
    pub(crate) fn read(&self) -> Result<String, CliError> {
        self.text(self.read_bytes()?)
    }

    pub(crate) fn read_keys(&self) -> Result<Vec<PublishedKey>, CliError> {
        read_keys(&self.read()?).map_err(|error| CliError::manifest(&self.place(), &error))
    }

    /// Reads the whole input as bytes; refuses more than 32 MiB.
    pub(crate) fn read_bytes(&self) -> Result<Vec<u8>, CliError> {
        let placed = |error: CliError| error.at(self.place());
        match self {
            Self::Stdin => read_bounded(io::stdin().lock(), 0).map_err(placed),
            Self::File(path) => {
                let failed = |error| CliError::path("read it", path, &error);
                let file = File::open(path).map_err(failed)?;
                let metadata = file.metadata().map_err(failed)?;
                if metadata.is_dir() {
                    return Err(failed(Errno::ISDIR.into()));
                }
                read_bounded(file, metadata.len()).map_err(placed)
            }
            Self::Found(file) => file.read().map_err(placed),
        }
    }

    /// Converts bytes from this input to text; refuses bytes that are not UTF-8.
    pub(crate) fn text(&self, bytes: Vec<u8>) -> Result<String, CliError> {
        String::from_utf8(bytes).map_err(|error| {
            let refused = CliError::refused("not UTF-8").at(self.place());
            let is_utf16 = is_utf16(error.as_bytes());
            if is_utf16 { refused.with_hint("it looks like UTF-16: save it as UTF-8") } else { refused }
        })
    }
}

impl FoundFile {
    /// Reads the file; refuses a file with several hard links, because the other links can be outside of the folder.
    fn read(&self) -> Result<Vec<u8>, CliError> {
        let failed = |error| CliError::io("read it", &error);
        // The file may have been replaced after the search: by a link, or by a pipe, which would block.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let file =
            OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(&self.target).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(CliError::refused("is not a regular file"));
        }
        if metadata.nlink() > 1 {
            let error = CliError::refused("has a second name, a hard link, which can lead out of the folder");
            return Err(error.with_hint("name the file itself, or make a copy"));
        }
        read_bounded(file, metadata.len())
    }
}

/// Refuses arguments that name stdin twice, because it can be read only once.
pub(crate) fn check_stdin_once<'a>(names: impl IntoIterator<Item = &'a OsString>) -> Result<(), CliError> {
    match names.into_iter().filter(|name| *name == "-").count() {
        0 | 1 => Ok(()),
        _ => Err(CliError::usage("`-` names stdin twice, and stdin can be read only once")),
    }
}

/// Returns the manifests on the command line. Without manifests, returns `-`, and refuses a terminal as stdin; `verb`
/// completes "nothing to …".
pub(crate) fn names_or_stdin(names: &[OsString], verb: &str) -> Result<Vec<OsString>, CliError> {
    if !names.is_empty() {
        return Ok(names.to_vec());
    }
    if io::stdin().is_terminal() {
        let error = CliError::usage(format!("nothing to {verb}: stdin is a terminal"));
        return Err(error.with_hint("name a file, or `-` to type a manifest"));
    }
    Ok(vec!["-".into()])
}

/// Returns each file once, even if several names or symbolic links lead to it.
pub(crate) fn each_file_once(inputs: Vec<Input>) -> Vec<Input> {
    let is_link = |input: &Input| matches!(input, Input::Found(file) if file.is_link);
    let real = |input: &Input| input.file().and_then(|file| file.canonicalize().ok());
    let files: HashSet<_> = inputs.iter().filter(|input| !is_link(input)).filter_map(real).collect();
    let mut seen = HashSet::new();
    let is_first = |input: &Input| match real(input) {
        Some(file) => !(is_link(input) && files.contains(&file)) && seen.insert(file),
        None => true,
    };
    inputs.into_iter().filter(is_first).collect()
}

/// Searches a folder for `.yaml`, `.yml` and `.json` files, in upper or lower case: regular files, also hidden ones,
/// and links to regular files below the folder.
///
/// Does not enter hidden folders, linked folders or the output folder (`results`), and does not follow links out of the
/// folder.
pub(crate) fn manifests_below(root: &Path, results: Option<&Path>) -> Result<FoundFiles, CliError> {
    let canonical = root.canonicalize().map_err(|error| CliError::path("read the folder", root, &error))?;
    let results = results.and_then(|results| results.canonicalize().ok());
    let mut found = FoundFiles::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        if folder != Path::new("") && results.as_ref().is_some_and(|results| *results == canonical.join(&folder)) {
            continue;
        }
        if let Err(error) = found.add_folder(root, &canonical, &folder, &mut waiting) {
            // `components` drops the slash at the end: the root joined with an empty path ends with a slash.
            let folder: PathBuf = root.join(folder).components().collect();
            found.errors.push(CliError::path("read the folder", &folder, &error));
        }
    }
    found.files.sort();
    found.links_out.sort();
    Ok(found)
}

impl FoundFiles {
    pub(crate) fn warn_of_links_out(&self, root: &Path, streams: &mut Streams) {
        for link in &self.links_out {
            let text =
                format!("left out, because it is a link that leads out of {} or into `.git`", visible_path(root));
            streams.warn(&visible_path(link), &text);
        }
    }

    /// Adds the files of a folder, and its folders to `waiting`; `folder` is its path below the root.
    fn add_folder(
        &mut self,
        root: &Path,
        canonical: &Path,
        folder: &Path,
        waiting: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        for entry in std::fs::read_dir(canonical.join(folder))? {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.extend((!is_hidden(&name)).then_some(name));
            } else if is_manifest(&name) && kind.is_file() {
                self.files.push(FoundFile { path: root.join(&name), target: canonical.join(name), is_link: false });
            } else if kind.is_symlink() {
                self.add_link(root.join(&name), canonical, &canonical.join(name));
            }
        }
        Ok(())
    }

    fn add_link(&mut self, path: PathBuf, root: &Path, link: &Path) {
        // Skips links that lead nowhere.
        let Ok(target) = link.canonicalize() else { return };
        let (is_file, is_folder) = (target.is_file() && is_manifest(&path), target.is_dir() && !is_hidden(&path));
        if !git::is_inside(root, &target) {
            self.links_out.extend((is_file || is_folder).then_some(path));
        } else if is_file {
            self.files.push(FoundFile { path, target, is_link: true });
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Reads to the end, at most 32 MiB.
fn read_bounded(from: impl Read, expected: u64) -> Result<Vec<u8>, CliError> {
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    // A vector doubles its capacity, and one byte more than 32 MiB is read. From 4,097 bytes it grows to just above
    // 32 MiB; from 4,096 bytes it would grow to 64 MiB for the last byte.
    let mut bytes = Vec::with_capacity(expected.clamp(4096, MAX_INPUT_BYTES) + 1);
    let read = from.take(MAX_INPUT_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| CliError::io("read it", &error))?;
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(CliError::refused(INPUT_TOO_LARGE));
    }
    Ok(bytes)
}

/// Whether the bytes are a byte order mark and valid UTF-16.
fn is_utf16(bytes: &[u8]) -> bool {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        // The byte order mark of UTF-32.
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
    fn a_found_file_that_was_replaced_by_a_link_or_device_is_refused() {
        let file = |target: &str| FoundFile { path: "x.yaml".into(), target: target.into(), is_link: false };
        for target in ["/dev/null", "/dev", "/dev/stdin", "/"] {
            assert!(Input::Found(file(target)).read_bytes().is_err(), "{target}");
        }
    }

    #[test]
    fn utf_16_is_recognised_and_utf_32_and_broken_utf_16_are_not() {
        for text in ["", "kind: Secret\n", "é \u{1f9ad}"] {
            let units = || ['\u{feff}'].into_iter().chain(text.chars()).collect::<String>();
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                assert!(is_utf16(&units().encode_utf16().flat_map(bytes).collect::<Vec<_>>()), "{text:?}");
            }
            let utf_32 = |bytes: fn(u32) -> [u8; 4]| units().chars().map(u32::from).flat_map(bytes).collect::<Vec<_>>();
            assert!(!is_utf16(&utf_32(u32::to_le_bytes)) && !is_utf16(&utf_32(u32::to_be_bytes)), "{text:?}");
        }
        // Odd lengths, and halves of surrogate pairs.
        for bytes in [&b"\xff\xfea"[..], b"\xfe\xff\0", b"\xff\xfe\0\xd8a\0", b"\xfe\xff\xdc\0", b"a\0", b"\xff", b""] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }
}

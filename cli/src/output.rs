//! Writing files: replaced as a whole, or new and for the owner alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::git;
use crate::input::shown;

/// Where a result goes.
pub(crate) enum Output {
    Stdout,
    File(PathBuf),
}

impl Output {
    /// What `--output` says: nothing and `-` are stdout.
    pub(crate) fn named(name: Option<PathBuf>) -> Result<Self, CliError> {
        match name.filter(|name| !is_stdout(name)) {
            None => Ok(Self::Stdout),
            Some(path) => check_format(&path).map(|()| Self::File(path)),
        }
    }
}

/// Refuses an `--output` that is no file, where it has to be one.
pub(crate) fn check_file(name: &Path) -> Result<(), CliError> {
    if is_stdout(name) {
        let error = CliError::usage("--output names a file here, and - stands for stdout");
        return Err(error.with_hint("name the file; for one of that name write ./-"));
    }
    check_format(name)
}

fn is_stdout(name: &Path) -> bool {
    name == Path::new("-")
}

/// Refuses the names of formats, which people type who think of kubectl.
fn check_format(path: &Path) -> Result<(), CliError> {
    if path != Path::new("yaml") && path != Path::new("json") {
        return Ok(());
    }
    let name = shown(path);
    let error = CliError::usage(format!("--output names a file, and {name} looks like a format"));
    Err(error.with_hint(format!("the format is that of the input; for a file of that name write ./{name}")))
}

/// Replaces a file, or makes it: written beside it, synced, renamed. Mode and symlinks stay.
///
/// What is no regular file, such as a pipe, is written to as it is.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), CliError> {
    replace_whole(path, text).map_err(|error| CliError::io("write it", &error).at(shown(path)))
}

/// Makes a file with mode 0600 for what is secret. It is never over an existing one, and never in a
/// Git work tree unless Git ignores the path.
pub(crate) fn create_private(path: &Path, text: &str) -> Result<(), CliError> {
    check_private(path)?;
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = created.map_err(|error| CliError::io("make it", &error).at(shown(path)))?;
    // The umask can have taken rights from the owner, too.
    let restricted = file.set_permissions(Permissions::from_mode(0o600));
    restricted.and_then(|()| file.write_all(text.as_bytes())).and_then(|()| file.sync_all()).map_err(|error| {
        let _half_written = fs::remove_file(path);
        CliError::io("write it", &error).at(shown(path))
    })
}

/// Says whether [`create_private`] would refuse, before there is anything to write.
pub(crate) fn check_private(path: &Path) -> Result<(), CliError> {
    if path.symlink_metadata().is_ok() {
        let error = CliError::refused("exists already, and secrets are never written over a file");
        return Err(error.at(shown(path)));
    }
    match git::standing(path) {
        git::Standing::Outside | git::Standing::Ignored => Ok(()),
        git::Standing::Exposed => Err(CliError::refused("is in a Git work tree, and Git does not ignore it")
            .at(shown(path))
            .with_hint("write it outside the work tree, or add it to .gitignore first")),
        git::Standing::Unknown => {
            Err(CliError::refused("is in a Git work tree, and Git does not say if it ignores it")
                .at(shown(path))
                .with_hint("write it outside the work tree"))
        }
    }
}

fn replace_whole(path: &Path, text: &str) -> io::Result<()> {
    let Ok(metadata) = fs::metadata(path) else {
        return write_beside(path, Permissions::from_mode(0o666), text)?.finish(path);
    };
    if !metadata.is_file() {
        return OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes());
    }
    let target = path.canonicalize()?;
    let beside = write_beside(&target, Permissions::from_mode(0o600), text)?;
    beside.file.as_file().set_permissions(metadata.permissions())?;
    beside.finish(&target)
}

struct Beside {
    file: tempfile::NamedTempFile,
    folder: PathBuf,
}

fn write_beside(path: &Path, permissions: Permissions, text: &str) -> io::Result<Beside> {
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new().prefix(".waxseal-").permissions(permissions).tempfile_in(&folder)?;
    file.write_all(text.as_bytes())?;
    Ok(Beside { file, folder })
}

impl Beside {
    fn finish(self, path: &Path) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(path)?;
        File::open(self.folder)?.sync_all()
    }
}

/// The folder that a file stands in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

//! New files that only their owner can read, for identities, backups of keys, and plain values.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
#[cfg(target_os = "linux")]
use rustix::io::Errno;
use waxseal_shared::visible_text::visible_path;

use crate::error::CliError;
use crate::file_names::folder_of;
use crate::git::{self, Exposure};
use crate::output::check_symbolic_links;

/// Creates a file with mode 0600 for secrets. After that, the file survives a crash.
///
/// Never replaces a file. Refuses a path in a Git work tree unless each repository around it ignores the path. Where
/// the operating system and the file system can make files without a name, the file gets its name when it is whole: a
/// program that is killed leaves no half-written file behind.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), CliError> {
    check(path)?;
    let folder = folder_of(path);
    if !create_nameless(&folder, path, text)? {
        create_in_place(path, text)?;
    }
    let synced = File::open(&folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| CliError::io("write it", &error).at(visible_path(path)))
}

/// Writes a file without a name, and then gives it its name, unless there is a file of this name. Returns whether this
/// is possible here.
#[cfg(target_os = "linux")]
fn create_nameless(folder: &Path, path: &Path, text: &str) -> Result<bool, CliError> {
    let failed = |error: Errno| CliError::path("create it", path, &error.into());
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = match openat(CWD, folder, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => File::from(file),
        Err(error) if needs_other_way(error) => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    // If the disk is full or broken, the other way would not help, and could leave a half-written file behind.
    write(&mut file, text).map_err(|error| CliError::io("write it", &error).at(visible_path(path)))?;
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(error) if needs_other_way(error) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Whether an error can mean that the system has no nameless files, gives them no names, or has no `/proc`. If it means
/// something else, creating the file in place fails in the same way.
#[cfg(target_os = "linux")]
fn needs_other_way(error: Errno) -> bool {
    [Errno::OPNOTSUPP, Errno::NOSYS, Errno::ISDIR, Errno::INVAL, Errno::NOENT, Errno::XDEV, Errno::PERM, Errno::ACCESS]
        .contains(&error)
}

#[cfg(not(target_os = "linux"))]
fn create_nameless(_: &Path, _: &Path, _: &str) -> Result<bool, CliError> {
    Ok(false)
}

fn create_in_place(path: &Path, text: &str) -> Result<(), CliError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = created.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CliError::path("create it", &folder_of(path), &error),
        _ => CliError::path("create it", path, &error),
    })?;
    write(&mut file, text).map_err(|error| {
        // Ignores errors: the user needs the first error.
        let _removed = fs::remove_file(path);
        CliError::io("write it", &error).at(visible_path(path))
    })
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    // The umask can take rights from the owner too.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Refuses the paths that [`create`] refuses, before there is anything to write.
pub(crate) fn check(path: &Path) -> Result<(), CliError> {
    if path.symlink_metadata().is_ok() {
        let error = CliError::refused("exists already, and secrets are never written over a file");
        return Err(error.at(visible_path(path)));
    }
    check_symbolic_links(path)?;
    let refused = |text: &str, hint: &str| Err(CliError::refused(text).at(visible_path(path)).with_hint(hint));
    match git::exposure(path) {
        Exposure::Private => Ok(()),
        Exposure::Exposed => refused(
            "is in a Git work tree, and Git does not ignore it",
            "write it outside the work tree, or add it to .gitignore first",
        ),
        Exposure::ExposedTo(root) => refused(
            &format!("is also in the Git work tree {}, and Git does not ignore it there", visible_path(&root)),
            &format!("write it outside that work tree, or add it to {} first", visible_path(&root.join(".gitignore"))),
        ),
        Exposure::Tracked => {
            refused("Git tracks a file of this name, so Git does not ignore it", "write it outside the work tree")
        }
        Exposure::InsideRepository => {
            refused("is inside the folder where Git keeps a repository", "write it to another folder")
        }
        Exposure::Unknown => refused(
            "is in a Git work tree, and its repository cannot be read to see if Git ignores it",
            "write it outside the work tree",
        ),
    }
}

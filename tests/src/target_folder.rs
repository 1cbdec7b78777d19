//! Cargo's target folder, and the profile of the running program.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to find the running program's own path")]
    CurrentProgram(#[source] std::io::Error),
    #[error("failed to ask cargo for its target folder")]
    Metadata(#[source] cargo_metadata::Error),
}

/// Returns the absolute path of Cargo's target folder.
///
/// The running program is usually in it. `CARGO_TARGET_DIR` is less reliable: it can be relative to the folder in which
/// Cargo was started, and Cargo runs tests in the folder of their package. If the program is not in a target folder,
/// this function asks Cargo, which uses that variable and its settings.
pub fn find() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(Error::CurrentProgram)?;
    match containing(&program) {
        Some(folder) => Ok(folder.to_owned()),
        None => ask_cargo(),
    }
}

/// Returns the profile of the running program, as `cargo build --profile` names it.
pub fn profile() -> Result<String, Error> {
    let program = std::env::current_exe().map_err(Error::CurrentProgram)?;
    Ok(profile_of(&program))
}

/// Returns the target folder that contains a program: Cargo marks it with a tag, see <https://bford.info/cachedir/>.
fn containing(program: &Path) -> Option<&Path> {
    program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file())
}

fn ask_cargo() -> Result<PathBuf, Error> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .map_err(Error::Metadata)?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// Returns the profile from the path. Tests are in `PROFILE/deps`, programs in `PROFILE`, and the folder of the profile
/// `dev` is `debug`.
fn profile_of(program: &Path) -> String {
    let mut folders = program.ancestors().skip(1).filter_map(Path::file_name);
    let folder = folders.find(|folder| *folder != "deps");
    match folder.and_then(|name| name.to_str()) {
        Some("debug") | None => "dev".to_owned(),
        Some(name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_follows_from_the_folder() {
        for (program, profile) in [
            ("/t/debug/deps/system-0123", "dev"),
            ("/t/debug/demo", "dev"),
            ("/t/release/deps/system-0123", "release"),
            ("/t/aarch64-apple-darwin/bench/demo", "bench"),
        ] {
            assert_eq!(profile_of(Path::new(program)), profile);
        }
    }

    #[test]
    fn the_nearest_tagged_folder_is_the_target_folder() {
        let target = tempfile::tempdir().expect("a folder");
        let program = target.path().join("debug/deps/system-0123");
        assert_eq!(containing(&program), None);
        std::fs::write(target.path().join("CACHEDIR.TAG"), "").expect("the folder is writable");
        assert_eq!(containing(&program), Some(target.path()));
    }

    #[test]
    fn cargo_knows_its_target_folder() {
        assert!(ask_cargo().expect("cargo runs").is_absolute());
    }
}

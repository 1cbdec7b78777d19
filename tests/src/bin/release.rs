//! Makes the files of a release, and prints the names that belong to its version. `.github/workflows/release.yml` runs
//! it.
//!
//! - `release names TAG` prints the version, whether it is a prerelease, the image and the folder of charts. It refuses
//!   a tag of another version.
//! - `release files PROGRAMS FOLDER` writes all files into a folder. `PROGRAMS/TRIPLE` holds the programs for a target.

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use waxseal_tests::{release, report};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {}", report(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["names", tag] => Ok(stdout().write_all(release::names(tag)?.as_bytes())?),
        ["files", programs, folder] => Ok(release::write(Path::new(programs), Path::new(folder))?),
        _ => Err("usage: release names TAG, or release files PROGRAMS FOLDER".into()),
    }
}

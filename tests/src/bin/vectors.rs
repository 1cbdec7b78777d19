//! Writes the test vectors of the format into `shared/vectors`; refuses to change vectors that exist.

use std::io::{Write, stderr};
use std::process::ExitCode;

use waxseal_tests::vectors;

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), String> {
    let folder = vectors::folder();
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (name, text) in vectors::files() {
        let path = folder.join(name);
        if let Ok(kept) = std::fs::read_to_string(&path) {
            vectors::broken(&kept, &text).map_err(|error| format!("{name}: {error}"))?;
        }
        std::fs::write(&path, text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

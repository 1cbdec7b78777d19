//! Writes the generated files of `deploy/chart`.

use std::io::{Write, stderr};
use std::process::ExitCode;

use waxseal_tests::{chart, report};

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {}", report(&*error));
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), Box<dyn std::error::Error>> {
    for (name, text) in chart::generated()? {
        let path = chart::folder().join(name);
        std::fs::write(&path, text)?;
    }
    Ok(())
}

//! `cargo demo`: runs Waxseal's main use case step by step, and checks each result.

mod directory;
mod kubernetes;
mod plain_secrets;
mod script;
mod stage;

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use waxseal_tests::{programs, report};

use directory::OnFolders;
use kubernetes::OnKubernetes;
use stage::Stage;

const HELP: &str = "\
Shows Waxseal at work in a temporary folder, and fails if any step is not as it says.

Usage: cargo demo [--kubernetes] [--keep]

  --kubernetes   use a real Kubernetes API server of its own instead of folders
  --keep         keep the folder and print its path
";

struct Options {
    kubernetes: bool,
    keep: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some(options) = Options::parse(&arguments) else {
        let is_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
        let _ = if is_help { write!(stdout(), "{HELP}") } else { write!(stderr(), "{HELP}") };
        return if is_help { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    match play(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "\nThe demo FAILED: {}", report(&*error));
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut options = Self { kubernetes: false, keep: false };
        for argument in arguments {
            match argument.as_str() {
                "--kubernetes" => options.kubernetes = true,
                "--keep" => options.keep = true,
                // Ignored, so that `cargo demo -- --keep` works like `cargo demo --keep`.
                "--" => {}
                _ => return None,
            }
        }
        Some(options)
    }
}

fn play(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut stage = Stage::open(programs::build()?, options.keep)?;
    stage.introduce()?;
    let played = match options.kubernetes {
        true => OnKubernetes::prepare(&stage).and_then(|mut place| script::play(&mut stage, &mut place)),
        false => script::play(&mut stage, &mut OnFolders::new()),
    };
    let played = played.map_err(|error| stage.failed(error));
    stage.close(options.keep)?;
    played
}

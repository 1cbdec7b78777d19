//! The files of a release and the workflows, checked with the programs of others.

use std::fs;
use std::path::Path;
use std::process::Command;

use waxseal_tests::release::{self, PROGRAMS, TARGETS, VERSION};
use waxseal_tests::{assets, python};

use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::run;

const WORKFLOWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.github/workflows");

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("release::actionlint_accepts_the_workflows", lint),
        Test::blocking("release::an_archive_holds_programs_that_run", archive),
        Test::blocking("release::the_bills_of_materials_are_valid_cyclonedx", bills),
    ]
}

/// Runs actionlint without shellcheck and pyflakes, which a machine may have or not.
fn actionlint(file: &Path) -> Result<String, Error> {
    let mut actionlint = Command::new(assets::actionlint()?);
    // It prints its findings to stdout.
    let output = actionlint.env_clear().args(["-no-color", "-shellcheck=", "-pyflakes="]).arg(file).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(String::from_utf8(output.stdout)?.into()),
    }
}

fn lint(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    let names = ["ci.yml", "release.yml"];
    assert_eq!(fs::read_dir(WORKFLOWS)?.count(), names.len());
    for name in names {
        let file = Path::new(WORKFLOWS).join(name);
        assert_eq!(actionlint(&file)?, "");
        let broken = folder.path().join(name);
        fs::write(&broken, fs::read_to_string(&file)?.replacen("runs-on:", "run-on:", 1))?;
        let refused = actionlint(&broken).expect_err("it is broken").to_string();
        assert!(refused.contains("unexpected key \"run-on\" for \"job\" section"), "{refused}");
    }
    Ok(())
}

fn archive(context: &Context) -> TestResult {
    let processor = std::env::consts::ARCH;
    let is_here = |triple: &str| triple.starts_with(processor) && triple.contains(std::env::consts::OS);
    let target = TARGETS.iter().find(|target| is_here(target.triple)).ok_or("no release for this machine")?;
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let programs = context.programs.waxseal.parent().ok_or("a folder")?;
    fs::write(folder.path().join("archive"), release::archive(target, programs)?)?;
    run(Command::new("tar").args(["-xzf", "archive"]).current_dir(folder.path()), "")?;
    for program in PROGRAMS {
        let path = folder.path().join(format!("waxseal-{VERSION}-{}", target.triple)).join(program);
        assert_eq!(run(Command::new(path).arg("--version"), "")?, format!("{program} {VERSION}\n"));
    }
    Ok(())
}

fn bills(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    let python = python::prepare_cyclonedx()?;
    let file = folder.path().join("bill.json");
    let check = |text: &str| -> Result<String, Error> {
        fs::write(&file, text)?;
        run(python.command("check_sbom.py").arg(&file), "")
    };
    let bills = PROGRAMS.into_iter().map(release::sbom).collect::<Result<Vec<_>, _>>()?;
    for bill in &bills {
        check(bill)?;
    }
    for (right, wrong) in [
        ("\"type\": \"library\"", "\"type\": \"libary\""),
        ("\"alg\": \"SHA-256\"", "\"alg\": \"SHA256\""),
        ("\"pkg:cargo/aead@", "\"cargo/aead@"),
        ("\"MIT OR Apache-2.0\"", "\"MIT/Apache 2\""),
    ] {
        assert!(check(&bills[0].replacen(right, wrong, 1)).is_err(), "{wrong}");
    }
    Ok(())
}

//! The commands of the README that recover values without Waxseal, run exactly as they are there.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;
use waxseal_tests::python;
use waxseal_tests::tampering::with_other_start;

use crate::peers::commitment;
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::run;

const README: &str = include_str!("../../README.md");
const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {PASSWORD: hunter2}\n";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("readme_recovery::the_readme_finds_the_dek", dek),
        Test::blocking("readme_recovery::the_readme_detects_a_wrong_dek", wrong_dek),
        Test::blocking("readme_recovery::the_readme_opens_the_values_with_python", values),
        Test::blocking("readme_recovery::the_readme_gives_no_value_with_python_for_a_wrong_dek", values_of_another_dek),
    ]
}

/// Returns the commands of the first shell block below a heading.
fn commands(heading: &str) -> Result<&'static str, Error> {
    let section = README.split_once(heading).ok_or_else(|| format!("the README has no {heading:?}"))?.1;
    let block = section.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```\n"));
    Ok(block.ok_or("no commands below the heading")?.0)
}

/// A folder with `recovery.key` and `db.sealed.yaml`, which is sealed for the cluster and for that key.
fn sealed(context: &Context) -> Result<TempDir, Error> {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let waxseal = |arguments: &[&str], input: &str| {
        let mut command = Command::new(&context.programs.waxseal);
        run(command.env_clear().current_dir(folder.path()).args(arguments), input)
    };
    let recovery = waxseal(&["keys", "generate", "--recovery", "-o", "recovery.key"], "")?;
    std::fs::write(folder.path().join("recovery.yaml"), recovery)?;
    let cluster = context.keys_file.to_str().ok_or("a path in UTF-8")?;
    let sealed = waxseal(&["seal", "-n", "shop", "--keys", cluster, "--keys", "recovery.yaml"], SECRET)?;
    std::fs::write(folder.path().join("db.sealed.yaml"), sealed)?;
    Ok(folder)
}

/// Runs the commands below a heading with stock age in `PATH`.
fn follow(context: &Context, heading: &str, folder: &Path) -> Result<Output, Error> {
    let ours = context.assets.age.parent().ok_or("a folder of programs")?.to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([ours].into_iter().chain(std::env::split_paths(&path)))?;
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", commands(heading)?]).current_dir(folder).env("PATH", path);
    Ok(shell.output()?)
}

fn find_dek(context: &Context, folder: &Path) -> Result<Output, Error> {
    follow(context, "\n### The DEK\n", folder)
}

/// Uses the prepared Python environment instead of the one that the README makes.
fn open_values(context: &Context, folder: &Path) -> Result<Output, Error> {
    symlink(context.python.environment(), folder.join("reader"))?;
    std::fs::copy(python::sources().join("waxseal_reader.py"), folder.join("waxseal_reader.py"))?;
    follow(context, "\n### The values\n", folder)
}

fn dek(context: &Context) -> TestResult {
    let folder = sealed(context)?;
    let found = find_dek(context, folder.path())?;
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let dek = std::fs::read(folder.path().join("dek"))?;
    assert_eq!(dek.len(), 32);
    assert_eq!(String::from_utf8(found.stdout)?.trim(), format!("commitment: {}", commitment(&dek)));
    Ok(())
}

fn wrong_dek(context: &Context) -> TestResult {
    let folder = sealed(context)?;
    let file = folder.path().join("db.sealed.yaml");
    let text = std::fs::read_to_string(&file)?;
    let (before, after) = text.split_once("commitment: ").ok_or("no commitment")?;
    std::fs::write(&file, format!("{before}commitment: {}", with_other_start(after)))?;
    let found = find_dek(context, folder.path())?;
    assert_eq!((found.status.code(), found.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(std::fs::metadata(folder.path().join("dek"))?.len(), 32);
    Ok(())
}

fn values(context: &Context) -> TestResult {
    let folder = sealed(context)?;
    assert!(find_dek(context, folder.path())?.status.success());
    let opened = open_values(context, folder.path())?;
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    let once = format!("{{\n  \"PASSWORD\": \"{}\"\n}}\n", BASE64_STANDARD.encode("hunter2"));
    assert_eq!(String::from_utf8(opened.stdout)?, once.repeat(2));
    assert_eq!(String::from_utf8(opened.stderr)?, "");
    Ok(())
}

fn values_of_another_dek(context: &Context) -> TestResult {
    let folder = sealed(context)?;
    std::fs::write(folder.path().join("dek"), [7; 32])?;
    let opened = open_values(context, folder.path())?;
    assert_eq!((opened.status.code(), opened.stdout.as_slice()), (Some(1), &b""[..]));
    let said = String::from_utf8(opened.stderr)?;
    assert!(said.starts_with("error: KeyMissing: check envelope-key-missing (envelope 'e"), "{said}");
    Ok(())
}

//! The vectors of the format, checked by the second reader, in Python.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use waxseal_tests::vectors;

use crate::registration::{Context, Error, Test, TestResult};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("python_vectors::python_agrees_with_every_vector", agrees),
        Test::blocking("python_vectors::python_detects_a_changed_byte", notices),
    ]
}

fn check(context: &Context, folder: &Path) -> Result<Output, Error> {
    let mut python: Command = context.python.command("check_vectors.py");
    Ok(python.arg(folder).output()?)
}

fn agrees(context: &Context) -> TestResult {
    let checked = check(context, &vectors::folder())?;
    let said = String::from_utf8(checked.stdout)? + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    assert!(said.trim_end().ends_with(" passed, 0 failed"), "{said}");
    Ok(())
}

fn notices(context: &Context) -> TestResult {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    for entry in std::fs::read_dir(vectors::folder())? {
        let entry = entry?;
        std::fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
    }
    let name = change_a_key_id(&folder.path().join("keys.json"))?;
    let checked = check(context, folder.path())?;
    let said = String::from_utf8(checked.stdout)?;
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("keys.json: {name}: keyId: expected k")), "{said}");
    assert!(said.ends_with(" passed, 1 failed\n"), "{said}");
    Ok(())
}

/// Changes one byte; returns the name of its vector.
fn change_a_key_id(file: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(file)?;
    let vectors: Value = serde_json::from_str(&text)?;
    let vector = &vectors["vectors"][0];
    let [name, key_id] = ["name", "keyId"].map(|field| vector[field].as_str().unwrap_or_default());
    let digit = if key_id.ends_with('0') { "1" } else { "0" };
    let other = format!("{}{digit}", key_id.strip_suffix(|_: char| true).ok_or("no key id")?);
    std::fs::write(file, text.replacen(key_id, &other, 1))?;
    Ok(name.to_owned())
}

use std::path::Path;
use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_demo")).args(arguments).output().expect("the demo starts")
}

#[test]
fn the_demo_plays_to_its_end_and_leaves_nothing_behind() {
    let output = demo(&[]);
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{errors}");
    for line in [
        "ok: none of the 7 values is in repository/shop.yaml, plain or in base64",
        "ok: all 4 Secrets hold exactly what was sealed",
        "status of shop/database: Unreadable: spec.encryptedData.PASSWORD: does not open",
        "ok: every Secret is as its SealedSecret says",
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }
    let folder = told.lines().find_map(|line| line.strip_prefix("Removed: ")).expect("it says so");
    assert!(!Path::new(folder).exists());
}

#[test]
fn an_unknown_option_is_refused_with_the_usage() {
    let output = demo(&["--fast"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: cargo demo [--kubernetes] [--keep]"));
    assert_eq!(demo(&["--help"]).status.code(), Some(0));
}

//! The README: its commands exist, and its examples and tables are right.

use std::process::Command;

use waxseal_shared::advice::{Advice, for_key_current, for_ready};
use waxseal_shared::reason::{KeyReason, Reason};
use waxseal_tests::programs;

use crate::folder::Folder;

const README: &str = include_str!("../../README.md");

/// The words of each command line in the README that runs this program.
fn commands(program: &str) -> Vec<Vec<&'static str>> {
    let lines = README.lines().map(|line| line.trim_start_matches("  | ").trim());
    let ours = lines.filter(|line| line.strip_prefix(program).is_some_and(|rest| rest.starts_with(' ')));
    ours.map(|line| line.split_whitespace().skip(1).take_while(|word| !matches!(*word, ">" | "|")).collect()).collect()
}

fn help(program: &std::path::Path, subcommands: &[&str]) -> String {
    let output = Command::new(program).env_clear().args(subcommands).arg("--help").output().expect("the program runs");
    assert!(output.status.success(), "{subcommands:?} is not a command");
    String::from_utf8(output.stdout).expect("help is text")
}

/// The words before the first option or path. The name of a cluster can be among them: with `--help` it does no harm.
fn subcommands<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let is_command = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.iter().take_while(is_command).copied().collect()
}

#[track_caller]
fn assert_known(program: &str, path: &std::path::Path, at_least: usize) {
    let commands = commands(program);
    assert!(commands.len() >= at_least, "the README shows {} commands of {program}", commands.len());
    for words in commands {
        let help = help(path, &subcommands(&words));
        for option in words.iter().filter(|word| word.starts_with('-')) {
            assert!(help.contains(option), "the README's `{program} {}`: {option} is not in the help", words.join(" "));
        }
    }
}

#[test]
fn every_command_in_the_readme_exists() {
    let programs = programs::build().expect("the programs");
    assert_known("waxseal", &programs.waxseal, 4);
    assert_known("waxseal-controller", &programs.waxseal_controller, 2);
}

/// The first two blocks of YAML.
fn manifests() -> [&'static str; 2] {
    let blocks = README.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```\n"));
    let blocks: Vec<_> = blocks.map(|(block, _)| block).take(2).collect();
    blocks.try_into().expect("the README shows two manifests")
}

#[test]
fn the_first_manifest_in_the_readme_seals_to_the_second() {
    let [secret, shortened] = manifests();
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(secret).finish().stdout;
    let mut lines = sealed.lines();
    for shown in shortened.lines() {
        // Sealed values differ in every run.
        let start = shown.split('…').next().unwrap_or(shown).trim_end();
        let start = start.split_once("wax1.").map_or(start, |(name, _)| &shown[..name.len() + "wax1.".len()]);
        assert!(lines.any(|line| line.starts_with(start)), "{shown:?} is not in its place in\n{sealed}");
    }
    assert_eq!(lines.next(), None, "the README leaves out the end");
}

#[test]
fn the_configuration_in_the_readme_seals_as_the_readme_says() {
    let configuration = README.split("```yaml\n").find(|block| block.starts_with("version: 1\n")).expect("it is shown");
    let configuration = configuration.split("```\n").next().expect("its end");
    let folder = Folder::new();
    folder.write(".waxseal.yaml", configuration);
    for name in ["prod", "staging"] {
        folder.generate(name, &[]);
        folder.write(&format!(".waxseal/{name}.yaml"), folder.read(&format!("{name}.yaml")));
    }
    let [secret, _] = manifests();
    folder.write("apps/shop/db.yaml", secret);
    folder.write("apps/lab/db.yaml", secret);
    let block =
        README.split("```sh\n").find(|block| block.starts_with("waxseal seal --in-place")).expect("it is shown");
    let words: Vec<_> = block.lines().next().expect("a command").split(' ').skip(1).collect();
    folder.waxseal(&words).writes(&["apps/lab/db.yaml", "apps/shop/db.yaml"]).warns("sealed 2 Secrets in 2 files\n");
    for (file, key, opens) in
        [("shop", "prod", true), ("shop", "staging", true), ("lab", "staging", true), ("lab", "prod", false)]
    {
        let file = format!("apps/{file}/db.yaml");
        let open = folder.waxseal(&["open", &file, "--identity", &format!("{key}.key")]).finish();
        assert_eq!(open.status.success(), opens, "{file} {key}: {}", open.stderr);
    }
}

#[test]
fn the_readme_names_the_demo_before_the_tests() {
    let first = README.find("cargo demo").expect("the demo is in the README");
    let second = README.find("cargo test").expect("the tests are in the README");
    assert!(first < second);
}

#[test]
fn the_tables_of_the_readme_give_the_advice_of_the_programs() {
    let row = |word: &str, Advice { meaning, remedy }: Advice| format!("| `{word}` | {meaning} | {remedy} |\n");
    let table =
        |head: &str, rows: String| format!("| `{head}` says | it means | what to do |\n| --- | --- | --- |\n{rows}\n");
    let ready = Reason::ALL.iter().map(|reason| row(reason.as_str(), for_ready(*reason))).collect();
    let key_current = KeyReason::ALL.iter().map(|reason| row(reason.as_str(), for_key_current(*reason))).collect();
    for expected in [table("Ready", ready), table("KeyCurrent", key_current)] {
        assert!(README.contains(&expected), "the README lacks this table:\n{expected}");
    }
}

/// Advice names sections of the README in quotes, and commands in backticks.
#[test]
fn advice_names_commands_and_sections_that_exist() {
    let all = Reason::ALL.iter().map(|reason| for_ready(*reason));
    let all = all.chain(KeyReason::ALL.iter().map(|reason| for_key_current(*reason)));
    let (mut commands, mut sections) = (0, 0);
    for Advice { remedy, .. } in all {
        for section in remedy.split("see \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(README.contains(&format!("# {section}\n")), "the README has no section {section:?}");
            sections += 1;
        }
        let programs = programs::build().expect("the programs");
        for command in remedy.split('`').filter_map(|words| words.strip_prefix("waxseal ")) {
            let words: Vec<_> = command.split(' ').collect();
            let help = help(&programs.waxseal, &subcommands(&words));
            let known = words.iter().filter(|word| word.starts_with('-')).all(|option| help.contains(option));
            assert!(known, "waxseal {command}");
            commands += 1;
        }
    }
    assert!(commands >= 8 && sections >= 3, "{commands} commands, {sections} sections");
}

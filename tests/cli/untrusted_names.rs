//! Names that somebody else chose: whatever they hold, a terminal shows them as they are.

use serde_json::Value;

use crate::folder::Folder;

/// Clears the line, turns the text, hides, ends the line.
const NAME: &str = "a\u{1b}[2K\u{202e}\u{2066}\u{200b}\u{2028}\u{9b}\nb";
const SHOWN: &str = "a\\u{1b}[2K\\u{202e}\\u{2066}\\u{200b}\\u{2028}\\u{9b}\\nb";
const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";

#[test]
fn names_of_files_are_shown_escaped() {
    let folder = Folder::with_key();
    folder.write(&format!("{NAME}.yaml"), "kind: [\n");
    folder.write(&format!("apps/{NAME}.yaml"), "kind: [\n");
    let file = format!("{NAME}.yaml");
    let refused = |place: &str| format!("error: {place}:1:7: not YAML: a bracket is never closed\n");
    for arguments in [
        &["inspect", &file][..],
        &["open", &file, "--identity", "cluster.key"],
        &["seal", &file, "--keys", "cluster.yaml"],
        &["keys", "list", &file],
    ] {
        folder.waxseal(arguments).fails(3, &refused(&format!("{SHOWN}.yaml")));
    }
    let seal = folder.waxseal(&["seal", "apps", "--in-place", "--keys", "cluster.yaml"]);
    seal.fails(3, &format!("sealed 0 Secrets in 0 files\n{}", refused(&format!("apps/{SHOWN}.yaml"))));
}

#[test]
fn names_that_the_shell_made_options_are_shown_escaped() {
    let folder = Folder::new();
    for (before, after) in [("--", ".yaml"), ("--", "=a.yaml")] {
        let run = folder.waxseal(&["inspect", &format!("{before}{NAME}{after}")]);
        let name = format!("{before}{SHOWN}{}", after.trim_end_matches("=a.yaml"));
        run.fails(2, &format!("error: the argument '{name}' is not understood\n"));
    }
    let stderr = format!("error: the argument '{SHOWN}.yaml' is not understood\n");
    folder.waxseal(&["keys", "public", "--identity", "a.key", &format!("{NAME}.yaml")]).fails(2, &stderr);
    folder.waxseal(&["inspect", "a.yaml", "--format", &format!("{NAME}.yaml")]).fails(2, &stderr);
    folder.waxseal(&[&format!("{NAME}.yaml")]).fails(2, &stderr);
}

#[test]
fn a_report_in_json_hides_nothing() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    let quoted: String = NAME.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
    let typed = format!("{sealed}  template:\n    type: \"{quoted}\"\n");
    let file = format!("{NAME}.yaml");
    folder.write(&file, &typed);
    let json = folder.waxseal(&["inspect", "--format", "json", &file]).succeeds();
    let hidden = |c: &char| c.is_control() && *c != '\n' || ('\u{200b}'..='\u{2069}').contains(c);
    assert_eq!(json.chars().find(hidden), None, "{json:?}");
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report[0]["type"], NAME);
    assert_eq!(report[0]["place"], format!("{SHOWN}.yaml:1"));
    let text = folder.waxseal(&["inspect", &file]).succeeds();
    assert!(text.contains("scope Strict, type …\n"), "{text}");
}

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::folder::{Folder, program};

#[test]
fn a_key_file_survives_its_own_reading() {
    let folder = Folder::with_key();
    let key = folder.read("cluster.yaml");
    folder.waxseal(&["keys", "public", "--identity", "cluster.key"]).prints(&key);
    let recovery = folder.waxseal(&["keys", "public", "--identity", "cluster.key", "--recovery"]);
    recovery.prints(&key.replace("role: Cluster", "role: Recovery"));
    assert!(folder.recipient("cluster").starts_with("age1pq1"));
    folder.generate("classic", &["--classic", "--recovery"]);
    assert!(folder.read("classic.yaml").contains("role: Recovery\n"));
    assert!(!folder.recipient("classic").starts_with("age1pq1"));
}

#[test]
fn an_identity_is_never_written_over() {
    let folder = Folder::with_key();
    let generate = folder.waxseal(&["keys", "generate", "-o", "cluster.key"]);
    generate.fails(3, "error: cluster.key: exists already, and secrets are never written over a file\n");
    let generate = folder.waxseal(&["keys", "generate", "-o", "absent/new.key"]);
    generate.fails(1, "error: absent: no such file or folder\n");
}

#[test]
fn an_identity_is_for_its_owner_alone_whatever_the_umask() {
    for umask in ["0777", "0000", "0277"] {
        let folder = Folder::new();
        let mut command = Command::new("sh");
        let script = format!("umask {umask}; exec \"$0\" keys generate -o new.key");
        command.args(["-c", &script]).arg(program());
        let output = folder.isolated(&mut command).output().expect("waxseal runs");
        assert!(output.status.success(), "{umask}: {}", String::from_utf8_lossy(&output.stderr));
        let mode = folder.path().join("new.key").metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{umask}");
    }
}

#[test]
fn an_identity_file_from_the_future_is_refused() {
    let folder = Folder::with_key();
    let identity = folder.read("cluster.key");
    let created = identity.lines().find(|line| line.starts_with("# created: ")).expect("it says when");
    folder.write("future.key", identity.replace(created, "# created: 2999-01-01T00:00:00Z"));
    folder.waxseal(&["keys", "public", "--identity", "future.key"]).fails(
        3,
        "error: future.key: its creation time, 2999-01-01T00:00:00Z, is in the future
hint: correct its `# created:` line
",
    );
}

#[test]
fn an_identity_file_has_to_say_how_old_it_is() {
    let folder = Folder::with_key();
    let identity = folder.read("cluster.key");
    let secret = identity.lines().last().expect("the identity");
    folder.write("bare.key", secret);
    folder.waxseal(&["keys", "public", "--identity", "bare.key"]).fails(
        3,
        "error: bare.key: has no `# created:` line, and the creation time decides which key is the primary
hint: add a line such as `# created: 2026-01-31T09:00:00Z` at its top
",
    );
    folder.write("dated.key", format!("# created: 2026-01-31T09:00:00Z\n{secret}\n"));
    let public = folder.waxseal(&["keys", "public", "--identity", "dated.key"]).succeeds();
    assert!(public.contains("createdAt: \"2026-01-31T09:00:00Z\"\n"), "{public}");
}

#[test]
fn a_list_shows_who_is_primary() {
    let folder = Folder::new();
    folder.generate("old", &[]);
    folder.generate("new", &[]);
    folder.generate("recovery", &["--recovery", "--classic"]);
    let at = |name: &str, time: &str| {
        let key = folder.read(&format!("{name}.yaml"));
        let created = key.lines().find(|line| line.contains("createdAt")).expect("a time").to_owned();
        key.replace(&created, &format!("  createdAt: \"{time}\""))
    };
    let keys =
        [at("recovery", "2026-01-03T00:00:00Z"), at("new", "2026-01-02T00:00:00Z"), at("old", "2026-01-01T00:00:00Z")];
    folder.write("keys.yaml", keys.join("---\n"));
    let [old, new, recovery] = ["old", "new", "recovery"].map(|name| folder.key_id(name));
    let text = folder.waxseal(&["keys", "list", "keys.yaml"]).succeeds();
    let shown: Vec<_> = text.lines().map(|line| line.split(" sha256:").next().unwrap_or_default()).collect();
    assert_eq!(
        shown,
        [
            "KEY                ROLE      STATE             CREATED               KIND     FINGERPRINT".to_owned(),
            format!("{old}  Cluster   Active            2026-01-01T00:00:00Z  hybrid  "),
            format!("{new}  Cluster   Active (primary)  2026-01-02T00:00:00Z  hybrid  "),
            format!("{recovery}  Recovery  Active            2026-01-03T00:00:00Z  classic "),
        ]
    );
    let json = folder.waxseal(&["keys", "list", "keys.yaml", "--format", "json"]).succeeds();
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows[1]["key"], new.as_str());
    assert_eq!(rows[1]["primary"], true);
    assert_eq!(rows[2]["kind"], "classic");
    assert!(rows[0]["fingerprint"].as_str().is_some_and(|text| text.starts_with(&format!("sha256:{}", &old[1..]))));
}

#[test]
fn lists_take_files_and_stdin() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    let [one, two] = ["cluster.yaml", "recovery.yaml"].map(|file| folder.waxseal(&["keys", "list", file]).succeeds());
    assert_eq!(folder.waxseal(&["keys", "list", "-"]).stdin(folder.read("cluster.yaml")).succeeds(), one);
    let both = folder.waxseal(&["keys", "list", "--format", "text", "--", "cluster.yaml", "recovery.yaml"]).succeeds();
    for key in ["cluster", "recovery"] {
        assert!(both.contains(&folder.key_id(key)), "{both}");
    }
    assert_eq!(both.lines().count(), one.lines().count() + two.lines().count() - 1);
    let stderr = "error: `-` names stdin twice, and stdin can be read only once\n";
    folder.waxseal(&["keys", "list", "-", "-"]).fails(2, stderr);
    let stderr = "error: absent.yaml: no such file or folder\n";
    folder.waxseal(&["keys", "list", "absent.yaml"]).fails(1, stderr);
}

#[test]
fn a_list_warns_of_a_creation_time_in_the_future() {
    let folder = Folder::with_key();
    let key = folder.read("cluster.yaml");
    let line = key.lines().find(|line| line.contains("createdAt")).expect("a time");
    folder.write("keys.yaml", key.replace(line, "  createdAt: \"2999-01-01T00:00:00Z\""));
    let id = folder.key_id("cluster");
    let list = folder.waxseal(&["keys", "list", "keys.yaml"]).warns(&format!(
        "warning: keys.yaml: {id}: its creation time, 2999-01-01T00:00:00Z, is in the future: nothing is sealed with this file\n"
    ));
    assert!(list.contains("Active (primary)  2999-01-01T00:00:00Z"), "{list}");
}

#[test]
fn every_command_shows_examples_that_it_understands() {
    for command in ["fetch", "generate", "list", "public"] {
        let output = Command::new(program()).env_clear().args(["keys", command, "--help"]).output();
        let help = String::from_utf8(output.expect("waxseal runs").stdout).expect("help is text");
        let (options, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{help}"));
        let prefix = format!("waxseal keys {command} ");
        let examples: Vec<_> = examples.lines().filter_map(|line| line.split_once(prefix.as_str())).collect();
        assert!(!examples.is_empty(), "{help}");
        for (_, arguments) in examples {
            let words: Vec<_> = arguments.split(' ').take_while(|word| *word != ">").collect();
            for option in words.iter().filter(|word| word.starts_with('-') && **word != "-" && **word != "--") {
                assert!(options.contains(option), "{option} is not an option of {command}");
            }
            // A name that the shell finds can begin with a hyphen.
            let glob = words.iter().position(|word| word.contains('*'));
            assert!(glob.is_none_or(|glob| words[..glob].contains(&"--")), "{arguments}");
        }
    }
}

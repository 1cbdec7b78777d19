//! Arguments of every command: usage errors, private keys on the command line, and the help.

use std::process::Command;

use crate::folder::{Folder, HEAD, HOSTILE_NAME, HOSTILE_NAME_ESCAPED, SECRET, program};

#[test]
fn subcommands_of_other_tools_get_a_hint() {
    let folder = Folder::new();
    for (word, ours) in [("unseal", "open"), ("decrypt", "open"), ("view", "open"), ("encrypt", "seal")] {
        let stderr = format!("error: waxseal has no subcommand {word}\nhint: use `waxseal {ours}`\n");
        folder.waxseal(&[word, "db.yaml"]).fails(2, &stderr);
    }
    let outcome = folder.waxseal(&["sael"]).finish();
    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.starts_with("error: unrecognized subcommand 'sael'\n"), "{}", outcome.stderr);
}

/// kubectl runs the program `kubectl-waxseal` for `kubectl waxseal`.
#[test]
fn a_link_named_kubectl_waxseal_says_so_in_its_usage() {
    let folder = Folder::new();
    for (link, usage) in
        [("kubectl-waxseal", "kubectl waxseal"), ("waxseal", "waxseal"), ("kubectl-waxseal-x", "kubectl-waxseal-x")]
    {
        let path = folder.path().join(link);
        std::os::unix::fs::symlink(program(), &path).expect("a link");
        let run = |arguments: &[&str]| {
            let output = Command::new(&path).env_clear().args(arguments).output().expect("waxseal runs");
            String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
        };
        assert!(run(&["--help"]).contains(&format!("Usage: {usage} <COMMAND>")));
        assert!(run(&["keys", "list", "--help"]).contains(&format!("Usage: {usage} keys list ")));
        assert!(run(&["status", "-A", "db"]).contains(&format!("Usage: {usage} status ")));
        assert_eq!(run(&["--version"]), concat!("waxseal ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn an_invalid_namespace_option_is_refused() {
    let folder = Folder::with_key();
    folder.waxseal(&["seal", "-n", "a.b", "--keys", "cluster.yaml"]).stdin(HEAD).fails(
        2,
        "error: invalid value 'a.b' for '--namespace <NAMESPACE>': a namespace must be 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit

For more information, try '--help'.
",
    );
}

#[test]
fn private_keys_on_the_command_line_are_refused_and_not_shown() {
    let folder = Folder::with_key();
    folder.write("db.yaml", folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds());
    let hint = "hint: the shell's history and the list of processes hold it now: make a new key\n";
    let open = ["open", "f.yaml", "--identity", "cluster.key"];
    for key in ["AGE-SECRET-KEY-1HUNTER2", "AGE-SECRET-KEY-PQ-1HUNTER2", "age-secret-key-1hunter2"] {
        for (arguments, place) in [
            (&["open", "f.yaml", "--identity", key][..], "--identity: "),
            (&["open", key, "--identity", "cluster.key"], ""),
            (&["open", "f.yaml", key, "--identity", "cluster.key"], ""),
            (&[&open[..], &["--keys", key]].concat(), "--keys: "),
            (&[&open[..], &["-o", key]].concat(), "--output: "),
            (&[&open[..], &["--passphrase-file", key]].concat(), "--passphrase-file: "),
            (&["inspect", key], ""),
            (&["inspect", "f.yaml", key], ""),
            (&["inspect", "f.yaml", "--keys", key], "--keys: "),
            (&["seal", key, "--keys", "cluster.yaml"], ""),
            (&["seal", "--keys", key], "--keys: "),
            (&["seal", &format!("--output={key}")], "--output: "),
            (&["seal", "--output-dir", key], "--output-dir: "),
            (&["keys", "public", "--identity", key], "--identity: "),
            (&["keys", "generate", &format!("-o{key}")], "--output: "),
            (&["keys", "list", "cluster.yaml", key], ""),
            (&["keys", "rotate", "--keys-dir", key], "--keys-dir: "),
            (&["keys", "backup", "-o", key], "--output: "),
            (&["keys", "restore", key], ""),
            (&["keys", "restore", "keys.age", "--identity", key], "--identity: "),
            (&["keys", "fetch", "-o", key], "--output: "),
            (&["keys", "fetch", "-o", "x.yaml", "--kubeconfig", key], "--kubeconfig: "),
            (&["status", "--kubeconfig", key], "--kubeconfig: "),
            (&["doctor", "--kubeconfig", key], "--kubeconfig: "),
            (&["set", key, "A", "--keys", "cluster.yaml"], ""),
            (&["unset", key, "A"], ""),
            (&["rotate", key, "--keys", "cluster.yaml", "--check"], ""),
            (&["drill", key, "--identity", "cluster.key"], ""),
            (&["keys", "usage", "k0123456789abcdef", key], ""),
        ] {
            let stderr = format!("error: {place}this is a private key, but a file name is expected\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
        for (arguments, place) in [
            (&["keys", "fetch", key][..], ""),
            (&["keys", "list", "--to", key], "--to: "),
            (&["seal", "--to", key], "--to: "),
            (&["inspect", "f.yaml", "--to", key], "--to: "),
            (&["set", "f.yaml", "A", "--drop-cluster", key], "--drop-cluster: "),
        ] {
            let stderr = format!("error: {place}this is a private key, but the name of a cluster is expected\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
        for (arguments, place) in [
            (&["unset", "db.yaml", key][..], "KEY"),
            (&["set", "db.yaml", key, "--keys", "cluster.yaml"], "KEY"),
            (&["set", "db.yaml", "--from-literal", &format!("{key}=x"), "--keys", "cluster.yaml"], "--from-literal"),
        ] {
            let stderr = format!("error: {place}: this is a private key, but a data key is expected\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
        for arguments in [&["retire", key][..], &["revoke", key], &["delete", key, "."]] {
            let stderr = format!("error: this is a private key, but a key id is expected\n{hint}");
            folder.waxseal(&[&["keys"], arguments].concat()).fails(2, &stderr);
        }
        let stderr = format!("error: this is a private key, but the name of a SealedSecret is expected\n{hint}");
        folder.waxseal(&["status", key]).fails(2, &stderr);
        for arguments in [&["inspect", "x", "--format", key][..], &["seal", "--scope", key], &[key]] {
            let stderr =
                format!("error: an argument is a private key, which does not belong on a command line\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
    }
    folder.write("age-secret-key-1.yaml", format!("{HEAD}stringData: {{A: x}}\n"));
    folder.waxseal(&["seal", "./age-secret-key-1.yaml", "--keys", "cluster.yaml"]).succeeds();
}

#[test]
fn private_keys_inside_an_argument_are_refused_and_not_shown() {
    let folder = Folder::with_key();
    folder.write("db.yaml", folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds());
    let file = folder.read("cluster.key");
    let key = file.lines().last().expect("a key");
    let hint = "hint: the shell's history and the list of processes hold it now: make a new key\n";
    for text in [
        file.clone(),
        file.to_lowercase(),
        format!("cluster.key:{key}"),
        format!("\"{key}\""),
        format!("./{key}"),
        format!("x{key}"),
    ] {
        for (arguments, place, expected) in [
            (&["drill", "db.yaml", "--identity", &text][..], "--identity: ", "a file name"),
            (&["seal", &text, "--keys", "cluster.yaml"], "", "a file name"),
            (&["set", "db.yaml", "--from-file", &format!("identity={text}")], "--from-file: ", "a file name"),
            (&["seal", "--to", &text], "--to: ", "the name of a cluster"),
            (&["keys", "fetch", "--context", &text], "--context: ", "the name of a context"),
            (&["keys", "revoke", &text], "", "a key id"),
            (&["status", &text], "", "the name of a SealedSecret"),
            (&["unset", "db.yaml", &text], "KEY: ", "a data key"),
        ] {
            let stderr = format!("error: {place}this is a private key, but {expected} is expected\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
        let stderr = format!("error: an argument is a private key, which does not belong on a command line\n{hint}");
        folder.waxseal(&[&text]).fails(2, &stderr);
    }
}

#[test]
fn a_private_key_as_the_context_is_refused_and_not_shown() {
    let folder = Folder::new();
    let stderr = "error: --context: this is a private key, but the name of a context is expected
hint: the shell's history and the list of processes hold it now: make a new key
";
    for key in
        ["AGE-SECRET-KEY-1HUNTER2", "age-secret-key-pq-1hunter2", " AGE-SECRET-KEY-1HUNTER2", " age-secret-key-pq-1h"]
    {
        folder.waxseal(&["keys", "fetch", "-o", "prod.yaml", "--context", key]).fails(2, stderr);
    }
}

#[test]
fn hidden_characters_in_unknown_options_are_escaped() {
    let folder = Folder::new();
    for (before, after) in [("--", ".yaml"), ("--", "=a.yaml")] {
        let run = folder.waxseal(&["inspect", &format!("{before}{HOSTILE_NAME}{after}")]);
        let name = format!("{before}{HOSTILE_NAME_ESCAPED}{}", after.trim_end_matches("=a.yaml"));
        run.fails(2, &format!("error: the argument '{name}' is not understood\n"));
    }
    let stderr = format!("error: the argument '{HOSTILE_NAME_ESCAPED}.yaml' is not understood\n");
    folder.waxseal(&["keys", "public", "--identity", "a.key", &format!("{HOSTILE_NAME}.yaml")]).fails(2, &stderr);
    folder.waxseal(&["inspect", "a.yaml", "--format", &format!("{HOSTILE_NAME}.yaml")]).fails(2, &stderr);
    folder.waxseal(&[&format!("{HOSTILE_NAME}.yaml")]).fails(2, &stderr);
}

#[test]
fn help_of_inspect_and_open_has_examples_and_placeholders() {
    let folder = Folder::new();
    let help = folder.waxseal(&["inspect", "--help"]).succeeds();
    for text in ["[MANIFEST|DIR|-]...", "--keys <KEYS_FILE>", "Examples:\n  waxseal inspect db.sealed.yaml\n"] {
        assert!(help.contains(text), "{help}");
    }
    let help = folder.waxseal(&["open", "--help"]).succeeds();
    for text in [
        "--identity <IDENTITY_FILE>",
        "[MANIFEST|DIR|-]...",
        "Examples:\n  waxseal open db.sealed.yaml --identity recovery.key\n",
    ] {
        assert!(help.contains(text), "{help}");
    }
}

#[test]
fn examples_in_the_help_of_keys_use_known_options() {
    for command in
        ["backup", "delete", "fetch", "generate", "list", "public", "restore", "retire", "revoke", "rotate", "usage"]
    {
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
            // A file name from the shell can begin with a hyphen.
            let glob = words.iter().position(|word| word.contains('*'));
            assert!(glob.is_none_or(|glob| words[..glob].contains(&"--")), "{arguments}");
        }
    }
}

/// An unset variable in a script gives an empty argument. As a path it would mean the current folder.
#[test]
fn an_empty_name_is_refused() {
    let folder = Folder::with_key();
    for arguments in [
        &["keys", "backup", "-o", "x.age", "--keys", "cluster.yaml", "--keys-dir", ""][..],
        &["seal", "--keys", "", "f.yaml"],
        &["seal", "--keys", "cluster.yaml", "--output-dir", "", "f.yaml"],
        &["drill", ""],
    ] {
        let outcome = folder.waxseal(arguments).finish();
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(": the name is empty\n"), "{}", outcome.stderr);
    }
}

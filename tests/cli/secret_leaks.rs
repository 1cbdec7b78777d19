//! Secrets are only in the result that was requested: not in messages, and not in other files. Git does not run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use age::armor::Format;
use tempfile::TempDir;
use waxseal_tests::canaries::{self, Canaries};

use crate::folder::{Folder, HEAD, Outcome};
use crate::passphrases::protect;

/// A value that looks different in every encoding, and a value that is a number in YAML.
const VALUE: &str = "c4n4ry/in+the?c0al~mine";
const NUMBER: &str = "07264915083726491508";
const PASSPHRASE: &str = "c4n4ries know no pass";

/// Runs the program with the most verbose settings, and searches what it prints for secrets. Fails if the program
/// writes other files than expected, or starts Git.
struct Watch {
    folder: Folder,
    /// The folder of a program called `git` that writes a file when it runs.
    git: TempDir,
    canaries: Canaries,
}

impl Watch {
    /// A Git work tree with the keys `cluster` and `other`. `safe.key` is the identity of `cluster` with a passphrase.
    fn new() -> Self {
        let folder = Folder::with_key();
        folder.generate("other", &[]);
        folder.write("tmp/keep", "");
        folder.write("pass", PASSPHRASE);
        folder.write("safe.key", protect(&folder.read("cluster.key"), PASSPHRASE, Format::AsciiArmor));
        folder.git(&["init", "--quiet"]);
        folder.write(".gitignore", "*.plain\n");
        let mut secrets = identity_in(&folder, "cluster.key");
        secrets.extend(identity_in(&folder, "other.key"));
        secrets.extend([("the value", VALUE), ("the number", NUMBER), ("the passphrase", PASSPHRASE)].map(owned));
        let canaries = Canaries::new(secrets.iter().map(|(name, secret)| (*name, secret)));
        Self { folder, git: git_that_leaves_a_trace(), canaries }
    }

    /// Runs the program. It must write exactly these files, and no secret to stderr.
    #[track_caller]
    fn run(&self, arguments: &[&str], stdin: &str, writes: &[&str]) -> Outcome {
        let path = std::env::join_paths(
            [self.git.path().to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let run = self.folder.waxseal(arguments).stdin(stdin).writes(writes).env("PATH", path.expect("plain paths"));
        let run = run.env("TMPDIR", self.folder.path().join("tmp"));
        let outcome = run.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").finish();
        self.canaries.assert_absent(&format!("what {arguments:?} says"), &outcome.stderr);
        assert!(!self.git.path().join("trace").exists(), "Git ran");
        outcome
    }

    /// Checks that the run succeeds without a secret in the result.
    #[track_caller]
    fn succeeds(&self, arguments: &[&str], stdin: &str, writes: &[&str]) -> String {
        let outcome = self.run(arguments, stdin, writes);
        assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
        self.canaries.assert_absent(&format!("the result of {arguments:?}"), &outcome.stdout);
        outcome.stdout
    }

    /// Checks that the run fails without a result.
    #[track_caller]
    fn fails(&self, arguments: &[&str], stdin: &str) {
        let outcome = self.run(arguments, stdin, &[]);
        assert_ne!(outcome.status.code(), Some(0), "{arguments:?}");
        assert!(outcome.stderr.contains("error: "), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
}

fn owned<'a>((name, secret): (&'a str, &str)) -> (&'a str, Vec<u8>) {
    (name, secret.as_bytes().to_vec())
}

fn identity_in(folder: &Folder, file: &str) -> Vec<(&'static str, Vec<u8>)> {
    let text = folder.read(file);
    canaries::of_identity(text.lines().find(|line| line.starts_with("AGE-")).expect("an identity"))
}

fn git_that_leaves_a_trace() -> TempDir {
    let folder = TempDir::with_prefix("waxseal-git-").expect("a folder");
    let git = folder.path().join("git");
    fs::write(&git, format!("#!/bin/sh\n: >{}/trace\n", folder.path().display())).expect("a file");
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("ours");
    folder
}

fn secret() -> String {
    format!("{HEAD}stringData: {{PASSWORD: {VALUE}}}\n")
}

const SEAL: [&str; 3] = ["seal", "--keys", "cluster.yaml"];
const OPEN: [&str; 4] = ["open", "-", "--identity", "cluster.key"];

#[test]
fn successful_commands_show_secrets_only_in_the_requested_output() {
    let watch = Watch::new();
    let sealed = watch.succeeds(&SEAL, &secret(), &[]);
    watch.succeeds(&["inspect", "-"], &sealed, &[]);
    let opened = watch.run(&OPEN, &sealed, &[]);
    let sightings = watch.canaries.sightings(opened.stdout.as_bytes());
    assert_eq!((sightings.len(), sightings[0].form, opened.stderr.as_str()), (1, "base64", ""));
    watch.succeeds(&[&OPEN[..], &["-o", "db.plain"]].concat(), &sealed, &["db.plain"]);
    let opened = watch.run(&["open", "-", "--identity", "safe.key", "--passphrase-file", "pass"], &sealed, &[]);
    assert_eq!(opened.status.code(), Some(0), "{}", opened.stderr);

    watch.folder.write("db.yaml", secret());
    watch.folder.git(&["add", "db.yaml"]);
    watch.succeeds(&["seal", "db.yaml", "--in-place", "--keys", "cluster.yaml"], "", &["db.yaml"]);
    watch.canaries.assert_absent("the sealed file", watch.folder.read("db.yaml"));
    watch.succeeds(&["keys", "public", "--identity", "cluster.key"], "", &[]);
    watch.succeeds(&["keys", "list", "cluster.yaml"], "", &[]);
    let generated = watch.succeeds(&["keys", "generate", "-o", "new.plain"], "", &["new.plain"]);
    let identity = identity_in(&watch.folder, "new.plain");
    Canaries::new(identity.iter().map(|(name, secret)| (*name, secret))).assert_absent("the public key", generated);
}

#[test]
fn errors_of_seal_do_not_show_secrets() {
    let watch = Watch::new();
    let long = "x".repeat(1024 * 1024);
    for text in [
        format!("kind: Secret\nstringData:\n\tA: {VALUE}\n"),
        format!("kind: {VALUE}: b\n"),
        format!("[{VALUE}, 2\nb: 3\n"),
        format!("{{\"kind\": \"Secret\",\n \"data\": {{\"A\": \"{VALUE}\" x}}}}"),
        format!("{{\"kind\": \"{VALUE}"),
        format!("{{\"kind\": \"{VALUE}\\ud83d\"}}"),
        format!("{HEAD}stringData:\n  A: {NUMBER}\n"),
        format!("{HEAD}stringData:\n  A: [{VALUE}]\n"),
        format!("{HEAD}stringData: [{VALUE}]\n"),
        format!("{HEAD}stringData: {VALUE}\n"),
        format!("{HEAD}stringData:\n  A: !!binary {VALUE}\n"),
        format!("{HEAD}stringData:\n  A: \"{VALUE}\\q\"\n"),
        format!("{HEAD}stringData:\n  A: \"{VALUE}\n"),
        format!("{HEAD}stringData: {{A: &a {VALUE}, B: *a}}\n"),
        format!("{HEAD}stringData:\n  A: {{{{ {VALUE} }}}}\n"),
        format!("{HEAD}stringData:\n  A: {VALUE}\n  B: y\n  A: {VALUE}\n"),
        format!("{HEAD}stringdata: {{A: {VALUE}}}\n"),
        format!("{HEAD}data: {{A: {VALUE}}}\n"),
        format!("{HEAD}type: {{A: {VALUE}}}\n"),
        format!("{HEAD}type: kubernetes.io/service-account-token\nstringData: {{A: {VALUE}}}\n"),
        format!("{HEAD}immutable: {VALUE}\n"),
        format!("{HEAD}stringData: {{A: {VALUE}, B: {long}}}\n"),
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData: {{A: {VALUE}}}\n"),
        format!("apiVersion: v1\nkind: Secret\nmetadata: {VALUE}\n"),
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: db}}\ndata: {{A: {VALUE}}}\n"),
    ] {
        watch.fails(&SEAL, &text);
    }
    watch.fails(&["seal"], &secret());
    watch.fails(&["seal", "--keys", "cluster.key"], &secret());
    watch.fails(&["seal", "--keys", "-"], &secret());
    watch.fails(&["seal", "-n", "web", "--keys", "cluster.yaml"], &secret());
    watch.fails(&["seal", "--keys", "cluster.yaml", "-o", "yaml"], &secret());
    watch.fails(&["seal", "--keys", "cluster.yaml", "-o", "cluster.yaml/db.yaml"], &secret());
    watch.folder.write("keys.yaml", secret());
    watch.fails(&["seal", "--keys", "keys.yaml"], &secret());
    let identity = watch.folder.read("cluster.key");
    let identity = identity.lines().find(|line| line.starts_with("AGE-")).expect("an identity");
    watch.fails(&["seal", "-r", identity], &secret());
    watch.fails(&["seal", "--kyes", identity], &secret());
}

#[test]
fn errors_of_open_and_keys_do_not_show_secrets() {
    let watch = Watch::new();
    let sealed = watch.succeeds(&SEAL, &secret(), &[]);
    let flipped = if sealed.contains("PASSWORD: wax1.e0") { "e1" } else { "e0" };
    for text in [
        secret(),
        sealed.replace("namespace: shop", "namespace: web"),
        sealed.replace("PASSWORD: wax1", "PASSWORT: wax1"),
        sealed.replace("PASSWORD: wax1.e", &format!("PASSWORD: wax1.{flipped}")),
        sealed.replace("PASSWORD: wax1", &format!("PLAIN: {VALUE}\n    PASSWORD: wax1")),
        sealed.replace("spec:", &format!("spec:\n  {{{VALUE}: {VALUE}")),
    ] {
        watch.fails(&OPEN, &text);
    }
    watch.fails(&["open", "-", "--identity", "other.key"], &sealed);
    watch.fails(&["open", "-", "--identity", "safe.key", "--passphrase-file", "cluster.key"], &sealed);
    watch.fails(&["open", "-", "--identity", "safe.key", "--passphrase-file", "absent"], &sealed);
    watch.fails(&["open", "-", "--identity", "cluster.key", "--passphrase-file", "pass"], &sealed);
    watch.fails(&[&OPEN[..], &["-o", "db.yaml"]].concat(), &sealed);
    watch.fails(&[&OPEN[..], &["-o", "pass"]].concat(), &sealed);
    watch.fails(&["keys", "generate", "-o", "new.key"], "");
    let identity = watch.folder.read("cluster.key");
    for broken in [
        identity.replace("AGE-", "age-"),
        identity[..identity.len() - 9].to_owned(),
        identity.replace("PQ-1", "1"),
        format!("{identity}{PASSPHRASE}\n"),
        secret(),
    ] {
        watch.folder.write("broken.key", broken);
        watch.fails(&["open", "-", "--identity", "broken.key"], &sealed);
        watch.fails(&["keys", "public", "--identity", "broken.key"], "");
    }
}

#[test]
fn errors_of_keys_fetch_do_not_show_the_token() {
    let watch = Watch::new();
    let fetch = ["keys", "fetch", "--context", "test", "--kubeconfig", "kubeconfig", "-o", "keys.yaml"];
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: test, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
         users: [{{name: test, user: {{token: '{VALUE}'}}}}]\n"
    );
    for text in [
        kubeconfig.clone(),
        kubeconfig.replace("token: ", "tokenFile: "),
        kubeconfig.replace("token: ", "client-key-data: "),
        kubeconfig.replace("user: {token: ", "user: {token: [").replace("'}}]\n", "']}]\n"),
        kubeconfig.replace("{token: ", "{{token: "),
        VALUE.to_owned(),
    ] {
        watch.folder.write("kubeconfig", text);
        watch.fails(&fetch, "");
    }
}

#[test]
fn commands_that_change_files_do_not_show_secrets() {
    let watch = Watch::new();
    let sealed = watch.succeeds(&SEAL, &secret(), &[]);
    watch.folder.write("db.yaml", &sealed);
    watch.folder.write("value", VALUE);
    watch.folder.write("PASSWORD", VALUE);
    let set = ["set", "db.yaml", "--keys", "cluster.yaml"];
    let with = |options: &[&'static str]| [&set[..], options].concat();
    let literal = format!("TOKEN={VALUE}");
    watch.succeeds(&with(&["PASSWORD"]), VALUE, &["db.yaml"]);
    watch.succeeds(&with(&["--from-file", "TOKEN=value", "--from-file", "PASSWORD"]), "", &["db.yaml"]);
    watch.succeeds(&[&set[..], &["--from-literal", &literal]].concat(), "", &["db.yaml"]);
    let reseal = ["rotate", "db.yaml", "--keys", "cluster.yaml", "--identity", "cluster.key", "--reseal"];
    watch.succeeds(&reseal, "", &["db.yaml"]);
    watch.succeeds(&["rotate", "db.yaml", "--keys", "cluster.yaml", "--check"], "", &[]);
    watch.succeeds(&["unset", "db.yaml", "TOKEN"], "", &["db.yaml"]);
    watch.canaries.assert_absent("the changed file", watch.folder.read("db.yaml"));

    for option in ["--from-literal=", "--from-litreal=", "-p", ""] {
        watch.fails(&[&set[..], &[&format!("{option}{VALUE}")]].concat(), "");
        watch.fails(&[&set[..], &[&format!("{option}A b={VALUE}")]].concat(), "");
        watch.fails(&["unset", "db.yaml", &format!("{option}PASSWORD={VALUE}")], "");
    }
    watch.fails(&[&set[..], &["--from-litreal", &literal]].concat(), "");
    watch.fails(&[&set[..], &["TOKEN", "--from-literal", &literal]].concat(), VALUE);
    watch.fails(&with(&["TOKEN", "--name", "other"]), VALUE);
    watch.fails(&["set", "db.yaml", "TOKEN", "--keys", "PASSWORD"], VALUE);
    watch.fails(&["set", "value", "TOKEN", "--keys", "cluster.yaml"], VALUE);
    let identity = watch.folder.read("cluster.key");
    let identity = identity.lines().find(|line| line.starts_with("AGE-")).expect("an identity");
    watch.fails(&["rotate", "db.yaml", "--keys", "cluster.yaml", "--identity", identity], "");
    watch.fails(&["rotate", "db.yaml", "--keys", "cluster.key", "--check"], "");
    watch.fails(&["rotate", "db.yaml", "--keys", "cluster.yaml", "--identity", "pass"], "");
    let plain = sealed.replace("PASSWORD: wax1", &format!("PLAIN: {VALUE}\n    PASSWORD: wax1"));
    watch.folder.write("db.yaml", &plain);
    for arguments in [&with(&["TOKEN"])[..], &["unset", "db.yaml", "PASSWORD"], &reseal] {
        watch.fails(arguments, VALUE);
    }
}

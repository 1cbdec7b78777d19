use std::process::{Command, Stdio};

use crate::folder::{Folder, program};
use crate::terminal::Terminal;

const HEAD: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\n";

/// Each text is refused with 3 and exactly this error, in a file and on stdin.
fn assert_refused(text: &str, at: &str, message: &str) {
    let folder = Folder::with_key();
    folder.write("db.yaml", text);
    let seal = folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml"]);
    seal.fails(3, &format!("error: db.yaml{at}: {message}\n"));
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(text);
    seal.fails(3, &format!("error: <stdin>{at}: {message}\n"));
}

#[test]
fn what_is_not_yaml() {
    assert_refused("kind: Secret\nmetadata:\n\tname: db\n", ":3:2", "not YAML: a tab stands where only spaces may");
    assert_refused("kind: a: b\n", ":1:8", "not YAML: a second \": \" on one line");
    assert_refused("[1, 2\nb: 3\n", ":2:2", "not YAML");
    assert_refused("{\"kind\": \"Secret\",\n \"data\" {}}", ":2:9", "not JSON");
    assert_refused("{\"kind\": \"Secret\",\n", ":2:1", "not JSON: it ends too early");
    assert_refused("{\"kind\": \"\\ud83d\"}", ":1:10", "not JSON: half of a surrogate pair stands alone");
}

#[test]
fn a_value_that_would_change_silently() {
    let text = format!("{HEAD}stringData:\n  MODE: 0777\n");
    let message = "stringData.MODE: YAML versions disagree on what this unquoted value is\nhint: write it in quotes";
    assert_refused(&text, ":5:9", message);
    let text = format!("{HEAD}stringData:\n  PORT: 5432\n");
    assert_refused(&text, ":5:9", "stringData.PORT: must be a string, not a number\nhint: write it in quotes");
}

#[test]
fn what_yaml_has_beyond_plain_data() {
    let text = format!("{HEAD}stringData: {{A: &a x, B: *a}}\n");
    let message = "stringData.A: anchors are not read here\nhint: write the value out at each place";
    assert_refused(&text, ":4:20", message);
    let text = format!("{HEAD}stringData:\n  A: {{{{ .Values.a }}}}\n");
    let hint = "if these are the braces of a template, render it first";
    assert_refused(&text, ":5:7", &format!("stringData.A: a key that is no string\nhint: {hint}"));
}

#[test]
fn a_key_that_is_given_twice() {
    let text = format!("{HEAD}stringData:\n  A: x\n  B: y\n  A: z\n");
    assert_refused(&text, ":7:3", "stringData.A: given twice, first on line 5");
}

#[test]
fn a_field_that_nobody_knows() {
    let text = format!("{HEAD}stringdata: {{}}\n");
    assert_refused(&text, ":4:1", "unknown field \"stringdata\"\nhint: did you mean \"stringData\"?");
}

#[test]
fn data_that_is_not_base64() {
    let text = format!("{HEAD}data: {{A: hunter2}}\n");
    assert_refused(&text, ":4:11", "data.A: not base64\nhint: plain text belongs under stringData");
}

#[test]
fn what_no_sealed_secret_may_ask_for() {
    let text = format!("{HEAD}type: kubernetes.io/service-account-token\n");
    assert_refused(&text, ":1", "Secrets of this type are never made from a SealedSecret");
    let text = "kind: ConfigMap\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop, labels: {waxseal.dev/secret: owned}}\n";
    assert_refused(text, ":2", "labels and annotations under waxseal.dev/ are Waxseal's own");
}

#[test]
fn an_input_without_a_secret() {
    assert_refused("kind: ConfigMap\n", "", "no Secret in it");
    assert_refused("", "", "no Secret in it");
    let folder = Folder::with_key();
    folder.write("apps/x.yaml", "kind: ConfigMap\n");
    folder.waxseal(&["seal", "apps", "--in-place", "--keys", "cluster.yaml"]).prints("");
}

#[test]
fn namespaces_that_are_missing_or_contradicted() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n";
    let hint = "hint: write it into the manifest, or pass `--namespace NAMESPACE`";
    let message = format!("metadata.namespace: missing, and a value is sealed for its namespace\n{hint}");
    assert_refused(text, ":1", &message);
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: db}\n";
    assert_refused(list, ":1", &format!("items[0]: {message}"));

    let folder = Folder::with_key();
    folder.write("db.yaml", HEAD);
    folder.waxseal(&["seal", "db.yaml", "-n", "web", "--keys", "cluster.yaml"]).fails(
        3,
        "error: db.yaml:1: metadata.namespace: is shop, and --namespace says web
hint: a value is sealed for one place: change one of the two
",
    );
    let sealed = folder.waxseal(&["seal", "-n", "web", "--keys", "cluster.yaml"]).stdin(text).succeeds();
    assert!(sealed.contains("metadata:\n  name: db\n  namespace: web\n"), "{sealed}");
}

#[test]
fn what_is_too_large() {
    let folder = Folder::with_key();
    let long = "x".repeat(1024 * 1024 + 1);
    let seal =
        folder.waxseal(&["seal", "-", "--keys", "cluster.yaml"]).stdin(format!("{HEAD}stringData: {{A: {long}}}\n"));
    seal.fails(3, "error: <stdin>:1:1: more data than the 1 MiB that a Secret takes\n");
    let endless = vec![b'#'; 32 * 1024 * 1024 + 1];
    let stderr = |place| format!("error: {place}: larger than 32 MiB, the most that is read\n");
    folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(&endless).fails(3, &stderr("<stdin>"));
    folder.write("db.yaml", &endless);
    folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml"]).fails(3, &stderr("db.yaml"));
}

#[test]
fn what_is_not_utf_8() {
    let folder = Folder::with_key();
    let seal = || folder.waxseal(&["seal", "--keys", "cluster.yaml"]);
    seal().stdin(b"\xc3\x28").fails(3, "error: <stdin>: not UTF-8\n");
    let stderr = "error: <stdin>: not UTF-8\nhint: it looks like UTF-16: save it as UTF-8\n";
    seal().stdin(b"\xff\xfea\x00").fails(3, stderr);
    seal().stdin(b"\xff\xfe\x00\x00a\x00\x00\x00").fails(3, "error: <stdin>: not UTF-8\n");
}

#[test]
fn nobody_to_seal_to() {
    let folder = Folder::new();
    folder.waxseal(&["seal"]).stdin(HEAD).fails(
        2,
        "error: nobody to seal to
hint: pass `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`
",
    );
}

#[test]
fn keys_files_that_are_none() {
    let folder = Folder::with_key();
    let seal = || folder.waxseal(&["seal", "--keys", "keys.yaml"]).stdin(HEAD);
    seal().fails(1, "error: keys.yaml: failed to read it: no such file or folder\n");
    let hint = "hint: a keys file is what `kubectl get sealingkeys -o yaml` prints\n";
    folder.write("keys.yaml", HEAD);
    seal().fails(3, &format!("error: keys.yaml:1:1: not a SealingKey\n{hint}"));
    folder.write("keys.yaml", "");
    seal().fails(3, &format!("error: keys.yaml: no SealingKey in it\n{hint}"));
    let line = folder.read("cluster.key").lines().position(|line| line.starts_with("AGE-")).expect("it") + 1;
    folder.waxseal(&["seal", "--keys", "cluster.key"]).stdin(HEAD).fails(
        3,
        &format!(
            "error: cluster.key:{line}:1: this is an identity, a private key
hint: `waxseal keys public --identity FILE` prints its SealingKey
"
        ),
    );
    let key = folder.read("cluster.yaml");
    folder.write("keys.yaml", key.replace("Active", "Retired"));
    let stderr =
        "error: keys.yaml: no Active key of a cluster in it\nhint: fetch the keys again: `waxseal keys fetch`\n";
    seal().fails(3, stderr);
    folder.write("keys.yaml", key.replace("role: Cluster", "role: Recovery"));
    seal().fails(
        3,
        "error: only recovery keys to seal to: no cluster could open it\nhint: pass the keys file of a cluster too\n",
    );
    let id = folder.key_id("cluster");
    folder.write("keys.yaml", key.replace(&format!("name: {id}"), "name: k0000000000000000"));
    let stderr = format!("error: keys.yaml:4:9: metadata.name: must be {id}, the key id of its recipient\n");
    seal().fails(3, &stderr);
    folder.write("keys.yaml", key.replace("Active", "Revoked"));
    let recipient = folder.recipient("cluster");
    folder.generate("other", &[]);
    folder.write("keys.yaml", format!("{}---\n{}", folder.read("keys.yaml"), folder.read("other.yaml")));
    let seal = folder.waxseal(&["seal", "--keys", "keys.yaml", "-r", &recipient]).stdin(HEAD);
    seal.fails(3, &format!("error: {id} is revoked: nothing is sealed to it\n"));
}

#[test]
fn recipients_that_are_none() {
    let folder = Folder::new();
    let seal = |recipient: &str| folder.waxseal(&["seal", "-r", recipient]).stdin(HEAD);
    let stderr = "error: --recipient: not a recipient: expected \"age1pq1…\" or \"age1…\"\n";
    seal("age1hunter2").fails(2, stderr);
    let stderr = "error: --recipient: this is an identity, a private key; a recipient begins with \"age1\"\n";
    seal("AGE-SECRET-KEY-1HUNTER2").fails(2, stderr);
}

#[test]
fn private_keys_on_the_command_line_are_not_shown() {
    let folder = Folder::with_key();
    let hint = "hint: the shell's history and the list of processes hold it now: make a new key\n";
    let open = ["open", "f.yaml", "--identity", "cluster.key"];
    for key in ["AGE-SECRET-KEY-1HUNTER2", "AGE-SECRET-KEY-PQ-1HUNTER2", "age-secret-key-1hunter2"] {
        for (arguments, place) in [
            (&["open", "f.yaml", "--identity", key][..], "--identity: "),
            (&["open", key, "--identity", "cluster.key"], ""),
            (&[&open[..], &["-o", key]].concat(), "--output: "),
            (&[&open[..], &["--passphrase-file", key]].concat(), "--passphrase-file: "),
            (&["inspect", key], ""),
            (&["seal", key, "--keys", "cluster.yaml"], ""),
            (&["seal", "--keys", key], "--keys: "),
            (&["seal", &format!("--output={key}")], "--output: "),
            (&["seal", "--output-dir", key], "--output-dir: "),
            (&["keys", "public", "--identity", key], "--identity: "),
            (&["keys", "generate", &format!("-o{key}")], "--output: "),
            (&["keys", "list", "cluster.yaml", key], ""),
            (&["keys", "fetch", "-o", key], "--output: "),
            (&["keys", "fetch", "-o", "x.yaml", "--kubeconfig", key], "--kubeconfig: "),
        ] {
            let stderr = format!("error: {place}this is a private key, and a file name belongs here\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
        for arguments in
            [&["open", "f.yaml", key][..], &["inspect", "x", "--format", key], &["seal", "--scope", key], &[key]]
        {
            let stderr = format!("error: a private key, which does not belong on a command line\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
    }
    folder.write("age-secret-key-1.yaml", HEAD);
    folder.waxseal(&["seal", "./age-secret-key-1.yaml", "--keys", "cluster.yaml"]).succeeds();
}

#[test]
fn classic_keys_unless_they_are_allowed() {
    let folder = Folder::with_key();
    folder.generate("classic", &["--classic"]);
    let (recipient, id) = (folder.recipient("classic"), folder.key_id("classic"));
    let stderr = format!(
        "error: {id} is a classic key (X25519), which a quantum computer will break
hint: pass `--allow-classic` if the values may be read then
"
    );
    folder.waxseal(&["seal", "--keys", "classic.yaml"]).stdin(HEAD).fails(3, &stderr);
    folder.waxseal(&["seal", "-r", &recipient]).stdin(HEAD).fails(3, &stderr);
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml", "-r", &recipient, "--allow-classic"]).stdin(HEAD);
    seal.fails(3, "error: hybrid (\"age1pq1…\") and classic (\"age1…\") recipients cannot be mixed\n");
}

#[test]
fn outputs_that_make_no_sense() {
    let folder = Folder::with_key();
    folder.write("a.yaml", HEAD);
    folder.write("b.yaml", HEAD);
    folder.write("apps/c.yaml", HEAD);
    let seal = |arguments: &[&str]| folder.waxseal(&[&["seal", "--keys", "cluster.yaml"], arguments].concat());
    for format in ["yaml", "json"] {
        seal(&["a.yaml", "-o", format]).fails(
            2,
            &format!(
                "error: --output names a file, and {format} looks like a format
hint: the format is that of the input; for a file of that name write ./{format}
"
            ),
        );
    }
    let stderr = "error: --output names a file here, and - stands for stdout\nhint: name the file; for one of that name write ./-\n";
    folder.waxseal(&["keys", "generate", "-o", "-"]).fails(2, stderr);
    folder.waxseal(&["keys", "fetch", "-o", "-"]).fails(2, stderr);
    let several =
        "error: several files and folders do not go to one place\nhint: pass `--output-dir DIR` or `--in-place`\n";
    seal(&["a.yaml", "b.yaml"]).fails(2, several);
    seal(&["apps"]).fails(2, several);
    seal(&["apps", "-o", "-"]).fails(2, several);
    seal(&["apps", "-o", "x.yaml"]).fails(2, several);
    let nameless = "error: stdin has no name to write its result under\nhint: pass `--output FILE`\n";
    seal(&["-", "--in-place"]).fails(2, nameless);
    seal(&["--output-dir", "x"]).fails(2, nameless);
    seal(&["absent.yaml"]).fails(1, "error: absent.yaml: failed to read it: no such file or folder\n");
}

#[test]
fn a_namespace_that_is_none() {
    let folder = Folder::with_key();
    folder.waxseal(&["seal", "-n", "a.b", "--keys", "cluster.yaml"]).stdin(HEAD).fails(
        2,
        "error: invalid value 'a.b' for '--namespace <NAMESPACE>': a namespace must be 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit

For more information, try '--help'.
",
    );
}

#[test]
fn a_terminal_as_stdin() {
    let folder = Folder::with_key();
    let terminal = Terminal::open();
    let mut command = Command::new(program());
    command.current_dir(folder.path()).args(["seal", "--keys", "cluster.yaml"]).stdin(terminal.other_end());
    let output = command.output().expect("waxseal runs");
    let stderr = "error: nothing to seal: stdin is a terminal\nhint: name a file, or `-` to type a manifest\n";
    assert_eq!((String::from_utf8_lossy(&output.stderr).as_ref(), output.status.code()), (stderr, Some(2)));
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = Folder::with_key();
    folder.write("db.yaml", HEAD);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(program());
    command.current_dir(folder.path()).args(["seal", "db.yaml", "--keys", "cluster.yaml"]).stdin(Stdio::null());
    let output = command.stdout(writer).stderr(Stdio::piped()).output().expect("waxseal runs");
    assert_eq!((output.stderr.as_slice(), output.status.code()), (&b""[..], Some(0)));
}

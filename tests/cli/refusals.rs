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
    let message = "not YAML: a second \": \" on one line\nhint: a value with \": \" in it belongs in quotes";
    assert_refused("kind: a: b\n", ":1:8", message);
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
    let hint = "hint: put a value that begins with & or * in quotes, or write the value out at each place";
    assert_refused(&text, ":4:20", &format!("stringData.A: anchors are not read here\n{hint}"));
}

#[test]
fn a_template_that_was_not_rendered() {
    const HINT: &str = "hint: this looks like a template: render it first";
    let text = format!("{HEAD}stringData:\n  A: {{{{ .Values.a }}}}\n");
    assert_refused(&text, ":5:7", &format!("stringData.A: this key is not a string\n{HINT}"));
    let text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}-db\n";
    assert_refused(text, ":4:28", &format!("not YAML\n{HINT}"));
    assert_refused("{{- if .Values.db }}\nkind: ConfigMap\n{{- end }}\n", ":1:3", &format!("not YAML\n{HINT}"));
    assert_refused("{% if db %}\nkind: ConfigMap\n{% endif %}\n", ":1:2", &format!("not YAML\n{HINT}"));
    assert_refused("{\"kind\": \"ConfigMap\" {{ .Values.db }}}", ":1:22", &format!("not JSON\n{HINT}"));
    let text = format!("{HEAD}data: {{A: '<path:secret/db#a>'}}\n");
    assert_refused(&text, ":4:11", &format!("data.A: not base64\n{HINT}"));
}

#[test]
fn a_value_that_begins_with_a_sign_of_yaml() {
    const QUOTES: &str = "hint: a value that begins with a sign such as @, %, *, !, & or ` belongs in quotes";
    for (value, column, message) in [
        ("@hunter2", 6, "not YAML"),
        ("%hunter2", 6, "not YAML"),
        ("`hunter2", 6, "not YAML"),
        ("*hunter2", 6, "not YAML: an alias names no anchor before it"),
        ("!hunter2", 14, "stringData.A: tags other than !!str are not read here"),
        ("!h!unter2", 6, "not YAML: a tag's handle is not declared"),
    ] {
        let text = format!("{HEAD}stringData:\n  A: {value}\n  B: x\n");
        assert_refused(&text, &format!(":5:{column}"), &format!("{message}\n{QUOTES}"));
    }
    let text = format!("{HEAD}stringData:\n  A: &hunter2\n  B: x\n");
    let hint = "hint: put a value that begins with & or * in quotes, or write the value out at each place";
    assert_refused(&text, ":5:14", &format!("stringData.A: anchors are not read here\n{hint}"));
    let text = format!("{HEAD}stringData:\n  A: #hunter2\n  B: x\n");
    let hint = "hint: write \"\" for an empty value; one that begins with # belongs in quotes";
    assert_refused(&text, ":5:4", &format!("stringData.A: must be a string, not null\n{hint}"));
}

#[test]
fn a_conflict_that_git_left() {
    const HINT: &str = "hint: resolve the conflict first";
    let text = format!("{HEAD}stringData:\n<<<<<<< HEAD\n  A: x\n=======\n  A: y\n>>>>>>> main\n");
    assert_refused(&text, ":5:1", &format!("not YAML: a conflict marker of Git\n{HINT}"));
    let text = format!("{HEAD}stringData: {{A:\n<<<<<<< HEAD\n  x\n=======\n  y\n>>>>>>> main\n}}\n");
    assert_refused(&text, ":5:1", &format!("stringData.A: a Git conflict is in this value\n{HINT}"));
}

/// What is refused alone, and in a stream, a list and a folder beside a good Secret.
fn assert_near_secret(text: &str, line: usize, column: usize, message: &str) {
    let good = format!("{HEAD}stringData: {{A: a long value}}\n");
    assert_refused(text, &format!(":{line}:{column}"), message);
    let below = format!("{good}---\n{text}");
    assert_refused(&below, &format!(":{}:{column}", line + 5), message);
    let folder = Folder::with_key();
    folder.write("apps/near.yaml", text);
    folder.write("apps/good.yaml", &good);
    let seal = folder.waxseal(&["seal", "apps", "--in-place", "--keys", "cluster.yaml"]).writes(&["apps/good.yaml"]);
    seal.fails(3, &format!("sealed 1 Secret in 1 file\nerror: apps/near.yaml:{line}:{column}: {message}\n"));
    assert!(folder.read("apps/good.yaml").contains("kind: SealedSecret"), "the others are done");
}

#[test]
fn a_secret_with_a_typing_error() {
    let message = "looks like a Secret with a typing error: its values would stay in plain text\nhint: write `apiVersion: v1` and `kind: Secret`";
    let body = "metadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";
    for (head, line) in [
        ("apiVersion: v1\nkind: secret\n", 2),
        ("apiVersion: v1\nkind: Secrets\n", 2),
        ("apiVersion: v1\nKind: Secret\n", 2),
        ("apiVersion: V1\nkind: Secret\n", 1),
        ("apiVersion: core/v1\nkind: Secret\n", 1),
        ("apiVersion: v1\n", 1),
        ("kind: Secret\n", 1),
        ("apiVersion: v1\nkind: SealedSecret\n", 2),
    ] {
        assert_near_secret(&format!("{head}{body}"), line, 1, message);
    }
    let list = "apiVersion: v1\nkind: Secretlist\nitems:\n- metadata: {name: a}\n  data: {A: aGk=}\n";
    assert_near_secret(list, 2, 1, message);
    let item = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: secret\n  stringData: {A: x}\n";
    assert_near_secret(item, 5, 3, &format!("items[0]: {message}"));
}

#[test]
fn a_secret_inside_another_object() {
    let message = "a Secret inside another object, where its values would stay in plain text\nhint: write the Secret as a document of its own";
    let secret = "apiVersion: v1\n  kind: Secret\n  metadata: {name: db}\n  stringData: {A: '${A}'}\n";
    let template = format!("apiVersion: template.openshift.io/v1\nkind: Template\nobjects:\n- {secret}");
    assert_near_secret(&template, 4, 3, message);
    assert_near_secret(&format!("apiVersion: v1\nkind: Lists\nitems:\n- {secret}"), 4, 3, message);
    assert_near_secret(&format!("extraObjects:\n- {secret}"), 2, 3, message);
}

#[test]
fn a_secret_that_only_some_readers_see() {
    let message =
        "YAML versions disagree on whether a line ends here\nhint: write the character as an escape in double quotes";
    let hidden = "kind: ConfigMap # c\u{2028}---\u{2028}apiVersion: v1\u{2028}kind: Secret\u{2028}data: {A: aGk=}\n";
    assert_near_secret(hidden, 1, 20, message);
    let folder = Folder::with_key();
    let text = format!("# a\u{2028}b\n---\n{HEAD}---\nkind: ConfigMap # c\u{2028}d\n");
    folder
        .waxseal(&["seal", "--keys", "cluster.yaml"])
        .stdin(text)
        .warns("warning: <stdin>:3:1: this Secret has no values\n");
}

#[test]
fn plain_values_in_a_sealed_secret() {
    const HEAD: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}\n";
    const HINT: &str = "hint: put plain values into a Secret, and seal that";
    for (spec, column, message) in [
        ("spec: {stringData: {A: a long value}}\n", 8, "spec.stringData: these values are not sealed"),
        ("stringData: {A: a long value}\n", 1, "stringData: these values are not sealed"),
        (
            "spec: {encryptedData: {A: a long value}}\n",
            27,
            "spec.encryptedData.A: not a sealed value: expected \"wax1.ENVELOPE.…\"",
        ),
    ] {
        assert_near_secret(&format!("{HEAD}{spec}"), 4, column, &format!("{message}\n{HINT}"));
    }
    let message = "looks like a SealedSecret with a typing error\nhint: write `apiVersion: waxseal.dev/v1alpha1` and `kind: SealedSecret`";
    let text = HEAD.replace("waxseal.dev", "waxseal.io") + "spec: {encryptedData: {A: a long value}}\n";
    assert_near_secret(&text, 1, 1, message);
}

#[test]
fn a_secret_that_sops_encrypted() {
    let text = format!("{HEAD}data: {{A: 'ENC[AES256_GCM,data:x,type:str]'}}\nsops: {{version: 3.13.3}}\n");
    let hint = "hint: pass what `sops decrypt` prints to `waxseal seal`";
    assert_refused(&text, ":5:7", &format!("sops: this Secret is encrypted with SOPS already\n{hint}"));
}

#[test]
fn what_the_api_server_would_refuse() {
    let text = format!("{HEAD}type: kubernetes.io/tls\nstringData: {{tls.crt: x}}\n");
    assert_refused(&text, ":4:7", "type: a Secret of this type needs the data keys tls.crt and tls.key");
    let text = format!("{HEAD}type: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: aHVudGVyMg==}}\n");
    let message = "data..dockerconfigjson: must be a JSON object in a Secret of this type";
    assert_refused(&text, ":5:27", message);
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop, labels: {app: my app}}\n";
    let form = "letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";
    assert_refused(text, ":3:53", &format!("metadata.labels.app: the value of a label must be at most 63 {form}"));
    let text = text.replace("app: my app", "my app: x");
    let form = format!("1 to 63 {form}, perhaps after a DNS name and '/'");
    assert_refused(&text, ":3:48", &format!("metadata.labels.…: the key of a label must be {form}"));
    let text = text.replace("labels", "annotations");
    assert_refused(&text, ":3:53", &format!("metadata.annotations.…: the key of an annotation must be {form}"));
    let long = "x".repeat(256 * 1024);
    let text = text.replace("my app: x", &format!("note: {long}"));
    assert_refused(&text, ":3:52", "metadata.annotations: more than the 256 KiB that an object's annotations can be");
}

#[test]
fn subcommands_that_other_tools_have() {
    let folder = Folder::new();
    for (word, ours) in [("unseal", "open"), ("decrypt", "open"), ("view", "open"), ("encrypt", "seal")] {
        let stderr = format!("error: waxseal has no subcommand {word}\nhint: use `waxseal {ours}`\n");
        folder.waxseal(&[word, "db.yaml"]).fails(2, &stderr);
    }
    let outcome = folder.waxseal(&["sael"]).finish();
    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.starts_with("error: unrecognized subcommand 'sael'\n"), "{}", outcome.stderr);
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
    let seal = folder.waxseal(&["seal", "apps", "--in-place", "--keys", "cluster.yaml"]);
    assert_eq!(seal.warns("sealed 0 Secrets in 0 files\n"), "");
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
    let text = format!("{text}stringData: {{A: x}}\n");
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
        "error: no recipients to seal to
hint: pass `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`
",
    );
}

#[test]
fn keys_files_that_are_none() {
    let folder = Folder::with_key();
    let seal = || folder.waxseal(&["seal", "--keys", "keys.yaml"]).stdin(HEAD);
    seal().fails(1, "error: keys.yaml: no such file or folder\n");
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
            (&["keys", "fetch", "-o", key], "--output: "),
            (&["keys", "fetch", "-o", "x.yaml", "--kubeconfig", key], "--kubeconfig: "),
        ] {
            let stderr = format!("error: {place}this is a private key, but a file name is expected\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
        for arguments in
            [&["keys", "fetch", key][..], &["inspect", "x", "--format", key], &["seal", "--scope", key], &[key]]
        {
            let stderr = format!("error: a private key, which does not belong on a command line\n{hint}");
            folder.waxseal(arguments).fails(2, &stderr);
        }
    }
    folder.write("age-secret-key-1.yaml", format!("{HEAD}stringData: {{A: x}}\n"));
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
    let stderr =
        "error: --output must name a file here, and - is stdout\nhint: name a file; for a file called - write ./-\n";
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
    seal(&["absent.yaml"]).fails(1, "error: absent.yaml: no such file or folder\n");
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
    for (arguments, what) in [
        (&["seal", "--keys", "cluster.yaml"][..], "seal"),
        (&["inspect"], "read"),
        (&["open", "--identity", "cluster.key"], "read"),
    ] {
        let mut command = Command::new(program());
        command.current_dir(folder.path()).args(arguments).stdin(terminal.other_end());
        let output = command.output().expect("waxseal runs");
        let stderr =
            format!("error: nothing to {what}: stdin is a terminal\nhint: name a file, or `-` to type a manifest\n");
        assert_eq!((String::from_utf8_lossy(&output.stderr), output.status.code()), (stderr.into(), Some(2)));
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = Folder::with_key();
    folder.write("db.yaml", format!("{HEAD}stringData: {{A: x}}\n"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(program());
    command.current_dir(folder.path()).args(["seal", "db.yaml", "--keys", "cluster.yaml"]).stdin(Stdio::null());
    let output = command.stdout(writer).stderr(Stdio::piped()).output().expect("waxseal runs");
    assert_eq!((output.stderr.as_slice(), output.status.code()), (&b""[..], Some(0)));
}

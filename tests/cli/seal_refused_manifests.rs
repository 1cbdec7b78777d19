//! Manifests that `waxseal seal` refuses, with the exact place, text and hint.

use crate::folder::{Folder, HEAD};

/// Checks that the text is refused with 3 and exactly this error, in a file and on stdin.
fn assert_refused(text: &str, at: &str, message: &str) {
    let folder = Folder::with_key();
    folder.write("db.yaml", text);
    let seal = folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml"]);
    seal.fails(3, &format!("error: db.yaml{at}: {message}\n"));
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(text);
    seal.fails(3, &format!("error: <stdin>{at}: {message}\n"));
}

#[test]
fn invalid_yaml_and_json_are_refused_with_the_place() {
    assert_refused("kind: Secret\nmetadata:\n\tname: db\n", ":3:2", "not YAML: a tab stands where only spaces may");
    let message = "not YAML: a second \": \" on one line\nhint: a value with \": \" in it belongs in quotes";
    assert_refused("kind: a: b\n", ":1:8", message);
    assert_refused("[1, 2\nb: 3\n", ":2:2", "not YAML");
    assert_refused("{\"kind\": \"Secret\",\n \"data\" {}}", ":2:9", "not JSON");
    assert_refused("{\"kind\": \"Secret\",\n", ":2:1", "not JSON: it ends too early");
    assert_refused("{\"kind\": \"\\ud83d\"}", ":1:10", "not JSON: half of a surrogate pair stands alone");
}

#[test]
fn a_value_that_is_not_a_string_is_refused() {
    let text = format!("{HEAD}stringData:\n  MODE: 0777\n");
    let message = "stringData.MODE: YAML versions disagree on what this unquoted value is\nhint: write it in quotes";
    assert_refused(&text, ":5:9", message);
    let text = format!("{HEAD}stringData:\n  PORT: 5432\n");
    assert_refused(&text, ":5:9", "stringData.PORT: must be a string, not a number\nhint: write it in quotes");
}

#[test]
fn anchors_are_refused() {
    let text = format!("{HEAD}stringData: {{A: &a x, B: *a}}\n");
    let hint = "hint: put a value that begins with & or * in quotes, or write the value out at each place";
    assert_refused(&text, ":4:20", &format!("stringData.A: anchors are not allowed\n{hint}"));
}

#[test]
fn an_unrendered_template_is_refused_with_a_hint() {
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
fn an_unquoted_value_that_begins_with_a_yaml_indicator_is_refused() {
    const QUOTES: &str = "hint: a value that begins with a sign such as @, %, *, !, & or ` belongs in quotes";
    for (value, column, message) in [
        ("@hunter2", 6, "not YAML"),
        ("%hunter2", 6, "not YAML"),
        ("`hunter2", 6, "not YAML"),
        ("*hunter2", 6, "not YAML: no anchor before this alias has the same name"),
        ("!hunter2", 14, "stringData.A: tags other than !!str are not allowed"),
        ("!h!unter2", 6, "not YAML: a tag's handle is not declared"),
    ] {
        let text = format!("{HEAD}stringData:\n  A: {value}\n  B: x\n");
        assert_refused(&text, &format!(":5:{column}"), &format!("{message}\n{QUOTES}"));
    }
    let text = format!("{HEAD}stringData:\n  A: &hunter2\n  B: x\n");
    let hint = "hint: put a value that begins with & or * in quotes, or write the value out at each place";
    assert_refused(&text, ":5:14", &format!("stringData.A: anchors are not allowed\n{hint}"));
    let text = format!("{HEAD}stringData:\n  A: #hunter2\n  B: x\n");
    let hint = "hint: write \"\" for an empty value, and put a value that begins with # in quotes";
    assert_refused(&text, ":5:4", &format!("stringData.A: must be a string, not null\n{hint}"));
}

#[test]
fn a_git_conflict_marker_is_refused() {
    const HINT: &str = "hint: resolve the conflict first";
    let text = format!("{HEAD}stringData:\n<<<<<<< HEAD\n  A: x\n=======\n  A: y\n>>>>>>> main\n");
    assert_refused(&text, ":5:1", &format!("not YAML: a conflict marker of Git\n{HINT}"));
    let text = format!("{HEAD}stringData: {{A:\n<<<<<<< HEAD\n  x\n=======\n  y\n>>>>>>> main\n}}\n");
    assert_refused(&text, ":5:1", &format!("stringData.A: a Git conflict is in this value\n{HINT}"));
}

/// Checks that the text is refused alone, after a good Secret in a stream, and next to a good Secret in a folder.
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
fn a_secret_with_a_typing_error_is_refused() {
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
fn a_secret_inside_another_object_is_refused() {
    let message = "a Secret inside another object, where its values would stay in plain text\nhint: write the Secret as a document of its own";
    let secret = "apiVersion: v1\n  kind: Secret\n  metadata: {name: db}\n  stringData: {A: '${A}'}\n";
    let template = format!("apiVersion: template.openshift.io/v1\nkind: Template\nobjects:\n- {secret}");
    assert_near_secret(&template, 4, 3, message);
    assert_near_secret(&format!("apiVersion: v1\nkind: Lists\nitems:\n- {secret}"), 4, 3, message);
    assert_near_secret(&format!("extraObjects:\n- {secret}"), 2, 3, message);
}

#[test]
fn a_secret_that_only_some_yaml_versions_see_is_refused() {
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
fn plain_values_in_a_sealed_secret_are_refused() {
    const HEAD: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}\n";
    const HINT: &str = "hint: put plain values into a Secret, and seal that";
    for (spec, column, message) in [
        ("spec: {stringData: {A: a long value}}\n", 8, "spec.stringData: these values are not sealed"),
        ("stringData: {A: a long value}\n", 1, "stringData: these values are not sealed"),
        (
            "spec: {encryptedData: {A: a long value}}\n",
            27,
            "spec.encryptedData.A: not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"",
        ),
    ] {
        assert_near_secret(&format!("{HEAD}{spec}"), 4, column, &format!("{message}\n{HINT}"));
    }
    let message = "looks like a SealedSecret with a typing error\nhint: write `apiVersion: waxseal.dev/v1alpha1` and `kind: SealedSecret`";
    let text = HEAD.replace("waxseal.dev", "waxseal.io") + "spec: {encryptedData: {A: a long value}}\n";
    assert_near_secret(&text, 1, 1, message);
}

#[test]
fn a_secret_encrypted_with_sops_is_refused() {
    let text = format!("{HEAD}data: {{A: 'ENC[AES256_GCM,data:x,type:str]'}}\nsops: {{version: 3.13.3}}\n");
    let hint = "hint: decrypt it first: pipe the output of `sops decrypt` into `waxseal seal`";
    assert_refused(&text, ":5:7", &format!("sops: this Secret is encrypted with SOPS already\n{hint}"));
}

#[test]
fn secrets_that_the_api_server_would_refuse_are_refused() {
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
    assert_refused(
        &text,
        ":3:52",
        "metadata.annotations: larger than 256 KiB, which is the limit for an object's annotations",
    );
}

#[test]
fn a_duplicate_key_is_refused() {
    let text = format!("{HEAD}stringData:\n  A: x\n  B: y\n  A: z\n");
    assert_refused(&text, ":7:3", "stringData.A: given twice, first on line 5");
}

#[test]
fn an_unknown_field_is_refused() {
    let text = format!("{HEAD}stringdata: {{}}\n");
    assert_refused(&text, ":4:1", "unknown field \"stringdata\"\nhint: did you mean \"stringData\"?");
}

#[test]
fn data_that_is_not_base64_is_refused() {
    let text = format!("{HEAD}data: {{A: hunter2}}\n");
    assert_refused(&text, ":4:11", "data.A: not base64\nhint: plain text belongs under stringData");
}

#[test]
fn forbidden_types_and_reserved_labels_are_refused() {
    let text = format!("{HEAD}type: kubernetes.io/service-account-token\n");
    assert_refused(&text, ":1", "Secrets of this type are never made from a SealedSecret");
    let text = "kind: ConfigMap\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop, labels: {waxseal.dev/secret: owned}}\n";
    assert_refused(text, ":2", "labels and annotations under waxseal.dev/ are reserved for Waxseal");
}

#[test]
fn an_input_without_a_secret_is_refused_unless_it_is_a_folder() {
    assert_refused("kind: ConfigMap\n", "", "no Secret in it");
    assert_refused("", "", "no Secret in it");
    let folder = Folder::with_key();
    folder.write("apps/x.yaml", "kind: ConfigMap\n");
    let seal = folder.waxseal(&["seal", "apps", "--in-place", "--keys", "cluster.yaml"]);
    assert_eq!(seal.warns("sealed 0 Secrets in 0 files\n"), "");
}

#[test]
fn a_missing_or_contradicting_namespace_is_refused() {
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

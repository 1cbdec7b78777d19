//! Warnings of `waxseal seal`: values that still show in the result, and values that look wrong.

use crate::folder::{Folder, SECRET, data_of};

#[test]
fn a_value_in_comments_annotations_or_other_objects_is_warned_of() {
    let folder = Folder::with_key();
    let text = "# hunter2hunter2
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop, annotations: {note: 'it is hunter2hunter2'}}
stringData: {A: hunter2hunter2, B: short}
---
apiVersion: v1
kind: ConfigMap
data:
  token: aHVudGVyMmh1bnRlcjIK
  short: short
";
    folder.write("db.yaml", text);
    let sealed = folder.waxseal(&["seal", "db.yaml", "--keys", "cluster.yaml"]).warns(
        "warning: db.yaml:1: the value of A in db still shows in spec.template.metadata.annotations.note
warning: db.yaml:1: the value of A in db still shows in a comment
warning: db.yaml:10: the value of A in db still shows
",
    );
    assert!(sealed.contains("kind: SealedSecret"), "{sealed}");
}

#[test]
fn a_value_in_the_lines_around_a_document_is_warned_of() {
    let folder = Folder::with_key();
    for text in [
        format!("--- # a long value\n{SECRET}"),
        format!("{SECRET}... # a long value\n"),
        format!("  # a long value\n{SECRET}"),
    ] {
        let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(&text);
        seal.warns("warning: <stdin>:1: the value of A in db still shows in a comment\n");
    }
}

/// Metadata, the type, data keys and comments stay readable. A value is encrypted, so it may be a private key.
#[test]
fn a_private_key_outside_of_the_values_is_warned_of() {
    let folder = Folder::with_key();
    let file = folder.read("cluster.key");
    let identity = file.lines().last().expect("an identity");
    let value = SECRET.replace("a long value", "IDENTITY");
    let annotation = SECRET.replace("namespace: shop", "namespace: shop, annotations: {a: IDENTITY}");
    let key = SECRET.replace("stringData: {", "stringData: {IDENTITY: b, ");
    let shows = "warning: <stdin>:1: a private key still shows\n";
    for (text, said) in [(value, ""), (annotation, shows), (key, shows), (format!("# IDENTITY\n{SECRET}"), shows)] {
        let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(text.replace("IDENTITY", identity));
        seal.warns(said);
    }
}

#[test]
fn a_value_in_another_document_in_another_form_is_warned_of() {
    let folder = Folder::with_key();
    let text = r#"apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
stringData:
  A: |
    first line
    second "line"
---
kind: ConfigMap
data:
  a: |
      first line
      second "line"
---
kind: ConfigMap
data: {a: "first line\nsecond \"line\"\n"}
---
kind: ConfigMap
data:
  a: >-
    Zmlyc3QgbGlu
    ZQpzZWNvbmQg
    ImxpbmUiCg==
"#;
    folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(text).warns(
        "warning: <stdin>:12: the value of A in db still shows
warning: <stdin>:16: the value of A in db still shows
warning: <stdin>:21: the value of A in db still shows
",
    );
}

#[test]
fn a_warning_hides_unusual_keys() {
    let folder = Folder::with_key();
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "stringData": {"A": "hunter2hunter2"}},
{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a\u001b[2K\nerror": "hunter2hunter2"}}
]}"#;
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(list);
    seal.warns("warning: <stdin>:1: the value of A in db still shows in items[1].data.…\n");
}

#[test]
fn a_value_that_looks_like_a_template_is_warned_of_and_sealed() {
    let folder = Folder::with_key();
    let text = "apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
data:
  HELM: e3sgLlZhbHVlcy5wYXNzd29yZCB9fQo=
stringData:
  FLUX: ${PASSWORD}
  VAULT: <path:secret/data/db#password>
  SHELL: $(PASSWORD)
  FILE: |
    {{ define \"x\" }}
    {{ end }}
  PART: a${b}c
";
    let warning = |place: &str, key: &str| {
        format!(
            "warning: <stdin>:{place}: {key}: looks like a template that was not rendered, and is sealed as it stands\n"
        )
    };
    let stderr = [
        warning("5:9", "data.HELM"),
        warning("7:9", "stringData.FLUX"),
        warning("8:10", "stringData.VAULT"),
        warning("9:10", "stringData.SHELL"),
    ];
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(text).warns(&stderr.concat());
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(sealed).succeeds();
    assert_eq!(data_of(&opened)["FLUX"], b"${PASSWORD}");
}

#[test]
fn a_secret_without_values_is_warned_of() {
    let folder = Folder::with_key();
    let seal = |text: &str, stderr: &str| {
        folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(text).warns(stderr);
    };
    let empty = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\n";
    seal(&format!("---\n{empty}"), "warning: <stdin>:2:1: this Secret has no values\n");
    seal(
        &format!("apiVersion: v1\nkind: List\nitems:\n- {}", empty.replace('\n', "\n  ")),
        "warning: <stdin>:4:3: items[0]: this Secret has no values\n",
    );
}

#[test]
fn a_key_in_both_data_and_string_data_is_warned_of() {
    let folder = Folder::with_key();
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\ndata: {A: b2xkIHZhbHVl}\nstringData: {A: new value}\n";
    let sealed = folder
        .waxseal(&["seal", "--keys", "cluster.yaml"])
        .stdin(text)
        .warns("warning: <stdin>:4:8: data.A: not sealed: stringData has this key too, and wins, as in Kubernetes\n");
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(sealed).succeeds();
    assert_eq!(data_of(&opened)["A"], b"new value");
}

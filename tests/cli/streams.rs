use crate::folder::{Folder, data_of};

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";
const SEALED: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n";

fn seal(folder: &Folder, text: &str) -> String {
    folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(text).succeeds()
}

#[test]
fn other_documents_stay_byte_for_byte() {
    let before = "%YAML 1.2\n---\n# odd   spacing \nkind:   ConfigMap\napiVersion:\tv1\ndata: { a :  b }   \n...\n# between\n---\n";
    let after = "---\nkind: Deployment\nspec: {x: &a [1, 2],\n  y: *a}\n# the end, without a line break";
    let folder = Folder::with_key();
    let sealed = seal(&folder, &format!("{before}{SECRET}{after}"));
    let middle = sealed.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let middle = middle.unwrap_or_else(|| panic!("{sealed}"));
    assert!(middle.starts_with(SEALED), "{middle}");
}

#[test]
fn line_endings_of_windows_stay() {
    let folder = Folder::with_key();
    let text = format!("---\n{SECRET}---\nkind: ConfigMap\n").replace('\n', "\r\n");
    let sealed = seal(&folder, &text);
    assert_eq!(sealed.matches('\n').count(), sealed.matches("\r\n").count());
    assert!(sealed.starts_with(&format!("---\n{SEALED}").replace('\n', "\r\n")), "{sealed}");
    assert!(sealed.ends_with("---\r\nkind: ConfigMap\r\n"), "{sealed}");
}

#[test]
fn comments_before_a_document_stay_and_those_in_it_go() {
    let folder = Folder::with_key();
    let sealed = seal(&folder, &format!("# owner: shop\n{SECRET}# the old value was: something\n"));
    assert!(sealed.starts_with(&format!("# owner: shop\n{SEALED}")), "{sealed}");
    assert!(!sealed.contains("something"), "{sealed}");
}

#[test]
fn what_is_sealed_already_passes_through() {
    let folder = Folder::with_key();
    let once = seal(&folder, &format!("{SECRET}...\n"));
    let odd = once.replace("kind: SealedSecret", "kind:   SealedSecret  # as it was");
    assert_eq!(seal(&folder, &odd), odd);
    let both = seal(&folder, &format!("{odd}---\n{SECRET}"));
    assert!(both.starts_with(&format!("{odd}---\n{SEALED}")), "{both}");
}

#[test]
fn several_secrets_of_a_stream_open_again() {
    let folder = Folder::with_key();
    let two = format!("{SECRET}---\n{}", SECRET.replace("db", "other").replace("a long value", "another value"));
    let sealed = seal(&folder, &two);
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(&sealed).succeeds();
    let (first, second) = opened.split_once("---\n").expect("two documents");
    assert_eq!((&data_of(first)["A"][..], &data_of(second)["A"][..]), (&b"a long value"[..], &b"another value"[..]));
    for name in ["other", "shop/other"] {
        let one = folder.waxseal(&["open", "-", "--identity", "cluster.key", "--name", name]).stdin(&sealed).succeeds();
        assert_eq!(one, second);
    }
    let open = folder.waxseal(&["open", "-", "--identity", "cluster.key", "--name", "web/other"]).stdin(&sealed);
    open.fails(3, "error: <stdin>: no SealedSecret of that name in it\n");
}

#[test]
fn json_in_json_out() {
    let folder = Folder::with_key();
    let text = r#" {"kind":"ConfigMap", "data":{} }
{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop"},"stringData":{"A":"\ud83e\uddad \/ \u00e9 wax"}}"#;
    let sealed = seal(&folder, text);
    let rest = sealed.strip_prefix(" {\"kind\":\"ConfigMap\", \"data\":{} }\n").unwrap_or_else(|| panic!("{sealed}"));
    let object: serde_json::Value = serde_json::from_str(rest).expect("JSON");
    assert_eq!(object["kind"], "SealedSecret");
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(&sealed).succeeds();
    let secret: serde_json::Value = serde_json::from_str(&opened).expect("JSON");
    assert_eq!(secret["data"]["A"], "8J+mrSAvIMOpIHdheA==");
}

#[test]
fn the_secrets_of_a_list_are_sealed() {
    let folder = Folder::with_key();
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: db, namespace: shop}, stringData: {A: a long value}}\n- {apiVersion: v1, kind: Secret, metadata: {name: web, namespace: shop}, stringData: {A: b}}\n";
    let sealed = seal(&folder, list);
    assert!(
        sealed.starts_with(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: waxseal.dev/v1alpha1\n  kind: SealedSecret\n"
        ),
        "{sealed}"
    );
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(&sealed).succeeds();
    assert_eq!(opened.matches("kind: Secret\n").count(), 2, "{opened}");

    let mixed =
        format!("{list}- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: x}}, data: {{answer: \"no\"}}}}\n");
    let sealed = seal(&folder, &mixed);
    let kept = "- apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: x\n  data:\n    answer: \"no\"\n";
    assert!(sealed.ends_with(kept), "{sealed}");
    assert_eq!(seal(&folder, &sealed), sealed);
}

#[test]
fn other_items_of_a_list_keep_their_order_and_every_digit() {
    let folder = Folder::with_key();
    let other = r#"{"kind":"Widget","apiVersion":"v1","spec":[100000000000000000000000000,1.10,-0.0,1e3]}"#;
    let secret =
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop"},"stringData":{"A":"b"}}"#;
    let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{secret},{other}]}}"#);
    let sealed: String = seal(&folder, &list).split_whitespace().collect();
    assert!(sealed.contains(other), "{sealed}");
}

#[test]
fn what_shows_in_the_lines_around_a_document_is_warned_of() {
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

#[test]
fn what_shows_in_another_shape_is_warned_of() {
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
fn a_warning_shows_no_key_that_could_be_anything() {
    let folder = Folder::with_key();
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "stringData": {"A": "hunter2hunter2"}},
{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a\u001b[2K\nerror": "hunter2hunter2"}}
]}"#;
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(list);
    seal.warns("warning: <stdin>:1: the value of A in db still shows in items[1].data.…\n");
}

#[test]
fn what_still_shows_is_warned_of() {
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
fn objects_of_others_pass_beside_a_secret() {
    let others = [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {kind: Secret, A: b}\n",
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: a}\nspec: {target: {template: {type: Opaque, data: {A: '{{ .a }}'}}}}\n",
        "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: a}\n",
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a}\nspec: {encryptedData: {A: AgBy3i}, template: {data: {b: c}}}\n",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\npatches: [{target: {kind: Secret}, path: a.yaml}]\n",
        "secret: {kind: Secret, data: ~}\nimage: {tag: 1.10}\n",
        "- plays: !vault x\n",
        "just text\n",
    ];
    let folder = Folder::with_key();
    let rest: String = others.iter().map(|other| format!("---\n{other}")).collect();
    let sealed = seal(&folder, &format!("{SECRET}{rest}"));
    assert!(sealed.starts_with(SEALED) && sealed.ends_with(&rest), "{sealed}");
    folder.write("apps/others.yaml", &rest);
    folder.waxseal(&["seal", "apps", "--in-place", "--keys", "cluster.yaml"]).warns("sealed 0 Secrets in 0 files\n");
}

#[test]
fn values_that_look_unrendered_are_warned_of_and_sealed() {
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
fn a_key_in_data_and_string_data_is_warned_of() {
    let folder = Folder::with_key();
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\ndata: {A: b2xkIHZhbHVl}\nstringData: {A: new value}\n";
    let sealed = folder
        .waxseal(&["seal", "--keys", "cluster.yaml"])
        .stdin(text)
        .warns("warning: <stdin>:4:8: data.A: not sealed: stringData has this key too, and wins, as in Kubernetes\n");
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(sealed).succeeds();
    assert_eq!(data_of(&opened)["A"], b"new value");
}

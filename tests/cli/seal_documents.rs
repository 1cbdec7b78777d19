//! `waxseal seal` on streams and lists: other documents stay, and each Secret is sealed in its place.

use crate::folder::{Folder, SECRET, data_of};

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
fn windows_line_endings_stay() {
    let folder = Folder::with_key();
    let text = format!("---\n{SECRET}---\nkind: ConfigMap\n").replace('\n', "\r\n");
    let sealed = seal(&folder, &text);
    assert_eq!(sealed.matches('\n').count(), sealed.matches("\r\n").count());
    assert!(sealed.starts_with(&format!("---\n{SEALED}").replace('\n', "\r\n")), "{sealed}");
    assert!(sealed.ends_with("---\r\nkind: ConfigMap\r\n"), "{sealed}");
}

#[test]
fn comments_before_a_document_stay_and_comments_in_it_are_dropped() {
    let folder = Folder::with_key();
    let sealed = seal(&folder, &format!("# owner: shop\n{SECRET}# the old value was: something\n"));
    assert!(sealed.starts_with(&format!("# owner: shop\n{SEALED}")), "{sealed}");
    assert!(!sealed.contains("something"), "{sealed}");
}

#[test]
fn sealed_secrets_pass_through_unchanged() {
    let folder = Folder::with_key();
    let once = seal(&folder, &format!("{SECRET}...\n"));
    let odd = once.replace("kind: SealedSecret", "kind:   SealedSecret  # as it was");
    assert_eq!(seal(&folder, &odd), odd);
    let both = seal(&folder, &format!("{odd}---\n{SECRET}"));
    assert!(both.starts_with(&format!("{odd}---\n{SEALED}")), "{both}");
}

#[test]
fn several_secrets_in_a_stream_are_sealed_and_opened() {
    let folder = Folder::with_key();
    let two = format!("{SECRET}---\n{}", SECRET.replace("db", "other").replace("a long value", "another value"));
    let sealed = seal(&folder, &two);
    let opened = folder.waxseal(&["open", "-", "--identity", "cluster.key"]).stdin(&sealed).succeeds();
    let (first, second) = opened.split_once("---\n").expect("two documents");
    assert_eq!((&data_of(first)["A"][..], &data_of(second)["A"][..]), (&b"a long value"[..], &b"another value"[..]));
}

#[test]
fn json_input_gives_json_output() {
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
fn other_objects_pass_through_unchanged() {
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

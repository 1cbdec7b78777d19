//! Texts that the strict reader reads (FORMAT.md §10).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::manifest_sizes;
use super::manifests::{AGREED, DISPUTED, JSON, written_out};

/// Unquoted scalars that look like those of [`DISPUTED`] and [`AGREED`], and are strings to every YAML reader.
const TEXTS: [&str; 44] = [
    "yess",
    "nope",
    "truely",
    "nullable",
    "inf",
    "nan",
    "e1",
    "1e",
    "1e+",
    "1ee1",
    ".",
    "..",
    "-",
    "+",
    "-word",
    "--flag",
    "==",
    "<",
    "10.0.0.1",
    "1.2.3",
    "1..2",
    "1.5.",
    "5m",
    "12abc",
    "0b2",
    "0o8",
    "0xg",
    "0x1.8",
    "_1",
    "1/2",
    "100%",
    "1:60",
    "1:030",
    "1:",
    "8080:80",
    "2001-01",
    "201-01-01",
    "2001-001-01",
    "2001-01-01-x",
    "2001-01-01T1",
    "~/x",
    "é",
    "１",
    "a-b",
];

/// Texts that are read, and the spec of each SealedSecret in them.
pub(super) fn vectors() -> Vec<Value> {
    let mut vectors = styles();
    vectors.extend(streams());
    vectors.extend(scalars());
    vectors.extend(manifest_sizes::read());
    vectors
}

/// One object in many writings.
fn styles() -> Vec<Value> {
    let specs = json!([{"encryptedData": {"A": "x", "no": "yes"}, "template": {"immutable": true}}]);
    [
        ("block-style", "block style", "HEAD\nspec:\n  encryptedData:\n    A: x\n    'no': \"yes\"\n  template:\n    immutable: true\n"),
        ("flow-style", "flow style with a tag", "HEAD\nspec: {encryptedData: {A: !!str x, !!str no: 'yes'}, template: {immutable: TRUE}}\n"),
        ("verbatim-tag", "the tag, written out", "HEAD\nspec: {encryptedData: {A: x, 'no': !<tag:yaml.org,2002:str> yes}, template: {immutable: True}}\n"),
        ("block-scalars", "scalars as blocks are strings", "HEAD\nspec:\n  encryptedData:\n    A: >-\n      x\n    ? |-\n      no\n    : |-\n      yes\n  template: {immutable: true}\n"),
        ("json", "JSON", "{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\", \"metadata\": {\"name\": \"db\", \"namespace\": \"shop\"}, \"spec\": {\"encryptedData\": {\"A\": \"\\u0078\", \"no\": \"yes\"}, \"template\": {\"immutable\": true}}}"),
        ("json-with-comment", "JSON with a comment is YAML", "{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\", \"metadata\": {\"name\": \"db\"}, \"spec\": {\"encryptedData\": {\"A\": \"x\", \"no\": \"yes\"}, \"template\": {\"immutable\": true}}} # c\n"),
        ("nulls-and-status", "null is absent where §4 says so; status is not read", "HEAD\nspec: {scope: ~, envelopes: null, encryptedData: {A: x, 'no': 'yes'}, template: {type: null, immutable: true, metadata:}}\nstatus: {any: [1]}\n"),
        ("ambiguous-in-status", "what is not read may be ambiguous", "HEAD\nspec: {encryptedData: {A: x, 'no': 'yes'}, template: {immutable: true}}\nstatus: {no: 0777, 5: [~]}\n"),
        ("metadata-of-servers", "what servers set is not read", "META {name: db, namespace: ~, generateName: ~, labels: ~, annotations: {kubectl.kubernetes.io/last-applied-configuration: x}, managedFields: 5, finalizers: [no], generation: 1, creationTimestamp: 2026-01-01T00:00:00Z, uid: 7, resourceVersion: 1, selfLink: x, ownerReferences: [], deletionTimestamp: ~, deletionGracePeriodSeconds: 0}\nspec: {encryptedData: {A: x, 'no': 'yes'}, template: {immutable: true}}\n"),
        ("carriage-returns", "lines that end in CR LF", "HEAD\r\nspec:\r\n  encryptedData: {A: x, 'no': 'yes'}\r\n  template: {immutable: true}\r\n"),
        ("byte-order-mark", "a byte order mark", "\u{feff}HEAD\nspec: {encryptedData: {A: x, 'no': 'yes'}, template: {immutable: true}}\n"),
    ]
    .map(|(name, comment, text)| json!({"comment": comment, "name": name, "specs": specs, "text": written_out(text)}))
    .into()
}

/// Streams, many of them with several documents, or with faults in documents and items that are not SealedSecrets.
fn streams() -> Vec<Value> {
    let of = |values: &[&str]| -> Value { values.iter().map(|value| json!({"encryptedData": {"A": value}})).collect() };
    const OTHER: &str = "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"a\": 1, \"a\": 2}";
    [
        ("two-documents", "two documents", &["a", "b"][..], "HEAD\nspec: {encryptedData: {A: a}}\n---\nHEAD\nspec: {encryptedData: {A: b}}\n".to_owned()),
        ("three-json-values", "JSON values with nothing, and with white space between", &["a", "a", "a"], "JSONJSON\n\t JSON\r\n".to_owned()),
        ("byte-order-mark-json", "a byte order mark before JSON", &["a"], "\u{feff}JSON".to_owned()),
        ("byte-order-mark-later", "a byte order mark where a document begins behind ..., and in comments and quotes", &["\u{feff}"], "a: b\n...\n\u{feff}# \u{feff}\nHEAD\nspec: {encryptedData: {A: \"\u{feff}\"}}\n".to_owned()),
        ("empty-documents", "documents without content", &["a"], "# c\n---\n---\nHEAD\nspec: {encryptedData: {A: a}}\n...\n# d\n---\n".to_owned()),
        ("faults-beside", "anchors, tags and keys given twice in another document", &["a"], "a: &x !y b\na: *x\n---\nHEAD\nspec: {encryptedData: {A: a}}\n".to_owned()),
        ("directive-beside", "a directive of another document", &["a"], "%YAML 1.1\n---\na: b\n---\nHEAD\nspec: {encryptedData: {A: a}}\n".to_owned()),
        ("line-separator-beside", "U+2028 in another document", &["a"], "a: b # \u{2028}\n---\nHEAD\nspec: {encryptedData: {A: a}}\n".to_owned()),
        ("line-separator-between", "U+2028 behind the end of the document", &["a"], "HEAD\nspec: {encryptedData: {A: a}}\n...\n# \u{2028}\n---\na: b\n".to_owned()),
        ("line-separator-in-json", "U+2028 in JSON", &["a\u{2028}b"], "JSON2028\n".to_owned()),
        ("line-separator-escaped", "U+2028 as an escape", &["a\u{2028}b"], "HEAD\nspec: {encryptedData: {A: \"a\\u2028b\"}}\n".to_owned()),
        ("surrogate-pair-json", "two escapes for one character", &["😀"], "JSON".replace("JSON", &JSON.replace("\"a\"", "\"\\ud83d\\ude00\""))),
        ("surrogate-pair-yaml", "two escapes for one character", &["😀"], "HEAD\nspec: {encryptedData: {A: \"\\ud83d\\ude00\"}}\n".to_owned()),
        ("json-list", "a list, with another object that has a fault", &["a", "a"], format!("{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [JSON, {OTHER}, JSON]}}")),
        ("yaml-list", "a list, with another object that has a fault", &["a"], "apiVersion: v1\nkind: List\nitems:\n- {kind: Pod, a: &x b, a: *x}\n- JSON\n".to_owned()),
        ("sealed-secret-list", "items that leave their type to the list", &["a", "a"], "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems:\n- metadata: {name: db}\n  spec: {encryptedData: {A: a}}\n- JSON\n".to_owned()),
        ("items-of-empty-kind", "items whose type is empty, or no string", &["a", "a"], "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems:\n- {apiVersion: '', kind: '', metadata: {name: db}, spec: {encryptedData: {A: a}}}\n- {apiVersion: 1, kind: ~, metadata: {name: db}, spec: {encryptedData: {A: a}}}\n".to_owned()),
        ("list-in-list", "a list in a list", &["a"], "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List, items: [JSON]}\n".to_owned()),
        ("list-of-nothing", "lists without items", &[], "apiVersion: v1\nkind: List\n---\napiVersion: v1\nkind: List\nitems: ~\n".to_owned()),
        ("list-of-another-version", "what is no list of Kubernetes", &[], "apiVersion: v2\nkind: List\nitems: [JSON]\n".to_owned()),
        ("sequence", "a sequence is no list", &[], "[JSON]".to_owned()),
        ("other-group", "a SealedSecret of somebody else", &[], "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db}\nspec: {a: &x b, a: c}\n".to_owned()),
        ("no-api-version", "an object that does not say whose it is", &[], "kind: SealedSecret\nmetadata: {name: db}\nspec: {}\n".to_owned()),
        ("other-kind", "another kind of our group", &[], "apiVersion: waxseal.dev/v9\nkind: SealingKey\na: &x b\n".to_owned()),
        ("hidden-kind", "an alias and a merge key in an object that can be neither a Secret nor an object of waxseal.dev", &["a"], "x: &k Pod\napiVersion: v1\nkind: *k\n<<: {a: b}\n---\nHEAD\nspec: {encryptedData: {A: a}}\n".to_owned()),
        ("merge-key-below", "a merge key where it cannot say what an object is", &[], "apiVersion: v1\nkind: ConfigMap\nmetadata: {<<: {kind: SealedSecret}}\n".to_owned()),
        ("quoted-type", "apiVersion and kind in other writings", &["a"], "apiVersion: !!str waxseal.dev/v1alpha1\n'kind': \"Sealed\\x53ecret\"\nmetadata: {name: db}\nspec: {encryptedData: {A: a}}\n".to_owned()),
        ("scalar", "a text that is no object", &[], "SealedSecret\n".to_owned()),
        ("nothing", "no text", &[], String::new()),
    ]
    .map(|(name, comment, values, text)| {
        json!({"comment": comment, "name": name, "specs": of(values), "text": written_out(&text)})
    })
    .into()
}

/// Unquoted scalars that are strings, and quoted ones that would be something else.
fn scalars() -> Vec<Value> {
    let lines = |scalars: &[&str], quote: &str| -> String {
        scalars.iter().map(|scalar| format!("    {quote}{scalar}{quote}: {quote}{scalar}{quote}\n")).collect()
    };
    let vector = |name: &str, comment: &str, scalars: &[&str], quote: &str| {
        let data: BTreeMap<_, _> = scalars.iter().map(|scalar| (scalar, scalar)).collect();
        let text = written_out(&format!("HEAD\nspec:\n  encryptedData:\n{}", lines(scalars, quote)));
        json!({"comment": comment, "name": name, "specs": [{"encryptedData": data}], "text": text})
    };
    let unquotable = ["-", "1:", "<"];
    let plain: Vec<_> = TEXTS.into_iter().filter(|text| !unquotable.contains(text)).collect();
    let special: Vec<_> = DISPUTED.into_iter().chain(AGREED).chain(["<<"]).collect();
    vec![
        vector("texts", "unquoted scalars that are strings to every reader", &plain, ""),
        vector("special-in-quotes", "what is special unquoted, in single quotes", &special, "'"),
        vector("special-in-double-quotes", "what is special unquoted, in double quotes", &special, "\""),
    ]
}

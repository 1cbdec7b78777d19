//! Texts that the strict reader refuses, and some that it reads (FORMAT.md §10).

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The rule, what is special, and the text; `spec` stands for one that is right.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("syntax", "open-quote", "a quote that is never closed", "HEAD\nspec: {scope: 'Strict\n"),
    (
        "syntax",
        "json-half-surrogate",
        "half of a surrogate pair",
        "{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\", \"metadata\": {\"name\": \"db\\ud83d\"}, \"spec\": {}}",
    ),
    (
        "syntax",
        "yaml-half-surrogate",
        "half of a surrogate pair, in YAML",
        "HEAD\nspec: {encryptedData: {A: \"\\ud83d\"}}\n",
    ),
    ("syntax", "tab-as-indentation", "a tab where only spaces may be", "HEAD\nspec:\n\tscope: Strict\n"),
    (
        "syntax",
        "control-character",
        "a character that YAML does not have",
        "HEAD\nspec: {encryptedData: {A: '\u{1}'}}\n",
    ),
    (
        "directive",
        "tag-directive",
        "a directive that no tag uses",
        "%TAG !a! tag:example.com,2000:\n---\nHEAD\nspec: {}\n",
    ),
    (
        "directive",
        "directive-of-later-document",
        "a directive behind another document",
        "a: b\n...\n%YAML 1.2\n---\nHEAD\nspec: {}\n",
    ),
    ("directive", "directive", "a directive", "%YAML 1.1\n---\nHEAD\nspec: {}\n"),
    ("line-break", "line-separator", "U+2028 in a comment", "HEAD\nspec: {} # a\u{2028}b\n"),
    ("line-break", "next-line", "U+0085 in a comment", "HEAD\nspec: {} # a\u{85}b\n"),
    ("line-break", "paragraph-separator", "U+2029 in quotes", "HEAD\nspec: {encryptedData: {A: 'a\u{2029}b'}}\n"),
    (
        "line-break",
        "line-separator-behind",
        "U+2028 in a comment before the next document",
        "HEAD\nspec: {}\n# a\u{2028}b\n---\na: b\n",
    ),
    ("line-break", "line-separator-json-like", "U+2028 in what is not JSON for its comment", "JSON2028 # c\n"),
    ("anchor", "anchor", "an anchor", "HEAD\nspec: &x {}\n"),
    ("anchor", "alias", "an alias", "HEAD\nspec: {encryptedData: {A: &x 'a', B: *x}}\n"),
    ("anchor", "anchor-in-status", "an anchor where nothing is read", "HEAD\nspec: {}\nstatus: {a: &x b}\n"),
    ("anchor", "items-alias", "an alias for the items of a list", "x: &x []\napiVersion: v1\nkind: List\nitems: *x\n"),
    ("anchor", "item-alias", "an alias for an item of a list", "x: &x {}\napiVersion: v1\nkind: List\nitems: [*x]\n"),
    ("merge-key", "items-merged", "a list whose items are merged in", "apiVersion: v1\nkind: List\n<<: {items: []}\n"),
    (
        "anchor",
        "kind-alias",
        "an alias says what the object is",
        "apiVersion: waxseal.dev/v1alpha1\nmetadata: {name: db, labels: {a: &k SealedSecret}}\nkind: *k\nspec: {}\n",
    ),
    ("merge-key", "merge-key", "a merge key", "HEAD\nspec: {<<: {scope: Strict}}\n"),
    ("tag", "tag", "a tag of one's own", "HEAD\nspec: {scope: !x Strict}\n"),
    ("tag", "tag-of-nothing", "the tag that forbids to guess", "HEAD\nspec: {scope: ! Strict}\n"),
    ("tag", "tag-str-map", "the tag of strings before a map", "HEAD\nspec: {encryptedData: !!str {A: b}}\n"),
    ("tag", "tag-str-list", "the tag of strings before a sequence", "HEAD\nspec: {}\nstatus: {a: !!str [b]}\n"),
    ("tag", "tag-map", "the tag of maps before a map", "HEAD\nspec: !!map {}\n"),
    ("tag", "tag-verbatim", "an integer, written out", "HEAD\nspec: {}\nstatus: {a: !<tag:yaml.org,2002:int> 5}\n"),
    ("tag", "tag-key", "a tag before a key", "HEAD\nspec: {encryptedData: {!x A: b}}\n"),
    ("tag", "tag-binary", "a tag of YAML 1.1", "HEAD\nspec: {encryptedData: {A: !!binary aGk=}}\n"),
    ("duplicate-key", "duplicate-field", "a field given twice", "HEAD\nspec: {scope: Strict, scope: Cluster}\n"),
    ("duplicate-key", "duplicate-data-key", "a data key given twice", "HEAD\nspec: {encryptedData: {A: a, A: b}}\n"),
    (
        "duplicate-key",
        "duplicate-json",
        "a data key given twice, in JSON",
        "{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\", \"metadata\": {\"name\": \"db\"}, \"spec\": {\"encryptedData\": {\"A\": \"a\", \"A\": \"b\"}}}",
    ),
    (
        "duplicate-key",
        "duplicate-in-status",
        "a field given twice where nothing is read",
        "HEAD\nspec: {}\nstatus: {a: b, a: c}\n",
    ),
    (
        "duplicate-key",
        "duplicate-spelling",
        "a data key given twice, in two spellings",
        "HEAD\nspec: {encryptedData: {A: a, \"\\x41\": b}}\n",
    ),
    (
        "duplicate-key",
        "duplicate-kind",
        "an object that is two things",
        "apiVersion: waxseal.dev/v1alpha1\nkind: ConfigMap\nkind: SealedSecret\nmetadata: {name: db}\nspec: {}\n",
    ),
    (
        "duplicate-key",
        "duplicate-items",
        "a list with two sequences of items",
        "apiVersion: v1\nkind: List\nitems: [JSON]\nitems: []\n",
    ),
    ("ambiguous", "scope-no", "a scope that is false to YAML 1.1", "HEAD\nspec: {scope: no}\n"),
    ("ambiguous", "value-no", "false to YAML 1.1", "HEAD\nspec: {encryptedData: {A: no}}\n"),
    ("ambiguous", "value-octal", "an octal number to YAML 1.1", "HEAD\nspec: {encryptedData: {A: 0777}}\n"),
    ("ambiguous", "value-sixties", "a number in sixties", "HEAD\nspec: {encryptedData: {A: 1:30}}\n"),
    ("ambiguous", "value-date", "a timestamp", "HEAD\nspec: {encryptedData: {A: 2001-1-1}}\n"),
    ("ambiguous", "value-underscore", "a number with _", "HEAD\nspec: {encryptedData: {A: 1_000}}\n"),
    ("ambiguous", "key-digits", "a data key that is a number", "HEAD\nspec: {encryptedData: {0123456701: a}}\n"),
    ("ambiguous", "key-exponent", "a data key that is a number", "HEAD\nspec: {encryptedData: {12345678e1: a}}\n"),
    ("ambiguous", "key-yes", "a data key that is true to YAML 1.1", "HEAD\nspec: {encryptedData: {Yes: a}}\n"),
    (
        "version",
        "version-2",
        "a version that is not known",
        "apiVersion: waxseal.dev/v2\nkind: SealedSecret\nmetadata: {name: db}\nspec: {}\n",
    ),
    (
        "version",
        "version-beta",
        "a version that begins like the known one",
        "apiVersion: waxseal.dev/v1alpha10\nkind: SealedSecret\nmetadata: {name: db}\nspec: {}\n",
    ),
    ("unknown-field", "field-of-template", "in the template", "HEAD\nspec: {template: {data: {a: b}}}\n"),
    (
        "unknown-field",
        "field-of-template-metadata",
        "in the template's metadata",
        "HEAD\nspec: {template: {metadata: {name: a}}}\n",
    ),
    ("unknown-field", "field-suspend", "a reserved field", "HEAD\nspec: {suspend: true}\n"),
    ("unknown-field", "field-in-other-case", "a field in another case", "HEAD\nspec: {EncryptedData: {}}\n"),
    ("unknown-field", "field-null", "an unknown field that is null", "HEAD\nspec: {suspend: ~}\n"),
    ("unknown-field", "field-of-object", "at the top", "HEAD\nspec: {}\ndata: {}\n"),
    (
        "unknown-field",
        "field-of-metadata",
        "in metadata",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, space: shop}\nspec: {}\n",
    ),
    ("unknown-field", "field-of-spec", "in spec", "HEAD\nspec: {envelope: {}}\n"),
    (
        "unknown-field",
        "field-of-envelope",
        "in an envelope",
        "HEAD\nspec: {envelopes: {e0123456789: {commitment: a, wraps: {}, version: b}}}\n",
    ),
    (
        "unknown-field",
        "field-of-bound-to",
        "in boundTo",
        "HEAD\nspec: {envelopes: {e0123456789: {boundTo: {cluster: a}, commitment: a, wraps: {}}}}\n",
    ),
    ("missing-field", "no-spec", "no spec", "HEAD\n"),
    ("missing-field", "no-metadata", "no metadata", "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nspec: {}\n"),
    (
        "missing-field",
        "no-name",
        "no name",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {namespace: shop}\nspec: {}\n",
    ),
    ("missing-field", "spec-null", "null counts as absent", "HEAD\nspec: ~\n"),
    ("missing-field", "name-null", "null counts as absent", "META {name: ~}\nspec: {}\n"),
    ("missing-field", "no-commitment", "no commitment", "HEAD\nspec: {envelopes: {e0123456789: {wraps: {}}}}\n"),
    ("missing-field", "no-wraps", "no wraps", "HEAD\nspec: {envelopes: {e0123456789: {commitment: a}}}\n"),
    ("wrong-type", "scope-in-lower-case", "a scope that is none", "HEAD\nspec: {scope: strict}\n"),
    ("wrong-type", "value-number", "a number where a string belongs", "HEAD\nspec: {encryptedData: {A: 5432}}\n"),
    ("wrong-type", "value-null", "null where a string belongs", "HEAD\nspec: {encryptedData: {A: ~}}\n"),
    ("wrong-type", "value-list", "a list where a string belongs", "HEAD\nspec: {encryptedData: {A: [a]}}\n"),
    (
        "wrong-type",
        "immutable-text",
        "a string where a boolean belongs",
        "HEAD\nspec: {template: {immutable: 'true'}}\n",
    ),
    ("wrong-type", "envelope-null", "null where a map belongs", "HEAD\nspec: {envelopes: {e0123456789: ~}}\n"),
    (
        "wrong-type",
        "wraps-list",
        "a sequence where a map belongs",
        "HEAD\nspec: {envelopes: {e0123456789: {commitment: a, wraps: []}}}\n",
    ),
    ("wrong-type", "encrypted-data-text", "a string where a map belongs", "HEAD\nspec: {encryptedData: a}\n"),
    (
        "wrong-type",
        "bound-to-number",
        "a number where a string belongs",
        "HEAD\nspec: {envelopes: {e0123456789: {boundTo: {name: 5}, commitment: a, wraps: {}}}}\n",
    ),
    (
        "wrong-type",
        "label-boolean",
        "a boolean where a string belongs",
        "HEAD\nspec: {template: {metadata: {labels: {a: true}}}}\n",
    ),
    ("wrong-type", "immutable-yes", "true to YAML 1.1 alone", "HEAD\nspec: {template: {immutable: yes}}\n"),
    ("wrong-type", "key-list", "a sequence as a key", "HEAD\nspec: {encryptedData: {? [a] : b}}\n"),
    ("wrong-type", "key-map", "a map as a key, in status", "HEAD\nspec: {}\nstatus: {{a: b}: c}\n"),
    ("wrong-type", "namespace-number", "a number as the namespace", "META {name: db, namespace: 5}\nspec: {}\n"),
    (
        "wrong-type",
        "own-label-number",
        "a number as a label of the object itself",
        "META {name: db, labels: {a: 5}}\nspec: {}\n",
    ),
    (
        "wrong-type",
        "dropped-annotation-number",
        "annotations are checked before they are dropped",
        "META {name: db, annotations: {kubectl.kubernetes.io/last-applied-configuration: 5}}\nspec: {}\n",
    ),
    ("wrong-type", "metadata-list", "a sequence as metadata", "META [a]\nspec: {}\n"),
    (
        "wrong-type",
        "json-number",
        "a number where a string belongs, in the second of two values",
        "JSON\n{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\", \"metadata\": {\"name\": \"db\"}, \"spec\": {\"encryptedData\": {\"A\": 5}}}",
    ),
    ("wrong-type", "items-map", "a list whose items are a map", "apiVersion: v1\nkind: List\nitems: JSON\n"),
    (
        "generate-name",
        "generate-name",
        "a name that is not known yet",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {generateName: db-, name: db}\nspec: {}\n",
    ),
    ("generate-name", "generate-name-empty", "an empty one", "META {name: db, generateName: ''}\nspec: {}\n"),
    ("name", "name-empty", "an empty name", "META {name: ''}\nspec: {}\n"),
    (
        "name",
        "namespace-empty",
        "an empty namespace is not an absent one",
        "META {name: db, namespace: ''}\nspec: {}\n",
    ),
    (
        "name",
        "name-upper-case",
        "a name that is none",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: DB}\nspec: {}\n",
    ),
    (
        "name",
        "namespace-with-dot",
        "a namespace that is none",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: a.b}\nspec: {}\n",
    ),
];

const HEAD: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}";

/// One of YAML's unquoted scalars that readers dispute, each refused as a value and as a key.
const DISPUTED: [&str; 62] = [
    "y",
    "Y",
    "n",
    "N",
    "yes",
    "Yes",
    "YES",
    "yES",
    "no",
    "No",
    "NO",
    "nO",
    "on",
    "On",
    "ON",
    "oN",
    "off",
    "Off",
    "OFF",
    "oFF",
    "=",
    "nULL",
    "tRUE",
    "fALSE",
    "0777",
    "-0777",
    "089",
    "0o17",
    "0O17",
    "0o-1",
    "0x1F",
    "0X1f",
    "-0x1",
    "0x",
    "0x_",
    "0b1",
    "0b-1",
    "0b1010_0111",
    "+1",
    "+0",
    "1_000",
    "1__0",
    "-_1",
    "1_",
    "1.",
    ".5",
    "-.5",
    "+1.5",
    "1.5_0",
    "1.e3",
    "01.5",
    "+1e3",
    ".inf",
    "-.Inf",
    "+.INF",
    ".NaN",
    "1:30",
    "190:20:30.15",
    "-1:30",
    "00:11:22:33",
    "2001-01-01",
    "2001-12-14t21:59:43.10-05:00",
];

/// Those that are the same to every reader, and no string to any.
const AGREED: [&str; 20] = [
    "~",
    "null",
    "Null",
    "NULL",
    "true",
    "True",
    "TRUE",
    "false",
    "False",
    "FALSE",
    "0",
    "-0",
    "-1",
    "5432",
    "1.10",
    "1e3",
    "1E3",
    "-1.5e+3",
    "1e-3",
    "12345678e1",
];

/// Those that look like one of these and are strings to every reader.
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

const JSON: &str = r#"{"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "db"}, "spec": {"encryptedData": {"A": "a"}}}"#;
const META: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata:";

fn written_out(text: &str) -> String {
    let line_separator = JSON.replace("\"a\"", "\"a\u{2028}b\"");
    text.replace("HEAD", HEAD).replace("META", META).replace("JSON2028", &line_separator).replace("JSON", JSON)
}

fn vector(rule: &str, name: &str, comment: &str, text: &str) -> Value {
    json!({"comment": comment, "name": name, "refused": rule, "text": written_out(text)})
}

pub(super) fn refused() -> Vec<Value> {
    let mut vectors: Vec<_> =
        REFUSED.iter().map(|(rule, name, comment, text)| vector(rule, name, comment, text)).collect();
    let value = |scalar: &str| format!("HEAD\nspec:\n  encryptedData:\n    A: {scalar}\n");
    let key = |scalar: &str| format!("HEAD\nspec:\n  encryptedData:\n    ? {scalar}\n    : a\n");
    for scalar in DISPUTED.iter().chain(&["<<", "2001-12-14 21:59:43.10 -5"]) {
        vectors.push(vector("ambiguous", &format!("value {scalar}"), "readers dispute it", &value(scalar)));
    }
    for scalar in AGREED {
        vectors.push(vector("wrong-type", &format!("value {scalar}"), "a string to no reader", &value(scalar)));
    }
    for scalar in DISPUTED.iter().chain(&AGREED) {
        vectors.push(vector("ambiguous", &format!("key {scalar}"), "no string to every reader", &key(scalar)));
    }
    vectors.extend(too_much());
    vectors.push(json!({
        "comment": "a byte that is no UTF-8, in a comment",
        "name": "not-utf-8",
        "refused": "syntax",
        "textBase64": BASE64_STANDARD.encode([written_out("HEAD\nspec: {} # ").as_bytes(), b"\xff\n"].concat()),
    }));
    vectors
}

/// The text of a status in JSON with so many collections in one another, the object's included.
fn nested_json(depth: usize) -> String {
    let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
    JSON.replace("\"spec\"", &format!("\"status\": {open}{close}, \"spec\""))
}

fn nested_lists(depth: usize) -> String {
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [".repeat(depth);
    format!("{list}{JSON}{}", "]}".repeat(depth))
}

fn nested_yaml(depth: usize) -> String {
    written_out(&format!("HEAD\nspec: {{}}\nstatus: {}{}\n", "[".repeat(depth), "]".repeat(depth)))
}

#[derive(Clone, Copy, PartialEq)]
enum Size {
    Greatest,
    Beyond,
}

/// A text with more of the same behind it, of the greatest size or just beyond it.
///
/// The object has 15 nodes without the items of its status.
fn repeated(size: Size) -> Vec<Value> {
    let more = usize::from(size == Size::Beyond);
    let text = |rest: &str| written_out(&format!("HEAD\nspec: {{}}\n{rest}"));
    let document = 8 * 1024 * 1024 - text("#").len();
    let values = format!("[{}0]\n", "0,".repeat(199));
    [
        ("nodes", "nodes of a document", text("status:\n"), "- a\n", 100_000 - 15 + more),
        ("nodes-of-stream", "nodes of all documents, 201 in each", String::new(), values.as_str(), 9_950 + more),
        ("documents", "documents", text(""), "---\n", 9_999 + more),
        ("document-bytes", "the bytes of a document, in a comment", text("#"), "x", document + more),
        ("object-bytes", "the bytes of an object", text("status: "), "x", 1_572_500 + 500 * more),
    ]
    .map(|(name, comment, text, append, times)| {
        let append = json!({"text": append, "times": times});
        let specs = if text.is_empty() { json!([]) } else { json!([{}]) };
        match size {
            Size::Greatest => {
                let name = format!("most-{name}");
                json!({"append": append, "comment": comment, "name": name, "specs": specs, "text": text})
            }
            Size::Beyond => {
                let name = format!("too-many-{name}");
                json!({"append": append, "comment": comment, "name": name, "refused": "size", "text": text})
            }
        }
    })
    .into()
}

fn too_much() -> Vec<Value> {
    let of = |name: &str, comment: &str, text: String| json!({"comment": comment, "name": name, "refused": "size", "text": text});
    let mut vectors = vec![
        of("json-nested-511", "511 collections in one another, in JSON", nested_json(511)),
        of("yaml-nested-256", "256 collections in flow style in one another", nested_yaml(256)),
        of("lists-nested-9", "9 lists in one another", nested_lists(9)),
        json!({
            "append": {"text": "]", "times": 511},
            "comment": "511 collections, one in the other",
            "name": "nested-511",
            "refused": "size",
            "text": written_out(&format!("HEAD\nspec: {}", "[".repeat(511))),
        }),
    ];
    vectors.extend(repeated(Size::Beyond));
    vectors
}

/// Texts that are read, and the spec of each SealedSecret in them.
pub(super) fn read() -> Vec<Value> {
    let mut vectors = styles();
    vectors.extend(streams());
    vectors.extend(scalars());
    let bare = json!([{}]);
    vectors.extend(repeated(Size::Greatest));
    for (name, comment, specs, text) in [
        (
            "json-nested-510",
            "510 collections in one another, in JSON",
            json!([{"encryptedData": {"A": "a"}}]),
            nested_json(510),
        ),
        ("lists-nested-8", "8 lists in one another", json!([{"encryptedData": {"A": "a"}}]), nested_lists(8)),
        ("yaml-nested-255", "255 collections in flow style in one another", bare, nested_yaml(255)),
    ] {
        vectors.push(json!({"comment": comment, "name": name, "specs": specs, "text": text}));
    }
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

/// Streams of several documents, most of them with faults in what is not a SealedSecret.
fn streams() -> Vec<Value> {
    let of = |values: &[&str]| -> Value { values.iter().map(|value| json!({"encryptedData": {"A": value}})).collect() };
    const OTHER: &str = "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"a\": 1, \"a\": 2}";
    [
        ("two-documents", "two documents", &["a", "b"][..], "HEAD\nspec: {encryptedData: {A: a}}\n---\nHEAD\nspec: {encryptedData: {A: b}}\n".to_owned()),
        ("three-json-values", "JSON values with nothing, and with white space between", &["a", "a", "a"], "JSONJSON\n\t JSON\r\n".to_owned()),
        ("byte-order-mark-json", "a byte order mark before JSON", &["a"], "\u{feff}JSON".to_owned()),
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
        ("list-in-list", "a list in a list", &["a"], "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List, items: [JSON]}\n".to_owned()),
        ("list-of-nothing", "lists without items", &[], "apiVersion: v1\nkind: List\n---\napiVersion: v1\nkind: List\nitems: ~\n".to_owned()),
        ("list-of-another-version", "what is no list of Kubernetes", &[], "apiVersion: v2\nkind: List\nitems: [JSON]\n".to_owned()),
        ("sequence", "a sequence is no list", &[], "[JSON]".to_owned()),
        ("other-group", "a SealedSecret of somebody else", &[], "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db}\nspec: {a: &x b, a: c}\n".to_owned()),
        ("no-api-version", "an object that does not say whose it is", &[], "kind: SealedSecret\nmetadata: {name: db}\nspec: {}\n".to_owned()),
        ("no-kind", "an object that does not say what it is", &[], "apiVersion: waxseal.dev/v1alpha1\nmetadata: {name: db}\nspec: {}\n".to_owned()),
        ("other-kind", "another kind of our group", &[], "apiVersion: waxseal.dev/v9\nkind: SealingKey\na: &x b\n".to_owned()),
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

/// Trees that do not have the shape of §4.
pub(super) fn refused_trees() -> Vec<Value> {
    let envelope = |changed: Value| json!({"envelopes": {"e0123456789": changed}});
    [
        ("unknown-field", "field-of-spec", json!({"suspend": true})),
        ("unknown-field", "field-of-envelope", envelope(json!({"commitment": "", "wraps": {}, "version": ""}))),
        (
            "unknown-field",
            "field-of-bound-to",
            envelope(json!({"boundTo": {"uid": ""}, "commitment": "", "wraps": {}})),
        ),
        ("unknown-field", "field-of-template", json!({"template": {"data": {}}})),
        ("unknown-field", "field-of-template-metadata", json!({"template": {"metadata": {"name": ""}}})),
        ("missing-field", "no-commitment", envelope(json!({"wraps": {}}))),
        ("missing-field", "no-wraps", envelope(json!({"commitment": ""}))),
        ("wrong-type", "scope-lower-case", json!({"scope": "strict"})),
        ("wrong-type", "scope-empty", json!({"scope": ""})),
        ("wrong-type", "scope-map", json!({"scope": {}})),
        ("wrong-type", "envelopes-list", json!({"envelopes": []})),
        ("wrong-type", "envelope-null", envelope(json!(null))),
        ("wrong-type", "commitment-null", envelope(json!({"commitment": null, "wraps": {}}))),
        ("wrong-type", "wraps-null", envelope(json!({"commitment": "", "wraps": null}))),
        ("wrong-type", "wrap-null", envelope(json!({"commitment": "", "wraps": {"k": null}}))),
        ("wrong-type", "bound-to-number", envelope(json!({"boundTo": {"name": 1}, "commitment": "", "wraps": {}}))),
        ("wrong-type", "token-null", json!({"encryptedData": {"A": null}})),
        ("wrong-type", "token-number", json!({"encryptedData": {"A": 1}})),
        ("wrong-type", "immutable-text", json!({"template": {"immutable": "true"}})),
        ("wrong-type", "type-number", json!({"template": {"type": 1}})),
        ("wrong-type", "label-boolean", json!({"template": {"metadata": {"labels": {"a": true}}}})),
        ("wrong-type", "annotation-null", json!({"template": {"metadata": {"annotations": {"a": null}}}})),
    ]
    .map(|(rule, name, spec)| {
        let metadata = json!({"name": "db", "namespace": "shop"});
        let object =
            json!({"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", "metadata": metadata, "spec": spec});
        json!({"comment": "a tree of another shape", "name": name, "object": object, "refused": rule})
    })
    .into()
}

//! Texts that the strict reader refuses (FORMAT.md §10).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::manifest_sizes;

/// Rule, name, comment and text of each vector. [`written_out`] replaces HEAD, META, JSON and JSON2028 in the text.
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
    (
        "line-break",
        "line-separator-json-like",
        "U+2028 in a text that is not JSON because it has a comment",
        "JSON2028 # c\n",
    ),
    ("anchor", "anchor", "an anchor", "HEAD\nspec: &x {}\n"),
    ("anchor", "alias", "an alias", "HEAD\nspec: {encryptedData: {A: &x 'a', B: *x}}\n"),
    ("anchor", "anchor-in-status", "an anchor where nothing is read", "HEAD\nspec: {}\nstatus: {a: &x b}\n"),
    (
        "anchor",
        "items-alias",
        "an alias for the items of a list",
        "x: &x [JSON]\napiVersion: v1\nkind: List\nitems: *x\n",
    ),
    ("anchor", "item-alias", "an alias for an item of a list", "x: &x JSON\napiVersion: v1\nkind: List\nitems: [*x]\n"),
    (
        "merge-key",
        "items-merged",
        "a list whose items are merged in",
        "apiVersion: v1\nkind: List\n<<: {items: [JSON]}\n",
    ),
    (
        "anchor",
        "kind-alias",
        "an alias says what the object is",
        "apiVersion: waxseal.dev/v1alpha1\nmetadata: {name: db, labels: {a: &k SealedSecret}}\nkind: *k\nspec: {}\n",
    ),
    (
        "merge-key",
        "kind-merged",
        "a merge key beside a kind that it could replace",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealingKey\n<<: {kind: SealedSecret}\n",
    ),
    (
        "anchor",
        "kind-of-secret-alias",
        "an alias that makes a Secret of an object",
        "x: &k Secret\napiVersion: v1\nkind: *k\n",
    ),
    ("merge-key", "merge-key", "a merge key", "HEAD\nspec: {<<: {scope: Strict}}\n"),
    ("tag", "tag", "a tag of one's own", "HEAD\nspec: {scope: !x Strict}\n"),
    ("tag", "tag-of-nothing", "the non-specific tag !", "HEAD\nspec: {scope: ! Strict}\n"),
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
        "kind",
        "kind-slip",
        "a letter left out",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealdSecret\nmetadata: {name: db}\nspec: {}\n",
    ),
    (
        "kind",
        "kind-lower-case",
        "as nobody else writes kinds",
        "apiVersion: waxseal.dev/v1alpha1\nkind: sealedsecret\nmetadata: {name: db}\nspec: {}\n",
    ),
    ("kind", "kind-absent", "only an apiVersion", "apiVersion: waxseal.dev/v1alpha1\nmetadata: {name: db}\nspec: {}\n"),
    (
        "kind",
        "kind-absent-in-list",
        "an item that says half of what it is",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems: [{apiVersion: waxseal.dev/v1alpha1}]\n",
    ),
    (
        "kind",
        "kind-of-version-2",
        "no version of waxseal.dev has the kind Secret",
        "apiVersion: waxseal.dev/v2\nkind: Secret\nmetadata: {name: db}\n",
    ),
    (
        "kind",
        "apiVersion-absent-in-list",
        "an item that says the other half",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems: [{kind: SealedSecret}]\n",
    ),
    (
        "kind",
        "kind-empty-in-list",
        "an item whose kind is empty",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems: [{apiVersion: v1, kind: ''}]\n",
    ),
    (
        "duplicate-key",
        "duplicate-kind-of-list",
        "what is a Secret to some and a list to others",
        "apiVersion: v1\nkind: List\nkind: Secret\nitems: [JSON]\n",
    ),
    (
        "tag",
        "kind-binary",
        "SealedSecret in base64, for a reader that knows the tag",
        "apiVersion: waxseal.dev/v1alpha1\nkind: !!binary U2VhbGVkU2VjcmV0\nmetadata: {name: db}\nspec: {}\n",
    ),
    ("tag", "key-binary", "kind in base64, in an object of no group", "apiVersion: v1\n!!binary a2luZA==: ConfigMap\n"),
    ("tag", "items-null", "no items, with a tag", "apiVersion: v1\nkind: List\nitems: !!null\n"),
    (
        "syntax",
        "mark-behind-marker",
        "a byte order mark before the first key of the second document",
        "a: b\n---\n\u{feff}HEAD\nspec: {}\n",
    ),
    ("syntax", "mark-before-marker", "a byte order mark before ---", "a: b\n\u{feff}---\nHEAD\nspec: {}\n"),
    (
        "syntax",
        "mark-in-flow",
        "a byte order mark before the first key of a flow mapping",
        "{\u{feff}apiVersion: v1, kind: List}\n",
    ),
    (
        "version",
        "version-of-list",
        "a list of a version that is not known",
        "apiVersion: waxseal.dev/v1beta1\nkind: SealedSecretList\nitems: []\n",
    ),
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
    ("wrong-type", "spec-null", "null where a map belongs", "HEAD\nspec: ~\n"),
    ("wrong-type", "name-null", "null where a string belongs", "META {name: ~}\nspec: {}\n"),
    ("missing-field", "no-commitment", "no commitment", "HEAD\nspec: {envelopes: {e0123456789: {wraps: {}}}}\n"),
    ("missing-field", "no-wraps", "no wraps", "HEAD\nspec: {envelopes: {e0123456789: {commitment: a}}}\n"),
    ("wrong-type", "scope-in-lower-case", "not a valid scope", "HEAD\nspec: {scope: strict}\n"),
    ("wrong-type", "value-number", "a number where a string belongs", "HEAD\nspec: {encryptedData: {A: 5432}}\n"),
    ("wrong-type", "value-null", "null where a string belongs", "HEAD\nspec: {encryptedData: {A: ~}}\n"),
    ("wrong-type", "value-absent", "nothing where a string belongs", "HEAD\nspec: {encryptedData: {A: }}\n"),
    ("ambiguous", "key-absent", "nothing where a data key belongs", "HEAD\nspec:\n  encryptedData:\n    ?\n    : a\n"),
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
        "not a valid name",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: DB}\nspec: {}\n",
    ),
    (
        "name",
        "namespace-with-dot",
        "not a valid namespace",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: a.b}\nspec: {}\n",
    ),
];

const HEAD: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}";

/// Unquoted scalars that YAML readers understand differently. Each is refused as a value and as a key.
pub(super) const DISPUTED: [&str; 62] = [
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

/// Unquoted scalars that all YAML readers understand in the same way, and none as a string.
pub(super) const AGREED: [&str; 20] = [
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

pub(super) const JSON: &str = r#"{"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "db"}, "spec": {"encryptedData": {"A": "a"}}}"#;
const META: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata:";

pub(super) fn written_out(text: &str) -> String {
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
    vectors.extend(manifest_sizes::refused());
    vectors.push(json!({
        "comment": "a byte that is no UTF-8, in a comment",
        "name": "not-utf-8",
        "refused": "syntax",
        "textBase64": BASE64_STANDARD.encode([written_out("HEAD\nspec: {} # ").as_bytes(), b"\xff\n"].concat()),
    }));
    vectors
}

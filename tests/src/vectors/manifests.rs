//! Texts that the strict reader refuses, and some that it reads (FORMAT.md §10).

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
    ("directive", "directive", "a directive", "%YAML 1.1\n---\nHEAD\nspec: {}\n"),
    ("line-break", "line-separator", "U+2028 in a comment", "HEAD\nspec: {} # a\u{2028}b\n"),
    ("line-break", "next-line", "U+0085 in a comment", "HEAD\nspec: {} # a\u{85}b\n"),
    ("anchor", "anchor", "an anchor", "HEAD\nspec: &x {}\n"),
    ("anchor", "alias", "an alias", "HEAD\nspec: {encryptedData: {A: &x 'a', B: *x}}\n"),
    ("merge-key", "merge-key", "a merge key", "HEAD\nspec: {<<: {scope: Strict}}\n"),
    ("tag", "tag", "a tag of one's own", "HEAD\nspec: {scope: !x Strict}\n"),
    ("tag", "tag-binary", "a tag of YAML 1.1", "HEAD\nspec: {encryptedData: {A: !!binary aGk=}}\n"),
    ("duplicate-key", "duplicate-field", "a field given twice", "HEAD\nspec: {scope: Strict, scope: Cluster}\n"),
    ("duplicate-key", "duplicate-data-key", "a data key given twice", "HEAD\nspec: {encryptedData: {A: a, A: b}}\n"),
    (
        "duplicate-key",
        "duplicate-json",
        "a data key given twice, in JSON",
        "{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\", \"metadata\": {\"name\": \"db\"}, \"spec\": {\"encryptedData\": {\"A\": \"a\", \"A\": \"b\"}}}",
    ),
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
    ("wrong-type", "envelopes-null", "null where a map belongs", "HEAD\nspec: {envelopes: ~}\n"),
    (
        "generate-name",
        "generate-name",
        "a name that is not known yet",
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {generateName: db-, name: db}\nspec: {}\n",
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

pub(super) fn refused() -> Vec<Value> {
    let mut vectors: Vec<_> = REFUSED
        .iter()
        .map(|(rule, name, comment, text)| {
            json!({"comment": comment, "name": name, "refused": rule, "text": text.replace("HEAD", HEAD)})
        })
        .collect();
    vectors.push(json!({
        "append": {"text": "]", "times": 511},
        "comment": "511 collections, one in the other",
        "name": "nested-511",
        "refused": "size",
        "text": format!("{HEAD}\nspec: {}", "[".repeat(511)),
    }));
    vectors
}

/// Texts that are read, and the spec that they come to.
pub(super) fn read() -> Vec<Value> {
    let tree = json!({"encryptedData": {"A": "x", "no": "yes"}, "template": {"immutable": true}});
    [
        ("block-style", "block style", "HEAD\nspec:\n  encryptedData:\n    A: x\n    'no': \"yes\"\n  template:\n    immutable: true\n"),
        ("flow-style", "flow style with a tag", "HEAD\nspec: {encryptedData: {A: !!str x, !!str no: 'yes'}, template: {immutable: TRUE}}\n"),
        ("json", "JSON", "{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\", \"metadata\": {\"name\": \"db\", \"namespace\": \"shop\"}, \"spec\": {\"encryptedData\": {\"A\": \"\\u0078\", \"no\": \"yes\"}, \"template\": {\"immutable\": true}}}"),
        ("nulls-and-status", "null is absent where §4 says so; status is not read", "HEAD\nspec: {scope: ~, encryptedData: {A: x, 'no': 'yes'}, template: {type: null, immutable: true, metadata:}}\nstatus: {any: [1]}\n"),
        ("byte-order-mark", "a byte order mark", "\u{feff}HEAD\nspec: {encryptedData: {A: x, 'no': 'yes'}, template: {immutable: true}}\n"),
    ]
    .map(|(name, comment, text)| json!({"comment": comment, "name": name, "spec": tree, "text": text.replace("HEAD", HEAD)}))
    .into()
}

//! Trees that do not have the shape of FORMAT.md §4.

use serde_json::{Value, json};

pub(super) fn refused() -> Vec<Value> {
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

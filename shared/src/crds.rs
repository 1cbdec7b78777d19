//! The custom resource definitions of both kinds, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::manifest;
use crate::sealed_secret::SealedSecret;
use crate::sealing_key::SealingKey;

/// Returns both definitions, ready to apply.
///
/// Their annotations keep Helm, Argo CD and Flux from deleting them together with a release. When the definition of
/// SealedSecrets is deleted, Kubernetes deletes every SealedSecret, and then the Secret of each.
pub fn all() -> [CustomResourceDefinition; 2] {
    let definitions = [
        (SealedSecret::crd(), "a generated name is refused: give the object the name that it was sealed for"),
        (SealingKey::crd(), "a generated name is refused: the name of a SealingKey is the key id of its recipient"),
    ];
    definitions.map(|(definition, generated_name_message)| {
        let mut value = serde_json::to_value(definition).expect("a definition is plain data");
        value["metadata"]["annotations"] = json!({
            "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
            "helm.sh/resource-policy": "keep",
            "kustomize.toolkit.fluxcd.io/prune": "disabled",
        });
        let schema = &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        adapt(schema);
        if let Some(status) = schema.pointer_mut("/properties/status")
            && status.pointer("/properties/observedGeneration").is_some()
        {
            // The default `observedGeneration: -1` makes kstatus report a new object as in progress. Only a schema with
            // this field gets the default: the API server refuses a default with an unknown field.
            status["default"] = json!({"observedGeneration": -1});
        }
        schema["x-kubernetes-validations"] = json!([{
            "rule": "!has(self.metadata.generateName)",
            "message": generated_name_message,
            "reason": "FieldValueForbidden",
        }]);
        serde_json::from_value(value).expect("still a definition")
    })
}

/// Both definitions as a stream of YAML documents.
pub fn to_yaml() -> String {
    all()
        .map(|definition| manifest::write(&serde_json::to_value(definition).expect("a definition is plain data")))
        .join("---\n")
}

/// Makes the three changes below in every object of a schema.
fn adapt(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            remove_additional_properties_false(fields);
            remove_nullable(fields);
            unwrap_description(fields);
            fields.values_mut().for_each(adapt);
        }
        Value::Array(items) => items.iter_mut().for_each(adapt),
        _ => {}
    }
}

/// Removes `additionalProperties: false`, which structural schemas may not have. The API server prunes unknown fields,
/// or refuses them under strict validation.
fn remove_additional_properties_false(fields: &mut Map<String, Value>) {
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
}

/// Removes `nullable: true`. The API server then drops a field that is `null`; the format, too, counts `null` as absent
/// (FORMAT.md §4).
fn remove_nullable(fields: &mut Map<String, Value>) {
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        fields.remove("nullable");
    }
}

/// Joins the lines of each paragraph, because `kubectl explain` breaks lines at the width of the terminal.
fn unwrap_description(fields: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = fields.get_mut("description") {
        let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` for the schema of each field, with the path of the field.
    fn each_field(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            visit(&path, field);
            each_field(field, &path, visit);
            each_field(&field["additionalProperties"], &path, visit);
        }
    }

    #[test]
    fn kubectl_explains_every_field() {
        for definition in all() {
            let definition = serde_json::to_value(definition).expect("plain data");
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            each_field(schema, "", &mut |path, field| {
                let description = field["description"].as_str().unwrap_or_default();
                assert!(description.ends_with('.'), "{path}: {description}");
                let is_for_rust = description.contains("[`") || description.replace("\n\n", "").contains('\n');
                assert!(!is_for_rust, "{path}: {description}");
            });
        }
    }

    #[test]
    fn only_a_status_with_a_generation_has_a_default() {
        let defaults = all().map(|definition| {
            let definition = serde_json::to_value(&definition).expect("plain data");
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            schema["properties"]["status"]["default"].clone()
        });
        assert_eq!(defaults, [json!({"observedGeneration": -1}), Value::Null]);
    }

    /// Only an error with the reason `FieldValueForbidden` does not quote the value.
    #[test]
    fn errors_of_the_rules_for_sealed_secrets_quote_no_value() {
        let definition = serde_json::to_value(&all()[0]).expect("plain data");
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut rules = 0;
        let mut check = |path: &str, field: &Value| {
            for schema in [field, &field["additionalProperties"]] {
                for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                    assert_eq!(rule["reason"], "FieldValueForbidden", "{path}");
                    rules += 1;
                }
                assert!(schema.get("pattern").is_none() && schema.get("minLength").is_none(), "{path}");
            }
        };
        each_field(schema, "", &mut check);
        assert!(rules >= 8, "{rules}");
    }
}

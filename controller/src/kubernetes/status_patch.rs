//! Writing the status of a SealedSecret.

use http::HeaderValue;
use http::header::ACCEPT;
use kube::api::{Patch, PatchParams};
use kube::core::{PartialObjectMeta, Request};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Map, Value, json};
use waxseal_shared::api_group::FIELD_MANAGER;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretStatus};

/// The answer contains only metadata: the object can have 1.5 MB.
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Writes the status of an object. `unreadable` is its present status if that cannot be read (`object` then has none):
/// all fields of `unreadable` are replaced or removed. Fails with HTTP 409 if the object has changed since it was
/// judged, or was created again. Returns the new resourceVersion; `None` if the object already has this status and
/// nothing was written.
pub(super) async fn write(
    client: &Client,
    object: &SealedSecret,
    unreadable: Map<String, Value>,
    status: &SealedSecretStatus,
) -> kube::Result<Option<String>> {
    if object.status.as_ref() == Some(status) {
        return Ok(None);
    }
    let present = object.status.as_ref().map_or(unreadable, json_of);
    let patch = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": difference(&present, &json_of(status)),
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = Request::new(SealedSecret::url_path(&(), object.namespace().as_deref()));
    let request = request.patch_subresource("status", &object.name_any(), &params, &Patch::Merge(patch));
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA_ONLY);
    let written: PartialObjectMeta<SealedSecret> = client.request(request).await?;
    Ok(written.metadata.resource_version)
}

fn json_of(status: &SealedSecretStatus) -> Map<String, Value> {
    let json = serde_json::to_value(status).expect("a status is plain data");
    json.as_object().expect("a struct is an object in JSON").clone()
}

/// Returns the merge patch (RFC 7396) that changes the map `from` into the map `to`. The API server keeps a field that
/// the patch does not name. So the patch has null for each field or entry that it removes, and the fields of a status
/// that this program does not know stay.
pub(super) fn difference(from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter(|(key, value)| from.get(*key) != Some(*value));
    let changed = changed.map(|(key, value)| match (from.get(key), value) {
        (Some(Value::Object(from)), Value::Object(to)) => (key.clone(), difference(from, to).into()),
        _ => (key.clone(), value.clone()),
    });
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("a map").clone()
    }

    #[test]
    fn a_patch_has_new_and_changed_fields_and_null_for_removed_fields() {
        let from = map(json!({"a": {"stays": 1, "goes": 2}, "b": [1], "c": 3, "d": {"e": 1}}));
        let to = map(json!({"a": {"stays": 1, "comes": {"x": 1}}, "b": [1, 2], "c": 3}));
        let patch = json!({"a": {"goes": null, "comes": {"x": 1}}, "b": [1, 2], "d": null});
        assert_eq!(Value::from(difference(&from, &to)), patch);
        assert_eq!(difference(&to, &to), Map::new());
    }
}

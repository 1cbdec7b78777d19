//! Writing the status of a SealedSecret.

use http::HeaderValue;
use http::header::ACCEPT;
use kube::api::{Patch, PatchParams};
use kube::core::{PartialObjectMeta, Request};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use waxseal_shared::api_group::FIELD_MANAGER;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretStatus};

/// The answer contains only metadata: the object can have 1.5 MB.
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Writes a status to the resourceVersion that was judged; conflicts if the object has changed or was created again.
/// Returns the new resourceVersion; `None` if the object already has this status and nothing was written.
pub(super) async fn write(
    client: &Client,
    object: &SealedSecret,
    status: &SealedSecretStatus,
) -> kube::Result<Option<String>> {
    if object.status.as_ref() == Some(status) {
        return Ok(None);
    }
    // All fields, also the empty ones: a merge patch leaves an absent field as it is.
    let patch = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": {
            "observedGeneration": status.observed_generation,
            "conditions": status.conditions,
            "settled": status.settled,
        },
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = Request::new(SealedSecret::url_path(&(), object.namespace().as_deref()));
    let request = request.patch_subresource("status", &object.name_any(), &params, &Patch::Merge(patch));
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA_ONLY);
    let written: PartialObjectMeta<SealedSecret> = client.request(request).await?;
    Ok(written.metadata.resource_version)
}

//! Writing a verdict into an object's status, and nothing else.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretStatus};

use super::secret_object::FIELD_MANAGER;

/// Writes a status under the resourceVersion that was judged, so that a late one never lands on a
/// successor of the same name. Does nothing if the object already says so.
pub(super) async fn write(client: &Client, object: &SealedSecret, status: &SealedSecretStatus) -> kube::Result<()> {
    if object.status.as_ref() == Some(status) {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": status,
    });
    let objects = Api::<SealedSecret>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    objects.patch_status(&object.name_any(), &params, &Patch::Merge(patch)).await?;
    Ok(())
}

use k8s_openapi::api::core::v1::Namespace as Object;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use tokio::runtime::Handle;

use super::Error;

/// A namespace of one test. Dropping it requests its deletion and does not wait for it.
pub struct Namespace {
    name: String,
    client: Client,
    runtime: Handle,
}

impl Namespace {
    pub(super) async fn create(name: String, client: Client, runtime: Handle) -> Result<Self, Error> {
        let mut object = Object::default();
        object.metadata.name = Some(name.clone());
        Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .map_err(Error::request(format!("create the namespace {name}")))?;
        Ok(Self { name, client, runtime })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The objects of a kind in this namespace, with the rights of `system:masters`.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let api: Api<Object> = Api::all(self.client.clone());
        let name = std::mem::take(&mut self.name);
        // A failure does not matter: the cluster ends with the tests.
        self.runtime.spawn(async move { api.delete(&name, &DeleteParams::default()).await });
    }
}

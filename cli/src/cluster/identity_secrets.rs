//! Deletes the Secrets that hold the identities of a controller.

use http::StatusCode;
use kube::api::{DeleteParams, Preconditions};
use kube::core::Request;
use serde::de::IgnoredAny;
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::IdentitySecretReference;

use super::Session;
use super::failures::Asked;
use crate::error::CliError;

impl Session {
    /// Deletes an identity Secret. Succeeds if the Secret is gone already, or if another Secret has its name: then the
    /// identity that was meant is gone.
    pub(crate) fn delete_identity(
        &self,
        namespace: &Namespace,
        secret: &IdentitySecretReference,
    ) -> Result<(), CliError> {
        let preconditions = Preconditions { uid: Some(secret.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/secrets")).delete(&secret.name, &params);
        let (request, client) = (request.map_err(kube::Error::BuildRequest), self.client.clone());
        // Ignores the answer: if the Secret has finalizers, the answer contains the identity.
        let deleted = self.ask(async move { client.request_status::<IgnoredAny>(request?).await })?;
        match deleted {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status))
                if [StatusCode::NOT_FOUND, StatusCode::CONFLICT].map(|code| code.as_u16()).contains(&status.code) =>
            {
                Ok(())
            }
            Err(error) => {
                let place = format!("in {namespace}");
                let asked =
                    Asked { verb: "delete", kinds: "Secrets", resource: "secrets", place, ..self.asked.clone() };
                Err(self.server.failure(&error, &asked).at(self.place()))
            }
        }
    }
}

//! The identity Secrets of a controller.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Api, Resource, ResourceExt};
use serde::de::IgnoredAny;
use serde_json::json;
use waxseal_shared::api_group::{BACKED_UP_ANNOTATION, BACKED_UP_STATE_ANNOTATION, IDENTITY_TYPE};
use waxseal_shared::identity_secret::{self, IdentitySecretError, is_materialised};
use waxseal_shared::key::Recipient;
use waxseal_shared::key_life::{HeldKey, whole_seconds};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::IdentitySecretReference;
use waxseal_shared::secret::SecretBytes;
use waxseal_shared::visible_text::escaped;

use super::failures::Asked;
use super::{FIELD_MANAGER, RUN_WITHOUT_PROXY, RequestOutcome, Session, no_cluster};
use crate::error::CliError;

/// One version of an identity Secret.
pub(crate) struct IdentitySecret {
    pub(crate) name: String,
    resource_version: String,
    /// Whether somebody has deleted the Secret, and only its finalizers keep it.
    pub(crate) is_being_deleted: bool,
    /// The identity, or why it cannot be used.
    pub(crate) key: Result<HeldKey, IdentitySecretError>,
}

impl IdentitySecret {
    fn decode(secret: Secret, now: Timestamp) -> Self {
        let (name, resource_version) = (secret.name_any(), secret.resource_version().unwrap_or_default());
        let is_being_deleted = secret.metadata.deletion_timestamp.is_some();
        let data = secret.data.unwrap_or_default().into_iter();
        let data: BTreeMap<_, _> = data.map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
        Self { name, resource_version, is_being_deleted, key: identity_secret::read(|key| data.get(key), now) }
    }

    /// Whether its identity is that of this recipient.
    pub(crate) fn holds(&self, recipient: &Recipient) -> bool {
        self.key.as_ref().is_ok_and(|present| present.published().recipient == *recipient)
    }
}

impl Session {
    /// Lists the identity Secrets of a namespace.
    pub(crate) fn identity_secrets(
        &self,
        namespace: &Namespace,
        now: Timestamp,
    ) -> Result<Vec<IdentitySecret>, CliError> {
        let asked = asked("list", namespace);
        let path = Secret::url_path(&(), Some(namespace.as_str()));
        let params = ListParams::default().fields(&format!("type={IDENTITY_TYPE}"));
        let mut identities = Vec::new();
        let add = |secret| {
            identities.extend(Some(secret).filter(is_identity).map(|secret| IdentitySecret::decode(secret, now)))
        };
        self.list_pages::<Secret, Secret>(&path, params, &asked, add)?
            .map_err(|error| self.failure_of(&error, &asked))?;
        Ok(identities)
    }

    /// Reads one identity Secret; `None` if there is no Secret of this name, or if it is not an identity Secret.
    pub(crate) fn identity_secret(
        &self,
        namespace: &Namespace,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<IdentitySecret>, CliError> {
        let (secrets, name) = (self.secrets(namespace), name.to_owned());
        let found = self.ask(async move { secrets.get_opt(&name).await })?;
        let found = found.map_err(|error| self.failure_of(&error, &asked("get", namespace)))?;
        Ok(found.filter(is_identity).map(|secret| IdentitySecret::decode(secret, now)))
    }

    /// Creates the identity Secret of a key. `Conflict`: there is a Secret of this name. Fails if the answer is not the
    /// Secret with this identity: a key is lost if it only seems to be stored.
    pub(crate) fn create_identity(
        &self,
        namespace: &Namespace,
        name: &str,
        key: &HeldKey,
        now: Timestamp,
    ) -> Result<RequestOutcome, CliError> {
        let (secrets, secret) = (self.secrets(namespace), encode(name, key));
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.ask(async move { secrets.create(&params, &secret).await })? {
            Ok(stored) => {
                let stored = Some(stored).filter(is_identity).map(|secret| IdentitySecret::decode(secret, now));
                if stored.is_some_and(|stored| stored.name == name && stored.holds(&key.published().recipient)) {
                    return Ok(RequestOutcome::Written);
                }
                let text = format!("the API server does not confirm that the Secret {name} holds {}", key.key_id());
                let error = no_cluster(text).at(self.place());
                Err(error.with_hint("see if an admission webhook changes Secrets, and run the command again"))
            }
            Err(kube::Error::Api(status)) if status.code == StatusCode::CONFLICT.as_u16() => {
                Ok(RequestOutcome::Conflict)
            }
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => {
                let error = no_cluster(format!("there is no namespace {namespace}")).at(self.place());
                Err(error.with_hint(format!("make it with `kubectl create namespace {namespace}`")))
            }
            Err(error) => Err(self.failure_of(&error, &asked("create", namespace))),
        }
    }

    /// Records on an identity Secret that its identity is in a backup, unless somebody has changed the Secret since it
    /// was read.
    pub(crate) fn record_backup(
        &self,
        namespace: &Namespace,
        secret: &IdentitySecret,
        time: Timestamp,
    ) -> Result<RequestOutcome, CliError> {
        let (secrets, name) = (self.secrets(namespace), secret.name.clone());
        let state = secret.key.as_ref().map(|key| key.published().state.as_str()).unwrap_or_default();
        let annotations = json!({
            BACKED_UP_ANNOTATION: whole_seconds(time).to_string(),
            BACKED_UP_STATE_ANNOTATION: state,
        });
        let metadata = json!({"resourceVersion": secret.resource_version, "annotations": annotations});
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        // The answer to this request is metadata alone: the identity does not travel again.
        match self.ask(async move { secrets.patch_metadata(&name, &params, &patch).await })? {
            Ok(_) => Ok(RequestOutcome::Written),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(RequestOutcome::Conflict),
            Err(error) => Err(self.failure_of(&error, &asked("patch", namespace))),
        }
    }

    /// Deletes an identity Secret. Succeeds if the Secret is gone already. Refuses to delete another Secret that has
    /// the same name now. Fails if finalizers keep the Secret.
    pub(crate) fn delete_identity(
        &self,
        namespace: &Namespace,
        secret: &IdentitySecretReference,
    ) -> Result<(), CliError> {
        let preconditions = Preconditions { uid: Some(secret.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/secrets")).delete(&secret.name, &params);
        let (request, client) = (request.map_err(kube::Error::BuildRequest), self.client.clone());
        // The answer is a Status if the Secret is gone. If finalizers keep the Secret, the answer is the Secret with
        // the identity, which is not kept.
        let deleted = self.ask(async move { client.request_status::<IgnoredAny>(request?).await })?;
        let is_gone = deleted.and_then(|answer| match answer.right() {
            Some(status) if status.is_failure() => Err(kube::Error::Api(status.boxed())),
            status => Ok(status.is_some()),
        });
        match is_gone {
            Ok(true) => Ok(()),
            Ok(false) => {
                let name = escaped(&secret.name);
                let text = format!("the identity Secret {name} is being deleted, and its finalizers keep it");
                let hint = format!(
                    "find out what set the finalizers, or remove them: `kubectl patch secret {name} -n {namespace} \
                     --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'`"
                );
                Err(CliError::refused(text).at(self.place()).with_hint(hint))
            }
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => Ok(()),
            Err(kube::Error::Api(status)) if status.code == StatusCode::CONFLICT.as_u16() => {
                let text = format!("the identity Secret {} was replaced by another one", escaped(&secret.name));
                let error = CliError::refused(text).at(self.place());
                Err(error.with_hint("wait until the controller has read it, and run the command again"))
            }
            Err(error) => Err(self.failure_of(&error, &asked("delete", namespace))),
        }
    }

    fn secrets(&self, namespace: &Namespace) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace.as_str())
    }
}

fn asked(verb: &'static str, namespace: &Namespace) -> Asked {
    Asked {
        verb,
        kinds: "Secrets",
        resource: "secrets",
        place: format!("in {namespace}"),
        instead: RUN_WITHOUT_PROXY.to_owned(),
    }
}

fn is_identity(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(IDENTITY_TYPE) && !is_materialised(&secret.metadata)
}

fn encode(name: &str, key: &HeldKey) -> Secret {
    let data = identity_secret::data(key).map(|(name, value)| (name.to_owned(), ByteString(value.expose().to_vec())));
    let mut secret = Secret { type_: Some(IDENTITY_TYPE.to_owned()), data: Some(data.into()), ..Secret::default() };
    secret.metadata.name = Some(name.to_owned());
    secret
}

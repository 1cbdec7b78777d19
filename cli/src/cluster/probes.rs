//! Requests that look at a cluster. A missing right is an answer, not an error.

use http::header::DATE;
use http::{Request, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use waxseal_shared::api_group::API_VERSION;
use waxseal_shared::names::Namespace;
use waxseal_shared::sealing_key::SealingKey;

use super::failures::{self, Asked};
use super::{SealedSecretSelection, SealedSecretState, Session, UnknownSealingKey, no_cluster};
use crate::error::CliError;

/// The name of the controller's Deployment in `deploy/`.
pub(crate) const DEPLOYMENT: &str = "waxseal-controller";

/// What a request found.
pub(crate) enum Look<T> {
    Found(T),
    Absent,
    /// The user has no right to look.
    Forbidden,
}

pub(crate) struct Right<'a> {
    pub(crate) verb: &'static str,
    /// The API group; empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    /// `None`: in all namespaces.
    pub(crate) namespace: Option<&'a Namespace>,
}

impl Session {
    /// The clock of the API server, in whole seconds; `None` if its answers have no time.
    pub(crate) fn server_time(&self) -> Result<Option<Timestamp>, CliError> {
        let client = self.client.clone();
        let request = Request::get("/version").body(Body::empty());
        let answer = self.ask(async move { client.send(request.map_err(kube::Error::HttpError)?).await })?;
        let answer = answer.map_err(|error| self.failure(&error))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(failures::no_credentials().at(self.place()));
        }
        let time = answer.headers().get(DATE).and_then(|time| time.to_str().ok());
        Ok(time.and_then(|time| rfc2822::DateTimeParser::new().parse_timestamp(time).ok()))
    }

    /// Fails if the server is not an API server: it answers something else to `/version`, or does not know the path.
    /// Succeeds if the user has no right to see the version.
    pub(crate) fn check_is_api_server(&self) -> Result<(), CliError> {
        let version: kube::Result<Info> = self.get("/version".to_owned())?;
        match version {
            Err(error) if is_absent(&error) => {
                let text = format!("{} does not answer as an API server does", self.server);
                Err(no_cluster(text).at(self.place()))
            }
            version => self.look(version, "get", "the version").map(drop),
        }
    }

    /// The number of available Pods of the controller's Deployment.
    pub(crate) fn available_controllers(&self, namespace: &Namespace) -> Result<Look<i32>, CliError> {
        let path = format!("{}/{DEPLOYMENT}", Deployment::url_path(&(), Some(namespace.as_str())));
        let found: kube::Result<Deployment> = self.get(path)?;
        let available = found.map(|found| found.status.and_then(|status| status.available_replicas).unwrap_or(0));
        self.look(available, "get", "Deployments")
    }

    /// The resources of Waxseal's API group and version that the API server serves, such as `sealedsecrets/status`.
    pub(crate) fn served_resources(&self) -> Result<Look<Vec<String>>, CliError> {
        let list = self.get(format!("/apis/{API_VERSION}"))?;
        let names = |list: APIResourceList| list.resources.into_iter().map(|resource| resource.name).collect();
        self.look(list.map(names), "get", "the API group waxseal.dev")
    }

    pub(crate) fn definition(&self, name: &str) -> Result<Look<CustomResourceDefinition>, CliError> {
        let found = self.get(format!("{}/{name}", CustomResourceDefinition::url_path(&(), None)))?;
        self.look(found, "get", "CustomResourceDefinitions")
    }

    /// The SealingKeys of a namespace, also those that are not valid.
    pub(crate) fn look_at_sealing_keys(
        &self,
        namespace: &Namespace,
    ) -> Result<Look<Vec<Result<SealingKey, UnknownSealingKey>>>, CliError> {
        let keys = self.list_sealing_keys(namespace)?;
        self.look(keys, "list", "SealingKeys")
    }

    /// Calls `each` with every selected SealedSecret.
    pub(crate) fn look_at_sealed_secrets(
        &self,
        selection: &SealedSecretSelection,
        each: impl FnMut(SealedSecretState),
    ) -> Result<Look<()>, CliError> {
        let listed = self.try_list_sealed_secrets(selection, each)?;
        self.look(listed.map(drop), "list", "SealedSecrets")
    }

    /// Whether the user has a right; `None` if the API server does not tell.
    pub(crate) fn has(&self, right: &Right<'_>) -> Result<Option<bool>, CliError> {
        let attributes = ResourceAttributes {
            verb: Some(right.verb.to_owned()),
            group: Some(right.group.to_owned()),
            resource: Some(right.resource.to_owned()),
            namespace: right.namespace.map(Namespace::to_string),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let reviews = Api::<SelfSubjectAccessReview>::all(self.client.clone());
        let answer = self.ask(async move { reviews.create(&PostParams::default(), &review).await })?;
        match self.look(answer, "create", "SelfSubjectAccessReviews")? {
            Look::Found(review) => Ok(review.status.map(|status| status.allowed)),
            Look::Absent | Look::Forbidden => Ok(None),
        }
    }

    fn get<T: DeserializeOwned + Send + 'static>(&self, path: String) -> Result<kube::Result<T>, CliError> {
        let client = self.client.clone();
        let request = Request::get(path).body(Vec::new());
        self.ask(async move { client.request(request.map_err(kube::Error::HttpError)?).await })
    }

    fn look<T>(&self, answer: kube::Result<T>, verb: &'static str, kinds: &'static str) -> Result<Look<T>, CliError> {
        match answer {
            Ok(found) => Ok(Look::Found(found)),
            Err(error) if is_absent(&error) => Ok(Look::Absent),
            Err(kube::Error::Api(status))
                if matches!(status.code, 401 | 403) && !failures::is_foreign_refusal(&status) =>
            {
                Ok(Look::Forbidden)
            }
            Err(kube::Error::SerdeError(error)) if error.is_data() => {
                let text = format!("the answer about {kinds} has a form that this waxseal does not know");
                Err(CliError::refused(text).at(self.place()).with_hint("update waxseal"))
            }
            Err(error) => Err(self.failure_of(&error, &Asked { verb, kinds, ..self.asked.clone() })),
        }
    }
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

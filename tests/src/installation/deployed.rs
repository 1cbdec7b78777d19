//! The deployed controller: the image, started with what its Deployment says.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec};
use kube::Api;

use super::{ANY_PORT, CONTEXT, Controller, Error, SERVICE_ACCOUNT};
use crate::cluster::{Cluster, Credential};
use crate::image::Image;

impl Controller {
    /// Starts the image with the ServiceAccount, the arguments, the environment and the ConfigMaps of the Deployment in
    /// a namespace.
    pub async fn start_deployed(cluster: &Cluster, image: &Image, namespace: &str) -> Result<Self, Error> {
        let pod = deployed_pod(cluster, namespace).await?;
        let account = pod.service_account_name.as_deref().unwrap_or("default");
        let credential = cluster.service_account_token(namespace, account).await?;
        let name = format!("deployed-in-{namespace}");
        let kubeconfig = cluster.folder().join(format!("{name}.kubeconfig"));
        cluster.write_kubeconfig(&kubeconfig, CONTEXT, &credential, "default")?;
        let mut files = service_account_files(cluster, &credential, namespace);
        files.extend(config_map_files(cluster, namespace, &pod).await?);
        let mut command = image.pod_command(&cluster.folder().join(&name), &files)?;
        for container in pod.containers {
            command.args(container.args.unwrap_or_default());
            let variables = container.env.unwrap_or_default().into_iter();
            command.envs(variables.filter_map(|variable| Some((variable.name, variable.value?))));
        }
        let api_server = cluster.address();
        command.env("KUBERNETES_SERVICE_HOST", api_server.ip().to_string());
        command.env("KUBERNETES_SERVICE_PORT", api_server.port().to_string());
        // A Pod has ports of its own. Here several controllers share those of the machine.
        command.env("WAXSEAL_LISTEN", ANY_PORT).env("WAXSEAL_METRICS_LISTEN", ANY_PORT);
        Self::spawn(cluster, command, &name, kubeconfig)
    }
}

/// The Pod of the Deployment in a namespace.
pub async fn deployed_pod(cluster: &Cluster, namespace: &str) -> Result<PodSpec, Error> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let failed = |source| Error::Deployment(Box::new(source));
    let deployment = deployments.get(SERVICE_ACCOUNT).await.map_err(failed)?;
    Ok(deployment.spec.template.spec.unwrap_or_default())
}

/// Returns the files of the ServiceAccount in a Pod, by their paths.
fn service_account_files(cluster: &Cluster, credential: &Credential, namespace: &str) -> Vec<(String, String)> {
    let Credential::Token(token) = credential else { return Vec::new() };
    let files = [("token", token.as_str()), ("ca.crt", cluster.ca_pem()), ("namespace", namespace)];
    files.map(|(name, text)| (format!("/var/run/secrets/kubernetes.io/serviceaccount/{name}"), text.to_owned())).into()
}

/// Returns the files of the ConfigMaps that a Pod mounts, by their paths.
async fn config_map_files(cluster: &Cluster, namespace: &str, pod: &PodSpec) -> Result<Vec<(String, String)>, Error> {
    let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client(), namespace);
    let mut files = Vec::new();
    for volume in pod.volumes.iter().flatten() {
        let Some(name) = volume.config_map.as_ref().map(|source| source.name.clone()) else { continue };
        let unread = |source| Error::ConfigMap { name: name.clone(), source: Box::new(source) };
        let data = config_maps.get(&name).await.map_err(unread)?.data.unwrap_or_default();
        let mounts = pod.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
        for mount in mounts.filter(|mount| mount.name == volume.name) {
            files.extend(data.iter().map(|(key, text)| (format!("{}/{key}", mount.mount_path), text.clone())));
        }
    }
    Ok(files)
}

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec};
use kube::Api;

use super::{ANY_PORT, CONTEXT, Controller, Error, SERVICE_ACCOUNT};
use crate::cluster::Cluster;
use crate::programs::Programs;

impl Controller {
    /// Starts a controller with the ServiceAccount, the arguments, the environment and the ConfigMaps of the Deployment in
    /// a namespace.
    pub async fn start_deployed(cluster: &Cluster, programs: &Programs, namespace: &str) -> Result<Self, Error> {
        let pod = deployed_pod(cluster, namespace).await?;
        let account = pod.service_account_name.as_deref().unwrap_or("default");
        let credential = cluster.service_account_token(namespace, account).await?;
        let name = format!("deployed-in-{namespace}");
        let kubeconfig = cluster.folder().join(format!("{name}.kubeconfig"));
        cluster.write_kubeconfig(&kubeconfig, CONTEXT, &credential, "default")?;
        let mut command = Command::new(&programs.waxseal_controller);
        // In a Pod the default is the namespace of the Pod.
        command.env_clear().env("WAXSEAL_KEY_NAMESPACE", namespace);
        let mounts = mount(cluster, namespace, &pod, &cluster.folder().join(&name)).await?;
        for container in pod.containers {
            command.args(container.args.unwrap_or_default());
            for variable in container.env.unwrap_or_default() {
                command.env(variable.name, outside(&mounts, variable.value.unwrap_or_default()));
            }
        }
        // The process is not in a Pod, and several run on this machine.
        command.env("WAXSEAL_CONTEXT", CONTEXT).env("WAXSEAL_KUBECONFIG", &kubeconfig);
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

/// Writes the ConfigMaps of a Pod into folders below `folder`, one file for each key, as the kubelet does. Returns these
/// folders by their paths in the Pod.
async fn mount(
    cluster: &Cluster,
    namespace: &str,
    pod: &PodSpec,
    folder: &Path,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client(), namespace);
    let mut mounts = BTreeMap::new();
    for volume in pod.volumes.iter().flatten() {
        let Some(name) = volume.config_map.as_ref().map(|source| source.name.clone()) else { continue };
        let unread = |source| Error::ConfigMap { name: name.clone(), source: Box::new(source) };
        let data = config_maps.get(&name).await.map_err(unread)?.data.unwrap_or_default();
        let folder = folder.join(&name);
        write_files(&folder, &data).map_err(|source| Error::Mount { name, source })?;
        let all = pod.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
        mounts.extend(
            all.filter(|mount| mount.name == volume.name).map(|mount| (mount.mount_path.clone(), folder.clone())),
        );
    }
    Ok(mounts)
}

fn write_files(folder: &Path, data: &BTreeMap<String, String>) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    data.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}

/// The value of a variable, which can be the path of a file that is mounted into the Pod.
fn outside(mounts: &BTreeMap<String, PathBuf>, value: String) -> String {
    let file = mounts.iter().find_map(|(path, folder)| {
        let name = value.strip_prefix(path.as_str())?.strip_prefix('/')?;
        Some(folder.join(name).display().to_string())
    });
    file.unwrap_or(value)
}

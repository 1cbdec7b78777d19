//! `deploy/kustomize` on a real API server, with stock kubectl.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{Controller, KEY_NAMESPACE, deployed_pod};

use crate::keys::sealed;
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{create, run, values, with_reason};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// An overlay with all components for a controller of the whole cluster.
const WHOLE_CLUSTER: &str = r#"
resources: [../deploy/kustomize/base]
components:
  - ../deploy/kustomize/components/admission-policy
  - ../deploy/kustomize/components/owner-references
  - ../deploy/kustomize/components/recovery-keys
configMapGenerator:
  - name: waxseal-recovery-keys
    literals: ["recipients=RECIPIENT"]
"#;

/// An overlay for a controller of one namespace.
const NAMESPACED: &str = r#"
resources: [../deploy/kustomize/base, NAMESPACE]
components: [../deploy/kustomize/components/namespaced]
configMapGenerator:
  - name: waxseal-namespaces
    literals: ["namespaces=NAMESPACE"]
"#;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        on_empty_cluster("kustomize::the_base_does_the_whole_job", base),
        on_empty_cluster("kustomize::the_base_with_components_does_the_whole_job", components),
        on_empty_cluster("kustomize::a_namespaced_overlay_does_the_whole_job_without_a_cluster_role", namespaced),
        on_empty_cluster("kustomize::the_namespace_admits_only_restricted_pods", pod_security),
    ]
}

/// A test on a cluster of its own, without the definitions of Waxseal.
pub(crate) fn on_empty_cluster(
    name: &'static str,
    run: impl AsyncFnOnce(&Context, &Cluster) -> TestResult + Send + 'static,
) -> Test {
    Test::blocking(name, |context| {
        let cluster = Cluster::start(&context.assets.kubernetes, &[])?;
        cluster.block_on(run(context, &cluster))
    })
}

/// kubectl with the rights of an administrator, and without the settings of the user.
pub(crate) fn kubectl(context: &Context, cluster: &Cluster) -> Command {
    let mut kubectl = Command::new(&context.assets.kubectl);
    kubectl.env_clear().env("HOME", cluster.folder()).env("KUBECONFIG", cluster.admin_kubeconfig());
    kubectl
}

/// Applies the definitions and a kustomization as the README says.
fn apply(context: &Context, cluster: &Cluster, kustomization: &Path) -> Result<String, Error> {
    let definitions = Path::new(REPOSITORY).join("deploy/kustomize/definitions");
    let apply = |folder: &Path| run(kubectl(context, cluster).args(["apply", "--server-side", "-k"]).arg(folder), "");
    Ok(apply(&definitions)? + &apply(kustomization)?)
}

/// Writes the kustomization of an overlay beside a link to `deploy`: kustomize follows relative paths only.
pub(crate) fn overlay(folder: &Path, kustomization: &str) -> Result<PathBuf, Error> {
    if !folder.join("deploy").exists() {
        symlink(Path::new(REPOSITORY).join("deploy"), folder.join("deploy"))?;
    }
    let overlay = folder.join("overlay");
    fs::create_dir_all(&overlay)?;
    fs::write(overlay.join("kustomization.yaml"), kustomization)?;
    Ok(overlay)
}

/// Makes a recovery key; returns its recipient.
pub(crate) fn recovery_recipient(context: &Context, folder: &Path) -> Result<String, Error> {
    let mut generate = Command::new(&context.programs.waxseal);
    generate.env_clear().args(["keys", "generate", "--recovery", "-o", "recovery.key"]).current_dir(folder);
    let public = run(&mut generate, "")?;
    let recipient = public.lines().find_map(|line| line.trim().strip_prefix("recipient: "));
    Ok(recipient.ok_or("no recipient")?.to_owned())
}

/// The controller of the Deployment in the cluster makes a Secret from a SealedSecret.
pub(crate) async fn does_the_job(context: &Context, cluster: &Cluster, namespace: &Namespace) -> TestResult {
    let controller = Controller::start_deployed(cluster, &context.programs, "deployed").await?;
    controller.ready().await?;
    create(namespace, &sealed(context, cluster, &controller, namespace)?).await?;
    with_reason(namespace, "db", "Materialised").await?;
    let secret = namespace.api::<Secret>().get("db").await?;
    assert_eq!(values(&secret), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Ok(())
}

async fn base(context: &Context, cluster: &Cluster) -> TestResult {
    apply(context, cluster, &Path::new(REPOSITORY).join("deploy/kustomize/base"))?;
    does_the_job(context, cluster, &cluster.namespace("base").await?).await
}

async fn components(context: &Context, cluster: &Cluster) -> TestResult {
    let recipient = recovery_recipient(context, cluster.folder())?;
    let overlay = overlay(cluster.folder(), &WHOLE_CLUSTER.replace("RECIPIENT", &recipient))?;
    let said = apply(context, cluster, &overlay)?;
    for object in
        ["validatingadmissionpolicy", "clusterrole.rbac.authorization.k8s.io/waxseal-controller-owner-references"]
    {
        assert!(said.contains(object), "{said}");
    }
    assert!(!said.contains("configmap"), "{said}");
    let namespace = cluster.namespace("components").await?;
    does_the_job(context, cluster, &namespace).await?;
    let keys = fs::read_to_string(cluster.folder().join("keys.yaml"))?;
    assert!(keys.contains(&recipient), "{keys}");
    Ok(())
}

async fn namespaced(context: &Context, cluster: &Cluster) -> TestResult {
    let namespace = cluster.namespace("shop").await?;
    let name = namespace.name();
    let kustomization = NAMESPACED.replace("NAMESPACE", name);
    let overlay = overlay(cluster.folder(), &kustomization)?;
    fs::create_dir_all(overlay.join(name))?;
    let rights = "../../deploy/kustomize/components/namespaced/rights";
    let of_namespace = format!("namespace: {name}\nresources: [{rights}]\n");
    fs::write(overlay.join(name).join("kustomization.yaml"), of_namespace)?;
    let said = apply(context, cluster, &overlay)?;
    assert!(!said.contains("clusterrole"), "{said}");
    does_the_job(context, cluster, &namespace).await
}

async fn pod_security(context: &Context, cluster: &Cluster) -> TestResult {
    apply(context, cluster, &Path::new(REPOSITORY).join("deploy/kustomize/base"))?;
    only_restricted_pods(cluster).await
}

/// The API server admits a Pod of the Deployment, and refuses the same Pod with more rights.
pub(crate) async fn only_restricted_pods(cluster: &Cluster) -> TestResult {
    let spec = deployed_pod(cluster).await?;
    let mut privileged = spec.clone();
    for container in &mut privileged.containers {
        container.security_context = None;
    }
    let pods: Api<Pod> = Api::namespaced(cluster.client(), KEY_NAMESPACE);
    let refused = pods.create(&PostParams::default(), &pod("privileged", privileged)?).await;
    let error = refused.expect_err("the namespace enforces the Pod Security Standard").to_string();
    assert!(error.contains("violates PodSecurity \"restricted:latest\""), "{error}");
    pods.create(&PostParams::default(), &pod("restricted", spec)?).await?;
    Ok(())
}

fn pod(name: &str, spec: PodSpec) -> Result<Pod, Error> {
    Ok(serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?)
}

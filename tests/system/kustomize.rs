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
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE, deployed_pod};
use waxseal_tests::waiting;

use crate::registration::{Context, Error, Test, TestResult, own_cluster_slot};
use crate::sealing::{DEADLINE, create, opaque, recipient_in, run, seal_with, values, with_reason};

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

/// An overlay that changes the names of the base.
const OTHER_NAMES: &str = "
resources: [../deploy/kustomize/definitions, ../deploy/kustomize/base]
components: [../deploy/kustomize/components/admission-policy]
namespace: sealing
namePrefix: prod
";

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
        on_empty_cluster("kustomize::the_admission_policy_follows_namespace_and_prefix", other_names),
        on_empty_cluster("kustomize::the_namespace_admits_only_restricted_pods", pod_security),
    ]
}

/// A test on a cluster of its own, without the definitions of Waxseal.
pub(crate) fn on_empty_cluster(
    name: &'static str,
    run: impl AsyncFnOnce(&Context, &Cluster) -> TestResult + Send + 'static,
) -> Test {
    Test::blocking(name, |context| {
        let _slot = own_cluster_slot()?;
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
    Ok(recipient_in(&public)?.to_owned())
}

/// The controller of the Deployment in the cluster makes a Secret from a SealedSecret.
pub(crate) async fn does_the_job(context: &Context, cluster: &Cluster, namespace: &Namespace) -> TestResult {
    does_the_job_of(context, cluster, KEY_NAMESPACE, namespace).await.map(drop)
}

/// The controller of the Deployment in a namespace makes a Secret from a SealedSecret in another one. Returns the
/// running controller. Writes its public keys to the file `{key_namespace}.yaml` in the folder of the cluster.
pub(crate) async fn does_the_job_of(
    context: &Context,
    cluster: &Cluster,
    key_namespace: &str,
    namespace: &Namespace,
) -> Result<Controller, Error> {
    let controller = Controller::start_deployed(cluster, &context.image()?, key_namespace).await?;
    controller.ready().await?;
    let keys_file = cluster.folder().join(format!("{key_namespace}.yaml"));
    installation::fetch_keys_of(&context.programs, &controller.kubeconfig, key_namespace, &keys_file)?;
    let manifest = opaque("db", &[("PASSWORD", "hunter2")]);
    create(namespace, &seal_with(context, &keys_file, &manifest, namespace.name())?).await?;
    with_reason(namespace, "db", "Materialised").await?;
    let secret = namespace.api::<Secret>().get("db").await?;
    assert_eq!(values(&secret), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Ok(controller)
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
    let keys = fs::read_to_string(cluster.folder().join("waxseal-system.yaml"))?;
    assert!(keys.contains(&recipient), "{keys}");
    Ok(())
}

/// The policy still applies when a kustomization changes the names.
async fn other_names(context: &Context, cluster: &Cluster) -> TestResult {
    let overlay = overlay(cluster.folder(), OTHER_NAMES)?;
    apply(context, cluster, &overlay)?;
    let token = cluster.service_account_token("sealing", "prodwaxseal-controller").await?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client_as(&token)?, "kube-system");
    let unmarked: Secret = serde_json::from_value(json!({"metadata": {"name": "new"}}))?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    // A right and a policy are in force a moment after they were made. Without the right, RBAC refuses the request.
    let refused = async || {
        let error = secrets.create(&params, &unmarked).await.err()?.to_string();
        error.contains("writes only Secrets that carry the label waxseal.dev/secret").then_some(())
    };
    Ok(waiting::until("a refusal by the policy", DEADLINE, refused).await?)
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
    let spec = deployed_pod(cluster, KEY_NAMESPACE).await?;
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

//! `deploy/chart`: stock helm renders what kustomize renders, and installs it on a real API server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::SealingKey;
use waxseal_tests::assets;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{KEY_NAMESPACE, SERVICE_ACCOUNT, deployed_pod};
use waxseal_tests::waiting;

use crate::kustomize::{
    does_the_job, does_the_job_of, kubectl, on_empty_cluster, only_restricted_pods, overlay, recovery_recipient,
};
use crate::registration::{Context, Error, Test, TestResult};
use crate::removal::COLLECTED;
use crate::sealing::{create, opaque, run, seal_with, with_reason};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// All values that become flags of the controller, none of them at its default.
const ALL_FLAGS: &str = r#"
namespaces: [shop]
keyNamespace: keys
keyGeneration: false
renewAfter: 30d
recoveryRecipients: [age1pq1first, age1pq1second]
recoveryRecipientsConfigMap: more
forbidMetadata: [example.org/]
logFormat: text
listen: 0.0.0.0:9000
metricsListen: 0.0.0.0:9001
"#;
/// The flags that make no sense in a Pod.
const OUTSIDE: [&str; 2] = ["WAXSEAL_CONTEXT", "WAXSEAL_KUBECONFIG"];
const NAMESPACED: &str = r#"
resources: [../deploy/kustomize/base, shop, blog]
components:
  - ../deploy/kustomize/components/namespaced
  - ../deploy/kustomize/components/recovery-keys
configMapGenerator:
  - name: waxseal-namespaces
    literals: ["namespaces=shop,blog"]
  - name: waxseal-recovery-keys
    literals: ["recipients=age1pq1first,age1pq1second"]
"#;

const AMBIGUOUS: &str = r#"
namespaces: ["no", "123", "null", "1e3"]
keyNamespace: "true"
priorityClassName: "yes"
recoveryRecipientsConfigMap: "off"
image: {pullSecrets: ["1"]}
"#;

/// How the policy of Kustomize finds the ServiceAccount of the controller.
const ANY_ACCOUNT: &str =
    "request.userInfo.username.matches('^system:serviceaccount:[^:]+:[^:]*waxseal-controller[^:]*$')";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("chart::helm_lints_it", lint),
        Test::blocking("chart::values_of_a_wrong_form_are_refused", wrong_forms),
        Test::blocking("chart::blank_values_are_refused", blank_values),
        Test::blocking("chart::every_flag_of_the_controller_is_a_value", flags),
        Test::blocking("chart::names_that_yaml_reads_as_something_else_stay_names", ambiguous_names),
        Test::blocking("chart::every_object_gets_the_labels", labels),
        Test::blocking("chart::a_release_names_its_own_namespaces", namespaces),
        Test::blocking("chart::it_is_equal_to_kustomize_for_the_whole_cluster", whole_cluster),
        Test::blocking("chart::it_is_equal_to_kustomize_for_some_namespaces", some_namespaces),
        Test::new("chart::kubeconform_accepts_chart_and_kustomize", conform),
        on_empty_cluster("chart::two_namespaced_releases_do_the_whole_job_without_a_cluster_role", namespaced_releases),
        on_empty_cluster("chart::it_installs_upgrades_and_leaves_everything_of_value", life),
    ]
}

pub(crate) fn chart() -> String {
    format!("{REPOSITORY}/deploy/chart")
}

/// Runs helm without the settings of the user.
pub(crate) fn helm(folder: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut helm = Command::new(assets::helm()?);
    run(helm.env_clear().env("HOME", folder).args(arguments), "")
}

fn template(folder: &Path, arguments: &[&str]) -> Result<String, Error> {
    let chart = chart();
    helm(folder, &[&["template", "waxseal", &chart, "-n", KEY_NAMESPACE], arguments].concat())
}

/// Renders a kustomization and the definitions, which the chart has too.
fn build(kustomization: &Path) -> Result<String, Error> {
    let build = |folder: &Path| run(Command::new(assets::kustomize()?).env_clear().arg("build").arg(folder), "");
    let definitions = build(&Path::new(REPOSITORY).join("deploy/kustomize/definitions"))?;
    Ok(format!("{definitions}---\n{}", build(kustomization)?))
}

/// The objects of a stream by kind, namespace and name, without the Namespace, which no chart creates. The order of
/// environment variables has no meaning.
fn objects(manifests: &str) -> Result<BTreeMap<String, Value>, Error> {
    let mut objects = BTreeMap::new();
    for mut object in serde_saphyr::from_multiple::<Value>(manifests)? {
        let metadata = &object["metadata"];
        let id = format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"]);
        if let Some(variables) = environment(&mut object) {
            variables.sort_by_key(|variable| variable["name"].to_string());
        }
        if object["kind"] != "Namespace" {
            assert_eq!(objects.insert(id.clone(), object), None, "{id} is there twice");
        }
    }
    assert!(!objects.is_empty());
    Ok(objects)
}

fn environment(object: &mut Value) -> Option<&mut Vec<Value>> {
    object.pointer_mut("/spec/template/spec/containers/0/env")?.as_array_mut()
}

fn assert_equal(helm: &str, kustomize: &str) -> TestResult {
    let (helm, kustomize) = (objects(helm)?, objects(kustomize)?);
    assert_eq!(helm.keys().collect::<Vec<_>>(), kustomize.keys().collect::<Vec<_>>());
    for (id, object) in &helm {
        assert_eq!(Some(object), kustomize.get(id), "{id}");
    }
    Ok(())
}

fn lint(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    let said = helm(folder.path(), &["lint", "--strict", &chart()])?;
    assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
    Ok(())
}

fn wrong_forms(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    for (value, said) in [
        ("colour=red", "additional properties 'colour' not allowed"),
        ("image.colour=red", "additional properties 'colour' not allowed"),
        ("renewAfter=0", "got number, want string"),
        ("priorityClassName=a b", "does not match pattern"),
        ("image.repository=r/waxseal:1.0", "does not match pattern"),
        ("listen=a b:80", "does not match pattern"),
        // This label would give the rights of the controller to all users with the ClusterRole `view`.
        (r"labels.rbac\.authorization\.k8s\.io/aggregate-to-view=true", "'not' failed"),
        ("listen=0.0.0.0:65536", "does not match pattern"),
        ("networkPolicy.metricsFrom[0]=null", "networkPolicy"),
        ("namespaces={shop,shop}", "items at 0 and 1 are equal"),
    ] {
        let refused = template(folder.path(), &["--set", value]).expect_err(value).to_string();
        assert!(refused.contains(said), "{value}: {refused}");
    }
    let identity = ["--set", "recoveryRecipients={AGE-SECRET-KEY-PQ-1CANARY}"];
    let refused = template(folder.path(), &identity).expect_err("a private key").to_string();
    assert!(refused.contains("'/recoveryRecipients/0': 'not' failed") && !refused.contains("CANARY"), "{refused}");
    Ok(())
}

/// Helm removes a value that is left blank: a protection must not go with it.
fn blank_values(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    for name in names_of_values()? {
        let refused = template(folder.path(), &["--set", &format!("{name}=null")]).expect_err(&name).to_string();
        assert!(refused.contains("missing propert"), "{name}: {refused}");
    }
    Ok(())
}

/// The names of all values, and of the values in `image` and `networkPolicy`.
fn names_of_values() -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(waxseal_tests::chart::folder().join("values.yaml"))?;
    let values: BTreeMap<String, Value> = serde_saphyr::from_str(&text)?;
    let mut names: Vec<_> = values.keys().cloned().collect();
    for group in ["image", "networkPolicy"] {
        let inner = values[group].as_object().ok_or("not a group of values")?;
        names.extend(inner.keys().map(|name| format!("{group}.{name}")));
    }
    Ok(names)
}

fn flags(context: &Context) -> TestResult {
    let help = run(Command::new(&context.programs.waxseal_controller).args(["kubernetes", "--help"]), "")?;
    let variables = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    let variables: BTreeSet<_> = variables.filter(|name| !OUTSIDE.contains(name)).collect();
    assert!(variables.len() >= 8, "{help}");
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("values.yaml"), ALL_FLAGS)?;
    let values = folder.path().join("values.yaml");
    let mut objects = objects(&template(folder.path(), &["-f", values.to_str().ok_or("a path")?])?)?;
    let deployment =
        objects.get_mut("\"Deployment\" \"waxseal-system\" \"waxseal-controller\"").ok_or("no Deployment")?;
    let ports = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(*ports, json!([{"name": "http", "containerPort": 9000}, {"name": "metrics", "containerPort": 9001}]));
    let set: Vec<_> = environment(deployment).ok_or("no environment")?.iter().map(|set| set["name"].clone()).collect();
    for variable in variables {
        assert!(set.contains(&json!(variable)), "{variable} is not a value of the chart");
    }
    Ok(())
}

fn labels(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    for namespaces in ["", ",namespaces={shop,blog}"] {
        let set = format!("labels.team=red,ownerReferencesRights=true{namespaces}");
        for (id, object) in objects(&template(folder.path(), &["--set", &set])?)? {
            assert_eq!(object["metadata"]["labels"]["team"], "red", "{id}");
        }
    }
    Ok(())
}

/// Valid names that YAML would read as something else.
fn ambiguous_names(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("values.yaml"), AMBIGUOUS)?;
    let values = folder.path().join("values.yaml");
    let chart = chart();
    let objects = objects(&helm(
        folder.path(),
        &["template", "w", &chart, "-n", "0777", "-f", values.to_str().ok_or("a path")?],
    )?)?;
    for namespace in ["no", "123", "null", "1e3"] {
        assert!(objects.contains_key(&format!("\"Role\" \"{namespace}\" \"waxseal-controller\"")), "{namespace}");
    }
    let pod = &objects["\"Deployment\" \"0777\" \"waxseal-controller\""]["spec"]["template"]["spec"];
    let names = [
        &pod["priorityClassName"],
        &pod["imagePullSecrets"][0]["name"],
        &pod["volumes"][0]["configMap"]["name"],
        &objects["\"Role\" \"true\" \"waxseal-controller-keys\""]["metadata"]["namespace"],
    ];
    assert_eq!(names, [&json!("yes"), &json!("1"), &json!("off"), &json!("true")]);
    Ok(())
}

/// Releases in two namespaces do not collide, and each admission policy is for the account of its own release.
fn namespaces(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    let chart = chart();
    let rendered = helm(folder.path(), &["template", "w", &chart, "-n", "other", "--set", "keyNamespace=keys"])?;
    assert!(!rendered.contains("waxseal-system"), "{rendered}");
    let objects = objects(&rendered)?;
    for kind in ["ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        assert!(objects.contains_key(&format!("\"{kind}\" null \"waxseal-controller-other\"")), "{kind}");
    }
    for role in ["view", "edit"] {
        assert!(objects.contains_key(&format!("\"ClusterRole\" null \"waxseal-{role}-other\"")), "{role}");
    }
    let policy = &objects["\"ValidatingAdmissionPolicy\" null \"waxseal-controller-other\""]["spec"];
    let account = "request.userInfo.username == 'system:serviceaccount:other:waxseal-controller'";
    assert_eq!(policy["matchConditions"][0]["expression"], account);
    assert_eq!(policy["variables"][0]["expression"], "'keys'");
    Ok(())
}

fn whole_cluster(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    let base = Path::new(REPOSITORY).join("deploy/kustomize/base");
    assert_equal(&template(folder.path(), &["--set", "admissionPolicy=false"])?, &build(&base)?)?;
    let kustomization = "resources: [../deploy/kustomize/base]\n\
                         components: [../deploy/kustomize/components/admission-policy]\n";
    // Only the chart knows the namespace of the ServiceAccount.
    let account = "request.userInfo.username == 'system:serviceaccount:waxseal-system:waxseal-controller'";
    let with_policy = template(folder.path(), &[])?;
    assert!(with_policy.contains(account), "{with_policy}");
    let secure = build(&overlay(folder.path(), kustomization)?)?;
    assert_equal(&with_policy.replace(account, ANY_ACCOUNT), &secure)?;
    let more = overlay(folder.path(), &kustomization.replace("admission-policy", "owner-references"))?;
    let values = "admissionPolicy=false,ownerReferencesRights=true";
    assert_equal(&template(folder.path(), &["--set", values])?, &build(&more)?)
}

fn some_namespaces(_: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    let overlay = overlay(folder.path(), NAMESPACED)?;
    let rights = "../../deploy/kustomize/components/namespaced";
    for namespace in ["shop", "blog"] {
        fs::create_dir_all(overlay.join(namespace))?;
        let resources = format!("[{rights}/rights, {rights}/owner-references-rights]");
        let kustomization = format!("namespace: {namespace}\nresources: {resources}\n");
        fs::write(overlay.join(namespace).join("kustomization.yaml"), kustomization)?;
    }
    let values = "admissionPolicy=false,ownerReferencesRights=true,namespaces={shop,blog},\
                  recoveryRecipients={age1pq1first,age1pq1second}";
    let rendered = template(folder.path(), &["--set", values])?;
    assert!(!rendered.contains("kind: ClusterRole"), "{rendered}");
    assert_equal(&rendered, &build(&overlay)?)
}

/// Writes a JSON schema for each kind in the manifests, from the API server's OpenAPI. Unknown fields are refused.
async fn write_schemas(cluster: &Cluster, manifests: &str, folder: &Path) -> TestResult {
    for object in objects(manifests)?.into_values() {
        let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let (Some(version), Some(kind)) = (version, kind) else { return Err("not an object".into()) };
        let root = if version.contains('/') { "apis" } else { "api" };
        let request = http::Request::get(format!("/openapi/v3/{root}/{version}")).body(Vec::new())?;
        let mut document: Value = cluster.client().request(request).await?;
        close(&mut document);
        let schemas = document["components"]["schemas"].as_object().ok_or("no schemas")?;
        let names = schemas.iter().filter(|(_, schema)| is_of_kind(schema, kind)).map(|(name, _)| name);
        let name = names.min_by_key(|name| name.len()).ok_or_else(|| format!("no schema of {kind}"))?;
        document["$ref"] = json!(format!("#/components/schemas/{name}"));
        let (group, version) = version.split_once('/').unwrap_or((version, version));
        let file = format!("{group}-{version}-{}.json", kind.to_lowercase());
        fs::write(folder.join(file), serde_json::to_string(&document)?)?;
    }
    Ok(())
}

fn is_of_kind(schema: &Value, kind: &str) -> bool {
    let kinds = schema["x-kubernetes-group-version-kind"].as_array();
    kinds.is_some_and(|kinds| kinds.iter().any(|found| found["kind"] == kind))
}

/// Makes a schema refuse unknown fields.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) && fields.get("type") == Some(&json!("object")) {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

async fn conform(context: &Context) -> TestResult {
    let folder = tempfile::tempdir()?;
    let values = "ownerReferencesRights=true,podAnnotations.a=b,priorityClassName=high,recoveryRecipientsConfigMap=more,\
                  nodeSelector.a=b,image.pullSecrets={registry},tolerations[0].operator=Exists";
    let helm = template(folder.path(), &["--set", values])?;
    let kustomize = build(&Path::new(REPOSITORY).join("deploy/kustomize/base"))?;
    write_schemas(&context.cluster, &helm, folder.path()).await?;
    write_schemas(&context.cluster, &kustomize, folder.path()).await?;
    let schemas =
        format!("{}/{{{{.Group}}}}-{{{{.ResourceAPIVersion}}}}-{{{{.ResourceKind}}}}.json", folder.path().display());
    let check = |manifests: &str| -> Result<String, Error> {
        let mut kubeconform = Command::new(assets::kubeconform()?);
        let arguments = ["-strict", "-summary", "-skip", "Namespace", "-schema-location", &schemas, "-"];
        run(kubeconform.env_clear().args(arguments), manifests)
    };
    for manifests in [&helm, &kustomize] {
        let said = check(manifests)?;
        assert!(said.contains("Invalid: 0, Errors: 0"), "{said}");
    }
    assert!(check(&helm.replace("runAsNonRoot:", "runsAsNonRoot:")).is_err());
    Ok(())
}

async fn life(context: &Context, cluster: &Cluster) -> TestResult {
    let folder = cluster.folder();
    let manifest = Path::new(REPOSITORY).join("deploy/kustomize/definitions/namespace.yaml");
    run(kubectl(context, cluster).args(["apply", "--server-side", "-f"]).arg(manifest), "")?;
    let kubeconfig = cluster.admin_kubeconfig().to_str().ok_or("a path")?;
    let chart = chart();
    let release = |command: &[&str], values: &[&str]| {
        let place = ["-n", KEY_NAMESPACE, "--kubeconfig", kubeconfig];
        helm(folder, &[command, &place, values].concat())
    };
    let recovery = format!("recoveryRecipients={{{}}}", recovery_recipient(context, folder)?);

    let notes = release(&["install", "waxseal", &chart], &["--set", &recovery])?;
    assert!(notes.contains("waxseal keys fetch --context"), "{notes}");
    only_restricted_pods(cluster).await?;
    let namespace = cluster.namespace("chart").await?;
    does_the_job(context, cluster, &namespace).await?;
    let keys_file = fs::read_to_string(folder.join("waxseal-system.yaml"))?;
    assert!(keys_file.contains("role: Recovery"), "{keys_file}");

    let before = Kept::of(cluster, namespace.api()).await?;
    assert!(!before.identities.is_empty() && before.sealing_keys.len() == 2);
    release(&["upgrade", "waxseal", &chart], &["--set", &recovery, "--set", "renewAfter=30d"])?;
    let pod = deployed_pod(cluster, KEY_NAMESPACE).await?;
    let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
    assert!(variables.into_iter().any(|set| set.value.as_deref() == Some("30d")), "{pod:?}");
    assert_eq!(Kept::of(cluster, namespace.api()).await?, before);

    release(&["uninstall", "waxseal"], &[])?;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), KEY_NAMESPACE);
    assert!(deployments.get_opt(SERVICE_ACCOUNT).await?.is_none());
    assert_eq!(Kept::of(cluster, namespace.api()).await?, before);
    assert!(namespace.api::<SealedSecret>().get_opt("db").await?.is_some());
    release(&["install", "waxseal", &chart], &[])?;
    assert_eq!(Kept::of(cluster, namespace.api()).await?, before);

    release(&["uninstall", "waxseal"], &[])?;
    for command in notes.lines().filter_map(|line| line.strip_prefix("  kubectl ")) {
        run(kubectl(context, cluster).args(command.split(' ')), "")?;
    }
    let identities = Api::<Secret>::namespaced(cluster.client(), KEY_NAMESPACE);
    let of_type = ListParams::default().fields("type=waxseal.dev/sealing-key");
    assert!(identities.list(&of_type).await?.items.is_empty());
    assert!(
        Api::<CustomResourceDefinition>::all(cluster.client()).list(&ListParams::default()).await?.items.is_empty()
    );
    let secrets = namespace.api::<Secret>();
    let is_collected = async || secrets.get_opt("db").await.ok()?.is_none().then_some(());
    Ok(waiting::until("the end of the Secret", COLLECTED, is_collected).await?)
}

/// Neither release is in the namespace waxseal-system. The first brings the definitions.
async fn namespaced_releases(context: &Context, cluster: &Cluster) -> TestResult {
    let (shop, blog) = (cluster.namespace("shop").await?, cluster.namespace("blog").await?);
    let (one, two) = (cluster.namespace("keys").await?, cluster.namespace("keys").await?);
    let kubeconfig = cluster.admin_kubeconfig().to_str().ok_or("a path")?;
    let install = |release: &Namespace, values: &str| {
        let place = ["-n", release.name(), "--kubeconfig", kubeconfig, "--set", values];
        helm(cluster.folder(), &[&["install", "waxseal", &chart()][..], &place].concat())
    };
    let recipient = recovery_recipient(context, cluster.folder())?;
    let recipients =
        json!({"metadata": {"name": "recovery"}, "data": {"recipients": format!("# Ours\n{recipient}\n")}});
    one.api::<ConfigMap>().create(&PostParams::default(), &serde_json::from_value(recipients)?).await?;
    install(&one, &format!("namespaces={{{}}},recoveryRecipientsConfigMap=recovery", shop.name()))?;
    install(&two, &format!("namespaces={{{}}},installCRDs=false", blog.name()))?;
    let roles = Api::<ClusterRole>::all(cluster.client()).list(&ListParams::default()).await?;
    assert!(roles.iter().all(|role| !role.name_any().contains("waxseal")));

    let _one = does_the_job_of(context, cluster, one.name(), &shop).await?;
    let _two = does_the_job_of(context, cluster, two.name(), &blog).await?;
    for (release, recovers) in [(&one, true), (&two, false)] {
        let keys = fs::read_to_string(cluster.folder().join(format!("{}.yaml", release.name())))?;
        assert_eq!(keys.contains(&recipient), recovers, "{keys}");
        assert_eq!(keys.matches("role: Cluster").count(), 1, "{keys}");
    }
    // What is sealed to the keys of one release does not open in the namespace of the other.
    let keys_of_one = cluster.folder().join(format!("{}.yaml", one.name()));
    create(&blog, &seal_with(context, &keys_of_one, &opaque("of-one", &[("PASSWORD", "hunter2")]), blog.name())?)
        .await?;
    with_reason(&blog, "of-one", "KeyMissing").await?;
    Ok(())
}

/// What stays the same in an upgrade and in a removal.
#[derive(Debug, PartialEq)]
struct Kept {
    secret: Option<String>,
    identities: Vec<(String, Option<String>)>,
    sealing_keys: Vec<String>,
    definitions: Vec<Option<String>>,
}

impl Kept {
    async fn of(cluster: &Cluster, secrets: Api<Secret>) -> Result<Self, Error> {
        let all = ListParams::default();
        let identities = Api::<Secret>::namespaced(cluster.client(), KEY_NAMESPACE);
        let identities = identities.list(&all.clone().fields("type=waxseal.dev/sealing-key")).await?;
        let sealing_keys = Api::<SealingKey>::namespaced(cluster.client(), KEY_NAMESPACE).list(&all).await?;
        let definitions = Api::<CustomResourceDefinition>::all(cluster.client()).list(&all).await?;
        Ok(Self {
            secret: secrets.get("db").await?.resource_version(),
            identities: identities.iter().map(|secret| (secret.name_any(), secret.resource_version())).collect(),
            sealing_keys: sealing_keys.iter().map(ResourceExt::name_any).collect(),
            definitions: definitions.iter().map(ResourceExt::uid).collect(),
        })
    }
}

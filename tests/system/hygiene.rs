//! Secrets appear only where they belong, at every log level, and only the key ring and read buffers stay in the
//! controller's memory.

use std::collections::BTreeMap;
use std::fs;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use waxseal_shared::key::IdentityFile;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::SealingKey;
use waxseal_tests::canaries::Canaries;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::vectors::KnownObject;
use waxseal_tests::{memory, waiting};

use crate::controllers::answer;
use crate::registration::{Context, Error, Test, TestResult, own_cluster_slot};
use crate::sealing::{DEADLINE, create, create_plain, opaque, seal_with, with_reason};

/// The number of places in memory that may hold a text of an answer in base64: each connection keeps its last read
/// buffer. One to three places were measured, with several connections.
const LEFT_IN_BUFFERS: usize = 6;
/// The parts that a key ring of one key holds once each: the seed of X-Wing, and the keys that it expands to. The
/// second half of the seed of ML-KEM is a part of its expanded key (FIPS 203, `z`).
const IN_THE_KEY_RING: [&str; 4] = [
    "the bytes of an identity",
    "the second half of the seed of ML-KEM",
    "the secret vector of ML-KEM",
    "the X25519 scalar",
];

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("hygiene::no_secret_is_shown_at_any_log_level", talkative),
        Test::on_own_cluster("hygiene::memory_keeps_only_the_key_ring_and_read_buffers", remains),
    ]
}

/// After a reconcile, memory holds nothing of the DEK and of the keys derived from it, and no plain value. It holds
/// each part of the identity exactly as often as the key ring does. The read buffers of open connections still hold
/// base64.
async fn remains(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let namespace = cluster.namespace("remains").await?;
    let known = KnownObject::new(namespace.name(), "db");
    install_identity(cluster, &known).await?;
    let mut command = memory::readable(&context.programs.waxseal_controller)?;
    command.env_clear();
    let controller = Controller::start_command(cluster, command, "remains").await?;
    create(&namespace, &serde_json::from_value(known.manifest.clone())?).await?;
    with_reason(&namespace, "db", "Materialised").await?;

    // A reconcile that still runs has its values in memory.
    let mut last = Ok(BTreeMap::new());
    let canaries = known.canaries();
    let settled = waiting::until("rest", DEADLINE, async || {
        last = left(&controller, &canaries);
        last.as_ref().is_ok_and(is_expected).then_some(())
    });
    let settled = settled.await;
    settled.map_err(|error| format!("{error}; left are {:?}", last.map_err(|error| error.to_string())).into())
}

/// Counts the places of each secret in memory, by name and form.
fn left(controller: &Controller, canaries: &Canaries) -> Result<BTreeMap<(String, &'static str), usize>, Error> {
    let mut counts = BTreeMap::new();
    for (_, sighting) in memory::sightings(&memory::read(controller.process_id())?, canaries) {
        *counts.entry((sighting.secret, sighting.form)).or_default() += 1;
    }
    Ok(counts)
}

fn is_expected(counts: &BTreeMap<(String, &'static str), usize>) -> bool {
    let count_of = |secret: &str, form| counts.get(&(secret.to_owned(), form)).copied().unwrap_or_default();
    let is_known = |secret: &str, form: &str| {
        form == "raw" && IN_THE_KEY_RING.contains(&secret)
            || form == "base64" && ["the value", "an identity"].contains(&secret)
    };
    counts.keys().all(|(secret, form)| is_known(secret, form))
        && IN_THE_KEY_RING.iter().all(|part| count_of(part, "raw") == 1)
        && ["the value", "an identity"].iter().all(|secret| count_of(secret, "base64") <= LEFT_IN_BUFFERS)
}

/// The secrets of one test, and the search for them.
struct Watch {
    canaries: Canaries,
    known: KnownObject,
}

impl Watch {
    /// The value, the keys and the identity of an object, and the token of the controller's account.
    fn new(known: KnownObject, controller: &Controller) -> Result<Self, Error> {
        let kubeconfig: Value = serde_saphyr::from_str(&fs::read_to_string(&controller.kubeconfig)?)?;
        let token = kubeconfig["users"][0]["user"]["token"].as_str().ok_or("no token")?;
        let (_, signature) = token.rsplit_once('.').ok_or("no signature")?;
        let parts = known.keys.iter().chain(&known.identity_parts).map(|(name, part)| (*name, part.as_slice()));
        let canaries =
            Canaries::new(parts.chain([("the value", known.value.as_bytes()), ("the token", signature.as_bytes())]));
        Ok(Self { canaries, known })
    }

    fn forms_in(&self, text: &str) -> Vec<&'static str> {
        self.canaries.sightings(text.as_bytes()).into_iter().map(|sighting| sighting.form).collect()
    }

    /// Fails if a secret shows in the log, in an HTTP answer, in the status of a SealedSecret, in a SealingKey, in an
    /// Event, or in the audit log, except in the policy's refusals.
    async fn assert_silent(&self, cluster: &Cluster, controller: &Controller) -> TestResult {
        self.canaries.assert_absent("the log", controller.log_text());
        for path in ["/metrics", "/livez", "/readyz"] {
            let (_, answer) = answer(controller, path).await.ok_or("no answer")?;
            self.canaries.assert_absent(path, answer);
        }
        let all = ListParams::default();
        for object in Api::<SealedSecret>::all(cluster.client()).list(&all).await? {
            self.canaries.assert_absent("a status", serde_json::to_string(&object.status)?);
        }
        let keys = Api::<SealingKey>::all(cluster.client()).list(&all).await?.items;
        let events = Api::<Event>::all(cluster.client()).list(&all).await?.items;
        self.canaries.assert_absent("a SealingKey", serde_json::to_string(&keys)?);
        self.canaries.assert_absent("an Event", serde_json::to_string(&events)?);
        // For each request that the policy refuses, the audit log has the policy's message, which quotes the value.
        let audited = fs::read_to_string(cluster.audit_log())?;
        let (refused, audited): (Vec<_>, Vec<_>) =
            audited.lines().partition(|line| line.contains("refused because of"));
        assert!(!self.forms_in(&refused.concat()).is_empty(), "the API server audits no refusal");
        self.canaries.assert_absent("the audit log", audited.concat());
        Ok(())
    }
}

fn talkative(context: &Context) -> TestResult {
    let _slot = own_cluster_slot()?;
    let mut cluster = Cluster::start(&context.assets.kubernetes, &installation::definitions()?)?;
    let temporary = cluster.folder().join("temporary");
    fs::create_dir(&temporary)?;
    let (controller, watch) = cluster.block_on(succeed_and_fail(context, &cluster, &temporary))?;
    cluster.kill_api_server();
    cluster.block_on(waiting::until("a failed watch", DEADLINE, async || {
        controller.log_text().contains("trying again").then_some(())
    }))?;
    watch.canaries.assert_absent("the log of an outage", controller.log_text());
    assert_eq!(fs::read_dir(&temporary)?.count(), 0);
    assert_eq!(cluster.block_on(controller.stop())?, Some(0));
    Ok(())
}

async fn succeed_and_fail(
    context: &Context,
    cluster: &Cluster,
    temporary: &std::path::Path,
) -> Result<(Controller, Watch), Error> {
    installation::apply(cluster).await?;
    let namespace = cluster.namespace("talkative").await?;
    let known = KnownObject::new(namespace.name(), "db");
    install_identity(cluster, &known).await?;
    install_broken_identity(cluster, &known).await?;
    quote_values_in_refusals(&namespace, cluster, &known).await?;
    let mut command = std::process::Command::new(&context.programs.waxseal_controller);
    command.env_clear().current_dir(temporary).env("TMPDIR", temporary);
    command.envs([("RUST_LOG", "trace,kube_client::client=trace"), ("RUST_BACKTRACE", "full")]);
    let controller = Controller::start_command(cluster, command, "talkative").await?;
    controller.ready().await?;
    let watch = Watch::new(known, &controller)?;

    create(&namespace, &serde_json::from_value(watch.known.manifest.clone())?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    assert_is_found_where_it_is(&namespace, &watch).await?;
    let objects = failing_objects(context, cluster, &namespace, &controller, &watch.known)?;
    create_plain(&namespace, "foreign", "theirs").await?;
    for (object, reason) in &objects {
        create(&namespace, object).await?;
        let name = object.metadata.name.as_deref().ok_or("a name")?;
        with_reason(&namespace, name, reason).await?;
    }
    let log = controller.log_text();
    assert!(log.contains("this identity Secret is not used") && log.contains("\"level\":\"WARN\""), "{log}");
    assert!(!log.contains("invalid character") && !log.contains("refused because"), "the API server's words");
    watch.assert_silent(cluster, &controller).await?;
    Ok((controller, watch))
}

/// Returns objects that hold the value and that the controller or the API server refuses, each with its reason.
fn failing_objects(
    context: &Context,
    cluster: &Cluster,
    namespace: &Namespace,
    controller: &Controller,
    known: &KnownObject,
) -> Result<Vec<(SealedSecret, &'static str)>, Error> {
    let keys_file = cluster.folder().join("keys.yaml");
    installation::fetch_keys(&context.programs, &controller.kubeconfig, &keys_file)?;
    let seal = |manifest: String| seal_with(context, &keys_file, &manifest, namespace.name());
    let changed = |name: &str, from: &str, to: &str| -> Result<SealedSecret, Error> {
        let text = known.manifest.to_string().replace("\"db\"", &format!("\"{name}\"")).replace(from, to);
        Ok(serde_json::from_str(&text)?)
    };
    let typed = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "typed"},
        "stringData": {".dockerconfigjson": known.value},
    });
    // `waxseal seal` refuses a Secret of this type with such a value. The type is not bound to the value, so it can be
    // changed afterwards.
    let mut typed = seal(typed.to_string())?;
    typed.spec.template.get_or_insert_default().type_ = Some("kubernetes.io/dockerconfigjson".to_owned());
    let values = [("PASSWORD", known.value.as_str())];
    let mut moved: SealedSecret = serde_json::from_value(known.manifest.clone())?;
    moved.metadata.name = Some("moved".to_owned());
    // The definition checks only the beginning and the length of a token.
    let mut plain = changed("plain", "", "")?;
    plain.spec.encrypted_data.insert("PLAIN".to_owned(), format!("wax1.e0123456789.{}", known.value.repeat(40)));
    Ok(vec![
        (typed, "Forbidden"),
        (seal(opaque("quoted", &values))?, "Forbidden"),
        (seal(opaque("foreign", &values))?, "ForeignOwner"),
        (changed("unreadable", "PASSWORD", "PASSWORT")?, "Unreadable"),
        (moved, "Moved"),
        (plain, "Malformed"),
    ])
}

/// The detector finds the value in the Secret, in each form, and in the message of the API server.
async fn assert_is_found_where_it_is(namespace: &Namespace, watch: &Watch) -> TestResult {
    let secret = namespace.api::<Secret>().get("db").await?;
    assert_eq!(watch.forms_in(&serde_json::to_string(&secret)?), ["base64"]);
    let data = secret.data.ok_or("no data")?;
    assert_eq!(watch.forms_in(std::str::from_utf8(&data["PASSWORD"].0)?), ["raw"]);
    assert_eq!(watch.forms_in(&format!("{:?}", data["PASSWORD"])), ["a list of numbers"]);
    let refused = refusal(namespace, &watch.known).await.ok_or("it was not refused")?;
    assert_eq!(watch.forms_in(&refused), ["base64"]);
    Ok(())
}

/// Makes the API server refuse Secrets with the name `quoted`, and quote their value in the message.
async fn quote_values_in_refusals(namespace: &Namespace, cluster: &Cluster, known: &KnownObject) -> TestResult {
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": "quote"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"],
            }]},
            "validations": [{
                "expression": "object.metadata.name != 'quoted'",
                "messageExpression": "'refused because of ' + string(object.data.PASSWORD)",
            }],
        },
    }))?;
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": "quote"}, "spec": {"policyName": "quote", "validationActions": ["Deny"]},
    }))?;
    Api::all(cluster.client()).create(&PostParams::default(), &policy).await?;
    Api::all(cluster.client()).create(&PostParams::default(), &binding).await?;
    waiting::until("the policy", DEADLINE, async || refusal(namespace, known).await).await?;
    Ok(())
}

/// Returns the message for a Secret that the policy refuses; `None` as long as the policy is not enforced.
async fn refusal(namespace: &Namespace, known: &KnownObject) -> Option<String> {
    let manifest = opaque("quoted", &[("PASSWORD", &known.value)]);
    let secret: Secret = serde_json::from_str(&manifest).ok()?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match namespace.api::<Secret>().create(&params, &secret).await {
        Err(kube::Error::Api(status)) => Some(status.message),
        _ => None,
    }
}

/// Creates the identity Secret in the key namespace.
async fn install_identity(cluster: &Cluster, known: &KnownObject) -> TestResult {
    let text = IdentityFile::write(&known.identity, "2026-01-01T00:00:00Z".parse()?);
    install(cluster, "known", text.as_bytes()).await
}

/// An identity in two lines, with the value in a line that is not a comment.
async fn install_broken_identity(cluster: &Cluster, known: &KnownObject) -> TestResult {
    let identity = known.identity.expose();
    let (one, other) = identity.split_at(identity.len() / 2);
    install(cluster, "broken", format!("{}\n{one}\n{other}\n", known.value).as_bytes()).await
}

async fn install(cluster: &Cluster, name: &str, identity: &[u8]) -> TestResult {
    let mut secret = Secret { type_: Some("waxseal.dev/sealing-key".to_owned()), ..Secret::default() };
    secret.metadata.name = Some(name.to_owned());
    let data = [("identity", identity), ("state", b"Active")];
    secret.data = Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.to_vec()))).into());
    Api::namespaced(cluster.client(), KEY_NAMESPACE).create(&PostParams::default(), &secret).await?;
    Ok(())
}

//! Requests that the API server itself refuses, because of the definitions or of the policy for the controller's
//! account.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::api_group::MARK_LABEL;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE, SERVICE_ACCOUNT};
use waxseal_tests::waiting;

use crate::registration::{Context, Error, Test, TestResult, own_cluster_slot};
use crate::sealing::{DEADLINE, create, opaque, with_reason};

/// A value that neither an answer of the API server nor its audit log may show.
const PLAIN: &str = "correct-horse-battery-staple";
const NOT_SEALED: &str =
    "not a sealed value that this version knows: expected \"wax1.ENVELOPE.…\"; seal a plain value with `waxseal seal`";
const NOT_A_WRAP: &str = "a wrap is the base64 of an age file, a dot, and the base64url of a proof of 16 bytes";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("admission::objects_that_the_format_does_not_allow_are_refused_and_not_quoted", definitions),
        Test::new("admission::sizes_and_counts_have_the_limits_of_the_format", sizes),
        Test::new("admission::a_vector_is_admitted_unless_its_form_is_refused", vectors),
        Test::blocking("admission::an_object_from_before_the_definitions_gets_its_status", upgrade),
        Test::on_own_cluster("admission::the_policy_limits_the_controller_to_its_own_secrets", policy),
        Test::on_own_cluster("admission::the_policy_limits_the_controller_to_the_state_of_its_keys", identities),
        Test::on_own_cluster("admission::the_policy_does_not_limit_an_administrator", administrator),
    ]
}

/// Requests the creation of an object as a dry run; returns the API server's message if it refuses the object.
async fn refusal(client: Client, object: Value) -> Result<Option<String>, Error> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let namespace = object.metadata.namespace.clone().ok_or("no namespace")?;
    let resource = ApiResource::erase::<SealedSecret>(&());
    let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &resource);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&params, &object).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

async fn definitions(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("admission").await?;
    let good = serde_json::to_value(context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?)?;
    let spec = &good["spec"];
    let token = spec["encryptedData"]["PASSWORD"].as_str().ok_or("a token")?;
    let (id, envelope) = spec["envelopes"].as_object().and_then(|all| all.iter().next()).ok_or("an envelope")?;
    let (key_id, wrap) = envelope["wraps"].as_object().and_then(|all| all.iter().next()).ok_or("a wrap")?;
    let wrap = wrap.as_str().ok_or("a wrap")?;
    let value = |value: Value| (vec!["encryptedData", "NEW"], value);
    let forbidden = |place: &str, text: &str| format!("spec.{place}: Forbidden: {text}");
    let not_sealed = forbidden("encryptedData[NEW]", NOT_SEALED);
    let wrap_place = format!("envelopes[{id}].wraps[{key_id}]");
    let commitment = forbidden(&format!("envelopes[{id}].commitment"), "a commitment is the base64 of 32 bytes");
    let in_envelope = |field: &'static str, value: Value| (vec!["envelopes", id.as_str(), field], value);
    let in_wraps = |value: String| (vec!["envelopes", id.as_str(), "wraps", key_id.as_str()], json!(value));
    let cases: Vec<((Vec<&str>, Value), String)> = vec![
        (value(json!(PLAIN)), not_sealed.clone()),
        (value(json!(format!("{PLAIN}{}", "x".repeat(1_400_000)))), not_sealed.clone()),
        (value(json!(format!("wax1.{}", PLAIN.repeat(30)))), not_sealed.clone()),
        (value(json!(token.replacen("wax1", "wax2", 1))), not_sealed.clone()),
        (value(json!(token.replacen("wax1.e", "wax1.E", 1))), not_sealed.clone()),
        (value(json!(format!("{}-{}", &token[..16], &token[17..]))), not_sealed.clone()),
        (value(json!(&token[..token.len() - 1])), not_sealed.clone()),
        (value(json!("")), not_sealed.clone()),
        (value(json!(12345)), "spec.encryptedData.NEW: Invalid value: \"integer\"".to_owned()),
        (value(json!({"a": PLAIN})), "spec.encryptedData.NEW: Invalid value: \"object\"".to_owned()),
        ((vec!["encryptedData", "..data"], json!(token)), forbidden("encryptedData", "a data key is 1 to 253")),
        (in_envelope("commitment", json!(PLAIN)), commitment.clone()),
        (in_envelope("commitment", json!(format!("{}B=", "A".repeat(42)))), commitment),
        (in_envelope("wraps", json!({})), format!("spec.envelopes.{id}.wraps: Invalid value")),
        (in_wraps(PLAIN.to_owned()), forbidden(&wrap_place, NOT_A_WRAP)),
        (in_wraps(format!("{wrap}.x")), forbidden(&wrap_place, NOT_A_WRAP)),
        (in_wraps(format!("{wrap}A")), forbidden(&wrap_place, NOT_A_WRAP)),
        (
            (vec!["template", "type"], json!("waxseal.dev/sealing-key")),
            forbidden("template.type", "Secrets of this type are never made from a SealedSecret"),
        ),
    ];
    assert_eq!(refusal(context.cluster.client(), good.clone()).await?, None);
    for ((path, value), expected) in cases {
        let mut object = good.clone();
        *path.iter().fold(&mut object["spec"], |tree, step| &mut tree[*step]) = value;
        let said = refusal(context.cluster.client(), object).await?.ok_or_else(|| format!("admitted: {expected}"))?;
        assert!(said.contains(&expected), "{expected}\nis not in\n{said}");
        assert!(!said.contains(PLAIN), "{said}");
    }
    let audited = std::fs::read_to_string(context.cluster.audit_log())?;
    assert!(audited.contains("seal a plain value") && !audited.contains(PLAIN), "the audit log quotes a value");
    Ok(())
}

/// The longest value and the largest number of values are admitted; one byte or one value more is refused. The other
/// limits of the format are admitted, all together.
async fn sizes(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("sizes").await?;
    let mut good = serde_json::to_value(context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?)?;
    let token = good["spec"]["encryptedData"]["PASSWORD"].as_str().ok_or("a token")?.to_owned();
    let token = |length: usize| json!(format!("{}{}", token, "A".repeat(length - token.len())));
    for (length, too_long) in [(17 + 1_441_835, false), (17 + 1_441_836, true)] {
        good["spec"]["encryptedData"]["PASSWORD"] = token(length);
        let said = refusal(context.cluster.client(), good.clone()).await?;
        let expected = "spec.encryptedData.PASSWORD: Too long: may not be more than 1441852 bytes";
        assert_eq!(said.as_deref().is_some_and(|said| said.contains(expected)), too_long, "{length}: {said:?}");
        assert_eq!(said.is_some(), too_long);
    }
    for (count, too_many) in [(256, false), (257, true)] {
        let tokens = (0..count).map(|number| (format!("K{number}"), token(401)));
        good["spec"]["encryptedData"] = tokens.collect();
        let said = refusal(context.cluster.client(), good.clone()).await?;
        assert_eq!(said.is_some(), too_many, "{count}: {said:?}");
    }
    // All limits except the length of a value together, in an object that is small enough for etcd: no rule of the
    // definition exceeds its cost budget.
    let envelope = good["spec"]["envelopes"].as_object().and_then(|all| all.values().next()).ok_or("no envelope")?;
    let wrap = envelope["wraps"].as_object().and_then(|all| all.values().next()).ok_or("no wrap")?;
    let wrap = wrap.as_str().ok_or("no wrap")?;
    let short = json!(format!("{}{}", &wrap[..1100], &wrap[wrap.len() - 23..]));
    let wraps: Value = (0..16).map(|number| (format!("k{number:016x}"), short.clone())).collect();
    let envelope = json!({"commitment": envelope["commitment"], "wraps": wraps});
    let long_key = |number: usize| format!("{number:0>253}");
    good["spec"]["envelopes"] = (0..64).map(|number| (format!("e{number:010x}"), envelope.clone())).collect();
    good["spec"]["encryptedData"] = (0..256).map(|number| (long_key(number), token(401))).collect();
    assert_eq!(refusal(context.cluster.client(), good).await?, None);
    Ok(())
}

/// A vector is admitted if it opens, or if the controller refuses it for another reason than its form.
async fn vectors(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("vectors").await?;
    let (mut admitted, mut refused) = (0, 0);
    for (name, object, reason) in object_vectors()? {
        let mut object = object;
        // Kubernetes refuses invalid names before it checks the definition.
        object["metadata"] = json!({"name": "vector", "namespace": namespace.name()});
        let said = refusal(context.cluster.client(), object).await?;
        let is_of_the_form = !matches!(reason.as_deref(), Some("Malformed" | "TooLarge" | "TypeForbidden"));
        match said {
            None => admitted += 1,
            Some(said) => {
                assert!(!is_of_the_form, "{name}, which is {reason:?}, was not admitted: {said}");
                refused += 1;
            }
        }
    }
    assert!(admitted > 100 && refused > 50, "{admitted} admitted, {refused} refused");
    Ok(())
}

/// An object was stored before the definitions refused it. The API server accepts a status for it, because it does not
/// check unchanged fields again.
fn upgrade(context: &Context) -> TestResult {
    let current = installation::definitions()?;
    let mut older = current.clone();
    for version in older.iter_mut().flat_map(|definition| &mut definition.spec.versions) {
        let mut value = serde_json::to_value(&version.schema)?;
        if let Some(tokens) = value.pointer_mut("/openAPIV3Schema/properties/spec/properties/encryptedData") {
            tokens["additionalProperties"] = json!({"type": "string"});
        }
        version.schema = serde_json::from_value(value)?;
    }
    let _slot = own_cluster_slot()?;
    let cluster = Cluster::start(&context.assets.kubernetes, &older)?;
    cluster.block_on(async {
        installation::apply(&cluster).await?;
        let namespace = cluster.namespace("upgrade").await?;
        let mut sealed = context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?;
        sealed.spec.envelopes.clear();
        sealed.spec.encrypted_data = [("PLAIN".to_owned(), PLAIN.to_owned())].into();
        create(&namespace, &sealed).await?;
        let definitions = Api::<CustomResourceDefinition>::all(cluster.client());
        for definition in &current {
            let params = PatchParams::apply("upgrade").force();
            definitions.patch(&definition.name_any(), &params, &Patch::Apply(definition)).await?;
        }
        let refused = serde_json::to_value(&sealed)?;
        waiting::until("the new definitions", DEADLINE, async || {
            let mut other = refused.clone();
            other["metadata"] = json!({"name": "other", "namespace": namespace.name()});
            refusal(cluster.client(), other).await.ok()?.map(drop)
        })
        .await?;
        let controller = Controller::start(&cluster, &context.programs, "upgraded").await?;
        controller.ready().await?;
        with_reason(&namespace, "db", "Malformed").await?;
        Ok(())
    })
}

/// Returns the name, the object and the reason of the refusal of each vector of a whole object, except of the vectors
/// about the order of checks: each of those objects has several faults.
fn object_vectors() -> Result<Vec<(String, Value, Option<String>)>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors"))? {
        let path = entry?.path();
        if path.ends_with("order-of-checks.json") {
            continue;
        }
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        for vector in file["vectors"].as_array().ok_or("vectors")? {
            if vector.get("object").is_none() || vector.get("expected").is_none() {
                continue;
            }
            let mut object = vector["object"].clone();
            for append in vector["append"].as_array().into_iter().flatten() {
                let steps = append["at"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let target = steps.fold(&mut object, |tree, step| &mut tree[step]);
                let times = usize::try_from(append["times"].as_u64().ok_or("times")?)?;
                let (text, more) = (target.as_str().ok_or("a text")?, append["text"].as_str().ok_or("a text")?);
                *target = json!(format!("{text}{}", more.repeat(times)));
            }
            let reason = vector["expected"]["refused"]["reason"].as_str().map(str::to_owned);
            found.push((vector["name"].as_str().unwrap_or_default().to_owned(), object, reason));
        }
    }
    Ok(found)
}

const OWN: &str = "the Waxseal controller writes only Secrets that carry the label waxseal.dev/secret before and after";
const TYPES: &str = "the Waxseal controller writes no Secret of this type";
const NO_DELETION: &str = "the Waxseal controller deletes no Secret";
const KEY_PLACE: &str = "the Waxseal controller writes identity Secrets in its own namespace only";
const STATE_ONLY: &str =
    "the Waxseal controller changes only the state of an identity Secret, and only to a stricter one";
const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
const KEY_TYPE: &str = "waxseal.dev/sealing-key";

fn secret(name: &str, type_: &str, labels: Value) -> Value {
    let annotations = json!({"kubernetes.io/service-account.name": "default"});
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": type_, "data": {"state": "QWN0aXZl", "identity": "eA=="},
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
    })
}

fn marked() -> Value {
    json!({MARK_LABEL: "owned"})
}

/// Installs Waxseal with the rights of the component `owner-references`, too. Returns a client with the controller's
/// rights when the policy is enforced.
async fn as_controller(cluster: &Cluster) -> Result<Client, Error> {
    installation::apply(cluster).await?;
    installation::apply_owner_references_rights(cluster).await?;
    let client = cluster.client_as(&cluster.service_account_token(KEY_NAMESPACE, SERVICE_ACCOUNT).await?)?;
    let secrets = Api::<Secret>::namespaced(client.clone(), "default");
    waiting::until("the policy's enforcement", DEADLINE, async || {
        said(secrets.create(&dry_run(), &serde_json::from_value(secret("x", "Opaque", json!({}))).ok()?).await)
            .is_some_and(|said| said.contains(OWN))
            .then_some(())
    })
    .await?;
    Ok(client)
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn said<T>(answer: kube::Result<T>) -> Option<String> {
    match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(error) => Some(error.to_string()),
    }
}

#[track_caller]
fn assert_refused<T>(answer: kube::Result<T>, expected: &str) {
    let said = said(answer).unwrap_or_else(|| panic!("it was admitted; expected: {expected}"));
    assert!(said.contains(expected), "{said}");
}

async fn apply(secrets: &Api<Secret>, object: Value) -> kube::Result<Secret> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    secrets.patch(&name, &PatchParams::apply("waxseal").force(), &Patch::Apply(object)).await
}

async fn merge(secrets: &Api<Secret>, name: &str, patch: Value) -> kube::Result<Secret> {
    secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
}

/// An attacker uses a stolen token of the controller with all its rights.
async fn policy(_: &Context, cluster: &Cluster) -> TestResult {
    let client = as_controller(cluster).await?;
    let (system, keys) =
        (Api::<Secret>::namespaced(client.clone(), "kube-system"), Api::namespaced(client.clone(), KEY_NAMESPACE));
    for secrets in [&system, &keys] {
        assert_refused(apply(secrets, secret("x", "Opaque", json!({}))).await, OWN);
        assert_refused(apply(secrets, secret("x", "Opaque", json!({MARK_LABEL: "yes"}))).await, OWN);
        for type_ in [ACCOUNT_TOKEN, "bootstrap.kubernetes.io/token", "waxseal.dev/other"] {
            assert_refused(apply(secrets, secret("x", type_, marked())).await, TYPES);
            let object = serde_json::from_value(secret("x", type_, marked()))?;
            assert_refused(secrets.create(&PostParams::default(), &object).await, TYPES);
        }
        for consent in ["owned", "adopt", "merge"] {
            let labels = json!({MARK_LABEL: consent});
            assert_eq!(said(apply(secrets, secret(consent, "Opaque", labels)).await), None);
        }
        let change = json!({"data": {"identity": "eQ=="}});
        assert_eq!(said(merge(secrets, "merge", change.clone()).await), None);
        for unmarked in [json!({MARK_LABEL: null}), json!({MARK_LABEL: "other"})] {
            assert_refused(merge(secrets, "owned", json!({"metadata": {"labels": unmarked}})).await, OWN);
        }
        assert_refused(secrets.delete("owned", &DeleteParams::default()).await, NO_DELETION);
    }

    // Secrets of other owners. Without the policy, the attacker could take them over by adding the mark.
    let namespace = cluster.namespace("theirs").await?;
    let theirs = Api::<Secret>::namespaced(client, namespace.name());
    let as_admin = namespace.api::<Secret>();
    as_admin.create(&PostParams::default(), &serde_json::from_value(secret("plain", "Opaque", json!({})))?).await?;
    assert_refused(apply(&theirs, secret("plain", "Opaque", marked())).await, OWN);
    assert_refused(merge(&theirs, "plain", json!({"metadata": {"labels": marked()}})).await, OWN);
    assert_refused(merge(&theirs, "plain", json!({"data": {"identity": null}})).await, OWN);
    assert_refused(theirs.delete("plain", &DeleteParams::default()).await, NO_DELETION);
    assert_refused(apply(&theirs, secret("key", KEY_TYPE, json!({}))).await, KEY_PLACE);
    assert_refused(apply(&theirs, secret("key", KEY_TYPE, marked())).await, KEY_PLACE);

    let all = theirs.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert!(said(all).is_some(), "a collection was deleted");
    assert!(as_admin.get_opt("plain").await?.is_some());
    Ok(())
}

async fn identities(_: &Context, cluster: &Cluster) -> TestResult {
    let client = as_controller(cluster).await?;
    let keys = Api::<Secret>::namespaced(client, KEY_NAMESPACE);
    assert_eq!(said(apply(&keys, secret("key", KEY_TYPE, json!({"theirs": "stays"}))).await), None);
    for change in [
        json!({"data": {"identity": "eQ=="}}),
        json!({"data": {"identity": null}}),
        json!({"data": {"more": "eQ=="}}),
        json!({"data": {"more": ""}}),
        json!({"data": {"state": null}}),
        json!({"data": {"state": "b3RoZXI="}}),
        json!({"data": null}),
        json!({"stringData": {"identity": "y"}}),
        json!({"immutable": true}),
        json!({"metadata": {"labels": marked()}}),
        json!({"metadata": {"labels": {"theirs": null}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"ownerReferences": [{
            "apiVersion": "v1", "kind": "Secret", "name": "gone", "uid": "0b8f7a1c-0000-0000-0000-000000000000",
        }]}}),
    ] {
        assert_refused(merge(&keys, "key", change).await, STATE_ONLY);
    }
    assert_refused(keys.delete("key", &DeleteParams::default()).await, NO_DELETION);

    let state = |state: &str| json!({"stringData": {"state": state}});
    for (stricter, laxer) in [("Retired", vec!["Active"]), ("Revoked", vec!["Retired", "Active"])] {
        assert_eq!(said(merge(&keys, "key", state(stricter)).await), None);
        for state in laxer.into_iter().map(state) {
            assert_refused(merge(&keys, "key", state).await, STATE_ONLY);
        }
    }
    let kept = keys.get("key").await?.data.ok_or("no data")?;
    assert_eq!(kept.get("identity"), Some(&ByteString(b"x".to_vec())));
    Ok(())
}

/// An administrator writes Secrets that the policy refuses to the controller's account.
async fn administrator(_: &Context, cluster: &Cluster) -> TestResult {
    as_controller(cluster).await?;
    let secrets = Api::<Secret>::namespaced(cluster.client(), KEY_NAMESPACE);
    for (name, type_) in [("plain", "Opaque"), ("key", KEY_TYPE)] {
        assert_eq!(said(apply(&secrets, secret(name, type_, json!({}))).await), None);
        assert_eq!(said(merge(&secrets, name, json!({"data": {"identity": "eQ=="}})).await), None);
        assert_eq!(said(secrets.delete(name, &DeleteParams::default()).await), None);
    }
    Ok(())
}

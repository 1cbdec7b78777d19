//! Objects that the controller or the API server refuses: the reason, and the Secret, which stays as it is.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::api_group::MARK_LABEL;
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::keys::change_secrets;
use crate::registration::{Context, Test, TestResult};
use crate::rights;
use crate::sealing::{
    DEADLINE, condition, create, create_plain, opaque, patch, replace_spec, seal_with, values, with_reason,
};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("refusals::a_moved_object_has_the_reason_moved_and_no_secret", moved),
        Test::new("refusals::a_value_under_another_key_is_unreadable_and_the_secret_stays", swapped),
        Test::new("refusals::a_disguised_move_is_unreadable", disguised),
        Test::new("refusals::a_foreign_secret_is_never_touched", foreign),
        Test::new("refusals::a_foreign_secret_stays_in_every_race", race),
        Test::new("refusals::an_object_for_a_key_that_is_not_held_has_the_reason_key_missing", missing),
        Test::new("refusals::a_malformed_object_has_the_reason_malformed_and_the_secret_stays", malformed),
        Test::new("refusals::the_api_server_refuses_invalid_forms", admission),
        Test::new("refusals::a_secret_that_a_policy_changes_is_forbidden_and_not_written_in_a_loop", changed),
        Test::new("refusals::the_status_quotes_nothing_of_a_secret_that_the_api_server_refuses", invalid),
        Test::on_own_cluster("refusals::metadata_that_the_operator_forbids_is_refused", forbidden_metadata),
    ]
}

async fn moved(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("moved").await?;
    let elsewhere = context.cluster.namespace("elsewhere").await?;
    let sealed = context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?;

    let mut renamed = sealed.clone();
    renamed.metadata.name = Some("web".to_owned());
    create(&namespace, &renamed).await?;
    let object = with_reason(&namespace, "web", "Moved").await?;
    let (status, _, message) = condition(&object, "Ready").ok_or("no Ready condition")?;
    let (here, from) =
        (format!("{}/web (scope Strict)", namespace.name()), format!("{}/db (scope Strict)", namespace.name()));
    assert_eq!((status.as_str(), message), ("False", format!("sealed for {from}, but this object is {here}")));
    assert_eq!(condition(&object, "Stalled").map(|stalled| stalled.0), Some("True".to_owned()));

    let mut abroad = sealed.clone();
    abroad.metadata.namespace = Some(elsewhere.name().to_owned());
    create(&elsewhere, &abroad).await?;
    with_reason(&elsewhere, "db", "Moved").await?;

    let mut widened = sealed;
    widened.spec.scope = Some(Scope::Namespace);
    create(&namespace, &widened).await?;
    with_reason(&namespace, "db", "Moved").await?;

    for (place, name) in [(&namespace, "web"), (&namespace, "db"), (&elsewhere, "db")] {
        assert!(place.api::<Secret>().get_opt(name).await?.is_none(), "{name}");
    }
    Ok(())
}

async fn swapped(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("swapped").await?;
    let mut sealed = context.seal(&opaque("db", &[("PASSWORD", "hunter2"), ("USER", "app")]), &namespace)?;
    create(&namespace, &sealed).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let before = namespace.api::<Secret>().get("db").await?;
    let token = sealed.spec.encrypted_data["PASSWORD"].clone();
    sealed.spec.encrypted_data.insert("USER".to_owned(), token);
    replace_spec(&namespace, &sealed).await?;
    let object = with_reason(&namespace, "db", "Unreadable").await?;
    let message = condition(&object, "Ready").ok_or("no Ready condition")?.2;
    assert_eq!(message, "spec.encryptedData.USER: does not open: it was changed, or sealed for another place");
    let after = namespace.api::<Secret>().get("db").await?;
    assert_eq!(before.resource_version(), after.resource_version());
    Ok(())
}

async fn disguised(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("disguised").await?;
    let mut sealed = context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?;
    sealed.metadata.name = Some("web".to_owned());
    for envelope in sealed.spec.envelopes.values_mut() {
        envelope.bound_to.name = Some("web".to_owned());
    }
    create(&namespace, &sealed).await?;
    let object = with_reason(&namespace, "web", "Unreadable").await?;
    assert!(condition(&object, "Ready").ok_or("no Ready condition")?.2.starts_with("spec.encryptedData.PASSWORD: "));
    assert!(namespace.api::<Secret>().get_opt("web").await?.is_none());
    Ok(())
}

async fn foreign(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("foreign").await?;
    let secrets = namespace.api::<Secret>();
    create_plain(&namespace, "unmarked", "theirs").await?;
    create_plain(&namespace, "owned-by-another", "theirs").await?;
    let owner = context.create_sealed(&namespace, "owner", "x").await?;
    let reference = json!([{
        "apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", "name": "owner",
        "uid": owner.uid(), "controller": true,
    }]);
    let labels = json!({MARK_LABEL: "owned"});
    let marked = json!({"metadata": {"labels": labels, "ownerReferences": reference}});
    patch(&secrets, "owned-by-another", marked).await?;
    for name in ["unmarked", "owned-by-another"] {
        let before = secrets.get(name).await?;
        create(&namespace, &context.seal(&opaque(name, &[("PASSWORD", "ours")]), &namespace)?).await?;
        let object = with_reason(&namespace, name, "ForeignOwner").await?;
        assert_eq!(condition(&object, "Stalled").map(|stalled| stalled.0), Some("True".to_owned()), "{name}");
        namespace.api::<SealedSecret>().delete(name, &DeleteParams::default()).await?;
        context.create_sealed(&namespace, &format!("witness-of-{name}"), "x").await?;
        let after = secrets.get(name).await?;
        assert_eq!(before.resource_version(), after.resource_version(), "{name}");
        assert_eq!(values(&after), [("PASSWORD".to_owned(), "theirs".to_owned())], "{name}");
    }
    Ok(())
}

/// A Secret and a SealedSecret with the same name are created at the same time, in many rounds. A Secret that was
/// created first keeps its content.
async fn race(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("race").await?;
    let secrets = namespace.api::<Secret>();
    let mut lost = 0;
    for round in 0..20 {
        let name = format!("race-{round}");
        let sealed = context.seal(&opaque(&name, &[("PASSWORD", "ours")]), &namespace)?;
        let plain: Secret = serde_json::from_str(&opaque(&name, &[("PASSWORD", "theirs")]))?;
        let params = PostParams::default();
        let (_, theirs) = tokio::join!(create(&namespace, &sealed), secrets.create(&params, &plain));
        let expected = if theirs.is_ok() { "theirs" } else { "ours" };
        lost += usize::from(theirs.is_ok());
        with_reason(&namespace, &name, if theirs.is_ok() { "ForeignOwner" } else { "Materialised" }).await?;
        assert_eq!(values(&secrets.get(&name).await?), [("PASSWORD".to_owned(), expected.to_owned())], "{name}");
    }
    assert!(lost > 0, "no round was lost to the other writer: the race was not run");
    Ok(())
}

/// A policy stores a new value at each write, so each write changes the Secret. The controller writes it again after 2
/// s, 8 s and 32 s, and then less often.
async fn changed(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("changed").await?;
    let in_namespace = format!("request.namespace == '{}'", namespace.name());
    let longer = ("/data/PASSWORD", "oldObject == null ? 'QUFB' : string(oldObject.data.PASSWORD) + 'QUFB'");
    change_secrets(&context.cluster, namespace.name(), &in_namespace, longer).await?;
    let secrets = namespace.api::<Secret>();
    let plain: Secret = serde_json::from_str(&opaque("plain", &[("PASSWORD", "theirs")]))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    waiting::until("the policy", DEADLINE, async || {
        let created = secrets.create(&dry_run, &plain).await.ok()?;
        (values(&created) == [("PASSWORD".to_owned(), "AAA".to_owned())]).then_some(())
    })
    .await?;

    create(&namespace, &context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?).await?;
    let object = with_reason(&namespace, "db", "Forbidden").await?;
    let (_, _, message) = condition(&object, "Ready").ok_or("no Ready condition")?;
    assert_eq!(
        message,
        "the API server stored another Secret than the one that was written: an admission webhook or policy changes its \
         field data"
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    let all = rights::writes(&rights::requests_in(&context.cluster, &namespace)?);
    let count = all.iter().filter(|write| *write == "patch secrets").count();
    assert!((2..=3).contains(&count), "{all:?}");
    assert_ne!(values(&secrets.get("db").await?), [("PASSWORD".to_owned(), "hunter2".to_owned())]);

    let bindings = Api::<MutatingAdmissionPolicyBinding>::all(context.cluster.client());
    bindings.delete(namespace.name(), &DeleteParams::default()).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    assert_eq!(values(&secrets.get("db").await?), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Ok(())
}

async fn missing(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("missing").await?;
    let identity = context.cluster.folder().join("stranger.key");
    let mut generate = std::process::Command::new(&context.programs.waxseal);
    let generated = generate.env_clear().args(["keys", "generate", "-o"]).arg(&identity).output()?;
    let keys = context.cluster.folder().join("stranger.yaml");
    std::fs::write(&keys, generated.stdout)?;
    let sealed = seal_with(context, &keys, &opaque("db", &[("PASSWORD", "x")]), namespace.name())?;
    create(&namespace, &sealed).await?;
    let object = with_reason(&namespace, "db", "KeyMissing").await?;
    let key_id = sealed.spec.envelopes.values().flat_map(|envelope| envelope.wraps.keys()).next().ok_or("no wrap")?;
    let message = condition(&object, "Ready").ok_or("no Ready condition")?.2;
    assert!(message.contains(key_id.as_str()), "{message}");
    Ok(())
}

async fn malformed(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("malformed").await?;
    let mut sealed = context.create_sealed(&namespace, "db", "hunter2").await?;
    let before = namespace.api::<Secret>().get("db").await?;
    let token = sealed.spec.encrypted_data.get_mut("PASSWORD").ok_or("no value")?;
    token.push('=');
    replace_spec(&namespace, &sealed).await?;
    let object = with_reason(&namespace, "db", "Malformed").await?;
    let message = condition(&object, "Ready").ok_or("no Ready condition")?.2;
    assert_eq!(message, "spec.encryptedData.PASSWORD: the sealed value is not canonical base64url");
    let after = namespace.api::<Secret>().get("db").await?;
    assert_eq!(before.resource_version(), after.resource_version());
    Ok(())
}

async fn admission(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("admission").await?;
    let good = serde_json::to_value(context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?)?;
    let wrong: [(&str, Value, &str); 6] = [
        ("/spec/template", json!({"type": "kubernetes.io/service-account-token"}), "never made from a SealedSecret"),
        ("/spec/template", json!({"metadata": {"labels": {"waxseal.dev/secret": "adopt"}}}), "reserved for Waxseal"),
        ("/spec/encryptedData", json!({"..data": "wax1"}), "a data key is"),
        (
            "/spec/envelopes",
            json!({"x": good["spec"]["envelopes"].as_object().and_then(|all| all.values().next())}),
            "an envelope id is",
        ),
        ("/spec/scope", json!("Everywhere"), "spec.scope"),
        ("/metadata", json!({"generateName": "db-"}), "a generated name is refused"),
    ];
    let objects = namespace.api::<SealedSecret>();
    for (place, value, said) in wrong {
        let mut object = good.clone();
        let (parent, field) = place.rsplit_once('/').ok_or("no field")?;
        object.pointer_mut(parent).ok_or("no parent")?[field] = value;
        let body: kube::core::DynamicObject = serde_json::from_value(object)?;
        let dynamic = kube::api::ApiResource::erase::<SealedSecret>(&());
        let api = kube::Api::<kube::core::DynamicObject>::namespaced_with(
            context.cluster.client(),
            namespace.name(),
            &dynamic,
        );
        let answer = api.create(&PostParams::default(), &body).await;
        let Err(kube::Error::Api(status)) = answer else { return Err(format!("{place} was accepted").into()) };
        assert!(status.message.contains(said), "{place}: {}", status.message);
    }
    assert!(objects.get_opt("db").await?.is_none());
    Ok(())
}

/// The API server's message about a Secret with a type quotes its content. The status must not.
async fn invalid(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("invalid").await?;
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "hunter2 is no JSON"},
    });
    let quoted =
        namespace.api::<Secret>().create(&PostParams::default(), &serde_json::from_value(manifest.clone())?).await;
    let Err(kube::Error::Api(status)) = quoted else { return Err("the API server took it".into()) };
    assert!(status.message.contains("invalid character 'h'"), "{}", status.message);

    // `waxseal seal` refuses a Secret of this type with such a value. The type is not bound to the value, so it can be
    // changed afterwards.
    let mut opaque = manifest;
    opaque["type"] = json!("Opaque");
    let mut sealed = context.seal(&opaque.to_string(), &namespace)?;
    sealed.spec.template.get_or_insert_default().type_ = Some("kubernetes.io/dockerconfigjson".to_owned());
    create(&namespace, &sealed).await?;
    let object = with_reason(&namespace, "pull", "Forbidden").await?;
    let message = condition(&object, "Ready").ok_or("no Ready condition")?.2;
    assert_eq!(message, "the API server refuses the Secret: HTTP 422 Invalid in data[.dockerconfigjson]");
    let log = context.controller.log_text();
    assert!(!log.contains("invalid character") && !log.contains("hunter2"));
    assert!(namespace.api::<Secret>().get_opt("pull").await?.is_none());
    Ok(())
}

async fn forbidden_metadata(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let mut command = Command::new(&context.programs.waxseal_controller);
    command.env_clear().env("WAXSEAL_FORBID_METADATA", "example.com/,mirror/");
    let controller = Controller::start_command(cluster, command, "forbidding").await?;
    controller.ready().await?;
    let keys_file = cluster.folder().join("keys.yaml");
    installation::fetch_keys(&context.programs, &controller.kubeconfig, &keys_file)?;
    let namespace = cluster.namespace("forbidden").await?;
    for (name, reason) in [("mirror/to", "TypeForbidden"), ("mirrored", "Materialised")] {
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": {"PASSWORD": "hunter2"},
            "metadata": {"name": reason.to_lowercase(), "annotations": {name: "all"}},
        });
        let sealed = seal_with(context, &keys_file, &manifest.to_string(), namespace.name())?;
        create(&namespace, &sealed).await?;
        with_reason(&namespace, &sealed.name_any(), reason).await?;
    }
    assert!(namespace.api::<Secret>().get_opt("typeforbidden").await?.is_none());
    Ok(())
}

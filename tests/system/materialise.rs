//! A SealedSecret becomes a Secret, byte for byte; changes and deletions follow.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::api_group::MARK_LABEL;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::cluster::Namespace;
use waxseal_tests::fixtures::{self, Fixture};
use waxseal_tests::waiting;

use crate::registration::{Context, Error, Test, TestResult};
use crate::removal::COLLECTED;
use crate::sealing::{
    DEADLINE, condition, create, create_plain, judged, opaque, patch, plain_value, replace_spec, values, with_reason,
};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("materialise::every_fixture_is_exact_and_is_garbage_collected", fixtures),
        Test::new("materialise::a_changed_object_changes_its_secret", change),
        Test::new("materialise::a_secret_deleted_by_hand_is_created_again", comes_back),
        Test::new("materialise::the_data_is_exact_and_other_metadata_stays", exact),
        Test::new("materialise::only_metadata_of_the_template_changes", metadata),
        Test::new("materialise::a_recreated_object_gets_its_secret_again", recreated),
        Test::new("materialise::a_removed_owner_reference_is_restored", reowned),
        Test::new("materialise::a_secret_with_another_controller_is_foreign", taken),
        Test::new("materialise::a_label_on_a_sealed_secret_writes_no_secret", labelled),
        Test::new("materialise::immutable_fields_are_reported_and_not_written", immutable),
        Test::new("materialise::an_object_that_is_being_deleted_is_not_reconciled", deleting),
    ]
}

/// The expected Secret is the one that the API server makes of the plain manifest.
async fn fixtures(context: &Context) -> TestResult {
    let mut made = Vec::new();
    for fixture in fixtures::secrets()? {
        made.push(materialise(context, &fixture).await.map_err(|error| format!("{}: {error}", fixture.name))?);
    }
    for (namespace, name) in made {
        namespace.api::<SealedSecret>().delete(&name, &DeleteParams::default()).await?;
        let secrets = namespace.api::<Secret>();
        let gone = async || secrets.get_opt(&name).await.ok()?.is_none().then_some(());
        waiting::until("garbage collection", COLLECTED, gone).await?;
    }
    Ok(())
}

async fn materialise(context: &Context, fixture: &Fixture) -> Result<(Namespace, String), Error> {
    let namespace = context.cluster.namespace("fixture").await?;
    let plain_namespace = context.cluster.namespace("plain").await?;
    let text = fixture.text.replace("namespace: shop", &format!("namespace: {}", namespace.name()));
    let sealed = context.seal_text(&text, &["-n", namespace.name()])?;
    fixture.assert_holds_no_value(&sealed);
    let sealed: SealedSecret = serde_saphyr::from_str(&sealed)?;
    create(&namespace, &sealed).await?;

    let mut plain = plain_value(&fixture.text)?;
    plain["metadata"] = json!({"name": plain["metadata"]["name"]});
    // Untyped: only the API server interprets the manifest.
    let untyped: DynamicObject = serde_json::from_value(plain)?;
    let resource = ApiResource::erase::<Secret>(&());
    let api = Api::<DynamicObject>::namespaced_with(context.cluster.client(), plain_namespace.name(), &resource);
    let expected = api.create(&PostParams::default(), &untyped).await?;
    let expected = plain_namespace.api::<Secret>().get(&expected.name_any()).await?;

    let name = sealed.name_any();
    let object = with_reason(&namespace, &name, "Materialised").await?;
    let made = namespace.api::<Secret>().get(&name).await?;
    assert!(made.data.unwrap_or_default() == expected.data.unwrap_or_default(), "the data differs");
    assert_eq!(made.type_, expected.type_);
    assert_eq!(made.immutable, expected.immutable);
    let owners = made.metadata.owner_references.unwrap_or_default();
    assert_eq!(Some(&owners[0].uid), object.metadata.uid.as_ref());
    assert_eq!(owners[0].block_owner_deletion, None);
    Ok((namespace, name))
}

async fn change(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("change").await?;
    context.create_sealed(&namespace, "db", "first").await?;
    let changed = context.seal(&opaque("db", &[("PASSWORD", "second"), ("USER", "app")]), &namespace)?;
    replace_spec(&namespace, &changed).await?;
    judged(&namespace, "db").await?;
    let secret = namespace.api::<Secret>().get("db").await?;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(values(&secret), [pair("PASSWORD", "second"), pair("USER", "app")]);

    let fewer = context.seal(&opaque("db", &[("USER", "app")]), &namespace)?;
    replace_spec(&namespace, &fewer).await?;
    judged(&namespace, "db").await?;
    assert_eq!(values(&namespace.api::<Secret>().get("db").await?), [pair("USER", "app")]);
    Ok(())
}

async fn comes_back(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("comes-back").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let secrets = namespace.api::<Secret>();
    let first = secrets.get("db").await?;
    secrets.delete("db", &DeleteParams::default()).await?;
    let second =
        waiting::until("the Secret's return", DEADLINE, async || secrets.get_opt("db").await.ok().flatten()).await?;
    assert_ne!(first.uid(), second.uid());
    assert_eq!(values(&first), values(&second));
    Ok(())
}

async fn exact(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("exact").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let secrets = namespace.api::<Secret>();
    let edit = json!({
        "metadata": {"annotations": {"reloader": "keeps this"}},
        "data": {"MORE": "c3B5", "PASSWORD": "b3RoZXI="},
    });
    patch(&secrets, "db", edit).await?;
    let repaired = waiting::until("the repair", DEADLINE, async || {
        let secret = secrets.get("db").await.ok()?;
        (values(&secret) == [("PASSWORD".to_owned(), "hunter2".to_owned())]).then_some(secret)
    });
    assert_eq!(repaired.await?.annotations()["reloader"], "keeps this");
    Ok(())
}

async fn metadata(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("metadata").await?;
    let manifest = |labels: Value, annotations: Value| -> String {
        let metadata = json!({"name": "db", "labels": labels, "annotations": annotations});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"PASSWORD": "x"}}).to_string()
    };
    let first = manifest(json!({"team": "shop", "tier": "db"}), json!({"note": "one", "helm.sh/hook": "pre-install"}));
    let sealed = context.seal(&first, &namespace)?;
    create(&namespace, &sealed).await?;
    let object = with_reason(&namespace, "db", "Materialised").await?;
    assert_eq!(object.annotations()["helm.sh/hook"], "pre-install");
    let secrets = namespace.api::<Secret>();
    patch(&secrets, "db", json!({"metadata": {"labels": {"theirs": "stays"}}})).await?;

    let second = manifest(json!({"team": "web"}), json!({}));
    replace_spec(&namespace, &context.seal(&second, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let secret = secrets.get("db").await?;
    let expected = [("team", "web"), ("theirs", "stays"), (MARK_LABEL, "owned")];
    assert_eq!(secret.labels(), &expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert!(secret.annotations().is_empty());
    Ok(())
}

async fn recreated(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("recreated").await?;
    let objects = namespace.api::<SealedSecret>();
    let sealed = context.seal(&opaque("db", &[("PASSWORD", "hunter2")]), &namespace)?;
    create(&namespace, &sealed).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    for _ in 0..10 {
        objects.delete("db", &DeleteParams::default()).await?;
        create(&namespace, &sealed).await?;
        let uid = objects.get("db").await?.uid();
        let secrets = namespace.api::<Secret>();
        waiting::until("the new object's own Secret", DEADLINE, async || {
            let secret = secrets.get_opt("db").await.ok()??;
            (secret.owner_references().first()?.uid == *uid.as_ref()?).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Without the owner reference, garbage collection would keep the Secret after its SealedSecret is deleted.
async fn reowned(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("reowned").await?;
    let object = context.create_sealed(&namespace, "db", "hunter2").await?;
    let secrets = namespace.api::<Secret>();
    patch(&secrets, "db", json!({"metadata": {"ownerReferences": Value::Null}, "data": {"PASSWORD": "b29wcw=="}}))
        .await?;
    waiting::until("the owner reference's return", DEADLINE, async || {
        let secret = secrets.get("db").await.ok()?;
        (secret.owner_references().first()?.uid == object.uid()?).then_some(())
    })
    .await?;
    assert_eq!(values(&secrets.get("db").await?), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Ok(())
}

async fn taken(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("taken").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let owner = create_plain(&namespace, "owner", "x").await?;
    let reference = json!([{
        "apiVersion": "v1", "kind": "Secret", "name": "owner", "uid": owner.uid(), "controller": true,
    }]);
    patch(&namespace.api::<Secret>(), "db", json!({"metadata": {"ownerReferences": reference}})).await?;
    with_reason(&namespace, "db", "ForeignOwner").await?;
    Ok(())
}

async fn labelled(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("labelled").await?;
    let object = context.create_sealed(&namespace, "db", "hunter2").await?;
    let (status, reason, _) = condition(&object, "Ready").ok_or("no Ready condition")?;
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Materialised"));
    assert_eq!(condition(&object, "Stalled"), None);
    assert_eq!(condition(&object, "Reconciling"), None);
    let secret_before = namespace.api::<Secret>().get("db").await?.resource_version();
    patch(&namespace.api::<SealedSecret>(), "db", json!({"metadata": {"labels": {"touched": "yes"}}})).await?;
    // When a later object is judged, the controller has seen the label.
    context.create_sealed(&namespace, "other", "x").await?;
    assert_eq!(namespace.api::<Secret>().get("db").await?.resource_version(), secret_before);
    Ok(())
}

async fn immutable(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("immutable").await?;
    let manifest = |value: &str, type_: &str| -> String {
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "immutable": true, "type": type_,
            "stringData": {"PASSWORD": value},
        });
        manifest.to_string()
    };
    create(&namespace, &context.seal(&manifest("first", "Opaque"), &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    replace_spec(&namespace, &context.seal(&manifest("second", "Opaque"), &namespace)?).await?;
    let object = with_reason(&namespace, "db", "SecretImmutable").await?;
    assert_eq!(condition(&object, "Stalled").map(|stalled| stalled.0), Some("True".to_owned()));
    replace_spec(&namespace, &context.seal(&manifest("first", "example.com/other"), &namespace)?).await?;
    with_reason(&namespace, "db", "TypeImmutable").await?;
    let secret = namespace.api::<Secret>().get("db").await?;
    assert_eq!(values(&secret), [("PASSWORD".to_owned(), "first".to_owned())]);
    Ok(())
}

/// A finalizer keeps the SealedSecret, which is being deleted. The controller does not make its deleted Secret again.
async fn deleting(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("deleting").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let objects = namespace.api::<SealedSecret>();
    patch(&objects, "db", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await?;
    objects.delete("db", &DeleteParams::default()).await?;
    let secrets = namespace.api::<Secret>();
    secrets.delete("db", &DeleteParams::default()).await?;
    // When another Secret, which is deleted later, is back, the controller has seen both deletions.
    context.create_sealed(&namespace, "witness", "x").await?;
    secrets.delete("witness", &DeleteParams::default()).await?;
    waiting::until("the return of the witness", DEADLINE, async || secrets.get_opt("witness").await.ok().flatten())
        .await?;
    assert!(secrets.get_opt("db").await?.is_none());
    patch(&objects, "db", json!({"metadata": {"finalizers": Value::Null}})).await?;
    Ok(())
}

//! What a newer version of Waxseal may have left in a cluster: the controller says so, and nothing is lost.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::{installation, waiting};

use crate::controllers::{started, until_warned};
use crate::key_namespace::{Keys, MADE, new_identity, sealing_key, secret};
use crate::registration::{Context, Test, TestResult};
use crate::sealing::{DEADLINE, condition, create, patch, sealed, with_reason};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("newer_versions::an_unknown_state_of_a_key_stays_and_is_named", state),
        Test::on_own_cluster("newer_versions::an_unknown_state_of_identity_and_sealing_key_stays", state_of_both),
        Test::on_own_cluster("newer_versions::a_sealing_key_with_an_unknown_field_is_read", field_of_key),
        Test::on_own_cluster("newer_versions::an_object_with_an_unknown_field_is_named_and_its_secret_stays", field),
    ]
}

/// Changes a part of the schema of `spec` in a definition.
async fn change_schema(cluster: &Cluster, name: &str, change: impl FnOnce(&mut Value)) -> TestResult {
    let definitions = Api::<CustomResourceDefinition>::all(cluster.client());
    let mut definition = serde_json::to_value(definitions.get(name).await?)?;
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    change(definition.pointer_mut(fields).ok_or("no schema")?);
    definitions.replace(name, &PostParams::default(), &serde_json::from_value(definition)?).await?;
    Ok(())
}

async fn state(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    keys.add("other").await?;
    let controller = started(context, cluster, "state").await?;
    let made = keys.until_published(&key, KeyState::Active).await?;
    change_schema(cluster, "sealingkeys.waxseal.dev", |fields| {
        fields["state"]["enum"] = json!(["Active", "Retired", "Revoked", "Frozen"]);
    })
    .await?;
    let published = published(cluster);
    let freeze = async || patch(&published, &key, json!({"spec": {"state": "Frozen"}})).await.ok().map(drop);
    waiting::until("the new state", DEADLINE, freeze).await?;
    let warning = format!(
        "failed to carry out the state that the SealingKey {key} requests: it must be Active, Retired or Revoked; update \
         Waxseal, if a newer version wrote it; trying again"
    );
    until_warned(&controller, &warning).await?;
    let object = published.get(&key).await?;
    assert_eq!((object.uid(), &object.data["spec"]["state"]), (made.uid(), &json!("Frozen")));
    patch(&published, &key, json!({"spec": {"state": "Revoked"}})).await?;
    keys.until_durable("held", "Revoked").await?;

    let mut frozen = secret("frozen", &new_identity(), MADE);
    frozen.string_data = Some([("state".to_owned(), "Frozen".to_owned())].into());
    keys.identities.create(&PostParams::default(), &frozen).await?;
    let warning = "this identity Secret is not used: frozen: the data key \"state\" must be Active, Retired or Revoked; \
                   update Waxseal, if a newer version wrote it";
    until_warned(&controller, warning).await?;
    assert_eq!(keys.durable("frozen").await.as_deref(), Some("Frozen"));
    Ok(())
}

/// After a downgrade, both the identity Secret and the SealingKey of a key have a state that the controller does not
/// know. Both stay. A planted SealingKey is deleted meanwhile.
async fn state_of_both(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    let _controller = started(context, cluster, "both").await?;
    keys.until_published(&key, KeyState::Active).await?;
    change_schema(cluster, "sealingkeys.waxseal.dev", |fields| {
        fields["state"]["enum"] = json!(["Active", "Retired", "Revoked", "Frozen"]);
    })
    .await?;
    let identity = new_identity();
    let mut frozen = secret("frozen", &identity, MADE);
    frozen.string_data = Some([("state".to_owned(), "Frozen".to_owned())].into());
    keys.identities.create(&PostParams::default(), &frozen).await?;
    let published = published(cluster);
    let mut object = serde_json::to_value(sealing_key(&identity, KeyState::Retired))?;
    object["spec"]["state"] = json!("Frozen");
    let object: DynamicObject = serde_json::from_value(object)?;
    let create = async || published.create(&PostParams::default(), &object).await.ok();
    let made = waiting::until("the new state", DEADLINE, create).await?;
    let planted = sealing_key(&new_identity(), KeyState::Active);
    keys.published.create(&PostParams::default(), &planted).await?;
    keys.until_gone(&planted.name_any()).await?;
    assert_eq!(published.get(&object.name_any()).await?.uid(), made.uid());
    Ok(())
}

fn published(cluster: &Cluster) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<SealingKey>(&());
    Api::namespaced_with(cluster.client(), installation::KEY_NAMESPACE, &resource)
}

/// A SealingKey with a field that this controller does not know stays, and the state that it asks for counts.
async fn field_of_key(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let key = keys.add("held").await?;
    // The only Active key would not be retired.
    keys.add("other").await?;
    let _controller = started(context, cluster, "field-of-key").await?;
    let made = keys.until_published(&key, KeyState::Active).await?;
    change_schema(cluster, "sealingkeys.waxseal.dev", |fields| fields["note"] = json!({"type": "string"})).await?;
    let published = published(cluster);
    let noted = async || {
        let noted = patch(&published, &key, json!({"spec": {"note": "new", "state": "Retired"}})).await.ok()?;
        (noted.data["spec"]["note"] == "new").then_some(())
    };
    waiting::until("the new field", DEADLINE, noted).await?;
    keys.until_durable("held", "Retired").await?;
    patch(&published, &key, json!({"spec": {"state": "Revoked"}})).await?;
    keys.until_durable("held", "Revoked").await?;
    let object = published.get(&key).await?;
    assert_eq!((object.uid(), &object.data["spec"]["note"]), (made.uid(), &json!("new")));
    Ok(())
}

async fn field(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    Keys::of(cluster).add("held").await?;
    let controller = started(context, cluster, "field").await?;
    let namespace = cluster.namespace("field").await?;
    create(&namespace, &sealed(context, cluster, &controller, &namespace)?).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    let before = namespace.api::<Secret>().get("db").await?;
    change_schema(cluster, "sealedsecrets.waxseal.dev", |fields| fields["note"] = json!({"type": "string"})).await?;
    let resource = ApiResource::erase::<SealedSecret>(&());
    let objects = Api::<DynamicObject>::namespaced_with(cluster.client(), namespace.name(), &resource);
    let note = async || {
        let noted = patch(&objects, "db", json!({"spec": {"note": "new"}})).await.ok()?;
        (noted.data["spec"]["note"] == "new").then_some(())
    };
    waiting::until("the new field", DEADLINE, note).await?;
    let message =
        "spec: a field is unknown, is missing or has the wrong type; update Waxseal, if a newer version wrote this";
    let malformed = async || {
        let object = objects.get("db").await.ok()?;
        let status = serde_json::from_value(object.data["status"].clone()).ok()?;
        let object = SealedSecret { metadata: object.metadata, spec: Default::default(), status: Some(status) };
        let (_, reason, said) = condition(&object, "Ready")?;
        (reason == "Malformed").then_some(said)
    };
    let said: String = waiting::until("the reason Malformed", DEADLINE, malformed).await?;
    assert_eq!(said, message);
    patch(&objects, "db", json!({"spec": {"note": null}})).await?;
    with_reason(&namespace, "db", "Materialised").await?;
    assert_eq!(namespace.api::<Secret>().get("db").await?.resource_version(), before.resource_version());
    Ok(())
}

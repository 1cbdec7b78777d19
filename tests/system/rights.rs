//! What the controller does with its rights, by the API server's own record.

use serde_json::Value;
use waxseal_tests::installation::{KEY_NAMESPACE, SERVICE_ACCOUNT};

use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{opaque, replace_spec};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("rights::one_object_costs_one_secret_write_and_one_status_write", cost),
        Test::new("rights::the_controller_asks_for_nothing_it_has_no_right_to", nothing_refused),
        Test::new("rights::anybody_who_is_logged_in_can_read_the_sealing_keys_and_no_identity", readers),
    ]
}

/// The controller's requests so far that have to do with a namespace.
fn requests(context: &Context, namespace: &str) -> Result<Vec<Value>, Error> {
    let log = std::fs::read_to_string(context.cluster.audit_log())?;
    let user = format!("system:serviceaccount:{KEY_NAMESPACE}:{SERVICE_ACCOUNT}");
    let complete = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(complete
        .filter(|event| event["user"]["username"] == user.as_str() && event["stage"] == "ResponseComplete")
        .filter(|event| namespace.is_empty() || event["objectRef"]["namespace"] == namespace)
        .collect())
}

fn writes(requests: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    requests
        .iter()
        .filter(|event| !matches!(event["verb"].as_str(), Some("get" | "list" | "watch")))
        .map(|event| {
            let object = &event["objectRef"];
            format!("{} {} {}", word(&event["verb"]), word(&object["resource"]), word(&object["subresource"]))
                .trim()
                .to_owned()
        })
        .collect()
}

async fn cost(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("cost").await?;
    context.create_sealed(&namespace, "db", "first").await?;
    assert_eq!(writes(&requests(context, namespace.name())?), ["patch secrets", "patch sealedsecrets status"]);
    let changed = context.seal(&opaque("db", &[("PASSWORD", "second")]), &namespace)?;
    replace_spec(&namespace, &changed).await?;
    crate::sealing::judged(&namespace, "db").await?;
    let twice = ["patch secrets", "patch sealedsecrets status"].repeat(2);
    assert_eq!(writes(&requests(context, namespace.name())?), twice);
    Ok(())
}

async fn nothing_refused(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("refused").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let all = requests(context, "")?;
    assert!(!all.is_empty());
    let forbidden = |event: &&Value| event["annotations"]["authorization.k8s.io/decision"] == "forbid";
    let refused: Vec<_> = all.iter().filter(forbidden).map(|event| &event["requestURI"]).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let deletes = all.iter().filter(|event| event["verb"] == "delete" && event["objectRef"]["resource"] == "secrets");
    assert_eq!(deletes.count(), 0);
    Ok(())
}

async fn readers(context: &Context) -> TestResult {
    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use kube::api::ListParams;
    use waxseal_shared::sealing_key::SealingKey;

    let somebody = context.cluster.client_as(&context.cluster.user("somebody", "developers")?)?;
    let keys = Api::<SealingKey>::namespaced(somebody.clone(), KEY_NAMESPACE).list(&ListParams::default()).await?;
    assert_eq!(keys.items.iter().filter(|key| key.spec.recipient.starts_with("age1pq1")).count(), 1);
    let identities = Api::<Secret>::namespaced(somebody, KEY_NAMESPACE).list(&ListParams::default()).await;
    assert!(matches!(identities, Err(kube::Error::Api(status)) if status.code == 403));
    Ok(())
}

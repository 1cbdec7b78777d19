//! The tables of `kubectl get`, which the API server makes.

use http::Request;
use http::header::ACCEPT;
use serde_json::Value;
use waxseal_tests::installation::KEY_NAMESPACE;

use crate::registration::{Context, Error, Test, TestResult};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("kubectl::sealed_secrets_show_their_state_and_with_wide_output_the_message", sealed_secrets),
        Test::new("kubectl::sealing_keys_show_their_state_and_what_depends_on_them", sealing_keys),
    ]
}

/// Returns the table of a resource in a namespace.
async fn table(context: &Context, namespace: &str, resource: &str) -> Result<Value, Error> {
    let uri = format!("/apis/waxseal.dev/v1alpha1/namespaces/{namespace}/{resource}");
    let request = Request::get(uri).header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io").body(Vec::new())?;
    Ok(context.cluster.client().request(request).await?)
}

/// Returns name and priority of each column. Only `-o wide` shows columns with a priority above 0.
fn columns(table: &Value) -> Vec<(&str, u64)> {
    let definitions = table["columnDefinitions"].as_array().into_iter().flatten();
    definitions.filter_map(|column| Some((column["name"].as_str()?, column["priority"].as_u64()?))).collect()
}

async fn sealed_secrets(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("table").await?;
    context.create_sealed(&namespace, "db", "hunter2").await?;
    let table = table(context, namespace.name(), "sealedsecrets").await?;
    assert_eq!(columns(&table), [("Name", 0), ("Ready", 0), ("Reason", 0), ("Age", 0), ("Key", 1), ("Message", 1)]);
    let cells = &table["rows"][0]["cells"];
    let shown = [&cells[0], &cells[1], &cells[2], &cells[5]];
    assert_eq!(shown, ["db", "True", "Materialised", "the Secret is as this SealedSecret says"]);
    Ok(())
}

async fn sealing_keys(context: &Context) -> TestResult {
    let table = table(context, KEY_NAMESPACE, "sealingkeys").await?;
    let always = ["Name", "Role", "State", "Created", "Objects", "Backup"].map(|name| (name, 0));
    let wide = ["Confirmed", "Only", "Identity"].map(|name| (name, 1));
    assert_eq!(columns(&table), [&always[..], &wide].concat());
    let rows = table["rows"].as_array().ok_or("rows")?;
    assert!(rows.iter().any(|row| row["cells"][1] == "Cluster" && row["cells"][2] == "Active"), "{rows:?}");
    Ok(())
}

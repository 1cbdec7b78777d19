//! The chart: its generated files are up to date, and its schema is closed and complete.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use waxseal_tests::chart;

fn read(name: &str) -> String {
    fs::read_to_string(chart::folder().join(name)).expect("a file of the chart")
}

fn schema() -> Value {
    serde_json::from_str(&read("values.schema.json")).expect("JSON")
}

fn defaults() -> Value {
    serde_saphyr::from_str(&read("values.yaml")).expect("YAML")
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_generated_files_of_the_chart_are_fresh() {
    for (name, text) in chart::generated().expect("the chart is readable") {
        assert!(read(name) == text, "deploy/chart/{name} is stale: cargo run -p waxseal-tests --bin chart");
    }
}

#[test]
fn the_chart_has_the_version_of_the_programs() {
    let chart: Value = serde_saphyr::from_str(&read("Chart.yaml")).expect("YAML");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_schema_knows_each_value_and_no_other() {
    let (schema, defaults) = (schema(), defaults());
    let mut known = keys(&schema["properties"]);
    assert!(known.remove("global"));
    assert_eq!(known, keys(&defaults));
    for parent in ["image", "networkPolicy"] {
        assert_eq!(keys(&schema["properties"][parent]["properties"]), keys(&defaults[parent]), "{parent}");
    }
}

#[test]
fn each_value_has_a_description() {
    let defaults = defaults();
    let parents = ["image", "networkPolicy"];
    let top = keys(&defaults).into_iter().filter(|key| !parents.contains(key)).map(str::to_owned);
    let below = |parent| keys(&defaults[parent]).into_iter().map(move |key| format!("{parent}.{key}"));
    let all: BTreeSet<_> = top.chain(parents.into_iter().flat_map(below)).collect();
    let values = chart::values(&read("values.yaml")).expect("values");
    let described: BTreeSet<_> = values.iter().map(|value| value.path.join(".")).collect();
    assert_eq!(described, all);
}

/// Objects that the schema leaves open: their fields belong to others.
const OPEN: [&str; 2] = ["checkedByTheApiServer", "addedByHelmToSubcharts"];

#[test]
fn every_object_in_the_schema_is_closed() {
    let mut schema = schema();
    for name in OPEN {
        let removed = schema["definitions"].as_object_mut().and_then(|definitions| definitions.remove(name));
        assert!(removed.is_some(), "{name}");
    }
    assert!(closed_objects(&schema) > 8);
}

/// Counts the objects; fails at one that takes unknown fields.
fn closed_objects(schema: &Value) -> usize {
    let parts: Vec<&Value> = match schema {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let is_object = schema["type"] == "object";
    if is_object {
        let others = &schema["additionalProperties"];
        assert!(*others == Value::Bool(false) || others.is_object(), "{schema}");
    }
    usize::from(is_object) + parts.into_iter().map(closed_objects).sum::<usize>()
}

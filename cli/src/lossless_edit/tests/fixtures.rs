//! Pairs of manifests as people and tools write them, before and after the same changes.

use std::fs;
use std::path::Path;

use super::*;

/// The least number of pairs.
const MIN_PAIRS: usize = 40;

fn envelope() -> NewValue {
    let bound_to = serde_json::from_str(r#"{"namespace": "shop", "name": "db"}"#).expect("boundTo");
    let wraps = [("k1".to_owned(), "YWdl.bmV3".to_owned())].into();
    NewValue::Envelope(EnvelopeSpec { bound_to, commitment: "bmV3".to_owned(), wraps })
}

/// The changes that are made to each SealedSecret of each pair.
fn changes() -> Vec<Change> {
    vec![
        Change { path: path("spec/envelopes/e3"), to: Some(envelope()) },
        set("spec/encryptedData/PASSWORD", "wax1.e3.bmV3"),
        set("spec/encryptedData/API_TOKEN", "wax1.e3.dG9rZW4"),
        remove("spec/encryptedData/LEGACY"),
        set("spec/envelopes/e1/wraps/k2", "YWdl.azI"),
        remove("spec/envelopes/e2"),
    ]
}

fn changes_of_all_objects(text: &str) -> Vec<ObjectChanges> {
    let stream = split(text).expect("a stream");
    let objects = stream.documents.iter().map(|document| sealed_secrets_of(document.kind().expect("a kind")).len());
    let places = objects.enumerate().flat_map(|(document, objects)| (0..objects).map(move |object| (document, object)));
    places.map(|(document, object)| ObjectChanges { document, object, changes: changes() }).collect()
}

#[test]
fn each_manifest_before_becomes_its_manifest_after() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/lossless_edits");
    let mut names: Vec<_> =
        fs::read_dir(&directory).expect("fixtures").map(|entry| entry.expect("a file").path()).collect();
    names.sort();
    let pairs: Vec<_> = names.iter().filter(|path| path.to_string_lossy().contains(".before.")).collect();
    assert!(pairs.len() >= MIN_PAIRS && names.len() == 2 * pairs.len(), "{} pairs", pairs.len());
    let failures: Vec<_> = pairs.into_iter().filter_map(|before| difference(before)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Returns the changed text if it is not the expected text.
fn difference(before: &Path) -> Option<String> {
    let after = before.to_string_lossy().replace(".before.", ".after.");
    let text = fs::read_to_string(before).expect("before");
    let expected = fs::read_to_string(&after).expect(&after);
    let edited = apply("before", &text, &changes_of_all_objects(&text)).unwrap_or_else(|error| error.to_string());
    (edited != expected).then(|| format!("{after} would be:\n{edited}"))
}

//! The sealed objects of the seeds, and their values. Each value names the place that it is bound to, so a value that
//! opens in another place is noticed.

use std::sync::OnceLock;

use waxseal_shared::format::Sealed;
use waxseal_shared::manifest::{DocumentKind, ManifestError, split};
use waxseal_shared::names::DataKey;
use waxseal_shared::open::Opened;
use waxseal_shared::sealed_secret::{EnvelopeSpec, Scope, SealedSecret};

/// The beginning of every value. No message may contain it.
pub(super) const MARK: &str = "plaintext of ";

const TEXTS: [&str; 6] = [
    include_str!("../seeds/object/strict.yaml"),
    include_str!("../seeds/object/namespace.yaml"),
    include_str!("../seeds/object/cluster.yaml"),
    include_str!("../seeds/object/two-envelopes.yaml"),
    include_str!("../seeds/object/two-keys.yaml"),
    include_str!("../seeds/object/revoked.yaml"),
];

/// Returns the value that is sealed for a place. It is long if the data key begins with `LARGE`.
pub fn value(scope: Scope, namespace: &str, name: &str, key: &str) -> Vec<u8> {
    let place = match scope {
        Scope::Strict => format!("{MARK}{namespace}/{name} {key}\n"),
        Scope::Namespace => format!("{MARK}{namespace} {key}\n"),
        Scope::Cluster => format!("{MARK}any place {key}\n"),
    };
    let times = if key.starts_with("LARGE") { 20 } else { 1 };
    place.repeat(times).into_bytes()
}

/// The sealed objects, in the order of `TEXTS`.
pub fn objects() -> &'static [SealedSecret] {
    static OBJECTS: OnceLock<Vec<SealedSecret>> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let read = |text| sealed_secrets(text).into_iter().next().expect("a seed").expect("a seed that is read");
        TEXTS.into_iter().map(read).collect()
    })
}

/// All envelopes of the sealed objects, with their ids.
pub(super) fn envelopes() -> impl Iterator<Item = (&'static String, &'static EnvelopeSpec)> {
    objects().iter().flat_map(|object| &object.spec.envelopes)
}

/// The SealedSecrets of a text, also those in lists; empty if the text is not a manifest.
pub(super) fn sealed_secrets(text: &str) -> Vec<Result<SealedSecret, ManifestError>> {
    let documents = split(text).map(|stream| stream.documents).unwrap_or_default();
    let kinds = documents.iter().filter_map(|document| document.kind().ok());
    kinds.flat_map(flattened).collect()
}

fn flattened(kind: DocumentKind) -> Vec<Result<SealedSecret, ManifestError>> {
    match kind {
        DocumentKind::SealedSecret(object) => vec![object.read()],
        DocumentKind::List(items) => items.into_iter().flat_map(flattened).collect(),
        _ => Vec::new(),
    }
}

/// Asserts that every value of the object opened, and is the value that was sealed for its place.
pub(super) fn assert_genuine(sealed: &Sealed, opened: &Opened) {
    let keys: Vec<&DataKey> = sealed.data_keys().map(|(key, _)| key).collect();
    assert_eq!(opened.data.keys().collect::<Vec<_>>(), keys, "every value opens, or none");
    for (key, bytes) in &opened.data {
        let expected = value(sealed.scope, sealed.namespace.as_str(), sealed.name.as_str(), key.as_str());
        assert!(bytes.expose() == expected, "another plaintext under {key}");
    }
}

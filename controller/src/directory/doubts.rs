//! What a manifest that holds no SealedSecret any more could have held: a slip of the pen, or a
//! write that was cut off, must not pass for a deletion.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use waxseal_shared::manifest::{DocumentKind, ManifestError, Object};

const KINDS: [&str; 2] = ["SealedSecret", "SealedSecretList"];
/// Another project has this kind, too.
const OTHER_PROJECT: &str = "bitnami.com/v1alpha1";

/// Why a file could hold what a SealedSecret became. Never quotes it.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Doubt {
    /// The file was emptied, or never written to its end.
    #[error("nothing in it (delete the file if its Secret should go)")]
    Nothing,
    /// A document that says of itself not even what it is.
    #[error("not a whole object: {0}")]
    NotWhole(ManifestError),
    /// The same for an item of a list.
    #[error("an item of the list is empty (remove it)")]
    EmptyItem,
    /// A slip in the group, or a version that is not known.
    #[error("a SealedSecret that is not Waxseal's (write `apiVersion: waxseal.dev/v1alpha1`)")]
    OtherGroup,
    /// A slip in the apiVersion or kind of a list.
    #[error("SealedSecrets in what is not read as a list (write `apiVersion: v1` and `kind: List`)")]
    OtherList,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(deserialize_with = "word")]
    api_version: String,
    #[serde(deserialize_with = "word")]
    kind: String,
}

#[derive(Deserialize)]
struct ListOfItems {
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Item {
    api_version: String,
    kind: String,
}

impl Doubt {
    /// What is doubtful about a document; `None` if it is sure what it is.
    ///
    /// Documents of other kinds are whole if they have an apiVersion and a kind, whatever else is in
    /// them: taking a SealedSecret out of a file and leaving a ConfigMap is no doubt.
    pub(super) fn about(kind: &DocumentKind) -> Option<Self> {
        match kind {
            DocumentKind::List(items) => items.iter().find_map(Self::about_item),
            DocumentKind::Other(object) => Self::about_other(object),
            DocumentKind::Empty | DocumentKind::Secret(_) | DocumentKind::SealedSecret(_) => None,
        }
    }

    /// The line and the column, if they are known better than the document's.
    pub(super) fn place(&self) -> Option<(usize, usize)> {
        match self {
            Doubt::NotWhole(error) => error.place(),
            _ => None,
        }
    }

    fn about_item(kind: &DocumentKind) -> Option<Self> {
        match kind {
            DocumentKind::Empty => Some(Doubt::EmptyItem),
            kind => Self::about(kind),
        }
    }

    fn about_other(object: &Object) -> Option<Self> {
        let Whole { api_version, kind } = match object.read() {
            Ok(whole) => whole,
            Err(error) => return Some(Doubt::NotWhole(error)),
        };
        if is_sealed_secret(&api_version, &kind) {
            return Some(Doubt::OtherGroup);
        }
        // What has no such items is no list, and that is no fault.
        let items = object.read::<ListOfItems>().map(|list| list.items).unwrap_or_default();
        items.iter().any(|item| is_sealed_secret(&item.api_version, &item.kind)).then_some(Doubt::OtherList)
    }
}

/// Whether a document has nothing in it that could be seen to be gone.
pub(super) fn is_void(kind: &DocumentKind) -> bool {
    match kind {
        DocumentKind::Empty => true,
        DocumentKind::List(items) => items.is_empty(),
        DocumentKind::Secret(_) | DocumentKind::SealedSecret(_) | DocumentKind::Other(_) => false,
    }
}

fn is_sealed_secret(api_version: &str, kind: &str) -> bool {
    KINDS.contains(&kind) && api_version != OTHER_PROJECT
}

fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let word = String::deserialize(deserializer)?;
    if word.is_empty() { Err(D::Error::custom("empty")) } else { Ok(word) }
}

#[cfg(test)]
mod tests {
    use waxseal_shared::manifest::split;

    use super::*;

    #[track_caller]
    fn doubt(text: &str) -> Option<String> {
        let stream = split(text).expect("a stream");
        let kind = stream.documents[0].kind().expect("it is read");
        Doubt::about(&kind).map(|doubt| doubt.to_string())
    }

    #[test]
    fn what_is_no_whole_object_is_doubtful() {
        for (text, expected) in [
            ("apiversion: waxseal.dev/v1alpha1\nkind: SealedSecret", "field \"apiVersion\" is missing"),
            ("kind: SealedSecret", "field \"apiVersion\" is missing"),
            ("apiVersion: waxs", "field \"kind\" is missing"),
            ("apiVersion:\nkind: ConfigMap", "apiVersion: must be a string, not null"),
            ("apiVersion: v1\nkind: ''", "kind: not a value that this field takes"),
            ("apiVer", "must be a mapping, not a string"),
            ("- apiVersion: v1\n  kind: ConfigMap", "must be a mapping, not a list"),
            ("{}", "field \"apiVersion\" is missing"),
            ("apiVersion: v1\nkind: ConfigMap\nx: &a 1", "x: anchors are not read here"),
            ("apiVersion: v1\nkind: List\nitems: [{kind: ConfigMap}]", "items[0]: field \"apiVersion\" is missing"),
        ] {
            assert_eq!(doubt(text), Some(format!("not a whole object: {expected}")), "{text}");
        }
        let empty_item = "apiVersion: v1\nkind: List\nitems: [~]";
        assert_eq!(doubt(empty_item).as_deref(), Some("an item of the list is empty (remove it)"));
    }

    #[test]
    fn a_sealed_secret_of_another_group_is_doubtful_but_for_that_of_another_project() {
        let said = "a SealedSecret that is not Waxseal's (write `apiVersion: waxseal.dev/v1alpha1`)";
        for text in [
            "apiVersion: waxsael.dev/v1alpha1\nkind: SealedSecret",
            "apiVersion: bitnami.com/v1\nkind: SealedSecret",
            "apiVersion: waxsael.dev/v1alpha1\nkind: SealedSecretList\nitems: []",
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: waxsael.dev/v1alpha1, kind: SealedSecret}]",
        ] {
            assert_eq!(doubt(text).as_deref(), Some(said), "{text}");
        }
        let in_a_list = "SealedSecrets in what is not read as a list (write `apiVersion: v1` and `kind: List`)";
        for head in ["apiVersion: v2\nkind: List", "apiVersion: v1\nkind: Lust"] {
            let text = format!("{head}\nitems: [{{apiVersion: waxseal.dev/v1alpha1, kind: SealedSecret}}]");
            assert_eq!(doubt(&text).as_deref(), Some(in_a_list), "{text}");
        }
    }

    #[test]
    fn other_whole_objects_are_not_doubtful() {
        for text in [
            "# c",
            "apiVersion: v1\nkind: ConfigMap\ndata: {a: no}",
            "apiVersion: v1\nkind: Secret\nstringData: {a: 0777}",
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret",
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecretList",
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}]",
            "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {}}]",
            "apiVersion: example.com/v1\nkind: Shop\nitems: 3",
            "apiVersion: waxseal.dev/v1alpha1\nkind: SealingKey",
        ] {
            assert_eq!(doubt(text), None, "{text}");
        }
    }

    #[test]
    fn void_is_what_holds_no_object() {
        let is_void = |text: &str| is_void(&split(text).expect("a stream").documents[0].kind().expect("it is read"));
        for text in ["# c", "---", "~", "apiVersion: v1\nkind: List\nitems:"] {
            assert!(is_void(text), "{text}");
        }
        for text in ["x", "apiVersion: v1\nkind: List\nitems: [~]", "apiVersion: v1\nkind: Secret"] {
            assert!(!is_void(text), "{text}");
        }
    }
}

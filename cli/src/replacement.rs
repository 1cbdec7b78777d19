//! Decides whether a result may replace a file.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use waxseal_shared::key::{contains_encrypted_file, contains_identity};
use waxseal_shared::manifest::{DocumentKind, split};

/// `AGE-SECRET-KEY-` in base64, in upper and lower case. Base64 encodes groups of three bytes, and the text can begin
/// at each byte of a group.
const STARTS_IN_BASE64: [&str; 6] = [
    "QUdFLVNFQ1JFVC1LRVkt",
    "FHRS1TRUNSRVQtS0VZL",
    "BR0UtU0VDUkVULUtFWS",
    "YWdlLXNlY3JldC1rZXkt",
    "FnZS1zZWNyZXQta2V5L",
    "hZ2Utc2VjcmV0LWtleS",
];

/// Whether a file contains an identity, plain or in base64, as in the `data` of a Secret. Also true for a file that is
/// encrypted with age, as identity files with a passphrase and key backups are.
pub(crate) fn holds_identity(file: &[u8]) -> bool {
    let text = String::from_utf8_lossy(file);
    // In a block scalar, base64 can have several lines.
    let on_one_line: String = text.split_whitespace().collect();
    contains_identity(file)
        || contains_encrypted_file(file)
        || STARTS_IN_BASE64.iter().any(|start| on_one_line.contains(start))
}

/// Whether the result contains everything in a file: each document of the file byte for byte, or its objects by
/// apiVersion, kind, namespace and name.
///
/// False for a file with a plain Secret, which no result contains, and for a document that cannot be read.
pub(crate) fn is_covered(file: &[u8], result: &str) -> bool {
    let (Ok(file), Some(result)) = (str::from_utf8(file), Contents::of(result)) else {
        return false;
    };
    let Ok(file) = split(file) else {
        return false;
    };
    let mut documents = file.kinds();
    documents.all(|(document, kind)| {
        let text = document.text().trim();
        let is_blank = || text.lines().all(|line| matches!(line.trim(), "" | "---" | "..."));
        let holds = |object: Option<ObjectReference>| object.is_some_and(|object| result.objects.contains(&object));
        let is_covered = match kind {
            Ok(DocumentKind::Empty) => is_blank(),
            Ok(kind) => references_to(&kind).into_iter().all(holds),
            Err(_) => false,
        };
        is_covered || result.documents.contains(text)
    })
}

/// The documents and objects of a result.
struct Contents<'a> {
    documents: BTreeSet<&'a str>,
    objects: BTreeSet<ObjectReference>,
}

/// The fields that identify an object.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ObjectReference {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl<'a> Contents<'a> {
    /// Returns `None` for a text that is not a stream of manifests.
    fn of(text: &'a str) -> Option<Self> {
        let stream = split(text).ok()?;
        let mut contents = Self { documents: BTreeSet::new(), objects: BTreeSet::new() };
        for (document, kind) in stream.kinds() {
            contents.documents.insert(document.text().trim());
            contents.objects.extend(references_to(&kind.ok()?).into_iter().flatten());
        }
        Some(contents)
    }
}

/// Returns a reference to each object; `None` for a plain Secret, for an object without an apiVersion, a kind or a
/// name, and for an object that cannot be read.
fn references_to(kind: &DocumentKind) -> Vec<Option<ObjectReference>> {
    match kind {
        DocumentKind::Empty => Vec::new(),
        DocumentKind::Secret(_) => vec![None],
        DocumentKind::SealedSecret(object) => vec![object.read().ok().and_then(ObjectReference::of)],
        DocumentKind::Other(object) => vec![object.read::<Value>().ok().and_then(ObjectReference::of)],
        DocumentKind::List(items) => items.iter().flat_map(references_to).collect(),
    }
}

impl ObjectReference {
    fn of(object: impl Serialize) -> Option<Self> {
        let object = serde_json::to_value(object).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let metadata = &object["metadata"];
        Some(Self {
            api_version: text(&object["apiVersion"])?,
            kind: text(&object["kind"])?,
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn sealed(name: &str) -> String {
        format!(
            "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{}}\n"
        )
    }

    #[test]
    fn a_file_of_the_same_objects_is_covered() {
        let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let result =
            format!("{}---\n{}---\n{other}data: {{a: b}}\n---\n&a nameless: *a\n", sealed("db"), sealed("web"));
        for file in [
            "",
            "---\n\n",
            &sealed("db"),
            &format!("---\n# sealed\n{}---\n{}...\n", sealed("web"), sealed("db")),
            other,
            "---\n&a nameless: *a\n",
            &format!("apiVersion: v1\nkind: List\nitems:\n- {}", sealed("db").replace('\n', "\n  ")),
            r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}"#,
        ] {
            assert!(is_covered(file.as_bytes(), &result), "{file}");
        }
    }

    #[test]
    fn a_file_with_anything_else_is_not_covered() {
        let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let result = format!("{}---\n{other}", sealed("db"));
        for file in [
            "# only a comment\n",
            "text",
            "\tkind: [",
            "kind: ConfigMap\n",
            "nameless: 1\n",
            &sealed("web"),
            &sealed("db").replace("shop", "web"),
            &sealed("db").replace("kind: SealedSecret", "kind: Secret"),
            &sealed("db").replace("waxseal.dev/v1alpha1\nkind: SealedSecret", "v1\nkind: Secret"),
            &sealed("db").replace("spec: {}\n", ""),
            &format!("{}---\n{}", sealed("db"), sealed("web")),
            &format!("apiVersion: v1\nkind: List\nitems:\n- {}", sealed("web").replace('\n', "\n  ")),
            &other.replace("name: a", "name: b"),
            &other.replace("ConfigMap", "Service"),
            &other.replace("v1", "v2"),
        ] {
            assert!(!is_covered(file.as_bytes(), &result), "{file}");
        }
        assert!(!is_covered(b"\xff\xfe", &result));
    }

    #[test]
    fn identities_are_found_in_every_form() {
        for file in [
            "# created: 2026-01-01T00:00:00Z\nAGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33\n",
            "stringData: {identity: AGE-SECRET-KEY-PQ-1QQQQQQ}\n",
            "stringData: {identity: age-secret-key-pq-1qqqqqq}\n",
            "data: {identity: QUdFLVNFQ1JFVC1LRVktUFEtMQ==}\n",
            "age-encryption.org/v1\n-> scrypt x 18\n",
            "-----BEGIN AGE ENCRYPTED FILE-----\n",
            "\n-----BEGIN AGE ENCRYPTED FILE-----\n",
            "# my recovery key\n-----BEGIN AGE ENCRYPTED FILE-----\n",
            "\u{feff}-----BEGIN AGE ENCRYPTED FILE-----\n",
        ] {
            assert!(holds_identity(file.as_bytes()), "{file}");
        }
        let identity = "# created: 2026-01-01T00:00:00Z\n# public key: age1qqq\nAGE-SECRET-KEY-1QQQQQQ\n";
        for text in [identity.to_owned(), identity.to_lowercase()] {
            for shift in ["", "#", "##"] {
                let encoded = BASE64_STANDARD.encode(format!("{shift}{text}"));
                let wrapped = encoded.replace('U', "U\n    ");
                let in_block = format!("data:\n  identity: |\n    {wrapped}\n");
                for file in [format!("data: {{identity: {encoded}}}\n"), in_block] {
                    assert!(holds_identity(file.as_bytes()), "{file}");
                }
            }
        }
        for file in [
            "",
            "# begins with AGE-SECRET-KEY-…\n",
            "age1pq1qqq\n",
            "sops:\n  age:\n  - enc: |\n      -----BEGIN AGE ENCRYPTED FILE-----\n",
            &sealed("db"),
            &sealed("age-secret-key-1"),
        ] {
            assert!(!holds_identity(file.as_bytes()), "{file}");
        }
    }
}

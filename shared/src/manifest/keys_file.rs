//! Keys files: the SealingKeys of one cluster, as `kubectl get sealingkeys -o yaml` prints them.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::error::{ManifestError, UPDATE};
use super::node::Node;
use super::object::Object;
use super::position::Position;
use super::stream::split;
use super::writer::{Format, ListItem, write, write_list};
use crate::api_group::{API_VERSION, PREFIX};
use crate::key::{RecipientError, contains_identity};
use crate::sealing_key::{KeyRole, PublishedKey, SealingKey, SealingKeyError, SealingKeySpec};

/// The greatest number of keys in one file, far more than a cluster ever has. Each key is compared with all keys before
/// it.
const MAX_KEYS: usize = 1000;
/// The first bytes of every identity.
const IDENTITY_START: &[u8] = b"AGE-SECRET-KEY-";
const HINT: &str = "a keys file is what `kubectl get sealingkeys -o yaml` prints";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeOfObject<'a> {
    api_version: Option<&'a str>,
    kind: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListFields {
    _api_version: Option<IgnoredAny>,
    _kind: Option<IgnoredAny>,
    _metadata: Option<IgnoredAny>,
    _items: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SealingKeyFields<'a> {
    _api_version: Option<IgnoredAny>,
    _kind: Option<IgnoredAny>,
    #[serde(borrow)]
    metadata: Name<'a>,
    spec: SealingKeySpec,
    _status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Name<'a> {
    name: &'a str,
}

/// Reads the keys of a keys file, YAML or JSON, sorted as [`write_keys`] writes them.
///
/// A keys file contains SealingKeys, and lists of them (`v1`, kind `List`, or `SealingKeyList`). `status`, and all
/// metadata except the name, is ignored. The rest is read as strictly as every manifest, and each key is checked with
/// [`PublishedKey::decode`]. Refuses objects of other kinds, two different objects for one key, more than 1,000 keys, a
/// text without keys, and a text with an identity, also in a comment.
pub fn read_keys(text: &str) -> Result<Vec<PublishedKey>, ManifestError> {
    if let Some(line) = text.lines().position(has_identity) {
        let error = ManifestError::new("this is an identity, a private key");
        let position = Position { line: u32::try_from(line).unwrap_or(u32::MAX).saturating_add(1), column: 1 };
        return Err(error
            .with_position(position)
            .with_hint("`waxseal keys public --identity FILE` prints its SealingKey"));
    }
    let mut keys = Vec::new();
    for (_, tree) in split(text)?.trees() {
        if let Some(tree) = tree?.filter(|tree| !tree.root().is_null()) {
            Object::root(tree.into()).read_with(|root| add_object(root, &mut keys))?;
        }
    }
    if keys.is_empty() {
        return Err(ManifestError::new("no SealingKey in it").with_hint(HINT));
    }
    sort(&mut keys);
    Ok(keys)
}

/// Writes a keys file: a `v1` `List` in YAML with names and specs only. The keys of the cluster come before the
/// recovery keys. Keys of one role are sorted by creation time, then by name. The same keys give the same bytes.
pub fn write_keys(keys: &[PublishedKey]) -> String {
    let mut keys = keys.to_vec();
    sort(&mut keys);
    let objects: Vec<_> = keys.iter().map(to_value).collect();
    let items: Vec<_> = objects.iter().map(ListItem::from).collect();
    write_list(&items, Format::Yaml)
}

/// Writes one SealingKey in YAML, name and spec only; [`read_keys`] reads it.
pub fn write_key(key: &PublishedKey) -> String {
    write(&to_value(key))
}

/// Whether a line contains an identity, also in a comment, or begins like one that was cut off.
fn has_identity(line: &str) -> bool {
    let start = line.trim_start().as_bytes().get(..IDENTITY_START.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(IDENTITY_START)) || contains_identity(line.as_bytes())
}

fn to_value(key: &PublishedKey) -> Value {
    // This cannot fail: the object contains only strings, and the keys of its maps are strings.
    serde_json::to_value(key.to_object()).expect("a SealingKey is JSON")
}

fn sort(keys: &mut [PublishedKey]) {
    keys.sort_by_key(|key| (key.role == KeyRole::Recovery, key.created_at, key.recipient.key_id().clone()));
}

fn add_object(object: &Node, keys: &mut Vec<PublishedKey>) -> Result<(), ManifestError> {
    let TypeOfObject { api_version, kind } = TypeOfObject::deserialize(object)?;
    match (api_version, kind) {
        (Some("v1"), Some("List")) | (Some(API_VERSION), Some("SealingKeyList")) => {
            ListFields::deserialize(object)?;
            let mut items = object.value(&["items"]).into_iter().flat_map(Node::children);
            items.try_for_each(|item| add_item(item, keys))
        }
        _ => add_key(object, (api_version, kind), keys),
    }
}

fn add_item(item: &Node, keys: &mut Vec<PublishedKey>) -> Result<(), ManifestError> {
    let TypeOfObject { api_version, kind } = TypeOfObject::deserialize(item)?;
    match (api_version, kind) {
        // An item of a list may have no apiVersion and kind.
        (None, None) => add_key(item, (Some(API_VERSION), Some("SealingKey")), keys),
        type_of_item => add_key(item, type_of_item, keys),
    }
}

fn add_key(
    object: &Node,
    type_of_object: (Option<&str>, Option<&str>),
    keys: &mut Vec<PublishedKey>,
) -> Result<(), ManifestError> {
    match type_of_object {
        (Some(API_VERSION), Some("SealingKey")) => {}
        (Some(version), Some("SealingKey" | "SealingKeyList"))
            if version.starts_with(PREFIX) && version != API_VERSION =>
        {
            let error = ManifestError::new("a SealingKey of a version that is not known");
            return Err(error.at(object).with_hint(UPDATE));
        }
        _ => return Err(ManifestError::new("not a SealingKey").at(object).with_hint(HINT)),
    }
    let key = read_key(object)?;
    let id = key.recipient.key_id();
    match keys.iter().find(|known| known.recipient.key_id() == id) {
        None if keys.len() == MAX_KEYS => Err(ManifestError::new(format!("more than {MAX_KEYS} keys")).at(object)),
        None => {
            keys.push(key);
            Ok(())
        }
        Some(known) if *known == key => Ok(()),
        Some(_) => Err(ManifestError::new(format!("{id} was given before, with different contents")).at(object)),
    }
}

fn read_key(object: &Node) -> Result<PublishedKey, ManifestError> {
    let fields = SealingKeyFields::deserialize(object).map_err(ManifestError::suggest_update)?;
    PublishedKey::decode(&SealingKey::new(fields.metadata.name, fields.spec)).map_err(|error| {
        let is_of_unknown_kind = error == SealingKeyError::Recipient(RecipientError::Unknown);
        let (path, text) = match error {
            SealingKeyError::Recipient(error) => (["spec", "recipient"], error.to_string()),
            SealingKeyError::CreatedAt => (["spec", "createdAt"], "not an RFC 3339 time".to_owned()),
            SealingKeyError::Name(id) => (["metadata", "name"], format!("must be {id}, the key id of its recipient")),
        };
        let error = ManifestError::new(text).at(object.value(&path).unwrap_or(object));
        if is_of_unknown_kind { error.with_hint(UPDATE) } else { error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Identity, KeyKind};
    use crate::randomness;
    use crate::sealing_key::KeyState;

    fn key(role: KeyRole, second: i64) -> PublishedKey {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        let created_at = jiff::Timestamp::from_second(second).expect("a small number");
        PublishedKey { recipient: identity.recipient().clone(), role, created_at, state: KeyState::Active }
    }

    fn read(text: &str) -> Vec<PublishedKey> {
        read_keys(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(text: &str) -> String {
        read_keys(text).expect_err("not a keys file").to_string()
    }

    #[test]
    fn keys_are_written_sorted_and_read_back() {
        let keys = [key(KeyRole::Cluster, 1), key(KeyRole::Cluster, 2), key(KeyRole::Recovery, 0)];
        let text = write_keys(&keys);
        let id = keys[0].recipient.key_id();
        let head = format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: waxseal.dev/v1alpha1\n  kind: SealingKey\n  metadata:\n    name: {id}\n  spec:\n    createdAt: \"1970-01-01T00:00:01Z\"\n    recipient: {}\n    role: Cluster\n    state: Active\n",
            keys[0].recipient
        );
        assert!(text.starts_with(&head) && !text.contains("status"), "{text}");
        assert_eq!(read(&text), keys);
        let mut turned = keys.clone();
        turned.reverse();
        assert_eq!(write_keys(&turned), text);
    }

    #[test]
    fn an_identity_is_refused_wherever_it_stands() {
        let text = write_key(&key(KeyRole::Cluster, 1));
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system()).expose();
        for line in [&*identity, &format!("# {}", *identity), &format!("\u{feff}{}", *identity), "  AGE-SECRET-KEY-"] {
            for text in [format!("{line}\n{text}"), format!("{text}{line}\n")] {
                assert_eq!(refusal(&text), "this is an identity, a private key");
            }
        }
    }

    #[test]
    fn what_kubectl_prints_is_a_keys_file() {
        let (one, two) = (key(KeyRole::Cluster, 1), key(KeyRole::Recovery, 2));
        let item = |key: &PublishedKey| {
            format!(
                "- apiVersion: waxseal.dev/v1alpha1
  kind: SealingKey
  metadata:
    creationTimestamp: \"2026-01-31T10:00:00Z\"
    generation: 1
    managedFields:
    - apiVersion: waxseal.dev/v1alpha1
      fieldsType: FieldsV1
      fieldsV1:
        f:spec:
          .: {{}}
          f:createdAt: {{}}
      manager: waxseal
    name: {}
    namespace: waxseal-system
    uid: 3b241101-e2bb-4255-8caf-4136c566a962
  spec:
    createdAt: \"{}\"
    recipient: {}
    role: {}
    state: Active
  status:
    identitySecret: {{name: first-sealing-key, uid: 5a241101-e2bb-4255-8caf-4136c566a962}}
    lastBackupTime: \"2026-02-01T10:00:00Z\"
    objects: 3
    onlyObjects: 1
    state: Active
",
                key.recipient.key_id(),
                key.created_at,
                key.recipient,
                if key.role == KeyRole::Cluster { "Cluster" } else { "Recovery" }
            )
        };
        let list = format!(
            "apiVersion: v1\nitems:\n{}{}kind: List\nmetadata:\n  resourceVersion: \"\"\n",
            item(&two),
            item(&one)
        );
        assert_eq!(read(&list), [one.clone(), two.clone()]);
        let stream = format!("# two keys\n---\n{}---\n{}", write_key(&one), write_key(&two));
        assert_eq!(read(&stream), [one.clone(), two]);
        let object = serde_json::to_value(one.to_object()).expect("JSON");
        let json =
            serde_json::json!({"apiVersion": API_VERSION, "kind": "SealingKeyList", "metadata": {}, "items": [object]});
        assert_eq!(read(&json.to_string()), [one]);
    }

    #[test]
    fn a_keys_file_holds_at_most_1000_keys() {
        let most: Vec<_> = (0..1000).map(|second| key(KeyRole::Cluster, second)).collect();
        let text = write_keys(&most);
        assert_eq!(read(&text), most);
        assert_eq!(read(&format!("{text}---\n{text}")), most);
        let more = format!("{text}---\n{}", write_key(&key(KeyRole::Cluster, 1000)));
        assert_eq!(refusal(&more), "more than 1000 keys");
    }

    #[test]
    fn a_text_that_is_not_a_keys_file_is_refused() {
        let good = key(KeyRole::Cluster, 1);
        let text = write_key(&good);
        let id = good.recipient.key_id();
        for (text, expected) in [
            (String::new(), "no SealingKey in it".to_owned()),
            ("apiVersion: v1\nkind: List\nitems: []\n".to_owned(), "no SealingKey in it".to_owned()),
            ("apiVersion: v1\nkind: Secret\n".to_owned(), "not a SealingKey".to_owned()),
            (
                "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret}]\n".to_owned(),
                "items[0]: not a SealingKey".to_owned(),
            ),
            (
                format!(
                    "apiVersion: v1\nkind: List\nitems: [{{apiVersion: {API_VERSION}, kind: SealingKeyList, items: []}}]\n"
                ),
                "items[0]: not a SealingKey".to_owned(),
            ),
            (
                text.replace("state: Active", "state: Actve"),
                "spec.state: must be one of Active, Retired, Revoked".to_owned(),
            ),
            (text.replace("  state:", "  stat: x\n  state:"), "spec: unknown field \"stat\"".to_owned()),
            (text.replace("1970-01-01T00:00:01Z", "yesterday"), "spec.createdAt: not an RFC 3339 time".to_owned()),
            (
                text.replace("recipient: age1", "recipient: age2"),
                "spec.recipient: not a recipient: expected \"age1pq1…\" or \"age1…\"".to_owned(),
            ),
            (
                text.replace(&format!("name: {id}"), "name: k0"),
                format!("metadata.name: must be {id}, the key id of its recipient"),
            ),
            (
                format!("{text}---\n{}", text.replace("Active", "Revoked")),
                format!("{id} was given before, with different contents"),
            ),
        ] {
            assert_eq!(refusal(&text), expected);
        }
        assert_eq!(read(&format!("{text}---\n{text}")), [good]);
    }
}

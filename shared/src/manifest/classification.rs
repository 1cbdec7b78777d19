//! Classifies objects by their own apiVersion and kind.

use std::rc::Rc;

use super::error::{ManifestError, UPDATE};
use super::node::{Content, Node, Tag};
use super::object::{DocumentKind, Object, SealedSecretObject, SecretObject};
use super::plain_data::refuse_what_is_not_plain_data;
use super::tree::Tree;
use crate::api_group::{API_VERSION, PREFIX};

/// The kinds of the group `waxseal.dev`, in any version.
const KINDS_OF_GROUP: [&str; 4] = ["SealedSecret", "SealedSecretList", "SealingKey", "SealingKeyList"];
const KINDS_OF_SECRETS: [&str; 2] = ["Secret", "SecretList"];
/// The fields that decide the kind of an object, and the items of a list.
const DECIDING_FIELDS: [&str; 3] = ["apiVersion", "kind", "items"];
/// The greatest number of lists inside each other. No server nests lists.
const DEEPEST_LIST: usize = 8;

/// Classifies the object of a document.
///
/// Other programs may see another apiVersion or kind in an object that uses aliases, tags or repeated fields for them.
/// Such an object is refused if it could be a Secret or one of our kinds.
pub(super) fn kind_of(tree: Rc<Tree<'_>>) -> Result<DocumentKind<'_>, ManifestError> {
    let root = Object::root(Rc::clone(&tree));
    classify(root, "").map_err(|error| tree.located(error))
}

/// Classifies an object. `list` is the kind of the list that contains it, or empty.
fn classify<'a>(object: Object<'a>, list: &str) -> Result<DocumentKind<'a>, ManifestError> {
    let node = object.node();
    if node.is_null() {
        return Ok(DocumentKind::Empty);
    }
    if !node.is_mapping() {
        return Ok(DocumentKind::Other(object));
    }
    if !has_unambiguous_kind(node) {
        if object.tree().may_hide_a_kind() {
            refuse_what_is_not_plain_data(object.node(), object.tree())?;
        }
        return Ok(DocumentKind::Other(object));
    }
    let text = |name| node.entry(&[name]).and_then(|(_, value)| value.string()).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    refuse_unknown_kinds(version, kind, list).map_err(|error| error.at(node))?;
    match (version, kind) {
        ("v1", "List") => items_of(&object, "List"),
        ("v1", "SecretList") => items_of(&object, "SecretList"),
        (API_VERSION, "SealedSecretList") => items_of(&object, "SealedSecretList"),
        ("v1", "Secret") => Ok(DocumentKind::Secret(SecretObject(object))),
        // The API server leaves apiVersion and kind out of the items of a list.
        ("", "") if list == "SecretList" => Ok(DocumentKind::Secret(SecretObject(object))),
        (API_VERSION, "SealedSecret") => Ok(DocumentKind::SealedSecret(SealedSecretObject(object))),
        ("", "") if list == "SealedSecretList" => Ok(DocumentKind::SealedSecret(SealedSecretObject(object))),
        _ => Ok(DocumentKind::Other(object)),
    }
}

/// Refuses an object that looks like a SealedSecret with a typing error or of a newer version: it must not be ignored.
fn refuse_unknown_kinds(version: &str, kind: &str, list: &str) -> Result<(), ManifestError> {
    let is_of_group = version.starts_with(PREFIX);
    if list == "SealedSecretList" && version.is_empty() != kind.is_empty() {
        let error = ManifestError::new("only one of apiVersion and kind is given");
        return Err(error.with_hint("write both or neither in an item of a SealedSecretList"));
    }
    if is_of_group && !KINDS_OF_GROUP.contains(&kind) {
        let error = ManifestError::new("a kind that waxseal.dev does not have");
        return Err(error.with_hint("write `kind: SealedSecret`, or update Waxseal, if the kind is newer"));
    }
    if is_of_group && version != API_VERSION && kind.starts_with("SealedSecret") {
        return Err(ManifestError::new("a SealedSecret of a version that is not known").with_hint(UPDATE));
    }
    Ok(())
}

fn items_of<'a>(list: &Object<'a>, kind: &str) -> Result<DocumentKind<'a>, ManifestError> {
    if list.depth() == DEEPEST_LIST {
        return Err(ManifestError::new("more than 8 lists inside each other").at(list.node()));
    }
    let Some((_, items)) = list.node().entry(&["items"]).filter(|(_, items)| !items.is_null()) else {
        return Ok(DocumentKind::List(Vec::new()));
    };
    let Content::Sequence(nodes) = &items.content else {
        return Err(ManifestError::new("must be a list").at(items));
    };
    let items = (0..nodes.len()).map(|index| classify(list.item(index), kind));
    Ok(DocumentKind::List(items.collect::<Result<_, _>>()?))
}

/// Whether every reader of YAML sees the same apiVersion, kind and items in a mapping: no alias, tag,
/// merge key or repeated field is in the way.
fn has_unambiguous_kind(node: &Node) -> bool {
    let is_disguised = |node: &Node| node.tag == Tag::Other || matches!(node.content, Content::Alias(_));
    let mut seen = Vec::new();
    node.entries().all(|(key, value)| {
        let Some(field) = DECIDING_FIELDS.iter().find(|field| key.scalar() == Some(field)) else {
            return !is_disguised(key) && !key.is_merge_key();
        };
        let is_new = !seen.contains(field);
        seen.push(*field);
        let has_alias = value.children().iter().any(|item| matches!(item.content, Content::Alias(_)));
        is_new && !is_disguised(key) && !is_disguised(value) && !has_alias
    })
}

impl Tree<'_> {
    /// Whether the document could hide a Secret or an object of the group `waxseal.dev`: a scalar begins with
    /// `waxseal.dev/` or is the kind of such an object, or a node has a tag other than `!!str`.
    fn may_hide_a_kind(&self) -> bool {
        let is_kind =
            |text: &str| text.starts_with(PREFIX) || KINDS_OF_GROUP.contains(&text) || KINDS_OF_SECRETS.contains(&text);
        *self.may_hide.get_or_init(|| {
            self.root().nodes().any(|node| node.tag == Tag::Other || node.scalar().is_some_and(is_kind))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DocumentKind, split};
    use super::*;

    fn name_of(kind: &DocumentKind<'_>) -> String {
        match kind {
            DocumentKind::Empty => "empty".to_owned(),
            DocumentKind::Secret(_) => "secret".to_owned(),
            DocumentKind::SealedSecret(_) => "sealed".to_owned(),
            DocumentKind::List(items) => format!("[{}]", items.iter().map(name_of).collect::<Vec<_>>().join(" ")),
            DocumentKind::Other(_) => "other".to_owned(),
        }
    }

    fn kind_of(text: &str) -> Result<String, ManifestError> {
        Ok(name_of(&split(text)?.documents[0].kind()?))
    }

    #[test]
    fn documents_are_classified_by_api_version_and_kind() {
        for (text, expected) in [
            ("# c\n", "empty"),
            ("---\n", "empty"),
            ("null", "empty"),
            ("text", "other"),
            ("[{apiVersion: v1, kind: Secret}]", "other"),
            ("{}", "other"),
            ("apiVersion: v1\nkind: Secret", "secret"),
            ("{\"kind\": \"Secret\", \"apiVersion\": \"v1\"}", "secret"),
            ("apiVersion: 'v1'\nkind: !!str Secret\ntype: 1", "secret"),
            ("apiVersion: v1\nkind: ConfigMap", "other"),
            ("kind: Secret", "other"),
            ("apiVersion: v2\nkind: Secret", "other"),
            ("apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret", "sealed"),
            ("apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret", "other"),
            ("apiVersion: waxseal.dev/v1\nkind: SealingKey", "other"),
            ("apiVersion: waxseal.dev/v1\nkind: SealingKeyList", "other"),
            ("apiVersion: waxseal.example/v1\nkind: SealdSecret", "other"),
            ("a: &a {x: 1}\nb: *a\nc: {<<: *a}\nd: !Sub x\nd: 2", "other"),
        ] {
            assert_eq!(kind_of(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_object_with_an_ambiguous_kind_is_refused_if_it_could_be_a_secret() {
        const TAG: &str = "tags other than !!str are not allowed";
        for (text, said) in [
            ("apiVersion: v1\nkind: ConfigMap\nkind: Secret", "kind: given twice, first on line 2"),
            ("apiVersion: v1\nkind: List\nkind: Secret\nitems: []", "kind: given twice, first on line 2"),
            ("x: &k Secret\napiVersion: v1\nkind: *k", "x: anchors are not allowed"),
            ("x: &k kind\napiVersion: v1\n*k : Secret", "x: anchors are not allowed"),
            ("<<: {kind: Secret}\napiVersion: v1", "merge keys are not allowed"),
            ("apiVersion: v1\nkind: Pod\n<<: {kind: Secret}", "merge keys are not allowed"),
            ("<<: {kind: Pod}\napiVersion: waxseal.dev/v1alpha1", "merge keys are not allowed"),
            (
                "x: &x {kind: Secret}\napiVersion: v1\nkind: List\nitems: [{<<: *x}]",
                "items[0]: merge keys are not allowed",
            ),
            ("apiVersion: v1\nkind: SecretList\nx: &x []\nitems: *x", "x: anchors are not allowed"),
            ("apiVersion: v1\nkind: SecretList\nx: &x {}\nitems: [*x]", "x: anchors are not allowed"),
            ("apiVersion: v1\nkind: SecretList\n<<: {items: []}", "merge keys are not allowed"),
            ("apiVersion: v1\nkind: SecretList\nitems: []\nitems: []", "items: given twice, first on line 3"),
            ("apiVersion: v1\nkind: !!binary U2VjcmV0", TAG),
            ("apiVersion: !!binary djE=\nkind: Secret", TAG),
            ("apiVersion: v1\n!!binary a2luZA==: ConfigMap", TAG),
            ("<<: !x {kind: Pod}\napiVersion: v1", "merge keys are not allowed"),
            ("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: !x Secret}]", TAG),
            ("apiVersion: v1\nkind: List\nitems: !!null", TAG),
            ("apiVersion: v1\nkind: List\nitems: !x []", TAG),
        ] {
            let error = kind_of(text).expect_err(text);
            assert!(error.to_string().ends_with(said), "{text}: {error}");
            assert!(error.place().is_some(), "{text}");
        }
        for text in [
            "x: &k Pod\napiVersion: v1\nkind: *k",
            "x: &b {kind: Pod}\n<<: *b\napiVersion: v1",
            "&a {<<: *a, apiVersion: v1}",
            "apiVersion: v1\nkind: ConfigMap\nkind: Pod",
            "a: !!binary aGk=\nkind: !!str Pod",
            "kind: Pod\nmetadata: {<<: {kind: Secret}}",
            "\"\\ufeffkind\": Secret",
        ] {
            assert_eq!(kind_of(text), Ok("other".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_a_field() {
        for text in [
            "a: b\n---\n\u{feff}apiVersion: v1\nkind: Secret",
            "apiVersion: v1\n\u{feff}kind: Secret",
            "apiVersion: v1\nkind: \u{feff}Secret",
        ] {
            let stream = split(text).expect("YAML");
            let error = stream.kinds().find_map(|(_, kind)| kind.err()).expect(text);
            assert_eq!(error.to_string(), "not YAML", "{text}");
        }
        assert_eq!(kind_of("\u{feff}a: b"), Ok("other".to_owned()));
    }

    #[test]
    fn an_item_whose_kind_is_not_a_string_has_the_kind_of_its_list() {
        for (list, expected) in
            [("v1\nkind: SecretList", "[secret]"), ("waxseal.dev/v1alpha1\nkind: SealedSecretList", "[sealed]")]
        {
            for item in ["", "apiVersion: '', kind: ''", "apiVersion: 1, kind: ~", "apiVersion: {}, kind: []"] {
                let text = format!("apiVersion: {list}\nitems: [{{{item}}}]");
                assert_eq!(kind_of(&text), Ok(expected.to_owned()), "{text}");
            }
        }
    }

    #[test]
    fn the_items_of_a_list_are_classified_one_by_one() {
        for (text, expected) in [
            (
                "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret}, {kind: Pod}, {}, ~]",
                "[secret other other empty]",
            ),
            (
                "apiVersion: v1\nkind: SecretList\nitems: [{metadata: {}}, {kind: Secret, apiVersion: v1}]",
                "[secret secret]",
            ),
            ("apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems: [{}]", "[sealed]"),
            ("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: [{}]}]", "[[other]]"),
            ("apiVersion: v1\nkind: List", "[]"),
            ("apiVersion: v1\nkind: List\nitems: null", "[]"),
        ] {
            assert_eq!(kind_of(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn items_that_are_not_a_list_are_refused() {
        let error = kind_of("apiVersion: v1\nkind: List\nitems: {}").expect_err("a mapping");
        assert_eq!((error.to_string().as_str(), error.place()), ("items: must be a list", Some((3, 8))));
    }

    #[test]
    fn at_most_8_lists_stand_inside_each_other() {
        let nested = |depth: usize| {
            let list = "{apiVersion: v1, kind: List, items: [".repeat(depth);
            kind_of(&format!("{list}{}", "]}".repeat(depth)))
        };
        assert_eq!(nested(DEEPEST_LIST), Ok(format!("{}{}", "[".repeat(DEEPEST_LIST), "]".repeat(DEEPEST_LIST))));
        let error = nested(DEEPEST_LIST + 1).expect_err("deeper").to_string();
        assert_eq!(
            error,
            format!("items[0]{}: more than 8 lists inside each other", ".items[0]".repeat(DEEPEST_LIST - 1))
        );
    }

    #[test]
    fn sealed_secrets_of_other_versions_are_refused() {
        let list = "apiVersion: v1\nkind: List\nitems:\n- {}\n- {apiVersion: waxseal.dev/v1, kind: SealedSecret}";
        let error = kind_of(list).expect_err("an unknown version");
        assert_eq!(error.to_string(), "items[1]: a SealedSecret of a version that is not known");
        assert_eq!(error.place(), Some((5, 3)));
        let list = "apiVersion: waxseal.dev/v1\nkind: SealedSecretList\nitems: []";
        let error = kind_of(list).expect_err("an unknown version").to_string();
        assert_eq!(error, "a SealedSecret of a version that is not known");
    }

    #[test]
    fn kinds_that_the_group_does_not_have_are_refused() {
        for text in [
            "apiVersion: waxseal.dev/v1alpha1\nkind: SealdSecret",
            "apiVersion: waxseal.dev/v1alpha1\nkind: sealedsecret",
            "apiVersion: waxseal.dev/v2\nkind: Secret",
            "apiVersion: waxseal.dev/v1alpha1",
            "apiVersion: waxseal.dev/v1alpha1\nkind: {}",
        ] {
            let error = kind_of(text).expect_err(text);
            assert_eq!(error.to_string(), "a kind that waxseal.dev does not have", "{text}");
        }
        for item in
            ["apiVersion: waxseal.dev/v1alpha1", "apiVersion: v1", "kind: SealedSecret", "apiVersion: '', kind: Pod"]
        {
            let list = format!("apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems: [{{{item}}}]");
            let error = kind_of(&list).expect_err("one field of two");
            assert_eq!(error.to_string(), "items[0]: only one of apiVersion and kind is given", "{item}");
            assert_eq!(error.hint(), Some("write both or neither in an item of a SealedSecretList"));
        }
    }
}

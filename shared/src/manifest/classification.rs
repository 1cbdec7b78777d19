//! What an object is, by its apiVersion and kind alone.

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, HashSet};

use super::error::ManifestError;
use super::field::Field;
use super::near_secret::NearSecrets;
use super::node::{Content, Node, Tag};

const GROUP: &str = "waxseal.dev/";
const VERSION: &str = "waxseal.dev/v1alpha1";
/// The kinds of this group, in whatever version.
const KINDS_OF_GROUP: [&str; 4] = ["SealedSecret", "SealedSecretList", "SealingKey", "SealingKeyList"];
/// Merging a mapping twice into each of two items looks at it eight times.
const MERGED_FOR_EACH_NODE: usize = 8;
/// How deep lists may hold lists, which no server nests: each path names all of them.
const DEEPEST_LIST: usize = 8;

/// What an object is.
pub(super) enum Sort {
    Empty,
    Secret,
    SealedSecret,
    List(Vec<Sort>),
    /// Anything else, and why sealing must not leave it as it is if it looks like a Secret.
    Other(Option<Box<ManifestError>>),
}

/// Says what the object of a tree is. Looks only at apiVersion, kind and items, and forgives
/// everything else.
///
/// A Secret cannot hide: aliases and merge keys are followed, and of repeated fields any counts.
pub(super) fn sort_of(root: &Node) -> Result<Sort, ManifestError> {
    Anchors::of(root).sort(root, Position { prefix: "", list: None, depth: 0 })
}

/// The path of an item of the list at `prefix`.
pub(super) fn item_path(prefix: &str, index: usize) -> String {
    let dot = if prefix.is_empty() { "" } else { "." };
    format!("{prefix}{dot}items[{index}]")
}

/// Where a node stands in its document.
#[derive(Clone, Copy)]
struct Position<'p> {
    prefix: &'p str,
    /// The kind of the list that the node is an item of.
    list: Option<&'p str>,
    /// How many lists it is in.
    depth: usize,
}

/// What an object may be called: of fields given twice, any counts.
struct Names<'a> {
    versions: Vec<&'a str>,
    kinds: Vec<&'a str>,
}

impl Names<'_> {
    /// Refuses what could be a SealedSecret but for a slip of the pen, or a newer one: it must not
    /// become one that nobody looks at.
    fn check(&self, Position { list, .. }: Position<'_>) -> Result<(), ManifestError> {
        let is_of_group = self.versions.iter().any(|version| version.starts_with(GROUP));
        let is_half_named = list == Some("SealedSecretList") && (self.versions.is_empty() || self.kinds.is_empty());
        if is_half_named || is_of_group && !self.has_kind_of(&KINDS_OF_GROUP) {
            let error = ManifestError::new("a kind that waxseal.dev does not have");
            return Err(error.with_hint("write `kind: SealedSecret`, or update waxseal if the kind is newer"));
        }
        if is_of_group && self.has_kind_of(&["SealedSecret", "SealedSecretList"]) && !self.versions.contains(&VERSION) {
            return Err(ManifestError::new("a SealedSecret of a version that is not known").with_hint("update waxseal"));
        }
        Ok(())
    }

    fn has_kind_of(&self, kinds: &[&str]) -> bool {
        self.kinds.iter().any(|kind| kinds.contains(kind))
    }

    fn are(&self, version: &str, kind: &str) -> bool {
        self.versions.contains(&version) && self.kinds.contains(&kind)
    }

    /// The kind of the list that it is.
    fn list(&self) -> Option<&'static str> {
        let lists = [("v1", "SecretList"), (VERSION, "SealedSecretList"), ("v1", "List")];
        lists.into_iter().find(|(version, kind)| self.are(version, kind)).map(|(_, kind)| kind)
    }
}

/// The nodes of a document that aliases can name.
struct Anchors<'a> {
    root: &'a Node,
    nodes: HashMap<usize, &'a Node>,
    /// Found when the first object is something else.
    near_secrets: OnceCell<NearSecrets>,
    /// How many more entries of merged mappings will be looked at, as a list can merge one large
    /// mapping into each of its items: a few for each node, so that the time stays linear.
    budget: Cell<usize>,
}

impl<'a> Anchors<'a> {
    fn of(root: &'a Node) -> Self {
        let mut nodes = HashMap::new();
        let mut count = 0;
        let mut waiting = vec![root];
        while let Some(node) = waiting.pop() {
            count += 1;
            nodes.extend(node.anchor.map(|anchor| (anchor, node)));
            match &node.content {
                Content::Scalar(..) | Content::Alias(_) => {}
                Content::Sequence(items) => waiting.extend(items),
                Content::Mapping(entries) => waiting.extend(entries.iter().flat_map(|(key, value)| [key, value])),
            }
        }
        Self { root, nodes, near_secrets: OnceCell::new(), budget: Cell::new(MERGED_FOR_EACH_NODE * count) }
    }

    /// An item that says nothing of itself is what its list says: the API server leaves the kind
    /// out of the items of a `SecretList`.
    fn sort(&self, node: &'a Node, position: Position<'_>) -> Result<Sort, ManifestError> {
        let entries = match &node.content {
            Content::Mapping(entries) => entries,
            Content::Scalar(..) if Field::root(node, "").is_null() => return Ok(Sort::Empty),
            _ => return Ok(self.other(node, position)),
        };
        let names =
            Names { versions: self.scalars(entries, "apiVersion", node)?, kinds: self.scalars(entries, "kind", node)? };
        if names.versions.is_empty() && names.kinds.is_empty() {
            return Ok(match position.list {
                Some("SecretList") => Sort::Secret,
                Some("SealedSecretList") => Sort::SealedSecret,
                _ => self.other(node, position),
            });
        }
        names.check(position).map_err(|error| Field::root(node, position.prefix).locate(error))?;
        let list = names.list();
        if list.is_some() && (self.is_given_twice(entries, "apiVersion")? || self.is_given_twice(entries, "kind")?) {
            return Err(unclear(node, position.prefix));
        }
        match list {
            _ if names.are("v1", "Secret") => Ok(Sort::Secret),
            _ if names.are(VERSION, "SealedSecret") => Ok(Sort::SealedSecret),
            Some(kind) => self.sort_items(node, entries, kind, position),
            None => Ok(self.other(node, position)),
        }
    }

    fn other(&self, node: &'a Node, position: Position<'_>) -> Sort {
        let near_secrets = self.near_secrets.get_or_init(|| NearSecrets::of(self.root, &self.nodes));
        Sort::Other(near_secrets.fault(node, position.prefix).map(Box::new))
    }

    fn is_given_twice(&self, entries: &'a [(Node, Node)], name: &str) -> Result<bool, ManifestError> {
        Ok(self.values(entries, name)?.len() > 1)
    }

    fn sort_items(
        &self,
        list: &'a Node,
        entries: &'a [(Node, Node)],
        kind: &str,
        Position { prefix, depth, .. }: Position<'_>,
    ) -> Result<Sort, ManifestError> {
        if depth == DEEPEST_LIST {
            return Err(Field::root(list, prefix).error("lists in lists, too many of them"));
        }
        let is_named = |name: &str| entries.iter().any(|(key, _)| key.scalar() == Some(name));
        let mut fields = entries.iter().filter(|(key, _)| self.resolved(key).scalar() == Some("items"));
        let items = match (fields.next(), fields.next()) {
            (Some((key, value)), None) if key.scalar().is_some() => undisguised(value)?,
            (None, _) if !is_named("<<") => return Ok(Sort::List(Vec::new())),
            _ => return Err(unclear(list, prefix)),
        };
        let Content::Sequence(nodes) = &items.content else {
            return if Field::root(items, "").is_null() {
                Ok(Sort::List(Vec::new()))
            } else {
                Err(unclear(items, prefix))
            };
        };
        if let Some(alias) = nodes.iter().find(|node| matches!(node.content, Content::Alias(_))) {
            return Err(unclear(alias, prefix));
        }
        let items = nodes.iter().enumerate();
        let sorts = items.map(|(index, node)| {
            let prefix = &item_path(prefix, index);
            self.sort(node, Position { prefix, list: Some(kind), depth: depth + 1 })
        });
        Ok(Sort::List(sorts.collect::<Result<_, _>>()?))
    }

    /// The strings that the field `name` of a mapping may stand for, but none that is empty: its own,
    /// else merged ones. To Kubernetes' clients an object has no kind if it is no string, or empty.
    fn scalars(
        &self,
        entries: &'a [(Node, Node)],
        name: &str,
        mapping: &'a Node,
    ) -> Result<Vec<&'a str>, ManifestError> {
        let own = self.values(entries, name)?;
        let found = if own.is_empty() { self.merged(entries, name, mapping)? } else { own };
        let strings = found.into_iter().filter_map(|node| Field::root(node, "").string().ok());
        Ok(strings.filter(|text| !text.is_empty()).collect())
    }

    fn values(&self, entries: &'a [(Node, Node)], name: &str) -> Result<Vec<&'a Node>, ManifestError> {
        let mut found = Vec::new();
        for (key, value) in entries {
            if undisguised(self.resolved(key))?.scalar() == Some(name) {
                found.push(undisguised(self.resolved(value))?);
            }
        }
        Ok(found)
    }

    /// The values of a field in the mappings that are merged, however deep, each looked at once.
    fn merged(
        &self,
        entries: &'a [(Node, Node)],
        name: &str,
        mapping: &'a Node,
    ) -> Result<Vec<&'a Node>, ManifestError> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting = self.values(entries, "<<")?;
        while let Some(node) = waiting.pop() {
            if node.anchor.is_some_and(|anchor| !seen.insert(anchor)) {
                continue;
            }
            match &undisguised(node)?.content {
                Content::Mapping(entries) => {
                    self.spend(entries.len(), mapping)?;
                    found.extend(self.values(entries, name)?);
                    waiting.extend(self.values(entries, "<<")?);
                }
                Content::Sequence(items) => {
                    self.spend(items.len(), mapping)?;
                    waiting.extend(items.iter().map(|item| self.resolved(item)));
                }
                Content::Scalar(..) | Content::Alias(_) => {}
            }
        }
        Ok(found)
    }

    fn spend(&self, entries: usize, mapping: &Node) -> Result<(), ManifestError> {
        match self.budget.get().checked_sub(entries) {
            Some(rest) => {
                self.budget.set(rest);
                Ok(())
            }
            None => Err(ManifestError::new("more merge keys than are followed").with_place(mapping.place)),
        }
    }

    fn resolved(&self, node: &'a Node) -> &'a Node {
        match &node.content {
            Content::Alias(anchor) => self.nodes.get(anchor).copied().unwrap_or(node),
            _ => node,
        }
    }
}

/// Refuses what other readers, Kubernetes among them, could take for another text than it shows: to
/// go-yaml, `!!binary` is a string in base64.
fn undisguised(node: &Node) -> Result<&Node, ManifestError> {
    match node.tag {
        Tag::None | Tag::Str => Ok(node),
        Tag::Other => Err(Field::root(node, "").error("tags other than !!str are not read here")),
    }
}

fn unclear(node: &Node, prefix: &str) -> ManifestError {
    Field::root(node, prefix).error("a list whose items cannot be told")
}

#[cfg(test)]
mod tests {
    use super::super::{DocumentKind, split};
    use super::*;

    fn name_of(kind: &DocumentKind) -> String {
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
    fn a_document_is_what_it_says() {
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
            ("apiVersion: v1\nkind: ConfigMap\nkind: Secret", "secret"),
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
    fn a_secret_cannot_hide() {
        for text in [
            "x: &k Secret\napiVersion: v1\nkind: *k",
            "x: &k kind\napiVersion: v1\n*k : Secret",
            "x: &b {kind: Secret}\n<<: *b\napiVersion: v1",
            "x: &b {kind: Secret}\n<<: [{a: b}, *b]\napiVersion: v1",
            "x: &b {kind: Secret}\ny: &c {<<: *b}\n<<: *c\napiVersion: v1",
        ] {
            assert_eq!(kind_of(text), Ok("secret".to_owned()), "{text}");
        }
        assert_eq!(kind_of("x: &b {kind: Secret}\n<<: *b\napiVersion: v1\nkind: Pod"), Ok("other".to_owned()));
        assert_eq!(kind_of("&a {<<: *a, apiVersion: v1}"), Ok("other".to_owned()));
    }

    #[test]
    fn an_object_cannot_be_in_disguise() {
        let tag = "tags other than !!str are not read here";
        let mark = "not YAML";
        for (text, said) in [
            ("apiVersion: v1\nkind: !!binary U2VjcmV0", tag),
            ("apiVersion: !!binary djE=\nkind: Secret", tag),
            ("apiVersion: v1\n!!binary a2luZA==: Secret", tag),
            ("x: &k !!binary U2VjcmV0\napiVersion: v1\nkind: *k", tag),
            ("x: &b {!!binary a2luZA==: Secret}\n<<: *b\napiVersion: v1", tag),
            ("<<: !x {kind: Secret}\napiVersion: v1", tag),
            ("<<: [!x {kind: Secret}]\napiVersion: v1", tag),
            ("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: !x Secret}]", tag),
            ("apiVersion: v1\nkind: List\nitems: !!null", tag),
            ("apiVersion: v1\nkind: List\nitems: !x []", tag),
            ("a: b\n---\n\u{feff}apiVersion: v1\nkind: Secret", mark),
            ("apiVersion: v1\n\u{feff}kind: Secret", mark),
            ("apiVersion: v1\nkind: \u{feff}Secret", mark),
        ] {
            let stream = split(text).expect("YAML");
            let error = stream.kinds().find_map(|(_, kind)| kind.err()).expect(text);
            assert_eq!(error.to_string(), said, "{text}");
        }
        for text in ["a: !!binary aGk=\nkind: !!str Pod", "\u{feff}a: b", "\"\\ufeffkind\": Secret"] {
            assert_eq!(kind_of(text), Ok("other".to_owned()), "{text}");
        }
    }

    #[test]
    fn an_item_whose_kind_is_no_string_is_what_its_list_says() {
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
    fn lists_are_sorted_item_by_item() {
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
    fn items_that_cannot_be_told_are_refused() {
        for text in [
            "apiVersion: v1\nkind: List\nitems: []\nitems: []",
            "apiVersion: v1\nkind: List\nx: &x []\nitems: *x",
            "apiVersion: v1\nkind: List\nx: &x {}\nitems: [*x]",
            "apiVersion: v1\nkind: List\n<<: {items: []}",
            "apiVersion: v1\nkind: List\nitems: {}",
            "apiVersion: v1\nkind: List\nkind: Secret\nitems: []",
            "apiVersion: v1\nkind: List\napiVersion: v1",
        ] {
            let error = kind_of(text).expect_err(text);
            assert_eq!(error.to_string(), "a list whose items cannot be told", "{text}");
        }
    }

    #[test]
    fn lists_hold_lists_only_so_deep() {
        let nested = |depth: usize| {
            let list = "{apiVersion: v1, kind: List, items: [".repeat(depth);
            kind_of(&format!("{list}{}", "]}".repeat(depth)))
        };
        assert_eq!(nested(DEEPEST_LIST), Ok(format!("{}{}", "[".repeat(DEEPEST_LIST), "]".repeat(DEEPEST_LIST))));
        let error = nested(DEEPEST_LIST + 1).expect_err("deeper").to_string();
        assert_eq!(
            error,
            format!("items[0]{}: lists in lists, too many of them", ".items[0]".repeat(DEEPEST_LIST - 1))
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
            "x: &b {kind: Pod}\n<<: *b\napiVersion: waxseal.dev/v1alpha1",
        ] {
            let error = kind_of(text).expect_err(text);
            assert_eq!(error.to_string(), "a kind that waxseal.dev does not have", "{text}");
        }
        for item in
            ["apiVersion: waxseal.dev/v1alpha1", "apiVersion: v1", "kind: SealedSecret", "apiVersion: '', kind: Pod"]
        {
            let list = format!("apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecretList\nitems: [{{{item}}}]");
            let error = kind_of(&list).expect_err("half a name").to_string();
            assert_eq!(error, "items[0]: a kind that waxseal.dev does not have");
        }
    }

    #[test]
    fn merging_one_mapping_into_many_items_ends() {
        let wide: String = (0..2000).map(|n| format!("k{n}: x, ")).collect();
        let items = "- {<<: *w}\n".repeat(2000);
        let error = kind_of(&format!("x: &w {{{wide}}}\napiVersion: v1\nkind: List\nitems:\n{items}"));
        assert_eq!(error.expect_err("too many").to_string(), "more merge keys than are followed");
    }
}

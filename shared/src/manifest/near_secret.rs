//! Objects that look like a Secret and are not read as one, such as `kind: secret`.
//!
//! Sealing refuses them: a typing error must not leave values in plain text. This is not a rule of
//! the format, whose readers pass such objects over.

use std::collections::HashMap;

use super::error::{ManifestError, is_slip_of};
use super::field::Field;
use super::node::{Content, Node, Tag};

const SECRET: Spelling = Spelling { version: "v1", kind: "Secret" };
const SEALED_SECRET: Spelling = Spelling { version: "waxseal.dev/v1alpha1", kind: "SealedSecret" };

/// How an object of a kind says what it is.
struct Spelling {
    version: &'static str,
    kind: &'static str,
}

/// What the `apiVersion` of a mapping could mean; later wins.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    /// It has no `apiVersion`, or one that is not a string.
    #[default]
    Absent,
    /// The group of a custom resource. Kubernetes wants a dot in it.
    Custom,
    /// Built into Kubernetes, or a typing error: no custom resource has it.
    BuiltIn,
}

/// What the `kind` of a mapping could mean; later wins.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    #[default]
    Absent,
    Other,
    SealedSecret,
    SecretList,
    Secret,
}

/// Which fields of a Secret a mapping has, in its own entries or in merged ones.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Signs {
    version: Version,
    kind: Kind,
    has_metadata: bool,
    has_type: bool,
    has_data: bool,
    has_string_data: bool,
    has_items: bool,
}

/// The signs of the mappings of one document, of those that have any.
pub(super) struct NearSecrets(HashMap<*const Node, Signs>);

impl NearSecrets {
    /// Looks at every mapping of a document once, after the mappings that it merges.
    pub(super) fn of(root: &Node, anchors: &HashMap<usize, &Node>) -> Self {
        let mut near = Self(HashMap::new());
        let mut waiting = vec![(root, false)];
        while let Some((node, children_are_known)) = waiting.pop() {
            if children_are_known {
                let signs = near.signs(node, anchors);
                if signs != Signs::default() {
                    near.0.insert(node, signs);
                }
                continue;
            }
            match &node.content {
                Content::Scalar(..) | Content::Alias(_) => continue,
                Content::Sequence(_) | Content::Mapping(_) => waiting.push((node, true)),
            }
            push_children(node, &mut waiting, |child| (child, false));
        }
        near
    }

    /// Why an object looks like a Secret, or holds one; `None` for every other. The object is not one
    /// that was recognised as a Secret, a SealedSecret or a list.
    pub(super) fn fault(&self, object: &Node, prefix: &str) -> Option<ManifestError> {
        let signs = self.of_mapping(object);
        if signs.are_of_a_near_secret() {
            return Some(typing_error(object, signs, prefix));
        }
        let inner = self.inner_secret(object)?;
        let error = ManifestError::new("a Secret inside another object, where its values would stay in plain text");
        let error = Field::root(inner, prefix).locate(error);
        Some(error.with_hint("write the Secret as a document of its own"))
    }

    /// The first Secret with values inside an object: in a list, as kubectl and OpenShift take it, or
    /// with metadata of its own. Policies that make Secrets name the kind beside other fields.
    fn inner_secret<'a>(&self, object: &'a Node) -> Option<&'a Node> {
        let mut waiting = vec![(object, None)];
        while let Some((node, parent)) = waiting.pop() {
            let signs = if parent.is_some() { self.of_mapping(node) } else { Signs::default() };
            let is_item = matches!(parent.map(|parent: &Node| &parent.content), Some(Content::Sequence(_)));
            if signs.are_of_a_secret_with_values() && (is_item || signs.has_metadata) {
                return Some(node);
            }
            push_children(node, &mut waiting, |child| (child, Some(node)));
        }
        None
    }

    /// The signs of a mapping; of a sequence, those of all its items together.
    fn signs(&self, node: &Node, anchors: &HashMap<usize, &Node>) -> Signs {
        let resolved = |node| resolved(node, anchors);
        match &node.content {
            Content::Mapping(entries) => {
                let (mut own, mut merged) = (Signs::default(), Signs::default());
                for (key, value) in entries {
                    let (key, value) = (resolved(key), resolved(value));
                    match key.scalar() {
                        // To go-yaml `!!binary a2luZA==` is the key `kind`.
                        Some(_) if key.tag == Tag::Other => {
                            own.note("data", value);
                            own.kind = Kind::Secret;
                        }
                        Some("<<") => merged = merged.and(self.known(value)),
                        Some(name) => own.note(name, value),
                        None => {}
                    }
                }
                own.over(merged)
            }
            Content::Sequence(items) => {
                items.iter().map(|item| self.known(resolved(item))).fold(Signs::default(), Signs::and)
            }
            Content::Scalar(..) | Content::Alias(_) => Signs::default(),
        }
    }

    fn of_mapping(&self, node: &Node) -> Signs {
        if matches!(node.content, Content::Mapping(_)) { self.known(node) } else { Signs::default() }
    }

    /// The signs of a node, if it was looked at. A node that merges itself finds none.
    fn known(&self, node: &Node) -> Signs {
        self.0.get(&std::ptr::from_ref(node)).copied().unwrap_or_default()
    }
}

impl Signs {
    fn note(&mut self, name: &str, value: &Node) {
        let is_filled = match &value.content {
            Content::Mapping(entries) => !entries.is_empty(),
            Content::Sequence(items) => !items.is_empty(),
            Content::Scalar(..) | Content::Alias(_) => false,
        };
        let is = |known| is_spelled_like(name, known);
        if is("apiVersion") {
            self.version = self.version.max(Version::of(value));
        } else if is("kind") {
            self.kind = self.kind.max(Kind::of(value));
        } else if is("metadata") {
            self.has_metadata |= is_filled;
        } else if is("type") {
            self.has_type |= value.scalar().is_some();
        } else if is("data") {
            self.has_data |= is_filled;
        } else if is("stringData") || name.len().abs_diff(10) <= 1 && is_slip_of(name, "stringData") {
            self.has_string_data |= is_filled;
        } else if is("items") {
            self.has_items |= is_filled;
        }
    }

    /// Those of both.
    fn and(self, other: Self) -> Self {
        Self {
            version: self.version.max(other.version),
            kind: self.kind.max(other.kind),
            has_metadata: self.has_metadata || other.has_metadata,
            has_type: self.has_type || other.has_type,
            has_data: self.has_data || other.has_data,
            has_string_data: self.has_string_data || other.has_string_data,
            has_items: self.has_items || other.has_items,
        }
    }

    /// Those of both, but a field of its own hides a merged one.
    fn over(self, merged: Self) -> Self {
        let version = if self.version == Version::Absent { merged.version } else { self.version };
        let kind = if self.kind == Kind::Absent { merged.kind } else { self.kind };
        Self { version, kind, ..self.and(merged) }
    }

    /// Whether an object that Kubernetes does not take for a Secret was meant to be one.
    fn are_of_a_near_secret(self) -> bool {
        let is_like_a_secret = self.kind > Kind::Other;
        match self.version {
            Version::Custom => self.are_of_a_secret_with_values(),
            // No other built-in object has `stringData`, or both `data` and `type`.
            Version::BuiltIn => {
                let has_data_of_a_secret = self.has_data && (self.has_type || self.kind == Kind::Absent);
                is_like_a_secret || self.has_string_data || has_data_of_a_secret
            }
            Version::Absent => {
                let is_manifest = self.has_metadata && (is_like_a_secret || self.has_string_data);
                is_manifest || self.are_of_a_secret_with_values()
            }
        }
    }

    /// Whether a mapping is called a Secret, or nearly so, and holds values.
    fn are_of_a_secret_with_values(self) -> bool {
        let has_values = self.has_data || self.has_string_data;
        match self.kind {
            Kind::Secret | Kind::SealedSecret => has_values,
            Kind::SecretList => has_values || self.has_items,
            Kind::Absent | Kind::Other => false,
        }
    }
}

impl Version {
    fn of(value: &Node) -> Self {
        let Some(text) = value.scalar().filter(|text| !text.is_empty() && Field::root(value, "").string().is_ok())
        else {
            return Self::Absent;
        };
        let has_dot = text.split_once('/').is_some_and(|(group, _)| group.contains('.'));
        if has_dot && !text.to_ascii_lowercase().contains("waxseal") { Self::Custom } else { Self::BuiltIn }
    }
}

impl Kind {
    fn of(value: &Node) -> Self {
        // To go-yaml `!!binary U2VjcmV0` is a Secret.
        if value.tag == Tag::Other {
            return Self::Secret;
        }
        let is_near = |text: &str, kind| is_slip_of(text.trim(), kind);
        match value.scalar() {
            None | Some("") => Self::Absent,
            Some(text) if is_near(text, SECRET.kind) => Self::Secret,
            Some(text) if is_near(text, "SecretList") => Self::SecretList,
            Some(text) if is_near(text, SEALED_SECRET.kind) || is_near(text, "SealedSecretList") => Self::SealedSecret,
            Some(_) => Self::Other,
        }
    }
}

/// The error about a whole object, at the field that has the typing error where one has it.
fn typing_error(object: &Node, signs: Signs, prefix: &str) -> ManifestError {
    let has_values = signs.has_data || signs.has_string_data;
    let (spelling, text) = if signs.kind == Kind::SealedSecret && !has_values {
        (SEALED_SECRET, "looks like a SealedSecret with a typing error")
    } else {
        (SECRET, "looks like a Secret with a typing error: its values would stay in plain text")
    };
    let Spelling { version, kind } = spelling;
    let is_wrong = |key: &Node, value: &Node| {
        key.scalar().is_some_and(|text| {
            let is_wrong_as =
                |name, expected| is_spelled_like(text, name) && (text != name || value.scalar() != Some(expected));
            is_wrong_as("apiVersion", version) || is_wrong_as("kind", kind)
        })
    };
    let wrong = match &object.content {
        Content::Mapping(entries) => entries.iter().find(|(key, value)| is_wrong(key, value)),
        _ => None,
    };
    let place = wrong.map_or(object.place, |(key, _)| key.place);
    let error = Field::root(object, prefix).error(text).with_place(place);
    error.with_hint(format!("write `apiVersion: {version}` and `kind: {kind}`"))
}

/// Whether a field has this name but for letter case and signs between the letters.
fn is_spelled_like(name: &str, known: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    letters.eq(known.chars().map(|letter| letter.to_ascii_lowercase()))
}

fn resolved<'a>(node: &'a Node, anchors: &HashMap<usize, &'a Node>) -> &'a Node {
    match &node.content {
        Content::Alias(anchor) => anchors.get(anchor).copied().unwrap_or(node),
        _ => node,
    }
}

/// Puts the children of a node on a stack, so that the first of them is taken first.
fn push_children<'a, T>(node: &'a Node, stack: &mut Vec<T>, entry: impl Fn(&'a Node) -> T) {
    match &node.content {
        Content::Scalar(..) | Content::Alias(_) => {}
        Content::Sequence(items) => stack.extend(items.iter().rev().map(entry)),
        Content::Mapping(entries) => {
            stack.extend(entries.iter().rev().flat_map(|(key, value)| [value, key]).map(entry))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DocumentKind, split};
    use super::*;

    const A_SECRET: &str = "looks like a Secret with a typing error: its values would stay in plain text";
    const A_SEALED_SECRET: &str = "looks like a SealedSecret with a typing error";
    const INSIDE: &str = "a Secret inside another object, where its values would stay in plain text";

    fn found(kind: &DocumentKind) -> Option<ManifestError> {
        match kind {
            DocumentKind::Other(object) => object.near_secret().cloned(),
            DocumentKind::List(items) => items.iter().find_map(found),
            DocumentKind::Empty | DocumentKind::Secret(_) | DocumentKind::SealedSecret(_) => None,
        }
    }

    fn fault(text: &str) -> Option<ManifestError> {
        let stream = split(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        found(&stream.documents[0].kind().unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    #[test]
    fn a_secret_with_a_typing_error_is_found_where_the_error_is() {
        for (head, place) in [
            ("apiVersion: v1\nkind: secret", (2, 1)),
            ("apiVersion: v1\nkind: SECRET", (2, 1)),
            ("apiVersion: v1\nkind: Secrets", (2, 1)),
            ("apiVersion: v1\nkind: Sercet", (2, 1)),
            ("apiVersion: v1\nkind: 'Secret '", (2, 1)),
            ("apiVersion: v1\nKind: Secret", (2, 1)),
            ("ApiVersion: v1\nkind: Secret", (1, 1)),
            ("api_version: v1\nkind: Secret", (1, 1)),
            ("apiVersion: V1\nkind: Secret", (1, 1)),
            ("apiVersion: 'v1 '\nkind: Secret", (1, 1)),
            ("apiVersion: v1beta1\nkind: Secret", (1, 1)),
            ("apiVersion: core/v1\nkind: Secret", (1, 1)),
            ("apiVersion: apps/v1\nkind: Secret", (1, 1)),
            ("apiVersion: 1\nkind: Secret", (1, 1)),
            ("apiVersion: ~\nkind: Secret", (1, 1)),
            ("apiVersion: example.com/v1\nkind: Secret", (1, 1)),
            ("# none\nkind: Secret", (2, 1)),
            ("apiVersion: v1", (1, 1)),
            ("apiVersion: v1\nkind: Opaque", (2, 1)),
            ("apiVersion: v1\nkind: SealedSecret", (2, 1)),
            ("kind: SealedSecret", (1, 1)),
            ("apiVersion: v1\nkind: Secretlist", (2, 1)),
        ] {
            for section in ["data", "stringData", "StringData", "string_data"] {
                let text = format!("{head}\nmetadata: {{name: db}}\ntype: Opaque\n{section}: {{A: hunter22}}\n");
                let error = fault(&text).unwrap_or_else(|| panic!("{text} passes"));
                assert_eq!((error.to_string().as_str(), error.place()), (A_SECRET, Some(place)), "{text}");
                assert_eq!(error.hint(), Some("write `apiVersion: v1` and `kind: Secret`"));
            }
        }
    }

    #[test]
    fn a_sealed_secret_that_is_not_read_as_one_is_found() {
        for head in [
            "kind: SealedSecret",
            "apiVersion: v1\nkind: SealedSecret",
            "apiVersion: waxseal.io/v1alpha1\nkind: SealedSecret",
            "apiVersion: Waxseal.dev/v1alpha1\nkind: SealedSecret",
            "apiVersion: waxseal.dev\nkind: sealedsecret",
            "apiVersion: waxseal/v1alpha1\nkind: SealedSecretList",
        ] {
            let error = fault(&format!("{head}\nmetadata: {{name: db}}\nspec: {{encryptedData: {{A: hunter2}}}}\n"));
            let error = error.unwrap_or_else(|| panic!("{head} passes"));
            assert_eq!(error.to_string(), A_SEALED_SECRET, "{head}");
            assert_eq!(error.hint(), Some("write `apiVersion: waxseal.dev/v1alpha1` and `kind: SealedSecret`"));
        }
    }

    #[test]
    fn a_secret_inside_another_object_is_found() {
        const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {A: hunter22}}";
        for (text, place) in [
            ("apiVersion: template.openshift.io/v1\nkind: Template\nobjects:\n- SECRET", (4, 3)),
            ("apiVersion: v1\nkind: list\nitems: [SECRET]", (3, 9)),
            ("kind: List\nitems: [SECRET]", (2, 9)),
            ("[SECRET]", (1, 2)),
            ("a: [b, {c: [{d: SECRET}]}]", (1, 17)),
            ("a: {apiVersion: v1, kind: Secret, metadata: {name: a}, data: {A: aGk=}}", (1, 4)),
            ("apiVersion: v1\nkind: List\nitems: [{kind: Template, objects: [SECRET]}]", (3, 36)),
            ("a: [{kind: secretlist, items: [{data: {A: aGk=}}]}]", (1, 5)),
            ("a: [{kind: Secret, apiVersion: example.com/v1, data: {A: aGk=}}]", (1, 5)),
            ("a: [{kind: Secret, strinData: {A: b}}]", (1, 5)),
            ("x: &k Secret\na: [{kind: *k, data: {A: aGk=}}]", (2, 5)),
            ("x: &d {A: aGk=}\na: [{kind: Secret, data: *d}]", (2, 5)),
            ("x: &s {kind: Secret}\na: [{<<: *s, data: {A: aGk=}}]", (2, 5)),
            ("x: &s {kind: Secret}\ny: &d {data: {A: aGk=}}\na: [{<<: [*s, *d]}]", (3, 5)),
            ("x: &l [{kind: Secret}, {data: {A: aGk=}}]\na: [{<<: *l}]", (2, 5)),
            ("a: [{<<: {<<: {kind: Secret}}, data: {A: aGk=}}]", (1, 5)),
            ("a: [{kind: !!binary U2VjcmV0, data: {A: aGk=}}]", (1, 5)),
            ("a: [{!!binary a2luZA==: Secret, data: {A: aGk=}}]", (1, 5)),
            ("a: [{kind: Secret, !!binary ZGF0YQ==: {A: aGk=}}]", (1, 5)),
        ] {
            let text = text.replace("SECRET", SECRET);
            let error = fault(&text).unwrap_or_else(|| panic!("{text} passes"));
            let path = if text.contains("kind: List\nitems: [{kind: Template") { "items[0]: " } else { "" };
            assert_eq!((error.to_string(), error.place()), (format!("{path}{INSIDE}"), Some(place)), "{text}");
            assert_eq!(error.hint(), Some("write the Secret as a document of its own"));
        }
    }

    #[test]
    fn honest_objects_of_others_pass() {
        for text in [
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {kind: Secret, password: x}",
            "apiVersion: v1\nkind: Pod\nspec: {volumes: [{secret: {secretName: a, items: [{key: a, path: b}]}}]}",
            "apiVersion: v1\nkind: ServiceAccount\nsecrets: [{apiVersion: v1, kind: Secret, name: a}]",
            "apiVersion: v1\nkind: Event\nmetadata: {name: a}\ninvolvedObject: {apiVersion: v1, kind: Secret}\ntype: Normal",
            "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: a}\ndata: {spec: {}}",
            "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: a}\nspec: {target: {template: {type: Opaque, data: {a: '{{ .a }}'}}}, data: [{secretKey: a}]}",
            "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: a}\nspec: {}",
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a}\nspec: {encryptedData: {A: AgBy}, template: {data: {b: c}}}",
            "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: a}\nspec: {secretObjects: [{type: Opaque, data: [{key: a}]}]}",
            "apiVersion: secretsmanager.aws.upbound.io/v1beta1\nkind: Secret\nmetadata: {name: a}\nspec: {forProvider: {}}",
            "apiVersion: isindir.github.com/v1alpha3\nkind: SopsSecret\nspec: {secretTemplates: [{name: a, stringData: {A: b}}]}",
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\npatches: [{target: {version: v1, kind: Secret}, path: b.yaml}]\nreplacements: [{source: {kind: Secret, fieldPath: data.a}}]",
            "resources: [a.yaml]\nsecretGenerator: [{name: a, literals: [b=c]}]",
            "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec: {rules: [{generate: {apiVersion: v1, kind: Secret, name: a, clone: {name: a}}}]}",
            "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec: {rules: [{generate: {apiVersion: v1, kind: Secret, name: a, data: {type: Opaque, data: {A: '{{ a }}'}}}}]}",
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec: {ignoreDifferences: [{kind: Secret, jsonPointers: [/data]}]}",
            "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {valuesFrom: [{kind: Secret, name: a}]}",
            "apiVersion: v1\nname: chart\ntype: application\nversion: 1.0.0",
            "apiVersion: 1\ndatasources: [{name: a, type: b, secureJsonData: {c: d}}]",
            "auth: {existingSecret: a}\nsecret: {kind: Secret}\nstringData: {A: b}\ndata: {A: b}",
            "metadata: {a: b}\ntype: x\ndata: {a: b}",
            "kind: Secret",
            "kind: secret\nname: a",
            "data: {A: b}",
            "apiVersion: v1\nkind: Config\nusers: [{user: {token: a}}]",
            "a: &a {<<: *a, kind: Secret}\nb: &b [*b]",
            "- apiVersion: v1\n  type: a\n- data: {a: b}\n- kind: Secret\n- stringData: {a: b}",
            "text",
            "~",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn a_document_full_of_merged_mappings_is_looked_at_once() {
        let merges: String = (1..2000).map(|n| format!("m{n}: &m{n} {{<<: *m{}, k{n}: x}}\n", n - 1)).collect();
        let text = format!("m0: &m0 {{kind: Secret}}\n{merges}a: [{{<<: *m1999, data: {{A: aGk=}}}}]\n");
        assert_eq!(fault(&text).and_then(|error| error.place()), Some((2001, 5)));
        let depth = 250;
        let nested = format!("{}{{kind: Secret}}{}", "{<<: ".repeat(depth), "}".repeat(depth));
        assert!(fault(&format!("a: [{{<<: {nested}, data: {{A: aGk=}}}}]")).is_some());
    }
}

//! Objects that look like a Secret or a SealedSecret and are not read as one, such as `kind: secret`.
//!
//! Sealing refuses them: a typing error must not leave values in plain text. This is not a rule of the format: a
//! program that reads the format ignores such objects.

use std::collections::HashMap;

use super::error::{ManifestError, is_typing_error_of};
use super::node::{Content, Node, Tag};
use crate::api_group::API_VERSION;

/// What to do about a document that is one string.
const TEXT_BEFORE_FIELDS: &str = "remove everything before the first field, such as a comment or a white-space \
     character that is not ASCII";

/// The signs of a Secret in a mapping, in its own entries or in merged ones, as bits. A normal object has at most one
/// kind and one version, but merged mappings and repeated fields can give it several.
type Signs = u16;
/// An `apiVersion` whose group contains a dot, such as that of a custom resource, and that does not contain `waxseal`.
const DOTTED_GROUP: Signs = 1;
/// Every other `apiVersion` that is a string and not empty: its group has no dot, it is misspelled, or it contains
/// `waxseal`.
const OTHER_VERSION: Signs = 1 << 1;
const OTHER_KIND: Signs = 1 << 2;
const SEALED_SECRET: Signs = 1 << 3;
const SECRET_LIST: Signs = 1 << 4;
const SECRET: Signs = 1 << 5;
const METADATA: Signs = 1 << 6;
const TYPE: Signs = 1 << 7;
const DATA: Signs = 1 << 8;
const STRING_DATA: Signs = 1 << 9;
const ITEMS: Signs = 1 << 10;

const VERSIONS: Signs = DOTTED_GROUP | OTHER_VERSION;
const KINDS: Signs = OTHER_KIND | KINDS_OF_SECRETS;
const KINDS_OF_SECRETS: Signs = SEALED_SECRET | SECRET_LIST | SECRET;
const VALUES: Signs = DATA | STRING_DATA;

/// The signs of each mapping and each sequence of one document. A node without signs is left out.
pub(super) struct NearSecrets(HashMap<*const Node, Signs>);

impl NearSecrets {
    /// Looks at every mapping and sequence of a document once, after its children and the mappings that it merges.
    pub(super) fn of(root: &Node) -> Self {
        let anchors = root.nodes().filter_map(|node| Some((node.anchor?, node))).collect();
        let mut near = Self(HashMap::new());
        let mut waiting = vec![(root, false)];
        while let Some((node, children_are_known)) = waiting.pop() {
            if children_are_known {
                let signs = near.signs(node, &anchors);
                near.0.extend((signs != 0).then_some((std::ptr::from_ref(node), signs)));
            } else if !node.children().is_empty() {
                waiting.push((node, true));
                waiting.extend(node.children().iter().rev().map(|child| (child, false)));
            }
        }
        near
    }

    /// Returns the error for an object that looks like a Secret or contains one; `None` for every other object. The
    /// object must not be classified as a Secret, a SealedSecret or a list.
    pub(super) fn fault(&self, object: &Node) -> Option<ManifestError> {
        if object.scalar().is_some_and(could_be_a_manifest) {
            let text =
                "this is one string without fields, but other programs may read a Secret with plain values from it";
            let error = ManifestError::new(text).at(object);
            return Some(error.with_hint(TEXT_BEFORE_FIELDS));
        }
        let signs = self.of_mapping(object);
        if is_near_secret(signs) {
            return Some(typing_error(object, signs));
        }
        let error = ManifestError::new("a Secret inside another object, where its values would stay in plain text");
        let error = error.with_hint("write the Secret as a document of its own");
        Some(error.at(self.inner_secret(object)?).with_path_to(object))
    }

    /// Returns the first Secret with values inside an object. Only an item of a list (kubectl and OpenShift create
    /// objects from such items) or a mapping that has metadata counts. Any other mapping with the kind `Secret` is
    /// normal: a policy that makes Secrets has such mappings.
    fn inner_secret<'a>(&self, object: &'a Node) -> Option<&'a Node> {
        let parents = object.nodes();
        parents.flat_map(|parent| parent.children().iter().map(move |node| (parent, node))).find_map(
            |(parent, node)| {
                let signs = self.of_mapping(node);
                let has_place = !parent.is_mapping() || signs & METADATA != 0;
                (is_secret_with_values(signs) && has_place).then_some(node)
            },
        )
    }

    /// Returns the signs of a mapping. For a sequence, returns the signs of all its items together.
    fn signs(&self, node: &Node, anchors: &HashMap<usize, &Node>) -> Signs {
        if !node.is_mapping() {
            return node.children().iter().fold(0, |signs, item| signs | self.known(resolved(item, anchors)));
        }
        let (mut own, mut merged) = (0, 0);
        for (key, value) in node.entries() {
            let (key, value) = (resolved(key, anchors), resolved(value, anchors));
            match key.scalar() {
                // A key with a tag can be any field: go-yaml decodes `!!binary a2luZA==` to `kind`. So it counts as a
                // kind and as `data`.
                Some(_) if key.tag == Tag::Other => own |= SECRET | sign("data", value),
                Some("<<") => merged |= self.known(value),
                Some(name) => own |= sign(name, value),
                None => {}
            }
        }
        for exclusive in [VERSIONS, KINDS] {
            if own & exclusive != 0 {
                merged &= !exclusive;
            }
        }
        own | merged
    }

    fn of_mapping(&self, node: &Node) -> Signs {
        if node.is_mapping() { self.known(node) } else { 0 }
    }

    /// Returns the signs of a node. A node that was not looked at yet has none, such as a node that merges itself.
    fn known(&self, node: &Node) -> Signs {
        self.0.get(&std::ptr::from_ref(node)).copied().unwrap_or_default()
    }
}

/// Whether a document that is one scalar could be the manifest of a Secret. kubectl reads JSON behind any white space
/// of Unicode, for example, and it splits documents in other places.
fn could_be_a_manifest(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("kind") && text.contains("secret")
}

fn resolved<'a>(node: &'a Node, anchors: &HashMap<usize, &'a Node>) -> &'a Node {
    match &node.content {
        Content::Alias(anchor) => anchors.get(anchor).copied().unwrap_or(node),
        _ => node,
    }
}

/// Whether an object that is not read as a Secret or a SealedSecret was meant to be one of them.
fn is_near_secret(signs: Signs) -> bool {
    let has = |sign| signs & sign != 0;
    if has(OTHER_VERSION) {
        // No other kind that is built into Kubernetes has `stringData`, or both `data` and `type`.
        return has(KINDS_OF_SECRETS | STRING_DATA) || has(DATA) && (has(TYPE) || !has(KINDS));
    }
    let is_manifest = has(METADATA) && has(KINDS_OF_SECRETS | STRING_DATA);
    is_secret_with_values(signs) || !has(DOTTED_GROUP) && is_manifest
}

/// Whether a mapping has values and a kind like `Secret`, `SecretList` or `SealedSecret`, or has items and a kind like
/// `SecretList`.
fn is_secret_with_values(signs: Signs) -> bool {
    let has = |sign| signs & sign != 0;
    has(KINDS_OF_SECRETS) && has(VALUES) || has(SECRET_LIST) && has(ITEMS)
}

fn sign(name: &str, value: &Node) -> Signs {
    let is_filled = !value.children().is_empty();
    let is = |known| is_spelled_like(name, known);
    match value {
        _ if is("apiVersion") => version_sign(value),
        _ if is("kind") => kind_sign(value),
        _ if value.scalar().is_some() && is("type") => TYPE,
        _ if is_filled && is("metadata") => METADATA,
        _ if is_filled && is("data") => DATA,
        _ if is_filled && is("items") => ITEMS,
        _ if is_filled && is("stringData") => STRING_DATA,
        _ if is_filled && is_typing_error_of(name, "stringData") => STRING_DATA,
        _ => 0,
    }
}

fn version_sign(value: &Node) -> Signs {
    match value.string().unwrap_or_default() {
        "" => 0,
        text if text.to_ascii_lowercase().contains("waxseal") => OTHER_VERSION,
        text if text.split_once('/').is_some_and(|(group, _)| group.contains('.')) => DOTTED_GROUP,
        _ => OTHER_VERSION,
    }
}

fn kind_sign(value: &Node) -> Signs {
    let is_near = |text: &str, kind| is_typing_error_of(text.trim(), kind);
    match value.scalar() {
        // go-yaml decodes `!!binary U2VjcmV0` to `Secret`.
        _ if value.tag == Tag::Other => SECRET,
        None | Some("") => 0,
        Some(text) if is_near(text, "Secret") => SECRET,
        Some(text) if is_near(text, "SecretList") => SECRET_LIST,
        Some(text) if is_near(text, "SealedSecret") || is_near(text, "SealedSecretList") => SEALED_SECRET,
        Some(_) => OTHER_KIND,
    }
}

/// Returns the error about an object, at the field with the typing error if one field has it.
fn typing_error(object: &Node, signs: Signs) -> ManifestError {
    let is_sealed = signs & SEALED_SECRET != 0 && signs & (SECRET_LIST | SECRET | VALUES) == 0;
    let (version, kind, text) = if is_sealed {
        (API_VERSION, "SealedSecret", "looks like a SealedSecret with a typing error")
    } else {
        ("v1", "Secret", "looks like a Secret with a typing error: its values would stay in plain text")
    };
    let is_wrong = |key: &Node, value: &Node| {
        let is_wrong_as = |name: &str, expected| {
            let written = key.scalar().unwrap_or_default();
            is_spelled_like(written, name) && (written != name || value.scalar() != Some(expected))
        };
        is_wrong_as("apiVersion", version) || is_wrong_as("kind", kind)
    };
    let wrong = object.entries().find(|(key, value)| is_wrong(key, value));
    let error = ManifestError::new(text).at(wrong.map_or(object, |(key, _)| key));
    error.with_path_to(object).with_hint(format!("write `apiVersion: {version}` and `kind: {kind}`"))
}

/// Whether two names are equal, except for letter case and for characters that are not letters or digits.
fn is_spelled_like(name: &str, known: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    letters.eq(known.chars().map(|letter| letter.to_ascii_lowercase()))
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
            DocumentKind::Other(object) => object.near_secret(),
            DocumentKind::List(items) => items.iter().find_map(found),
            DocumentKind::Empty | DocumentKind::Secret(_) | DocumentKind::SealedSecret(_) => None,
        }
    }

    fn fault(text: &str) -> Option<ManifestError> {
        let stream = split(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        found(&stream.documents[0].kind().unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    #[test]
    fn a_text_that_could_be_a_manifest_is_found() {
        let json = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"}}";
        for text in
            [format!("\u{a0}{json}"), format!("// db\n{json}"), format!("null\n{json}"), format!("\u{3000}\n{json}")]
        {
            let error = fault(&text).unwrap_or_else(|| panic!("{text} passes"));
            let expected =
                "this is one string without fields, but other programs may read a Secret with plain values from it";
            assert_eq!(error.to_string(), expected, "{text}");
        }
        for text in ["just text", "a kind word", "no secrets here"] {
            assert_eq!(fault(text), None, "{text}");
        }
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
    fn objects_that_only_mention_secrets_pass() {
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

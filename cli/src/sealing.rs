//! A text with Secrets becomes a text with SealedSecrets; every other document stays byte for byte.

use serde_json::Value;
use waxseal_shared::key::Recipient;
use waxseal_shared::manifest::{
    Document, DocumentKind, Format, ListItem, Object, SecretObject, split, write_list, write_sealed_secret,
};
use waxseal_shared::names::Namespace;
use waxseal_shared::randomness;
use waxseal_shared::seal::seal;
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::SecretManifest;

use crate::error::{CliError, Failures};
use crate::residue::Values;

/// The greatest size of an object with its status in etcd: 1.5 MiB.
const MAX_OBJECT_BYTES: usize = 1536 * 1024;
/// Above this size a copy of the object no longer fits into the annotation that client-side apply
/// writes (256 KiB for all annotations together).
const MAX_APPLY_BYTES: usize = 200 * 1024;

/// How to seal.
pub(crate) struct Sealing {
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) scope: Scope,
    /// For manifests that have none; a different one is contradicted.
    pub(crate) namespace: Option<Namespace>,
}

/// A text after sealing.
pub(crate) struct Sealed {
    pub(crate) text: String,
    pub(crate) holds: Holds,
    /// Where and what a person should know.
    pub(crate) warnings: Vec<(String, String)>,
}

/// What a text held before it was sealed; later is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holds {
    /// Neither Secret nor SealedSecret.
    Neither,
    /// SealedSecrets and no Secret: the text has not changed.
    SealedSecrets,
    /// Secrets.
    Secrets,
}

/// One document after sealing, and the objects in it that are new.
struct Part {
    place: String,
    line: usize,
    text: String,
    objects: Vec<(String, Value)>,
    holds: Holds,
}

impl Sealing {
    /// Seals every Secret of a text, or none: each document that is refused gives a failure.
    pub(crate) fn seal_text(&self, input: &str, text: &str) -> Result<Sealed, Failures> {
        let stream = split(text).map_err(|error| CliError::manifest(input, &error))?;
        let mut values = Values::default();
        let mut parts = Vec::new();
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        for document in &stream.documents {
            match self.seal_document(input, document, &mut values, &mut warnings) {
                Ok(part) => parts.push(part),
                Err(error) => errors.push(error),
            }
        }
        Failures::none_or(errors)?;
        warnings.extend(parts.iter().flat_map(|part| part.residue(input, &values)));
        let holds = parts.iter().map(|part| part.holds).max().unwrap_or(Holds::Neither);
        Ok(Sealed { text: parts.into_iter().map(|part| part.text).collect(), holds, warnings })
    }

    fn seal_document(
        &self,
        input: &str,
        document: &Document<'_>,
        values: &mut Values,
        warnings: &mut Vec<(String, String)>,
    ) -> Result<Part, CliError> {
        let kind = document.kind().map_err(|error| CliError::manifest(input, &error))?;
        let holds = holds(&kind);
        let place = format!("{input}:{}", document.line());
        let mut found = Found { input, place, values, warnings, objects: Vec::new() };
        let text = match kind {
            DocumentKind::Secret(secret) => {
                let sealed = self.seal_secret(&secret, "", &mut found)?;
                document.replaced_by(&write_sealed_secret(&sealed, document.format()))
            }
            DocumentKind::List(items) if holds == Holds::Secrets => {
                document.replaced_by(&self.seal_list(items, document.format(), &mut found)?)
            }
            _ => document.text().to_owned(),
        };
        Ok(Part { place: found.place, line: document.line(), text, objects: found.objects, holds })
    }

    /// Writes a list anew; lists in it are dissolved into it.
    fn seal_list(&self, items: Vec<DocumentKind>, format: Format, found: &mut Found<'_>) -> Result<String, CliError> {
        let mut written = Vec::new();
        self.seal_items(items, "", &mut written, found)?;
        let items: Vec<_> = written
            .iter()
            .map(|item| match item {
                Item::Sealed(sealed) => Ok(ListItem::from(&**sealed)),
                Item::Other(object) => object.to_list_item(),
            })
            .collect::<Result<_, _>>()
            .map_err(|error| CliError::manifest(found.input, &error))?;
        Ok(write_list(&items, format))
    }

    fn seal_items(
        &self,
        items: Vec<DocumentKind>,
        prefix: &str,
        written: &mut Vec<Item>,
        found: &mut Found<'_>,
    ) -> Result<(), CliError> {
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{prefix}items[{index}].");
            let manifest = |error| CliError::manifest(found.input, &error);
            match item {
                DocumentKind::Empty => {}
                DocumentKind::Secret(secret) => {
                    written.push(Item::Sealed(Box::new(self.seal_secret(&secret, &path, found)?)));
                }
                DocumentKind::SealedSecret(object) => {
                    written.push(Item::Sealed(Box::new(object.read().map_err(manifest)?)));
                }
                DocumentKind::List(items) => self.seal_items(items, &path, written, found)?,
                DocumentKind::Other(object) => {
                    let value: Value = object.read().map_err(manifest)?;
                    found.objects.push((path, value));
                    written.push(Item::Other(object));
                }
            }
        }
        Ok(())
    }

    fn seal_secret(&self, object: &SecretObject, path: &str, found: &mut Found<'_>) -> Result<SealedSecret, CliError> {
        let secret = object.read().map_err(|error| CliError::manifest(found.input, &error))?;
        let refused = |text: String| CliError::refused(format!("{}{text}", item_of(path))).at(&found.place);
        let namespace = self.namespace_of(&secret).map_err(|(text, hint)| refused(text).with_hint(hint))?;
        let sealed = seal(&secret, namespace, self.scope, &self.recipients, &mut randomness::system());
        let sealed = sealed.map_err(|error| refused(error.to_string()))?;
        // An object whose maps have strings as keys.
        let value = serde_json::to_value(&sealed).expect("a SealedSecret is JSON");
        let size = value.to_string().len();
        if size > MAX_OBJECT_BYTES {
            return Err(refused("larger than 1.5 MiB when sealed, the most that an object can be".to_owned()));
        }
        if size > MAX_APPLY_BYTES {
            let text = "larger than 200 KiB when sealed: `kubectl apply` needs `--server-side` for it";
            found.warnings.push((found.place.clone(), format!("{}{text}", item_of(path))));
        }
        found.objects.push((path.to_owned(), value));
        found.values.add(&secret);
        Ok(sealed)
    }

    /// The manifest's namespace, else the one that was asked for.
    fn namespace_of<'a>(&'a self, secret: &'a SecretManifest) -> Result<&'a Namespace, (String, &'static str)> {
        match (&secret.namespace, &self.namespace) {
            (Some(own), Some(asked)) if own != asked => Err((
                format!("metadata.namespace: is {own}, and --namespace says {asked}"),
                "a value is sealed for one place: change one of the two",
            )),
            (Some(namespace), _) | (None, Some(namespace)) => Ok(namespace),
            (None, None) => Err((
                "metadata.namespace: missing, and a value is sealed for its namespace".to_owned(),
                "write it into the manifest, or pass `--namespace NAMESPACE`",
            )),
        }
    }
}

enum Item {
    Sealed(Box<SealedSecret>),
    Other(Object),
}

/// What is found on the way through one document.
struct Found<'a> {
    input: &'a str,
    place: String,
    values: &'a mut Values,
    warnings: &'a mut Vec<(String, String)>,
    objects: Vec<(String, Value)>,
}

impl Part {
    /// Where values still show.
    fn residue(&self, input: &str, values: &Values) -> Vec<(String, String)> {
        if self.objects.is_empty() {
            let line = |at: usize| self.line + self.text[..at].matches('\n').count();
            let found = values.in_text(&self.text).into_iter();
            return found
                .map(|(at, name)| (format!("{input}:{}", line(at)), format!("the value {name} still shows")))
                .collect();
        }
        let mut found = Vec::new();
        for (prefix, object) in &self.objects {
            let shown = values.in_object(object, prefix.trim_end_matches('.'));
            found.extend(
                shown.into_iter().map(|(path, name)| (name, format!("the value {name} still shows in {path}"))),
            );
        }
        let comments: Vec<_> = self.text.lines().filter(|line| can_hold_comment(line)).collect();
        let comments = comments.join("\n");
        let shown = values.in_text(&comments).into_iter();
        found.extend(shown.map(|(_, name)| (name, format!("the value {name} still shows in a comment"))));
        found.into_iter().map(|(_, text)| (self.place.clone(), text)).collect()
    }
}

/// Whether a line may be one that was kept around the manifest: ours have no comments.
fn can_hold_comment(line: &str) -> bool {
    line.trim_start().starts_with('#') || ["---", "...", "%"].iter().any(|start| line.starts_with(start))
}

fn holds(kind: &DocumentKind) -> Holds {
    match kind {
        DocumentKind::Secret(_) => Holds::Secrets,
        DocumentKind::SealedSecret(_) => Holds::SealedSecrets,
        DocumentKind::List(items) => items.iter().map(holds).max().unwrap_or(Holds::Neither),
        DocumentKind::Empty | DocumentKind::Other(_) => Holds::Neither,
    }
}

/// How an error text begins for an item of a list.
fn item_of(path: &str) -> String {
    match path.strip_suffix('.') {
        Some(path) => format!("{path}: "),
        None => String::new(),
    }
}

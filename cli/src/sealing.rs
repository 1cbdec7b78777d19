//! A text with Secrets becomes a text with SealedSecrets; every other document stays byte for byte.

use std::borrow::Cow;
use std::iter::Sum;

use serde_json::Value;
use waxseal_shared::key::Recipient;
use waxseal_shared::manifest::{
    Document, DocumentKind, Format, ListItem, MAX_OBJECT_BYTES, ManifestError, Object, SecretObject, Stream, split,
    write_list, write_sealed_secret,
};
use waxseal_shared::names::Namespace;
use waxseal_shared::randomness;
use waxseal_shared::seal::{self, seal};
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::SecretManifest;

use crate::error::{CliError, Failures, place_in};
use crate::residue::Values;

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
pub(crate) struct Sealed<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) counts: Counts,
    /// Where and what a person should know.
    pub(crate) warnings: Vec<(String, String)>,
}

/// What a text held before it was sealed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) secrets: usize,
    pub(crate) sealed_secrets: usize,
}

impl Counts {
    fn of(kind: &DocumentKind) -> Self {
        match kind {
            DocumentKind::Secret(_) => Self { secrets: 1, sealed_secrets: 0 },
            DocumentKind::SealedSecret(_) => Self { secrets: 0, sealed_secrets: 1 },
            DocumentKind::List(items) => items.iter().map(Self::of).sum(),
            DocumentKind::Empty | DocumentKind::Other(_) => Self::default(),
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, counts| Self {
            secrets: sum.secrets + counts.secrets,
            sealed_secrets: sum.sealed_secrets + counts.sealed_secrets,
        })
    }
}

/// One document after sealing, and the objects in it that are new.
struct Part<'a> {
    place: String,
    line: usize,
    text: Cow<'a, str>,
    objects: Vec<(String, Value)>,
}

impl Sealing {
    /// Seals every Secret of a text, or none: each document that is refused gives a failure.
    ///
    /// Looks at all of them before it seals the first, which takes a hundred times as long.
    pub(crate) fn seal_text<'a>(&self, input: &str, text: &'a str) -> Result<Sealed<'a>, Failures> {
        let stream = split(text).map_err(|error| CliError::manifest(input, &error))?;
        let counts = self.check(input, &stream)?;
        if counts.secrets == 0 {
            return Ok(Sealed { text: text.into(), counts, warnings: Vec::new() });
        }
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
        let text = parts.into_iter().map(|part| part.text).collect::<String>().into();
        Ok(Sealed { text, counts, warnings })
    }

    /// Says what documents hold; refuses those that would be refused when they are sealed, but for
    /// their size then.
    fn check(&self, input: &str, stream: &Stream<'_>) -> Result<Counts, Failures> {
        let mut found = Vec::new();
        let mut errors = Vec::new();
        for (document, kind) in stream.kinds() {
            let manifest = |error| CliError::manifest(input, &error);
            let counts = kind.map_err(manifest).and_then(|kind| self.check_document(input, document.line(), &kind));
            // The document's tree is gone by now: this reads another one.
            match counts.and_then(|counts| document.hidden_secret().map_or(Ok(counts), |error| Err(manifest(error)))) {
                Ok(counts) => found.push(counts),
                Err(error) => errors.push(error),
            }
        }
        Failures::none_or(errors)?;
        Ok(found.into_iter().sum())
    }

    fn check_document(&self, input: &str, line: usize, kind: &DocumentKind) -> Result<Counts, CliError> {
        refuse_plain_values(kind).map_err(|error| CliError::manifest(input, &error))?;
        let counts = Counts::of(kind);
        if counts.secrets > 0 {
            self.check_kind(kind, "", &format!("{input}:{line}"), input)?;
        }
        Ok(counts)
    }

    fn check_kind(&self, kind: &DocumentKind, path: &str, place: &str, input: &str) -> Result<(), CliError> {
        let manifest = |error| CliError::manifest(input, &error);
        match kind {
            DocumentKind::Secret(secret) => self.read_secret(secret, path, place, input).map(|_| ()),
            DocumentKind::List(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.check_kind(item, &format!("{path}items[{index}]."), place, input)),
            // Other objects in a list beside Secrets are written anew.
            DocumentKind::Other(object) => object.read::<Value>().map(|_| ()).map_err(manifest),
            DocumentKind::Empty | DocumentKind::SealedSecret(_) => Ok(()),
        }
    }

    fn seal_document<'a>(
        &self,
        input: &str,
        document: &Document<'a>,
        values: &mut Values,
        warnings: &mut Vec<(String, String)>,
    ) -> Result<Part<'a>, CliError> {
        let kind = document.kind().map_err(|error| CliError::manifest(input, &error))?;
        let counts = Counts::of(&kind);
        let place = format!("{input}:{}", document.line());
        let mut found = Found { input, place, values, warnings, objects: Vec::new() };
        let text = match kind {
            DocumentKind::Secret(secret) => {
                let sealed = self.seal_secret(&secret, "", &mut found)?;
                document.replaced_by(&write_sealed_secret(&sealed, document.format())).into()
            }
            DocumentKind::List(items) if counts.secrets > 0 => {
                document.replaced_by(&self.seal_list(items, document.format(), &mut found)?).into()
            }
            _ => document.text().into(),
        };
        Ok(Part { place: found.place, line: document.line(), text, objects: found.objects })
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

    fn seal_items<'a>(
        &self,
        items: Vec<DocumentKind<'a>>,
        prefix: &str,
        written: &mut Vec<Item<'a>>,
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

    /// Reads a Secret that can be sealed, and gives it its namespace.
    fn read_secret(
        &self,
        object: &SecretObject,
        path: &str,
        place: &str,
        input: &str,
    ) -> Result<(SecretManifest, Namespace), CliError> {
        let secret = object.read().map_err(|error| CliError::manifest(input, &error))?;
        let refused = |text: String| CliError::refused(format!("{}{text}", item_of(path))).at(place);
        let namespace = self.namespace_of(&secret).map_err(|(text, hint)| refused(text).with_hint(hint))?.clone();
        seal::check(&secret, &self.recipients).map_err(|error| refused(error.to_string()))?;
        Ok((secret, namespace))
    }

    fn seal_secret(&self, object: &SecretObject, path: &str, found: &mut Found<'_>) -> Result<SealedSecret, CliError> {
        let (secret, namespace) = self.read_secret(object, path, &found.place, found.input)?;
        let refused = |text: String| CliError::refused(format!("{}{text}", item_of(path))).at(&found.place);
        let sealed = seal(&secret, &namespace, self.scope, &self.recipients, &mut randomness::system());
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
        for warning in object.warnings(&secret) {
            found.warnings.push((place_in(found.input, warning.place()), warning.to_string()));
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

enum Item<'a> {
    Sealed(Box<SealedSecret>),
    Other(Object<'a>),
}

/// What is found on the way through one document.
struct Found<'a> {
    input: &'a str,
    place: String,
    values: &'a mut Values,
    warnings: &'a mut Vec<(String, String)>,
    objects: Vec<(String, Value)>,
}

impl Part<'_> {
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

/// Refuses what would leave values in plain text beside what is sealed: a Secret that is not
/// recognised as one, and plain values in a SealedSecret.
fn refuse_plain_values(kind: &DocumentKind) -> Result<(), ManifestError> {
    match kind {
        DocumentKind::Empty | DocumentKind::Secret(_) => Ok(()),
        DocumentKind::SealedSecret(object) => object.check_values(),
        DocumentKind::List(items) => items.iter().try_for_each(refuse_plain_values),
        DocumentKind::Other(object) => object.near_secret().map_or(Ok(()), Err),
    }
}

/// How an error text begins for an item of a list.
fn item_of(path: &str) -> String {
    match path.strip_suffix('.') {
        Some(path) => format!("{path}: "),
        None => String::new(),
    }
}

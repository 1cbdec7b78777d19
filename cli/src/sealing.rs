//! Turns a text with Secrets into a text with SealedSecrets. Every other document stays byte for byte.

use std::borrow::Cow;
use std::iter::Sum;

use serde::Serialize;
use waxseal_shared::key::Recipient;
use waxseal_shared::manifest::{
    Document, DocumentKind, Format, ListItem, MAX_OBJECT_BYTES, ManifestError, ManifestWarning, Object, SecretObject,
    Stream, split, write_list, write_sealed_secret,
};
use waxseal_shared::names::Namespace;
use waxseal_shared::randomness;
use waxseal_shared::seal::{self, seal};
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::SecretManifest;

use crate::error::{CliError, Failures, place_in};
use crate::input::MAX_INPUT_BYTES;
use crate::residue::ValueSearch;

/// Above this size, a copy of the object does not fit into the annotation that client-side apply writes: all
/// annotations of an object together may have 256 KiB.
const MAX_APPLY_BYTES: usize = 200 * 1024;

/// The options for sealing.
pub(crate) struct Sealing {
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) scope: Scope,
    /// The namespace for manifests without a namespace. A manifest with another namespace is refused.
    pub(crate) namespace: Option<Namespace>,
}

/// The result of sealing a text.
pub(crate) struct SealedText<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) counts: Counts,
    /// The place and text of each warning.
    pub(crate) warnings: Vec<(String, String)>,
}

/// The numbers of objects in a text before sealing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) secrets: usize,
    pub(crate) sealed_secrets: usize,
}

impl Counts {
    fn of(kind: &DocumentKind<'_>) -> Self {
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

/// A document after reading and checking, ready to be sealed.
enum Prepared<'a> {
    /// A document without a Secret. It stays as it is.
    Unchanged,
    Secret(Box<PreparedSecret>),
    /// A list and the Secrets in it, in their order.
    List(Vec<DocumentKind<'a>>, Vec<PreparedSecret>),
}

impl Prepared<'_> {
    /// The most bytes of memory that it needs for each byte of its text.
    fn weight(&self) -> usize {
        match self {
            Self::Unchanged => 0,
            Self::Secret(_) => 32,
            Self::List(..) => 128,
        }
    }
}

/// A Secret that can be sealed.
struct PreparedSecret {
    /// Its path in the document, such as `items[3].`; empty for the document itself.
    path: String,
    secret: SecretManifest,
    namespace: Namespace,
    warnings: Vec<ManifestWarning>,
}

/// An item of a list that is written again.
enum WrittenItem<'a> {
    Sealed(Box<SealedSecret>),
    Other(Object<'a>),
}

/// A document after sealing.
struct Part<'a> {
    /// `FILE:LINE` of the document.
    place: String,
    line: usize,
    text: Cow<'a, str>,
    /// The objects that were written again: the path of each, and the object as JSON without ciphertext.
    objects: Vec<(String, String)>,
    /// The Secrets that were sealed.
    secrets: Vec<SecretManifest>,
    warnings: Vec<(String, String)>,
}

impl Sealing {
    /// Seals all Secrets of a text, or none if any document is refused. Returns an error for each refused document.
    pub(crate) fn seal_text<'a>(&self, input: &str, text: &'a str) -> Result<SealedText<'a>, Failures> {
        let stream = split(text).map_err(|error| CliError::manifest(input, &error))?;
        let (counts, prepared) = self.prepare(input, &stream)?;
        if counts.secrets == 0 {
            return Ok(SealedText { text: text.into(), counts, warnings: Vec::new() });
        }
        let mut parts = Vec::new();
        let mut errors = Vec::new();
        for (document, prepared) in stream.documents.iter().zip(prepared) {
            match self.seal_document(input, document, prepared) {
                Ok(part) => parts.push(part),
                Err(error) => errors.push(error),
            }
        }
        Failures::none_or(errors)?;
        let mut warnings: Vec<_> = parts.iter_mut().flat_map(|part| std::mem::take(&mut part.warnings)).collect();
        let search = ValueSearch::new(parts.iter().flat_map(|part| &part.secrets));
        warnings.extend(parts.iter().flat_map(|part| part.values_that_show(input, &search)));
        let text = parts.into_iter().map(|part| part.text).collect::<String>().into();
        Ok(SealedText { text, counts, warnings })
    }

    /// Reads and checks all documents before the first is sealed, so that a refusal costs little.
    ///
    /// Returns `None` for a document that must be read again for sealing. This keeps the text and the prepared
    /// documents within 32 MiB. Reading a document takes up to 32 MiB more, and a refusal must need at most 64 MiB.
    fn prepare<'a>(&self, input: &str, stream: &Stream<'a>) -> Result<(Counts, Vec<Option<Prepared<'a>>>), Failures> {
        let mut counts = Counts::default();
        let mut all = Vec::new();
        let mut errors = Vec::new();
        let text: usize = stream.documents.iter().map(|document| document.text().len()).sum();
        let mut room = MAX_INPUT_BYTES.saturating_sub(text);
        for (document, kind) in stream.kinds() {
            let manifest = |error| CliError::manifest(input, &error);
            let outcome = kind.map_err(manifest).and_then(|kind| {
                let counts = Counts::of(&kind);
                Ok((counts, self.prepare_document(input, document, kind)?))
            });
            let outcome = outcome.map(|(counts, prepared)| {
                let left = room.checked_sub(prepared.weight() * document.text().len());
                room = left.unwrap_or(room);
                (counts, left.map(|_| prepared))
            });
            // Only here, after the first tree of the document is dropped: this reads a second tree.
            match outcome.and_then(|outcome| document.hidden_secret().map_or(Ok(outcome), |error| Err(manifest(error))))
            {
                Ok((found, prepared)) => {
                    counts = [counts, found].into_iter().sum();
                    all.push(prepared);
                }
                Err(error) => errors.push(error),
            }
        }
        Failures::none_or(errors)?;
        Ok((counts, all))
    }

    fn prepare_document<'a>(
        &self,
        input: &str,
        document: &Document<'_>,
        kind: DocumentKind<'a>,
    ) -> Result<Prepared<'a>, CliError> {
        refuse_plain_values(&kind).map_err(|error| CliError::manifest(input, &error))?;
        if Counts::of(&kind).secrets == 0 {
            return Ok(Prepared::Unchanged);
        }
        let place = place_of(input, document);
        match kind {
            DocumentKind::Secret(secret) => {
                let secret = self.prepare_secret(input, &place, &secret, String::new())?;
                Ok(Prepared::Secret(Box::new(secret)))
            }
            DocumentKind::List(items) => {
                let mut secrets = Vec::new();
                self.prepare_items(input, &place, &items, "", &mut secrets)?;
                Ok(Prepared::List(items, secrets))
            }
            DocumentKind::Empty | DocumentKind::SealedSecret(_) | DocumentKind::Other(_) => Ok(Prepared::Unchanged),
        }
    }

    fn prepare_items(
        &self,
        input: &str,
        place: &str,
        items: &[DocumentKind<'_>],
        prefix: &str,
        secrets: &mut Vec<PreparedSecret>,
    ) -> Result<(), CliError> {
        for (index, item) in items.iter().enumerate() {
            let path = || format!("{prefix}items[{index}].");
            match item {
                DocumentKind::Secret(secret) => secrets.push(self.prepare_secret(input, place, secret, path())?),
                DocumentKind::List(items) => self.prepare_items(input, place, items, &path(), secrets)?,
                // Checks that the item can be written again.
                DocumentKind::Other(object) => {
                    object.to_list_item().map_err(|error| CliError::manifest(input, &error))?;
                }
                DocumentKind::Empty | DocumentKind::SealedSecret(_) => {}
            }
        }
        Ok(())
    }

    /// Reads a Secret and finds its namespace. Refuses a Secret that cannot be sealed.
    fn prepare_secret(
        &self,
        input: &str,
        place: &str,
        object: &SecretObject,
        path: String,
    ) -> Result<PreparedSecret, CliError> {
        let secret = object.read().map_err(|error| CliError::manifest(input, &error))?;
        let namespace = self.namespace_of(&secret);
        let namespace = namespace.map_err(|(text, hint)| refused(place, &path, &text).with_hint(hint))?.clone();
        seal::check(&secret, &self.recipients).map_err(|error| refused(place, &path, &error.to_string()))?;
        let warnings = object.warnings(&secret);
        Ok(PreparedSecret { path, secret, namespace, warnings })
    }

    fn seal_document<'a>(
        &self,
        input: &str,
        document: &Document<'a>,
        prepared: Option<Prepared<'_>>,
    ) -> Result<Part<'a>, CliError> {
        let manifest = |error| CliError::manifest(input, &error);
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => self.prepare_document(input, document, document.kind().map_err(manifest)?)?,
        };
        let mut part = Part::unchanged(input, document);
        match prepared {
            Prepared::Unchanged => {}
            Prepared::Secret(secret) => {
                let sealed = self.seal_secret(input, *secret, &mut part)?;
                part.objects.push((String::new(), readable_json(&sealed)));
                part.text = document.replaced_by(&write_sealed_secret(&sealed, document.format())).into();
            }
            Prepared::List(items, secrets) => {
                let mut written = Vec::new();
                self.seal_items(input, items, &mut secrets.into_iter(), &mut written, &mut part)?;
                let list = part.write_list(&written, document.format()).map_err(manifest)?;
                part.text = document.replaced_by(&list).into();
            }
        }
        Ok(part)
    }

    /// Seals the Secrets of a list. The items of inner lists become items of the outer list.
    fn seal_items<'a>(
        &self,
        input: &str,
        items: Vec<DocumentKind<'a>>,
        secrets: &mut impl Iterator<Item = PreparedSecret>,
        written: &mut Vec<WrittenItem<'a>>,
        part: &mut Part<'_>,
    ) -> Result<(), CliError> {
        for item in items {
            match item {
                DocumentKind::Empty => {}
                DocumentKind::Secret(_) => {
                    // `prepare_items` adds one for each Secret of the list, in the same order.
                    let secret = secrets.next().expect("a Secret that was prepared");
                    written.push(WrittenItem::Sealed(Box::new(self.seal_secret(input, secret, part)?)));
                }
                DocumentKind::SealedSecret(object) => {
                    let sealed = object.read().map_err(|error| CliError::manifest(input, &error))?;
                    written.push(WrittenItem::Sealed(Box::new(sealed)));
                }
                DocumentKind::List(items) => self.seal_items(input, items, secrets, written, part)?,
                DocumentKind::Other(object) => written.push(WrittenItem::Other(object)),
            }
        }
        Ok(())
    }

    fn seal_secret(
        &self,
        input: &str,
        prepared: PreparedSecret,
        part: &mut Part<'_>,
    ) -> Result<SealedSecret, CliError> {
        let PreparedSecret { path, secret, namespace, warnings } = prepared;
        let refused = |text: &str| refused(&part.place, &path, text);
        let sealed = seal(&secret, &namespace, self.scope, &self.recipients, &mut randomness::system());
        let sealed = sealed.map_err(|error| refused(&error.to_string()))?;
        let size = json(&sealed).len();
        if size > MAX_OBJECT_BYTES {
            return Err(refused("larger than 1.5 MiB when sealed, the most that an object can be"));
        }
        if size > MAX_APPLY_BYTES {
            let text = "larger than 200 KiB when sealed: `kubectl apply` needs `--server-side` for it";
            part.warnings.push((part.place.clone(), format!("{}{text}", path_prefix(&path))));
        }
        part.warnings.extend(warnings.iter().map(|warning| (place_in(input, warning.place()), warning.to_string())));
        part.secrets.push(secret);
        Ok(sealed)
    }

    /// Returns the namespace of the manifest or of `--namespace`. Refuses a contradiction and a missing namespace.
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

impl<'a> Part<'a> {
    fn unchanged(input: &str, document: &Document<'a>) -> Self {
        Self {
            place: place_of(input, document),
            line: document.line(),
            text: document.text().into(),
            objects: Vec::new(),
            secrets: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn write_list(&mut self, items: &[WrittenItem<'_>], format: Format) -> Result<String, ManifestError> {
        let mut written = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let (item, json) = match item {
                WrittenItem::Sealed(sealed) => (ListItem::from(&**sealed), readable_json(sealed)),
                WrittenItem::Other(object) => {
                    let item = object.to_list_item()?;
                    let json = json(&item);
                    (item, json)
                }
            };
            self.objects.push((format!("items[{index}]"), json));
            written.push(item);
        }
        Ok(write_list(&written, format))
    }

    /// Returns a warning for each value that still shows in the document.
    fn values_that_show(&self, input: &str, search: &ValueSearch<'_>) -> Vec<(String, String)> {
        let mut warnings = Vec::new();
        if self.objects.is_empty() {
            for (at, name) in search.in_text(&self.text) {
                let line = self.line + self.text[..at].matches('\n').count();
                warnings.push((format!("{input}:{line}"), format!("the value {name} still shows")));
            }
            return warnings;
        }
        for (path, object) in &self.objects {
            for (path, name) in search.in_object(object, path) {
                warnings.push((self.place.clone(), format!("the value {name} still shows in {path}")));
            }
        }
        let comments: Vec<_> = self.text.lines().filter(|line| can_hold_comment(line)).collect();
        for (_, name) in search.in_text(&comments.join("\n")) {
            warnings.push((self.place.clone(), format!("the value {name} still shows in a comment")));
        }
        warnings
    }
}

/// Returns a SealedSecret as JSON without the ciphertext, which is nine tenths of it and shows no value.
fn readable_json(sealed: &SealedSecret) -> String {
    let mut sealed = sealed.clone();
    sealed.spec.envelopes.clear();
    sealed.spec.encrypted_data.values_mut().for_each(String::clear);
    json(&sealed)
}

fn json(object: &impl Serialize) -> String {
    // Objects consist of plain data, and the keys of their maps are strings.
    serde_json::to_string(object).expect("an object is JSON")
}

/// Whether a line can come from the text around the manifest, where comments stay. A manifest that was written again
/// has no comments.
fn can_hold_comment(line: &str) -> bool {
    line.trim_start().starts_with('#') || ["---", "...", "%"].iter().any(|start| line.starts_with(start))
}

/// Refuses objects whose plain values would stay in the result: an object that looks like a Secret with a typing error,
/// and plain values in a SealedSecret.
fn refuse_plain_values(kind: &DocumentKind<'_>) -> Result<(), ManifestError> {
    match kind {
        DocumentKind::Empty | DocumentKind::Secret(_) => Ok(()),
        DocumentKind::SealedSecret(object) => object.check_values(),
        DocumentKind::List(items) => items.iter().try_for_each(refuse_plain_values),
        DocumentKind::Other(object) => object.near_secret().map_or(Ok(()), Err),
    }
}

fn place_of(input: &str, document: &Document<'_>) -> String {
    format!("{input}:{}", document.line())
}

fn refused(place: &str, path: &str, text: &str) -> CliError {
    CliError::refused(format!("{}{text}", path_prefix(path))).at(place)
}

/// Returns the path of an item of a list with a colon, to begin a message with; empty for the document itself.
fn path_prefix(path: &str) -> String {
    match path.strip_suffix('.') {
        Some(path) => format!("{path}: "),
        None => String::new(),
    }
}

//! Turns a text with Secrets into a text with SealedSecrets. Every other document stays byte for byte.

use std::borrow::Cow;
use std::iter::Sum;

use serde::Serialize;
use waxseal_shared::key::{Recipient, contains_identity};
use waxseal_shared::manifest::{
    Document, DocumentKind, ListItem, MAX_OBJECT_BYTES, ManifestError, ManifestWarning, Object, SealedSecretObject,
    SecretObject, Stream, check_number_of_values, check_written, split, write_list, write_sealed_secret,
};
use waxseal_shared::names::Namespace;
use waxseal_shared::randomness;
use waxseal_shared::seal::{self, seal};
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::SecretManifest;

use crate::error::{CliError, Failures, place_in};
use crate::input::{INPUT_TOO_LARGE, MAX_INPUT_BYTES, SPLIT_THE_INPUT};
use crate::residue::ValueSearch;

/// Above this size, `kubectl apply` without `--server-side` may fail: it writes a copy of the object into an
/// annotation, and all annotations of an object together may have 256 KiB.
const MAX_APPLY_BYTES: usize = 200 * 1024;

/// What helps against a document that is too large after sealing. A document that is one Secret, and no list, is too
/// large only because of its comments.
const SPLIT_THE_DOCUMENT: &str =
    "write the items of a list as documents of their own, and shorten long comments above a Secret";

/// The options for sealing.
pub(crate) struct Sealing {
    /// The recipients, or the error with which a text with a Secret is refused.
    pub(crate) recipients: Result<Vec<Recipient>, CliError>,
    pub(crate) scope: Scope,
    /// The value of `--namespace`, for manifests without a namespace. A manifest with another namespace is refused.
    pub(crate) namespace: Option<Namespace>,
    /// The namespace of the rule, for manifests without a namespace. It counts only without `--namespace`. A manifest
    /// may have another namespace.
    pub(crate) namespace_of_rule: Option<Namespace>,
}

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

/// A document of an input, and the options to seal it with.
struct DocumentSealing<'a, 't> {
    options: &'a Sealing,
    input: &'a str,
    document: &'a Document<'t>,
    /// `FILE:LINE` of the document.
    place: String,
}

/// A document after reading and checking, ready to be sealed.
enum Prepared<'t> {
    /// A document without a Secret. It stays as it is.
    Unchanged,
    Secret(Box<PreparedSecret>),
    /// The items of a list. The items of inner lists become items of the outer list.
    List(Vec<PreparedItem<'t>>),
}

/// An item of a list that holds a Secret. The whole list is written again.
enum PreparedItem<'t> {
    Secret(Box<PreparedSecret>),
    SealedSecret(SealedSecretObject<'t>),
    Other(Object<'t>),
}

impl Prepared<'_> {
    /// The most bytes of memory that it needs for each byte of its text.
    fn weight(&self) -> usize {
        match self {
            Self::Unchanged => 0,
            Self::Secret(_) => 32,
            Self::List(_) => 128,
        }
    }
}

/// A Secret that can be sealed.
struct PreparedSecret {
    /// Its path in the document, to begin a message with: `items[3]: `, or empty for the document itself.
    path: String,
    secret: SecretManifest,
    namespace: Namespace,
    warnings: Vec<ManifestWarning>,
}

/// An item of a list after sealing.
enum SealedItem<'t> {
    Sealed(Box<SealedSecret>),
    Other(Object<'t>),
}

/// A document after sealing.
struct Part<'a, 't> {
    sealing: DocumentSealing<'a, 't>,
    text: Cow<'t, str>,
    /// The objects that were written again: the path of each, and the object as JSON without ciphertext.
    objects: Vec<(String, String)>,
    /// The Secrets that were sealed.
    secrets: Vec<SecretManifest>,
    warnings: Vec<(String, String)>,
}

impl Sealing {
    /// Seals all Secrets of a text, or none if any document is refused. Returns an error for each refused document.
    /// Refuses a result that no command would read.
    pub(crate) fn seal_text<'t>(&self, input: &str, text: &'t str) -> Result<SealedText<'t>, Failures> {
        let stream = split(text).map_err(|error| CliError::manifest(input, &error))?;
        let (counts, prepared) = self.prepare(input, &stream)?;
        if counts.secrets == 0 {
            return Ok(SealedText { text: text.into(), counts, warnings: Vec::new() });
        }
        let documents = stream.documents.iter().zip(prepared);
        let mut parts = Failures::all_or_errors(documents.map(|(document, prepared)| {
            let mut part = Part::unchanged(self.of_document(input, document));
            part.seal(prepared).map(|()| part)
        }))?;
        let too_large = |text: &str| after_sealing(text).at(input).with_hint(SPLIT_THE_INPUT);
        if parts.iter().map(|part| part.text.len()).sum::<usize>() > MAX_INPUT_BYTES {
            return Err(too_large(INPUT_TOO_LARGE).into());
        }
        let mut warnings: Vec<_> = parts.iter_mut().flat_map(|part| std::mem::take(&mut part.warnings)).collect();
        let search = ValueSearch::new(parts.iter().flat_map(|part| &part.secrets));
        warnings.extend(parts.iter().flat_map(|part| part.values_that_show(&search)));
        let text: String = parts.into_iter().map(|part| part.text).collect();
        check_number_of_values(&text).map_err(|error| too_large(&error.to_string()))?;
        Ok(SealedText { text: text.into(), counts, warnings })
    }

    /// Reads and checks all documents before the first is sealed, so that a refusal costs little.
    ///
    /// Returns `None` for a document that must be read again for sealing. This keeps the text and the prepared
    /// documents within 32 MiB. Reading a document takes up to 32 MiB more, and a refusal before sealing must need at
    /// most 64 MiB.
    fn prepare<'t>(&self, input: &str, stream: &Stream<'t>) -> Result<(Counts, Vec<Option<Prepared<'t>>>), Failures> {
        let mut counts = Counts::default();
        let text: usize = stream.documents.iter().map(|document| document.text().len()).sum();
        let mut room = MAX_INPUT_BYTES.saturating_sub(text);
        let prepared = Failures::all_or_errors(stream.kinds().map(|(document, kind)| {
            let manifest = |error| CliError::manifest(input, &error);
            let kind = kind.map_err(manifest)?;
            counts = [counts, Counts::of(&kind)].into_iter().sum();
            let prepared = self.of_document(input, document).prepare(kind)?;
            let left = room.checked_sub(prepared.weight() * document.text().len());
            room = left.unwrap_or(room);
            let prepared = left.map(|_| prepared);
            // `hidden_secret` builds a second tree of the document. Here, the first tree is dropped already, or belongs
            // to a prepared list, whose size is taken from `room`.
            document.hidden_secret().map_or(Ok(prepared), |error| Err(manifest(error)))
        }))?;
        if counts.secrets > 0 {
            self.recipients().map_err(|error| error.or_at(input))?;
        }
        Ok((counts, prepared))
    }

    fn recipients(&self) -> Result<&[Recipient], CliError> {
        self.recipients.as_deref().map_err(Clone::clone)
    }

    fn of_document<'a, 't>(&'a self, input: &'a str, document: &'a Document<'t>) -> DocumentSealing<'a, 't> {
        DocumentSealing { options: self, input, document, place: format!("{input}:{}", document.line()) }
    }
}

impl DocumentSealing<'_, '_> {
    fn prepare<'t>(&self, kind: DocumentKind<'t>) -> Result<Prepared<'t>, CliError> {
        refuse_plain_values(&kind).map_err(|error| self.manifest_error(&error))?;
        match kind {
            DocumentKind::Secret(secret) => Ok(Prepared::Secret(self.prepare_secret(&secret, String::new())?)),
            DocumentKind::List(items) if items.iter().map(Counts::of).sum::<Counts>().secrets > 0 => {
                let mut prepared = Vec::new();
                self.prepare_items(items, "", &mut prepared)?;
                Ok(Prepared::List(prepared))
            }
            DocumentKind::Empty | DocumentKind::SealedSecret(_) | DocumentKind::List(_) | DocumentKind::Other(_) => {
                Ok(Prepared::Unchanged)
            }
        }
    }

    fn prepare_items<'t>(
        &self,
        items: Vec<DocumentKind<'t>>,
        list: &str,
        prepared: &mut Vec<PreparedItem<'t>>,
    ) -> Result<(), CliError> {
        // A vector that grows would need twice the memory for a while.
        prepared.reserve(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{list}items[{index}]");
            match item {
                DocumentKind::Empty => {}
                DocumentKind::Secret(secret) => {
                    prepared.push(PreparedItem::Secret(self.prepare_secret(&secret, path + ": ")?));
                }
                DocumentKind::SealedSecret(object) => prepared.push(PreparedItem::SealedSecret(object)),
                DocumentKind::List(items) => self.prepare_items(items, &(path + "."), prepared)?,
                DocumentKind::Other(object) => {
                    // Checks that the item can be written again.
                    object.to_list_item().map_err(|error| self.manifest_error(&error))?;
                    prepared.push(PreparedItem::Other(object));
                }
            }
        }
        Ok(())
    }

    /// Reads a Secret and finds its namespace. Refuses a Secret that cannot be sealed.
    fn prepare_secret(&self, object: &SecretObject, path: String) -> Result<Box<PreparedSecret>, CliError> {
        let secret = object.read().map_err(|error| self.manifest_error(&error))?;
        let namespace = self.namespace_of(&secret, &path)?.clone();
        // Without recipients, `Sealing::prepare` refuses the whole text after it has checked all manifests.
        if let Ok(recipients) = &self.options.recipients {
            seal::check(&secret, recipients).map_err(|error| self.refused(&path, &error.to_string()))?;
        }
        let warnings = object.warnings(&secret);
        Ok(Box::new(PreparedSecret { path, secret, namespace, warnings }))
    }

    /// Returns the namespace of the manifest, of `--namespace` or of the rule. Refuses a manifest that contradicts
    /// `--namespace`, and a missing namespace.
    fn namespace_of<'s>(&'s self, secret: &'s SecretManifest, path: &str) -> Result<&'s Namespace, CliError> {
        let Sealing { namespace: asked, namespace_of_rule, .. } = self.options;
        match (&secret.namespace, asked) {
            (Some(own), Some(asked)) if own != asked => Err(self
                .refused(path, &format!("metadata.namespace: is {own}, and --namespace says {asked}"))
                .with_hint("a value is sealed for one place: change one of the two")),
            (Some(namespace), _) | (None, Some(namespace)) => Ok(namespace),
            (None, None) => namespace_of_rule.as_ref().ok_or_else(|| {
                self.refused(path, "metadata.namespace: missing, and a value is sealed for its namespace")
                    .with_hint("write it into the manifest, or pass `--namespace NAMESPACE`")
            }),
        }
    }

    fn manifest_error(&self, error: &ManifestError) -> CliError {
        CliError::manifest(self.input, error)
    }

    fn refused(&self, path: &str, text: &str) -> CliError {
        CliError::refused(format!("{path}{text}")).at(&self.place)
    }
}

impl<'a, 't> Part<'a, 't> {
    fn unchanged(sealing: DocumentSealing<'a, 't>) -> Self {
        let text = sealing.document.text().into();
        Self { sealing, text, objects: Vec::new(), secrets: Vec::new(), warnings: Vec::new() }
    }

    /// Seals the document. Without `prepared`, reads it again first.
    fn seal(&mut self, prepared: Option<Prepared<'_>>) -> Result<(), CliError> {
        let document = self.sealing.document;
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => self.sealing.prepare(document.kind().map_err(|error| self.sealing.manifest_error(&error))?)?,
        };
        let manifest = match prepared {
            Prepared::Unchanged => return Ok(()),
            Prepared::Secret(secret) => {
                let sealed = self.seal_secret(*secret)?;
                self.objects.push((String::new(), readable_json(&sealed)));
                write_sealed_secret(&sealed, document.format())
            }
            Prepared::List(items) => self.seal_list(items)?,
        };
        self.text = document.replaced_by(&manifest).into();
        check_written(&self.text)
            .map_err(|error| after_sealing(&error.to_string()).at(&self.sealing.place).with_hint(SPLIT_THE_DOCUMENT))
    }

    fn seal_list(&mut self, items: Vec<PreparedItem<'_>>) -> Result<String, CliError> {
        let mut sealed = Vec::new();
        for item in items {
            sealed.push(match item {
                PreparedItem::Secret(secret) => SealedItem::Sealed(Box::new(self.seal_secret(*secret)?)),
                PreparedItem::SealedSecret(object) => {
                    let read = object.read().map_err(|error| self.sealing.manifest_error(&error))?;
                    SealedItem::Sealed(Box::new(read))
                }
                PreparedItem::Other(object) => SealedItem::Other(object),
            });
        }
        let mut written = Vec::new();
        for (index, item) in sealed.iter().enumerate() {
            let (item, json) = match item {
                SealedItem::Sealed(sealed) => (ListItem::from(&**sealed), readable_json(sealed)),
                SealedItem::Other(object) => {
                    let item = object.to_list_item().map_err(|error| self.sealing.manifest_error(&error))?;
                    let json = json(&item);
                    (item, json)
                }
            };
            self.objects.push((format!("items[{index}]"), json));
            written.push(item);
        }
        Ok(write_list(&written, self.sealing.document.format()))
    }

    fn seal_secret(&mut self, prepared: PreparedSecret) -> Result<SealedSecret, CliError> {
        let PreparedSecret { path, secret, namespace, warnings } = prepared;
        let DocumentSealing { options, input, place, .. } = &self.sealing;
        let refused = |text: &str| self.sealing.refused(&path, text);
        let sealed = seal(&secret, &namespace, options.scope, options.recipients()?, &mut randomness::system());
        let sealed = sealed.map_err(|error| refused(&error.to_string()))?;
        let size = json(&sealed).len();
        if size > MAX_OBJECT_BYTES {
            return Err(refused("after sealing, the object is larger than 1.5 MiB, which is the limit for an object"));
        }
        if size > MAX_APPLY_BYTES {
            let text = "larger than 200 KiB when sealed: `kubectl apply` needs `--server-side` for it";
            self.warnings.push((place.clone(), format!("{path}{text}")));
        }
        self.warnings.extend(warnings.iter().map(|warning| (place_in(input, warning.place()), warning.to_string())));
        self.secrets.push(secret);
        Ok(sealed)
    }

    /// Returns a warning for each value that still shows in the document, and one if a private key shows in a sealed
    /// document: in its metadata, in a data key or in a comment.
    fn values_that_show(&self, search: &ValueSearch<'_>) -> Vec<(String, String)> {
        let DocumentSealing { input, document, place, .. } = &self.sealing;
        if self.objects.is_empty() {
            let found = search.in_text(&self.text).into_iter().map(|(at, name)| {
                let line = document.line() + self.text[..at].matches('\n').count();
                (format!("{input}:{line}"), format!("the value {name} still shows"))
            });
            return found.collect();
        }
        let objects = self.objects.iter().flat_map(|(path, object)| search.in_object(object, path));
        let in_objects = objects.map(|(path, name)| format!("the value {name} still shows in {path}"));
        let comments = self.text.lines().filter(|line| can_hold_comment(line)).collect::<Vec<_>>().join("\n");
        let found = search.in_text(&comments).into_iter();
        let in_comments = found.map(|(_, name)| format!("the value {name} still shows in a comment"));
        let mut written = self.objects.iter().map(|(_, object)| object).chain([&comments]);
        let shows_identity = written.any(|text| contains_identity(text.as_bytes()));
        let identity = shows_identity.then(|| "a private key still shows".to_owned());
        in_objects.chain(in_comments).chain(identity).map(|text| (place.clone(), text)).collect()
    }
}

/// The error for a result that no command would read.
fn after_sealing(text: &str) -> CliError {
    CliError::refused(format!("after sealing: {text}"))
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

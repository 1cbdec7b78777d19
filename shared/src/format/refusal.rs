//! Why an object is refused, and the field at fault.

use std::fmt;

use thiserror::Error;

use super::check::{Check, Fault};
use crate::names::{DataKey, EnvelopeId, KeyId};
use crate::reason::Reason;

/// Why an object is refused: the check that failed, and the field that failed it. Shows names, never values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Refusal {
    field: FieldPath,
    // `Error::source` does not return the fault, because the text of this error already contains its text.
    fault: Fault,
}

impl Check {
    /// Returns the refusal of an object whose `field` fails this check.
    pub(crate) fn refusal_at(self, field: FieldPath) -> Refusal {
        Fault::from(self).at(field)
    }
}

impl Fault {
    /// Adds the field at fault.
    pub(crate) fn at(self, field: FieldPath) -> Refusal {
        Refusal { field, fault: self }
    }
}

impl Refusal {
    /// The field that failed the check.
    pub fn field(&self) -> &FieldPath {
        &self.field
    }

    /// The check that failed.
    pub fn check(&self) -> Check {
        self.fault.check()
    }

    /// The reason in status, metrics and output.
    pub fn reason(&self) -> Reason {
        self.check().reason()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.check() {
            // Without the field: the whole object moved, and the name of its first envelope would mislead.
            Check::BoundTo => write!(f, "{}", self.fault),
            _ => write!(f, "{}: {}", self.field, self.fault),
        }
    }
}

/// A field of a SealedSecret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPath {
    /// `metadata.name`
    Name,
    /// `metadata.namespace`
    Namespace,
    /// `spec.envelopes`
    Envelopes,
    /// An envelope.
    Envelope(EnvelopeId),
    /// The commitment of an envelope.
    Commitment(EnvelopeId),
    /// The wraps of an envelope.
    Wraps(EnvelopeId),
    /// One wrap of an envelope.
    Wrap(EnvelopeId, KeyId),
    /// `spec.encryptedData`
    EncryptedData,
    /// One sealed value.
    Value(DataKey),
    /// `spec.template`
    Template,
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Name => write!(f, "metadata.name"),
            FieldPath::Namespace => write!(f, "metadata.namespace"),
            FieldPath::Envelopes => write!(f, "spec.envelopes"),
            FieldPath::Envelope(envelope) => write!(f, "spec.envelopes.{envelope}"),
            FieldPath::Commitment(envelope) => write!(f, "spec.envelopes.{envelope}.commitment"),
            FieldPath::Wraps(envelope) => write!(f, "spec.envelopes.{envelope}.wraps"),
            FieldPath::Wrap(envelope, key) => write!(f, "spec.envelopes.{envelope}.wraps.{key}"),
            FieldPath::EncryptedData => write!(f, "spec.encryptedData"),
            FieldPath::Value(key) => write!(f, "spec.encryptedData.{key}"),
            FieldPath::Template => write!(f, "spec.template"),
        }
    }
}

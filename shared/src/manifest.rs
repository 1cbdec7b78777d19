//! Manifests: text in, typed objects out, and back.
//!
//! Reading is strict, since a value that is silently changed is worse than one that is refused:
//! what YAML 1.1 and YAML 1.2 read differently is no string here, a field may be given once, and a
//! field that nobody knows is an error. Documents of other kinds are only looked at, never judged.
//!
//! The functions take whole texts, which the caller bounds (32 MiB a file or stream), and are made
//! for hostile ones: their time is linear, and within [`MAX_DOCUMENTS`], [`MAX_DOCUMENT_BYTES`] and
//! the limits on values and depth that [`Document::kind`] names, what one document takes in memory
//! stays below 32 MiB.

mod ambiguity;
mod block_style;
mod classification;
mod error;
mod json;
mod keys_file;
mod metadata;
mod near_secret;
mod node;
mod object;
mod plain_data;
mod position;
mod sealed_secret_reader;
mod secret_reader;
mod stream;
mod tree;
mod tree_builder;
mod typed;
mod unfinished;
mod writer;
mod yaml;

/// The greatest size of an object as JSON: 1.5 MiB, the most that etcd takes in one request
/// (`--max-request-bytes`), with `status`.
pub const MAX_OBJECT_BYTES: usize = 1536 * 1024;

pub use error::{ManifestError, ManifestWarning};
pub use keys_file::{read_keys, write_key, write_keys};
pub use metadata::ANNOTATIONS_WITH_COPIES;
pub use object::{DocumentKind, Object, SealedSecretObject, SecretObject};
pub use stream::{Document, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, Stream, split};
pub use typed::read_one;
pub use writer::{Format, ListItem, write, write_list, write_sealed_secret, write_secret};

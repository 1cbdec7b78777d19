//! Manifests: text in, typed objects out, and back.
//!
//! Reading is strict, because a value that changes silently is worse than a value that is refused. A scalar that YAML
//! 1.1 and YAML 1.2 read differently is refused, a field may be given only once, and an unknown field is an error.
//! Documents of other kinds are only classified; their content is not checked.
//!
//! The functions take whole texts, also hostile ones. The caller limits a file or stream to 32 MiB, and a stream has at
//! most [`MAX_DOCUMENTS`]. The time is linear. One document takes less than 32 MiB of memory, because of
//! [`MAX_DOCUMENT_BYTES`] and the limits on values and depth ([`Document::kind`]).

mod ambiguity;
mod block_style;
mod classification;
mod document;
mod error;
mod hidden_secret;
mod json;
mod keys_file;
mod lines;
mod metadata;
mod near_secret;
mod node;
mod object;
mod plain_data;
mod position;
mod sealed_secret_reader;
mod secret_reader;
mod spans;
mod stream;
mod tree;
mod tree_builder;
mod typed;
mod unfinished;
mod writer;
mod yaml;

/// The greatest size of an object as JSON, with `status`: 1.5 MiB, which is etcd's limit for a request
/// (`--max-request-bytes`).
pub const MAX_OBJECT_BYTES: usize = 1536 * 1024;

pub use document::Document;
pub use error::{ManifestError, ManifestWarning};
pub use keys_file::{read_keys, write_key, write_keys};
pub use object::{DocumentKind, Object, SealedSecretObject, SecretObject};
pub use spans::{EntrySpan, MappingSpan};
pub use stream::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, Stream, check_number_of_values, check_written, split};
pub use typed::{error_at, read_one};
pub use writer::{Format, ListItem, write, write_list, write_sealed_secret, write_secret};

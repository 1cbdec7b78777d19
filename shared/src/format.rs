//! The wire format, version 1: the content of a `SealedSecret`, and how it is checked.
//!
//! [`Sealed::decode`] turns the strings of an object into checked parts. It uses no key, so every program refuses the
//! same objects. `FORMAT.md` is the specification; [`Check`] lists everything that can be refused.

mod age_file;
mod base64_text;
mod binding;
mod check;
mod decode;
mod dek;
mod padding;
mod refusal;
mod value;
#[cfg(test)]
mod vectors;
mod wrap;

pub use binding::Binding;
pub use check::{Check, Fault};
pub(crate) use decode::bound_to_for;
pub use decode::{Envelope, MAX_DATA_KEYS, MAX_ENVELOPES, MAX_WRAPS, Sealed};
pub use dek::{Commitment, Dek};
pub(crate) use padding::{counted_length, padded_length};
pub use refusal::{FieldPath, Refusal};
pub(crate) use value::{longest_token, seal_value, shortest_token};
pub(crate) use wrap::longest_wrap;
pub use wrap::{MAX_AGE_FILE_BYTES, NotOpened, Wrap};

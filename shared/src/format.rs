//! The wire format, version 1: what stands in a `SealedSecret` and how it is checked.
//!
//! [`Sealed::decode`] turns the strings of an object into checked parts; nothing else reads them.
//! The decoder uses no key: what it refuses, it refuses for everybody. `FORMAT.md` specifies it all;
//! [`Check`] names what can be refused.

mod age_file;
mod base64_text;
mod binding;
mod check;
mod data_key;
mod decode;
mod padding;
mod value;
#[cfg(test)]
mod vectors;
mod wrap;

pub use base64_text::BytesError;
pub use binding::Binding;
pub use check::Check;
pub use data_key::{COMMITMENT_BYTES, Commitment, Dek};
pub use decode::{DecodeError, Envelope, MAX_DATA_KEYS, MAX_ENVELOPES, MAX_WRAPS, Sealed, bound_to_for};
pub(crate) use padding::{counted_length, padded_length};
pub use value::{TokenError, ValueError};
pub(crate) use value::{longest_token, seal_value, shortest_token};
pub(crate) use wrap::longest_wrap;
pub use wrap::{MAX_WRAP_BYTES, NotOpened, Wrap, WrapError};

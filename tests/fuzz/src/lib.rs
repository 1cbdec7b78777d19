//! The fuzz targets: one function for each, which takes bytes that anybody may have written.
//!
//! Each function asserts what holds for every input: if it panics, the input is a finding. The keys are fixed. Only
//! `object` draws randomness, for new wraps. `cargo test` calls the same functions with every seed and every past
//! finding.
//!
//! These commands fuzz a target, from the top folder of the repository. `cargo fuzz` writes findings to
//! `tests/fuzz/artifacts`. A finding that is fixed moves to `tests/fuzz/crashes/TARGET`.
//!
//! ```sh
//! cargo install cargo-fuzz
//! mkdir -p tests/fuzz/corpus/wrap
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none wrap tests/fuzz/corpus/wrap tests/fuzz/seeds/wrap \
//!   -- -timeout=1 -rss_limit_mb=192 -max_total_time=1800
//! ```
//!
//! The targets `envelope`, `object` and `manifest` take `-dict=tests/fuzz/manifest.dict`. Without a sanitizer, the
//! limit on memory counts only the program's own memory; Waxseal's own code is safe Rust. Integer overflows and failed
//! debug assertions panic also without a sanitizer.
//!
//! `cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds` makes the seeds anew: it seals a few objects, and
//! derives the seeds from them. The seeds of `manifest` are written by hand.

mod differential;
mod envelope;
mod genuine;
mod keys;
mod manifest;
mod object;
pub mod seeds;
mod spelling;
mod token;
mod wrap;

pub use differential::differential;
pub use envelope::envelope;
pub use genuine::{objects, value};
pub use keys::{held, ring};
pub use manifest::manifest;
pub use object::object;
pub use token::token;
pub use wrap::wrap;

/// A fuzz target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, the cheapest first.
pub const TARGETS: [Target; 6] = [
    ("wrap", wrap),
    ("token", token),
    ("envelope", envelope),
    ("object", object),
    ("differential", differential),
    ("manifest", manifest),
];

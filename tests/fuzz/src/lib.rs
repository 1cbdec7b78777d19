//! What the fuzz targets call: one function a target, over bytes that anybody could have written.
//!
//! Each asserts what holds for *every* input, so that an input is a finding exactly if the function
//! panics. They are deterministic: keys are fixed, and nothing is sealed here. `cargo test` calls the
//! same functions with every seed and every past finding.
//!
//! To fuzz a target, from the top of the tree (findings go to `tests/fuzz/artifacts`; one that was
//! fixed moves to `tests/fuzz/crashes/TARGET`):
//!
//! ```sh
//! cargo install cargo-fuzz
//! mkdir -p tests/fuzz/corpus/wrap
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none wrap tests/fuzz/corpus/wrap tests/fuzz/seeds/wrap \
//!   -- -timeout=1 -rss_limit_mb=192 -max_total_time=1800
//! ```
//!
//! Targets `envelope`, `object` and `manifest` take `-dict=tests/fuzz/manifest.dict`. No sanitizer: all of
//! Waxseal is safe Rust, and without one a limit on memory means something. Integer overflows and failed debug
//! assertions panic all the same.
//!
//! `cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds` makes the seeds anew: a few
//! objects, sealed by the present code, and what is taken from them for the other targets.

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

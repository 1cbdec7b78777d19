//! Tests of `waxseal-controller directory`: the real programs on real folders.

mod demo;
mod keys;
mod machine;
mod materialise;
mod process;
mod refusals;

//! Tests of `waxseal-controller` without a cluster: the real programs on real folders.

mod controller;
mod demo;
mod hostile;
mod keys;
mod machine;
mod materialise;
mod process;
mod refusals;

//! Tests of `waxseal-controller` without a cluster: the real programs on real folders.

mod backup;
mod core_dumps;
mod demo;
mod hostile;
mod hygiene;
mod keys;
mod machine;
mod materialise;
mod memory;
mod process;
mod refusals;
mod rotation;

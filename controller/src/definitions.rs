//! The command `waxseal-controller manifests`, which prints the custom resource definitions.

use std::error::Error;
use std::io::{Write, stdout};

use waxseal_shared::crds;

/// Prints the definitions as YAML, ready for `kubectl apply`.
pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    stdout().write_all(crds::to_yaml().as_bytes())?;
    Ok(())
}

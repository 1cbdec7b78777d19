use std::collections::BTreeSet;
use std::error::Error;

use crate::log;

/// The problems of one pass that do not belong to a single SealedSecret, as texts. Each text is there once.
#[derive(Default)]
pub(super) struct Problems {
    /// Operations that failed: `--once` ends with an error.
    pub(super) failures: BTreeSet<String>,
    /// What a person should know, such as key files that are not used and Secrets that are not sealed.
    pub(super) warnings: BTreeSet<String>,
}

impl Problems {
    /// Returns the value of an operation that succeeded. Notes the error of an operation that failed.
    pub(super) fn ok_or_note<T, E: Error + 'static>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.failures.insert(log::chain(&error))).ok()
    }
}

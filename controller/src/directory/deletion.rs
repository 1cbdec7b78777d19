//! The one rule for deletion: a Secret is deleted when its SealedSecret has been in no manifest for five seconds, and
//! the controller understood every document of every file in the folder of manifests. Otherwise no Secret is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use waxseal_shared::judgement::Judgement;
use waxseal_shared::reason::Reason;

use super::durable_file::{FileError, failed_to};
use super::manifests_folder::FolderContents;
use super::secret_folder::SecretFolder;
use super::secret_name::SecretName;
use crate::log;

/// How long a SealedSecret must be missing before its Secret is deleted. Editors and copies can remove or empty a file
/// for a moment, and a slow disk or network makes the moment long.
const DELAY: Duration = Duration::from_secs(5);

/// The beginning of the message on a Secret without a SealedSecret.
const MISSING: &str = "the SealedSecret is missing from the manifests";

/// The Secrets that are to be deleted.
#[derive(Default)]
pub(super) struct Deletions {
    /// When each was first seen without a SealedSecret.
    missing_since: BTreeMap<SecretName, Instant>,
    /// Those that were due in the last pass, and could not be deleted.
    failed: BTreeSet<SecretName>,
}

impl Deletions {
    /// Deletes the Secrets that are due. Returns those that stay for now although their SealedSecret is in no manifest,
    /// each with the reason why it is still there.
    ///
    /// `read_again` reads the folder a second time before a deletion: a file that is moved between two subfolders can
    /// escape one reading.
    pub(super) fn carry_out(
        &mut self,
        secrets: Vec<SecretFolder>,
        manifests: &FolderContents,
        read_again: impl FnOnce() -> FolderContents,
    ) -> Vec<(SecretName, Judgement)> {
        let Self { missing_since: before, failed } = std::mem::take(self);
        let missing = secrets.into_iter().filter(|folder| !manifests.by_name.contains_key(&folder.name));
        if let Some(unclear) = manifests.first_unclear() {
            let message = format!("{MISSING}; its Secret stays until this file is corrected: {unclear}");
            return missing.map(|folder| (folder.name, Judgement::new(unclear.reason(), message.as_str()))).collect();
        }
        let missing: Vec<_> = missing.collect();
        let is_due =
            |name: &SecretName| failed.contains(name) || before.get(name).is_some_and(|since| since.elapsed() >= DELAY);
        let again = missing.iter().any(|folder| is_due(&folder.name)).then(read_again);
        let again = again.as_ref().filter(|again| again.first_unclear().is_none());
        let mut waiting = Vec::new();
        for folder in missing {
            let is_due = is_due(&folder.name);
            let (reason, message) = if is_due && again.is_some_and(|again| !again.by_name.contains_key(&folder.name)) {
                let Err(error) = delete(&folder) else { continue };
                self.failed.insert(folder.name.clone());
                (error.reason(), format!("{MISSING}; {}", log::chain(&error)))
            } else {
                // A due Secret is here only if the second reading found its SealedSecret or an unclear file. Then the
                // five seconds start again.
                let since = before.get(&folder.name).copied().filter(|_| !is_due).unwrap_or_else(Instant::now);
                self.missing_since.insert(folder.name.clone(), since);
                let message = "its Secret is deleted unless a manifest contains it again within 5 seconds";
                (Reason::ApiUnavailable, format!("{MISSING}; {message}"))
            };
            waiting.push((folder.name, Judgement::new(reason, message.as_str())));
        }
        waiting
    }

    /// When the next Secret is due. A deletion that failed is tried again in the next pass, whatever causes this pass.
    pub(super) fn next(&self) -> Option<Instant> {
        self.missing_since.values().min().map(|since| *since + DELAY)
    }
}

fn delete(folder: &SecretFolder) -> Result<(), FileError> {
    folder.delete().map_err(failed_to("delete", &folder.path))?;
    let SecretName { namespace, name } = &folder.name;
    tracing::info!(%namespace, %name, "deleted the Secret: its SealedSecret is in no manifest");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use waxseal_shared::names::{Namespace, ObjectName};

    use super::super::manifests_folder;
    use super::*;

    const SEALED: &str =
        "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}\nspec: {}\n";

    /// Carries out the deletion of a Secret that is due, with these files in the second reading. Returns how many
    /// Secrets wait for the end of the five seconds, and how many could not be deleted: there is nothing to delete, so
    /// each attempt fails.
    fn carried_out(files: &[(&str, &str)]) -> (usize, usize) {
        let folder = tempfile::tempdir().expect("a folder");
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).expect("written"));
        let namespace = Namespace::parse("shop").expect("a namespace");
        let name = SecretName { namespace, name: ObjectName::parse("db").expect("a name") };
        let long_ago = Instant::now().checked_sub(2 * DELAY).expect("the machine runs longer than that");
        let mut deletions = Deletions { missing_since: [(name.clone(), long_ago)].into(), ..Deletions::default() };
        let mut carry_out = || {
            let secrets = vec![SecretFolder::new(folder.path(), name.clone())];
            let read_again = || manifests_folder::read(folder.path());
            let shown = deletions.carry_out(secrets, &FolderContents::default(), read_again);
            assert_eq!(shown.len(), 1);
            assert_eq!(deletions.next().is_some(), !deletions.missing_since.is_empty());
            let failed = shown.iter().filter(|(_, judgement)| judgement.message.contains("failed to delete")).count();
            assert_eq!(deletions.failed.len(), failed);
            (deletions.missing_since.len(), failed)
        };
        let outcome = carry_out();
        if outcome.1 > 0 {
            assert_eq!(carry_out(), outcome, "a deletion that failed is tried again at once");
        }
        outcome
    }

    #[test]
    fn only_a_second_reading_without_the_sealed_secret_confirms_a_deletion() {
        assert_eq!(carried_out(&[]), (0, 1));
        assert_eq!(carried_out(&[("moved.yaml", SEALED)]), (1, 0));
        assert_eq!(carried_out(&[("unclear.yaml", "a: [")]), (1, 0));
    }
}

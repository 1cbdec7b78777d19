//! The one rule for deletion: a Secret is deleted when its SealedSecret has been in no manifest for five seconds, and
//! the controller understood every document of every file in the folder of manifests. Otherwise no Secret is deleted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use waxseal_shared::judgement::Judgement;
use waxseal_shared::reason::Reason;

use super::manifests_folder::FolderContents;
use super::problems::Problems;
use super::secret_folder::SecretFolder;
use super::secret_name::SecretName;

/// How long a SealedSecret must be missing before its Secret is deleted. Editors and copies can remove or empty a file
/// for a moment, and a slow disk or network makes the moment long.
const DELAY: Duration = Duration::from_secs(5);

/// The Secrets that are to be deleted.
#[derive(Default)]
pub(super) struct Deletions {
    /// When each was first seen without a SealedSecret.
    missing_since: BTreeMap<SecretName, Instant>,
}

impl Deletions {
    /// Deletes the Secrets that are due. Returns the others whose SealedSecret is in no manifest, with the reason why
    /// they are still there.
    ///
    /// `read_again` reads the folder a second time before a deletion: a file that is moved between two subfolders can
    /// escape one reading.
    pub(super) fn carry_out(
        &mut self,
        secrets: Vec<SecretFolder>,
        manifests: &FolderContents,
        read_again: impl FnOnce() -> FolderContents,
        problems: &mut Problems,
    ) -> Vec<(SecretName, Judgement)> {
        let before = std::mem::take(&mut self.missing_since);
        let missing = secrets.into_iter().filter(|folder| !manifests.by_name.contains_key(&folder.name));
        if let Some(unclear) = manifests.first_unclear() {
            let message = format!("in no manifest; nothing is deleted while a file is not understood: {unclear}");
            return missing.map(|folder| (folder.name, Judgement::new(unclear.reason(), message.as_str()))).collect();
        }
        let since = |folder: &SecretFolder| before.get(&folder.name).copied().unwrap_or_else(Instant::now);
        let (due, missing): (Vec<_>, Vec<_>) = missing.partition(|folder| since(folder).elapsed() >= DELAY);
        if !due.is_empty() {
            let again = read_again();
            for folder in due.iter().filter(|folder| !again.by_name.contains_key(&folder.name)) {
                match again.first_unclear() {
                    None => delete(folder, problems),
                    Some(_) => drop(self.missing_since.insert(folder.name.clone(), Instant::now())),
                }
            }
        }
        let mut waiting = Vec::new();
        for folder in missing {
            let since = since(&folder);
            self.missing_since.insert(folder.name.clone(), since);
            let message = "in no manifest; its Secret is deleted unless it returns within 5 seconds";
            waiting.push((folder.name, Judgement::new(Reason::ApiUnavailable, message)));
        }
        waiting
    }

    /// When the next Secret is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.missing_since.values().min().map(|since| *since + DELAY)
    }
}

fn delete(folder: &SecretFolder, problems: &mut Problems) {
    let deleted = folder.delete();
    if deleted.is_ok() {
        let SecretName { namespace, name } = &folder.name;
        tracing::info!(%namespace, %name, "deleted the Secret: its SealedSecret is in no manifest");
    }
    problems.fail(deleted);
}

//! One pass over the folders: read, plan, write, report.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Instant;

use jiff::Timestamp;
use thiserror::Error;
use waxseal_shared::judgement::Judgement;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::plan::{Existing, Plan, plan};
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretSpec};
use waxseal_shared::status;
use waxseal_shared::template::ForbiddenPrefix;

use super::deletion::Deletions;
use super::durable_file::{self, FileError, failed_to};
use super::folders::Folders;
use super::key_store::KeyStore;
use super::manifests_folder::{self, FolderContents, SealedManifest};
use super::problems::Problems;
use super::secret_folder::{self, SecretFolder};
use super::secret_name::SecretName;
use super::status_file::{Entry, StatusFile, StatusReport};
use super::wakeups::Wakeups;
use crate::log::{self, Complaints};

/// What the controller remembers from pass to pass.
pub(super) struct Reconciler {
    folders: Folders,
    keys: KeyStore,
    forbidden: Vec<ForbiddenPrefix>,
    status: StatusFile,
    deletions: Deletions,
    complaints: Complaints,
    is_first_pass: bool,
}

/// The result of a pass.
pub(super) struct PassOutcome {
    pub(super) result: Result<(), Incomplete>,
    /// When the next Secret is deleted if its SealedSecret is still in no manifest then.
    pub(super) next_deletion: Option<Instant>,
}

/// A pass that did not materialise everything.
#[derive(Debug, Error)]
#[error(
    "failed to materialise everything: {not_ready} of {objects} SealedSecrets are not ready; manifests not read: \
     {unreadable}; other failures: {failures}"
)]
pub(super) struct Incomplete {
    objects: usize,
    not_ready: usize,
    unreadable: usize,
    failures: usize,
}

impl Reconciler {
    pub(super) fn new(folders: Folders, forbidden: Vec<ForbiddenPrefix>) -> Self {
        Self {
            status: StatusFile::open(&folders.secrets),
            keys: KeyStore::new(folders.keys.clone()),
            folders,
            forbidden,
            deletions: Deletions::default(),
            complaints: Complaints::default(),
            is_first_pass: true,
        }
    }

    /// Makes every Secret what its manifest says, and reports it in the status file and the log.
    ///
    /// Assumes nothing about why it was called. Writes nothing if nothing differs. Returns `None` if it was told to
    /// stop; it finishes what it has begun.
    pub(super) fn pass(&mut self, wakeups: &Wakeups) -> Option<PassOutcome> {
        let mut problems = Problems::default();
        // No write is under way, because this process holds the lock.
        let swept = durable_file::remove_unfinished(&self.folders.keys).map(drop);
        problems.fail(swept.map_err(failed_to("clean", &self.folders.keys)));
        let secrets = secret_folder::sweep_and_list(&self.folders.secrets, &mut problems);
        let manifests = manifests_folder::read(&self.folders.manifests);
        let keys = self.keys.refresh(&manifests, Timestamp::now(), &mut problems);
        let mut entries = Vec::new();
        for (name, same_name) in &manifests.by_name {
            if wakeups.is_told_to_stop() {
                return None;
            }
            let judgement = self.materialise(name, same_name, &keys);
            entries.extend(same_name.iter().map(|manifest| self.report(name, Some(&manifest.file), &judgement)));
        }
        let read_again = || manifests_folder::read(&self.folders.manifests);
        for (name, judgement) in self.deletions.carry_out(secrets, &manifests, read_again, &mut problems) {
            entries.push(self.report(&name, None, &judgement));
        }
        Some(self.conclude(entries, manifests, problems))
    }

    fn materialise(&self, name: &SecretName, manifests: &[SealedManifest], keys: &Keys) -> Judgement {
        let [manifest] = manifests else {
            let places: Vec<_> =
                manifests.iter().map(|manifest| format!("{}:{}", manifest.file, manifest.line)).collect();
            let message = format!("several manifests have this namespace and name: {}", places.join(", "));
            return Judgement::new(Reason::Malformed, message);
        };
        let folder = SecretFolder::new(&self.folders.secrets, name.clone());
        carry_out(&folder, &manifest.object, keys, &self.forbidden).unwrap_or_else(|error| judgement_on_failure(&error))
    }

    /// Returns the entry for the status file, and logs each new fact.
    fn report(&self, name: &SecretName, file: Option<&str>, judgement: &Judgement) -> Entry {
        let before = self.status.entry(name);
        let mut object = SealedSecret::new(name.name.as_str(), SealedSecretSpec::default());
        object.status = before.map(|entry| entry.status.clone());
        let repeats = self.is_first_pass && !judgement.is_ready();
        for fact in judgement.facts() {
            if repeats || !fact.is_stated_in(object.status.as_ref()) {
                log::fact(name.namespace.as_str(), name.name.as_str(), &fact);
            }
        }
        let file = file.map(str::to_owned).or_else(|| before?.file.clone());
        Entry { file, name: name.clone(), status: status::after(&object, judgement, Timestamp::now()) }
    }

    fn conclude(&mut self, entries: Vec<Entry>, manifests: FolderContents, problems: Problems) -> PassOutcome {
        let Problems { mut failures, warnings } = problems;
        let mut complaints: BTreeSet<_> =
            manifests.unreadable.iter().map(|file| format!("a manifest is not read: {file}")).collect();
        let plain = manifests.plain_secrets.iter();
        complaints.extend(plain.map(|place| format!("{place}: a Secret that is not sealed; nothing is done with it")));
        let (objects, unreadable) = (entries.len(), manifests.unreadable.len());
        let not_ready = entries.iter().filter(|entry| !entry.is_ready()).count();
        let report = StatusReport { sealed_secrets: entries, unreadable: manifests.unreadable };
        failures.extend(self.status.write(report).err().map(|error| log::chain(&error)));
        let counts = Incomplete { objects, not_ready, unreadable, failures: failures.len() };
        let is_complete = matches!(counts, Incomplete { not_ready: 0, unreadable: 0, failures: 0, .. });
        complaints.extend(warnings.into_iter().chain(failures));
        self.complaints.log(complaints);
        self.is_first_pass = false;
        let result = if is_complete { Ok(()) } else { Err(counts) };
        PassOutcome { result, next_deletion: self.deletions.next() }
    }
}

fn carry_out(
    folder: &SecretFolder,
    object: &SealedSecret,
    keys: &Keys,
    forbidden: &[ForbiddenPrefix],
) -> Result<Judgement, FileError> {
    let existing = folder.read()?;
    let judgement = match plan(object, keys, forbidden, &existing) {
        Plan::Write(desired, done) => {
            folder.write(&desired)?;
            return Ok(done.judgement);
        }
        Plan::Keep(done) => done.judgement,
        Plan::Refuse(judgement) => judgement,
        Plan::Nothing => Judgement::new(Reason::Conflict, "it is being deleted"),
    };
    if matches!(existing, Existing::Ours(_)) {
        folder.repair()?;
    }
    Ok(judgement)
}

/// Gives an error of the file system the reason that a cluster would give.
fn judgement_on_failure(error: &FileError) -> Judgement {
    let reason = match error.source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Reason::Forbidden,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Reason::Quota,
        _ => Reason::ApiUnavailable,
    };
    Judgement::new(reason, log::chain(error))
}

//! One pass over the folders: read, plan, write, report.

use jiff::Timestamp;
use thiserror::Error;
use waxseal_shared::judgement::Judgement;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::plan::{Existing, Materialised, Plan, plan};
use waxseal_shared::randomness;
use waxseal_shared::reason::Reason;
use waxseal_shared::recovery_keys::RecoveryKeys;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretSpec};
use waxseal_shared::status;

use super::deletion::Deletions;
use super::durable_file::{self, FileError, failed_to};
use super::folders::Locks;
use super::key_store::KeyStore;
use super::manifests_folder::{self, FolderContents, SealedManifest};
use super::problems::Problems;
use super::secret_folder::{self, SecretFolder};
use super::secret_name::SecretName;
use super::status_file::{Entry, StatusFile, StatusReport};
use super::wakeups::Wakeups;
use crate::args;
use crate::log::{self, Complaints};

/// What the controller remembers from pass to pass.
pub(super) struct Reconciler<'a> {
    args: &'a args::Directory,
    pub(super) keys: KeyStore,
    status: StatusFile,
    pub(super) deletions: Deletions,
    complaints: Complaints,
    is_first_pass: bool,
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

impl<'a> Reconciler<'a> {
    /// Works on folders that are open and locked.
    pub(super) fn new(args: &'a args::Directory, recovery: RecoveryKeys) -> Self {
        Self {
            args,
            keys: KeyStore::new(args.keys.clone(), args.key_life.generation(), recovery),
            status: StatusFile::open(&args.secrets),
            deletions: Deletions::default(),
            complaints: Complaints::default(),
            is_first_pass: true,
        }
    }

    /// Makes every Secret what its manifest says, and reports it in the status file and the log.
    ///
    /// Reads the present state at each call, whatever caused the call. Writes nothing if nothing differs. Returns
    /// `None` if it was told to stop, or if a lock is lost ([`Locks::check`]); it finishes what it has begun.
    pub(super) fn pass(&mut self, wakeups: &Wakeups, locks: &Locks) -> Option<Result<(), Incomplete>> {
        let mut problems = Problems::default();
        let args::Directory { manifests, secrets, keys, .. } = self.args;
        // No other controller has an unfinished file here, because this process holds the lock.
        problems.ok_or_note(durable_file::remove_unfinished(keys).map_err(failed_to("clean", keys)));
        let secrets = secret_folder::sweep_and_list(secrets, &mut problems);
        let read_manifests = || manifests_folder::read(manifests);
        let manifests = read_manifests();
        let keys = self.keys.refresh(&manifests, Timestamp::now(), &mut problems);
        let mut entries = Vec::new();
        for (name, same_name) in &manifests.by_name {
            if wakeups.is_told_to_stop() || locks.check().is_err() {
                return None;
            }
            let judgement = self.materialise(name, same_name, &keys);
            entries.extend(same_name.iter().map(|manifest| self.report(name, Some(&manifest.file), &judgement)));
        }
        locks.check().ok()?;
        for (name, judgement) in self.deletions.carry_out(secrets, &manifests, read_manifests) {
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
        let folder = SecretFolder::new(&self.args.secrets, name.clone());
        // Takes the status from the last report: offered wraps in it that are still right stay as they are. A status in
        // the manifest does not count.
        let status = self.status.entry(name).map(|entry| entry.status.clone());
        let object = SealedSecret { status, ..manifest.object.clone() };
        let outcome = self.carry_out(&folder, &object, keys);
        outcome.unwrap_or_else(|error| Judgement::new(error.reason(), log::chain(&error)))
    }

    fn carry_out(&self, folder: &SecretFolder, object: &SealedSecret, keys: &Keys) -> Result<Judgement, FileError> {
        let existing = folder.read()?;
        let judgement = match plan(object, keys, &self.args.forbidden.metadata, &existing, &mut randomness::system()) {
            Plan::Write(desired, done) => {
                folder.write(&desired).map_err(failed_to("write", &folder.path))?;
                let SecretName { namespace, name } = &folder.name;
                tracing::info!(%namespace, %name, "wrote the Secret");
                return Ok(done.judgement);
            }
            Plan::Keep(Materialised { judgement, .. }) | Plan::Refuse(judgement) => judgement,
            // Does not happen: the reader of manifests ignores deletionTimestamp.
            Plan::Nothing => Judgement::new(Reason::Conflict, "the SealedSecret is being deleted"),
        };
        if matches!(existing, Existing::Ours(_)) {
            folder.repair().map_err(failed_to("repair", &folder.path))?;
        }
        Ok(judgement)
    }

    /// Returns the entry for the status file, and logs each new fact. In the first pass, logs all facts of a
    /// SealedSecret that is not ready.
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

    fn conclude(
        &mut self,
        entries: Vec<Entry>,
        manifests: FolderContents,
        mut problems: Problems,
    ) -> Result<(), Incomplete> {
        problems.warnings.extend(manifests.unreadable.iter().map(|file| format!("a manifest is not read: {file}")));
        for file in &manifests.not_objects {
            problems.warnings.insert(format!("no Secret is deleted until this file is corrected or removed: {file}"));
        }
        let warning = |place: &String| format!("{place}: this Secret is not sealed, and the controller ignores it");
        problems.warnings.extend(manifests.plain_secrets.iter().map(warning));
        let (objects, unreadable) = (entries.len(), manifests.unreadable.len());
        let not_ready = entries.iter().filter(|entry| !entry.is_ready()).count();
        let report = StatusReport { sealed_secrets: entries, unreadable: manifests.unreadable };
        problems.ok_or_note(self.status.write(report));
        let counts = Incomplete { objects, not_ready, unreadable, failures: problems.failures.len() };
        self.complaints.log(problems.warnings.into_iter().chain(problems.failures).collect());
        self.is_first_pass = false;
        let is_complete = matches!(counts, Incomplete { not_ready: 0, unreadable: 0, failures: 0, .. });
        if is_complete { Ok(()) } else { Err(counts) }
    }
}

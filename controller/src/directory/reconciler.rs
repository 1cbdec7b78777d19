//! One pass over the folders: look, decide, do, say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use waxseal_shared::judgement::Judgement;
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::plan::{Existing, Keys, Plan, plan};
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretSpec, SealedSecretStatus};
use waxseal_shared::status;
use waxseal_shared::template::ForbiddenPrefix;

use super::durable_file::{self, FileError};
use super::folders::Folders;
use super::gaps::Gaps;
use super::keys_folder::{HeldKeys, KeysFolder};
use super::manifests_folder::{self, Found, NO_NAMESPACE, Reading};
use super::secret_folder::{self, Present, SecretFolder};
use super::status_file::{Entry, Report, StatusFile};
use crate::log::{self, Complaints};

/// For how long a manifest must be gone before its Secret goes: whoever changes a file may remove
/// or empty it for a moment, and a slow disk or network makes the moment long.
const DELETION_DELAY: Duration = Duration::from_secs(5);

type Place = (Namespace, ObjectName);
/// The files that hold each object, more than one for an object that is there twice.
type Places = BTreeMap<Place, Vec<String>>;

/// What a run remembers from pass to pass.
pub(super) struct Reconciler {
    folders: Folders,
    keys: KeysFolder,
    forbidden: Vec<ForbiddenPrefix>,
    status: StatusFile,
    /// Secrets of ours whose manifest is gone, and since when.
    gone: BTreeMap<Place, Instant>,
    complaints: Complaints,
    is_first_pass: bool,
}

/// What a pass came to.
pub(super) struct Outcome {
    /// How many SealedSecrets there are, and how many of them are not materialised.
    pub(super) objects: usize,
    pub(super) not_ready: usize,
    /// How many files and documents could not be read.
    pub(super) unreadable: usize,
    /// How many other things failed.
    pub(super) failures: usize,
    /// When the next Secret is to be deleted if its manifest is still gone then.
    pub(super) next_deletion: Option<Instant>,
}

/// What was done for one SealedSecret.
struct Done {
    judgement: Judgement,
    has_written: bool,
}

impl Reconciler {
    pub(super) fn new(folders: Folders, forbidden: Vec<ForbiddenPrefix>) -> Self {
        Self {
            status: StatusFile::open(&folders.secrets),
            keys: KeysFolder::new(folders.keys.clone()),
            folders,
            forbidden,
            gone: BTreeMap::new(),
            complaints: Complaints::default(),
            is_first_pass: true,
        }
    }

    /// Brings every Secret to where its manifest says, and says what came of it.
    ///
    /// Assumes nothing about why it was called; without a difference it writes nothing. `None` if
    /// it was told to stop; what it had begun is finished then.
    pub(super) fn pass(&mut self, stop: &watch::Receiver<bool>) -> Option<Outcome> {
        let mut failures = self.sweep();
        let mut reading = manifests_folder::read(&self.folders.manifests);
        self.remember_statuses(&mut reading);
        let keys = self.keys(&reading, &mut failures);
        let places = places(&reading);
        let (mut entries, gaps) = self.judge_all(&reading, &places, &keys, stop)?;
        let kept = self.delete_gone(&gaps, &places, &mut failures);
        entries.extend(self.unseen(&gaps, &places));
        Some(self.conclude(entries, reading, keys, kept, failures))
    }

    /// Removes what a crash left unfinished: nothing is under way, for this process has the lock.
    fn sweep(&self) -> Vec<String> {
        let errors = secret_folder::sweep(&self.folders.secrets).into_iter();
        let errors = errors.chain(durable_file::remove_unfinished(&self.folders.keys).err());
        errors.map(|error| log::chain(&error)).collect()
    }

    /// Says what a pass came to, in the status file and the log.
    fn conclude(
        &mut self,
        entries: Vec<Entry>,
        reading: Reading,
        keys: HeldKeys,
        kept: Option<String>,
        mut failures: Vec<String>,
    ) -> Outcome {
        let (objects, unreadable) = (entries.len(), reading.unreadable.len());
        let not_ready = entries.iter().filter(|entry| !is_ready(&entry.status)).count();
        let not_read =
            reading.unreadable.iter().map(|unreadable| format!("a manifest is not read: {unreadable}")).collect();
        let plain = reading
            .plain_secrets
            .iter()
            .map(|place| format!("{place}: a Secret that is not sealed; nothing is done with it"));
        let notices = plain.chain(kept).collect();
        let report = Report { sealed_secrets: entries, unreadable: reading.unreadable };
        failures.extend(self.status.write(report).err().map(|error| log::chain(&error)));
        failures.sort_unstable();
        failures.dedup();
        let next_deletion = self.gone.values().min().map(|since| *since + DELETION_DELAY);
        let outcome = Outcome { objects, not_ready, unreadable, failures: failures.len(), next_deletion };
        self.complaints.log([not_read, keys.complaints, notices, failures].into_iter().flatten().collect());
        self.is_first_pass = false;
        outcome
    }

    fn remember_statuses(&self, reading: &mut Reading) {
        let statuses = self.status.report().statuses();
        for found in &mut reading.objects {
            let place = (found.namespace.as_ref().map(Namespace::as_str), found.name.as_str());
            found.object.status = statuses.get(&place).copied().cloned();
        }
    }

    /// The keys at hand. The first is made only if no value can depend on one that is lacking.
    fn keys(&mut self, reading: &Reading, failures: &mut Vec<String>) -> HeldKeys {
        let now = Timestamp::now();
        let mut keys = self.keys.read(now);
        if keys.is_broken() {
            failures.push("there is no key to work with: none is made beside key files that are not used".to_owned());
        }
        if keys.is_without_files() && !reading.names_keys() {
            match reading.unreadable.first() {
                Some(unreadable) => {
                    failures.push(format!("no first key is made, as not every manifest was read: {unreadable}"))
                }
                None => match self.keys.make_first(now) {
                    Ok(()) => keys = self.keys.read(now),
                    Err(error) => failures.push(log::chain(&error)),
                },
            }
        }
        failures.extend(self.keys.publish(&keys).err().map(|error| log::chain(&error)));
        keys
    }

    /// What is to be said of each object, and what is wrong with manifests. `None` if it was told
    /// to stop.
    fn judge_all(
        &self,
        reading: &Reading,
        places: &Places,
        keys: &HeldKeys,
        stop: &watch::Receiver<bool>,
    ) -> Option<(Vec<Entry>, Gaps)> {
        let mut entries = Vec::new();
        let mut gaps = Gaps::of_reading(reading);
        for found in &reading.objects {
            if *stop.borrow() {
                return None;
            }
            let done = self.judge(found, places, keys.as_keys());
            gaps.add_if_bad(found, &done.judgement);
            let namespace = found.namespace.as_ref().map(Namespace::as_str);
            entries.push(self.say(&found.file, namespace, &found.object, done));
        }
        Some((entries, gaps))
    }

    fn judge(&self, found: &Found, places: &Places, keys: Keys<'_>) -> Done {
        let left = |judgement| Done { judgement, has_written: false };
        let Some(namespace) = &found.namespace else {
            return left(Judgement::new(Reason::Malformed, NO_NAMESPACE));
        };
        let place = (namespace.clone(), found.name.clone());
        if let Some(files) = places.get(&place).filter(|files| files.len() > 1) {
            let message = format!("namespace and name are those of several manifests: {}", files.join(", "));
            return left(Judgement::new(Reason::Malformed, message));
        }
        let folder = SecretFolder::new(&self.folders.secrets, place.0, place.1);
        carry_out(&folder, &found.object, keys, &self.forbidden).unwrap_or_else(|error| left(failed(&error)))
    }

    /// What was there in the last pass and is not found, as long as its Secret may still be there.
    fn unseen(&self, gaps: &Gaps, places: &Places) -> Vec<Entry> {
        let mut unseen = Vec::new();
        for entry in &self.status.report().sealed_secrets {
            let Some(place) = place_of(entry).filter(|place| !places.contains_key(place)) else {
                continue;
            };
            let mut object = SealedSecret::new(place.1.as_str(), SealedSecretSpec::default());
            object.status = Some(entry.status.clone());
            let namespace = entry.namespace.as_deref();
            if let Some(judgement) = gaps.judgement_on_missing(&entry.file) {
                unseen.push(self.say(&entry.file, namespace, &object, Done { judgement, has_written: false }));
            } else if self.gone.contains_key(&place) {
                // No news yet: most files that are gone for a moment come back.
                let judgement = Judgement::new(Reason::ApiUnavailable, "not found; its Secret goes unless it returns");
                unseen.push(entry_of(&entry.file, namespace, &object, &judgement));
            }
        }
        unseen
    }

    /// The entry for the status file, and log lines for what is news.
    fn say(&self, file: &str, namespace: Option<&str>, object: &SealedSecret, done: Done) -> Entry {
        let Done { judgement, has_written } = done;
        let name = object.metadata.name.clone().unwrap_or_default();
        for fact in judgement.facts() {
            let is_news = !fact.is_stated_in(object.status.as_ref());
            if is_news || has_written || (self.is_first_pass && !judgement.is_ready()) {
                log::fact(namespace.unwrap_or_default(), &name, &fact);
            }
        }
        entry_of(file, namespace, object, &judgement)
    }

    /// Deletes the Secrets of ours whose SealedSecrets are gone, unless a manifest is, or could be,
    /// at fault.
    /// Returns what is to be said of those that are kept for that.
    fn delete_gone(&mut self, gaps: &Gaps, places: &Places, failures: &mut Vec<String>) -> Option<String> {
        let before = std::mem::take(&mut self.gone);
        let mut missing = secret_folder::ours(&self.folders.secrets, failures);
        let doubtful = self.doubtful(gaps);
        missing.retain(|folder| {
            let place = place(folder);
            !places.contains_key(&place) && !doubtful.contains(&place)
        });
        if let Some(gap) = gaps.first() {
            return missing.first().map(|first| kept(first, missing.len(), gap));
        }
        for folder in missing {
            let place = place(&folder);
            let since = before.get(&place).copied().unwrap_or_else(Instant::now);
            if since.elapsed() < DELETION_DELAY {
                self.gone.insert(place, since);
            } else {
                delete(&folder, failures);
            }
        }
        None
    }

    /// The SealedSecrets that stood in a file of which nobody can tell what it holds now.
    fn doubtful(&self, gaps: &Gaps) -> BTreeSet<Place> {
        let entries = self.status.report().sealed_secrets.iter();
        entries.filter(|entry| gaps.is_doubtful(&entry.file)).filter_map(place_of).collect()
    }
}

fn delete(folder: &SecretFolder, failures: &mut Vec<String>) {
    let (namespace, name) = (folder.namespace.as_str(), folder.name.as_str());
    match folder.delete() {
        Ok(()) => tracing::info!(namespace, name, "deleted the Secret: its SealedSecret is gone"),
        Err(error) => failures.push(log::chain(&error)),
    }
}

fn kept(first: &SecretFolder, count: usize, gap: &str) -> String {
    let others = match count {
        1 => String::new(),
        _ => format!(" and {} more", count - 1),
    };
    let SecretFolder { namespace, name, .. } = first;
    format!("no Secret is deleted ({namespace}/{name}{others} would be) while a manifest cannot be used: {gap}")
}

fn carry_out(
    folder: &SecretFolder,
    object: &SealedSecret,
    keys: Keys<'_>,
    forbidden: &[ForbiddenPrefix],
) -> Result<Done, FileError> {
    let present = folder.read()?;
    let is_ours = matches!(present, Present::Ours(_));
    let has_restored = is_ours && folder.restore_modes()?;
    let existing = match &present {
        Present::Nothing => Existing::Absent,
        Present::Foreign(why) => Existing::Foreign(why.clone()),
        Present::Ours(secret) => Existing::Ours(secret),
    };
    let judgement = match plan(object, keys, forbidden, existing) {
        Plan::Write(desired, done) => {
            folder.write(&desired)?;
            return Ok(Done { judgement: done.judgement, has_written: true });
        }
        Plan::Keep(done) => done.judgement,
        Plan::Refuse(judgement) => judgement,
        Plan::Nothing => Judgement::new(Reason::Conflict, "it is being deleted"),
    };
    if is_ours {
        folder.settle()?;
    }
    Ok(Done { judgement, has_written: has_restored })
}

/// The file system in the terms that reasons have for an API server.
fn failed(error: &FileError) -> Judgement {
    let reason = match error.source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Reason::Forbidden,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Reason::Quota,
        _ => Reason::ApiUnavailable,
    };
    Judgement::new(reason, log::chain(error))
}

fn places(reading: &Reading) -> Places {
    let mut places = Places::new();
    for found in &reading.objects {
        if let Some(namespace) = &found.namespace {
            let place = (namespace.clone(), found.name.clone());
            places.entry(place).or_default().push(format!("{}:{}", found.file, found.line));
        }
    }
    places
}

fn place(folder: &SecretFolder) -> Place {
    (folder.namespace.clone(), folder.name.clone())
}

fn place_of(entry: &Entry) -> Option<Place> {
    Some((Namespace::parse(entry.namespace.as_deref()?).ok()?, ObjectName::parse(&entry.name).ok()?))
}

fn entry_of(file: &str, namespace: Option<&str>, object: &SealedSecret, judgement: &Judgement) -> Entry {
    let status = status::after(object, judgement, Timestamp::now());
    let name = object.metadata.name.clone().unwrap_or_default();
    Entry { file: file.to_owned(), namespace: namespace.map(str::to_owned), name, status }
}

fn is_ready(status: &SealedSecretStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

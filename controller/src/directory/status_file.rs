//! The status file: what a cluster would have in the status of each SealedSecret.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use waxseal_shared::sealed_secret::SealedSecretStatus;

use super::durable_file::{self, FileError, failed_to};
use super::manifests_folder::Unreadable;

/// No namespace begins with a dot, so this is none.
const STATUS_FILE: &str = "..waxseal-status.json";
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// What the file says: every SealedSecret sorted by namespace and name, and every file that could
/// not be read. Never a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) sealed_secrets: Vec<Entry>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// One SealedSecret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The file it stands in, relative to the folder of manifests.
    pub(super) file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) status: SealedSecretStatus,
}

/// The file and what it says now.
pub(super) struct StatusFile {
    path: PathBuf,
    report: Report,
    is_written: bool,
}

impl Report {
    /// The statuses by namespace and name.
    pub(super) fn statuses(&self) -> HashMap<(Option<&str>, &str), &SealedSecretStatus> {
        self.sealed_secrets
            .iter()
            .map(|entry| ((entry.namespace.as_deref(), entry.name.as_str()), &entry.status))
            .collect()
    }
}

impl StatusFile {
    /// Reads what an earlier run wrote; a file that is absent or not ours says nothing.
    pub(super) fn open(secrets: &Path) -> Self {
        let path = secrets.join(STATUS_FILE);
        let text = durable_file::read_itself(&path, MAX_FILE_BYTES).ok();
        let report: Option<Report> = text.and_then(|text| serde_json::from_slice(&text).ok());
        Self { path, is_written: report.is_some(), report: report.unwrap_or_default() }
    }

    /// What was last to be said.
    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Writes a report, unless the file says just that.
    pub(super) fn write(&mut self, mut report: Report) -> Result<(), FileError> {
        report.sealed_secrets.sort_by(|a, b| (&a.namespace, &a.name, &a.file).cmp(&(&b.namespace, &b.name, &b.file)));
        if self.is_written && report == self.report && self.path.exists() {
            return Ok(());
        }
        self.report = report;
        self.is_written = false;
        let mut text =
            serde_json::to_vec_pretty(&self.report).map_err(|error| failed_to("write", &self.path)(error.into()))?;
        text.push(b'\n');
        durable_file::replace(&self.path, &text, 0o600)?;
        self.is_written = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn entry(namespace: &str, name: &str) -> Entry {
        Entry {
            file: "db.yaml".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            status: SealedSecretStatus { observed_generation: Some(1), ..SealedSecretStatus::default() },
        }
    }

    #[test]
    fn it_is_sorted_private_and_written_only_for_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let report = Report {
            sealed_secrets: vec![entry("shop", "b"), entry("shop", "a"), entry("blog", "z")],
            ..Report::default()
        };
        let path = folder.path().join(STATUS_FILE);
        StatusFile::open(folder.path()).write(report.clone()).expect("written");
        let written = fs::metadata(&path).expect("it is there");
        assert_eq!(written.mode() & 0o777, 0o600);

        let mut file = StatusFile::open(folder.path());
        let names: Vec<_> = file.report().sealed_secrets.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "b"]);
        file.write(report).expect("left");
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), written.ino());
        fs::remove_file(&path).expect("removed");
        file.write(file.report().clone()).expect("written again");
        assert!(path.exists());
    }

    #[test]
    fn a_status_is_found_by_namespace_and_name() {
        let report = Report { sealed_secrets: vec![entry("shop", "a")], ..Report::default() };
        let statuses = report.statuses();
        assert!(statuses.contains_key(&(Some("shop"), "a")));
        assert!(!statuses.contains_key(&(None, "a")));
    }

    #[test]
    fn a_file_that_is_not_ours_says_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(STATUS_FILE), "[1").expect("written");
        let mut file = StatusFile::open(folder.path());
        assert_eq!(file.report(), &Report::default());
        file.write(Report::default()).expect("written");
        assert!(fs::read(folder.path().join(STATUS_FILE)).is_ok_and(|text| text.starts_with(b"{")));
    }
}

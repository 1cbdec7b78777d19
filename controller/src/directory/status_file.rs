//! The status file: what the status of each SealedSecret would be in a cluster.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use waxseal_shared::sealed_secret::SealedSecretStatus;

use super::durable_file::{self, FileError, failed_to};
use super::manifests_folder::UnclearFile;
use super::secret_name::SecretName;

/// No namespace begins with a dot, so no folder of a namespace has this name.
const STATUS_FILE: &str = "..waxseal-status.json";
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// The content of the file: every SealedSecret, sorted by namespace and name, and every manifest that could not be read
/// or has no namespace. Never a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReport {
    pub(super) sealed_secrets: Vec<Entry>,
    pub(super) unreadable: Vec<UnclearFile>,
}

/// One SealedSecret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its file, relative to the folder of manifests; the file that held it last if it is in no manifest now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    #[serde(flatten)]
    pub(super) name: SecretName,
    pub(super) status: SealedSecretStatus,
}

/// The file, and the report that it holds.
pub(super) struct StatusFile {
    path: PathBuf,
    report: StatusReport,
}

impl Entry {
    /// Whether the Secret is as its SealedSecret says.
    pub(super) fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }
}

impl StatusFile {
    /// Reads what an earlier run wrote. A file that is absent or cannot be read counts as an empty report.
    pub(super) fn open(secrets: &Path) -> Self {
        let path = secrets.join(STATUS_FILE);
        let text = durable_file::read_itself(&path, MAX_FILE_BYTES).ok();
        let report = text.and_then(|text| serde_json::from_slice(&text).ok());
        Self { path, report: report.unwrap_or_default() }
    }

    /// The entry of a SealedSecret in the last report.
    pub(super) fn entry(&self, name: &SecretName) -> Option<&Entry> {
        let entries = &self.report.sealed_secrets;
        entries.binary_search_by(|entry| entry.name.cmp(name)).ok().map(|index| &entries[index])
    }

    /// Writes a report, unless the file already holds it.
    pub(super) fn write(&mut self, mut report: StatusReport) -> Result<(), FileError> {
        report.sealed_secrets.sort_by(|a, b| (&a.name, &a.file).cmp(&(&b.name, &b.file)));
        let text = serde_json::to_string_pretty(&report).map_err(io::Error::from);
        self.report = report;
        let updated = text.and_then(|text| durable_file::update(&self.path, (text + "\n").as_bytes(), 0o600));
        updated.map(drop).map_err(failed_to("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use waxseal_shared::names::{Namespace, ObjectName};

    use super::*;

    fn secret_name(namespace: &str, name: &str) -> SecretName {
        let namespace = Namespace::parse(namespace).expect("a namespace");
        SecretName { namespace, name: ObjectName::parse(name).expect("a name") }
    }

    fn entry(namespace: &str, name: &str) -> Entry {
        Entry {
            file: Some("db.yaml".to_owned()),
            name: secret_name(namespace, name),
            status: SealedSecretStatus { observed_generation: Some(1), ..SealedSecretStatus::default() },
        }
    }

    #[test]
    fn the_status_file_is_sorted_and_private_and_written_only_for_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let report = StatusReport {
            sealed_secrets: vec![entry("shop", "b"), entry("shop", "a"), entry("blog", "z")],
            ..StatusReport::default()
        };
        let path = folder.path().join(STATUS_FILE);
        StatusFile::open(folder.path()).write(report.clone()).expect("written");
        let written = fs::metadata(&path).expect("it is there");
        assert_eq!(written.mode() & 0o777, 0o600);

        let mut file = StatusFile::open(folder.path());
        let names: Vec<_> = file.report.sealed_secrets.iter().map(|entry| entry.name.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "b"]);
        assert_eq!(file.entry(&secret_name("shop", "b")), Some(&entry("shop", "b")));
        assert_eq!(file.entry(&secret_name("blog", "b")), None);
        file.write(report).expect("left");
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), written.ino());
        fs::remove_file(&path).expect("removed");
        file.write(file.report.clone()).expect("written again");
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_read_counts_as_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(STATUS_FILE), "[1").expect("written");
        let mut file = StatusFile::open(folder.path());
        assert_eq!(file.report, StatusReport::default());
        file.write(StatusReport::default()).expect("written");
        assert!(fs::read(folder.path().join(STATUS_FILE)).is_ok_and(|text| text.starts_with(b"{")));
    }
}

//! The cluster `edge`: a machine without Kubernetes, with `waxseal-controller directory`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use waxseal_shared::key_life::primary;
use waxseal_shared::manifest::read_keys;
use waxseal_shared::sealed_secret::{SealedSecret, SealedSecretStatus};
use waxseal_tests::clock::Clock;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::processes::{Process, last_lines};
use waxseal_tests::waiting;

use super::ledger::{Marker, Observed};
use super::repository::Title;
use crate::registration::{Context, Error, TestResult};
use crate::sealing::condition;

const DEADLINE: Duration = Duration::from_secs(600);

pub(super) struct Edge {
    folder: PathBuf,
    _controller: Process,
}

/// What the tests read of the status file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusFile {
    sealed_secrets: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    namespace: String,
    name: String,
    status: SealedSecretStatus,
}

impl Edge {
    /// Starts a controller that renews its keys every 30 days, and that watches a folder of manifests.
    pub(super) fn start(
        context: &Context,
        cluster: &Cluster,
        clock: &Clock,
        recovery_recipient: &str,
        manifests: &Path,
    ) -> Result<Self, Error> {
        let folder = super::prod::folder(cluster).join("edge");
        fs::create_dir_all(&folder)?;
        let mut command = Command::new(&context.programs.waxseal_controller);
        command.env_clear().env("WAXSEAL_RENEW_AFTER", "30d").env("WAXSEAL_RECOVERY_RECIPIENT", recovery_recipient);
        command.args(["directory", "--manifests"]).arg(manifests).arg("--secrets").arg(folder.join("secrets"));
        command.arg("--keys").arg(folder.join("keys"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.join("log"))?);
        let controller = cluster.spawn(clock.give_to(&mut command))?;
        Ok(Self { folder, _controller: controller })
    }

    /// The folder of the keys, for `--keys-dir`.
    pub(super) fn keys(&self) -> PathBuf {
        self.folder.join("keys")
    }

    /// The public keys.
    pub(super) fn keys_file(&self) -> PathBuf {
        self.keys().join("sealing-keys.yaml")
    }

    /// The file with the offers.
    pub(super) fn status_file(&self) -> PathBuf {
        self.folder.join("secrets/..waxseal-status.json")
    }

    fn primary(&self) -> Option<String> {
        let keys = read_keys(&fs::read_to_string(self.keys_file()).ok()?).ok()?;
        Some(primary(&keys)?.recipient.key_id().to_string())
    }

    /// Makes the controller see the new time at once: without this, it looks only after up to 30 s. Waits until another
    /// key is the primary; returns its id.
    pub(super) async fn until_renewed(&self, old: &str) -> Result<String, Error> {
        fs::write(self.keys().join("touched"), "")?;
        fs::remove_file(self.keys().join("touched"))?;
        self.until_primary_after(old).await
    }

    pub(super) async fn until_primary_after(&self, old: &str) -> Result<String, Error> {
        let primary = waiting::until("a new primary of edge", DEADLINE, async || self.primary().filter(|id| id != old));
        Ok(primary.await?)
    }

    fn entries(&self) -> Option<Vec<Entry>> {
        let text = fs::read(self.status_file()).ok()?;
        Some(serde_json::from_slice::<StatusFile>(&text).ok()?.sealed_secrets)
    }

    /// Waits until the status of each of these SealedSecrets is as wanted.
    pub(super) async fn until(
        &self,
        what: &str,
        objects: &[SealedSecret],
        is_as_wanted: impl Fn(&SealedSecret) -> bool,
    ) -> TestResult {
        let mut different = None;
        let done = waiting::until(what, DEADLINE, async || {
            let entries = self.entries()?;
            let mut statuses: BTreeMap<_, _> =
                entries.into_iter().map(|entry| ((entry.namespace, entry.name), entry.status)).collect();
            let with_status = |object: &SealedSecret| {
                let metadata = &object.metadata;
                let status = statuses.remove(&(metadata.namespace.clone()?, metadata.name.clone()?));
                Some(SealedSecret { status, ..object.clone() })
            };
            let judged = objects.iter().map(with_status).collect::<Option<Vec<_>>>()?;
            different = judged.into_iter().find(|object| !is_as_wanted(object));
            different.is_none().then_some(())
        });
        let outcome = done.await;
        outcome.map_err(|error| {
            let said =
                different.map(|object| (object.metadata.name.clone(), condition(&object, "Ready"), object.status));
            format!("edge: {error}; one object: {said:?}; the log ends with {}", self.log()).into()
        })
    }

    fn log(&self) -> String {
        last_lines(&self.folder.join("log"), 5)
    }

    /// Reads all Secrets.
    pub(super) fn secrets(&self) -> Result<BTreeMap<Title, Observed>, Error> {
        let mut secrets = BTreeMap::new();
        for namespace in folders(&self.folder.join("secrets"))? {
            for secret in folders(&namespace)? {
                let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
                let names = (name(&namespace).ok_or("no name")?, name(&secret).ok_or("no name")?);
                let target = fs::read_link(secret.join("..data"))?;
                let marker = Marker(target.to_string_lossy().into_owned());
                secrets.insert(format!("{}/{}", names.0, names.1), Observed { values: values(&secret)?, marker });
            }
        }
        Ok(secrets)
    }
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// Reads the values of one Secret, in the layout of a volume of the kubelet.
fn values(secret: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut values = BTreeMap::new();
    for entry in fs::read_dir(secret)? {
        let entry = entry?;
        let key = entry.file_name().to_string_lossy().into_owned();
        if !key.starts_with("..") {
            values.insert(key, fs::read_to_string(entry.path())?);
        }
    }
    Ok(values)
}

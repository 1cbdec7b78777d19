//! The demo on folders: the manifests are a clone of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use waxseal_tests::processes::Process;

use crate::plain_secrets::Values;
use crate::script::{Place, REPOSITORY};
use crate::stage::{Result, Stage, unexpected};

const KEYS_FILE: &str = "keys/sealing-keys.yaml";
const STATUS_FILE: &str = "secrets/..waxseal-status.json";

pub(crate) struct OnFolders {
    controller: Option<Process>,
}

impl OnFolders {
    pub(crate) fn new() -> Self {
        Self { controller: None }
    }
}

impl Place for OnFolders {
    fn start(&mut self, stage: &Stage) -> Result<()> {
        stage.run(&["git", "clone", "--quiet", REPOSITORY, "live"])?;
        let folders = ["--manifests", "live", "--secrets", "secrets", "--keys", "keys"];
        self.controller = Some(stage.start(&[&["waxseal-controller", "directory"][..], &folders].concat())?);
        stage.wait_for(KEYS_FILE, &true, || Ok(stage.path(KEYS_FILE).exists()), is_there)?;
        stage.confirm(format_args!("{KEYS_FILE} holds the public key that values are sealed to"))
    }

    fn keys_file(&self) -> &'static str {
        KEYS_FILE
    }

    fn deliver(&self, stage: &Stage) -> Result<()> {
        stage.run(&["git", "-C", "live", "pull", "--quiet"])?;
        Ok(())
    }

    fn values(&self, stage: &Stage) -> Result<Values> {
        let folder = stage.path("secrets/shop");
        let mut values = Values::new();
        for name in visible_names(&folder)? {
            values.insert(name.clone(), values_in(&folder.join(&name))?);
        }
        Ok(values)
    }

    fn show(&self, stage: &Stage, secret: &str, key: &str) -> Result<()> {
        stage.quote(&stage.run(&["cat", &format!("secrets/shop/{secret}/{key}")])?)
    }

    fn version(&self, stage: &Stage, secret: &str) -> Result<String> {
        let link = stage.path(&format!("secrets/shop/{secret}/..data"));
        Ok(fs::read_link(link)?.display().to_string())
    }

    fn judgement(&self, stage: &Stage, name: &str) -> Result<(String, String)> {
        let status: Value = serde_json::from_str(&stage.read(STATUS_FILE)?)?;
        let entries = status["sealedSecrets"].as_array().cloned().unwrap_or_default();
        let entry = entries.iter().find(|entry| entry["name"] == name).cloned().unwrap_or_default();
        let ready = &entry["status"]["conditions"][0];
        Ok(["reason", "message"].map(|field| ready[field].as_str().unwrap_or_default().to_owned()).into())
    }

    fn add_key(&self, stage: &Stage) -> Result<String> {
        // Keys are ordered by creation time in whole seconds: a key of the same second would not be newer.
        sleep(Duration::from_secs(1));
        let published = stage.run(&["waxseal", "keys", "generate", "--output", "new.key"])?;
        let id = published.lines().find_map(|line| line.strip_prefix("  name: "));
        let id = id.ok_or_else(|| unexpected("the new key", "a SealingKey with a name", &published))?.to_owned();
        stage.run(&["mv", "new.key", &format!("keys/{id}.key")])?;
        stage.wait_for(
            &format!("the key {id} in {KEYS_FILE}"),
            &true,
            || Ok(stage.read(KEYS_FILE)?.contains(&id)),
            is_there,
        )?;
        stage.confirm(format_args!("{KEYS_FILE} has the new key {id}; nothing was restarted"))?;
        Ok(id)
    }

    fn delete(&self, stage: &Stage, secret: &str) -> Result<()> {
        stage.run(&["mv", &format!("secrets/shop/{secret}"), "deleted"])?;
        stage.tell("(the controller looks at everything every 30 s, and at once when a manifest changes)")?;
        stage.run(&["touch", "live/shop.yaml"])?;
        Ok(())
    }
}

fn values_in(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut values = BTreeMap::new();
    for key in visible_names(folder)? {
        values.insert(key.clone(), fs::read(folder.join(&key))?);
    }
    Ok(values)
}

/// Returns the names in a folder, except those that the controller hides with two dots.
fn visible_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with(".."));
    Ok(names)
}

fn is_there(there: &bool) -> String {
    if *there { "there" } else { "not there" }.to_owned()
}

//! Support for the tests: sealing with the real program, and reading Secrets and statuses from the cluster.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::registration::{Context, Error};

/// Long enough for a machine with 2 cores and 10 times as much work as it can do.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

impl Context {
    /// Runs `waxseal seal` on a manifest with the cluster's keys; returns its output.
    pub(crate) fn seal_text(&self, manifest: &str, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(&self.programs.waxseal);
        command.env_clear().arg("seal").arg("--keys").arg(&self.keys_file).args(arguments).arg("-");
        run(&mut command, manifest)
    }

    /// Seals one Secret manifest for a namespace.
    pub(crate) fn seal(&self, manifest: &str, namespace: &Namespace) -> Result<SealedSecret, Error> {
        let json = serde_json::to_string(&plain_value(manifest)?)?;
        Ok(serde_json::from_str(&self.seal_text(&json, &["-n", namespace.name()])?)?)
    }

    /// Seals a Secret with one value and creates the SealedSecret; returns it when the controller has judged it.
    pub(crate) async fn create_sealed(
        &self,
        namespace: &Namespace,
        name: &str,
        value: &str,
    ) -> Result<SealedSecret, Error> {
        let manifest = opaque(name, &[("PASSWORD", value)]);
        let sealed = self.seal(&manifest, namespace)?;
        create(namespace, &sealed).await?;
        judged(namespace, name).await
    }
}

/// Seals one Secret manifest for a namespace with the keys in a file.
pub(crate) fn seal_with(
    context: &Context,
    keys_file: &Path,
    manifest: &str,
    namespace: &str,
) -> Result<SealedSecret, Error> {
    Ok(serde_json::from_str(&seal_text_with(context, keys_file, manifest, namespace)?)?)
}

/// Runs `waxseal seal` on one manifest for a namespace with the keys in a file; returns its output.
pub(crate) fn seal_text_with(
    context: &Context,
    keys_file: &Path,
    manifest: &str,
    namespace: &str,
) -> Result<String, Error> {
    let mut command = Command::new(&context.programs.waxseal);
    command.env_clear().args(["seal", "-n", namespace, "--keys"]).arg(keys_file).arg("-");
    run(&mut command, manifest)
}

/// A SealedSecret for the primary key of a cluster.
pub(crate) fn sealed(
    context: &Context,
    cluster: &Cluster,
    controller: &Controller,
    namespace: &Namespace,
) -> Result<SealedSecret, Error> {
    let keys_file = cluster.folder().join("keys.yaml");
    installation::fetch_keys(&context.programs, &controller.kubeconfig, &keys_file)?;
    seal_with(context, &keys_file, &opaque("db", &[("PASSWORD", "hunter2")]), namespace.name())
}

/// A Secret manifest with these string values.
pub(crate) fn opaque(name: &str, values: &[(&str, &str)]) -> String {
    let values: std::collections::BTreeMap<_, _> = values.iter().copied().collect();
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values,
    });
    manifest.to_string()
}

/// Reads a manifest with an independent YAML reader.
pub(crate) fn plain_value(manifest: &str) -> Result<serde_json::Value, Error> {
    Ok(serde_saphyr::from_str(manifest)?)
}

/// Returns the recipient in a keys file with one key.
pub(crate) fn recipient_in(keys_file: &str) -> Result<&str, Error> {
    Ok(keys_file.lines().find_map(|line| line.trim().strip_prefix("recipient: ")).ok_or("no recipient")?)
}

/// The fingerprints in what a program says.
pub(crate) fn fingerprints(said: &str) -> impl Iterator<Item = &str> {
    said.split_whitespace().filter(|word| word.starts_with("sha256:"))
}

/// Runs a program with this input; fails unless it exits with 0.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, Error> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped above");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().expect("the writer does not panic")?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) async fn create(namespace: &Namespace, sealed: &SealedSecret) -> Result<(), Error> {
    namespace.api::<SealedSecret>().create(&PostParams::default(), sealed).await?;
    Ok(())
}

/// Replaces the spec of an existing object, as `kubectl replace` does. Retries if its status changes at the
/// same time.
pub(crate) async fn replace_spec(namespace: &Namespace, sealed: &SealedSecret) -> Result<(), Error> {
    let objects = namespace.api::<SealedSecret>();
    let replace = async || {
        let mut current = objects.get(&sealed.name_any()).await?;
        current.spec = sealed.spec.clone();
        objects.replace(&sealed.name_any(), &PostParams::default(), &current).await
    };
    let replaced = waiting::until("the replacement of the spec", DEADLINE, async || match replace().await {
        Err(kube::Error::Api(status)) if status.code == 409 => None,
        result => Some(result),
    });
    replaced.await??;
    Ok(())
}

/// Waits until the status of an object is about its present generation; returns the object.
pub(crate) async fn judged(namespace: &Namespace, name: &str) -> Result<SealedSecret, Error> {
    let objects = namespace.api::<SealedSecret>();
    let what = format!("the judgement of {name}");
    let judged = waiting::until(&what, DEADLINE, async || {
        let object = objects.get_opt(name).await.ok()??;
        let is_current = object.status.as_ref()?.observed_generation == object.metadata.generation;
        is_current.then_some(object)
    });
    Ok(judged.await?)
}

/// Waits until the condition `Ready` of an object has a reason; returns the object.
pub(crate) async fn with_reason(namespace: &Namespace, name: &str, reason: &str) -> Result<SealedSecret, Error> {
    let objects = namespace.api::<SealedSecret>();
    let what = format!("reason {reason} on {name}");
    let judged = waiting::until(&what, DEADLINE, async || {
        let object = objects.get_opt(name).await.ok()??;
        let is_current = object.status.as_ref()?.observed_generation == object.metadata.generation;
        (is_current && condition(&object, "Ready")?.1 == reason).then_some(object)
    });
    match judged.await {
        Ok(object) => Ok(object),
        Err(error) => {
            let said = objects.get_opt(name).await?.and_then(|object| condition(&object, "Ready"));
            Err(format!("{error}; it says {said:?}").into())
        }
    }
}

/// Returns status, reason and message of a condition.
pub(crate) fn condition(object: &SealedSecret, type_: &str) -> Option<(String, String, String)> {
    let condition = object.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((condition.status.clone(), condition.reason.clone(), condition.message.clone()))
}

/// Returns the Secret's values as text, by key.
pub(crate) fn values(secret: &Secret) -> Vec<(String, String)> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned())).collect()
}

/// Creates a Secret without owner and mark.
pub(crate) async fn create_plain(namespace: &Namespace, name: &str, value: &str) -> Result<Secret, Error> {
    let secret = serde_json::from_str(&opaque(name, &[("PASSWORD", value)]))?;
    Ok(namespace.api::<Secret>().create(&PostParams::default(), &secret).await?)
}

/// Merges a patch into an object, as a user does with `kubectl patch`.
pub(crate) async fn patch<K>(api: &Api<K>, name: &str, patch: serde_json::Value) -> Result<K, Error>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams { field_manager: Some("somebody-else".to_owned()), ..PatchParams::default() };
    Ok(api.patch(name, &params, &Patch::Merge(patch)).await?)
}
